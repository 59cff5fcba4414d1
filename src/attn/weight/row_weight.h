/* Row weights: how the ROWS engine makes weights of a whole row of scores, and gradients of scores of those of weights.
 * A weight is one file of this folder and one row of list.def. All of them have one backward:
 *
 *   dS = U (dP - D)     D = (sum U dP - dLSE) / sum U     U = P for softmax, P^(2 - alpha) on the support for entmax
 *
 * where "LSE" is the number per row that the forward returns: the log of the denominator of a softmax, the threshold of
 * an entmax. Adding c to every score adds c to it, and its gradient over the scores is U / sum U. */
#ifndef FV_ATTN_ROW_WEIGHT_H
#define FV_ATTN_ROW_WEIGHT_H

#include "simd/simd.h"

/* select    raw scores, `step` apart, before the scale: those that do not count become -inf. NULL: all count. `top` is
 *           a number of the mechanism's
 * forward   scaled scores, -inf where hidden, become weights in place; `spare` has room for n numbers. Returns the LSE,
 *           -inf when every score is -inf, and then all weights are 0. One NaN makes all weights and the LSE NaN
 * strided   the weights of forward for scores `step` apart, without room
 * backward  dp, the gradient of the weights p, becomes that of the scores. The weights that are 0 are left out */
#define FV_ROW_WEIGHT_FUNCTIONS(suffix, R)                                                     \
    typedef struct fv__row_weight_##suffix {                                                   \
        void (*select)(R * score, int64_t step, int64_t n, int64_t top);                       \
        R (*forward)(const fv__simd_##suffix *simd, R *row, int64_t n, R *spare);              \
        void (*strided)(R * row, int64_t step, int64_t n);                                     \
        void (*backward)(const fv__simd_##suffix *simd, const R *p, R *dp, int64_t n, R dlse); \
    } fv__row_weight_##suffix;
FV_ROW_WEIGHT_FUNCTIONS(f32, float)
FV_ROW_WEIGHT_FUNCTIONS(f64, double)
#undef FV_ROW_WEIGHT_FUNCTIONS

typedef struct fv__row_weight {
    const char *name;
    fv__row_weight_f32 f32;
    fv__row_weight_f64 f64;
} fv__row_weight;

#define ROW_WEIGHT(name) extern const fv__row_weight fv__weight_##name;
#include "attn/weight/list.def"
#undef ROW_WEIGHT

/* The rows of list.def; NULL beyond the last. */
const fv__row_weight *fv__row_weight_at(size_t index);

/* What topk shares with softmax. */
float fv__softmax_row_f32(const fv__simd_f32 *simd, float *row, int64_t n, float *spare);
double fv__softmax_row_f64(const fv__simd_f64 *simd, double *row, int64_t n, double *spare);
void fv__softmax_strided_f32(float *row, int64_t step, int64_t n);
void fv__softmax_strided_f64(double *row, int64_t step, int64_t n);
void fv__softmax_row_back_f32(const fv__simd_f32 *simd, const float *p, float *dp, int64_t n, float dlse);
void fv__softmax_row_back_f64(const fv__simd_f64 *simd, const double *p, double *dp, int64_t n, double dlse);

#endif
