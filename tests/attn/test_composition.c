/* Mechanisms made of others. Differential attention against what it is made of: its maps one by one, equal maps, lambda
 * zero, weights times values. Merging by LSE: attention over all keys is that over two sets of them, with all
 * gradients. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "attn/engine/composition/merge.h"
#include "base/base.h"
#include "fovea/attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { B = 2, H = 4, HKV = 2, LQ = 9, LK = 13, D = 6, DV = 5, HALF = D / 2 };
enum { Q = B * H * LQ * D, K = B * HKV * LK * D, V = B * HKV * LK * DV, OUT = B * H * LQ * DV, LSE = B * H * LQ };

static double *numbers(size_t count, uint64_t stream) {
    double *p = calloc(count + 1, sizeof *p);
    for (size_t i = 0; stream && i < count; i++) p[i] = fv__random_normal(5, stream, i);
    return p;
}

static double worst_of(const double *a, const double *b, size_t count) {
    double worst = 0;
    for (size_t i = 0; i < count; i++) {
        const double gap = fabs(a[i] - b[i]);
        if (!(gap <= worst)) worst = gap;
    }
    return worst;
}

/* ---- differential */

typedef struct problem {
    double *q, *k, *v, *out, *lse, lambda[4][HALF];
    fv_attention_options how;
    fv_attention_call call;
    fv_attention_tensors x;
} problem;

static problem make(const char *mechanism) {
    problem p = {numbers(Q, 1), numbers(K, 2), numbers(V, 3), numbers(OUT, 0), numbers(LSE, 0),
                 {{0}},         {0},           {0},           {{{0}}, {{0}}}};
    p.how.mechanism = mechanism;
    return p;
}

static void bind(problem *p) {
    fv_tensor *t = p->x.t;
    t[FV_Q] = fv_bhld(p->q, FV_F64, B, H, LQ, D), t[FV_K] = fv_bhld(p->k, FV_F64, B, HKV, LK, D);
    t[FV_V] = fv_bhld(p->v, FV_F64, B, HKV, LK, DV), t[FV_OUT] = fv_bhld(p->out, FV_F64, B, H, LQ, DV);
    t[FV_LSE] = fv_tensor_of(p->lse, FV_F64, 3, (int64_t[]){B, H, LQ});
    for (int i = 0; i < 4; i++) t[FV_W0 + i] = fv_tensor_1d(p->lambda[i], FV_F64, HALF);
}

static void release(problem *p) { free(p->q), free(p->k), free(p->v), free(p->out), free(p->lse); }

/* softmax over one half of the columns. */
static double *map_of(const problem *p, int half) {
    double *out = numbers(OUT, 0);
    fv_attention_tensors x = {0};
    fv_attention_options how = p->how;
    how.mechanism = "softmax";
    x.t[FV_Q] = fv_tensor_slice(p->x.t[FV_Q], 3, half * HALF, HALF);
    x.t[FV_K] = fv_tensor_slice(p->x.t[FV_K], 3, half * HALF, HALF);
    x.t[FV_V] = p->x.t[FV_V], x.t[FV_OUT] = fv_bhld(out, FV_F64, B, H, LQ, DV);
    assert_int_equal(fv_attention(&how, &p->call, &x), FV_OK);
    return out;
}

static void is_the_difference(void **state) {
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        problem p = make("differential:lambda-init=0.35");
        bind(&p);
        p.how.causal = causal ? FV_CAUSAL_LOWER_RIGHT : FV_CAUSAL_NONE;
        if (causal) p.how.window = FV_WINDOW(3, -1), p.how.dropout = 0.3, p.call.seed = 9;
        for (int i = 0; i < HALF; i++)
            p.lambda[0][i] = 0.1 * i, p.lambda[1][i] = 2, p.lambda[2][i] = .3, p.lambda[3][i] = -.2;
        const double lambda = exp(0.6) - exp(-0.18) + 0.35;
        assert_int_equal(fv_attention(&p.how, &p.call, &p.x), FV_OK);
        double *one = map_of(&p, 0), *two = map_of(&p, 1);
        for (size_t i = 0; i < OUT; i++) one[i] -= lambda * two[i];
        assert_true(worst_of(one, p.out, OUT) < 1e-13);
        free(one), free(two), release(&p);
    }
}

/* With vectors of zeros lambda is lambda-init. Equal halves are (1 - lambda) of one; lambda 0 is the first map. */
static void equal_maps(void **state) {
    (void)state;
    static const char *const names[] = {"differential:lambda-init=0.25", "differential:lambda-init=0"};
    for (int n = 0; n < 2; n++) {
        problem p = make(names[n]);
        bind(&p);
        for (int i = 0; n == 0 && i < Q; i++)
            if (i % D >= HALF) p.q[i] = p.q[i - HALF];
        for (int i = 0; n == 0 && i < K; i++)
            if (i % D >= HALF) p.k[i] = p.k[i - HALF];
        assert_int_equal(fv_attention(&p.how, NULL, &p.x), FV_OK);
        double *one = map_of(&p, 0);
        for (size_t i = 0; i < OUT; i++) one[i] *= n == 0 ? 0.75 : 1;
        assert_true(worst_of(one, p.out, OUT) < 1e-13);
        free(one), release(&p);
    }
}

static void weights_times_values(void **state) {
    (void)state;
    problem p = make("differential");
    bind(&p);
    p.how.dropout = 0.4, p.call.seed = 3;
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, &p.how, &p.x), FV_OK);
    void *scratch = malloc(fv_attention_scratch(plan, false));
    assert_int_equal(fv_attention_forward(plan, &p.call, &p.x, scratch), FV_OK);
    double w[LQ * LK], sum = 0, worst = 0;
    const fv_tensor to = fv_tensor_2d(w, FV_F64, LQ, LK);
    assert_int_equal(fv_attention_weights(plan, &p.call, &p.x, FV_CAPTURE_SOFTMAX, 1, 3, NULL, 0, &to), FV_OK);
    for (int j = 0; j < LK; j++) sum += w[j];
    assert_true(fabs(sum - (1 - 0.8)) < 1e-13); /* rows of the maps sum to one, lambda is 0.8 */
    assert_int_equal(fv_attention_weights(plan, &p.call, &p.x, FV_CAPTURE_DROPOUT, 1, 3, NULL, 0, &to), FV_OK);
    for (int i = 0; i < LQ; i++)
        for (int d = 0; d < DV; d++) {
            double out = 0;
            for (int j = 0; j < LK; j++) out += w[i * LK + j] * fv_tensor_get(&p.x.t[FV_V], (int64_t[4]){1, 1, j, d});
            const double gap = fabs(out - fv_tensor_get(&p.x.t[FV_OUT], (int64_t[4]){1, 3, i, d}));
            if (!(gap <= worst)) worst = gap;
        }
    assert_true(worst < 1e-13);
    free(scratch), fv_attention_plan_free(plan), release(&p);
}

static void says_what_it_is(void **state) {
    (void)state;
    problem p = make("differential");
    char text[512];
    bind(&p);
    fv_attention_plan *plan, *softmax;
    assert_int_equal(fv_attention_plan_create(&plan, &p.how, &p.x), FV_OK);
    fv_attention_plan_describe(plan, text, sizeof text);
    assert_non_null(strstr(text, "composition of softmax (tile f64"));
    assert_non_null(strstr(text, ") and softmax (tile f64"));
    p.how.mechanism = "softmax";
    for (int i = 0; i < 4; i++) p.x.t[FV_W0 + i].rank = 0;
    assert_int_equal(fv_attention_plan_create(&softmax, &p.how, &p.x), FV_OK);
    /* two maps of half the columns over all values */
    const double one = fv_attention_flops(softmax, NULL, false);
    assert_true(fabs(fv_attention_flops(plan, NULL, false) - one * (D + 2 * DV) / (D + DV)) < 1e-6 * one);
    assert_true(fv_attention_scratch(plan, false) > fv_attention_scratch(softmax, false));
    fv_attention_plan_free(plan), fv_attention_plan_free(softmax), release(&p);
}

/* ---- merging by LSE */

typedef struct results {
    double *out, *lse, *dq, *dk, *dv;
} results;

static results new_results(void) {
    return (results){numbers(OUT, 0), numbers(LSE, 0), numbers(Q, 0), numbers(K, 0), numbers(V, 0)};
}
static void free_results(results *r) { free(r->out), free(r->lse), free(r->dq), free(r->dk), free(r->dv); }

/* Keys [from, to) of the problem; q_offset makes their positions those they have in the whole. */
static void run_keys(const problem *p, int64_t from, int64_t to, results *r, const double *d_out, const double *d_lse,
                     bool backward) {
    fv_attention_tensors x = {0};
    x.t[FV_Q] = p->x.t[FV_Q];
    x.t[FV_K] = fv_tensor_slice(p->x.t[FV_K], 2, from, to - from);
    x.t[FV_V] = fv_tensor_slice(p->x.t[FV_V], 2, from, to - from);
    x.t[FV_OUT] = fv_bhld(r->out, FV_F64, B, H, LQ, DV);
    x.t[FV_LSE] = fv_tensor_of(r->lse, FV_F64, 3, (int64_t[]){B, H, LQ});
    x.d[FV_Q] = fv_bhld(r->dq, FV_F64, B, H, LQ, D);
    x.d[FV_K] = fv_tensor_slice(fv_bhld(r->dk, FV_F64, B, HKV, LK, D), 2, from, to - from);
    x.d[FV_V] = fv_tensor_slice(fv_bhld(r->dv, FV_F64, B, HKV, LK, DV), 2, from, to - from);
    x.d[FV_OUT] = fv_bhld((double *)(uintptr_t)d_out, FV_F64, B, H, LQ, DV);
    x.d[FV_LSE] = fv_tensor_of((double *)(uintptr_t)d_lse, FV_F64, 3, (int64_t[]){B, H, LQ});
    fv_attention_options how = {.causal = FV_CAUSAL_UPPER_LEFT};
    const fv_attention_call call = {.q_offset = 2 - from};
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, &how, &x), FV_OK);
    size_t bytes = fv_attention_scratch(plan, false), more = fv_attention_scratch(plan, true);
    void *scratch = malloc(bytes > more ? bytes : more);
    fv_status status =
        backward ? fv_attention_backward(plan, &call, &x, scratch) : fv_attention_forward(plan, &call, &x, scratch);
    assert_int_equal(status, FV_OK);
    free(scratch), fv_attention_plan_free(plan);
}

static fv__parts parts_of(results *r, int count) {
    fv__parts parts = {.count = count};
    for (int k = 0; k < count; k++) {
        parts.out[k] = fv_bhld(r[k].out, FV_F64, B, H, LQ, DV);
        parts.lse[k] = fv_tensor_of(r[k].lse, FV_F64, 3, (int64_t[]){B, H, LQ});
    }
    return parts;
}

/* Three sets of keys, the last of which the first queries do not see at all. */
static void merged_keys_are_all_keys(void **state) {
    (void)state;
    enum { PARTS = 3 };
    static const int64_t cut[PARTS + 1] = {0, 4, 8, LK};
    problem p = make("softmax");
    bind(&p);
    double *d_out = numbers(OUT, 7), *d_lse = numbers(LSE, 8);
    results whole = new_results(), merged = new_results(), part[PARTS], gradient[PARTS];
    run_keys(&p, 0, LK, &whole, d_out, d_lse, false), run_keys(&p, 0, LK, &whole, d_out, d_lse, true);
    for (int k = 0; k < PARTS; k++) {
        part[k] = new_results(), gradient[k] = new_results();
        run_keys(&p, cut[k], cut[k + 1], &part[k], d_out, d_lse, false);
    }
    fv__parts parts = parts_of(part, PARTS), all = parts_of(&merged, 1), d = parts_of(gradient, PARTS);
    fv__merge_by_lse(&parts, &all.out[0], &all.lse[0]);
    assert_true(worst_of(merged.out, whole.out, OUT) < 1e-14);
    assert_true(worst_of(merged.lse, whole.lse, LSE) < 1e-14);
    const fv_tensor of_out = fv_bhld(d_out, FV_F64, B, H, LQ, DV),
                    of_lse = fv_tensor_of(d_lse, FV_F64, 3, (int64_t[]){B, H, LQ});
    fv__merge_by_lse_backward(&parts, &of_out, &of_lse, &d);
    for (int k = 0; k < PARTS; k++) {
        run_keys(&p, cut[k], cut[k + 1], &part[k], gradient[k].out, gradient[k].lse, true);
        for (size_t i = 0; i < Q; i++) merged.dq[i] += part[k].dq[i];
        for (size_t i = 0; i < K; i++) merged.dk[i] += part[k].dk[i];
        for (size_t i = 0; i < V; i++) merged.dv[i] += part[k].dv[i];
    }
    assert_true(worst_of(merged.dq, whole.dq, Q) < 1e-13);
    assert_true(worst_of(merged.dk, whole.dk, K) < 1e-13);
    assert_true(worst_of(merged.dv, whole.dv, V) < 1e-13);
    for (int k = 0; k < PARTS; k++) free_results(&part[k]), free_results(&gradient[k]);
    free_results(&whole), free_results(&merged), free(d_out), free(d_lse), release(&p);
}

/* Nothing seen by any part: zeros and -inf; what a part without keys holds is not read. */
static void empty_parts(void **state) {
    (void)state;
    results r[2] = {new_results(), new_results()}, all = new_results(), g[2] = {new_results(), new_results()};
    for (int i = 0; i < OUT; i++) r[0].out[i] = NAN, r[1].out[i] = 3;
    for (int i = 0; i < LSE; i++) r[0].lse[i] = -INFINITY, r[1].lse[i] = i == 0 ? -INFINITY : 2;
    fv__parts parts = parts_of(r, 2), to = parts_of(&all, 1), d = parts_of(g, 2);
    fv__merge_by_lse(&parts, &to.out[0], &to.lse[0]);
    for (int i = 0; i < OUT; i++) assert_true(all.out[i] == (i < DV ? 0 : 3));
    for (int i = 0; i < LSE; i++) assert_true(all.lse[i] == (i == 0 ? -INFINITY : 2));
    fv__merge_by_lse_backward(&parts, &to.out[0], &(fv_tensor){0}, &d);
    for (int i = 0; i < OUT; i++) assert_true(g[0].out[i] == 0 && g[1].out[i] == (i < DV ? 0 : 3));
    for (int i = 0; i < LSE; i++) assert_true(g[0].lse[i] == 0 && g[1].lse[i] == 0);
    for (int k = 0; k < 2; k++) free_results(&r[k]), free_results(&g[k]);
    free_results(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_the_difference),        cmocka_unit_test(equal_maps),
                                       cmocka_unit_test(weights_times_values),     cmocka_unit_test(says_what_it_is),
                                       cmocka_unit_test(merged_keys_are_all_keys), cmocka_unit_test(empty_parts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
