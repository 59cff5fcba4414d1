/* positions: vectors that say where a token stands, added to what it is. */
#include "nn/layer_caches.h"

#include "grad/graph.h"

typedef struct positions {
    fv_layer base;
    enum { NONE, SINUSOIDAL, LEARNED } kind;
    int weight;
} positions;

static const fv_option option_rows[] = {
    FV__D_MODEL(fv_positions_options, d_model, "d-model", "columns"),
    FV__FIELD(fv_positions_options, INT, max_length, "max-length", "512", 1, 1 << 24, NULL, "rows of a learned table"),
    FV__FIELD(fv_positions_options, CHOICE, positions, "positions", "learned", 0, 0, "none|sinusoidal|learned",
              "what is added"),
    {0},
};

static fv_status create(fv_layer *layer, fv_params *params, const void *options) {
    const fv_positions_options *o = options;
    positions *p = (positions *)layer;
    layer->in = layer->out = o->d_model;
    p->kind = fv__is(o->positions, "none") ? NONE : fv__is(o->positions, "learned") ? LEARNED : SINUSOIDAL;
    if (p->kind != LEARNED) return FV_OK;
    return fv__layer_param(layer, params, "weight", 2, (int64_t[]){o->max_length, o->d_model}, FV_INIT(NORMAL, 0.02),
                           FV_PARAM_DECAY, &p->weight);
}

static fv_node *add(const positions *p, fv_graph *g, const fv_flow *flow, const int64_t *first) {
    if (p->kind == SINUSOIDAL) return fv_op_add_sinusoidal(g, flow->x, flow->sequences, first);
    return fv_op_add_positions(g, flow->x, fv_op_param(g, p->weight), flow->sequences, first);
}

static fv_node *forward(const fv_layer *layer, fv_graph *g, const fv_flow *flow) {
    const positions *p = (const positions *)layer;
    if (p->kind == NONE) return flow->x;
    if (!flow->caches) return add(p, g, flow, flow->position);
    fv__layer_cache *cache = fv__layer_cache_of(flow->caches, g, layer, flow->sequences, &(fv__cache_contents){0});
    if (!cache) return &g->empty;
    fv_node *out = add(p, g, flow, flow->position ? flow->position : cache->length);
    fv_sequences whole = {1, (const int32_t[]){0, (int32_t)flow->x->value.dim[0]}};
    if (g->status == FV_OK) fv__layer_cache_count(cache, flow->sequences ? flow->sequences : &whole);
    return out;
}

const fv__layer_kind fv__layer_positions = {
    {"positions", "positions added to token vectors", option_rows, sizeof(fv_positions_options)},
    sizeof(positions),
    create,
    forward};

const fv_option *fv_positions_rows(void) { return option_rows; }
