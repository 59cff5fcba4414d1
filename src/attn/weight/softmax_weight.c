/* Softmax of a row: P = exp(S - LSE), LSE = ln sum exp(S), U = P. */
#ifndef FV_BOTH_REALS
#define FV_BOTH_REALS "attn/weight/softmax_weight.c"
#include "attn/weight/row_weight.h"
#include "simd/both_reals.h"

const fv__row_weight fv__weight_softmax = {
    .name = "softmax",
    .f32 = {NULL, fv__softmax_row_f32, fv__softmax_strided_f32, fv__softmax_row_back_f32},
    .f64 = {NULL, fv__softmax_row_f64, fv__softmax_strided_f64, fv__softmax_row_back_f64},
};

#else

R T(fv__softmax_row)(const SIMD *simd, R *row, int64_t n, R *spare) {
    (void)spare;
    return simd->softmax(row, row, n);
}

void T(fv__softmax_strided)(R *row, int64_t step, int64_t n) {
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < n; j++)
        if (row[j * step] > top) top = (double)row[j * step];
    for (int64_t j = 0; j < n && top > -INFINITY; j++) sum += exp((double)row[j * step] - top);
    for (int64_t j = 0; j < n; j++)
        row[j * step] = row[j * step] == (R)-INFINITY ? 0 : (R)(exp((double)row[j * step] - top) / sum);
}

void T(fv__softmax_row_back)(const SIMD *simd, const R *p, R *dp, int64_t n, R dlse) {
    R delta = -dlse;
    (void)simd;
    for (int64_t j = 0; j < n; j++) delta += p[j] * dp[j];
    for (int64_t j = 0; j < n; j++) dp[j] = p[j] * (dp[j] - delta);
}

#endif
