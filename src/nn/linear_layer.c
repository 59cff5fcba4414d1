/* linear: y = x W^T + b. */
#include "nn/layer_contract.h"

typedef struct linear {
    fv_layer base;
    int weight, bias; /* -1: none */
} linear;

static const fv_option option_rows[] = {
    FV__D_MODEL(fv_linear_options, in, "in", "columns of the input"),
    FV__D_MODEL(fv_linear_options, out, "out", "columns of the output"),
    FV__FIELD(fv_linear_options, NOT, no_bias, "bias", "true", 0, 0, NULL, "add a learned row"),
    FV__FIELD(fv_linear_options, FLOAT, init, "init", "0", 0, 1e3, NULL,
              "standard deviation at the start; 0: Xavier uniform"),
    {0},
};

static fv_status create(fv_layer *layer, fv_params *params, const void *options) {
    const fv_linear_options *o = options;
    linear *l = (linear *)layer;
    fv_init init = o->init > 0 ? FV_INIT(NORMAL, o->init) : FV_INIT(XAVIER, 1);
    layer->in = o->in;
    layer->out = o->out;
    l->bias = -1;
    FV_TRY(fv__layer_param(layer, params, "weight", 2, (int64_t[]){o->out, o->in}, init, FV_PARAM_DECAY, &l->weight));
    if (!o->no_bias) FV_TRY(fv__layer_param(layer, params, "bias", 1, &o->out, FV_INIT(ZEROS, 0), 0, &l->bias));
    return FV_OK;
}

static fv_node *forward(const fv_layer *layer, fv_graph *g, const fv_flow *flow) {
    const linear *l = (const linear *)layer;
    return fv_op_linear(g, flow->x, fv_op_param(g, l->weight), l->bias >= 0 ? fv_op_param(g, l->bias) : NULL);
}

const fv__layer_kind fv__layer_linear = {
    {"linear", "y = x W^T + b", option_rows, sizeof(fv_linear_options)}, sizeof(linear), create, forward};

const fv_option *fv_linear_rows(void) { return option_rows; }
