/* Backward of RECURRENT for the real type R. See recurrent.h.
 *
 *   dn_i = do_i / (m_i + eps)      dm_i = (dLSE_i - do_i . o_i) / (m_i + eps)
 *   df_i = S_i [dn_i dm_i]         dA = tril([dn dm] [V 1]^T)
 *   E_j  = sum over i >= j of f_i [dn_i dm_i]^T        dg_j = E_j [v_j 1]        dv_j = E_j^T g_j
 *
 * States are transposed here, (Dv + 1, D) with the normaliser as last row, for S and for E: no product needs the other
 * orientation. */

typedef struct T(backward_scratch) {
    R *state, *g, *gt, *f, *a, *da, *vt, *dn, *dvt, *df; /* dn: (C, Dv + 1); vt, dvt: (Dv + 1, C); df: (C, D) */
    R *ones;
} T(backward_scratch);

static T(backward_scratch) T(backward_carve)(const T(job) * job, int worker) {
    char *at = job->workers + (size_t)worker * job->partition.worker_bytes;
    const int64_t d = job->plan->d_qk, wide = job->plan->d_v + 1;
    T(backward_scratch) w;
    w.state = T(carve)(&at, job->partition.state);
    w.g = T(carve)(&at, C * d), w.gt = T(carve)(&at, C * d), w.f = T(carve)(&at, C * d), w.df = T(carve)(&at, C * d);
    w.a = T(carve)(&at, C * C), w.da = T(carve)(&at, C * C);
    w.vt = T(carve)(&at, C * wide), w.dn = T(carve)(&at, C * wide), w.dvt = T(carve)(&at, C * wide);
    w.ones = T(carve)(&at, C);
    job->simd->fill(w.ones, 1, C);
    return w;
}

/* G, G^T and [V 1]^T of the keys of a chunk, zero beyond the last. */
static void T(backward_keys)(const T(job) * job, const T(span) * s, const fv__recurrent_chunk *c,
                             T(backward_scratch) * w) {
    const int64_t d = job->plan->d_qk, dv = job->plan->d_v;
    const fv__sequence *at = &s->positions.sequence;
    if (c->cols > 0)
        T(features)(job->simd, w->g, T(at)(&job->k, at->batch, s->kv, at->k_start + c->k), job->k.l, c->cols, d);
    job->simd->pack(w->gt, C, w->g, d, c->cols, d, 1);
    job->simd->pack(w->vt, C, T(at)(&job->v, at->batch, s->kv, at->k_start + c->k), job->v.l, c->cols, dv, 1);
    job->simd->fill(w->vt + dv * C, 0, C);
    job->simd->fill(w->vt + dv * C, 1, c->cols);
}

static void T(backward_write)(const T(job) * job, const fv__recurrent_chunk *c, T(backward_scratch) * w, R *state,
                              fv__gemm_mode mode) {
    const int64_t d = job->plan->d_qk;
    job->simd->gemm(state, d, w->vt, C, 1, w->g, d, job->plan->d_v + 1, d, c->cols, mode);
}

/* Features of the queries and, when causal, tril(F G^T). Where rows of queries start among reciprocal_normalizer and
 * d_normalizer. */
static int64_t T(backward_queries)(const T(job) * job, const T(span) * s, const fv__recurrent_chunk *c,
                                   T(backward_scratch) * w, int64_t head) {
    const int64_t d = job->plan->d_qk, row = s->positions.sequence.q_start + c->q;
    T(features)(job->simd, w->f, T(at)(&job->q, s->positions.sequence.batch, head, row), job->q.l, c->rows, d);
    if (job->causal) {
        job->simd->gemm(w->a, C, w->f, d, 1, w->gt, C, c->rows, C, d, FV_GEMM_OVERWRITE);
        T(triangle)(w->a, c);
    }
    return (s->positions.sequence.batch * job->plan->heads + head) * job->plan->q_len + row;
}

/* [dn dm], and dA when causal. */
static void T(backward_outputs)(const T(job) * job, const T(span) * s, const fv__recurrent_chunk *c,
                                T(backward_scratch) * w, int64_t head, int64_t rows_at) {
    const int64_t dv = job->plan->d_v, wide = dv + 1;
    for (int64_t r = 0; r < c->rows; r++) {
        R *dn = w->dn + r * wide;
        if (job->dout.data) {
            const R *dout =
                T(at)(&job->dout, s->positions.sequence.batch, head, s->positions.sequence.q_start + c->q + r);
            job->simd->scale(dn, job->reciprocal_normalizer[rows_at + r], dout, dv);
        } else
            job->simd->fill(dn, 0, dv);
        dn[dv] = job->d_normalizer[rows_at + r];
    }
    if (!job->causal) return;
    job->simd->gemm(w->da, C, w->dn, wide, 1, w->vt, C, c->rows, C, wide, FV_GEMM_OVERWRITE);
    T(triangle)(w->da, c);
}

/* 1 / (m + eps) and dm of the queries of a chunk. */
static void T(backward_rows)(T(job) * job, const T(span) * s, const fv__recurrent_chunk *c, T(backward_scratch) * w,
                             const R *z, int64_t head, int64_t rows_at) {
    const int64_t d = job->plan->d_qk, dv = job->plan->d_v, b = s->positions.sequence.batch,
                  row = s->positions.sequence.q_start + c->q;
    for (int64_t r = 0; r < c->rows; r++) {
        R m = z ? job->simd->dot(w->f + r * d, z, d) : 0, g = 0;
        if (job->causal) m += job->simd->sum(w->a + r * C, C);
        if (job->dlse.data) g = *T(at)(&job->dlse, b, head, row + r);
        if (job->dout.data)
            g -= job->simd->dot(T(at)(&job->dout, b, head, row + r), T(at)(&job->out, b, head, row + r), dv);
        job->reciprocal_normalizer[rows_at + r] = 1 / (m + job->eps);
        job->d_normalizer[rows_at + r] = g / (m + job->eps);
    }
}

/* E += [dn dm]^T F, or = */
static void T(backward_gather)(const T(job) * job, const fv__recurrent_chunk *c, T(backward_scratch) * w, R *state,
                               fv__gemm_mode mode) {
    const int64_t d = job->plan->d_qk, wide = job->plan->d_v + 1;
    job->simd->gemm(state, d, w->dn, 1, wide, w->f, d, wide, d, c->rows, mode);
}

/* ---- from the left: the state before each span, then dQ and the sums of E */

static void T(backward_states)(void *context, int64_t task, int worker) {
    const T(job) *job = context;
    const T(span) s = T(span_of)(job, task);
    if (job->causal && s.number == s.count - 1) return;
    T(backward_scratch) w = T(backward_carve)(job, worker);
    for (int64_t p = s.start; p < s.end; p += C) {
        const fv__recurrent_chunk c = fv__recurrent_chunk_at(&s.positions, p);
        T(backward_keys)(job, &s, &c, &w);
        T(backward_write)
        (job, &c, &w, s.states + (s.number + 1) * job->partition.state,
         p > s.start ? FV_GEMM_CONTINUE : FV_GEMM_OVERWRITE);
    }
}

/* Also writes the gradients of what nobody sees and of what sees nothing: zero. */
static void T(backward_scan)(void *context, int64_t task, int worker) {
    const T(job) *job = context;
    const int64_t sequence = task / job->plan->kv_heads, kv = task % job->plan->kv_heads;
    const fv__recurrent_positions positions = fv__recurrent_positions_of(job->run, sequence);
    const fv__sequence *at = &positions.sequence;
    (void)worker;
    T(scan)(job, sequence, kv, true, !job->causal);
    for (int64_t h = kv * job->group; h < (kv + 1) * job->group; h++)
        T(zero_rows)(job, &job->dq, at->batch, h, at->q_start, positions.empty_queries, job->plan->d_qk);
    T(zero_rows)
    (job, &job->dk, at->batch, kv, at->k_start + positions.keys, positions.k_rows - positions.keys, job->plan->d_qk);
    T(zero_rows)
    (job, &job->dv, at->batch, kv, at->k_start + positions.keys, positions.k_rows - positions.keys, job->plan->d_v);
}

/* dF = [dn dm] S^T + dA G, then through the features */
static void T(backward_dq)(const T(job) * job, const T(span) * s, const fv__recurrent_chunk *c, T(backward_scratch) * w,
                           const R *state, int64_t head) {
    if (!job->dq.data) return;
    const SIMD *simd = job->simd;
    const int64_t d = job->plan->d_qk, wide = job->plan->d_v + 1, b = s->positions.sequence.batch,
                  row = s->positions.sequence.q_start + c->q;
    if (state) simd->gemm(w->df, d, w->dn, wide, 1, state, d, c->rows, d, wide, FV_GEMM_OVERWRITE);
    const bool finite = !job->causal || simd->finite_tile(w->g, d, c->cols, d);
    if (job->causal) T(product)
    (simd, finite, w->df, d, w->da, C, 1, w->g, d, c->rows, d, c->cols, state ? FV_GEMM_CONTINUE : FV_GEMM_OVERWRITE);
    T(features_back)
    (T(at)(&job->dq, b, head, row), job->dq.l, w->df, w->f, T(at)(&job->q, b, head, row), job->q.l, c->rows, d);
}

/* The sum of E over the span replaces the state before it, which no other task reads. */
static void T(backward_queries_pass)(void *context, int64_t task, int worker) {
    T(job) *job = context;
    const T(span) s = T(span_of)(job, task);
    T(backward_scratch) w = T(backward_carve)(job, worker);
    const int64_t last = job->plan->d_v * job->plan->d_qk;
    R *own = s.states + s.number * job->partition.state;
    const R *whole = s.states + s.count * job->partition.state;
    if (job->causal) memcpy(w.state, own, (size_t)job->partition.state * sizeof(R));
    job->simd->fill(own, 0, job->partition.state);
    for (int64_t p = s.start; p < s.end; p += C) {
        const fv__recurrent_chunk c = fv__recurrent_chunk_at(&s.positions, p);
        const R *state = !job->causal ? whole : p > 0 || job->state.data ? w.state : NULL;
        if (job->causal) T(backward_keys)(job, &s, &c, &w);
        for (int64_t h = s.kv * job->group; c.rows > 0 && h < (s.kv + 1) * job->group; h++) {
            const int64_t rows_at = T(backward_queries)(job, &s, &c, &w, h);
            T(backward_rows)(job, &s, &c, &w, state ? state + last : NULL, h, rows_at);
            T(backward_outputs)(job, &s, &c, &w, h, rows_at);
            T(backward_dq)(job, &s, &c, &w, state, h);
            T(backward_gather)(job, &c, &w, own, FV_GEMM_CONTINUE);
        }
        if (job->causal && p + C < s.end) T(backward_write)(job, &c, &w, w.state, FV_GEMM_CONTINUE);
    }
}

/* ---- from the right: E after each span, then dK and dV */

static void T(backward_reverse_scan)(void *context, int64_t task, int worker) {
    const T(job) *job = context;
    const int64_t sequence = task / job->plan->kv_heads, kv = task % job->plan->kv_heads;
    const int64_t count = job->first[sequence + 1] - job->first[sequence];
    R *states = T(states_of)(job, kv, sequence), *end = states + count * job->partition.state;
    const bool beyond = job->dstate_out.data || count == 0; /* readers of the state after the last token */
    (void)worker;
    if (job->dstate_out.data)
        T(load_state)(job, &job->dstate_out, sequence, kv, true, end);
    else if (beyond)
        job->simd->fill(end, 0, job->partition.state);
    const int64_t from = beyond ? count - 1 : count - 2;
    if (from >= 0) T(accumulate)(job, states, from, -1, -1);
    if (job->dstate.data) T(save_state)(job, &job->dstate, sequence, kv, true, states);
}

/* dG = [V 1] E^T, in df, and dV = G E, with E of the queries beyond the chunk: NULL if there are none. */
static void T(backward_far)(const T(job) * job, const T(span) * s, const fv__recurrent_chunk *c,
                            T(backward_scratch) * w, const R *state) {
    const fv__sequence *at = &s->positions.sequence;
    const int64_t d = job->plan->d_qk, dv = job->plan->d_v, row = at->k_start + c->k;
    if (state)
        job->simd->gemm(w->df, d, w->vt, 1, C, state, d, c->cols, d, dv + 1, FV_GEMM_OVERWRITE);
    else
        job->simd->fill(w->df, 0, c->cols * d);
    if (!state)
        T(zero_rows)(job, &job->dv, at->batch, s->kv, row, c->cols, dv);
    else if (job->dv.data) {
        job->simd->gemm(w->dvt, C, state, d, 1, w->gt, C, dv, C, d, FV_GEMM_OVERWRITE);
        job->simd->unpack(T(at)(&job->dv, at->batch, s->kv, row), job->dv.l, w->dvt, C, c->cols, dv, w->ones, false);
    }
}

/* What the queries of the same chunk add to both, for one head. */
static void T(backward_near)(const T(job) * job, const T(span) * s, const fv__recurrent_chunk *c,
                             T(backward_scratch) * w, int64_t head) {
    const SIMD *simd = job->simd;
    const fv__sequence *at = &s->positions.sequence;
    const int64_t d = job->plan->d_qk, dv = job->plan->d_v, wide = dv + 1;
    const int64_t rows_at = T(backward_queries)(job, s, c, w, head);
    T(backward_outputs)(job, s, c, w, head, rows_at);
    const bool finite = simd->finite_tile(w->f, d, c->rows, d) && simd->finite_tile(w->dn, wide, c->rows, wide);
    T(product)(simd, finite, w->df, d, w->da, 1, C, w->f, d, c->cols, d, c->rows, FV_GEMM_CONTINUE);
    if (!job->dv.data) return;
    R *to = T(at)(&job->dv, at->batch, s->kv, at->k_start + c->k);
    T(product)(simd, finite, to, job->dv.l, w->a, 1, C, w->dn, wide, c->cols, dv, c->rows, FV_GEMM_CONTINUE);
}

static void T(backward_keys_pass)(void *context, int64_t task, int worker) {
    const T(job) *job = context;
    const T(span) s = T(span_of)(job, task);
    T(backward_scratch) w = T(backward_carve)(job, worker);
    bool some = s.number + 1 < s.count || job->dstate_out.data; /* readers beyond the chunk */
    if (job->causal && some)
        memcpy(w.state, s.states + (s.number + 1) * job->partition.state, (size_t)job->partition.state * sizeof(R));
    for (int64_t p = s.start + (s.end - s.start - 1) / C * C; p >= s.start; p -= C) {
        const fv__recurrent_chunk c = fv__recurrent_chunk_at(&s.positions, p);
        T(backward_keys)(job, &s, &c, &w);
        T(backward_far)(job, &s, &c, &w, !job->causal ? s.states : some ? w.state : NULL);
        for (int64_t h = s.kv * job->group; job->causal && c.rows > 0 && h < (s.kv + 1) * job->group; h++) {
            T(backward_near)(job, &s, &c, &w, h);
            if (p == s.start) continue;
            T(backward_gather)(job, &c, &w, w.state, some ? FV_GEMM_CONTINUE : FV_GEMM_OVERWRITE);
            some = true;
        }
        const int64_t b = s.positions.sequence.batch, d = job->plan->d_qk, row = s.positions.sequence.k_start + c.k;
        if (c.cols == 0 || !job->dk.data) continue;
        T(features_back)
        (T(at)(&job->dk, b, s.kv, row), job->dk.l, w.df, w.g, T(at)(&job->k, b, s.kv, row), job->k.l, c.cols, d);
    }
}

static void T(backward)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    T(job) job = T(job_of)(run, scratch, true);
    job.dq = T(view_of)(&x->d[FV_Q]), job.dk = T(view_of)(&x->d[FV_K]), job.dv = T(view_of)(&x->d[FV_V]);
    job.dout = T(view_of)(&x->d[FV_OUT]), job.dlse = T(view_of)(&x->d[FV_LSE]);
    job.dstate = T(view_of)(&x->d[FV_STATE]), job.dstate_out = T(view_of)(&x->d[FV_STATE_OUT]);
    const int64_t tasks = job.spans * plan->kv_heads, units = plan->sequences * plan->kv_heads;
    fv__parallel_for(tasks, T(backward_states), &job);
    fv__parallel_for(units, T(backward_scan), &job);
    fv__parallel_for(tasks, T(backward_queries_pass), &job);
    if (!job.dk.data && !job.dv.data && !job.dstate.data) return;
    fv__parallel_for(units, T(backward_reverse_scan), &job);
    if (job.dk.data || job.dv.data) fv__parallel_for(tasks, T(backward_keys_pass), &job);
}
