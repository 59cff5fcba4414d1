/* Decoding split over keys: a partial result for each chunk; the last to finish of a kv head merges them. See
 * decode.h. */
#include "attn/cache/decode.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* Kernels of one storage type. */
typedef struct stored {
    void (*scores)(float *s, int64_t lds, const float *q, int64_t ldq, int64_t rows, const void *k, int64_t blocks,
                   int64_t pairs, int64_t prefetch_distance);
    void (*values)(float *o, int64_t ldo, const float *p, int64_t ldp, int64_t rows, const void *v, int64_t count,
                   int64_t width, int64_t prefetch_distance);
} stored;

static stored stored_of(const fv__simd_f32 *s, fv_dtype dtype) {
    if (dtype == FV_BF16) return (stored){s->scores_bf16, s->values_bf16};
    if (dtype == FV_F16) return (stored){s->scores_f16, s->values_f16};
    return (stored){s->scores_f32, s->values_f32};
}

typedef struct job {
    const fv_decode_plan *plan;
    const fv_kv_cache *cache;
    const fv_decode_tensors *x;
    const fv__simd_f32 *simd;
    stored kernel;
    fv__decode_bias_mask bias_mask;
    const fv__decode_modified *modified; /* NULL: the mechanism adds nothing and hides nothing */
    bool hides;                          /* keys one by one: bias, mask, a pattern */
    bool own_base;
    fv__decode_partition partition;
    int64_t r0, n;    /* new rows of this batch of rows */
    int64_t b0, b1;   /* sequences of this wave: all, unless shared pages make more chunks than the scratch holds */
    int64_t *first;   /* number of the first chunk of each sequence, counted over the wave */
    atomic_int *left; /* chunks that are not done yet, of each (sequence, kv head) */
    char *parts, *workers;
    int threads;
} job;

/* ---- what is where */

static int64_t count_of(const job *j, int64_t b) { return j->x->counts ? j->x->counts[b] : j->x->q.dim[2]; }

/* Positions that row r of the batch of rows sees. */
static void visible(const job *j, int64_t b, int64_t r, int64_t *start, int64_t *end) {
    const int64_t prefix = j->x->prefix_len.rank ? fv__attn_integer(&j->x->prefix_len, b) : 0;
    fv__decode_visible(j->plan, j->cache, b, j->r0 + r, count_of(j, b), prefix, start, end);
}

/* Positions that any row of the batch of rows sees. */
static void span_of(const job *j, int64_t b, int64_t *start, int64_t *end) {
    *start = INT64_MAX, *end = 0;
    for (int64_t r = 0; r < j->n; r++) {
        int64_t a, z;
        visible(j, b, r, &a, &z);
        if (a < z && a < *start) *start = a;
        if (a < z && z > *end) *end = z;
    }
    if (*end == 0) *start = 0;
}

static int64_t chunks_of(const job *j, int64_t b) { return j->first[b + 1] - j->first[b]; }

/* Finds b1. One sequence fits always. */
static void count_chunks(job *j) {
    j->first[j->b0] = 0;
    for (int64_t b = j->b0; b < j->plan->cache.batch; b++) {
        int64_t start, end;
        span_of(j, b, &start, &end);
        const int64_t chunks = end > start ? (end - 1) / FV_DECODE_CHUNK - start / FV_DECODE_CHUNK + 1 : 1;
        if (b > j->b0 && j->first[b] + chunks > j->partition.chunks) return;
        j->b1 = b + 1;
        j->first[b + 1] = j->first[b] + chunks; /* where nothing is seen one empty chunk says so */
        for (int64_t kv = 0; kv < j->plan->cache.kv_heads; kv++)
            atomic_init(&j->left[b * j->plan->cache.kv_heads + kv], (int)chunks);
    }
}

/* A partial result: rows of values, then maxima, then sums. */
typedef struct partial {
    float *o, *m, *l;
} partial;
static partial partial_of(const job *j, int64_t b, int64_t kv, int64_t chunk) {
    const int64_t number = j->first[b] * j->plan->cache.kv_heads + kv * chunks_of(j, b) + chunk,
                  rows = j->plan->group * j->n;
    float *o = (float *)(j->parts + (size_t)number * j->partition.part_bytes);
    return (partial){o, o + rows * j->plan->o_pad, o + rows * (j->plan->o_pad + 1)};
}

static char *row_of(const fv_tensor *t, int64_t b, int64_t h, int64_t r) {
    return (char *)t->data +
           (b * t->stride[0] + h * t->stride[1] + r * t->stride[2]) * (int64_t)fv_dtype_size(t->dtype);
}

/* ---- queries: row r * group + g of a kv head is head kv * group + g of new row r, scaled to units of log 2 */

/* What queries are multiplied with: products take the scale there, another base at its end. */
static float scale_of(const job *j) { return (float)(j->plan->o.scale * FV_DECODE_LOG2E); }

/* A task packs its own: that is quicker than waiting for somebody who packs for all. */
static void pack(const job *j, int64_t b, int64_t kv, float *to, float *workspace) {
    const fv_decode_plan *p = j->plan;
    const fv_tensor *q = &j->x->q;
    const int64_t width = p->cache.d_qk;
    for (int64_t r = 0; r < j->n; r++)
        for (int64_t g = 0; g < p->group; g++, to += p->q_pad) {
            const void *from = row_of(q, b, kv * p->group + g, j->r0 + r);
            if (q->dtype == FV_BF16) j->simd->from_bf16(workspace, from, width);
            if (q->dtype == FV_F16) j->simd->from_f16(workspace, from, width);
            j->simd->scale(to, j->own_base ? 1 : scale_of(j), q->dtype == FV_F32 ? from : workspace, width);
            for (int64_t d = width; d < p->q_pad; d++) to[d] = 0;
        }
}

/* ---- one chunk */

/* Positions of a task, and of the task it will probably get next; end 0: none. */
typedef struct stream {
    int64_t b, kv, start, end;
    int64_t next_b, next_kv, next_start, next_end;
} stream;

/* A task reads K of its positions, then V of them, then K of the next task. The distance from `here`, in K or V, to
 * what is read `x` positions behind the first one of this part; *run is limited to what is in one piece there. */
static int64_t prefetch_distance_of(const job *j, const stream *s, const unsigned char *here, bool values, int64_t x,
                                    int64_t *run) {
    int64_t at = s->start + x, end = s->end;
    bool next = false, v = values;
    if (at >= end) {
        next = values, v = !values;
        at = (next ? s->next_start : s->start) + at - end;
        if (next) end = s->next_end;
    }
    if (at >= end) return 0;
    const fv__kv_place place = fv__kv_at(j->cache, next ? s->next_b : s->b, next ? s->next_kv : s->kv, at);
    const unsigned char *there = v ? place.v : place.k + (size_t)(at % FV_KV_KEYS) * j->cache->k_pitch;
    if (place.run < *run) *run = place.run;
    if (end - at < *run) *run = end - at;
    return (int64_t)((uintptr_t)there - (uintptr_t)here);
}

/* Bytes that are prefetched before they are needed, which hides the latency of memory without crowding L1; and, so that
 * memory does not rest while there is no reading, with each of the first rows whose weights are made. */
enum { EARLY = 8192, MEANWHILE = 4096 };
static int64_t early(size_t pitch) {
    const int64_t rows = EARLY / (int64_t)pitch / FV_KV_KEYS * FV_KV_KEYS;
    return rows < FV_KV_KEYS ? FV_KV_KEYS : rows;
}

/* Whole blocks of keys, also where only a part of one is seen: the other lanes are overwritten in softmax_of_chunk. */
static void scores(const job *j, const stream *s, const float *q, float *to, int64_t base) {
    const fv_decode_plan *p = j->plan;
    const int64_t rows = p->group * j->n, block = FV_KV_KEYS, from = s->start / block * block;
    for (int64_t at = from, n; at < s->end; at += n) {
        const fv__kv_place here = fv__kv_at(j->cache, s->b, s->kv, at);
        n = s->end - at < here.run ? s->end - at : here.run;
        const int64_t prefetch_distance =
            prefetch_distance_of(j, s, here.k, false, at - from + early(j->cache->k_pitch), &n);
        const int64_t blocks = (n + block - 1) / block;
        n = blocks * block;
        j->kernel.scores(to + at - base, FV_DECODE_CHUNK, q, p->q_pad, rows, here.k, blocks, p->pairs,
                         prefetch_distance);
    }
}

/* A row of a task as the mechanism's modifiers see it. */
static fv__decode_query query_of(const job *j, const stream *s, const float *q, int64_t i) {
    const int64_t group = j->plan->group, length = j->cache->length[s->b];
    return (fv__decode_query){.head = s->kv * group + i % group,
                              .kv = s->kv,
                              .position = length - count_of(j, s->b) + j->r0 + i / group,
                              .length = length,
                              .q = q ? q + i * j->plan->q_pad : NULL};
}

/* A block of keys as (columns, 16) in f32: where it lies, or in `some`. */
static const float *block_of(const job *j, const unsigned char *k, float *some) {
    const int64_t width = j->plan->cache.d_qk;
    const fv_dtype dtype = j->plan->cache.dtype;
    if (dtype == FV_F32) return (const float *)(const void *)k;
    for (int64_t d = 0; d < width; d++)
        for (int64_t lane = 0; lane < FV_KV_KEYS; lane++) {
            const uint16_t *from = (const uint16_t *)(const void *)k + fv__kv_element(dtype, lane, d);
            (dtype == FV_BF16 ? j->simd->from_bf16 : j->simd->from_f16)(some + d * FV_KV_KEYS + lane, from, 1);
        }
    return some;
}

/* The same as `scores` by a base of the mechanism's own, head by head. */
static void base_scores(const job *j, const stream *s, const float *q, float *to, int64_t base, float *workspace) {
    const fv_decode_plan *p = j->plan;
    float *tile = workspace + p->cache.d_qk * FV_KV_KEYS;
    for (int64_t at = s->start / FV_KV_KEYS * FV_KV_KEYS; at < s->end; at += FV_KV_KEYS) {
        const float *keys = block_of(j, fv__kv_at(j->cache, s->b, s->kv, at).k, workspace);
        for (int64_t g = 0; g < p->group; g++) {
            const fv__decode_query of = query_of(j, s, q, g);
            fv__decode_base(j->modified, &of, p->group * p->q_pad, j->n, keys, scale_of(j), tile);
            for (int64_t r = 0; r < j->n; r++)
                memcpy(to + (r * p->group + g) * FV_DECODE_CHUNK + at - base, tile + r * FV_KV_KEYS,
                       FV_KV_KEYS * sizeof *tile);
        }
    }
}

/* Rows [r, *next) of the batch of rows that see the same positions of the chunk, [*a, *z). */
static void alike(const job *j, const stream *s, int64_t r, int64_t *next, int64_t *a, int64_t *z) {
    for (*next = r; *next < j->n; ++*next) {
        int64_t start, end;
        visible(j, s->b, *next, &start, &end);
        if (start < s->start) start = s->start;
        if (end > s->end) end = s->end;
        if (end < start) start = end = s->start;
        if (*next == r) *a = start, *z = end;
        if (start != *a || end != *z) return;
    }
}

/* Row i of a task among all rows of the call. */
static fv__decode_row row_index(const job *j, const stream *s, int64_t i) {
    const int64_t group = j->plan->group;
    return (fv__decode_row){s->b, s->kv * group + i % group, j->r0 + i / group};
}

/* What the mechanism adds after the softcap and hides, of the positions [a, z) from `row` on. */
static void modify(const job *j, const fv__decode_query *q, int64_t a, int64_t z, float *row) {
    if (j->modified->by->biases) fv__decode_add_biases(j->modified, q, a, z, row);
    if (j->modified->by->keys) fv__decode_hide_keys(j->modified, q, a, z, row);
}

/* Terms, softcap, slopes, bias and mask on what was computed, -inf on what a row does not see, then the softmax of the
 * row within the chunk. */
static void softmax_of_chunk(const job *j, const stream *s, const float *q, float *w, int64_t base, partial to) {
    const uintptr_t soon = (uintptr_t)fv__kv_at(j->cache, s->b, s->kv, s->start).v + EARLY;
    const fv_decode_plan *p = j->plan;
    const int64_t block = FV_KV_KEYS, low = (s->start - base) & ~(int64_t)63, n = s->end - s->start;
    const int64_t high = (s->end - base + block - 1) / block * block;
    const float *slopes = j->x->slopes.data;
    const int64_t slope_step = j->x->slopes.stride[0];
    for (int64_t r = 0, next; r < j->n; r = next) {
        int64_t a, z;
        alike(j, s, r, &next, &a, &z);
        for (int64_t i = r * p->group; i < next * p->group; i++) {
            float *row = w + i * FV_DECODE_CHUNK;
            const fv__decode_query query = query_of(j, s, q, i);
            if (j->modified && j->modified->by->terms)
                fv__decode_add_terms(j->modified, &query, a, z, j->own_base ? scale_of(j) : 1, row + a - base);
            if (p->o.softcap > 0) j->simd->softcap(row + s->start - base, n, (float)(p->o.softcap * FV_DECODE_LOG2E));
            if (j->x->slopes.rank)
                j->simd->add_alibi(row + low, 1, high - low, (float)(slopes[query.head * slope_step] * FV_DECODE_LOG2E),
                                   (float)(query.position - base - low), 0, -1);
            if (j->modified) modify(j, &query, a, z, row + a - base);
            if (j->hides && a < z) {
                const fv__decode_row place = row_index(j, s, i);
                fv__decode_add_bias_mask(&j->bias_mask, j->simd, &place, a, z, row + a - base);
            }
            for (int64_t k = low; k < a - base; k++) row[k] = -INFINITY;
            for (int64_t k = z - base; k < high; k++) row[k] = -INFINITY;
            to.l[i] = j->simd->softmax_partial(row + low, high - low, &to.m[i]);
            if (i < 4) j->simd->prefetch((const void *)(soon + (uintptr_t)i * MEANWHILE), MEANWHILE);
        }
    }
}

static void values(const job *j, const stream *s, const float *w, int64_t base, partial to) {
    const fv_decode_plan *p = j->plan;
    memset(to.o, 0, (size_t)(p->group * j->n * p->o_pad) * sizeof(float));
    for (int64_t r = 0, next; r < j->n; r = next) {
        int64_t a, z;
        alike(j, s, r, &next, &a, &z);
        const int64_t row = r * p->group, rows = (next - r) * p->group;
        for (int64_t at = a, m; at < z; at += m) {
            const fv__kv_place here = fv__kv_at(j->cache, s->b, s->kv, at);
            m = z - at < here.run ? z - at : here.run;
            const int64_t prefetch_distance =
                prefetch_distance_of(j, s, here.v, true, at - s->start + early(j->cache->v_pitch), &m);
            j->kernel.values(to.o + row * p->o_pad, p->o_pad, w + row * FV_DECODE_CHUNK + at - base, FV_DECODE_CHUNK,
                             rows, here.v, m, p->cache.d_v, prefetch_distance);
        }
    }
}

static bool hides(const job *j, const stream *s, int64_t i, int64_t at) {
    const fv__decode_row place = row_index(j, s, i);
    const fv__decode_query q = query_of(j, s, NULL, i);
    if (j->modified && j->modified->by->keys && fv__decode_hides_key(j->modified, &q, at)) return true;
    return fv__decode_hides(&j->bias_mask, j->simd, &place, at);
}

/* The same values row by row, without the positions that bias, mask or a pattern of keys hide. */
static void values_visible(const job *j, const stream *s, const float *w, int64_t base, partial to) {
    const fv_decode_plan *p = j->plan;
    memset(to.o, 0, (size_t)(p->group * j->n * p->o_pad) * sizeof(float));
    for (int64_t i = 0; i < p->group * j->n; i++) {
        int64_t next, a, z;
        alike(j, s, i / p->group, &next, &a, &z);
        for (int64_t at = a; at < z; at++)
            if (!hides(j, s, i, at))
                j->kernel.values(to.o + i * p->o_pad, p->o_pad, w + i * FV_DECODE_CHUNK + at - base, FV_DECODE_CHUNK, 1,
                                 fv__kv_at(j->cache, s->b, s->kv, at).v, 1, p->cache.d_v, 0);
    }
}

/* Zero times what is not finite is not zero, but what is hidden must not show. */
static void mend_nonfinite(const job *j, const stream *s, const float *w, int64_t base, partial to) {
    const int64_t rows = j->plan->group * j->n, pad = j->plan->o_pad;
    if (!j->simd->finite_tile(to.o, pad, rows, pad)) values_visible(j, s, w, base, to);
}

/* ---- merge */

/* 2^(m - top) without inf - inf. */
static float rescale(float m, float top) { return m == top ? 1 : exp2f(m - top); }

static void store_row(const job *j, int64_t b, int64_t h, int64_t r, const float *o, float factor, float *workspace) {
    const fv_tensor *out = &j->x->out;
    void *to = row_of(out, b, h, r);
    const int64_t width = j->plan->cache.d_v;
    float *plain = out->dtype == FV_F32 ? to : workspace;
    if (j->cache->o.dtype == FV_BF16) {
        j->simd->deinterleave(plain, o, width);
        o = plain;
    }
    j->simd->scale(plain, factor, o, width);
    if (out->dtype == FV_BF16) j->simd->to_bf16(to, workspace, width);
    if (out->dtype == FV_F16) j->simd->to_f16(to, workspace, width);
}

/* A score from units of log 2. Those of the largest biases are bent, see add_bias. */
static float natural(const job *j, double score) {
    float x = (float)score;
    if (!j->x->bias.rank || fabs(score) < 2e38) return (float)(score / FV_DECODE_LOG2E);
    j->simd->natural_scores(&x, &x, 1);
    return x;
}

static void merge_row(const job *j, int64_t b, int64_t kv, int64_t i, float *sum, float *workspace) {
    const fv_decode_plan *p = j->plan;
    const int64_t chunks = chunks_of(j, b), h = kv * p->group + i % p->group, r = j->r0 + i / p->group;
    float top = -INFINITY;
    double total = 0;
    for (int64_t c = 0; c < chunks; c++) {
        const float m = partial_of(j, b, kv, c).m[i];
        if (m > top) top = m;
    }
    memset(sum, 0, (size_t)p->o_pad * sizeof *sum);
    for (int64_t c = 0; c < chunks; c++) {
        const partial from = partial_of(j, b, kv, c);
        const float factor = rescale(from.m[i], top);
        total += (double)from.l[i] * (double)factor;
        j->simd->axpy(sum, factor, from.o + i * p->o_pad, p->o_pad);
    }
    const bool seen = total != 0;
    if (j->x->lse.rank)
        *(float *)row_of(&j->x->lse, b, h, r) = seen ? natural(j, (double)top + log2(total)) : -INFINITY;
    if (seen && j->x->sinks.rank) {
        const double sink = (double)((const float *)j->x->sinks.data)[h * j->x->sinks.stride[0]];
        total += exp2(sink * FV_DECODE_LOG2E - (double)top);
    }
    store_row(j, b, h, r, sum, seen ? (float)(1 / total) : 0, workspace);
}

static void merge(const job *j, int64_t b, int64_t kv, float *workspace) {
    for (int64_t i = 0; i < j->plan->group * j->n; i++) merge_row(j, b, kv, i, workspace, workspace + j->plan->o_pad);
}

/* ---- all together */

/* (sequence, kv head, chunk) of a task, and which positions those are. False: there is no such task. */
static bool locate(const job *j, int64_t task, int64_t *b, int64_t *kv, int64_t *chunk, int64_t *start, int64_t *end) {
    const int64_t kv_heads = j->plan->cache.kv_heads;
    int64_t low = j->b0, high = j->b1;
    if (task >= j->first[high] * kv_heads) return false;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (j->first[middle] * kv_heads <= task)
            low = middle;
        else
            high = middle;
    }
    const int64_t rest = task - j->first[low] * kv_heads;
    *b = low, *kv = rest / chunks_of(j, low), *chunk = rest % chunks_of(j, low);
    span_of(j, low, start, end);
    const int64_t base = (*start / FV_DECODE_CHUNK + *chunk) * FV_DECODE_CHUNK;
    if (*start < base) *start = base;
    if (*end > base + FV_DECODE_CHUNK) *end = base + FV_DECODE_CHUNK;
    return true;
}

static void empty_partial(const job *j, partial to) {
    const int64_t rows = j->plan->group * j->n;
    memset(to.o, 0, (size_t)(rows * j->plan->o_pad) * sizeof(float));
    for (int64_t i = 0; i < rows; i++) to.m[i] = -INFINITY, to.l[i] = 0;
}

static float *base_workspace(const job *j, int worker) {
    return (float *)(j->workers + (size_t)(worker + 1) * j->partition.worker_bytes - j->partition.base_bytes);
}

static void chunk_task(void *context, int64_t index, int worker) {
    const job *j = context;
    stream s = {0};
    int64_t chunk, other;
    float *q = (float *)(j->workers + (size_t)worker * j->partition.worker_bytes),
          *w = q + j->plan->group * j->n * j->plan->q_pad;
    locate(j, index, &s.b, &s.kv, &chunk, &s.start, &s.end);
    if (!locate(j, index + j->threads, &s.next_b, &s.next_kv, &other, &s.next_start, &s.next_end)) s.next_end = 0;
    const int64_t base = s.start / FV_DECODE_CHUNK * FV_DECODE_CHUNK;
    const partial to = partial_of(j, s.b, s.kv, chunk);
    if (s.start < s.end) {
        pack(j, s.b, s.kv, q, w);
        if (j->own_base)
            base_scores(j, &s, q, w, base, base_workspace(j, worker));
        else
            scores(j, &s, q, w, base);
        softmax_of_chunk(j, &s, q, w, base, to);
        values(j, &s, w, base, to);
        if (j->hides) mend_nonfinite(j, &s, w, base, to);
    } else
        empty_partial(j, to);
    if (atomic_fetch_sub(&j->left[s.b * j->plan->cache.kv_heads + s.kv], 1) == 1) merge(j, s.b, s.kv, w);
}

void fv__decode_run(const fv_decode_plan *plan, const fv_kv_cache *cache, const fv_decode_tensors *x, void *scratch) {
    job j = {.plan = plan, .cache = cache, .x = x, .simd = fv__simd_f32_now(), .threads = fv_threads()};
    const int64_t n = x->q.dim[2];
    char *at = scratch;
    j.kernel = stored_of(j.simd, cache->o.dtype);
    const fv__decode_modifiers *by = &plan->modifiers;
    fv__decode_modified modified;
    j.bias_mask = fv__decode_bias_mask_of(plan, x), j.hides = x->bias.rank || x->mask.rank || by->keys;
    j.own_base = fv__decode_own_base(plan);
    if (by->terms || by->biases || by->keys || j.own_base) {
        fv__decode_modified_open(&modified, plan, x);
        j.modified = &modified;
    }
    j.partition = fv__decode_partition_of(plan, cache);
    j.first = scratch;
    j.left = (atomic_int *)(at += j.partition.first_bytes);
    j.parts = at += j.partition.left_bytes;
    j.workers = at + j.partition.part_bytes * (size_t)(j.partition.chunks * cache->o.kv_heads);
    for (j.r0 = 0; j.r0 < n; j.r0 += j.n) {
        j.n = n - j.r0 < plan->row_batch ? n - j.r0 : plan->row_batch;
        for (j.b0 = 0; j.b0 < cache->o.batch; j.b0 = j.b1) {
            count_chunks(&j);
            fv__parallel_for(j.first[j.b1] * cache->o.kv_heads, chunk_task, &j);
        }
    }
}
