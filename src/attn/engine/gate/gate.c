/* Rows, blocks and refusals of the gates. See gate.h. */
#include "attn/engine/gate/gate.h"
#include "attn/engine/gate/gate_parts.h"

#include <stdio.h>

static fv_status refuse(const fv_attention_plan *plan, const char *what) {
    return fv__fail(FV_USAGE, "attention: mechanism \"%s\" has no keys and no state\n  found:   %s",
                    plan->mechanism->info.name, what);
}

static fv_status accept(const fv_attention_plan *plan) {
    for (int p = 0; p < FV_OPERANDS; p++)
        if (p != FV_OUT && fv_operand_is(p, FV_ROLE_RESULT) && (plan->shape[p].rank || plan->grad[p].rank))
            return refuse(plan, fv_operand_name(p));
    return FV_OK;
}

/* Blocks over all sequences, at most; a block is a row of every head. */
static int64_t most_blocks(const fv_attention_plan *plan) {
    if (plan->packed) return plan->q_len / FV_GATE_ROWS + plan->sequences;
    return fv__attn_times((plan->q_len + FV_GATE_ROWS - 1) / FV_GATE_ROWS, plan->sequences);
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

fv__gate_params fv__gate_params_of(const fv_attention_plan *plan) {
    fv__gate_params p = {0};
    for (const fv_mechanism_operand *row = plan->mechanism->info.operands; row && row->name; row++) {
        const fv_tensor *t = &plan->shape[row->operand];
        const int64_t rows = t->rank > 2 ? t->dim[1] : 1, columns = t->rank > 1 ? t->dim[t->rank - 1] : 1;
        p.param[p.count++] = (fv__gate_param){row->operand, rows, columns, p.wide};
        p.wide += fv__attn_times(rows, columns);
    }
    return p;
}

fv__gate_memory fv__gate_lay_out(const fv_attention_plan *plan, bool backward, void *memory) {
    const size_t e = fv_dtype_size(plan->dtype);
    const bool channels = !fv__gate_setup_of(plan)->positions;
    const int64_t wide = fv__gate_params_of(plan).wide, planes = fv__attn_times(plan->sequences, plan->heads),
                  blocks = fv__attn_times(most_blocks(plan), plan->heads);
    fv__regions all = {memory, 0};
    fv__gate_memory m = {0};
#define REGION(name, count, element, when) \
    if (when) m.name = fv__region(&all, fv__attn_lines(count, element));
    REGION(first, plan->sequences + 1, sizeof(int64_t), true)
    REGION(w, fv__attn_times(plan->heads, wide), e, true)
    REGION(kept, fv__attn_times(planes, fv__gate_kept(plan)), e, channels)
    REGION(sums, fv__attn_times(blocks, channels ? plan->d_qk : wide), e, channels || backward)
    REGION(products, fv__attn_times(blocks, plan->d_qk), e, channels && backward)
#undef REGION
    m.bytes = all.used;
    return m;
}

static size_t scratch_size(const fv_attention_plan *plan, bool backward) {
    return fv__gate_lay_out(plan, backward, NULL).bytes;
}

static double flops(const fv_attention_plan *plan, const fv_attention_call *call, bool backward) {
    const fv__gate_setup *setup = fv__gate_setup_of(plan);
    const double heads = (double)plan->heads,
                 all = (double)plan->batch * heads * (double)plan->q_len * (double)plan->d_qk;
    const double maps = setup->flops * (double)plan->sequences * heads;
    (void)call;
    if (setup->positions) return all * (backward ? 9 : 3);
    return backward ? 5 * all + 3 * maps : 2 * all + maps;
}

static void run_gate(const fv__run *run, bool backward, void *scratch) {
    const bool f64 = run->plan->dtype == FV_F64;
    if (fv__gate_setup_of(run->plan)->positions)
        (f64 ? fv__gate_positions_f64 : fv__gate_positions_f32)(run, backward, scratch);
    else
        (f64 ? fv__gate_channels_f64 : fv__gate_channels_f32)(run, backward, scratch);
}

static void forward(const fv__run *run, void *scratch) { run_gate(run, false, scratch); }

static void backward(const fv__run *run, void *scratch) { run_gate(run, true, scratch); }

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
