/* Gradients of every mechanism in f64 against central differences with Richardson extrapolation, for every input,
 * parameter and feature, with random cotangents of out and lse. A failure prints the line that repeats it:
 * test_gradient MECHANISM SEED */
#include "attn_case.h"
#include "support/differences.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int failures;
static int64_t checked;

/* NaN at a kink, where a mechanism that chooses its keys changes its choice. Weights of entmax become 0 with a kink in
 * the second derivative: a step that crosses one, and so does not say `got`, is repeated with smaller ones. */
static double derivative(attn_case *c, const fv_tensor *t, int64_t at, double got, double allowed) {
    double d[3], best = richardson(case_loss, c, (double *)t->data + at, 4e-3, d);
    for (double h = 2e-4; h > 1e-5 && !strncmp(c->how.mechanism, "entmax", 6) && fabs(best - got) > allowed; h /= 10)
        best = richardson(case_loss, c, (double *)t->data + at, h, NULL);
    const bool kink = fabs(d[0] - d[1]) + fabs(d[1] - d[2]) > 1e-3 * fmax(1, fabs(d[2]));
    const bool chooses = !strncmp(c->how.mechanism, "topk", 4) || !strncmp(c->how.mechanism, "block-topk", 10);
    return kink && chooses ? NAN : best;
}

static void check_operand(attn_case *c, fv_operand operand) {
    const fv_tensor *t = &c->x.t[operand], *d = &c->x.d[operand];
    const int64_t count = d->rank ? fv_tensor_count(t) : 0, step = count > 12 ? count / 12 : 1;
    double size = 0;
    for (int64_t n = 0; n < count; n++) size = fmax(size, fabs(get_at(d, place(d, n))));
    for (int64_t n = step > 1 ? below(c, step) : 0; n < count; n += step) {
        const int64_t at = place(t, n);
        if (!isfinite(get_at(t, at))) continue;
        const double allowed = 1e-8 * fmax(size, 1), got = get_at(d, place(d, n));
        const double want = derivative(c, t, at, got, allowed), gap = fabs(want - got);
        if (isnan(want)) continue;
        checked++;
        if (gap <= allowed) continue;
        if (failures++ < 20)
            fprintf(stderr, "attn/test_gradient '%s' %llu   (d%s[%lld]: %.12g, differences say %.12g)\n",
                    c->how.mechanism, (unsigned long long)c->seed, fv_operand_name(operand), (long long)n, got, want);
    }
}

static void one(const char *mechanism, uint64_t seed) {
    attn_case c;
    case_make(&c, mechanism, seed, FV_F64, seed % 8 == 7 ? 80 : 9);
    if (case_run(&c, RUN_FORWARD | RUN_BACKWARD) != FV_OK) {
        fprintf(stderr, "attn/test_gradient '%s' %llu   (%s)\n", mechanism, (unsigned long long)seed, fv_message());
        failures++;
    } else {
        for (int p = 0; p < FV_OPERANDS; p++)
            if (fv_operand_is(p, FV_ROLE_DIFFERENTIABLE)) check_operand(&c, (fv_operand)p);
    }
    case_free(&c);
}

static void gradients(void **state) {
    (void)state;
    const int64_t each = getenv("FOVEA_TEST_LONG") ? 3000 : getenv("FOVEA_TEST_QUICK") ? 25 : 80;
    for (size_t m = 0; m < fv_mechanism_count(); m++)
        for (int t = 0; case_example(m, t); t++) {
            checked = 0;
            for (int64_t i = 0; i < each; i++) one(case_example(m, t), (uint64_t)i + 1);
            assert_true(checked > 10 * each);
        }
    assert_int_equal(failures, 0);
}

int main(int argc, char **argv) {
    if (argc == 3) {
        one(argv[1], strtoull(argv[2], NULL, 10));
        return failures != 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(gradients)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
