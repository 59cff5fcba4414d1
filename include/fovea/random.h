/* fovea/random.h - random numbers that have an address.
 *
 *     for (uint64_t i = 0; i < 3; i++)
 *         printf("%g %g\n", fv_random_uniform(seed, 0, i), fv_random_normal(seed, 1, i));
 *     fv_random_shuffle(seed, 2, order, count);
 *
 * A number is a function of (seed, stream, index) and of nothing else: no state, so any order, any thread and any
 * machine give the same, and a program that stopped goes on where it was by its index. Streams keep uses of one seed
 * apart: give each its own number. Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1,
 * 2, 3", SC 2011): counter (index, stream), key seed.
 */
#ifndef FOVEA_RANDOM_H
#define FOVEA_RANDOM_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In [0, 1), 53 bits. */
FV_API double fv_random_uniform(uint64_t seed, uint64_t stream, uint64_t index);

/* Mean 0, standard deviation 1. */
FV_API double fv_random_normal(uint64_t seed, uint64_t stream, uint64_t index);

/* In 0 .. n-1, each as likely as another to n / 2^64; 0 when n is 1 or less. */
FV_API int64_t fv_random_integer(uint64_t seed, uint64_t stream, uint64_t index, int64_t n);

/* Fisher and Yates: every order is as likely. Uses the indices 1 .. count-1 of the stream. */
FV_API void fv_random_shuffle(uint64_t seed, uint64_t stream, int64_t *items, int64_t count);

#ifdef __cplusplus
}
#endif
#endif
