/* Several attentions over the same queries become one.
 *
 *   by LSE      LSE = ln sum_k exp(LSE_k)   w_k = exp(LSE_k - LSE)   O = sum_k w_k O_k
 *               dO_k = w_k dO   dLSE_k = w_k (dLSE + dO.(O_k - O))
 *   by factor   O = sum_k c_k O_k
 *               dO_k = c_k dO   dc_k = sum over all rows of dO.O_k
 *
 * By LSE is exact when the parts see disjoint keys: softmax over all of them. A part without visible keys (LSE -inf)
 * counts nothing, and where no part sees a key O is 0 and LSE -inf, as everywhere. */
#ifndef FV_ATTN_MERGE_H
#define FV_ATTN_MERGE_H

#include "attn/mechanism_contract.h"

enum { FV_MERGE_PARTS = 4 };

/* Results of the parts, or their gradients: (B,H,L,Dv) with unit stride on the last axis, and (B,H,L); f32 or f64. */
typedef struct fv__parts {
    int count;
    fv_tensor out[FV_MERGE_PARTS], lse[FV_MERGE_PARTS];
} fv__parts;

/* lse may be absent. */
void fv__merge_by_lse(const fv__parts *parts, const fv_tensor *out, const fv_tensor *lse);
/* Writes d; d_out or d_lse may be absent. */
void fv__merge_by_lse_backward(const fv__parts *parts, const fv_tensor *d_out, const fv_tensor *d_lse,
                               const fv__parts *d);

void fv__merge_by_factor(const fv__parts *parts, const double *factor, const fv_tensor *out);
/* Writes d->out and d_factor. `sums` has room for fv__merge_sums(out, parts) numbers. */
void fv__merge_by_factor_backward(const fv__parts *parts, const double *factor, const fv_tensor *d_out,
                                  const fv__parts *d, double *d_factor, double *sums);
int64_t fv__merge_sums(const fv_tensor *out, int parts);

#endif
