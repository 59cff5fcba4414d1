/* Backward of a recurrence by chunks, for the real type R. See chunkwise.h. */

/* The state before each chunk, the first one only if it is given. */
static void T(backward_states)(const T(job) * job, const T(walk) * w, T(chunk) * c, int64_t sequence) {
    const int64_t size = c->d * c->dv;
    bool empty = !job->state.data;
    if (!empty) T(load_state)(job, &job->state, sequence, w->head, c->states);
    for (int64_t p = 0; p + c->chunk < w->rows; p += c->chunk) {
        R *state = c->states + p / c->chunk * size, *next = state + size;
        T(load_chunk)(job, w, c, p);
        T(chunk_values)(c, empty ? NULL : state);
        if (!empty) memcpy(next, state, (size_t)size * sizeof(R));
        T(chunk_write)(c, next, empty), empty = false;
    }
}

/* Gradients of the tokens of a chunk; those of k and v are summed over the heads of a group. */
static void T(save_chunk)(const T(job) * job, const T(walk) * w, const T(chunk) * c, int64_t p, bool add) {
    const fv__sequence *at = &w->sequence;
    const SIMD *simd = c->simd;
    const int64_t b = at->batch, row = at->k_start + p, live = w->keys <= p ? 0 : T(least)(w->keys - p, c->n);
    const R scale = (R)job->plan->options.scale;
    T(map_backward)(job, c->dq, c->q, scale, c->n * c->d), T(map_backward)(job, c->dk, c->k, 1, live * c->d);
    T(save)(simd, &job->dq, b, w->head, at->q_start + p, c->n, c->dq, c->d, scale, false);
    T(save)(simd, &job->dk, b, w->kv, row, live, c->dk, c->d, 1, add);
    T(save)(simd, &job->dv, b, w->kv, row, live, c->delta ? c->dw : c->du, c->dv, 1, add);
    if (c->dg) T(save)(simd, &job->dlog_decay, b, w->head, row, live, c->dg, c->decays, 1, false);
    if (c->delta) T(save)(simd, &job->dbeta, b, w->head, row, live, c->dbeta, 1, 1, false);
}

static void T(backward_head)(const T(job) * job, const T(walk) * w, T(chunk) * c, int64_t sequence, bool add) {
    bool empty = !job->dstate_out.data;
    T(backward_states)(job, w, c, sequence);
    if (!empty) T(load_state)(job, &job->dstate_out, sequence, w->head, c->state);
    for (int64_t p = (w->rows - 1) / c->chunk * c->chunk; w->rows > 0 && p >= 0; p -= c->chunk) {
        const R *state = p > 0 || job->state.data ? c->states + p / c->chunk * c->d * c->dv : NULL;
        const R *dout =
            job->dout.data ? T(at)(&job->dout, w->sequence.batch, w->head, w->sequence.q_start + p) : c->zeros;
        const bool before = p > 0 || job->dstate.data;
        T(load_chunk)(job, w, c, p);
        T(chunk_values)(c, state);
        T(chunk_backward)(c, state, c->state, empty, before, dout, job->dout.data ? job->dout.l : c->dv);
        T(save_chunk)(job, w, c, p, add);
        empty = empty && !before;
    }
    if (empty && job->dstate.data) c->simd->fill(c->state, 0, c->d * c->dv);
    T(save_state)(job, &job->dstate, sequence, w->head, c->state);
}

/* Gradients of keys that do not exist: zero. */
static void T(zero_rows)(const T(job) * job, const T(view) * v, const T(walk) * w, int64_t head, int64_t columns) {
    const int64_t rows = job->plan->packed ? w->rows : job->plan->k_len;
    for (int64_t i = w->keys; v->data && i < rows; i++) {
        R *p = T(at)(v, w->sequence.batch, head, w->sequence.k_start + i);
        for (int64_t e = 0; e < columns; e++) p[e * (columns > 1 ? v->d : 1)] = 0;
    }
}

static void T(backward_group)(void *context, int64_t task, int worker) {
    const T(job) *job = context;
    const int64_t kv_heads = job->plan->kv_heads, sequence = task / kv_heads, kv = task % kv_heads;
    T(chunk) c = T(chunk_of)(job, worker);
    if (job->dlog_decay.data) c.dg = c.dlog_decay;
    for (int64_t h = kv * job->group; h < (kv + 1) * job->group; h++) {
        const T(walk) w = T(walk_of)(job, sequence, h);
        T(backward_head)(job, &w, &c, sequence, h > kv * job->group);
        T(zero_rows)(job, &job->dlog_decay, &w, h, c.decays);
        T(zero_rows)(job, &job->dbeta, &w, h, 1);
        if (h > kv * job->group) continue;
        T(zero_rows)(job, &job->dk, &w, kv, c.d);
        T(zero_rows)(job, &job->dv, &w, kv, c.dv);
    }
}

static void T(backward)(const fv__run *run, void *scratch) {
    T(job) job = T(job_of)(run, scratch, true);
    fv__parallel_for(run->plan->sequences * run->plan->kv_heads, T(backward_group), &job);
}

const fv__recurrent_kernels T(kernels) = {T(forward), T(backward)};
