/* Decoding of mechanisms over a cache: the last rows of fv_attention over the whole sequence, for every example of the
 * table that fv_decode takes, in caches of every kind and type; a new mechanism is tested by itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "attn/cache/kv_cache.h"
#include "attn/mechanism_contract.h"
#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { B = 2, H = 6, KV = 2, D = 20, DV = 12, LONGEST = 1200 };

typedef struct decoded {
    fv_attention_options how;
    int64_t length, n;
    fv_kv_cache *cache;
    fv_attention_tensors x; /* of the whole */
    fv_decode_tensors t;
    float *memory[16];
    int count;
} decoded;

static fv_tensor numbers(decoded *c, uint64_t stream, double size, const fv_tensor *shape) {
    const int64_t count = fv_tensor_count(shape);
    float *p = c->memory[c->count++] = malloc((size_t)(count + 1) * sizeof *p);
    for (int64_t i = 0; i < count; i++) p[i] = (float)(size * fv__random_normal(9, stream, (uint64_t)i));
    fv_tensor t = fv_tensor_of(p, FV_F32, shape->rank, shape->dim);
    return t;
}

/* Rounds to what the cache stores, so that both see the same keys and values. */
static void round_to(const fv_tensor *t, fv_dtype dtype) {
    fv_tensor flat = fv_tensor_1d(t->data, FV_F32, fv_tensor_count(t)), one = fv_tensor_1d(NULL, dtype, 1);
    double memory;
    one.data = &memory;
    for (int64_t i = 0; i < flat.dim[0]; i++) {
        fv_tensor_set(&one, (int64_t[]){0}, fv_tensor_get(&flat, &i));
        fv_tensor_set(&flat, &i, fv_tensor_get(&one, (int64_t[]){0}));
    }
}

static void make(decoded *c, const char *text, fv_cache_options keep, int64_t length, int64_t n) {
    *c = (decoded){.how = {.mechanism = text, .causal = FV_CAUSAL_LOWER_RIGHT}, .length = length, .n = n};
    const fv_tensor q = fv_bhld(NULL, FV_F32, B, H, n, D), k = fv_bhld(NULL, FV_F32, B, KV, length, D),
                    v = fv_bhld(NULL, FV_F32, B, KV, length, DV), out = fv_bhld(NULL, FV_F32, B, H, n, DV);
    c->x.t[FV_Q] = numbers(c, 0, 1, &q), c->x.t[FV_K] = numbers(c, 1, 1, &k), c->x.t[FV_V] = numbers(c, 2, 1, &v);
    round_to(&c->x.t[FV_K], keep.dtype), round_to(&c->x.t[FV_V], keep.dtype);
    c->x.t[FV_OUT] = numbers(c, 3, 0, &out), c->t.out = numbers(c, 3, 0, &out), c->t.q = c->x.t[FV_Q];
    for (int i = 0; i < 6; i++) {
        fv_tensor shape;
        assert_int_equal(fv_attention_operand_shape(&c->how, &c->x, (fv_operand)(FV_W0 + i), &shape), FV_OK);
        if (shape.rank) c->t.w[i] = c->x.t[FV_W0 + i] = numbers(c, 4 + (uint64_t)i, 0.7, &shape);
    }
    keep.batch = B, keep.kv_heads = KV, keep.d_qk = D, keep.d_v = DV;
    if (fv_kv_cache_create(&c->cache, &keep) != FV_OK) fail_msg("%s", fv_message());
    const int64_t first = length - n;
    fv_tensor part[2][2] = {{fv_tensor_slice(c->x.t[FV_K], 2, 0, first), fv_tensor_slice(c->x.t[FV_V], 2, 0, first)},
                            {fv_tensor_slice(c->x.t[FV_K], 2, first, n), fv_tensor_slice(c->x.t[FV_V], 2, first, n)}};
    for (int i = 0; i < 2; i++)
        if (fv_kv_cache_append(c->cache, &part[i][0], &part[i][1], NULL) != FV_OK) fail_msg("%s", fv_message());
}

static void unmake(decoded *c) {
    for (int i = 0; i < c->count; i++) free(c->memory[i]);
    fv_kv_cache_free(c->cache);
}

static fv_status decode(const decoded *c, const fv_decode_options *how, const fv_decode_tensors *t) {
    fv_decode_plan *plan;
    FV_TRY(fv_decode_plan_create(&plan, how, c->cache, H, c->n));
    const size_t bytes = fv_decode_scratch(plan, c->cache);
    unsigned char *scratch = malloc(bytes + 64);
    memset(scratch, 0xff, bytes), memset(scratch + bytes, 0x5a, 64);
    fv_status status = fv_decode(plan, c->cache, t, scratch);
    for (int i = 0; i < 64; i++) assert_int_equal(scratch[bytes + (size_t)i], 0x5a);
    free(scratch);
    fv_decode_plan_free(plan);
    return status;
}

static fv_decode_options decode_options(const decoded *c) {
    return (fv_decode_options){
        .scale = c->how.scale, .softcap = c->how.softcap, .window = c->how.window, .mechanism = c->how.mechanism};
}

static void same_numbers(const char *what, const fv_tensor *a, const fv_tensor *b, double allowed) {
    for (int64_t i = 0; i < fv_tensor_count(a); i++) {
        const double x = ((const float *)a->data)[i], y = ((const float *)b->data)[i];
        if (!(fabs(x - y) <= allowed * (1 + fabs(y)))) fail_msg("%s: element %d: %.9g and %.9g", what, (int)i, x, y);
    }
}

/* The last n rows over the whole, then one by one with the same bits. */
static void as_whole(decoded *c) {
    const fv_decode_options how = decode_options(c);
    fv_decode_tensors one = c->t;
    if (fv_attention(&c->how, NULL, &c->x) != FV_OK) fail_msg("%s: %s", c->how.mechanism, fv_message());
    if (decode(c, &how, &c->t) != FV_OK) fail_msg("%s: %s", c->how.mechanism, fv_message());
    same_numbers(c->how.mechanism, &c->t.out, &c->x.t[FV_OUT], 4e-6);
    const fv_tensor all = numbers(c, 0, 0, &c->t.out);
    for (int64_t r = 0; r < c->n; r++) {
        for (int64_t b = 0; b < B; b++)
            assert_int_equal(fv_kv_cache_truncate(c->cache, b, c->length - c->n + r), FV_OK);
        fv_tensor k = fv_tensor_slice(c->x.t[FV_K], 2, c->length - c->n + r, 1),
                  v = fv_tensor_slice(c->x.t[FV_V], 2, c->length - c->n + r, 1);
        assert_int_equal(fv_kv_cache_append(c->cache, &k, &v, NULL), FV_OK);
        one.q = fv_tensor_slice(c->t.q, 2, r, 1), one.out = fv_tensor_slice(all, 2, r, 1);
        if (decode(c, &how, &one) != FV_OK) fail_msg("%s: %s", c->how.mechanism, fv_message());
    }
    assert_memory_equal(all.data, c->t.out.data, (size_t)fv_tensor_count(&all) * sizeof(float));
}

static const fv_cache_options caches[] = {
    {.dtype = FV_F32, .capacity = LONGEST},
    {.dtype = FV_BF16, .capacity = LONGEST},
    {.dtype = FV_F16, .kind = FV_CACHE_PAGED, .page_rows = 16, .pages = 2 * LONGEST / 16 + 4},
};

/* Those that fv_decode does not take say what to do instead. */
static void every_mechanism(void **state) {
    (void)state;
    int taken = 0;
    for (size_t i = 0; i < fv_mechanism_count(); i++) {
        const fv_mechanism *m = fv_mechanism_at(i);
        if (!(m->can & FV_CAN_CAUSAL) || m->needs >> FV_LOG_DECAY & 1 || m->needs >> FV_BETA & 1) continue;
        for (int e = 0; e < 4 && m->examples[e]; e++) {
            decoded c;
            make(&c, m->examples[e], caches[e % 3], 70, 3);
            const fv_decode_options how = decode_options(&c);
            fv_decode_plan *plan;
            fv_status status = fv_decode_plan_create(&plan, &how, c.cache, H, 3);
            if (status != FV_OK) assert_non_null(strstr(fv_message(), "try:"));
            assert_int_equal(status, plan ? FV_OK : FV_USAGE);
            fv_decode_plan_free(plan);
            if (status == FV_OK) as_whole(&c), taken++;
            unmake(&c);
        }
    }
    assert_true(taken >= 14); /* softmax window additive t5 shaw strided */
}

/* Several chunks of positions, windows, softcap, sinks and slopes beside what the mechanism adds. */
static void long_sequences_with_everything(void **state) {
    (void)state;
    static const char *const texts[] = {
        "t5:buckets=32,max-distance=300", "shaw:max-distance=40", "additive", "strided:stride=37",
        "window:left=1050,right=0",       "shaw:max-distance=700"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (int kind = 0; kind < 3; kind++) {
            decoded c;
            make(&c, texts[i], caches[kind], LONGEST - 3, 5);
            const fv_tensor heads = fv_tensor_1d(NULL, FV_F32, H);
            c.how.softcap = kind == 1 ? 2 : 0, c.how.scale = kind == 2 ? 0.4 : 0;
            c.t.sinks = c.x.t[FV_SINKS] = numbers(&c, 20, 1, &heads);
            if (kind == 0) c.t.slopes = c.x.t[FV_SLOPES] = numbers(&c, 21, 0.01, &heads);
            if (kind != 0) c.how.window = FV_WINDOW(1100, -1);
            as_whole(&c);
            unmake(&c);
        }
}

/* A ring forgets what a window no longer shows. */
static void rings(void **state) {
    (void)state;
    static const char *const texts[] = {"t5:buckets=6,max-distance=30", "shaw:max-distance=9", "additive",
                                        "strided:stride=7", "window:left=50,right=0"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        decoded c;
        make(&c, texts[i], (fv_cache_options){.dtype = FV_F32, .kind = FV_CACHE_RING, .capacity = 112}, 300, 4);
        if (!strstr(texts[i], "window")) c.how.window = FV_WINDOW(60, -1);
        const fv_decode_options how = decode_options(&c);
        assert_int_equal(fv_attention(&c.how, NULL, &c.x), FV_OK);
        if (decode(&c, &how, &c.t) != FV_OK) fail_msg("%s: %s", texts[i], fv_message());
        same_numbers(texts[i], &c.t.out, &c.x.t[FV_OUT], 4e-6);
        unmake(&c);
    }
}

/* What a pattern hides is never looked at, be it NaN. */
static void hidden_keys_do_not_show(void **state) {
    (void)state;
    decoded c;
    make(&c, "strided:stride=13", (fv_cache_options){.dtype = FV_F32, .capacity = LONGEST}, 90, 1);
    const fv_decode_options how = decode_options(&c);
    assert_int_equal(decode(&c, &how, &c.t), FV_OK);
    const fv_tensor before = numbers(&c, 0, 0, &c.t.out);
    memcpy(before.data, c.t.out.data, (size_t)fv_tensor_count(&before) * sizeof(float));
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < KV; h++) { /* position 89 sees 77 to 89, and 76, 63, 50, ... */
            const fv__kv_place at = fv__kv_at(c.cache, b, h, 70);
            for (int d = 0; d < DV; d++) ((float *)(void *)at.v)[d] = NAN;
            for (int d = 0; d < D; d++) ((float *)(void *)at.k)[fv__kv_element(FV_F32, 70, d)] = NAN;
        }
    assert_int_equal(decode(&c, &how, &c.t), FV_OK);
    same_numbers("hidden", &c.t.out, &before, 1e-6);
    unmake(&c);
}

static void refused(const decoded *c, fv_decode_options how, const fv_decode_tensors *t, const char *part) {
    assert_int_equal(decode(c, &how, t), FV_USAGE);
    if (!strstr(fv_message(), part)) fail_msg("the message does not say \"%s\": %s", part, fv_message());
}

static void refusals(void **state) {
    (void)state;
    decoded c;
    make(&c, "t5", caches[0], 20, 1);
    fv_decode_options how = decode_options(&c);
    fv_decode_tensors t = c.t;
    t.w[0].rank = 0, refused(&c, how, &t, "w[0]");
    t = c.t, t.w[0].dim[0]--, refused(&c, how, &t, "w[0]");
    t = c.t, t.w[1] = t.w[0], refused(&c, how, &t, "w[1]");
    t = c.t, t.reserved[3] = 1, refused(&c, how, &t, "reserved words of the tensors");
    how.memory = true, refused(&c, how, &c.t, "does not look at positions");
    how = decode_options(&c), how.reserved[6] = 1, refused(&c, how, &c.t, "reserved words of the options");
    how = decode_options(&c), how.mechanism = "topk:k=3", refused(&c, how, &c.t, "made key by key");
    how.mechanism = "linear", refused(&c, how, &c.t, "made key by key");
    how.mechanism = "block-topk:k=1,block=4", refused(&c, how, &c.t, "made key by key");
    how.mechanism = "sofmax", refused(&c, how, &c.t, "softmax");
    how.mechanism = "t5:buckets=1", refused(&c, how, &c.t, "buckets");
    unmake(&c);
}

/* Each allocation of a plan fails once. */
static void every_allocation_fails_once(void **state) {
    (void)state;
    decoded c;
    make(&c, "t5", caches[0], 20, 1);
    const fv_decode_options how = decode_options(&c);
    int failures = 0;
    for (int64_t nth = 1;; nth++, failures++) {
        fv_decode_plan *plan;
        fv__inject(FV_FAULT_ALLOC, nth, false);
        fv_status status = fv_decode_plan_create(&plan, &how, c.cache, H, 1);
        fv__inject(FV_FAULT_ALLOC, 0, false);
        fv_decode_plan_free(plan);
        if (status == FV_OK) break;
        assert_int_equal(status, FV_NO_RESOURCES);
        assert_null(plan);
    }
    assert_true(failures >= 3);
    unmake(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mechanism), cmocka_unit_test(long_sequences_with_everything),
        cmocka_unit_test(rings),           cmocka_unit_test(hidden_keys_do_not_show),
        cmocka_unit_test(refusals),        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
