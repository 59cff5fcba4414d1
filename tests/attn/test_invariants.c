/* Laws exact attention obeys whatever the numbers: equal bits where two calls mean the same, nothing from what is
 * hidden, identities of the gradients, known answers, refusals. */
#include "attn_call.h"

/* ---- small dense calls */

static float *data(call *c, fv_operand p) { return c->memory[p]; }
static float *grad(call *c, fv_operand p) { return c->memory[FV_OPERANDS + p]; }

static void copy_inputs(call *to, const call *from) {
    for (int p = 0; p < 2 * FV_OPERANDS; p++)
        if (to->memory[p] && from->memory[p])
            memcpy(to->memory[p], from->memory[p],
                   (size_t)fv_tensor_count(p < FV_OPERANDS ? &to->x.t[p] : &to->x.d[p - FV_OPERANDS]) * 4);
}

/* ---- bits */

/* 1, 2, 3 and 4 threads: the same bytes of every output and gradient. */
static void one_thread_law(const char *text, uint64_t seed, int64_t longest) {
    attn_case first, again;
    fv_set_threads(1);
    case_make(&first, text, seed, FV_F32, longest);
    assert_int_equal(case_run(&first, RUN_FORWARD | RUN_BACKWARD), FV_OK);
    for (int threads = 2; threads <= 4; threads++) {
        fv_set_threads(threads);
        case_make(&again, text, seed, FV_F32, longest);
        assert_int_equal(case_run(&again, RUN_FORWARD | RUN_BACKWARD), FV_OK);
        for (int p = 0; p < FV_OPERANDS; p++) {
            if (fv_operand_is(p, FV_ROLE_RESULT) && first.x.t[p].rank)
                assert_true(same_bytes(&first.x.t[p], &again.x.t[p]));
            if (fv_operand_is(p, FV_ROLE_DIFFERENTIABLE) && first.x.d[p].rank)
                assert_true(same_bytes(&first.x.d[p], &again.x.d[p]));
        }
        case_free(&again);
    }
    case_free(&first);
    fv_set_threads(0);
}
static void threads_law(void **state) {
    (void)state;
    for (size_t m = 0; m < fv_mechanism_count(); m++)
        for (uint64_t seed = 1; case_example(m, 0) && seed <= 24; seed++)
            one_thread_law(case_example(m, 0), seed, seed % 12 == 0 ? 700 : 150);
}

/* A sequence alone, in a batch, and among packed ones. */
static void batch_law(void **state) {
    (void)state;
    enum { B = 3, H = 2, L = 83, D = 20, DV = 13 };
    call all = call_make(B, H, H, L, L, D, DV);
    all.how.causal = FV_CAUSAL_UPPER_LEFT, all.how.window = FV_WINDOW(30, -1);
    call_run(&all);
    for (int64_t b = 0; b < B; b++) {
        call one = call_make(1, H, H, L, L, D, DV);
        one.how = all.how, one.call = all.call;
        for (int g = 0; g < 2; g++)
            for (int p = 0; p < FV_OPERANDS; p++)
                if (p != FV_LSE && one.memory[g * FV_OPERANDS + p]) {
                    const size_t count = (size_t)fv_tensor_count(g ? &one.x.d[p] : &one.x.t[p]);
                    memcpy(one.memory[g * FV_OPERANDS + p], all.memory[g * FV_OPERANDS + p] + (size_t)b * count,
                           count * 4);
                }
        memcpy(grad(&one, FV_LSE), grad(&all, FV_LSE) + b * H * L, H * L * 4);
        call_run(&one);
        assert_memory_equal(data(&one, FV_OUT), data(&all, FV_OUT) + b * H * L * DV, H * L * DV * 4);
        assert_memory_equal(grad(&one, FV_Q), grad(&all, FV_Q) + b * H * L * D, H * L * D * 4);
        assert_memory_equal(grad(&one, FV_K), grad(&all, FV_K) + b * H * L * D, H * L * D * 4);
        call_free(&one);
    }
    call_free(&all);
}

static void packed_law(void **state) {
    (void)state;
    enum { H = 2, D = 24, N = 5, TOTAL = 400 };
    int32_t cu[N + 1] = {0, 1, 130, 130, 333, TOTAL};
    call all = call_make(1, H, 1, TOTAL, TOTAL, D, D);
    all.how.causal = FV_CAUSAL_LOWER_RIGHT;
    all.x.t[FV_CU_Q] = fv_tensor_1d(cu, FV_I32, N + 1);
    call_run(&all);
    for (int n = 0; n < N; n++) {
        const int64_t start = cu[n], length = cu[n + 1] - start;
        call one = call_make(1, H, 1, length, length, D, D);
        one.how = all.how, one.call = all.call;
        for (int g = 0; g < 2; g++)
            for (int p = 0; p < FV_OPERANDS; p++)
                for (int64_t h = 0;
                     p != FV_LSE && one.memory[g * FV_OPERANDS + p] && h < (g ? one.x.d[p] : one.x.t[p]).dim[1]; h++)
                    memcpy(one.memory[g * FV_OPERANDS + p] + h * length * D,
                           all.memory[g * FV_OPERANDS + p] + (h * TOTAL + start) * D, (size_t)(length * D) * 4);
        for (int64_t h = 0; h < H; h++)
            memcpy(grad(&one, FV_LSE) + h * length, grad(&all, FV_LSE) + h * TOTAL + start, (size_t)length * 4);
        call_run(&one);
        for (int64_t h = 0; h < H; h++) {
            assert_memory_equal(data(&one, FV_OUT) + h * length * D, data(&all, FV_OUT) + (h * TOTAL + start) * D,
                                (size_t)(length * D) * 4);
            assert_memory_equal(grad(&one, FV_Q) + h * length * D, grad(&all, FV_Q) + (h * TOTAL + start) * D,
                                (size_t)(length * D) * 4);
        }
        assert_memory_equal(grad(&one, FV_V), grad(&all, FV_V) + start * D, (size_t)(length * D) * 4);
        assert_memory_equal(grad(&one, FV_K), grad(&all, FV_K) + start * D, (size_t)(length * D) * 4);
        call_free(&one);
    }
    call_free(&all);
}

static void grouped_law(void **state) {
    (void)state;
    enum { H = 4, KV = 2, L = 97, D = 16 };
    call a = call_make(1, H, KV, L, L, D, D), b = call_make(1, H, H, L, L, D, D);
    copy_inputs(&a, &b);
    for (int64_t h = 0; h < H; h++) {
        memcpy(data(&b, FV_K) + h * L * D, data(&a, FV_K) + h / 2 * L * D, L * D * 4);
        memcpy(data(&b, FV_V) + h * L * D, data(&a, FV_V) + h / 2 * L * D, L * D * 4);
    }
    call_run(&a), call_run(&b);
    assert_memory_equal(data(&a, FV_OUT), data(&b, FV_OUT), H * L * D * 4);
    assert_memory_equal(data(&a, FV_LSE), data(&b, FV_LSE), H * L * 4);
    assert_memory_equal(grad(&a, FV_Q), grad(&b, FV_Q), H * L * D * 4);
    for (int64_t i = 0; i < KV * L * D; i++) {
        const int64_t at = i / (L * D) * 2 * L * D + i % (L * D);
        assert_true(fabsf(grad(&a, FV_K)[i] - grad(&b, FV_K)[at] - grad(&b, FV_K)[at + L * D]) < 1e-5f);
    }
    call_free(&a), call_free(&b);
}

/* A window as long as the sequence is no window; a later token changes no earlier row of a causal call. */
static void window_law(void **state) {
    (void)state;
    call a = call_make(2, 2, 2, 150, 150, 32, 32), b = call_make(2, 2, 2, 150, 150, 32, 32);
    copy_inputs(&b, &a);
    b.how.window = FV_WINDOW(150, 150);
    call_run(&a), call_run(&b);
    assert_memory_equal(data(&a, FV_OUT), data(&b, FV_OUT), 2 * 2 * 150 * 32 * 4);
    assert_memory_equal(grad(&a, FV_Q), grad(&b, FV_Q), 2 * 2 * 150 * 32 * 4);
    assert_memory_equal(grad(&a, FV_K), grad(&b, FV_K), 2 * 2 * 150 * 32 * 4);
    call_free(&a), call_free(&b);
}

static void prefix_law(void **state) {
    (void)state;
    enum { L = 301, D = 24 };
    call whole = call_make(1, 1, 1, L, L, D, D);
    whole.how.causal = FV_CAUSAL_UPPER_LEFT;
    call_run(&whole);
    for (int64_t t = 1; t < L; t += 7) {
        call part = call_make(1, 1, 1, t, t, D, D);
        part.how = whole.how, part.call = whole.call;
        for (int p = 0; p < FV_OPERANDS; p++)
            if (fv_operand_is_qkv(p)) memcpy(data(&part, p), data(&whole, p), (size_t)(t * D) * 4);
        call_run(&part);
        assert_memory_equal(data(&part, FV_OUT), data(&whole, FV_OUT), (size_t)(t * D) * 4);
        assert_memory_equal(data(&part, FV_LSE), data(&whole, FV_LSE), (size_t)t * 4);
        call_free(&part);
    }
    call_free(&whole);
}

/* ---- nothing from what is hidden */

/* Every third key is hidden from all queries, two queries see nothing: NaN there changes no bit of anything else. */
static void hidden_law(void **state) {
    (void)state;
    enum { LQ = 70, LK = 141, D = 16 };
    call a = call_make(1, 1, 1, LQ, LK, D, D), b = call_make(1, 1, 1, LQ, LK, D, D);
    static unsigned char keep[LQ * LK];
    for (int i = 0; i < LQ * LK; i++) keep[i] = i % LK % 3 != 1 && i / LK != 5 && i / LK != LQ - 1;
    const int64_t dim[4] = {1, 1, LQ, LK};
    copy_inputs(&b, &a);
    a.x.t[FV_MASK] = b.x.t[FV_MASK] = fv_tensor_of(keep, FV_U8, 4, dim);
    for (int64_t j = 1; j < LK; j += 3)
        for (int d = 0; d < D; d++) data(&b, FV_K)[j * D + d] = NAN, data(&b, FV_V)[j * D + d] = j % 2 ? NAN : INFINITY;
    for (int d = 0; d < D; d++)
        data(&b, FV_Q)[5 * D + d] = data(&b, FV_Q)[(LQ - 1) * D + d] = NAN, grad(&b, FV_OUT)[5 * D + d] = NAN;
    call_run(&a), call_run(&b);
    assert_memory_equal(data(&a, FV_OUT), data(&b, FV_OUT), LQ * D * 4);
    assert_memory_equal(data(&a, FV_LSE), data(&b, FV_LSE), LQ * 4);
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is_qkv(p)) assert_memory_equal(grad(&a, p), grad(&b, p), (p ? LK : LQ) * D * 4);
    for (int d = 0; d < D; d++) {
        assert_true(data(&a, FV_OUT)[5 * D + d] == 0 && grad(&a, FV_Q)[5 * D + d] == 0);
        assert_true(grad(&a, FV_K)[D + d] == 0 && grad(&a, FV_V)[4 * D + d] == 0);
    }
    assert_true(data(&a, FV_LSE)[5] == -INFINITY && data(&a, FV_LSE)[LQ - 1] == -INFINITY);
    call_free(&a), call_free(&b);
}

/* NaN in the future of a causal call reaches only the rows that see it. */
static void future_law(void **state) {
    (void)state;
    enum { L = 130, D = 16, FROM = 77 };
    call a = call_make(1, 1, 1, L, L, D, D), b = call_make(1, 1, 1, L, L, D, D);
    a.how.causal = b.how.causal = FV_CAUSAL_UPPER_LEFT;
    copy_inputs(&b, &a);
    for (int64_t i = FROM * D; i < L * D; i++) data(&b, FV_K)[i] = data(&b, FV_V)[i] = NAN;
    call_run(&a), call_run(&b);
    assert_memory_equal(data(&a, FV_OUT), data(&b, FV_OUT), FROM * D * 4);
    assert_memory_equal(grad(&a, FV_Q), grad(&b, FV_Q), FROM * D * 4);
    assert_true(isnan(data(&b, FV_OUT)[FROM * D]));
    call_free(&a), call_free(&b);
}

/* ---- identities that need no oracle */

static void identities(void **state) {
    (void)state;
    enum { H = 2, L = 190, D = 32 };
    call c = call_make(1, H, H, L, L, D, D);
    c.how.window = FV_WINDOW(60, -1);
    memset(grad(&c, FV_LSE), 0, H * L * 4);
    call_run(&c);
    for (int h = 0; h < H; h++) {
        double sum_dk[D] = {0}, sum_dv[D] = {0}, sum_do[D] = {0}, qq = 0, kk = 0, vv = 0, oo = 0;
        for (int i = 0; i < L; i++)
            for (int d = 0; d < D; d++) {
                const int at = (h * L + i) * D + d;
                sum_dk[d] += (double)grad(&c, FV_K)[at], sum_dv[d] += (double)grad(&c, FV_V)[at],
                    sum_do[d] += (double)grad(&c, FV_OUT)[at];
                qq += (double)(grad(&c, FV_Q)[at] * data(&c, FV_Q)[at]),
                    kk += (double)(grad(&c, FV_K)[at] * data(&c, FV_K)[at]);
                vv += (double)(grad(&c, FV_V)[at] * data(&c, FV_V)[at]),
                    oo += (double)(grad(&c, FV_OUT)[at] * data(&c, FV_OUT)[at]);
            }
        for (int d = 0; d < D; d++) assert_true(fabs(sum_dk[d]) < 1e-5 && fabs(sum_dv[d] - sum_do[d]) < 1e-4);
        assert_true(fabs(qq - kk) < 1e-5 && fabs(vv - oo) < 1e-4);
    }
    call_free(&c);
}

/* V = 1 gives O = 1; the same vector added to all keys changes nothing; V times a power of two scales O exactly. */
static void shift_law(void **state) {
    (void)state;
    enum { L = 140, D = 24 };
    call a = call_make(1, 1, 1, L, L, D, D), b = call_make(1, 1, 1, L, L, D, D);
    copy_inputs(&b, &a);
    for (int i = 0; i < L * D; i++) data(&b, FV_K)[i] += (float)(i % D) * 0.125f, data(&b, FV_V)[i] *= 8;
    call_run(&a), call_run(&b);
    for (int i = 0; i < L * D; i++) assert_true(fabsf(8 * data(&a, FV_OUT)[i] - data(&b, FV_OUT)[i]) < 3e-5f);
    for (int i = 0; i < L * D; i++) data(&b, FV_V)[i] = 1;
    call_run(&b);
    for (int i = 0; i < L * D; i++) assert_true(fabsf(data(&b, FV_OUT)[i] - 1) < 1e-6f);
    call_free(&a), call_free(&b);
}

/* Scores of +-1e4: finite, and a sharp maximum takes all. */
static void extremes(void **state) {
    (void)state;
    call c = call_make(1, 1, 1, 40, 70, 8, 8);
    c.how.scale = 5000;
    call_run(&c);
    for (int i = 0; i < 40; i++) {
        int best = 0;
        double top = -INFINITY, second = -INFINITY;
        for (int j = 0; j < 70; j++) {
            double s = 0;
            for (int d = 0; d < 8; d++)
                s += 5000.0 * (double)data(&c, FV_Q)[i * 8 + d] * (double)data(&c, FV_K)[j * 8 + d];
            if (s > top)
                second = top, top = s, best = j;
            else if (s > second)
                second = s;
        }
        assert_true(fabs((double)data(&c, FV_LSE)[i] - top) < 0.02 + (top - second < 30 ? 1 : 0));
        for (int d = 0; d < 8 && top - second > 30; d++)
            assert_true(fabsf(data(&c, FV_OUT)[i * 8 + d] - data(&c, FV_V)[best * 8 + d]) < 1e-6f);
    }
    for (int i = 0; i < 70 * 8; i++) assert_true(isfinite(grad(&c, FV_K)[i]) && isfinite(grad(&c, FV_V)[i]));
    call_free(&c);
}

/* ---- known answers */

static void known_answers(void **state) {
    (void)state;
    call c = call_make(1, 1, 1, 1, 2, 2, 2);
    const float q[2] = {1, 0}, eye[4] = {1, 0, 0, 1};
    memcpy(data(&c, FV_Q), q, 8), memcpy(data(&c, FV_K), eye, 16), memcpy(data(&c, FV_V), eye, 16);
    call_run(&c);
    assert_true(fabsf(data(&c, FV_OUT)[0] - 0.669762f) < 1e-6f && fabsf(data(&c, FV_OUT)[1] - 0.330238f) < 1e-6f);
    assert_true(fabsf(data(&c, FV_LSE)[0] - 1.107940f) < 1e-6f);
    call_free(&c);

    /* hidden scores are minus infinity, not zero */
    call s = call_make(1, 1, 1, 1, 6, 1, 6);
    const float scores[6] = {.43f, -.21f, .99f, 0, 0, 0}, all[6] = {.1912f, .1008f, .3348f, .1244f, .1244f, .1244f};
    const float seen[6] = {.3051f, .1609f, .5341f, 0, 0, 0};
    data(&s, FV_Q)[0] = 1;
    for (int i = 0; i < 36; i++) data(&s, FV_V)[i] = i % 7 == 0;
    memcpy(data(&s, FV_K), scores, sizeof scores);
    call_run(&s);
    for (int i = 0; i < 6; i++) assert_true(fabsf(data(&s, FV_OUT)[i] - all[i]) < 1e-4f);
    int32_t length = 3;
    s.x.t[FV_KV_LEN] = fv_tensor_1d(&length, FV_I32, 1);
    call_run(&s);
    for (int i = 0; i < 6; i++) assert_true(fabsf(data(&s, FV_OUT)[i] - seen[i]) < 1e-4f);
    s.x.t[FV_KV_LEN].rank = 0;
    s.how.mechanism = "topk:k=3"; /* .99, .43 and the first of the zeros */
    call_run(&s);
    const double sum = exp(.99) + exp(.43) + 1;
    const double top[6] = {exp(.43) / sum, 0, exp(.99) / sum, 1 / sum, 0, 0};
    for (int i = 0; i < 6; i++) assert_true(fabs((double)data(&s, FV_OUT)[i] - top[i]) < 1e-6);
    call_free(&s);
}

/* With w = 0 additive attention is the mean of the visible values. */
static void additive_uniform(void **state) {
    (void)state;
    call c = call_make(1, 1, 1, 3, 5, 4, 2);
    float w[4] = {0};
    c.how.mechanism = "additive";
    c.x.t[FV_W0] = fv_tensor_2d(w, FV_F32, 1, 4);
    call_run(&c);
    for (int d = 0; d < 2; d++) {
        float mean = 0;
        for (int j = 0; j < 5; j++) mean += data(&c, FV_V)[j * 2 + d] / 5;
        for (int i = 0; i < 3; i++) assert_true(fabsf(data(&c, FV_OUT)[i * 2 + d] - mean) < 1e-6f);
    }
    call_free(&c);
}

/* Weights of chosen rows: those of the forward, with every feature. sum_j P_ij v_j is the output. */
static void one_weights(const char *text, uint64_t seed) {
    attn_case c;
    case_make(&c, text, seed, FV_F64, 60);
    c.how.dropout = 0;
    c.x.t[FV_STATE].rank = c.x.d[FV_STATE].rank = 0; /* what it gives is no key's */
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, &c.how, &c.x), FV_OK);
    void *scratch = malloc(fv_attention_scratch(plan, false));
    assert_int_equal(fv_attention_forward(plan, &c.call, &c.x, scratch), FV_OK);
    for (int64_t n = 0; n < plan->sequences; n++) {
        const fv__sequence s = fv__attn_sequence(&(fv__run){plan, &c.x, c.call}, n);
        if (!s.q_len) continue;
        const int64_t rows[2] = {0, s.q_len - 1}, head = c.h - 1, kv = head * c.kv / c.h;
        double *w = malloc((size_t)(2 * c.lk + 1) * 8);
        const fv_tensor to = fv_tensor_2d(w, FV_F64, 2, c.lk);
        assert_int_equal(fv_attention_weights(plan, &c.call, &c.x, FV_CAPTURE_SOFTMAX, n, head, rows, 2, &to), FV_OK);
        for (int r = 0; r < 2; r++)
            for (int64_t d = 0; d < c.dv; d++) {
                double sum = 0;
                for (int64_t j = 0; j < s.k_len; j++) {
                    const int64_t at[4] = {s.batch, kv, s.k_start + j, d};
                    if (w[r * c.lk + j] != 0) sum += w[r * c.lk + j] * fv_tensor_get(&c.x.t[FV_V], at);
                }
                const int64_t at[4] = {s.batch, head, s.q_start + rows[r], d};
                assert_true(fabs(sum - fv_tensor_get(&c.x.t[FV_OUT], at)) < 1e-12);
            }
        free(w);
    }
    free(scratch);
    fv_attention_plan_free(plan);
    case_free(&c);
}
static void weights_law(void **state) {
    (void)state;
    for (size_t m = 0; m < fv_mechanism_count(); m++)
        for (uint64_t seed = 1; case_example(m, 0) && seed <= 60; seed++) one_weights(case_example(m, 0), seed);
}

/* ---- promises of the plan */

static void scratch_is_linear(void **state) {
    (void)state;
    fv_attention_tensors x = {0};
    const int64_t lse[3] = {1, 1, 65536};
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is_qkv(p)) x.t[p] = x.d[p] = fv_bhld(NULL, FV_F32, 1, 1, 65536, 64);
    x.t[FV_OUT] = x.d[FV_OUT] = x.t[FV_Q], x.t[FV_LSE] = fv_tensor_of(NULL, FV_F32, 3, lse);
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.dropout = 0.1;
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, &how, &x), FV_OK);
    assert_true(fv_attention_scratch(plan, false) < 8 << 20 && fv_attention_scratch(plan, true) < 64 << 20);
    char text[400];
    assert_true(fv_attention_plan_describe(plan, text, sizeof text) > 20 && strstr(text, "softmax: tile f32"));
    assert_true(fv_attention_flops(plan, NULL, true) == 2.5 * fv_attention_flops(plan, NULL, false));
    fv_attention_plan_free(plan);
}

static void refusals(void **state) {
    (void)state;
    call good = call_make(2, 4, 2, 10, 12, 8, 6), c = good;
    call_run(&good);
    c.how.mechanism = "softmx", call_refused(&c, "try:     softmax");
    c.how.mechanism = "topk:k=0", call_refused(&c, "\"k\"");
    c.how.mechanism = "topk:q=1", call_refused(&c, "q");
    c.how.mechanism = "topk:k", call_refused(&c, "name=value");
    c.how.mechanism = "softmax:k=1", call_refused(&c, "no parameters");
    c = good, c.how.dropout = 1.01, call_refused(&c, "dropout");
    c = good, c.how.scale = NAN, call_refused(&c, "scale");
    c = good, c.how.softcap = -1, call_refused(&c, "softcap");
    c = good, c.how.window = FV_WINDOW(-2, -1), call_refused(&c, "window");
    c = good, c.how.window.left = 5, call_refused(&c, "FV_WINDOW(5, 0)");
    c = good, c.how.reserved[0] = 1, call_refused(&c, "reserved words of fv_attention_options");
    c = good, c.how.mechanism = "topk", c.how.softcap = 1, call_refused(&c, "softcap");
    c = good, c.how.mechanism = "topk", c.how.dropout = 0.5, call_refused(&c, "dropout");
    c = good, c.x.t[FV_V].rank = 0, c.x.d[FV_V].rank = 0, call_refused(&c, "expected operand \"v\"");
    c = good, c.x.t[FV_K].dim[2] = 11, call_refused(&c, "gradient");
    c = good, c.x.t[FV_K].dim[1] = c.x.d[FV_K].dim[1] = 3, call_refused(&c, "divides the heads");
    c = good, c.x.t[FV_K].dim[3] = c.x.d[FV_K].dim[3] = 7, call_refused(&c, "(B,Hkv,Lk,D)");
    c = good, c.x.t[FV_Q].stride[3] = 2, call_refused(&c, "unit stride");
    c = good, c.x.t[FV_Q].dtype = FV_I32, call_refused(&c, "f32 or f64");
    c = good, c.x.t[FV_K].dtype = FV_F64, call_refused(&c, "as q");
    c = good, c.x.t[FV_Q].dim[0] = c.x.t[FV_Q].dim[2] = INT64_MAX / 2, call_refused(&c, "fits in memory");
    c = good, c.x.t[FV_Q].dim[0] = -1, call_refused(&c, "fits in memory");
    c = good, c.x.t[FV_LSE].rank = 0, c.x.d[FV_LSE].rank = 0, call_refused(&c, "lse");
    c = good, c.x.t[FV_OUT].rank = 0, c.x.d[FV_OUT].rank = 0, call_refused(&c, "\"out\"");
    c = good, c.x.t[FV_Q].data = NULL, call_refused(&c, "expected data");
    c = good, c.x.t[FV_BETA] = c.x.t[FV_LSE], call_refused(&c, "does not take operand \"beta\"");
    int32_t live[2] = {3, 13}, cu[3] = {0, 7, 9};
    c = good, c.x.t[FV_KV_LEN] = fv_tensor_1d(live, FV_I32, 2), call_refused(&c, "0 to 12");
    c = good, c.x.t[FV_CU_Q] = fv_tensor_1d(cu, FV_I32, 3), call_refused(&c, "batch 1");
    call_free(&good);
    call p = call_make(1, 1, 1, 10, 10, 4, 4);
    p.x.t[FV_CU_Q] = fv_tensor_1d(cu, FV_I32, 3),
    call_refused(&p, "last element\n  expected the number of packed rows, 10\n  found:   9");
    cu[1] = 11, call_refused(&p, "do not fall");
    cu[1] = 7, cu[2] = 10, call_run(&p);
    call_free(&p);
}

/* No queries, no keys, one of each. */
static void empties(void **state) {
    (void)state;
    for (int64_t lq = 0; lq < 2; lq++)
        for (int64_t lk = 0; lk < 2; lk++) {
            call c = call_make(2, 2, 1, lq, lk, 5, 3);
            call_run(&c);
            for (int64_t i = 0; i < 4 * lq && lk == 0; i++)
                assert_true(data(&c, FV_LSE)[i] == -INFINITY && data(&c, FV_OUT)[3 * i] == 0);
            for (int64_t i = 0; i < 2 * 3 * lk && lq == 0; i++) assert_true(grad(&c, FV_V)[i] == 0);
            for (int64_t i = 0; i < 4 * 3 && lq && lk; i++)
                assert_true(fabsf(data(&c, FV_OUT)[i] - data(&c, FV_V)[i / 6 * 3 + i % 3]) < 1e-6f);
            call_free(&c);
        }
}

/* What a mechanism's row promises, its engine can do; its examples are calls of it; its parameters have shapes. */
static void rows_of_mechanisms(void **state) {
    (void)state;
    fv_attention_tensors x = {0};
    x.t[FV_Q] = x.t[FV_K] = x.t[FV_V] = fv_bhld(NULL, FV_F32, 1, 2, 5, 8);
    for (size_t i = 0; i < fv_mechanism_count(); i++) {
        const fv_mechanism *m = fv_mechanism_at(i);
        const fv__engine *engine = ((const fv__mechanism *)m)->engine;
        assert_int_equal(m->can & ~engine->can, 0);
        assert_true(!(engine->can & FV_CAN_WEIGHTS) || engine->weights);
        assert_true(!engine->statistics == !engine->statistics_scratch);
        assert_non_null(m->examples[0]);
        for (int e = 0; e < 4 && m->examples[e]; e++) {
            fv_attention_options how = {.mechanism = m->examples[e]};
            fv_tensor shape;
            assert_memory_equal(m->examples[e], m->name, strlen(m->name));
            for (const fv_mechanism_operand *row = m->operands; row && row->name; row++) {
                assert_int_equal(fv_attention_operand_shape(&how, &x, row->operand, &shape), FV_OK);
                assert_true(shape.rank > 0 && fv_tensor_count(&shape) > 0);
                assert_ptr_equal(fv_mechanism_own(m, row->operand), row);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_mechanisms), cmocka_unit_test(threads_law),      cmocka_unit_test(batch_law),
        cmocka_unit_test(packed_law),         cmocka_unit_test(grouped_law),      cmocka_unit_test(window_law),
        cmocka_unit_test(prefix_law),         cmocka_unit_test(hidden_law),       cmocka_unit_test(future_law),
        cmocka_unit_test(identities),         cmocka_unit_test(shift_law),        cmocka_unit_test(extremes),
        cmocka_unit_test(known_answers),      cmocka_unit_test(additive_uniform), cmocka_unit_test(weights_law),
        cmocka_unit_test(scratch_is_linear),  cmocka_unit_test(refusals),         cmocka_unit_test(empties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
