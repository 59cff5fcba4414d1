/* Copies of sequences and of whole caches. Within a paged cache only page numbers are copied, see kv_pages.c. */
#include "attn/cache/kv_cache.h"

#include <string.h>

enum {
    MANY_BYTES = 1 << 18, /* threads are worth waking up for so much */
    SOME_BYTES = 4096     /* that are exchanged through the stack */
};

static bool is_paged(const fv_kv_cache *c) { return c->o.kind == FV_CACHE_PAGED; }

/* ---- rows from memory to memory */

/* Columns of K of n neighbours in a block; other lanes of the block may hold rows of another turn of a ring. */
static void copy_keys(const fv_kv_cache *c, unsigned char *to, const unsigned char *from, int64_t at, int64_t n) {
    if (n == FV_KV_KEYS) {
        memcpy(to, from, FV_KV_KEYS * c->k_pitch);
        return;
    }
    const size_t size = fv_dtype_size(c->o.dtype);
    const int64_t columns = c->o.d_qk + c->o.d_qk % 2, together = c->o.dtype == FV_BF16 ? 2 : 1;
    for (int64_t d = 0; d < columns; d += together) {
        const size_t lane = (size_t)fv__kv_element(c->o.dtype, at, d) * size;
        memcpy(to + lane, from + lane, (size_t)(n * together) * size);
    }
}

typedef struct copy_job {
    fv_kv_cache *to;
    const fv_kv_cache *from;
    int64_t to_b, from_b, first, length;
} copy_job;

static void copy_task(void *context, int64_t head, int worker) {
    const copy_job *j = context;
    (void)worker;
    for (int64_t at = j->first, n; at < j->length; at += n) {
        const fv__kv_place to = fv__kv_at(j->to, j->to_b, head, at), from = fv__kv_at(j->from, j->from_b, head, at);
        n = FV_KV_KEYS - at % FV_KV_KEYS;
        if (n > j->length - at) n = j->length - at;
        copy_keys(j->from, to.k, from.k, at, n);
        memcpy(to.v, from.v, (size_t)n * j->from->v_pitch);
    }
}

static void each_head(const fv_kv_cache *c, int64_t rows, fv__loop_fn *task, void *context) {
    if ((double)(rows * c->o.kv_heads) * (double)(c->k_pitch + c->v_pitch) >= MANY_BYTES)
        fv__parallel_for(c->o.kv_heads, task, context);
    else
        for (int64_t head = 0; head < c->o.kv_heads; head++) task(context, head, 0);
}

/* Positions [first, length); there is room for them. */
static void copy_rows(fv_kv_cache *to, int64_t to_b, const fv_kv_cache *from, int64_t from_b, int64_t first,
                      int64_t length) {
    copy_job job = {to, from, to_b, from_b, first, length};
    each_head(from, length - first, copy_task, &job);
}

/* ---- whole caches */

void fv__kv_copy_all(fv_kv_cache *to, const fv_kv_cache *from) {
    const fv_cache_options *o = &from->o;
    memcpy(to->length, from->length, (size_t)o->batch * sizeof *from->length);
    memcpy(to->first, from->first, (size_t)o->batch * sizeof *from->first);
    for (int64_t b = 0; b < o->batch && !is_paged(from); b++)
        copy_rows(to, b, from, b, from->first[b], from->length[b]);
    if (!is_paged(from)) return;
    /* pages keep their numbers; the new ones lie below the unused ones of before */
    const int64_t more = to->pages - from->pages;
    for (int64_t b = 0; b < o->batch; b++)
        memcpy(to->table + b * to->slots, from->table + b * from->slots, (size_t)from->slots * sizeof *from->table);
    memcpy(to->unused + more, from->unused, (size_t)from->unused_count * sizeof *from->unused);
    to->unused_count = from->unused_count + more;
    for (int64_t page = 0; page < from->pages; page++) {
        to->references[page] = from->references[page];
        if (from->references[page] > 0) fv__kv_page_copy(to, page, from, page);
    }
}

fv_status fv_kv_cache_clone(fv_kv_cache **copy, const fv_kv_cache *cache) {
    if (!copy) return fv__kv_null_pointer("clone, where to put it");
    *copy = NULL;
    if (!cache) return fv__kv_null_pointer("clone, cache");
    FV_TRY(fv_kv_cache_create(copy, &cache->o));
    fv__kv_copy_all(*copy, cache);
    return FV_OK;
}

/* ---- one sequence */

static fv_status check_number(const char *what, int64_t value, int64_t high) {
    if (value >= 0 && value <= high) return FV_OK;
    return fv__fail(FV_USAGE, "kv cache: %s\n  expected a number from 0 to %lld\n  found:   %lld", what,
                    (long long)high, (long long)value);
}

static fv_status check_alike(const fv_cache_options *to, const fv_cache_options *from) {
    if (to->kv_heads == from->kv_heads && to->d_qk == from->d_qk && to->d_v == from->d_v && to->dtype == from->dtype)
        return FV_OK;
    return fv__fail(FV_USAGE,
                    "kv cache: copy\n  expected a cache of %lld kv heads, widths %lld and %lld, %s\n  found:   %lld "
                    "kv heads, widths %lld and %lld, %s",
                    (long long)to->kv_heads, (long long)to->d_qk, (long long)to->d_v, fv_dtype_name(to->dtype),
                    (long long)from->kv_heads, (long long)from->d_qk, (long long)from->d_v, fv_dtype_name(from->dtype));
}

/* Is there room for `length` positions in the place of sequence b? */
static fv_status check_capacity(const fv_kv_cache *to, int64_t b, int64_t length) {
    const int64_t most = fv__kv_max_length(to);
    if (length > most)
        return fv__fail(FV_NO_RESOURCES,
                        "kv cache: copy to sequence %lld\n  expected at most %lld positions, its capacity\n  found:   "
                        "%lld\n  try:     fv_kv_cache_grow",
                        (long long)b, (long long)most, (long long)length);
    if (!is_paged(to)) return FV_OK;
    const int64_t pages = fv__kv_pages_for(to, length), unused = to->unused_count + fv__kv_pages_exclusive(to, b);
    if (pages <= unused) return FV_OK;
    return fv__fail(FV_NO_RESOURCES,
                    "kv cache: copy to sequence %lld\n  expected %lld free pages of %lld rows\n  found:   %lld\n  try: "
                    "    fv_kv_cache_grow, or reset sequences that are finished",
                    (long long)b, (long long)pages, (long long)to->rows, (long long)unused);
}

static void share_pages(fv_kv_cache *c, int64_t to, int64_t from) {
    fv__kv_share(c, from);
    fv__kv_release(c, to, 0);
    memcpy(c->table + to * c->slots, c->table + from * c->slots,
           (size_t)fv__kv_pages_for(c, c->length[from]) * sizeof *c->table);
}

fv_status fv_kv_cache_copy(fv_kv_cache *to, int64_t to_b, const fv_kv_cache *from, int64_t from_b) {
    if (!to || !from) return fv__kv_null_pointer(to ? "copy, from" : "copy, to");
    FV_TRY(check_alike(&to->o, &from->o));
    FV_TRY(check_number("copy, sequence to write", to_b, to->o.batch - 1));
    FV_TRY(check_number("copy, sequence to read", from_b, from->o.batch - 1));
    if (to == from && to_b == from_b) return FV_OK;
    const int64_t length = from->length[from_b], kept = length - to->o.capacity;
    const int64_t first = to->o.kind == FV_CACHE_RING && kept > from->first[from_b] ? kept : from->first[from_b];
    if (to == from && is_paged(to))
        share_pages(to, to_b, from_b);
    else {
        FV_TRY(check_capacity(to, to_b, length));
        fv_kv_cache_reset(to, to_b);
        if (is_paged(to)) fv__kv_pages_append(to, to_b, length);
        copy_rows(to, to_b, from, from_b, first, length);
    }
    to->first[to_b] = first, to->length[to_b] = length;
    return FV_OK;
}

/* ---- every sequence from a parent */

/* Sequence b becomes what p is. Who refers to which page was counted before. */
static void assign(fv_kv_cache *c, int64_t b, int64_t p) {
    if (is_paged(c))
        memcpy(c->table + b * c->slots, c->table + p * c->slots,
               (size_t)fv__kv_pages_for(c, c->length[p]) * sizeof *c->table);
    else
        copy_rows(c, b, c, p, c->first[p], c->length[p]);
    c->first[b] = c->first[p], c->length[b] = c->length[p];
}

static void swap_bytes(void *a, void *b, size_t bytes) {
    unsigned char some[SOME_BYTES], *x = a, *y = b;
    for (size_t at = 0, n; at < bytes; at += n) {
        n = bytes - at < SOME_BYTES ? bytes - at : SOME_BYTES;
        memcpy(some, x + at, n);
        memcpy(x + at, y + at, n);
        memcpy(y + at, some, n);
    }
}

static void swap_task(void *context, int64_t head, int worker) {
    const copy_job *j = context;
    const fv__kv_place a = fv__kv_at(j->to, j->to_b, head, 0), b = fv__kv_at(j->to, j->from_b, head, 0);
    (void)worker;
    swap_bytes(a.k, b.k, (size_t)j->length * j->to->k_pitch);
    swap_bytes(a.v, b.v, (size_t)j->length * j->to->v_pitch);
}

static void exchange(fv_kv_cache *c, int64_t a, int64_t b) {
    const int64_t longer = c->length[a] > c->length[b] ? c->length[a] : c->length[b];
    if (is_paged(c))
        swap_bytes(c->table + a * c->slots, c->table + b * c->slots,
                   (size_t)fv__kv_pages_for(c, longer) * sizeof *c->table);
    else {
        const int64_t blocks = (longer + FV_KV_KEYS - 1) / FV_KV_KEYS * FV_KV_KEYS;
        copy_job job = {c, c, a, b, 0, blocks < c->rows ? blocks : c->rows};
        each_head(c, 2 * job.length, swap_task, &job);
    }
    swap_bytes(c->first + a, c->first + b, sizeof *c->first);
    swap_bytes(c->length + a, c->length + b, sizeof *c->length);
}

/* parent[b] of sequence b, itself beyond n */
static int64_t parent_of(const int64_t *parent, int64_t n, int64_t b) { return b < n ? parent[b] : b; }

/* Moves without a second copy of anything: first the sequences that nobody reads any more are written, each of which
 * may free its parent to be written. What is left then is read by one other each, that is, cycles, and they are
 * turned by exchanges. */
static void permute(fv_kv_cache *c, const int64_t *parent, int64_t n) {
    enum { DONE = -1 };
    int64_t *readers = c->readers;
    memset(readers, 0, (size_t)c->o.batch * sizeof *readers);
    for (int64_t b = 0; b < n; b++) readers[parent[b]] += parent[b] != b;
    for (int64_t start = 0; start < n; start++)
        for (int64_t b = start, p; (p = parent_of(parent, n, b)) != b && readers[b] == 0; b = p) {
            assign(c, b, p);
            readers[b] = DONE, readers[p]--;
        }
    for (int64_t start = 0; start < n; start++)
        for (int64_t b = start; readers[b] > 0 && parent_of(parent, n, b) != b; b = parent[b]) {
            if (parent[b] != start) exchange(c, b, parent[b]);
            readers[b] = DONE;
        }
}

fv_status fv_kv_cache_reorder(fv_kv_cache *cache, const int64_t *parent, int64_t n) {
    if (!cache) return fv__kv_null_pointer("reorder, cache");
    FV_TRY(check_number("reorder, n", n, cache->o.batch));
    if (!parent && n > 0) return fv__kv_null_pointer("reorder, parent");
    for (int64_t b = 0; b < n; b++)
        if (parent[b] < 0 || parent[b] >= cache->o.batch)
            return fv__fail(FV_USAGE,
                            "kv cache: reorder, parent of sequence %lld\n  expected 0 to %lld\n  found:   %lld",
                            (long long)b, (long long)cache->o.batch - 1, (long long)parent[b]);
    if (is_paged(cache)) {
        for (int64_t b = 0; b < n; b++) fv__kv_share(cache, parent[b]);
        for (int64_t b = 0; b < n; b++) fv__kv_release(cache, b, 0);
    }
    permute(cache, parent, n);
    return FV_OK;
}
