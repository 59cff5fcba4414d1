/* Gates of positions: one pass over rows, with the formulas of the gate in it. See gate.h.
 *
 *   forward    g_p = gate(x_p)     y_p = g_p x_p
 *   backward   dg_p = dy_p . x_p     dx_p = g_p dy_p + what the gate's backward adds */
#ifndef FV_BOTH_REALS
#define FV_BOTH_REALS "attn/engine/gate/gate_positions.c"
#include "attn/engine/gate/gate_parts.h"
#include "simd/both_reals.h"

#else
#include "attn/engine/gate/gate_job.h"

static const T(fv__position_gate) * T(formulas)(const T(job) * job) {
    const fv__position_gate *gate = fv__gate_setup_of(job->plan)->positions;
#if FV_REAL_IS_DOUBLE
    return &gate->f64;
#else
    return &gate->f32;
#endif
}

/* The gates of the rows that exist. */
static void T(gates)(const T(job) * job, const T(fv__gate_head) * h, const fv__gate_rows *r, int64_t head, R *g) {
    T(formulas)(job)->forward(h, T(at)(&job->in, r->batch, head, r->row), job->in.l, r->live, g);
}

static void T(forward_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t head = index % job->plan->heads, d = job->d;
    const fv__gate_rows r = fv__gate_rows_of(job->run, job->first, index / job->plan->heads);
    const T(fv__gate_head) h = T(head_of)(job, head);
    R g[FV_GATE_ROWS];
    (void)worker;
    T(gates)(job, &h, &r, head, g);
    for (int64_t i = 0; i < r.live; i++)
        job->simd->scale(T(at)(&job->out, r.batch, head, r.row + i), g[i], T(at)(&job->in, r.batch, head, r.row + i),
                         d);
    T(zero_rows)(job->simd, &job->out, &r, head, d);
}

static void T(backward_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const SIMD *simd = job->simd;
    const int64_t head = index % job->plan->heads, d = job->d;
    fv__gate_rows r = fv__gate_rows_of(job->run, job->first, index / job->plan->heads);
    const T(fv__gate_head) h = T(head_of)(job, head);
    R g[FV_GATE_ROWS], *sums = job->sums + index * job->params.wide, *dw[FV_GATE_PARAMS];
    (void)worker;
    for (int n = 0; n < job->params.count; n++) dw[n] = sums + job->params.param[n].start;
    simd->fill(sums, 0, job->params.wide);
    if (!job->dout.data) r.live = 0; /* no gradient comes in */
    T(gates)(job, &h, &r, head, g);
    for (int64_t i = 0; i < r.live; i++) {
        const R *in = T(at)(&job->in, r.batch, head, r.row + i), *dout = T(at)(&job->dout, r.batch, head, r.row + i);
        R *din = job->din.data ? T(at)(&job->din, r.batch, head, r.row + i) : NULL;
        if (din) simd->scale(din, g[i], dout, d);
        T(formulas)(job)->backward(&h, in, g[i], simd->dot(dout, in, d), din, dw);
    }
    T(zero_rows)(simd, &job->din, &r, head, d);
}

/* Blocks in their order; what has no rows adds nothing. */
static void T(parameters)(const T(job) * job, const fv__gate_param *p) {
    const int64_t heads = job->plan->heads, wide = job->params.wide;
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < p->rows * p->columns; i++) {
            double sum = 0;
            for (int64_t b = 0; b < job->blocks; b++) sum += (double)job->sums[(b * heads + h) * wide + p->start + i];
            T(put)(job, p, h, i / p->columns, i % p->columns, sum);
        }
}

void T(fv__gate_positions)(const fv__run *run, bool backward, void *scratch) {
    T(job) job = T(job_of)(run, backward, scratch);
    fv__parallel_for(job.blocks * run->plan->heads, backward ? T(backward_task) : T(forward_task), &job);
    for (int n = 0; backward && n < job.params.count; n++) T(parameters)(&job, &job.params.param[n]);
}

#endif
