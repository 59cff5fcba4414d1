/* q.k: the base of every mechanism that chooses no other. Its products are the engine's own: in a boundary tile each
 * half or strip computes only what it sees. */
#include "attn/score/score.h"

static bool on(const fv_attention_plan *plan) {
    (void)plan;
    return true;
}

const fv__score fv__score_dot = {.name = "dot", .kind = FV_SCORE_IS_BASE, .operand = FV_Q, .on = on};
