/* Random calls of every mechanism on each instruction set, for the programs test_random*.c, which share them out.
 *
 * Exact attention (`softmax`, `window`): problems over all features and pairs of features (attn_features.h) against
 * the oracle in double precision with the error each element may have (attn_oracle.h), forward and backward. The
 * other mechanisms: the engine against the mechanism's own plain reference, f32 gradients against f64. A failure
 * prints the line that repeats it:  test_random MECHANISM SEED */
#ifndef FV_TESTS_RANDOM_CALLS_H
#define FV_TESTS_RANDOM_CALLS_H

#include "attn_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int failures;

static inline void complain(const attn_case *c, const char *isa, const char *what, double gap, double allowed) {
    if (failures++ > 20) return;
    fprintf(stderr, "attn/test_random '%s' %llu   (%s %s: %g, allowed %g; B%d H%d/%d L%d,%d D%d,%d)\n",
            c->how.mechanism, (unsigned long long)c->seed, isa, what, gap, allowed, (int)c->b, (int)c->h, (int)c->kv,
            (int)c->lq, (int)c->lk, (int)c->d, (int)c->dv);
}

/* ---- exact attention */

static int64_t tried;

static inline int64_t work_of(uint64_t seed) {
    return seed % 1000 == 999 ? 30000000 : seed % 50 == 49 ? 4000000 : 200000;
}

/* The worst case must hold everywhere; the probable error is not exceeded either. Half of the problems are held
 * against each. */
static inline oracle_rule rule_of(uint64_t seed) { return seed % 2 ? RULE_SOFT : RULE_HARD; }

static inline void against_oracle(const exact_case *e, const oracle *o, const char *isa, double allowed) {
    for (int p = 0; p < FV_OPERANDS; p++)
        for (int gradient = 0; gradient < 2; gradient++) {
            const fv_tensor *t = gradient ? &e->c.x.d[p] : &e->c.x.t[p];
            const bool checked = gradient ? fv_operand_is(p, FV_ROLE_DIFFERENTIABLE) : p == FV_OUT || p == FV_LSE;
            if (!checked || !t->rank) continue;
            const oracle_gap gap = oracle_compare(e, o, (fv_operand)p, gradient);
            char what[64];
            snprintf(what, sizeof what, "%s%s, element %lld is %.9g and not %.9g, error", gradient ? "d" : "",
                     fv_operand_name((fv_operand)p), (long long)gap.at, gap.found, gap.wanted);
            if (!(gap.ratio <= allowed)) complain(&e->c, isa, what, gap.ratio, allowed);
            if (!gaps_untouched(&e->c, t, (gradient ? FV_OPERANDS : 0) + p))
                complain(&e->c, isa, "writes outside", 1, 0);
        }
}

static inline void run_exact(exact_case *e, const oracle *o, const char *isa, double allowed) {
    exact_reset(e);
    if (case_run(&e->c, RUN_FORWARD | RUN_BACKWARD) != FV_OK)
        complain(&e->c, isa, fv_message(), 0, 0);
    else
        against_oracle(e, o, isa, allowed);
}

/* The same values in f64, with the worst-case rule; twice, for the oracle rounds too. The public reference must
 * agree as well. */
static inline void exact_in_f64(const char *mechanism, uint64_t seed) {
    exact_case e;
    oracle o;
    exact_make(&e, mechanism, seed, FV_F64, work_of(seed), 0);
    oracle_run(&o, &e, RULE_HARD);
    run_exact(&e, &o, "f64", 2);
    exact_reset(&e);
    if (case_run(&e.c, RUN_REFERENCE) != FV_OK) complain(&e.c, "reference", fv_message(), 0, 0);
    const fv_operand outputs[] = {FV_OUT, FV_LSE};
    for (int i = 0; i < 2; i++) {
        const oracle_gap gap = oracle_compare(&e, &o, outputs[i], false);
        if (!(gap.ratio <= 2)) complain(&e.c, "reference", fv_operand_name(outputs[i]), gap.ratio, 2);
    }
    oracle_free(&o), exact_free(&e);
}

static inline void one_exact(const char *mechanism, uint64_t seed) {
    exact_case e;
    oracle o;
    fv_set_threads(1); /* any number gives the same bits: test_metamorphic */
    exact_make(&e, mechanism, seed, FV_F32, work_of(seed), 0);
    oracle_run(&o, &e, rule_of(seed));
    for (int isa = 0; isa < FV_ISAS; isa++)
        if (fv__simd_use((fv__isa)isa)) run_exact(&e, &o, fv__isa_name((fv__isa)isa), 1);
    fv__simd_use(FV_ISAS);
    tried++;
    oracle_free(&o), exact_free(&e);
    if (seed % 8 == 0) exact_in_f64(mechanism, seed);
}

/* ---- the other mechanisms */

static inline void compare(const attn_case *c, const attn_case *with, const char *isa, fv_operand operand,
                           bool gradient, double tolerance) {
    const fv_tensor *a = gradient ? &c->x.d[operand] : &c->x.t[operand],
                    *b = gradient ? &with->x.d[operand] : &with->x.t[operand];
    if (!a->rank) return;
    double size;
    const double gap = difference(a, b, &size),
                 reach = operand == FV_SLOPES ? (double)c->lq : 1; /* distances weigh the errors */
    const double allowed = tolerance * (reach + size);
    char what[32];
    snprintf(what, sizeof what, "%s%s", gradient ? "d" : "", fv_operand_name(operand));
    if (!(gap <= allowed)) complain(c, isa, what, gap, allowed);
    if (!gaps_untouched(c, a, (gradient ? FV_OPERANDS : 0) + (int)operand)) complain(c, isa, "writes outside", 0, 0);
}

static inline void one(const char *mechanism, uint64_t seed, int64_t longest) {
    attn_case reference, exact, fast;
    const bool chooses = !strncmp(mechanism, "topk", 4);
    fv_set_threads(1);
    grid = chooses ? 0.25 : 0;
    if (chooses && longest > 70) longest = 70; /* its reference is slow: n m^2 k */
    case_make(&reference, mechanism, seed, FV_F64, longest);
    case_make(&exact, mechanism, seed, FV_F64, longest);
    if (case_run(&reference, RUN_REFERENCE) != FV_OK || case_run(&exact, RUN_FORWARD | RUN_BACKWARD) != FV_OK) {
        complain(&exact, "f64", fv_message(), 0, 0);
    } else {
        compare(&exact, &reference, "f64", FV_OUT, false, 1e-12);
        compare(&exact, &reference, "f64", FV_LSE, false, 1e-12);
        compare(&exact, &reference, "f64", FV_STATE_OUT, false, 1e-12);
        for (int isa = 0; isa < FV_ISAS; isa++) {
            if (!fv__simd_use((fv__isa)isa)) continue;
            case_make(&fast, mechanism, seed, FV_F32, longest);
            if (case_run(&fast, RUN_FORWARD | RUN_BACKWARD) != FV_OK)
                complain(&fast, fv__isa_name((fv__isa)isa), fv_message(), 0, 0);
            compare(&fast, &reference, fv__isa_name((fv__isa)isa), FV_OUT, false, 1e-5);
            compare(&fast, &reference, fv__isa_name((fv__isa)isa), FV_LSE, false, 1e-5);
            compare(&fast, &reference, fv__isa_name((fv__isa)isa), FV_STATE_OUT, false, 1e-5);
            for (int p = 0; p < FV_OPERANDS; p++)
                if (fv_operand_is(p, FV_ROLE_DIFFERENTIABLE))
                    compare(&fast, &exact, fv__isa_name((fv__isa)isa), (fv_operand)p, true, 4e-5);
            case_free(&fast);
        }
        fv__simd_use(FV_ISAS);
    }
    grid = 0;
    case_free(&reference);
    case_free(&exact);
}

static inline int64_t longest_of(uint64_t seed) { return seed % 50 == 0 ? 300 : seed % 4 == 2 ? 90 : 20; }

/* ---- which of them a program runs */

/* FOVEA_TEST_QUICK is for sanitizers, which are thirty times slower. */
static inline bool random_many(void) { return getenv("FOVEA_TEST_LONG"); }
static inline bool random_few(void) { return !random_many() && getenv("FOVEA_TEST_QUICK"); }

static const char *const exact_mechanisms[] = {"softmax", "window:left=7,right=3", "window:left=40,right=0"};
enum { EXACT_MECHANISMS = 3 };

/* Seeds 1 to count. */
static inline uint64_t exact_count(int mechanism) {
    const uint64_t count = random_many() ? 80000 : random_few() ? 1000 : 16000;
    return mechanism ? count / 6 : count;
}

/* Every `of`-th problem of a mechanism, from the first + 1. */
static inline void exact_share(int mechanism, uint64_t first, uint64_t of) {
    const uint64_t count = exact_count(mechanism);
    failures = 0, tried = 0;
    for (uint64_t seed = first + 1; seed <= count; seed += of) one_exact(exact_mechanisms[mechanism], seed);
    assert_int_equal(failures, 0);
    assert_int_equal(tried, (count - first + of - 1) / of);
}

static inline int64_t per_text(void) { return random_many() ? 20000 : random_few() ? 150 : 760; }

/* Every `of`-th example of the other mechanisms. */
static inline void others_share(size_t first, size_t of) {
    size_t example = 0;
    failures = 0;
    for (size_t m = 0; m < fv_mechanism_count(); m++)
        for (int t = 0; case_example(m, t); t++, example++)
            for (uint64_t seed = 1; example % of == first && seed <= (uint64_t)per_text(); seed++)
                one(case_example(m, t), seed, longest_of(seed));
    assert_true(example * (size_t)per_text() >= (random_few() ? 1000 : 5000));
    assert_int_equal(failures, 0);
}

#endif
