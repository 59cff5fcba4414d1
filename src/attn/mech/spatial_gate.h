/* The spatial gate for the real type R; see spatial_gate.c, which includes this once for each type. */
#include "attn/engine/gate/gate_job.h"

typedef struct T(job) {
    const fv__run *run;
    const fv_attention_plan *plan;
    const fv_attention_tensors *x;
    const SIMD *simd;
    T(view) in, out, din, dout;
    const int64_t *first;
    R *w, *sums; /* per head: w and b without gaps; per block and head: parts of dw and db */
    int64_t blocks;
} T(job);

static T(job) T(job_of)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    T(job) job = {.run = run, .plan = run->plan, .x = run->x, .simd = SIMD_NOW()};
    const int64_t wide = plan->d_qk + 1;
    char *at = scratch;
    int64_t *first = fv__gate_carve(&at, plan->sequences + 1, sizeof *first);
    job.first = first, job.blocks = fv__gate_count(run, first);
    job.w = fv__gate_carve(&at, plan->heads * wide, sizeof(R));
    job.sums = (R *)at;
    T(gather)(job.w, &x->t[FV_W0]);
    T(gather)(job.w + plan->heads * plan->d_qk, &x->t[FV_W1]);
    job.in = T(view_of)(&x->t[FV_Q]), job.out = T(view_of)(&x->t[FV_OUT]);
    job.din = T(view_of)(&x->d[FV_Q]), job.dout = T(view_of)(&x->d[FV_OUT]);
    return job;
}

/* g[i] = sigmoid(w . x_i + b) of the rows that exist */
static void T(gates)(const T(job) * job, const fv__gate_rows *r, int64_t head, R *g) {
    const int64_t d = job->plan->d_qk;
    const R *w = job->w + head * d, b = job->w[job->plan->heads * d + head];
    for (int64_t i = 0; i < r->live; i++) g[i] = job->simd->dot(w, T(at)(&job->in, r->batch, head, r->row + i), d) + b;
    job->simd->sigmoid(g, g, r->live);
}

static void T(forward_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t head = index % job->plan->heads, d = job->plan->d_qk;
    const fv__gate_rows r = fv__gate_rows_of(job->run, job->first, index / job->plan->heads);
    R g[FV_GATE_ROWS];
    (void)worker;
    T(gates)(job, &r, head, g);
    for (int64_t i = 0; i < r.live; i++)
        job->simd->scale(T(at)(&job->out, r.batch, head, r.row + i), g[i], T(at)(&job->in, r.batch, head, r.row + i),
                         d);
    T(zero_rows)(job->simd, &job->out, &r, head, d);
}

static void T(forward)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    T(job) job = T(job_of)(run, scratch);
    fv__parallel_for(job.blocks * plan->heads, T(forward_task), &job);
}

static void T(backward_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const SIMD *simd = job->simd;
    const int64_t head = index % job->plan->heads, d = job->plan->d_qk;
    const fv__gate_rows r = fv__gate_rows_of(job->run, job->first, index / job->plan->heads);
    const R *w = job->w + head * d;
    R g[FV_GATE_ROWS], *dw = job->sums + index * (d + 1);
    (void)worker;
    T(gates)(job, &r, head, g);
    simd->fill(dw, 0, d + 1);
    for (int64_t i = 0; i < r.live; i++) {
        const R *in = T(at)(&job->in, r.batch, head, r.row + i), *dout = T(at)(&job->dout, r.batch, head, r.row + i);
        const R ds = simd->dot(dout, in, d) * g[i] * (1 - g[i]);
        simd->axpy(dw, ds, in, d);
        dw[d] += ds;
        if (!job->din.data) continue;
        R *din = T(at)(&job->din, r.batch, head, r.row + i);
        simd->scale(din, g[i], dout, d);
        simd->axpy(din, ds, w, d);
    }
    T(zero_rows)(simd, &job->din, &r, head, d);
}

/* Blocks in their order; what has no rows adds nothing. */
static void T(parameters)(const T(job) * job) {
    const int64_t heads = job->plan->heads, d = job->plan->d_qk;
    const fv_tensor *dw = &job->x->d[FV_W0], *db = &job->x->d[FV_W1];
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i <= d; i++) {
            double sum = 0;
            for (int64_t b = 0; b < job->blocks; b++) sum += (double)job->sums[(b * heads + h) * (d + 1) + i];
            if (i < d && dw->rank) T(put)(dw, h, i, 0, sum);
            if (i == d && db->rank) T(put)(db, h, 0, 0, sum);
        }
}

static void T(no_gradient)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t head = index % job->plan->heads, d = job->plan->d_qk;
    fv__gate_rows r = fv__gate_rows_of(job->run, job->first, index / job->plan->heads);
    (void)worker;
    r.live = 0;
    T(zero_rows)(job->simd, &job->din, &r, head, d);
    job->simd->fill(job->sums + index * (d + 1), 0, d + 1);
}

static void T(backward)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    T(job) job = T(job_of)(run, scratch);
    fv__parallel_for(job.blocks * plan->heads, job.dout.data ? T(backward_task) : T(no_gradient), &job);
    T(parameters)(&job);
}
