/* Plans of decoding, and everything that can be wrong with a call. */
#include "attn/cache/decode.h"
#include "attn/attn.h"
#include "attn/mechanism_contract.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* ---- plans */

static fv_status missing(const char *what) {
    return fv__fail(FV_USAGE, "decode: %s\n  expected a pointer\n  found:   NULL", what);
}

static fv_status check_window(const fv_decode_options *o) {
    const fv_window *w = &o->window;
    FV_TRY(fv__attn_check_window("decode: window", w));
    if (w->limited && o->memory)
        return fv__fail(FV_USAGE,
                        "decode: window\n  expected none with memory, in which rows have no position\n  found:   left "
                        "%lld, right %lld",
                        (long long)w->left, (long long)w->right);
    return FV_OK;
}

static fv_status check_numbers(const fv_decode_options *o) {
    if (!isfinite(o->scale))
        return fv__fail(FV_USAGE, "decode: scale\n  expected a finite number, 0 for 1/sqrt(Dqk)\n  found:   %g",
                        o->scale);
    if (!(o->softcap >= 0) || !isfinite(o->softcap))
        return fv__fail(FV_USAGE, "decode: softcap\n  expected 0 or more\n  found:   %g", o->softcap);
    FV_TRY(fv__attn_check_number("decode: scale", o->scale, FV_F32));
    FV_TRY(fv__attn_check_number("decode: softcap", o->softcap, FV_F32));
    if (o->mask_means != FV_MASK_KEEP && o->mask_means != FV_MASK_DROP)
        return fv__fail(FV_USAGE, "decode: mask_means\n  expected FV_MASK_KEEP or FV_MASK_DROP\n  found:   %d",
                        (int)o->mask_means);
    for (int i = 0; i < 7; i++)
        if (o->reserved[i] != 0)
            return fv__fail(FV_USAGE, "decode: reserved words of the options\n  expected 0\n  found:   %llu",
                            (unsigned long long)o->reserved[i]);
    return check_window(o);
}
static int64_t padded(int64_t width) { return (width + FV_DECODE_PAD - 1) / FV_DECODE_PAD * FV_DECODE_PAD; }

fv_status fv_decode_plan_create(fv_decode_plan **out, const fv_decode_options *options, const fv_kv_cache *cache,
                                int64_t heads, int64_t rows) {
    static const fv_decode_options standard = FV_DECODE_DEFAULT;
    if (!out) return missing("plan, where to put it");
    *out = NULL;
    if (!cache) return missing("plan, cache");
    const fv_cache_options *c = &cache->o;
    if (!options) options = &standard;
    FV_TRY(check_numbers(options));
    if (heads < 1 || heads > 65536 || heads % c->kv_heads != 0)
        return fv__fail(FV_USAGE,
                        "decode: heads\n  expected a multiple of the %lld kv heads, up to 65536\n  found:   %lld",
                        (long long)c->kv_heads, (long long)heads);
    if (rows < 1 || rows > INT64_C(1) << 31)
        return fv__fail(FV_USAGE, "decode: rows\n  expected 1 to 2^31\n  found:   %lld", (long long)rows);
    fv_decode_plan *plan = fv__alloc(sizeof *plan);
    if (!plan) return FV_NO_RESOURCES;
    *plan = (fv_decode_plan){.o = *options, .cache = *c, .heads = heads, .rows = rows};
    plan->left = options->window.limited ? options->window.left : -1;
    plan->right = options->window.limited ? options->window.right : -1;
    if (!options->see_all) plan->right = -1; /* causality is the closer limit */
    plan->group = heads / c->kv_heads;
    plan->row_batch = plan->group < FV_DECODE_ROWS ? FV_DECODE_ROWS / plan->group : 1;
    if (plan->row_batch > rows) plan->row_batch = rows;
    plan->pairs = (c->d_qk + 1) / 2, plan->q_pad = padded(c->d_qk), plan->o_pad = padded(c->d_v);
    fv_status status = fv__decode_modifiers_plan(plan);
    if (status != FV_OK) {
        fv_decode_plan_free(plan);
        return status;
    }
    if (plan->o.scale == 0) plan->o.scale = 1 / sqrt((double)c->d_qk);
    *out = plan;
    return FV_OK;
}

void fv_decode_plan_free(fv_decode_plan *plan) {
    if (!plan) return;
    fv_attention_plan_free(plan->modifiers.plan);
    fv__free(plan);
}

/* ---- scratch */

/* The most chunks that the keys of all sequences can touch. */
static int64_t most_chunks(const fv_decode_plan *plan, const fv_kv_cache *cache) {
    const int64_t batch = cache->o.batch, chunk = FV_DECODE_CHUNK;
    const int64_t rows = plan->rows; /* row 0 of a call may see the last one: see_all, a prefix */
    const int64_t left = plan->left, each = cache->o.kind == FV_CACHE_PAGED ? cache->slots * cache->rows : cache->rows;
    int64_t chunks = each / chunk + 2;
    if (left >= 0 && left < each && (left + rows) / chunk + 2 < chunks) chunks = (left + rows) / chunk + 2;
    chunks *= batch;
    if (cache->o.kind == FV_CACHE_PAGED) { /* all sequences share the pool */
        const int64_t pool = cache->pages * cache->rows / chunk + batch;
        if (pool < chunks) chunks = pool;
    }
    return chunks;
}

fv__decode_partition fv__decode_partition_of(const fv_decode_plan *plan, const fv_kv_cache *cache) {
    const int64_t rows = fv__attn_times(plan->group, plan->row_batch);
    const size_t kv_heads = (size_t)cache->o.kv_heads, batch = (size_t)cache->o.batch;
    const int64_t q_pad = plan->q_pad, o_pad = plan->o_pad, weights = fv__attn_times(rows, FV_DECODE_CHUNK),
                  row = q_pad > 2 * o_pad ? q_pad : 2 * o_pad; /* or one of q, two of out */
    fv__decode_partition partition = {.chunks = most_chunks(plan, cache)};
    size_t parts;
    partition.first_bytes = fv__attn_lines((int64_t)batch + 1, sizeof(int64_t));
    partition.left_bytes = fv__attn_lines((int64_t)(batch * kv_heads), sizeof(atomic_int));
    partition.part_bytes = fv__attn_lines(fv__attn_times(rows, o_pad + 2), sizeof(float));
    partition.worker_bytes =
        fv__attn_lines(fv__attn_times(rows, q_pad) + (weights > row ? weights : row), sizeof(float));
    if (fv__decode_own_base(plan))
        partition.base_bytes = fv__attn_lines((cache->o.d_qk + plan->row_batch) * FV_KV_KEYS, sizeof(float));
    partition.worker_bytes += partition.base_bytes;
    partition.bytes = SIZE_MAX;
    if (!fv__mul_ok(partition.part_bytes, (size_t)partition.chunks * kv_heads, &parts)) return partition;
    const size_t bytes =
        partition.first_bytes + partition.left_bytes + (size_t)fv_threads() * partition.worker_bytes + 64;
    if (fv__add_ok(bytes, parts, &parts)) partition.bytes = parts;
    return partition;
}

size_t fv_decode_scratch(const fv_decode_plan *plan, const fv_kv_cache *cache) {
    return fv__decode_partition_of(plan, cache).bytes;
}

/* ---- what it is and what it costs */

size_t fv_decode_describe(const fv_decode_plan *plan, const fv_kv_cache *cache, char *out, size_t size) {
    static const char *const kinds[] = {"contiguous", "ring", "paged"};
    char text[320];
    int used = fv__format(text, sizeof text,
                          "decode: %s %s %s, group %lld, up to %lld rows at once, chunks of %d keys, %d thread%s, "
                          "scratch %.1f KiB",
                          fv_dtype_name(cache->o.dtype), kinds[cache->o.kind], fv__isa_name(fv__simd_f32_now()->isa),
                          (long long)plan->group, (long long)plan->row_batch, FV_DECODE_CHUNK, fv_threads(),
                          fv_threads() == 1 ? "" : "s", (double)fv_decode_scratch(plan, cache) / 1024);
    if (plan->left >= 0 || plan->right >= 0) used += snprintf(text + used, sizeof text - (size_t)used, ", window");
    if (plan->o.memory) used += snprintf(text + used, sizeof text - (size_t)used, ", memory");
    if (plan->modifiers.plan && strcmp(plan->modifiers.plan->mechanism->info.name, "softmax") != 0)
        used += snprintf(text + used, sizeof text - (size_t)used, ", %s", plan->modifiers.plan->mechanism->info.name);
    if (plan->o.softcap > 0) used += snprintf(text + used, sizeof text - (size_t)used, ", softcap");
    if (size) snprintf(out, size, "%s", text);
    return (size_t)used;
}

void fv__decode_visible(const fv_decode_plan *plan, const fv_kv_cache *cache, int64_t b, int64_t r, int64_t n,
                        int64_t prefix, int64_t *start, int64_t *end) {
    const int64_t length = cache->length[b], at = length - n + r, left = plan->left;
    *start = *end = 0;
    if (r >= n) return;
    *start = cache->first[b], *end = plan->o.see_all || plan->o.memory ? length : at + 1;
    if (left >= 0 && at - left > *start) *start = at - left;
    if (plan->right >= 0 && plan->right < *end - at - 1) *end = at + plan->right + 1;
    if (prefix > *end) *end = prefix < length ? prefix : length;
}

double fv_decode_bytes(const fv_decode_plan *plan, const fv_kv_cache *cache, int64_t rows) {
    double positions = 0;
    for (int64_t b = 0; b < cache->o.batch; b++) {
        int64_t start, first_end, last_start, end;
        if (rows < 1 || (rows > cache->length[b] && !plan->o.memory)) continue;
        fv__decode_visible(plan, cache, b, 0, rows, 0, &start, &first_end);
        fv__decode_visible(plan, cache, b, rows - 1, rows, 0, &last_start, &end);
        positions += (double)(end - start);
    }
    return positions * (double)cache->o.kv_heads * (double)(cache->k_pitch + cache->v_pitch);
}

/* ---- a call */

static fv_status wrong(const char *name, const fv_tensor *t, const char *expected) {
    char text[160];
    fv_tensor_describe(t, text, sizeof text);
    return fv__fail(FV_USAGE, "decode: %s\n  expected %s\n  found:   %s", name, expected, text);
}

static bool has_shape(const fv_tensor *t, int rank, const int64_t *dim) {
    if (t->rank != rank) return false;
    for (int a = 0; a < rank; a++)
        if (t->dim[a] != dim[a]) return false;
    return true;
}

static fv_status check_rows(const char *name, const fv_tensor *t, const int64_t *dim, const char *expected) {
    if (!has_shape(t, 4, dim)) return wrong(name, t, expected);
    if (t->dtype != FV_F32 && t->dtype != FV_BF16 && t->dtype != FV_F16)
        return wrong(name, t, "dtype f32, bf16 or f16");
    if (t->dim[3] > 1 && t->stride[3] != 1) return wrong(name, t, "unit stride on the last axis");
    if (!t->data && fv_tensor_count(t) > 0) return wrong(name, t, "a tensor with data");
    return FV_OK;
}

static fv_status check_extra(const char *name, const fv_tensor *t, int rank, const int64_t *dim, const char *expected) {
    if (t->rank == 0) return FV_OK;
    if (!has_shape(t, rank, dim) || t->dtype != FV_F32) return wrong(name, t, expected);
    if (!t->data && fv_tensor_count(t) > 0) return wrong(name, t, "a tensor with data");
    return FV_OK;
}

static const fv_dtype float_types[3] = {FV_F32, FV_BF16, FV_F16}, mask_types[3] = {FV_BOOL, FV_U8, FV_U8};

/* (B|1,H|1,n|1,positions|1); how many positions there must be depends on the sequences, see check_sequence. */
static fv_status check_plane(const char *name, const fv_tensor *t, const int64_t *q, const fv_dtype *types) {
    if (t->rank == 0) return FV_OK;
    bool fits = t->rank == 4;
    for (int a = 0; a < 3 && fits; a++) fits = t->dim[a] == 1 || t->dim[a] == q[a];
    if (!fits) return wrong(name, t, "(B|1,H|1,n|1,positions) with n of q");
    if (t->dtype != types[0] && t->dtype != types[1] && t->dtype != types[2])
        return wrong(name, t, types == mask_types ? "dtype bool or u8" : "dtype f32, bf16 or f16");
    if (!t->data && fv_tensor_count(t) > 0) return wrong(name, t, "a tensor with data");
    return FV_OK;
}

static fv_status check_prefix(const fv_decode_plan *plan, const fv_tensor *t) {
    if (t->rank == 0) return FV_OK;
    if (plan->o.memory) return wrong("prefix_len", t, "none with memory: every row sees all of it");
    if (!has_shape(t, 1, &plan->cache.batch) || (t->dtype != FV_I32 && t->dtype != FV_I64) || !t->data)
        return wrong("prefix_len", t, "i32 or i64 (B)");
    for (int64_t b = 0; b < t->dim[0]; b++)
        if (fv__attn_integer(t, b) < 0)
            return fv__fail(FV_USAGE, "decode: prefix_len of sequence %lld\n  expected 0 or more\n  found:   %lld",
                            (long long)b, (long long)fv__attn_integer(t, b));
    return FV_OK;
}

/* Bias and mask have an element for every position of sequence b. */
static fv_status check_reach(const char *name, const fv_tensor *t, int64_t b, int64_t length) {
    if (t->rank == 0 || t->dim[3] == 1 || t->dim[3] >= length) return FV_OK;
    return fv__fail(FV_USAGE, "decode: %s\n  expected 1 or at least %lld positions, for sequence %lld\n  found:   %lld",
                    name, (long long)length, (long long)b, (long long)t->dim[3]);
}

static fv_status check_tensors(const fv_decode_plan *plan, const fv_decode_tensors *x) {
    const fv_cache_options *c = &plan->cache;
    const int64_t n = x->q.rank == 4 ? x->q.dim[2] : -1;
    if (n < 0) return wrong("q", &x->q, "(B,H,n,Dqk)");
    const int64_t q[4] = {c->batch, plan->heads, n, c->d_qk}, out[4] = {c->batch, plan->heads, n, c->d_v};
    if (n > plan->rows)
        return fv__fail(FV_USAGE, "decode: q, rows\n  expected up to %lld, as planned\n  found:   %lld",
                        (long long)plan->rows, (long long)n);
    FV_TRY(check_rows("q", &x->q, q, "(B,H,n,Dqk) of the plan"));
    FV_TRY(check_rows("out", &x->out, out, "(B,H,n,Dv) with n of q"));
    FV_TRY(check_extra("lse", &x->lse, 3, out, "f32 (B,H,n) with n of q"));
    if (plan->o.memory && x->slopes.rank > 0)
        return wrong("slopes", &x->slopes, "none with memory: rows have no position in it");
    FV_TRY(check_extra("sinks", &x->sinks, 1, &plan->heads, "f32 (H)"));
    FV_TRY(check_extra("slopes", &x->slopes, 1, &plan->heads, "f32 (H)"));
    FV_TRY(check_plane("bias", &x->bias, q, float_types));
    FV_TRY(check_plane("mask", &x->mask, q, mask_types));
    FV_TRY(check_prefix(plan, &x->prefix_len));
    return fv__decode_modifiers_check(plan, x);
}

/* Are the positions still there that the rows of sequence b must see? */
static fv_status check_sequence(const fv_decode_plan *plan, const fv_kv_cache *cache, int64_t b, int64_t count,
                                int64_t n) {
    const int64_t length = cache->length[b], first = cache->first[b], left = plan->left;
    if (count < 0 || count > n)
        return fv__fail(FV_USAGE, "decode: count of sequence %lld\n  expected 0 to %lld\n  found:   %lld", (long long)b,
                        (long long)n, (long long)count);
    if (plan->o.memory) return FV_OK;
    if (count > length)
        return fv__fail(
            FV_USAGE,
            "decode: sequence %lld\n  expected at least the %lld new positions\n  found:   %lld\n  try:     "
            "append the keys and values of the new rows first, or plan with memory for an encoder's",
            (long long)b, (long long)count, (long long)length);
    if (first == 0 || count == 0) return FV_OK;
    const int64_t oldest = length - count - left; /* that row 0 sees */
    const bool lost = left >= 0 ? oldest < first : count > 1 && !plan->o.see_all;
    if (!lost) return FV_OK;
    return fv__fail(FV_USAGE,
                    "decode: sequence %lld of a ring\n  expected %s\n  found:   positions %lld to %lld\n  try:     a "
                    "capacity of at least window.left + %lld",
                    (long long)b,
                    left >= 0 ? "all that the window of the first new row covers"
                              : "a window.left, with several new rows",
                    (long long)first, (long long)length - 1, (long long)count);
}

static bool same_cache(const fv_cache_options *a, const fv_cache_options *b) {
    return a->batch == b->batch && a->kv_heads == b->kv_heads && a->d_qk == b->d_qk && a->d_v == b->d_v &&
           a->dtype == b->dtype;
}

static fv_status wrong_cache(const fv_cache_options *want, const fv_cache_options *found) {
    return fv__fail(FV_USAGE,
                    "decode: cache\n  expected that of the plan, batch %lld, %lld kv heads, d_qk %lld, d_v %lld, %s\n  "
                    "found:   batch %lld, %lld kv heads, d_qk %lld, d_v %lld, %s",
                    (long long)want->batch, (long long)want->kv_heads, (long long)want->d_qk, (long long)want->d_v,
                    fv_dtype_name(want->dtype), (long long)found->batch, (long long)found->kv_heads,
                    (long long)found->d_qk, (long long)found->d_v, fv_dtype_name(found->dtype));
}

fv_status fv_decode(const fv_decode_plan *plan, const fv_kv_cache *cache, const fv_decode_tensors *x, void *scratch) {
    if (!plan || !cache || !x) return missing(!plan ? "plan" : !cache ? "cache" : "tensors");
    if (!same_cache(&plan->cache, &cache->o)) return wrong_cache(&plan->cache, &cache->o);
    FV_TRY(check_tensors(plan, x));
    for (int64_t b = 0; b < plan->cache.batch; b++) {
        const int64_t n = x->q.dim[2], count = x->counts ? x->counts[b] : n;
        FV_TRY(check_sequence(plan, cache, b, count, n));
        FV_TRY(check_reach("bias", &x->bias, b, count > 0 ? cache->length[b] : 0));
        FV_TRY(check_reach("mask", &x->mask, b, count > 0 ? cache->length[b] : 0));
    }
    if (!scratch)
        return fv__fail(FV_USAGE, "decode: scratch\n  expected %zu bytes, see fv_decode_scratch\n  found:   NULL",
                        fv_decode_scratch(plan, cache));
    fv__decode_run(plan, cache, x, fv__attn_aligned(scratch));
    return FV_OK;
}
