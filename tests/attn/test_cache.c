/* The K/V cache and decoding: against plain loops in double, and bit for bit between kinds of caches, threads,
 * batches and numbers of rows. Against fv_attention: test_cache_masks.c. What is refused:
 * test_bad_caches.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "decode_case.h"
#include "simd/simd.h"

/* ---- right */

/* Gaps between rows of the outputs are still what they were. */
static void check_gaps(const decode_case *c) {
    const fv_tensor *t = &c->x.out;
    const size_t size = fv_dtype_size(t->dtype);
    unsigned char *inside = calloc(c->size[1], 1);
    for (int64_t i = 0; i < fv_tensor_count(t); i++) {
        int64_t left = i, at = 0;
        for (int a = 3; a >= 0; a--) at += left % t->dim[a] * t->stride[a], left /= t->dim[a];
        memset(inside + (size_t)at * size, 1, size);
    }
    for (size_t i = 0; i < c->size[1]; i++)
        if (!inside[i] && ((unsigned char *)c->block[1])[i] != 0xff)
            fail_msg("seed %ld: out, gap written", (long)c->seed);
    free(inside);
}

static void check_seed(uint64_t seed, int64_t longest) {
    decode_case c;
    case_begin(&c, seed);
    case_shape(&c, longest);
    case_make(&c, longest);
    if (case_run(&c, c.cache, &c.x, c.n) != FV_OK) fail_msg("seed %ld: %s", (long)seed, fv_message());
    case_check_answer(&c);
    check_gaps(&c);
    case_free(&c);
}

static void agrees_with_plain_loops(void **state) {
    (void)state;
    for (int64_t i = 0; i < case_times(1000); i++)
        check_seed((uint64_t)i, i % 25 == 0 ? CASE_LONGEST : i % 2 ? 90 : 30);
}

static void every_instruction_set(void **state) {
    (void)state;
    for (int isa = 0; isa < FV_ISAS; isa++) {
        if (!fv__simd_use((fv__isa)isa)) continue;
        for (int64_t i = 0; i < case_times(150); i++) check_seed((uint64_t)(50000 + i), i % 15 == 0 ? 700 : 60);
    }
    fv__simd_use(FV_ISAS);
}

/* ---- the same bits */

static void any_number_of_threads(void **state) {
    (void)state;
    const int before = fv_threads();
    for (int64_t i = 0; i < case_times(20); i++) {
        decode_case c;
        case_begin(&c, (uint64_t)(1000 + i));
        case_shape(&c, CASE_LONGEST);
        fv_set_threads(1);
        case_make(&c, CASE_LONGEST);
        assert_int_equal(case_run(&c, c.cache, &c.x, c.n), FV_OK);
        for (int threads = 2; threads <= 4; threads++) {
            fv_set_threads(threads);
            case_check_run_same(&c, c.cache, "threads");
        }
        case_free(&c);
    }
    fv_set_threads(before);
}

/* The rows of sequence b, read out of one cache, put into another. */
static void copy_sequence(const fv_kv_cache *from, int64_t b, fv_kv_cache *to, int64_t to_b) {
    const fv_cache_options *o = &from->o;
    const int64_t first = from->first[b], n = from->length[b], batch = to->o.batch;
    const int64_t kd[4] = {batch, o->kv_heads, n, o->d_qk}, vd[4] = {batch, o->kv_heads, n, o->d_v};
    fv_tensor k = fv_tensor_of(NULL, FV_F32, 4, kd), v = fv_tensor_of(NULL, FV_F32, 4, vd);
    int64_t counts[4] = {0};
    counts[to_b] = n;
    k.data = calloc((size_t)fv_tensor_count(&k) + 1, 4), v.data = calloc((size_t)fv_tensor_count(&v) + 1, 4);
    fv_tensor k_to = fv_tensor_slice(k, 0, to_b, 1), v_to = fv_tensor_slice(v, 0, to_b, 1);
    k_to = fv_tensor_slice(k_to, 2, first, n - first), v_to = fv_tensor_slice(v_to, 2, first, n - first);
    for (int a = 0; a < 3; a++)
        k_to.dim[a] = k_to.dim[a + 1], k_to.stride[a] = k_to.stride[a + 1], v_to.dim[a] = v_to.dim[a + 1],
        v_to.stride[a] = v_to.stride[a + 1];
    k_to.rank = v_to.rank = 3;
    assert_int_equal(fv_kv_cache_read(from, b, first, &k_to, &v_to), FV_OK);
    assert_int_equal(fv_kv_cache_append(to, &k, &v, counts), FV_OK);
    free(k.data), free(v.data);
}

static fv_kv_cache *of_kind(const decode_case *c, fv_cache_kind kind, int64_t page_rows) {
    fv_cache_options o = c->keep;
    fv_kv_cache *cache;
    o.kind = kind, o.capacity = CASE_LONGEST, o.page_rows = page_rows,
    o.pages = o.batch * (CASE_LONGEST / page_rows + 1);
    if (kind == FV_CACHE_RING) o.capacity = c->how.window.left + c->n;
    assert_int_equal(fv_kv_cache_create(&cache, &o), FV_OK);
    case_poison(cache);
    for (int64_t b = 0; b < o.batch; b++) copy_sequence(c->cache, b, cache, b);
    return cache;
}

static void any_kind_of_cache(void **state) {
    (void)state;
    for (int64_t i = 0; i < case_times(24); i++) {
        decode_case c;
        case_begin(&c, (uint64_t)(2000 + i));
        case_shape(&c, CASE_LONGEST);
        case_make(&c, CASE_LONGEST);
        assert_int_equal(case_run(&c, c.cache, &c.x, c.n), FV_OK);
        for (int kind = 0; kind < 5; kind++) {
            if (kind == FV_CACHE_RING && case_left(&c) < 0) continue;
            fv_kv_cache *other = of_kind(&c, kind > 2 ? FV_CACHE_PAGED : (fv_cache_kind)kind,
                                         kind == 3   ? 16
                                         : kind == 4 ? 48
                                                     : 512);
            case_check_run_same(&c, other, "kind of cache");
            fv_kv_cache_free(other);
        }
        case_free(&c);
    }
}

static void one_row_at_a_time(void **state) {
    (void)state;
    for (int64_t i = 0; i < case_times(30); i++) {
        decode_case c;
        case_begin(&c, (uint64_t)(3000 + i));
        case_shape(&c, i % 3 ? 80 : CASE_LONGEST);
        case_make(&c, i % 3 ? 80 : CASE_LONGEST);
        c.how.see_all = false;
        for (int64_t b = 0; b < c.keep.batch && c.x.prefix_len.rank; b++) /* no row sees one that comes later */
            if (fv_tensor_get(&c.x.prefix_len, &b) > (double)(c.length[b] - c.counts[b]))
                fv_tensor_set(&c.x.prefix_len, &b, (double)(c.length[b] - c.counts[b]));
        assert_int_equal(case_run(&c, c.cache, &c.x, c.n), FV_OK);
        int64_t most = 0, ones[4];
        for (int64_t b = 0; b < c.keep.batch; b++) most = c.counts[b] > most ? c.counts[b] : most;
        for (int64_t r = most - 1; r >= 0; r--) {
            fv_decode_tensors x = c.x;
            for (int64_t b = 0; b < c.keep.batch; b++) {
                ones[b] = r < c.counts[b];
                if (ones[b] && !c.how.memory && fv_kv_cache_truncate(c.cache, b, c.length[b] - c.counts[b] + r + 1))
                    fail_msg("%s", fv_message());
            }
            const fv_tensor many = fv_tensor_slice(c.x.out, 2, r, 1);
            x.bias = case_slice(x.bias, 2, r, 1), x.mask = case_slice(x.mask, 2, r, 1);
            x.q = fv_tensor_slice(x.q, 2, r, 1), x.counts = ones, x.lse.rank = 0;
            free(c.block[6]);
            x.out = case_tensor(&c, 6, many.dtype, 4, many.dim);
            if (case_run(&c, c.cache, &x, 1) != FV_OK) fail_msg("seed %ld: %s", (long)c.seed, fv_message());
            case_check_same(&c, "one row at a time", &x.out, &many);
        }
        case_free(&c);
    }
}

static void alone_or_in_a_batch(void **state) {
    (void)state;
    for (int64_t i = 0; i < case_times(20); i++) {
        decode_case c;
        case_begin(&c, (uint64_t)(4000 + i));
        case_shape(&c, CASE_LONGEST);
        case_make(&c, CASE_LONGEST);
        assert_int_equal(case_run(&c, c.cache, &c.x, c.n), FV_OK);
        for (int64_t b = 0; b < c.keep.batch; b++) {
            fv_cache_options o = c.keep;
            fv_kv_cache *single;
            fv_decode_tensors x = c.x;
            o.batch = 1;
            assert_int_equal(fv_kv_cache_create(&single, &o), FV_OK);
            copy_sequence(c.cache, b, single, 0);
            const fv_tensor whole = fv_tensor_slice(c.x.out, 0, b, 1);
            x.bias = case_slice(x.bias, 0, b, 1), x.mask = case_slice(x.mask, 0, b, 1);
            x.prefix_len = case_slice(x.prefix_len, 0, b, 1);
            x.q = fv_tensor_slice(x.q, 0, b, 1), x.counts = c.counts + b, x.lse.rank = 0;
            free(c.block[6]);
            x.out = case_tensor(&c, 6, whole.dtype, 4, whole.dim);
            if (case_run(&c, single, &x, c.n) != FV_OK) fail_msg("seed %ld: %s", (long)c.seed, fv_message());
            case_check_same(&c, "alone", &x.out, &whole);
            fv_kv_cache_free(single);
        }
        case_free(&c);
    }
}

/* ---- what is kept */

static void check_kept(const decode_case *c) {
    const fv_cache_options *o = &c->keep;
    for (int64_t b = 0; b < o->batch; b++) {
        assert_int_equal(fv_kv_cache_length(c->cache, b), c->length[b]);
        assert_int_equal(fv_kv_cache_first(c->cache, b), c->first[b]);
        const int64_t first = c->first[b], n = c->length[b] - first;
        const int64_t kd[3] = {o->kv_heads, n, o->d_qk}, vd[3] = {o->kv_heads, n, o->d_v};
        fv_tensor k = fv_tensor_of(NULL, FV_F64, 3, kd), v = fv_tensor_of(NULL, o->dtype, 3, vd);
        k.data = malloc((size_t)fv_tensor_count(&k) * 8 + 8), v.data = malloc((size_t)fv_tensor_count(&v) * 4 + 8);
        if (fv_kv_cache_read(c->cache, b, first, &k, &v) != FV_OK) fail_msg("%s", fv_message());
        for (int64_t h = 0; h < o->kv_heads; h++)
            for (int64_t r = 0; r < n; r++) {
                const double *kk = c->k[b] + ((first + r) * o->kv_heads + h) * o->d_qk,
                             *vv = c->v[b] + ((first + r) * o->kv_heads + h) * o->d_v;
                for (int64_t d = 0; d < o->d_qk; d++) assert_true(fv_tensor_get(&k, (int64_t[]){h, r, d}) == kk[d]);
                for (int64_t d = 0; d < o->d_v; d++) assert_true(fv_tensor_get(&v, (int64_t[]){h, r, d}) == vv[d]);
            }
        free(k.data), free(v.data);
    }
}

static void keeps_what_was_appended(void **state) {
    (void)state;
    for (int64_t i = 0; i < case_times(120); i++) {
        decode_case c;
        case_begin(&c, (uint64_t)(6000 + i));
        case_shape(&c, 120);
        case_make(&c, 120);
        check_kept(&c);
        const bool paged = c.keep.kind == FV_CACHE_PAGED;
        const int64_t unused = fv_kv_cache_free_pages(c.cache), more = pick(&c, 50);
        if (fv_kv_cache_grow(c.cache, (paged ? c.keep.pages : c.keep.capacity) + more) != FV_OK)
            fail_msg("%s", fv_message());
        c.keep = fv_kv_cache_options(c.cache);
        check_kept(&c);
        if (paged) assert_int_equal(fv_kv_cache_free_pages(c.cache), unused + more);
        const int64_t counts[4] = {3, 3, 3, 3};
        case_append(&c, counts, 3); /* still whole after growing */
        check_kept(&c);
        assert_int_equal(fv_kv_cache_reset(c.cache, -1), FV_OK);
        for (int64_t b = 0; b < c.keep.batch; b++) assert_int_equal(fv_kv_cache_length(c.cache, b), 0);
        if (paged) assert_int_equal(fv_kv_cache_free_pages(c.cache), c.keep.pages);
        case_free(&c);
    }
}

static void pages_go_and_come(void **state) {
    (void)state;
    const fv_cache_options o = {2, 1, 2, 2, FV_F32, FV_CACHE_PAGED, 0, 16, 3};
    float rows[2 * 40 * 2] = {0};
    fv_kv_cache *cache;
    assert_int_equal(fv_kv_cache_create(&cache, &o), FV_OK);
    fv_tensor k = fv_bhld(rows, FV_F32, 2, 1, 20, 2);
    assert_int_equal(fv_kv_cache_append(cache, &k, &k, (int64_t[]){17, 16}), FV_OK);
    assert_int_equal(fv_kv_cache_free_pages(cache), 0);
    /* sequence 0 has room in its page, sequence 1 has none: neither grows */
    assert_int_equal(fv_kv_cache_append(cache, &k, &k, (int64_t[]){1, 1}), FV_NO_RESOURCES);
    assert_non_null(strstr(fv_message(), "expected 1 free pages of 16 rows"));
    assert_int_equal(fv_kv_cache_length(cache, 0), 17);
    assert_int_equal(fv_kv_cache_length(cache, 1), 16);
    assert_int_equal(fv_kv_cache_append(cache, &k, &k, (int64_t[]){15, 0}), FV_OK);
    assert_int_equal(fv_kv_cache_truncate(cache, 0, 16), FV_OK);
    assert_int_equal(fv_kv_cache_free_pages(cache), 1);
    assert_int_equal(fv_kv_cache_append(cache, &k, &k, (int64_t[]){0, 1}), FV_OK);
    assert_int_equal(fv_kv_cache_reset(cache, 0), FV_OK);
    assert_int_equal(fv_kv_cache_free_pages(cache), 1);
    fv_kv_cache_free(cache);
}

/* ---- memory */

static void *guarded(size_t bytes, void **base, size_t *whole) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (bytes + page - 1) / page * page;
    *whole = inner + 2 * page;
    *base = mmap(NULL, *whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(*base != MAP_FAILED);
    assert_int_equal(mprotect((char *)*base + page, inner, PROT_READ | PROT_WRITE), 0);
    return (char *)*base + page + inner - bytes;
}

/* The tensor ends where the process may not read, and may not be written either. */
static void *guarded_tensor(fv_tensor *t, size_t *whole) {
    const size_t size = fv_dtype_size(t->dtype), page = (size_t)sysconf(_SC_PAGESIZE);
    int64_t last = 1;
    void *base;
    for (int a = 0; a < t->rank; a++) last += (t->dim[a] - 1) * t->stride[a];
    t->data = memcpy(guarded((size_t)last * size, &base, whole), t->data, (size_t)last * size);
    mprotect((char *)base + page, *whole - 2 * page, PROT_READ);
    return base;
}

/* Keys, values and all inputs end where the process may not read. */
static void reads_nothing_outside(void **state) {
    (void)state;
    for (int isa = 0; isa < FV_ISAS; isa++)
        for (int64_t i = 0; i < case_times(60) && fv__simd_use((fv__isa)isa); i++) {
            decode_case c;
            void *base[8];
            size_t whole[8];
            case_begin(&c, (uint64_t)(7000 + i));
            case_shape(&c, 100);
            if (c.keep.kind != FV_CACHE_PAGED) c.keep.kind = FV_CACHE_CONTIGUOUS, c.keep.capacity = 96;
            case_open(&c, 96);
            int64_t rest[4], most = 0; /* the last row of all is in use */
            for (int64_t b = 0; b < c.keep.batch; b++) {
                rest[b] = c.keep.kind == FV_CACHE_CONTIGUOUS ? 96 - c.length[b] : 0;
                most = rest[b] > most ? rest[b] : most;
            }
            case_append(&c, rest, most);
            case_extras(&c);
            const int64_t rows = c.cache->pages * c.keep.kv_heads * c.cache->rows;
            unsigned char *k = c.cache->k, *v = c.cache->v;
            fv_tensor kt = fv_tensor_1d(k, FV_U8, rows * (int64_t)c.cache->k_pitch),
                      vt = fv_tensor_1d(v, FV_U8, rows * (int64_t)c.cache->v_pitch);
            fv_tensor *inputs[8] = {&kt, &vt, &c.x.q, &c.x.sinks, &c.x.slopes, &c.x.bias, &c.x.mask, &c.x.prefix_len};
            for (int m = 0; m < 8; m++) base[m] = inputs[m]->rank ? guarded_tensor(inputs[m], &whole[m]) : NULL;
            c.cache->k = kt.data, c.cache->v = vt.data;
            if (case_run(&c, c.cache, &c.x, c.n) != FV_OK) fail_msg("seed %ld: %s", (long)c.seed, fv_message());
            case_check_answer(&c);
            c.cache->k = k, c.cache->v = v;
            for (int m = 0; m < 8; m++)
                if (base[m]) munmap(base[m], whole[m]);
            case_free(&c);
        }
    fv__simd_use(FV_ISAS);
}

static void nothing_is_allocated(void **state) {
    (void)state;
    decode_case c;
    case_begin(&c, 77);
    case_shape(&c, 200);
    case_make(&c, 200);
    fv_decode_plan *plan;
    assert_int_equal(fv_decode_plan_create(&plan, &c.how, c.cache, c.heads, c.n), FV_OK);
    void *scratch = malloc(fv_decode_scratch(plan, c.cache));
    assert_int_equal(fv_decode(plan, c.cache, &c.x, scratch), FV_OK);
    const int64_t before = fv__alloc_count();
    const int64_t counts[4] = {2, 1, 2, 2};
    case_append(&c, counts, 2);
    assert_int_equal(fv_decode(plan, c.cache, &c.x, scratch), FV_OK);
    assert_int_equal(fv_kv_cache_truncate(c.cache, 0, c.length[0] - 1), FV_OK);
    assert_int_equal(fv_kv_cache_reset(c.cache, 0), FV_OK);
    assert_int_equal(fv__alloc_count(), before);
    free(scratch);
    fv_decode_plan_free(plan);
    case_free(&c);
}

/* NaN and infinity that a row sees show in that row, and in no other. */
static void what_is_not_finite(void **state) {
    (void)state;
    const fv_cache_options o = {1, 1, 1, 1, FV_F32, FV_CACHE_CONTIGUOUS, 1100, 0, 0};
    static float k[1100], v[1100];
    static char scratch[1 << 18];
    float q[2] = {1, 1}, out[2], lse[2], sink = 1e4f;
    fv_kv_cache *cache;
    fv_decode_plan *plan;
    for (int i = 0; i < 1100; i++) k[i] = v[i] = 1;
    k[1099] = NAN, v[1099] = NAN; /* only the last row sees it */
    assert_int_equal(fv_kv_cache_create(&cache, &o), FV_OK);
    const fv_tensor kt = fv_bhld(k, FV_F32, 1, 1, 1100, 1), vt = fv_bhld(v, FV_F32, 1, 1, 1100, 1);
    assert_int_equal(fv_kv_cache_append(cache, &kt, &vt, NULL), FV_OK);
    assert_int_equal(fv_decode_plan_create(&plan, NULL, cache, 1, 2), FV_OK);
    assert_true(fv_decode_scratch(plan, cache) <= sizeof scratch);
    fv_decode_tensors x = {.q = fv_bhld(q, FV_F32, 1, 1, 2, 1),
                           .out = fv_bhld(out, FV_F32, 1, 1, 2, 1),
                           .lse = fv_tensor_of(lse, FV_F32, 3, (int64_t[]){1, 1, 2})};
    assert_int_equal(fv_decode(plan, cache, &x, scratch), FV_OK);
    assert_true(fabs(out[0] - 1.0) < 1e-6 && isnan(out[1]) && isnan(lse[1]));
    assert_true(fabs(lse[0] - (1 + log(1099))) < 1e-5);
    q[0] = 1e30f; /* far beyond what exp can hold */
    x.sinks = fv_tensor_1d(&sink, FV_F32, 1);
    assert_int_equal(fv_decode(plan, cache, &x, scratch), FV_OK);
    assert_true(fabs(out[0] - 1.0) < 1e-6 && lse[0] == 1e30f);
    q[0] = -1e30f; /* the sink takes it all */
    assert_int_equal(fv_decode(plan, cache, &x, scratch), FV_OK);
    assert_true(out[0] == 0 && lse[0] == -1e30f);
    fv_decode_plan_free(plan);
    fv_kv_cache_free(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_plain_loops), cmocka_unit_test(every_instruction_set),
        cmocka_unit_test(any_number_of_threads),   cmocka_unit_test(any_kind_of_cache),
        cmocka_unit_test(one_row_at_a_time),       cmocka_unit_test(alone_or_in_a_batch),
        cmocka_unit_test(keeps_what_was_appended), cmocka_unit_test(pages_go_and_come),
        cmocka_unit_test(reads_nothing_outside),   cmocka_unit_test(nothing_is_allocated),
        cmocka_unit_test(what_is_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
