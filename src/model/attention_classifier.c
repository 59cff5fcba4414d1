/* attention: the textbook classifier: embedding, multi-head self-attention, mean over the text, linear. No
 * positions, no residual, no norm, no dropout: the smallest model in which one can watch attention. */
#include "model/network.h"

typedef struct network {
    fv__embeddings embeddings;
    fv_layer *attention, *out;
} network;

static fv_status make(fv_model *model) {
    network *n = fv__network_new(model, sizeof *n);
    fv_multi_head_options o;
    fv_options_init(fv_multi_head_rows(), &o);
    o.d_model = model->options.d_model, o.heads = model->options.heads;
    o.attention.mechanism = model->options.mechanism;
    if (!n) return FV_NO_RESOURCES;
    FV_TRY(fv__make_embeddings(&n->embeddings, model));
    FV_TRY(fv_layer_multi_head(&n->attention, model->params, "attention", &o));
    return fv__make_linear(&n->out, model, "out", model->options.d_model, model->sizes.outputs);
}

static void build(fv__run *run, const fv_batch *batch, fv__nodes *nodes) {
    const network *n = run->model->network;
    fv_graph *g = run->graph;
    fv_sequences s = fv__sequences(batch);
    nodes->input = fv__embed(&n->embeddings, run, batch);
    fv_node *x = fv_layer_apply(n->attention, g, nodes->input, &s);
    nodes->output = fv_layer_apply(n->out, g, fv_op_pool(g, x, &s, FV_POOL_MEAN), NULL);
}

static const fv_option options[] = {
    FV__ROW_D_MODEL("128"), FV__ROW_HEADS("8"), FV__ROW_MECHANISM, FV__ROW_MAX_LENGTH("512"), {0},
};

const fv__kind fv__kind_attention = {
    .info = {"attention", "embedding, multi-head attention, mean, linear: the textbook classifier",
             "Vaswani et al., NeurIPS 2017", FV_MODEL_BY_GRADIENT | FV_MODEL_HAS_ATTENTION, options},
    .check = fv__check_attention,
    .make = make,
    .build = build,
    .mean_pooled = true,
};
