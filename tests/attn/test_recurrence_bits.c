/* Recurrences with decay and delta rule in f32: what must not change any bit, numbers at the edge, what is refused,
 * what a call costs. */
#include "recurrence_call.h"

static const recurrence kinds[] = {{"retention:first=2", 0}, {"gla", 4}, {"deltanet", 0},
                                   {"gla:chunk=8", 4},       {"gla", 3}, {"deltanet", 3},
                                   {"deltanet:chunk=16", 4}};
enum { KINDS = sizeof kinds / sizeof *kinds, DELTANET = 2 };
enum { B = 3, H = 4, KV = 2, L = 200, D = 12, DV = 20 };

static call make(int m) { return recurrence_make(kinds[m], B, H, KV, L, D, DV, 1); }

static const fv_operand inputs[] = {FV_Q, FV_K, FV_V, FV_LOG_DECAY, FV_BETA};
enum { INPUTS = sizeof inputs / sizeof *inputs };

/* Rows [from, to) of every head of a tensor. */
static void rows_set(const fv_tensor *t, int64_t from, int64_t to, float what) {
    if (!t->rank) return;
    const fv_tensor part = fv_tensor_slice(*t, 2, from, to - from);
    for (int64_t n = 0; n < fv_tensor_count(&part); n++) ((float *)part.data)[place(&part, n)] = what;
}

static bool rows_equal(const fv_tensor *a, const fv_tensor *b, int64_t from, int64_t to) {
    if (!a->rank) return true;
    const fv_tensor x = fv_tensor_slice(*a, 2, from, to - from), y = fv_tensor_slice(*b, 2, from, to - from);
    return same_bytes(&x, &y);
}

static bool rows_zero(const fv_tensor *t, int64_t from, int64_t to) {
    if (!t->rank) return true;
    const fv_tensor part = fv_tensor_slice(*t, 2, from, to - from);
    for (int64_t n = 0; n < fv_tensor_count(&part); n++)
        if (((const float *)part.data)[place(&part, n)] != 0) return false;
    return true;
}

static bool all_numbers(const fv_tensor *t) {
    for (int64_t n = 0; t->rank && n < fv_tensor_count(t); n++)
        if (!isfinite(((const float *)t->data)[place(t, n)])) return false;
    return true;
}

/* What lies ahead of a query is NaN or infinite and changes nothing; nor does a reader behind a key change its
 * gradients. */
static void causality(void **state) {
    (void)state;
    static const int64_t cuts[] = {1, 7, 63, 64, 100, 192};
    for (int m = 0; m < KINDS; m++)
        for (int i = 0; i < 12; i++) {
            const int64_t t = cuts[i / 2];
            const float what = i % 2 ? NAN : INFINITY;
            call a = make(m), b = make(m), c = make(m);
            for (int p = 0; p < INPUTS; p++) rows_set(&b.x.t[inputs[p]], t, L, what);
            rows_set(&c.x.t[FV_Q], 0, t, what);
            call_run(&a), call_run(&b), call_run(&c);
            assert_true(rows_equal(&a.x.t[FV_OUT], &b.x.t[FV_OUT], 0, t));
            assert_true(rows_equal(&a.x.d[FV_Q], &b.x.d[FV_Q], 0, t));
            assert_false(isfinite(call_data(&b, FV_OUT)[(L - 1) * DV]));
            assert_true(rows_equal(&a.x.d[FV_K], &c.x.d[FV_K], t, L) && rows_equal(&a.x.d[FV_V], &c.x.d[FV_V], t, L));
            assert_true(rows_equal(&a.x.d[FV_BETA], &c.x.d[FV_BETA], t, L));
            call_free(&a), call_free(&b), call_free(&c);
        }
}

/* A sequence alone, and at another place of the batch. */
static void batch_place(void **state) {
    (void)state;
    for (int m = 0; m < KINDS; m++) {
        call a = make(m), b = make(m);
        call_run(&a);
        for (int n = 0; n < B; n++) {
            fv_attention_tensors one = b.x;
            for (int p = 0; p < FV_OPERANDS; p++) {
                if (one.t[p].rank) one.t[p] = fv_tensor_slice(one.t[p], 0, n, 1);
                if (one.d[p].rank) one.d[p] = fv_tensor_slice(one.d[p], 0, n, 1);
            }
            recurrence_run(&b, &one);
        }
        for (int p = 0; p < FV_OPERANDS; p++) {
            if (a.x.t[p].rank) assert_true(same_bytes(&a.x.t[p], &b.x.t[p]));
            if (a.x.d[p].rank) assert_true(same_bytes(&a.x.d[p], &b.x.d[p]));
        }
        call_free(&a), call_free(&b);
    }
}

/* Tokens beyond kv_len have no key, no decay and no write, NaN or not: the state stays, queries there read it. */
static void padding(void **state) {
    (void)state;
    static const int32_t live[B] = {130, 130, 130};
    for (int m = 0; m < KINDS; m++) {
        call a = make(m), b = make(m);
        fv_attention_tensors shorter = recurrence_part(&a, 0, 130);
        shorter.t[FV_STATE] = a.x.t[FV_STATE], shorter.d[FV_STATE] = a.x.d[FV_STATE];
        shorter.t[FV_STATE_OUT] = a.x.t[FV_STATE_OUT], shorter.d[FV_STATE_OUT] = a.x.d[FV_STATE_OUT];
        recurrence_run(&a, &shorter);
        for (int p = 1; p < INPUTS; p++) rows_set(&b.x.t[inputs[p]], 130, L, NAN);
        rows_set(&b.x.d[FV_OUT], 130, L, 0);
        b.x.t[FV_KV_LEN] = fv_tensor_1d((void *)live, FV_I32, B);
        call_run(&b);
        assert_true(rows_equal(&a.x.t[FV_OUT], &b.x.t[FV_OUT], 0, 130) && all_numbers(&b.x.t[FV_OUT]));
        assert_true(call_distance(&a.x.t[FV_STATE_OUT], &b.x.t[FV_STATE_OUT]) < 1e-6);
        assert_true(call_distance(&a.x.d[FV_STATE], &b.x.d[FV_STATE]) < 1e-6);
        for (int p = 0; p < INPUTS; p++) {
            if (!a.x.d[inputs[p]].rank) continue;
            const fv_tensor x = fv_tensor_slice(a.x.d[inputs[p]], 2, 0, 130),
                            y = fv_tensor_slice(b.x.d[inputs[p]], 2, 0, 130);
            assert_true(call_distance(&x, &y) < 1e-6);
            if (p > 0) assert_true(rows_zero(&b.x.d[inputs[p]], 130, L));
        }
        double sum = 0; /* the last query reads the last state */
        const float *q = call_data(&b, FV_Q) + (L - 1) * D;
        for (int d = 0; d < D; d++) sum += (double)q[d] * (double)call_data(&b, FV_STATE_OUT)[d * DV] / sqrt(D);
        assert_true(fabs(sum - (double)call_data(&b, FV_OUT)[(L - 1) * DV]) < 1e-5);
        call_free(&a), call_free(&b);
    }
}

/* Splits at the end of a chunk: the second call goes on with the bits of the first. */
static void split_bits(void **state) {
    (void)state;
    for (int m = 0; m < KINDS; m++) {
        call whole = make(m), parts = make(m);
        static float between[B * H * D * DV];
        const fv_tensor middle = fv_bhld(between, FV_F32, B, H, D, DV);
        call_run(&whole);
        fv_attention_tensors left = recurrence_part(&parts, 0, 128), right = recurrence_part(&parts, 128, L);
        memset(left.d, 0, sizeof left.d), memset(right.d, 0, sizeof right.d);
        left.t[FV_STATE] = parts.x.t[FV_STATE], left.t[FV_STATE_OUT] = right.t[FV_STATE] = middle;
        right.t[FV_STATE_OUT] = parts.x.t[FV_STATE_OUT];
        recurrence_run(&parts, &left), recurrence_run(&parts, &right);
        assert_true(same_bytes(&whole.x.t[FV_OUT], &parts.x.t[FV_OUT]));
        assert_true(same_bytes(&whole.x.t[FV_STATE_OUT], &parts.x.t[FV_STATE_OUT]));
        call_free(&whole), call_free(&parts);
    }
}

/* Each gradient alone is what it is among all. */
static void gradients_alone(void **state) {
    (void)state;
    static const fv_operand wanted[] = {FV_Q, FV_K, FV_V, FV_LOG_DECAY, FV_BETA, FV_STATE};
    for (int m = 0; m < KINDS; m++) {
        call all = make(m);
        call_run(&all);
        for (int i = 0; i < 6; i++) {
            call one = make(m);
            for (int p = 0; p < 6; p++)
                if (p != i) one.x.d[wanted[p]].rank = 0;
            if (one.x.d[wanted[i]].rank) {
                call_run(&one);
                assert_true(same_bytes(&all.x.d[wanted[i]], &one.x.d[wanted[i]]));
            }
            call_free(&one);
        }
        call_free(&all);
    }
}

/* An absent gradient of an output is zero, an absent state is zero. */
static void absent(void **state) {
    (void)state;
    static const fv_operand outputs[] = {FV_OUT, FV_STATE_OUT, FV_STATE};
    for (int m = 0; m < KINDS; m++)
        for (int i = 0; i < 3; i++) {
            call a = make(m), b = make(m);
            const bool input = outputs[i] == FV_STATE;
            float *zeros = input ? call_data(&a, FV_STATE) : call_gradient(&a, outputs[i]);
            memset(zeros, 0, (size_t)fv_tensor_count(&a.x.t[outputs[i]]) * sizeof(float));
            b.x.d[outputs[i]].rank = 0;
            if (input) b.x.t[FV_STATE].rank = 0;
            call_run(&a), call_run(&b);
            for (int p = 0; p < INPUTS; p++)
                if (a.x.d[inputs[p]].rank) assert_true(call_distance(&a.x.d[inputs[p]], &b.x.d[inputs[p]]) < 1e-6);
            assert_true(call_distance(&a.x.t[FV_OUT], &b.x.t[FV_OUT]) < 1e-6);
            assert_true(call_distance(&a.x.t[FV_STATE_OUT], &b.x.t[FV_STATE_OUT]) < 1e-6);
            call_free(&a), call_free(&b);
        }
}

/* The last two axes exchanged in memory. */
static void exchange(fv_tensor *t, float *memory) {
    const fv_tensor from = *t;
    if (!t->rank) return;
    const int a = t->rank - 2, b = t->rank - 1;
    t->data = memory, t->stride[a] = 1, t->stride[b] = t->dim[a];
    for (int64_t n = 0; n < fv_tensor_count(t); n++) memory[place(t, n)] = ((const float *)from.data)[place(&from, n)];
}

/* Decays, write strengths and states with any strides. */
static void strides(void **state) {
    (void)state;
    static const fv_operand exchanged[] = {FV_LOG_DECAY, FV_BETA, FV_STATE, FV_STATE_OUT};
    static float memory[8][B * H * L * DV];
    for (int m = 0; m < KINDS; m++) {
        call a = make(m), b = make(m);
        for (int i = 0; i < 4; i++)
            exchange(&b.x.t[exchanged[i]], memory[i]), exchange(&b.x.d[exchanged[i]], memory[4 + i]);
        call_run(&a), call_run(&b);
        for (int p = 0; p < FV_OPERANDS; p++) {
            if (a.x.t[p].rank) assert_true(same_bytes(&a.x.t[p], &b.x.t[p]));
            if (a.x.d[p].rank) assert_true(same_bytes(&a.x.d[p], &b.x.d[p]));
        }
        call_free(&a), call_free(&b);
    }
}

/* ---- numbers at the edge */

static void against_reference(call *c, double tolerance) {
    fv_attention_plan *plan;
    static float out[B * H * L * DV];
    fv_attention_tensors y = c->x;
    y.t[FV_OUT].data = out;
    call_run(c);
    assert_int_equal(fv_attention_plan_create(&plan, &c->how, &c->x), FV_OK);
    assert_int_equal(fv_attention_reference(plan, NULL, &y), FV_OK);
    assert_true(call_distance(&c->x.t[FV_OUT], &y.t[FV_OUT]) < tolerance);
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is(p, FV_ROLE_DIFFERENTIABLE)) assert_true(all_numbers(&c->x.d[p]));
    fv_attention_plan_free(plan);
}

/* Decays from none to all of it, alone and mixed from token to token: sums of -100 over a chunk are -6400, where
 * e^+6400 would overflow and a difference of two sums would have lost a decay of 1e-6. */
static void decays(void **state) {
    (void)state;
    static const float sizes[] = {0, -1e-6f, -5, -20, -100, -1e30f, -INFINITY};
    for (int m = 0; m < KINDS; m++)
        for (int s = 0; s < 8 && kinds[m].decay_rank; s++) {
            call c = make(m);
            for (int64_t n = 0; n < fv_tensor_count(&c.x.t[FV_LOG_DECAY]); n++)
                call_data(&c, FV_LOG_DECAY)[n] = s < 7 ? sizes[s] : sizes[fv__random_below(3, 1, (uint64_t)n, 7)];
            against_reference(&c, 2e-6);
            call_free(&c);
        }
}

/* After a decay of -100 one of 1e-3 must still be that, to the last digits: the state is written once and then read. */
static void small_beside_large(void **state) {
    (void)state;
    for (int m = 0; m < KINDS; m++) {
        if (!kinds[m].decay_rank) continue;
        call c = recurrence_make(kinds[m], 1, 1, 1, 64, 1, 1, 0);
        c.x.t[FV_STATE].rank = c.x.d[FV_STATE].rank = 0;
        c.how.scale = 1;
        for (int t = 0; t < 64; t++) {
            call_data(&c, FV_LOG_DECAY)[t] = t < 40 ? -100 : -1e-3f;
            call_data(&c, FV_Q)[t] = 1, call_data(&c, FV_V)[t] = 1, call_data(&c, FV_K)[t] = t == 40;
            if (c.x.t[FV_BETA].rank) call_data(&c, FV_BETA)[t] = 1;
        }
        call_run(&c);
        for (int t = 40; t < 64; t++)
            assert_true(fabs((double)call_data(&c, FV_OUT)[t] - exp(-1e-3 * (t - 40))) < 2e-7);
        call_free(&c);
    }
}

static void strengths(void **state) {
    (void)state;
    static const float sizes[] = {0, 1, 2};
    for (int s = 0; s < 3; s++) {
        call c = make(DELTANET);
        for (int64_t n = 0; n < fv_tensor_count(&c.x.t[FV_BETA]); n++) call_data(&c, FV_BETA)[n] = sizes[s];
        against_reference(&c, 1e-5);
        if (s == 0) assert_true(same_bytes(&c.x.t[FV_STATE], &c.x.t[FV_STATE_OUT]));
        call_free(&c);
    }
}

/* ---- what is refused, what a call costs */

static void refusals(void **state) {
    (void)state;
    call c = make(1);
    const fv_attention_options how = c.how;
    c.how.window = FV_WINDOW(5, -1), call_refused(&c, "option window.left"), c.how = how;
    c.how.causal = FV_CAUSAL_NONE, c.how.window = FV_WINDOW(-1, 3), call_refused(&c, "option window.right"),
    c.how = how;
    c.call.q_offset = 1, call_refused(&c, "q_offset of the call"), c.call.q_offset = 0;
    c.how.softcap = 1, call_refused(&c, "softcap"), c.how = how;
    c.how.dropout = 0.5, call_refused(&c, "dropout"), c.how = how;
    c.how.mechanism = "gla:chunk=48", call_refused(&c, "a power of 2"), c.how = how;
    c.how.mechanism = "retention", call_refused(&c, "does not take operand \"log_decay\""), c.how = how;
    const fv_tensor decay = c.x.t[FV_LOG_DECAY];
    c.x.d[FV_LOG_DECAY].rank = 0;
    c.x.t[FV_LOG_DECAY].rank = 2, call_refused(&c, "(B,H,Lk) = (3,4,200) or (B,H,Lk,D) = (3,4,200,12)"),
    c.x.t[FV_LOG_DECAY] = decay;
    c.x.t[FV_LOG_DECAY].rank = 0, call_refused(&c, "expected operand \"log_decay\""), c.x.t[FV_LOG_DECAY] = decay;
    c.x.t[FV_LSE] = fv_bhld(call_data(&c, FV_OUT), FV_F32, B, H, L, 1), c.x.t[FV_LSE].rank = 3;
    call_refused(&c, "no normalizer"), c.x.t[FV_LSE].rank = 0;
    c.x.t[FV_STATE].dim[0] = 1, call_refused(&c, "operand \"state\""), c.x.t[FV_STATE].dim[0] = B;
    const int32_t live[B] = {0};
    c.x.t[FV_KV_LEN] = fv_tensor_1d((void *)live, FV_I32, B), c.how.causal = FV_CAUSAL_LOWER_RIGHT;
    call_refused(&c, "lower-right"), c.x.t[FV_KV_LEN].rank = 0, c.how = how;
    const fv_operand keys[] = {FV_K, FV_V, FV_LOG_DECAY};
    for (int i = 0; i < 3; i++) c.x.t[keys[i]] = fv_tensor_slice(c.x.t[keys[i]], 2, 0, 10), c.x.d[keys[i]].rank = 0;
    call_refused(&c, "as many queries as keys");
    call_free(&c);
    c = make(DELTANET);
    const fv_tensor beta = c.x.t[FV_BETA];
    c.x.d[FV_BETA].rank = 0;
    c.x.t[FV_BETA].rank = 2, call_refused(&c, "(B,H,Lk) = (3,4,200)");
    c.x.t[FV_BETA].rank = c.x.d[FV_BETA].rank = 0, call_refused(&c, "expected operand \"beta\""), c.x.t[FV_BETA] = beta;
    c.x.t[FV_Q].dim[3] = c.x.t[FV_K].dim[3] = 1025, c.x.d[FV_Q].rank = c.x.d[FV_K].rank = 0;
    c.x.t[FV_STATE].rank = c.x.d[FV_STATE].rank = c.x.t[FV_STATE_OUT].rank = c.x.d[FV_STATE_OUT].rank = 0;
    call_refused(&c, "at most 1024");
    call_free(&c);
}

/* Without the option the mechanism is causal all the same, and lower-right is upper-left. */
static void always_causal(void **state) {
    (void)state;
    for (int m = 0; m < KINDS; m++)
        for (int mode = 0; mode < 2; mode++) {
            call a = make(m), b = make(m);
            b.how.causal = mode ? FV_CAUSAL_NONE : FV_CAUSAL_LOWER_RIGHT;
            call_run(&a), call_run(&b);
            assert_true(same_bytes(&a.x.t[FV_OUT], &b.x.t[FV_OUT]) && same_bytes(&a.x.d[FV_K], &b.x.d[FV_K]));
            call_free(&a), call_free(&b);
        }
}

/* Nothing is allocated by a run; memory and work grow with the length. */
static void costs(void **state) {
    (void)state;
    for (int m = 0; m < KINDS; m++) {
        call c = make(m);
        fv_attention_plan *plan;
        assert_int_equal(fv_attention_plan_create(&plan, &c.how, &c.x), FV_OK);
        const size_t forward = fv_attention_scratch(plan, false), backward = fv_attention_scratch(plan, true);
        void *scratch = malloc(forward > backward ? forward : backward);
        const int64_t before = fv__alloc_count();
        assert_int_equal(fv_attention_forward(plan, NULL, &c.x, scratch), FV_OK);
        assert_int_equal(fv_attention_backward(plan, NULL, &c.x, scratch), FV_OK);
        assert_int_equal(fv__alloc_count(), before);
        char words[256];
        fv_attention_plan_describe(plan, words, sizeof words);
        assert_non_null(strstr(words, kinds[m].text[0] == 'd' ? "delta rule" : "decay per"));
        assert_true(fv_attention_flops(plan, NULL, false) ==
                    (kinds[m].text[0] == 'd' ? 3.0 : 2.0) * 2 * B * H * L * D * DV);
        free(scratch);
        fv_attention_plan_free(plan);
        size_t bytes[2];
        for (int i = 0; i < 2; i++) {
            for (int p = 0; p < FV_OPERANDS; p++) {
                if (c.x.t[p].rank >= 3 && p != FV_STATE && p != FV_STATE_OUT) c.x.t[p].dim[2] = i ? 1 << 20 : 1 << 16;
                if (c.x.d[p].rank) c.x.d[p] = c.x.t[p];
            }
            assert_int_equal(fv_attention_plan_create(&plan, &c.how, &c.x), FV_OK);
            bytes[i] = fv_attention_scratch(plan, true);
            assert_int_equal(fv_attention_scratch(plan, false), forward);
            fv_attention_plan_free(plan);
        }
        assert_true(bytes[1] < 16 * bytes[0]);
        call_free(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(causality),  cmocka_unit_test(batch_place),     cmocka_unit_test(padding),
        cmocka_unit_test(split_bits), cmocka_unit_test(gradients_alone), cmocka_unit_test(absent),
        cmocka_unit_test(strides),    cmocka_unit_test(decays),          cmocka_unit_test(small_beside_large),
        cmocka_unit_test(strengths),  cmocka_unit_test(refusals),        cmocka_unit_test(always_causal),
        cmocka_unit_test(costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
