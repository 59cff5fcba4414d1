/* Backward of TILE for the real type R. See tile.h for the waves.
 *
 *   P = exp(S - LSE)   dV = (P keep)^T dO   dP = keep (dO V^T)   dS = P (dP - delta)
 *   dQ = scale dS K   dK = scale dS^T Q
 *   delta_i = dO_i . O_i - dLSE_i, also with dropout and sinks (then LSE counts the sink, O is the output with it).
 * `scale` is multiplied into the packed values and into delta, so dS leaves the tile already scaled. */

typedef struct T(backward_scratch) {
    R *k, *v;   /* transposed tiles of the chunk: (D or Dv, lanes) each, one after the other */
    R *dk, *dv; /* (chunk, D or Dv) */
    /* (SIDE, D or Dv): those of a tile in strips, so that its sum is one chain however many strips there are */
    R *strip_dk, *strip_dv;
    R *s, *dp, *bias_tile, *keep; /* (SIDE, SIDE) */
    R *start, *end, *ones;        /* SIDE */
    R *dk_transposed;             /* additive scores: gradient of a tile of keys, (D, SIDE) */
    uint64_t live;                /* bit t: tile t of dk and dv has been written by this task */
} T(backward_scratch);

static void T(backward_carve)(const T(job) * job, int worker, T(backward_scratch) * w) {
    char *at = job->workers + (size_t)worker * job->partition.worker_bytes;
    const int64_t chunk = job->partition.chunk, area = FV_TILE_SIDE * FV_TILE_SIDE;
    w->k = T(carve)(&at, chunk * job->plan->d_qk), w->v = T(carve)(&at, chunk * job->plan->d_v);
    w->dk = T(carve)(&at, chunk * job->plan->d_qk), w->dv = T(carve)(&at, chunk * job->plan->d_v);
    w->strip_dk = job->banded ? T(carve)(&at, FV_TILE_SIDE * job->plan->d_qk) : NULL;
    w->strip_dv = job->banded ? T(carve)(&at, FV_TILE_SIDE * job->plan->d_v) : NULL;
    w->s = T(carve)(&at, area), w->dp = T(carve)(&at, area);
    w->bias_tile = job->biased || job->keys.count ? T(carve)(&at, area) : NULL;
    w->keep = job->dropout > 0 ? T(carve)(&at, area) : NULL;
    w->start = T(carve)(&at, FV_TILE_SIDE), w->end = T(carve)(&at, FV_TILE_SIDE), w->ones = T(carve)(&at, FV_TILE_SIDE);
    w->dk_transposed = job->w.data ? T(carve)(&at, job->plan->d_qk * FV_TILE_SIDE) : NULL;
    job->simd->fill(w->ones, 1, FV_TILE_SIDE);
}

/* ---- in the first wave: delta and LSE per row */

static void T(prepare_rows)(const T(job) * job, const fv__sequence *sequence, int64_t head, int64_t i0, int64_t rows,
                            double *sink_sum) {
    const int64_t row = sequence->q_start + i0, b = sequence->batch, dv = job->plan->d_v;
    const int64_t at = (b * job->plan->heads + head) * job->plan->q_len + row;
    R *lse2 = job->lse2 + at, *delta = job->delta + at;
    if (job->dout.data)
        job->simd->dot_rows(delta, T(at)(&job->dout, b, head, row), job->dout.l, T(at)(&job->out, b, head, row),
                            job->out.l, rows, dv);
    else
        memset(delta, 0, (size_t)rows * sizeof(R));
    const fv_tensor *lse = &job->x->t[FV_LSE], *dlse = &job->x->d[FV_LSE];
    const R *from = (const R *)lse->data + b * lse->stride[0] + head * lse->stride[1] + row * lse->stride[2];
    const R *d = dlse->rank
                     ? (const R *)dlse->data + b * dlse->stride[0] + head * dlse->stride[1] + row * dlse->stride[2]
                     : NULL;
    const R log2e = (R)1.44269504088896340736, scale = (R)job->plan->options.scale;
    const double sink = job->sinks ? (double)T(per_head)(job, job->sinks, FV_SINKS, head) : -INFINITY;
    /* A sink further above takes all: weights of e^-40 instead of less, so that they and the gain of dLSE stay normal
     * numbers. */
    enum { FAR_SINK = 40 };
    for (int64_t r = 0; r < rows; r++) {
        const double own = (double)from[r * lse->stride[2]];
        double all = own, gain = 1;
        if (job->sinks) { /* the weights are those of the softmax with the sink in its denominator */
            all = T(with_sink)(own, sink);
            gain = exp(fmin(all - own, FAR_SINK));
            if (own > -INFINITY) *sink_sum -= exp(sink - all) * (double)delta[r];
        }
        if (d && own > -INFINITY) delta[r] -= (R)((double)d[r * dlse->stride[2]] * gain);
        all = fmin(all, own + FAR_SINK);
        lse2[r] = own == -INFINITY ? (R)INFINITY : (R)all * log2e; /* nothing seen: weights exp2(s - inf) = 0 */
        delta[r] = own == -INFINITY ? 0 : delta[r] * scale;
    }
}

/* ---- one tile: up to SIDE queries from i0, up to SIDE keys from j0 */

typedef struct T(tile_pair) {
    const fv__sequence *sequence;
    const fv__drop *drop;
    int64_t head, kv, i0, rows, j0, keys, lanes, task;
    int64_t ld, row0;          /* stride of kt and vt; row 0 of a strip among the queries of the block */
    const R *q, *k, *dout;     /* first row of the tile in the caller's tensors */
    R *kt, *vt, *dk, *dv;      /* the tile of the chunk: transposed, gradients */
    bool boundary, bit_masked; /* a band, a partial tile of the patterns of keys is in it */
    fv__gemm_mode more,
        more_q; /* how the tile joins dk and dv, and dq: OVERWRITE as long as they have not been written */
} T(tile_pair);

/* Where the task keeps its partial sum of a gradient that has one number per head. */
static double *T(partial_of_head)(const T(job) * job, double *partials, const T(tile_pair) * p) {
    const int64_t group = job->plan->heads / job->plan->kv_heads;
    return partials + p->task * group + p->head % group;
}

static void T(store_bias)(const T(job) * job, const T(backward_scratch) * w, const T(tile_pair) * p) {
    const T(view) *b = &job->dbias;
    const SIMD *simd = job->simd;
    const R unscale = (R)(1 / job->plan->options.scale), distance = (R)(p->i0 + p->sequence->q_offset - p->j0);
    if (job->slope_sum)
        *T(partial_of_head)(job, job->slope_sum, p) +=
            (double)(unscale * simd->alibi_backward(w->bias_tile, p->rows, p->lanes, distance, 1, -1));
    if (!b->data) return;
    for (int64_t r = 0; r < p->rows; r++) {
        const R *from = w->bias_tile + r * p->lanes;
        R *to = T(at)(b, p->sequence->batch, p->head, p->sequence->q_start + p->i0 + r) +
                (p->sequence->k_start + p->j0) * b->d;
        if (job->bias_sum)
            *T(partial_of_head)(job, job->bias_sum, p) += (double)(unscale * simd->sum(from, p->keys));
        else if (b->d == 1)
            simd->axpy(to, unscale, from, p->keys);
        else
            for (int64_t c = 0; c < p->keys; c++) to[c * b->d] += unscale * from[c];
    }
}

static void T(band_rows)(const T(job) * job, T(backward_scratch) * w, const T(tile_pair) * p,
                         const T(visible_ranges) * visible) {
    for (int64_t r = 0; r < p->rows; r++) {
        w->start[r] = job->banded ? (R)(visible->start[p->row0 + r] - p->j0) : 0;
        const int64_t end = job->banded ? visible->end[p->row0 + r] - p->j0 : p->keys;
        w->end[r] = (R)(end < p->keys ? end : p->keys);
    }
}

static void T(zero_rows)(R *p, int64_t ld, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; r++) memset(p + r * ld, 0, (size_t)cols * sizeof(R));
}

/* dQ, dK and dw of additive scores; the kernel adds. */
static void T(additive_sums)(const T(job) * job, T(backward_scratch) * w, const T(tile_pair) * p, R *dq) {
    const int64_t d = job->plan->d_qk, group = job->plan->heads / job->plan->kv_heads;
    R *dw = job->w_sum + (p->task * group + p->head % group) * d;
    if (dq && p->more_q == FV_GEMM_OVERWRITE) T(zero_rows)(dq, job->dq.l, p->rows, d);
    job->simd->fill(w->dk_transposed, 0, d * p->lanes);
    job->simd->additive_scores_backward(dq, job->dq.l, job->dk.data ? w->dk_transposed : NULL, dw, w->dp, p->q,
                                        job->q.l, p->kt, p->lanes, job->w.data + p->head * job->w.h, p->rows, d);
    if (job->dk.data)
        job->simd->unpack(p->dk, d, w->dk_transposed, p->lanes, p->keys, d, w->ones, p->more != FV_GEMM_OVERWRITE);
}

/* dV += P^T dO, dK += dS^T Q, dQ += dS K of one tile */
static void T(tile_pair_gemms)(const T(job) * job, T(backward_scratch) * w, const T(tile_pair) * p, bool masked) {
    const SIMD *simd = job->simd;
    const int64_t lanes = p->lanes, d = job->plan->d_qk, dv = job->plan->d_v;
    void (*gemm)(R *, int64_t, const R *, int64_t, int64_t, const R *, int64_t, int64_t, int64_t, int64_t,
                 fv__gemm_mode) = masked ? simd->gemm_masked : simd->gemm;
    R *dq = job->dq.data ? T(at)(&job->dq, p->sequence->batch, p->head, p->sequence->q_start + p->i0) : NULL;
    if (job->dv.data && p->dout) gemm(p->dv, dv, w->s, 1, lanes, p->dout, job->dout.l, p->keys, dv, p->rows, p->more);
    if (job->w.data) {
        T(additive_sums)(job, w, p, dq);
        return;
    }
    if (job->dk.data) gemm(p->dk, d, w->dp, 1, lanes, p->q, job->q.l, p->keys, d, p->rows, p->more);
    if (dq) gemm(dq, job->dq.l, w->dp, lanes, 1, p->k, job->k.l, p->rows, d, p->keys, p->more_q);
}

/* What the patterns of keys hide becomes -inf in the bias tile. */
static void T(bits_into_bias)(const T(job) * job, const T(backward_scratch) * w, const T(tile_pair) * p) {
    uint64_t words[FV_TILE_SIDE];
    fv__keys_bits(&job->keys, &(fv__query_block){p->sequence, p->head, p->i0, p->i0 + p->rows}, p->j0, words);
    if (!job->biased) job->simd->fill(w->bias_tile, 0, p->rows * p->lanes);
    job->simd->bit_mask(w->bias_tile, p->rows, p->lanes, words);
}

static void T(tile_pair_step)(const T(job) * job, T(backward_scratch) * w, const T(tile_pair) * p,
                              const T(visible_ranges) * visible) {
    const SIMD *simd = job->simd;
    const fv_attention_plan *plan = job->plan;
    const int64_t lanes = p->lanes, row = p->sequence->q_start + p->i0, d = plan->d_qk, dv = plan->d_v;
    const int64_t at = (p->sequence->batch * plan->heads + p->head) * plan->q_len + row;
    const R *wh = job->w.data ? job->w.data + p->head * job->w.h : NULL;
    if (wh)
        simd->additive_scores(w->s, p->q, job->q.l, p->kt, lanes, wh, p->rows, d, job->scale2);
    else
        simd->gemm(w->s, lanes, p->q, job->q.l, 1, p->kt, p->ld, p->rows, lanes, d, FV_GEMM_OVERWRITE);
    if (p->dout)
        simd->gemm(w->dp, lanes, p->dout, job->dout.l, 1, p->vt, p->ld, p->rows, lanes, dv, FV_GEMM_OVERWRITE);
    else
        simd->fill(w->dp, 0, p->rows * lanes);
    if (job->biased) T(fill_bias_tile)(job, p->sequence, p->head, p->i0, p->rows, p->j0, p->keys, w->bias_tile, lanes);
    if (p->bit_masked) T(bits_into_bias)(job, w, p);
    if (w->keep) simd->drop_rows(w->keep, p->rows, lanes, p->i0, p->j0, p->drop);
    const bool biased = job->biased || p->bit_masked, hidden = p->boundary || biased || wh;
    if (hidden) T(band_rows)(job, w, p, visible);
    simd->softmax_backward_from_lse(w->s, w->dp, p->rows, lanes, job->lse2 + at, job->delta + at,
                                    hidden ? w->start : NULL, hidden ? w->end : NULL, biased ? w->bias_tile : NULL,
                                    w->keep, job->cap2);
    if (job->dbias.data || job->slope_sum) T(store_bias)(job, w, p);
    const bool masked =
        hidden && !(simd->finite_tile(p->q, job->q.l, p->rows, d) && simd->finite_tile(p->k, job->k.l, p->keys, d) &&
                    (!p->dout || simd->finite_tile(p->dout, job->dout.l, p->rows, dv)));
    T(tile_pair_gemms)(job, w, p, masked);
}

static void T(join)(const T(job) * job, R *to, const R *from, int64_t count, fv__gemm_mode how) {
    if (how == FV_GEMM_OVERWRITE)
        memcpy(to, from, (size_t)count * sizeof(R));
    else
        job->simd->add(to, to, from, count);
}

/* A boundary tile, in strips of queries: of each only the keys between its first and its last visible one are
 * computed. */
static void T(tile_pair_strips)(const T(job) * job, T(backward_scratch) * w, const T(tile_pair) * tile,
                                const T(visible_ranges) * visible) {
    const int64_t d = job->plan->d_qk, dv = job->plan->d_v, width = job->simd->width;
    const int64_t height = FV_TILE_SIDE / 4;
    T(zero_rows)(w->strip_dk, d, tile->keys, d), T(zero_rows)(w->strip_dv, dv, tile->keys, dv);
    for (int64_t r = 0; r < tile->rows; r += height) {
        T(tile_pair) p = *tile;
        p.row0 = r, p.i0 += r, p.rows = tile->rows - r < height ? tile->rows - r : height, p.more = FV_GEMM_CONTINUE;
        p.q += r * job->q.l;
        if (p.dout) p.dout += r * job->dout.l;
        int64_t first = visible->start[r] - p.j0, end = visible->end[r + p.rows - 1] - p.j0;
        first = first < 0 ? 0 : first & ~(int64_t)15, end = end < p.keys ? end : p.keys;
        if (first < end) {
            p.j0 += first, p.keys = end - first, p.lanes = (p.keys + width - 1) / width * width;
            p.k += first * job->k.l, p.kt += first, p.vt += first, p.dk = w->strip_dk + first * d,
                                                                   p.dv = w->strip_dv + first * dv;
            T(tile_pair_step)(job, w, &p, visible);
        } else if (p.more_q == FV_GEMM_OVERWRITE && job->dq.data)
            T(zero_rows)(T(at)(&job->dq, p.sequence->batch, p.head, p.sequence->q_start + p.i0), job->dq.l, p.rows, d);
    }
    T(join)(job, tile->dk, w->strip_dk, tile->keys * d, tile->more);
    T(join)(job, tile->dv, w->strip_dv, tile->keys * dv, tile->more);
}

/* ---- one task of a wave */

static int64_t T(tile_lanes)(const T(job) * job, int64_t keys) {
    const int64_t width = job->simd->width;
    return keys < FV_TILE_SIDE ? (keys + width - 1) / width * width : FV_TILE_SIDE;
}

/* The keys and values of a tile, whose first is number `at` of the chunk. */
static void T(tile_load)(const T(job) * job, T(backward_scratch) * w, const fv__sequence *s, int64_t kv, int64_t j,
                         int64_t keys, int64_t at) {
    const int64_t d = job->plan->d_qk, dv = job->plan->d_v, lanes = T(tile_lanes)(job, keys);
    job->simd->pack(w->k + at * d, lanes, T(at)(&job->k, s->batch, kv, s->k_start + j), job->k.l, keys, d,
                    job->w.data ? 1 : job->scale2);
    job->simd->pack(w->v + at * dv, lanes, T(at)(&job->v, s->batch, kv, s->k_start + j), job->v.l, keys, dv,
                    (R)job->plan->options.scale);
}

/* All tiles at once; with patterns of keys each when it is first met, for most may not be. */
static void T(chunk_load)(const T(job) * job, T(backward_scratch) * w, const fv__sequence *s, int64_t kv, int64_t j0,
                          int64_t j1) {
    w->live = 0;
    for (int64_t j = j0; j < j1 && !job->keys.count; j += FV_TILE_SIDE)
        T(tile_load)(job, w, s, kv, j, j1 - j < FV_TILE_SIDE ? j1 - j : FV_TILE_SIDE, j - j0);
}

/* Rows j0.. of a gradient: the first wave writes, later ones add. */
static void T(tile_store)(const T(job) * job, const T(backward_scratch) * w, R *to, int64_t ld, const R *from,
                          int64_t keys, int64_t cols, bool live) {
    if (job->wave > 0) {
        for (int64_t r = 0; live && r < keys; r++) job->simd->axpy(to + r * ld, 1, from + r * cols, cols);
    } else if (live)
        job->simd->scale_rows(to, ld, from, cols, keys, cols, w->ones);
    else
        T(zero_rows)(to, ld, keys, cols);
}

static void T(chunk_store)(const T(job) * job, const T(backward_scratch) * w, const fv__sequence *s, int64_t kv,
                           int64_t j0, int64_t j1) {
    const int64_t d = job->plan->d_qk, dv = job->plan->d_v;
    for (int64_t j = j0; j < j1; j += FV_TILE_SIDE) {
        const int64_t keys = j1 - j < FV_TILE_SIDE ? j1 - j : FV_TILE_SIDE, row = s->k_start + j, at = j - j0;
        const bool live = w->live >> (at / FV_TILE_SIDE) & 1;
        if (job->dk.data)
            T(tile_store)(job, w, T(at)(&job->dk, s->batch, kv, row), job->dk.l, w->dk + at * d, keys, d, live);
        if (job->dv.data) T(tile_store)
        (job, w, T(at)(&job->dv, s->batch, kv, row), job->dv.l, w->dv + at * dv, keys, dv, live && job->dout.data);
    }
}

/* SIDE queries against the keys [j0, j1) of the chunk */
static void T(query_block)(const T(job) * job, T(backward_scratch) * w, T(tile_pair) * p, int64_t j0, int64_t j1,
                           T(prefetch_stream) * stream) {
    const fv__sequence *s = p->sequence;
    T(visible_ranges) visible;
    T(visible_ranges_of)(job, s, p->i0, p->rows, &visible);
    const int64_t row = s->q_start + p->i0;
    p->q = T(at)(&job->q, s->batch, p->head, row);
    p->dout = job->dout.data ? T(at)(&job->dout, s->batch, p->head, row) : NULL;
    p->more_q = job->wave > 0 ? FV_GEMM_ACCUMULATE : FV_GEMM_OVERWRITE;
    const fv__query_block q = {s, p->head, p->i0, p->i0 + p->rows};
    for (int64_t j = j0; j < j1; j += FV_TILE_SIDE) {
        if (job->keys.skips && (j = fv__keys_next(&job->keys, &q, j) / FV_TILE_SIDE * FV_TILE_SIDE) >= j1) break;
        p->j0 = j, p->keys = j1 - j < FV_TILE_SIDE ? j1 - j : FV_TILE_SIDE, p->lanes = T(tile_lanes)(job, p->keys);
        T(prefetch)(stream);
        if (j >= visible.any_end || j + p->keys <= visible.any) continue;
        const int64_t tile = (j - j0) / FV_TILE_SIDE;
        if (job->keys.count) {
            const fv_block_kind kind = fv__keys_kind(&job->keys, &q, j, j + p->keys);
            if (kind == FV_BLOCK_EMPTY) continue;
            p->bit_masked = kind == FV_BLOCK_PARTIAL;
            if (!(w->live >> tile & 1)) T(tile_load)(job, w, s, p->kv, j, p->keys, j - j0);
        }
        p->boundary = j < visible.every || j + p->keys > visible.every_end;
        p->k = T(at)(&job->k, s->batch, p->kv, s->k_start + j);
        p->kt = w->k + (j - j0) * job->plan->d_qk, p->dk = w->dk + (j - j0) * job->plan->d_qk;
        p->vt = w->v + (j - j0) * job->plan->d_v, p->dv = w->dv + (j - j0) * job->plan->d_v;
        p->more = w->live >> tile & 1 ? FV_GEMM_ACCUMULATE : FV_GEMM_OVERWRITE, p->ld = p->lanes;
        if (p->boundary && !job->w.data)
            T(tile_pair_strips)(job, w, p, &visible);
        else
            T(tile_pair_step)(job, w, p, &visible);
        w->live |= UINT64_C(1) << tile, p->more_q = FV_GEMM_ACCUMULATE;
    }
    if (p->more_q == FV_GEMM_OVERWRITE && job->dq.data)
        T(zero_rows)(T(at)(&job->dq, s->batch, p->head, row), job->dq.l, p->rows, job->plan->d_qk);
}

/* Does any query of [i0, i1) see any key of [j0, j1)? */
static bool T(any_visible)(const T(job) * job, const fv__sequence *s, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
    if (i0 >= i1 || j0 >= j1) return false;
    int64_t start, end, ignored;
    fv__attn_visible(job->plan, s, i0, &start, &ignored);
    fv__attn_visible(job->plan, s, i1 - 1, &ignored, &end);
    return start < j1 && end > j0;
}

/* A chunk of keys of one kv head and the chunk of queries of this wave. */
typedef struct T(chunk_pair) {
    fv__sequence sequence;
    int64_t index, kv, i0, i1, j0, j1;
    bool skip; /* nothing to do: fewer chunks than waves, or another group is running */
} T(chunk_pair);

static int64_t T(rows_of)(const fv__sequence *s) { return s->q_len > s->k_len ? s->q_len : s->k_len; }

static T(chunk_pair) T(chunk_pair_of)(const T(job) * job, int64_t index) {
    const int64_t kv_heads = job->plan->kv_heads;
    T(chunk_pair) m = {.index = index};
    int64_t number, ignored;
    fv__tile_locate(job->first, job->plan->sequences, index / kv_heads, &number, &ignored);
    const int64_t chunks = job->first[number + 1] - job->first[number], rest = index - job->first[number] * kv_heads;
    const int64_t chunk = rest % chunks;
    const int64_t other = job->antidiagonal ? (job->wave + chunks - chunk) % chunks : (chunk + job->wave) % chunks;
    m.sequence = fv__attn_sequence(job->run, number), m.kv = rest / chunks;
    const int64_t size = fv__tile_chunk(job->plan, T(rows_of)(&m.sequence));
    m.skip = job->wave >= chunks || (job->exclusive >= 0 && job->exclusive != m.sequence.batch * kv_heads + m.kv);
    m.j0 = chunk * size, m.j1 = m.j0 + size < m.sequence.k_len ? m.j0 + size : m.sequence.k_len;
    m.i0 = other * size, m.i1 = m.i0 + size < m.sequence.q_len ? m.i0 + size : m.sequence.q_len;
    return m;
}

/* In wave 0 every row of a gradient is written once, also where nothing is visible. */
static void T(first_wave)(const T(job) * job, const T(chunk_pair) * m, bool any) {
    const int64_t group = job->plan->heads / job->plan->kv_heads, d = job->plan->d_qk, dv = job->plan->d_v;
    const fv__sequence *s = &m->sequence;
    for (int64_t g = 0; g < group && m->i0 < m->i1; g++) {
        const int64_t head = m->kv * group + g, rows = m->i1 - m->i0;
        double sink_sum = 0;
        T(prepare_rows)(job, s, head, m->i0, rows, &sink_sum);
        if (job->sink_sum) job->sink_sum[m->index * group + g] = sink_sum;
        if (!any && job->dq.data) T(zero_rows)(T(at)(&job->dq, s->batch, head, s->q_start + m->i0), job->dq.l, rows, d);
    }
    if (any || m->j0 >= m->j1) return;
    if (job->dk.data) T(zero_rows)(T(at)(&job->dk, s->batch, m->kv, s->k_start + m->j0), job->dk.l, m->j1 - m->j0, d);
    if (job->dv.data) T(zero_rows)(T(at)(&job->dv, s->batch, m->kv, s->k_start + m->j0), job->dv.l, m->j1 - m->j0, dv);
}

/* While a block of queries is worked on: the block after it, or what the next chunk pair begins with. */
static void T(backward_prefetch)(const T(job) * job, const T(chunk_pair) * now, const T(chunk_pair) * next,
                                 const T(tile_pair) * p, T(prefetch_stream) * a) {
    const int64_t group = job->plan->heads / job->plan->kv_heads, side = FV_TILE_SIDE;
    const int64_t d = job->plan->d_qk, dv = job->plan->d_v, after = p->i0 + side, rows = now->i1 - after;
    *a = (T(prefetch_stream)){.count = 0};
    if (rows > 0) {
        const int64_t b = now->sequence.batch, row = now->sequence.q_start + after, some = rows < side ? rows : side;
        T(prefetch_add)(a, &job->dq, b, p->head, row, d, some);
        T(prefetch_add)(a, &job->dout, b, p->head, row, dv, some);
        T(prefetch_add)(a, &job->q, b, p->head, row, d, some);
    } else if (next && (p->head + 1) % group == 0) {
        const fv__sequence *s = &next->sequence;
        const int64_t head = next->kv * group, row = s->q_start + next->i0, queries = next->i1 - next->i0;
        if (job->wave == 0) T(prefetch_add)(a, &job->out, s->batch, head, row, dv, queries);
        T(prefetch_add)(a, &job->dout, s->batch, head, row, dv, queries);
        T(prefetch_add)(a, &job->q, s->batch, head, row, d, queries);
        T(prefetch_add)(a, &job->v, s->batch, next->kv, s->k_start + next->j0, dv, next->j1 - next->j0);
        T(prefetch_add)(a, &job->k, s->batch, next->kv, s->k_start + next->j0, d, next->j1 - next->j0);
    }
    T(prefetch_share)(a, (now->j1 - now->j0 + side - 1) / side);
}

/* Do the patterns of keys let any head of the group see anything here? */
static bool T(any_kept)(const T(job) * job, const T(chunk_pair) * m) {
    const int64_t group = job->plan->heads / job->plan->kv_heads;
    for (int64_t head = m->kv * group; head < (m->kv + 1) * group; head++) {
        const fv__query_block q = {&m->sequence, head, m->i0, m->i1};
        if (fv__keys_kind(&job->keys, &q, m->j0, m->j1) != FV_BLOCK_EMPTY) return true;
    }
    return false;
}

static void T(chunk_pair_run)(const T(job) * job, T(backward_scratch) * w, const T(chunk_pair) * m,
                              const T(chunk_pair) * next) {
    const fv_attention_plan *plan = job->plan;
    const int64_t group = plan->heads / plan->kv_heads;
    const fv__sequence *s = &m->sequence;
    if (m->skip) return;
    const bool any = T(any_visible)(job, s, m->i0, m->i1, m->j0, m->j1) && (!job->keys.count || T(any_kept)(job, m));
    if (job->wave == 0) T(first_wave)(job, m, any);
    if (!any) return;
    T(prefetch_stream) stream = {.count = 0};
    T(chunk_load)(job, w, s, m->kv, m->j0, m->j1);
    for (int64_t head = m->kv * group; head < (m->kv + 1) * group; head++) {
        const fv__drop drop =
            fv__drop_of(job->dropout, job->run->call.seed, (uint64_t)(s->number * plan->heads + head));
        T(tile_pair) p = {.sequence = s, .drop = &drop, .head = head, .kv = m->kv, .task = m->index};
        for (p.i0 = m->i0; p.i0 < m->i1; p.i0 += FV_TILE_SIDE) {
            p.rows = m->i1 - p.i0 < FV_TILE_SIDE ? m->i1 - p.i0 : FV_TILE_SIDE;
            if (job->prefetches) T(backward_prefetch)(job, m, next, &p, &stream);
            T(query_block)(job, w, &p, m->j0, m->j1, &stream);
        }
    }
    T(chunk_store)(job, w, s, m->kv, m->j0, m->j1);
}

static void T(wave_task)(void *context, int64_t index, int worker) {
    const T(job) *job = context;
    const int64_t all = job->first[job->plan->sequences] * job->plan->kv_heads, start = index * job->partition.group;
    T(backward_scratch) w;
    T(backward_carve)(job, worker, &w);
    T(chunk_pair) m = T(chunk_pair_of)(job, start), next = m;
    for (int64_t n = start; n < start + job->partition.group && n < all; n++, m = next) {
        if (n + 1 < all) next = T(chunk_pair_of)(job, n + 1);
        T(chunk_pair_run)(job, &w, &m, n + 1 < all ? &next : NULL);
    }
}

/* ---- the whole */

static int64_t T(count_chunks)(const T(job) * job, int64_t *most) {
    int64_t count = 0;
    *most = 0;
    for (int64_t n = 0; n < job->plan->sequences; n++) {
        const fv__sequence s = fv__attn_sequence(job->run, n);
        const int64_t size = fv__tile_chunk(job->plan, T(rows_of)(&s)), chunks = (T(rows_of)(&s) + size - 1) / size;
        job->first[n] = count, count += chunks;
        if (chunks > *most) *most = chunks;
    }
    return job->first[job->plan->sequences] = count;
}

/* Gradients with one number per head: the partials of all tasks, in their order. */
static void T(combine)(const T(job) * job, const double *partial, const fv_tensor *to, bool bias) {
    const fv_attention_plan *plan = job->plan;
    const int64_t heads_of_task = plan->kv_heads, per_task = plan->heads / plan->kv_heads;
    for (int64_t n = 0; n < plan->sequences; n++) {
        const int64_t tasks = job->first[n + 1] - job->first[n];
        for (int64_t t = 0; t < tasks * heads_of_task; t++)
            for (int64_t g = 0; g < per_task; g++) {
                const int64_t head = t / tasks * per_task + g;
                R *p = (R *)to->data;
                if (bias)
                    p += (to->dim[0] == 1 ? 0 : n * to->stride[0]) + (to->dim[1] == 1 ? 0 : head * to->stride[1]);
                else
                    p += head * to->stride[0];
                *p += (R)partial[(job->first[n] * heads_of_task + t) * per_task + g];
            }
    }
}

/* The gradient of w: partial[task][head of the group][c] over all tasks in their order. */
static void T(combine_w)(const T(job) * job, const fv_tensor *to) {
    const int64_t group = job->plan->heads / job->plan->kv_heads, d = job->plan->d_qk;
    for (int64_t h = 0; h < to->dim[0]; h++)
        for (int64_t c = 0; c < d; c++) ((R *)to->data)[h * to->stride[0] + c * to->stride[1]] = 0;
    for (int64_t n = 0; n < job->plan->sequences; n++) {
        const int64_t tasks = job->first[n + 1] - job->first[n];
        for (int64_t t = 0; t < tasks * job->plan->kv_heads; t++)
            for (int64_t g = 0; g < group; g++) {
                const R *partial = job->w_sum + ((job->first[n] * job->plan->kv_heads + t) * group + g) * d;
                R *p = (R *)to->data + (t / tasks * group + g) * to->stride[0];
                for (int64_t c = 0; c < d; c++) p[c * to->stride[1]] += partial[c];
            }
    }
}

/* When a gradient of the bias is shared by batches or heads, their tasks must not run side by side. */
static int64_t T(exclusive_groups)(const T(job) * job) {
    const fv_tensor *b = &job->x->d[FV_BIAS];
    const bool shared =
        b->rank && ((b->dim[0] == 1 && job->plan->batch > 1) || (b->dim[1] == 1 && job->plan->heads > 1));
    return shared ? job->plan->batch * job->plan->kv_heads : 0;
}

static void T(zero_heads)(const fv_tensor *t) {
    for (int64_t h = 0; t->rank && h < t->dim[0]; h++) ((R *)t->data)[h * t->stride[0]] = 0;
}

static void T(backward)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    T(job) job = T(job_of)(run, true);
    const int64_t rows = plan->batch * plan->heads * plan->q_len;
    const fv_tensor *b = &x->d[FV_BIAS];
    job.dq = T(view_of)(&x->d[FV_Q]), job.dk = T(view_of)(&x->d[FV_K]), job.dv = T(view_of)(&x->d[FV_V]);
    job.dout = T(view_of)(&x->d[FV_OUT]), job.dbias = T(view_of)(b);
    job.antidiagonal = plan->window_right >= 0 && plan->window_left < 0;
    char *at = scratch;
    job.first = (int64_t *)at, at += (size_t)(plan->sequences + 8) / 8 * 64;
    job.lse2 = T(carve)(&at, rows), job.delta = T(carve)(&at, rows);
    double *partials = (double *)at;
    job.workers = (char *)scratch + job.partition.shared_bytes;
    job.keys = fv__tile_keys_of(run, job.workers - job.partition.keys_bytes);
    fv__keys_prepare(&job.keys, -1, -1);
    int64_t most;
    const int64_t tasks = T(count_chunks)(&job, &most) * plan->kv_heads, groups = T(exclusive_groups)(&job);
    const int64_t numbers = tasks ? tasks * (plan->heads / plan->kv_heads) : 0;
    memset(partials, 0, (size_t)(numbers * 3) * sizeof(double));
    job.sink_sum = x->d[FV_SINKS].rank ? partials : NULL;
    job.slope_sum = x->d[FV_SLOPES].rank ? partials + numbers : NULL;
    job.bias_sum = b->rank && b->dim[2] == 1 && b->dim[3] == 1 ? partials + 2 * numbers : NULL;
    job.w_sum = (R *)(partials + 3 * numbers);
    if (job.w.data) memset(job.w_sum, 0, (size_t)(numbers * plan->d_qk) * sizeof(R));
    T(zero)(b), T(zero_heads)(&x->d[FV_SINKS]), T(zero_heads)(&x->d[FV_SLOPES]);
    if (plan->heads == 0) return;
    if (x->t[FV_KV_LEN].rank) T(zero)(&x->d[FV_K]), T(zero)(&x->d[FV_V]); /* rows no chunk has */
    for (job.exclusive = groups ? 0 : -1; job.exclusive < groups; job.exclusive++)
        for (job.wave = 0; job.wave < most; job.wave++)
            fv__parallel_for((tasks + job.partition.group - 1) / job.partition.group, T(wave_task), &job);
    if (job.sink_sum) T(combine)(&job, job.sink_sum, &x->d[FV_SINKS], false);
    if (job.slope_sum) T(combine)(&job, job.slope_sum, &x->d[FV_SLOPES], false);
    if (job.bias_sum) T(combine)(&job, job.bias_sum, b, true);
    if (job.w.data && x->d[FV_W0].rank) T(combine_w)(&job, &x->d[FV_W0]);
}
