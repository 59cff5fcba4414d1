/* The K/V cache and decoding: what is refused, with which words, and what is left when memory is missing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "fovea/cache.h"

static fv_status everything_that_allocates(void) {
    const fv_cache_options o = {2, 2, 3, 5, FV_F16, FV_CACHE_PAGED, 0, 16, 4};
    float rows[2 * 2 * 20 * 5] = {0};
    const fv_tensor k = fv_bhld(rows, FV_F32, 2, 2, 20, 3), v = fv_bhld(rows, FV_F32, 2, 2, 20, 5);
    fv_kv_cache *cache = NULL, *other = NULL;
    fv_decode_plan *plan = NULL;
    fv_status status = fv_kv_cache_create(&cache, &o);
    if (status == FV_OK) status = fv_kv_cache_append(cache, &k, &v, NULL);
    if (status == FV_OK) status = fv_kv_cache_grow(cache, 9);
    if (status == FV_OK) status = fv_kv_cache_clone(&other, cache);
    if (status == FV_OK) status = fv_decode_plan_create(&plan, NULL, cache, 4, 1);
    if (cache && fv_kv_cache_length(cache, 1) == 20) { /* whatever failed, the cache is whole */
        const fv_tensor to = fv_tensor_of(rows, FV_F32, 3, (int64_t[]){2, 20, 3});
        assert_int_equal(fv_kv_cache_read(cache, 1, 0, &to, NULL), FV_OK);
    }
    fv_decode_plan_free(plan);
    fv_kv_cache_free(cache), fv_kv_cache_free(other);
    return status;
}

static void every_allocation_fails_once(void **state) {
    (void)state;
    const int64_t live = fv__alloc_live();
    int64_t failures = 0;
    assert_int_equal(everything_that_allocates(), FV_OK);
    for (int64_t n = 1;; n++) {
        const int64_t before = fv__fault_point_calls(FV_FAULT_ALLOC);
        fv__inject(FV_FAULT_ALLOC, n, false);
        const fv_status status = everything_that_allocates();
        fv__inject(FV_FAULT_ALLOC, 0, false);
        if (fv__fault_point_calls(FV_FAULT_ALLOC) - before < n) break;
        if (status != FV_OK) failures++;
        assert_int_equal(fv__alloc_live(), live);
        if (status != FV_OK) assert_int_equal(status, FV_NO_RESOURCES);
    }
    assert_true(failures >= 25);
}

/* ---- what is refused */

static void refused(fv_status status, fv_status want, const char *words) {
    if (status != want || !strstr(fv_message(), words))
        fail_msg("status %d, not %d with \"%s\": %s", (int)status, (int)want, words, fv_message());
}

static void wrong_caches(void **state) {
    (void)state;
    fv_cache_options good = {2, 2, 4, 4, FV_F32, FV_CACHE_PAGED, 0, 16, 4}, o;
    fv_kv_cache *cache;
#define TRY(field, value, status, words) \
    o = good, o.field = value, refused(fv_kv_cache_create(&cache, &o), status, words), assert_null(cache)
    TRY(batch, 0, FV_USAGE, "kv cache: batch\n  expected a number from 1");
    TRY(kv_heads, -1, FV_USAGE, "kv_heads");
    TRY(d_qk, 0, FV_USAGE, "d_qk");
    TRY(d_v, 70000, FV_USAGE, "d_v");
    TRY(dtype, FV_F64, FV_USAGE, "expected f32, bf16 or f16\n  found:   f64");
    TRY(kind, (fv_cache_kind)7, FV_USAGE, "kind");
    TRY(page_rows, 0, FV_USAGE, "page_rows");
    TRY(page_rows, 20, FV_USAGE, "expected a multiple of 16\n  found:   20");
    TRY(pages, 0, FV_USAGE, "pages");
    TRY(capacity, -1, FV_USAGE, "capacity");
    good.d_qk = good.d_v = 65536; /* more than addresses can count: what could be asked for would stop a sanitizer */
    TRY(pages, INT64_C(1) << 48, FV_NO_RESOURCES, "do not fit into any memory");
    TRY(page_rows, INT64_C(1) << 48, FV_NO_RESOURCES, "do not fit into any memory");
    o = good, o.kind = FV_CACHE_RING, o.capacity = 0;
    refused(fv_kv_cache_create(&cache, &o), FV_USAGE, "capacity");
    o.capacity = INT64_C(1) << 48, o.batch = 1 << 20;
    refused(fv_kv_cache_create(&cache, &o), FV_NO_RESOURCES, "do not fit into any memory");
#undef TRY
}

static void wrong_rows(void **state) {
    (void)state;
    const fv_cache_options o = {2, 2, 4, 6, FV_BF16, FV_CACHE_CONTIGUOUS, 10, 0, 0};
    float data[2 * 2 * 20 * 6] = {0};
    fv_kv_cache *cache;
    assert_int_equal(fv_kv_cache_create(&cache, &o), FV_OK);
    fv_tensor k = fv_bhld(data, FV_F32, 2, 2, 3, 4), v = fv_bhld(data, FV_F32, 2, 2, 3, 6), t;
    t = fv_bhld(data, FV_F32, 2, 3, 3, 4), refused(fv_kv_cache_append(cache, &t, &v, NULL), FV_USAGE, "append, k");
    t = fv_bhld(data, FV_F32, 2, 2, 4, 6), refused(fv_kv_cache_append(cache, &k, &t, NULL), FV_USAGE, "n of k");
    t = fv_bhld(data, FV_I32, 2, 2, 3, 4), refused(fv_kv_cache_append(cache, &t, &v, NULL), FV_USAGE, "floating");
    t = fv_bhld(NULL, FV_F32, 2, 2, 3, 4), refused(fv_kv_cache_append(cache, &t, &v, NULL), FV_USAGE, "with data");
    t = fv_tensor_2d(data, FV_F32, 3, 4), refused(fv_kv_cache_append(cache, &t, &v, NULL), FV_USAGE, "(B,Hkv,n,Dqk)");
    t = fv_tensor_transpose(fv_bhld(data, FV_F32, 2, 2, 4, 3), 2, 3);
    refused(fv_kv_cache_append(cache, &t, &v, NULL), FV_USAGE, "unit stride");
    refused(fv_kv_cache_append(cache, &k, &v, (int64_t[]){1, 4}), FV_USAGE,
            "count of sequence 1\n  expected 0 to 3\n  found:   4");
    refused(fv_kv_cache_append(cache, &k, &v, (int64_t[]){-1, 1}), FV_USAGE, "count of sequence 0");
    fv_tensor k11 = fv_bhld(data, FV_F32, 2, 2, 11, 4), v11 = fv_bhld(data, FV_F32, 2, 2, 11, 6);
    refused(fv_kv_cache_append(cache, &k11, &v11, (int64_t[]){1, 11}), FV_NO_RESOURCES,
            "append to sequence 1\n  expected capacity for 11 rows\n  found:   0 of 10");
    assert_int_equal(fv_kv_cache_length(cache, 0), 0);
    assert_int_equal(fv_kv_cache_append(cache, &k, &v, NULL), FV_OK);
    refused(fv_kv_cache_truncate(cache, 0, 4), FV_USAGE, "expected a length from 0");
    refused(fv_kv_cache_truncate(cache, 2, 0), FV_USAGE, "sequence");
    refused(fv_kv_cache_reset(cache, 2), FV_USAGE, "sequence");
    refused(fv_kv_cache_grow(cache, 9), FV_USAGE, "capacity of now, 10");
    t = fv_tensor_of(data, FV_F32, 3, (int64_t[]){2, 2, 4});
    refused(fv_kv_cache_read(cache, 0, 2, &t, NULL), FV_USAGE,
            "expected positions within 0 to 3\n  found:   2 positions from 2 on");
    refused(fv_kv_cache_read(cache, 5, 0, &t, NULL), FV_USAGE, "read, sequence");
    fv_kv_cache_free(cache);
}

static void wrong_calls(void **state) {
    (void)state;
    const fv_cache_options o = {1, 2, 4, 6, FV_F32, FV_CACHE_RING, 10, 0, 0};
    static float data[2 * 2 * 40 * 6];
    static char scratch[1 << 18];
    fv_kv_cache *cache, *other;
    fv_decode_plan *plan;
    fv_decode_options how = FV_DECODE_DEFAULT;
    assert_int_equal(fv_kv_cache_create(&cache, &o), FV_OK);
    refused(fv_decode_plan_create(&plan, NULL, cache, 3, 1), FV_USAGE, "expected a multiple of the 2 kv heads");
    refused(fv_decode_plan_create(&plan, NULL, cache, 4, 0), FV_USAGE, "decode: rows");
    how.softcap = -1, refused(fv_decode_plan_create(&plan, &how, cache, 4, 1), FV_USAGE, "softcap"), how.softcap = 0;
    how.scale = NAN, refused(fv_decode_plan_create(&plan, &how, cache, 4, 1), FV_USAGE, "scale"), how.scale = 0;
    how.window = FV_WINDOW(-2, 0);
    refused(fv_decode_plan_create(&plan, &how, cache, 4, 1), FV_USAGE, "window\n  expected 0 or more");
    how.window = FV_WINDOW(0, -2);
    refused(fv_decode_plan_create(&plan, &how, cache, 4, 1), FV_USAGE, "found:   0, -2");
    how.window = (fv_window){false, 0, 3};
    refused(fv_decode_plan_create(&plan, &how, cache, 4, 1), FV_USAGE, "try:     FV_WINDOW(0, 3)");
    how.memory = true, how.window = FV_WINDOW(4, -1);
    refused(fv_decode_plan_create(&plan, &how, cache, 4, 1), FV_USAGE, "window\n  expected none with memory");
    how = (fv_decode_options){.mask_means = (fv_mask_means)2};
    refused(fv_decode_plan_create(&plan, &how, cache, 4, 1), FV_USAGE, "mask_means");
    how = (fv_decode_options){.reserved = {0, 1}};
    refused(fv_decode_plan_create(&plan, &how, cache, 4, 1), FV_USAGE, "reserved");
    how = (fv_decode_options){0};
    assert_int_equal(fv_decode_plan_create(&plan, &how, cache, 4, 2), FV_OK);
    assert_true(fv_decode_scratch(plan, cache) <= sizeof scratch);
    fv_decode_tensors good = {.q = fv_bhld(data, FV_F32, 1, 4, 1, 4), .out = fv_bhld(data + 200, FV_F32, 1, 4, 1, 6)},
                      x = good;
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "append the keys and values of the new rows first");
    fv_tensor k = fv_bhld(data, FV_F32, 1, 2, 30, 4), v = fv_bhld(data, FV_F32, 1, 2, 30, 6);
    assert_int_equal(fv_kv_cache_append(cache, &k, &v, NULL), FV_OK);
    assert_int_equal(fv_kv_cache_first(cache, 0), 20);
    refused(fv_decode(plan, cache, &x, NULL), FV_USAGE, "decode: scratch\n  expected");
    x.q = fv_bhld(data, FV_F32, 1, 4, 3, 4),
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "expected up to 2, as planned");
    x.q = fv_bhld(data, FV_F64, 1, 4, 1, 4),
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "dtype f32, bf16 or f16");
    x.q = fv_bhld(data, FV_F32, 1, 2, 1, 4), refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "decode: q");
    x = good, x.out = fv_bhld(data, FV_F32, 1, 4, 2, 6),
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "decode: out");
    x = good, x.sinks = fv_tensor_1d(data, FV_F32, 3),
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "decode: sinks");
    x = good, x.bias = fv_bhld(data, FV_F32, 1, 2, 1, 30);
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "bias\n  expected (B|1,H|1,n|1,positions)");
    x.bias = fv_bhld(data, FV_F64, 1, 1, 1, 30);
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "bias\n  expected dtype f32, bf16 or f16");
    x.bias = fv_bhld(NULL, FV_F32, 1, 1, 1, 30);
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "bias\n  expected a tensor with data");
    x.bias = fv_bhld(data, FV_F32, 1, 1, 1, 29);
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "bias\n  expected 1 or at least 30 positions");
    x = good, x.mask = fv_bhld(data, FV_F32, 1, 1, 1, 30);
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "mask\n  expected dtype bool or u8");
    x.mask = fv_bhld(data, FV_U8, 1, 1, 1, 10);
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "mask\n  expected 1 or at least 30 positions");
    x = good, x.prefix_len = fv_tensor_1d(data, FV_F32, 1);
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "prefix_len\n  expected i32 or i64 (B)");
    x.prefix_len = fv_tensor_1d((int32_t[]){-1}, FV_I32, 1);
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "prefix_len of sequence 0\n  expected 0 or more");
    x = good, x.lse = fv_tensor_2d(data, FV_F32, 4, 1),
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "decode: lse");
    x = good, x.counts = (int64_t[]){2}, refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "count of sequence 0");
    x = good;
    assert_int_equal(fv_decode(plan, cache, &x, scratch), FV_OK);
    x.q = fv_bhld(data, FV_F32, 1, 4, 2, 4), x.out = fv_bhld(data + 200, FV_F32, 1, 4, 2, 6);
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE,
            "expected a window.left, with several new rows\n  found:   positions 20 to 29");
    fv_decode_plan_free(plan);
    how.window = FV_WINDOW(16, -1);
    assert_int_equal(fv_decode_plan_create(&plan, &how, cache, 4, 2), FV_OK);
    x = good, refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "at least window.left + 1");
    refused(fv_kv_cache_truncate(cache, 0, 13), FV_USAGE, "expected a length from 20");
    fv_decode_plan_free(plan);
    how = (fv_decode_options){.memory = true};
    assert_int_equal(fv_decode_plan_create(&plan, &how, cache, 4, 2), FV_OK);
    x = good, x.slopes = fv_tensor_1d(data, FV_F32, 4);
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "slopes\n  expected none with memory");
    x = good, x.prefix_len = fv_tensor_1d(data, FV_I32, 1);
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "prefix_len\n  expected none with memory");
    assert_int_equal(fv_decode(plan, cache, &good, scratch), FV_OK); /* all of a ring that is still there */
    fv_cache_options wide = o;
    wide.d_v = 7;
    assert_int_equal(fv_kv_cache_create(&other, &wide), FV_OK);
    refused(fv_decode(plan, other, &good, scratch), FV_USAGE,
            "d_v 6, f32\n  found:   batch 1, 2 kv heads, d_qk 4, d_v 7, f32");
    fv_kv_cache_free(other);
    fv_decode_plan_free(plan);
    fv_kv_cache_free(cache);
}

/* Every function says which pointer it misses, and those that only tell something say 0. */
static void nothing_at_all(void **state) {
    (void)state;
    const fv_cache_options o = {1, 1, 1, 1, FV_F32, FV_CACHE_CONTIGUOUS, 4, 0, 0};
    float data[4] = {0};
    char scratch[1 << 16];
    fv_kv_cache *cache;
    fv_decode_plan *plan;
    const fv_tensor k = fv_bhld(data, FV_F32, 1, 1, 1, 1);
    const fv_decode_tensors x = {.q = k, .out = k};
    refused(fv_kv_cache_create(NULL, &o), FV_USAGE, "create");
    refused(fv_kv_cache_create(&cache, NULL), FV_USAGE, "create, options\n  expected a pointer\n  found:   NULL");
    assert_null(cache);
    assert_int_equal(fv_kv_cache_create(&cache, &o), FV_OK);
    assert_int_equal(fv_decode_plan_create(&plan, NULL, cache, 1, 1), FV_OK);
    refused(fv_kv_cache_append(NULL, &k, &k, NULL), FV_USAGE, "append, cache");
    refused(fv_kv_cache_append(cache, NULL, &k, NULL), FV_USAGE, "append, k");
    refused(fv_kv_cache_append(cache, &k, NULL, NULL), FV_USAGE, "append, v");
    assert_int_equal(fv_kv_cache_append(cache, &k, &k, NULL), FV_OK);
    refused(fv_kv_cache_read(NULL, 0, 0, &k, &k), FV_USAGE, "read, cache");
    refused(fv_kv_cache_grow(NULL, 1), FV_USAGE, "grow");
    refused(fv_kv_cache_truncate(NULL, 0, 0), FV_USAGE, "truncate");
    refused(fv_kv_cache_reset(NULL, -1), FV_USAGE, "reset");
    refused(fv_decode(NULL, cache, &x, scratch), FV_USAGE, "decode: plan");
    refused(fv_decode(plan, NULL, &x, scratch), FV_USAGE, "decode: cache");
    refused(fv_decode(plan, cache, NULL, scratch), FV_USAGE, "decode: tensors");
    assert_int_equal(fv_kv_cache_length(NULL, 0) + fv_kv_cache_first(NULL, 0) + fv_kv_cache_free_pages(NULL), 0);
    assert_int_equal(fv_kv_cache_bytes(NULL) + (size_t)fv_kv_cache_options(NULL).batch, 0);
    fv_decode_plan_free(plan);
    refused(fv_decode_plan_create(NULL, NULL, cache, 1, 1), FV_USAGE, "plan, where to put it");
    refused(fv_decode_plan_create(&plan, NULL, NULL, 1, 1), FV_USAGE, "plan, cache");
    assert_null(plan);
    fv_kv_cache_free(cache);
    fv_kv_cache_free(NULL), fv_decode_plan_free(NULL);
}

/* Sizes whose sums would wrap are refused, and limits that no position reaches are none. */
static void sizes_that_wrap(void **state) {
    (void)state;
    const fv_cache_options o = {1, 1, 1, 1, FV_F32, FV_CACHE_RING, 4, 0, 0};
    static float data[8];
    static char scratch[1 << 16];
    fv_kv_cache *cache;
    fv_decode_plan *plan;
    const fv_tensor k = fv_bhld(data, FV_F32, 1, 1, 3, 1), to = fv_tensor_of(data, FV_F32, 3, (int64_t[]){1, 3, 1});
    assert_int_equal(fv_kv_cache_create(&cache, &o), FV_OK);
    assert_int_equal(fv_kv_cache_append(cache, &k, &k, NULL), FV_OK);
    refused(fv_kv_cache_append(cache, &k, &k, &(int64_t){INT64_MAX}), FV_USAGE, "count of sequence 0");
    refused(fv_kv_cache_append(cache, &k, &k, &(int64_t){INT64_MIN}), FV_USAGE, "count of sequence 0");
    refused(fv_kv_cache_read(cache, 0, INT64_MAX - 1, &to, NULL), FV_USAGE, "positions within 0 to 3");
    refused(fv_kv_cache_read(cache, INT64_MIN, 0, &to, NULL), FV_USAGE, "read, sequence");
    refused(fv_kv_cache_truncate(cache, 0, INT64_MAX), FV_USAGE, "expected a length");
    refused(fv_kv_cache_grow(cache, INT64_MAX), FV_USAGE, "capacity");
    refused(fv_decode_plan_create(&plan, NULL, cache, 1, INT64_MAX), FV_USAGE, "rows");
    refused(fv_decode_plan_create(&plan, NULL, cache, INT64_MAX, 1), FV_USAGE, "heads");
    fv_decode_options how = FV_DECODE_DEFAULT;
    how.window = FV_WINDOW(INT64_MAX, INT64_MAX), how.see_all = true;
    refused(fv_decode_plan_create(&plan, &how, cache, 1, 3), FV_USAGE, "decode: window\n  expected sizes up to 2^48");
    how.window = FV_WINDOW(INT64_C(1) << 48, INT64_C(1) << 48);
    assert_int_equal(fv_decode_plan_create(&plan, &how, cache, 1, 3), FV_OK);
    assert_true(fv_decode_scratch(plan, cache) <= sizeof scratch);
    fv_decode_tensors x = {.q = k, .out = fv_bhld(data + 3, FV_F32, 1, 1, 3, 1), .counts = (int64_t[]){INT64_MAX}};
    refused(fv_decode(plan, cache, &x, scratch), FV_USAGE, "count of sequence 0");
    x.counts = NULL, x.prefix_len = fv_tensor_1d((int64_t[]){INT64_MAX}, FV_I64, 1);
    assert_int_equal(fv_decode(plan, cache, &x, scratch), FV_OK);
    fv_decode_plan_free(plan);
    fv_kv_cache_free(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(wrong_caches),
        cmocka_unit_test(wrong_rows),
        cmocka_unit_test(wrong_calls),
        cmocka_unit_test(nothing_at_all),
        cmocka_unit_test(sizes_that_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
