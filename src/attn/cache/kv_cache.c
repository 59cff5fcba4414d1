/* A K/V cache: its memory, its pages, its lengths. Rows go in and out in rows.c. */
#include "attn/cache/kv_cache.h"

#include <string.h>

enum { WIDEST = 65536 };

fv__kv_place fv__kv_at(const fv_kv_cache *cache, int64_t b, int64_t head, int64_t at) {
    int64_t page = b, row = at;
    if (cache->o.kind == FV_CACHE_RING) row = at % cache->rows;
    if (cache->o.kind == FV_CACHE_PAGED)
        page = cache->table[b * cache->slots + at / cache->rows], row = at % cache->rows;
    const size_t start = (size_t)((page * cache->o.kv_heads + head) * cache->rows),
                 block = start + (size_t)(row / FV_KV_KEYS * FV_KV_KEYS);
    return (fv__kv_place){cache->k + block * cache->k_pitch, cache->v + (start + (size_t)row) * cache->v_pitch,
                          cache->rows - row};
}

int64_t fv__kv_max_length(const fv_kv_cache *c) {
    if (c->o.kind == FV_CACHE_RING) return INT64_MAX / 4;
    if (c->o.kind == FV_CACHE_CONTIGUOUS) return c->o.capacity;
    return c->o.capacity > 0 && c->o.capacity < c->slots * c->rows ? c->o.capacity : c->slots * c->rows;
}

fv_status fv__kv_null_pointer(const char *what) {
    return fv__fail(FV_USAGE, "kv cache: %s\n  expected a pointer\n  found:   NULL", what);
}

/* ---- making */

static fv_status one_size(const char *name, int64_t value, int64_t low, int64_t high) {
    if (value >= low && value <= high) return FV_OK;
    return fv__fail(FV_USAGE, "kv cache: %s\n  expected a number from %lld to %lld\n  found:   %lld", name,
                    (long long)low, (long long)high, (long long)value);
}

static fv_status check_options(const fv_cache_options *o) {
    const int64_t far = INT64_C(1) << 48;
    FV_TRY(one_size("batch", o->batch, 1, far));
    FV_TRY(one_size("kv_heads", o->kv_heads, 1, WIDEST));
    FV_TRY(one_size("d_qk", o->d_qk, 1, WIDEST));
    FV_TRY(one_size("d_v", o->d_v, 1, WIDEST));
    if (o->dtype != FV_F32 && o->dtype != FV_BF16 && o->dtype != FV_F16)
        return fv__fail(FV_USAGE, "kv cache: dtype\n  expected f32, bf16 or f16\n  found:   %s",
                        fv_dtype_name(o->dtype));
    if (o->kind != FV_CACHE_CONTIGUOUS && o->kind != FV_CACHE_RING && o->kind != FV_CACHE_PAGED)
        return fv__fail(FV_USAGE, "kv cache: kind\n  expected contiguous, ring or paged\n  found:   %d", (int)o->kind);
    if (o->kind != FV_CACHE_PAGED) return one_size("capacity", o->capacity, 1, far);
    FV_TRY(one_size("page_rows", o->page_rows, 1, far));
    if (o->page_rows % FV_KV_KEYS != 0)
        return fv__fail(FV_USAGE, "kv cache: page_rows\n  expected a multiple of %d\n  found:   %lld", FV_KV_KEYS,
                        (long long)o->page_rows);
    FV_TRY(one_size("pages", o->pages, 1, far));
    return one_size("capacity", o->capacity, 0, far);
}

/* Slots that the table needs for a sequence: enough for its capacity, never more than there are pages. */
static int64_t slots_of(const fv_cache_options *o) {
    if (o->kind != FV_CACHE_PAGED) return 0;
    const int64_t slots = o->capacity / o->page_rows + (o->capacity % o->page_rows != 0);
    return o->capacity == 0 || slots > o->pages ? o->pages : slots;
}

static void release(fv_kv_cache *c) {
    fv__free(c->table), fv__free(c->unused), fv__free(c->references), fv__free(c->readers);
    fv__free(c->length), fv__free(c->first), fv__free(c->k), fv__free(c->v);
}

static fv_status block(const char *what, size_t element, int64_t a, int64_t b, int64_t c, void *out) {
    const int64_t dim[3] = {a, b, c};
    size_t bytes;
    if (!fv__size_of(dim, 3, element, &bytes))
        return fv__fail(FV_NO_RESOURCES,
                        "kv cache: %lld x %lld x %lld %s do not fit into any memory\n"
                        "  try:     a smaller capacity or fewer pages",
                        (long long)a, (long long)b, (long long)c, what);
    void *memory = fv__alloc(bytes);
    memcpy(out, &memory, sizeof memory);
    return memory ? FV_OK : FV_NO_RESOURCES;
}

/* Allocates all memory of a cache with these options; what was allocated before a failure is for release. */
static fv_status allocate(fv_kv_cache *c, const fv_cache_options *o) {
    const bool paged = o->kind == FV_CACHE_PAGED;
    const size_t element = fv_dtype_size(o->dtype);
    *c = (fv_kv_cache){.o = *o,
                       .rows = paged ? o->page_rows : (o->capacity + FV_KV_KEYS - 1) / FV_KV_KEYS * FV_KV_KEYS,
                       .pages = paged ? o->pages : o->batch};
    c->slots = slots_of(o);
    c->k_pitch = (size_t)(o->d_qk + o->d_qk % 2) * element, c->v_pitch = (size_t)o->d_v * element;
    FV_TRY(block("rows of keys", c->k_pitch, c->pages, o->kv_heads, c->rows, &c->k));
    FV_TRY(block("rows of values", c->v_pitch, c->pages, o->kv_heads, c->rows, &c->v));
    FV_TRY(block("lengths", sizeof *c->length, o->batch, 1, 1, &c->length));
    FV_TRY(block("lengths", sizeof *c->first, o->batch, 1, 1, &c->first));
    FV_TRY(block("numbers of readers", sizeof *c->readers, o->batch, 1, 1, &c->readers));
    if (!paged) return FV_OK;
    FV_TRY(block("entries of the block table", sizeof *c->table, o->batch, c->slots, 1, &c->table));
    FV_TRY(block("numbers of pages", sizeof *c->unused, o->pages, 1, 1, &c->unused));
    FV_TRY(block("numbers of references", sizeof *c->references, o->pages, 1, 1, &c->references));
    for (int64_t p = 0; p < o->pages; p++) c->references[p] = 0, c->unused[p] = o->pages - 1 - p; /* page 0 on top */
    c->unused_count = o->pages;
    return FV_OK;
}

fv_status fv_kv_cache_create(fv_kv_cache **out, const fv_cache_options *options) {
    if (!out) return fv__kv_null_pointer("create, where to put it");
    *out = NULL;
    if (!options) return fv__kv_null_pointer("create, options");
    FV_TRY(check_options(options));
    fv_kv_cache *cache = fv__alloc(sizeof *cache);
    if (!cache) return FV_NO_RESOURCES;
    fv_status status = allocate(cache, options);
    if (status == FV_OK)
        *out = cache;
    else
        fv_kv_cache_free(cache);
    return status;
}

void fv_kv_cache_free(fv_kv_cache *cache) {
    if (!cache) return;
    release(cache);
    fv__free(cache);
}

/* ---- growing */

fv_status fv_kv_cache_grow(fv_kv_cache *cache, int64_t size) {
    if (!cache) return fv__kv_null_pointer("grow, cache");
    const bool paged = cache->o.kind == FV_CACHE_PAGED;
    const int64_t now = paged ? cache->o.pages : cache->o.capacity;
    if (size < now)
        return fv__fail(FV_USAGE, "kv cache: grow\n  expected at least the %s of now, %lld\n  found:   %lld",
                        paged ? "pages" : "capacity", (long long)now, (long long)size);
    fv_cache_options o = cache->o;
    if (paged)
        o.pages = size;
    else
        o.capacity = size;
    FV_TRY(check_options(&o));
    fv_kv_cache bigger;
    fv_status status = allocate(&bigger, &o);
    if (status != FV_OK) {
        release(&bigger);
        return status;
    }
    fv__kv_copy_all(&bigger, cache);
    release(cache);
    *cache = bigger;
    return FV_OK;
}

/* ---- lengths */

fv_cache_options fv_kv_cache_options(const fv_kv_cache *cache) { return cache ? cache->o : (fv_cache_options){0}; }

size_t fv_kv_cache_bytes(const fv_kv_cache *cache) {
    return !cache ? 0 : (size_t)(cache->pages * cache->o.kv_heads * cache->rows) * (cache->k_pitch + cache->v_pitch);
}

int64_t fv_kv_cache_free_pages(const fv_kv_cache *cache) { return cache ? cache->unused_count : 0; }

static bool known(const fv_kv_cache *cache, int64_t b) { return cache && b >= 0 && b < cache->o.batch; }

int64_t fv_kv_cache_length(const fv_kv_cache *cache, int64_t b) { return known(cache, b) ? cache->length[b] : 0; }
int64_t fv_kv_cache_first(const fv_kv_cache *cache, int64_t b) { return known(cache, b) ? cache->first[b] : 0; }

static void shorten(fv_kv_cache *cache, int64_t b, int64_t length) {
    if (cache->o.kind == FV_CACHE_PAGED) fv__kv_release(cache, b, length);
    cache->length[b] = length;
}

fv_status fv_kv_cache_truncate(fv_kv_cache *cache, int64_t b, int64_t length) {
    if (!cache) return fv__kv_null_pointer("truncate, cache");
    if (!known(cache, b)) return one_size("truncate, sequence", b, 0, cache->o.batch - 1);
    if (length < cache->first[b] || length > cache->length[b])
        return fv__fail(FV_USAGE,
                        "kv cache: truncate sequence %lld\n  expected a length from %lld, the first position kept, to "
                        "%lld\n  found:   %lld%s",
                        (long long)b, (long long)cache->first[b], (long long)cache->length[b], (long long)length,
                        cache->first[b] > 0 ? "\n  try:     fv_kv_cache_reset to start anew" : "");
    shorten(cache, b, length);
    return FV_OK;
}

fv_status fv_kv_cache_reset(fv_kv_cache *cache, int64_t b) {
    if (!cache) return fv__kv_null_pointer("reset, cache");
    if (b != -1 && !known(cache, b)) return one_size("reset, sequence", b, -1, cache->o.batch - 1);
    for (int64_t i = b < 0 ? 0 : b; i <= (b < 0 ? cache->o.batch - 1 : b); i++) {
        shorten(cache, i, 0);
        cache->first[i] = 0;
    }
    return FV_OK;
}
