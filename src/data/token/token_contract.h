/* The contract of a tokenizer model (one file each, one row in list.def), and what all of them share.
 *
 * Encoding is normaliser -> pre-tokenizer -> model, as in Hugging Face's files. The first two turn a text into
 * characters that remember the bytes they came from, cut into words; a model turns one word into tokens. */
#ifndef FV_DATA_TOKEN_H
#define FV_DATA_TOKEN_H

#include "fovea/data.h"
#include "io/json.h"

typedef struct fv__char {
    int32_t code, from, to;
} fv__char; /* a normalised character; bytes from..to of the text */
typedef struct fv__span {
    size_t first, count;
} fv__span; /* a word: characters first .. first + count - 1 */

/* A normalised text: grows as needed, reused from text to text. */
typedef struct fv__pieces {
    fv__char *chars;
    size_t count, capacity;
} fv__pieces;

typedef struct fv__normaliser {
    bool clean, cjk, accents, lower; /* drop control characters; space around ideographs; strip accents; lower-case */
} fv__normaliser;

typedef enum fv__presplit { FV_PRE_NONE, FV_PRE_BERT, FV_PRE_BYTES, FV_PRE_WORDS, FV_PRE_SPACES } fv__presplit;

typedef struct fv__added_token {
    const char *content;
    size_t size;
    int32_t id;
    bool special, normalized, single_word, lstrip, rstrip;
} fv__added_token;

/* An added token in the order of bytes; of equal ones the first of the file. */
typedef struct fv__added_key {
    const char *content;
    size_t size;
    int32_t index; /* in `added` */
} fv__added_key;

enum { FV__LONGEST_ADDED = 256 }; /* bytes of an added token */

typedef struct fv__token_model fv__token_model;

typedef struct fv__merge {
    int32_t left, right, product;
} fv__merge; /* its rank is its index */

struct fv_tokenizer {
    const fv__token_model *model;
    fv__normaliser normal;
    fv__presplit pre;
    bool prefix_space;  /* FV_PRE_BYTES: a blank is put before the first word */
    bool unspaced;      /* FV_PRE_BERT: characters of scripts without spaces are words (fv__stands_alone) */
    fv__map *ids;       /* token -> id */
    const char **token; /* id -> token, in the map's memory; NULL for a number that is not used */
    int32_t size;
    fv__added_token *added;
    size_t added_count, added_capacity;
    fv__added_key *added_key; /* (added_count) sorted */
    size_t added_start[257];  /* those that begin with byte b: added_start[b] .. added_start[b + 1] */
    bool *is_special;         /* (size) */
    fv_special special;
    /* wordpiece */
    fv__map *inner; /* tokens that continue a word, without their prefix -> id */
    char *prefix;
    int64_t max_word;
    size_t longest; /* bytes of the longest token */
    /* bpe */
    fv__merge *merge;
    size_t merges, merge_capacity;
    uint64_t *pair; /* open addressing: (left, right) + 1, 0 = empty -> rank */
    int32_t *rank;
    size_t slots; /* power of two */
    int32_t byte_id[256];
};

/* Working memory of encoding. Zero it, free it with fv__encoder_free. */
typedef struct fv__encoder {
    fv__pieces pieces;
    fv_tokens *tokens;
    fv__buf word;   /* the present word as UTF-8 */
    int32_t *owner; /* (word.size + 1) character of each byte */
    size_t owner_capacity;
    int32_t *symbol, *next, *previous, *pair_rank; /* bpe: a linked list of symbols */
    size_t symbol_capacity, next_capacity, previous_capacity, rank_capacity;
} fv__encoder;

/* Words and how often they occur, in order of appearance. */
typedef struct fv__word_counts {
    const fv__map *map;
} fv__word_counts;

struct fv__token_model {
    const char *name, *type; /* option value; "type" in tokenizer.json */
    fv__presplit pre;        /* of newly trained tokenizers */
    bool unspaced;           /* the same */
    fv_status (*train)(fv_tokenizer *t, fv__word_counts words, const fv_tokenizer_options *options);
    fv_status (*load)(fv_tokenizer *t, fv__json_at_file model);
    fv_status (*finish)(fv_tokenizer *t);               /* after train and load: what can be worked out; may be NULL */
    void (*save)(const fv_tokenizer *t, fv__buf *json); /* members behind "type" and "vocab" */
    fv_status (*encode)(const fv_tokenizer *t, fv__encoder *e, const fv__char *word, size_t count, int32_t index);
    void (*decode)(const fv_tokenizer *t, fv__buf *out, const char *token); /* appends one token */
};

#define FV__TOKEN(name) extern const fv__token_model fv__token_##name;
#include "data/token/list.def"
#undef FV__TOKEN

/* ---- for the models */

fv_status fv__vocab_add(fv_tokenizer *t, const char *token, size_t size,
                        int32_t *id); /* next free id, or the one it has */
fv_status fv__token_emit(fv_tokens *tokens, int32_t id, int32_t from, int32_t to, int32_t word);
fv_status fv__vocab_load(fv_tokenizer *t, fv__json_at_file model); /* "vocab" of a file */
fv_status fv__unk_load(fv_tokenizer *t, fv__json_at_file model, bool required);
void fv__vocab_save(const fv_tokenizer *t, fv__buf *json);
fv_status fv__word_bytes(fv__encoder *e, const fv__char *word, size_t count); /* fills e->word and e->owner */

/* Merges the most frequent pair of neighbouring symbols of the words, again and again, until t has vocab_size tokens
 * or no pair occurs min_count times. Ties go by the bytes of the symbols. Calls `made` for each, which names the
 * product. */
typedef struct fv__pair_job {
    const int32_t *symbol; /* symbols of all words, one after the other */
    const size_t *start;   /* (words + 1) */
    const int64_t *count;  /* (words) */
    size_t words;
    int64_t vocab_size, min_count;
    const fv_tokenizer *t; /* whose tokens the symbols are */
    fv_status (*made)(void *context, int32_t left, int32_t right, int32_t *product);
    void *context;
} fv__pair_job;
fv_status fv__merge_pairs(const fv__pair_job *job);

/* ---- stages */

/* The characters of text[from..to), and then its words one after the other: start at 0, ends with count 0. */
fv_status fv__normalise(const fv_tokenizer *t, fv__pieces *pieces, const char *text, size_t from, size_t to);
fv__span fv__next_word(const fv_tokenizer *t, const fv__pieces *pieces, size_t *at);
void fv__pieces_free(fv__pieces *pieces);
fv_status fv__encode(const fv_tokenizer *t, fv__encoder *e, fv_tokens *tokens, const char *text, size_t size);
void fv__encoder_free(fv__encoder *e);

fv_status fv__tokenizer_new(fv_tokenizer **tokenizer, const fv__token_model *model);
fv_status fv__tokenizer_finish(fv_tokenizer *t);
const fv__token_model *fv__token_model_at(int index);            /* NULL after the last */
fv_status fv__added_add(fv_tokenizer *t, fv__added_token token); /* content may be temporary */
fv_status fv__added_index(fv_tokenizer *t); /* when all are there, and the size of the vocabulary is known */
/* The longest added token at `at`, or NULL. */
const fv__added_token *fv__added_at(const fv_tokenizer *t, const char *text, size_t at, size_t size);
void fv__added_free(fv_tokenizer *t);

#endif
