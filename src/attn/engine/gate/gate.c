/* Rows, blocks and refusals of the gates. See gate.h. */
#include "attn/engine/gate/gate.h"

#include <stdio.h>

static fv_status refuse(const fv_attention_plan *plan, const char *what) {
    return fv__fail(FV_USAGE, "attention: mechanism \"%s\" has no keys and no state\n  found:   %s",
                    plan->mechanism->info.name, what);
}

static fv_status accept(const fv_attention_plan *plan) {
    if (plan->options.softcap > 0) return refuse(plan, "option softcap");
    for (int p = 0; p < FV_OPERANDS; p++)
        if (p != FV_OUT && fv_operand_is(p, FV_ROLE_RESULT) && (plan->shape[p].rank || plan->grad[p].rank))
            return refuse(plan, fv_operand_name(p));
    return FV_OK;
}

int64_t fv__gate_most_blocks(const fv_attention_plan *plan) {
    if (plan->packed) return plan->q_len / FV_GATE_ROWS + plan->sequences;
    return fv__attn_times((plan->q_len + FV_GATE_ROWS - 1) / FV_GATE_ROWS, plan->sequences);
}

size_t fv__gate_first_bytes(const fv_attention_plan *plan) {
    return fv__attn_lines(plan->sequences + 1, sizeof(int64_t));
}

int64_t fv__gate_count(const fv__run *run, int64_t *first) {
    const fv_attention_plan *plan = run->plan;
    int64_t count = 0;
    for (int64_t n = 0; n < plan->sequences; n++) {
        first[n] = count;
        count += (fv__attn_sequence(run, n).q_len + FV_GATE_ROWS - 1) / FV_GATE_ROWS;
    }
    return first[plan->sequences] = count;
}

fv__gate_rows fv__gate_rows_of(const fv__run *run, const int64_t *first, int64_t block) {
    const fv_attention_plan *plan = run->plan;
    int64_t low = 0, high = plan->sequences; /* first[low] <= block < first[high] */
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (first[middle] <= block)
            low = middle;
        else
            high = middle;
    }
    const fv__sequence s = fv__attn_sequence(run, low);
    const int64_t start = (block - first[low]) * FV_GATE_ROWS;
    fv__gate_rows r = {
        .sequence = low, .batch = s.batch, .row = s.q_start + start, .rows = s.q_len - start, .live = s.k_len - start};
    if (r.rows > FV_GATE_ROWS) r.rows = FV_GATE_ROWS;
    if (r.live > r.rows) r.live = r.rows;
    if (r.live < 0) r.live = 0;
    return r;
}

static void describe(const fv_attention_plan *plan, char *text, size_t size) {
    snprintf(text, size, "gate %s %s, blocks of %d rows", fv_dtype_name(plan->dtype),
             plan->dtype == FV_F64 ? "scalar" : fv_isa(), FV_GATE_ROWS);
}

static const fv__gate_kernels *kernels_of(const fv_attention_plan *plan) { return fv__gate_setup_of(plan)->kernels; }

static size_t scratch_size(const fv_attention_plan *plan, bool backward) {
    return kernels_of(plan)->scratch(plan, backward);
}

static double flops(const fv_attention_plan *plan, const fv_attention_call *call, bool backward) {
    (void)call;
    return kernels_of(plan)->flops(plan, backward);
}

static void forward(const fv__run *run, void *scratch) {
    kernels_of(run->plan)->forward[run->plan->dtype == FV_F64](run, scratch);
}

static void backward(const fv__run *run, void *scratch) {
    kernels_of(run->plan)->backward[run->plan->dtype == FV_F64](run, scratch);
}

const fv__engine fv__gate = {
    .name = "gate",
    .can = FV_GATE_CAN,
    .setup_size = sizeof(fv__gate_setup),
    .accept = accept,
    .scratch = scratch_size,
    .flops = flops,
    .forward = forward,
    .backward = backward,
    .describe = describe,
};
