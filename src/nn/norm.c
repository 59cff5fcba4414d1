/* norm: layer norm (Ba, Kiros, Hinton 2016) or RMS norm (Zhang, Sennrich 2019). */
#include "nn/layer_contract.h"

typedef struct norm {
    fv_layer base;
    bool none, rms;
    double eps;
    int weight, bias;
} norm;

static const fv_option option_rows[] = {
    FV__D_MODEL(fv_norm_options, d_model, "d-model", "columns"),
    FV__FIELD(fv_norm_options, CHOICE, norm, "norm", "layer", 0, 0, "layer|rms|none",
              "mean and variance, or root mean square"),
    FV__FIELD(fv_norm_options, FLOAT, eps, "eps", "0", 0, 1, NULL,
              "added to the variance; 0: 1e-5 (layer), 1e-6 (rms)"),
    {0},
};

static fv_status create(fv_layer *layer, fv_params *params, const void *options) {
    const fv_norm_options *o = options;
    norm *n = (norm *)layer;
    layer->in = layer->out = o->d_model;
    n->none = fv__is(o->norm, "none");
    n->rms = fv__is(o->norm, "rms");
    n->eps = o->eps > 0 ? o->eps : n->rms ? 1e-6 : 1e-5;
    if (n->none) return FV_OK;
    FV_TRY(fv__layer_param(layer, params, "weight", 1, &o->d_model, FV_INIT(ONES, 0), 0, &n->weight));
    return n->rms ? FV_OK : fv__layer_param(layer, params, "bias", 1, &o->d_model, FV_INIT(ZEROS, 0), 0, &n->bias);
}

static fv_node *forward(const fv_layer *layer, fv_graph *g, const fv_flow *flow) {
    const norm *n = (const norm *)layer;
    fv_node *x = flow->x;
    if (n->none) return x;
    if (n->rms) return fv_op_rms_norm(g, x, fv_op_param(g, n->weight), n->eps);
    return fv_op_layer_norm(g, x, fv_op_param(g, n->weight), fv_op_param(g, n->bias), n->eps);
}

const fv__layer_kind fv__layer_norm = {
    {"norm", "layer norm or RMS norm", option_rows, sizeof(fv_norm_options)}, sizeof(norm), create, forward};

const fv_option *fv_norm_rows(void) { return option_rows; }
