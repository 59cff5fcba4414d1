/* What makes weights of scores after a forward, for the real type R. Scores are in units of log 2, with the forward's
 * bits:   weight = exp2(min(0, (s - norm) - rest))
 *
 * For nearly all rows norm is the log-sum-exp and rest is 0. But one number cannot hold both a maximum of -1e9 and the
 * logarithm of the number of keys: in f32 all weights of such a row would be 1. Rows whose log-sum-exp is that far from
 * 0 have their maximum (norm) and sum (rest) made once more, as the forward made them. */

/* From here on a log-sum-exp is that far: rounding it changes weights by 2^-16 and more in f32, 2^-45 in f64. */
#define FV_TILE_FAR (sizeof(R) == 4 ? 0x1p8 : 0x1p37)

/* Sums of the queries of one forward tile of a head, made when the first of them is asked for. */
typedef struct T(sums) {
    T(forward_scratch) w;
    const fv__sequence *sequence;
    int64_t head, i0; /* i0 -1: of none */
} T(sums);

static void T(sums_begin)(const T(job) * job, char *memory, const fv__sequence *sequence, int64_t head, T(sums) * s) {
    s->sequence = sequence, s->head = head, s->i0 = -1;
    T(forward_carve)(job, memory, 1, &s->w);
}

static void T(sums_make)(const T(job) * job, T(sums) * s, int64_t i0) {
    T(tile) *t = s->w.tile;
    T(unit) unit = {.sequence = *s->sequence, .head = s->head};
    unit.kv = s->head * job->plan->kv_heads / job->plan->heads;
    const int64_t left = s->sequence->q_len - i0;
    s->i0 = i0;
    T(tile_begin)(job, s->sequence, s->head, i0, left < job->sizes.lanes ? left : job->sizes.lanes, t);
    for (int64_t j0 = t->visible.any / job->sizes.block_k * job->sizes.block_k; j0 < t->visible.any_end;
         j0 += job->sizes.block_k) {
        int64_t a, b;
        if (!T(step_keys)(job, &unit, t, j0, &a, &b)) continue;
        const T(halves) halves = T(halves_of)(job, t, a, b - a, T(is_boundary)(t, a, b));
        T(all_scores)(job, &s->w, t, &unit, &halves, j0, a, b);
        job->simd->online_softmax(s->w.s + (a - j0) * t->lanes, b - a, t->lanes, t->m, t->l, s->w.alpha);
    }
}

/* The denominator of a row. */
typedef struct T(denominator) {
    R norm, rest;
    double gain, sink; /* what the sink made it larger by; the weight of the sink */
    bool seen;         /* false: no key is */
} T(denominator);

/* 2^base times 2^own is the sum over the keys; *all is log2 of the second factor with the sink. A sink further above
 * than `far` counts as if it were there. */
static T(denominator) T(with_sink)(const T(job) * job, int64_t head, double base, double own, double far, double *all) {
    T(denominator) d = {.gain = 1, .seen = true};
    *all = own;
    if (!job->sinks) return d;
    const double sink = (double)(T(sink_of)(job, head) * (R)1.44269504088896340736) - base, top = fmax(own, sink);
    *all = isinf(top) ? top : top + log2(exp2(own - top) + exp2(sink - top));
    d.gain = exp2(fmin(*all - own, far));
    d.sink = sink == INFINITY ? 1 : exp2(sink - *all);
    *all = fmin(*all, own + far);
    return d;
}

/* log2 of a sum as its LSE. */
static double T(natural)(const T(job) * job, double sum) {
    R x = (R)sum;
    if (!job->biased) return sum * 0.69314718055994530942;
    job->simd->natural_scores(&x, &x, 1);
    return (double)x;
}

/* Of query i of the head of `sums`. norm is +inf where nothing is seen, which makes every weight 0. */
static T(denominator) T(denominator_of)(const T(job) * job, T(sums) * sums, int64_t i, double far) {
    const fv_tensor *t = &job->x->t[FV_LSE];
    const fv__sequence *s = sums->sequence;
    const int64_t row = s->batch * t->stride[0] + sums->head * t->stride[1] + (s->q_start + i) * t->stride[2];
    const double lse = (double)((const R *)t->data)[row], log2e = 1.44269504088896340736;
    T(denominator) d = {.norm = (R)INFINITY, .gain = 1};
    double all;
    if (lse == -INFINITY) return d;
    if (fabs(lse) >= FV_TILE_FAR && !isinf(lse)) {
        const int64_t lane = i % job->sizes.lanes;
        if (sums->i0 != i - lane) T(sums_make)(job, sums, i - lane);
        const double m = (double)sums->w.tile->m[lane], l = log2((double)sums->w.tile->l[lane]);
        /* a caller may have given the log-sum-exp over more keys than these */
        if (fabs(T(natural)(job, m + l) - lse) <= fabs(lse) * (sizeof(R) == 4 ? 0x1p-20 : 0x1p-49)) {
            d = T(with_sink)(job, sums->head, m, l, far, &all);
            d.norm = (R)m, d.rest = all == 0 ? (R)1e-30 : (R)all; /* a rest says that the row is far */
            return d;
        }
    }
    d = T(with_sink)(job, sums->head, lse * log2e, 0, far, &all);
    d.norm = (R)(lse * log2e + all);
    return d;
}
