/* Squeeze and excitation for the real type R; see se.c, which includes this once for each type. */
#include "attn/engine/gate/gate_job.h"

/* Between the passes over rows, per sequence and head. */
typedef struct T(kept) {
    R *z, *s, *du, *dz, *h, *da;
} T(kept);

typedef struct T(job) {
    const fv__run *run;
    const fv_attention_plan *plan;
    const fv_attention_tensors *x;
    const SIMD *simd;
    T(view) in, out, din, dout;
    const int64_t *first;
    R *w1, *b1, *w2, *b2;      /* without gaps */
    R *kept, *sums, *products; /* per block and head: sum of x, sum of dy x */
    int64_t blocks, units;
} T(job);

static T(job) T(job_of)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    T(job) job = {.run = run, .plan = run->plan, .x = run->x, .simd = SIMD_NOW(), .units = bottleneck(plan)};
    const int64_t heads = plan->heads, d = plan->d_qk;
    char *at = scratch;
    int64_t *first = fv__gate_carve(&at, plan->sequences + 1, sizeof *first);
    job.first = first, job.blocks = fv__gate_count(run, first);
    job.w1 = fv__gate_carve(&at, heads * weights_of_head(plan), sizeof(R));
    job.b1 = job.w1 + heads * job.units * d, job.w2 = job.b1 + heads * job.units,
    job.b2 = job.w2 + heads * d * job.units;
    T(gather)(job.w1, &x->t[FV_W0]), T(gather)(job.b1, &x->t[FV_W1]);
    T(gather)(job.w2, &x->t[FV_W2]), T(gather)(job.b2, &x->t[FV_W3]);
    job.kept = fv__gate_carve(&at, plan->sequences * heads * kept(plan), sizeof(R));
    job.sums = (R *)at, job.products = job.sums + job.blocks * heads * d;
    job.in = T(view_of)(&x->t[FV_Q]), job.out = T(view_of)(&x->t[FV_OUT]);
    job.din = T(view_of)(&x->d[FV_Q]), job.dout = T(view_of)(&x->d[FV_OUT]);
    return job;
}

static T(kept) T(kept_of)(const T(job) * job, int64_t sequence, int64_t head) {
    const int64_t d = job->plan->d_qk;
    R *p = job->kept + (sequence * job->plan->heads + head) * kept(job->plan);
    return (T(kept)){p, p + d, p + 2 * d, p + 3 * d, p + 4 * d, p + 4 * d + job->units};
}

/* ---- the passes over rows: a task is a block of one head */

static void T(sum_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t head = index % job->plan->heads, d = job->plan->d_qk;
    const fv__gate_rows r = fv__gate_rows_of(job->run, job->first, index / job->plan->heads);
    R *sum = job->sums + index * d;
    (void)worker;
    job->simd->fill(sum, 0, d);
    for (int64_t i = 0; i < r.live; i++) job->simd->add(sum, sum, T(at)(&job->in, r.batch, head, r.row + i), d);
}

static void T(product_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t head = index % job->plan->heads, d = job->plan->d_qk;
    const fv__gate_rows r = fv__gate_rows_of(job->run, job->first, index / job->plan->heads);
    R *sum = job->products + index * d;
    (void)worker;
    job->simd->fill(sum, 0, d);
    for (int64_t i = 0; job->dout.data && i < r.live; i++)
        job->simd->mul_add(sum, T(at)(&job->dout, r.batch, head, r.row + i), T(at)(&job->in, r.batch, head, r.row + i),
                           d);
}

static void T(scale_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t head = index % job->plan->heads, d = job->plan->d_qk;
    const fv__gate_rows r = fv__gate_rows_of(job->run, job->first, index / job->plan->heads);
    const T(kept) k = T(kept_of)(job, r.sequence, head);
    (void)worker;
    for (int64_t i = 0; i < r.live; i++)
        job->simd->mul(T(at)(&job->out, r.batch, head, r.row + i), T(at)(&job->in, r.batch, head, r.row + i), k.s, d);
    T(zero_rows)(job->simd, &job->out, &r, head, d);
}

/* dx = dy s + dz / n; dz is divided already */
static void T(input_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t head = index % job->plan->heads, d = job->plan->d_qk;
    const fv__gate_rows r = fv__gate_rows_of(job->run, job->first, index / job->plan->heads);
    const T(kept) k = T(kept_of)(job, r.sequence, head);
    (void)worker;
    for (int64_t i = 0; i < r.live; i++) {
        R *din = T(at)(&job->din, r.batch, head, r.row + i);
        memcpy(din, k.dz, (size_t)d * sizeof(R));
        if (job->dout.data) job->simd->mul_add(din, T(at)(&job->dout, r.batch, head, r.row + i), k.s, d);
    }
    T(zero_rows)(job->simd, &job->din, &r, head, d);
}

/* ---- between them: a task is a sequence and head */

/* The blocks of a sequence added in their order, over the number of its rows for the mean. Returns that number. */
static int64_t T(combine)(const T(job) * job, int64_t sequence, int64_t head, const R *parts, bool mean, R *to) {
    const int64_t d = job->plan->d_qk, n = fv__attn_sequence(job->run, sequence).k_len;
    for (int64_t i = 0; i < d; i++) {
        double sum = 0;
        for (int64_t b = job->first[sequence]; b < job->first[sequence + 1]; b++)
            sum += (double)parts[(b * job->plan->heads + head) * d + i];
        to[i] = (R)(mean && n > 0 ? sum / (double)n : sum);
    }
    return n;
}

/* z, h and s */
static void T(excite_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t sequence = index / job->plan->heads, head = index % job->plan->heads, d = job->plan->d_qk,
                  units = job->units;
    const T(kept) k = T(kept_of)(job, sequence, head);
    (void)worker;
    T(combine)(job, sequence, head, job->sums, true, k.z);
    for (int64_t r = 0; r < units; r++)
        k.h[r] = job->simd->dot(job->w1 + (head * units + r) * d, k.z, d) + job->b1[head * units + r];
    job->simd->relu(k.h, k.h, units);
    for (int64_t i = 0; i < d; i++)
        k.s[i] = job->simd->dot(job->w2 + (head * d + i) * units, k.h, units) + job->b2[head * d + i];
    job->simd->sigmoid(k.s, k.s, d);
}

/* du, da and dz */
static void T(excite_back_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const SIMD *simd = job->simd;
    const int64_t sequence = index / job->plan->heads, head = index % job->plan->heads, d = job->plan->d_qk,
                  units = job->units;
    const T(kept) k = T(kept_of)(job, sequence, head);
    (void)worker;
    const int64_t n = T(combine)(job, sequence, head, job->products, false, k.dz);
    simd->fill(k.du, 0, d), simd->fill(k.da, 0, units);
    simd->sigmoid_back(k.du, k.dz, k.s, d);
    for (int64_t i = 0; i < d; i++) simd->axpy(k.da, k.du[i], job->w2 + (head * d + i) * units, units);
    for (int64_t r = 0; r < units; r++) k.da[r] = k.h[r] > 0 ? k.da[r] : 0;
    simd->fill(k.dz, 0, d);
    for (int64_t r = 0; r < units; r++)
        simd->axpy(k.dz, k.da[r] / (R)(n > 0 ? n : 1), job->w1 + (head * units + r) * d, d);
}

/* ---- gradients of the parameters: a task is a unit of a head, which adds sequences in their order */

static void T(parameter_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t head = index / job->units, r = index % job->units;
    const fv_tensor *dw1 = &job->x->d[FV_W0], *db1 = &job->x->d[FV_W1], *dw2 = &job->x->d[FV_W2],
                    *db2 = &job->x->d[FV_W3];
    (void)worker;
    for (int64_t i = 0; i < job->plan->d_qk; i++) {
        double w1 = 0, b1 = 0, w2 = 0, b2 = 0;
        for (int64_t n = 0; n < job->plan->sequences; n++) {
            const T(kept) k = T(kept_of)(job, n, head);
            w1 += (double)k.da[r] * (double)k.z[i], b1 += (double)k.da[r];
            w2 += (double)k.du[i] * (double)k.h[r], b2 += (double)k.du[i];
        }
        if (dw1->rank) T(put)(dw1, head, r, i, w1);
        if (dw2->rank) T(put)(dw2, head, i, r, w2);
        if (db1->rank && i == 0) T(put)(db1, head, r, 0, b1);
        if (db2->rank && r == 0) T(put)(db2, head, i, 0, b2);
    }
}

static void T(forward)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    T(job) job = T(job_of)(run, scratch);
    fv__parallel_for(job.blocks * plan->heads, T(sum_task), &job);
    fv__parallel_for(plan->sequences * plan->heads, T(excite_task), &job);
    fv__parallel_for(job.blocks * plan->heads, T(scale_task), &job);
}

static void T(backward)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    T(job) job = T(job_of)(run, scratch);
    const int64_t tasks = job.blocks * plan->heads, planes = plan->sequences * plan->heads;
    fv__parallel_for(tasks, T(sum_task), &job);
    fv__parallel_for(tasks, T(product_task), &job);
    fv__parallel_for(planes, T(excite_task), &job);
    fv__parallel_for(planes, T(excite_back_task), &job);
    if (job.din.data) fv__parallel_for(tasks, T(input_task), &job);
    fv__parallel_for(plan->heads * job.units, T(parameter_task), &job);
}
