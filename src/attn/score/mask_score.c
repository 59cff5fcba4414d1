/* A mask of truth values: -inf where it hides. */
#ifndef R
#include "attn/score/score.h"
#include "simd/simd.h"

#include <math.h>

static bool on(const fv_attention_plan *plan) { return plan->shape[FV_MASK].rank != 0; }

#define FV_BOTH_REALS "attn/score/mask_score.c"
#include "simd/both_reals.h"

const fv__score fv__score_mask = {.name = "mask",
                                  .kind = FV_SCORE_IS_BIAS,
                                  .operand = FV_MASK,
                                  .on = on,
                                  .f32 = {.add = add_f32},
                                  .f64 = {.add = add_f64}};
#else
static void T(add)(const fv__score_tile *t, void *to, int64_t ld) {
    const fv_tensor *m = &t->run->x->t[FV_MASK];
    const int64_t row_step = m->dim[2] == 1 ? 0 : m->stride[2], step = m->dim[3] == 1 ? 0 : m->stride[3];
    const unsigned char *from = (const unsigned char *)m->data;
    from += (m->dim[0] == 1 ? 0 : m->stride[0]) * t->sequence->batch + (m->dim[1] == 1 ? 0 : m->stride[1]) * t->head;
    from += row_step * (t->sequence->q_start + t->i0) + step * (t->sequence->k_start + t->j0);
    const bool drop = t->run->plan->options.mask_means == FV_MASK_DROP;
    for (int64_t r = 0; r < t->rows; r++) {
        const unsigned char *hide = from + r * row_step;
        R *row = (R *)to + r * ld;
        for (int64_t c = 0; c < t->keys; c++)
            if ((hide[c * step] != 0) == drop) row[c] = (R)-INFINITY;
    }
}
#endif
