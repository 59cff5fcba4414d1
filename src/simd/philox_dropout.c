/* The plain definition of dropout: which elements a counter of Philox keeps. The kernels do the same in vectors. */
#include "simd/simd.h"

#include <math.h>

fv__drop fv__drop_of(double rate, uint64_t seed, uint64_t stream) {
    fv__drop drop = {seed, stream, 0, 1};
    if (!(rate > 0)) return drop;
    double steps = rint(rate * 65536);
    drop.threshold = steps < 1 ? 1 : steps > 65535 ? 65535 : (uint32_t)steps;
    drop.scale = rate < 1 ? 65536.0 / (65536.0 - drop.threshold) : 0; /* of 1 nothing is left */
    return drop;
}

static bool keeps(const fv__drop *drop, fv__u32x4 counter, int word, int high) {
    uint32_t bits = fv__philox(counter, (uint32_t)drop->seed, (uint32_t)(drop->seed >> 32)).v[word];
    return (high ? bits >> 16 : bits & 0xffff) >= drop->threshold;
}

bool fv__drop_keeps(const fv__drop *drop, uint64_t element) {
    uint64_t lane = element / 128 * 16 + element % 16;
    int within = (int)(element % 128);
    fv__u32x4 counter = {
        {(uint32_t)lane, (uint32_t)(lane >> 32), (uint32_t)drop->stream, (uint32_t)(drop->stream >> 32)}};
    return keeps(drop, counter, within / 32, within / 16 % 2);
}

bool fv__drop_keeps_at(const fv__drop *drop, int64_t i, int64_t j) {
    fv__u32x4 counter = {{(uint32_t)(i / 32 * 16 + i % 16), (uint32_t)(j / 64 * 16 + j % 16), (uint32_t)drop->stream,
                          (uint32_t)(drop->stream >> 32)}};
    return keeps(drop, counter, (int)(j / 16 % 4), (int)(i / 16 % 2));
}
