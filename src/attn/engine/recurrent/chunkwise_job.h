/* The tensors of a call, a head of a sequence, and what is copied between them and a chunk, for the real type R. See
 * chunkwise.h. */

typedef struct T(job) {
    const fv__run *run;
    const fv_attention_plan *plan;
    const fv_attention_tensors *x;
    const SIMD *simd;
    const fv__recurrent_setup *how;
    fv__chunk_sizes sizes;
    T(view) q, k, v, out, log_decay, beta, state, state_out;
    T(view) dq, dk, dv, dout, dlog_decay, dbeta, dstate, dstate_out;
    char *workers;
    size_t worker_bytes;
    int64_t group; /* heads that share a kv head */
} T(job);

static T(job) T(job_of)(const fv__run *run, void *scratch, bool backward) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    T(job) j = {.run = run, .plan = plan, .x = x, .simd = SIMD_NOW(), .workers = scratch};
    j.how = fv__recurrent_setup_of(plan);
    j.sizes = fv__chunk_sizes_of(plan, backward);
    j.worker_bytes = fv__chunk_bytes(&j.sizes, sizeof(R));
    j.group = plan->kv_heads ? plan->heads / plan->kv_heads : 0;
    j.q = T(view_of)(&x->t[FV_Q]), j.k = T(view_of)(&x->t[FV_K]), j.v = T(view_of)(&x->t[FV_V]);
    j.out = T(view_of)(&x->t[FV_OUT]), j.log_decay = T(view_of)(&x->t[FV_LOG_DECAY]),
    j.beta = T(view_of)(&x->t[FV_BETA]);
    j.state = T(view_of)(&x->t[FV_STATE]), j.state_out = T(view_of)(&x->t[FV_STATE_OUT]);
    if (!backward) return j;
    j.dq = T(view_of)(&x->d[FV_Q]), j.dk = T(view_of)(&x->d[FV_K]), j.dv = T(view_of)(&x->d[FV_V]);
    j.dout = T(view_of)(&x->d[FV_OUT]), j.dlog_decay = T(view_of)(&x->d[FV_LOG_DECAY]),
    j.dbeta = T(view_of)(&x->d[FV_BETA]);
    j.dstate = T(view_of)(&x->d[FV_STATE]), j.dstate_out = T(view_of)(&x->d[FV_STATE_OUT]);
    return j;
}

static T(chunk) T(chunk_of)(const T(job) * job, int worker) {
    const fv__chunk_sizes s = job->sizes;
    char *at = job->workers + (size_t)worker * job->worker_bytes;
    T(chunk) c = {.simd = job->simd, .room = s.n, .chunk = job->how->chunk, .lanes = s.lanes, .d = s.d};
    c.constant_head = -1, c.d_lanes = s.d_lanes, c.dv = s.dv, c.decays = s.decays, c.delta = s.delta;
#define REGION(name, rows, columns, needed) c.name = (needed) ? T(carve)(&at, (rows) * (columns)) : NULL;
#include "attn/engine/recurrent/chunkwise_regions.def"
#undef REGION
    c.u = s.delta ? c.u_delta : c.v;
    if (s.backward) c.simd->fill(c.zeros, 0, s.n * s.dv);
    return c;
}

/* ---- a head of a sequence */

typedef struct T(walk) {
    fv__sequence sequence;
    int64_t head, kv, rows, keys; /* rows of queries; of keys that exist */
    R log_decay;
} T(walk);

static T(walk) T(walk_of)(const T(job) * job, int64_t sequence, int64_t head) {
    T(walk) w = {.sequence = fv__attn_sequence(job->run, sequence), .head = head, .kv = head / job->group};
    w.rows = w.sequence.q_len, w.keys = T(least)(w.sequence.k_len, w.rows);
    if (job->how->decay == FV_DECAY_CONST) w.log_decay = (R)job->how->log_decay(job->plan, head);
    return w;
}

/* ---- between the caller's tensors and arrays without gaps. Rows beyond `live` are zero. */

static void T(load)(const SIMD *simd, R *to, const T(view) * from, int64_t b, int64_t h, int64_t row, int64_t live,
                    int64_t n, int64_t columns, R factor) {
    for (int64_t i = 0; i < live; i++) {
        const R *p = T(at)(from, b, h, row + i);
        if (from->d == 1 || columns == 1)
            simd->scale(to + i * columns, factor, p, columns);
        else
            for (int64_t e = 0; e < columns; e++) to[i * columns + e] = factor * p[e * from->d];
    }
    simd->fill(to + live * columns, 0, (n - live) * columns);
}

/* to = or += factor from */
static void T(save)(const SIMD *simd, const T(view) * to, int64_t b, int64_t h, int64_t row, int64_t n, const R *from,
                    int64_t columns, R factor, bool add) {
    for (int64_t i = 0; to->data && i < n; i++, from += columns) {
        R *p = T(at)(to, b, h, row + i);
        if (add)
            simd->axpy(p, factor, from, columns);
        else if (to->d == 1 || columns == 1)
            simd->scale(p, factor, from, columns);
        else
            for (int64_t e = 0; e < columns; e++) p[e * to->d] = factor * from[e];
    }
}

/* elu(x) + 1 in place: e^x below zero, so that nothing cancels */
static void T(map_rows)(const T(job) * job, const T(chunk) * c, R *x, int64_t rows) {
    if (job->how->map == FV_MAP_IDENTITY) return;
    for (int64_t i = 0; i < rows * c->d; i++) c->rows[i] = x[i] > 0 ? 0 : x[i];
    c->simd->exp(c->rows, c->rows, rows * c->d);
    for (int64_t i = 0; i < rows * c->d; i++) x[i] = x[i] > 0 ? x[i] + 1 : c->rows[i];
}

/* dx *= phi'(x), which is 1 above zero and phi below; f = factor phi(x) */
static void T(map_backward)(const T(job) * job, R *dx, const R *f, R factor, int64_t count) {
    for (int64_t i = 0; job->how->map != FV_MAP_IDENTITY && i < count; i++) {
        const R slope = f[i] / factor;
        dx[i] = slope > 1 ? dx[i] : dx[i] * slope;
    }
}

/* Constant decays of a chunk like the one before are there already. */
static void T(load_decays)(const T(job) * job, const T(walk) * w, T(chunk) * c, int64_t row, int64_t live) {
    if (job->how->decay == FV_DECAY_CONST) {
        if (c->constant_head == w->head && c->constant_n == c->n && c->constant_live == live) return;
        c->simd->fill(c->g, w->log_decay, live), c->simd->fill(c->g + live, 0, c->n - live);
        c->constant_head = w->head, c->constant_n = c->n, c->constant_live = live;
    } else if (c->decays)
        T(load)(c->simd, c->g, &job->log_decay, w->sequence.batch, w->head, row, live, c->n, c->decays, 1);
    T(decay_edges)(c), T(decay_pairs)(c);
}

/* The tokens [p, p + n) of a head into the arrays of the chunk, and all that their decays say. */
static void T(load_chunk)(const T(job) * job, const T(walk) * w, T(chunk) * c, int64_t p) {
    const fv__sequence *at = &w->sequence;
    const SIMD *simd = c->simd;
    const int64_t b = at->batch, row = at->k_start + p;
    c->n = T(least)(w->rows - p, c->chunk);
    const int64_t live = w->keys <= p ? 0 : T(least)(w->keys - p, c->n);
    T(load)(simd, c->q, &job->q, b, w->head, at->q_start + p, c->n, c->n, c->d, 1);
    T(load)(simd, c->k, &job->k, b, w->kv, row, live, c->n, c->d, 1);
    T(map_rows)(job, c, c->q, c->n), T(map_rows)(job, c, c->k, live);
    simd->scale(c->q, (R)job->plan->options.scale, c->q, c->n * c->d);
    T(load)(simd, c->v, &job->v, b, w->kv, row, live, c->n, c->dv, 1);
    if (c->delta) T(load)(simd, c->beta, &job->beta, b, w->head, row, live, c->n, 1, 1);
    T(load_decays)(job, w, c, row, live);
}

static void T(load_state)(const T(job) * job, const T(view) * v, int64_t sequence, int64_t head, R *state) {
    T(load)(job->simd, state, v, sequence, head, 0, job->sizes.d, job->sizes.d, job->sizes.dv, 1);
}

static void T(save_state)(const T(job) * job, const T(view) * v, int64_t sequence, int64_t head, const R *state) {
    T(save)(job->simd, v, sequence, head, 0, job->sizes.d, state, job->sizes.dv, 1, false);
}
