/* Kernels: accuracy against long double, agreement with plain loops on every table, nothing read or written outside. */
#include "simd/simd.h"
#include "support/differences.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

enum { MOST = 300 };
static uint64_t draws;
static double uniform(void) { return 2 * fv__random_uniform(11, 0, draws++) - 1; }
static int64_t below(int64_t n) { return fv__random_below(12, 0, draws++, n); }

/* Calls `check` with the table of every instruction set of this machine. */
typedef void table_check(const fv__simd_f32 *k);
static void every_table(table_check *check) {
    int tables = 0;
    for (int isa = 0; isa < FV_ISAS; isa++) {
        const fv__simd_f32 *k = fv__simd_f32_of((fv__isa)isa);
        if (!k) continue;
        assert_int_equal(k->isa, isa);
        check(k);
        tables++;
    }
    assert_true(tables >= 1);
}

/* ---- accuracy: error in units of the last place of the exact value, over the whole range */

static double ulps(float got, long double want) {
    if (isnan(got) || isnan(want)) return isnan(got) && isnan(want) ? 0 : INFINITY;
    if (isinf((float)want)) return got == (float)want ? 0 : INFINITY;
    int e;
    frexpl(want, &e);
    const long double unit = ldexpl(1, (e < -125 ? -125 : e) - 24);
    return (double)(fabsl((long double)got - want) / unit);
}

typedef struct accuracy {
    void (*run)(float *, const float *, int64_t);
    long double (*exact)(long double);
    double low, high, worst, bias;
} accuracy;

static void measure(accuracy *a) {
    enum { BATCH = 4096, BATCHES = 60 };
    static float x[BATCH], y[BATCH];
    double signed_sum = 0;
    for (int b = 0; b < BATCHES; b++) {
        for (int i = 0; i < BATCH; i++) {
            const double u = fv__random_uniform(13, (uint64_t)b, (uint64_t)i);
            /* half of them spread over the range, half over its exponents */
            x[i] =
                (float)(b % 2 ? a->low + (a->high - a->low) * u : ldexp(1 + u, (int)(i % 60) - 50) * (i % 2 ? 1 : -1));
            if (x[i] < a->low || x[i] > a->high) x[i] = (float)(a->low + (a->high - a->low) * u);
        }
        a->run(y, x, BATCH);
        for (int i = 0; i < BATCH; i++) {
            const long double want = a->exact((long double)x[i]);
            const double error = ulps(y[i], want);
            if (!(error <= a->worst)) a->worst = error;
            if (error < 100) signed_sum += (long double)y[i] > want ? error : -error;
        }
    }
    a->bias = signed_sum / (BATCH * BATCHES);
}

static long double exact_sigmoid(long double x) { return 1 / (1 + expl(-x)); }
static long double exact_gelu(long double x) { return x * 0.5L * erfcl(-x * 0.70710678118654752440084L); }
static long double exact_silu(long double x) { return x / (1 + expl(-x)); }
static long double exact_gelu_tanh(long double x) {
    return x * exact_sigmoid(1.59576912160573071175979L * (x + 0.044715L * x * x * x));
}

/* `mean`: of the signed error, for what is summed up by the thousand */
static void within(const char *name, accuracy a, double allowed, double mean) {
    measure(&a);
    if (a.worst > allowed || fabs(a.bias) > mean)
        fprintf(stderr, "%s: %.2f ulp, mean %.3f (allowed %.1f)\n", name, a.worst, a.bias, allowed);
    assert_true(a.worst <= allowed);
    assert_true(fabs(a.bias) <= mean);
}

static void check_accuracy(const fv__simd_f32 *k) {
    within("exp", (accuracy){k->exp, expl, -110, 100, 0, 0}, 2, 0.05);
    within("tanh", (accuracy){k->tanh, tanhl, -15, 15, 0, 0}, 2, 0.05);
    within("sigmoid", (accuracy){k->sigmoid, exact_sigmoid, -80, 80, 0, 0}, 4, 0.5);
    within("erf", (accuracy){k->erf, erfl, -6, 6, 0, 0}, 4, 0.5);
    within("gelu", (accuracy){k->gelu, exact_gelu, -12, 20, 0, 0}, 6, 0.5);
    within("silu", (accuracy){k->silu, exact_silu, -80, 80, 0, 0}, 4, 0.5);
    within("gelu_tanh", (accuracy){k->gelu_tanh, exact_gelu_tanh, -3, 20, 0, 0}, 16, 0.5);
}
static void accuracy_test(void **state) { (void)state, every_table(check_accuracy); }

/* Every so many-th of all bit patterns of a float, NaN and infinities included: 2 ulp, and no bias where the result
 * is not exact. */
static void sweep(const char *name, void (*run)(float *, const float *, int64_t), long double (*exact)(long double)) {
    const uint32_t stride = getenv("FOVEA_TEST_LONG") ? 61 : getenv("FOVEA_TEST_QUICK") ? 50021 : 1999;
    enum { BATCH = 4096 };
    static float x[BATCH], y[BATCH];
    double worst = 0, sum = 0, terms = 0;
    float at = 0;
    for (uint64_t bits = 0; bits < (uint64_t)1 << 32;) {
        int n = 0;
        for (; n < BATCH && bits < (uint64_t)1 << 32; n++, bits += stride) {
            const uint32_t u = (uint32_t)bits;
            memcpy(&x[n], &u, 4);
        }
        run(y, x, n);
        for (int i = 0; i < n; i++) {
            const long double want = exact((long double)x[i]);
            const double error = ulps(y[i], want);
            if (!(error <= worst)) worst = error, at = x[i];
            if (fabsf(x[i]) > 1e-3f && fabsf(x[i]) < 80) sum += (long double)y[i] > want ? error : -error, terms++;
        }
    }
    if (!(worst <= 2) || fabs(sum / terms) > 0.05)
        fprintf(stderr, "%s of %.9g: %.2f ulp; mean %.3f\n", name, (double)at, worst, sum / terms);
    assert_true(worst <= 2);
    assert_true(fabs(sum / terms) <= 0.05);
}
static void check_sweep(const fv__simd_f32 *k) { sweep("exp", k->exp, expl), sweep("tanh", k->tanh, tanhl); }
static void sweep_test(void **state) { (void)state, every_table(check_sweep); }

/* The weights inside online_softmax, against a row whose score is 0: 2 ulp (a little more without fused operations)
 * and no bias. */
static void check_weights(const fv__simd_f32 *k) {
    enum { ROWS = 64 };
    static float s[ROWS * 32], x[ROWS * 32], m[32], l[32], alpha[32];
    const int64_t count = ROWS * k->width, rounds = getenv("FOVEA_TEST_QUICK") ? 1000 : 4000;
    double worst = 0, sum = 0, terms = 0;
    for (int64_t round = 0; round < rounds; round++) {
        for (int64_t i = 0; i < count; i++) {
            const double u = (1 - uniform()) / 2;
            x[i] = s[i] = (float)(i < k->width ? 0 : round % 2 ? -125 * u : -ldexp(1 + u, (int)below(30) - 28));
        }
        for (int64_t q = 0; q < k->width; q++) m[q] = -INFINITY, l[q] = 0;
        k->online_softmax(s, ROWS, k->width, m, l, alpha);
        for (int64_t i = 0; i < count; i++) {
            const double error = ulps(s[i], exp2l((long double)x[i]));
            if (!(error <= worst)) worst = error;
            if (round % 2) sum += (double)s[i] > exp2((double)x[i]) ? error : -error, terms++;
            assert_true(i >= k->width || s[i] == 1);
        }
    }
    if (worst > 2.1 || fabs(sum / terms) > 0.03)
        fprintf(stderr, "weights of softmax: %.3f ulp, mean %.4f\n", worst, sum / terms);
    assert_true(worst <= (k->isa == FV_ISA_SCALAR ? 2.1 : 2));
    assert_true(fabs(sum / terms) <= 0.03);
}
static void weights_test(void **state) { (void)state, every_table(check_weights); }

static void check_special(const fv__simd_f32 *k) {
    float x[6] = {INFINITY, -INFINITY, NAN, 0, 200, -200}, y[6];
    k->exp(y, x, 6);
    assert_true(y[0] == INFINITY && y[1] == 0 && isnan(y[2]) && y[3] == 1 && y[4] == INFINITY && y[5] == 0);
    k->tanh(y, x, 6);
    assert_true(y[0] == 1 && y[1] == -1 && isnan(y[2]) && y[3] == 0 && y[4] == 1 && y[5] == -1);
    k->relu(y, x, 6);
    assert_true(y[0] == INFINITY && y[1] == 0 && isnan(y[2]));
    assert_false(k->all_finite(x, 6));
    assert_false(k->all_finite(x + 2, 1));
    assert_true(k->all_finite(x + 3, 3) && k->all_finite(x, 0));
    float row[3] = {-INFINITY, -INFINITY, -INFINITY};
    assert_true(k->softmax(y, row, 3) == -INFINITY && y[0] == 0 && y[2] == 0);
    assert_true(k->logsumexp(row, 3) == -INFINITY && k->logsumexp(row, 0) == -INFINITY && k->max(row, 0) == -INFINITY);
    float big[2] = {1e4f, -1e4f};
    assert_true(fabsf(k->softmax(y, big, 2) - 1e4f) < 1e-3f && y[0] == 1 && y[1] == 0);
    /* odd functions are odd to the bit */
    for (int i = 0; i < 1000; i++) {
        float pair[2] = {(float)(4 * uniform()), 0};
        pair[1] = -pair[0];
        k->tanh(y, pair, 2);
        assert_true(y[0] == -y[1]);
    }
}
static void special_test(void **state) { (void)state, every_table(check_special); }

/* ---- nothing outside: arrays that end, or begin, at a page nobody may touch */

typedef struct guarded {
    char *base;
    size_t size;
    float *p;
} guarded;
static guarded guard(int64_t n, bool at_end) {
    guarded g = {.size = 4 * 4096};
    g.base = mmap(NULL, g.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.base != MAP_FAILED);
    mprotect(g.base, 4096, PROT_NONE);
    mprotect(g.base + 3 * 4096, 4096, PROT_NONE);
    g.p = (float *)(at_end ? g.base + 3 * 4096 - (size_t)n * sizeof(float) : g.base + 4096);
    for (int64_t i = 0; i < n; i++) g.p[i] = (float)uniform();
    return g;
}
static void unguard(guarded g) { munmap(g.base, g.size); }

static void call_all(const fv__simd_f32 *k, float *y, float *a, float *b, float *c, int64_t n) {
    const fv__drop drop = fv__drop_of(0.3, 1, 2);
    const fv__adamw step = {1e-3, 0.9, 0.999, 1e-8, 0.01, 0.1, 0.001, 1};
    float mean, rstd;
    volatile float sink = k->dot(a, b, n) + k->sum(a, n) + k->max(a, n) + (float)k->norm2(a, n) + k->logsumexp(a, n);
    (void)sink;
    (void)k->all_finite(a, n);
    k->fill(y, 1, n), k->axpy(y, 2, a, n), k->scale(y, 2, a, n), k->add(y, a, b, n), k->sub(y, a, b, n),
        k->mul(y, a, b, n);
    k->mul_add(y, a, b, n), k->exp(y, a, n), k->tanh(y, a, n), k->sigmoid(y, a, n), k->erf(y, a, n), k->relu(y, a, n);
    k->gelu(y, a, n), k->gelu_tanh(y, a, n), k->silu(y, a, n), k->tanh_back(y, a, b, n), k->sigmoid_back(y, a, b, n);
    k->relu_back(y, a, b, n), k->gelu_back(y, a, b, n), k->gelu_tanh_back(y, a, b, n), k->silu_back(y, a, b, n);
    k->softmax(y, a, n), k->softmax_back(y, a, b, n), k->layer_norm(y, &mean, &rstd, a, b, c, n, 1e-5f);
    k->layer_norm_back(y, b, c, a, a, b, mean, rstd, n), k->rms_norm(y, &rstd, a, b, n, 1e-5f);
    k->rms_norm_back(y, b, a, a, b, rstd, n), k->dropout(y, a, n, 77, &drop), k->dropout_back(y, a, n, 77, &drop);
    for (int64_t i = 0; i < n; i++) c[i] = fabsf(c[i]);
    k->adamw(y, b, c, a, n, &step);
    uint16_t *half = (uint16_t *)b + n; /* the last n of 2n halves: they end where b ends */
    k->to_bf16(half, a, n), k->from_bf16(y, half, n), k->to_f16(half, a, n), k->from_f16(y, half, n);
    if (n)
        k->gemm(y, n, a, n, 1, b, n, 1, n, 1, FV_GEMM_CONTINUE),
            k->gemm_masked(y, n, a, n, 1, b, n, 1, n, 1, FV_GEMM_OVERWRITE);
    (void)k->finite_tile(a, n, 1, n);
    k->dot_rows(&mean, a, n, b, n, 1, n);
}

static void check_bounds(const fv__simd_f32 *k) {
    for (int64_t n = 0; n < 70; n++)
        for (int end = 0; end < 2; end++) {
            guarded y = guard(n, end), a = guard(n, end), b = guard(n, end), c = guard(n, end);
            call_all(k, y.p, a.p, b.p, c.p, n);
            unguard(y), unguard(a), unguard(b), unguard(c);
        }
}
static void bounds_test(void **state) { (void)state, every_table(check_bounds); }

/* ---- arrays and rows against plain loops */

static void close_to(double got, double want, double size) {
    if (!(fabs(got - want) <= 2e-6 * (1 + size))) fprintf(stderr, "got %.9g, expected %.9g\n", got, want);
    assert_true(fabs(got - want) <= 2e-6 * (1 + size));
}

static void check_rows(const fv__simd_f32 *k) {
    static float x[MOST], w[MOST], b[MOST], y[MOST];
    for (int64_t n = 1; n < MOST; n += 1 + n / 9) {
        double dot = 0, sum = 0, square = 0, most = -INFINITY, mean = 0, variance = 0, total = 0;
        for (int64_t i = 0; i < n; i++) {
            x[i] = (float)(3 * uniform()), w[i] = (float)uniform(), b[i] = (float)uniform();
            dot += (double)x[i] * (double)w[i], sum += (double)x[i], square += (double)x[i] * (double)x[i],
                most = fmax(most, (double)x[i]);
        }
        close_to((double)k->dot(x, w, n), dot, square);
        close_to((double)k->sum(x, n), sum, square);
        close_to(k->norm2(x, n), square, square);
        assert_true((double)k->max(x, n) == most);
        mean = sum / (double)n;
        for (int64_t i = 0; i < n; i++)
            variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n, total += exp((double)x[i] - most);
        close_to((double)k->softmax(y, x, n), most + log(total), 5);
        close_to((double)k->logsumexp(x, n), most + log(total), 5);
        for (int64_t i = 0; i < n; i++) close_to((double)y[i], exp((double)x[i] - most) / total, 0);
        float m, r;
        k->layer_norm(y, &m, &r, x, w, b, n, 1e-5f);
        for (int64_t i = 0; i < n; i++)
            close_to((double)y[i], ((double)x[i] - mean) / sqrt(variance + 1e-5) * (double)w[i] + (double)b[i], 4);
        k->rms_norm(y, &r, x, w, n, 1e-5f);
        for (int64_t i = 0; i < n; i++)
            close_to((double)y[i], (double)x[i] / sqrt(square / (double)n + 1e-5) * (double)w[i], 4);
    }
}
static void rows_test(void **state) { (void)state, every_table(check_rows); }

/* Gradients: the f64 table against central differences. */
typedef void forward_f64(double *y, const double *x, int64_t n);
typedef void backward_f64(double *dx, const double *dy, const double *x, int64_t n);

static void check_slope(forward_f64 *forward, backward_f64 *backward, bool from_output) {
    enum { N = 37 };
    double x[N], y[N], high[N], low[N], dx[N], dy[N];
    for (int i = 0; i < N; i++) x[i] = 3 * uniform(), dy[i] = uniform(), dx[i] = 0.5;
    for (int i = 0; i < N; i++) x[i] = fabs(x[i]) < 0.01 ? 0.5 : x[i]; /* not at the kink of relu */
    forward(y, x, N);
    backward(dx, dy, from_output ? y : x, N);
    const double h = 1e-5;
    for (int i = 0; i < N; i++) {
        double a = x[i] + h, b = x[i] - h;
        forward(high, &a, 1), forward(low, &b, 1);
        assert_true(fabs(dx[i] - 0.5 - dy[i] * (high[0] - low[0]) / (2 * h)) < 1e-9);
    }
}

static void slopes_test(void **state) {
    (void)state;
    const fv__simd_f64 *k = fv__simd_f64_now();
    check_slope(k->tanh, k->tanh_back, true), check_slope(k->sigmoid, k->sigmoid_back, true);
    check_slope(k->relu, k->relu_back, false), check_slope(k->gelu, k->gelu_back, false);
    check_slope(k->gelu_tanh, k->gelu_tanh_back, false), check_slope(k->silu, k->silu_back, false);
}

typedef struct norm_case {
    double x[64], w[64], b[64], dy[64], mean, rstd;
    int64_t n;
    bool rms;
} norm_case;

static double norm_loss(void *context) {
    norm_case *c = context;
    const fv__simd_f64 *k = fv__simd_f64_now();
    double y[64];
    if (c->rms)
        k->rms_norm(y, &c->rstd, c->x, c->w, c->n, 1e-5);
    else
        k->layer_norm(y, &c->mean, &c->rstd, c->x, c->w, c->b, c->n, 1e-5);
    return k->dot(y, c->dy, c->n);
}

static void check_norm(int64_t n, bool rms) {
    const fv__simd_f64 *k = fv__simd_f64_now();
    norm_case c = {.n = n, .rms = rms};
    double g[3][64] = {{0}}, *input[3] = {c.x, c.w, c.b};
    for (int64_t i = 0; i < n; i++) c.x[i] = uniform(), c.w[i] = uniform(), c.b[i] = uniform(), c.dy[i] = uniform();
    norm_loss(&c);
    if (rms)
        k->rms_norm_back(g[0], g[1], c.dy, c.x, c.w, c.rstd, n);
    else
        k->layer_norm_back(g[0], g[1], g[2], c.dy, c.x, c.w, c.mean, c.rstd, n);
    for (int p = 0; p < (rms ? 2 : 3); p++)
        for (int64_t i = 0; i < n; i++)
            assert_true(fabs(central_difference(norm_loss, &c, &input[p][i], 1e-5) - g[p][i]) <
                        1e-7 * (1 + fabs(g[p][i])));
}
static void norms_test(void **state) {
    (void)state;
    for (int64_t n = 2; n < 40; n += 5) check_norm(n, false), check_norm(n, true);
}

static void check_adamw(const fv__simd_f32 *k) {
    float p[21], m[21], v[21], g[21];
    double want[21];
    const fv__adamw s = {1e-2, 0.9, 0.99, 1e-8, 0.1, 1 - 0.9, 1 - 0.99, 0.5};
    for (int i = 0; i < 21; i++) {
        p[i] = (float)uniform(), m[i] = (float)uniform(), v[i] = (float)fabs(uniform()), g[i] = (float)uniform();
        const double d = 0.5 * (double)g[i], m1 = 0.9 * (double)m[i] + 0.1 * d, v1 = 0.99 * (double)v[i] + 0.01 * d * d;
        want[i] = (double)p[i] * (1 - 1e-3) - 1e-2 * (m1 / s.correct1) / (sqrt(v1 / s.correct2) + 1e-8);
    }
    k->adamw(p, m, v, g, 21, &s);
    for (int i = 0; i < 21; i++) close_to((double)p[i], want[i], 0);
}
static void adamw_test(void **state) { (void)state, every_table(check_adamw); }

/* ---- dropout: the plain definition, whatever the pieces */

static void check_dropout(const fv__simd_f32 *k) {
    static float x[1000], y[1000], z[1000];
    const fv__drop drop = fv__drop_of(0.25, 0x123456789abcdefull, 7);
    for (int i = 0; i < 1000; i++) x[i] = 1;
    const uint64_t first = (UINT64_C(1) << 36) + 5;
    k->dropout(y, x, 1000, first, &drop);
    for (int i = 0; i < 1000; i++)
        assert_true(y[i] == (fv__drop_keeps(&drop, first + (uint64_t)i) ? (float)drop.scale : 0));
    for (int64_t at = 0, n; at < 1000; at += n) {
        n = 1 + below(200);
        if (n > 1000 - at) n = 1000 - at;
        k->dropout(z + at, x + at, n, first + (uint64_t)at, &drop);
    }
    assert_memory_equal(y, z, sizeof y);
    static float p[100 * 32], f[64 * 96];
    for (int i = 0; i < 100 * 32; i++) p[i] = 1;
    k->drop_lanes(p, 100, 32, 64, 128, &drop);
    for (int r = 0; r < 100; r++)
        for (int q = 0; q < 32; q++) assert_true(p[r * 32 + q] == (fv__drop_keeps_at(&drop, 64 + q, 128 + r) ? 1 : 0));
    k->drop_rows(f, 50, 96, 32, 64, &drop);
    for (int r = 0; r < 50; r++)
        for (int q = 0; q < 96; q++)
            assert_true(f[r * 96 + q] == (fv__drop_keeps_at(&drop, 32 + r, 64 + q) ? (float)drop.scale : 0));
}
static void dropout_test(void **state) { (void)state, every_table(check_dropout); }

/* 2 million decisions: the rate within five standard deviations, neighbours independent. */
static void rate_test(void **state) {
    (void)state;
    const fv__simd_f32 *k = fv__simd_f32_now();
    enum { N = 2000000 };
    float *x = malloc(N * sizeof *x);
    k->fill(x, 1, N);
    const fv__drop drop = fv__drop_of(0.1, 99, 3);
    k->dropout(x, x, N, 0, &drop);
    double kept = 0, pairs = 0;
    for (int i = 0; i < N; i++) kept += x[i] > 0, pairs += i && x[i] > 0 && x[i - 1] > 0;
    const double rate = 1 - drop.threshold / 65536.0;
    assert_true(fabs(rate - 0.9) < 1e-5 && fabs(rate * drop.scale - 1) < 1e-12);
    assert_true(fabs(kept / N - rate) < 5 * sqrt(rate * (1 - rate) / N));
    assert_true(fabs(pairs / N - rate * rate) < 5e-3 * rate);
    free(x);
}

/* ---- storage types */

static void check_halves(const fv__simd_f32 *k) {
    for (uint32_t u = 0; u < 65536; u++) {
        const uint16_t in = (uint16_t)u;
        uint16_t back;
        float x;
        k->from_bf16(&x, &in, 1), k->to_bf16(&back, &x, 1);
        assert_true(back == in || (isnan(x) && (back & 0x7fff) > 0x7f80));
        k->from_f16(&x, &in, 1), k->to_f16(&back, &x, 1);
        assert_true(back == in || (isnan(x) && (back & 0x7fff) > 0x7c00));
    }
    for (int i = 0; i < 100000; i++) { /* the result is nearer than its neighbours */
        const float x = (float)ldexp(uniform(), (int)below(48) - 30);
        uint16_t h, low, high;
        float a, b, c;
        k->to_f16(&h, &x, 1), k->from_f16(&a, &h, 1);
        low = (uint16_t)(h - ((h & 0x7fff) > 0)), high = (uint16_t)(h + 1);
        k->from_f16(&b, &low, 1), k->from_f16(&c, &high, 1);
        if (isinf(a))
            assert_true(fabsf(x) >= 65520);
        else
            assert_true(fabsf(a - x) <= fabsf(b - x) && (isinf(c) || fabsf(a - x) <= fabsf(c - x)));
    }
}
static void halves_test(void **state) { (void)state, every_table(check_halves); }

/* ---- tiles */

static void one_product(const fv__simd_f32 *k) {
    const int64_t m = below(40), n = below(70), depth = below(70), lda = 70 + below(9), ldb = 70 + below(9),
                  ldc = 70 + below(9);
    static float a[80 * 80], b[80 * 80], c[80 * 80], d[80 * 80], start[80 * 80], alone[80 * 80];
    const bool transposed = below(2);
    const fv__gemm_mode add = (fv__gemm_mode)below(3);
    for (int i = 0; i < 80 * 80; i++)
        a[i] = (float)uniform(), b[i] = (float)uniform(), c[i] = d[i] = start[i] = (float)uniform();
    const int64_t row = transposed ? 1 : lda, col = transposed ? lda : 1;
    k->gemm(c, ldc, a, row, col, b, ldb, m, n, depth, add);
    k->gemm_masked(d, ldc, a, row, col, b, ldb, m, n, depth, add);
    k->gemm(alone, ldc, a, row, col, b, ldb, m, n, depth, FV_GEMM_OVERWRITE);
    for (int64_t i = 0; i < 80; i++)
        for (int64_t j = 0; j < ldc && i * ldc + j < 80 * 80; j++) {
            const int64_t at = i * ldc + j;
            if (i >= m || j >= n) {
                assert_true(c[at] == start[at] && d[at] == start[at]);
                continue;
            }
            double sum = add ? (double)start[at] : 0;
            for (int64_t t = 0; t < depth; t++) sum += (double)a[i * row + t * col] * (double)b[t * ldb + j];
            close_to((double)c[at], sum, 3);
            assert_true(c[at] == d[at]);
            if (add == FV_GEMM_ACCUMULATE) assert_true(c[at] == start[at] + alone[at]);
        }
}
static void check_products(const fv__simd_f32 *k) {
    for (int i = 0; i < 300; i++) one_product(k);
}
static void products_test(void **state) { (void)state, every_table(check_products); }

/* Zero times NaN is zero in the careful product, from both sides. */
static void check_masked(const fv__simd_f32 *k) {
    float a[2] = {0, 2}, b[2 * 3] = {NAN, NAN, NAN, 1, 0, 3}, c[3];
    k->gemm_masked(c, 3, a, 2, 1, b, 3, 1, 3, 2, FV_GEMM_OVERWRITE);
    assert_true(c[0] == 2 && c[1] == 0 && c[2] == 6);
    float a2[2] = {NAN, 1}, b2[2 * 3] = {0, 0, 5, 1, 2, 3};
    k->gemm_masked(c, 3, a2, 2, 1, b2, 3, 1, 3, 2, FV_GEMM_OVERWRITE);
    assert_true(c[0] == 1 && c[1] == 2 && isnan(c[2]));
}
static void masked_test(void **state) { (void)state, every_table(check_masked); }

static void check_turning(const fv__simd_f32 *k) {
    static float a[64 * 64], t[64 * 64], back[64 * 64], factor[64];
    for (int round = 0; round < 200; round++) {
        const int64_t rows = 1 + below(32), cols = 1 + below(50), lanes = (rows + k->width - 1) / k->width * k->width;
        for (int i = 0; i < 64 * 64; i++) a[i] = (float)uniform(), back[i] = 7;
        k->pack(t, lanes, a, 60, rows, cols, 2);
        for (int64_t c = 0; c < cols; c++)
            for (int64_t r = 0; r < lanes; r++) assert_true(t[c * lanes + r] == (r < rows ? 2 * a[r * 60 + c] : 0));
        for (int i = 0; i < 64; i++) factor[i] = (float)(1 + i % 2);
        k->unpack(back, 60, t, lanes, rows, cols, factor, true);
        for (int64_t r = 0; r < 64; r++)
            for (int64_t c = 0; c < 60 && r * 60 + c < 64 * 64; c++) {
                const float want = r < rows && c < cols ? 7 + 2 * a[r * 60 + c] * (float)(1 + r % 2) : 7;
                assert_true(back[r * 60 + c] == want);
            }
    }
}
static void turning_test(void **state) { (void)state, every_table(check_turning); }

/* The online softmax over two tiles is the softmax of the whole, and lse and factor say so; a hidden column gives
 * zero. */
static void check_online(const fv__simd_f32 *k) {
    enum { ROWS = 11, LANES = 32 };
    static float s[2 * ROWS * LANES], m[LANES], l[LANES], alpha[LANES], lse[LANES], factor[LANES];
    static double score[2 * ROWS * LANES];
    for (int i = 0; i < 2 * ROWS * LANES; i++)
        score[i] = (double)(s[i] = i % LANES == 3 ? -INFINITY : (float)(20 * uniform()));
    for (int q = 0; q < LANES; q++) m[q] = -INFINITY, l[q] = 0;
    k->online_softmax(s, ROWS, LANES, m, l, alpha);
    k->online_softmax(s + ROWS * LANES, ROWS, LANES, m, l, alpha);
    k->softmax_finalize(factor, lse, m, l, LANES, -INFINITY, 1, false);
    for (int q = 0; q < LANES; q++) {
        double sum = 0;
        for (int r = 0; r < 2 * ROWS; r++) sum += exp2(score[r * LANES + q]);
        if (q == 3)
            assert_true(lse[q] == -INFINITY && factor[q] == 0 && s[q] == 0);
        else
            close_to((double)lse[q], log(sum), 15), close_to((double)(factor[q] * l[q]), 1, 0);
    }
    k->softmax_finalize(factor, lse, m, l, LANES, 1e6f, 1, false); /* an enormous sink takes everything */
    for (int q = 0; q < LANES; q++) assert_true(factor[q] == 0);
}
static void online_test(void **state) { (void)state, every_table(check_online); }

/* Scores that leave every maximum where it is, or grow it a little: one pass has the bits of two. A large one is
 * noticed, in any row and lane, and the sums stay. */
static void check_stays(const fv__simd_f32 *k) {
    enum { ROWS = 11, LANES = 32 };
    static float s[ROWS * LANES], twice[ROWS * LANES], m[LANES], l[LANES], m2[LANES], l2[LANES], alpha[LANES];
    for (int at = -1; at < ROWS * LANES; at++) {
        for (int i = 0; i < ROWS * LANES; i++) s[i] = i % 7 == 2 ? -INFINITY : (float)(-8 + 12 * uniform());
        for (int q = 0; q < LANES; q++) m[q] = 0, l[q] = (float)(1 + q);
        if (at >= 0) s[at] = 4.25f;
        memcpy(twice, s, sizeof s), memcpy(m2, m, sizeof m), memcpy(l2, l, sizeof l);
        assert_int_equal(k->online_softmax_same_max(s, ROWS, LANES, m, l, alpha), at < 0);
        const bool grew = k->online_softmax(twice, ROWS, LANES, m2, l2, alpha);
        assert_int_equal(grew, at >= 0);
        if (at < 0) {
            assert_memory_equal(s, twice, sizeof s), assert_memory_equal(l, l2, sizeof l);
            assert_memory_equal(m, m2, sizeof m);
        } else
            for (int q = 0; q < LANES; q++) {
                assert_true(l[q] == (float)(1 + q) && m2[q] == (q == at % LANES ? 4.25f : 0));
                assert_true((alpha[q] == 1) == (q != at % LANES));
            }
    }
}
static void stays_test(void **state) { (void)state, every_table(check_stays); }

/* Tiles of attention fit what is laid out for the largest, and the vectors of their instruction set. */
static void check_tile(const fv__tile_sizes *t, int64_t width) {
    assert_true(t->lanes > 0 && t->lanes <= FV_TILE_MOST_LANES && t->lanes % (2 * width) == 0);
    assert_true(t->block_q % t->lanes == 0 && t->block_q / t->lanes <= FV_TILE_MOST_TILES);
    assert_true(t->block_q <= FV_TILE_MOST_BLOCK && t->block_k <= FV_TILE_MOST_BLOCK && t->block_k % 64 == 0);
    assert_true(t->side <= FV_TILE_MOST_SIDE && t->side % 64 == 0);
}

static void tile_sizes(void **state) {
    (void)state;
    for (int isa = 0; isa < FV_ISAS; isa++) {
        const fv__simd_f32 *table = fv__simd_f32_of((fv__isa)isa);
        if (table) check_tile(&table->tile, table->width);
    }
    check_tile(&fv__simd_f64_now()->tile, fv__simd_f64_now()->width);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tile_sizes),   cmocka_unit_test(accuracy_test), cmocka_unit_test(sweep_test),
        cmocka_unit_test(weights_test), cmocka_unit_test(special_test),  cmocka_unit_test(bounds_test),
        cmocka_unit_test(rows_test),    cmocka_unit_test(slopes_test),   cmocka_unit_test(norms_test),
        cmocka_unit_test(adamw_test),   cmocka_unit_test(dropout_test),  cmocka_unit_test(rate_test),
        cmocka_unit_test(halves_test),  cmocka_unit_test(products_test), cmocka_unit_test(masked_test),
        cmocka_unit_test(turning_test), cmocka_unit_test(online_test),   cmocka_unit_test(stays_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
