/* vectors: word vectors from counts. cooccur.c counts which words stand near which; svd.c finds the directions that
 * matter; vectors.c puts them together; file.c reads and writes.
 *
 * Levy, Goldberg, Dagan, "Improving distributional similarity with lessons learned from word embeddings" (TACL 2015);
 * Halko, Martinsson, Tropp, "Finding structure with randomness" (SIAM Review 2011). */
#ifndef FV_DATA_VECTORS_H
#define FV_DATA_VECTORS_H

#include "base/base.h"
#include "fovea/vectors.h"

typedef struct fv__vectors {
    fv__map *row; /* word -> row; owns the words */
    const char **word;
    float *data;
} fv__vectors;

/* Rows of a sparse symmetric matrix, in blocks that are made independently. */
typedef struct fv__sparse_block {
    int64_t *start; /* (rows + 1) */
    int32_t *column;
    float *value; /* logarithm of the count */
    size_t count, start_capacity, column_capacity, value_capacity;
    fv_status status;
} fv__sparse_block;

enum { FV__SPARSE_ROWS = 16 }; /* rows of a block */

typedef struct fv__sparse {
    int64_t size, blocks; /* rows = columns */
    fv__sparse_block *block;
    double *sum; /* (size) of the counts of each row */
} fv__sparse;

/* Weighted counts of the words within `window` positions: 1/sqrt(distance). id: words of all texts, -1 where there is
 * none, with at least `window` such places at both ends and between texts. */
fv_status fv__cooccur(fv__sparse *counts, const int32_t *id, int64_t length, int64_t words, int64_t window);
void fv__sparse_free(fv__sparse *s);

/* The matrix max(0, value[r][c] + row[r] + column[c]) over the stored places: positive pointwise mutual information. */
typedef struct fv__ppmi {
    const fv__sparse *counts;
    const float *row, *column;
} fv__ppmi;

/* Left singular vectors of A for the `rank` largest singular values (largest first): u (size, rank), sigma (rank).
 * `transposed` is A's transpose in the same form. Directions that A does not have are zero. */
typedef struct fv__svd_job {
    fv__ppmi matrix, transposed;
    int64_t rank, passes;
    uint64_t seed;
} fv__svd_job;
fv_status fv__svd(const fv__svd_job *job, float *u, double *sigma);

/* Makes the public object; takes over data. Words are copied. */
fv_status fv__vectors_build(fv_vectors **vectors, float *data, int64_t count, int64_t dim, const char *const *word);

#endif
