/* Recurrences with decay and delta rule (`retention`, `gla`, `deltanet`): small answers by hand, other forms of the
 * same function, laws of the state, the reference, differences. A failure of a random case names it:  test_recurrence
 * MECHANISM CASE */
#define CALL_REAL double
#include "attn_check.h"
#include "recurrence_call.h"

static const char *const texts[] = {"retention",
                                    "retention:first=0.1,step=0.7,chunk=8",
                                    "gla",
                                    "gla:chunk=16",
                                    "gla:chunk=1",
                                    "gla:phi=elu,chunk=32",
                                    "retention:phi=elu,chunk=16",
                                    "deltanet",
                                    "deltanet:chunk=32"};
enum { TEXTS = sizeof texts / sizeof *texts };
static const recurrence kinds[] = {{"retention:first=2", 0}, {"gla:phi=elu", 4}, {"gla", 3},
                                   {"deltanet", 0},          {"deltanet", 3},    {"deltanet", 4}};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* Features of the mechanism number m of kinds. */
static double phi(int m, double x) { return m != 1 ? x : x > 0 ? x + 1 : exp(x); }

/* ---- by hand */

/* What e1 reads after each of two writes: k = e1, v = 1, then k = e1, v = 5 with half the strength. */
static void writes_by_hand(void **state) {
    (void)state;
    call c = recurrence_make((recurrence){"deltanet", 0}, 1, 1, 1, 2, 2, 1, 0);
    const double e1[4] = {1, 0, 1, 0}, v[2] = {1, 5}, beta[2] = {1, 0.5};
    memcpy(call_data(&c, FV_Q), e1, sizeof e1), memcpy(call_data(&c, FV_K), e1, sizeof e1);
    memcpy(call_data(&c, FV_V), v, sizeof v), memcpy(call_data(&c, FV_BETA), beta, sizeof beta);
    c.x.t[FV_STATE].rank = c.x.d[FV_STATE].rank = 0;
    c.how.scale = 1;
    call_run(&c);
    assert_true(call_data(&c, FV_OUT)[0] == 1 && call_data(&c, FV_OUT)[1] == 3); /* 1 + (5 - 1) / 2 */
    assert_true(call_data(&c, FV_STATE_OUT)[0] == 3 && call_data(&c, FV_STATE_OUT)[1] == 0);
    call_free(&c);
    c = recurrence_make((recurrence){"gla", 4}, 1, 1, 1, 2, 2, 1, 0); /* without the delta rule, beta v: 1 + 5 / 2 */
    const double half[2] = {1, 2.5};
    memcpy(call_data(&c, FV_Q), e1, sizeof e1), memcpy(call_data(&c, FV_K), e1, sizeof e1);
    memcpy(call_data(&c, FV_V), half, sizeof half);
    c.x.t[FV_STATE].rank = c.x.d[FV_STATE].rank = 0;
    c.how.scale = 1;
    call_run(&c);
    assert_true(call_data(&c, FV_OUT)[0] == 1 && call_data(&c, FV_OUT)[1] == 3.5);
    call_free(&c);
}

/* gamma of the heads: 31/32, 63/64 ... by what one write is worth a token later; then gradients of that. */
static void decays_by_hand(void **state) {
    (void)state;
    call c = recurrence_make((recurrence){"retention", 0}, 1, 3, 3, 2, 1, 1, 0);
    for (int h = 0; h < 3; h++) {
        for (int t = 0; t < 2; t++) call_data(&c, FV_Q)[2 * h + t] = 1, call_data(&c, FV_K)[2 * h + t] = t ? 0 : 1;
        call_data(&c, FV_V)[2 * h] = 2, call_data(&c, FV_STATE)[h] = 1;
        call_gradient(&c, FV_OUT)[2 * h] = 0, call_gradient(&c, FV_OUT)[2 * h + 1] = 1;
        call_gradient(&c, FV_STATE_OUT)[h] = 0;
    }
    call_run(&c);
    for (int h = 0; h < 3; h++) {
        const double gamma = 1 - ldexp(1, -5 - h);
        assert_true(fabs(call_data(&c, FV_OUT)[2 * h] - (gamma + 2)) < 1e-15);
        assert_true(fabs(call_data(&c, FV_OUT)[2 * h + 1] - gamma * (gamma + 2)) < 1e-15);
        assert_true(fabs(call_gradient(&c, FV_V)[2 * h] - gamma) < 1e-15);
        assert_true(fabs(call_gradient(&c, FV_K)[2 * h] - 2 * gamma) < 1e-15);
        assert_true(fabs(call_gradient(&c, FV_STATE)[h] - gamma * gamma) < 1e-15);
    }
    call_free(&c);
}

/* D orthonormal keys: every value comes back exactly, whatever was written over before. */
static void recall(void **state) {
    (void)state;
    enum { D = 16, L = 2 * D };
    call c = recurrence_make((recurrence){"deltanet", 0}, 1, 1, 1, L, D, 3, 0);
    for (int t = 0; t < L; t++) {
        call_data(&c, FV_BETA)[t] = 1;
        for (int d = 0; d < D; d++) /* rows of a Hadamard matrix, twice */
            call_data(&c, FV_K)[t * D + d] = __builtin_popcount((unsigned)(t % D & d)) % 2 ? -0.25 : 0.25;
    }
    memcpy(call_data(&c, FV_Q), call_data(&c, FV_K), L * D * sizeof(double));
    c.how.scale = 1;
    call_run(&c);
    for (int t = 0; t < L; t++)
        for (int e = 0; e < 3; e++)
            assert_true(fabs(call_data(&c, FV_OUT)[3 * t + e] - call_data(&c, FV_V)[3 * t + e]) < 1e-14);
    for (int d = 0; d < D; d++) { /* what the second half left, read by each key */
        double sum = 0;
        for (int e = 0; e < D; e++) sum += call_data(&c, FV_K)[d * D + e] * call_data(&c, FV_STATE_OUT)[3 * e];
        assert_true(fabs(sum - call_data(&c, FV_V)[3 * (D + d)]) < 1e-14);
    }
    call_free(&c);
}

/* ---- other forms of the same function */

/* Retention as one masked product: O = (scale Q K^T * D) V, D_ij = gamma^(i-j). */
static void parallel_form(void **state) {
    (void)state;
    enum { H = 2, L = 200, D = 5, DV = 3 };
    call c = recurrence_make((recurrence){"retention:first=3,step=2", 0}, 1, H, H, L, D, DV, 0);
    c.x.t[FV_STATE].rank = c.x.d[FV_STATE].rank = 0;
    call_run(&c);
    for (int h = 0; h < H; h++)
        for (int i = 0; i < L; i++) {
            double out[DV] = {0};
            for (int j = 0; j <= i; j++) {
                double s = pow(1 - ldexp(1, -3 - 2 * h), i - j) / sqrt(D), dot = 0;
                for (int d = 0; d < D; d++)
                    dot += call_data(&c, FV_Q)[(h * L + i) * D + d] * call_data(&c, FV_K)[(h * L + j) * D + d];
                for (int e = 0; e < DV; e++) out[e] += s * dot * call_data(&c, FV_V)[(h * L + j) * DV + e];
            }
            for (int e = 0; e < DV; e++)
                assert_true(fabs(out[e] - call_data(&c, FV_OUT)[(h * L + i) * DV + e]) < 1e-12);
        }
    call_free(&c);
}

static void same_results(const call *a, const call *b, double tolerance) {
    for (int p = 0; p < FV_OPERANDS; p++) {
        if (a->x.t[p].rank && b->x.t[p].rank && fv_operand_is(p, FV_ROLE_OUTPUT))
            assert_true(call_distance(&a->x.t[p], &b->x.t[p]) <= tolerance);
        if (a->x.d[p].rank && b->x.d[p].rank && fv_operand_is(p, FV_ROLE_DIFFERENTIABLE))
            assert_true(call_distance(&a->x.d[p], &b->x.d[p]) <= tolerance);
    }
}

/* One decay everywhere is retention; keys that are orthogonal have nothing to replace, so the delta rule is plain. */
static void degenerate(void **state) {
    (void)state;
    call a = recurrence_make((recurrence){"retention:first=1,step=0", 0}, 2, 2, 1, 150, 6, 5, 0),
         b = recurrence_make((recurrence){"gla", 4}, 2, 2, 1, 150, 6, 5, 0);
    for (int64_t n = 0; n < fv_tensor_count(&b.x.t[FV_LOG_DECAY]); n++) call_data(&b, FV_LOG_DECAY)[n] = log(0.5);
    call_run(&a), call_run(&b);
    same_results(&a, &b, 1e-13);
    call_free(&a), call_free(&b);
    enum { L = 12 };
    a = recurrence_make((recurrence){"deltanet", 0}, 1, 1, 1, L, L, 4, 0),
    b = recurrence_make((recurrence){"gla", 4}, 1, 1, 1, L, L, 4, 0);
    call *both[2] = {&a, &b};
    for (int i = 0; i < 2; i++) {
        for (int n = 0; n < L * L; n++) call_data(both[i], FV_K)[n] = n % (L + 1) == 0;
        both[i]->x.t[FV_STATE].rank = both[i]->x.d[FV_STATE].rank = 0;
    }
    for (int t = 0; t < L; t++)
        for (int e = 0; e < 4; e++) call_data(&b, FV_V)[4 * t + e] *= call_data(&a, FV_BETA)[t];
    call_run(&a), call_run(&b);
    assert_true(call_distance(&a.x.t[FV_OUT], &b.x.t[FV_OUT]) < 1e-14);
    assert_true(call_distance(&a.x.t[FV_STATE_OUT], &b.x.t[FV_STATE_OUT]) < 1e-14);
    assert_true(call_distance(&a.x.d[FV_Q], &b.x.d[FV_Q]) < 1e-14);
    call_free(&a), call_free(&b);
}

/* A decay of -inf forgets all: the tokens after it are a sequence of their own. */
static void reset(void **state) {
    (void)state;
    enum { L = 170, D = 6 };
    const int cuts[] = {0, 1, 40, 64, 100, L - 1};
    for (int i = 0; i < 6; i++) {
        const int cut = cuts[i];
        call a = recurrence_make((recurrence){"gla", 4}, 1, 1, 1, L, D, 4, 2),
             b = recurrence_make((recurrence){"gla", 4}, 1, 1, 1, L, D, 4, 2);
        for (int d = 0; d < D; d++) call_data(&a, FV_LOG_DECAY)[cut * D + d] = -INFINITY;
        call_run(&a);
        fv_attention_tensors part = recurrence_part(&b, cut, L);
        part.t[FV_STATE_OUT] = b.x.t[FV_STATE_OUT], part.d[FV_STATE_OUT] = b.x.d[FV_STATE_OUT];
        recurrence_run(&b, &part);
        fv_attention_tensors tail = recurrence_part(&a, cut, L);
        assert_true(call_distance(&tail.t[FV_OUT], &part.t[FV_OUT]) < 1e-13);
        assert_true(call_distance(&a.x.t[FV_STATE_OUT], &b.x.t[FV_STATE_OUT]) < 1e-13);
        const fv_operand rows[] = {FV_Q, FV_K, FV_V};
        for (int p = 0; p < 3; p++) assert_true(call_distance(&tail.d[rows[p]], &part.d[rows[p]]) < 1e-13);
        for (int d = 0; d < D; d++) assert_true(call_gradient(&a, FV_LOG_DECAY)[cut * D + d] == 0);
        for (int n = 0; cut == 0 && n < D * 4; n++) assert_true(call_gradient(&a, FV_STATE)[n] == 0);
        call_free(&a), call_free(&b);
    }
}

/* ---- laws of the state */

/* Two calls, the state of the first given to the second, are one: outputs, and gradients that meet in the state
 * between. */
static void two_calls(void **state) {
    (void)state;
    enum { L = 150, D = 7, DV = 5, H = 4, B = 2 };
    const int cuts[] = {0, 1, 17, 64, 128, 149, L};
    for (int m = 0; m < KINDS; m++)
        for (int i = 0; i < 7; i++) {
            call whole = recurrence_make(kinds[m], B, H, 2, L, D, DV, 1),
                 parts = recurrence_make(kinds[m], B, H, 2, L, D, DV, 1);
            double between[B * H * D * DV], gradient[B * H * D * DV];
            const fv_tensor middle = fv_bhld(between, FV_F64, B, H, D, DV),
                            dmiddle = fv_bhld(gradient, FV_F64, B, H, D, DV);
            call_run(&whole);
            fv_attention_tensors left = recurrence_part(&parts, 0, cuts[i]),
                                 right = recurrence_part(&parts, cuts[i], L);
            left.t[FV_STATE] = parts.x.t[FV_STATE], left.d[FV_STATE] = parts.x.d[FV_STATE];
            right.t[FV_STATE_OUT] = parts.x.t[FV_STATE_OUT], right.d[FV_STATE_OUT] = parts.x.d[FV_STATE_OUT];
            left.t[FV_STATE_OUT] = right.t[FV_STATE] = middle, right.d[FV_STATE] = dmiddle;
            memset(gradient, 0, sizeof gradient);
            recurrence_run(&parts, &left);
            recurrence_run(&parts, &right);
            left.d[FV_STATE_OUT] = dmiddle;
            recurrence_run(&parts, &left);
            same_results(&whole, &parts, 1e-12);
            call_free(&whole), call_free(&parts);
        }
}

/* Token by token, as a decoder runs, with the state in two places by turns. */
static void step_by_step(void **state) {
    (void)state;
    enum { L = 90, D = 6, DV = 4, H = 4 };
    for (int m = 0; m < KINDS; m++) {
        call whole = recurrence_make(kinds[m], 1, H, 2, L, D, DV, 1),
             steps = recurrence_make(kinds[m], 1, H, 2, L, D, DV, 1);
        double states[2][H * D * DV];
        memcpy(states[0], call_data(&steps, FV_STATE), sizeof states[0]);
        call_run(&whole);
        for (int t = 0; t < L; t++) {
            fv_attention_tensors x = recurrence_part(&steps, t, t + 1);
            memset(x.d, 0, sizeof x.d);
            x.t[FV_STATE] = fv_bhld(states[t % 2], FV_F64, 1, H, D, DV);
            x.t[FV_STATE_OUT] = fv_bhld(states[(t + 1) % 2], FV_F64, 1, H, D, DV);
            recurrence_run(&steps, &x);
        }
        const fv_tensor last = fv_bhld(states[L % 2], FV_F64, 1, H, D, DV);
        assert_true(call_distance(&whole.x.t[FV_OUT], &steps.x.t[FV_OUT]) < 1e-13);
        assert_true(call_distance(&whole.x.t[FV_STATE_OUT], &last) < 1e-13);
        call_free(&whole), call_free(&steps);
    }
}

static void chunk_sizes(void **state) {
    (void)state;
    for (int m = 0; m < KINDS; m++)
        for (int chunk = 1; chunk < 64; chunk *= 2) {
            char text[40];
            snprintf(text, sizeof text, "%s%cchunk=%d", kinds[m].text, strchr(kinds[m].text, ':') ? ',' : ':', chunk);
            call a = recurrence_make(kinds[m], 2, 2, 1, 137, 9, 6, 3),
                 b = recurrence_make((recurrence){text, kinds[m].decay_rank}, 2, 2, 1, 137, 9, 6, 3);
            call_run(&a), call_run(&b);
            same_results(&a, &b, 1e-12);
            call_free(&a), call_free(&b);
        }
}

/* No tokens: the state passes through, and so does its gradient. No keys: queries read the initial state. */
static void nothing(void **state) {
    (void)state;
    for (int m = 0; m < KINDS; m++) {
        call c = recurrence_make(kinds[m], 2, 2, 2, 0, 3, 2, 1);
        call_run(&c);
        assert_true(call_distance(&c.x.t[FV_STATE], &c.x.t[FV_STATE_OUT]) == 0);
        assert_true(call_distance(&c.x.d[FV_STATE], &c.x.d[FV_STATE_OUT]) == 0);
        c.x.t[FV_STATE].rank = c.x.d[FV_STATE].rank = 0;
        call_run(&c);
        for (int i = 0; i < 24; i++) assert_true(call_data(&c, FV_STATE_OUT)[i] == 0);
        call_free(&c);
        c = recurrence_make(kinds[m], 1, 1, 1, 70, 1, 1, 1);
        const int32_t none = 0;
        c.x.t[FV_KV_LEN] = fv_tensor_1d((void *)&none, FV_I32, 1);
        call_run(&c);
        const double s = call_data(&c, FV_STATE)[0];
        for (int i = 0; i < 70; i++) {
            assert_true(fabs(call_data(&c, FV_OUT)[i] - s * phi(m, call_data(&c, FV_Q)[i])) < 1e-15);
            assert_true(call_gradient(&c, FV_K)[i] == 0 && call_gradient(&c, FV_V)[i] == 0);
            assert_true(!c.x.d[FV_LOG_DECAY].rank || call_gradient(&c, FV_LOG_DECAY)[i] == 0);
            assert_true(!c.x.d[FV_BETA].rank || call_gradient(&c, FV_BETA)[i] == 0);
        }
        assert_true(call_data(&c, FV_STATE_OUT)[0] == s);
        call_free(&c);
    }
}

/* ---- the weights that are never formed */

static void implied_weights(void **state) {
    (void)state;
    enum { L = 90, D = 6, DV = 4, H = 4 };
    static const int64_t rows[] = {0, 1, 40, 64, L - 1};
    for (int m = 0; m < KINDS; m++) {
        call c = recurrence_make(kinds[m], 2, H, 2, L, D, DV, 0.3);
        const int32_t live[2] = {L, 50};
        c.x.t[FV_KV_LEN] = fv_tensor_1d((void *)live, FV_I32, 2);
        c.x.t[FV_STATE].rank = 0;
        memset(c.x.d, 0, sizeof c.x.d);
        call_run(&c);
        fv_attention_plan *plan;
        double w[5 * L];
        const fv_tensor to = fv_tensor_2d(w, FV_F64, 5, L);
        assert_int_equal(fv_attention_plan_create(&plan, &c.how, &c.x), FV_OK);
        for (int b = 0; b < 2; b++) {
            assert_int_equal(fv_attention_weights(plan, NULL, &c.x, FV_CAPTURE_SOFTMAX, b, 3, rows, 5, &to), FV_OK);
            for (int r = 0; r < 5; r++)
                for (int e = 0; e < DV; e++) {
                    double sum = 0;
                    for (int j = 0; j < L; j++)
                        sum += w[r * L + j] * call_data(&c, FV_V)[((b * 2 + 1) * L + j) * DV + e];
                    assert_true(fabs(sum - call_data(&c, FV_OUT)[((b * H + 3) * L + rows[r]) * DV + e]) < 1e-13);
                }
            for (int r = 0; r < 5; r++)
                for (int j = 0; j < L; j++) assert_true((j > rows[r] || j >= live[b]) == (w[r * L + j] == 0));
        }
        assert_int_equal(fv_attention_weights(plan, NULL, &c.x, FV_CAPTURE_RAW, 0, 0, rows, 2, &to), FV_OK);
        double dot = 0;
        for (int d = 0; d < D; d++)
            dot += phi(m, call_data(&c, FV_Q)[D + d]) * phi(m, call_data(&c, FV_K)[d]) / sqrt(D);
        assert_true(fabs(w[L] - dot) < 1e-14 && w[L + 2] == -INFINITY);
        fv_attention_plan_free(plan);
        call_free(&c);
    }
}

/* ---- random cases */

static int64_t longest_of(uint64_t seed) { return seed % 50 == 0 ? 300 : seed % 8 == 7 ? 150 : seed % 2 ? 70 : 20; }

static uint64_t count_of(uint64_t quick, uint64_t usual, uint64_t many) {
    return getenv("FOVEA_TEST_LONG") ? many : getenv("FOVEA_TEST_QUICK") ? quick : usual;
}

static void random_cases(void **state) {
    (void)state;
    for (int m = 0; m < TEXTS; m++)
        for (uint64_t seed = 1; seed <= count_of(30, 250, 5000); seed++)
            check_reference(texts[m], seed, longest_of(seed), NULL);
    assert_int_equal(check_failures, 0);
}

static void gradients(void **state) {
    (void)state;
    int64_t checked = 0;
    for (int m = 0; m < TEXTS; m++)
        for (uint64_t seed = 1; seed <= count_of(20, 80, 2000); seed++)
            checked += check_gradients(texts[m], seed, seed % 8 == 7 ? 150 : 9, NULL);
    assert_true(checked > 3000);
    assert_int_equal(check_failures, 0);
}

static void thread_counts(void **state) {
    (void)state;
    for (int m = 0; m < TEXTS; m++)
        for (uint64_t seed = 1; seed <= 20; seed++) check_threads(texts[m], seed, seed % 4 ? 90 : 400, NULL);
    assert_int_equal(check_failures, 0);
}

static void packed(void **state) {
    (void)state;
    int64_t sequences = 0;
    for (int m = 0; m < TEXTS; m++)
        for (uint64_t seed = 1; seed <= 200; seed++)
            check_packed(texts[m], seed, seed % 4 ? 90 : 300, NULL, &sequences);
    assert_true(sequences > 100);
    assert_int_equal(check_failures, 0);
}

int main(int argc, char **argv) {
    if (argc == 3) {
        const uint64_t seed = strtoull(argv[2], NULL, 10);
        check_reference(argv[1], seed, longest_of(seed), NULL);
        return check_failures != 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_by_hand), cmocka_unit_test(decays_by_hand),  cmocka_unit_test(recall),
        cmocka_unit_test(parallel_form),  cmocka_unit_test(degenerate),      cmocka_unit_test(reset),
        cmocka_unit_test(two_calls),      cmocka_unit_test(step_by_step),    cmocka_unit_test(chunk_sizes),
        cmocka_unit_test(nothing),        cmocka_unit_test(implied_weights), cmocka_unit_test(random_cases),
        cmocka_unit_test(gradients),      cmocka_unit_test(thread_counts),   cmocka_unit_test(packed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
