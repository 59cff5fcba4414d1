/* RECURRENT: how a call is partitioned, what scratch it needs, and the choice of the type. See recurrent.h. */
#include "attn/engine/recurrent/recurrent.h"
#include "attn/engine/recurrent/chunkwise.h"
#include "attn/attn.h"
#include "simd/simd.h"

#include <stdio.h>

static const fv__recurrent_kernels *kernels_of(const fv_attention_plan *plan) {
    return plan->dtype == FV_F64 ? &fv__recurrent_kernels_f64 : &fv__recurrent_kernels_f32;
}

static bool by_chunks(const fv_attention_plan *plan) { return !fv__recurrent_setup_of(plan)->normalized; }

static void forward(const fv__run *run, void *scratch) {
    const fv__recurrent_kernels *kernels =
        by_chunks(run->plan) ? fv__chunkwise_kernels(run->plan) : kernels_of(run->plan);
    kernels->forward(run, scratch);
}

static void backward(const fv__run *run, void *scratch) {
    const fv__recurrent_kernels *kernels =
        by_chunks(run->plan) ? fv__chunkwise_kernels(run->plan) : kernels_of(run->plan);
    kernels->backward(run, scratch);
}

static void weights(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                    int64_t count, const fv_tensor *out, void *scratch) {
    if (by_chunks(run->plan))
        fv__chunkwise_weights(run, capture, batch, head, rows, count, out);
    else
        fv__recurrent_weights(run, capture, batch, head, rows, count, out, scratch);
}

static fv_status refuse(const fv_attention_plan *plan, const char *what, const char *why) {
    return fv__fail(FV_USAGE, "attention: mechanism \"%s\", %s\n  expected none: %s\n  found:   it is set",
                    plan->mechanism->info.name, what, why);
}

/* A state is what came before the first token, for queries and keys that are tokens of one sequence. */
static fv_status accept_state(const fv_attention_plan *plan) {
    const bool tokens =
        plan->q_len == plan->k_len && !plan->shape[FV_CU_K].rank && !(plan->lower_right && plan->shape[FV_KV_LEN].rank);
    if (plan->causal && plan->window_right == 0 && tokens) return FV_OK;
    return fv__fail(FV_USAGE,
                    "attention: mechanism \"%s\", operand \"state\"\n  expected a causal call whose queries and keys "
                    "are the same tokens\n  found:   %s",
                    plan->mechanism->info.name, tokens ? "none of causal" : "other keys than queries");
}

static fv_status accept(const fv_attention_plan *plan) {
    if (by_chunks(plan)) return fv__chunkwise_accept(plan);
    if (plan->window_left >= 0) return refuse(plan, "option window.left", "a state cannot forget single keys");
    if (plan->options.softcap > 0) return refuse(plan, "option softcap", "there are no scores to cap");
    if (plan->shape[FV_STATE].rank || plan->shape[FV_STATE_OUT].rank) FV_TRY(accept_state(plan));
    if (plan->shape[FV_AUX].rank && !fv__cast_keeps_out(plan))
        return refuse(plan, "operand \"aux\"", "backward needs nothing but \"out\"");
    return FV_OK;
}

static fv_status check(const fv__run *run) {
    const fv_attention_plan *plan = run->plan;
    if (by_chunks(plan)) return fv__chunkwise_check(run);
    if (run->call.q_offset == 0 || !(plan->shape[FV_STATE].rank || plan->shape[FV_STATE_OUT].rank)) return FV_OK;
    return fv__fail(FV_USAGE,
                    "attention: mechanism \"%s\", q_offset of the call\n  expected 0 with a state\n  found:   %lld",
                    plan->mechanism->info.name, (long long)run->call.q_offset);
}

/* ---- positions */

static int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }

fv__recurrent_positions fv__recurrent_positions_of(const fv__run *run, int64_t number) {
    const fv_attention_plan *plan = run->plan;
    fv__recurrent_positions positions = {.sequence = fv__attn_sequence(run, number)};
    const fv__sequence *s = &positions.sequence;
    positions.k_rows = plan->packed ? s->k_len : plan->k_len;
    positions.keys = s->k_len;
    if (plan->window_right >= 0) { /* beyond the last key or before the first, distance says nothing more */
        positions.q_position = max_of(-s->q_len, min_of(s->k_len, s->q_offset + plan->window_right));
        positions.keys = min_of(s->k_len, s->q_len + positions.q_position);
        positions.empty_queries = max_of(0, -positions.q_position);
    }
    if (s->q_len == 0) positions.keys = 0;
    if (positions.keys == 0 && !plan->shape[FV_STATE].rank) positions.empty_queries = s->q_len;
    if (positions.empty_queries < s->q_len) positions.length = max_of(positions.keys, s->q_len + positions.q_position);
    return positions;
}

fv__recurrent_chunk fv__recurrent_chunk_at(const fv__recurrent_positions *positions, int64_t position) {
    const int64_t end = position + FV_RECURRENT_CHUNK;
    fv__recurrent_chunk c = {.q = max_of(position - positions->q_position, positions->empty_queries),
                             .k = min_of(position, positions->keys)};
    c.rows = max_of(0, min_of(end - positions->q_position, positions->sequence.q_len) - c.q);
    c.cols = min_of(end, positions->keys) - c.k;
    c.diagonal = c.q + positions->q_position - position;
    return c;
}

static int64_t spans_in(int64_t length) { return (length + FV_RECURRENT_SPAN - 1) / FV_RECURRENT_SPAN; }

int64_t fv__recurrent_count(const fv__run *run, int64_t *first) {
    const fv_attention_plan *plan = run->plan;
    int64_t count = 0;
    for (int64_t n = 0; n < plan->sequences; n++) {
        first[n] = count;
        count += spans_in(fv__recurrent_positions_of(run, n).length);
    }
    return first[plan->sequences] = count;
}

void fv__recurrent_locate(const int64_t *first, int64_t sequences, int64_t span, int64_t *sequence, int64_t *local) {
    int64_t low = 0, high = sequences; /* first[low] <= span < first[high] */
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (first[middle] <= span)
            low = middle;
        else
            high = middle;
    }
    *sequence = low, *local = span - first[low];
}

/* ---- scratch */

/* Of sequences whose lengths are not known yet: what the longest, or the sum of all when packed, can come to. */
static int64_t most_spans(const fv_attention_plan *plan) {
    const int64_t q = plan->q_len, k = plan->k_len;
    if (plan->packed) return (q + k) / FV_RECURRENT_SPAN + plan->sequences;
    if (plan->window_right < 0) return fv__attn_times(spans_in(max_of(q, k)), plan->sequences);
    if (plan->lower_right) return fv__attn_times(spans_in(k), plan->sequences);
    return fv__attn_times(spans_in(q + k), plan->sequences); /* whatever the offset of the call */
}

fv__recurrent_partition fv__recurrent_partition_of(const fv_attention_plan *plan, bool backward) {
    const size_t e = plan->dtype == FV_F64 ? 8 : 4;
    const int64_t c = FV_RECURRENT_CHUNK, d = plan->d_qk, dv = plan->d_v;
    fv__recurrent_partition partition = {.spans = most_spans(plan), .state = fv__attn_times(d, dv + 1)};
    partition.first_bytes = fv__attn_lines(plan->sequences + 1, sizeof(int64_t));
    partition.states_bytes = fv__attn_lines(
        fv__attn_times(fv__attn_times(plan->kv_heads, partition.spans + plan->sequences), partition.state), e);
    partition.worker_bytes = fv__attn_lines(partition.state, e) + 3 * fv__attn_lines(fv__attn_times(c, d), e) +
                             fv__attn_lines(c * c, e) + fv__attn_lines(c, e);
    if (!backward) return partition;
    partition.rows_bytes = fv__attn_lines(fv__attn_times(fv__attn_times(plan->batch, plan->heads), plan->q_len), e);
    partition.worker_bytes += fv__attn_lines(c * c, e) + 3 * fv__attn_lines(fv__attn_times(c, dv + 1), e) +
                              fv__attn_lines(fv__attn_times(c, d), e);
    return partition;
}

static size_t scratch_size(const fv_attention_plan *plan, bool backward) {
    if (by_chunks(plan)) return fv__chunkwise_scratch(plan, backward);
    const fv__recurrent_partition partition = fv__recurrent_partition_of(plan, backward);
    return partition.first_bytes + partition.states_bytes + 2 * partition.rows_bytes +
           (size_t)fv_threads() * partition.worker_bytes;
}

/* ---- words */

/* Of the recurrence itself: every key is written once, every query reads once; the pairs inside chunks are a choice of
 * the engine. */
static double flops(const fv_attention_plan *plan, const fv_attention_call *call, bool backward) {
    (void)call;
    if (by_chunks(plan)) return fv__chunkwise_flops(plan, backward);
    const double state = 2.0 * (double)plan->d_qk * (double)(plan->d_v + 1) * (double)plan->batch;
    const double queries = (double)plan->heads * (double)plan->q_len,
                 keys = (double)plan->kv_heads * (double)plan->k_len;
    return state * (backward ? 2 * queries + 3 * keys : queries + keys);
}

static void describe(const fv_attention_plan *plan, char *text, size_t size) {
    if (by_chunks(plan)) {
        fv__chunkwise_describe(plan, text, size);
        return;
    }
    snprintf(text, size, "recurrent %s %s, chunks of %d in spans of %d", fv_dtype_name(plan->dtype),
             plan->dtype == FV_F64 ? "scalar" : fv_isa(), FV_RECURRENT_CHUNK, FV_RECURRENT_SPAN);
}

const fv__engine fv__recurrent = {
    .name = "recurrent",
    .can = FV_RECURRENT_CAN,
    .reads_out = true,
    .setup_size = sizeof(fv__recurrent_setup),
    .accept = accept,
    .check = check,
    .scratch = scratch_size,
    .flops = flops,
    .forward = forward,
    .backward = backward,
    .weights = weights,
    .describe = describe,
};
