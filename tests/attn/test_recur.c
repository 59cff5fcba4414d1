/* The RECURRENT engine through the mechanism `linear`: small answers computed by hand, the reference, differences,
 * and what must not change any bit. A failure of a random case names the case:  test_recur CASE */
#include "attn_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* A state has no left window. */
static void fit(attn_case *c) {
    if (c->how.window.limited) c->how.window.left = -1;
}

/* The quadratic reference makes long cases dear: few of them, and `recurrence` below. */
static int64_t longest_of(uint64_t seed) { return seed % 100 == 0 ? 300 : seed % 8 == 7 ? 90 : seed % 2 ? 40 : 20; }

/* ---- by hand. phi(0) = 1, phi(1) = 2, phi(-ln 2) = 1/2 */

typedef struct tiny {
    double q[2], k[2], v[2], out[2], lse[2], dout[2], dq[2], dk[2], dv[2];
} tiny;

static fv_attention_tensors tiny_tensors(tiny *t) {
    fv_attention_tensors x = {0};
    x.t[FV_Q] = fv_bhld(t->q, FV_F64, 1, 1, 2, 1), x.t[FV_K] = fv_bhld(t->k, FV_F64, 1, 1, 2, 1);
    x.t[FV_V] = fv_bhld(t->v, FV_F64, 1, 1, 2, 1), x.t[FV_OUT] = fv_bhld(t->out, FV_F64, 1, 1, 2, 1);
    x.t[FV_LSE] = fv_bhld(t->lse, FV_F64, 1, 1, 2, 1), x.t[FV_LSE].rank = 3;
    x.d[FV_Q] = fv_bhld(t->dq, FV_F64, 1, 1, 2, 1), x.d[FV_K] = fv_bhld(t->dk, FV_F64, 1, 1, 2, 1);
    x.d[FV_V] = fv_bhld(t->dv, FV_F64, 1, 1, 2, 1), x.d[FV_OUT] = fv_bhld(t->dout, FV_F64, 1, 1, 2, 1);
    return x;
}

static void assert_pair(const double *found, double a, double b) {
    assert_true(fabs(found[0] - a) < 1e-12);
    assert_true(fabs(found[1] - b) < 1e-12);
}

static void by_hand(void **state) {
    (void)state;
    tiny t = {.q = {0, 0}, .k = {-log(2), 1}, .v = {1, 5}, .dout = {0, 1}};
    fv_attention_tensors x = tiny_tensors(&t);
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = "linear:eps=1e-30";
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    assert_pair(t.out, 4.2, 4.2); /* (1/2 1 + 2 5) / (1/2 + 2) */
    assert_pair(t.lse, log(2.5), log(2.5));
    assert_pair(t.dv, 0.2, 0.8);
    assert_pair(t.dk, 0.5 * (1 - 4.2) / 2.5, (5 - 4.2) / 2.5); /* (v - o) / m phi'(k) */
    assert_pair(t.dq, 0, 0);                                   /* width 1: the query cancels */
    how.causal = FV_CAUSAL_UPPER_LEFT;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    assert_pair(t.out, 1, 4.2);
    assert_pair(t.lse, log(0.5), log(2.5));
    t.dout[0] = 1, t.dout[1] = 0;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    assert_pair(t.dv, 1, 0);
    const fv_attention_call moved = {.q_offset = -1}; /* query 0 sees nothing, query 1 the first key */
    t.dout[1] = 2;
    assert_int_equal(fv_attention(&how, &moved, &x), FV_OK);
    assert_pair(t.out, 0, 1);
    assert_true(t.lse[0] == -INFINITY);
    assert_pair(t.dv, 2, 0);
    how.mechanism = "linear:eps=0.5", how.causal = FV_CAUSAL_NONE;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    assert_pair(t.out, 3.5, 3.5); /* 10.5 / 3 */
}

/* ---- the definition as a recurrence, key by key, over many spans */

static double phi(double x) { return x > 0 ? x + 1 : exp(x); }

static void recurrence(void **state) {
    (void)state;
    enum { L = 1100, D = 5, DV = 3 };
    static double q[L * D], k[L * D], v[L * DV], out[L * DV];
    for (int i = 0; i < L * D; i++)
        q[i] = fv__random_normal(1, 1, (uint64_t)i), k[i] = fv__random_normal(1, 2, (uint64_t)i);
    for (int i = 0; i < L * DV; i++) v[i] = fv__random_normal(1, 3, (uint64_t)i);
    fv_attention_tensors x = {0};
    x.t[FV_Q] = fv_bhld(q, FV_F64, 1, 1, L, D), x.t[FV_K] = fv_bhld(k, FV_F64, 1, 1, L, D);
    x.t[FV_V] = fv_bhld(v, FV_F64, 1, 1, L, DV), x.t[FV_OUT] = fv_bhld(out, FV_F64, 1, 1, L, DV);
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = "linear", how.causal = FV_CAUSAL_LOWER_RIGHT;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    double s[D][DV] = {{0}}, z[D] = {0};
    for (int i = 0; i < L; i++) {
        double total = 1e-6, sum[DV] = {0};
        for (int d = 0; d < D; d++) {
            z[d] += phi(k[i * D + d]);
            total += phi(q[i * D + d]) * z[d];
            for (int e = 0; e < DV; e++) {
                s[d][e] += phi(k[i * D + d]) * v[i * DV + e];
                sum[e] += phi(q[i * D + d]) * s[d][e];
            }
        }
        for (int e = 0; e < DV; e++) assert_true(fabs(out[i * DV + e] - sum[e] / total) < 1e-12);
    }
}

/* ---- random cases */

static void random_cases(void **state) {
    (void)state;
    const char *text = getenv("FOVEA_TEST_LONG");
    for (uint64_t seed = 1; seed <= (text && *text ? 20000 : 1100); seed++)
        check_reference("linear", seed, longest_of(seed), fit);
    assert_int_equal(check_failures, 0);
}

static void gradients(void **state) {
    (void)state;
    int64_t checked = 0;
    for (uint64_t seed = 1; seed <= 150; seed++)
        checked += check_gradients("linear", seed, seed % 8 == 7 ? 80 : 9, fit);
    for (uint64_t seed = 1000; seed <= 1003; seed++) checked += check_gradients("linear", seed, 300, fit);
    assert_true(checked > 3000);
    assert_int_equal(check_failures, 0);
}

static void thread_counts(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) check_threads("linear", seed, seed % 4 ? 90 : 700, fit);
    assert_int_equal(check_failures, 0);
}

static void packed(void **state) {
    (void)state;
    int64_t sequences = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) check_packed("linear", seed, seed % 4 ? 90 : 900, fit, &sequences);
    assert_true(sequences > 100);
    assert_int_equal(check_failures, 0);
}

/* ---- a state in place of what came before: outputs, final state and every gradient of a sequence in two calls are
 * those of one */

enum { SL = 400, SD = 5, SV = 3, SH = 4, SKV = 2 };
typedef struct stream {
    double q[2][SH * SL * SD], k[2][SKV * SL * SD], v[2][SKV * SL * SV], out[2][SH * SL * SV], lse[2][SH * SL];
    double state[2][SKV * SD * (SV + 1)], end[2][SKV * SD * (SV + 1)]; /* values, gradients */
} stream;

static void stream_fill(stream *s) {
    double *x = (double *)s;
    for (size_t i = 0; i < sizeof *s / sizeof *x; i++) x[i] = fv__random_normal(3, 0, i);
    for (int i = 0; i < SKV * SD; i++) s->state[0][i * (SV + 1) + SV] = 1 + fabs(s->state[0][i * (SV + 1) + SV]);
}

static fv_attention_tensors stream_tensors(stream *s, int64_t from, int64_t to) {
    fv_attention_tensors x = {0};
    for (int g = 0; g < 2; g++) {
        fv_tensor *t = g ? x.d : x.t;
        t[FV_Q] = fv_bhld(s->q[g], FV_F64, 1, SH, SL, SD), t[FV_K] = fv_bhld(s->k[g], FV_F64, 1, SKV, SL, SD);
        t[FV_V] = fv_bhld(s->v[g], FV_F64, 1, SKV, SL, SV), t[FV_OUT] = fv_bhld(s->out[g], FV_F64, 1, SH, SL, SV);
        t[FV_LSE] = fv_bhld(s->lse[g], FV_F64, 1, SH, SL, 1), t[FV_LSE].rank = 3;
        const fv_operand rows[] = {FV_Q, FV_K, FV_V, FV_OUT, FV_LSE};
        for (int i = 0; i < 5; i++) t[rows[i]] = fv_tensor_slice(t[rows[i]], 2, from, to - from);
        t[FV_STATE] = fv_bhld(s->state[g], FV_F64, 1, SKV, SD, SV + 1);
        t[FV_STATE_OUT] = fv_bhld(s->end[g], FV_F64, 1, SKV, SD, SV + 1);
    }
    return x;
}

static void close_numbers(const char *what, const double *a, const double *b, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!(fabs(a[i] - b[i]) <= 1e-11 * (1 + fabs(b[i])))) fail_msg("%s: %zu: %.15g and %.15g", what, i, a[i], b[i]);
}

static void states(void **unused) {
    static stream whole, parts;
    static double middle[2][SKV * SD * (SV + 1)];
    fv_attention_options how = {.mechanism = "linear", .causal = FV_CAUSAL_LOWER_RIGHT};
    const int64_t cuts[] = {0, 1, 64, 100, 256, 300, SL - 1, SL};
    (void)unused;
    stream_fill(&whole);
    fv_attention_tensors x = stream_tensors(&whole, 0, SL);
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    for (int i = 0; i < 8; i++) {
        stream_fill(&parts);
        fv_attention_tensors left = stream_tensors(&parts, 0, cuts[i]), right = stream_tensors(&parts, cuts[i], SL);
        left.t[FV_STATE_OUT].data = right.t[FV_STATE].data = middle[0];
        right.d[FV_STATE].data = left.d[FV_STATE_OUT].data = middle[1];
        fv_attention_tensors forward = left;
        memset(forward.d, 0, sizeof forward.d);
        assert_int_equal(fv_attention(&how, NULL, &forward), FV_OK);
        assert_int_equal(fv_attention(&how, NULL, &right), FV_OK);
        assert_int_equal(fv_attention(&how, NULL, &left), FV_OK);
        close_numbers("out", parts.out[0], whole.out[0], SH * SL * SV);
        close_numbers("lse", parts.lse[0], whole.lse[0], SH * SL);
        close_numbers("state_out", parts.end[0], whole.end[0], SKV * SD * (SV + 1));
        close_numbers("dq", parts.q[1], whole.q[1], SH * SL * SD);
        close_numbers("dk", parts.k[1], whole.k[1], SKV * SL * SD);
        close_numbers("dv", parts.v[1], whole.v[1], SKV * SL * SV);
        close_numbers("dstate", parts.state[1], whole.state[1], SKV * SD * (SV + 1));
    }
    how.causal = FV_CAUSAL_NONE;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
    assert_non_null(strstr(fv_message(), "expected a causal call"));
    how.causal = FV_CAUSAL_UPPER_LEFT;
    const fv_attention_call moved = {.q_offset = 3};
    assert_int_equal(fv_attention(&how, &moved, &x), FV_USAGE);
    assert_non_null(strstr(fv_message(), "q_offset"));
    how.mechanism = "softmax", x.t[FV_STATE].rank = x.d[FV_STATE].rank = 0, x.t[FV_STATE_OUT].dim[3] = SV;
    x.d[FV_STATE_OUT].rank = 0;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE); /* and is not left unwritten */
    assert_non_null(strstr(fv_message(), "state_out"));
}

/* ---- what must not matter */

enum { B = 2, H = 4, KV = 2, L = 333, D = 12, DV = 20 };

typedef struct fixed {
    float q[B * H * L * D], k[B * KV * L * D], v[B * KV * L * DV], dout[B * H * L * DV];
    float out[B * H * L * DV], lse[B * H * L], dq[B * H * L * D], dk[B * KV * L * D], dv[B * KV * L * DV];
} fixed;

static void fixed_fill(fixed *f) {
    float *inputs[] = {f->q, f->k, f->v, f->dout};
    const size_t sizes[] = {sizeof f->q, sizeof f->k, sizeof f->v, sizeof f->dout};
    for (int i = 0; i < 4; i++)
        for (size_t n = 0; n < sizes[i] / sizeof(float); n++)
            inputs[i][n] = (float)fv__random_normal(9, (uint64_t)i, n);
}

static fv_attention_tensors fixed_tensors(fixed *f, int64_t keys) {
    fv_attention_tensors x = {0};
    x.t[FV_Q] = fv_bhld(f->q, FV_F32, B, H, L, D), x.t[FV_K] = fv_bhld(f->k, FV_F32, B, KV, L, D);
    x.t[FV_V] = fv_bhld(f->v, FV_F32, B, KV, L, DV), x.t[FV_OUT] = fv_bhld(f->out, FV_F32, B, H, L, DV);
    x.t[FV_LSE] = fv_bhld(f->lse, FV_F32, B, H, L, 1), x.t[FV_LSE].rank = 3;
    x.d[FV_Q] = fv_bhld(f->dq, FV_F32, B, H, L, D), x.d[FV_K] = fv_bhld(f->dk, FV_F32, B, KV, L, D);
    x.d[FV_V] = fv_bhld(f->dv, FV_F32, B, KV, L, DV), x.d[FV_OUT] = fv_bhld(f->dout, FV_F32, B, H, L, DV);
    const fv_operand operands[] = {FV_K, FV_V};
    for (int i = 0; i < 2; i++) {
        x.t[operands[i]] = fv_tensor_slice(x.t[operands[i]], 2, 0, keys);
        x.d[operands[i]] = fv_tensor_slice(x.d[operands[i]], 2, 0, keys);
    }
    return x;
}

/* Rows [from, to) of every head of an array of `heads` heads and `width` columns. */
static bool rows_equal(const float *a, const float *b, int64_t heads, int64_t width, int64_t from, int64_t to) {
    for (int64_t h = 0; h < B * heads; h++)
        if (memcmp(a + (h * L + from) * width, b + (h * L + from) * width, (size_t)((to - from) * width) * sizeof *a))
            return false;
    return true;
}

static void rows_set(float *a, int64_t heads, int64_t width, int64_t from, int64_t to, float what) {
    for (int64_t h = 0; h < B * heads; h++)
        for (int64_t i = from * width; i < to * width; i++) a[h * L * width + i] = what;
}

static void rows_nan(float *a, int64_t heads, int64_t width, int64_t from, int64_t to) {
    rows_set(a, heads, width, from, to, NAN);
}

static bool rows_zero(const float *a, int64_t heads, int64_t width, int64_t from, int64_t to) {
    for (int64_t h = 0; h < B * heads; h++)
        for (int64_t i = from * width; i < to * width; i++)
            if (a[h * L * width + i] != 0) return false;
    return true;
}

static fixed one, other;

static void run_fixed(fixed *f, const fv_attention_options *how, int64_t keys, const int32_t *live,
                      const fv_attention_call *call) {
    fv_attention_tensors x = fixed_tensors(f, keys);
    if (live) x.t[FV_KV_LEN] = fv_tensor_1d((void *)live, FV_I32, B);
    assert_int_equal(fv_attention(how, call, &x), FV_OK);
}

/* What lies ahead of a query is NaN; what lies behind a key is NaN or infinite. */
static void causal_prefix(void **state) {
    (void)state;
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = "linear", how.causal = FV_CAUSAL_UPPER_LEFT;
    fixed_fill(&one);
    run_fixed(&one, &how, L, NULL, NULL);
    const int64_t cuts[] = {1, 63, 64, 100, 256, 300};
    for (int i = 0; i < 6; i++) {
        const int64_t t = cuts[i];
        fixed_fill(&other);
        rows_nan(other.q, H, D, t, L), rows_nan(other.k, KV, D, t, L), rows_nan(other.v, KV, DV, t, L);
        run_fixed(&other, &how, L, NULL, NULL);
        assert_true(rows_equal(one.out, other.out, H, DV, 0, t));
        assert_true(rows_equal(one.lse, other.lse, H, 1, 0, t));
        assert_true(rows_equal(one.dq, other.dq, H, D, 0, t));
        assert_true(isnan(other.out[(L - 1) * DV]));
        for (int infinite = 0; infinite < 2; infinite++) {
            fixed_fill(&other);
            rows_set(other.q, H, D, 0, t, infinite ? INFINITY : NAN);
            run_fixed(&other, &how, L, NULL, NULL);
            assert_true(rows_equal(one.dk, other.dk, KV, D, t, L));
            assert_true(rows_equal(one.dv, other.dv, KV, DV, t, L));
            assert_true(isnan(other.dk[0]));
        }
    }
}

/* With a cotangent of lse alone an infinite query has finite ones: it is its features that must stay hidden. */
static void infinite_past(void **state) {
    (void)state;
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = "linear", how.causal = FV_CAUSAL_UPPER_LEFT;
    fixed *both[2] = {&one, &other};
    for (int i = 0; i < 2; i++) {
        fixed_fill(both[i]);
        if (i) rows_set(both[i]->q, H, D, 0, 10, INFINITY);
        fv_attention_tensors x = fixed_tensors(both[i], L);
        x.d[FV_LSE] = fv_bhld(both[i]->dout, FV_F32, B, H, L, 1), x.d[FV_LSE].rank = 3;
        x.d[FV_OUT].rank = 0;
        assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    }
    assert_true(rows_equal(one.dk, other.dk, KV, D, 10, L));
    assert_false(rows_zero(one.dk, KV, D, 10, 11));
    assert_true(rows_zero(one.dv, KV, DV, 0, L));
}

/* Keys beyond kv_len, and keys no query reaches, are as good as absent, NaN or not. */
static void padding(void **state) {
    (void)state;
    const int32_t live[B] = {200, 200};
    const fv_causal modes[] = {FV_CAUSAL_NONE, FV_CAUSAL_UPPER_LEFT, FV_CAUSAL_LOWER_RIGHT};
    for (int m = 0; m < 3; m++) {
        fv_attention_options how = FV_ATTENTION_DEFAULT;
        how.mechanism = "linear", how.causal = modes[m];
        fixed_fill(&one), fixed_fill(&other);
        rows_nan(other.k, KV, D, 200, L), rows_nan(other.v, KV, DV, 200, L);
        run_fixed(&one, &how, 200, NULL, NULL);
        run_fixed(&other, &how, L, live, NULL);
        assert_true(rows_equal(one.out, other.out, H, DV, 0, L));
        assert_true(rows_equal(one.lse, other.lse, H, 1, 0, L));
        assert_true(rows_equal(one.dq, other.dq, H, D, 0, L));
        assert_true(rows_equal(one.dk, other.dk, KV, D, 0, 200));
        assert_true(rows_equal(one.dv, other.dv, KV, DV, 0, 200));
        assert_true(rows_zero(other.dk, KV, D, 200, L));
        assert_true(rows_zero(other.dv, KV, DV, 200, L));
    }
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    const fv_attention_call moved = {.q_offset = -100};
    how.mechanism = "linear", how.causal = FV_CAUSAL_UPPER_LEFT;
    fixed_fill(&one), fixed_fill(&other);
    rows_nan(other.k, KV, D, L - 100, L), rows_nan(other.v, KV, DV, L - 100, L), rows_nan(other.q, H, D, 0, 100);
    run_fixed(&one, &how, L, NULL, &moved);
    run_fixed(&other, &how, L, NULL, &moved);
    assert_memory_equal(one.out, other.out, sizeof one.out);
    assert_memory_equal(one.dq, other.dq, sizeof one.dq);
    assert_memory_equal(one.dk, other.dk, sizeof one.dk);
    assert_memory_equal(one.dv, other.dv, sizeof one.dv);
    assert_true(rows_zero(one.out, H, DV, 0, 100) && rows_zero(one.dk, KV, D, L - 100, L));
    assert_false(rows_zero(one.dk, KV, D, L - 101, L - 100));
}

static void nothing_to_see(void **state) {
    (void)state;
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = "linear";
    const int32_t live[B] = {0, L};
    fixed_fill(&one);
    rows_nan(one.out, H, DV, 0, L), rows_nan(one.dk, KV, D, 0, L), rows_nan(one.dq, H, D, 0, L);
    run_fixed(&one, &how, L, live, NULL);
    for (int64_t i = 0; i < H * L * DV; i++) assert_true(one.out[i] == 0 && one.out[H * L * DV + i] != 0);
    for (int64_t i = 0; i < H * L; i++) assert_true(one.lse[i] == -INFINITY && isfinite(one.lse[H * L + i]));
    for (int64_t i = 0; i < H * L * D; i++) assert_true(one.dq[i] == 0);
    for (int64_t i = 0; i < KV * L * D; i++) assert_true(one.dk[i] == 0 && one.dk[KV * L * D + i] != 0);
    fv_attention_tensors x = fixed_tensors(&one, L);
    const fv_operand rows[] = {FV_Q, FV_OUT, FV_LSE};
    for (int i = 0; i < 3; i++) {
        x.t[rows[i]] = fv_tensor_slice(x.t[rows[i]], 2, 0, 0);
        if (x.d[rows[i]].rank) x.d[rows[i]] = fv_tensor_slice(x.d[rows[i]], 2, 0, 0);
    }
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK); /* keys and no queries */
    assert_true(rows_zero(one.dk, KV, D, 0, L) && rows_zero(one.dv, KV, DV, 0, L));
}

/* ---- the weights, and what is refused */

static void implied_weights(void **state) {
    (void)state;
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = "linear", how.causal = FV_CAUSAL_UPPER_LEFT;
    fixed_fill(&one);
    fv_attention_tensors x = fixed_tensors(&one, L);
    memset(x.d, 0, sizeof x.d);
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, &how, &x), FV_OK);
    static float weights[3 * L];
    const int64_t rows[3] = {0, 70, L - 1};
    const fv_tensor to = fv_tensor_2d(weights, FV_F32, 3, L);
    assert_int_equal(fv_attention_weights(plan, NULL, &x, FV_CAPTURE_SOFTMAX, 1, 3, rows, 3, &to), FV_OK);
    for (int r = 0; r < 3; r++) {
        double sum = 0, out = 0;
        for (int64_t j = 0; j < L; j++) {
            assert_true(j <= rows[r] ? weights[r * L + j] > 0 : weights[r * L + j] == 0);
            sum += (double)weights[r * L + j];
            out += (double)weights[r * L + j] * (double)one.v[((1 * KV + 1) * L + j) * DV + 7];
        }
        assert_true(fabs(sum - 1) < 1e-5);
        assert_true(fabs(out - (double)one.out[((1 * H + 3) * L + rows[r]) * DV + 7]) < 1e-5);
    }
    assert_int_equal(fv_attention_weights(plan, NULL, &x, FV_CAPTURE_RAW, 1, 3, rows, 1, &to), FV_OK);
    assert_true(weights[0] > 0 && weights[1] == -INFINITY);
    fv_attention_plan_free(plan);
}

static void refusals(void **state) {
    (void)state;
    fv_attention_tensors x = fixed_tensors(&one, L);
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = "linear", how.window = FV_WINDOW(5, -1);
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
    assert_non_null(strstr(fv_message(), "window.left"));
    how.window = (fv_window){0}, how.softcap = 2;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
    how.softcap = 0, how.mechanism = "linear:eps=0";
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
    how.mechanism = "linear", how.dropout = 0.5;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
}

/* Nothing is allocated by a run; memory and work grow with the length. */
static void costs(void **state) {
    (void)state;
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = "linear", how.causal = FV_CAUSAL_UPPER_LEFT;
    size_t bytes[2];
    double flops[2];
    for (int i = 0; i < 2; i++) {
        const int64_t length = i ? 1 << 20 : 1 << 16;
        fv_attention_tensors x = {0};
        for (int p = 0; p < FV_OPERANDS; p++)
            if (fv_operand_is_qkv(p)) x.t[p] = x.d[p] = fv_bhld(NULL, FV_F32, 1, 1, length, 64);
        x.t[FV_OUT] = x.d[FV_OUT] = x.t[FV_Q];
        fv_attention_plan *plan;
        assert_int_equal(fv_attention_plan_create(&plan, &how, &x), FV_OK);
        bytes[i] = fv_attention_scratch(plan, true), flops[i] = fv_attention_flops(plan, NULL, true);
        fv_attention_plan_free(plan);
    }
    assert_true(bytes[1] < 16 * bytes[0] && flops[1] == 16 * flops[0]);
    fixed_fill(&one);
    fv_attention_tensors x = fixed_tensors(&one, L);
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, &how, &x), FV_OK);
    void *scratch = malloc(fv_attention_scratch(plan, true));
    const int64_t before = fv__alloc_count();
    assert_int_equal(fv_attention_forward(plan, NULL, &x, scratch), FV_OK);
    assert_int_equal(fv_attention_backward(plan, NULL, &x, scratch), FV_OK);
    assert_int_equal(fv__alloc_count(), before);
    char words[256];
    fv_attention_plan_describe(plan, words, sizeof words);
    assert_non_null(strstr(words, "linear: recurrent f32"));
    free(scratch);
    fv_attention_plan_free(plan);
}

int main(int argc, char **argv) {
    if (argc == 2) {
        const uint64_t seed = strtoull(argv[1], NULL, 10);
        check_reference("linear", seed, longest_of(seed), fit);
        return check_failures != 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),        cmocka_unit_test(recurrence),      cmocka_unit_test(random_cases),
        cmocka_unit_test(gradients),      cmocka_unit_test(thread_counts),   cmocka_unit_test(packed),
        cmocka_unit_test(causal_prefix),  cmocka_unit_test(infinite_past),   cmocka_unit_test(padding),
        cmocka_unit_test(nothing_to_see), cmocka_unit_test(implied_weights), cmocka_unit_test(refusals),
        cmocka_unit_test(costs),          cmocka_unit_test(states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
