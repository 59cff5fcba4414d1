/* ROWS for the real type R. See rows.h. */
#include "attn/engine/view.h"

typedef struct T(job) {
    const fv__run *run;
    const fv_attention_plan *plan;
    const fv_attention_tensors *x;
    const SIMD *simd;
    const ROW_WEIGHT_OF *weight;
    int64_t top;
    T(view) q, k, v, out, dq, dk, dv, dout;
    char *workers;
    size_t worker_bytes;
    int64_t blocks; /* of ROWS queries, in the longest sequence */
} T(job);

typedef struct T(scratch) {
    R *q, *columns, *rows, *dscore; /* (D, ROWS), (keys, ROWS), (ROWS, keys rounded up), keys */
    int64_t *keys;                  /* those of a row that have a weight */
    int64_t ld;
} T(scratch);

static T(scratch) T(carve_all)(const T(job) * job, int worker) {
    char *at = job->workers + (size_t)worker * job->worker_bytes;
    T(scratch) s = {.ld = (job->plan->k_len + FV_ROWS_BLOCK - 1) / FV_ROWS_BLOCK * FV_ROWS_BLOCK};
    s.q = T(carve)(&at, job->plan->d_qk * FV_ROWS_BLOCK);
    s.columns = T(carve)(&at, s.ld * FV_ROWS_BLOCK);
    s.rows = T(carve)(&at, s.ld * FV_ROWS_BLOCK);
    s.dscore = T(carve)(&at, s.ld);
    s.keys = (int64_t *)(void *)T(carve)(&at, s.ld * (int64_t)(sizeof(int64_t) / sizeof(R)));
    return s;
}

/* ---- rows of weights */

static bool T(masked)(const T(job) * job, const fv__sequence *s, int64_t head, int64_t i, int64_t j) {
    const fv_tensor *m = &job->x->t[FV_MASK];
    if (!m->rank) return false;
    const int64_t b = m->dim[0] == 1 ? 0 : s->batch, h = m->dim[1] == 1 ? 0 : head;
    const int64_t l = m->dim[2] == 1 ? 0 : s->q_start + i, d = m->dim[3] == 1 ? 0 : s->k_start + j;
    const bool set =
        ((const unsigned char *)m->data)[b * m->stride[0] + h * m->stride[1] + l * m->stride[2] + d * m->stride[3]] !=
        0;
    return set == (job->plan->options.mask_means == FV_MASK_DROP);
}

/* Raw scores of query i become scaled ones, -inf where hidden or not selected. Returns the visible range. */
static void T(finish_scores)(const T(job) * job, const fv__sequence *s, int64_t head, int64_t i, R *row, int64_t step,
                             int64_t *start, int64_t *end) {
    fv__attn_visible(job->plan, s, i, start, end);
    if (job->x->t[FV_MASK].rank)
        for (int64_t j = *start; j < *end; j++)
            if (T(masked)(job, s, head, i, j)) row[j * step] = (R)-INFINITY;
    if (job->weight->select) job->weight->select(row + *start * step, step, *end - *start, job->top);
    for (int64_t j = *start; j < *end; j++) row[j * step] *= (R)job->plan->options.scale;
}

/* Scores of `count` queries from i0 against all keys, a row per query. */
static void T(score_rows)(const T(job) * job, const T(scratch) * w, const fv__sequence *s, int64_t head, int64_t i0,
                          int64_t count) {
    const int64_t d = job->plan->d_qk, kv = head * job->plan->kv_heads / job->plan->heads, lanes = FV_ROWS_BLOCK;
    job->simd->pack(w->q, lanes, T(at)(&job->q, s->batch, head, s->q_start + i0), job->q.l, count, d, 1);
    job->simd->gemm(w->columns, lanes, T(at)(&job->k, s->batch, kv, s->k_start), job->k.l, 1, w->q, lanes, s->k_len,
                    lanes, d, FV_GEMM_OVERWRITE);
    job->simd->pack(w->rows, w->ld, w->columns, lanes, s->k_len, lanes, 1);
}

static void T(block_forward)(const T(job) * job, const T(scratch) * w, const fv__sequence *s, int64_t head, int64_t i0,
                             int64_t count) {
    const int64_t dv = job->plan->d_v, kv = head * job->plan->kv_heads / job->plan->heads;
    T(score_rows)(job, w, s, head, i0, count);
    for (int64_t r = 0; r < count; r++) {
        R *row = w->rows + r * w->ld, *out = T(at)(&job->out, s->batch, head, s->q_start + i0 + r);
        int64_t start, end;
        T(finish_scores)(job, s, head, i0 + r, row, 1, &start, &end);
        const R lse = job->weight->forward(job->simd, row + start, end - start, w->dscore);
        memset(out, 0, (size_t)dv * sizeof(R));
        for (int64_t j = start; j < end; j++)
            if (row[j] != 0) job->simd->axpy(out, row[j], T(at)(&job->v, s->batch, kv, s->k_start + j), dv);
        const fv_tensor *to = &job->x->t[FV_LSE];
        if (to->rank)
            ((R *)to->data)[s->batch * to->stride[0] + head * to->stride[1] + (s->q_start + i0 + r) * to->stride[2]] =
                lse;
    }
}

static void T(forward_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const T(scratch) w = T(carve_all)(job, worker);
    const int64_t block = index % job->blocks, head = index / job->blocks % job->plan->heads;
    const fv__sequence s = fv__attn_sequence(job->run, index / job->blocks / job->plan->heads);
    const int64_t i0 = block * FV_ROWS_BLOCK, left = s.q_len - i0;
    if (left > 0) T(block_forward)(job, &w, &s, head, i0, left < FV_ROWS_BLOCK ? left : FV_ROWS_BLOCK);
}

/* ---- backward */

/* The weights that are not 0 move to the front of the row, their keys are listed. Returns how many. */
static int64_t T(compact)(R *p, int64_t start, int64_t end, int64_t *keys) {
    int64_t n = 0;
    for (int64_t j = start; j < end; j++)
        if (p[j] != 0) keys[n] = j, p[n++] = p[j];
    return n;
}

static R T(gradient_of_lse)(const T(job) * job, const fv__sequence *s, int64_t head, int64_t row) {
    const fv_tensor *t = &job->x->d[FV_LSE];
    return t->rank ? ((const R *)t->data)[s->batch * t->stride[0] + head * t->stride[1] + row * t->stride[2]] : 0;
}

static void T(row_backward)(const T(job) * job, const T(scratch) * w, const fv__sequence *s, int64_t head, int64_t i,
                            R *p) {
    const SIMD *simd = job->simd;
    const int64_t d = job->plan->d_qk, dv = job->plan->d_v, kv = head * job->plan->kv_heads / job->plan->heads,
                  row = s->q_start + i;
    int64_t start, end;
    T(finish_scores)(job, s, head, i, p, 1, &start, &end);
    if (job->weight->forward(simd, p + start, end - start, w->dscore) == (R)-INFINITY) return;
    const int64_t n = T(compact)(p, start, end, w->keys);
    const R *q = T(at)(&job->q, s->batch, head, row),
            *dout = job->dout.data ? T(at)(&job->dout, s->batch, head, row) : NULL;
    for (int64_t m = 0; m < n; m++)
        w->dscore[m] = dout ? simd->dot(dout, T(at)(&job->v, s->batch, kv, s->k_start + w->keys[m]), dv) : 0;
    job->weight->backward(simd, p, w->dscore, n, T(gradient_of_lse)(job, s, head, row));
    for (int64_t m = 0; m < n; m++) {
        const int64_t key = s->k_start + w->keys[m];
        const R ds = w->dscore[m] * (R)job->plan->options.scale;
        if (job->dq.data) simd->axpy(T(at)(&job->dq, s->batch, head, row), ds, T(at)(&job->k, s->batch, kv, key), d);
        if (job->dk.data) simd->axpy(T(at)(&job->dk, s->batch, kv, key), ds, q, d);
        if (job->dv.data && dout) simd->axpy(T(at)(&job->dv, s->batch, kv, key), p[m], dout, dv);
    }
}

static void T(backward_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const T(scratch) w = T(carve_all)(job, worker);
    const int64_t group = job->plan->heads / job->plan->kv_heads, kv = index % job->plan->kv_heads;
    const fv__sequence s = fv__attn_sequence(job->run, index / job->plan->kv_heads);
    for (int64_t head = kv * group; head < (kv + 1) * group; head++)
        for (int64_t i0 = 0; i0 < s.q_len; i0 += FV_ROWS_BLOCK) {
            const int64_t count = s.q_len - i0 < FV_ROWS_BLOCK ? s.q_len - i0 : FV_ROWS_BLOCK;
            T(score_rows)(job, &w, &s, head, i0, count);
            for (int64_t r = 0; r < count; r++) T(row_backward)(job, &w, &s, head, i0 + r, w.rows + r * w.ld);
        }
}

/* ---- whole calls */

static T(job) T(job_of)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    T(job)
    job = {.run = run,
           .plan = run->plan,
           .x = run->x,
           .simd = SIMD_NOW(),
           .workers = scratch,
           .worker_bytes = fv__rows_worker_bytes(plan)};
    job.weight = &fv__rows_setup_of(plan)->weight->ROW_WEIGHT_TYPE, job.top = fv__rows_setup_of(plan)->top;
    job.q = T(view_of)(&x->t[FV_Q]), job.k = T(view_of)(&x->t[FV_K]), job.v = T(view_of)(&x->t[FV_V]),
    job.out = T(view_of)(&x->t[FV_OUT]);
    job.dq = T(view_of)(&x->d[FV_Q]), job.dk = T(view_of)(&x->d[FV_K]), job.dv = T(view_of)(&x->d[FV_V]);
    job.dout = T(view_of)(&x->d[FV_OUT]);
    for (int64_t n = 0; n < plan->sequences; n++) {
        const int64_t blocks = (fv__attn_sequence(run, n).q_len + FV_ROWS_BLOCK - 1) / FV_ROWS_BLOCK;
        if (blocks > job.blocks) job.blocks = blocks;
    }
    return job;
}

static void T(forward)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    T(job) job = T(job_of)(run, scratch);
    fv__parallel_for(plan->sequences * plan->heads * job.blocks, T(forward_task), &job);
}

static void T(backward)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    T(job) job = T(job_of)(run, scratch);
    T(zero)(&x->d[FV_Q]), T(zero)(&x->d[FV_K]), T(zero)(&x->d[FV_V]);
    fv__parallel_for(plan->sequences * plan->kv_heads, T(backward_task), &job);
}

/* In place in the caller's tensor: it holds a row of scores. */
static void T(weights)(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                       int64_t count, const fv_tensor *out) {
    const fv_attention_plan *plan = run->plan;
    const T(job) job = T(job_of)(run, NULL);
    const fv__sequence s = fv__attn_sequence(run, batch);
    const int64_t kv = head * plan->kv_heads / plan->heads, step = out->stride[1];
    for (int64_t n = 0; n < count; n++) {
        R *row = (R *)out->data + n * out->stride[0];
        const R *q = T(at)(&job.q, s.batch, head, s.q_start + rows[n]);
        int64_t start, end;
        for (int64_t j = 0; j < out->dim[1]; j++)
            row[j * step] =
                j < s.k_len ? job.simd->dot(q, T(at)(&job.k, s.batch, kv, s.k_start + j), plan->d_qk) : (R)-INFINITY;
        T(finish_scores)(&job, &s, head, rows[n], row, step, &start, &end);
        const R none = capture < FV_CAPTURE_SOFTMAX ? (R)-INFINITY : 0;
        if (capture >= FV_CAPTURE_SOFTMAX) job.weight->strided(row + start * step, step, end - start);
        for (int64_t j = 0; j < out->dim[1]; j++)
            if (j < start || j >= end) row[j * step] = none;
    }
}

const fv__rows_kernels T(kernels) = {T(forward), T(backward), T(weights)};
