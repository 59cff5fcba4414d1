/* Prefix-LM: keys of the prefix are seen from everywhere, the others causally. Against the same picture drawn as a
 * mask, and laws. The random calls of the other tests have prefixes too. */
#define CALL_REAL double
#include "attn_call.h"

enum { B = 2, H = 4, KV = 2, L = 150, LK = 170, D = 16 };

static call make_call(int64_t batch, int64_t lq, int64_t lk) {
    call c = call_make(batch, H, KV, lq, lk, D, D);
    c.x.d[FV_LSE].rank = 0;
    return c;
}

static void same(const call *a, const call *b, double tolerance) {
    static const fv_operand operands[] = {FV_OUT, FV_LSE, FV_Q, FV_K, FV_V};
    for (int i = 0; i < 5; i++) {
        const fv_tensor *x = i < 2 ? &a->x.t[operands[i]] : &a->x.d[operands[i]],
                        *y = i < 2 ? &b->x.t[operands[i]] : &b->x.d[operands[i]];
        double size;
        assert_true(difference(x, y, &size) <= tolerance);
    }
}

/* The rule itself, for one row. */
static bool visible_to(const fv_attention_options *o, int64_t at, int64_t prefix, int64_t j) {
    if (o->window.limited && o->window.left >= 0 && j < at - o->window.left) return false;
    return j < prefix || j <= at;
}

static void as_mask(void **state) {
    (void)state;
    static unsigned char keep[B * L * LK];
    const int64_t dim[4] = {B, 1, L, LK}, windows[] = {-1, 40, 0};
    int32_t prefix[][B] = {{0, 1}, {70, 64}, {LK, 129}, {3, 100}};
    for (int w = 0; w < 3; w++)
        for (int n = 0; n < 4; n++)
            for (int corner = 0; corner < 2; corner++) {
                call a = make_call(B, L, LK), b = make_call(B, L, LK);
                a.how.causal = corner ? FV_CAUSAL_LOWER_RIGHT : FV_CAUSAL_UPPER_LEFT,
                a.how.window = FV_WINDOW(windows[w], -1);
                a.x.t[FV_PREFIX_LEN] = fv_tensor_1d(prefix[n], FV_I32, B);
                for (int64_t i = 0; i < B * L * LK; i++)
                    keep[i] = visible_to(&a.how, i / LK % L + (corner ? LK - L : 0), prefix[n][i / (L * LK)], i % LK);
                b.x.t[FV_MASK] = fv_tensor_of(keep, FV_BOOL, 4, dim);
                call_run(&a), call_run(&b);
                same(&a, &b, 1e-12);
                call_free(&a), call_free(&b);
            }
}

/* No prefix is plain causal; all keys as the prefix is not causal at all: the same bytes. */
static void ends(void **state) {
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        call a = make_call(B, L, LK), b = make_call(B, L, LK);
        int64_t prefix[B] = {whole ? LK : 0, whole ? LK : 0};
        a.how.causal = FV_CAUSAL_UPPER_LEFT, b.how.causal = whole ? FV_CAUSAL_NONE : FV_CAUSAL_UPPER_LEFT;
        a.x.t[FV_PREFIX_LEN] = fv_tensor_1d(prefix, FV_I64, B);
        call_run(&a), call_run(&b);
        same(&a, &b, 0);
        call_free(&a), call_free(&b);
    }
}

/* A packed sequence has its own prefix, and gets what it gets alone; kv_len holds. */
static void packed(void **state) {
    (void)state;
    enum { N = 3 };
    int32_t cu[N + 1] = {0, 40, 41, L}, prefix[N] = {13, 0, 100};
    call all = make_call(1, L, L);
    all.how.causal = FV_CAUSAL_UPPER_LEFT;
    all.x.t[FV_CU_Q] = fv_tensor_1d(cu, FV_I32, N + 1), all.x.t[FV_PREFIX_LEN] = fv_tensor_1d(prefix, FV_I32, N);
    call_run(&all);
    for (int n = 0; n < N; n++) {
        const int64_t length = cu[n + 1] - cu[n];
        call one = make_call(1, length, length);
        one.how = all.how, one.call = all.call;
        one.x.t[FV_PREFIX_LEN] = fv_tensor_1d(&prefix[n], FV_I32, 1);
        for (int p = 0; p < FV_OPERANDS; p++)
            if (fv_operand_is_qkv(p)) {
                const fv_tensor part = fv_tensor_slice(all.x.t[p], 2, cu[n], length);
                assert_int_equal(fv_tensor_copy(&one.x.t[p], &part), FV_OK);
            }
        call_run(&one);
        const fv_tensor part = fv_tensor_slice(all.x.t[FV_OUT], 2, cu[n], length);
        double size;
        assert_true(difference(&one.x.t[FV_OUT], &part, &size) == 0);
        call_free(&one);
    }
    call_free(&all);
}

/* A key beyond the prefix and in the future of a row does not reach it, also when it is NaN. */
static void hidden(void **state) {
    (void)state;
    call a = make_call(1, L, L), b = make_call(1, L, L);
    int32_t prefix = 30, live = 100;
    a.how.causal = b.how.causal = FV_CAUSAL_UPPER_LEFT;
    a.x.t[FV_PREFIX_LEN] = b.x.t[FV_PREFIX_LEN] = fv_tensor_1d(&prefix, FV_I32, 1);
    a.x.t[FV_KV_LEN] = b.x.t[FV_KV_LEN] = fv_tensor_1d(&live, FV_I32, 1);
    for (int64_t h = 0; h < KV; h++)
        for (int64_t i = 90 * D; i < L * D; i++) b.memory[FV_K][h * L * D + i] = b.memory[FV_V][h * L * D + i] = NAN;
    call_run(&a), call_run(&b);
    for (int64_t h = 0; h < H; h++)
        assert_memory_equal(a.memory[FV_OUT] + h * L * D, b.memory[FV_OUT] + h * L * D, 90 * D * 8);
    assert_true(isnan(b.memory[FV_OUT][90 * D]));
    prefix = L; /* beyond kv_len: only what exists */
    call_run(&a);
    for (int64_t i = 0; i < H * L; i++) assert_true(isfinite(a.memory[FV_LSE][i]));
    call_free(&a), call_free(&b);
}

static void refusals(void **state) {
    (void)state;
    call good = make_call(B, L, LK), c = good;
    int32_t prefix[3] = {1, 2, 3};
    c.x.t[FV_PREFIX_LEN] = fv_tensor_1d(prefix, FV_I32, 3), call_refused(&c, "prefix_len");
    c.x.t[FV_PREFIX_LEN] = fv_tensor_1d(prefix, FV_F32, B), call_refused(&c, "i32 or i64");
    c.x.t[FV_PREFIX_LEN] = fv_tensor_1d(prefix, FV_I32, B);
    call_run(&c);
    prefix[1] = -1, call_refused(&c, "0 to 170");
    prefix[1] = LK + 1, call_refused(&c, "0 to 170");
    prefix[1] = 0, c.how.mechanism = "linear", call_refused(&c, "does not take operand \"prefix_len\"");
    call_free(&good);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_mask), cmocka_unit_test(ends),     cmocka_unit_test(packed),
        cmocka_unit_test(hidden),  cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
