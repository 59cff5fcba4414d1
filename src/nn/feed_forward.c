/* feed-forward: down(act(up(x))), or with a gate, down(silu(gate(x)) * up(x)) (SwiGLU: Shazeer 2020). */
#include "nn/layer_contract.h"

typedef struct feed_forward {
    fv_layer base;
    fv_layer *up, *gate, *down; /* gate: swiglu only */
    fv_activation activation;
    double dropout;
} feed_forward;

static const fv_option option_rows[] = {
    FV__D_MODEL(fv_feed_forward_options, d_model, "d-model", "columns"),
    FV__FIELD(fv_feed_forward_options, INT, d_ff, "d-ff", "0", 0, 1 << 24, NULL,
              "columns inside; 0: 4 d_model (swiglu: 8/3)"),
    FV__FIELD(fv_feed_forward_options, CHOICE, activation, "activation", "gelu", 0, 0,
              "gelu|gelu-tanh|relu|silu|swiglu", "between the two products"),
    FV__RATE(fv_feed_forward_options, dropout, "dropout", "share dropped after the activation"),
    FV__FIELD(fv_feed_forward_options, NOT, no_bias, "bias", "true", 0, 0, NULL, "add learned rows"),
    {0},
};

static fv_activation activation_of(const char *name) {
    if (fv__is(name, "relu")) return FV_RELU;
    if (fv__is(name, "gelu-tanh")) return FV_GELU_TANH;
    return fv__is(name, "gelu") ? FV_GELU : FV_SILU;
}

static fv_status child(fv_layer **out, const fv_layer *layer, fv_params *params, const char *part, int64_t from,
                       int64_t to, bool no_bias) {
    fv__name name;
    FV_TRY(fv__layer_part(&name, layer, part));
    return fv_layer_linear(out, params, name.text, &(fv_linear_options){.in = from, .out = to, .no_bias = no_bias});
}

static fv_status create(fv_layer *layer, fv_params *params, const void *options) {
    const fv_feed_forward_options *o = options;
    feed_forward *f = (feed_forward *)layer;
    bool gated = fv__is(o->activation, "swiglu");
    int64_t d_ff = o->d_ff ? o->d_ff : gated ? (o->d_model * 8 / 3 + 7) / 8 * 8 : 4 * o->d_model;
    layer->in = layer->out = o->d_model;
    f->activation = activation_of(o->activation);
    f->dropout = o->dropout;
    if (gated) FV_TRY(child(&f->gate, layer, params, "gate", o->d_model, d_ff, o->no_bias));
    FV_TRY(child(&f->up, layer, params, "up", o->d_model, d_ff, o->no_bias));
    return child(&f->down, layer, params, "down", d_ff, o->d_model, o->no_bias);
}

static fv_node *forward(const fv_layer *layer, fv_graph *g, const fv_flow *flow) {
    const feed_forward *f = (const feed_forward *)layer;
    fv_node *inner = fv_op_activation(g, fv_layer_forward(f->gate ? f->gate : f->up, g, flow), f->activation);
    if (f->gate) inner = fv_op_mul(g, inner, fv_layer_forward(f->up, g, flow));
    return fv_layer_next(f->down, g, flow, fv_op_dropout(g, inner, f->dropout));
}

const fv__layer_kind fv__layer_feed_forward = {
    {"feed-forward", "two products with an activation between", option_rows, sizeof(fv_feed_forward_options)},
    sizeof(feed_forward),
    create,
    forward};

const fv_option *fv_feed_forward_rows(void) { return option_rows; }
