/* Random calls of every mechanism: the engine on each instruction set against the plain reference, f32 gradients against f64.
 * A failure prints the line that repeats it:  test_attn_random MECHANISM SEED */
#include "attn_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int failures;

static void complain(const attn_case *c, const char *isa, const char *what, double gap, double allowed) {
    if (failures++ > 20) return;
    fprintf(stderr, "test_attn_random '%s' %llu   (%s %s: %g, allowed %g; B%d H%d/%d L%d,%d D%d,%d)\n",
            c->how.mechanism, (unsigned long long)c->seed, isa, what, gap, allowed, (int)c->b, (int)c->h, (int)c->kv,
            (int)c->lq, (int)c->lk, (int)c->d, (int)c->dv);
}

static void compare(const attn_case *c, const attn_case *with, const char *isa, fv_port port, bool gradient,
                    double tolerance) {
    const fv_tensor *a = gradient ? &c->x.d[port] : &c->x.t[port], *b = gradient ? &with->x.d[port] : &with->x.t[port];
    if (!a->rank) return;
    double size;
    const double gap = difference(a, b, &size),
                 reach = port == FV_SLOPES ? (double)c->lq : 1; /* distances weigh the errors */
    const double allowed = tolerance * (reach + size);
    char what[32];
    snprintf(what, sizeof what, "%s%s", gradient ? "d" : "", fv_port_name(port));
    if (!(gap <= allowed)) complain(c, isa, what, gap, allowed);
    if (!gaps_untouched(c, a, (gradient ? FV_PORTS : 0) + (int)port)) complain(c, isa, "writes outside", 0, 0);
}

static void one(const char *mechanism, uint64_t seed, int64_t longest) {
    static const char *const isa_names[] = {"scalar", "avx2", "avx512"};
    attn_case reference, exact, fast;
    const bool chooses = !strncmp(mechanism, "topk", 4);
    grid = chooses ? 0.25 : 0;
    if (chooses && longest > 70) longest = 70; /* its reference is slow: n m^2 k */
    case_make(&reference, mechanism, seed, FV_F64, longest);
    case_make(&exact, mechanism, seed, FV_F64, longest);
    if (case_run(&reference, RUN_REFERENCE) != FV_OK || case_run(&exact, RUN_FORWARD | RUN_BACKWARD) != FV_OK) {
        complain(&exact, "f64", fv_message(), 0, 0);
    } else {
        compare(&exact, &reference, "f64", FV_OUT, false, 1e-12);
        compare(&exact, &reference, "f64", FV_LSE, false, 1e-12);
        for (int isa = 0; isa < FV_ISAS; isa++) {
            if (!fv__simd_use((fv__isa)isa)) continue;
            case_make(&fast, mechanism, seed, FV_F32, longest);
            if (case_run(&fast, RUN_FORWARD | RUN_BACKWARD) != FV_OK)
                complain(&fast, isa_names[isa], fv_message(), 0, 0);
            compare(&fast, &reference, isa_names[isa], FV_OUT, false, 1e-5);
            compare(&fast, &reference, isa_names[isa], FV_LSE, false, 1e-5);
            for (int p = 0; p < FV_MASK; p++) compare(&fast, &exact, isa_names[isa], (fv_port)p, true, 4e-5);
            case_free(&fast);
        }
        fv__simd_use(FV_ISAS);
    }
    case_free(&reference);
    case_free(&exact);
}

static const char *const texts[][4] = {
#include "attn_texts.def"
};

/* FOVEA_TEST_QUICK is for sanitizers, which are thirty times slower. */
static int64_t per_text(void) { return getenv("FOVEA_TEST_LONG") ? 20000 : getenv("FOVEA_TEST_QUICK") ? 150 : 760; }

static void random_calls(void **state) {
    (void)state;
    int64_t count = 0;
    for (size_t m = 0; m < sizeof texts / sizeof *texts; m++)
        for (int t = 0; t < 4 && texts[m][t]; t++)
            for (int64_t i = 0; i < per_text(); i++, count++)
                one(texts[m][t], (uint64_t)(i + 1), i % 50 == 49 ? 300 : i % 4 == 1 ? 90 : 20);
    assert_true(count >= (getenv("FOVEA_TEST_QUICK") ? 1000 : 5000));
    assert_int_equal(failures, 0);
}

int main(int argc, char **argv) {
    if (argc == 3) {
        const uint64_t seed = strtoull(argv[2], NULL, 10), i = seed - 1;
        one(argv[1], seed, i % 50 == 49 ? 300 : i % 4 == 1 ? 90 : 20);
        return failures != 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_calls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
