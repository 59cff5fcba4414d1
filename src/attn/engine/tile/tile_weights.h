/* Scores and weights of chosen rows for the real type R, recomputed from the log-sum-exp; nothing else of the matrix is
 * touched.
 *
 * A task owns LANES keys of all chosen rows: the keys are transposed once for up to ROWS of them. Everything is small
 * enough for the stack, so it costs no scratch: the head dimension is walked in pieces. */

enum { T(weights_lanes) = 64, T(weights_rows) = 16, T(weights_depth) = 64, T(weights_listed) = 256 };

typedef struct T(weights_job) {
    const T(job) * job;
    fv__sequence sequence;
    fv_capture capture;
    int64_t head;
    const int64_t *rows;
    int64_t count;
    const fv_tensor *to;
    fv__drop drop;
    R norm[T(weights_listed)], rest[T(weights_listed)]; /* of the rows; of weights only */
} T(weights_job);

static bool T(wants_weights)(const T(weights_job) * w) { return w->capture >= FV_CAPTURE_SOFTMAX; }

/* Up to 64 columns from c on of the keys, transposed, and of the rows: weights are made of the forward's scores, in
 * units of log 2, scores are shown in natural ones. */
static void T(weights_operands)(const T(weights_job) * w, const int64_t *rows, int64_t count, int64_t j0, int64_t keys,
                                int64_t c, int64_t depth, R *q, R *kt) {
    const T(job) *job = w->job;
    const fv__sequence *at = &w->sequence;
    const int64_t kv = w->head * job->plan->kv_heads / job->plan->heads;
    const R natural = job->own_base ? 1 : (R)job->plan->options.scale;
    job->simd->pack(kt, T(weights_lanes), T(at)(&job->k, at->batch, kv, at->k_start + j0) + c, job->k.l, keys, depth,
                    T(wants_weights)(w) ? 1 : natural);
    for (int64_t r = 0; r < count; r++)
        job->simd->scale(q + r * T(weights_depth), T(wants_weights)(w) ? T(query_scale)(job) : 1,
                         T(at)(&job->q, at->batch, w->head, at->q_start + rows[r]) + c, depth);
}

static void T(weights_terms)(const T(weights_job) * w, const int64_t *rows, int64_t count, int64_t j0, int64_t keys,
                             R *s) {
    const T(job) *job = w->job;
    const R factor = T(wants_weights)(w) ? job->scale2 : (R)job->plan->options.scale;
    R part[T(weights_lanes)];
    for (int64_t r = 0; r < count; r++, s += T(weights_lanes)) {
        const fv__score_tile tile = T(score_tile)(job, &w->sequence, w->head, rows[r], 1, j0, keys, NULL);
        T(fill_term_tile)(job, &tile, part, T(weights_lanes));
        job->simd->scale(part, factor, part, keys);
        job->simd->add(s, s, part, keys);
    }
}

/* Scores of `count` chosen rows and `keys` keys from j0, before the softcap. */
static void T(weights_scores)(const T(weights_job) * w, const int64_t *rows, int64_t count, int64_t j0, int64_t keys,
                              R *s) {
    enum { LANES = T(weights_lanes), DEPTH = T(weights_depth) };
    const T(job) *job = w->job;
    const int64_t d = job->plan->d_qk;
    R kt[DEPTH * LANES], q[T(weights_rows) * DEPTH], part[T(weights_rows) * LANES];
    job->simd->fill(s, 0, count * LANES);
    for (int64_t c = 0; c < d; c += DEPTH) {
        const int64_t depth = d - c < DEPTH ? d - c : DEPTH;
        T(weights_operands)(w, rows, count, j0, keys, c, depth, q, kt);
        if (job->own_base) {
            const fv__score_tile tile = T(score_tile)(job, &w->sequence, w->head, rows[0], count, j0, keys, NULL);
            const fv__score_product p = {q, kt, DEPTH, LANES, count, c, depth};
            job->own_base(&tile, part, &p, T(wants_weights)(w) ? (double)job->scale2 : job->plan->options.scale);
            job->simd->add(s, s, part, count * LANES);
        } else {
            job->simd->gemm(s, LANES, q, DEPTH, 1, kt, LANES, count, LANES, depth, FV_GEMM_CONTINUE);
        }
    }
    if (job->term_count) T(weights_terms)(w, rows, count, j0, keys, s);
}

/* What joins the scores of row i after the softcap, -inf where the patterns of keys hide: false when there is
 * nothing. */
static bool T(weights_bias)(const T(weights_job) * w, int64_t i, int64_t j0, int64_t keys, R *a) {
    const T(job) *job = w->job;
    const fv__score_tile tile = T(score_tile)(job, &w->sequence, w->head, i, 1, j0, keys, NULL);
    uint64_t kept;
    if (job->biased)
        T(fill_bias_tile)(job, &tile, a, T(weights_lanes));
    else
        job->simd->fill(a, 0, T(weights_lanes));
    if (job->keys.count && keys) {
        fv__keys_bits(&job->keys, &(fv__query_block){&w->sequence, w->head, i, i + 1}, j0, &kept);
        job->simd->bit_mask(a, 1, T(weights_lanes), &kept);
    }
    return job->biased || job->keys.count;
}

/* Row n of the list becomes what `capture` names. `keep`: what the dropout multiplies with, NULL for none. */
static void T(weights_row)(const T(weights_job) * w, R *s, int64_t n, int64_t j0, int64_t keys, const R *keep) {
    enum { LANES = T(weights_lanes) };
    const T(job) *job = w->job;
    const int64_t i = w->rows[n];
    R a[LANES];
    int64_t start, end;
    fv__attn_visible(job->plan, &w->sequence, i, &start, &end);
    start = start > j0 ? start - j0 : 0, end = end - j0 < keys ? end - j0 : keys;
    const bool biased = T(weights_bias)(w, i, j0, keys, a);
    if (T(wants_weights)(w)) {
        const R first = (R)start, last = (R)end;
        job->simd->softmax_from_lse(s, 1, LANES, &w->norm[n], &w->rest[n], &first, &last, biased ? a : NULL, keep,
                                    job->cap2, NULL);
        return;
    }
    if (job->biased && w->capture >= FV_CAPTURE_BIASED) job->simd->add(s, s, a, keys);
    for (int64_t c = 0; c < LANES; c++)
        if (c < start || c >= end || (biased && a[c] == (R)-INFINITY)) s[c] = (R)-INFINITY;
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
        if (keys && cap != 0 && (w->capture == FV_CAPTURE_SOFTCAPPED || w->capture == FV_CAPTURE_BIASED))
            job->simd->softcap(s, count * LANES, cap);
        for (int64_t r = 0; r < count; r++) {
            const int64_t i = w->rows[n + r];
            R *row = (R *)w->to->data + (n + r) * w->to->stride[0] + j0 * w->to->stride[1];
            const bool drop = w->capture == FV_CAPTURE_DROPOUT && keys;
            if (drop && i / BLOCK != drawn)
                job->simd->drop_rows(keep, BLOCK, LANES, (drawn = i / BLOCK) * BLOCK, j0, &w->drop);
            T(weights_row)(w, s + r * LANES, n + r, j0, keys, drop ? keep + i % BLOCK * LANES : NULL);
            for (int64_t c = 0; c < LANES && c < width; c++) row[c * w->to->stride[1]] = s[r * LANES + c];
        }
    }
}

/* As many rows as their denominators are kept of. */
static void T(weights_listed_rows)(T(weights_job) * w, const T(job) * job, char *norms) {
    T(sums) sums;
    T(sums_begin)(job, norms, &w->sequence, w->head, &sums);
    for (int64_t n = 0; n < w->count && T(wants_weights)(w); n++) {
        const T(denominator) d = T(denominator_of)(job, &sums, w->rows[n], INFINITY);
        w->norm[n] = d.norm, w->rest[n] = d.rest;
    }
    fv__parallel_for((w->to->dim[1] + T(weights_lanes) - 1) / T(weights_lanes), T(weights_task), w);
}

static void T(weights)(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                       int64_t count, const fv_tensor *out, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    T(job) job = T(job_of)(run, false);
    job.keys = fv__tile_keys_of(run, scratch);
    fv__keys_prepare(&job.keys, batch, head);
    T(weights_job) w = {.job = &job, .sequence = fv__attn_sequence(run, batch), .capture = capture, .head = head};
    w.drop = fv__drop_of(job.dropout, run->call.seed, (uint64_t)(batch * plan->heads + head));
    for (int64_t n = 0; n < count; n += T(weights_listed)) {
        w.rows = rows + n, w.count = count - n < T(weights_listed) ? count - n : T(weights_listed);
        const fv_tensor to = fv_tensor_slice(*out, 0, n, w.count);
        w.to = &to;
        T(weights_listed_rows)(&w, &job, (char *)scratch + fv__tile_keys_bytes(plan));
    }
}
