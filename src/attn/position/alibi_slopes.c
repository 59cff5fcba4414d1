/* Slopes of Press, Smith, Lewis 2021 (ALiBi, arXiv 2108.12409): 2^(-8 i / n) for n a power of two; otherwise those of
 * the power below, and every second of the power above. */
#include "attn/position/alibi_slopes.h"

#include <math.h>

double fv__alibi_slope(int64_t head, int64_t heads) {
    int64_t below = 1;
    while (below * 2 <= heads) below *= 2;
    if (head < below) return pow(2, -8.0 * (double)(head + 1) / (double)below);
    return pow(2, -8.0 * (double)(2 * (head - below) + 1) / (double)(2 * below));
}
