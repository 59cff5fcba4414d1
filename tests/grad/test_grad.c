/* Gradients of every operation against differences in f64 (<= 1e-8 relative); views, sharing, accumulation. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "fovea/grad.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-8

/* Leaves of an operation: shapes, filled with normal numbers (plus `shift`). */
typedef struct op_case {
    const char *name;
    fv_grad_fn *fn;
    int count;
    int64_t dim[4][FV_MAX_DIMS]; /* zero ends a shape */
    int choice;                  /* handed to fn */
} op_case;

static const int32_t cu[] = {0, 3, 3, 4, 9};
static const fv_sequences sequences = {4, cu};
static const fv_sequences full = {3, (const int32_t[]){0, 3, 4, 9}};

static int choice_of(void *context) { return *(int *)context; }

static fv_node *linear(fv_graph *g, fv_node *const *x, void *c) {
    (void)c;
    return fv_op_linear(g, x[0], x[1], x[2]);
}
static fv_node *linear_of_columns(fv_graph *g, fv_node *const *x, void *c) {
    (void)c;
    return fv_op_linear(g, fv_op_slice(g, x[0], 1, 2, 4), x[1], NULL);
}
static fv_node *matmul(fv_graph *g, fv_node *const *x, void *c) {
    return fv_op_matmul(g, x[0], x[1], choice_of(c) & 1, choice_of(c) & 2);
}
static fv_node *add(fv_graph *g, fv_node *const *x, void *c) {
    (void)c;
    return fv_op_add(g, x[0], x[1]);
}
static fv_node *sub(fv_graph *g, fv_node *const *x, void *c) {
    (void)c;
    return fv_op_sub(g, x[0], x[1]);
}
static fv_node *mul(fv_graph *g, fv_node *const *x, void *c) {
    (void)c;
    return fv_op_mul(g, x[0], x[1]);
}
static fv_node *square_and_more(fv_graph *g, fv_node *const *x, void *c) { /* one input in several places */
    (void)c;
    return fv_op_add(g, fv_op_mul(g, x[0], x[0]), fv_op_sub(g, fv_op_scale(g, x[0], -3), x[0]));
}
static fv_node *activation(fv_graph *g, fv_node *const *x, void *c) {
    return fv_op_activation(g, x[0], (fv_activation)choice_of(c));
}
static fv_node *dropout(fv_graph *g, fv_node *const *x, void *c) {
    (void)c;
    return fv_op_add(g, fv_op_dropout(g, x[0], 0.4), fv_op_dropout(g, x[0], 0.2));
}
static fv_node *layer_norm(fv_graph *g, fv_node *const *x, void *c) {
    const int given = choice_of(c); /* bit 0: bias, bit 1: weight */
    return fv_op_layer_norm(g, x[0], given & 2 ? x[1] : NULL, given & 1 ? x[2] : NULL, 1e-5);
}
static fv_node *rms_norm(fv_graph *g, fv_node *const *x, void *c) {
    return fv_op_rms_norm(g, x[0], choice_of(c) ? x[1] : NULL, 1e-6);
}
static fv_node *softmax(fv_graph *g, fv_node *const *x, void *c) {
    return choice_of(c) ? fv_op_log_softmax(g, x[0]) : fv_op_softmax(g, x[0]);
}
static fv_node *views(fv_graph *g, fv_node *const *x, void *c) {
    (void)c;
    fv_node *turned = fv_op_transpose(g, x[0], 0, 2); /* [4,3,2] */
    fv_node *part = fv_op_slice(g, turned, 0, 1, 3);  /* [3,3,2] */
    fv_node *flat = fv_op_reshape(g, part, 2, (int64_t[]){6, 3});
    return fv_op_add(g, fv_op_mul(g, flat, flat),
                     fv_op_reshape(g, fv_op_slice(g, x[0], 2, 0, 3), 2, (int64_t[]){6, 3}));
}
static fv_node *heads(fv_graph *g, fv_node *const *x, void *c) {
    (void)c;
    fv_node *h = fv_op_heads(g, x[0], 2, 2, 3); /* (1,2,T,3) of [T,9] */
    return fv_op_merge_heads(g, fv_op_mul(g, h, h));
}
static fv_node *concat(fv_graph *g, fv_node *const *x, void *c) {
    return fv_op_concat(g, (fv_node *[]){x[0], x[1], x[0]}, 3, choice_of(c));
}
static fv_node *sums(fv_graph *g, fv_node *const *x, void *c) {
    fv_node *square = fv_op_mul(g, x[0], x[0]);
    return choice_of(c) ? fv_op_mean(g, square) : fv_op_sum(g, square);
}
static fv_node *embedding(fv_graph *g, fv_node *const *x, void *c) {
    (void)c;
    return fv_op_embedding(g, x[0], (const int32_t[]){3, 0, 3, 3, 1, 6}, 6);
}
static fv_node *bags(fv_graph *g, fv_node *const *x, void *c) {
    static const int32_t ids[] = {3, 0, 3, 3, 1, 6, 6};
    static const int64_t offsets[] = {0, 2, 2, 3, 7};
    return fv_op_embedding_bag(g, x[0], ids, offsets, 4, (fv_bag)choice_of(c));
}
static fv_node *sinusoidal(fv_graph *g, fv_node *const *x, void *c) {
    (void)c;
    return fv_op_add_sinusoidal(g, x[0], &sequences, NULL);
}
static fv_node *learned(fv_graph *g, fv_node *const *x, void *c) {
    (void)c;
    return fv_op_add_positions(g, x[0], x[1], &sequences, NULL);
}
static fv_node *rope(fv_graph *g, fv_node *const *x, void *c) {
    return fv_op_rope(g, x[0], &sequences, NULL, (fv_rope_pairing)choice_of(c), 100);
}
static fv_node *rope_heads(fv_graph *g, fv_node *const *x, void *c) {
    fv_node *both = fv_op_rope(g, fv_op_heads(g, x[0], 0, 2, 4), &sequences, (const int64_t[]){2, 0, 5, 1},
                               (fv_rope_pairing)choice_of(c), 100);
    return fv_op_mul(g, both, fv_op_heads(g, x[0], 2, 2, 4));
}
static fv_node *pool(fv_graph *g, fv_node *const *x, void *c) {
    return fv_op_pool(g, x[0], &sequences, (fv_pool)choice_of(c));
}
static fv_node *pool_attention(fv_graph *g, fv_node *const *x, void *c) {
    (void)c;
    return fv_op_pool_weighted(g, x[0], fv_op_softmax_rows(g, x[1], &sequences), &sequences);
}
static fv_node *softmax_rows(fv_graph *g, fv_node *const *x, void *c) {
    (void)c;
    return fv_op_softmax_rows(g, x[0], &full);
}
static fv_node *labels(fv_graph *g, fv_node *const *x, void *c) {
    fv_targets t = {.labels = (const int32_t[]){2, -1, 0, 4}};
    if (choice_of(c) & 1) t.label_smoothing = 0.1;
    static const float of_class[] = {0.5f, 1, 2, 1, 3}, of_row[] = {1, 2, 0.25f, 1};
    if (choice_of(c) & 2) t.class_weights = of_class;
    if (choice_of(c) & 4) t.row_weights = of_row;
    fv_node *loss = fv_op_cross_entropy(g, x[0], &t);
    return choice_of(c) & 8 ? fv_op_add(g, loss, fv_op_mean(g, x[0])) : loss; /* 8: a gradient that is there already */
}
static fv_node *soft(fv_graph *g, fv_node *const *x, void *c) {
    static const double p[20] = {.2, .8, 0, 0, 0, .1, .2, .3, .4, 0, 0, 0, 0, 0, 1, .5, .5, 0, 0, 0};
    fv_tensor t = fv_tensor_2d((void *)(uintptr_t)p, FV_F64, 4, 5);
    return fv_op_cross_entropy(g, x[0], &(fv_targets){.soft = &t, .label_smoothing = choice_of(c) ? 0.2 : 0});
}
static fv_node *elements(fv_graph *g, fv_node *const *x, void *c) {
    static const double p[6] = {0, 1, .5, 1, 0, .25};
    fv_tensor t = fv_tensor_2d((void *)(uintptr_t)p, FV_F64, 2, 3);
    return choice_of(c) ? fv_op_bce(g, x[0], &t) : fv_op_mse(g, x[0], &t);
}

static const op_case cases[] = {
    {"linear", linear, 3, {{2, 5, 4}, {3, 4}, {3}}, 0},
    {"linear of columns", linear_of_columns, 2, {{5, 7}, {3, 4}}, 0},
    {"matmul", matmul, 2, {{3, 4}, {4, 5}}, 0},
    {"matmul", matmul, 2, {{4, 3}, {4, 5}}, 1},
    {"matmul", matmul, 2, {{3, 4}, {5, 4}}, 2},
    {"matmul", matmul, 2, {{4, 3}, {5, 4}}, 3},
    {"batched matmul", matmul, 2, {{2, 2, 3, 4}, {2, 2, 4, 2}}, 0},
    {"batched matmul", matmul, 2, {{3, 4, 3}, {3, 2, 4}}, 3},
    {"add", add, 2, {{3, 4}, {3, 4}}, 0},
    {"add a row", add, 2, {{2, 3, 4}, {4}}, 0},
    {"sub", sub, 2, {{3, 4}, {3, 4}}, 0},
    {"sub a row", sub, 2, {{2, 3, 4}, {3, 4}}, 0},
    {"mul", mul, 2, {{3, 4}, {3, 4}}, 0},
    {"mul a row", mul, 2, {{2, 3, 4}, {4}}, 0},
    {"one input many times", square_and_more, 1, {{3, 4}}, 0},
    {"gelu", activation, 1, {{4, 7}}, FV_GELU},
    {"gelu tanh", activation, 1, {{4, 7}}, FV_GELU_TANH},
    {"relu", activation, 1, {{4, 7}}, FV_RELU},
    {"silu", activation, 1, {{4, 7}}, FV_SILU},
    {"tanh", activation, 1, {{4, 7}}, FV_TANH},
    {"sigmoid", activation, 1, {{4, 7}}, FV_SIGMOID},
    {"log sigmoid", activation, 1, {{4, 7}}, FV_LOG_SIGMOID},
    {"dropout", dropout, 1, {{5, 6}}, 0},
    {"layer norm", layer_norm, 3, {{2, 3, 6}, {6}, {6}}, 3},
    {"layer norm without bias", layer_norm, 2, {{3, 6}, {6}}, 2},
    {"layer norm without weight", layer_norm, 1, {{3, 6}}, 0},
    {"rms norm", rms_norm, 2, {{3, 6}, {6}}, 1},
    {"rms norm without weight", rms_norm, 1, {{3, 6}}, 0},
    {"softmax", softmax, 1, {{2, 3, 5}}, 0},
    {"log softmax", softmax, 1, {{4, 5}}, 1},
    {"views", views, 1, {{2, 3, 4}}, 0},
    {"heads", heads, 1, {{5, 9}}, 0},
    {"concat rows", concat, 2, {{2, 3}, {1, 3}}, 0},
    {"concat columns", concat, 2, {{2, 3}, {2, 4}}, 1},
    {"sum", sums, 1, {{3, 4}}, 0},
    {"mean", sums, 1, {{3, 4}}, 1},
    {"embedding", embedding, 1, {{7, 3}}, 0},
    {"bag sum", bags, 1, {{7, 3}}, FV_BAG_SUM},
    {"bag mean", bags, 1, {{7, 3}}, FV_BAG_MEAN},
    {"sinusoidal", sinusoidal, 1, {{9, 5}}, 0},
    {"learned positions", learned, 2, {{9, 5}, {6, 5}}, 0},
    {"rope halves", rope, 1, {{9, 6}}, FV_ROPE_HALF},
    {"rope pairs", rope, 1, {{9, 6}}, FV_ROPE_INTERLEAVED},
    {"rope of heads", rope_heads, 1, {{9, 10}}, FV_ROPE_HALF},
    {"rope of heads", rope_heads, 1, {{9, 10}}, FV_ROPE_INTERLEAVED},
    {"pool mean", pool, 1, {{9, 3}}, FV_POOL_MEAN},
    {"pool max", pool, 1, {{9, 3}}, FV_POOL_MAX},
    {"pool first", pool, 1, {{9, 3}}, FV_POOL_FIRST},
    {"pool sum", pool, 1, {{9, 3}}, FV_POOL_SUM},
    {"attention pooling", pool_attention, 2, {{9, 3}, {9, 1}}, 0},
    {"softmax over rows", softmax_rows, 1, {{9, 2}}, 0},
    {"cross entropy", labels, 1, {{4, 5}}, 0},
    {"cross entropy, smoothing", labels, 1, {{4, 5}}, 1},
    {"cross entropy, weights", labels, 1, {{4, 5}}, 7},
    {"cross entropy, shared", labels, 1, {{4, 5}}, 9},
    {"soft targets", soft, 1, {{4, 5}}, 0},
    {"soft targets, smoothing", soft, 1, {{4, 5}}, 1},
    {"squares", elements, 1, {{2, 3}}, 0},
    {"binary cross entropy", elements, 1, {{2, 3}}, 1},
};

/* Numbers away from zero, where relu and max have their kinks: |x| >= 0.05. */
static fv_tensor numbers(const int64_t *dim, uint64_t stream) {
    int rank = 0;
    while (rank < FV_MAX_DIMS && dim[rank]) rank++;
    fv_tensor t = fv_tensor_of(NULL, FV_F64, rank, dim);
    int64_t count = fv_tensor_count(&t);
    double *x = t.data = fv__alloc_array((size_t)count, sizeof *x);
    for (int64_t i = 0; i < count; i++) {
        x[i] = fv__random_normal(3, stream, (uint64_t)i);
        x[i] += x[i] < 0 ? -0.05 : 0.05;
    }
    return t;
}

static void every_operation(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        op_case c = cases[i];
        fv_tensor leaves[4];
        for (int j = 0; j < c.count; j++) leaves[j] = numbers(c.dim[j], 10 * i + (uint64_t)j);
        double worst = -1;
        if (fv_grad_check(c.fn, &c.choice, leaves, c.count, NULL, i, TOLERANCE, &worst) != FV_OK)
            fail_msg("%s (%d): %s", c.name, c.choice, fv_message());
        assert_true(worst >= 0);
        for (int j = 0; j < c.count; j++) fv__free(leaves[j].data);
    }
}

/* A backward that is wrong must not pass: the check is checked. */
static fv_node *tilted(fv_graph *g, fv_node *const *x, void *c) {
    double *kept = c; /* a value that follows the input but hides it from backward */
    fv_tensor v = fv_node_value(x[0]);
    *kept = 1e-6 * *(double *)v.data;
    fv_tensor t = fv_tensor_1d(kept, FV_F64, 1);
    return fv_op_add(g, fv_op_sum(g, fv_op_mul(g, x[0], x[0])), fv_op_constant(g, &t));
}

static void check_finds_faults(void **state) {
    (void)state;
    fv_tensor leaf = numbers((int64_t[]){3, 0}, 1);
    double kept, worst;
    assert_int_equal(fv_grad_check(tilted, &kept, &leaf, 1, NULL, 1, TOLERANCE, &worst), FV_FAIL);
    assert_true(worst > 1e-8 && worst < 1e-4);
    fv__free(leaf.data);
}

/* ---- parameters */

static void parameters(void **state) {
    (void)state;
    fv_params *p, *q;
    int a, b, c;
    assert_int_equal(fv_params_create(&p, FV_F32, 7), FV_OK);
    assert_int_equal(fv_params_add(p, "a.weight", 2, (int64_t[]){3, 5}, FV_INIT(XAVIER, 1), FV_PARAM_DECAY, &a), FV_OK);
    assert_int_equal(fv_params_add(p, "b", 1, (int64_t[]){5}, FV_INIT(ONES, 0), 0, &b), FV_OK);
    assert_int_equal(fv_params_add(p, "c", 1, (int64_t[]){2000}, FV_INIT(NORMAL, 2), FV_PARAM_FROZEN, &c), FV_OK);
    assert_int_equal(fv_params_add(p, "b", 1, (int64_t[]){5}, FV_INIT(ONES, 0), 0, &b), FV_USAGE);
    assert_int_equal(fv_params_add(p, "d", 1, (int64_t[]){-5}, FV_INIT(ONES, 0), 0, &b), FV_USAGE);
    assert_int_equal(fv_params_add(p, "d", 2, (int64_t[]){INT64_MAX, 9}, FV_INIT(ONES, 0), 0, &b), FV_USAGE);
    assert_int_equal(fv_params_count(p), 3);
    assert_int_equal(fv_params_find(p, "c"), c);
    assert_int_equal(fv_params_find(p, "x"), -1);
    assert_int_equal(fv_params_elements(p, false), 2020);
    assert_int_equal(fv_params_elements(p, true), 20);
    fv_param pa = fv_params_get(p, a), pc = fv_params_get(p, c);
    assert_true(((uintptr_t)pa.value.data | (uintptr_t)pc.value.data) % 64 == 0);
    assert_true((float *)pc.value.data - (float *)fv_params_flat(p).data == pc.offset);
    double sum = 0, square = 0, bound = sqrt(6.0 / 8);
    for (int i = 0; i < 15; i++) assert_true(fabs(((float *)pa.value.data)[i]) <= bound);
    for (int i = 0; i < 2000; i++) {
        double v = ((float *)pc.value.data)[i];
        sum += v;
        square += v * v;
    }
    assert_true(fabs(sum / 2000) < 0.2 && fabs(square / 2000 - 4) < 0.5);
    /* the value of a parameter is a function of seed and name, whatever else there is */
    assert_int_equal(fv_params_create(&q, FV_F32, 7), FV_OK);
    assert_int_equal(fv_params_add(q, "c", 1, (int64_t[]){2000}, FV_INIT(NORMAL, 2), 0, &c), FV_OK);
    assert_memory_equal(fv_params_get(q, c).value.data, pc.value.data, 8000);
    fv_params_free(p);
    fv_params_free(q);
}

/* Two backwards add up; a frozen parameter gets nothing; TRACE leaves parameters alone but gives gradients of
 * values. */
static void modes(void **state) {
    (void)state;
    fv_params *p;
    fv_graph *g;
    int w, frozen;
    assert_int_equal(fv_params_create(&p, FV_F32, 1), FV_OK);
    assert_int_equal(fv_params_add(p, "w", 1, (int64_t[]){2}, FV_INIT(ONES, 0), 0, &w), FV_OK);
    assert_int_equal(fv_params_add(p, "f", 1, (int64_t[]){2}, FV_INIT(ONES, 0), FV_PARAM_FROZEN, &frozen), FV_OK);
    assert_int_equal(fv_graph_create(&g, p), FV_OK);
    float data[2] = {3, 4};
    fv_tensor x = fv_tensor_1d(data, FV_F32, 2);
    for (int pass = 0; pass < 2; pass++) {
        fv_graph_begin(g, FV_MODE_TRAIN, 0);
        fv_node *y = fv_op_mul(g, fv_op_add(g, fv_op_param(g, w), fv_op_param(g, frozen)), fv_op_constant(g, &x));
        assert_int_equal(fv_graph_backward(g, fv_op_sum(g, y), NULL), FV_OK);
    }
    const float *dw = fv_params_get(p, w).grad.data, *df = fv_params_get(p, frozen).grad.data;
    assert_true(dw[0] == 6 && dw[1] == 8 && df[0] == 0 && df[1] == 0);
    fv_params_zero_grads(p);
    fv_graph_begin(g, FV_MODE_TRACE, 0);
    fv_node *y = fv_op_mul(g, fv_op_param(g, w), fv_op_constant(g, &x));
    assert_int_equal(fv_graph_backward(g, fv_op_sum(g, y), NULL), FV_OK);
    assert_true(dw[0] == 0 && ((float *)fv_node_grad(y).data)[1] == 1);
    fv_graph_begin(g, FV_MODE_INFER, 0);
    y = fv_op_mul(g, fv_op_param(g, w), fv_op_constant(g, &x));
    assert_true(fv_node_scalar(fv_op_sum(g, fv_op_dropout(g, y, 0.5))) == 7);
    assert_int_equal(fv_graph_backward(g, fv_op_sum(g, y), NULL), FV_USAGE);
    fv_graph_free(g);
    fv_params_free(p);
}

/* The first failure stays, later operations do nothing, nothing crashes. */
static void failures_stay(void **state) {
    (void)state;
    fv_graph *g;
    assert_int_equal(fv_graph_create(&g, NULL), FV_OK);
    float data[6] = {0};
    fv_tensor x = fv_tensor_2d(data, FV_F32, 2, 3);
    fv_graph_begin(g, FV_MODE_TRAIN, 0);
    fv_node *a = fv_op_leaf(g, &x), *bad = fv_op_embedding(g, a, (const int32_t[]){0, 2}, 2);
    assert_int_equal(fv_graph_status(g), FV_BAD_DATA);
    assert_non_null(strstr(fv_message(), "id number 1\n  expected 0 to 1, the rows of the table\n  found:   2"));
    fv_node *y = fv_op_sum(g, fv_op_linear(g, bad, a, NULL));
    assert_true(isnan(fv_node_scalar(y)));
    assert_int_equal(fv_graph_backward(g, y, NULL), FV_BAD_DATA);
    fv_graph_begin(g, FV_MODE_TRAIN, 0);
    assert_int_equal(fv_graph_status(g), FV_OK);
    a = fv_op_leaf(g, &x);
    fv_op_matmul(g, a, a, false, false);
    assert_int_equal(fv_graph_status(g), FV_USAGE);
    fv_graph_begin(g, FV_MODE_TRAIN, 0);
    a = fv_op_leaf(g, &x);
    fv_op_pool(g, a, &sequences, FV_POOL_MEAN);
    assert_int_equal(fv_graph_status(g), FV_USAGE);
    fv_graph_begin(g, FV_MODE_TRAIN, 0);
    fv_op_add(g, NULL, NULL);
    assert_int_equal(fv_graph_status(g), FV_USAGE);
    fv_graph_begin(g, FV_MODE_TRAIN, 0);
    a = fv_op_leaf(g, &x);
    fv_op_cross_entropy(g, a, &(fv_targets){.labels = (const int32_t[]){0, 3}});
    assert_int_equal(fv_graph_status(g), FV_BAD_DATA);
    fv_graph_free(g);
}

static void dropout_values(void **state) {
    (void)state;
    enum { N = 40000 };
    fv_graph *g;
    assert_int_equal(fv_graph_create(&g, NULL), FV_OK);
    float *ones = fv__alloc_array(N, sizeof *ones), *first = fv__alloc_array(N, sizeof *first);
    for (int i = 0; i < N; i++) ones[i] = 1;
    fv_tensor x = fv_tensor_1d(ones, FV_F32, N);
    for (uint64_t seed = 1; seed < 3; seed++)
        for (int again = 0; again < 2; again++) {
            fv_graph_begin(g, FV_MODE_TRAIN, seed);
            fv_node *a = fv_op_constant(g, &x);
            const float *y = fv_node_value(fv_op_dropout(g, a, 0.25)).data,
                        *z = fv_node_value(fv_op_dropout(g, a, 0.25)).data;
            int kept = 0;
            for (int i = 0; i < N; i++) {
                assert_true(y[i] == 0 || fabs(y[i] - 4.0 / 3) < 1e-4);
                kept += y[i] != 0;
            }
            assert_true(abs(kept - N * 3 / 4) < 400);
            assert_memory_not_equal(y, z, N * sizeof *y); /* two calls of a step differ */
            if (again) assert_memory_equal(y, first, N * sizeof *y);
            if (seed == 2 && !again) assert_memory_not_equal(y, first, N * sizeof *y);
            memcpy(first, y, N * sizeof *y);
        }
    fv__free(ones);
    fv__free(first);
    fv_graph_free(g);
}

/* Known answers. */
static void positions(void **state) {
    (void)state;
    fv_graph *g;
    assert_int_equal(fv_graph_create(&g, NULL), FV_OK);
    float zero[9 * 4] = {0}, one[9 * 4];
    for (int i = 0; i < 36; i++) one[i] = i % 4 == 0;
    fv_tensor x = fv_tensor_2d(zero, FV_F32, 9, 4), e = fv_tensor_2d(one, FV_F32, 9, 4);
    fv_graph_begin(g, FV_MODE_INFER, 0);
    const float *y = fv_node_value(fv_op_add_sinusoidal(g, fv_op_constant(g, &x), &sequences, NULL)).data;
    assert_true(y[0] == 0 && y[1] == 1 && y[2] == 0 && y[3] == 1); /* row 3 and 4 start sequences too */
    assert_true(y[12] == 0 && y[13] == 1 && y[16] == 0 && y[17] == 1);
    assert_true(fabs(y[20] - sin(1)) < 1e-6 && fabs(y[21] - cos(1)) < 1e-6 && fabs(y[22] - sin(0.01)) < 1e-7);
    const float *h = fv_node_value(fv_op_rope(g, fv_op_constant(g, &e), &sequences, NULL, FV_ROPE_HALF, 10000)).data;
    const float *p =
        fv_node_value(fv_op_rope(g, fv_op_constant(g, &e), &sequences, NULL, FV_ROPE_INTERLEAVED, 10000)).data;
    assert_true(fabs(h[8] - cos(2)) < 1e-6 && h[9] == 0 && fabs(h[10] - sin(2)) < 1e-6); /* pair (0, 2) of row 2 */
    assert_true(fabs(p[8] - cos(2)) < 1e-6 && fabs(p[9] - sin(2)) < 1e-6 && p[10] == 0); /* pair (0, 1) */
    assert_int_equal(fv_graph_status(g), FV_OK);
    fv_op_add_positions(g, fv_op_constant(g, &x), fv_op_slice(g, fv_op_constant(g, &e), 0, 0, 4), &sequences, NULL);
    assert_int_equal(fv_graph_status(g), FV_BAD_DATA); /* the last sequence has 5 rows, the table 4 */
    fv_graph_free(g);
}

/* Mean and inverse deviation by the definition; a failed norm gives tensors without elements. */
static void norm_findings(void **state) {
    (void)state;
    fv_graph *g;
    fv_tensor x = numbers((int64_t[]){2, 3, 5, 0}, 4), mean, rstd;
    assert_int_equal(fv_graph_create(&g, NULL), FV_OK);
    fv_graph_begin(g, FV_MODE_INFER, 0);
    fv_op_layer_norm_found(g, fv_op_constant(g, &x), NULL, NULL, 0.25, &mean, &rstd);
    assert_int_equal(fv_graph_status(g), FV_OK);
    assert_int_equal(fv_tensor_count(&mean), 6);
    assert_int_equal(fv_tensor_count(&rstd), 6);
    for (int64_t r = 0; r < 6; r++) {
        double sum = 0, squares = 0;
        for (int64_t c = 0; c < 5; c++) sum += ((double *)x.data)[r * 5 + c];
        for (int64_t c = 0; c < 5; c++) squares += pow(((double *)x.data)[r * 5 + c] - sum / 5, 2);
        assert_true(fabs(fv_tensor_get(&mean, &r) - sum / 5) < 1e-6);
        assert_true(fabs(fv_tensor_get(&rstd, &r) - 1 / sqrt(squares / 5 + 0.25)) < 1e-6);
    }
    fv_op_layer_norm_found(g, fv_op_constant(g, &x), fv_op_constant(g, &x), NULL, 0.25, &mean, &rstd);
    assert_int_equal(fv_graph_status(g), FV_USAGE);
    assert_int_equal(fv_tensor_count(&mean), 0);
    fv_graph_free(g);
    fv__free(x.data);
}

int main(void) {
    fv_set_threads(1); /* tiny problems: nothing to share */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation), cmocka_unit_test(check_finds_faults), cmocka_unit_test(parameters),
        cmocka_unit_test(modes),           cmocka_unit_test(failures_stay),      cmocka_unit_test(dropout_values),
        cmocka_unit_test(positions),       cmocka_unit_test(norm_findings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
