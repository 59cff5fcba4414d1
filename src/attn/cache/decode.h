/* Between the files of decoding: decode.c plans and checks, split_kv.c runs.
 *
 * A task is (sequence, kv head, chunk of 1024 positions). It reads the chunk of K, then that of V, once, for all rows
 * of its group: `group` query heads times the new rows, at most about 64 together (more are done in batches of rows).
 * Chunks begin at multiples of 1024 of the absolute position, so the partial results (maximum, sum, weighted values)
 * and their merge in the order of chunks depend on nothing but the positions a row sees: not on threads, on the batch,
 * on the kind of cache, or on how many rows are decoded together.
 *
 *      positions   0        1024      2048      2300        head 0..3 of the group, new rows r
 *      K, V        |---------|---------|-----|
 *      tasks          m l o     m l o   m l o      merge:  M = max m,  L = sum l 2^(m-M),  O = sum o 2^(m-M) / L
 */
#ifndef FV_ATTN_DECODE_H
#define FV_ATTN_DECODE_H

#include "attn/cache/kv_cache.h"
#include "attn/keys/keys.h"
#include "attn/mechanism_contract.h"
#include "attn/score/score.h"
#include "simd/simd.h"

enum {
    FV_DECODE_CHUNK = 1024, /* positions of a task; a multiple of 64 */
    FV_DECODE_ROWS = 64,    /* rows of a group done together, unless one new row already has more heads */
    FV_DECODE_PAD = 32,     /* widths are padded to it */
    FV_DECODE_PARAMS = 6    /* operands w0, w1, ... */
};

#define FV_DECODE_LOG2E 1.44269504088896340736

/* What a mechanism adds to the scores and hides of the keys, by the rows of score/ and keys/ that TILE asks too. */
typedef struct fv__decode_modifiers {
    fv_attention_plan *plan; /* of the mechanism, for one query; NULL: none is named */
    fv__score_use base, term[FV_SCORES], bias[FV_SCORES];
    int terms, biases;
    const fv__keys *keys; /* NULL: it hides none */
    const void *keys_params;
} fv__decode_modifiers;

struct fv_decode_plan {
    fv_decode_options o; /* scale filled in */
    fv__decode_modifiers modifiers;
    fv_cache_options cache;
    int64_t heads, group, rows;
    int64_t left, right;         /* the window, -1 for no limit; right counts with see_all only */
    int64_t row_batch;           /* new rows done together */
    int64_t pairs, q_pad, o_pad; /* pairs of columns of K; padded widths */
};

/* How the scratch is partitioned; depends on plan, cache and threads only. */
typedef struct fv__decode_partition {
    int64_t chunks; /* of all sequences together, at most */
    size_t first_bytes, left_bytes, part_bytes, worker_bytes, bytes;
    size_t base_bytes; /* of a worker's, for a base of the mechanism's own: a block of keys and its scores */
} fv__decode_partition;
fv__decode_partition fv__decode_partition_of(const fv_decode_plan *plan, const fv_kv_cache *cache);

/* The positions that row r of n of sequence b sees: [*start, *end). prefix: of the sequence, 0 for none. */
void fv__decode_visible(const fv_decode_plan *plan, const fv_kv_cache *cache, int64_t b, int64_t r, int64_t n,
                        int64_t prefix, int64_t *start, int64_t *end);

/* decode_bias.c: bias and mask of a call. A plane is a tensor (B|1,H|1,n|1,positions|1), steps are 0 where it is
 * broadcast; without data it is absent. */
typedef struct fv__decode_plane {
    const void *data;
    fv_dtype dtype;
    int64_t step[4];
} fv__decode_plane;
typedef struct fv__decode_bias_mask {
    fv__decode_plane bias, mask;
    bool drop; /* what a true element of the mask means */
} fv__decode_bias_mask;
typedef struct fv__decode_row {
    int64_t b, h, r;
} fv__decode_row;
fv__decode_bias_mask fv__decode_bias_mask_of(const fv_decode_plan *plan, const fv_decode_tensors *x);
/* Adds the bias to the scores of positions [start, end), the first of which is s[0], and hides what it or the mask
 * hides: -inf. */
void fv__decode_add_bias_mask(const fv__decode_bias_mask *bias_mask, const fv__simd_f32 *simd,
                              const fv__decode_row *row, int64_t start, int64_t end, float *s);
bool fv__decode_hides(const fv__decode_bias_mask *bias_mask, const fv__simd_f32 *simd, const fv__decode_row *row,
                      int64_t at);

/* decode_modifiers.c. Fills plan->modifiers, and scale and window as the mechanism has them. */
fv_status fv__decode_modifiers_plan(fv_decode_plan *plan);
fv_status fv__decode_modifiers_check(const fv_decode_plan *plan, const fv_decode_tensors *x);
static inline bool fv__decode_own_base(const fv_decode_plan *plan) {
    return plan->modifiers.plan && plan->modifiers.base.kernels->base;
}

/* A call, as the rows of score/ and keys/ see one. */
typedef struct fv__decode_modified {
    const fv__decode_modifiers *by;
    const fv__simd_f32 *simd;
    fv_attention_tensors x;
    fv__run run;
} fv__decode_modified;
void fv__decode_modified_open(fv__decode_modified *call, const fv_decode_plan *plan, const fv_decode_tensors *x);

/* A row: its head, where it stands among `length` positions, and its packed query. */
typedef struct fv__decode_query {
    int64_t head, kv, position, length;
    const float *q;
} fv__decode_query;
/* To the scores of positions [start, end), the first of which is s[0]: terms of the base, times `factor`; biases, in
 * units of log 2; -inf where keys are hidden. */
void fv__decode_add_terms(const fv__decode_modified *call, const fv__decode_query *q, int64_t start, int64_t end,
                          float factor, float *s);
void fv__decode_add_biases(const fv__decode_modified *call, const fv__decode_query *q, int64_t start, int64_t end,
                           float *s);
void fv__decode_hide_keys(const fv__decode_modified *call, const fv__decode_query *q, int64_t start, int64_t end,
                          float *s);
bool fv__decode_hides_key(const fv__decode_modified *call, const fv__decode_query *q, int64_t at);
/* Scores of `rows` queries of one head, ldq apart, with 16 keys, (columns, 16): (rows, 16). */
void fv__decode_base(const fv__decode_modified *call, const fv__decode_query *q, int64_t ldq, int64_t rows,
                     const float *keys, float factor, float *s);

/* Everything was checked; scratch is aligned. */
void fv__decode_run(const fv_decode_plan *plan, const fv_kv_cache *cache, const fv_decode_tensors *x, void *scratch);

#endif
