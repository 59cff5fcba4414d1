/* The flow through layers: positions, a memory; what does not fit is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "fovea/nn.h"

#include <math.h>
#include <string.h>

enum { D_MODEL = 8, LENGTH = 10 };

static float input[LENGTH * D_MODEL];

static void fill_input(void) {
    for (int i = 0; i < LENGTH * D_MODEL; i++) input[i] = (float)fv__random_normal(4, 1, (uint64_t)i);
}

static fv_node *rows(fv_graph *g, int64_t start, int64_t count) {
    fv_tensor x = fv_tensor_2d(input + start * D_MODEL, FV_F32, count, D_MODEL);
    return fv_op_constant(g, &x);
}

typedef struct fixture {
    fv_params *params;
    fv_graph *g;
} fixture;

static void open_fixture(fixture *f) {
    fill_input();
    assert_int_equal(fv_params_create(&f->params, FV_F32, 7), FV_OK);
    assert_int_equal(fv_graph_create(&f->g, f->params), FV_OK);
}

static void close_fixture(fixture *f) {
    fv_graph_free(f->g);
    fv_params_free(f->params);
}

static void same(fv_tensor a, fv_tensor b, int64_t a_start, int64_t b_start, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < a.dim[1]; j++) {
            double x = fv_tensor_get(&a, (int64_t[]){a_start + i, j});
            double y = fv_tensor_get(&b, (int64_t[]){b_start + i, j});
            if (!(fabs(x - y) <= 1e-6 * (1 + fabs(y))))
                fail_msg("row %d column %d: %.9g and %.9g", (int)i, (int)j, x, y);
        }
}

/* A sequence in two pieces, each told where it starts, gives the rows of the whole. */
static void positions_continue(void **state) {
    (void)state;
    static const char *const kinds[] = {"sinusoidal", "learned"};
    fixture f;
    open_fixture(&f);
    for (int i = 0; i < 2; i++) {
        fv_layer *layer;
        fv_positions_options o = {.d_model = D_MODEL, .max_length = LENGTH, .positions = kinds[i]};
        assert_int_equal(fv_layer_positions(&layer, f.params, kinds[i], &o), FV_OK);
        fv_graph_begin(f.g, FV_MODE_INFER, 0);
        fv_tensor all = fv_node_value(fv_layer_apply(layer, f.g, rows(f.g, 0, LENGTH), NULL));
        /* rows 3.. as a sequence that starts at 3, and rows 0..2 behind it as another */
        fv_sequences s = {2, (const int32_t[]){0, LENGTH - 3, LENGTH}};
        fv_node *both = fv_op_concat(f.g, (fv_node *[]){rows(f.g, 3, LENGTH - 3), rows(f.g, 0, 3)}, 2, 0);
        fv_flow flow = {.x = both, .sequences = &s, .position = (const int64_t[]){3, 0}};
        fv_tensor part = fv_node_value(fv_layer_forward(layer, f.g, &flow));
        assert_int_equal(fv_graph_status(f.g), FV_OK);
        same(part, all, 0, 3, LENGTH - 3);
        same(part, all, LENGTH - 3, 0, 3);
    }
    close_fixture(&f);
}

/* Rotary scores depend on distances only: queries moved by 5 over a memory differ, a sequence moved as a whole does
 * not. */
static void rotary_positions_are_relative(void **state) {
    (void)state;
    fixture f;
    fv_layer *own, *cross;
    fv_multi_head_options o;
    open_fixture(&f);
    fv_options_init(fv_multi_head_rows(), &o);
    o.d_model = D_MODEL, o.heads = 2, o.positions = "rope";
    assert_int_equal(fv_layer_multi_head(&own, f.params, "self", &o), FV_OK);
    assert_int_equal(fv_layer_cross_attention(&cross, f.params, "cross", &o), FV_OK);
    fv_graph_begin(f.g, FV_MODE_INFER, 0);
    fv_flow flow = {.x = rows(f.g, 0, 4), .memory = rows(f.g, 4, 6)};
    fv_tensor here = fv_node_value(fv_layer_forward(own, f.g, &flow));
    fv_tensor over = fv_node_value(fv_layer_forward(cross, f.g, &flow));
    flow.position = (const int64_t[]){5};
    same(fv_node_value(fv_layer_forward(own, f.g, &flow)), here, 0, 0, 4);
    flow.position = (const int64_t[]){2000000000}; /* no table reaches there; angles lose digits, and nothing else */
    fv_tensor far = fv_node_value(fv_layer_forward(own, f.g, &flow));
    for (int i = 0; i < D_MODEL; i++)
        assert_true(fabs(fv_tensor_get(&far, (int64_t[]){3, i}) - fv_tensor_get(&here, (int64_t[]){3, i})) < 1e-4);
    flow.position = (const int64_t[]){5};
    fv_tensor moved = fv_node_value(fv_layer_forward(cross, f.g, &flow));
    assert_int_equal(fv_graph_status(f.g), FV_OK);
    assert_true(fabs(fv_tensor_get(&moved, (int64_t[]){0, 0}) - fv_tensor_get(&over, (int64_t[]){0, 0})) > 1e-4);
    close_fixture(&f);
}

static void refused(const fv_layer *layer, fv_graph *g, fv_flow flow, const char *part) {
    fv_graph_begin(g, FV_MODE_INFER, 0);
    flow.x = rows(g, 0, 6);
    if (flow.memory) flow.memory = rows(g, 6, 4);
    fv_layer_forward(layer, g, &flow);
    assert_int_equal(fv_graph_status(g), FV_USAGE);
    if (!strstr(fv_message(), part)) fail_msg("the message does not say \"%s\": %s", part, fv_message());
}

static void refusals(void **state) {
    (void)state;
    fixture f;
    fv_layer *cross, *positions;
    fv_multi_head_options o;
    fv_sequences two = {2, (const int32_t[]){0, 2, 6}};
    open_fixture(&f);
    fv_options_init(fv_multi_head_rows(), &o);
    o.d_model = D_MODEL, o.heads = 2;
    assert_int_equal(fv_layer_cross_attention(&cross, f.params, "cross", &o), FV_OK);
    fv_positions_options p = {.d_model = D_MODEL, .max_length = LENGTH, .positions = "sinusoidal"};
    assert_int_equal(fv_layer_positions(&positions, f.params, "positions", &p), FV_OK);
    fv_graph_begin(f.g, FV_MODE_INFER, 0);
    fv_node *some = rows(f.g, 0, 1);
    refused(cross, f.g, (fv_flow){0}, "flow.memory");
    refused(cross, f.g, (fv_flow){.memory = some, .sequences = &two}, "sequences in the memory");
    refused(positions, f.g, (fv_flow){.position = (const int64_t[]){-1}}, "first position");
    refused(positions, f.g, (fv_flow){.position = (const int64_t[]){INT32_MAX}}, "first position");
    fv_graph_begin(f.g, FV_MODE_INFER, 0);
    /* one sequence on both sides needs no list of sequences on either */
    fv_sequences one = {1, (const int32_t[]){0, 6}};
    fv_flow mixed = {.x = rows(f.g, 0, 6), .sequences = &one, .memory = rows(f.g, 6, 4)};
    fv_tensor with = fv_node_value(fv_layer_forward(cross, f.g, &mixed));
    mixed.sequences = NULL;
    same(with, fv_node_value(fv_layer_forward(cross, f.g, &mixed)), 0, 0, 6);
    assert_int_equal(fv_graph_status(f.g), FV_OK);
    close_fixture(&f);
}

int main(void) {
    fv_set_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_continue),
        cmocka_unit_test(rotary_positions_are_relative),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
