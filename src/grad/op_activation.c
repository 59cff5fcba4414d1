/* Activation functions, one row each. */
#include "grad/graph.h"

#include "grad/plain.h"
#include "simd/simd.h"

#include <string.h>

typedef struct piece {
    fv_dtype dtype;
    size_t size;
    fv_activation kind;
    bool fresh;
    void *out; /* y, or dx */
    const void *x, *y, *dy;
} piece;

static void forward(void *context, int64_t start, int64_t n) {
    const piece *c = context;
    void *y = fv__at(c->out, start, c->size);
    const void *x = fv__at(c->x, start, c->size);
    switch (c->kind) {
    case FV_GELU: FV__CALL(c->dtype, gelu, y, x, n); break;
    case FV_GELU_TANH: FV__CALL(c->dtype, gelu_tanh, y, x, n); break;
    case FV_RELU: FV__CALL(c->dtype, relu, y, x, n); break;
    case FV_SILU: FV__CALL(c->dtype, silu, y, x, n); break;
    case FV_TANH: FV__CALL(c->dtype, tanh, y, x, n); break;
    case FV_SIGMOID: FV__CALL(c->dtype, sigmoid, y, x, n); break;
    case FV_LOG_SIGMOID: FV__PLAIN(c->dtype, log_sigmoid, y, x, n); break;
    case FV_ACTIVATIONS: break;
    }
}

/* A fresh gradient is zeroed piece by piece, while it is in the cache anyway. */
static void backward(void *context, int64_t start, int64_t n) {
    const piece *c = context;
    void *dx = fv__at(c->out, start, c->size);
    const void *dy = fv__at(c->dy, start, c->size), *x = fv__at(c->x, start, c->size),
               *y = fv__at(c->y, start, c->size);
    if (c->fresh) memset(dx, 0, (size_t)n * c->size);
    switch (c->kind) {
    case FV_GELU: FV__CALL(c->dtype, gelu_back, dx, dy, x, n); break;
    case FV_GELU_TANH: FV__CALL(c->dtype, gelu_tanh_back, dx, dy, x, n); break;
    case FV_RELU: FV__CALL(c->dtype, relu_back, dx, dy, x, n); break;
    case FV_SILU: FV__CALL(c->dtype, silu_back, dx, dy, x, n); break;
    case FV_TANH: FV__CALL(c->dtype, tanh_back, dx, dy, y, n); break;
    case FV_SIGMOID: FV__CALL(c->dtype, sigmoid_back, dx, dy, y, n); break;
    case FV_LOG_SIGMOID: FV__PLAIN(c->dtype, log_sigmoid_back, dx, dy, x, n); break;
    case FV_ACTIVATIONS: break;
    }
}

static void activation_back(fv_graph *g, fv_node *node) {
    fv_node *x = node->in[0];
    piece c = {g->dtype,
               g->size,
               *(fv_activation *)node->saved,
               .x = x->value.data,
               .y = node->value.data,
               .dy = fv__grad_at(node).data};
    c.out = fv__grad_of(g, x, &c.fresh).data;
    if (c.out) fv__spans(fv__count(node), FV__PIECE / 4, backward, &c);
}

fv_node *fv_op_activation(fv_graph *g, fv_node *x, fv_activation kind) {
    if (!fv__ready(g, "fv_op_activation", &x, 1)) return &g->empty;
    if ((unsigned)kind >= FV_ACTIVATIONS)
        return fv_graph_failed(
            g, fv__fail(FV_USAGE, "fv_op_activation: kind\n  expected one of fv_activation\n  found:   %d", kind));
    x = fv__node_dense(g, x);
    fv_node *y = fv__node_like(g, x, &x, 1, activation_back);
    if (y == &g->empty || !(y->saved = fv__graph_copy(g, &kind, 1, sizeof kind))) return &g->empty;
    piece c = {g->dtype, g->size, kind, .out = y->value.data, .x = x->value.data};
    fv__spans(fv__count(y), FV__PIECE / 4, forward, &c);
    return y;
}
