/* RECUR: how a call is cut, what scratch it needs, and the choice of the type. See recur.h. */
#include "attn/core/recur.h"
#include "simd/simd.h"

#include <stdio.h>

static const fv__recur_engine *engine_of(const fv_attention_plan *plan) {
    return plan->dtype == FV_F64 ? &fv__recur_engine_f64 : &fv__recur_engine_f32;
}

void fv__recur_forward(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch) {
    engine_of(plan)->forward(plan, x, scratch);
}

void fv__recur_backward(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch) {
    engine_of(plan)->backward(plan, x, scratch);
}

static fv_status refuse(const fv_attention_plan *plan, const char *what, const char *why) {
    return fv__fail(FV_USAGE, "attention: mechanism \"%s\", %s\n  found:   it is set\n  expected none: %s",
                    plan->mechanism->info.name, what, why);
}

fv_status fv__recur_accept(fv_attention_plan *plan) {
    if (plan->window_left >= 0) return refuse(plan, "option window_left", "a state cannot forget single keys");
    if (plan->options.softcap > 0) return refuse(plan, "option softcap", "there are no scores to cap");
    if (plan->shape[FV_STATE_OUT].rank) return refuse(plan, "port \"state_out\"", "the state is not given out");
    if (plan->shape[FV_AUX].rank) return refuse(plan, "port \"aux\"", "backward needs nothing but \"out\"");
    return FV_OK;
}

/* ---- positions */

static int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }

fv__recur_line fv__recur_line_of(const fv_attention_plan *plan, const fv_attention_tensors *x, int64_t number) {
    fv__recur_line line = {.segment = fv__attn_segment(plan, x, number)};
    const fv__segment *s = &line.segment;
    line.k_rows = plan->packed ? s->k_len : plan->k_len;
    line.keys = s->k_len;
    if (plan->window_right >= 0) { /* beyond the last key or before the first, distance says nothing more */
        line.shift = max_of(-s->q_len, min_of(s->k_len, s->q_offset + plan->window_right));
        line.keys = min_of(s->k_len, s->q_len + line.shift);
        line.blind = max_of(0, -line.shift);
    }
    if (s->q_len == 0) line.keys = 0;
    if (line.keys == 0) line.blind = s->q_len;
    if (line.blind < s->q_len) line.length = max_of(line.keys, s->q_len + line.shift);
    return line;
}

fv__recur_chunk fv__recur_chunk_at(const fv__recur_line *line, int64_t position) {
    const int64_t end = position + FV_RECUR_CHUNK;
    fv__recur_chunk c = {.q = max_of(position - line->shift, line->blind), .k = min_of(position, line->keys)};
    c.rows = max_of(0, min_of(end - line->shift, line->segment.q_len) - c.q);
    c.cols = min_of(end, line->keys) - c.k;
    c.ahead = c.q + line->shift - position;
    return c;
}

static int64_t spans_in(int64_t length) { return (length + FV_RECUR_SPAN - 1) / FV_RECUR_SPAN; }

int64_t fv__recur_count(const fv_attention_plan *plan, const fv_attention_tensors *x, int64_t *first) {
    int64_t count = 0;
    for (int64_t n = 0; n < plan->sequences; n++) {
        first[n] = count;
        count += spans_in(fv__recur_line_of(plan, x, n).length);
    }
    return first[plan->sequences] = count;
}

void fv__recur_locate(const int64_t *first, int64_t sequences, int64_t span, int64_t *sequence, int64_t *local) {
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
    if (plan->packed) return (q + k) / FV_RECUR_SPAN + plan->sequences;
    if (plan->window_right < 0) return fv__attn_times(spans_in(max_of(q, k)), plan->sequences);
    if (plan->lower_right) return fv__attn_times(spans_in(k), plan->sequences);
    return fv__attn_times(spans_in(q + max_of(0, min_of(k, plan->q_offset + plan->window_right))), plan->sequences);
}

fv__recur_cut fv__recur_cut_of(const fv_attention_plan *plan, bool backward) {
    const size_t e = plan->dtype == FV_F64 ? 8 : 4;
    const int64_t c = FV_RECUR_CHUNK, d = plan->d_qk, dv = plan->d_v;
    fv__recur_cut cut = {.spans = most_spans(plan), .state = fv__attn_times(d, dv + 1)};
    cut.first_bytes = fv__attn_lines(plan->sequences + 1, sizeof(int64_t));
    cut.states_bytes =
        fv__attn_lines(fv__attn_times(fv__attn_times(plan->kv_heads, cut.spans + plan->sequences), cut.state), e);
    cut.worker_bytes = fv__attn_lines(cut.state, e) + 3 * fv__attn_lines(fv__attn_times(c, d), e) +
                       fv__attn_lines(c * c, e) + fv__attn_lines(c, e);
    if (!backward) return cut;
    cut.rows_bytes = fv__attn_lines(fv__attn_times(fv__attn_times(plan->batch, plan->heads), plan->q_len), e);
    cut.worker_bytes += fv__attn_lines(c * c, e) + 3 * fv__attn_lines(fv__attn_times(c, dv + 1), e) +
                        fv__attn_lines(fv__attn_times(c, d), e);
    return cut;
}

size_t fv__recur_scratch(const fv_attention_plan *plan, bool backward) {
    const fv__recur_cut cut = fv__recur_cut_of(plan, backward);
    return cut.first_bytes + cut.states_bytes + 2 * cut.rows_bytes + (size_t)fv_threads() * cut.worker_bytes;
}

/* ---- words */

/* Of the recurrence itself: every key is written once, every query reads once; the pairs inside chunks are a choice of the engine. */
double fv__recur_flops(const fv_attention_plan *plan, bool backward) {
    const double state = 2.0 * (double)plan->d_qk * (double)(plan->d_v + 1) * (double)plan->batch;
    const double queries = (double)plan->heads * (double)plan->q_len,
                 keys = (double)plan->kv_heads * (double)plan->k_len;
    return state * (backward ? 2 * queries + 3 * keys : queries + keys);
}

void fv__recur_describe(const fv_attention_plan *plan, char *text, size_t size) {
    snprintf(text, size, "recur %s %s, chunks of %d in spans of %d", fv_dtype_name(plan->dtype),
             plan->dtype == FV_F64 ? "scalar" : fv_isa(), FV_RECUR_CHUNK, FV_RECUR_SPAN);
}
