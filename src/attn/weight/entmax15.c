/* 1.5-entmax of a row. Peters, Niculae, Martins, Sparse Sequence-to-Sequence Models, 2019, arXiv 1905.05702.
 *
 *   P_j = ((S_j - t) / 2)_+^2, t such that they sum to 1        U = sqrt(P), which is 0 off the support
 *
 * The "LSE" is t: scores at and below it have weight 0. No score 2 or more below the largest has a weight, for the
 * largest alone would have 1. With u = (S - largest) / 2 the sum f(tau) = sum (u - tau)_+^2 is convex and falls, and
 * f(-1) >= 1: Newton's steps from there never pass the root, and end when rounding leaves nothing to add. */
#ifndef FV_BOTH_REALS
#define FV_BOTH_REALS "attn/weight/entmax15.c"
#include "attn/weight/row_weight.h"
#include "simd/both_reals.h"

const fv__row_weight fv__weight_entmax15 = {
    .name = "entmax15",
    .f32 = {NULL, forward_f32, strided_f32, backward_f32},
    .f64 = {NULL, forward_f64, strided_f64, backward_f64},
};

#else

static double T(threshold)(const R *score, int64_t step, int64_t n, double top) {
    for (double tau = -1;;) {
        double sum = 0, squares = 0;
        for (int64_t j = 0; j < n; j++) {
            const double u = ((double)score[j * step] - top) / 2 - tau;
            if (u > 0) sum += u, squares += u * u;
        }
        const double next = tau + (squares - 1) / (2 * sum);
        if (!(next > tau)) return tau;
        tau = next;
    }
}

static void T(weigh)(R *row, int64_t step, int64_t n, double top, double tau) {
    for (int64_t j = 0; j < n; j++) {
        const double u = ((double)row[j * step] - top) / 2 - tau;
        row[j * step] = u > 0 ? (R)(u * u) : isnan(top) ? (R)NAN : 0;
    }
}

#define WEIGHT_SPAN 2
#include "attn/weight/threshold_rows.h"

static void T(backward)(const SIMD *simd, const R *p, R *dp, int64_t n, R dlse) {
    double all = 0, product = -(double)dlse;
    (void)simd;
    for (int64_t j = 0; j < n; j++) all += sqrt((double)p[j]), product += sqrt((double)p[j]) * (double)dp[j];
    for (int64_t j = 0; j < n; j++) dp[j] = (R)(sqrt((double)p[j]) * ((double)dp[j] - product / all));
}

#endif
