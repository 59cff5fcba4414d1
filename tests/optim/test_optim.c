/* Optimizers: known answers, tables that move by rows, clipping, the mean of the weights, state, schedules. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/base.h"
#include "fovea/optim.h"
#include "grad/graph.h"
#include "support/scratch.h"

#define OK(call)                                                           \
    do {                                                                   \
        fv_status ok_ = (call);                                            \
        if (ok_ != FV_OK) fail_msg("%s: %d %s", #call, ok_, fv_message()); \
    } while (0)

static void refused(fv_status found, const char *message) {
    assert_int_equal(found, FV_USAGE);
    if (strcmp(fv_message(), message) != 0) fail_msg("expected: %s\n   found: %s", message, fv_message());
}

/* ---- known answers: one weight whose gradient is written by hand */

enum { DECAYS = FV_PARAM_DECAY };

static fv_params *one_weight(double value, uint32_t flags) {
    fv_params *params;
    OK(fv_params_create(&params, FV_F64, 1));
    OK(fv_params_add(params, "w", 1, (int64_t[]){1}, FV_INIT(ZEROS, 0), flags, NULL));
    OK(fv_params_grads(params));
    *(double *)fv_params_get(params, 0).value.data = value;
    return params;
}

static double *weight(const fv_params *params) { return fv_params_get(params, 0).value.data; }
static double *gradient(const fv_params *params) { return fv_params_get(params, 0).grad.data; }

static void near(double found, double expected) {
    if (!(fabs(found - expected) <= 1e-14 * fmax(1, fabs(expected)))) fail_msg("%.17g, not %.17g", found, expected);
}

/* Loshchilov and Hutter, algorithm 2. */
static void test_adamw(void **state) {
    (void)state;
    for (int decays = 0; decays < 2; decays++) {
        fv_params *params = one_weight(0.7, decays ? DECAYS : 0);
        fv_optimizer *o;
        double w = 0.7, m = 0, v = 0, rate = 0.01, beta1 = 0.8, beta2 = 0.95, decay = decays ? 0.1 : 0;
        OK(fv_optimizer_create(
            &o, params,
            &(fv_optimizer_options){
                .learning_rate = rate, .weight_decay = 0.1, .beta1 = beta1, .beta2 = beta2, .epsilon = 1e-6}));
        for (int t = 1; t <= 5; t++) {
            double g = (t - 2.5) * 0.5;
            *gradient(params) = t - 2.5;
            fv_optimizer_scale_grads(o, 0.5);
            OK(fv_optimizer_step(o));
            m = beta1 * m + (1 - beta1) * g, v = beta2 * v + (1 - beta2) * g * g;
            w -= rate * decay * w;
            w -= rate * (m / (1 - pow(beta1, t))) / (sqrt(v / (1 - pow(beta2, t))) + 1e-6);
            near(*weight(params), w);
        }
        assert_int_equal(fv_optimizer_steps(o), 5);
        fv_optimizer_free(o);
        fv_params_free(params);
    }
}

/* No options: learning rate 0.001, betas 0.9 and 0.999, epsilon 1e-8, no decay. Two steps worked out: after one the
 * corrected moments are g and g^2; after gradients 2 and -1, m = 0.19 * (0.9 * 2 - 1) / 0.19 / ... as below. */
static void test_defaults(void **state) {
    (void)state;
    fv_params *params = one_weight(1, DECAYS);
    fv_optimizer *o;
    OK(fv_optimizer_create(&o, params, NULL));
    *gradient(params) = 2;
    OK(fv_optimizer_step(o));
    double first = 1 - 0.001 * 2 / (2 + 1e-8);
    near(*weight(params), first);
    *gradient(params) = -1;
    OK(fv_optimizer_step(o));
    double m = (0.9 * 0.2 - 0.1) / 0.19, v = (0.999 * 0.004 + 0.001) / (1 - 0.998001);
    assert_true(fabs(*weight(params) - (first - 0.001 * m / (sqrt(v) + 1e-8))) < 1e-12);
    fv_optimizer_free(o);
    fv_params_free(params);
}

/* Gradient 0.5 three times from 1 with rate 0.1; the numbers are worked out by hand. */
static void test_sgd(void **state) {
    (void)state;
    static const struct {
        double momentum, decay;
        bool nesterov;
        double expected[3];
    } cases[] = {
        {0, 0, false, {0.95, 0.90, 0.85}},
        {0, 0.2, false, {0.93, 0.8614, 0.794172}},   /* w - 0.1 (0.5 + 0.2 w) */
        {0.9, 0, false, {0.95, 0.855, 0.7195}},      /* v = 0.5, 0.95, 1.355 */
        {0.9, 0, true, {0.905, 0.7695, 0.59755}},    /* w - 0.1 (0.5 + 0.9 v) */
        {0.9, 0.2, false, {0.93, 0.7984, 0.613992}}, /* v = 0.7, 1.316, 1.84408 */
        {0.9, 0.2, true, {0.867, 0.682354, 0.455849148}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fv_params *params = one_weight(1, DECAYS);
        fv_optimizer *o;
        OK(fv_optimizer_create(&o, params,
                               &(fv_optimizer_options){.optimizer = "sgd",
                                                       .learning_rate = 0.1,
                                                       .weight_decay = cases[i].decay,
                                                       .momentum = cases[i].momentum,
                                                       .nesterov = cases[i].nesterov}));
        for (int t = 0; t < 3; t++) {
            *gradient(params) = 2;
            fv_optimizer_scale_grads(o, 0.25);
            OK(fv_optimizer_step(o));
            near(*weight(params), cases[i].expected[t]);
        }
        fv_optimizer_free(o);
        fv_params_free(params);
    }
}

/* A number below zero is zero: without memory AdamW walks by the sign of the gradient. */
static void test_below_zero(void **state) {
    (void)state;
    fv_params *params = one_weight(1, 0);
    fv_optimizer *o;
    OK(fv_optimizer_create(&o, params, &(fv_optimizer_options){.learning_rate = 0.25, .beta1 = -1, .beta2 = -1}));
    for (int t = 1; t <= 3; t++) {
        *gradient(params) = t % 2 ? 3 : -0.01;
        OK(fv_optimizer_step(o));
        assert_true(fabs(*weight(params) - (t % 2 ? 0.75 : 1)) < 1e-6);
    }
    fv_optimizer_free(o);
    fv_params_free(params);
}

static void test_refused(void **state) {
    (void)state;
    fv_params *params = one_weight(1, 0);
    fv_optimizer *o;
    refused(fv_optimizer_create(&o, params, &(fv_optimizer_options){.optimizer = "adam"}),
            "unknown optimizer\n  expected one of: adamw, sgd\n  found:   \"adam\"\n  try:     adamw");
    assert_null(o);
    const fv_optimizer_options bad[] = {
        {.learning_rate = NAN}, {.learning_rate = INFINITY}, {.beta1 = 1},     {.beta2 = 1.5},
        {.epsilon = -1},        {.weight_decay = -0.1},      {.ema_decay = 1}, {.optimizer = "sgd", .momentum = 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(fv_optimizer_create(&o, params, &bad[i]), FV_USAGE);
    OK(fv_optimizer_create(&o, params, &(fv_optimizer_options){.ema_decay = 0.9}));
    fv_optimizer_show_average(o);
    refused(fv_optimizer_step(o),
            "fv_optimizer_step: what is in the place of the weights\n  expected the weights\n  found:   their mean\n"
            "  try:     fv_optimizer_hide_average");
    fv_optimizer_hide_average(o);
    OK(fv_params_add(params, "late", 1, (int64_t[]){3}, FV_INIT(ZEROS, 0), 0, NULL));
    refused(fv_optimizer_step(o),
            "fv_optimizer_step: parameters were added\n  expected 1, as when the optimizer was "
            "created\n  found:   2");
    assert_true(isnan(fv_clip_grad_norm(o, 1)));
    fv_optimizer_zero_grads(o);
    fv_optimizer_free(o);
    fv_params_free(params);
}

/* ---- clipping */

static void test_clipping(void **state) {
    (void)state;
    fv_params *params;
    fv_optimizer *o;
    OK(fv_params_create(&params, FV_F64, 1));
    for (int i = 0; i < 3; i++)
        OK(fv_params_add(params, (const char *[]){"a", "b", "frozen"}[i], 1, (int64_t[]){1}, FV_INIT(ZEROS, 0),
                         i == 2 ? FV_PARAM_FROZEN : 0, NULL));
    OK(fv_optimizer_create(&o, params, &(fv_optimizer_options){.optimizer = "sgd", .learning_rate = 1}));
    double *a = fv_params_get(params, 0).grad.data, *b = fv_params_get(params, 1).grad.data;
    *a = 6, *b = -8, *(double *)fv_params_get(params, 2).grad.data = 100;
    fv_optimizer_scale_grads(o, 0.5);
    near(fv_clip_grad_norm(o, 0), 5); /* no limit */
    near(fv_clip_grad_norm(o, 7), 5); /* shorter */
    near(fv_clip_grad_norm(o, 1), 5);
    OK(fv_optimizer_step(o));
    near(*(double *)fv_params_get(params, 0).value.data, -0.6);
    near(*(double *)fv_params_get(params, 1).value.data, 0.8);
    assert_true(*(double *)fv_params_get(params, 2).value.data == 0);
    near(fv_clip_grad_norm(o, 0), 10); /* the step forgot the factors */
    *a = NAN;
    assert_true(isnan(fv_clip_grad_norm(o, 1)));
    *a = INFINITY;
    assert_true(isinf(fv_clip_grad_norm(o, 1)));
    fv_optimizer_zero_grads(o);
    assert_true(fv_clip_grad_norm(o, 1) == 0 && *a == 0 && *b == 0);
    fv_optimizer_free(o);
    fv_params_free(params);
}

/* ---- tables: a small network with one table, read by row and (tied) as a whole */

enum { V = 700, D = 40 };
typedef enum uses { BY_ROW = 1, IN_BAGS = 2, WHOLE = 4, VIEW = 8 } uses;

typedef struct net {
    fv_params *params;
    fv_graph *graph;
    fv_optimizer *optimizer;
    int table, dense;
} net;

static net net_create(fv_dtype dtype, uint32_t table_flags, const fv_optimizer_options *options) {
    net n;
    OK(fv_params_create(&n.params, dtype, 7));
    OK(fv_params_add(n.params, "table", 2, (int64_t[]){V, D}, FV_INIT(NORMAL, 0.3), table_flags, &n.table));
    OK(fv_params_add(n.params, "dense", 2, (int64_t[]){2 * D, D}, FV_INIT(XAVIER, 1), DECAYS, &n.dense));
    OK(fv_graph_create(&n.graph, n.params));
    OK(fv_optimizer_create(&n.optimizer, n.params, options));
    return n;
}

static void net_free(net *n) {
    fv_optimizer_free(n->optimizer);
    fv_graph_free(n->graph);
    fv_params_free(n->params);
}

static fv_node *read_table(const net *n, uses how, int64_t step, int64_t count, int64_t range) {
    fv_graph *g = n->graph;
    fv_node *table = fv_op_param(g, n->table);
    int32_t ids[2 * V];
    int64_t offsets[2 * V + 1];
    for (int64_t i = 0; i < count; i++) ids[i] = (int32_t)fv__random_below(3, (uint64_t)step, (uint64_t)i, range);
    if (count == 2 * V)
        for (int32_t i = 0; i < V; i++) ids[i] = (i * 37) % V; /* every row, in another order */
    for (int64_t i = 0; i <= count; i++) offsets[i] = i;
    fv_node *x = NULL;
    if (how & VIEW) table = fv_op_reshape(g, table, 2, (int64_t[]){V, D});
    if (how & BY_ROW) x = fv_op_embedding(g, table, ids, count);
    if (how & IN_BAGS) {
        fv_node *bags = fv_op_embedding_bag(g, table, ids, offsets, count, FV_BAG_SUM);
        x = x ? fv_op_add(g, x, bags) : bags;
    }
    return x;
}

static void net_backward(const net *n, uses how, int64_t step, int64_t count, int64_t range) {
    fv_graph *g = n->graph;
    fv_graph_begin(g, FV_MODE_TRAIN, 1);
    fv_node *x = read_table(n, how, step, count, range);
    fv_node *h = fv_op_activation(g, fv_op_linear(g, x, fv_op_param(g, n->dense), NULL), FV_TANH);
    h = fv_op_slice(g, h, 1, 0, D);
    if (how & WHOLE) h = fv_op_linear(g, h, fv_op_param(g, n->table), NULL);
    OK(fv_graph_backward(g, fv_op_mean(g, fv_op_mul(g, h, h)), NULL));
}

static void net_step(const net *n, uses how, int64_t step, int64_t count, int64_t range) {
    net_backward(n, how, step, count, range);
    fv_clip_grad_norm(n->optimizer, 0.01);
    OK(fv_optimizer_step(n->optimizer));
    fv_optimizer_zero_grads(n->optimizer);
}

static bool same_values(const net *a, const net *b) {
    fv_tensor x = fv_params_flat(a->params), y = fv_params_flat(b->params);
    return memcmp(x.data, y.data, (size_t)x.dim[0] * fv_dtype_size(x.dtype)) == 0;
}

/* Where every row is read, in whatever way, a table that moves by rows is the dense parameter. */
static void test_tied(void **state) {
    (void)state;
    static const uses ways[] = {BY_ROW,       IN_BAGS, BY_ROW | IN_BAGS, BY_ROW | WHOLE, BY_ROW | IN_BAGS | WHOLE,
                                BY_ROW | VIEW};
    static const char *const optimizers[] = {"adamw", "sgd"};
    for (size_t i = 0; i < 2 * sizeof ways / sizeof *ways; i++) {
        uses how = ways[i / 2];
        fv_optimizer_options o = {
            .optimizer = optimizers[i % 2], .learning_rate = 0.05, .momentum = 0.9, .ema_decay = 0.9};
        net lazy = net_create(FV_F32, FV_PARAM_SPARSE, &o), dense = net_create(FV_F32, 0, &o);
        bool all = how & (WHOLE | VIEW);
        for (int64_t step = 1; step <= 4; step++) {
            /* different sums of the norm: only without clipping are the bits those of the dense one */
            net_backward(&lazy, how, step, all ? 9 : 2 * V, V);
            net_backward(&dense, how, step, all ? 9 : 2 * V, V);
            assert_int_equal(fv_params_get(lazy.params, lazy.table).touched_count, all ? -1 : V);
            for (int k = 0; k < 2; k++) {
                OK(fv_optimizer_step((k ? &lazy : &dense)->optimizer));
                fv_optimizer_zero_grads((k ? &lazy : &dense)->optimizer);
            }
            assert_true(same_values(&lazy, &dense));
        }
        fv_optimizer_show_average(lazy.optimizer);
        fv_optimizer_show_average(dense.optimizer);
        assert_true(same_values(&lazy, &dense));
        net_free(&lazy);
        net_free(&dense);
    }
}

/* Rows that were not read keep their values, moments and gradients; those that were are listed once, in order. */
static void test_lazy(void **state) {
    (void)state;
    net n = net_create(FV_F32, FV_PARAM_SPARSE | DECAYS, &(fv_optimizer_options){.weight_decay = 0.1});
    static float before[V * D];
    fv_param p = fv_params_get(n.params, n.table);
    memcpy(before, p.value.data, sizeof before);
    fv_graph_begin(n.graph, FV_MODE_TRAIN, 1);
    const int32_t ids[] = {5, 3, 5, 699, 3};
    fv_node *x = fv_op_embedding(n.graph, fv_op_param(n.graph, n.table), ids, 5);
    OK(fv_graph_backward(n.graph, fv_op_sum(n.graph, x), NULL));
    p = fv_params_get(n.params, n.table);
    assert_int_equal(p.touched_count, 3);
    assert_true(p.touched[0] == 5 && p.touched[1] == 3 && p.touched[2] == 699);
    assert_true(fabs(fv_clip_grad_norm(n.optimizer, 0) - sqrt(D * (2.0 * 2 + 2 * 2 + 1))) < 1e-6);
    for (int step = 0; step < 2; step++) { /* a second step by the moments alone: the list was emptied */
        OK(fv_optimizer_step(n.optimizer));
        fv_optimizer_zero_grads(n.optimizer);
    }
    const float *after = p.value.data, *grad = p.grad.data;
    for (int64_t i = 0; i < V * D; i++) {
        bool read = i / D == 5 || i / D == 3 || i / D == 699;
        assert_true(grad[i] == 0);
        if (!read) assert_true(after[i] == before[i]);
        if (read) assert_true(fabs((double)(before[i] - after[i]) - 0.001) < 1e-6); /* one step, no decay */
    }
    assert_int_equal(fv_params_get(n.params, n.table).touched_count, 0);
    net_free(&n);
}

static int64_t touched_after(uint32_t flags, fv_mode mode, bool by_hand) {
    net n = net_create(FV_F32, flags, NULL);
    fv_graph_begin(n.graph, mode, 1);
    fv_node *x = fv_op_embedding(n.graph, fv_op_param(n.graph, n.table), (int32_t[]){1, 1, 2}, 3);
    fv_node *y = fv_op_linear(n.graph, x, fv_op_param(n.graph, n.dense), NULL);
    if (mode != FV_MODE_INFER) OK(fv_graph_backward(n.graph, fv_op_sum(n.graph, y), NULL));
    if (by_hand) fv_params_set_flags(n.params, n.table, flags | FV_PARAM_SPARSE);
    int64_t count = fv_params_get(n.params, n.table).touched_count;
    fv_params_zero_grads(n.params);
    if ((flags & FV_PARAM_SPARSE) || by_hand) assert_int_equal(fv_params_get(n.params, n.table).touched_count, 0);
    net_free(&n);
    return count;
}

static void test_touched(void **state) {
    (void)state;
    assert_int_equal(touched_after(FV_PARAM_SPARSE, FV_MODE_TRAIN, false), 2);
    assert_int_equal(touched_after(FV_PARAM_SPARSE, FV_MODE_INFER, false), 0);
    assert_int_equal(touched_after(FV_PARAM_SPARSE, FV_MODE_TRACE, false), 0);
    assert_int_equal(touched_after(FV_PARAM_SPARSE | FV_PARAM_FROZEN, FV_MODE_TRAIN, false), 0);
    assert_int_equal(touched_after(0, FV_MODE_TRAIN, false), -1);
    assert_int_equal(touched_after(0, FV_MODE_TRAIN, true), -1); /* a table from now on: nobody took notes before */
}

/* ---- threads */

static void test_threads(void **state) {
    (void)state;
    static const char *const optimizers[] = {"adamw", "sgd"};
    for (int k = 0; k < 4; k++) {
        fv_optimizer_options o = {
            .optimizer = optimizers[k % 2], .momentum = 0.9, .nesterov = k > 1, .weight_decay = 0.1, .ema_decay = 0.8};
        net first = {0};
        for (int threads = 1; threads <= 4; threads++) {
            fv_set_threads(threads);
            net n = net_create(FV_F32, FV_PARAM_SPARSE, &o);
            for (int64_t step = 1; step <= 6; step++)
                net_step(&n, step == 4 ? BY_ROW | WHOLE : BY_ROW | IN_BAGS, step, 600, 500);
            if (threads == 1)
                first = n;
            else {
                assert_true(same_values(&first, &n));
                fv_optimizer_show_average(n.optimizer);
                fv_optimizer_show_average(first.optimizer);
                assert_true(same_values(&first, &n));
                fv_optimizer_hide_average(first.optimizer);
                net_free(&n);
            }
        }
        net_free(&first);
    }
    fv_set_threads(0);
}

/* ---- the mean of the weights: by its definition over all weights after every step, against the lazy one */

static void test_average(void **state) {
    (void)state;
    enum { STEPS = 7 };
    for (int dtype = 0; dtype < 2; dtype++) {
        net n = net_create(dtype ? FV_F64 : FV_F32, FV_PARAM_SPARSE,
                           &(fv_optimizer_options){.learning_rate = 0.01, .ema_decay = 0.8});
        fv_tensor flat = fv_params_flat(n.params);
        int64_t count = flat.dim[0], moved = 0, still = 0;
        double *expected = calloc((size_t)count, sizeof *expected), *start = calloc((size_t)count, sizeof *start);
        for (int64_t i = 0; i < count; i++) start[i] = fv_tensor_get(&flat, &i);
        for (int64_t step = 1; step <= STEPS; step++) {
            net_step(&n, BY_ROW, step, 5, 30);
            for (int64_t i = 0; i < count; i++) expected[i] = 0.8 * expected[i] + 0.2 * fv_tensor_get(&flat, &i);
        }
        double *raw = calloc((size_t)count, sizeof *raw), tolerance = dtype ? 1e-14 : 1e-6;
        for (int64_t i = 0; i < count; i++) raw[i] = fv_tensor_get(&flat, &i);
        fv_optimizer_show_average(n.optimizer);
        fv_optimizer_show_average(n.optimizer); /* a second look is the same */
        for (int64_t i = 0; i < count; i++) {
            double shown = fv_tensor_get(&flat, &i);
            assert_true(fabs(expected[i] / (1 - pow(0.8, STEPS)) - shown) < tolerance);
            moved += raw[i] != start[i], still += raw[i] == start[i] && start[i] != 0;
        }
        assert_true(moved > 100 && still > 100); /* rows that no step read have not moved */
        fv_optimizer_hide_average(n.optimizer);
        for (int64_t i = 0; i < count; i++) assert_true(fv_tensor_get(&flat, &i) == raw[i]);
        free(expected);
        free(start);
        free(raw);
        net_free(&n);
    }
}

/* ---- state: a run that was stopped and went on is the unbroken run */

static void keep(const net *n, const char *path) {
    fv_named_tensor tensors[FV_OPTIMIZER_STATES];
    char steps[32];
    int count = fv_optimizer_state(n->optimizer, tensors);
    snprintf(steps, sizeof steps, "%lld", (long long)fv_optimizer_steps(n->optimizer));
    OK(fv_safetensors_write(path, tensors, count, (const char *[]){"steps", steps, NULL}));
}

static void restore(const net *n, const char *path) {
    fv_named_tensor tensors[FV_OPTIMIZER_STATES];
    fv_tensor_file *file;
    int count = fv_optimizer_state(n->optimizer, tensors);
    OK(fv_tensor_file_open(&file, path));
    assert_int_equal(fv_tensor_file_count(file), count);
    for (int i = 0; i < count; i++) {
        fv_tensor from;
        OK(fv_tensor_file_find(file, tensors[i].name, &from));
        OK(fv_tensor_copy(&tensors[i].tensor, &from));
    }
    fv_optimizer_set_steps(n->optimizer, strtoll(fv_tensor_file_metadata(file, "steps"), NULL, 10));
    fv_tensor_file_close(file);
}

static void test_state(void **state) {
    (void)state;
    static const struct {
        fv_optimizer_options options;
        const char *names;
    } cases[] = {{{.learning_rate = 0.01}, "moment1 moment2 average averaged "},
                 {{.learning_rate = 0.01, .ema_decay = 0.9}, "moment1 moment2 average averaged "},
                 {{.optimizer = "sgd"}, "average averaged "},
                 {{.optimizer = "sgd", .momentum = 0.9, .ema_decay = 0.5}, "momentum average averaged "}};
    const char *weights = scratch_path("weights.safetensors"), *moments = scratch_path("moments.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        net whole = net_create(FV_F32, FV_PARAM_SPARSE, &cases[i].options);
        net part = net_create(FV_F32, FV_PARAM_SPARSE, &cases[i].options);
        fv_named_tensor tensors[FV_OPTIMIZER_STATES];
        char names[100] = "";
        for (int k = 0; k < fv_optimizer_state(part.optimizer, tensors); k++)
            strcat(strcat(names, tensors[k].name), " ");
        assert_string_equal(names, cases[i].names);
        for (int64_t step = 1; step <= 8; step++) {
            net_step(&whole, BY_ROW, step, 20, V);
            net_step(&part, BY_ROW, step, 20, V);
            if (step != 4) continue;
            OK(fv_params_save(part.params, weights));
            keep(&part, moments);
            net_free(&part);
            part = net_create(FV_F32, FV_PARAM_SPARSE, &cases[i].options);
            OK(fv_params_load(part.params, weights));
            restore(&part, moments);
        }
        assert_true(same_values(&whole, &part));
        fv_optimizer_show_average(whole.optimizer);
        fv_optimizer_show_average(part.optimizer);
        assert_true(same_values(&whole, &part));
        net_free(&whole);
        net_free(&part);
    }
}

/* ---- nothing is allocated from the second step on */

static void test_allocations(void **state) {
    (void)state;
    net n = net_create(FV_F32, FV_PARAM_SPARSE, &(fv_optimizer_options){.ema_decay = 0.9});
    int64_t allocated = 0;
    for (int64_t step = 1; step <= 6; step++) {
        net_step(&n, step % 2 ? BY_ROW : BY_ROW | WHOLE, 1, 50, V);
        fv_optimizer_show_average(n.optimizer);
        fv_optimizer_hide_average(n.optimizer);
        if (step == 2) allocated = fv__alloc_count();
    }
    assert_int_equal(fv__alloc_count(), allocated);
    net_free(&n);
}

/* ---- schedules */

static void test_schedules(void **state) {
    (void)state;
    fv_schedule s = {0};
    assert_true(fv_schedule_at(&s, 0) == 1 && fv_schedule_at(&s, 99) == 1); /* zero: constant */
    static const struct {
        fv_schedule schedule;
        double done, expected;
    } cases[] = {
        {{FV_SCHEDULE_CONSTANT, 10, 100}, 5, 0.5},
        {{FV_SCHEDULE_CONSTANT, 10, 100}, 50, 1},
        {{FV_SCHEDULE_LINEAR, 10, 110}, 0, 0},
        {{FV_SCHEDULE_LINEAR, 10, 110}, 10, 1},
        {{FV_SCHEDULE_LINEAR, 10, 110}, 60, 0.5},
        {{FV_SCHEDULE_LINEAR, 10, 110}, 110, 0},
        {{FV_SCHEDULE_LINEAR, 10, 110}, 500, 0},
        {{FV_SCHEDULE_LINEAR, 0, 0}, 0.25, 0.75}, /* shares */
        {{FV_SCHEDULE_LINEAR, 1, 0}, 1, 0},
        {{FV_SCHEDULE_COSINE, 10, 110}, 10, 1},
        {{FV_SCHEDULE_COSINE, 10, 110}, 35, 0.85355339059327376}, /* (1 + cos(pi / 4)) / 2 */
        {{FV_SCHEDULE_COSINE, 10, 110}, 60, 0.5},
        {{FV_SCHEDULE_COSINE, 10, 110}, 110, 0},
        {{FV_SCHEDULE_INVERSE_SQRT, 16, 100}, 4, 0.25},
        {{FV_SCHEDULE_INVERSE_SQRT, 16, 100}, 16, 1},
        {{FV_SCHEDULE_INVERSE_SQRT, 16, 100}, 64, 0.5},
        {{FV_SCHEDULE_INVERSE_SQRT, 16, 100}, 256, 0.25},
        {{FV_SCHEDULE_INVERSE_SQRT, 0, 100}, 64, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double found = fv_schedule_at(&cases[i].schedule, cases[i].done);
        if (!(fabs(found - cases[i].expected) < 1e-15))
            fail_msg("schedule %zu: %.17g, not %.17g", i, found, cases[i].expected);
    }
    for (int kind = 0; kind < FV_SCHEDULES; kind++) {
        fv_schedule_kind found;
        OK(fv_schedule_find(&found, fv_schedule_name((fv_schedule_kind)kind)));
        assert_int_equal(found, kind);
    }
    assert_null(fv_schedule_name(FV_SCHEDULES));
    refused(fv_schedule_find(&s.kind, "cosin"),
            "unknown schedule\n  expected one of: constant, linear, cosine, inverse-sqrt\n"
            "  found:   \"cosin\"\n  try:     cosine");
}

static void test_kinds(void **state) {
    (void)state;
    assert_string_equal(fv_optimizer_kind_at(0)->name, "adamw");
    assert_null(fv_optimizer_kind_at(fv_optimizer_kind_count()));
    assert_null(fv_optimizer_kind_find("lion"));
    for (size_t i = 0; i < fv_optimizer_kind_count(); i++) {
        const fv_optimizer_kind *kind = fv_optimizer_kind_at(i);
        assert_ptr_equal(fv_optimizer_kind_find(kind->name), kind);
        fv_optimizer_options o = {0}, defaults = {0};
        fv_options_init(kind->rows, &defaults); /* zero means what the rows say */
        fv_params *params = one_weight(1, 0);
        fv_optimizer *zero, *said;
        o.optimizer = defaults.optimizer = kind->name;
        OK(fv_optimizer_create(&zero, params, &o));
        OK(fv_optimizer_create(&said, params, &defaults));
        *gradient(params) = 0.3;
        OK(fv_optimizer_step(zero));
        double after = *weight(params);
        *weight(params) = 1;
        OK(fv_optimizer_step(said));
        assert_true(*weight(params) == after && after < 1);
        fv_optimizer_free(zero);
        fv_optimizer_free(said);
        fv_params_free(params);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw),       cmocka_unit_test(test_defaults),  cmocka_unit_test(test_sgd),
        cmocka_unit_test(test_below_zero),  cmocka_unit_test(test_refused),   cmocka_unit_test(test_clipping),
        cmocka_unit_test(test_tied),        cmocka_unit_test(test_lazy),      cmocka_unit_test(test_touched),
        cmocka_unit_test(test_threads),     cmocka_unit_test(test_average),   cmocka_unit_test(test_state),
        cmocka_unit_test(test_allocations), cmocka_unit_test(test_schedules), cmocka_unit_test(test_kinds),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
