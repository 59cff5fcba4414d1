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
    void *block[12];
    size_t size[12];
} decode_case;

static inline int64_t case_times(int64_t normal) {
    return getenv("FOVEA_TEST_LONG") ? 10 * normal : getenv("FOVEA_TEST_QUICK") ? normal / 10 + 1 : normal;
}

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

static inline int64_t case_left(const decode_case *c) { return c->how.window.limited ? c->how.window.left : -1; }

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
    if (pick(c, 3) == 0) c->how.window = FV_WINDOW(pick(c, longest / 2), -1);
    if (pick(c, 6) == 0) c->how.window = FV_WINDOW(case_left(c), pick(c, c->n + 1));
    if (o->kind == FV_CACHE_PAGED)
        o->page_rows = 16 * (1 + pick(c, 5)), o->pages = o->batch * ((longest + 60) / o->page_rows + 1);
    else if (o->kind == FV_CACHE_RING) {
        if (case_left(c) < 0) c->how.window = FV_WINDOW(pick(c, longest / 2), -1);
        o->capacity = c->how.window.left + c->n + 40 + pick(c, 40); /* 40: what truncations may take back */
    } else
        o->capacity = longest + 60;
    c->how.memory = !c->how.window.limited && pick(c, 5) == 0;
}

/* (B|1,H|1,n|1,P|1): elements of the positions that there are, the others stay NaN or true. */
static inline fv_tensor case_plane(decode_case *c, int slot, fv_dtype dtype, int64_t longest) {
    const int64_t step = 1 + pick(c, 2), full[4] = {c->keep.batch, c->heads, c->n, longest};
    int64_t dim[4];
    for (int a = 0; a < 4; a++) dim[a] = pick(c, a == 3 ? 8 : 2) ? full[a] : 1;
    dim[3] *= step;
    fv_tensor t = case_tensor(c, slot, dtype, 4, dim);
    t.dim[3] /= step, t.stride[3] = step;
    for (int64_t i = 0; i < fv_tensor_count(&t); i++) {
        const double bias = pick(c, 7) ? 2 * uniform(c) : -INFINITY, mask = (double)(pick(c, 5) == 0);
        int64_t at[4], left = i;
        for (int a = 3; a >= 0; a--) at[a] = left % t.dim[a], left /= t.dim[a];
        if (t.dim[3] == 1 || t.dim[0] == 1 || at[3] < c->length[at[0]]) fv_tensor_set(&t, at, slot == 8 ? bias : mask);
    }
    return t;
}

static inline void case_masks(decode_case *c) {
    static const fv_dtype types[] = {FV_F32, FV_F32, FV_BF16, FV_F16};
    int64_t longest = 1;
    for (int64_t b = 0; b < c->keep.batch; b++) longest = c->length[b] > longest ? c->length[b] : longest;
    longest += pick(c, 2) ? 0 : pick(c, 4);
    if (pick(c, 4) == 0) c->x.bias = case_plane(c, 8, types[pick(c, 4)], longest);
    if (pick(c, 4) == 0) c->x.mask = case_plane(c, 9, pick(c, 2) ? FV_BOOL : FV_U8, longest);
    if (pick(c, 3)) c->how.mask_means = FV_MASK_DROP; /* keeps more than it drops */
    if (c->how.memory || pick(c, 5)) return;
    c->x.prefix_len = case_tensor(c, 10, pick(c, 2) ? FV_I32 : FV_I64, 1, &c->keep.batch);
    for (int64_t b = 0; b < c->keep.batch; b++) fv_tensor_set(&c->x.prefix_len, &b, (double)pick(c, c->length[b] + 3));
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
        if (c->counts[b] > c->length[b] && !c->how.memory) c->counts[b] = c->length[b];
        for (int64_t h = 0; h < c->heads; h++)
            for (int64_t r = 0; r < c->counts[b]; r++)
                for (int64_t d = 0; d < o->d_qk; d++) fv_tensor_set(&c->x.q, (int64_t[]){b, h, r, d}, 2 * uniform(c));
    }
    c->x.counts = c->counts;
    fv_tensor *vectors[2] = {&c->x.sinks, &c->x.slopes};
    for (int i = 0; i < 2; i++) {
        if (pick(c, 4) || (i && c->how.memory)) continue;
        *vectors[i] = case_tensor(c, 3 + i, FV_F32, 1, &c->heads);
        for (int64_t h = 0; h < c->heads; h++)
            fv_tensor_set(vectors[i], &h, i ? 0.01 + 0.2 * fabs(uniform(c)) : 2 * uniform(c));
    }
    case_masks(c);
}

static inline void case_begin(decode_case *c, uint64_t seed) {
    static const fv_decode_options standard = FV_DECODE_DEFAULT;
    *c = (decode_case){.seed = seed, .how = standard};
}

/* `longest` positions at most. The options in c->keep, c->how, c->heads and c->n are set. */
static inline void case_open(decode_case *c, int64_t longest) {
    const fv_cache_options *o = &c->keep;
    for (int64_t b = 0; b < o->batch; b++) {
        const size_t rows = (size_t)(longest + 64) * (size_t)o->kv_heads;
        c->k[b] = malloc(rows * (size_t)o->d_qk * sizeof(double)),
        c->v[b] = malloc(rows * (size_t)o->d_v * sizeof(double));
    }
    if (fv_kv_cache_create(&c->cache, o) != FV_OK) fail_msg("seed %ld: %s", (long)c->seed, fv_message());
    case_poison(c->cache);
    case_fill(c, longest);
}

static inline void case_make(decode_case *c, int64_t longest) {
    case_open(c, longest);
    case_extras(c);
}

static inline void case_free(decode_case *c) {
    for (int i = 0; i < 12; i++) free(c->block[i]);
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

/* ---- the same bits */

static inline fv_decode_tensors case_outputs(decode_case *c, int slot) {
    fv_decode_tensors x = c->x;
    free(c->block[slot]), free(c->block[slot + 1]);
    x.out = case_tensor(c, slot, c->x.out.dtype, 4, c->x.out.dim);
    x.lse = case_tensor(c, slot + 1, FV_F32, 3, c->x.out.dim);
    return x;
}

static inline void case_check_same(const decode_case *c, const char *what, const fv_tensor *a, const fv_tensor *b) {
    int64_t at[4] = {0};
    for (int64_t i = 0; i < fv_tensor_count(a); i++) {
        int64_t left = i;
        for (int d = a->rank - 1; d >= 0; d--) at[d] = left % a->dim[d], left /= a->dim[d];
        const double x = fv_tensor_get(a, at), y = fv_tensor_get(b, at);
        if (memcmp(&x, &y, sizeof x)) fail_msg("seed %ld: %s: %.9g and %.9g", (long)c->seed, what, x, y);
    }
}

static inline void case_check_run_same(decode_case *c, const fv_kv_cache *cache, const char *what) {
    fv_decode_tensors again = case_outputs(c, 6);
    if (case_run(c, cache, &again, c->n) != FV_OK) fail_msg("seed %ld: %s: %s", (long)c->seed, what, fv_message());
    case_check_same(c, what, &again.out, &c->x.out);
    if (c->x.lse.rank) case_check_same(c, what, &again.lse, &c->x.lse);
}

/* ---- the answer from the definition */

typedef struct plain_row {
    double out[256], lse, largest; /* largest |score| */
} plain_row;

static inline double plain_plane(const fv_tensor *t, int64_t b, int64_t h, int64_t r, int64_t j) {
    return get4(t, t->dim[0] == 1 ? 0 : b, t->dim[1] == 1 ? 0 : h, t->dim[2] == 1 ? 0 : r, t->dim[3] == 1 ? 0 : j);
}

/* Does row r, which is position `at`, see position j? */
static inline bool plain_visible(const decode_case *c, int64_t b, int64_t h, int64_t r, int64_t at, int64_t j) {
    const fv_window *w = &c->how.window;
    const bool in_prefix = c->x.prefix_len.rank && (double)j < fv_tensor_get(&c->x.prefix_len, &b);
    if (j < c->first[b]) return false;
    if (w->limited && w->left >= 0 && j < at - w->left) return false;
    if (!in_prefix && w->limited && w->right >= 0 && j > at + w->right) return false;
    if (!in_prefix && j > at && !c->how.see_all && !c->how.memory) return false;
    if (c->x.bias.rank && plain_plane(&c->x.bias, b, h, r, j) == -INFINITY) return false;
    return !c->x.mask.rank || (plain_plane(&c->x.mask, b, h, r, j) != 0) == (c->how.mask_means == FV_MASK_KEEP);
}

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
        if (!plain_visible(c, b, h, r, at, j)) continue;
        double dot = 0;
        for (int64_t d = 0; d < o->d_qk; d++)
            dot += get4(&c->x.q, b, h, r, d) * c->k[b][(j * o->kv_heads + kv) * o->d_qk + d];
        s[j] = dot * scale;
        if (fabs(s[j]) > to->largest) to->largest = fabs(s[j]);
        if (c->how.softcap > 0) s[j] = c->how.softcap * tanh(s[j] / c->how.softcap);
        if (c->x.slopes.rank) s[j] -= fv_tensor_get(&c->x.slopes, &h) * fabs((double)(at - j));
        if (c->x.bias.rank) {
            const double bias = plain_plane(&c->x.bias, b, h, r, j);
            s[j] += bias;
            if (fabs(bias) > to->largest) to->largest = fabs(bias);
        }
        if (s[j] > top) top = s[j];
    }
    if (top == -INFINITY) return;
    for (int64_t j = 0; j < c->length[b]; j++) sum += exp(s[j] - top);
    to->lse = top + log(sum);
    if (c->x.sinks.rank) sum += exp(fv_tensor_get(&c->x.sinks, &h) - top);
    for (int64_t j = 0; j < c->length[b]; j++)
        for (int64_t d = 0; d < o->d_v && s[j] > -INFINITY; d++)
            to->out[d] += exp(s[j] - top) / sum * c->v[b][(j * o->kv_heads + kv) * o->d_v + d];
}

static inline double case_slack(fv_dtype dtype) { return dtype == FV_BF16 ? 0x1p-8 : dtype == FV_F16 ? 0x1p-11 : 0; }

/* A weight is off by at most the error of its score: rounding of the products, of softcap and of the distance of a
 * slope. */
static inline void case_check_answer(const decode_case *c) {
    const fv_cache_options *o = &c->keep;
    for (int64_t b = 0; b < o->batch; b++)
        for (int64_t h = 0; h < c->heads; h++)
            for (int64_t r = 0; r < c->n; r++) {
                plain_row want;
                plain_answer(c, b, h, r, &want);
                const double allowed =
                    4e-7 * (8 + 8 * want.largest + (c->x.slopes.rank ? 0.25 * (double)c->length[b] : 0));
                for (int64_t d = 0; d < o->d_v; d++) {
                    const double got = get4(&c->x.out, b, h, r, d), off = fabs(got - want.out[d]);
                    if (!(off <=
                          allowed + case_slack(c->x.out.dtype) * fabs(want.out[d]) + (r < c->counts[b] ? 1e-7 : 0)))
                        fail_msg("seed %ld: out[%ld,%ld,%ld,%ld] is %.9g, not %.9g", (long)c->seed, (long)b, (long)h,
                                 (long)r, (long)d, got, want.out[d]);
                }
                if (!c->x.lse.rank) continue;
                const double lse = fv_tensor_get(&c->x.lse, (int64_t[]){b, h, r});
                if (lse != want.lse && !(fabs(lse - want.lse) <= allowed + 1e-6 * fabs(want.lse)))
                    fail_msg("seed %ld: lse[%ld,%ld,%ld] is %.9g, not %.9g", (long)c->seed, (long)b, (long)h, (long)r,
                             lse, want.lse);
            }
}

/* The part of a tensor that may be absent or broadcast on this axis. */
static inline fv_tensor case_slice(fv_tensor t, int axis, int64_t start, int64_t count) {
    return t.rank == 0 || (t.rank == 4 && t.dim[axis] == 1) ? t : fv_tensor_slice(t, axis, start, count);
}

#endif
