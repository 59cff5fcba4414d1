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

static fv_status accept(fv_attention_plan *plan) {
    if (plan->options.scale == 0) plan->options.scale = 1;
    FV_TRY(fv__exact_accept(plan));
    return fv__tile_tune(plan, FV_SCORE_ADD);
}

static void port_shape(const fv_attention_plan *plan, fv_port port, fv_tensor *shape) {
    if (port != FV_W0) return;
    shape->rank = 2, shape->dim[0] = plan->heads, shape->dim[1] = plan->d_qk;
}

static double score(const fv_attention_plan *plan, const fv_attention_tensors *x, fv__query_key at) {
    double sum = 0;
    for (int64_t d = 0; d < plan->d_qk; d++) {
        const int64_t q[4] = {at.b, at.h, at.q_row, d}, k[4] = {at.b, at.kv, at.k_row, d}, w[2] = {at.h, d};
        sum += fv_tensor_get(&x->t[FV_W0], w) * tanh(fv_tensor_get(&x->t[FV_Q], q) + fv_tensor_get(&x->t[FV_K], k));
    }
    return sum;
}

static void reference(const fv_attention_plan *plan, const fv_attention_tensors *x) {
    fv__plain_reference(plan, x, score);
}

const fv__mechanism fv__mech_additive = {
    .info = {.name = "additive",
             .summary = "scores by a small network, w.tanh(q + k)",
             .citation = "Bahdanau et al. 2014, arXiv 1409.0473",
             .cost = "O(n m d) tanh, O(n d) memory",
             .needs = FV_EXACT_NEEDS | 1 << FV_W0,
             .takes = FV_EXACT_TAKES,
             .can = FV_EXACT_CAN,
             .port_names = {"w"}},
    .accept = accept,
    .port_shape = port_shape,
    .scratch = fv__tile_scratch,
    .flops = fv__tile_flops,
    .forward = fv__tile_forward,
    .backward = fv__tile_backward,
    .reference = reference,
    .weights = fv__tile_weights,
    .statistics_scratch = fv__tile_statistics_scratch,
    .statistics = fv__tile_statistics,
    .describe = fv__tile_describe,
};
