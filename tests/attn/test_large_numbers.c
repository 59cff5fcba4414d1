/* Large numbers in attention: scores of 1e9, rows that a finite mask hides wholly, biases up to the largest number,
 * sinks far above the scores, 16-bit values far from 0, a dropout of 1. Weights stay weights: at most 1, with sum
 * 1, and gradients are those of these weights. */
#include "attn_call.h"

#include "fovea/statistics.h"

#include <float.h>

enum { LQ = 37, LK = 150, D = 16, DV = 20 };

/* Calls `test` on every instruction set. */
static void everywhere(void (*test)(void)) {
    for (int isa = 0; isa < FV_ISAS; isa++)
        if (fv__simd_use((fv__isa)isa)) test();
    fv__simd_use(FV_ISAS);
}

static call one_head(void) { return call_make(1, 1, 1, LQ, LK, D, DV); }

static void add_bias(call *c, float value) {
    call_give(c, FV_BIAS, false, 4, (int64_t[4]){1, 1, LQ, LK});
    for (int i = 0; i < LQ * LK; i++) c->memory[FV_BIAS][i] = value;
}

/* Without a gradient of lse. */
static void run(call *c) {
    c->x.d[FV_LSE].rank = 0;
    call_run(c);
}

/* ---- what holds of all weights */

static float weights[LQ * LK], entropy[LQ];

/* The weights of all rows, and their entropies. */
static void look(call *c) {
    fv_attention_plan *plan;
    const fv_tensor to = fv_tensor_2d(weights, FV_F32, LQ, LK);
    fv_attention_statistics want = FV_ATTENTION_STATISTICS_DEFAULT;
    want.entropy = fv_tensor_of(entropy, FV_F32, 3, (int64_t[3]){1, 1, LQ});
    assert_int_equal(fv_attention_plan_create(&plan, &c->how, &c->x), FV_OK);
    assert_int_equal(fv_attention_weights(plan, &c->call, &c->x, FV_CAPTURE_SOFTMAX, 0, 0, NULL, 0, &to), FV_OK);
    void *scratch = malloc(fv_attention_statistics_scratch(plan, &want));
    assert_int_equal(fv_attention_statistics_compute(plan, &c->call, &c->x, &want, scratch), FV_OK);
    free(scratch);
    fv_attention_plan_free(plan);
}

static void weights_are_weights(call *c) {
    look(c);
    for (int i = 0; i < LQ; i++) {
        double sum = 0;
        for (int j = 0; j < LK; j++) {
            const double p = (double)weights[i * LK + j];
            assert_true(p >= 0 && p <= 1);
            sum += p;
        }
        if (!(fabs(sum - 1) < 3e-5)) fprintf(stderr, "row %d: weights sum to %.8f\n", i, sum);
        assert_true(fabs(sum - 1) < 3e-5);
        assert_true(entropy[i] >= 0 && (double)entropy[i] < log(LK) + 1e-4);
    }
}

/* dV = P^T dO and rows of P have sum 1: the sum over the keys is that over the queries. Whatever the queries see is the
 * same when all values are: then scores have no gradient. */
static void gradients_are_theirs(call *c) {
    for (int d = 0; d < DV; d++) {
        double got = 0, want = 0;
        for (int j = 0; j < LK; j++) got += (double)c->memory[FV_OPERANDS + FV_V][j * DV + d];
        for (int i = 0; i < LQ; i++) want += (double)c->memory[FV_OPERANDS + FV_OUT][i * DV + d];
        assert_true(fabs(got - want) < 1e-4);
    }
    for (int i = 0; i < LK * DV; i++) c->memory[FV_V][i] = c->memory[FV_V][i % DV];
    double size = 1e-30;
    for (int i = 0; i < LK * D; i++) size = fmax(size, (double)fabsf(c->memory[FV_K][i]));
    run(c);
    for (int i = 0; i < LQ * D; i++) assert_true(fabs((double)c->memory[FV_OPERANDS + FV_Q][i]) < 1e-4 * size);
}

static void check_all(call *c) {
    run(c);
    weights_are_weights(c);
    gradients_are_theirs(c);
    call_free(c);
}

/* ---- scores */

static void large_scores_one(void) {
    static const double sizes[] = {1, 50, 4.6e4, 1e6, 1e9, 1e15};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
        for (int cap = 0; cap < 2; cap++) {
            call c = one_head();
            c.how.softcap = cap ? 3 * sizes[n] : 0;
            c.how.scale = 1;
            for (int i = 0; i < LQ * D; i++) c.memory[FV_Q][i] *= (float)sqrt(sizes[n]);
            for (int i = 0; i < LK * D; i++) c.memory[FV_K][i] *= (float)sqrt(sizes[n]);
            check_all(&c);
        }
}
static void large_scores(void **state) { (void)state, everywhere(large_scores_one); }

/* Half of the rows are hidden by a number that is not infinite. */
static void finite_masks_one(void) {
    static const float hidden[] = {-1e4f, -1e9f, -1e30f, -FLT_MAX, 1e9f, FLT_MAX};
    for (size_t n = 0; n < sizeof hidden / sizeof *hidden; n++) {
        call c = one_head();
        add_bias(&c, 0);
        for (int i = 0; i < LQ * LK; i++) c.memory[FV_BIAS][i] = i / LK % 2 ? hidden[n] : 0;
        run(&c);
        weights_are_weights(&c);
        for (int i = 1; i < LQ && fabsf(hidden[n]) > 1e8f; i += 2) {
            const double want = (double)hidden[n], lse = (double)c.memory[FV_LSE][i];
            assert_true(fabs(lse - want) <= 1e-6 * fabs(want));
            for (int j = 0; j < LK; j++) assert_true(fabs((double)weights[i * LK + j] * LK - 1) < 1e-5);
            for (int d = 0; d < DV; d++) {
                double mean = 0;
                for (int j = 0; j < LK; j++) mean += (double)c.memory[FV_V][j * DV + d] / LK;
                assert_true(fabs((double)c.memory[FV_OUT][i * DV + d] - mean) < 1e-6);
            }
            assert_true(fabs((double)entropy[i] - log(LK)) < 1e-4);
        }
        gradients_are_theirs(&c);
        call_free(&c);
    }
}
static void finite_masks(void **state) { (void)state, everywhere(finite_masks_one); }

/* Beyond 2^127 biases still differ: the largest takes all. */
static void largest_biases_one(void) {
    static const float pairs[][2] = {{-FLT_MAX, -3.3e38f}, {-3.3e38f, -2.4e38f}, {-1.75e38f, -1.65e38f},
                                     {1.65e38f, 1.75e38f}, {2.4e38f, 3.3e38f},   {3.3e38f, FLT_MAX}};
    for (size_t n = 0; n < sizeof pairs / sizeof *pairs; n++) {
        call c = one_head();
        add_bias(&c, pairs[n][0]);
        for (int i = 0; i < LQ; i++) c.memory[FV_BIAS][i * LK + 7] = pairs[n][1];
        run(&c);
        look(&c);
        for (int i = 0; i < LQ * LK; i++) assert_true(weights[i] == (i % LK == 7));
        for (int i = 0; i < LQ * DV; i++) assert_true(c.memory[FV_OUT][i] == c.memory[FV_V][7 * DV + i % DV]);
        for (int i = 0; i < LQ; i++)
            assert_true(fabs((double)c.memory[FV_LSE][i] - (double)pairs[n][1]) <= 1e-6 * fabs((double)pairs[n][1]));
        gradients_are_theirs(&c);
        call_free(&c);
    }
}
static void largest_biases(void **state) { (void)state, everywhere(largest_biases_one); }

/* A log-sum-exp over more keys than these is taken as it is, also where it is large. */
static void merged_lse_one(void) {
    call c = one_head();
    add_bias(&c, -1e4f);
    run(&c);
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, &c.how, &c.x), FV_OK);
    void *scratch = malloc(fv_attention_scratch(plan, true));
    for (int i = 0; i < LQ; i++) c.memory[FV_LSE][i] += 2;
    assert_int_equal(fv_attention_backward(plan, &c.call, &c.x, scratch), FV_OK);
    for (int d = 0; d < DV; d++) {
        double got = 0, want = 0;
        for (int j = 0; j < LK; j++) got += (double)c.memory[FV_OPERANDS + FV_V][j * DV + d];
        for (int i = 0; i < LQ; i++) want += exp(-2) * (double)c.memory[FV_OPERANDS + FV_OUT][i * DV + d];
        assert_true(fabs(got - want) < 1e-2 * (fabs(want) + 1));
    }
    free(scratch);
    fv_attention_plan_free(plan);
    call_free(&c);
}
static void merged_lse(void **state) { (void)state, everywhere(merged_lse_one); }

/* ---- sinks */

/* Gradients of values by the definition. */
static void check_sink(call *c, double sink) {
    double want[LK][DV] = {{0}}, worst = 0, size = 0;
    for (int i = 0; i < LQ; i++) {
        double s[LK], sum = exp(sink);
        for (int j = 0; j < LK; j++) {
            s[j] = 0;
            for (int d = 0; d < D; d++) s[j] += (double)c->memory[FV_Q][i * D + d] * (double)c->memory[FV_K][j * D + d];
            s[j] = exp(s[j] / sqrt(D)), sum += s[j];
        }
        for (int j = 0; j < LK; j++)
            for (int d = 0; d < DV; d++) want[j][d] += s[j] / sum * (double)c->memory[FV_OPERANDS + FV_OUT][i * DV + d];
    }
    for (int i = 0; i < LK * DV; i++) {
        worst = fmax(worst, fabs((double)c->memory[FV_OPERANDS + FV_V][i] - want[i / DV][i % DV]));
        size = fmax(size, fabs(want[i / DV][i % DV]));
    }
    assert_true(worst <= 1e-4 * size + 1e-38);
}

static void sinks_one(void) {
    static const double sinks[] = {0, 30, 50, 75, INFINITY};
    for (int n = 0; n < 5; n++) {
        call c = one_head();
        for (int g = 0; g < 2; g++) call_give(&c, FV_SINKS, g, 1, (int64_t[1]){1});
        c.memory[FV_SINKS][0] = (float)sinks[n];
        run(&c);
        if (sinks[n] < INFINITY) {
            check_sink(&c, sinks[n]);
        } else {
            const fv_operand all[] = {FV_Q, FV_K, FV_V, FV_SINKS};
            for (int i = 0; i < LQ * DV; i++) assert_true(c.memory[FV_OUT][i] == 0);
            for (int p = 0; p < 4; p++)
                for (int64_t i = 0; i < fv_tensor_count(&c.x.d[all[p]]); i++)
                    assert_true(c.memory[FV_OPERANDS + (int)all[p]][i] == 0);
        }
        call_free(&c);
    }
}
static void sinks(void **state) { (void)state, everywhere(sinks_one); }

/* ---- 16 bits */

static void copy_as(fv_tensor *to, const fv_tensor *from, fv_dtype dtype, void *memory) {
    *to = fv_tensor_of(memory, dtype, from->rank, from->dim);
    assert_int_equal(fv_tensor_copy(to, from), FV_OK);
}

/* Values of 100 +- 1: the gradients of the scores come from the differences. Against f64, with the output kept in f32
 * or made again. */
static void far_values(void **state) {
    (void)state;
    static const fv_operand inputs[] = {FV_Q, FV_K, FV_V};
    static double memory[3][2][LK * DV * 8];
    for (int what = 0; what < 4; what++) {
        const fv_dtype dtype = what % 2 ? FV_BF16 : FV_F16;
        call c = one_head();
        fv_attention_tensors x = {0}, y = {0};
        float aux[LQ * DV];
        double lse[2][LQ], out[4][LQ * DV];
        for (int i = 0; i < LK * DV; i++) c.memory[FV_V][i] += 100;
        for (int p = 0; p < 3; p++) {
            copy_as(&x.t[inputs[p]], &c.x.t[inputs[p]], dtype, memory[p][0]);
            copy_as(&y.t[inputs[p]], &x.t[inputs[p]], FV_F64, memory[p][1]);
        }
        copy_as(&x.d[FV_OUT], &c.x.d[FV_OUT], dtype, out[0]), copy_as(&y.d[FV_OUT], &x.d[FV_OUT], FV_F64, out[1]);
        const int64_t rows[4] = {1, 1, LQ, DV};
        x.t[FV_OUT] = fv_tensor_of(out[2], dtype, 4, rows), y.t[FV_OUT] = fv_tensor_of(out[3], FV_F64, 4, rows);
        x.t[FV_LSE] = fv_tensor_of(lse[0], FV_F32, 3, rows), y.t[FV_LSE] = fv_tensor_of(lse[1], FV_F64, 3, rows);
        if (what > 1) {
            assert_int_equal(fv_attention_operand_shape(NULL, &x, FV_AUX, &x.t[FV_AUX]), FV_OK);
            assert_true(x.t[FV_AUX].rank == 4 && x.t[FV_AUX].dtype == FV_F32 && x.t[FV_AUX].dim[3] == DV);
            x.t[FV_AUX].data = aux;
        }
        static uint16_t dq[LQ * D];
        static double want[LQ * D];
        x.d[FV_Q] = fv_tensor_of(dq, dtype, 4, (int64_t[4]){1, 1, LQ, D});
        y.d[FV_Q] = fv_tensor_of(want, FV_F64, 4, (int64_t[4]){1, 1, LQ, D});
        assert_int_equal(fv_attention(NULL, NULL, &x), FV_OK);
        assert_int_equal(fv_attention(NULL, NULL, &y), FV_OK);
        double gap = 0, size = 0;
        for (int64_t i = 0; i < LQ * D; i++) {
            const double got = fv_tensor_get(&x.d[FV_Q], (int64_t[4]){0, 0, i / D, i % D});
            gap += (got - want[i]) * (got - want[i]), size += want[i] * want[i];
        }
        assert_true(sqrt(gap / size) < 0.01);
        call_free(&c);
    }
}

/* ---- dropout */

static void nothing_left_one(void) {
    call c = one_head();
    c.how.dropout = 1;
    run(&c);
    for (int i = 0; i < LQ * DV; i++) assert_true(c.memory[FV_OUT][i] == 0);
    const fv_operand all[] = {FV_Q, FV_K, FV_V};
    for (int p = 0; p < 3; p++)
        for (int64_t i = 0; i < fv_tensor_count(&c.x.d[all[p]]); i++)
            assert_true(c.memory[FV_OPERANDS + (int)all[p]][i] == 0);
    call_free(&c);
}
static void nothing_left(void **state) { (void)state, everywhere(nothing_left_one); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_scores), cmocka_unit_test(finite_masks), cmocka_unit_test(largest_biases),
        cmocka_unit_test(merged_lse),   cmocka_unit_test(sinks),        cmocka_unit_test(far_values),
        cmocka_unit_test(nothing_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
