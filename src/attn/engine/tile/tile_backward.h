/* Backward of TILE for the real type R. See tile.h for the waves.
 *
 *   P = exp(S - LSE)   dV = (P keep)^T dO   dP = keep (dO V^T)   dS = P (dP - delta)
 *   dQ = scale dS K   dK = scale dS^T Q
 *   delta_i = dO_i . O_i - dLSE_i, also with dropout and sinks (then LSE counts the sink, O is the output with it).
 * `scale` is multiplied into the packed values and into delta, so dS leaves the tile already scaled. Scores are made of
 * the same operands in the same order as in the forward: they have its bits. */

typedef struct T(backward_scratch) {
    R *k, *v;   /* transposed tiles of the chunk: (D or Dv, lanes) each, one after the other */
    R *dk, *dv; /* (chunk, D or Dv) */
    /* (SIDE, D or Dv): those of a tile in strips, so that its sum is one chain however many strips there are */
    R *strip_dk, *strip_dv;
    R *q;                         /* (SIDE, D): the queries of a block, scaled */
    R *s, *dp, *bias_tile, *keep; /* (SIDE, SIDE) */
    R *start, *end, *ones;        /* SIDE */
    R *scales;                    /* SIDE times what the queries are multiplied with */
    R *dk_transposed;             /* a base of its own: gradient of a tile of keys, (D, SIDE) */
    R *score;                     /* of what joins the scores */
    char *norms;                  /* of tile_norm.h */
    uint64_t live;                /* bit t: tile t of dk and dv has been written by this task */
} T(backward_scratch);

static void T(backward_carve)(const T(job) * job, int worker, T(backward_scratch) * w) {
    char *at = job->workers + (size_t)worker * job->partition.worker_bytes;
    const fv__tile_partition *p = &job->partition;
#define REGION(name, rows, columns, when) w->name = (when) ? T(carve)(&at, (rows) * (columns)) : NULL;
#include "attn/engine/tile/tile_backward_regions.def"
#undef REGION
    w->norms = at;
    job->simd->fill(w->ones, 1, job->sizes.side);
    if (w->scales) job->simd->fill(w->scales, T(query_scale)(job), job->sizes.side);
}

/* ---- in the first wave: delta and the denominator of each row */

/* A sink further above takes all, in units of log 2: with a gradient of LSE, which is of the sum without the sink,
 * weights stay so large that they times the gain are its weights. Without one they may vanish as in the forward. */
static double T(far_sink)(const T(job) * job) { return job->x->d[FV_LSE].rank ? sizeof(R) == 4 ? 80 : 800 : INFINITY; }

static void T(prepare_rows)(const T(job) * job, const T(backward_scratch) * w, const fv__sequence *sequence,
                            int64_t head, int64_t i0, int64_t rows, double *sink_sum) {
    const int64_t row = sequence->q_start + i0, b = sequence->batch, dv = job->plan->d_v;
    const int64_t at = (b * job->plan->heads + head) * job->plan->q_len + row;
    R *delta = job->delta + at;
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
    const R scale = (R)job->plan->options.scale;
    T(sums) sums;
    T(sums_begin)(job, w->norms, sequence, head, &sums);
    for (int64_t r = 0; r < rows; r++) {
        const R own = from[r * lse->stride[2]];
        if (!job->sinks && !d && own < (R)FV_TILE_FAR && own > (R)-FV_TILE_FAR) { /* nearly always */
            job->norm[at + r] = (R)((double)own * 1.44269504088896340736), job->rest[at + r] = 0, delta[r] *= scale;
            continue;
        }
        const T(denominator) n = T(denominator_of)(job, &sums, i0 + r, T(far_sink)(job));
        if (n.seen) *sink_sum -= n.sink * (double)delta[r];
        if (d && n.seen) delta[r] -= (R)((double)d[r * dlse->stride[2]] * n.gain);
        job->norm[at + r] = n.norm, job->rest[at + r] = n.rest;
        delta[r] = n.seen ? delta[r] * scale : 0;
    }
}

/* ---- one tile: up to SIDE queries from i0, up to SIDE keys from j0 */

typedef struct T(tile_pair) {
    const fv__sequence *sequence;
    const fv__drop *drop;
    int64_t head, kv, i0, rows, j0, keys, lanes, task;
    int64_t ld, row0;      /* stride of kt and vt; row 0 of a strip among the queries of the block */
    const R *q, *k, *dout; /* first row of the tile in the caller's tensors */
    const R *scaled;       /* the same rows of q as the scores take them, scaled_ld apart */
    int64_t scaled_ld;
    R *kt, *vt, *dk, *dv;      /* the tile of the chunk: transposed, gradients */
    bool boundary, bit_masked; /* a band, a partial tile of the patterns of keys is in it */
    bool far;                  /* some row has a rest */
    fv__gemm_mode more,
        more_q; /* how the tile joins dk and dv, and dq: OVERWRITE as long as they have not been written */
} T(tile_pair);

/* Where the task keeps its parts of a gradient; NULL: none. */
static void *T(parts_of)(const T(job) * job, const fv__score_use *u, int64_t task, int64_t head) {
    const int64_t group = job->plan->heads / job->plan->kv_heads;
    return u->parts ? u->parts + (size_t)(task * group + head % group) * u->part_bytes : NULL;
}

static fv__score_tile T(pair_tile)(const T(job) * job, const T(backward_scratch) * w, const T(tile_pair) * p) {
    return T(score_tile)(job, p->sequence, p->head, p->i0, p->rows, p->j0, p->keys, w->score);
}

/* The bias tile holds its gradient. */
static void T(bias_gradients)(const T(job) * job, const T(backward_scratch) * w, const T(tile_pair) * p) {
    const fv__score_tile tile = T(pair_tile)(job, w, p);
    for (int n = 0; n < job->bias_count; n++) {
        const fv__score_use *u = &job->biases[n];
        if (u->kernels->grad && job->x->d[u->score->operand].rank)
            u->kernels->grad(&tile, w->bias_tile, p->lanes, T(parts_of)(job, u, p->task, p->head));
    }
}

static void T(term_gradients)(const T(job) * job, const T(backward_scratch) * w, const T(tile_pair) * p) {
    const fv__score_tile tile = T(pair_tile)(job, w, p);
    for (int n = 0; n < job->term_count; n++)
        job->terms[n].kernels->grad(&tile, w->dp, p->lanes, T(parts_of)(job, &job->terms[n], p->task, p->head));
}

static void T(add_pair_terms)(const T(job) * job, const T(backward_scratch) * w, const T(tile_pair) * p) {
    const fv__score_tile tile = T(pair_tile)(job, w, p);
    const int64_t count = p->rows * p->lanes;
    T(fill_term_tile)(job, &tile, w->bias_tile, p->lanes);
    job->simd->scale(w->bias_tile, job->scale2, w->bias_tile, count);
    job->simd->add(w->s, w->s, w->bias_tile, count);
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

/* dQ, dK and the parts of a base with a function of its own, which adds. */
static void T(base_gradients)(const T(job) * job, T(backward_scratch) * w, const T(tile_pair) * p, R *dq) {
    const int64_t d = job->plan->d_qk;
    const fv__score_tile tile = T(pair_tile)(job, w, p);
    const fv__score_product product = {p->q, p->kt, job->q.l, p->lanes, p->rows, 0, d};
    if (dq && p->more_q == FV_GEMM_OVERWRITE) T(zero_rows)(dq, job->dq.l, p->rows, d);
    job->simd->fill(w->dk_transposed, 0, d * p->lanes);
    job->base.kernels->base_grad(&tile, w->dp, &product, dq, job->dq.l, job->dk.data ? w->dk_transposed : NULL,
                                 T(parts_of)(job, &job->base, p->task, p->head));
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
    if (job->own_base) {
        T(base_gradients)(job, w, p, dq);
        return;
    }
    if (job->dk.data) gemm(p->dk, d, w->dp, 1, lanes, p->q, job->q.l, p->keys, d, p->rows, p->more);
    if (dq) gemm(dq, job->dq.l, w->dp, lanes, 1, p->k, job->k.l, p->rows, d, p->keys, p->more_q);
}

/* What the patterns of keys hide becomes -inf in the bias tile. */
static void T(bits_into_bias)(const T(job) * job, const T(backward_scratch) * w, const T(tile_pair) * p) {
    uint64_t words[FV_TILE_MOST_SIDE];
    fv__keys_bits(&job->keys, &(fv__query_block){p->sequence, p->head, p->i0, p->i0 + p->rows}, p->j0, words);
    if (!job->biased) job->simd->fill(w->bias_tile, 0, p->rows * p->lanes);
    job->simd->bit_mask(w->bias_tile, p->rows, p->lanes, words);
}

static void T(pair_base)(const T(job) * job, const T(backward_scratch) * w, const T(tile_pair) * p) {
    const fv__score_tile tile = T(pair_tile)(job, w, p);
    const fv__score_product product = {p->q, p->kt, job->q.l, p->lanes, p->rows, 0, job->plan->d_qk};
    job->own_base(&tile, w->s, &product, (double)job->scale2);
}

static void T(fill_pair_bias)(const T(job) * job, const T(backward_scratch) * w, const T(tile_pair) * p) {
    const fv__score_tile tile = T(pair_tile)(job, w, p);
    T(fill_bias_tile)(job, &tile, w->bias_tile, p->lanes);
}

static void T(tile_pair_step)(const T(job) * job, T(backward_scratch) * w, const T(tile_pair) * p,
                              const T(visible_ranges) * visible) {
    const SIMD *simd = job->simd;
    const fv_attention_plan *plan = job->plan;
    const int64_t lanes = p->lanes, row = p->sequence->q_start + p->i0, d = plan->d_qk, dv = plan->d_v;
    const int64_t at = (p->sequence->batch * plan->heads + p->head) * plan->q_len + row;
    if (job->own_base)
        T(pair_base)(job, w, p);
    else
        simd->gemm(w->s, lanes, p->scaled, p->scaled_ld, 1, p->kt, p->ld, p->rows, lanes, d, FV_GEMM_OVERWRITE);
    if (p->dout)
        simd->gemm(w->dp, lanes, p->dout, job->dout.l, 1, p->vt, p->ld, p->rows, lanes, dv, FV_GEMM_OVERWRITE);
    else
        simd->fill(w->dp, 0, p->rows * lanes);
    if (job->term_count) T(add_pair_terms)(job, w, p);
    if (job->biased) T(fill_pair_bias)(job, w, p);
    if (p->bit_masked) T(bits_into_bias)(job, w, p);
    if (w->keep) simd->drop_rows(w->keep, p->rows, lanes, p->i0, p->j0, p->drop);
    const bool biased = job->biased || p->bit_masked, hidden = p->boundary || biased || job->own_base;
    if (hidden) T(band_rows)(job, w, p, visible);
    simd->softmax_backward_from_lse(w->s, w->dp, p->rows, lanes, job->norm + at, p->far ? job->rest + at : NULL,
                                    job->delta + at, hidden ? w->start : NULL, hidden ? w->end : NULL,
                                    biased ? w->bias_tile : NULL, w->keep, job->cap2);
    if (job->biased) T(bias_gradients)(job, w, p);
    const bool masked =
        hidden && !(simd->finite_tile(p->q, job->q.l, p->rows, d) && simd->finite_tile(p->k, job->k.l, p->keys, d) &&
                    (!p->dout || simd->finite_tile(p->dout, job->dout.l, p->rows, dv)));
    T(tile_pair_gemms)(job, w, p, masked);
    if (job->term_count) T(term_gradients)(job, w, p);
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
    const int64_t height = job->sizes.side / 4;
    T(zero_rows)(w->strip_dk, d, tile->keys, d), T(zero_rows)(w->strip_dv, dv, tile->keys, dv);
    for (int64_t r = 0; r < tile->rows; r += height) {
        T(tile_pair) p = *tile;
        p.row0 = r, p.i0 += r, p.rows = tile->rows - r < height ? tile->rows - r : height, p.more = FV_GEMM_CONTINUE;
        p.q += r * job->q.l, p.scaled += r * p.scaled_ld;
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
    return keys < job->sizes.side ? (keys + width - 1) / width * width : job->sizes.side;
}

/* The keys and values of a tile, whose first is number `at` of the chunk. */
static void T(tile_load)(const T(job) * job, T(backward_scratch) * w, const fv__sequence *s, int64_t kv, int64_t j,
                         int64_t keys, int64_t at) {
    const int64_t d = job->plan->d_qk, dv = job->plan->d_v, lanes = T(tile_lanes)(job, keys);
    job->simd->pack(w->k + at * d, lanes, T(at)(&job->k, s->batch, kv, s->k_start + j), job->k.l, keys, d, 1);
    job->simd->pack(w->v + at * dv, lanes, T(at)(&job->v, s->batch, kv, s->k_start + j), job->v.l, keys, dv,
                    (R)job->plan->options.scale);
}

/* All tiles at once; with patterns of keys each when it is first met, for most may not be. */
static void T(chunk_load)(const T(job) * job, T(backward_scratch) * w, const fv__sequence *s, int64_t kv, int64_t j0,
                          int64_t j1) {
    w->live = 0;
    for (int64_t j = j0; j < j1 && !job->keys.count; j += job->sizes.side)
        T(tile_load)(job, w, s, kv, j, j1 - j < job->sizes.side ? j1 - j : job->sizes.side, j - j0);
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
    for (int64_t j = j0; j < j1; j += job->sizes.side) {
        const int64_t keys = j1 - j < job->sizes.side ? j1 - j : job->sizes.side, row = s->k_start + j, at = j - j0;
        const bool live = w->live >> (at / job->sizes.side) & 1;
        if (job->dk.data)
            T(tile_store)(job, w, T(at)(&job->dk, s->batch, kv, row), job->dk.l, w->dk + at * d, keys, d, live);
        if (job->dv.data) T(tile_store)
        (job, w, T(at)(&job->dv, s->batch, kv, row), job->dv.l, w->dv + at * dv, keys, dv, live && job->dout.data);
    }
}

/* The queries of a block as the scores take them, and whether any of their rows has a rest. */
static void T(query_begin)(const T(job) * job, T(backward_scratch) * w, T(tile_pair) * p) {
    const int64_t d = job->plan->d_qk, row = p->sequence->q_start + p->i0;
    const R *rest = job->rest + (p->sequence->batch * job->plan->heads + p->head) * job->plan->q_len + row;
    p->far = false;
    for (int64_t r = 0; r < p->rows; r++) p->far |= rest[r] != 0;
    p->scaled = p->q, p->scaled_ld = job->q.l;
    if (!w->q) return;
    if (job->q.l == d)
        job->simd->scale(w->q, job->scale2, p->q, p->rows * d);
    else
        job->simd->scale_rows(w->q, d, p->q, job->q.l, p->rows, d, w->scales);
    p->scaled = w->q, p->scaled_ld = d;
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
    p->more_q = job->wave > 0 ? FV_GEMM_ACCUMULATE : FV_GEMM_OVERWRITE, p->scaled = NULL;
    const fv__query_block q = {s, p->head, p->i0, p->i0 + p->rows};
    for (int64_t j = j0; j < j1; j += job->sizes.side) {
        if (job->keys.skips && (j = fv__keys_next(&job->keys, &q, j) / job->sizes.side * job->sizes.side) >= j1) break;
        p->j0 = j, p->keys = j1 - j < job->sizes.side ? j1 - j : job->sizes.side,
        p->lanes = T(tile_lanes)(job, p->keys);
        T(prefetch)(stream);
        if (j >= visible.any_end || j + p->keys <= visible.any) continue;
        const int64_t tile = (j - j0) / job->sizes.side;
        if (job->keys.count) {
            const fv_block_kind kind = fv__keys_kind(&job->keys, &q, j, j + p->keys);
            if (kind == FV_BLOCK_EMPTY) continue;
            p->bit_masked = kind == FV_BLOCK_PARTIAL;
            if (!(w->live >> tile & 1)) T(tile_load)(job, w, s, p->kv, j, p->keys, j - j0);
        }
        if (!p->scaled) T(query_begin)(job, w, p);
        p->boundary = j < visible.every || j + p->keys > visible.every_end;
        p->k = T(at)(&job->k, s->batch, p->kv, s->k_start + j);
        p->kt = w->k + (j - j0) * job->plan->d_qk, p->dk = w->dk + (j - j0) * job->plan->d_qk;
        p->vt = w->v + (j - j0) * job->plan->d_v, p->dv = w->dv + (j - j0) * job->plan->d_v;
        p->more = w->live >> tile & 1 ? FV_GEMM_ACCUMULATE : FV_GEMM_OVERWRITE, p->ld = p->lanes;
        if (p->boundary && !job->own_base)
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
static void T(first_wave)(const T(job) * job, const T(backward_scratch) * w, const T(chunk_pair) * m, bool any) {
    const int64_t group = job->plan->heads / job->plan->kv_heads, d = job->plan->d_qk, dv = job->plan->d_v;
    const fv__sequence *s = &m->sequence;
    for (int64_t g = 0; g < group && m->i0 < m->i1; g++) {
        const int64_t head = m->kv * group + g, rows = m->i1 - m->i0;
        double sink_sum = 0;
        T(prepare_rows)(job, w, s, head, m->i0, rows, &sink_sum);
        double *part = T(parts_of)(job, &job->sink, m->index, head);
        if (part) *part = sink_sum;
        if (!any && job->dq.data) T(zero_rows)(T(at)(&job->dq, s->batch, head, s->q_start + m->i0), job->dq.l, rows, d);
    }
    if (any || m->j0 >= m->j1) return;
    if (job->dk.data) T(zero_rows)(T(at)(&job->dk, s->batch, m->kv, s->k_start + m->j0), job->dk.l, m->j1 - m->j0, d);
    if (job->dv.data) T(zero_rows)(T(at)(&job->dv, s->batch, m->kv, s->k_start + m->j0), job->dv.l, m->j1 - m->j0, dv);
}

/* While a block of queries is worked on: the block after it, or what the next chunk pair begins with. */
static void T(backward_prefetch)(const T(job) * job, const T(chunk_pair) * now, const T(chunk_pair) * next,
                                 const T(tile_pair) * p, T(prefetch_stream) * a) {
    const int64_t group = job->plan->heads / job->plan->kv_heads, side = job->sizes.side;
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
    if (job->wave == 0) T(first_wave)(job, w, m, any);
    if (!any) return;
    T(prefetch_stream) stream = {.count = 0};
    T(chunk_load)(job, w, s, m->kv, m->j0, m->j1);
    for (int64_t head = m->kv * group; head < (m->kv + 1) * group; head++) {
        const fv__drop drop =
            fv__drop_of(job->dropout, job->run->call.seed, (uint64_t)(s->number * plan->heads + head));
        T(tile_pair) p = {.sequence = s, .drop = &drop, .head = head, .kv = m->kv, .task = m->index};
        for (p.i0 = m->i0; p.i0 < m->i1; p.i0 += job->sizes.side) {
            p.rows = m->i1 - p.i0 < job->sizes.side ? m->i1 - p.i0 : job->sizes.side;
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

/* The uses of scores that may keep parts. */
static int T(part_uses)(T(job) * job, fv__score_use **uses) {
    int count = 0;
    uses[count++] = &job->base;
    for (int n = 0; n < job->term_count; n++) uses[count++] = &job->terms[n];
    for (int n = 0; n < job->bias_count; n++) uses[count++] = &job->biases[n];
    if (job->sink.score) uses[count++] = &job->sink;
    return count;
}

/* Parts start at 0; so do the gradients that they, or tiles, are added to. */
static void T(begin_parts)(T(job) * job, char *at, int64_t numbers) {
    fv__score_use *uses[FV_SCORES];
    const int count = T(part_uses)(job, uses);
    for (int n = 0; n < count; n++) {
        const size_t bytes = fv__attn_lines(numbers, uses[n]->part_bytes);
        uses[n]->parts = uses[n]->part_bytes ? at : NULL;
        memset(at, 0, bytes), at += bytes;
    }
}

static void T(zero_gradient)(const fv_tensor *t) {
    if (t->rank == 4) T(zero)(t);
    const int64_t columns = t->rank == 2 ? t->dim[1] : 1;
    for (int64_t r = 0; r < t->dim[0] && (t->rank == 1 || t->rank == 2); r++)
        for (int64_t c = 0; c < columns; c++) ((R *)t->data)[r * t->stride[0] + c * t->stride[1]] = 0;
}

/* A gradient made of parts: those of all tasks, in their order. */
static void T(combine_parts)(const T(job) * job, const fv__score_use *u) {
    const fv_attention_plan *plan = job->plan;
    const fv_tensor *to = &job->x->d[u->score->operand];
    if (!u->parts || !to->rank) return;
    const int64_t group = plan->heads / plan->kv_heads, count = u->score->parts(plan);
    const int64_t step = to->rank > 1 ? to->stride[1] : 0;
    for (int64_t n = 0; n < plan->sequences; n++) {
        const int64_t tasks = job->first[n + 1] - job->first[n], first = job->first[n] * plan->kv_heads;
        for (int64_t t = 0; t < tasks * plan->kv_heads; t++)
            for (int64_t head = t / tasks * group; head < (t / tasks + 1) * group; head++) {
                const void *part = T(parts_of)(job, u, first + t, head);
                for (int64_t c = 0; c < count; c++) {
                    const int64_t at =
                        u->score->place ? u->score->place(to, n, head, c) : head * to->stride[0] + c * step;
                    ((R *)to->data)[at] += u->score->doubles ? (R)((const double *)part)[c] : ((const R *)part)[c];
                }
            }
    }
}

static void T(combine)(T(job) * job) {
    fv__score_use *uses[FV_SCORES];
    const int count = T(part_uses)(job, uses);
    for (int n = 0; n < count; n++) T(combine_parts)(job, uses[n]);
}

/* When tasks of different heads or batches write the same elements, they must not run side by side. */
static int64_t T(exclusive_groups)(T(job) * job) {
    fv__score_use *uses[FV_SCORES];
    const int count = T(part_uses)(job, uses);
    for (int n = 0; n < count; n++) {
        const fv__score *score = uses[n]->score;
        const fv_tensor *to = &job->x->d[score->operand];
        if (score->exclusive && to->rank && score->exclusive(job->plan, to))
            return job->plan->batch * job->plan->kv_heads;
    }
    return 0;
}

/* Gradients that tiles or parts are added to. */
static void T(zero_gradients)(T(job) * job) {
    fv__score_use *uses[FV_SCORES];
    const int count = T(part_uses)(job, uses);
    for (int n = 0; n < count; n++)
        if (uses[n]->score->parts) T(zero_gradient)(&job->x->d[uses[n]->score->operand]);
}

static void T(backward)(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    T(job) job = T(job_of)(run, true);
    const int64_t rows = plan->batch * plan->heads * plan->q_len;
    job.dq = T(view_of)(&x->d[FV_Q]), job.dk = T(view_of)(&x->d[FV_K]), job.dv = T(view_of)(&x->d[FV_V]);
    job.dout = T(view_of)(&x->d[FV_OUT]);
    job.antidiagonal = plan->window_right >= 0 && plan->window_left < 0;
    char *at = scratch;
    job.first = (int64_t *)at, at += (size_t)(plan->sequences + 8) / 8 * 64;
    job.norm = T(carve)(&at, rows), job.rest = T(carve)(&at, rows), job.delta = T(carve)(&at, rows);
    job.workers = (char *)scratch + job.partition.shared_bytes;
    job.keys = fv__tile_keys_of(run, job.workers - job.partition.keys_bytes);
    fv__keys_prepare(&job.keys, -1, -1);
    int64_t most;
    const int64_t tasks = T(count_chunks)(&job, &most) * plan->kv_heads, groups = T(exclusive_groups)(&job);
    const int64_t numbers = tasks ? tasks * (plan->heads / plan->kv_heads) : 0;
    T(begin_parts)(&job, at, numbers);
    T(zero_gradients)(&job);
    if (plan->heads == 0) return;
    if (x->t[FV_KV_LEN].rank) T(zero)(&x->d[FV_K]), T(zero)(&x->d[FV_V]); /* rows no chunk has */
    for (job.exclusive = groups ? 0 : -1; job.exclusive < groups; job.exclusive++)
        for (job.wave = 0; job.wave < most; job.wave++)
            fv__parallel_for((tasks + job.partition.group - 1) / job.partition.group, T(wave_task), &job);
    T(combine)(&job);
}
