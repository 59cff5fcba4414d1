/* Matrix products against three plain loops, for random shapes, strides and transposes; the same bits for any thread
 * count. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "dense/dense.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct problem {
    fv__product p;
    double *a, *b, *c, *expected, *bias; /* f64 or f32 numbers, kept as double */
    int64_t size_a, size_b, size_c;
} problem;

static int64_t below(uint64_t stream, uint64_t index, int64_t n) { return fv__random_below(5, stream, index, n); }

static double *numbers(int64_t count, uint64_t stream) {
    double *x = fv__alloc_array((size_t)count, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) x[i] = (float)fv__random_normal(9, stream, (uint64_t)i);
    return x;
}

static int64_t random_side(uint64_t round, uint64_t index) {
    static const int64_t largest[] = {3, 20, 70, 300};
    return 1 + below(1 + index, round, largest[below(90 + index, round, 4)]);
}

static problem make(uint64_t round, fv_dtype dtype) {
    fv__product p = {
        .dtype = dtype, .m = random_side(round, 0), .n = random_side(round, 1), .k = random_side(round, 2)};
    if (round % 17 == 0) p.k = 0;
    p.a_transposed = below(10, round, 2);
    p.b_transposed = below(11, round, 2);
    p.accumulate = below(12, round, 2);
    p.lda = (p.a_transposed ? p.m : p.k) + below(13, round, 5);
    p.ldb = (p.b_transposed ? p.k : p.n) + below(14, round, 5);
    p.ldc = p.n + below(15, round, 5);
    p.batch = p.m * p.n * p.k < 100000 ? 1 + below(16, round, 4) : 1;
    problem x = {.size_a = p.lda * (p.a_transposed ? p.k : p.m),
                 .size_b = p.ldb * (p.b_transposed ? p.n : p.k),
                 .size_c = p.ldc * p.m};
    p.step_a = x.size_a;
    p.step_b = below(17, round, 2) ? x.size_b : 0; /* also: one B for all */
    p.step_c = x.size_c;
    x.a = numbers(x.size_a * p.batch + 1, 3 * round);
    x.b = numbers(x.size_b * p.batch + 1, 3 * round + 1);
    x.c = numbers(x.size_c * p.batch + 1, 3 * round + 2);
    x.expected = numbers(x.size_c * p.batch + 1, 3 * round + 2);
    x.bias = below(18, round, 2) ? numbers(p.n, round) : NULL;
    x.p = p;
    return x;
}

static void release(problem *x) {
    fv__free(x->a);
    fv__free(x->b);
    fv__free(x->c);
    fv__free(x->expected);
    fv__free(x->bias);
}

static void plain(const problem *x) {
    const fv__product *p = &x->p;
    for (int64_t z = 0; z < p->batch; z++)
        for (int64_t i = 0; i < p->m; i++)
            for (int64_t j = 0; j < p->n; j++) {
                double *c = &x->expected[z * p->step_c + i * p->ldc + j];
                double sum = (p->accumulate ? *c : 0) + (x->bias ? x->bias[j] : 0);
                for (int64_t l = 0; l < p->k; l++)
                    sum += x->a[z * p->step_a + (p->a_transposed ? l * p->lda + i : i * p->lda + l)] *
                           x->b[z * p->step_b + (p->b_transposed ? j * p->ldb + l : l * p->ldb + j)];
                *c = sum;
            }
}

static float *to_f32(const double *x, int64_t count) {
    float *y = fv__alloc_array((size_t)count, sizeof *y);
    for (int64_t i = 0; i < count; i++) y[i] = (float)x[i];
    return y;
}

static void run_f32(problem *x) {
    fv__product p = x->p;
    int64_t count = x->size_c * p.batch + 1;
    float *a = to_f32(x->a, x->size_a * p.batch + 1), *b = to_f32(x->b, x->size_b * p.batch + 1),
          *c = to_f32(x->c, count);
    float *bias = x->bias ? to_f32(x->bias, p.n) : NULL;
    p.bias = bias;
    assert_int_equal(fv__matmul(&p, c, a, b), FV_OK);
    for (int64_t i = 0; i < count; i++) x->c[i] = c[i];
    fv__free(a);
    fv__free(b);
    fv__free(c);
    fv__free(bias);
}

/* Everything in C is compared: what lies between the rows must stay as it was. */
static void against_plain(fv_dtype dtype, uint64_t rounds, double tolerance) {
    for (uint64_t round = 0; round < rounds; round++) {
        problem x = make(round, dtype);
        plain(&x);
        x.p.bias = x.bias;
        if (dtype == FV_F32)
            run_f32(&x);
        else
            assert_int_equal(fv__matmul(&x.p, x.c, x.a, x.b), FV_OK);
        double allowed = tolerance * sqrt((double)x.p.k + 1);
        for (int64_t i = 0; i < x.size_c * x.p.batch + 1; i++)
            if (!(fabs(x.c[i] - x.expected[i]) <= allowed))
                fail_msg("round %d, m %d n %d k %d: element %d is %g, expected %g", (int)round, (int)x.p.m, (int)x.p.n,
                         (int)x.p.k, (int)i, x.c[i], x.expected[i]);
        release(&x);
    }
}

static void f32_against_plain(void **state) {
    (void)state;
    against_plain(FV_F32, 400, 4e-6);
}

static void f64_against_plain(void **state) {
    (void)state;
    against_plain(FV_F64, 200, 1e-14);
}

static void empty_products(void **state) {
    (void)state;
    float c[4] = {1, 2, 3, 4}, a[1] = {0};
    fv__product p = {.dtype = FV_F32, .m = 0, .n = 4, .k = 3, .lda = 3, .ldb = 4, .ldc = 4};
    assert_int_equal(fv__matmul(&p, c, a, a), FV_OK);
    assert_true(c[0] == 1 && c[3] == 4);
    p.m = 1;
    p.k = 0;
    p.lda = 1;
    assert_int_equal(fv__matmul(&p, c, a, a), FV_OK);
    assert_true(c[0] == 0 && c[3] == 0);
}

static void same_bits_for_any_threads(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {
        {4096, 384, 128}, {512, 128, 4096}, {300, 1100, 77}, {64, 16, 128}, {1, 500, 900}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int flip = 0; flip < 4; flip++) {
            int64_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
            fv__product p = {
                .dtype = FV_F32, .m = m, .n = n, .k = k, .a_transposed = flip & 1, .b_transposed = flip & 2};
            p.lda = p.a_transposed ? m : k;
            p.ldb = p.b_transposed ? k : n;
            p.ldc = n;
            double *da = numbers(m * k, 1), *db = numbers(k * n, 2);
            float *a = to_f32(da, m * k), *b = to_f32(db, k * n);
            float *one = fv__alloc_array((size_t)(m * n), 4), *many = fv__alloc_array((size_t)(m * n), 4);
            fv_set_threads(1);
            assert_int_equal(fv__matmul(&p, one, a, b), FV_OK);
            for (int threads = 2; threads <= 4; threads++) {
                fv_set_threads(threads);
                assert_int_equal(fv__matmul(&p, many, a, b), FV_OK);
                assert_memory_equal(one, many, (size_t)(m * n) * 4);
            }
            fv__free(da);
            fv__free(db);
            fv__free(a);
            fv__free(b);
            fv__free(one);
            fv__free(many);
        }
    fv_set_threads(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_against_plain),
        cmocka_unit_test(f64_against_plain),
        cmocka_unit_test(empty_products),
        cmocka_unit_test(same_bits_for_any_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
