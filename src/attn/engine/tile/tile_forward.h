/* Forward of TILE for the real type R. See tile.h. */

typedef struct T(tile) {
    R *q, *o, *m, *l; /* (D, lanes), (lanes, Dv), lanes, lanes */
    int64_t i0, rows, lanes;
    bool started;
    bool same_max;   /* the last step left the maxima as they were, and so will the next, perhaps */
    bool bit_masked; /* a partial tile of the patterns of keys is in this step */
    T(visible_ranges) visible;
} T(tile);

/* A block of queries of one head: what a task does one after the other. */
typedef struct T(unit) {
    fv__sequence sequence;
    fv__drop drop;
    int64_t head, kv, block;
} T(unit);

typedef struct T(forward_scratch) {
    R *s, *alpha, *start, *end;     /* (BLOCK_K, lanes), lanes each */
    R *bias_tile, *bias_transposed; /* (lanes, BLOCK_K), (BLOCK_K, lanes) */
    R *score;                       /* of what joins the scores */
    T(tile) tile[FV_TILE_MOST_TILES];
} T(forward_scratch);

static void T(forward_carve)(const T(job) * job, char *at, int tiles, T(forward_scratch) * w) {
    const fv__tile_partition *p = &job->partition;
#define REGION(name, rows, columns, when) w->name = (when) ? T(carve)(&at, (rows) * (columns)) : NULL;
#define TILE_REGION(name, rows, columns)
#include "attn/engine/tile/tile_forward_regions.def"
#undef REGION
#undef TILE_REGION
    for (int t = 0; t < tiles; t++) {
#define REGION(name, rows, columns, when)
#define TILE_REGION(name, rows, columns) w->tile[t].name = T(carve)(&at, (rows) * (columns));
#include "attn/engine/tile/tile_forward_regions.def"
#undef REGION
#undef TILE_REGION
    }
}

static T(unit) T(unit_of)(const T(job) * job, int64_t index) {
    const int64_t heads = job->plan->heads;
    T(unit) unit;
    int64_t number, block;
    fv__tile_locate(job->first, job->plan->sequences, index / heads, &number, &block);
    const int64_t blocks = job->first[number + 1] - job->first[number], rest = index - job->first[number] * heads;
    unit.head = rest / blocks, unit.kv = unit.head * job->plan->kv_heads / heads;
    unit.block = blocks - 1 - rest % blocks; /* the long rows of a causal triangle first */
    unit.sequence = fv__attn_sequence(job->run, number);
    unit.drop = fv__drop_of(job->dropout, job->run->call.seed, (uint64_t)(number * heads + unit.head));
    return unit;
}

/* Prefetched while a unit is done: the rows it will write, the queries of the next unit, and a share of the keys and
 * values of the next head, so that all of them are near when the last unit of this head ends. */
static void T(forward_prefetch)(const T(job) * job, int64_t index, const T(unit) * unit, int64_t calls,
                                T(prefetch_stream) * a) {
    const int64_t number = unit->sequence.number, blocks = job->first[number + 1] - job->first[number];
    const int64_t units = job->first[job->plan->sequences] * job->plan->heads, size = job->sizes.block_q;
    *a = (T(prefetch_stream)){.count = 0};
    if (index + blocks < units) {
        const T(unit) later = T(unit_of)(job, index + blocks);
        const fv__sequence *s = &later.sequence;
        const int64_t shares = (s->q_len + size - 1) / size, share = (s->k_len + shares - 1) / shares;
        const int64_t j = (shares - 1 - later.block) * share;
        const int64_t rows = s->k_len - j < share ? s->k_len - j : share;
        if (s->number != number || later.kv != unit->kv) {
            T(prefetch_add)(a, &job->v, s->batch, later.kv, s->k_start + j, job->plan->d_v, rows);
            T(prefetch_add)(a, &job->k, s->batch, later.kv, s->k_start + j, job->plan->d_qk, rows);
        }
    }
    if (index + 1 < units) {
        const T(unit) next = T(unit_of)(job, index + 1);
        const fv__sequence *s = &next.sequence;
        const int64_t i = next.block * size;
        T(prefetch_add)(a, &job->q, s->batch, next.head, s->q_start + i, job->plan->d_qk, s->q_len - i);
    }
    const fv__sequence *s = &unit->sequence;
    const int64_t i = unit->block * size;
    T(prefetch_add)(a, &job->out, s->batch, unit->head, s->q_start + i, job->plan->d_v, s->q_len - i);
    T(prefetch_share)(a, calls);
}

/* ---- one tile */

static void T(tile_begin)(const T(job) * job, const fv__sequence *sequence, int64_t head, int64_t i0, int64_t rows,
                          T(tile) * t) {
    const int64_t width = job->simd->width;
    t->i0 = i0, t->rows = rows, t->started = t->same_max = t->bit_masked = false;
    t->lanes = rows > job->sizes.lanes / 2 ? job->sizes.lanes : (rows + width - 1) / width * width;
    const R *q = T(at)(&job->q, sequence->batch, head, sequence->q_start + i0);
    job->simd->pack(t->q, t->lanes, q, job->q.l, rows, job->plan->d_qk, T(query_scale)(job));
    job->simd->fill(t->m, (R)-INFINITY, t->lanes);
    job->simd->fill(t->l, 0, t->lanes);
    T(visible_ranges_of)(job, sequence, i0, rows, &t->visible);
}

/* Does a query of the tile not see one of the keys [a, b)? */
static bool T(is_boundary)(const T(tile) * t, int64_t a, int64_t b) {
    return a < t->visible.every || b > t->visible.every_end;
}

/* Hides what query q of the tile does not see among the keys a, a+1, ...: of those that all see nothing is touched. */
static void T(apply_band)(const T(job) * job, T(forward_scratch) * w, const T(tile) * t, R *s, int64_t a,
                          int64_t rows) {
    const int64_t every = t->visible.every - a, end = t->visible.every_end - a;
    for (int64_t q = 0; q < t->lanes; q++) {
        w->start[q] = q < t->rows ? (R)(t->visible.start[q] - a) : 0;
        w->end[q] = q < t->rows ? (R)(t->visible.end[q] - a) : (R)rows;
    }
    const int64_t left = every < 0 ? 0 : every < rows ? every : rows, right = end > left ? end : left;
    job->simd->band_mask(s, 0, left, t->lanes, w->start, w->end);
    job->simd->band_mask(s, right, rows, t->lanes, w->start, w->end);
}

/* Keys [a, b) without the tiles that are empty at either end. */
static void T(trim_empty_tiles)(const T(job) * job, const T(unit) * unit, T(tile) * t, int64_t *a, int64_t *b) {
    const fv__query_block q = {&unit->sequence, unit->head, t->i0, t->i0 + t->rows};
    int64_t first = *b, last = *b;
    t->bit_masked = false;
    for (int64_t j = *a; j < *b; j += FV_KEYS_TILE) {
        const int64_t end = j + FV_KEYS_TILE < *b ? j + FV_KEYS_TILE : *b;
        const fv_block_kind kind = fv__keys_kind(&job->keys, &q, j, end);
        if (kind == FV_BLOCK_EMPTY) continue;
        if (first == *b) first = last = j;
        t->bit_masked |= kind == FV_BLOCK_PARTIAL || last != j; /* or an empty tile between two others */
        last = end;
    }
    *a = first, *b = last;
}

/* Hides what the patterns of keys do, among the keys [a, b) of the step that begins at j0. */
static void T(apply_bits)(const T(job) * job, const T(unit) * unit, const T(tile) * t, R *s, int64_t j0, int64_t a,
                          int64_t b) {
    const fv__query_block q = {&unit->sequence, unit->head, t->i0, t->i0 + t->rows};
    uint64_t words[FV_TILE_MOST_BLOCK];
    for (int64_t j = j0; j < b; j += FV_KEYS_TILE)
        if (j + FV_KEYS_TILE > a) fv__keys_columns(&job->keys, &q, j, words + (j - j0));
    job->simd->bit_mask(s, b - a, t->lanes, words + (a - j0));
}

/* Is a value that is hidden from a query not finite? Then its weight 0 does not make it 0. */
static bool T(has_nonfinite_masked)(const T(job) * job, const T(tile) * t, const R *v, int64_t a, int64_t rows) {
    int64_t left = t->visible.every - a, right = t->visible.every_end - a;
    left = job->biased || t->bit_masked ? rows : left < 0 ? 0 : left < rows ? left : rows;
    right = right > left ? right : left;
    if (left > 0 && !job->simd->finite_tile(v, job->v.l, left, job->plan->d_v)) return true;
    return right < rows && !job->simd->finite_tile(v + right * job->v.l, job->v.l, rows - right, job->plan->d_v);
}

/* The bias tile transposed, a query per lane; a plain bias is transposed where it lies. */
static void T(transpose_bias)(const T(job) * job, T(forward_scratch) * w, const T(tile) * t,
                              const fv__sequence *sequence, int64_t head, int64_t a, int64_t rows) {
    const fv__score_tile tile = T(score_tile)(job, sequence, head, t->i0, t->rows, a, rows, w->score);
    const fv__score_kernels *only = job->bias_count == 1 ? job->biases->kernels : NULL;
    int64_t ld;
    const R *from = only && only->lies ? only->lies(&tile, &ld) : NULL;
    if (!from) {
        from = w->bias_tile, ld = job->sizes.block_k;
        T(fill_bias_tile)(job, &tile, w->bias_tile, ld);
    }
    job->simd->pack(w->bias_transposed, t->lanes, from, ld, t->rows, rows, 1);
}

/* The terms join the scores s of the keys a, a+1, ... */
static void T(add_terms)(const T(job) * job, T(forward_scratch) * w, const T(tile) * t, const fv__sequence *sequence,
                         int64_t head, int64_t a, int64_t rows, R *s) {
    const fv__score_tile tile = T(score_tile)(job, sequence, head, t->i0, t->rows, a, rows, w->score);
    T(fill_term_tile)(job, &tile, w->bias_tile, job->sizes.block_k);
    job->simd->pack(w->bias_transposed, t->lanes, w->bias_tile, job->sizes.block_k, t->rows, rows, job->scale2);
    job->simd->add(s, s, w->bias_transposed, rows * t->lanes);
}

/* Scores of a base with a function of its own: keys in rows, queries in lanes. */
static void T(base_scores)(const T(job) * job, const T(tile) * t, const fv__sequence *sequence, int64_t head, int64_t a,
                           int64_t rows, const R *k, R *s) {
    const fv__score_tile tile = T(score_tile)(job, sequence, head, t->i0, t->rows, a, rows, NULL);
    const fv__score_product p = {k, t->q, job->k.l, t->lanes, rows, 0, job->plan->d_qk};
    job->own_base(&tile, s, &p, (double)job->scale2);
}

/* Which of the keys a, a+1, ... each half of a tile sees: in a boundary tile the other half is not computed. */
typedef struct T(halves) {
    int64_t split, first[2], end[2]; /* queries of the first half; keys */
} T(halves);

static T(halves) T(halves_of)(const T(job) * job, const T(tile) * t, int64_t a, int64_t rows, bool boundary) {
    T(halves) h = {t->rows, {0, 0}, {rows, rows}};
    const int64_t half = job->sizes.lanes / 2;
    if (!boundary || job->own_base || t->rows <= half) return h;
    h.split = half;
    for (int n = 0; n < 2; n++) {
        const int64_t start = t->visible.start[n * half] - a, end = t->visible.end[n ? t->rows - 1 : half - 1] - a;
        h.first[n] = start < 0 ? 0 : start < rows ? start : rows;
        h.end[n] = end < h.first[n] ? h.first[n] : end < rows ? end : rows;
    }
    return h;
}

/* Scores of the keys that both halves see, and of those that only one of them does. */
static void T(scores)(const T(job) * job, const T(tile) * t, const T(halves) * h, R *s, const R *k) {
    const int64_t lanes = t->lanes, ld = job->k.l, d = job->plan->d_qk, half = job->sizes.lanes / 2;
    const int64_t left = h->first[1] < h->end[0] ? h->first[1] : h->end[0], right = h->end[0];
    const int64_t second = h->first[1] > right ? h->first[1] : right;
    if (h->first[0] < left)
        job->simd->gemm(s + h->first[0] * lanes, lanes, k + h->first[0] * ld, ld, 1, t->q, lanes, left - h->first[0],
                        half, d, FV_GEMM_OVERWRITE);
    if (left < right)
        job->simd->gemm(s + left * lanes, lanes, k + left * ld, ld, 1, t->q, lanes, right - left, lanes, d,
                        FV_GEMM_OVERWRITE);
    if (second < h->end[1])
        job->simd->gemm(s + second * lanes + half, lanes, k + second * ld, ld, 1, t->q + half, lanes,
                        h->end[1] - second, lanes - half, d, FV_GEMM_OVERWRITE);
}

/* O += P V, each half of the queries with the keys it sees. */
static void T(values)(const T(job) * job, const T(tile) * t, const T(halves) * h, const R *s, const R *v, bool masked) {
    const int64_t dv = job->plan->d_v, lanes = t->lanes;
    for (int n = 0; n < 2; n++) {
        const int64_t q = n ? h->split : 0, queries = n ? t->rows - h->split : h->split, j = h->first[n];
        if (queries <= 0 || (j >= h->end[n] && t->started)) continue;
        (masked ? job->simd->gemm_masked : job->simd->gemm)(t->o + q * dv, dv, s + j * lanes + q, 1, lanes,
                                                            v + j * job->v.l, job->v.l, queries, dv, h->end[n] - j,
                                                            t->started ? FV_GEMM_ACCUMULATE : FV_GEMM_OVERWRITE);
    }
}

/* Scores of the keys [a, b) as the softmax takes them: capped, with the bias tile, -inf where they are hidden. */
static void T(all_scores)(const T(job) * job, T(forward_scratch) * w, const T(tile) * t, const T(unit) * unit,
                          const T(halves) * halves, int64_t j0, int64_t a, int64_t b) {
    const SIMD *simd = job->simd;
    const fv__sequence *sequence = &unit->sequence;
    const int64_t lanes = t->lanes, rows = b - a;
    const R *k = T(at)(&job->k, sequence->batch, unit->kv, sequence->k_start + a);
    R *s = w->s + (a - j0) * lanes;
    if (job->own_base)
        T(base_scores)(job, t, sequence, unit->head, a, rows, k, s);
    else
        T(scores)(job, t, halves, s, k);
    if (job->term_count) T(add_terms)(job, w, t, sequence, unit->head, a, rows, s);
    if (job->cap2 != 0) simd->softcap(s, rows * lanes, job->cap2);
    if (job->biased) {
        T(transpose_bias)(job, w, t, sequence, unit->head, a, rows);
        simd->add_bias(s, w->bias_transposed, rows * lanes);
    }
    if (T(is_boundary)(t, a, b)) T(apply_band)(job, w, t, s, a, rows);
    if (t->bit_masked) T(apply_bits)(job, unit, t, s, j0, a, b);
}

/* Keys [a, b) of the block that begins at j0 join the sums of the tile. a - j0 is a multiple of 4, see
 * online_softmax. */
static void T(forward_step)(const T(job) * job, T(forward_scratch) * w, T(tile) * t, const T(unit) * unit, int64_t j0,
                            int64_t a, int64_t b, T(prefetch_stream) * stream) {
    const SIMD *simd = job->simd;
    const fv__sequence *sequence = &unit->sequence;
    const int64_t lanes = t->lanes, rows = b - a, dv = job->plan->d_v;
    const R *v = T(at)(&job->v, sequence->batch, unit->kv, sequence->k_start + a);
    const bool boundary = T(is_boundary)(t, a, b);
    const T(halves) halves = T(halves_of)(job, t, a, rows, boundary);
    R *s = w->s + (a - j0) * lanes;
    T(prefetch)(stream);
    T(all_scores)(job, w, t, unit, &halves, j0, a, b);
    if (!t->same_max || !simd->online_softmax_same_max(s, rows, lanes, t->m, t->l, w->alpha)) {
        if (t->same_max) T(all_scores)(job, w, t, unit, &halves, j0, a, b); /* they are spoiled: a maximum grew */
        t->same_max = !simd->online_softmax(s, rows, lanes, t->m, t->l, w->alpha);
        if (!t->same_max && t->started) simd->scale_rows(t->o, dv, t->o, dv, t->rows, dv, w->alpha);
    }
    if (unit->drop.threshold) simd->drop_lanes(w->s, b - j0, lanes, t->i0, j0, &unit->drop);
    T(prefetch)(stream);
    const bool masked = (boundary || job->biased || t->bit_masked) && T(has_nonfinite_masked)(job, t, v, a, rows);
    T(values)(job, t, &halves, s, v, masked);
    t->started = true;
}

static void T(tile_end)(const T(job) * job, T(forward_scratch) * w, T(tile) * t, const fv__sequence *sequence,
                        int64_t head, const fv__drop *drop) {
    const SIMD *simd = job->simd;
    const int64_t row = sequence->q_start + t->i0;
    const int64_t dv = job->plan->d_v;
    if (!t->started) simd->fill(t->o, 0, dv * t->rows);
    const R sink = job->sinks ? T(sink_of)(job, head) * (R)1.44269504088896340736 : (R)-INFINITY;
    R *factor = w->alpha, *lse = w->start;
    simd->softmax_finalize(factor, lse, t->m, t->l, t->lanes, sink, (R)drop->scale, job->biased);
    simd->scale_rows(T(at)(&job->out, sequence->batch, head, row), job->out.l, t->o, dv, t->rows, dv, factor);
    const fv_tensor *to = &job->x->t[FV_LSE];
    if (!to->rank) return;
    R *p = (R *)to->data + sequence->batch * to->stride[0] + head * to->stride[1] + row * to->stride[2];
    for (int64_t q = 0; q < t->rows; q++) p[q * to->stride[2]] = lse[q];
}

/* The keys [a, b) of the block from j0 on that a tile looks at; false when there are none. */
static bool T(step_keys)(const T(job) * job, const T(unit) * unit, T(tile) * t, int64_t j0, int64_t *a, int64_t *b) {
    *a = j0, *b = j0 + job->sizes.block_k;
    if (t->visible.any_end < *b) *b = t->visible.any_end;
    if (job->keys.count) T(trim_empty_tiles)(job, unit, t, a, b);
    if (t->visible.any > *a) *a += (t->visible.any - *a) & ~(int64_t)3;
    return *a < *b;
}

static void T(forward_unit)(const T(job) * job, T(forward_scratch) * w, int64_t index, const T(unit) * unit) {
    const int64_t lanes = job->sizes.lanes, block_q = job->sizes.block_q, block_k = job->sizes.block_k;
    const int64_t q_len = unit->sequence.q_len;
    int64_t any = INT64_MAX, any_end = 0;
    int tiles = 0;
    for (int64_t i = unit->block * block_q; i < q_len && tiles < block_q / lanes; i += lanes) {
        T(tile) *t = &w->tile[tiles++];
        T(tile_begin)
        (job, &unit->sequence, unit->head, i, q_len - i < lanes ? q_len - i : lanes, t);
        if (t->visible.any < any) any = t->visible.any;
        if (t->visible.any_end > any_end) any_end = t->visible.any_end;
    }
    any = any / block_k * block_k;
    T(prefetch_stream) stream = {.count = 0};
    if (job->prefetches && any_end > any) T(forward_prefetch)
    (job, index, unit, 2 * tiles * ((any_end - any + block_k - 1) / block_k), &stream);
    const int64_t i0 = unit->block * block_q, left = q_len - i0;
    const fv__query_block q = {&unit->sequence, unit->head, i0, i0 + (left < block_q ? left : block_q)};
    for (int64_t j0 = any; j0 < any_end; j0 += block_k) {
        if (job->keys.skips) j0 = fv__keys_next(&job->keys, &q, j0) / block_k * block_k;
        for (int n = 0; n < tiles; n++) {
            int64_t a, b;
            if (T(step_keys)(job, unit, &w->tile[n], j0, &a, &b))
                T(forward_step)(job, w, &w->tile[n], unit, j0, a, b, &stream);
        }
    }
    for (int n = 0; n < tiles; n++) T(tile_end)(job, w, &w->tile[n], &unit->sequence, unit->head, &unit->drop);
}

static void T(forward_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t start = index * job->partition.group, units = job->first[job->plan->sequences] * job->plan->heads;
    T(forward_scratch) w;
    T(forward_carve)
    (job, job->workers + (size_t)worker * job->partition.worker_bytes, job->sizes.block_q / job->sizes.lanes, &w);
    for (int64_t n = start; n < start + job->partition.group && n < units; n++) {
        const T(unit) unit = T(unit_of)(job, n);
        T(forward_unit)(job, &w, n, &unit);
    }
}

static int64_t T(count_blocks)(const T(job) * job) {
    int64_t count = 0;
    for (int64_t n = 0; n < job->plan->sequences; n++) {
        job->first[n] = count;
        count += (fv__attn_sequence(job->run, n).q_len + job->sizes.block_q - 1) / job->sizes.block_q;
    }
    return job->first[job->plan->sequences] = count;
}

static void T(forward)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    T(job) job = T(job_of)(run, false);
    job.first = scratch;
    job.workers = (char *)scratch + job.partition.shared_bytes;
    job.keys = fv__tile_keys_of(run, job.workers - job.partition.keys_bytes);
    fv__keys_prepare(&job.keys, -1, -1);
    const int64_t units = T(count_blocks)(&job) * plan->heads;
    fv__parallel_for((units + job.partition.group - 1) / job.partition.group, T(forward_task), &job);
}
