/* Forward of RECURRENT for the real type R. See recurrent.h. A state is (D, Dv) followed by its normaliser (D). */

typedef struct T(forward_scratch) {
    R *state, *g, *gt, *f, *a, *m; /* state, (C, D), (D, C), (C, D), (C, C), C */
} T(forward_scratch);

static T(forward_scratch) T(forward_carve)(const T(job) * job, int worker) {
    char *at = job->workers + (size_t)worker * job->partition.worker_bytes;
    const int64_t d = job->plan->d_qk;
    T(forward_scratch) w;
    w.state = T(carve)(&at, job->partition.state);
    w.g = T(carve)(&at, C * d), w.gt = T(carve)(&at, C * d), w.f = T(carve)(&at, C * d);
    w.a = T(carve)(&at, C * C), w.m = T(carve)(&at, C);
    return w;
}

/* Features of the keys of a chunk, transposed, zero beyond the last. */
static void T(forward_keys)(const T(job) * job, const T(span) * s, const fv__recurrent_chunk *c,
                            T(forward_scratch) * w) {
    const int64_t d = job->plan->d_qk;
    if (c->cols > 0) {
        const R *k = T(at)(&job->k, s->positions.sequence.batch, s->kv, s->positions.sequence.k_start + c->k);
        T(features)(job->simd, w->g, k, job->k.l, c->cols, d);
    }
    job->simd->pack(w->gt, C, w->g, d, c->cols, d, 1);
}

/* S += G^T [V 1], or = */
static void T(forward_write)(const T(job) * job, const T(span) * s, const fv__recurrent_chunk *c,
                             T(forward_scratch) * w, R *state, fv__gemm_mode mode) {
    const int64_t d = job->plan->d_qk, dv = job->plan->d_v;
    const R *v = T(at)(&job->v, s->positions.sequence.batch, s->kv, s->positions.sequence.k_start + c->k);
    job->simd->gemm(state, dv, w->gt, C, 1, v, job->v.l, d, dv, c->cols, mode);
    R *z = state + d * dv;
    for (int64_t i = 0; i < d; i++) z[i] = (mode == FV_GEMM_CONTINUE ? z[i] : 0) + job->simd->sum(w->gt + i * C, C);
}

/* Outputs of the queries of a chunk for one head; `state` NULL is the empty past. */
static void T(forward_read)(const T(job) * job, const T(span) * s, const fv__recurrent_chunk *c, T(forward_scratch) * w,
                            const R *state, int64_t head) {
    const SIMD *simd = job->simd;
    const fv__sequence *at = &s->positions.sequence;
    const int64_t d = job->plan->d_qk, dv = job->plan->d_v, row = at->q_start + c->q;
    R *out = T(at)(&job->out, at->batch, head, row);
    T(features)(simd, w->f, T(at)(&job->q, at->batch, head, row), job->q.l, c->rows, d);
    for (int64_t r = 0; r < c->rows; r++) w->m[r] = state ? simd->dot(w->f + r * d, state + d * dv, d) : 0;
    if (state) simd->gemm(out, job->out.l, w->f, d, 1, state, dv, c->rows, dv, d, FV_GEMM_OVERWRITE);
    if (job->causal) {
        const R *v = T(at)(&job->v, at->batch, s->kv, at->k_start + c->k);
        simd->gemm(w->a, C, w->f, d, 1, w->gt, C, c->rows, C, d, FV_GEMM_OVERWRITE);
        T(triangle)(w->a, c);
        for (int64_t r = 0; r < c->rows; r++) w->m[r] += simd->sum(w->a + r * C, C);
        const bool finite = simd->finite_tile(v, job->v.l, c->cols, dv);
        T(product)
        (simd, finite, out, job->out.l, w->a, C, 1, v, job->v.l, c->rows, dv, c->cols,
         state ? FV_GEMM_CONTINUE : FV_GEMM_OVERWRITE);
    }
    for (int64_t r = 0; r < c->rows; r++) {
        const R total = w->m[r] + job->eps;
        simd->scale(out + r * job->out.l, 1 / total, out + r * job->out.l, dv);
        if (job->lse.data) *T(at)(&job->lse, at->batch, head, row + r) = (R)log((double)total);
    }
}

/* The sum over the keys of a span goes where the state of the next span will be. */
static void T(forward_states)(void *context, int64_t task, int worker) {
    const T(job) *job = context;
    const T(span) s = T(span_of)(job, task);
    if (job->causal && s.number == s.count - 1 && !job->state_out.data) return;
    T(forward_scratch) w = T(forward_carve)(job, worker);
    for (int64_t p = s.start; p < s.end; p += C) {
        const fv__recurrent_chunk c = fv__recurrent_chunk_at(&s.positions, p);
        T(forward_keys)(job, &s, &c, &w);
        T(forward_write)
        (job, &s, &c, &w, s.states + (s.number + 1) * job->partition.state,
         p > s.start ? FV_GEMM_CONTINUE : FV_GEMM_OVERWRITE);
    }
}

static void T(forward_scan)(void *context, int64_t task, int worker) {
    const T(job) *job = context;
    const int64_t sequence = task / job->plan->kv_heads, kv = task % job->plan->kv_heads;
    const fv__recurrent_positions positions = fv__recurrent_positions_of(job->run, sequence);
    const fv__sequence *at = &positions.sequence;
    (void)worker;
    T(scan)(job, sequence, kv, false, !job->causal || job->state_out.data);
    if (job->state_out.data) {
        const int64_t count = job->first[sequence + 1] - job->first[sequence];
        const R *last = T(states_of)(job, kv, sequence) + count * job->partition.state;
        T(save_state)(job, &job->state_out, sequence, kv, false, last);
    }
    for (int64_t h = kv * job->group; h < (kv + 1) * job->group; h++) {
        T(zero_rows)(job, &job->out, at->batch, h, at->q_start, positions.empty_queries, job->plan->d_v);
        for (int64_t i = 0; job->lse.data && i < positions.empty_queries; i++)
            *T(at)(&job->lse, at->batch, h, at->q_start + i) = (R)-INFINITY;
    }
}

static void T(forward_outputs)(void *context, int64_t task, int worker) {
    const T(job) *job = context;
    const T(span) s = T(span_of)(job, task);
    T(forward_scratch) w = T(forward_carve)(job, worker);
    const R *whole = s.states + s.count * job->partition.state;
    if (job->causal)
        memcpy(w.state, s.states + s.number * job->partition.state, (size_t)job->partition.state * sizeof(R));
    for (int64_t p = s.start; p < s.end; p += C) {
        const fv__recurrent_chunk c = fv__recurrent_chunk_at(&s.positions, p);
        if (job->causal) T(forward_keys)(job, &s, &c, &w);
        for (int64_t h = 0; h < job->group && c.rows > 0; h++) T(forward_read)
        (job, &s, &c, &w, !job->causal ? whole : p > 0 || job->state.data ? w.state : NULL, s.kv * job->group + h);
        if (job->causal && p + C < s.end) T(forward_write)(job, &s, &c, &w, w.state, FV_GEMM_CONTINUE);
    }
}

static void T(forward)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    T(job) job = T(job_of)(run, scratch, false);
    fv__parallel_for(job.spans * plan->kv_heads, T(forward_states), &job);
    fv__parallel_for(plan->sequences * plan->kv_heads, T(forward_scan), &job);
    fv__parallel_for(job.spans * plan->kv_heads, T(forward_outputs), &job);
}
