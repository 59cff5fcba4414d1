/* Rows into a cache and out of it: append and read. */
#include "attn/cache/kv_cache.h"
#include "simd/simd.h"
#include "tensor/dtype.h"

#include <string.h>

/* ---- one row, from type to type: rounded at most once */

static void convert(void *to, fv_dtype to_type, const void *from, fv_dtype from_type, int64_t n) {
    const fv__simd_f32 *simd = fv__simd_f32_now();
    if (to_type == from_type)
        memcpy(to, from, (size_t)n * fv_dtype_size(to_type));
    else if (from_type == FV_F32 && to_type == FV_BF16)
        simd->to_bf16(to, from, n);
    else if (from_type == FV_F32 && to_type == FV_F16)
        simd->to_f16(to, from, n);
    else
        for (int64_t i = 0; i < n; i += 64) {
            double some[64];
            const int64_t count = n - i < 64 ? n - i : 64;
            fv__load_f64(some, (const char *)from + (size_t)i * fv_dtype_size(from_type), from_type, 1, count);
            fv__store_f64((char *)to + (size_t)i * fv_dtype_size(to_type), to_type, 1, some, count);
        }
}

/* A key into its lane, or out of it; the column behind an odd width becomes 0. */
static void put_key(const fv_kv_cache *c, void *block, int64_t at, const void *from, fv_dtype from_type) {
    const fv_dtype dtype = c->o.dtype;
    for (int64_t d0 = 0; d0 < c->o.d_qk; d0 += 64) {
        union {
            float whole[64];
            uint16_t bits[64];
        } some = {{0}};
        const int64_t left = c->o.d_qk - d0, n = left < 64 ? left : 64, even = n + n % 2;
        convert(&some, dtype, (const char *)from + (size_t)d0 * fv_dtype_size(from_type), from_type, n);
        for (int64_t d = 0; d < even; d++) {
            const int64_t to = fv__kv_element(dtype, at, d0 + d);
            if (dtype == FV_F32)
                ((float *)block)[to] = some.whole[d];
            else
                ((uint16_t *)block)[to] = some.bits[d];
        }
    }
}

static void get_key(const fv_kv_cache *c, void *to, fv_dtype to_type, const void *block, int64_t at) {
    const size_t size = fv_dtype_size(c->o.dtype);
    for (int64_t d = 0; d < c->o.d_qk; d++)
        convert((char *)to + (size_t)d * fv_dtype_size(to_type), to_type,
                (const char *)block + (size_t)fv__kv_element(c->o.dtype, at, d) * size, c->o.dtype, 1);
}

/* ---- checks */

static fv_status wrong(const char *where, const fv_tensor *t, const char *expected) {
    char text[160];
    fv_tensor_describe(t, text, sizeof text);
    return fv__fail(FV_USAGE, "kv cache: %s\n  expected %s\n  found:   %s", where, expected, text);
}

static fv_status check_rows(const char *where, const fv_tensor *t, int rank, int64_t batch, int64_t heads, int64_t n,
                            int64_t width, const char *expected) {
    const int64_t want[4] = {batch, heads, n, width};
    if (t->rank != rank) return wrong(where, t, expected);
    for (int a = 0; a < rank; a++)
        if (t->dim[a] != want[a + 4 - rank]) return wrong(where, t, expected);
    if (!fv__dtype_is_float(t->dtype)) return wrong(where, t, "a floating dtype");
    if (width > 1 && t->stride[rank - 1] != 1) return wrong(where, t, "unit stride on the last axis");
    if (!t->data && n > 0) return wrong(where, t, "a tensor with data");
    return FV_OK;
}

static fv_status check_capacity(const fv_kv_cache *c, int64_t b, int64_t n) {
    const int64_t length = c->length[b], most = fv__kv_max_length(c);
    if (n > most - length)
        return fv__fail(FV_NO_RESOURCES,
                        "kv cache: append to sequence %lld\n  expected capacity for %lld rows\n  found:   %lld of %lld "
                        "positions taken\n  try:     fv_kv_cache_grow, or truncate or reset the sequence",
                        (long long)b, (long long)n, (long long)length, (long long)most);
    return FV_OK;
}

static fv_status check_append(fv_kv_cache *c, const fv_tensor *k, const fv_tensor *v, const int64_t *counts) {
    const fv_cache_options *o = &c->o;
    const int64_t n = k->rank == 4 ? k->dim[2] : -1;
    if (n < 0) return wrong("append, k", k, "(B,Hkv,n,Dqk)");
    FV_TRY(check_rows("append, k", k, 4, o->batch, o->kv_heads, n, o->d_qk, "(B,Hkv,n,Dqk) of the cache"));
    FV_TRY(check_rows("append, v", v, 4, o->batch, o->kv_heads, n, o->d_v, "(B,Hkv,n,Dv) of the cache and n of k"));
    for (int64_t b = 0; b < o->batch; b++) {
        const int64_t count = counts ? counts[b] : n;
        if (count < 0 || count > n)
            return fv__fail(FV_USAGE, "kv cache: append, count of sequence %lld\n  expected 0 to %lld\n  found:   %lld",
                            (long long)b, (long long)n, (long long)count);
        FV_TRY(check_capacity(c, b, count));
    }
    if (o->kind != FV_CACHE_PAGED) return FV_OK;
    const int64_t pages = fv__kv_pages_to_append(c, counts, n);
    if (pages > c->unused_count)
        return fv__fail(
            FV_NO_RESOURCES,
            "kv cache: append\n  expected %lld free pages of %lld rows\n  found:   %lld of %lld\n  try:     "
            "fv_kv_cache_grow, or reset sequences that are finished",
            (long long)pages, (long long)c->rows, (long long)c->unused_count, (long long)c->pages);
    return FV_OK;
}

/* ---- append */

typedef struct append_job {
    fv_kv_cache *cache;
    const fv_tensor *k, *v;
    const int64_t *counts;
} append_job;

static const char *row_of(const fv_tensor *t, int64_t b, int64_t h, int64_t l) {
    return (const char *)t->data +
           (b * t->stride[0] + h * t->stride[1] + l * t->stride[2]) * (int64_t)fv_dtype_size(t->dtype);
}

/* The rows of one (sequence, head). Of more rows than a ring keeps, only the last ones are written. */
static void append_task(void *context, int64_t index, int worker) {
    const append_job *j = context;
    fv_kv_cache *c = j->cache;
    const fv_cache_options *o = &c->o;
    (void)worker;
    const int64_t b = index / o->kv_heads, head = index % o->kv_heads, n = j->counts ? j->counts[b] : j->k->dim[2];
    const int64_t skip = o->kind == FV_CACHE_RING && n > o->capacity ? n - o->capacity : 0;
    for (int64_t r = skip; r < n; r++) {
        const fv__kv_place to = fv__kv_at(c, b, head, c->length[b] + r);
        put_key(c, to.k, c->length[b] + r, row_of(j->k, b, head, r), j->k->dtype);
        convert(to.v, o->dtype, row_of(j->v, b, head, r), j->v->dtype, o->d_v);
    }
}

fv_status fv_kv_cache_append(fv_kv_cache *cache, const fv_tensor *k, const fv_tensor *v, const int64_t *counts) {
    if (!cache || !k || !v) return fv__kv_null_pointer(!cache ? "append, cache" : !k ? "append, k" : "append, v");
    FV_TRY(check_append(cache, k, v, counts));
    append_job job = {cache, k, v, counts};
    const int64_t batch = cache->o.batch, pairs = batch * cache->o.kv_heads, n = k->dim[2];
    for (int64_t b = 0; cache->o.kind == FV_CACHE_PAGED && b < batch; b++)
        fv__kv_pages_append(cache, b, counts ? counts[b] : n);
    if (n > 16)
        fv__parallel_for(pairs, append_task, &job);
    else /* a few rows: copied sooner than threads wake up */
        for (int64_t i = 0; i < pairs; i++) append_task(&job, i, 0);
    for (int64_t b = 0; b < batch; b++) {
        cache->length[b] += counts ? counts[b] : n;
        const int64_t kept = cache->o.capacity;
        if (cache->o.kind == FV_CACHE_RING && cache->length[b] - kept > cache->first[b])
            cache->first[b] = cache->length[b] - kept;
    }
    return FV_OK;
}

/* ---- read */

static fv_status check_span(const fv_kv_cache *c, const char *where, int64_t b, int64_t start, int64_t n) {
    if (b < 0 || b >= c->o.batch)
        return fv__fail(FV_USAGE, "kv cache: %s, sequence\n  expected 0 to %lld\n  found:   %lld", where,
                        (long long)c->o.batch - 1, (long long)b);
    if (start >= c->first[b] && start <= c->length[b] && n <= c->length[b] - start) return FV_OK;
    return fv__fail(FV_USAGE,
                    "kv cache: %s sequence %lld\n  expected positions within %lld to %lld\n  found:   %lld positions "
                    "from %lld on",
                    where, (long long)b, (long long)c->first[b], (long long)c->length[b], (long long)n,
                    (long long)start);
}

static char *row_at(const fv_tensor *t, int64_t head, int64_t r) {
    return (char *)t->data + (head * t->stride[0] + r * t->stride[1]) * (int64_t)fv_dtype_size(t->dtype);
}

fv_status fv_kv_cache_read(const fv_kv_cache *cache, int64_t b, int64_t start, const fv_tensor *k, const fv_tensor *v) {
    if (!cache) return fv__kv_null_pointer("read, cache");
    const fv_cache_options *o = &cache->o;
    const fv_tensor *some = k ? k : v;
    if (!some) return FV_OK;
    const int64_t n = some->rank == 3 ? some->dim[1] : -1;
    if (n < 0) return wrong("read", some, "(Hkv,n,D)");
    if (k) FV_TRY(check_rows("read, k", k, 3, 0, o->kv_heads, n, o->d_qk, "(Hkv,n,Dqk)"));
    if (v) FV_TRY(check_rows("read, v", v, 3, 0, o->kv_heads, n, o->d_v, "(Hkv,n,Dv) and n of k"));
    FV_TRY(check_span(cache, "read", b, start, n));
    for (int64_t head = 0; head < o->kv_heads; head++)
        for (int64_t r = 0; r < n; r++) {
            const fv__kv_place from = fv__kv_at(cache, b, head, start + r);
            if (k) get_key(cache, row_at(k, head, r), k->dtype, from.k, start + r);
            if (v) convert(row_at(v, head, r), v->dtype, from.v, o->dtype, o->d_v);
        }
    return FV_OK;
}
