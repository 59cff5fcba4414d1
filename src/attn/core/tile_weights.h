/* Scores and weights of chosen rows for the real type R: recomputed from the log-sum-exp, nothing else of the matrix is touched. */

typedef struct T(weights_job) {
    const T(job) * job;
    fv__segment segment;
    fv_stage stage;
    int64_t head;
    const int64_t *rows;
    const fv_tensor *to;
} T(weights_job);

/* The weight of a score: exp(s - lse), with the sink in the denominator if there is one. */
static double T(weight_of)(const T(weights_job) * w, double score, double lse) {
    if (score == -INFINITY || lse == -INFINITY) return 0;
    double norm = lse;
    if (w->job->sinks) {
        const double sink = (double)T(per_head)(w->job, w->job->sinks, FV_SINKS, w->head),
                     top = sink > lse ? sink : lse;
        norm = top + log(exp(lse - top) + exp(sink - top));
    }
    return exp(score - norm);
}

static double T(addend_at)(const T(weights_job) * w, int64_t i, int64_t j) {
    R a[FV_TILE_LANES]; /* slopes are added a whole vector at a time */
    T(fill_addend)(w->job, &w->segment, w->head, i, 1, j, 1, a, FV_TILE_LANES);
    return (double)a[0];
}

static double T(raw_score)(const T(weights_job) * w, const R *q, int64_t j) {
    const T(job) *job = w->job;
    const fv__segment *s = &w->segment;
    const int64_t kv = w->head * job->plan->kv_heads / job->plan->heads, d = job->plan->d_qk;
    const R *k = T(at)(&job->k, s->batch, kv, s->k_start + j);
    if (!job->w.data) return (double)job->simd->dot(q, k, d) * job->plan->options.scale;
    double sum = 0;
    for (int64_t c = 0; c < d; c++)
        sum += (double)job->w.data[w->head * job->w.h + c * job->w.d] * tanh((double)(q[c] + k[c]));
    return sum * job->plan->options.scale;
}

static void T(weights_task)(void *context, int64_t index, int worker) {
    const T(weights_job) *w = context;
    const T(job) *job = w->job;
    const fv_attention_plan *plan = job->plan;
    const fv__segment *s = &w->segment;
    const int64_t i = w->rows[index];
    int64_t start, end;
    (void)worker;
    fv__attn_visible(plan, s, i, &start, &end);
    const R *q = T(at)(&job->q, s->batch, w->head, s->q_start + i);
    const fv_tensor *lse = &job->x->t[FV_LSE];
    const double norm = w->stage != FV_STAGE_SOFTMAX
                            ? 0
                            : (double)((const R *)lse->data)[s->batch * lse->stride[0] + w->head * lse->stride[1] +
                                                             (s->q_start + i) * lse->stride[2]];
    const double cap = plan->options.softcap, outside = w->stage == FV_STAGE_SOFTMAX ? 0 : -INFINITY;
    R *to = (R *)w->to->data + index * w->to->stride[0];
    for (int64_t j = 0; j < w->to->dim[1]; j++) {
        double score = -INFINITY;
        if (j >= start && j < end && (!job->blocks || fv_block_mask_sees(job->blocks, s->batch, w->head, i, j))) {
            const double add = job->addend ? T(addend_at)(w, i, j) : 0;
            if (add > -INFINITY) score = T(raw_score)(w, q, j);
            if (w->stage != FV_STAGE_RAW && cap != 0 && score > -INFINITY) score = cap * tanh(score / cap);
            if (w->stage >= FV_STAGE_BIASED) score += add;
        }
        to[j * w->to->stride[1]] = (R)(score == -INFINITY             ? outside
                                       : w->stage == FV_STAGE_SOFTMAX ? T(weight_of)(w, score, norm)
                                                                      : score);
    }
}

static void T(weights)(const fv_attention_plan *plan, const fv_attention_tensors *x, fv_stage stage, int64_t batch,
                       int64_t head, const int64_t *rows, int64_t count, const fv_tensor *out) {
    const T(job) job = T(job_of)(plan, x, false);
    T(weights_job) w = {&job, fv__attn_segment(plan, x, batch), stage, head, rows, out};
    fv__parallel_for(count, T(weights_task), &w);
}
