/* Layers: gradients of all inputs and parameters of every kind (f64, <= 1e-8), names, refusals, known answers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "fovea/nn.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TOLERANCE 1e-8
enum { ROWS = 9, WIDTH = 8 };

static const int32_t cu[] = {0, 4, 4, 9}, memory_cu[] = {0, 3, 4, 6};
static const fv_sequences sequences = {3, cu}, memory_sequences = {3, memory_cu};

static fv_tensor numbers(int64_t rows, int64_t columns, uint64_t stream) {
    double *x = fv__alloc_array((size_t)(rows * columns), sizeof *x);
    for (int64_t i = 0; i < rows * columns; i++) {
        x[i] = fv__random_normal(3, stream, (uint64_t)i);
        x[i] += x[i] < 0 ? -0.05 : 0.05;
    }
    return fv_tensor_2d(x, FV_F64, rows, columns);
}

/* A parameter that starts at zero or one hides faults: everything is shaken. */
static void shake(fv_params *params) {
    for (int i = 0; i < fv_params_count(params); i++) {
        fv_param p = fv_params_get(params, i);
        double *x = p.value.data;
        for (int64_t j = 0; j < fv_tensor_count(&p.value); j++)
            x[j] += 0.3 * fv__random_normal(8, (uint64_t)i, (uint64_t)j);
    }
}

/* ---- every kind through fv_layer_forward */

typedef struct layer_case {
    const char *kind, *settings; /* "name=value name=value" over the defaults; @ is the width */
} layer_case;

static const layer_case cases[] = {
    {"linear", "in=@ out=5"},
    {"linear", "in=@ out=1 bias=false init=0.5"},
    {"norm", "d-model=@"},
    {"norm", "d-model=@ norm=rms"},
    {"norm", "d-model=@ norm=none"},
    {"dropout", "p=0.4"},
    {"feed-forward", "d-model=@ d-ff=6"},
    {"feed-forward", "d-model=@ d-ff=6 activation=gelu-tanh dropout=0.3"},
    {"feed-forward", "d-model=@ d-ff=6 activation=silu bias=false"},
    {"feed-forward", "d-model=@ activation=swiglu"},
    {"multi-head", "d-model=@ heads=2"},
    {"multi-head", "d-model=@ heads=4 kv-heads=2 bias=false positions=rope causal=upper-left sinks=true"},
    {"multi-head", "d-model=@ heads=2 head-dim=3 positions=alibi softcap=3 dropout=0.2"},
    {"multi-head", "d-model=@ heads=2 positions=rope-pairs window-left=1 window-right=1 projected=false"},
    {"positions", "d-model=@ positions=none"},
    {"positions", "d-model=@ positions=sinusoidal"},
    {"positions", "d-model=@ positions=learned max-length=6"},
    {"pooling", "d-model=@ pooling=mean"},
    {"pooling", "d-model=@ pooling=max"},
    {"pooling", "d-model=@ pooling=first"},
    {"pooling", "d-model=@ pooling=attention"},
    {"pooling", "d-model=@ pooling=mean+attention"},
    {"block", "d-model=@ heads=2 d-ff=6"},
    {"block", "d-model=@ heads=2 d-ff=6 order=post norm=rms dropout=0.2 attention-dropout=0.1 activation=gelu-tanh"},
    {"block", "d-model=@ heads=2 kv-heads=1 activation=swiglu causal=upper-left bias=false positions=rope sinks=true"},
};

static void set_options(const fv_layer_kind *kind, void *options, char *settings) {
    fv_options_init(kind->rows, options);
    for (char *word = strtok(settings, " "); word; word = strtok(NULL, " ")) {
        char *equals = strchr(word, '=');
        *equals = '\0';
        if (fv_options_set(kind->rows, options, word, equals + 1) != FV_OK) fail_msg("%s", fv_message());
    }
}

static fv_node *forward(fv_graph *g, fv_node *const *x, void *context) {
    return fv_layer_apply(*(fv_layer **)context, g, x[0], &sequences);
}

/* The settings with @ replaced by a width. */
static void expand(char *text, size_t size, const char *settings, int width) {
    size_t used = 0;
    for (; *settings && used + 8 < size; settings++)
        used += (size_t)snprintf(text + used, size - used, *settings == '@' ? "%d" : "%c",
                                 *settings == '@' ? width : *settings);
}

static void check(const char *kind_name, const char *settings) {
    char text[256];
    _Alignas(16) char options[512];
    const fv_layer_kind *kind = fv_layer_kind_find(kind_name);
    fv_params *params;
    fv_layer *layer;
    double worst;
    assert_non_null(kind);
    expand(text, sizeof text, settings, WIDTH);
    set_options(kind, options, text);
    assert_int_equal(fv_params_create(&params, FV_F64, 5), FV_OK);
    if (fv_layer_create(&layer, kind_name, params, "layer", options) != FV_OK)
        fail_msg("%s (%s): %s", kind_name, settings, fv_message());
    shake(params);
    fv_tensor x = numbers(ROWS, WIDTH, 1);
    if (fv_grad_check(forward, &layer, &x, 1, params, 2, TOLERANCE, &worst) != FV_OK)
        fail_msg("%s (%s): %s", kind_name, settings, fv_message());
    fv__free(x.data);
    fv_params_free(params);
}

static void every_layer(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check(cases[i].kind, cases[i].settings);
}

/* A layer without a row above is checked with its defaults; one that needs more than a width needs a row. */
static void every_other_layer(void **state) {
    (void)state;
    for (size_t i = 0; i < fv_layer_kind_count(); i++) {
        const char *name = fv_layer_kind_at(i)->name;
        bool found = strcmp(name, "embedding") == 0 || strcmp(name, "cross-attention") == 0; /* below */
        for (size_t j = 0; j < sizeof cases / sizeof *cases; j++) found = found || strcmp(cases[j].kind, name) == 0;
        if (!found) check(name, "d-model=8");
    }
}

/* Any mechanism of the table inside the layer. */
static void every_mechanism(void **state) {
    (void)state;
    for (size_t i = 0; i < fv_mechanism_count(); i++) {
        const fv_mechanism *m = fv_mechanism_at(i);
        char settings[128];
        if (!(m->can & FV_CAN_BACKWARD)) continue;
        snprintf(settings, sizeof settings, "d-model=8 heads=2 mechanism=%s",
                 strcmp(m->name, "topk") == 0 ? "topk:k=2" : m->name);
        check("multi-head", settings);
    }
}

/* ---- f32, through the vector kernels, against f64 */

enum { LONG = 150, WIDE = 72 };

/* Value and all gradients of one run, one after the other as doubles. */
static double *run_once(const layer_case *c, fv_dtype dtype, int64_t *count) {
    fv_sequences apart = {4, (const int32_t[]){0, 70, 71, 71, LONG}};
    char text[256];
    _Alignas(16) char options[512];
    fv_params *params;
    fv_layer *layer;
    fv_graph *g;
    expand(text, sizeof text, c->settings, WIDE);
    set_options(fv_layer_kind_find(c->kind), options, text);
    assert_int_equal(fv_params_create(&params, dtype, 5), FV_OK);
    assert_int_equal(fv_layer_create(&layer, c->kind, params, "layer", options), FV_OK);
    assert_int_equal(fv_graph_create(&g, params), FV_OK);
    fv_tensor x = numbers(LONG, WIDE, 1);
    fv_graph_begin(g, FV_MODE_TRAIN, 9);
    fv_node *in = fv_op_leaf(g, &x), *y = fv_layer_apply(layer, g, in, &apart);
    fv_node *loss = fv_op_mean(g, fv_op_mul(g, y, fv_op_activation(g, y, FV_TANH)));
    if (fv_graph_backward(g, loss, NULL) != FV_OK) fail_msg("%s (%s): %s", c->kind, text, fv_message());
    fv_tensor part[2] = {fv_node_grad(in), fv_params_flat_grads(params)};
    int64_t n[2] = {fv_tensor_count(&part[0]), part[1].data ? fv_tensor_count(&part[1]) : 0};
    double *all = fv__alloc_array((size_t)(n[0] + n[1] + 1), sizeof *all);
    all[0] = fv_node_scalar(loss);
    for (int i = 0, at = 1; i < 2; i++)
        for (int64_t j = 0; j < n[i]; j++)
            all[at++] = dtype == FV_F32 ? ((float *)part[i].data)[j] : ((double *)part[i].data)[j];
    *count = n[0] + n[1] + 1;
    fv__free(x.data);
    fv_graph_free(g);
    fv_params_free(params);
    return all;
}

static void f32_follows_f64(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strstr(cases[i].settings, "max-length")) continue; /* shorter than these sequences */
        int64_t count, same;
        double *exact = run_once(&cases[i], FV_F64, &count), *fast = run_once(&cases[i], FV_F32, &same), norm = 0,
               off = 0;
        assert_int_equal(count, same);
        for (int64_t j = 1; j < count; j++) {
            norm += exact[j] * exact[j];
            off += (exact[j] - fast[j]) * (exact[j] - fast[j]);
        }
        if (!(fabs(exact[0] - fast[0]) <= 1e-5 * fabs(exact[0]) && sqrt(off / norm) <= 2e-5 && norm > 0))
            fail_msg("%s (%s): loss %g and %g, gradients off by %g", cases[i].kind, cases[i].settings, exact[0],
                     fast[0], sqrt(off / norm));
        fv__free(exact);
        fv__free(fast);
    }
}

/* ---- layers with inputs of their own */

static fv_node *embed(fv_graph *g, fv_node *const *x, void *context) {
    fv_layer *const *both = context;
    (void)x;
    fv_node *words = fv_layer_embed(both[0], g, (const int32_t[]){1, 4, 1}, 3);
    fv_node *parts =
        fv_layer_embed_bags(both[1], g, (const int32_t[]){0, 2, 2, 6}, (const int64_t[]){0, 3, 3, 4}, 3, FV_BAG_MEAN);
    return fv_op_add(g, words, parts);
}

static void embeddings(void **state) {
    (void)state;
    fv_params *params;
    fv_layer *both[2];
    double worst;
    assert_int_equal(fv_params_create(&params, FV_F64, 5), FV_OK);
    assert_int_equal(fv_layer_embedding(&both[0], params, "word",
                                        &(fv_embedding_options){.vocabulary = 5, .d_model = 3, .scaled = true}),
                     FV_OK);
    assert_int_equal(
        fv_layer_embedding(&both[1], params, "part", &(fv_embedding_options){.vocabulary = 7, .d_model = 3}), FV_OK);
    if (fv_grad_check(embed, both, NULL, 0, params, 2, TOLERANCE, &worst) != FV_OK) fail_msg("%s", fv_message());
    fv_params_free(params);
}

static fv_node *cross(fv_graph *g, fv_node *const *x, void *context) {
    fv_flow flow = {.x = x[0], .sequences = &sequences, .memory = x[1], .memory_sequences = &memory_sequences};
    return fv_layer_forward(*(fv_layer **)context, g, &flow);
}

static void cross_attention(void **state) {
    (void)state;
    for (int rope = 0; rope < 2; rope++) {
        fv_params *params;
        fv_layer *layer;
        fv_multi_head_options o;
        double worst;
        fv_options_init(fv_multi_head_rows(), &o);
        o.d_model = WIDTH;
        o.heads = 2;
        o.positions = rope ? "rope" : "none";
        assert_int_equal(fv_params_create(&params, FV_F64, 5), FV_OK);
        assert_int_equal(fv_layer_cross_attention(&layer, params, "cross", &o), FV_OK);
        shake(params);
        fv_tensor x[2] = {numbers(ROWS, WIDTH, 1), numbers(6, WIDTH, 2)};
        if (fv_grad_check(cross, &layer, x, 2, params, 2, TOLERANCE, &worst) != FV_OK) fail_msg("%s", fv_message());
        fv__free(x[0].data);
        fv__free(x[1].data);
        fv_params_free(params);
    }
}

/* ---- what a layer is called, and what it refuses */

/* What a layer makes of x has the columns of the operand, by one matrix or two. */
static int check_made(const fv_params *params, const fv_mechanism_operand *row) {
    enum { HEADS = 4, HEAD = 8 };
    char name[64];
    snprintf(name, sizeof name, "a.%s%s.weight", row->name, row->rank ? ".up" : "");
    const fv_param up = fv_params_get(params, fv_params_find(params, name));
    assert_int_equal(up.value.dim[0], row->operand == FV_BETA ? HEADS : HEADS * HEAD);
    assert_int_equal(up.value.dim[1], row->rank ? row->rank : HEADS * HEAD);
    if (!row->rank) return 1;
    snprintf(name, sizeof name, "a.%s.down.weight", row->name);
    assert_int_equal(fv_params_get(params, fv_params_find(params, name)).value.dim[0], row->rank);
    return 1;
}

/* A mechanism's parameters start and decay as its rows say: biases at zero and without decay, matrices neither. */
static void parameters_of_mechanisms(void **state) {
    (void)state;
    int biases = 0, inputs = 0;
    for (size_t i = 0; i < fv_mechanism_count(); i++) {
        const fv_mechanism *m = fv_mechanism_at(i);
        fv_params *params;
        fv_layer *layer;
        fv_multi_head_options o;
        fv_options_init(fv_multi_head_rows(), &o);
        o.d_model = 32, o.heads = 4, o.attention.mechanism = m->name;
        assert_int_equal(fv_params_create(&params, FV_F32, 5), FV_OK);
        if (fv_layer_multi_head(&layer, params, "a", &o) != FV_OK) fail_msg("%s: %s", m->name, fv_message());
        for (const fv_mechanism_operand *row = m->operands; row && row->name; row++) {
            const bool made = row->map != FV_OPERAND_GIVEN && row->map != FV_OPERAND_UNIT_ROWS;
            if (made) inputs += check_made(params, row);
            if (!fv_operand_is(row->operand, FV_ROLE_PARAM)) continue; /* made, or saved by a forward */
            char name[64];
            snprintf(name, sizeof name, "a.%s", row->name);
            const int index = fv_params_find(params, name);
            assert_true(index >= 0);
            const fv_param p = fv_params_get(params, index);
            const bool bias = row->name[0] == 'b', zeros = row->init == FV_OPERAND_ZEROS;
            biases += bias;
            assert_true(!bias || (zeros && !row->decay));
            assert_int_equal((p.flags & FV_PARAM_DECAY) != 0, row->decay);
            for (int64_t n = 0; n < fv_tensor_count(&p.value); n++)
                assert_int_equal(((const float *)p.value.data)[n] == 0, zeros);
        }
        fv_params_free(params);
    }
    assert_true(biases >= 3);    /* those of se and of the spatial gate */
    assert_int_equal(inputs, 2); /* log_decay of gla, beta of deltanet */
}

static void parameter_names(void **state) {
    (void)state;
    static const char *const names[] = {"block0.norm1.weight",
                                        "block0.norm1.bias",
                                        "block0.attention.qkv.weight",
                                        "block0.attention.qkv.bias",
                                        "block0.attention.out.weight",
                                        "block0.attention.out.bias",
                                        "block0.norm2.weight",
                                        "block0.norm2.bias",
                                        "block0.feed_forward.up.weight",
                                        "block0.feed_forward.up.bias",
                                        "block0.feed_forward.down.weight",
                                        "block0.feed_forward.down.bias"};
    fv_params *params;
    fv_layer *layer;
    fv_block_options o;
    fv_options_init(fv_block_rows(), &o);
    o.d_model = 16;
    o.heads = 4;
    assert_int_equal(fv_params_create(&params, FV_F32, 5), FV_OK);
    assert_int_equal(fv_layer_block(&layer, params, "block0", &o), FV_OK);
    assert_int_equal(fv_params_count(params), sizeof names / sizeof *names);
    for (int i = 0; i < fv_params_count(params); i++) assert_string_equal(fv_params_get(params, i).name, names[i]);
    assert_int_equal(fv_params_get(params, 2).value.dim[0], 48);
    assert_true(fv_params_get(params, 2).flags & FV_PARAM_DECAY && !(fv_params_get(params, 3).flags & FV_PARAM_DECAY));
    assert_int_equal(fv_layer_out(layer), 16);
    fv_params_free(params);
}

static void refused(const char *kind, const char *settings, const char *part) {
    char text[256];
    _Alignas(16) char options[512];
    fv_params *params;
    fv_layer *layer;
    snprintf(text, sizeof text, "%s", settings);
    set_options(fv_layer_kind_find(kind), options, text);
    assert_int_equal(fv_params_create(&params, FV_F32, 5), FV_OK);
    assert_int_equal(fv_layer_create(&layer, kind, params, "encoder", options), FV_USAGE);
    assert_null(layer);
    if (!strstr(fv_message(), part) || !strstr(fv_message(), "encoder"))
        fail_msg("the message does not say \"%s\" and \"encoder\": %s", part, fv_message());
    fv_params_free(params);
}

static void refusals(void **state) {
    (void)state;
    refused("linear", "in=8", "out");
    refused("multi-head", "d-model=10 heads=4", "divide d_model");
    refused("multi-head", "d-model=8 heads=4 kv-heads=3", "divide the heads");
    refused("multi-head", "d-model=6 heads=2 positions=rope", "even");
    refused("multi-head", "d-model=8 heads=2 mechanism=softmax:k=3", "no parameters");
    refused("block", "d-model=10 heads=4", "encoder.attention");
    refused("cross-attention", "d-model=8 heads=2 mechanism=gla",
            "\"log_decay\", which this layer does not make of a memory");
    refused("cross-attention", "d-model=8 heads=2 mechanism=deltanet", "\"beta\", which");
    fv_params *params;
    fv_layer *layer;
    assert_int_equal(fv_params_create(&params, FV_F32, 5), FV_OK);
    assert_int_equal(fv_layer_create(&layer, "multi-heads", params, "x", NULL), FV_USAGE);
    assert_non_null(strstr(fv_message(), "multi-head"));
    fv_norm_options bad = {.d_model = 4, .norm = "batch"};
    assert_int_equal(fv_layer_norm(&layer, params, "x", &bad), FV_USAGE);
    assert_non_null(strstr(fv_message(), "layer|rms|none"));
    fv_params_free(params);
}

/* Sequences do not see each other: a batch of two gives what each gives alone. */
static void sequences_are_apart(void **state) {
    (void)state;
    fv_params *params;
    fv_graph *g;
    fv_layer *block, *pool;
    fv_block_options o;
    float data[ROWS * WIDTH], together[2 * WIDTH * 2];
    for (int i = 0; i < ROWS * WIDTH; i++) data[i] = (float)fv__random_normal(2, 2, (uint64_t)i);
    fv_options_init(fv_block_rows(), &o);
    o.d_model = WIDTH;
    o.heads = 2;
    o.positions = "alibi";
    assert_int_equal(fv_params_create(&params, FV_F32, 5), FV_OK);
    assert_int_equal(fv_layer_block(&block, params, "block", &o), FV_OK);
    assert_int_equal(
        fv_layer_pooling(&pool, params, "pool", &(fv_pooling_options){.d_model = WIDTH, .pooling = "mean+attention"}),
        FV_OK);
    assert_int_equal(fv_layer_out(pool), 2 * WIDTH);
    assert_int_equal(fv_graph_create(&g, params), FV_OK);
    for (int n = -1; n < 2; n++) {
        int64_t start = n == 1 ? 4 : 0, end = n == 0 ? 4 : ROWS;
        fv_tensor x = fv_tensor_2d(data + start * WIDTH, FV_F32, end - start, WIDTH);
        fv_sequences s = {2, (const int32_t[]){0, 4, ROWS}};
        fv_graph_begin(g, FV_MODE_INFER, 0);
        fv_node *y = fv_layer_apply(block, g, fv_op_constant(g, &x), n < 0 ? &s : NULL);
        fv_tensor v = fv_node_value(fv_layer_apply(pool, g, y, n < 0 ? &s : NULL));
        assert_int_equal(fv_graph_status(g), FV_OK);
        if (n < 0) memcpy(together, v.data, sizeof together);
        for (int i = 0; n >= 0 && i < 2 * WIDTH; i++)
            assert_true(fabs(((float *)v.data)[i] - together[n * 2 * WIDTH + i]) < 1e-5);
        fv_tensor w = fv_node_value(fv_layer_pooling_weights(pool, g));
        double sum = 0;
        for (int64_t i = 0; i < w.dim[0]; i++) sum += ((float *)w.data)[i];
        assert_true(fabs(sum - (n < 0 ? 2 : 1)) < 1e-5);
    }
    fv_graph_free(g);
    fv_params_free(params);
}

/* A batch whose only text is empty: zeros, and a backward that does nothing. */
static void empty_batch(void **state) {
    (void)state;
    fv_params *params;
    fv_graph *g;
    fv_layer *embed, *block, *pool;
    fv_block_options o;
    fv_options_init(fv_block_rows(), &o);
    o.d_model = WIDTH;
    o.heads = 2;
    o.positions = "rope";
    assert_int_equal(fv_params_create(&params, FV_F32, 5), FV_OK);
    assert_int_equal(
        fv_layer_embedding(&embed, params, "e", &(fv_embedding_options){.vocabulary = 5, .d_model = WIDTH}), FV_OK);
    assert_int_equal(fv_layer_block(&block, params, "block", &o), FV_OK);
    assert_int_equal(
        fv_layer_pooling(&pool, params, "pool", &(fv_pooling_options){.d_model = WIDTH, .pooling = "mean+attention"}),
        FV_OK);
    assert_int_equal(fv_graph_create(&g, params), FV_OK);
    fv_sequences s = {1, (const int32_t[]){0, 0}};
    fv_graph_begin(g, FV_MODE_TRAIN, 0);
    fv_node *x = fv_layer_apply(block, g, fv_layer_embed(embed, g, NULL, 0), &s);
    fv_node *loss = fv_op_sum(g, fv_layer_apply(pool, g, x, &s));
    if (fv_graph_backward(g, loss, NULL) != FV_OK) fail_msg("%s", fv_message());
    assert_true(fv_node_scalar(loss) == 0);
    fv_graph_free(g);
    fv_params_free(params);
}

int main(void) {
    fv_set_threads(1); /* tiny problems: nothing to share */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_follows_f64),   cmocka_unit_test(every_layer),
        cmocka_unit_test(every_other_layer), cmocka_unit_test(every_mechanism),
        cmocka_unit_test(embeddings),        cmocka_unit_test(cross_attention),
        cmocka_unit_test(parameter_names),   cmocka_unit_test(parameters_of_mechanisms),
        cmocka_unit_test(refusals),          cmocka_unit_test(sequences_are_apart),
        cmocka_unit_test(empty_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
