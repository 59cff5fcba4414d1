/* dropout: while training, zeroes a share of the numbers and scales the rest (Srivastava et al. 2014). */
#include "nn/layer_contract.h"

typedef struct dropout {
    fv_layer base;
    double p;
} dropout;

static const fv_option option_rows[] = {
    FV__RATE(fv_dropout_options, p, "p", "share that is dropped"),
    {0},
};

static fv_status create(fv_layer *layer, fv_params *params, const void *options) {
    (void)params;
    ((dropout *)layer)->p = ((const fv_dropout_options *)options)->p;
    return FV_OK;
}

static fv_node *forward(const fv_layer *layer, fv_graph *g, const fv_flow *flow) {
    return fv_op_dropout(g, flow->x, ((const dropout *)layer)->p);
}

const fv__layer_kind fv__layer_dropout = {
    {"dropout", "zeroes a share of the numbers while training", option_rows, sizeof(fv_dropout_options)},
    sizeof(dropout),
    create,
    forward};

const fv_option *fv_dropout_rows(void) { return option_rows; }
