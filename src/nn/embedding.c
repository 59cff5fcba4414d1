/* embedding: rows of a table, alone or in bags. */
#include "nn/layer_contract.h"

#include <math.h>

typedef struct embedding {
    fv_layer base;
    int weight;
    double scale; /* 1: none */
} embedding;

static const fv_option option_rows[] = {
    FV__FIELD(fv_embedding_options, INT, vocabulary, "vocabulary", NULL, 1, INT32_MAX, NULL, "rows of the table"),
    FV__D_MODEL(fv_embedding_options, d_model, "d-model", "columns of the table"),
    FV__FIELD(fv_embedding_options, FLOAT, init, "init", "0", 0, 1e3, NULL,
              "standard deviation at the start; 0: 1/sqrt(d_model)"),
    FV__FIELD(fv_embedding_options, BOOL, scaled, "scaled", "false", 0, 0, NULL, "multiply by sqrt(d_model)"),
    FV__FIELD(fv_embedding_options, BOOL, frozen, "frozen", "false", 0, 0, NULL, "do not train the table"),
    {0},
};

static fv_status create(fv_layer *layer, fv_params *params, const void *options) {
    const fv_embedding_options *o = options;
    embedding *e = (embedding *)layer;
    double deviation = o->init > 0 ? o->init : 1 / sqrt((double)o->d_model);
    layer->out = o->d_model;
    e->scale = o->scaled ? sqrt((double)o->d_model) : 1;
    return fv__layer_param(layer, params, "weight", 2, (int64_t[]){o->vocabulary, o->d_model},
                           FV_INIT(NORMAL, deviation),
                           FV_PARAM_DECAY | FV_PARAM_SPARSE | (o->frozen ? FV_PARAM_FROZEN : 0), &e->weight);
}

static fv_node *forward(const fv_layer *layer, fv_graph *g, const fv_flow *flow) {
    (void)flow;
    return fv_graph_failed(g,
                           fv__fail(FV_USAGE, "layer %s: an embedding reads ids\n  try: fv_layer_embed", layer->name));
}

static fv_node *scaled(const embedding *e, fv_graph *g, fv_node *x) {
    return e->scale == 1 ? x : fv_op_scale(g, x, e->scale);
}

static bool is_embedding(const fv_layer *layer, fv_graph *g) {
    if (layer->kind == &fv__layer_embedding) return true;
    fv_graph_failed(g, fv__fail(FV_USAGE, "layer %s\n  expected an embedding, which reads ids\n  found:   %s",
                                layer->name, layer->kind->info.name));
    return false;
}

fv_node *fv_layer_embed(const fv_layer *layer, fv_graph *g, const int32_t *ids, int64_t count) {
    const embedding *e = (const embedding *)layer;
    if (!is_embedding(layer, g)) return fv_graph_failed(g, FV_USAGE);
    return scaled(e, g, fv_op_embedding(g, fv_op_param(g, e->weight), ids, count));
}

fv_node *fv_layer_embed_bags(const fv_layer *layer, fv_graph *g, const int32_t *ids, const int64_t *offsets,
                             int64_t bags, fv_bag kind) {
    const embedding *e = (const embedding *)layer;
    if (!is_embedding(layer, g)) return fv_graph_failed(g, FV_USAGE);
    return scaled(e, g, fv_op_embedding_bag(g, fv_op_param(g, e->weight), ids, offsets, bags, kind));
}

const fv__layer_kind fv__layer_embedding = {
    {"embedding", "rows of a table", option_rows, sizeof(fv_embedding_options)}, sizeof(embedding), create, forward};

const fv_option *fv_embedding_rows(void) { return option_rows; }
