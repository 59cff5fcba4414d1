/* What forward and backward of TILE share, for the real type R: views of the tensors, visible ranges of a group of
 * queries, bias tiles. Included by tile_f32.c and tile_f64.c, which define R, T(name), SIMD and SIMD_NOW. */

typedef struct T(job) {
    const fv__run *run;
    const fv_attention_plan *plan;
    const fv_attention_tensors *x;
    const SIMD *simd;
    fv__tile_partition partition;
    fv__tile_sizes sizes;
    T(view) q, k, v, out;
    T(view) dq, dk, dv, dout;
    const R *sinks;
    fv__score_use base, terms[FV_SCORES], biases[FV_SCORES], sink; /* what makes the scores, see score.h */
    int term_count, bias_count;
    void (*own_base)(const fv__score_tile *, void *, const fv__score_product *, double); /* NULL: products */
    int64_t *first; /* number of the first task of each sequence, per head */
    char *workers;  /* scratch: partition.worker_bytes for each */
    R scale2, cap2; /* in units of log 2 */
    double dropout;
    bool banded, biased; /* biased: something joins the bias tile */
    fv__keys_set keys;
    bool prefetches; /* the tensors are larger than near caches: what comes next is prefetched */
    /* backward only */
    R *norm, *rest, *delta; /* per head and query: weights are exp2((s - norm) - rest), see tile_norm.h */
    int64_t wave, exclusive;
    bool antidiagonal; /* waves are anti-diagonals */
} T(job);

static void T(list_scores)(T(job) * job) {
    fv__score_use list[FV_SCORES];
    fv__score_list(job->plan, FV_SCORE_IS_BASE, list);
    job->base = list[0], job->own_base = job->base.kernels->base;
    job->term_count = fv__score_list(job->plan, FV_SCORE_IS_TERM, job->terms);
    job->bias_count = fv__score_list(job->plan, FV_SCORE_IS_BIAS, job->biases);
    if (fv__score_list(job->plan, FV_SCORE_IS_SINK, list)) job->sink = list[0];
    job->biased = job->bias_count > 0;
}

static T(job) T(job_of)(const fv__run *run, bool backward) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    T(job)
    job = {.run = run,
           .plan = run->plan,
           .x = run->x,
           .simd = SIMD_NOW(),
           .partition = fv__tile_partition_of(plan, backward)};
    const double log2e = 1.44269504088896340736;
    job.sizes = job.partition.sizes;
    job.q = T(view_of)(&x->t[FV_Q]), job.k = T(view_of)(&x->t[FV_K]), job.v = T(view_of)(&x->t[FV_V]);
    job.out = T(view_of)(&x->t[FV_OUT]);
    job.sinks = x->t[FV_SINKS].rank ? x->t[FV_SINKS].data : NULL;
    job.scale2 = (R)(plan->options.scale * log2e), job.cap2 = (R)(plan->options.softcap * log2e);
    job.dropout = plan->options.dropout;
    const double rows = (double)plan->heads * (double)plan->q_len + (double)plan->kv_heads * (double)plan->k_len;
    job.prefetches =
        (double)plan->batch * rows * (double)(plan->d_qk + plan->d_v) * (double)sizeof(R) > (double)FV_TILE_NEAR;
    job.banded = plan->window_left >= 0 || plan->window_right >= 0;
    T(list_scores)(&job);
    return job;
}

static inline R T(sink_of)(const T(job) * job, int64_t head) {
    return job->sinks[head * job->x->t[FV_SINKS].stride[0]];
}

/* What the queries are multiplied with: products take the scale there, so that all who make a score make the same bits;
 * a base of its own takes it at the end. */
static inline R T(query_scale)(const T(job) * job) { return job->own_base ? 1 : job->scale2; }

/* Which keys a group of up to FV_TILE_MOST_SIDE queries sees: query i sees [start[i], end[i]); all of them see [every,
 * every_end), nobody sees a key outside [any, any_end). */
typedef struct T(visible_ranges) {
    int64_t start[FV_TILE_MOST_SIDE], end[FV_TILE_MOST_SIDE];
    int64_t any, any_end, every, every_end;
} T(visible_ranges);

static void T(visible_ranges_of)(const T(job) * job, const fv__sequence *sequence, int64_t i0, int64_t rows,
                                 T(visible_ranges) * s) {
    if (!job->banded || rows <= 0) {
        s->any = s->every = 0, s->any_end = s->every_end = sequence->k_len;
        return;
    }
    for (int64_t i = 0; i < rows; i++) fv__attn_visible(job->plan, sequence, i0 + i, &s->start[i], &s->end[i]);
    s->any = s->start[0], s->every = s->start[rows - 1]; /* both bounds grow with i */
    s->any_end = s->end[rows - 1], s->every_end = s->end[0];
}

/* ---- what joins the scores: tiles of rows of queries */

static fv__score_tile T(score_tile)(const T(job) * job, const fv__sequence *sequence, int64_t head, int64_t i0,
                                    int64_t rows, int64_t j0, int64_t keys, void *memory) {
    return (fv__score_tile){.run = job->run,
                            .simd = job->simd,
                            .sequence = sequence,
                            .head = head,
                            .kv = head * job->plan->kv_heads / job->plan->heads,
                            .i0 = i0,
                            .rows = rows,
                            .j0 = j0,
                            .keys = keys,
                            .memory = memory};
}

/* The bias tile: what joins the scores after the softcap, -inf where it hides. */
static void T(fill_bias_tile)(const T(job) * job, const fv__score_tile *tile, R *to, int64_t ld) {
    if (!job->biases->score->first) memset(to, 0, (size_t)(tile->rows * ld) * sizeof(R));
    for (int n = 0; n < job->bias_count; n++) job->biases[n].kernels->add(tile, to, ld);
}

/* The terms of the base: what joins it before scale and softcap. */
static void T(fill_term_tile)(const T(job) * job, const fv__score_tile *tile, R *to, int64_t ld) {
    memset(to, 0, (size_t)(tile->rows * ld) * sizeof(R));
    for (int n = 0; n < job->term_count; n++) job->terms[n].kernels->add(tile, to, ld);
}

/* ---- what comes next is prefetched a little with every step of what is done now: a short sequence is over before the
 * hardware has seen a pattern in its addresses, and would wait for memory at every row. */

typedef struct T(prefetch_stream) {
    const char *at[5];
    int64_t stride[5], width[5], rows[5]; /* bytes, bytes, rows left */
    int64_t count, column, share;         /* streams, bytes of the row that are prefetched, lines a call */
} T(prefetch_stream);

static void T(prefetch_add)(T(prefetch_stream) * a, const T(view) * v, int64_t b, int64_t h, int64_t l, int64_t width,
                            int64_t rows) {
    if (!v->data || rows <= 0) return;
    const int64_t n = a->count++;
    a->at[n] = (const char *)T(at)(v, b, h, l);
    a->stride[n] = v->l * (int64_t)sizeof(R), a->width[n] = width * (int64_t)sizeof(R);
    a->rows[n] = rows < FV_TILE_MOST_BLOCK ? rows : FV_TILE_MOST_BLOCK;
}

/* All lines are to be prefetched after so many calls. */
static void T(prefetch_share)(T(prefetch_stream) * a, int64_t calls) {
    int64_t lines = 0;
    for (int64_t n = 0; n < a->count; n++) lines += a->rows[n] * ((a->width[n] + 63) / 64);
    a->share = calls > 0 ? (lines + calls - 1) / calls : 0;
}

static void T(prefetch)(T(prefetch_stream) * a) {
    for (int64_t n = 0; n < a->share && a->count > 0; n++) {
        const int64_t i = a->count - 1;
        __builtin_prefetch(a->at[i] + a->column, 0, 2);
        a->column += 64;
        if (a->column < a->width[i]) continue;
        a->column = 0, a->at[i] += a->stride[i];
        if (--a->rows[i] == 0) a->count--;
    }
}
