/* The f32 product of oneDNN. dnnl_sgemm is part of its C interface in 2.x and 3.x alike; called on a worker of
 * fv__parallel_for it computes on that thread only. */
#include "dense/dense.h"

#include <dnnl.h>

bool fv__sgemm(const fv__product *p, float *c, const float *a, const float *b) {
    return dnnl_sgemm(p->a_transposed ? 'T' : 'N', p->b_transposed ? 'T' : 'N', p->m, p->n, p->k, 1.0f, a, p->lda, b,
                      p->ldb, p->accumulate ? 1.0f : 0.0f, c, p->ldc) == dnnl_success;
}
