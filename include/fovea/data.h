/* fovea/data.h - text in: labelled texts, splits, tokenizers, character n-grams, batches, recipes.
 *
 *     fv_dataset_read(&all, path, 1, NULL, NULL);            fv_dataset_split(&train, &valid, &test, all, NULL);
 *     fv_tokenizer_train(&words, train->texts, NULL);        fv_corpus_create(&corpus, train, words, NULL);
 *     fv_batches_create(&batches, corpus, NULL);             fv_batches_next(batches, &batch, &cursor);
 *
 * Structs with visible fields are read-only for the caller; every object is freed with its own function (NULL is fine).
 * Option structs have rows (base.h): fv_options_init(fv_dataset_option_rows(), &o) fills the defaults, as NULL does.
 */
#ifndef FOVEA_DATA_H
#define FOVEA_DATA_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- labelled texts */

/* Texts in memory that somebody else owns: valid UTF-8 without NUL bytes, each also NUL-terminated. */
typedef struct fv_texts {
    int64_t count;
    const char *const *text; /* (count) */
    const size_t *size;      /* (count) bytes */
} fv_texts;

/* Names of the classes; the class id is the index. Sorted by byte order when they come from a data file. */
typedef struct fv_classes {
    int32_t count;
    const char *const *name; /* (count) */
} fv_classes;

/* What a text is to be answered with: nothing that is known, one of some classes, a number. */
typedef enum fv_target_type { FV_TARGET_NONE, FV_TARGET_CLASS, FV_TARGET_REAL } fv_target_type;

typedef struct fv_dataset {
    fv_texts texts;
    const int32_t *label; /* (texts.count) class ids; NULL unless the target is a class */
    const double *number; /* (texts.count) NULL unless the target is a number */
    fv_classes classes;
    const uint8_t *part;     /* (texts.count) fv_part from the split column; NULL when none was asked for */
    const int32_t *file;     /* (texts.count) which of the files, and */
    const int64_t *line;     /* (texts.count) the line in it, from 1: for messages */
    struct fv__store *store; /* owner of all of the above, shared between a dataset and its selections */
} fv_dataset;

typedef struct fv_dataset_options {
    const char *format;       /* auto|csv|tsv|jsonl|fasttext|lines; auto: by extension, else fasttext */
    const char *header;       /* auto|yes|no; auto: a first row with the column names asked for is a header */
    const char *text_col;     /* names, numbers from 1, or JSON paths; texts of several (a,b) are joined by a space */
    const char *label_col;    /* the target: label or number */
    const char *split_col;    /* NULL, or the column that says train, valid or test */
    const char *label_prefix; /* of fastText lines */
    const char *labels;       /* one|first: a fastText line with two labels is an error, or its first label counts */
    const char *delimiter;    /* of CSV and TSV: one character, or "tab"; NULL: recognised, and said in the log */
} fv_dataset_options;
FV_API const fv_option *fv_dataset_option_rows(void);

/* Labelled texts of one or more files. `classes` NULL: the classes are the labels found, and there must be two of them;
 * otherwise a label that is not among them is an error that names file and line. FV_BAD_DATA with file:line. */
FV_API fv_status fv_dataset_read(fv_dataset **data, const char *const *path, int paths,
                                 const fv_dataset_options *options, const fv_classes *classes);

/* Texts without labels (for prediction): tables by their text column, anything else one text a line, however odd: what
 * is not UTF-8 is read as U+FFFD, with a warning. There may be none. */
FV_API fv_status fv_dataset_read_texts(fv_dataset **data, const char *const *path, int paths,
                                       const fv_dataset_options *options);
/* Texts with any target; `classes` is for FV_TARGET_CLASS, as above. A number is finite, and a dot is its comma. */
FV_API fv_status fv_dataset_read_target(fv_dataset **data, const char *const *path, int paths,
                                        const fv_dataset_options *options, fv_target_type target,
                                        const fv_classes *classes);
/* The same from bytes in memory (standard input); `name` stands for the file in messages and for its extension. */
FV_API fv_status fv_dataset_parse(fv_dataset **data, const char *name, const void *bytes, size_t size,
                                  const fv_dataset_options *options, const fv_classes *classes, fv_target_type target);
/* Texts without labels from whole lines of a longer input, of which the first has this number: a stream as it
 * comes. */
FV_API fv_status fv_dataset_parse_lines(fv_dataset **data, const char *name, const void *bytes, size_t size,
                                        int64_t first_line, const fv_dataset_options *options);
/* Is this text in UTF-8, without NUL bytes? FV_BAD_DATA names its line and byte, and the iconv that may help; `name`
 * stands for the file in the message. */
FV_API fv_status fv_text_check(const char *name, const char *text, size_t size);
/* A dataset of texts the caller already holds (copied). `label` may be NULL. */
FV_API fv_status fv_dataset_of(fv_dataset **data, fv_texts texts, const int32_t *label, fv_classes classes);
/* ... with a finite number for each text */
FV_API fv_status fv_dataset_of_numbers(fv_dataset **data, fv_texts texts, const double *number);
/* Chosen rows in the given order; shares the texts. */
FV_API fv_status fv_dataset_select(fv_dataset **out, const fv_dataset *from, const int64_t *row, int64_t count);
FV_API void fv_dataset_free(fv_dataset *data);

typedef enum fv_part { FV_TRAIN, FV_VALID, FV_TEST } fv_part;

typedef struct fv_split_options {
    const char *split;  /* hash|stratified|column. hash: by the text alone, so a text never changes sides when rows
                            come and go, and equal texts stay together; stratified: the same, cut within each class */
    double valid, test; /* shares */
    int64_t split_seed;
} fv_split_options;
FV_API const fv_option *fv_split_option_rows(void);

/* Rows keep their order. An output that is NULL is not made. Parts may be empty, except train. Stratified: a part that
 * is due a text of a class has one, also when its texts are equal; a text with two labels is in one part. */
FV_API fv_status fv_dataset_split(fv_dataset **train, fv_dataset **valid, fv_dataset **test, const fv_dataset *all,
                                  const fv_split_options *options);
/* How many texts `of` has that are also texts of `with`. */
FV_API fv_status fv_dataset_overlap(const fv_dataset *of, const fv_dataset *with, int64_t *count);

/* ---- tokenizers */

typedef struct fv_tokenizer fv_tokenizer; /* immutable after training or loading; may be shared between threads */

typedef struct fv_tokenizer_options {
    const char *tokenizer; /* word|bpe|wordpiece */
    bool lowercase;
    int64_t min_count;  /* a word (bpe, wordpiece: a pair) seen less often is left out */
    int64_t vocab_size; /* at most, special tokens included; 0 = no limit for word, 8000 for the others */
    int64_t max_word;   /* wordpiece: words of more characters become [UNK] */
} fv_tokenizer_options;
FV_API const fv_option *fv_tokenizer_option_rows(void);

/* The tokens of one text. Zero it before the first use; encode reuses and grows it; free it at the end. */
typedef struct fv_tokens {
    int64_t count;
    int32_t *id;          /* (count) */
    int32_t *start, *end; /* (count) bytes of the original text */
    int32_t *word;        /* (count) index of the word the token belongs to */
    size_t capacity;
} fv_tokens;
FV_API void fv_tokens_free(fv_tokens *tokens);

typedef struct fv_special {
    int32_t pad, unk, cls; /* ids of these special tokens; -1 when the tokenizer has none */
} fv_special;

/* Deterministic: equal counts are ordered by bytes. */
FV_API fv_status fv_tokenizer_train(fv_tokenizer **tokenizer, fv_texts texts, const fv_tokenizer_options *options);

/* Hugging Face's tokenizer.json (WordLevel, BPE, WordPiece). FV_BAD_MODEL names what is not supported. */
FV_API fv_status fv_tokenizer_load(fv_tokenizer **tokenizer, const char *path);
FV_API fv_status fv_tokenizer_save(const fv_tokenizer *tokenizer, const char *path);
/* A word tokenizer that also knows `words` (those it lacks are appended in this order). FV_USAGE for other kinds. */
FV_API fv_status fv_tokenizer_with_words(fv_tokenizer **out, const fv_tokenizer *from, const char *const *words,
                                         int64_t count);

/* Replaces the content of `tokens`. No special tokens are added (batches add [CLS] on request). */
FV_API fv_status fv_tokenizer_encode(const fv_tokenizer *tokenizer, fv_tokens *tokens, const char *text, size_t size);

/* The text of ids, special tokens left out. NUL-terminated, freed with fv_text_free. */
FV_API fv_status fv_tokenizer_decode(const fv_tokenizer *tokenizer, char **text, const int32_t *id, int64_t count);
FV_API void fv_text_free(char *text);
FV_API int32_t fv_tokenizer_size(const fv_tokenizer *tokenizer);     /* ids are below it; some may be skipped */
FV_API const char *fv_tokenizer_kind(const fv_tokenizer *tokenizer); /* "word", "bpe", "wordpiece" */
FV_API const char *fv_tokenizer_token(const fv_tokenizer *tokenizer,
                                      int32_t id); /* as stored; NULL: no such id, or a skipped one */
FV_API int32_t fv_tokenizer_id(const fv_tokenizer *tokenizer, const char *token); /* -1 when unknown */
FV_API fv_special fv_tokenizer_special(const fv_tokenizer *tokenizer);
FV_API void fv_tokenizer_free(fv_tokenizer *tokenizer);

/* ---- hashed character n-grams */

/* n-grams of characters of <word> (with the marks) are hashed to 0 .. 2^bits - 1. bits = 0: none. */
typedef struct fv_ngram_options {
    int64_t ngram_min, ngram_max, ngram_bits;
} fv_ngram_options;
FV_API const fv_option *fv_ngram_option_rows(void);

/* Buckets of one word (UTF-8, given in the case it should have). Writes at most `room`, returns how many there are. */
FV_API int64_t fv_ngrams(int32_t *bucket, int64_t room, const char *word, size_t size, const fv_ngram_options *options);

/* ---- encoded texts and batches */

typedef struct fv_corpus_options {
    int64_t max_length;      /* tokens a text, [CLS] included; the rest is cut off */
    bool add_cls;            /* put [CLS] in front */
    fv_ngram_options ngrams; /* bits = 0: no bags */
} fv_corpus_options;

/* Texts as token ids, one after the other. With n-grams every token also has a form (its word in the tokenizer's case;
 * all pieces of a word share it), and every form a bag of buckets. A text without any token gets one unknown token.
 * Of the dataset only texts and targets are read. */
typedef struct fv_corpus {
    int64_t count;            /* texts */
    const int64_t *start;     /* (count + 1) first token of each text */
    const int32_t *id;        /* (start[count]) */
    const int32_t *form;      /* (start[count]); NULL without n-grams. Form 0 (added tokens) has an empty bag */
    const int64_t *bag_start; /* (forms + 1) */
    const int32_t *bag;       /* (bag_start[forms]) */
    int64_t forms;
    const int32_t *label; /* (count) or NULL: the dataset's, copied */
    const double *number; /* the same */
    int64_t cut;          /* texts that were cut to max_length */
} fv_corpus;
FV_API fv_status fv_corpus_create(fv_corpus **corpus, const fv_dataset *data, const fv_tokenizer *tokenizer,
                                  const fv_corpus_options *options);
FV_API void fv_corpus_free(fv_corpus *corpus);

typedef struct fv_batch_options {
    int64_t batch_size; /* texts */
    int64_t max_tokens; /* at most so many tokens a batch (a longer text is alone); 0 = no limit */
    int64_t bucket;     /* so many batches are sorted by length together before they are cut; 1 = no sorting */
    bool shuffle;       /* by (seed, epoch); false: the order of the corpus */
    bool drop_last;     /* leave out a last batch that is not full */
    int64_t seed;
} fv_batch_options;
FV_API const fv_option *fv_batch_option_rows(void);

/* Packed: the tokens of all rows one after the other, no padding. Valid until the next call with the same batches. */
typedef struct fv_batch {
    int32_t rows, tokens, longest; /* texts, their tokens, tokens of the longest */
    const int32_t *cu_seqlens;     /* (rows + 1) */
    const int32_t *id;             /* (tokens) */
    const int32_t *label;          /* (rows) or NULL */
    const double *number;          /* (rows) or NULL */
    const int64_t *row;            /* (rows) index in the corpus */
    const int32_t *cu_bags;        /* (tokens + 1) or NULL without n-grams */
    const int32_t *bag;            /* (cu_bags[tokens]) buckets */
    bool last;                     /* the last batch of its epoch */
} fv_batch;

/* Where to go on. Saving these two numbers and giving them back continues with exactly the same batches. */
typedef struct fv_cursor {
    int64_t epoch, position;
} fv_cursor;

typedef struct fv_batches fv_batches; /* keeps a pointer to the corpus; allocates nothing after creation */
FV_API fv_status fv_batches_create(fv_batches **batches, const fv_corpus *corpus, const fv_batch_options *options);
/* The batch at the cursor, which moves on (after the last batch to position 0 of the next epoch). */
FV_API fv_status fv_batches_next(fv_batches *batches, fv_batch *batch, fv_cursor *cursor);
FV_API int64_t fv_batches_count(fv_batches *batches, int64_t epoch); /* batches of that epoch */
FV_API void fv_batches_free(fv_batches *batches);

/* ---- recipes: real data sets, rebuilt from public packages */

typedef struct fv_recipe {
    const char *name, *help, *licence;
} fv_recipe;
FV_API const fv_recipe *fv_recipe_at(int index); /* NULL after the last */
/* Makes FOLDER/... ; does nothing when it is already complete and its checksums match. */
FV_API fv_status fv_recipe_make(const char *name, const char *folder);

#ifdef __cplusplus
}
#endif
#endif
