/* TILE: exact attention by tiles, O(length) memory, forward and backward, with every option.
 *
 * One source for f32 and f64: tile_job.h, tile_forward.h and tile_backward.h are written for a type R and compiled by
 * tile_f32.c and tile_f64.c. tile.c chooses by dtype.
 *
 * Forward. A task owns up to block_q queries of one head and walks over blocks of block_k keys. Scores are held
 * transposed, a query per vector lane: maximum, sum and rescaling of the online softmax then need no horizontal
 * operation, keys and values are read where they lie (as broadcast operands), and only the queries are transposed once
 * into scratch.
 *
 * Backward. A task owns a chunk of keys of one kv head and, in each wave, another chunk of the queries. Scores are held
 * with a key per lane; dK and dV grow in scratch, dQ directly in the caller's tensor: no other task of the wave touches
 * those rows. Waves follow each other, so every sum has one order, whatever the number of threads, and no partial
 * results are stored. The first wave writes every row of a gradient, later ones add.
 *
 *            queries chunk 0   1   2   3          0   1   2   3
 *  keys   0      wave      0   1   2   3          0   1   2   3      one wave = one diagonal: its tasks share neither
 *  chunk  1                3   0   1   2          1   2   3   0      rows nor columns. Below a causal diagonal the
 *         2                2   3   0   1          2   3   0   1      anti-diagonals (right) have equally many tasks;
 *         3                1   2   3   0          3   0   1   2      a window lies in few waves of the first kind.
 */
#ifndef FV_ATTN_TILE_H
#define FV_ATTN_TILE_H

#include "attn/mechanism_contract.h"
#include "attn/engine/tile/statistics_partition.h"
#include "attn/keys/keys.h"
#include "attn/score/score.h"
#include "simd/simd.h"

enum { FV_TILE_NEAR = 4 << 20 }; /* bytes of all tensors that stay in near caches by themselves */

enum {
    FV_TILE_CAN = FV_CAN_BACKWARD | FV_CAN_CAUSAL | FV_CAN_GQA | FV_CAN_VARLEN | FV_CAN_KV_LEN | FV_CAN_WEIGHTS |
                  FV_CAN_DROPOUT | FV_CAN_BLOCKS | FV_CAN_DECODE | FV_CAN_SOFTCAP
};
extern const fv__engine fv__tile;

/* What a mechanism over TILE chooses. */
typedef struct fv__tile_setup {
    const void
        *choice[FV_SCORES];  /* rows of score/list.def that are on because it says so, each with what that row wants
                                      to know; NULL: not chosen */
    const fv__keys *keys;    /* its own pattern of keys, NULL: all that the band leaves */
    const void *keys_params; /* what the pattern reads; lives as long as the plan */
} fv__tile_setup;
static inline fv__tile_setup *fv__tile_setup_of(const fv_attention_plan *plan) { return fv__setup_of(plan, &fv__tile); }
static inline const void *fv__tile_choice(const fv_attention_plan *plan, fv__score_id id) {
    return fv__tile_setup_of(plan) ? fv__tile_setup_of(plan)->choice[id] : NULL;
}

/* Also for ROWS, which computes as many scores. */
double fv__tile_flops(const fv_attention_plan *plan, const fv_attention_call *call, bool backward);

/* ---- between tile.c and the two types */

/* The patterns of keys of a call: bytes of their memory, and the set that asks them. */
size_t fv__tile_keys_bytes(const fv_attention_plan *plan);
fv__keys_set fv__tile_keys_of(const fv__run *run, void *memory);

/* Of the instruction set that is in use. */
fv__tile_sizes fv__tile_sizes_of(const fv_attention_plan *plan);

/* How a call is partitioned; depends on shapes and sizes of tiles only. */
typedef struct fv__tile_partition {
    int64_t group; /* (block, head) pairs of a forward task, or (query chunk, key chunk) pairs of a backward one */
    int64_t chunk, chunks;             /* rows of the largest backward chunk, chunks over all sequences */
    size_t worker_bytes, shared_bytes; /* scratch of each worker, and of all together */
    size_t keys_bytes;                 /* of the patterns of keys, at the end of what is shared */
    size_t norms_bytes;                /* of the sums of far rows, see tile_norm.h; at the end of a worker's */
    /* what decides which regions a worker has, see tile_forward_regions.def and tile_backward_regions.def */
    int64_t d, dv, score; /* head dimensions; elements that what joins the scores asks for */
    bool biased, hides, banded, dropout, own_base;
    fv__tile_sizes sizes;
} fv__tile_partition;
fv__tile_partition fv__tile_partition_of(const fv_attention_plan *plan, bool backward);

/* Rows of a backward chunk of a sequence with `rows` queries or keys: a function of its own length and the head
 * dimensions alone, so that the bits of its gradients do not depend on what else is in the batch. */
int64_t fv__tile_chunk(const fv_attention_plan *plan, int64_t rows);

/* Sequence and block of task number `task`: first[n] is the number of the first task of sequence n. */
void fv__tile_locate(const int64_t *first, int64_t sequences, int64_t task, int64_t *sequence, int64_t *block);

typedef struct fv__tile_kernels {
    void (*forward)(const fv__run *run, void *scratch);
    void (*backward)(const fv__run *run, void *scratch);
    void (*weights)(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                    int64_t count, const fv_tensor *out, void *scratch);
    void (*statistics)(const fv__run *run, const fv_attention_statistics *want, void *scratch);
} fv__tile_kernels;
extern const fv__tile_kernels fv__tile_kernels_f32, fv__tile_kernels_f64;

#endif
