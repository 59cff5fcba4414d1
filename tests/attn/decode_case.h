/* Random problems of decoding: a cache and what it must hold, told by plain arrays, and the plain answer in double. */
#ifndef FV_TESTS_DECODE_CASE_H
#define FV_TESTS_DECODE_CASE_H

#include "attn/cache/kv_cache.h"
#include "attn/cache/decode.h"
#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CASE_LONGEST = 2300 };

typedef struct decode_case {
    uint64_t seed, draw;
    fv_cache_options keep;
    fv_decode_options how;
    int64_t heads, n;
    int64_t length[4], first[4], counts[4];
    double *k[4], *v[4]; /* of each sequence: (position, kv head, column), as stored */
    fv_kv_cache *cache;
    fv_decode_tensors x;
    void *block[8];
    size_t size[8];
} decode_case;

static inline int64_t pick(decode_case *c, int64_t n) { return fv__random_below(c->seed, 5, c->draw++, n); }
static inline double uniform(decode_case *c) { return 2 * fv__random_uniform(c->seed, 6, c->draw++) - 1; }

/* x as an element of `dtype`. */
static inline double rounded(double x, fv_dtype dtype) {
    double memory = 0;
    const fv_tensor one = fv_tensor_1d(&memory, dtype, 1);
    fv_tensor_set(&one, (int64_t[]){0}, x);
    return fv_tensor_get(&one, (int64_t[]){0});
}

static inline double get4(const fv_tensor *t, int64_t a, int64_t b, int64_t c, int64_t d) {
    return fv_tensor_get(t, (int64_t[]){a, b, c, d});
}

/* (a,b,c,d) or (a,b,c) with gaps behind rows; everything, also the gaps, is NaN. */
static inline fv_tensor case_tensor(decode_case *c, int slot, fv_dtype dtype, int rank, const int64_t *dim) {
    fv_tensor t = fv_tensor_of(NULL, dtype, rank, dim);
    int64_t count = 1;
    t.stride[rank - 1] = 1;
    for (int i = rank - 2; i >= 0; i--) t.stride[i] = t.stride[i + 1] * dim[i + 1] + pick(c, 4);
    for (int i = 0; i < rank; i++) count += dim[i] > 0 ? (dim[i] - 1) * t.stride[i] : 0;
    c->size[slot] = (size_t)count * fv_dtype_size(dtype);
    t.data = c->block[slot] = malloc(c->size[slot]);
    memset(t.data, 0xff, c->size[slot]);
    return t;
}

/* ---- filling the cache */

static inline void case_append(decode_case *c, const int64_t *counts, int64_t most) {
    const fv_cache_options *o = &c->keep;
    const int64_t kd[4] = {o->batch, o->kv_heads, most, o->d_qk}, vd[4] = {o->batch, o->kv_heads, most, o->d_v};
    const fv_dtype dtype = pick(c, 3) == 0 ? o->dtype : pick(c, 2) ? FV_F32 : FV_F64;
    fv_tensor k = case_tensor(c, 6, dtype, 4, kd), v = case_tensor(c, 7, dtype, 4, vd);
    for (int64_t b = 0; b < o->batch; b++)
        for (int64_t r = 0; r < counts[b]; r++)
            for (int64_t h = 0; h < o->kv_heads; h++) {
                double *kk = c->k[b] + ((c->length[b] + r) * o->kv_heads + h) * o->d_qk;
                double *vv = c->v[b] + ((c->length[b] + r) * o->kv_heads + h) * o->d_v;
                for (int64_t d = 0; d < o->d_qk; d++) {
                    fv_tensor_set(&k, (int64_t[]){b, h, r, d}, uniform(c));
                    kk[d] = rounded(get4(&k, b, h, r, d), o->dtype);
                }
                for (int64_t d = 0; d < o->d_v; d++) {
                    fv_tensor_set(&v, (int64_t[]){b, h, r, d}, uniform(c));
                    vv[d] = rounded(get4(&v, b, h, r, d), o->dtype);
                }
            }
    if (fv_kv_cache_append(c->cache, &k, &v, counts) != FV_OK) fail_msg("seed %ld: %s", (long)c->seed, fv_message());
    for (int64_t b = 0; b < o->batch; b++) {
        c->length[b] += counts[b];
        if (o->kind == FV_CACHE_RING && c->length[b] - o->capacity > c->first[b])
            c->first[b] = c->length[b] - o->capacity;
    }
    free(c->block[6]), free(c->block[7]), c->block[6] = c->block[7] = NULL;
}

/* What a cache does not hold is NaN. */
static inline void case_poison(fv_kv_cache *cache) {
    const size_t positions = (size_t)(cache->pages * cache->o.kv_heads * cache->rows);
    memset(cache->k, 0xff, positions * cache->k_pitch);
    memset(cache->v, 0xff, positions * cache->v_pitch);
}

static inline void case_fill(decode_case *c, int64_t longest) {
    const int64_t batch = c->keep.batch;
    int64_t aim[4], counts[4];
    for (int64_t b = 0; b < batch; b++) aim[b] = pick(c, 8) == 0 ? pick(c, 2) : pick(c, longest + 1);
    for (int64_t round = 0; round < 40; round++) {
        int64_t most = 0, left = 0;
        for (int64_t b = 0; b < batch; b++) {
            const int64_t capacity = aim[b] - c->length[b],
                          step = pick(c, 3) == 0 ? 1 + pick(c, 3) : 1 + pick(c, 1 + longest / 3);
            counts[b] = capacity < step ? capacity : step;
            if (counts[b] < 0) counts[b] = 0;
            if (counts[b] > most) most = counts[b];
            left += capacity > 0;
        }
        if (!left) break;
        case_append(c, counts, most + pick(c, 2));
        const int64_t b = pick(c, batch), back = pick(c, 5);
        if (pick(c, 3) == 0 && c->length[b] - back >= c->first[b]) {
            if (fv_kv_cache_truncate(c->cache, b, c->length[b] - back) != FV_OK) fail_msg("%s", fv_message());
            c->length[b] -= back;
        }
    }
}

/* ---- a whole problem */

static inline void case_shape(decode_case *c, int64_t longest) {
    static const int64_t widths[] = {1,  2,  3,  5,  8,  15,  16,  17,  24,  31,  32,  33,  40,
                                     48, 64, 65, 80, 96, 100, 127, 128, 129, 160, 200, 255, 256};
    static const fv_dtype types[] = {FV_F32, FV_BF16, FV_F16};
    fv_cache_options *o = &c->keep;
    o->batch = 1 + pick(c, 3), o->kv_heads = 1 + pick(c, 3), o->dtype = types[pick(c, 3)];
    o->d_qk = widths[pick(c, 26)], o->d_v = pick(c, 2) ? o->d_qk : widths[pick(c, 26)];
    o->kind = (fv_cache_kind)pick(c, 3);
    c->heads = o->kv_heads * (1 + pick(c, 9));
    c->n = pick(c, 3) ? 1 + pick(c, 4) : 1 + pick(c, 20);
    c->how.window_left = pick(c, 3) == 0 ? pick(c, longest / 2) : -1;
    if (o->kind == FV_CACHE_PAGED)
        o->page_rows = 16 * (1 + pick(c, 5)), o->pages = o->batch * ((longest + 60) / o->page_rows + 1);
    else if (o->kind == FV_CACHE_RING) {
        if (c->how.window_left < 0) c->how.window_left = pick(c, longest / 2);
        o->capacity = c->how.window_left + c->n + 40 + pick(c, 40); /* 40: what truncations may take back */
    } else
        o->capacity = longest + 60;
}

static inline void case_extras(decode_case *c) {
    static const fv_dtype types[] = {FV_F32, FV_F32, FV_BF16, FV_F16};
    const fv_cache_options *o = &c->keep;
    const int64_t q[4] = {o->batch, c->heads, c->n, o->d_qk}, out[4] = {o->batch, c->heads, c->n, o->d_v};
    if (pick(c, 3) == 0) c->how.scale = 0.05 + fabs(uniform(c));
    if (pick(c, 4) == 0) c->how.softcap = 0.5 + 2 * fabs(uniform(c));
    if (pick(c, 5) == 0) c->how.see_all = true;
    c->x.q = case_tensor(c, 0, types[pick(c, 4)], 4, q);
    c->x.out = case_tensor(c, 1, types[pick(c, 4)], 4, out);
    if (pick(c, 5)) c->x.lse = case_tensor(c, 2, FV_F32, 3, out);
    for (int64_t b = 0; b < o->batch; b++) {
        c->counts[b] = pick(c, 3) ? c->n : pick(c, c->n + 1);
        if (c->counts[b] > c->length[b]) c->counts[b] = c->length[b];
        for (int64_t h = 0; h < c->heads; h++)
            for (int64_t r = 0; r < c->counts[b]; r++)
                for (int64_t d = 0; d < o->d_qk; d++) fv_tensor_set(&c->x.q, (int64_t[]){b, h, r, d}, 2 * uniform(c));
    }
    c->x.counts = c->counts;
    fv_tensor *vectors[2] = {&c->x.sinks, &c->x.slopes};
    for (int i = 0; i < 2; i++) {
        if (pick(c, 4)) continue;
        *vectors[i] = case_tensor(c, 3 + i, FV_F32, 1, &c->heads);
        for (int64_t h = 0; h < c->heads; h++)
            fv_tensor_set(vectors[i], &h, i ? 0.01 + 0.2 * fabs(uniform(c)) : 2 * uniform(c));
    }
}

static inline void case_begin(decode_case *c, uint64_t seed) {
    static const fv_decode_options standard = FV_DECODE_DEFAULT;
    *c = (decode_case){.seed = seed, .how = standard};
}

/* `longest` positions at most. The options in c->keep, c->how, c->heads and c->n are set. */
static inline void case_make(decode_case *c, int64_t longest) {
    const fv_cache_options *o = &c->keep;
    for (int64_t b = 0; b < o->batch; b++) {
        const size_t rows = (size_t)(longest + 64) * (size_t)o->kv_heads;
        c->k[b] = malloc(rows * (size_t)o->d_qk * sizeof(double)),
        c->v[b] = malloc(rows * (size_t)o->d_v * sizeof(double));
    }
    if (fv_kv_cache_create(&c->cache, o) != FV_OK) fail_msg("seed %ld: %s", (long)c->seed, fv_message());
    case_poison(c->cache);
    case_fill(c, longest);
    case_extras(c);
}

static inline void case_free(decode_case *c) {
    for (int i = 0; i < 8; i++) free(c->block[i]);
    for (int i = 0; i < 4; i++) free(c->k[i]), free(c->v[i]);
    fv_kv_cache_free(c->cache);
}

/* Plans and runs, with scratch that is NaN at first and guarded behind. */
static inline fv_status case_run(const decode_case *c, const fv_kv_cache *cache, const fv_decode_tensors *x,
                                 int64_t rows) {
    fv_decode_plan *plan;
    FV_TRY(fv_decode_plan_create(&plan, &c->how, cache, c->heads, rows));
    const size_t bytes = fv_decode_scratch(plan, cache);
    unsigned char *scratch = malloc(bytes + 64);
    memset(scratch, 0xff, bytes);
    memset(scratch + bytes, 0x5a, 64);
    fv_status status = fv_decode(plan, cache, x, scratch);
    for (int i = 0; i < 64; i++)
        if (scratch[bytes + (size_t)i] != 0x5a)
            status = fv__fail(FV_FAIL, "scratch: written beyond the announced size");
    free(scratch);
    fv_decode_plan_free(plan);
    return status;
}

/* ---- the answer from the definition */

typedef struct plain_row {
    double out[256], lse, largest; /* largest |score| */
} plain_row;

static inline void plain_answer(const decode_case *c, int64_t b, int64_t h, int64_t r, plain_row *to) {
    static double s[CASE_LONGEST + 64];
    const fv_cache_options *o = &c->keep;
    const int64_t count = c->counts[b], at = c->length[b] - count + r, kv = h / (c->heads / o->kv_heads);
    const double scale = c->how.scale != 0 ? c->how.scale : 1 / sqrt((double)o->d_qk);
    double top = -INFINITY, sum = 0;
    memset(to, 0, sizeof *to);
    to->lse = -INFINITY;
    if (r >= count) return;
    for (int64_t j = 0; j < c->length[b]; j++) {
        s[j] = -INFINITY;
        if (j < c->first[b] || (j > at && !c->how.see_all)) continue;
        if (c->how.window_left >= 0 && j < at - c->how.window_left) continue;
        double dot = 0;
        for (int64_t d = 0; d < o->d_qk; d++)
            dot += get4(&c->x.q, b, h, r, d) * c->k[b][(j * o->kv_heads + kv) * o->d_qk + d];
        s[j] = dot * scale;
        if (fabs(s[j]) > to->largest) to->largest = fabs(s[j]);
        if (c->how.softcap > 0) s[j] = c->how.softcap * tanh(s[j] / c->how.softcap);
        if (c->x.slopes.rank) s[j] -= fv_tensor_get(&c->x.slopes, &h) * fabs((double)(at - j));
        if (s[j] > top) top = s[j];
    }
    for (int64_t j = 0; j < c->length[b]; j++) sum += exp(s[j] - top);
    to->lse = top + log(sum);
    if (c->x.sinks.rank) sum += exp(fv_tensor_get(&c->x.sinks, &h) - top);
    for (int64_t j = 0; j < c->length[b]; j++)
        for (int64_t d = 0; d < o->d_v && s[j] > -INFINITY; d++)
            to->out[d] += exp(s[j] - top) / sum * c->v[b][(j * o->kv_heads + kv) * o->d_v + d];
}

#endif
