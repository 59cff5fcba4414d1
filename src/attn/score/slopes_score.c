/* ALiBi: the distance of query and key times a slope per head, subtracted. Press, Smith, Lewis, Train Short, Test Long,
 * 2021, arXiv 2108.12409; the slopes of the paper are in attn/position/alibi_slopes.c. */
#ifndef R
#include "attn/score/score.h"
#include "simd/simd.h"

static bool on(const fv_attention_plan *plan) { return plan->shape[FV_SLOPES].rank != 0; }

static int64_t parts(const fv_attention_plan *plan) { return plan->grad[FV_SLOPES].rank ? 1 : 0; }

#define FV_BOTH_REALS "attn/score/slopes_score.c"
#include "simd/both_reals.h"

const fv__score fv__score_slopes = {.name = "slopes",
                                    .kind = FV_SCORE_IS_BIAS,
                                    .operand = FV_SLOPES,
                                    .doubles = true,
                                    .positions = true,
                                    .on = on,
                                    .parts = parts,
                                    .f32 = {.add = add_f32, .grad = grad_f32},
                                    .f64 = {.add = add_f64, .grad = grad_f64}};
#else
static void T(add)(const fv__score_tile *t, void *to, int64_t ld) {
    const SIMD *simd = t->simd;
    const fv_tensor *slopes = &t->run->x->t[FV_SLOPES];
    const R slope = ((const R *)slopes->data)[t->head * slopes->stride[0]];
    simd->add_alibi(to, t->rows, ld, slope, (R)(t->i0 + t->sequence->q_offset - t->j0), 1, -1);
}

static void T(grad)(const fv__score_tile *t, const void *ds, int64_t ld, void *part) {
    const SIMD *simd = t->simd;
    const R unscale = (R)(1 / t->run->plan->options.scale), distance = (R)(t->i0 + t->sequence->q_offset - t->j0);
    *(double *)part += (double)(unscale * simd->alibi_backward(ds, t->rows, ld, distance, 1, -1));
}
#endif
