/* positions: vectors that say where a token stands, added to what it is. */
#include "nn/layer_contract.h"

typedef struct positions {
    fv_layer base;
    enum { NONE, SINUSOIDAL, LEARNED } kind;
    int weight;
} positions;

const fv_option fv_positions_rows[] = {
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

static fv_node *forward(const fv_layer *layer, fv_graph *g, fv_node *x, const fv_sequences *s) {
    const positions *p = (const positions *)layer;
    if (p->kind == SINUSOIDAL) return fv_op_add_sinusoidal(g, x, s);
    return p->kind == LEARNED ? fv_op_add_positions(g, x, fv_op_param(g, p->weight), s) : x;
}

const fv__layer_kind fv__layer_positions = {
    {"positions", "positions added to token vectors", fv_positions_rows, sizeof(fv_positions_options)},
    sizeof(positions),
    create,
    forward};
