/* The `top` largest scores of a row and the softmax of them. Of equal scores those with the lowest index stay; the
 * others become -inf. The choice has no gradient. */
#ifndef FV_BOTH_REALS
#define FV_BOTH_REALS "attn/weight/topk_weight.c"
#include "attn/weight/row_weight.h"
#include "simd/both_reals.h"

const fv__row_weight fv__weight_topk = {
    .name = "topk",
    .f32 = {topk_mask_f32, fv__softmax_row_f32, fv__softmax_strided_f32, fv__softmax_row_back_f32},
    .f64 = {topk_mask_f64, fv__softmax_row_f64, fv__softmax_strided_f64, fv__softmax_row_back_f64},
};

#else

/* Order of the reals as order of unsigned integers: negative ones are reversed. */
static uint64_t T(order)(R x) {
    if (x == 0) x = 0; /* -0 and 0 are equal */
#if FV_REAL_IS_DOUBLE
    uint64_t u;
    memcpy(&u, &x, 8);
    return u >> 63 ? ~u : u | UINT64_C(1) << 63;
#else
    uint32_t u;
    memcpy(&u, &x, 4);
    return u >> 31 ? (uint32_t)~u : u | UINT32_C(1) << 31;
#endif
}

/* The order of the top-th largest score, found a byte at a time; *ties becomes how many equal to it are to be kept. */
static uint64_t T(threshold)(const R *score, int64_t step, int64_t n, int64_t top, int64_t *ties) {
    uint64_t prefix = 0;
    for (int shift = 8 * (int)sizeof(R) - 8; shift >= 0; shift -= 8) {
        int64_t count[256] = {0};
        for (int64_t j = 0; j < n; j++) {
            const uint64_t key = T(order)(score[j * step]);
            if ((key >> shift >> 8) == (prefix >> shift >> 8)) count[key >> shift & 255]++;
        }
        int byte = 255;
        for (; byte > 0 && count[byte] < top; byte--) top -= count[byte];
        prefix |= (uint64_t)byte << shift;
    }
    *ties = top;
    return prefix;
}

static void T(topk_mask)(R *score, int64_t step, int64_t n, int64_t top) {
    if (n <= top) return;
    int64_t ties;
    const uint64_t limit = T(threshold)(score, step, n, top, &ties);
    for (int64_t j = 0; j < n; j++) {
        const uint64_t key = T(order)(score[j * step]);
        if (key > limit || (key == limit && ties-- > 0)) continue;
        score[j * step] = (R)-INFINITY;
    }
}

#endif
