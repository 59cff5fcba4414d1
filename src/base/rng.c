/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011). A number is a function of (seed, stream, index): no state, any order, any thread. */
#include "base/rng.h"

#include "base/base.h"
#include "fovea/random.h"

#include <math.h>

fv__u32x4 fv__philox(fv__u32x4 c, uint32_t key0, uint32_t key1) {
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c.v[0], p1 = (uint64_t)0xCD9E8D57u * c.v[2];
        c = (fv__u32x4){
            {(uint32_t)(p1 >> 32) ^ c.v[1] ^ key0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c.v[3] ^ key1, (uint32_t)p0}};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return c;
}

static fv__u32x4 draw(uint64_t seed, uint64_t stream, uint64_t index) {
    fv__u32x4 counter = {{(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)}};
    return fv__philox(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
}

static uint64_t join(uint32_t low, uint32_t high) { return (uint64_t)high << 32 | low; }

static double unit(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

uint32_t fv__random_u32(uint64_t seed, uint64_t stream, uint64_t index) { return draw(seed, stream, index).v[0]; }

double fv__random_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
    fv__u32x4 r = draw(seed, stream, index);
    return unit(join(r.v[0], r.v[1]));
}

/* Box and Muller; 1 - u lies in (0,1], so the logarithm is finite. */
double fv__random_normal(uint64_t seed, uint64_t stream, uint64_t index) {
    fv__u32x4 r = draw(seed, stream, index);
    double radius = sqrt(-2.0 * log(1.0 - unit(join(r.v[0], r.v[1]))));
    return radius * cos(6.283185307179586 * unit(join(r.v[2], r.v[3])));
}

/* The high half of a 64 x 64 bit product (Lemire): bias below n / 2^64. */
int64_t fv__random_below(uint64_t seed, uint64_t stream, uint64_t index, int64_t n) {
    fv__u32x4 r = draw(seed, stream, index);
    return n <= 1 ? 0 : (int64_t)((unsigned __int128)join(r.v[0], r.v[1]) * (uint64_t)n >> 64);
}

void fv__random_shuffle(uint64_t seed, uint64_t stream, int64_t *items, int64_t count) {
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = fv__random_below(seed, stream, (uint64_t)i, i + 1);
        int64_t kept = items[i];
        items[i] = items[j];
        items[j] = kept;
    }
}

/* ---- the same for callers of the library (fovea/random.h) */

double fv_random_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
    return fv__random_uniform(seed, stream, index);
}

double fv_random_normal(uint64_t seed, uint64_t stream, uint64_t index) {
    return fv__random_normal(seed, stream, index);
}

int64_t fv_random_integer(uint64_t seed, uint64_t stream, uint64_t index, int64_t n) {
    return fv__random_below(seed, stream, index, n);
}

void fv_random_shuffle(uint64_t seed, uint64_t stream, int64_t *items, int64_t count) {
    fv__random_shuffle(seed, stream, items, count);
}
