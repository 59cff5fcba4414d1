/* Scores and weights of chosen rows for the real type R, recomputed from the log-sum-exp; nothing else of the matrix is
 * touched.
 *
 * A task owns LANES keys of all chosen rows: the keys are transposed once for up to ROWS of them. Everything is small
 * enough for the stack, so it costs no scratch: the head dimension is walked in pieces. */

enum { T(weights_lanes) = 64, T(weights_rows) = 16, T(weights_depth) = 64 };

typedef struct T(weights_job) {
    const T(job) * job;
    fv__sequence sequence;
    fv_capture capture;
    int64_t head;
    const int64_t *rows;
    int64_t count;
    const fv_tensor *to;
    fv__drop drop;
} T(weights_job);

/* ln of the denominator of a row, with the sink in it; +inf where nothing is seen, which makes every weight 0. */
static double T(norm_of)(const T(job) * job, const fv__sequence *s, int64_t head, int64_t i) {
    const fv_tensor *t = &job->x->t[FV_LSE];
    const int64_t at = s->batch * t->stride[0] + head * t->stride[1] + (s->q_start + i) * t->stride[2];
    const double lse = (double)((const R *)t->data)[at];
    if (lse == -INFINITY) return INFINITY;
    if (!job->sinks) return lse;
    return T(with_sink)(lse, (double)T(sink_of)(job, head));
}

/* Scores of `count` chosen rows and `keys` keys from j0, before the softcap. */
static void T(weights_scores)(const T(weights_job) * w, const int64_t *rows, int64_t count, int64_t j0, int64_t keys,
                              R *s) {
    enum { LANES = T(weights_lanes), DEPTH = T(weights_depth) };
    const T(job) *job = w->job;
    const fv__sequence *at = &w->sequence;
    const int64_t kv = w->head * job->plan->kv_heads / job->plan->heads, d = job->plan->d_qk;
    const R scale = (R)job->plan->options.scale;
    R kt[DEPTH * LANES], q[T(weights_rows) * DEPTH], part[T(weights_rows) * LANES];
    job->simd->fill(s, 0, count * LANES);
    for (int64_t c = 0; c < d; c += DEPTH) {
        const int64_t depth = d - c < DEPTH ? d - c : DEPTH;
        job->simd->pack(kt, LANES, T(at)(&job->k, at->batch, kv, at->k_start + j0) + c, job->k.l, keys, depth,
                        T(packed_scale)(job, scale));
        for (int64_t r = 0; r < count; r++)
            memcpy(q + r * DEPTH, T(at)(&job->q, at->batch, w->head, at->q_start + rows[r]) + c,
                   (size_t)depth * sizeof(R));
        if (job->own_base) {
            const fv__score_tile tile = T(score_tile)(job, at, w->head, rows[0], count, j0, keys, NULL);
            const fv__score_product p = {q, kt, DEPTH, LANES, count, c, depth};
            job->own_base(&tile, part, &p, (double)scale);
            job->simd->add(s, s, part, count * LANES);
        } else {
            job->simd->gemm(s, LANES, q, DEPTH, 1, kt, LANES, count, LANES, depth, FV_GEMM_CONTINUE);
        }
    }
    for (int64_t r = 0; r < count && job->term_count; r++) {
        const fv__score_tile tile = T(score_tile)(job, at, w->head, rows[r], 1, j0, keys, NULL);
        T(fill_term_tile)(job, &tile, part, LANES);
        job->simd->axpy(s + r * LANES, scale, part, keys);
    }
}

/* Row i of the tile becomes what `capture` names. `keep`: what the dropout multiplies with, NULL for none. */
static void T(weights_row)(const T(weights_job) * w, R *s, int64_t i, int64_t j0, int64_t keys, const R *keep) {
    enum { LANES = T(weights_lanes) };
    const T(job) *job = w->job;
    const bool weights = w->capture >= FV_CAPTURE_SOFTMAX;
    R a[LANES];
    int64_t start, end;
    fv__attn_visible(job->plan, &w->sequence, i, &start, &end);
    const fv__score_tile tile = T(score_tile)(job, &w->sequence, w->head, i, 1, j0, keys, NULL);
    if (job->biased) T(fill_bias_tile)(job, &tile, a, LANES);
    if (job->biased && w->capture >= FV_CAPTURE_BIASED) job->simd->add(s, s, a, keys);
    if (weights) {
        const R norm = (R)T(norm_of)(job, &w->sequence, w->head, i);
        for (int64_t c = 0; c < keys; c++) s[c] -= norm;
        job->simd->exp(s, s, keys);
    }
    if (keep) job->simd->mul(s, s, keep, keys);
    uint64_t kept = ~UINT64_C(0);
    if (job->keys.count && keys)
        fv__keys_bits(&job->keys, &(fv__query_block){&w->sequence, w->head, i, i + 1}, j0, &kept);
    for (int64_t c = 0; c < LANES; c++) {
        bool seen = c < keys && j0 + c >= start && j0 + c < end && !(job->biased && a[c] == (R)-INFINITY);
        seen = seen && kept >> c & 1;
        if (!seen) s[c] = weights ? 0 : (R)-INFINITY;
    }
}

static void T(weights_task)(void *context, int64_t index, int worker) {
    enum { LANES = T(weights_lanes), ROWS = T(weights_rows), BLOCK = 32 };
    const T(weights_job) *w = context;
    const T(job) *job = w->job;
    const int64_t j0 = index * LANES, left = w->sequence.k_len - j0, width = w->to->dim[1] - j0;
    const int64_t keys = left < 0 ? 0 : left < LANES ? left : LANES;
    const R cap = (R)job->plan->options.softcap;
    R s[ROWS * LANES], keep[BLOCK * LANES];
    int64_t drawn = -1;
    (void)worker;
    for (int64_t n = 0; n < w->count; n += ROWS) {
        const int64_t count = w->count - n < ROWS ? w->count - n : ROWS;
        if (keys) T(weights_scores)(w, w->rows + n, count, j0, keys, s);
        if (keys && cap != 0 && w->capture >= FV_CAPTURE_SOFTCAPPED) job->simd->softcap(s, count * LANES, cap);
        for (int64_t r = 0; r < count; r++) {
            const int64_t i = w->rows[n + r];
            R *row = (R *)w->to->data + (n + r) * w->to->stride[0] + j0 * w->to->stride[1];
            const bool drop = w->capture == FV_CAPTURE_DROPOUT && keys;
            if (drop && i / BLOCK != drawn)
                job->simd->drop_rows(keep, BLOCK, LANES, (drawn = i / BLOCK) * BLOCK, j0, &w->drop);
            T(weights_row)(w, s + r * LANES, i, j0, keys, drop ? keep + i % BLOCK * LANES : NULL);
            for (int64_t c = 0; c < LANES && c < width; c++) row[c * w->to->stride[1]] = s[r * LANES + c];
        }
    }
}

static void T(weights)(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                       int64_t count, const fv_tensor *out, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    T(job) job = T(job_of)(run, false);
    job.keys = fv__tile_keys_of(run, scratch);
    fv__keys_prepare(&job.keys, batch, head);
    T(weights_job) w = {&job, fv__attn_sequence(run, batch), capture, head, rows, count, out, {0, 0, 0, 1}};
    w.drop = fv__drop_of(job.dropout, run->call.seed, (uint64_t)(batch * plan->heads + head));
    fv__parallel_for((out->dim[1] + T(weights_lanes) - 1) / T(weights_lanes), T(weights_task), &w);
}
