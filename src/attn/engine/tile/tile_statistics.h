/* Statistics of the weights for the real type R: means and maxima of blocks, sums of columns, entropy of rows. See
 * fovea/statistics.h.
 *
 * A task owns a span of queries of one head and walks over all keys they see, SIDE keys at a time. Scores lie with a
 * key per lane, as in the backward: sums over queries need no horizontal operation. What spans share is kept apart and
 * added in the order of spans by a second pass: a part of the columns per span, and the blocks of queries that a border
 * between spans divides (its first and its last). */

typedef struct T(statistics_job) {
    T(job) job;
    const fv_attention_statistics *want;
    fv__statistics_partition partition;
    R *columns;            /* (spans of a sequence, sequences, heads, Lk) */
    R *shared;             /* (shared spans, heads, 2, mean or max, blocks of keys) */
    int64_t *shared_first; /* number of the first shared span of each sequence */
    int64_t rows;          /* of blocks, in the larger of the two tensors */
} T(statistics_job);

/* One task: queries [i0, i1) of a head; `span` counts inside the sequence. */
typedef struct T(span) {
    fv__sequence sequence;
    int64_t number, head, kv, i0, i1, index; /* index: number among the shared spans of its head */
    R *kt, *s, *bias_tile, *keep;            /* (D, SIDE), (SIDE, SIDE) each */
    R *score;                                /* of what joins the scores */
    R *q;                                    /* (GROUP, D): the queries [g0, g1), scaled; NULL: a base of its own */
    int64_t g0, g1;                          /* they walk over the keys together */
    R *norm, *rest, *entropy, *columns;      /* span rows each, Lk */
    bool far;                                /* some row has a rest */
    int64_t *start, *end;                    /* what each row sees */
    R first[FV_TILE_MOST_SIDE], last[FV_TILE_MOST_SIDE], sum[FV_TILE_MOST_SIDE], most[FV_TILE_MOST_SIDE];
} T(span);

/* ---- where results go */

/* An output of rank 4, or 3 with its rows as blocks of one: element (sequence, head, row, column). */
static R *T(output_at)(const T(statistics_job) * v, const fv_tensor *t, int64_t number, int64_t head, int64_t row) {
    const int64_t n = v->want->batch >= 0 ? 0 : number, h = v->want->head >= 0 ? 0 : head;
    return (R *)t->data + n * t->stride[0] + h * t->stride[1] + row * t->stride[2];
}

/* The same for columns and entropy, which lie as k and q do unless one sequence was chosen; `start` is where its rows
 * begin there. */
static R *T(output_row)(const T(statistics_job) * v, const fv_tensor *t, const fv__sequence *s, int64_t head,
                        int64_t start) {
    return T(output_at)(v, t, s->batch, head, v->want->batch >= 0 ? 0 : start);
}

/* A span's part of the columns of its sequence. */
static R *T(column_part)(const T(statistics_job) * v, const fv__sequence *s, int64_t head, int64_t span) {
    const fv_attention_plan *plan = v->job.plan;
    const int64_t n = v->want->batch >= 0 ? 0 : s->batch, batches = v->want->batch >= 0 ? 1 : plan->batch,
                  h = v->want->head >= 0 ? 0 : head;
    return v->columns + ((span * batches + n) * v->partition.heads + h) * plan->k_len + s->k_start;
}

static int64_t T(blocks)(int64_t count, int64_t size) { return (count + size - 1) / size; }

/* Rows of blocks that a border of the span divides are kept apart: slot 0 the first of the span, slot 1 the last; -1:
 * it owns them. */
static int T(slot)(const T(span) * p, int64_t a, int64_t size) {
    const int64_t from = a * size, to = from + size < p->sequence.q_len ? from + size : p->sequence.q_len;
    if (from >= p->i0 && to <= p->i1) return -1;
    return a == p->i0 / size ? 0 : 1;
}

static R *T(shared_row)(const T(statistics_job) * v, int64_t index, int64_t head, int slot, bool max) {
    const int64_t h = v->want->head >= 0 ? 0 : head;
    return v->shared + (((index * v->partition.heads + h) * 2 + slot) * 2 + max) * v->partition.key_blocks;
}

/* Where the sums of row `a` of blocks grow, with the step between blocks. */
static R *T(block_row)(const T(statistics_job) * v, const T(span) * p, int64_t a, bool max, int64_t *step) {
    const int slot = T(slot)(p, a, v->want->pool_q);
    const fv_tensor *t = max ? &v->want->max : &v->want->mean;
    *step = slot < 0 ? t->stride[3] : 1;
    return slot < 0 ? T(output_at)(v, t, p->number, p->head, a) : T(shared_row)(v, p->index, p->head, slot, max);
}

/* ---- one tile: `rows` queries from i, `keys` keys from j */

static void T(pool_rows)(const T(statistics_job) * v, const T(span) * p, int64_t a, int64_t j, int64_t keys) {
    const SIMD *simd = v->job.simd;
    const int64_t size = v->want->pool_k;
    int64_t mean_step = 0, max_step = 0;
    R *mean = v->want->mean.rank ? T(block_row)(v, p, a, false, &mean_step) : NULL;
    R *most = v->want->max.rank ? T(block_row)(v, p, a, true, &max_step) : NULL;
    for (int64_t at = 0; at < keys;) {
        const int64_t b = (j + at) / size, left = (b + 1) * size - j - at, n = left < keys - at ? left : keys - at;
        if (mean) mean[b * mean_step] += n == 1 ? p->sum[at] : simd->sum(p->sum + at, n);
        if (most) {
            const R top = n == 1 ? p->most[at] : simd->max(p->most + at, n);
            if (top > most[b * max_step]) most[b * max_step] = top;
        }
        at += n;
    }
}

static void T(reduce_tile)(const T(statistics_job) * v, T(span) * p, int64_t i, int64_t rows, int64_t j, int64_t keys,
                           int64_t lanes) {
    const SIMD *simd = v->job.simd;
    const bool pooled = v->want->mean.rank || v->want->max.rank;
    const int64_t size = pooled ? v->want->pool_q : rows;
    if (!pooled && !p->columns) return;
    for (int64_t r = 0; r < rows;) {
        const int64_t a = (i + r) / size, left = pooled ? (a + 1) * size - i - r : rows,
                      n = left < rows - r ? left : rows - r;
        simd->reduce_rows(p->sum, v->want->max.rank ? p->most : NULL, p->s + r * lanes, n, lanes);
        if (pooled) T(pool_rows)(v, p, a, j, keys);
        if (p->columns) simd->add(p->columns + j, p->columns + j, p->sum, keys);
        r += n;
    }
}

static void T(statistics_tile)(const T(statistics_job) * v, T(span) * p, const fv__drop *drop, int64_t i, int64_t rows,
                               int64_t j, int64_t keys, int64_t lanes, fv_block_kind kind) {
    const T(job) *job = &v->job;
    const SIMD *simd = job->simd;
    const int64_t d = job->plan->d_qk, at = i - p->i0;
    const R *q = p->q ? p->q + (i - p->g0) * d : T(at)(&job->q, p->sequence.batch, p->head, p->sequence.q_start + i);
    const fv__score_tile tile = T(score_tile)(job, &p->sequence, p->head, i, rows, j, keys, p->score);
    if (job->own_base)
        job->own_base(&tile, p->s, &(fv__score_product){q, p->kt, job->q.l, lanes, rows, 0, d}, (double)job->scale2);
    else
        simd->gemm(p->s, lanes, q, d, 1, p->kt, lanes, rows, lanes, d, FV_GEMM_OVERWRITE);
    if (job->term_count) {
        T(fill_term_tile)(job, &tile, p->bias_tile, lanes);
        simd->scale(p->bias_tile, job->scale2, p->bias_tile, rows * lanes);
        simd->add(p->s, p->s, p->bias_tile, rows * lanes);
    }
    if (job->biased) T(fill_bias_tile)(job, &tile, p->bias_tile, lanes);
    if (kind == FV_BLOCK_PARTIAL) {
        uint64_t words[FV_TILE_MOST_SIDE];
        fv__keys_bits(&job->keys, &(fv__query_block){&p->sequence, p->head, i, i + rows}, j, words);
        if (!job->biased) simd->fill(p->bias_tile, 0, rows * lanes);
        simd->bit_mask(p->bias_tile, rows, lanes, words);
    }
    if (p->keep) simd->drop_rows(p->keep, rows, lanes, i, j, drop);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t end = p->end[at + r] - j;
        p->first[r] = p->start[at + r] > j ? (R)(p->start[at + r] - j) : 0, p->last[r] = (R)(end < keys ? end : keys);
    }
    simd->softmax_from_lse(p->s, rows, lanes, p->norm + at, p->far ? p->rest + at : NULL, p->first, p->last,
                           job->biased || kind == FV_BLOCK_PARTIAL ? p->bias_tile : NULL, p->keep, job->cap2,
                           v->want->entropy.rank ? p->entropy + at : NULL);
    T(reduce_tile)(v, p, i, rows, j, keys, lanes);
}

/* ---- one task */

static void T(clear_blocks)(const T(statistics_job) * v, const T(span) * p, bool max) {
    const fv_tensor *t = max ? &v->want->max : &v->want->mean;
    const int64_t size = v->want->pool_q;
    for (int64_t a = p->i0 / size; t->rank && a * size < p->i1; a++) {
        int64_t step;
        R *row = T(block_row)(v, p, a, max, &step);
        const int64_t blocks = T(blocks)(p->sequence.k_len, v->want->pool_k);
        for (int64_t b = 0; b < blocks; b++) row[b * step] = 0;
    }
}

/* Of each row what it is normalised by and which keys it sees. */
static void T(span_rows)(const T(job) * job, T(span) * p, char *norms) {
    T(sums) sums;
    T(sums_begin)(job, norms, &p->sequence, p->head, &sums);
    for (int64_t r = 0; r < p->i1 - p->i0; r++) {
        const T(denominator) n = T(denominator_of)(job, &sums, p->i0 + r, INFINITY);
        p->norm[r] = n.norm, p->rest[r] = n.rest, p->entropy[r] = 0, p->far |= n.rest != 0;
        fv__attn_visible(job->plan, &p->sequence, p->i0 + r, &p->start[r], &p->end[r]);
    }
}

static void T(group_begin)(const T(job) * job, T(span) * p, int64_t g0) {
    const int64_t d = job->plan->d_qk;
    const R *q = T(at)(&job->q, p->sequence.batch, p->head, p->sequence.q_start + g0);
    p->g0 = g0, p->g1 = p->i1 - g0 < FV_STATISTICS_GROUP ? p->i1 : g0 + FV_STATISTICS_GROUP;
    for (int64_t r = 0; r < p->g1 - g0 && p->q; r++) job->simd->scale(p->q + r * d, job->scale2, q + r * job->q.l, d);
}

static void T(span_begin)(const T(statistics_job) * v, T(span) * p, int worker) {
    const T(job) *job = &v->job;
    const fv__statistics_worker m =
        fv__statistics_worker_of(job->plan, &v->partition, job->workers + (size_t)worker * v->partition.worker_bytes);
    p->kt = m.kt, p->s = m.s, p->bias_tile = m.bias_tile, p->norm = m.norm, p->rest = m.rest, p->entropy = m.entropy;
    p->keep = v->want->dropout ? m.keep : NULL, p->start = m.start, p->end = m.end, p->score = m.score, p->q = m.q;
    T(span_rows)(job, p, m.norms);
    if (p->columns) memset(p->columns, 0, (size_t)p->sequence.k_len * sizeof(R));
    T(clear_blocks)(v, p, false), T(clear_blocks)(v, p, true);
}

static void T(statistics_keys)(const T(statistics_job) * v, T(span) * p, const fv__drop *drop, int64_t j) {
    const T(job) *job = &v->job;
    const int64_t keys = p->sequence.k_len - j < job->sizes.side ? p->sequence.k_len - j : job->sizes.side,
                  width = job->simd->width, lanes = (keys + width - 1) / width * width;
    bool packed = false;
    for (int64_t i = p->g0; i < p->g1; i += job->sizes.side) {
        const int64_t rows = p->g1 - i < job->sizes.side ? p->g1 - i : job->sizes.side;
        const int64_t any = p->start[i - p->i0], any_end = p->end[i - p->i0 + rows - 1]; /* both grow with i */
        if (any >= j + keys || any_end <= j) continue;
        const fv__query_block q = {&p->sequence, p->head, i, i + rows};
        const fv_block_kind kind = job->keys.count ? fv__keys_kind(&job->keys, &q, j, j + keys) : FV_BLOCK_FULL;
        if (kind == FV_BLOCK_EMPTY) continue;
        if (!packed)
            job->simd->pack(p->kt, lanes, T(at)(&job->k, p->sequence.batch, p->kv, p->sequence.k_start + j), job->k.l,
                            keys, job->plan->d_qk, 1);
        packed = true;
        T(statistics_tile)(v, p, drop, i, rows, j, keys, lanes, kind);
    }
}

static void T(statistics_task)(void *context, int64_t index, int worker) {
    const T(statistics_job) *v = context;
    const fv_attention_plan *plan = v->job.plan;
    const int64_t heads = v->partition.heads, size = v->partition.span;
    int64_t number, span;
    fv__tile_locate(v->job.first, v->partition.sequences, index / heads, &number, &span);
    const int64_t spans = v->job.first[number + 1] - v->job.first[number], rest = index - v->job.first[number] * heads;
    span = spans - 1 - rest % spans; /* the long rows of a causal triangle first */
    T(span) p = {.index = v->shared_first[number] + span};
    p.number = v->want->batch >= 0 ? v->want->batch : number;
    p.head = v->want->head >= 0 ? v->want->head : rest / spans, p.kv = p.head * plan->kv_heads / plan->heads;
    p.sequence = fv__attn_sequence(v->job.run, p.number);
    p.i0 = span * size, p.i1 = p.i0 + size < p.sequence.q_len ? p.i0 + size : p.sequence.q_len;
    if (v->columns) p.columns = T(column_part)(v, &p.sequence, p.head, span);
    T(span_begin)(v, &p, worker);
    const fv__drop drop =
        fv__drop_of(v->job.dropout, v->job.run->call.seed, (uint64_t)(p.number * plan->heads + p.head));
    for (int64_t g0 = p.i0; g0 < p.i1; g0 = p.g1) {
        T(group_begin)(&v->job, &p, g0);
        const int64_t end = p.end[p.g1 - p.i0 - 1];
        const fv__query_block q = {&p.sequence, p.head, p.g0, p.g1};
        for (int64_t j = p.start[g0 - p.i0] / v->job.sizes.side * v->job.sizes.side; j < end; j += v->job.sizes.side) {
            if (v->job.keys.skips) j = fv__keys_next(&v->job.keys, &q, j) / v->job.sizes.side * v->job.sizes.side;
            if (j < end) T(statistics_keys)(v, &p, &drop, j);
        }
    }
    const fv_tensor *t = &v->want->entropy;
    R *to = t->rank ? T(output_row)(v, t, &p.sequence, p.head, p.sequence.q_start) : NULL;
    for (int64_t i = p.i0; to && i < p.i1; i++) to[i * t->stride[2]] = p.entropy[i - p.i0];
}

/* ---- the second pass */

/* What lies beyond a sequence in the tensor, if it is the last one there. */
static void T(clear_rest)(const T(statistics_job) * v, const fv_tensor *t, R *row, int64_t number, int64_t start,
                          int64_t length) {
    const bool one = v->want->batch >= 0, packed = v->job.plan->packed;
    if (packed && !one && number + 1 < v->partition.sequences) return;
    const int64_t end = t->dim[2] - (one ? 0 : start);
    for (int64_t i = length; i < end; i++) row[i * t->stride[2]] = 0;
}

static void T(rows_task)(void *context, int64_t index, int worker) {
    const T(statistics_job) *v = context;
    const int64_t row = index / v->partition.heads, number = v->want->batch >= 0 ? v->want->batch : row,
                  head = v->want->head >= 0 ? v->want->head : index % v->partition.heads,
                  spans = v->job.first[row + 1] - v->job.first[row];
    const fv__sequence s = fv__attn_sequence(v->job.run, number);
    const fv_tensor *t = &v->want->columns, *e = &v->want->entropy;
    (void)worker;
    if (e->rank) T(clear_rest)(v, e, T(output_row)(v, e, &s, head, s.q_start), number, s.q_start, s.q_len);
    if (!t->rank) return;
    R *to = T(output_row)(v, t, &s, head, s.k_start);
    T(clear_rest)(v, t, to, number, s.k_start, s.k_len);
    for (int64_t j = 0; j < s.k_len; j++) to[j * t->stride[2]] = 0;
    for (int64_t n = 0; n < spans; n++) {
        const R *part = T(column_part)(v, &s, head, n);
        for (int64_t j = 0; j < s.k_len; j++) to[j * t->stride[2]] += part[j];
    }
}

/* Row `a` of the blocks: parts of a row that spans share are put together; sums become means. */
static void T(finish_blocks)(const T(statistics_job) * v, const fv_tensor *t, int64_t row, int64_t head, int64_t a,
                             bool max) {
    const int64_t number = v->want->batch >= 0 ? v->want->batch : row, size = v->want->pool_q, span = v->partition.span;
    const fv__sequence s = fv__attn_sequence(v->job.run, number);
    const int64_t from = a * size, to = from + size < s.q_len ? from + size : s.q_len;
    const int64_t blocks = from < s.q_len ? T(blocks)(s.k_len, v->want->pool_k) : 0;
    const bool shared = blocks && from / span != (to - 1) / span;
    R *out = T(output_at)(v, t, number, head, a);
    for (int64_t b = blocks; b < t->dim[3]; b++) out[b * t->stride[3]] = 0;
    for (int64_t b = 0; b < blocks; b++) {
        R *x = out + b * t->stride[3], sum = shared ? 0 : *x;
        for (int64_t c = from / span; shared && c <= (to - 1) / span; c++) {
            const R part = T(shared_row)(v, v->shared_first[row] + c, head, a == c * span / size ? 0 : 1, max)[b];
            sum = max ? (part > sum ? part : sum) : sum + part;
        }
        const int64_t left = s.k_len - b * v->want->pool_k, keys = left < v->want->pool_k ? left : v->want->pool_k;
        *x = max ? sum : sum / ((R)(to - from) * (R)keys);
    }
}

static void T(blocks_task)(void *context, int64_t index, int worker) {
    const T(statistics_job) *v = context;
    const fv_tensor *mean = &v->want->mean, *max = &v->want->max;
    const int64_t a = index % v->rows, index_bh = index / v->rows, row = index_bh / v->partition.heads,
                  head = v->want->head >= 0 ? v->want->head : index_bh % v->partition.heads;
    (void)worker;
    if (mean->rank && a < mean->dim[2]) T(finish_blocks)(v, mean, row, head, a, false);
    if (max->rank && a < max->dim[2]) T(finish_blocks)(v, max, row, head, a, true);
}

/* ---- the whole */

static int64_t T(count_spans)(const T(statistics_job) * v) {
    int64_t count = 0, shared = 0;
    for (int64_t n = 0; n < v->partition.sequences; n++) {
        const int64_t number = v->want->batch >= 0 ? v->want->batch : n;
        const int64_t spans = T(blocks)(fv__attn_sequence(v->job.run, number).q_len, v->partition.span);
        v->job.first[n] = count, count += spans;
        v->shared_first[n] = shared, shared += spans > 1 ? spans : 0;
    }
    return v->job.first[v->partition.sequences] = count;
}

static void T(statistics)(const fv__run *run, const fv_attention_statistics *want, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    T(statistics_job)
    v = {.job = T(job_of)(run, false), .want = want, .partition = fv__statistics_partition_of(plan, want)};
    const fv__statistics_memory m = fv__statistics_lay_out(plan, &v.partition, scratch);
    v.job.first = m.first, v.shared_first = m.shared_first, v.columns = m.columns, v.shared = m.shared;
    v.job.keys = fv__tile_keys_of(run, m.keys), v.job.workers = m.workers;
    fv__keys_prepare(&v.job.keys, want->batch, want->head);
    const int64_t planes = v.partition.sequences * v.partition.heads;
    fv__parallel_for(T(count_spans)(&v) * v.partition.heads, T(statistics_task), &v);
    if (want->columns.rank || want->entropy.rank) fv__parallel_for(planes, T(rows_task), &v);
    v.rows = want->mean.rank ? want->mean.dim[2] : 0;
    if (want->max.rank && want->max.dim[2] > v.rows) v.rows = want->max.dim[2];
    fv__parallel_for(planes * v.rows, T(blocks_task), &v);
}
