/* bag: the mean of word vectors (and of their character n-grams), then one linear layer: what fastText does.
 * Joulin, Grave, Bojanowski and Mikolov, "Bag of Tricks for Efficient Text Classification", EACL 2017. */
#include "model/network.h"

static fv_status make(fv_model *model) {
    fv__layers *l = &model->layers;
    FV_TRY(fv__make_embeddings(model));
    return fv__make_linear(&l->out, model, "out", model->options.d_model, model->classes);
}

static void build(fv__run *run, const fv_batch *batch, fv__nodes *nodes) {
    const fv_model *model = run->model;
    fv_graph *g = run->graph;
    fv_sequences s = fv__sequences(batch);
    nodes->input = fv__embed(run, batch);
    fv_node *text = fv_op_pool(g, nodes->input, &s, FV_POOL_MEAN);
    nodes->logits = fv_layer_apply(model->layers.out, g, fv_op_dropout(g, text, model->options.dropout), NULL);
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
