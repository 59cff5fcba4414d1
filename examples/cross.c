/* Cross-attention: a decoder's rows attend to an encoder's memory. First the gradients of everything, against central
 * differences in double precision; then the same layer step by step over a cache that has read the memory once.
 *
 *     cc examples/cross.c $(pkg-config --cflags --libs fovea) -lm -o cross && ./cross */
#include <fovea/fovea.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { D = 16, ROWS = 6, MEMORY = 9 };

static void check(fv_status status) {
    if (status == FV_OK) return;
    fprintf(stderr, "%s\n", fv_message());
    exit((int)status);
}

/* Zeros mean the defaults: softmax, biases, an output projection. Four heads of queries share two of the memory. */
static fv_layer *make(fv_params **params, fv_dtype dtype) {
    fv_layer *cross;
    fv_multi_head_options options = {.d_model = D, .heads = 4, .kv_heads = 2, .positions = "rope"};
    check(fv_params_create(params, dtype, 1));
    check(fv_layer_cross_attention(&cross, *params, "cross", &options));
    return cross;
}

static fv_tensor numbers(int64_t rows, fv_dtype dtype, double phase) {
    fv_tensor x = fv_tensor_2d(malloc((size_t)(rows * D) * fv_dtype_size(dtype)), dtype, rows, D);
    for (int64_t i = 0; i < rows * D; i++) fv_tensor_set(&x, (int64_t[]){i / D, i % D}, sin(phase * (double)(i + 1)));
    return x;
}

static fv_node *forward(fv_graph *g, fv_node *const *leaves, void *layer) {
    fv_flow flow = {.x = leaves[0], .memory = leaves[1]};
    return fv_layer_forward(layer, g, &flow);
}

static void check_gradients(void) {
    fv_params *params;
    fv_layer *cross = make(&params, FV_F64);
    fv_tensor leaves[2] = {numbers(ROWS, FV_F64, 0.7), numbers(MEMORY, FV_F64, 1.9)};
    double worst;
    check(fv_grad_check(forward, cross, leaves, 2, params, 1, 1e-8, &worst));
    printf("gradients of x, the memory and %d parameters: right to 1e-8\n", fv_params_count(params));
    free(leaves[0].data), free(leaves[1].data);
    fv_params_free(params);
}

int main(void) {
    fv_params *params;
    fv_graph *g;
    fv_layer_caches *caches;
    check_gradients();
    fv_layer *cross = make(&params, FV_F32);
    fv_tensor x = numbers(ROWS, FV_F32, 0.7), memory = numbers(MEMORY, FV_F32, 1.9), whole = numbers(ROWS, FV_F32, 0);
    check(fv_graph_create(&g, params));
    fv_graph_begin(g, FV_MODE_INFER, 0);
    fv_tensor y = fv_node_value(forward(g, (fv_node *[]){fv_op_constant(g, &x), fv_op_constant(g, &memory)}, cross));
    check(fv_tensor_copy(&whole, &y));

    check(fv_layer_caches_create(&caches, &(fv_cache_options){.batch = 1, .capacity = MEMORY}));
    double most = 0;
    for (int64_t row = 0; row < ROWS; row++) {
        fv_graph_begin(g, FV_MODE_INFER, 0);
        fv_tensor one = fv_tensor_slice(x, 0, row, 1);
        fv_flow flow = {.x = fv_op_constant(g, &one), .caches = caches, .position = &row};
        if (row == 0) flow.memory = fv_op_constant(g, &memory); /* read once, then in the cache */
        y = fv_node_value(fv_layer_forward(cross, g, &flow));
        check(fv_graph_status(g));
        for (int64_t c = 0; c < D; c++)
            most = fmax(most, fabs(fv_tensor_get(&y, (int64_t[]){0, c}) - fv_tensor_get(&whole, (int64_t[]){row, c})));
    }
    printf("%d rows over a cached memory: differ from the whole by %s\n", ROWS,
           most < 1e-6 ? "less than 1e-6" : "much");
    free(x.data), free(memory.data), free(whole.data);
    fv_layer_caches_free(caches), fv_graph_free(g), fv_params_free(params);
    return most < 1e-6 ? 0 : 1;
}
