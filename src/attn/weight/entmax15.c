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

/* The largest of the scores; NaN when one of them is, or is infinite. */
static double T(largest)(const R *score, int64_t step, int64_t n) {
    double top = -INFINITY;
    for (int64_t j = 0; j < n; j++) {
        const double s = (double)score[j * step];
        if (!(s < INFINITY)) return NAN;
        if (s > top) top = s;
    }
    return top;
}

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

static R T(forward)(const SIMD *simd, R *row, int64_t n, R *spare) {
    const double top = T(largest)(row, 1, n);
    int64_t near = 0;
    (void)simd;
    for (int64_t j = 0; j < n; j++)
        if ((double)row[j] - top > -2) spare[near++] = row[j];
    const double tau = near ? T(threshold)(spare, 1, near, top) : 0;
    T(weigh)(row, 1, n, top, tau);
    return (R)(top + 2 * tau);
}

static void T(strided)(R *row, int64_t step, int64_t n) {
    const double top = T(largest)(row, step, n);
    T(weigh)(row, step, n, top, top > -INFINITY ? T(threshold)(row, step, n, top) : 0);
}

static void T(backward)(const SIMD *simd, const R *p, R *dp, int64_t n, R dlse) {
    double all = 0, product = -(double)dlse;
    (void)simd;
    for (int64_t j = 0; j < n; j++)
        if (p[j] != 0) all += sqrt((double)p[j]), product += sqrt((double)p[j]) * (double)dp[j];
    for (int64_t j = 0; j < n; j++)
        if (p[j] != 0) dp[j] = (R)(sqrt((double)p[j]) * ((double)dp[j] - product / all));
}

#endif
