/* base: randomness, counter-based: Philox4x32-10 (Salmon et al., SC 2011). */
#ifndef FV_BASE_RNG_H
#define FV_BASE_RNG_H

#include "fovea/base.h"

typedef struct fv__u32x4 {
    uint32_t v[4];
} fv__u32x4;
fv__u32x4 fv__philox(fv__u32x4 counter, uint32_t key0, uint32_t key1);
/* Numbers of a named stream: value `index` of (seed, stream) never depends on what was drawn before. */
uint32_t fv__random_u32(uint64_t seed, uint64_t stream, uint64_t index);
double fv__random_uniform(uint64_t seed, uint64_t stream, uint64_t index); /* [0,1), 53 bits */
double fv__random_normal(uint64_t seed, uint64_t stream, uint64_t index);
int64_t fv__random_below(uint64_t seed, uint64_t stream, uint64_t index, int64_t n);
void fv__random_shuffle(uint64_t seed, uint64_t stream, int64_t *items, int64_t count);

#endif
