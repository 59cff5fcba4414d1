/* Sparsemax of a row: the nearest point of the simplex, entmax with alpha 2. Martins, Astudillo, From Softmax to
 * Sparsemax, 2016, arXiv 1602.02068.
 *
 *   P_j = (S_j - t)_+, t such that they sum to 1        U = 1 on the support
 *
 * The "LSE" is t: scores at and below it have weight 0. No score 1 or more below the largest has a weight. With
 * u = S - largest and tau = t - largest, begin at tau = -1: tau becomes what makes the weights of all u above it sum to
 * 1; it grows, and once no u drops out it is exact (Michelot, 1986). */
#ifndef FV_BOTH_REALS
#define FV_BOTH_REALS "attn/weight/sparsemax.c"
#include "attn/weight/row_weight.h"
#include "simd/both_reals.h"

const fv__row_weight fv__weight_sparsemax = {
    .name = "sparsemax",
    .f32 = {NULL, forward_f32, strided_f32, backward_f32},
    .f64 = {NULL, forward_f64, strided_f64, backward_f64},
};

#else

static double T(threshold)(const R *score, int64_t step, int64_t n, double top) {
    int64_t before = n + 1;
    for (double tau = -1;;) {
        double sum = 0;
        int64_t count = 0;
        for (int64_t j = 0; j < n; j++) {
            const double u = (double)score[j * step] - top;
            if (u > tau) sum += u, count++;
        }
        if (count == before || count == 0) return tau;
        before = count, tau = (sum - 1) / (double)count;
    }
}

static void T(weigh)(R *row, int64_t step, int64_t n, double top, double tau) {
    for (int64_t j = 0; j < n; j++) {
        const double u = (double)row[j * step] - top - tau;
        row[j * step] = u > 0 ? (R)u : isnan(top) ? (R)NAN : 0;
    }
}

#define WEIGHT_SPAN 1
#include "attn/weight/threshold_rows.h"

static void T(backward)(const SIMD *simd, const R *p, R *dp, int64_t n, R dlse) {
    double sum = -(double)dlse;
    (void)simd, (void)p;
    for (int64_t j = 0; j < n; j++) sum += (double)dp[j];
    for (int64_t j = 0; j < n; j++) dp[j] = (R)((double)dp[j] - sum / (double)n);
}

#endif
