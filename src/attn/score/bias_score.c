/* A dense bias, (B|1,H|1,Lq|1,Lk|1); -inf hides. Its gradient is written where it belongs, in the caller's tensor, but
 * for one number per head, which is summed as a part. */
#ifndef R
#include "attn/score/score.h"
#include "simd/simd.h"

#include <string.h>

static bool on(const fv_attention_plan *plan) { return plan->shape[FV_BIAS].rank != 0; }

static bool one_number(const fv_tensor *t) { return t->rank && t->dim[2] == 1 && t->dim[3] == 1; }

static int64_t parts(const fv_attention_plan *plan) { return one_number(&plan->grad[FV_BIAS]) ? 1 : 0; }

static int64_t place(const fv_tensor *d, int64_t sequence, int64_t head, int64_t part) {
    (void)part;
    return (d->dim[0] == 1 ? 0 : sequence * d->stride[0]) + (d->dim[1] == 1 ? 0 : head * d->stride[1]);
}

static bool exclusive(const fv_attention_plan *plan, const fv_tensor *d) {
    return (d->dim[0] == 1 && plan->batch > 1) || (d->dim[1] == 1 && plan->heads > 1);
}

#define FV_BOTH_REALS "attn/score/bias_score.c"
#include "simd/both_reals.h"

const fv__score fv__score_bias = {.name = "bias",
                                  .kind = FV_SCORE_IS_BIAS,
                                  .operand = FV_BIAS,
                                  .first = true,
                                  .doubles = true,
                                  .on = on,
                                  .parts = parts,
                                  .place = place,
                                  .exclusive = exclusive,
                                  .f32 = {.add = write_f32, .lies = lies_f32, .grad = grad_f32},
                                  .f64 = {.add = write_f64, .lies = lies_f64, .grad = grad_f64}};
#else
#include "attn/engine/view.h"

static R *T(tile_at)(const fv__score_tile *t, const T(view) * v) {
    return T(at)(v, t->sequence->batch, t->head, t->sequence->q_start + t->i0) + (t->sequence->k_start + t->j0) * v->d;
}

static void T(write)(const fv__score_tile *t, void *to, int64_t ld) {
    const T(view) b = T(view_of)(&t->run->x->t[FV_BIAS]);
    const R *from = T(tile_at)(t, &b);
    for (int64_t r = 0; r < t->rows; r++, from += b.l) {
        R *row = (R *)to + r * ld;
        if (b.d == 1)
            memcpy(row, from, (size_t)t->keys * sizeof(R));
        else
            for (int64_t c = 0; c < t->keys; c++) row[c] = from[c * b.d];
        if (ld > t->keys) memset(row + t->keys, 0, (size_t)(ld - t->keys) * sizeof(R));
    }
}

static const void *T(lies)(const fv__score_tile *t, int64_t *ld) {
    const T(view) b = T(view_of)(&t->run->x->t[FV_BIAS]);
    *ld = b.l;
    return b.d == 1 ? T(tile_at)(t, &b) : NULL;
}

static void T(grad)(const fv__score_tile *t, const void *ds, int64_t ld, void *part) {
    const SIMD *simd = t->simd;
    const T(view) d = T(view_of)(&t->run->x->d[FV_BIAS]);
    const R unscale = (R)(1 / t->run->plan->options.scale);
    R *to = T(tile_at)(t, &d);
    for (int64_t r = 0; r < t->rows; r++, to += d.l) {
        const R *from = (const R *)ds + r * ld;
        if (part)
            *(double *)part += (double)(unscale * simd->sum(from, t->keys));
        else if (d.d == 1)
            simd->axpy(to, unscale, from, t->keys);
        else
            for (int64_t c = 0; c < t->keys; c++) to[c * d.d] += unscale * from[c];
    }
}
#endif
