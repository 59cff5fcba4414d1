/* Attention in the graph: gradients of every mechanism of the table with respect to every operand it takes, packed
 * and not, from separate leaves and from windows of one projection; plans are kept; calls can be looked at
 * afterwards. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "fovea/grad.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-8
enum { HEADS = 2, WIDTH = 4, ROWS = 9, COLUMNS = HEADS * WIDTH };

static const int32_t cu[] = {0, 4, 4, 9};
static const fv_sequences sequences = {3, cu};

typedef struct attend_case {
    const fv_mechanism *m;
    fv_attention_options options;
    bool packed, one_projection, use_lse;
    int extra; /* leaves after q, k, v (or the one projection) and their operands */
    fv_operand operand[FV_OPERANDS];
} attend_case;

static bool takes(const fv_mechanism *m, int operand) { return (m->needs | m->takes) >> operand & 1; }
static bool has_keys(const fv_mechanism *m) { return m->needs >> FV_K & 1; }

static void set_qkv(fv_graph *g, const attend_case *c, fv_node *const *x, fv_attend *call) {
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is_qkv(p)) {
            if (p != FV_Q && !has_keys(c->m)) continue;
            call->in[p] = c->one_projection ? fv_op_heads(g, x[0], p * COLUMNS, HEADS, WIDTH)
                                            : fv_op_heads(g, x[p], 0, HEADS, WIDTH);
        }
}

static fv_node *flat(fv_graph *g, fv_node *x) {
    fv_tensor v = fv_node_value(x);
    return fv_op_reshape(g, x, 1, (int64_t[]){fv_tensor_count(&v)});
}

static fv_node *attend(fv_graph *g, fv_node *const *x, void *context) {
    const attend_case *c = context;
    fv_attend call = {.name = "test", .options = c->options};
    set_qkv(g, c, x, &call);
    int used = c->one_projection || !has_keys(c->m) ? 1 : 3;
    for (int i = 0; i < c->extra; i++) call.in[c->operand[i]] = x[used + i];
    if (c->packed) call.q_rows = &sequences;
    fv_node *lse, *out = fv_op_attend(g, &call, c->use_lse ? &lse : NULL, NULL);
    out = flat(g, fv_op_merge_heads(g, out));
    return c->use_lse ? fv_op_concat(g, (fv_node *[]){out, fv_op_scale(g, flat(g, lse), 0.5)}, 2, 0) : out;
}

static fv_tensor numbers(fv_tensor shape, uint64_t stream) {
    int64_t count = fv_tensor_count(&shape);
    shape = fv_tensor_of(fv__alloc_array((size_t)count, 8), FV_F64, shape.rank, shape.dim);
    for (int64_t i = 0; i < count; i++) ((double *)shape.data)[i] = fv__random_normal(11, stream, (uint64_t)i);
    return shape;
}

static fv_tensor shape2(int64_t rows, int64_t columns) { return fv_tensor_2d(NULL, FV_F64, rows, columns); }

/* Leaves of the operands the mechanism takes beyond q, k, v; w0.. have the shapes it says. */
static int more_leaves(attend_case *c, fv_tensor *leaf) {
    fv_attention_tensors x = {.t = {[FV_Q] = fv_bhld(NULL, FV_F64, 1, HEADS, ROWS, WIDTH)}};
    if (has_keys(c->m)) x.t[FV_K] = x.t[FV_V] = x.t[FV_Q];
    if (c->packed) x.t[FV_CU_Q] = fv_tensor_1d(NULL, FV_I32, sequences.count + 1);
    c->extra = 0;
    for (int p = 0; p < FV_OPERANDS; p++) {
        fv_tensor shape = {.rank = 0};
        if (!takes(c->m, p) || !fv_operand_is(p, FV_ROLE_DIFFERENTIABLE) || fv_operand_is_qkv(p)) continue;
        if (p == FV_STATE && (c->m->can & FV_CAN_DECODE)) continue; /* in causal calls only */
        if (p == FV_BIAS && !c->packed) shape = fv_bhld(NULL, FV_F64, 1, HEADS, ROWS, ROWS);
        if (p != FV_BIAS) assert_int_equal(fv_attention_operand_shape(&c->options, &x, (fv_operand)p, &shape), FV_OK);
        if (!shape.rank) continue;
        leaf[c->extra] = numbers(shape, 50 + (uint64_t)p);
        c->operand[c->extra++] = (fv_operand)p;
    }
    return c->extra;
}

static void check(attend_case *c, const char *what) {
    fv_tensor leaf[FV_OPERANDS];
    int count = 0;
    if (c->one_projection)
        leaf[count++] = numbers(shape2(ROWS, (has_keys(c->m) ? 3 : 1) * COLUMNS), 1);
    else
        for (int p = 0; p < (has_keys(c->m) ? 3 : 1); p++) leaf[count++] = numbers(shape2(ROWS, COLUMNS), (uint64_t)p);
    count += more_leaves(c, leaf + count);
    double worst;
    if (fv_grad_check(attend, c, leaf, count, NULL, 3, TOLERANCE, &worst) != FV_OK)
        fail_msg("%s, %s: %s", c->m->name, what, fv_message());
    for (int i = 0; i < count; i++) fv__free(leaf[i].data);
}

static void every_mechanism(void **state) {
    (void)state;
    for (size_t i = 0; i < fv_mechanism_count(); i++) {
        const fv_mechanism *m = fv_mechanism_at(i);
        if (!(m->can & FV_CAN_BACKWARD)) continue;
        attend_case c = {.m = m, .options = FV_ATTENTION_DEFAULT};
        c.options.mechanism = m->examples[0];
        check(&c, "plain");
        c.one_projection = true;
        check(&c, "one projection");
        if (!(m->can & FV_CAN_VARLEN)) continue;
        c.packed = true;
        check(&c, "packed, one projection");
        c.one_projection = false;
        check(&c, "packed");
        c.options.causal = m->can & FV_CAN_CAUSAL ? FV_CAUSAL_UPPER_LEFT : FV_CAUSAL_NONE;
        c.options.dropout = m->can & FV_CAN_DROPOUT ? 0.3 : 0;
        check(&c, "packed, causal, dropout");
    }
}

static void gradient_of_lse(void **state) {
    (void)state;
    for (size_t i = 0; i < fv_mechanism_count(); i++) {
        const fv_mechanism *m = fv_mechanism_at(i);
        if (!(m->can & FV_CAN_BACKWARD) || !has_keys(m)) continue;
        if (takes(m, FV_STATE) && !(m->can & FV_CAN_DECODE)) continue; /* a plain state has none */
        attend_case c = {.m = m, .options = FV_ATTENTION_DEFAULT, .use_lse = true};
        c.options.mechanism = m->examples[0];
        check(&c, "lse");
    }
    attend_case c = {
        .m = fv_mechanism_find("softmax"), .options = FV_ATTENTION_DEFAULT, .use_lse = true, .packed = true};
    c.options.softcap = 2;
    check(&c, "lse, packed, softcap");
}

/* Grouped heads, and one tensor in two operands. */
static fv_node *shared(fv_graph *g, fv_node *const *x, void *context) {
    (void)context;
    fv_attend call = {.options = FV_ATTENTION_DEFAULT};
    call.in[FV_Q] = fv_op_heads(g, x[0], 0, 4, 2);
    call.in[FV_K] = call.in[FV_V] = fv_op_heads(g, x[0], 8, 2, 2);
    return fv_op_attend(g, &call, NULL, NULL);
}

static void shared_inputs(void **state) {
    (void)state;
    fv_tensor leaf = numbers(shape2(6, 12), 4);
    double worst;
    if (fv_grad_check(shared, NULL, &leaf, 1, NULL, 3, TOLERANCE, &worst) != FV_OK) fail_msg("%s", fv_message());
    fv__free(leaf.data);
}

/* ---- after the run */

static fv_node *small_call(fv_graph *g, fv_node *x, const char *name, double dropout) {
    fv_attend call = {.name = name, .options = FV_ATTENTION_DEFAULT, .q_rows = &sequences};
    call.options.dropout = dropout;
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is_qkv(p)) call.in[p] = fv_op_heads(g, x, p * COLUMNS, HEADS, WIDTH);
    return fv_op_merge_heads(g, fv_op_attend(g, &call, NULL, NULL));
}

static fv_tensor random_rows(float *data) {
    for (int i = 0; i < ROWS * 3 * COLUMNS; i++) data[i] = (float)fv__random_normal(2, 2, (uint64_t)i);
    return fv_tensor_2d(data, FV_F32, ROWS, 3 * COLUMNS);
}

/* The weights that a record shows, times the values, are the output of that call. */
static void reproduces(const fv_attention_record *r, fv_capture capture, float *weights) {
    const int64_t rows[2] = {0, 3};
    const fv_tensor w = fv_tensor_2d(weights, FV_F32, 2, 5);
    assert_int_equal(fv_attention_weights(r->plan, &r->call, &r->x, capture, 2, 1, rows, 2, &w), FV_OK);
    for (int i = 0; i < 2; i++) {
        double out = 0;
        for (int j = 0; j < 5; j++)
            out += weights[i * 5 + j] * fv_tensor_get(&r->x.t[FV_V], (int64_t[]){0, 1, 4 + j, 2});
        assert_true(fabs(out - fv_tensor_get(&r->x.t[FV_OUT], (int64_t[]){0, 1, 4 + 3 * i, 2})) < 1e-5);
    }
}

/* Weights of a row sum to one and reproduce the output; the gradient of the output is there. */
static void looking(void **state) {
    (void)state;
    fv_graph *g;
    float data[ROWS * 3 * COLUMNS];
    fv_tensor x = random_rows(data);
    assert_int_equal(fv_graph_create(&g, NULL), FV_OK);
    fv_graph_begin(g, FV_MODE_TRACE, 0);
    fv_node *in = fv_op_leaf(g, &x);
    fv_node *first = small_call(g, in, "one", 0), *second = small_call(g, in, "two", 0);
    assert_int_equal(fv_graph_backward(g, fv_op_sum(g, fv_op_add(g, first, fv_op_scale(g, second, 2))), NULL), FV_OK);
    assert_int_equal(fv_graph_attention_count(g), 2);
    fv_attention_record r;
    assert_int_equal(fv_graph_attention(g, 2, &r), FV_USAGE);
    assert_int_equal(fv_graph_attention(g, 1, &r), FV_OK);
    assert_string_equal(r.name, "two");
    assert_true(fv_tensor_get(&r.x.d[FV_OUT], (int64_t[]){0, 1, 3, 2}) == 2);
    float weights[2 * 5];
    reproduces(&r, FV_CAPTURE_SOFTMAX, weights);
    for (int i = 0; i < 2; i++) {
        double sum = 0;
        for (int j = 0; j < 5; j++) sum += weights[i * 5 + j];
        assert_true(fabs(sum - 1) < 1e-5);
    }
    fv_graph_free(g);
}

/* Two calls share a plan; each record has the dropout of its own call, also after the other one ran. */
static void looking_at_dropout(void **state) {
    (void)state;
    fv_graph *g;
    float data[ROWS * 3 * COLUMNS], weights[2][2 * 5];
    fv_tensor x = random_rows(data);
    fv_attention_record r[2];
    assert_int_equal(fv_graph_create(&g, NULL), FV_OK);
    fv_graph_begin(g, FV_MODE_TRAIN, 7);
    fv_node *in = fv_op_leaf(g, &x), *one = small_call(g, in, "one", 0.5), *two = small_call(g, in, "two", 0.5);
    assert_int_equal(fv_graph_backward(g, fv_op_sum(g, fv_op_add(g, one, two)), NULL), FV_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fv_graph_attention(g, i, &r[i]), FV_OK);
        reproduces(&r[i], FV_CAPTURE_DROPOUT, weights[i]);
    }
    assert_ptr_equal(r[0].plan, r[1].plan);
    assert_memory_not_equal(weights[0], weights[1], sizeof weights[0]);
    fv_graph_free(g);
}

/* A refusal of the plan reaches the graph with its reason; another number of shapes than the cache likes does no
 * harm. */
static void plans(void **state) {
    (void)state;
    fv_graph *g;
    float data[200 * 12] = {0};
    assert_int_equal(fv_graph_create(&g, NULL), FV_OK);
    for (int64_t round = 0; round < 200; round++) {
        fv_tensor x = fv_tensor_2d(data, FV_F32, 1 + round, 12);
        fv_graph_begin(g, FV_MODE_TRAIN, 0);
        fv_node *in = fv_op_leaf(g, &x);
        fv_attend call = {.options = FV_ATTENTION_DEFAULT};
        for (int p = 0; p < FV_OPERANDS; p++)
            if (fv_operand_is_qkv(p)) call.in[p] = fv_op_heads(g, in, p * 4, 2, 2);
        assert_int_equal(fv_graph_backward(g, fv_op_sum(g, fv_op_attend(g, &call, NULL, NULL)), NULL), FV_OK);
    }
    fv_tensor x = fv_tensor_2d(data, FV_F32, 5, 12);
    fv_graph_begin(g, FV_MODE_TRAIN, 0);
    fv_attend call = {.options = FV_ATTENTION_DEFAULT};
    call.options.mechanism = "softmux";
    call.in[FV_Q] = call.in[FV_K] = call.in[FV_V] = fv_op_heads(g, fv_op_leaf(g, &x), 0, 2, 2);
    fv_op_attend(g, &call, NULL, NULL);
    assert_int_equal(fv_graph_status(g), FV_USAGE);
    assert_non_null(strstr(fv_message(), "softmax"));
    fv_graph_free(g);
}

int main(void) {
    fv_set_threads(1); /* tiny problems: nothing to share */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mechanism), cmocka_unit_test(gradient_of_lse),    cmocka_unit_test(shared_inputs),
        cmocka_unit_test(looking),         cmocka_unit_test(looking_at_dropout), cmocka_unit_test(plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
