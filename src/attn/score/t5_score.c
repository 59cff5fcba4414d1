/* A learned number per head for the bucket of the relative position, joins the scores after the softcap. Raffel et al.,
 * T5, 2020, arXiv 1910.10683; the mechanism is attn/mech/t5.c, the buckets attn/position/t5_buckets.c. The table is
 * operand W0: (H, buckets).
 *
 * All pairs of a diagonal have one bucket: a tile has as many numbers as diagonals, of which each row is a piece, and
 * the gradient of the tile is added up along them. */
#ifndef R
#include "attn/engine/tile/tile.h"
#include "attn/position/t5_buckets.h"
#include "simd/simd.h"

static const fv__t5_buckets *buckets_of(const fv_attention_plan *plan) { return fv__tile_choice(plan, FV_SCORE_t5); }

static bool on(const fv_attention_plan *plan) { return buckets_of(plan) != NULL; }

static int64_t parts(const fv_attention_plan *plan) { return plan->grad[FV_W0].rank ? buckets_of(plan)->buckets : 0; }

/* Buckets of the diagonals of a tile, from its last query with its first key on. Returns how many. */
static int64_t diagonals(const fv__score_tile *t, int64_t *bucket) {
    const int64_t count = t->rows + t->keys - 1, last = t->i0 + t->rows - 1 + t->sequence->q_offset;
    fv__t5_bucket_run(buckets_of(t->run->plan), t->j0 - last, count, bucket);
    return count;
}

#define FV_BOTH_REALS "attn/score/t5_score.c"
#include "simd/both_reals.h"

const fv__score fv__score_t5 = {.name = "t5",
                                .kind = FV_SCORE_IS_BIAS,
                                .operand = FV_W0,
                                .doubles = true,
                                .positions = true,
                                .on = on,
                                .parts = parts,
                                .f32 = {.add = add_f32, .grad = grad_f32},
                                .f64 = {.add = add_f64, .grad = grad_f64}};
#else
static void T(add)(const fv__score_tile *t, void *to, int64_t ld) {
    const SIMD *simd = t->simd;
    const fv_tensor *w = &t->run->x->t[FV_W0];
    const R *table = (const R *)w->data + t->head * w->stride[0];
    int64_t bucket[FV_SCORE_MOST_DISTANCES];
    R value[FV_SCORE_MOST_DISTANCES];
    const int64_t count = diagonals(t, bucket);
    for (int64_t n = 0; n < count; n++) value[n] = table[bucket[n] * w->stride[1]];
    for (int64_t r = 0; r < t->rows; r++) {
        R *row = (R *)to + r * ld;
        simd->add(row, row, value + t->rows - 1 - r, t->keys);
    }
}

static void T(grad)(const fv__score_tile *t, const void *ds, int64_t ld, void *part) {
    const SIMD *simd = t->simd;
    const double unscale = 1 / t->run->plan->options.scale;
    int64_t bucket[FV_SCORE_MOST_DISTANCES];
    R sum[FV_SCORE_MOST_DISTANCES] = {0};
    const int64_t count = diagonals(t, bucket);
    for (int64_t r = 0; r < t->rows; r++) {
        R *along = sum + t->rows - 1 - r;
        simd->add(along, along, (const R *)ds + r * ld, t->keys);
    }
    for (int64_t n = 0; n < count; n++) ((double *)part)[bucket[n]] += unscale * (double)sum[n];
}
#endif
