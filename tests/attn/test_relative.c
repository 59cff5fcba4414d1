/* Relative positions in the scores, `t5` and `shaw`: numbers of the papers, answers by hand, what they are in terms of
 * other calls, and what must not change any bit. Reference, gradients, weights, statistics, 16 bits, guard pages:
 * the tests that all mechanisms share. */
#include "attn_check.h"
#include "attn/position/alibi_slopes.h"
#include "attn/position/t5_buckets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* ---- formulas */

/* Of the paper's authors, as everybody who loads their models computes it: buckets of relative positions. */
static void known_buckets(void **state) {
    (void)state;
    static const int64_t past[][2] = {{0, 0},   {1, 1},   {15, 15}, {16, 16}, {17, 16},  {20, 17},
                                      {25, 19}, {31, 21}, {32, 21}, {64, 26}, {127, 31}, {128, 31}};
    static const int64_t both[][2] = {{-128, 15}, {-64, 14}, {-16, 10}, {-8, 8},  {0, 0},
                                      {1, 17},    {8, 24},   {16, 26},  {64, 30}, {128, 31}};
    fv__t5_buckets b;
    assert_int_equal(fv__t5_buckets_make(&b, "test", 32, 128, false), FV_OK);
    for (size_t i = 0; i < sizeof past / sizeof *past; i++)
        assert_int_equal(fv__t5_bucket(&b, -past[i][0]), past[i][1]);
    assert_int_equal(fv__t5_bucket(&b, 7), 0); /* the future */
    assert_int_equal(fv__t5_bucket(&b, -(INT64_C(1) << 48)), 31);
    assert_int_equal(fv__t5_buckets_make(&b, "test", 32, 128, true), FV_OK);
    for (size_t i = 0; i < sizeof both / sizeof *both; i++) assert_int_equal(fv__t5_bucket(&b, both[i][0]), both[i][1]);
}

/* Whole numbers: bucket E + m begins where (n / E)^(side - E) reaches (max / E)^m, compared in long double powers. */
static int64_t bucket_by_powers(int64_t n, int64_t side, int64_t max) {
    const int64_t exact = side / 2;
    if (n < exact) return n;
    int64_t m = 0;
    while (exact + m + 1 < side && powl((long double)n / (long double)exact, (long double)(side - exact)) >=
                                       powl((long double)max / (long double)exact, (long double)(m + 1)) * (1 - 1e-12L))
        m++;
    return exact + m;
}

static void buckets_of_any_size(void **state) {
    (void)state;
    static const int64_t sizes[][2] = {{32, 128}, {2, 2}, {3, 2}, {6, 9}, {7, 40}, {16, 64}, {64, 65}, {512, 100000}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int both = 0; both < 2; both++) {
            fv__t5_buckets b;
            if (both && (sizes[i][0] % 2 || sizes[i][0] < 4)) continue;
            assert_int_equal(fv__t5_buckets_make(&b, "test", sizes[i][0], sizes[i][1], both), FV_OK);
            const int64_t side = both ? sizes[i][0] / 2 : sizes[i][0], reach = 2 * sizes[i][1] + 9;
            const int64_t step = reach > 3000 ? reach / 3000 : 1;
            for (int64_t at = -reach; at <= reach; at += step) {
                const int64_t n = at < 0 ? -at : both ? at : 0;
                const int64_t want = bucket_by_powers(n, side, sizes[i][1]) + (both && at > 0 ? side : 0);
                int64_t run[3];
                fv__t5_bucket_run(&b, at, 3, run);
                assert_int_equal(fv__t5_bucket(&b, at), want);
                for (int k = 0; k < 3; k++) assert_int_equal(run[k], fv__t5_bucket(&b, at + k));
            }
        }
}

static void known_slopes(void **state) {
    (void)state;
    static const double six[] = {0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125};
    for (int64_t h = 0; h < 8; h++) assert_true(fv__alibi_slope(h, 8) == ldexp(1, (int)-h - 1));
    for (int64_t h = 0; h < 6; h++) assert_true(fabs(fv__alibi_slope(h, 6) - six[h]) < 1e-15);
}

/* ---- by hand: three keys that are 0, values 0 1 0 or 0 0 1 */

static double one_weight(const char *mechanism, fv_causal causal, double q, const double *w, int64_t rows, int key) {
    double k[3] = {0}, v[3] = {0}, out[3], query[3] = {q, q, q};
    v[key] = 1;
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    fv_attention_tensors x = {0};
    how.mechanism = mechanism, how.causal = causal;
    x.t[FV_Q] = fv_bhld(query, FV_F64, 1, 1, 3, 1), x.t[FV_K] = fv_bhld(k, FV_F64, 1, 1, 3, 1);
    x.t[FV_V] = fv_bhld(v, FV_F64, 1, 1, 3, 1), x.t[FV_OUT] = fv_bhld(out, FV_F64, 1, 1, 3, 1);
    const bool t5 = mechanism[0] == 't';
    x.t[FV_W0] = fv_tensor_2d((void *)(uintptr_t)w, FV_F64, t5 ? 1 : rows, t5 ? rows : 1);
    if (fv_attention(&how, NULL, &x) != FV_OK) fail_msg("%s", fv_message());
    return out[1]; /* of the query in the middle */
}

static bool near(double a, double b) { return fabs(a - b) < 1e-12; }

/* The query in the middle sees key 0 at distance -1, itself, and key 2 at distance 1. */
static void by_hand(void **state) {
    (void)state;
    const double four[4] = {log(2), log(3), 0, log(5)}; /* itself 2, before it 3, after it 5 */
    const char *both = "t5:buckets=4,max-distance=2,bidirectional=1";
    assert_true(near(one_weight(both, FV_CAUSAL_NONE, 0, four, 4, 0), 0.3));
    assert_true(near(one_weight(both, FV_CAUSAL_NONE, 0, four, 4, 1), 0.2));
    assert_true(near(one_weight(both, FV_CAUSAL_NONE, 0, four, 4, 2), 0.5));
    const char *past = "t5:buckets=4,max-distance=3"; /* causal: all four are the past */
    assert_true(near(one_weight(past, FV_CAUSAL_UPPER_LEFT, 0, four, 4, 0), 0.6));
    const char *flat = "t5:buckets=4,max-distance=3,bidirectional=0"; /* what comes is distance 0 */
    assert_true(near(one_weight(flat, FV_CAUSAL_NONE, 0, four, 4, 2), 2. / 7));
    const double keys[3] = {log(3), log(2), log(5)};
    assert_true(near(one_weight("shaw:max-distance=1", FV_CAUSAL_NONE, 1, keys, 3, 0), 0.3));
    assert_true(near(one_weight("shaw:max-distance=1", FV_CAUSAL_NONE, 1, keys, 3, 2), 0.5));
    assert_true(near(one_weight("shaw:max-distance=1", FV_CAUSAL_NONE, 2, keys, 3, 2), 25. / 38));
}

/* ---- in terms of softmax */

/* The case as a case of softmax; memory stays that of `c`. */
static attn_case as_softmax(const attn_case *c) {
    attn_case s = *c;
    s.how.mechanism = "softmax", s.how.scale = c->how.scale != 0 ? c->how.scale : 1 / sqrt((double)c->d);
    s.x.t[FV_W0].rank = s.x.d[FV_W0].rank = 0;
    memset(s.store, 0, sizeof s.store);
    for (int p = 0; p < FV_OPERANDS; p++)
        for (int gradient = 0; gradient < 2; gradient++) {
            fv_tensor *t = gradient ? &s.x.d[p] : &s.x.t[p];
            if (!t->rank || (fv_operand_is(p, FV_ROLE_OUTPUT) ? gradient : !gradient)) continue;
            *t = make_tensor(&s, (gradient ? FV_OPERANDS : 0) + p, t->rank, t->dim, CANARY);
        }
    return s;
}

/* Both runs; outputs and gradients of inputs both have. */
static void compare_runs(attn_case *c, attn_case *s, bool bits, double tolerance) {
    if (case_run(c, RUN_FORWARD | RUN_BACKWARD) != FV_OK || case_run(s, RUN_FORWARD | RUN_BACKWARD) != FV_OK)
        check_complain(c, "as softmax", fv_message(), 0, 0);
    for (int p = 0; p < FV_OPERANDS; p++)
        for (int gradient = 0; gradient < 2; gradient++) {
            const bool output = fv_operand_is(p, FV_ROLE_OUTPUT);
            const fv_tensor *a = gradient ? &c->x.d[p] : &c->x.t[p], *b = gradient ? &s->x.d[p] : &s->x.t[p];
            if (output == gradient || !a->rank || !b->rank || p == FV_BIAS) continue;
            if (!output && !fv_operand_is(p, FV_ROLE_DIFFERENTIABLE)) continue;
            double size;
            const double gap = difference(a, b, &size);
            if (bits ? !same_bytes(a, b) : !(gap <= tolerance * (1 + size)))
                check_complain(c, "as softmax", fv_operand_name((fv_operand)p), gap, 0);
        }
}

/* A table of zeros changes no bit. */
static void zero_table(const char *mechanism, uint64_t seed, fv_dtype dtype, int64_t longest) {
    attn_case c;
    case_make(&c, mechanism, seed, dtype, longest);
    fv_tensor_fill(&c.x.t[FV_W0], 0);
    attn_case s = as_softmax(&c);
    compare_runs(&c, &s, true, 0);
    case_free(&c), case_free(&s);
}

static void zeros(void **state) {
    (void)state;
    check_failures = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        zero_table("t5:buckets=6,max-distance=9", seed, FV_F32, seed % 10 ? 80 : 300);
        zero_table("shaw:max-distance=4", seed, FV_F32, seed % 10 ? 80 : 300);
    }
    assert_int_equal(check_failures, 0);
}

/* The dense bias that means the same: outputs and gradients bit for bit, and the table's gradient is the sum of the
 * bias's. */
static void bias_instead(const char *mechanism, uint64_t seed, int64_t buckets, int64_t max) {
    attn_case c;
    case_make(&c, mechanism, seed, FV_F64, seed % 10 ? 60 : 300);
    fv__t5_buckets b;
    const bool packed = c.x.t[FV_CU_Q].rank, other = c.x.t[FV_BIAS].rank;
    if (!packed && !other && c.how.causal != FV_CAUSAL_LOWER_RIGHT && c.lq && c.lk) {
        assert_int_equal(fv__t5_buckets_make(&b, "test", buckets, max, c.how.causal == FV_CAUSAL_NONE), FV_OK);
        attn_case s = as_softmax(&c);
        const int64_t dim[4] = {c.b, c.h, c.lq, c.lk};
        s.x.t[FV_BIAS] = make_tensor(&s, FV_BIAS, 4, dim, 0);
        s.x.d[FV_BIAS] = make_tensor(&s, FV_OPERANDS + FV_BIAS, 4, dim, CANARY);
        double sum[16][64] = {{0}};
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t n = 0; n < fv_tensor_count(&s.x.t[FV_BIAS]); n++) {
                const int64_t j = n % c.lk, i = n / c.lk % c.lq, h = n / c.lk / c.lq % c.h;
                const int64_t bucket = fv__t5_bucket(&b, j - i - c.call.q_offset);
                const fv_tensor *t = pass ? &s.x.d[FV_BIAS] : &s.x.t[FV_BIAS];
                if (pass)
                    sum[h][bucket] += get_at(t, place(t, n));
                else
                    set_at(t, place(t, n), fv_tensor_get(&c.x.t[FV_W0], (int64_t[2]){h, bucket}));
            }
            if (!pass) compare_runs(&c, &s, true, 0);
        }
        for (int64_t h = 0; h < c.h; h++)
            for (int64_t u = 0; u < buckets; u++) {
                const double got = fv_tensor_get(&c.x.d[FV_W0], (int64_t[2]){h, u});
                if (!(fabs(got - sum[h][u]) <= 1e-11 * (1 + fabs(sum[h][u]))))
                    check_complain(&c, "gradient of", "table", got, sum[h][u]);
            }
        case_free(&s);
    }
    case_free(&c);
}

static void dense_bias(void **state) {
    (void)state;
    check_failures = 0;
    for (uint64_t seed = 1; seed <= 150; seed++) bias_instead("t5:buckets=6,max-distance=9", seed, 6, 9);
    for (uint64_t seed = 1; seed <= 50; seed++) bias_instead("t5", seed, 32, 128);
    assert_int_equal(check_failures, 0);
}

/* One row of relative keys is a vector that is added to every key. */
static void key_for_all(void **state) {
    (void)state;
    check_failures = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        attn_case c;
        case_make(&c, "shaw:max-distance=0", seed, FV_F64, seed % 10 ? 60 : 300);
        attn_case s = as_softmax(&c);
        s.x.t[FV_K] = make_tensor(&s, FV_K, 4, c.x.t[FV_K].dim, 0);
        for (int64_t n = 0; n < fv_tensor_count(&c.x.t[FV_K]); n++) {
            const double r = fv_tensor_get(&c.x.t[FV_W0], (int64_t[2]){0, n % c.d});
            set_at(&s.x.t[FV_K], place(&s.x.t[FV_K], n), get_at(&c.x.t[FV_K], place(&c.x.t[FV_K], n)) + r);
        }
        compare_runs(&c, &s, false, 1e-10);
        double size = 0;
        for (int64_t e = 0; e < c.d; e++) { /* its gradient is that of all keys together */
            double sum = 0;
            for (int64_t n = e; n < fv_tensor_count(&s.x.d[FV_K]); n += c.d) {
                const double d = get_at(&s.x.d[FV_K], place(&s.x.d[FV_K], n));
                sum += d, size += fabs(d);
            }
            const double got = fv_tensor_get(&c.x.d[FV_W0], (int64_t[2]){0, e});
            if (!(fabs(got - sum) <= 1e-10 * (1 + size))) check_complain(&c, "gradient of", "relative keys", got, sum);
        }
        case_free(&c), case_free(&s);
    }
    assert_int_equal(check_failures, 0);
}

/* ---- only differences of positions count: queries from some row on, with an offset, see what they saw */

static void later_rows(const char *mechanism, uint64_t seed) {
    attn_case c;
    case_make(&c, mechanism, seed, FV_F64, seed % 10 ? 60 : 300);
    if (!c.x.t[FV_CU_Q].rank && c.how.causal != FV_CAUSAL_LOWER_RIGHT && c.how.dropout == 0 && c.lq > 1) {
        const int64_t from = 1 + below(&c, c.lq - 1);
        attn_case s = c;
        s.call.q_offset += from, s.lq = c.lq - from;
        for (int p = 0; p < FV_OPERANDS; p++) {
            const bool rows = p == FV_Q || p == FV_OUT || p == FV_LSE;
            const bool plane = (p == FV_BIAS || p == FV_MASK) && c.x.t[p].rank && c.x.t[p].dim[2] > 1;
            s.x.d[p].rank = 0;
            if (s.x.t[p].rank && (rows || plane)) s.x.t[p] = fv_tensor_slice(s.x.t[p], 2, from, c.lq - from);
            if (s.x.t[p].rank && (p == FV_OUT || p == FV_LSE))
                s.x.t[p] = make_tensor(&s, p, s.x.t[p].rank, s.x.t[p].dim, CANARY);
        }
        if (case_run(&c, RUN_FORWARD) != FV_OK || case_run(&s, RUN_FORWARD) != FV_OK)
            check_complain(&c, "later rows", fv_message(), 0, 0);
        const fv_tensor want = fv_tensor_slice(c.x.t[FV_OUT], 2, from, c.lq - from);
        double size;
        const double gap = difference(&s.x.t[FV_OUT], &want, &size);
        if (!(gap <= 1e-12 * (1 + size))) check_complain(&c, "later rows", "out", gap, 0);
        free(s.store[FV_OUT]), free(s.store[FV_LSE] == c.store[FV_LSE] ? NULL : s.store[FV_LSE]);
    }
    case_free(&c);
}

static void differences_only(void **state) {
    (void)state;
    check_failures = 0;
    for (uint64_t seed = 1; seed <= 80; seed++)
        later_rows("t5:buckets=8,max-distance=30", seed), later_rows("shaw:max-distance=7", seed);
    assert_int_equal(check_failures, 0);
}

/* ---- bits: threads, sequences alone or packed */

/* What has an element for every row or sequence of the whole is not cut out with one of them. */
static void fit_packed(attn_case *c) {
    c->how.dropout = 0; /* its bits are addressed by the number of the sequence */
    c->x.t[FV_BIAS].rank = c->x.d[FV_BIAS].rank = c->x.t[FV_MASK].rank = c->x.t[FV_PREFIX_LEN].rank = 0;
}

static void same_bits(void **state) {
    (void)state;
    check_failures = 0;
    static const char *const texts[] = {"t5", "shaw", "t5:buckets=6,max-distance=9", "shaw:max-distance=150"};
    int64_t sequences = 0;
    for (int t = 0; t < 4; t++)
        for (uint64_t seed = 1; seed <= 40; seed++) {
            check_threads(texts[t], seed, seed % 6 ? 150 : 700, NULL);
            check_packed(texts[t], seed, seed % 6 ? 90 : 400, fit_packed, &sequences);
        }
    assert_true(sequences >= 40);
    assert_int_equal(check_failures, 0);
}

/* ---- what is refused, and what a plan says */

static void refused(const char *mechanism, int64_t rows, int64_t columns, const char *words) {
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    fv_attention_tensors x = {0};
    how.mechanism = mechanism;
    x.t[FV_Q] = x.t[FV_K] = x.t[FV_V] = x.t[FV_OUT] = fv_bhld(NULL, FV_F32, 1, 2, 9, 8);
    if (rows) x.t[FV_W0] = fv_tensor_2d(NULL, FV_F32, rows, columns);
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, &how, &x), FV_USAGE);
    if (!strstr(fv_message(), words)) fail_msg("expected \"%s\", got \"%s\"", words, fv_message());
}

static void refusals(void **state) {
    (void)state;
    refused("t5", 0, 0, "expected operand");
    refused("t5", 2, 31, "32");
    refused("t5", 32, 2, "32");
    refused("t5:buckets=7", 2, 7, "an even number");
    refused("t5:buckets=2", 2, 2, "an even number");
    refused("t5:buckets=64,max-distance=16", 2, 64, "more than the 16 distances");
    refused("t5:bidirectional=2", 2, 32, "bidirectional");
    refused("shaw", 32, 8, "33");
    refused("shaw:max-distance=2", 5, 7, "8");
    refused("shaw:max-distance=-1", 1, 8, "max-distance");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_buckets), cmocka_unit_test(buckets_of_any_size),
                                       cmocka_unit_test(known_slopes),  cmocka_unit_test(by_hand),
                                       cmocka_unit_test(zeros),         cmocka_unit_test(dense_bias),
                                       cmocka_unit_test(key_for_all),   cmocka_unit_test(differences_only),
                                       cmocka_unit_test(same_bits),     cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
