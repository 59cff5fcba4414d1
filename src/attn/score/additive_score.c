/* w.tanh(q + k) instead of q.k, w is operand W0: (H,D). Bahdanau et al. 2014, arXiv 1409.0473; the mechanism is
 * attn/mech/additive.c. A part is w's gradient. */
#ifndef R
#include "attn/engine/tile/tile.h"
#include "simd/simd.h"

static bool on(const fv_attention_plan *plan) { return fv__tile_choice(plan, FV_SCORE_additive) != NULL; }

static int64_t parts(const fv_attention_plan *plan) { return plan->d_qk; }

#define FV_BOTH_REALS "attn/score/additive_score.c"
#include "simd/both_reals.h"

const fv__score fv__score_additive = {.name = "additive",
                                      .kind = FV_SCORE_IS_BASE,
                                      .operand = FV_W0,
                                      .on = on,
                                      .parts = parts,
                                      .f32 = {.base = base_f32, .base_grad = base_grad_f32},
                                      .f64 = {.base = base_f64, .base_grad = base_grad_f64}};
#else
static const R *T(weights_of)(const fv__score_tile *t) {
    const fv_tensor *w = &t->run->x->t[FV_W0];
    return (const R *)w->data + t->head * w->stride[0];
}

static void T(base)(const fv__score_tile *t, void *s, const fv__score_product *p, double factor) {
    const SIMD *simd = t->simd;
    simd->additive_scores(s, p->a, p->ld, p->transposed, p->lanes, T(weights_of)(t) + p->column, p->rows, p->columns,
                          (R)factor);
}

static void T(base_grad)(const fv__score_tile *t, const void *ds, const fv__score_product *p, void *da, int64_t ldda,
                         void *dtransposed, void *parts_of) {
    const SIMD *simd = t->simd;
    simd->additive_scores_backward(da, ldda, dtransposed, parts_of, ds, p->a, p->ld, p->transposed, p->lanes,
                                   T(weights_of)(t), p->rows, p->columns);
}
#endif
