/* The gates `spatial-gate`, `se` and `eca`: answers computed by hand, the reference, differences, and what must not
 * change any bit. */
#include "attn_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *const texts[] = {"spatial-gate", "se", "se:reduction=2", "se:reduction=5", "eca", "eca:kernel=7"};
enum { TEXTS = 6 };

/* Padding of x and of dy is NaN. */
static void fit(attn_case *c) {
    const fv_tensor *len = &c->x.t[FV_KV_LEN];
    const fv_tensor *both[2] = {&c->x.t[FV_Q], &c->x.d[FV_OUT]};
    for (int i = 0; i < 2 && len->rank; i++)
        for (int64_t b = 0; b < c->b; b++)
            for (int64_t h = 0; h < c->h; h++)
                for (int64_t l = ((const int32_t *)len->data)[b]; l < c->lq; l++)
                    for (int64_t d = 0; d < c->d; d++)
                        set_at(both[i], b * both[i]->stride[0] + h * both[i]->stride[1] + l * both[i]->stride[2] + d,
                               NAN);
}

static void near(const double *found, const double *wanted, int count) {
    for (int i = 0; i < count; i++) assert_true(fabs(found[i] - wanted[i]) < 1e-12);
}

/* ---- by hand */

/* x = (1 4) with w = (ln 3, 0): gate 3/4;  x = (0 2): gate 1/2 */
static void spatial_by_hand(void **state) {
    (void)state;
    const double ln3 = log(3);
    double in[4] = {1, 4, 0, 2}, w[2] = {ln3, 0}, b[1] = {0}, out[4], dout[4] = {1, 0, 0, 1}, din[4], dw[2], db[1];
    fv_attention_tensors x = {0};
    x.t[FV_Q] = fv_bhld(in, FV_F64, 1, 1, 2, 2), x.d[FV_Q] = fv_bhld(din, FV_F64, 1, 1, 2, 2);
    x.t[FV_OUT] = fv_bhld(out, FV_F64, 1, 1, 2, 2), x.d[FV_OUT] = fv_bhld(dout, FV_F64, 1, 1, 2, 2);
    x.t[FV_W0] = fv_tensor_2d(w, FV_F64, 1, 2), x.d[FV_W0] = fv_tensor_2d(dw, FV_F64, 1, 2);
    x.t[FV_W1] = fv_tensor_1d(b, FV_F64, 1), x.d[FV_W1] = fv_tensor_1d(db, FV_F64, 1);
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = "spatial-gate";
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    near(out, (double[]){0.75, 3, 0, 1}, 4);
    near(din, (double[]){0.75 + 0.1875 * ln3, 0, 0.5 * ln3, 0.5}, 4);
    near(dw, (double[]){0.1875, 1.75}, 2);
    near(db, (double[]){0.6875}, 1);
    w[0] = 0, b[0] = -ln3; /* gate 1/4 everywhere */
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    near(out, (double[]){0.25, 1, 0, 0.5}, 4);
}

typedef struct squeeze {
    double in[4], w1[2], b1[1], w2[2], b2[2], out[4], dout[4], din[4], dw1[2], db1[1], dw2[2], db2[2];
} squeeze;

static fv_attention_tensors squeeze_tensors(squeeze *s) {
    const int64_t one[3] = {1, 1, 2}, two[3] = {1, 2, 1};
    fv_attention_tensors x = {0};
    x.t[FV_Q] = fv_bhld(s->in, FV_F64, 1, 1, 2, 2), x.d[FV_Q] = fv_bhld(s->din, FV_F64, 1, 1, 2, 2);
    x.t[FV_OUT] = fv_bhld(s->out, FV_F64, 1, 1, 2, 2), x.d[FV_OUT] = fv_bhld(s->dout, FV_F64, 1, 1, 2, 2);
    x.t[FV_W0] = fv_tensor_of(s->w1, FV_F64, 3, one), x.d[FV_W0] = fv_tensor_of(s->dw1, FV_F64, 3, one);
    x.t[FV_W1] = fv_tensor_2d(s->b1, FV_F64, 1, 1), x.d[FV_W1] = fv_tensor_2d(s->db1, FV_F64, 1, 1);
    x.t[FV_W2] = fv_tensor_of(s->w2, FV_F64, 3, two), x.d[FV_W2] = fv_tensor_of(s->dw2, FV_F64, 3, two);
    x.t[FV_W3] = fv_tensor_2d(s->b2, FV_F64, 1, 2), x.d[FV_W3] = fv_tensor_2d(s->db2, FV_F64, 1, 2);
    return x;
}

/* rows (1 0) and (3 4): z = (2 2), a = 2 + 1 - 1 = 2, u = (ln 3, -ln 3), s = (3/4, 1/4) */
static void squeeze_by_hand(void **state) {
    (void)state;
    const double ln3 = log(3);
    squeeze s = {
        .in = {1, 0, 3, 4}, .w1 = {1, 0.5}, .b1 = {-1}, .w2 = {ln3 / 2, 0}, .b2 = {0, -ln3}, .dout = {1, 1, 1, 1}};
    fv_attention_tensors x = squeeze_tensors(&s);
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = "se:reduction=2";
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    near(s.out, (double[]){0.75, 0, 2.25, 1}, 4);
    near(s.dw2, (double[]){1.5, 1.5}, 2);
    near(s.db2, (double[]){0.75, 0.75}, 2);
    near(s.dw1, (double[]){0.75 * ln3, 0.75 * ln3}, 2);
    near(s.db1, (double[]){0.375 * ln3}, 1);
    const double a = 0.75 + 0.1875 * ln3, b = 0.25 + 0.09375 * ln3;
    near(s.din, (double[]){a, b, a, b}, 4);
    s.b1[0] = -10; /* a < 0: the bottleneck is shut */
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    near(s.out, (double[]){0.5, 0, 1.5, 1}, 4);
    near(s.din, (double[]){0.5, 0.25, 0.5, 0.25}, 4);
    near(s.dw1, (double[]){0, 0}, 2);
    s.b1[0] = -1;
    const int32_t live[1] = {1}; /* only (1 0): a = 0, s = (1/2, 1/4) */
    x.t[FV_KV_LEN] = fv_tensor_1d((void *)live, FV_I32, 1);
    s.in[2] = s.in[3] = s.dout[2] = s.dout[3] = NAN;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    near(s.out, (double[]){0.5, 0, 0, 0}, 4);
    near(s.din, (double[]){0.5, 0.25, 0, 0}, 4);
}

/* rows (1 0 2) and (3 4 0): z = (2 2 1), kernel (0 ln 3 / 2 -ln 3): u = (-ln 3, 0, ln 3 / 2), s = (1/4, 1/2, ...) */
static void eca_by_hand(void **state) {
    (void)state;
    const double ln3 = log(3), half = sqrt(3) / (1 + sqrt(3));
    double in[6] = {1, 0, 2, 3, 4, 0}, w[3] = {0, ln3 / 2, -ln3}, out[6], dout[6] = {1, 1, 1, 1, 1, 1}, din[6], dw[3];
    fv_attention_tensors x = {0};
    x.t[FV_Q] = fv_bhld(in, FV_F64, 1, 1, 2, 3), x.d[FV_Q] = fv_bhld(din, FV_F64, 1, 1, 2, 3);
    x.t[FV_OUT] = fv_bhld(out, FV_F64, 1, 1, 2, 3), x.d[FV_OUT] = fv_bhld(dout, FV_F64, 1, 1, 2, 3);
    x.t[FV_W0] = fv_tensor_2d(w, FV_F64, 1, 3), x.d[FV_W0] = fv_tensor_2d(dw, FV_F64, 1, 3);
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = "eca:kernel=3";
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    near(out, (double[]){0.25, 0, 2 * half, 0.75, 2, 0}, 6);
    const double du[3] = {4 * 3. / 16, 4 * 1. / 4, 2 * half * (1 - half)}; /* ds = sums of the columns = (4 4 2) */
    near(dw, (double[]){2 * du[1] + 2 * du[2], 2 * du[0] + 2 * du[1] + du[2], 2 * du[0] + du[1]}, 3);
    const double dz[3] = {ln3 / 2 * du[0], ln3 / 2 * du[1] - ln3 * du[0], ln3 / 2 * du[2] - ln3 * du[1]};
    near(din, (double[]){0.25 + dz[0] / 2, 0.5 + dz[1] / 2, half + dz[2] / 2, 0.25 + dz[0] / 2}, 4);
    how.mechanism = "eca:kernel=4";
    x.t[FV_W0].dim[1] = x.d[FV_W0].dim[1] = 4;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
    assert_non_null(strstr(fv_message(), "expected an odd number\n  found:   4"));
}

/* The sizes of kernels in the paper: 3 for 16 to 64 channels, 5 for 128 to 512. */
static void eca_kernels(void **state) {
    (void)state;
    const int64_t channels[] = {1, 8, 64, 128, 256, 512, 2048}, kernels[] = {1, 3, 3, 5, 5, 5, 7};
    for (int i = 0; i < 7; i++) {
        fv_attention_options how = FV_ATTENTION_DEFAULT;
        fv_attention_tensors x = {0};
        fv_tensor shape;
        how.mechanism = "eca";
        x.t[FV_Q] = fv_bhld(NULL, FV_F32, 1, 2, 4, channels[i]);
        assert_int_equal(fv_attention_operand_shape(&how, &x, FV_W0, &shape), FV_OK);
        assert_true(shape.rank == 2 && shape.dim[0] == 2);
        assert_int_equal(shape.dim[1], kernels[i]);
    }
}

/* ---- random cases */

static int64_t longest_of(uint64_t seed) { return seed % 50 == 0 ? 600 : seed % 2 ? 60 : 20; }

static void random_cases(void **state) {
    (void)state;
    const char *text = getenv("FOVEA_TEST_LONG");
    const uint64_t each = text && *text ? 20000 : 1000;
    for (uint64_t seed = 1; seed <= each; seed++) {
        check_reference("spatial-gate", seed, longest_of(seed), fit);
        check_reference(texts[1 + seed % 5], seed, seed % 5 ? 20 : longest_of(seed), fit);
    }
    assert_int_equal(check_failures, 0);
}

static void gradients(void **state) {
    (void)state;
    for (int t = 0; t < TEXTS; t++) {
        int64_t checked = 0;
        for (uint64_t seed = 1; seed <= 150; seed++)
            checked += check_gradients(texts[t], seed, seed % 8 == 7 ? 80 : 9, fit);
        for (uint64_t seed = 1000; seed <= 1003; seed++) checked += check_gradients(texts[t], seed, 600, fit);
        assert_true(checked > 1500);
    }
    assert_int_equal(check_failures, 0);
}

static void thread_counts(void **state) {
    (void)state;
    for (int t = 0; t < TEXTS; t++)
        for (uint64_t seed = 1; seed <= 20; seed++) check_threads(texts[t], seed, seed % 2 ? 90 : 1500, fit);
    assert_int_equal(check_failures, 0);
}

static void packed(void **state) {
    (void)state;
    fv_set_threads(2);
    for (int t = 0; t < TEXTS; t++) {
        int64_t sequences = 0;
        for (uint64_t seed = 1; seed <= 200; seed++)
            check_packed(texts[t], seed, seed % 4 ? 90 : 1500, fit, &sequences);
        assert_true(sequences > 50);
    }
    assert_int_equal(check_failures, 0);
}

/* ---- what must not matter */

enum { B = 2, H = 2, L = 600, D = 24 };

typedef struct gate {
    float in[B * H * L * D], dout[B * H * L * D], out[B * H * L * D], din[B * H * L * D];
    float w[4][H * D * (D + 3)], dw[4][H * D * (D + 3)];
} gate;

static gate one, other;

static void gate_fill(gate *g) {
    for (int64_t i = 0; i < B * H * L * D; i++) {
        g->in[i] = (float)fv__random_normal(5, 1, (uint64_t)i),
        g->dout[i] = (float)fv__random_normal(5, 2, (uint64_t)i);
        g->out[i] = g->din[i] = (float)CANARY;
    }
    for (int p = 0; p < 4; p++)
        for (int64_t i = 0; i < H * D * (D + 3); i++)
            g->w[p][i] = (float)fv__random_normal(5, 3 + (uint64_t)p, (uint64_t)i);
}

static fv_attention_tensors gate_tensors(gate *g, const fv_attention_options *how, int64_t rows) {
    fv_attention_tensors x = {0};
    float *const real[4] = {g->in, g->din, g->out, g->dout};
    fv_tensor *const to[4] = {&x.t[FV_Q], &x.d[FV_Q], &x.t[FV_OUT], &x.d[FV_OUT]};
    for (int i = 0; i < 4; i++) *to[i] = fv_tensor_slice(fv_bhld(real[i], FV_F32, B, H, L, D), 2, 0, rows);
    for (int p = 0; p < 4; p++) {
        fv_tensor shape;
        assert_int_equal(fv_attention_operand_shape(how, &x, (fv_operand)(FV_W0 + p), &shape), FV_OK);
        if (!shape.rank) continue;
        x.t[FV_W0 + p] = x.d[FV_W0 + p] = shape;
        x.t[FV_W0 + p].data = g->w[p], x.d[FV_W0 + p].data = g->dw[p];
    }
    return x;
}

/* NaN beyond kv_len is the same as shorter tensors, to the bit; the padding of outputs and gradients is zero. */
static void padding(void **state) {
    (void)state;
    const int32_t live[B] = {300, 300};
    for (int t = 0; t < TEXTS; t++) {
        fv_attention_options how = FV_ATTENTION_DEFAULT;
        how.mechanism = texts[t];
        gate_fill(&one), gate_fill(&other);
        fv_attention_tensors x = gate_tensors(&one, &how, 300), y = gate_tensors(&other, &how, L);
        for (int64_t i = 0; i < B * H * L * D; i++)
            if (i / D % L >= 300) other.in[i] = other.dout[i] = NAN;
        y.t[FV_KV_LEN] = fv_tensor_1d((void *)live, FV_I32, B);
        assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
        assert_int_equal(fv_attention(&how, NULL, &y), FV_OK);
        for (int64_t i = 0; i < B * H * L * D; i++) {
            const bool padded = i / D % L >= 300;
            assert_true(padded ? other.out[i] == 0 : other.out[i] == one.out[i]);
            assert_true(padded ? other.din[i] == 0 : other.din[i] == one.din[i]);
            assert_true(!padded || one.out[i] == (float)CANARY);
        }
        assert_memory_equal(one.dw, other.dw, sizeof one.dw);
    }
}

static void nothing_there(void **state) {
    (void)state;
    const int32_t live[B] = {0, 0};
    for (int t = 0; t < TEXTS; t++)
        for (int empty = 0; empty < 2; empty++) { /* all padding, or no rows at all */
            fv_attention_options how = FV_ATTENTION_DEFAULT;
            how.mechanism = texts[t];
            gate_fill(&one);
            fv_attention_tensors x = gate_tensors(&one, &how, empty ? 0 : L);
            for (int p = 0; p < 4; p++) fv_tensor_fill(&x.d[FV_W0 + p], CANARY);
            x.t[FV_KV_LEN] = fv_tensor_1d((void *)live, FV_I32, B);
            assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
            for (int p = 0; p < 4; p++)
                for (int64_t i = 0; i < fv_tensor_count(&x.d[FV_W0 + p]) && x.d[FV_W0 + p].rank; i++)
                    assert_true(one.dw[p][i] == 0);
            for (int64_t i = 0; i < B * H * L * D && !empty; i++) assert_true(one.out[i] == 0 && one.din[i] == 0);
        }
}

/* Parameters may have gaps between their rows; an absent gradient of the output is zero. */
static void layouts(void **state) {
    (void)state;
    for (int t = 0; t < TEXTS; t++) {
        fv_attention_options how = FV_ATTENTION_DEFAULT;
        how.mechanism = texts[t];
        gate_fill(&one), gate_fill(&other);
        fv_attention_tensors x = gate_tensors(&one, &how, L), y = gate_tensors(&other, &how, L);
        for (int w = 0, p = FV_W0; w < 4; p = FV_W0 + w++) {
            if (!x.t[p].rank) continue;
            const int last = x.t[p].rank - 1;
            int64_t dim[3] = {x.t[p].dim[0], x.t[p].dim[1], x.t[p].dim[2]};
            const int64_t width = dim[last];
            dim[last] += 3;
            y.t[p] = fv_tensor_slice(fv_tensor_of(other.w[p - FV_W0], FV_F32, last + 1, dim), last, 1, width);
            y.d[p] = fv_tensor_slice(fv_tensor_of(other.dw[p - FV_W0], FV_F32, last + 1, dim), last, 2, width);
            assert_int_equal(fv_tensor_copy(&y.t[p], &x.t[p]), FV_OK);
        }
        assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
        assert_int_equal(fv_attention(&how, NULL, &y), FV_OK);
        assert_memory_equal(one.out, other.out, sizeof one.out);
        assert_memory_equal(one.din, other.din, sizeof one.din);
        for (int w = 0, p = FV_W0; w < 4; p = FV_W0 + w++)
            if (x.t[p].rank) assert_true(same_bytes(&x.d[p], &y.d[p]));
        y.d[FV_OUT].rank = 0;
        assert_int_equal(fv_attention(&how, NULL, &y), FV_OK);
        for (int64_t i = 0; i < B * H * L * D; i++) assert_true(other.din[i] == 0);
        assert_true(other.dw[0][2] == 0 && other.dw[1][2] == 0);
    }
}

static void parameter_shapes(void **state) {
    (void)state;
    static const int64_t wanted[4][3] = {{H, 4, D}, {H, 4}, {H, D, 4}, {H, D}}; /* 24 / 5 */
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    fv_attention_tensors x = {0};
    fv_tensor shape;
    x.t[FV_Q] = fv_bhld(NULL, FV_F64, B, H, L, D);
    how.mechanism = "se:reduction=5";
    for (int p = 0; p < 6; p++) {
        assert_int_equal(fv_attention_operand_shape(&how, &x, (fv_operand)(FV_W0 + p), &shape), FV_OK);
        assert_int_equal(shape.rank, p > 3 ? 0 : 3 - p % 2);
        for (int a = 0; a < shape.rank; a++) assert_int_equal(shape.dim[a], wanted[p][a]);
    }
    how.mechanism = "se:reduction=1000";
    assert_int_equal(fv_attention_operand_shape(&how, &x, FV_W1, &shape), FV_OK);
    assert_int_equal(shape.dim[1], 1);
    how.mechanism = "spatial-gate";
    assert_int_equal(fv_attention_operand_shape(&how, &x, FV_W0, &shape), FV_OK);
    assert_true(shape.rank == 2 && shape.dim[0] == H && shape.dim[1] == D);
    assert_int_equal(fv_attention_operand_shape(&how, &x, FV_W1, &shape), FV_OK);
    assert_true(shape.rank == 1 && shape.dim[0] == H && shape.dtype == FV_F64);
}

static void refusals(void **state) {
    (void)state;
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = "se";
    gate_fill(&one);
    const fv_attention_tensors good = gate_tensors(&one, &how, L);
    fv_attention_tensors x = good;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    x.t[FV_LSE] = fv_tensor_slice(good.t[FV_Q], 3, 0, 1), x.t[FV_LSE].rank = 3;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
    x = good, x.t[FV_K] = x.t[FV_Q];
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
    x = good, x.t[FV_W0] = fv_tensor_slice(good.t[FV_W0], 2, 0, D - 1), x.d[FV_W0].rank = 0;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
    const int32_t live[B + 1] = {1, 1, 1};
    x = good, x.t[FV_KV_LEN] = fv_tensor_1d((void *)live, FV_I32, B + 1);
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
    assert_non_null(strstr(fv_message(), "kv_len"));
    x = good, x.t[FV_Q] = fv_tensor_transpose(fv_bhld(one.in, FV_F32, B, H, D, L), 2, 3);
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
    x = good, how.causal = FV_CAUSAL_UPPER_LEFT;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
    how.causal = FV_CAUSAL_NONE, how.softcap = 1;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
    how.softcap = 0, how.mechanism = "se:reduction=0";
    assert_int_equal(fv_attention(&how, NULL, &x), FV_USAGE);
}

static void costs(void **state) {
    (void)state;
    for (int t = 0; t < 2; t++) {
        fv_attention_options how = FV_ATTENTION_DEFAULT;
        how.mechanism = texts[t];
        gate_fill(&one);
        const fv_attention_tensors x = gate_tensors(&one, &how, L);
        fv_attention_plan *plan;
        assert_int_equal(fv_attention_plan_create(&plan, &how, &x), FV_OK);
        void *scratch = malloc(fv_attention_scratch(plan, true));
        const int64_t before = fv__alloc_count();
        assert_int_equal(fv_attention_forward(plan, NULL, &x, scratch), FV_OK);
        assert_int_equal(fv_attention_backward(plan, NULL, &x, scratch), FV_OK);
        assert_int_equal(fv__alloc_count(), before);
        assert_true(fv_attention_flops(plan, NULL, true) > fv_attention_flops(plan, NULL, false));
        char words[256];
        fv_attention_plan_describe(plan, words, sizeof words);
        assert_non_null(strstr(words, ": gate f32"));
        free(scratch);
        fv_attention_plan_free(plan);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spatial_by_hand), cmocka_unit_test(squeeze_by_hand), cmocka_unit_test(eca_by_hand),
        cmocka_unit_test(eca_kernels),     cmocka_unit_test(random_cases),    cmocka_unit_test(gradients),
        cmocka_unit_test(thread_counts),   cmocka_unit_test(packed),          cmocka_unit_test(padding),
        cmocka_unit_test(nothing_there),   cmocka_unit_test(layouts),         cmocka_unit_test(parameter_shapes),
        cmocka_unit_test(refusals),        cmocka_unit_test(costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
