/* bag: the mean of word vectors (and of their character n-grams), then one linear layer: what fastText does.
 * Joulin, Grave, Bojanowski and Mikolov, "Bag of Tricks for Efficient Text Classification", EACL 2017. */
#include "model/network.h"

typedef struct network {
    fv__embeddings embeddings;
    fv_layer *out;
} network;

static fv_status make(fv_model *model) {
    network *n = fv__network_new(model, sizeof *n);
    if (!n) return FV_NO_RESOURCES;
    FV_TRY(fv__make_embeddings(&n->embeddings, model));
    return fv__make_linear(&n->out, model, "out", model->options.d_model, model->sizes.outputs);
}

static void build(fv__run *run, const fv_batch *batch, fv__nodes *nodes) {
    const network *n = run->model->network;
    fv_graph *g = run->graph;
    fv_sequences s = fv__sequences(batch);
    nodes->input = fv__embed(&n->embeddings, run, batch);
    fv_node *text = fv_op_pool(g, nodes->input, &s, FV_POOL_MEAN);
    nodes->output = fv_layer_apply(n->out, g, fv_op_dropout(g, text, run->model->options.dropout), NULL);
}

static const fv_option options[] = {
    FV__ROW_D_MODEL("128"),
    FV__ROW_MAX_LENGTH("512"),
    FV__ROWS_NGRAMS("16"),
    FV__ROW_DROPOUT("0"),
    FV__ROW_WORD_DROPOUT("0"),
    FV__ROW_VECTORS,
    {0},
};

const fv__kind fv__kind_bag = {
    .info = {"bag", "mean of word and character n-gram vectors, linear (fastText-like)", "Joulin et al., EACL 2017",
             FV_MODEL_BY_GRADIENT | FV_MODEL_TAKES_VECTORS, options},
    .check = fv__check_ngrams,
    .make = make,
    .build = build,
    .mean_pooled = true,
};
