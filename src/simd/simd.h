/* simd: kernels on raw pointers and sizes, written once and compiled per instruction set.
 *
 *     const fv__simd_f32 *k = fv__simd_f32_now();
 *     k->axpy(y, 0.5f, x, n);
 *
 * kernels.def is the list. Each isa_*.c includes one vector vocabulary (vec_*.h) and the kernels (kernels_*.h) and
 * exports one symbol, its table. select.c picks by fv__cpu_isa(). Doubles have the same kernels, through the scalar
 * vocabulary. */
#ifndef FV_SIMD_H
#define FV_SIMD_H

#include "base/base.h"

/* One step of AdamW (Loshchilov & Hutter, arXiv 1711.05101): decoupled decay, bias-corrected moments.
 *   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;
 *   p = p (1 - lr decay) - lr (m / correct1) / (sqrt(v / correct2) + eps) */
typedef struct fv__adamw {
    double lr, beta1, beta2, eps, decay;
    double correct1, correct2; /* 1 - beta^t */
    double grad_scale;         /* g is multiplied by it first: clipping, accumulation */
} fv__adamw;

/* What decides which elements a dropout keeps. Decisions use 16 bits of Philox4x32-10: the rate is rounded to 1/65536
 * and `scale` is the inverse of the rounded keep rate, so the mean is exact. */
typedef struct fv__drop {
    uint64_t seed, stream;
    uint32_t threshold; /* dropped when the 16 bits are below it; 0 keeps all */
    double scale;
} fv__drop;

/* What becomes of the C of a product. OVERWRITE: the chain of an element starts at 0. CONTINUE: it goes on from C, so
 * that how a sum is partitioned does not show. ACCUMULATE: it starts at 0 and joins C at its end, so that errors of
 * long sums grow with the root of a block, not of the whole. */
typedef enum fv__gemm_mode { FV_GEMM_OVERWRITE, FV_GEMM_CONTINUE, FV_GEMM_ACCUMULATE } fv__gemm_mode;

/* Tiles of attention that go with an instruction set: its registers hold `lanes` scores of a few keys, its near caches
 * a step. Tables hold them beside the kernels they fit; nothing else knows a number. */
typedef struct fv__tile_sizes {
    int64_t lanes;   /* queries of a forward tile, as wide as FV_KEYS_QUERIES at most */
    int64_t block_q; /* queries of a forward task, a multiple of lanes */
    int64_t block_k; /* keys of a forward step, a multiple of 64 */
    int64_t side;    /* queries and keys of a backward tile */
} fv__tile_sizes;
enum { FV_TILE_MOST_LANES = 32, FV_TILE_MOST_BLOCK = 128, FV_TILE_MOST_TILES = 4, FV_TILE_MOST_SIDE = 64 };

/* 0 <= rate < 1. */
fv__drop fv__drop_of(double rate, uint64_t seed, uint64_t stream);
bool fv__drop_keeps(const fv__drop *drop, uint64_t element); /* of an array: plain code, for tests and references */
/* of row i, column j of the matrix number `stream`; laid out so that tiles in either orientation draw whole vectors */
bool fv__drop_keeps_at(const fv__drop *drop, int64_t i, int64_t j);

#define KERNEL(result, name, arguments) result(*name) arguments;
#define R float
typedef struct fv__simd_f32 {
#include "simd/kernels.def"
#include "simd/kernels_tile.def"
#include "simd/kernels_decode.def"
    int64_t width; /* elements of a vector: tiles have a multiple of it as columns */
    fv__tile_sizes tile;
    fv__isa isa;
} fv__simd_f32;
#undef R
#define R double
typedef struct fv__simd_f64 {
#include "simd/kernels.def"
#include "simd/kernels_tile.def"
    int64_t width;
    fv__tile_sizes tile;
    fv__isa isa;
} fv__simd_f64;
#undef R
#undef KERNEL

const fv__simd_f32 *fv__simd_f32_now(void);
const fv__simd_f64 *fv__simd_f64_now(void);
/* Tests: the f32 table of `isa` from now on, FV_ISAS for that of fv__cpu_isa() again. False when it is not there. */
bool fv__simd_use(fv__isa isa);
/* The table of one instruction set, NULL when this machine or build has not got it (tests walk over all). */
const fv__simd_f32 *fv__simd_f32_of(fv__isa isa);

#endif
