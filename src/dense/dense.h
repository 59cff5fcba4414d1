/* dense: matrix products on raw pointers. The only folder that names oneDNN.
 *
 *     fv__product p = {.dtype = FV_F32, .m = T, .n = out, .k = in, .b_transposed = true};
 *     p.lda = p.ldb = in, p.ldc = out;
 *     FV_TRY(fv__matmul(&p, y, x, w));                                          // y = x w^T
 *
 * The work is cut into blocks of C that depend on m, n, k alone, and k is never cut: each element of C is one sum made
 * by one thread, so the bits are the same for any number of threads. */
#ifndef FV_DENSE_H
#define FV_DENSE_H

#include "base/base.h"
#include "fovea/tensor.h"

/* C[m,n] = op(A)[m,k] op(B)[k,n] (+ C) (+ bias), row-major with leading dimensions (elements from row to row of the
 * stored matrix). A is stored [k,m] when a_transposed, B is stored [n,k] when b_transposed. */
typedef struct fv__product {
    fv_dtype dtype; /* f32 through oneDNN; f64 by plain loops, for checks */
    int64_t m, n, k;
    bool a_transposed, b_transposed;
    int64_t lda, ldb, ldc;
    bool accumulate;                /* add to what is in C */
    const void *bias;               /* n values added to every row, or NULL */
    int64_t batch;                  /* products of this shape; 0 means 1 */
    int64_t step_a, step_b, step_c; /* elements from one product to the next; 0 repeats the same matrix */
} fv__product;

/* C must not overlap A or B. Sizes may be zero. */
fv_status fv__matmul(const fv__product *p, void *c, const void *a, const void *b);

/* One product on the calling thread; m, n, k > 0. False when oneDNN refuses (out of memory). */
bool fv__sgemm(const fv__product *p, float *c, const float *a, const float *b);

#endif
