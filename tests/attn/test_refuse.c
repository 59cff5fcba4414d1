/* Calls that cannot mean anything are refused with FV_USAGE before anything runs, and the message names what is
 * wrong. Numbers that the arithmetic of a plan cannot hold would otherwise be computed as something else: a softcap
 * of 1e-60 in f32 as none, a scale of 1e39 as NaN. */
#include "fovea/attention.h"
#include "fovea/cache.h"
#include "fovea/statistics.h"
#include "fovea/rope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { L = 4, D = 8 };

static double q[L * D], out[L * D], lse[L];

static fv_attention_tensors tensors(fv_dtype dtype) {
    fv_attention_tensors x = {0};
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is_qkv(p)) x.t[p] = fv_bhld(q, dtype, 1, 1, L, D);
    x.t[FV_OUT] = fv_bhld(out, dtype, 1, 1, L, D);
    x.t[FV_LSE] = fv_tensor_of(lse, dtype, 3, (int64_t[]){1, 1, L});
    return x;
}

static void refused(fv_status status, const char *words) {
    assert_int_equal(status, FV_USAGE);
    if (!strstr(fv_message(), words)) fail_msg("expected \"%s\" in: %s", words, fv_message());
}

static void numbers_of_the_type(void **state) {
    (void)state;
    static const double not_f32[] = {1e-60, 1e-300, 1e39, 3e38, 1e300}, f32[] = {1e-37, 1e-3, 1e37};
    fv_attention_tensors x = tensors(FV_F32), y = tensors(FV_F64);
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    for (size_t i = 0; i < sizeof not_f32 / sizeof *not_f32; i++) {
        how.scale = -not_f32[i], refused(fv_attention(&how, NULL, &x), "scale"), how.scale = 0;
        how.softcap = not_f32[i], refused(fv_attention(&how, NULL, &x), "softcap");
        assert_int_equal(fv_attention(&how, NULL, &y), FV_OK), how.softcap = 0;
    }
    for (size_t i = 0; i < sizeof f32 / sizeof *f32; i++) {
        how.scale = -f32[i], how.softcap = f32[i];
        assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    }
    how = (fv_attention_options)FV_ATTENTION_DEFAULT, how.softcap = 1.5e308,
    refused(fv_attention(&how, NULL, &y), "softcap");
}

/* A softcap is taken by who caps scores, and refused where it would have no effect. */
static void softcap_caps_or_is_refused(void **state) {
    (void)state;
    int refusals = 0;
    for (size_t i = 0; i < fv_mechanism_count(); i++) {
        const fv_mechanism *m = fv_mechanism_at(i);
        fv_attention_options how = {.mechanism = m->examples[0]};
        fv_attention_tensors x = {.t = {[FV_Q] = fv_bhld(NULL, FV_F32, 1, 2, 8, 8)}};
        if (m->needs >> FV_K & 1) x.t[FV_K] = x.t[FV_V] = x.t[FV_Q];
        for (int p = 0; p < FV_OPERANDS; p++)
            if ((m->needs >> p & 1 || p == FV_OUT) && !x.t[p].rank)
                assert_int_equal(fv_attention_operand_shape(&how, &x, (fv_operand)p, &x.t[p]), FV_OK);
        for (int capped = 0; capped < 2; capped++) {
            fv_attention_plan *plan;
            how.softcap = capped;
            const fv_status status = fv_attention_plan_create(&plan, &how, &x);
            fv_attention_plan_free(plan);
            if (status == FV_OK && (!capped || m->can & FV_CAN_SOFTCAP)) continue;
            if (!capped || m->can & FV_CAN_SOFTCAP) fail_msg("%s: %s", m->name, fv_message());
            refused(status, "option softcap\n  expected 0"), refusals++;
        }
    }
    assert_true(refusals >= 9); /* ROWS, RECURRENT and GATE */
}

static void numbers_of_decoding(void **state) {
    (void)state;
    const fv_cache_options keep = {.batch = 1, .kv_heads = 1, .d_qk = D, .d_v = D, .dtype = FV_F32, .capacity = 16};
    fv_kv_cache *cache;
    fv_decode_plan *plan;
    fv_decode_options how = FV_DECODE_DEFAULT;
    assert_int_equal(fv_kv_cache_create(&cache, &keep), FV_OK);
    how.softcap = 1e-60, refused(fv_decode_plan_create(&plan, &how, cache, 1, 1), "softcap"), how.softcap = 0;
    how.scale = 1e39, refused(fv_decode_plan_create(&plan, &how, cache, 1, 1), "scale");
    fv_kv_cache_free(cache);
}

/* What is not set is as in the default. */
static void zeros_are_defaults(void **state) {
    (void)state;
    fv_attention_tensors x = tensors(FV_F32);
    fv_attention_options how = FV_ATTENTION_DEFAULT, some = {.scale = .5};
    float first[64];
    const size_t bytes = (size_t)fv_tensor_count(&x.t[FV_OUT]) * sizeof(float);
    assert_true(bytes <= sizeof first);
    how.scale = .5;
    for (int i = 0; i < L * D; i++) ((float *)x.t[FV_Q].data)[i] = (float)(i % 7) / 3 - 1;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    memcpy(first, x.t[FV_OUT].data, bytes), memset(x.t[FV_OUT].data, 0, bytes);
    assert_int_equal(fv_attention(&some, NULL, &x), FV_OK);
    assert_memory_equal(first, x.t[FV_OUT].data, bytes);
    assert_memory_equal(&how, &some, sizeof how);
}

static void names_of_choices(void **state) {
    (void)state;
    fv_attention_tensors x = tensors(FV_F32);
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.causal = (fv_causal)7, refused(fv_attention(&how, NULL, &x), "causal"), how.causal = FV_CAUSAL_NONE;
    how.mask_means = (fv_mask_means)9, refused(fv_attention(&how, NULL, &x), "mask_means");
    assert_int_equal(fv_attention(NULL, NULL, &x), FV_OK); /* the standard options */
    fv_attention_call call = {.q_offset = (INT64_C(1) << 48) + 1};
    refused(fv_attention(NULL, &call, &x), "q_offset of the call"), call.q_offset = 0;
    call.reserved[7] = 1, refused(fv_attention(NULL, &call, &x), "reserved words of fv_attention_call");
    x.t[FV_OPERANDS].rank = 1, refused(fv_attention(NULL, NULL, &x), "this library knows"), x.t[FV_OPERANDS].rank = 0;
    x.t[FV_K].dim[3]++, refused(fv_attention(NULL, NULL, &x), "(B,Hkv,Lk,D) = (1,1,"), x.t[FV_K].dim[3]--;
    fv_tensor shape;
    assert_int_equal(fv_attention_operand_shape(NULL, &x, FV_LSE, &shape), FV_OK);
    assert_true(shape.rank == 3 && shape.dim[2] == L);
}

static void gradients_nobody_planned(void **state) {
    (void)state;
    fv_attention_tensors x = tensors(FV_F32);
    x.t[FV_LSE].rank = 0;
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, NULL, &x), FV_OK);
    void *scratch = malloc(fv_attention_scratch(plan, true));
    refused(fv_attention_backward(plan, NULL, &x, scratch), "no gradient was planned");
    free(scratch);
    fv_attention_plan_free(plan);
}

/* Where a pointer is needed NULL is refused; sizes of nothing are 0. */
static void null_pointers(void **state) {
    (void)state;
    fv_attention_tensors x = tensors(FV_F32);
    fv_attention_statistics want = FV_ATTENTION_STATISTICS_DEFAULT;
    fv_tensor shape = fv_tensor_2d(out, FV_F32, L, L);
    fv_attention_plan *plan;
    char text[8] = "text";
    assert_int_equal(fv_attention_plan_create(&plan, NULL, &x), FV_OK);
    const fv_status found[] = {
        fv_attention(NULL, NULL, NULL),
        fv_attention_plan_create(NULL, NULL, &x),
        fv_attention_plan_create(&(fv_attention_plan *){NULL}, NULL, NULL),
        fv_attention_forward(NULL, NULL, &x, out),
        fv_attention_forward(plan, NULL, NULL, out),
        fv_attention_backward(NULL, NULL, &x, out),
        fv_attention_reference(NULL, NULL, &x),
        fv_attention_reference(plan, NULL, NULL),
        fv_attention_weights(NULL, NULL, &x, FV_CAPTURE_RAW, 0, 0, NULL, 0, &shape),
        fv_attention_weights(plan, NULL, NULL, FV_CAPTURE_RAW, 0, 0, NULL, 0, &shape),
        fv_attention_weights(plan, NULL, &x, FV_CAPTURE_RAW, 0, 0, NULL, 0, NULL),
        fv_attention_operand_shape(NULL, NULL, FV_LSE, &shape),
        fv_attention_operand_shape(NULL, &x, FV_LSE, NULL),
        fv_attention_statistics_compute(NULL, NULL, &x, &want, out),
        fv_attention_statistics_compute(plan, NULL, &x, NULL, out),
    };
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) assert_int_equal(found[i], FV_USAGE);
    assert_int_equal(fv_attention_scratch(NULL, true), 0);
    assert_int_equal(fv_attention_statistics_scratch(NULL, &want), 0);
    assert_true(fv_attention_flops(NULL, NULL, false) == 0);
    assert_true(fv_attention_plan_describe(NULL, text, sizeof text) == 0 && !*text);
    fv_attention_plan_free(plan), fv_attention_plan_free(NULL);
}

/* out over an input, from its first element or from the middle; between its rows is a place of its own. */
static void out_over_inputs(void **state) {
    (void)state;
    static float both[4 * L * D];
    fv_attention_tensors x = tensors(FV_F32);
    x.t[FV_OUT].data = x.t[FV_V].data = both;
    refused(fv_attention(NULL, NULL, &x), "operand \"out\""), refused(fv_attention(NULL, NULL, &x), "operand \"v\"");
    x.t[FV_OUT].data = both + L * D / 2, refused(fv_attention(NULL, NULL, &x), "operand \"v\"");
    x.t[FV_OUT].data = both + D, x.t[FV_OUT].stride[2] = x.t[FV_V].stride[2] = 2 * D;
    assert_int_equal(fv_attention(NULL, NULL, &x), FV_OK);
}

static void positions_without_data(void **state) {
    (void)state;
    fv_tensor x = fv_bhld(q, FV_F32, 1, 1, L, D);
    fv_rope_options how = FV_ROPE_DEFAULT;
    how.position = fv_tensor_1d(NULL, FV_I64, L);
    refused(fv_rope_forward(&how, &x, &x), "rope: positions\n  expected data"), how.position.rank = 0;
    how.cosine = how.sine = fv_tensor_2d(NULL, FV_F32, L, D / 2);
    refused(fv_rope_forward(&how, &x, &x), "rope: tables\n  expected data");
}

static void maps(void **state) {
    (void)state;
    fv_attention_tensors x = tensors(FV_F32);
    fv_attention_plan *plan;
    const int64_t row = 0;
    float mean[1], some[L];
    assert_int_equal(fv_attention_plan_create(&plan, NULL, &x), FV_OK);
    fv_tensor to = fv_tensor_2d(NULL, FV_F32, 1, L);
    refused(fv_attention_weights(plan, NULL, &x, FV_CAPTURE_RAW, 0, 0, &row, 1, &to), "expected data");
    to.data = some;
    refused(fv_attention_weights(plan, NULL, &x, FV_CAPTURE_RAW, 0, 0, &row, -1, &to),
            "number of rows\n  expected 0 or more\n  found:   -1");
    assert_int_equal(fv_attention_weights(plan, NULL, &x, FV_CAPTURE_RAW, 0, 0, &row, 0, &to), FV_OK);
    if (L > 1)
        refused(fv_attention_weights(plan, NULL, &x, FV_CAPTURE_RAW, 0, 0, NULL, 1, &to), "the tensor for weights");
    fv_attention_statistics want = FV_ATTENTION_STATISTICS_DEFAULT;
    want.mean = fv_tensor_of(mean, FV_F32, 4, (int64_t[]){1, 1, 1, 1});
    want.pool_q = want.pool_k = INT64_MAX;
    assert_int_equal(fv_attention_statistics_scratch(plan, &want), 0);
    refused(fv_attention_statistics_compute(plan, NULL, &x, &want, q), "pool_q and pool_k");
    want.pool_q = want.pool_k = INT64_C(1) << 48; /* one block of everything */
    void *scratch = malloc(fv_attention_statistics_scratch(plan, &want));
    memset(q, 0, sizeof q), memset(lse, 0, sizeof lse);
    assert_int_equal(fv_attention(NULL, NULL, &x), FV_OK);
    assert_int_equal(fv_attention_statistics_compute(plan, NULL, &x, &want, scratch), FV_OK);
    assert_true(mean[0] > 0.2499f && mean[0] < 0.2501f);
    free(scratch);
    fv_attention_plan_free(plan);
}

/* ---- sizes that wrap: 2^20 and more of everything over one element, by strides of 0 */

enum { BACKWARD = 1, PACKED = 2, BF16 = 4, SELF = 8 };

static void wraps(const char *mechanism, int how, int64_t b, int64_t h, int64_t lq, int64_t lk, int64_t d, int64_t dv,
                  const char *words) {
    static float one[64];
    static int64_t zero;
    fv_attention_options options = FV_ATTENTION_DEFAULT;
    options.mechanism = mechanism;
    const fv_dtype dtype = how & BF16 ? FV_BF16 : FV_F32;
    const int64_t batch = how & PACKED ? 1 : b;
    fv_attention_tensors x = {0};
    x.t[FV_Q] = fv_bhld(one, dtype, batch, h, lq, d);
    if (!(how & SELF)) x.t[FV_K] = fv_bhld(one, dtype, batch, h, lk, d);
    if (!(how & SELF)) x.t[FV_V] = fv_bhld(one, dtype, batch, h, lk, dv);
    x.t[FV_OUT] = fv_bhld(one, dtype, batch, h, lq, how & SELF ? d : dv);
    if (!(how & SELF)) x.t[FV_LSE] = fv_tensor_of(one, FV_F32, 3, (int64_t[]){batch, h, lq});
    if (how & PACKED) x.t[FV_CU_Q] = fv_tensor_1d(&zero, FV_I64, b + 1), x.t[FV_CU_K] = x.t[FV_CU_Q];
    for (int p = 0; p < FV_OPERANDS; p++) {
        if (!fv_operand_is((fv_operand)p, FV_ROLE_PARAM) || x.t[p].rank) continue;
        fv_attention_operand_shape(&options, &x, (fv_operand)p, &x.t[p]);
        x.t[p].data = one;
    }
    for (int p = 0; p < FV_OPERANDS; p++)
        for (int a = 0; a + 1 < x.t[p].rank; a++) x.t[p].stride[a] = 0;
    if (how & PACKED) x.t[FV_CU_Q].stride[0] = x.t[FV_CU_K].stride[0] = 0;
    static const fv_operand differentiated[] = {FV_Q, FV_K, FV_V, FV_OUT};
    for (int i = 0; how & BACKWARD && i < 4; i++) x.d[differentiated[i]] = x.t[differentiated[i]];
    fv_attention_plan *plan;
    const fv_status status = fv_attention_plan_create(&plan, &options, &x);
    if (status != FV_NO_RESOURCES || !strstr(fv_message(), words))
        fail_msg("%s %d %lld x %lld: %d, scratch %zu, %s", mechanism, how, (long long)b, (long long)lq, status,
                 status == FV_OK ? fv_attention_scratch(plan, false) : 0, fv_message());
    assert_null(plan);
}

static void sizes_that_wrap(void **state) {
    (void)state;
    const int64_t m = INT64_C(1) << 20;
    /* the first wraps: a state of 2^40 numbers for each span of 2^20 sequences */
    wraps("linear", 0, m, 1, 2048, 2048, m, m, "\"linear\", scratch\n  expected less than 2^48 bytes");
    wraps("linear", 0, 4, 4, 16, 16, INT64_C(1) << 40, INT64_C(1) << 40, "\"linear\", scratch\n");
    wraps("linear", PACKED, m, m, 8, 8, 512 * 16, m, "\"linear\", scratch\n");
    wraps("softmax", 0, 1, 1, 4, 4, INT64_C(1) << 55, 8, "\"softmax\", scratch\n");
    wraps("softmax", BACKWARD, 1, 1, 4, 4, INT64_C(1) << 54, 8, "\"softmax\", scratch");
    wraps("softmax", BACKWARD, m, m, 1 << 14, 1, 8, 8, "\"softmax\", scratch of backward\n  expected less than 2^48");
    wraps("softmax", BF16, m, m, 1 << 14, 1, 8, 8, "\"softmax\", scratch\n");
    wraps("softmax", PACKED, INT64_C(1) << 57, 1, 4, 4, 8, 8, "\"softmax\", ");
    wraps("softmax", PACKED, INT64_C(1) << 40, INT64_C(1) << 40, 4, 4, 8, 8,
          "rows of all sequences and heads\n  expected fewer than 2^63");
    wraps("topk:k=2", 0, 1, 1, 2, INT64_C(1) << 54, 8, 8, "\"topk\", scratch\n");
    wraps("topk:k=2", 0, 1, 1, 2, 2, INT64_C(1) << 56, 2, "\"topk\", scratch\n");
    wraps("spatial-gate", SELF | BACKWARD, m, m, 4, 4, 1 << 15, 0, "\"spatial-gate\", scratch");
    wraps("se:reduction=16", SELF, m, m, 4, 4, 1 << 15, 0, "\"se\", scratch");
}

static void statistics_that_wrap(void **state) {
    (void)state;
    static float one[64];
    const int64_t m = INT64_C(1) << 20;
    fv_attention_tensors x = {0};
    x.t[FV_Q] = fv_bhld(one, FV_F32, m, m, 1024, 8), x.t[FV_OUT] = x.t[FV_Q];
    x.t[FV_K] = fv_bhld(one, FV_F32, m, m, 1 << 14, 8), x.t[FV_V] = x.t[FV_K];
    x.t[FV_LSE] = fv_tensor_of(one, FV_F32, 3, (int64_t[]){m, m, 1024});
    fv_attention_statistics want = FV_ATTENTION_STATISTICS_DEFAULT;
    want.columns = fv_tensor_of(one, FV_F32, 3, (int64_t[]){m, m, 1 << 14});
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, NULL, &x), FV_OK);
    assert_int_equal(fv_attention_statistics_scratch(plan, &want), 0);
    assert_non_null(strstr(fv_message(), "attention: statistics, its scratch\n  expected less than 2^48 bytes"));
    fv_attention_plan_free(plan);
}

/* Rows without numbers take no memory: how many there may be is not left to the caller's patience. */
static void rows_of_no_numbers(void **state) {
    (void)state;
    static const char *const names[] = {"softmax", "linear", "retention", "topk:k=1"};
    for (int i = 0; i < 4; i++) {
        const int64_t many = INT64_C(1) << 40;
        fv_attention_options how = FV_ATTENTION_DEFAULT;
        fv_attention_plan *plan;
        fv_attention_tensors x = {.t = {[FV_Q] = fv_bhld(NULL, FV_F32, 1, 1, 1, 0),
                                        [FV_K] = fv_bhld(NULL, FV_F32, 1, 1, many, 0),
                                        [FV_V] = fv_bhld(NULL, FV_F32, 1, 1, many, 0),
                                        [FV_OUT] = fv_bhld(NULL, FV_F32, 1, 1, 1, 0)}};
        how.mechanism = names[i];
        if (i == 2) how.causal = FV_CAUSAL_UPPER_LEFT;
        assert_int_not_equal(fv_attention_plan_create(&plan, &how, &x), FV_OK);
        if (i == 0) assert_non_null(strstr(fv_message(), "rows of no numbers\n  expected at most 2^32 of them"));
        x.t[FV_K].dim[2] = x.t[FV_V].dim[2] = 5;
        if (i == 0) {
            assert_int_equal(fv_attention_plan_create(&plan, &how, &x), FV_OK);
            fv_attention_plan_free(plan);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_no_numbers),
        cmocka_unit_test(numbers_of_the_type),
        cmocka_unit_test(numbers_of_decoding),
        cmocka_unit_test(names_of_choices),
        cmocka_unit_test(zeros_are_defaults),
        cmocka_unit_test(gradients_nobody_planned),
        cmocka_unit_test(positions_without_data),
        cmocka_unit_test(maps),
        cmocka_unit_test(sizes_that_wrap),
        cmocka_unit_test(statistics_that_wrap),
        cmocka_unit_test(softcap_caps_or_is_refused),
        cmocka_unit_test(null_pointers),
        cmocka_unit_test(out_over_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
