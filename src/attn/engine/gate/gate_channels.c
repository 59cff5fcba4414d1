/* Gates of channels: passes over rows, with the formulas of the gate between them. See gate.h.
 *
 *   forward    mean of the rows     gate(mean)     y_p = x_p * gate
 *   backward   dgate = sum_p dy_p * x_p     dsum by the gate's backward     dx_p = dy_p * gate + dsum */
#ifndef FV_BOTH_REALS
#define FV_BOTH_REALS "attn/engine/gate/gate_channels.c"
#include "attn/engine/gate/gate_parts.h"
#include "simd/both_reals.h"

#else
#include "attn/engine/gate/gate_job.h"

static T(fv__gate_head) T(head_at)(const T(job) * job, int64_t sequence, int64_t head) {
    const int64_t d = job->d, rows = fv__attn_sequence(job->run, sequence).k_len;
    R *p = job->kept + (sequence * job->plan->heads + head) * fv__gate_kept(job->plan);
    T(fv__gate_head) h = T(head_of)(job, head);
    h.rows = rows > 0 ? rows : 1;
    h.mean = p, h.gate = p + d, h.dgate = p + 2 * d, h.dsum = p + 3 * d, h.own = p + 4 * d;
    return h;
}

/* ---- the passes over rows: a task is a block of one head */

static void T(sum_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t head = index % job->plan->heads;
    const fv__gate_rows r = fv__gate_rows_of(job->run, job->first, index / job->plan->heads);
    R *sum = job->sums + index * job->d;
    (void)worker;
    job->simd->fill(sum, 0, job->d);
    for (int64_t i = 0; i < r.live; i++) job->simd->add(sum, sum, T(at)(&job->in, r.batch, head, r.row + i), job->d);
}

static void T(product_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t head = index % job->plan->heads;
    const fv__gate_rows r = fv__gate_rows_of(job->run, job->first, index / job->plan->heads);
    R *sum = job->products + index * job->d;
    (void)worker;
    job->simd->fill(sum, 0, job->d);
    for (int64_t i = 0; job->dout.data && i < r.live; i++)
        job->simd->mul_add(sum, T(at)(&job->dout, r.batch, head, r.row + i), T(at)(&job->in, r.batch, head, r.row + i),
                           job->d);
}

static void T(scale_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t head = index % job->plan->heads;
    const fv__gate_rows r = fv__gate_rows_of(job->run, job->first, index / job->plan->heads);
    const R *gate = T(head_at)(job, r.sequence, head).gate;
    (void)worker;
    for (int64_t i = 0; i < r.live; i++)
        job->simd->mul(T(at)(&job->out, r.batch, head, r.row + i), T(at)(&job->in, r.batch, head, r.row + i), gate,
                       job->d);
    T(zero_rows)(job->simd, &job->out, &r, head, job->d);
}

static void T(input_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t head = index % job->plan->heads, d = job->d;
    const fv__gate_rows r = fv__gate_rows_of(job->run, job->first, index / job->plan->heads);
    const T(fv__gate_head) h = T(head_at)(job, r.sequence, head);
    (void)worker;
    for (int64_t i = 0; i < r.live; i++) {
        R *din = T(at)(&job->din, r.batch, head, r.row + i);
        memcpy(din, h.dsum, (size_t)d * sizeof(R));
        if (job->dout.data) job->simd->mul_add(din, T(at)(&job->dout, r.batch, head, r.row + i), h.gate, d);
    }
    T(zero_rows)(job->simd, &job->din, &r, head, d);
}

/* ---- between them: a task is a sequence and head */

/* The blocks of a sequence added in their order, over the number of its rows for the mean. */
static void T(combine)(const T(job) * job, int64_t sequence, int64_t head, const R *parts, bool mean, R *to) {
    const int64_t d = job->d, n = fv__attn_sequence(job->run, sequence).k_len;
    for (int64_t i = 0; i < d; i++) {
        double sum = 0;
        for (int64_t b = job->first[sequence]; b < job->first[sequence + 1]; b++)
            sum += (double)parts[(b * job->plan->heads + head) * d + i];
        to[i] = (R)(mean && n > 0 ? sum / (double)n : sum);
    }
}

static const T(fv__channel_gate) * T(formulas)(const T(job) * job) {
    const fv__channel_gate *gate = fv__gate_setup_of(job->plan)->channels;
#if FV_REAL_IS_DOUBLE
    return &gate->f64;
#else
    return &gate->f32;
#endif
}

static void T(gate_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t sequence = index / job->plan->heads, head = index % job->plan->heads;
    const T(fv__gate_head) h = T(head_at)(job, sequence, head);
    (void)worker;
    T(combine)(job, sequence, head, job->sums, true, h.mean);
    T(formulas)(job)->forward(&h);
}

static void T(gate_back_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t sequence = index / job->plan->heads, head = index % job->plan->heads;
    const T(fv__gate_head) h = T(head_at)(job, sequence, head);
    (void)worker;
    T(combine)(job, sequence, head, job->products, false, h.dgate);
    T(formulas)(job)->backward(&h);
}

/* ---- gradients of the parameters: a task is a row of one head, which adds sequences in their order */

typedef struct T(gradient) {
    const T(job) * job;
    int param;
} T(gradient);

static void T(gradient_task)(void *context, int64_t index, int worker) {
    enum { AT_ONCE = 256 };
    const T(gradient) *g = context;
    const T(job) *job = g->job;
    const fv__gate_param *p = &job->params.param[g->param];
    const int64_t head = index / p->rows, row = index % p->rows;
    (void)worker;
    for (int64_t j = 0; j < p->columns; j += AT_ONCE) {
        const int64_t count = p->columns - j < AT_ONCE ? p->columns - j : AT_ONCE;
        double sum[AT_ONCE] = {0};
        for (int64_t n = 0; n < job->plan->sequences; n++) {
            const T(fv__gate_head) h = T(head_at)(job, n, head);
            T(formulas)(job)->gradient(&h, g->param, row, j, count, sum);
        }
        for (int64_t c = 0; c < count; c++) T(put)(job, p, head, row, j + c, sum[c]);
    }
}

void T(fv__gate_channels)(const fv__run *run, bool backward, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    T(job) job = T(job_of)(run, backward, scratch);
    const int64_t tasks = job.blocks * plan->heads, planes = plan->sequences * plan->heads;
    fv__parallel_for(tasks, T(sum_task), &job);
    if (backward) fv__parallel_for(tasks, T(product_task), &job);
    fv__parallel_for(planes, T(gate_task), &job);
    if (!backward) {
        fv__parallel_for(tasks, T(scale_task), &job);
        return;
    }
    fv__parallel_for(planes, T(gate_back_task), &job);
    if (job.din.data) fv__parallel_for(tasks, T(input_task), &job);
    for (int n = 0; n < job.params.count; n++) {
        T(gradient) g = {&job, n};
        const fv__gate_param *p = &job.params.param[n];
        if (run->x->d[p->operand].rank) fv__parallel_for(plan->heads * p->rows, T(gradient_task), &g);
    }
}

#endif
