/* A learned logit per head in the denominator of the softmax, a key without a value. The engine multiplies it in at the
 * end of a row, and adds to the parts when it prepares the rows of a backward. */
#include "attn/score/score.h"

static bool on(const fv_attention_plan *plan) { return plan->shape[FV_SINKS].rank != 0; }

static int64_t parts(const fv_attention_plan *plan) { return plan->grad[FV_SINKS].rank ? 1 : 0; }

const fv__score fv__score_sinks = {
    .name = "sinks", .kind = FV_SCORE_IS_SINK, .operand = FV_SINKS, .doubles = true, .on = on, .parts = parts};
