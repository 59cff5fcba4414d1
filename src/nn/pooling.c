/* pooling: one vector per sequence. Attention pooling weighs the rows by a softmax of one learned score,
 * w . tanh(W x + b) (Yang et al. 2016, hierarchical attention networks). */
#include "nn/layer_contract.h"

#include "grad/graph.h"

typedef struct pooling {
    fv_layer base;
    bool attends, mean_too;
    fv_pool kind;
    fv_layer *hidden, *score;
} pooling;

static const fv_option option_rows[] = {
    FV__D_MODEL(fv_pooling_options, d_model, "d-model", "columns"),
    FV__FIELD(fv_pooling_options, CHOICE, pooling, "pooling", "mean", 0, 0,
              "mean|max|first|cls|attention|mean+attention", "how one vector is made of a sequence"),
    {0},
};

static fv_status make_score(pooling *p, fv_params *params, int64_t d_model) {
    fv__name name;
    FV_TRY(fv__layer_part(&name, &p->base, "hidden"));
    FV_TRY(fv_layer_linear(&p->hidden, params, name.text, &(fv_linear_options){.in = d_model, .out = d_model}));
    FV_TRY(fv__layer_part(&name, &p->base, "score"));
    return fv_layer_linear(&p->score, params, name.text,
                           &(fv_linear_options){.in = d_model, .out = 1, .no_bias = true});
}

static fv_status create(fv_layer *layer, fv_params *params, const void *options) {
    const fv_pooling_options *o = options;
    pooling *p = (pooling *)layer;
    p->mean_too = fv__is(o->pooling, "mean+attention");
    p->attends = p->mean_too || fv__is(o->pooling, "attention");
    p->kind = fv__is(o->pooling, "mean") ? FV_POOL_MEAN : fv__is(o->pooling, "max") ? FV_POOL_MAX : FV_POOL_FIRST;
    layer->in = o->d_model;
    layer->out = p->mean_too ? 2 * o->d_model : o->d_model;
    return p->attends ? make_score(p, params, o->d_model) : FV_OK;
}

static fv_node *forward(const fv_layer *layer, fv_graph *g, const fv_flow *flow) {
    const pooling *p = (const pooling *)layer;
    fv_node *x = flow->x;
    const fv_sequences *s = flow->sequences;
    if (!p->attends) return fv_op_pool(g, x, s, p->kind);
    fv_node *hidden = fv_op_activation(g, fv_layer_forward(p->hidden, g, flow), FV_TANH);
    fv_node *weights = fv_op_softmax_rows(g, fv_layer_next(p->score, g, flow, hidden), s);
    fv__graph_keep(g, layer, weights);
    fv_node *pooled = fv_op_pool_weighted(g, x, weights, s);
    if (!p->mean_too) return pooled;
    return fv_op_concat(g, (fv_node *[]){fv_op_pool(g, x, s, FV_POOL_MEAN), pooled}, 2, 1);
}

fv_node *fv_layer_pooling_weights(const fv_layer *layer, fv_graph *g) { return fv__graph_kept(g, layer); }

const fv__layer_kind fv__layer_pooling = {
    {"pooling", "one vector per sequence", option_rows, sizeof(fv_pooling_options)}, sizeof(pooling), create, forward};

const fv_option *fv_pooling_rows(void) { return option_rows; }
