/* Options of layers: zeros are the defaults in every kind, structs of any size, windows and opposites as text. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "nn/layer_contract.h"

#include <string.h>

/* Sizes that have no default. */
static void set_sizes(const fv_layer_kind *kind, void *options) {
    for (const fv_option *row = kind->rows; row->name; row++)
        if (row->type == FV_OPT_INT && !row->standard)
            assert_int_equal(fv_options_set(kind->rows, options, row->name, "16"), FV_OK);
}

/* What was not set is, for every kind of the table, what fv_options_init sets. */
static void zeros_are_the_defaults(void **state) {
    (void)state;
    for (size_t i = 0; i < fv_layer_kind_count(); i++) {
        const fv_layer_kind *kind = fv_layer_kind_at(i);
        void *zeros = fv__alloc(kind->options_size), *standard = fv__alloc(kind->options_size);
        memset(zeros, 0, kind->options_size);
        memset(standard, 0x5a, kind->options_size);
        fv_options_init(kind->rows, standard);
        set_sizes(kind, zeros);
        set_sizes(kind, standard);
        assert_int_equal(fv__options_complete(kind->rows, zeros), FV_OK);
        for (const fv_option *row = kind->rows; row->name; row++) {
            char a[128], b[128];
            fv_options_print(row, zeros, a, sizeof a);
            fv_options_print(row, standard, b, sizeof b);
            if (strcmp(a, b) != 0) fail_msg("%s: %s of zeros is %s, the default %s", kind->name, row->name, a, b);
        }
        fv__free(zeros);
        fv__free(standard);
    }
}

/* ... and the layers they make have the same parameters. */
static void zeros_make_the_same_layer(void **state) {
    (void)state;
    for (size_t i = 0; i < fv_layer_kind_count(); i++) {
        const fv_layer_kind *kind = fv_layer_kind_at(i);
        fv_params *params[2];
        for (int j = 0; j < 2; j++) {
            fv_layer *layer;
            void *options = fv__alloc(kind->options_size);
            memset(options, 0, kind->options_size);
            if (j) fv_options_init(kind->rows, options);
            set_sizes(kind, options);
            assert_int_equal(fv_params_create(&params[j], FV_F32, 3), FV_OK);
            if (fv_layer_create(&layer, kind->name, params[j], "layer", options) != FV_OK) fail_msg("%s", fv_message());
            fv__free(options);
        }
        assert_int_equal(fv_params_count(params[0]), fv_params_count(params[1]));
        fv_tensor a = fv_params_flat(params[0]), b = fv_params_flat(params[1]);
        assert_int_equal(fv_tensor_count(&a), fv_tensor_count(&b));
        if (a.data) assert_memory_equal(a.data, b.data, (size_t)fv_tensor_count(&a) * sizeof(float));
        for (int j = 0; j < 2; j++) fv_params_free(params[j]);
    }
}

/* ---- a layer with more options than any of the table */

enum { MANY = 4096 };

typedef struct wide_options {
    int64_t first, hole[MANY], last;
} wide_options;

typedef struct wide_layer {
    fv_layer base;
    int64_t first, last;
} wide_layer;

static const fv_option wide_rows[] = {
    FV__FIELD(wide_options, INT, first, "first", "3", 1, 100, NULL, "number"),
    FV__FIELD(wide_options, INT, last, "last", "5", 1, 100, NULL, "number"),
    {0},
};

static fv_status create_wide(fv_layer *layer, fv_params *params, const void *options) {
    const wide_options *o = options;
    (void)params;
    ((wide_layer *)layer)->first = o->first;
    ((wide_layer *)layer)->last = o->last;
    return FV_OK;
}

static void options_of_any_size(void **state) {
    (void)state;
    static const fv__layer_kind kind = {
        {"wide", "many options", wide_rows, sizeof(wide_options)}, sizeof(wide_layer), create_wide, NULL};
    static wide_options o;
    fv_params *params;
    fv_layer *layer;
    assert_int_equal(fv_params_create(&params, FV_F32, 3), FV_OK);
    o.last = 7;
    assert_int_equal(fv__layer_new(&layer, &kind, params, "wide", &o), FV_OK);
    assert_int_equal(((wide_layer *)layer)->first, 3);
    assert_int_equal(((wide_layer *)layer)->last, 7);
    assert_int_equal(o.first, 0); /* the caller's struct is left alone */
    o.last = 101;
    assert_int_equal(fv__layer_new(&layer, &kind, params, "wide", &o), FV_USAGE);
    assert_null(layer);
    assert_non_null(strstr(fv_message(), "layer wide (wide): last"));
    assert_int_equal(fv__layer_new(&layer, &kind, params, "wide", NULL), FV_OK); /* NULL: all defaults */
    assert_int_equal(((wide_layer *)layer)->last, 5);
    fv_params_free(params);
}

/* ---- texts and fields */

static void says(const fv_multi_head_options *o, const char *name, const char *wanted) {
    char text[64];
    fv_option_walk walk;
    assert_true(fv_option_walk_find(&walk, fv_multi_head_rows(), name));
    fv_options_print(&walk.row, o, text, sizeof text);
    assert_string_equal(text, wanted);
}

static void opposites(void **state) {
    (void)state;
    fv_multi_head_options o = {0};
    says(&o, "bias", "true");
    assert_int_equal(fv_options_set(fv_multi_head_rows(), &o, "bias", "false"), FV_OK);
    assert_true(o.no_bias);
    says(&o, "bias", "false");
    assert_int_equal(fv_options_set(fv_multi_head_rows(), &o, "bias", "perhaps"), FV_USAGE);
    assert_int_equal(fv_options_set(fv_multi_head_rows(), &o, "bias", "yes"), FV_OK);
    assert_false(o.no_bias);
    assert_int_equal(fv_options_set(fv_multi_head_rows(), &o, "projected", "false"), FV_OK);
    assert_true(o.no_projection);
}

static void windows(void **state) {
    (void)state;
    fv_multi_head_options o = {.d_model = 8, .heads = 2};
    says(&o, "window-left", "-1");
    assert_int_equal(fv_options_set(fv_multi_head_rows(), &o, "window-left", "3"), FV_OK);
    assert_true(o.attention.window.limited && o.attention.window.left == 3 && o.attention.window.right == -1);
    says(&o, "window-right", "-1");
    assert_int_equal(fv_options_set(fv_multi_head_rows(), &o, "window-left", "-1"), FV_OK);
    assert_true(!o.attention.window.limited && o.attention.window.left == 0 && o.attention.window.right == 0);
    fv_params *params;
    fv_layer *layer;
    assert_int_equal(fv_params_create(&params, FV_F32, 3), FV_OK);
    o.attention.window.left = 2; /* forgotten: limited */
    assert_int_equal(fv_layer_multi_head(&layer, params, "a", &o), FV_USAGE);
    assert_non_null(strstr(fv_message(), "FV_WINDOW(2, 0)"));
    o.attention.window = FV_WINDOW(2, -2);
    assert_int_equal(fv_layer_multi_head(&layer, params, "a", &o), FV_USAGE);
    fv_params_free(params);
}

/* A window given to the layer acts, and zeros are none. */
static double other_rows_matter(fv_window window) {
    fv_multi_head_options o = {.d_model = 8, .heads = 2, .attention.window = window};
    float x[4 * 8];
    double first = 0, difference = 0;
    fv_params *params;
    fv_graph *g;
    fv_layer *layer;
    assert_int_equal(fv_params_create(&params, FV_F32, 3), FV_OK);
    assert_int_equal(fv_layer_multi_head(&layer, params, "a", &o), FV_OK);
    assert_int_equal(fv_graph_create(&g, params), FV_OK);
    for (int run = 0; run < 2; run++) {
        for (int i = 0; i < 32; i++) x[i] = i < 24 && run ? (float)i : 1;
        fv_tensor t = fv_tensor_2d(x, FV_F32, 4, 8);
        fv_graph_begin(g, FV_MODE_INFER, 0);
        fv_tensor y = fv_node_value(fv_layer_apply(layer, g, fv_op_constant(g, &t), NULL));
        assert_int_equal(fv_graph_status(g), FV_OK);
        double value = fv_tensor_get(&y, (int64_t[]){3, 0}); /* of the last row, which does not change */
        difference = value - first;
        first = value;
    }
    fv_graph_free(g);
    fv_params_free(params);
    return difference;
}

static void windows_act(void **state) {
    (void)state;
    assert_true(other_rows_matter((fv_window){0}) != 0);
    assert_true(other_rows_matter(FV_WINDOW(0, 0)) == 0);
    assert_true(other_rows_matter(FV_WINDOW(-1, 0)) != 0);
}

int main(void) {
    fv_set_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeros_are_the_defaults),
        cmocka_unit_test(zeros_make_the_same_layer),
        cmocka_unit_test(options_of_any_size),
        cmocka_unit_test(opposites),
        cmocka_unit_test(windows),
        cmocka_unit_test(windows_act),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
