/* fovea/vectors.h - word vectors: learning them from any text, keeping them in a file, finding neighbours.
 *
 *     fv_vectors *vectors;
 *     status = fv_vectors_train(&vectors, texts, NULL);             // texts: fv_texts (data.h)
 *     status = fv_vectors_save(vectors, "vectors.safetensors");
 *     fv_vectors_free(vectors);
 *
 * Structs with visible fields are read-only for the caller. NULL options are the defaults of the rows.
 */
#ifndef FOVEA_VECTORS_H
#define FOVEA_VECTORS_H

#include "data.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fv_vectors_options {
    int64_t dim, rank, min_count, window, passes; /* columns kept, rank of the SVD, ..., subspace iterations */
    double context_power;                         /* exponent of the context counts */
    bool lowercase;
    int64_t seed;
} fv_vectors_options;
FV_API const fv_option *fv_vectors_option_rows(void);

typedef struct fv_vectors {
    int64_t count, dim;
    const char *const *word; /* (count), most frequent first */
    const float *data;       /* (count, dim), rows of length 1 when trained here */
    struct fv__vectors *store;
} fv_vectors;

/* Positive pointwise mutual information and a randomised SVD. The same bits for any number of threads. */
FV_API fv_status fv_vectors_train(fv_vectors **vectors, fv_texts texts, const fv_vectors_options *options);

/* `path` is a safetensors file: tensors "vectors" (F32) and "words" (U8, a line of text for each). Loading also reads
 * the text formats of word2vec and fastText (.vec, .txt), told apart by the first bytes, and files of before 0.1, whose
 * words are in PATH.vocab.txt. */
FV_API fv_status fv_vectors_save(const fv_vectors *vectors, const char *path);
FV_API fv_status fv_vectors_load(fv_vectors **vectors, const char *path);
FV_API int64_t fv_vectors_find(const fv_vectors *vectors, const char *word); /* row, or -1 */
/* Rows with the highest cosine to row `of` (itself left out), best first. Returns how many were written. */
FV_API int64_t fv_vectors_nearest(const fv_vectors *vectors, int64_t of, int64_t *row, float *cosine, int64_t room);
/* Copies vectors over the rows of an embedding table (size of tokenizer, dim): returns how many tokens had one. */
FV_API int64_t fv_vectors_fill(const fv_vectors *vectors, const fv_tokenizer *tokenizer, float *table);
FV_API void fv_vectors_free(fv_vectors *vectors);

#ifdef __cplusplus
}
#endif
#endif
