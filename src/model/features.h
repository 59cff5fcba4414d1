/* features: texts as counted words and runs of words, for the count-based kinds.
 *
 * Feature f < vocabulary is the token f; feature vocabulary + k is the k-th gram: the feature gram[k][0] followed by
 * the token gram[k][1]. So a run of three words is a run of two words plus one, and one small table describes them all.
 * Only terms count: words of two or more letters, as in scikit-learn's text vectorizers, and characters of scripts that
 * are written without spaces, whose runs are then character n-grams. Behind the grams come 2^ngram-bits buckets of
 * n-grams of letters, of every word whether it is known or not. */
#ifndef FV_MODEL_FEATURES_H
#define FV_MODEL_FEATURES_H

#include "model/model.h"

/* Sparse rows: row i has items [start[i], start[i+1]), features ascending. */
typedef struct fv__counts {
    int64_t rows, columns;
    int64_t *start;
    int32_t *column;
    float *value;
    size_t start_capacity, column_capacity, value_capacity;
    int64_t words, left_out; /* tokens besides punctuation, and those of them that are no feature */
} fv__counts;
void fv__counts_free(fv__counts *x);
/* The same numbers by columns: row f of the result lists the texts that have feature f. */
fv_status fv__counts_transpose(fv__counts *out, const fv__counts *x);

/* How a token counts: not at all, as a word, as a character of a script without spaces. */
typedef enum fv__term { FV__NO_TERM, FV__WORD, FV__CHARACTER } fv__term;

/* One occurrence of a feature: tokens [first, first + length) of the text. */
typedef struct fv__occurrence {
    int32_t feature, first, length;
} fv__occurrence;
typedef struct fv__occurrences {
    fv__occurrence *item;
    int64_t count;
    int32_t *term; /* scratch: positions of the terms */
    fv__buf word;  /* scratch: letters of a word */
    int32_t *bucket;
    size_t item_capacity, term_capacity, bucket_capacity;
} fv__occurrences;
void fv__occurrences_free(fv__occurrences *o);

/* Marks the tokens that count, and the index of grams once model->ngram is filled. */
fv_status fv__features_prepare(fv_model *model);
/* Every feature of one encoded text, runs of words in reading order, then n-grams of letters in theirs. */
fv_status fv__features_find(fv__occurrences *out, const fv_model *model, const fv_tokens *tokens, const char *text);
/* The second half of it (letter_features.c). */
fv_status fv__features_find_letters(fv__occurrences *out, const fv_model *model, const fv_tokens *tokens,
                                    const char *text);
/* Finds the runs of up to options.word_ngrams words that occur in at least options.min_texts texts. */
fv_status fv__features_learn(fv_model *model, fv_texts texts);
/* Counts of every text, by columns ascending; sublinear counts if the options say so. */
fv_status fv__features_count(fv__counts *x, const fv_model *model, fv_texts texts);
/* Says so when more than half of the words of the training texts are no features. */
void fv__features_warn(const fv_model *model, const fv__counts *x);
/* Multiplies by scale (columns) and divides each row by its length. */
void fv__features_weigh(fv__counts *x, const float *scale);

/* output (rows, outputs) = x weight^T + bias; weight is (outputs, columns). */
void fv__features_score(float *output, const fv__counts *x, const float *weight, const float *bias, int32_t outputs);

/* Parameters of every count-based kind: scale (features), weight (outputs, features), bias (outputs). */
fv_status fv__count_based_make(fv_model *model);
enum { FV__SCALE, FV__WEIGHT, FV__BIAS };
/* 0 for features of fewer than min_texts texts, else 1 or the smoothed inverse document frequency. */
void fv__features_scale(float *scale, const fv__counts *by_column, int64_t texts, int64_t min_texts, bool inverse);
static inline int64_t fv__letter_buckets(const fv_model *model) {
    return model->options.ngrams.ngram_bits > 0 ? INT64_C(1) << model->options.ngrams.ngram_bits : 0;
}
static inline int64_t fv__feature_count(const fv_model *model) {
    return model->sizes.vocabulary + model->sizes.ngrams + fv__letter_buckets(model);
}

#endif
