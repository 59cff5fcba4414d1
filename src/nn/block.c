/* block: attention and feed-forward, each with norm, dropout and residual (Vaswani et al. 2017). The norm stands
 * before each half (pre; Xiong et al. 2020) or after the sum (post). */
#include "nn/layer_contract.h"

typedef struct block {
    fv_layer base;
    fv_layer *norm1, *attention, *norm2, *feed_forward;
    bool post;
    double dropout;
} block;

#define FIELD(type, field, name, standard, min, max, choices, help) \
    FV__FIELD(fv_block_options, type, field, name, standard, min, max, choices, help)
static const fv_option option_rows[] = {
    FV__D_MODEL(fv_block_options, d_model, "d-model", "columns"),
    FIELD(INT, heads, "heads", "8", 1, 65536, NULL, "attention heads; they divide d_model"),
    FIELD(INT, kv_heads, "kv-heads", "0", 0, 65536, NULL, "heads of keys and values; 0: as many"),
    FIELD(INT, d_ff, "d-ff", "0", 0, 1 << 24, NULL, "columns inside the feed-forward; 0: 4 d_model"),
    FIELD(CHOICE, norm, "norm", "layer", 0, 0, "layer|rms", "kind of norm"),
    FIELD(CHOICE, order, "order", "pre", 0, 0, "pre|post", "norm before each half or after the sum"),
    FIELD(CHOICE, activation, "activation", "gelu", 0, 0, "gelu|gelu-tanh|relu|silu|swiglu", "of the feed-forward"),
    FIELD(CHOICE, positions, "positions", "none", 0, 0, "none|rope|rope-pairs|alibi", "positions inside attention"),
    FIELD(FLOAT, rope_base, "rope-base", "10000", 1, 1e12, NULL, "base of the rotary angles"),
    FIELD(NOT, no_bias, "bias", "true", 0, 0, NULL, "biases of all products"),
    FIELD(BOOL, sinks, "sinks", "false", 0, 0, NULL, "one learned sink logit per head"),
    FIELD(FLOAT, dropout, "dropout", "0", 0, 0.99, NULL, "share dropped of what each half adds"),
    FIELD(FLOAT, attention.dropout, "attention-dropout", "0", 0, 0.99, NULL, "share of attention weights dropped"),
    FV__ATTENTION(fv_block_options, attention), /* but its dropout, whose name the block has */
    {0},
};

static fv_status make_norm(fv_layer **out, const fv_layer *layer, fv_params *params, const char *part,
                           const fv_block_options *o) {
    fv__name name;
    FV_TRY(fv__layer_part(&name, layer, part));
    return fv_layer_norm(out, params, name.text, &(fv_norm_options){.d_model = o->d_model, .norm = o->norm});
}

static fv_status make_attention(block *b, fv_params *params, const fv_block_options *o) {
    fv__name name;
    fv_multi_head_options m = {0};
    m.d_model = o->d_model;
    m.heads = o->heads;
    m.kv_heads = o->kv_heads;
    m.positions = o->positions;
    m.rope_base = o->rope_base;
    m.no_bias = o->no_bias;
    m.sinks = o->sinks;
    m.attention = o->attention;
    FV_TRY(fv__layer_part(&name, &b->base, "attention"));
    return fv_layer_multi_head(&b->attention, params, name.text, &m);
}

static fv_status create(fv_layer *layer, fv_params *params, const void *options) {
    const fv_block_options *o = options;
    block *b = (block *)layer;
    fv__name name;
    layer->in = layer->out = o->d_model;
    b->post = fv__is(o->order, "post");
    b->dropout = o->dropout;
    FV_TRY(make_norm(&b->norm1, layer, params, "norm1", o));
    FV_TRY(make_attention(b, params, o));
    FV_TRY(make_norm(&b->norm2, layer, params, "norm2", o));
    FV_TRY(fv__layer_part(&name, layer, "feed_forward"));
    return fv_layer_feed_forward(&b->feed_forward, params, name.text,
                                 &(fv_feed_forward_options){.d_model = o->d_model,
                                                            .d_ff = o->d_ff,
                                                            .activation = o->activation,
                                                            .dropout = o->dropout,
                                                            .no_bias = o->no_bias});
}

static fv_node *half(const block *b, fv_graph *g, const fv_flow *flow, fv_node *x, const fv_layer *norm,
                     const fv_layer *inner) {
    fv_node *in = b->post ? x : fv_layer_next(norm, g, flow, x);
    fv_node *sum = fv_op_add(g, x, fv_op_dropout(g, fv_layer_next(inner, g, flow, in), b->dropout));
    return b->post ? fv_layer_next(norm, g, flow, sum) : sum;
}

static fv_node *forward(const fv_layer *layer, fv_graph *g, const fv_flow *flow) {
    const block *b = (const block *)layer;
    fv_node *x = half(b, g, flow, flow->x, b->norm1, b->attention);
    return half(b, g, flow, x, b->norm2, b->feed_forward);
}

const fv__layer_kind fv__layer_block = {
    {"block", "transformer block: attention and feed-forward", option_rows, sizeof(fv_block_options)},
    sizeof(block),
    create,
    forward};

const fv_option *fv_block_rows(void) { return option_rows; }
