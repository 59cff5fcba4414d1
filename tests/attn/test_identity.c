/* Identities of exact attention that need no oracle, at lengths no oracle reaches: a window over a million tokens,
 * the full square of twenty thousand.
 *
 *   V = 1 gives O = 1    V + w gives O + w    K + t gives the same O    Q R, K R with orthogonal R give the same O
 *   sum_j dK_j = 0      sum_j dV_j = sum_i dO_i      <dQ, Q> = <dK, K>      <dV, V> = <dO, O>
 *
 * The sums are taken in double. Each is compared with what independent roundings leave of the sum of its magnitudes;
 * a row that is lost or counted twice is hundreds of times more. */
#include "attn_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { D = 16, DV = 16 };
static const double U = 0x1p-24;

typedef struct call {
    fv_attention_options how;
    int64_t n;
    double growth; /* of rounding errors along a sum over the visible keys */
    float *q, *k, *v, *out, *lse, *dout, *dq, *dk, *dv;
} call;

static float *numbers(int64_t count, uint64_t stream) {
    float *p = malloc((size_t)count * sizeof *p);
    uint64_t state = stream * 0x9e3779b97f4a7c15u + 1;
    for (int64_t i = 0; i < count; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* xorshift64 (Marsaglia 2003) */
        p[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
    }
    return p;
}

static call make(int64_t n, int64_t left, int64_t right) {
    static const fv_attention_options standard = FV_ATTENTION_DEFAULT;
    call c = {.how = standard, .n = n};
    c.how.window = FV_WINDOW(left, right);
    c.growth = 1 + sqrt(left < 0 ? (double)n : (double)(left + right + 1)) / 16;
    c.q = numbers(n * D, 1), c.k = numbers(n * D, 2), c.v = numbers(n * DV, 3), c.dout = numbers(n * DV, 4);
    c.out = malloc((size_t)(n * DV) * 4), c.lse = malloc((size_t)n * 4);
    c.dq = malloc((size_t)(n * D) * 4), c.dk = malloc((size_t)(n * D) * 4), c.dv = malloc((size_t)(n * DV) * 4);
    return c;
}

static void release(call *c) {
    float *all[] = {c->q, c->k, c->v, c->out, c->lse, c->dout, c->dq, c->dk, c->dv};
    for (int i = 0; i < 9; i++) free(all[i]);
}

static void run(const call *c, const float *q, const float *k, const float *v, float *out, bool backward) {
    fv_attention_tensors x = {0};
    const int64_t rows[3] = {1, 1, c->n};
    x.t[FV_Q] = fv_bhld((void *)q, FV_F32, 1, 1, c->n, D), x.t[FV_K] = fv_bhld((void *)k, FV_F32, 1, 1, c->n, D);
    x.t[FV_V] = fv_bhld((void *)v, FV_F32, 1, 1, c->n, DV), x.t[FV_OUT] = fv_bhld(out, FV_F32, 1, 1, c->n, DV);
    x.t[FV_LSE] = fv_tensor_of(c->lse, FV_F32, 3, rows);
    if (backward) {
        x.d[FV_OUT] = fv_bhld(c->dout, FV_F32, 1, 1, c->n, DV), x.d[FV_Q] = fv_bhld(c->dq, FV_F32, 1, 1, c->n, D);
        x.d[FV_K] = fv_bhld(c->dk, FV_F32, 1, 1, c->n, D), x.d[FV_V] = fv_bhld(c->dv, FV_F32, 1, 1, c->n, DV);
    }
    const fv_status status = fv_attention(&c->how, NULL, &x);
    if (status != FV_OK) fprintf(stderr, "%s\n", fv_message());
    assert_int_equal(status, FV_OK);
}

/* A sum that must vanish, and the sum of the magnitudes it is made of. */
typedef struct balance {
    double sum, size, terms;
} balance;
static void add(balance *b, double x) { b->sum += x, b->size += fabs(x), b->terms++; }

static int failures;
static bool quiet; /* while a failure is wanted */
static void expect_zero(const char *what, const balance *b, double constant) {
    const double allowed = constant * U * b->size / sqrt(b->terms);
    if (fabs(b->sum) <= allowed && b->size > 0) return;
    if (!quiet) fprintf(stderr, "%s: %.6g, allowed %.3g\n", what, b->sum, allowed);
    failures++;
}

static double largest(const float *a, const float *b, double shift, int64_t count) {
    double worst = 0;
    for (int64_t i = 0; i < count; i++) {
        const double gap = fabs((double)a[i] - (b ? (double)b[i] : 0) - shift);
        if (!(gap <= worst)) worst = gap;
    }
    return worst;
}

static void expect_below(const char *what, double found, double allowed) {
    if (found <= allowed) return;
    fprintf(stderr, "%s: off by %.3g, allowed %.3g\n", what, found, allowed);
    failures++;
}

/* ---- forward */

static void ones(const call *c, float *v, float *out) {
    for (int64_t i = 0; i < c->n * DV; i++) v[i] = 1;
    run(c, c->q, c->k, v, out, false);
    balance b = {0};
    for (int64_t i = 0; i < c->n; i++) add(&b, (double)out[i * DV] - 1);
    expect_below("V = 1", largest(out, NULL, 1, c->n * DV), 32 * U * c->growth);
    expect_below("V = 1, on average", fabs(b.sum) / b.terms, U / 4 * c->growth);
}

static void shifted_values(const call *c, float *v, float *out) {
    for (int64_t i = 0; i < c->n * DV; i++) v[i] = c->v[i] + 0.25f;
    run(c, c->q, c->k, v, out, false);
    balance b = {0};
    for (int64_t i = 0; i < c->n * DV; i++) add(&b, (double)out[i] - (double)c->out[i] - 0.25);
    expect_below("V + w", largest(out, c->out, 0.25, c->n * DV), 64 * U * c->growth);
    expect_below("V + w, on average", fabs(b.sum) / b.terms, U / 4 * c->growth);
}

static void shifted_keys(const call *c, float *k, float *out) {
    for (int64_t i = 0; i < c->n * D; i++) k[i] = c->k[i] + 0.125f * (float)(1 + i % D % 4);
    run(c, c->q, k, c->v, out, false);
    expect_below("K + t", largest(out, c->out, 0, c->n * DV), 64 * U * c->growth);
}

/* A Householder reflection, I - 2 w w' / w'w with w = 1, is orthogonal; its elements are rounded once. */
static void reflect(float *to, const float *from, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int d = 0; d < D; d++) sum += (double)from[i * D + d];
        for (int d = 0; d < D; d++) to[i * D + d] = (float)((double)from[i * D + d] - 2 * sum / D);
    }
}

static void rotated(const call *c, float *q, float *k, float *out) {
    reflect(q, c->q, c->n), reflect(k, c->k, c->n);
    run(c, q, k, c->v, out, false);
    expect_below("Q R, K R", largest(out, c->out, 0, c->n * DV), 64 * U * c->growth);
}

/* ---- backward */

static void gradients(const call *c) {
    balance dk[D] = {{0}}, dv[DV] = {{0}}, q_k = {0}, v_o = {0};
    for (int64_t i = 0; i < c->n; i++)
        for (int d = 0; d < D; d++) {
            const int64_t at = i * D + d;
            add(&dk[d], (double)c->dk[at]);
            add(&q_k, (double)c->dq[at] * (double)c->q[at]), add(&q_k, -(double)c->dk[at] * (double)c->k[at]);
        }
    for (int64_t i = 0; i < c->n; i++)
        for (int d = 0; d < DV; d++) {
            const int64_t at = i * DV + d;
            add(&dv[d], (double)c->dv[at]), add(&dv[d], -(double)c->dout[at]);
            add(&v_o, (double)c->dv[at] * (double)c->v[at]), add(&v_o, -(double)c->dout[at] * (double)c->out[at]);
        }
    for (int d = 0; d < D; d++) expect_zero("sum dK", &dk[d], 64 * c->growth);
    for (int d = 0; d < DV; d++) expect_zero("sum dV - sum dO", &dv[d], 64 * c->growth);
    expect_zero("<dQ,Q> - <dK,K>", &q_k, 64 * c->growth);
    expect_zero("<dV,V> - <dO,O>", &v_o, 64 * c->growth);
}

static void all_identities(int64_t n, int64_t left, int64_t right) {
    call c = make(n, left, right);
    float *a = malloc((size_t)(n * D) * 4), *b = malloc((size_t)(n * D) * 4), *out = malloc((size_t)(n * DV) * 4);
    run(&c, c.q, c.k, c.v, c.out, true);
    gradients(&c);
    ones(&c, a, out), shifted_values(&c, a, out), shifted_keys(&c, a, out), rotated(&c, a, b, out);
    /* What the sums can see: one row of dK, or one of dV, left out. */
    for (int d = 0; d < D; d++) c.dk[n / 2 * D + d] = c.dv[n / 2 * DV + d] = 0;
    const int before = failures;
    failures = 0, quiet = true;
    gradients(&c);
    assert_true(failures >= D);
    failures = before, quiet = false;
    free(a), free(b), free(out), release(&c);
}

static int64_t scaled(int64_t n) { return getenv("FOVEA_TEST_QUICK") ? n / 20 : n; }

static void window_test(void **state) {
    (void)state;
    failures = 0;
    all_identities(scaled(1000000), 63, 0), all_identities(scaled(1000000), 20, 20);
    assert_int_equal(failures, 0);
}

static void full_test(void **state) {
    (void)state;
    failures = 0;
    all_identities(scaled(20000), -1, -1);
    assert_int_equal(failures, 0);
}

static void other_isas_test(void **state) {
    (void)state;
    failures = 0;
    for (int isa = 0; isa < FV_ISAS; isa++)
        if (fv__simd_use((fv__isa)isa)) all_identities(scaled(60000), 63, 0);
    fv__simd_use(FV_ISAS);
    assert_int_equal(failures, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(window_test), cmocka_unit_test(full_test),
                                       cmocka_unit_test(other_isas_test)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
