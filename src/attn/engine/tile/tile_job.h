/* What forward and backward of TILE share, for the real type R: views of the tensors, visible ranges of a group of
 * queries, bias tiles. Included by tile_f32.c and tile_f64.c, which define R, T(name), SIMD and SIMD_NOW. */

typedef struct T(job) {
    const fv__run *run;
    const fv_attention_plan *plan;
    const fv_attention_tensors *x;
    const SIMD *simd;
    fv__tile_partition partition;
    T(view) q, k, v, out, bias;
    T(view) dq, dk, dv, dout, dbias;
    const unsigned char *mask;
    int64_t mask_b, mask_h, mask_l, mask_d;
    const R *sinks, *slopes;
    int64_t *first; /* number of the first task of each sequence, per head */
    char *workers;  /* scratch: partition.worker_bytes for each */
    R scale2, cap2; /* in units of log 2 */
    double dropout;
    bool banded, biased;
    fv__keys_set keys;
    bool prefetches; /* the tensors are larger than near caches: what comes next is prefetched */
    T(view) w;       /* additive scores: (H,D) as row h; data NULL for products */
    /* backward only */
    R *lse2, *delta;                         /* per head and query */
    double *sink_sum, *slope_sum, *bias_sum; /* one number per task and head, combined in the order of tasks */
    R *w_sum;                                /* D numbers per task and head */
    int64_t wave, exclusive;
    bool antidiagonal; /* waves are anti-diagonals */
} T(job);

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
    job.q = T(view_of)(&x->t[FV_Q]), job.k = T(view_of)(&x->t[FV_K]), job.v = T(view_of)(&x->t[FV_V]);
    job.out = T(view_of)(&x->t[FV_OUT]), job.bias = T(view_of)(&x->t[FV_BIAS]);
    job.sinks = x->t[FV_SINKS].rank ? x->t[FV_SINKS].data : NULL;
    job.slopes = x->t[FV_SLOPES].rank ? x->t[FV_SLOPES].data : NULL;
    if (x->t[FV_MASK].rank) {
        const fv_tensor *m = &x->t[FV_MASK];
        job.mask = m->data;
        job.mask_b = m->dim[0] == 1 ? 0 : m->stride[0], job.mask_h = m->dim[1] == 1 ? 0 : m->stride[1];
        job.mask_l = m->dim[2] == 1 ? 0 : m->stride[2], job.mask_d = m->dim[3] == 1 ? 0 : m->stride[3];
    }
    job.scale2 = (R)(plan->options.scale * log2e), job.cap2 = (R)(plan->options.softcap * log2e);
    job.dropout = plan->options.dropout;
    job.prefetches = plan->batch *
                         (plan->heads * plan->q_len * (plan->d_qk + plan->d_v) +
                          plan->kv_heads * plan->k_len * (plan->d_qk + plan->d_v)) *
                         (int64_t)sizeof(R) >
                     FV_TILE_NEAR;
    job.banded = plan->window_left >= 0 || plan->window_right >= 0;
    job.biased = job.bias.data || job.mask || job.slopes;
    if (fv__tile_setup_of(plan)->score == FV_SCORE_ADD)
        job.w = (T(view)){x->t[FV_W0].data, 0, x->t[FV_W0].stride[0], 0, x->t[FV_W0].stride[1]};
    return job;
}

static inline R T(per_head)(const T(job) * job, const R *values, fv_operand operand, int64_t head) {
    return values[head * job->x->t[operand].stride[0]];
}

/* ln of a softmax denominator with a sink in it: -inf only when nothing is seen and there is no sink. */
static inline double T(with_sink)(double lse, double sink) {
    const double top = lse > sink ? lse : sink;
    return top == -INFINITY ? top : top + log(exp(lse - top) + exp(sink - top));
}

/* Which keys a group of up to FV_TILE_SIDE queries sees: query i sees [start[i], end[i]); all of them see [every,
 * every_end), nobody sees a key outside [any, any_end). */
typedef struct T(visible_ranges) {
    int64_t start[FV_TILE_SIDE], end[FV_TILE_SIDE];
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

/* to[row * ld + column] = bias, -inf where the mask hides; ALiBi included. i0, j0 count inside the sequence. */
static void T(fill_bias_tile)(const T(job) * job, const fv__sequence *sequence, int64_t head, int64_t i0, int64_t rows,
                              int64_t j0, int64_t columns, R *to, int64_t ld) {
    const T(view) *b = &job->bias;
    for (int64_t r = 0; r < rows; r++) {
        R *row = to + r * ld;
        const int64_t i = sequence->q_start + i0 + r, j = sequence->k_start + j0;
        if (b->data) {
            const R *from = T(at)(b, sequence->batch, head, i) + j * b->d;
            if (b->d == 1)
                memcpy(row, from, (size_t)columns * sizeof(R));
            else
                for (int64_t c = 0; c < columns; c++) row[c] = from[c * b->d];
        } else
            memset(row, 0, (size_t)columns * sizeof(R));
        if (ld > columns) memset(row + columns, 0, (size_t)(ld - columns) * sizeof(R));
        if (!job->mask) continue;
        const unsigned char *hide =
            job->mask + sequence->batch * job->mask_b + head * job->mask_h + i * job->mask_l + j * job->mask_d;
        const bool drop = job->plan->options.mask_means == FV_MASK_DROP;
        for (int64_t c = 0; c < columns; c++)
            if ((hide[c * job->mask_d] != 0) == drop) row[c] = (R)-INFINITY;
    }
    if (job->slopes)
        job->simd->add_alibi(to, rows, ld, T(per_head)(job, job->slopes, FV_SLOPES, head),
                             (R)(i0 + sequence->q_offset - j0), 1, -1);
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
    a->rows[n] = rows < FV_TILE_BLOCK_Q ? rows : FV_TILE_BLOCK_Q;
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
