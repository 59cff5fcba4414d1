/* Row weights by their definition, each on rows of its own, and the mechanism `entmax`: answers computed by hand, the
 * reference, differences, and what must not change any bit. */
#include "attn/weight/row_weight.h"
#include "attn_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { MOST = 700 };

static double forward(const fv__row_weight *w, double *row, int64_t n) {
    double spare[MOST];
    if (w->f64.select) w->f64.select(row, 1, n, 3);
    return w->f64.forward(fv__simd_f64_now(), row, n, spare);
}

static void near(double found, double wanted, double allowed) {
    if (!(fabs(found - wanted) <= allowed)) fail_msg("found %.17g, wanted %.17g", found, wanted);
}

/* ---- by hand */

typedef struct answer {
    const fv__row_weight *weight;
    double score[4], p[4], lse, allowed;
} answer;

/* entmax15 of (2 1 0): tau^2 + (tau + 1/2)^2 = 1, tau = -(1 + sqrt 7) / 4, p = tau^2 and (tau + 1/2)^2; with three keys
 * in the support the digits are those of a quadratic equation solved with a pocket calculator. */
static void known_answers(void **state) {
    (void)state;
    const double seven = sqrt(7), none = -INFINITY;
    const answer all[] = {
        {&fv__weight_softmax, {0, log(2), log(5), none}, {1. / 8, 2. / 8, 5. / 8, 0}, log(8), 1e-15},
        {&fv__weight_topk, {0, log(2), log(5), 0}, {1. / 8, 2. / 8, 5. / 8, 0}, log(8), 1e-15},
        {&fv__weight_sparsemax, {1, .8, .1, none}, {.6, .4, 0, 0}, .4, 1e-15},
        {&fv__weight_sparsemax, {2, 1, 0, none}, {1, 0, 0, 0}, 1, 0},
        {&fv__weight_sparsemax, {7, 7, 7, 7}, {.25, .25, .25, .25}, 6.75, 0},
        {&fv__weight_entmax15, {1, .8, .1, none}, {.529248, .393749, .077003, 0}, -.454989, 1e-6},
        {&fv__weight_entmax15,
         {2, 1, 0, -50},
         {(8 + 2 * seven) / 16, (8 - 2 * seven) / 16, 0, 0},
         2 - (1 + seven) / 2,
         1e-15},
        {&fv__weight_entmax15, {2, 0, 0, 0}, {1, 0, 0, 0}, 0, 0},
        {&fv__weight_entmax15, {7, 7, 7, 7}, {.25, .25, .25, .25}, 6, 1e-15},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        double row[4];
        memcpy(row, all[i].score, sizeof row);
        near(forward(all[i].weight, row, 4), all[i].lse, 2 * all[i].allowed);
        for (int j = 0; j < 4; j++) near(row[j], all[i].p[j], all[i].allowed);
    }
}

/* ---- what holds for every row weight */

static void draw(double *row, int64_t n, uint64_t seed, double spread) {
    for (int64_t j = 0; j < n; j++)
        row[j] = fv__random_uniform(seed, 1, (uint64_t)j) < .2
                     ? -INFINITY
                     : spread * (2 * fv__random_uniform(seed, 0, (uint64_t)j) - 1);
}

static void rows_sum_to_one(const fv__row_weight *w, uint64_t seed) {
    static double row[MOST], moved[MOST], apart[3 * MOST], score[MOST];
    const int64_t n = 1 + (int64_t)(seed * 37 % MOST);
    draw(row, n, seed, seed % 3 ? 4 : 40), row[n / 2] = 1;
    if (n > 4) row[0] = row[n / 3] = row[n - 1]; /* ties */
    memcpy(score, row, sizeof row);
    for (int64_t j = 0; j < n; j++) moved[j] = row[j] + 8, apart[3 * j] = row[j];
    const double lse = forward(w, row, n);
    near(forward(w, moved, n), lse + 8, 1e-13);
    if (w->f64.select) w->f64.select(apart, 3, n, 3);
    w->f64.strided(apart, 3, n);
    double sum = 0;
    for (int64_t j = 0; j < n; j++) {
        sum += row[j];
        assert_true(row[j] >= 0 && (score[j] > -INFINITY || row[j] == 0));
        near(moved[j], row[j], 1e-13), near(apart[3 * j], row[j], 1e-14);
    }
    near(sum, 1, 1e-13);
    if (n > 4 && !w->f64.select) assert_true(row[0] == row[n / 3] && row[0] == row[n - 1]);
    for (int64_t i = 0; i < n; i++) /* a higher score never has less */
        for (int64_t j = 0; j < n && n < 50; j++)
            assert_true(score[i] <= score[j] ? row[i] <= row[j] || w->f64.select : 1);
}

static void hidden_rows(const fv__row_weight *w) {
    double row[5] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY}, one[1] = {-3e30};
    assert_true(forward(w, row, 5) == -INFINITY && forward(w, row, 0) == -INFINITY);
    for (int j = 0; j < 5; j++) assert_true(row[j] == 0);
    forward(w, one, 1);
    assert_true(one[0] == 1);
    double bad[3] = {1, NAN, 0};
    if (w->f64.select) return; /* a NaN may not be among the largest */
    assert_true(isnan(forward(w, bad, 3)) && isnan(bad[0]));
}

typedef struct row_loss {
    const fv__row_weight *weight;
    double *score, of_weight[MOST], of_lse;
    int64_t n;
} row_loss;

static double loss_of(void *context) {
    const row_loss *l = context;
    double row[MOST];
    memcpy(row, l->score, (size_t)l->n * sizeof *row);
    double sum = l->of_lse * forward(l->weight, row, l->n);
    for (int64_t j = 0; j < l->n; j++) sum += l->of_weight[j] * row[j];
    return sum;
}

/* Of the weights that are not 0; the gradients of the others stay. */
static void backward(const fv__row_weight *w, const double *p, double *dp, int64_t n, double dlse) {
    double some[MOST], of_some[MOST];
    int64_t count = 0;
    for (int64_t j = 0; j < n; j++)
        if (p[j] != 0) some[count] = p[j], of_some[count++] = dp[j];
    w->f64.backward(fv__simd_f64_now(), some, of_some, count, dlse);
    for (int64_t j = n; j-- > 0;)
        if (p[j] != 0) dp[j] = of_some[--count];
}

static void gradient_of_row(const fv__row_weight *w, uint64_t seed) {
    static double score[MOST], p[MOST], dp[MOST];
    row_loss l = {.weight = w, .score = score, .of_lse = seed % 4 ? 0.7 : 0, .n = 1 + (int64_t)(seed * 13 % 40)};
    draw(score, l.n, seed, 3), score[l.n / 2] = .5;
    for (int64_t j = 0; j < l.n; j++) l.of_weight[j] = dp[j] = fv__random_uniform(seed, 2, (uint64_t)j) - .3;
    memcpy(p, score, sizeof p);
    forward(w, p, l.n);
    backward(w, p, dp, l.n, l.of_lse);
    for (int64_t j = 0; j < l.n; j++) {
        static const double steps[] = {2e-3, 1e-4, 1e-5}; /* one that crosses the border of the support is repeated */
        bool right = !isfinite(score[j]);
        const double found = p[j] != 0 ? dp[j] : 0;
        for (int i = 0; i < 3 && !right; i++)
            right = fabs(richardson(loss_of, &l, score + j, steps[i], NULL) - found) < 1e-8;
        if (!right) fail_msg("%s, row %llu, score %lld: %.12g", w->name, (unsigned long long)seed, (long long)j, found);
    }
}

static void every_row_weight(void **state) {
    (void)state;
    size_t count = 0;
    for (const fv__row_weight *w; (w = fv__row_weight_at(count)); count++) {
        for (uint64_t seed = 1; seed <= 300; seed++) rows_sum_to_one(w, seed), gradient_of_row(w, seed);
        hidden_rows(w);
    }
    assert_true(count >= 4);
}

/* ---- the mechanism */

static const char *const texts[] = {"entmax", "entmax:alpha=2"};

static int64_t few(int64_t count) { return getenv("FOVEA_TEST_QUICK") ? count / 4 : count; }

static void against_reference(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= (uint64_t)few(300); seed++)
        check_reference(texts[0], seed, seed % 10 ? 20 : 70, NULL);
    assert_int_equal(check_failures, 0);
}

/* Of sparsemax U jumps at the border of the support, so the gradients in f32 are another matter. */
static void sparsemax_in_f64(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= (uint64_t)few(200); seed++) {
        attn_case reference, exact;
        case_make(&reference, texts[1], seed, FV_F64, seed % 10 ? 20 : 70);
        case_make(&exact, texts[1], seed, FV_F64, seed % 10 ? 20 : 70);
        assert_int_equal(case_run(&reference, RUN_REFERENCE), FV_OK);
        assert_int_equal(case_run(&exact, RUN_FORWARD | RUN_BACKWARD), FV_OK);
        check_close(&exact, &reference, "f64", FV_OUT, false, 1e-12);
        check_close(&exact, &reference, "f64", FV_LSE, false, 1e-12);
        case_free(&reference), case_free(&exact);
    }
    assert_int_equal(check_failures, 0);
}

static void gradients(void **state) {
    (void)state;
    for (int t = 0; t < 2; t++) {
        int64_t checked = 0;
        for (uint64_t seed = 1; seed <= (uint64_t)few(160); seed++)
            checked += check_gradients(texts[t], seed, seed % 8 == 7 ? 80 : 9, NULL);
        assert_true(checked > few(1500));
    }
    assert_int_equal(check_failures, 0);
}

/* What a sequence that is cut out of a packed case has not got. */
static void plain(attn_case *c) { c->x.t[FV_MASK].rank = c->x.t[FV_PREFIX_LEN].rank = 0; }

static void threads_and_packing(void **state) {
    (void)state;
    int64_t sequences = 0;
    for (int t = 0; t < 2; t++) {
        for (uint64_t seed = 1; seed <= 12; seed++) check_threads(texts[t], seed, seed % 2 ? 50 : 200, NULL);
        for (uint64_t seed = 1; seed <= 120; seed++)
            check_packed(texts[t], seed, seed % 4 ? 60 : 150, plain, &sequences);
    }
    assert_true(sequences > 50);
    assert_int_equal(check_failures, 0);
}

/* q.k = 2, 1, 0 and scale 1: the weights of the known answers times values, and the last key is never read into it. */
static void known_output(void **state) {
    (void)state;
    double q[1] = {1}, k[3] = {2, 1, 0}, v[3] = {1, 10, 1e300}, out[1], lse[1];
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    fv_attention_tensors x = {0};
    x.t[FV_Q] = fv_bhld(q, FV_F64, 1, 1, 1, 1), x.t[FV_OUT] = fv_bhld(out, FV_F64, 1, 1, 1, 1);
    x.t[FV_K] = fv_bhld(k, FV_F64, 1, 1, 3, 1), x.t[FV_V] = fv_bhld(v, FV_F64, 1, 1, 3, 1);
    x.t[FV_LSE] = fv_tensor_of(lse, FV_F64, 3, (int64_t[]){1, 1, 1});
    how.mechanism = "entmax";
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    near(out[0], (8 + 2 * sqrt(7)) / 16 + 10 * (8 - 2 * sqrt(7)) / 16, 1e-14);
    near(lse[0], 2 - (1 + sqrt(7)) / 2, 1e-14);
    how.mechanism = "entmax:alpha=2";
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    assert_true(out[0] == 1 && lse[0] == 1);
    how.mechanism = "entmax:alpha=1.7";
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
    assert_non_null(strstr(fv_message(), "expected 1.5 or 2\n  found:   1.7"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_answers),      cmocka_unit_test(every_row_weight),
                                       cmocka_unit_test(known_output),       cmocka_unit_test(against_reference),
                                       cmocka_unit_test(sparsemax_in_f64),   cmocka_unit_test(gradients),
                                       cmocka_unit_test(threads_and_packing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
