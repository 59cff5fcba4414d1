/* Softmax with relative keys: each clipped distance has a learned key of its own, which joins the key that lies there.
 * Shaw, Uszkoreit, Vaswani, Self-Attention with Relative Position Representations, 2018, arXiv 1803.02155.
 *
 *   forward    s_ij = scale q_i.(k_j + r_c), c = clip(j - i, max)   P = softmax of rows of s   O = P V
 *   backward   that of softmax;  E_ic = sum of dS_ij over the j with that c    dQ += scale E R    dR = scale E^T Q
 *
 * All heads share the table r, (2 max + 1, D); its middle row is distance 0. The relative values of the paper are not
 * here: its own ablation found that keys alone do as well. */
#include "attn/engine/tile/tile.h"
#include "attn/mech/exact.h"
#include "attn/score/shaw_score.h"

static const fv_option params[] = {
    {"max-distance", FV_OPT_INT, offsetof(fv__shaw_keys, max_distance), "16", 0, 1e6, NULL,
     "distances beyond it are taken for it"},
    {0},
};

static fv_status setup(fv_attention_plan *plan) {
    fv__tile_setup_of(plan)->choice[FV_SCORE_shaw] = plan->params;
    return FV_OK;
}

static int64_t extent(const fv_attention_plan *plan, char letter) {
    return letter == 'C' ? 2 * ((const fv__shaw_keys *)plan->params)->max_distance + 1 : 0;
}

static const fv_mechanism_operand operands[] = {
    {FV_W0, "relative_keys", "C,D", FV_OPERAND_XAVIER, true, "a key for each distance from -max to max"},
    {0},
};

static double raw(const fv__row *r, int64_t j) {
    const int64_t max = ((const fv__shaw_keys *)r->run->plan->params)->max_distance;
    int64_t distance = j - r->position;
    if (distance < -max) distance = -max;
    if (distance > max) distance = max;
    double sum = fv__plain_dot(r, j);
    for (int64_t d = 0; d < r->run->plan->d_qk; d++)
        sum += fv__plain_get(&r->run->x->t[FV_Q], r->b, r->h, r->q_row, d) *
               fv_tensor_get(&r->run->x->t[FV_W0], (int64_t[2]){distance + max, d});
    return sum;
}

static void reference(const fv__run *run) { fv__plain_reference(run, raw, NULL); }

const fv__mechanism fv__mech_shaw = {
    .info = {.name = "shaw",
             .summary = "softmax with a learned key for each clipped distance",
             .citation = "Shaw et al. 2018, arXiv 1803.02155",
             .cost = "O(n m d) time, O(n d) memory",
             .needs = FV_EXACT_NEEDS | FV_OPERAND_BIT(FV_W0),
             .takes = FV_EXACT_TAKES,
             .can = FV_TILE_CAN,
             .params = params,
             .operands = operands,
             .examples = {"shaw", "shaw:max-distance=3", "shaw:max-distance=0", "shaw:max-distance=150"}},
    .params_size = sizeof(fv__shaw_keys),
    .engine = &fv__tile,
    .setup = setup,
    .extent = extent,
    .reference = reference,
};
