/* How exact is exact attention: the error of every element of outputs and gradients in f32 against the oracle in
 * double, as a share of what rounding may do (attn_oracle.h), on problems of the usual shapes.
 *
 *   hard gate   the worst case is never exceeded
 *   soft gate   nor the probable error; TRUST: 16 times a weaker error_bound, here once
 *   ratchet     the largest share of each tensor, problem and instruction set is on record (attn_ratchet.def) and must
 *               not grow by more
 *               than a quarter; `test_error_bounds print` writes the table anew
 *   bias        the mean signed error over a million outputs is zero within four standard deviations
 *   mistrust    a test whose outputs are mostly zero or all the same tests nothing */
#include "attn_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

typedef struct problem {
    const char *name;
    int64_t b, h, kv, lq, lk, d, dv;
    uint64_t on; /* features, 1 << FEATURE_... */
} problem;

#define ON(feature) ((uint64_t)1 << FEATURE_##feature)
static const problem problems[] = {
    {"plain", 1, 2, 2, 512, 512, 64, 64, 0},
    {"causal", 1, 2, 2, 640, 640, 64, 64, ON(LOWER_RIGHT)},
    {"wide", 1, 2, 2, 300, 300, 128, 128, ON(LOWER_RIGHT)},
    {"short", 4, 12, 12, 32, 32, 64, 64, 0},
    {"sentences", 4, 12, 12, 19, 19, 32, 32, ON(KV_LEN)},
    {"window", 1, 2, 2, 1024, 1024, 64, 64, ON(UPPER_LEFT) | ON(LEFT)},
    {"sharp", 1, 2, 2, 400, 400, 64, 64, ON(SHARP)},
    {"gqa", 1, 8, 2, 130, 333, 80, 37, ON(LOWER_RIGHT) | ON(GQA)},
    {"decode", 2, 8, 2, 1, 5000, 128, 128, ON(GQA) | ON(SHARP)},
    {"features", 1, 2, 2, 384, 384, 64, 64,
     ON(BIAS) | ON(SOFTCAP) | ON(SINKS) | ON(SLOPES) | ON(DROPOUT) | ON(LSE_GRADIENT)},
};
enum { PROBLEMS = sizeof problems / sizeof *problems, TENSORS = 5 };

typedef struct share {
    fv_operand operand;
    bool gradient;
} share;
static const share tensors[TENSORS] = {{FV_OUT, false}, {FV_LSE, false}, {FV_Q, true}, {FV_K, true}, {FV_V, true}};
static const char *const isa_names[FV_ISAS] = {"scalar", "avx2", "avx512", "neon"};

/* ratio[isa][out lse dq dk dv] */
typedef struct record {
    const char *name;
    double ratio[FV_ISAS][TENSORS];
} record;
static const record records[] = {
#include "attn_ratchet.def"
};

/* ---- one problem */

static void make(exact_case *e, const problem *p) {
    static const fv_attention_options standard = FV_ATTENTION_DEFAULT;
    *e = (exact_case){.state = 2024};
    attn_case *c = &e->c;
    c->dtype = FV_F32, c->how = standard, c->how.mechanism = "softmax";
    for (int n = 0; n < FEATURES; n++) e->on[n] = p->on >> n & 1;
    c->b = p->b, c->h = p->h, c->kv = p->kv, c->lq = p->lq, c->lk = p->lk, c->d = p->d, c->dv = p->dv;
    const int64_t q[4] = {c->b, c->h, c->lq, c->d}, k[4] = {c->b, c->kv, c->lk, c->d},
                  v[4] = {c->b, c->kv, c->lk, c->dv};
    const double size = e->on[FEATURE_SHARP] ? 4 : 1.5;
    exact_input(e, FV_Q, 4, q, size), exact_input(e, FV_K, 4, k, size), exact_input(e, FV_V, 4, v, 1);
    exact_options(e);
    if (e->on[FEATURE_LEFT]) e->left = 64, case_window_left(&c->how, 64);
    if (e->on[FEATURE_BIAS]) exact_bias(e);
    if (e->on[FEATURE_SINKS]) exact_input(e, FV_SINKS, 1, &c->h, 3);
    if (e->on[FEATURE_SLOPES]) exact_input(e, FV_SLOPES, 1, &c->h, 0.1);
    const int64_t live[4] = {19, 5, 12, 17};
    if (e->on[FEATURE_KV_LEN]) exact_integers(e, FV_KV_LEN, c->b, live);
    exact_outputs(e);
}

static void run(exact_case *e) {
    exact_reset(e);
    assert_int_equal(case_run(&e->c, RUN_FORWARD | RUN_BACKWARD), FV_OK);
}

static void mistrust(const exact_case *e, const share *s) {
    const fv_tensor *t = s->gradient ? &e->c.x.d[s->operand] : &e->c.x.t[s->operand];
    double sum = 0, square = 0, zeros = 0;
    const double count = (double)fv_tensor_count(t);
    for (int64_t n = 0; n < fv_tensor_count(t); n++) {
        const double x = get_at(t, place(t, n));
        sum += x, square += x * x, zeros += x == 0;
    }
    assert_true(zeros <= count / 2);
    assert_true(square - sum * sum / count > 1e-6 * square);
}

/* Errors over values, both squared. */
static double noise(const exact_case *e, const oracle *o) {
    const fv_tensor *t = &e->c.x.t[FV_OUT];
    double error = 0, size = 0;
    for (int64_t n = 0; n < fv_tensor_count(t); n++) {
        const double y = o->t[FV_OUT][n], x = get_at(t, place(t, n)) - y;
        error += x * x, size += y * y;
    }
    return error / size;
}

static void measure(const problem *p, double ratio[FV_ISAS][TENSORS]) {
    exact_case e;
    oracle soft, hard;
    fv_set_threads(2);
    make(&e, p);
    oracle_run(&soft, &e, RULE_SOFT), oracle_run(&hard, &e, RULE_HARD);
    for (int isa = 0; isa < FV_ISAS; isa++) {
        if (!fv__simd_use((fv__isa)isa)) continue;
        run(&e);
        for (int n = 0; n < TENSORS; n++) {
            const share *s = &tensors[n];
            ratio[isa][n] = oracle_compare(&e, &soft, s->operand, s->gradient).ratio;
            assert_true(oracle_compare(&e, &hard, s->operand, s->gradient).ratio <= 1);
            mistrust(&e, s);
        }
        assert_true(noise(&e, &soft) <= (p->lk > 1024 ? 1e-10 : 1e-12)); /* thousands of values nearly cancel */
    }
    fv__simd_use(FV_ISAS), fv_set_threads(0);
    oracle_free(&soft), oracle_free(&hard), exact_free(&e);
}

/* ---- gates */

static void bounds_test(void **state) {
    (void)state;
    bool good = true;
    assert_int_equal(sizeof records / sizeof *records, PROBLEMS);
    for (int p = 0; p < PROBLEMS; p++) {
        double ratio[FV_ISAS][TENSORS] = {{0}};
        assert_string_equal(records[p].name, problems[p].name);
        measure(&problems[p], ratio);
        for (int isa = 0; isa < FV_ISAS; isa++)
            for (int n = 0; n < TENSORS; n++) {
                const double allowed = fmin(1, 1.25 * records[p].ratio[isa][n]);
                if (ratio[isa][n] <= allowed) continue;
                fprintf(stderr, "%s, %s, %s%s: %.4f of the probable error, on record %.4f\n", problems[p].name,
                        isa_names[isa], tensors[n].gradient ? "d" : "", fv_operand_name(tensors[n].operand),
                        ratio[isa][n], records[p].ratio[isa][n]);
                good = false;
            }
    }
    assert_true(good);
}

/* Errors of a row share its maximum and its sum, so a row is one sample; gradients of keys share those of all
 * queries: a head is one. */
static bool unbiased(const exact_case *e, const oracle *o, fv_operand operand, bool gradient, const char *what) {
    const fv_tensor *t = gradient ? &e->c.x.d[operand] : &e->c.x.t[operand];
    const double *value = gradient ? o->d[operand] : o->t[operand], *error = gradient ? o->de[operand] : o->te[operand];
    const bool keys = operand == FV_K || operand == FV_V;
    const int64_t width = t->dim[3] * (keys ? t->dim[2] : 1), rows = fv_tensor_count(t) / width;
    double sum = 0, square = 0;
    for (int64_t r = 0; r < rows; r++) {
        double mean = 0;
        for (int64_t c = 0; c < width; c++) {
            const int64_t n = r * width + c;
            mean += (get_at(t, place(t, n)) - value[n]) / (0x1p-24 * error[n]) / (double)width;
        }
        sum += mean, square += mean * mean;
    }
    const double mean = sum / (double)rows, spread = sqrt(square / (double)rows - mean * mean);
    const double allowed = 4 * spread / sqrt((double)rows);
    if (fabs(mean) > allowed)
        fprintf(stderr, "%s, %s: mean error %.3g, allowed %.3g\n", what, fv_operand_name(operand), mean, allowed);
    return fabs(mean) <= allowed;
}

/* Values of both signs, and positive ones, where a weight that is always too large or too small would show. */
static void bias_test(void **state) {
    (void)state;
    bool good = true;
    for (int positive = 0; positive < 2; positive++) {
        const problem p = {"bias", 1, 64, 64, 256, 128, 64, 64, 0};
        exact_case e;
        oracle o;
        make(&e, &p);
        const fv_tensor *v = &e.c.x.t[FV_V];
        for (int64_t n = 0; positive && n < fv_tensor_count(v); n++)
            set_at(v, place(v, n), 1 + get_at(v, place(v, n)) / 2);
        oracle_run(&o, &e, RULE_SOFT);
        for (int isa = 0; isa < FV_ISAS; isa++) {
            if (!fv__simd_use((fv__isa)isa)) continue;
            run(&e);
            assert_true(fv_tensor_count(&e.c.x.t[FV_OUT]) >= 1000000);
            good &= unbiased(&e, &o, FV_OUT, false, isa_names[isa]);
            good &= unbiased(&e, &o, FV_Q, true, isa_names[isa]);
            good &= unbiased(&e, &o, FV_K, true, isa_names[isa]);
            good &= unbiased(&e, &o, FV_V, true, isa_names[isa]);
        }
        fv__simd_use(FV_ISAS);
        oracle_free(&o), exact_free(&e);
    }
    assert_true(good);
}

static void print_records(void) {
    printf(
        "/* Largest error as a share of the probable one, by `test_error_bounds print`: {problem, {{out, lse, dq, dk, "
        "dv} for scalar, avx2, avx512, neon}} */\n");
    for (int p = 0; p < PROBLEMS; p++) {
        double ratio[FV_ISAS][TENSORS];
        memcpy(ratio, records[p].ratio, sizeof ratio); /* of tables that this machine does not have */
        measure(&problems[p], ratio);
        printf("{\"%s\", {", problems[p].name);
        for (int isa = 0; isa < FV_ISAS; isa++) {
            printf("%s{", isa ? ", " : "");
            for (int n = 0; n < TENSORS; n++) printf("%s%.4f", n ? ", " : "", ratio[isa][n]);
            printf("}");
        }
        printf("}},\n");
    }
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "print")) {
        print_records();
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(bounds_test), cmocka_unit_test(bias_test)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
