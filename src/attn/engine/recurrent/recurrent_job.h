/* What forward and backward of RECURRENT share, for the real type R: views of the tensors, features, products, the sums
 * over spans. Included by recurrent_f32.c and recurrent_f64.c, which define R, T(name), SIMD and SIMD_NOW. */

enum { C = FV_RECURRENT_CHUNK };

#include "attn/engine/view.h"

typedef struct T(job) {
    const fv__run *run;
    const fv_attention_plan *plan;
    const fv_attention_tensors *x;
    const SIMD *simd;
    fv__recurrent_partition partition;
    T(view) q, k, v, out, lse, state, state_out;
    T(view) dq, dk, dv, dout, dlse, dstate, dstate_out;
    int64_t *first;                          /* number of the first span of each sequence */
    R *states;                               /* per kv head, sequence and span, and one more per sequence */
    R *reciprocal_normalizer, *d_normalizer; /* backward, per head and query: 1 / (m + eps) and dm */
    char *workers;
    R eps;
    int64_t spans, group; /* heads that share a kv head */
    bool causal;
} T(job);

static T(job) T(job_of)(const fv__run *run, void *scratch, bool backward) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    T(job)
    job = {.run = run,
           .plan = run->plan,
           .x = run->x,
           .simd = SIMD_NOW(),
           .partition = fv__recurrent_partition_of(plan, backward)};
    job.q = T(view_of)(&x->t[FV_Q]), job.k = T(view_of)(&x->t[FV_K]), job.v = T(view_of)(&x->t[FV_V]);
    job.out = T(view_of)(&x->t[FV_OUT]), job.lse = T(view_of)(&x->t[FV_LSE]);
    job.state = T(view_of)(&x->t[FV_STATE]);
    if (!backward) job.state_out = T(view_of)(&x->t[FV_STATE_OUT]);
    char *at = (char *)scratch;
    job.first = (int64_t *)at, at += job.partition.first_bytes;
    job.states = (R *)at, at += job.partition.states_bytes;
    job.reciprocal_normalizer = (R *)at, at += job.partition.rows_bytes;
    job.d_normalizer = (R *)at, at += job.partition.rows_bytes;
    job.workers = at;
    job.eps = (R)fv__recurrent_setup_of(plan)->eps;
    job.group = plan->kv_heads ? plan->heads / plan->kv_heads : 0;
    job.causal = plan->window_right >= 0;
    job.spans = fv__recurrent_count(run, job.first);
    return job;
}

/* ---- a task: one span of one kv head */

typedef struct T(span) {
    fv__recurrent_positions positions;
    int64_t kv, number, count, start, end; /* which span of how many, its positions */
    R *states;                             /* of this sequence and kv head */
} T(span);

static R *T(states_of)(const T(job) * job, int64_t kv, int64_t sequence) {
    return job->states + (kv * (job->partition.spans + job->plan->sequences) + job->first[sequence] + sequence) *
                             job->partition.state;
}

static T(span) T(span_of)(const T(job) * job, int64_t task) {
    T(span) s = {.kv = task % job->plan->kv_heads};
    int64_t sequence;
    fv__recurrent_locate(job->first, job->plan->sequences, task / job->plan->kv_heads, &sequence, &s.number);
    s.positions = fv__recurrent_positions_of(job->run, sequence);
    s.count = job->first[sequence + 1] - job->first[sequence];
    s.start = s.number * FV_RECURRENT_SPAN, s.end = s.start + FV_RECURRENT_SPAN;
    if (s.end > s.positions.length) s.end = s.positions.length;
    s.states = T(states_of)(job, s.kv, sequence);
    return s;
}

/* ---- small pieces */

/* y = elu(x) + 1, row by row without gaps: exp(x) below zero, so that nothing cancels */
static void T(features)(const SIMD *simd, R *y, const R *x, int64_t ld, int64_t rows, int64_t n) {
    for (int64_t r = 0; r < rows; r++, x += ld, y += n) {
        for (int64_t i = 0; i < n; i++) y[i] = x[i] > 0 ? 0 : x[i];
        simd->exp(y, y, n);
        for (int64_t i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] + 1 : y[i];
    }
}

/* dx = df phi'(x), where phi' is 1 above zero and phi below */
static void T(features_back)(R *dx, int64_t dx_ld, const R *df, const R *f, const R *x, int64_t ld, int64_t rows,
                             int64_t n) {
    for (int64_t r = 0; r < rows; r++, x += ld, dx += dx_ld, f += n, df += n)
        for (int64_t i = 0; i < n; i++) dx[i] = x[i] > 0 ? df[i] : df[i] * f[i];
}

/* gemm; `finite` false: B holds infinities or NaN that a zero in A must hide */
static inline void T(product)(const SIMD *simd, bool finite, R *c, int64_t ldc, const R *a, int64_t a_row,
                              int64_t a_col, const R *b, int64_t ldb, int64_t m, int64_t n, int64_t k,
                              fv__gemm_mode mode) {
    (finite ? simd->gemm : simd->gemm_masked)(c, ldc, a, a_row, a_col, b, ldb, m, n, k, mode);
}

/* a[r][c] = 0 where query r of the chunk does not see key c */
static void T(triangle)(R *a, const fv__recurrent_chunk *chunk) {
    for (int64_t r = 0; r < chunk->rows; r++)
        for (int64_t c = r + chunk->diagonal + 1; c < chunk->cols; c++) a[r * C + c] = 0;
}

static void T(zero_rows)(const T(job) * job, const T(view) * v, int64_t b, int64_t h, int64_t from, int64_t count,
                         int64_t n) {
    for (int64_t r = 0; v->data && r < count; r++) job->simd->fill(T(at)(v, b, h, from + r), 0, n);
}

/* states[s] += states[s - step] along the spans */
static void T(accumulate)(const T(job) * job, R *states, int64_t from, int64_t to, int64_t step) {
    const int64_t n = job->partition.state;
    for (int64_t s = from; s != to; s += step)
        job->simd->add(states + s * n, states + s * n, states + (s - step) * n, n);
}

/* Where element (d, e) of a state is; column Dv is the normaliser. Backward has states transposed. */
static int64_t T(state_at)(const T(job) * job, bool transposed, int64_t d, int64_t e) {
    const int64_t rows = job->plan->d_qk, dv = job->plan->d_v;
    return transposed ? e * rows + d : e < dv ? d * dv + e : rows * dv + d;
}

static void T(load_state)(const T(job) * job, const T(view) * v, int64_t sequence, int64_t kv, bool transposed,
                          R *state) {
    for (int64_t d = 0; d < job->plan->d_qk; d++)
        for (int64_t e = 0; e <= job->plan->d_v; e++)
            state[T(state_at)(job, transposed, d, e)] = T(at)(v, sequence, kv, d)[e * v->d];
}

static void T(save_state)(const T(job) * job, const T(view) * v, int64_t sequence, int64_t kv, bool transposed,
                          const R *state) {
    for (int64_t d = 0; d < job->plan->d_qk; d++)
        for (int64_t e = 0; e <= job->plan->d_v; e++)
            T(at)(v, sequence, kv, d)[e * v->d] = state[T(state_at)(job, transposed, d, e)];
}

/* The state before each span, from the sums of the spans, which lie one to the right; the last one after all spans
 * when `whole`. Not causal: that is the sum of all. */
static void T(scan)(const T(job) * job, int64_t sequence, int64_t kv, bool transposed, bool whole) {
    const int64_t count = job->first[sequence + 1] - job->first[sequence], last = whole ? count : count - 1;
    R *states = T(states_of)(job, kv, sequence);
    if (job->state.data)
        T(load_state)(job, &job->state, sequence, kv, transposed, states);
    else if (job->causal)
        job->simd->fill(states, 0, job->partition.state);
    const int64_t from = job->state.data ? 1 : 2; /* nothing before the first span: its sum is the state after it */
    if (last >= from) T(accumulate)(job, states, from, last + 1, 1);
}
