/* Relative keys: q.r joins q.k, with r the row clip(j - i) of a learned table that all heads share. Shaw, Uszkoreit,
 * Vaswani, Self-Attention with Relative Position Representations, 2018, arXiv 1803.02155; the mechanism is
 * attn/mech/shaw.c. The table is operand W0: (2 max + 1, D), its middle row is distance 0.
 *
 *   forward    G = Q R^T of the rows of R that the tile meets; row i of the tile is G_i, read from distance j0 - i on
 *   backward   E_ic = sum of dS_ij over the j with clip(j - i) = c      dQ += E R      dR += E^T Q
 * Far from the diagonal a tile meets one row of R, so what this costs does not grow with the length. */
#ifndef R
#include "attn/score/shaw_score.h"
#include "attn/engine/tile/tile.h"
#include "simd/simd.h"

#include <string.h>

enum { MOST = FV_SCORE_MOST_DISTANCES + 1 }; /* rows of R that a tile meets, rounded up to vectors */

static const fv__shaw_keys *keys_of(const fv_attention_plan *plan) { return fv__tile_choice(plan, FV_SCORE_shaw); }

static bool on(const fv_attention_plan *plan) { return keys_of(plan) != NULL; }

static int64_t parts(const fv_attention_plan *plan) {
    const int64_t rows = 2 * keys_of(plan)->max_distance + 1;
    return plan->grad[FV_W0].rank ? fv__attn_times(rows, plan->d_qk) : 0;
}

/* R transposed, and G or E. */
static int64_t scratch(const fv_attention_plan *plan) {
    return fv__attn_times(MOST, plan->d_qk) + MOST * FV_SCORE_MOST_ROWS;
}

static int64_t place(const fv_tensor *d, int64_t sequence, int64_t head, int64_t part) {
    (void)sequence, (void)head;
    return d->dim[1] > 0 ? part / d->dim[1] * d->stride[0] + part % d->dim[1] * d->stride[1] : 0;
}

static int64_t clip(int64_t x, int64_t most) { return x < -most ? -most : x > most ? most : x; }

/* The rows of R that a tile meets, and where the keys of a query begin and end to be one row each. */
typedef struct range {
    int64_t max, first, count; /* row `first` of R is the smallest distance here */
} range;

static range range_of(const fv__score_tile *t) {
    const int64_t max = keys_of(t->run->plan)->max_distance, top = t->i0 + t->sequence->q_offset;
    const int64_t low = clip(t->j0 - (top + t->rows - 1), max), high = clip(t->j0 + t->keys - 1 - top, max);
    return (range){max, low + max, high - low + 1};
}

/* Keys of row r before `*a` lie beyond -max, those from `*b` on beyond max; key *a is row *at of the range. */
static void split(const fv__score_tile *t, const range *g, int64_t r, int64_t *a, int64_t *b, int64_t *at) {
    const int64_t from = t->j0 - (t->i0 + r + t->sequence->q_offset); /* distance of key 0 */
    *a = -g->max - from, *b = g->max + 1 - from;
    *a = *a < 0 ? 0 : *a < t->keys ? *a : t->keys;
    *b = *b < *a ? *a : *b < t->keys ? *b : t->keys;
    *at = clip(from + *a, g->max) + g->max - g->first;
}

#define FV_BOTH_REALS "attn/score/shaw_score.c"
#include "simd/both_reals.h"

const fv__score fv__score_shaw = {.name = "shaw",
                                  .kind = FV_SCORE_IS_TERM,
                                  .operand = FV_W0,
                                  .positions = true,
                                  .on = on,
                                  .parts = parts,
                                  .scratch = scratch,
                                  .place = place,
                                  .f32 = {.add = add_f32, .grad = grad_f32},
                                  .f64 = {.add = add_f64, .grad = grad_f64}};
#else
#include "attn/engine/view.h"

static const R *T(query)(const fv__score_tile *t, T(view) * q) {
    *q = T(view_of)(&t->run->x->t[FV_Q]);
    return T(at)(q, t->sequence->batch, t->head, t->sequence->q_start + t->i0);
}

static const R *T(relative_keys)(const fv__score_tile *t, const range *g, int64_t *ld) {
    const fv_tensor *w = &t->run->x->t[FV_W0];
    *ld = w->stride[0];
    return (const R *)w->data + g->first * w->stride[0];
}

/* Without memory: the products of one row after the other, each the chain over the columns that it is with memory. */
static void T(products_of_row)(const fv__score_tile *t, const range *g, const R *q, R *products) {
    const SIMD *simd = t->simd;
    int64_t ld;
    const R *r = T(relative_keys)(t, g, &ld);
    simd->gemm(products, 1, r, ld, 1, q, 1, g->count, 1, t->run->plan->d_qk, FV_GEMM_OVERWRITE);
}

/* G of all rows of the tile, in memory. */
static const R *T(products)(const fv__score_tile *t, const range *g, const R *q, int64_t ldq) {
    const SIMD *simd = t->simd;
    const int64_t d = t->run->plan->d_qk, lanes = (g->count + simd->width - 1) / simd->width * simd->width;
    R *transposed = t->memory, *products = transposed + MOST * d;
    int64_t ld;
    const R *r = T(relative_keys)(t, g, &ld);
    simd->pack(transposed, lanes, r, ld, g->count, d, 1);
    simd->gemm(products, MOST, q, ldq, 1, transposed, lanes, t->rows, g->count, d, FV_GEMM_OVERWRITE);
    return products;
}

static void T(add)(const fv__score_tile *t, void *to, int64_t ld) {
    const SIMD *simd = t->simd;
    const range g = range_of(t);
    T(view) q;
    const R *row_q = T(query)(t, &q);
    const R *all = t->memory ? T(products)(t, &g, row_q, q.l) : NULL;
    R one[MOST];
    for (int64_t r = 0; r < t->rows; r++) {
        R *row = (R *)to + r * ld;
        const R *from = all ? all + r * MOST : one;
        int64_t a, b, at;
        if (!all) T(products_of_row)(t, &g, row_q + r * q.l, one);
        split(t, &g, r, &a, &b, &at);
        for (int64_t c = 0; c < a; c++) row[c] += from[0];
        if (b > a) simd->add(row + a, row + a, from + at, b - a);
        for (int64_t c = b; c < t->keys; c++) row[c] += from[g.count - 1];
    }
}

/* E: the gradient of the tile by distance. */
static void T(by_distance)(const fv__score_tile *t, const range *g, const R *ds, int64_t ld, R *e) {
    const SIMD *simd = t->simd;
    for (int64_t r = 0; r < t->rows; r++, ds += ld, e += MOST) {
        int64_t a, b, at;
        split(t, g, r, &a, &b, &at);
        memset(e, 0, (size_t)g->count * sizeof(R));
        if (b > a) memcpy(e + at, ds + a, (size_t)(b - a) * sizeof(R));
        if (a > 0) e[0] += simd->sum(ds, a);
        if (b < t->keys) e[g->count - 1] += simd->sum(ds + b, t->keys - b);
    }
}

static void T(grad)(const fv__score_tile *t, const void *ds, int64_t ld, void *part) {
    const SIMD *simd = t->simd;
    const range g = range_of(t);
    const int64_t d = t->run->plan->d_qk;
    int64_t ldr;
    T(view) q, dq = T(view_of)(&t->run->x->d[FV_Q]);
    const R *rows = T(query)(t, &q), *r = T(relative_keys)(t, &g, &ldr);
    R *e = t->memory;
    T(by_distance)(t, &g, ds, ld, e);
    /* a query that sees nothing may hold anything */
    const bool finite = simd->finite_tile(rows, q.l, t->rows, d) && simd->finite_tile(r, ldr, g.count, d);
    void (*gemm)(R *, int64_t, const R *, int64_t, int64_t, const R *, int64_t, int64_t, int64_t, int64_t,
                 fv__gemm_mode) = finite ? simd->gemm : simd->gemm_masked;
    if (dq.data) {
        R *to = T(at)(&dq, t->sequence->batch, t->head, t->sequence->q_start + t->i0);
        gemm(to, dq.l, e, MOST, 1, r, ldr, t->rows, d, g.count, FV_GEMM_ACCUMULATE);
    }
    if (part) gemm((R *)part + g.first * d, d, e, 1, MOST, rows, q.l, g.count, d, t->rows, FV_GEMM_ACCUMULATE);
}
#endif
