/* transformer: embedding and positions, pre-norm encoder blocks, a last norm, pooling, linear.
 * Vaswani et al. 2017; the norm stands before each half as in Xiong et al., "On Layer Normalization in the Transformer
 * Architecture", ICML 2020. */
#include "model/network.h"

#include <stdio.h>
#include <string.h>

typedef struct network {
    fv__embeddings embeddings;
    fv_layer *positions; /* NULL: nothing is added to the embeddings */
    fv_layer *norm, *pooling, *out;
    fv_layer *block[]; /* (options.layers) */
} network;

static bool is(const char *a, const char *b) { return strcmp(a, b) == 0; }
static bool acts_inside(const char *positions) { return is(positions, "rope") || is(positions, "alibi"); }

static fv_status check(const fv_model_options *o) {
    FV_TRY(fv__check_attention(o));
    if (is(o->positions, "rope") && o->d_model / o->heads % 2 != 0)
        return fv__fail(FV_USAGE,
                        "positions rope needs an even number of columns in each head\n"
                        "  found:   d_model %lld / heads %lld = %lld",
                        (long long)o->d_model, (long long)o->heads, (long long)(o->d_model / o->heads));
    if (is(o->pooling, "cls") && o->max_length < 2)
        return fv__fail(FV_USAGE,
                        "pooling cls reads a [CLS] token in front of each text\n  expected max-length 2 or more\n"
                        "  found:   %lld",
                        (long long)o->max_length);
    return fv__check_ngrams(o);
}

static fv_status make_block(fv_layer **layer, fv_model *model, int64_t number) {
    const fv_model_options *from = &model->options;
    fv_block_options o;
    char name[32];
    fv_options_init(fv_block_rows(), &o);
    o.d_model = from->d_model, o.heads = from->heads, o.d_ff = from->d_ff, o.activation = from->activation;
    o.attention.mechanism = from->mechanism, o.positions = acts_inside(from->positions) ? from->positions : "none";
    o.dropout = from->dropout, o.attention.dropout = from->attention_dropout;
    snprintf(name, sizeof name, "block%lld", (long long)number);
    return fv_layer_block(layer, model->params, name, &o);
}

static fv_status make_positions(fv_layer **layer, fv_model *model) {
    fv_positions_options o;
    fv_options_init(fv_positions_rows(), &o);
    o.d_model = model->options.d_model, o.max_length = model->options.max_length,
    o.positions = model->options.positions;
    return fv_layer_positions(layer, model->params, "positions", &o);
}

static fv_status make(fv_model *model) {
    const fv_model_options *o = &model->options;
    network *n = fv__network_new(model, sizeof *n + (size_t)o->layers * sizeof *n->block);
    fv_norm_options norm;
    if (!n) return FV_NO_RESOURCES;
    FV_TRY(fv__make_embeddings(&n->embeddings, model));
    if (!acts_inside(o->positions) && !is(o->positions, "none")) FV_TRY(make_positions(&n->positions, model));
    for (int64_t i = 0; i < o->layers; i++) FV_TRY(make_block(&n->block[i], model, i));
    fv_options_init(fv_norm_rows(), &norm);
    norm.d_model = o->d_model;
    FV_TRY(fv_layer_norm(&n->norm, model->params, "norm", &norm));
    FV_TRY(fv__make_pooling(&n->pooling, model));
    return fv__make_linear(&n->out, model, "out", fv_layer_out(n->pooling), model->sizes.outputs);
}

static void build(fv__run *run, const fv_batch *batch, fv__nodes *nodes) {
    const fv_model_options *o = &run->model->options;
    const network *n = run->model->network;
    fv_graph *g = run->graph;
    fv_sequences s = fv__sequences(batch);
    fv_node *x = nodes->input = fv__embed(&n->embeddings, run, batch);
    if (n->positions) x = fv_layer_apply(n->positions, g, x, &s);
    x = fv_op_dropout(g, x, o->dropout);
    for (int64_t i = 0; i < o->layers; i++) x = fv_layer_apply(n->block[i], g, x, &s);
    x = fv_layer_apply(n->pooling, g, fv_layer_apply(n->norm, g, x, &s), &s);
    nodes->pooling_weights = fv_layer_pooling_weights(n->pooling, g);
    nodes->output = fv_layer_apply(n->out, g, fv_op_dropout(g, x, o->dropout), NULL);
}

static const fv_option options[] = {
    FV__ROW("layers", FV_OPT_INT, layers, "2", 0, 1000, NULL, "encoder blocks"),
    FV__ROW_HEADS("8"),
    FV__ROW_D_MODEL("128"),
    FV__ROW("d-ff", FV_OPT_INT, d_ff, "0", 0, 1 << 20, NULL,
            "columns inside the feed-forward layer; 0: 4 times d-model"),
    FV__ROW_MECHANISM,
    FV__ROW("positions", FV_OPT_CHOICE, positions, "none", 0, 0, "none|sinusoidal|learned|rope|alibi",
            "how the order of the words is told"),
    FV__ROW("activation", FV_OPT_CHOICE, activation, "gelu", 0, 0, "gelu|relu", "of the feed-forward layer"),
    FV__ROW("pooling", FV_OPT_CHOICE, pooling, "attention", 0, 0, "mean|max|cls|attention|mean+attention",
            "how one vector is made of a text"),
    FV__ROW_DROPOUT("0.2"),
    FV__ROW("attention-dropout", FV_OPT_FLOAT, attention_dropout, "0", 0, 0.99, NULL,
            "share of attention weights dropped while training"),
    FV__ROW_WORD_DROPOUT("0.2"),
    FV__ROW_MAX_LENGTH("256"),
    FV__ROWS_NGRAMS("0"),
    FV__ROW_VECTORS,
    {0},
};

const fv__kind fv__kind_transformer = {
    .info = {"transformer", "pre-norm encoder with the choices of today",
             "Vaswani et al., NeurIPS 2017; Xiong et al., ICML 2020",
             FV_MODEL_BY_GRADIENT | FV_MODEL_HAS_ATTENTION | FV_MODEL_TAKES_VECTORS | FV_MODEL_RESIDUAL, options},
    .check = check,
    .make = make,
    .build = build,
};
