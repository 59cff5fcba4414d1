/* What both kinds of gates do for the real type R: rows of x and y, parameters without gaps. */

/* A tensor as (batch, head, row); the last axis has stride 1. */
typedef struct T(view) {
    R *data;
    int64_t b, h, l;
} T(view);

typedef struct T(job) {
    const fv__run *run;
    const fv_attention_plan *plan;
    const SIMD *simd;
    T(view) in, out, din, dout;
    const int64_t *first;
    fv__gate_params params;
    R *w; /* parameter by parameter, head by head */
    int64_t blocks, d;
    R *kept, *sums, *products; /* channels: see gate_channels.c; positions: sums has parts of gradients */
} T(job);

static T(view) T(view_of)(const fv_tensor *t) {
    return t->rank ? (T(view)){t->data, t->stride[0], t->stride[1], t->stride[2]} : (T(view)){0};
}

static inline R *T(at)(const T(view) * v, int64_t b, int64_t h, int64_t l) {
    return v->data + b * v->b + h * v->h + l * v->l;
}

static void T(zero_rows)(const SIMD *simd, const T(view) * v, const fv__gate_rows *r, int64_t head, int64_t n) {
    for (int64_t i = r->live; v->data && i < r->rows; i++) simd->fill(T(at)(v, r->batch, head, r->row + i), 0, n);
}

static int64_t T(offset)(const fv_tensor *t, int64_t h, int64_t i, int64_t j) {
    const int64_t last = t->rank > 2 ? j * t->stride[2] + i * t->stride[1] : t->rank > 1 ? j * t->stride[1] : 0;
    return h * t->stride[0] + last;
}

/* A number of the gradient of a parameter. */
static inline void T(put)(const T(job) * job, const fv__gate_param *p, int64_t h, int64_t i, int64_t j, double value) {
    const fv_tensor *t = &job->run->x->d[p->operand];
    if (t->rank) ((R *)t->data)[T(offset)(t, h, i, j)] = (R)value;
}

static void T(gather)(T(job) * job) {
    for (int n = 0; n < job->params.count; n++) {
        const fv__gate_param *p = &job->params.param[n];
        const fv_tensor *t = &job->run->x->t[p->operand];
        R *to = job->w + p->start * job->plan->heads;
        for (int64_t h = 0; h < job->plan->heads; h++)
            for (int64_t i = 0; i < p->rows; i++)
                for (int64_t j = 0; j < p->columns; j++) *to++ = ((const R *)t->data)[T(offset)(t, h, i, j)];
    }
}

static T(job) T(job_of)(const fv__run *run, bool backward, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    const fv__gate_memory m = fv__gate_lay_out(plan, backward, scratch);
    const fv_attention_tensors *x = run->x;
    T(job)
    job = {.run = run, .plan = plan, .simd = SIMD_NOW(), .params = fv__gate_params_of(plan), .d = plan->d_qk};
    job.first = m.first, job.blocks = fv__gate_count(run, m.first);
    job.w = m.w, job.kept = m.kept, job.sums = m.sums, job.products = m.products;
    T(gather)(&job);
    job.in = T(view_of)(&x->t[FV_Q]), job.out = T(view_of)(&x->t[FV_OUT]);
    job.din = T(view_of)(&x->d[FV_Q]), job.dout = T(view_of)(&x->d[FV_OUT]);
    return job;
}

static T(fv__gate_head) T(head_of)(const T(job) * job, int64_t head) {
    T(fv__gate_head) h = {.plan = job->plan, .simd = job->simd, .d = job->d};
    for (int n = 0; n < job->params.count; n++) {
        const fv__gate_param *p = &job->params.param[n];
        h.w[n] = job->w + p->start * job->plan->heads + head * p->rows * p->columns;
    }
    return h;
}
