/* Additive attention. Bahdanau, Cho, Bengio, Neural Machine Translation by Jointly Learning to Align and Translate,
 * 2014, arXiv 1409.0473. q and k are the projected queries and keys a_i = W s_i + b, b_j = U h_j, both of the hidden
 * width D.
 *
 *   forward    e_ij = scale w.tanh(a_i + b_j)   P = softmax of rows of e   O = P V            scale is 1 unless given
 *   backward   de as in softmax;  t = tanh(a_i + b_j), dt = scale de_ij w (1 - t^2)
 *              da_i = sum_j dt   db_j = sum_i dt   dw = scale sum_ij de_ij t
 * t is computed again in each tile, never stored. */
#include "attn/engine/tile/tile.h"
#include "attn/mech/exact.h"

#include <math.h>

static fv_status setup(fv_attention_plan *plan) {
    if (plan->options.scale == 0) plan->options.scale = 1;
    fv__tile_setup_of(plan)->choice[FV_SCORE_additive] = plan->mechanism;
    return FV_OK;
}

static const fv_mechanism_operand operands[] = {
    {FV_W0, "w", "H,D", FV_OPERAND_XAVIER, true, "weighs the hidden units"},
    {0},
};

static double score(const fv__row *r, int64_t j) {
    const fv_tensor *t = r->run->x->t;
    double sum = 0;
    for (int64_t d = 0; d < r->run->plan->d_qk; d++)
        sum += fv_tensor_get(&t[FV_W0], (int64_t[2]){r->h, d}) *
               tanh(fv__plain_get(&t[FV_Q], r->b, r->h, r->q_row, d) +
                    fv__plain_get(&t[FV_K], r->b, r->kv, r->k_start + j, d));
    return sum;
}

static void reference(const fv__run *run) { fv__plain_reference(run, score, NULL); }

const fv__mechanism fv__mech_additive = {
    .info = {.name = "additive",
             .summary = "scores by a small network, w.tanh(q + k)",
             .citation = "Bahdanau et al. 2014, arXiv 1409.0473",
             .cost = "O(n m d) tanh, O(n d) memory",
             .needs = FV_EXACT_NEEDS | FV_OPERAND_BIT(FV_W0),
             .takes = FV_EXACT_TAKES,
             .can = FV_TILE_CAN,
             .operands = operands,
             .examples = {"additive"}},
    .engine = &fv__tile,
    .setup = setup,
    .reference = reference,
};
