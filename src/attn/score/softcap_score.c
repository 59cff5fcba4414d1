/* cap tanh(s / cap) of the scaled score. Its arithmetic is in the kernels of the tile, where the score is in a register
 * anyway; this row is its place in the order. */
#include "attn/score/score.h"

static bool on(const fv_attention_plan *plan) { return plan->options.softcap > 0; }

const fv__score fv__score_softcap = {.name = "softcap", .kind = FV_SCORE_IS_SOFTCAP, .operand = FV_Q, .on = on};
