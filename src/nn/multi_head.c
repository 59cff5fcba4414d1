/* multi-head attention: project, split into heads, any mechanism of the table, merge, project. Self-attention takes
 * q, k and v from one product; cross-attention takes k and v from a memory. A gate (a mechanism without keys) runs
 * on x itself. */
#include "nn/attention.h"

#include "grad/graph.h"

#include <string.h>

#define FIELD(type, field, name, standard, min, max, choices, help) \
    FV__FIELD(fv_multi_head_options, type, field, name, standard, min, max, choices, help)
const fv_option fv_multi_head_rows[] = {
    FV__D_MODEL(fv_multi_head_options, d_model, "d-model", "columns"),
    FIELD(INT, heads, "heads", "8", 1, 65536, NULL, "attention heads"),
    FIELD(INT, kv_heads, "kv-heads", "0", 0, 65536, NULL, "heads of keys and values; 0: as many"),
    FIELD(INT, head_dim, "head-dim", "0", 0, 65536, NULL, "columns of a head; 0: d_model / heads"),
    FIELD(STRING, mechanism, "mechanism", "softmax", 0, 0, "NAME[:param=value,...]", "attention mechanism"),
    FIELD(CHOICE, positions, "positions", "none", 0, 0, "none|rope|rope-pairs|alibi", "positions inside attention"),
    FIELD(FLOAT, rope_base, "rope-base", "10000", 1, 1e12, NULL, "base of the rotary angles"),
    FIELD(BOOL, causal, "causal", "false", 0, 0, NULL, "a token sees only what stands before it"),
    FIELD(BOOL, bias, "bias", "true", 0, 0, NULL, "biases of the projections"),
    FIELD(BOOL, sinks, "sinks", "false", 0, 0, NULL, "one learned sink logit per head"),
    FIELD(BOOL, projected, "projected", "true", 0, 0, NULL, "output projection"),
    FIELD(WINDOW_LEFT, window, "window-left", "-1", -1, 1 << 30, NULL, "keys visible to the left; -1: all"),
    FIELD(WINDOW_RIGHT, window, "window-right", "-1", -1, 1 << 30, NULL, "keys visible to the right; -1: all"),
    FIELD(FLOAT, softcap, "softcap", "0", 0, 1e6, NULL, "cap * tanh(score / cap); 0: none"),
    FIELD(FLOAT, dropout, "dropout", "0", 0, 0.99, NULL, "share of attention weights dropped"),
    {0},
};
#undef FIELD

/* ---- creating */

static fv_status check_sizes(multi_head *l, const fv_multi_head_options *o) {
    l->heads = o->heads;
    l->kv_heads = o->kv_heads ? o->kv_heads : o->heads;
    l->head = o->head_dim ? o->head_dim : o->d_model / o->heads;
    const char *name = l->base.name;
    if (!o->head_dim && o->d_model % o->heads != 0)
        return fv__fail(FV_USAGE,
                        "layer %s: heads that do not divide d_model\n  expected: a divisor of %lld\n  found:    %lld",
                        name, (long long)o->d_model, (long long)o->heads);
    if (l->heads % l->kv_heads != 0)
        return fv__fail(
            FV_USAGE,
            "layer %s: kv-heads that do not divide the heads\n  expected: a divisor of %lld\n  found:    %lld", name,
            (long long)l->heads, (long long)l->kv_heads);
    l->rope = !fv__is(o->positions, "none") && !fv__is(o->positions, "alibi");
    l->pairing = fv__is(o->positions, "rope") ? FV_ROPE_HALF : FV_ROPE_INTERLEAVED;
    l->rope_base = o->rope_base;
    if (l->rope && l->head % 2 != 0)
        return fv__fail(FV_USAGE, "layer %s: rotary positions need an even head_dim\n  found:    %lld", name,
                        (long long)l->head);
    return FV_OK;
}

static fv_status child(fv_layer **out, const multi_head *l, fv_params *params, const char *part, int64_t from,
                       int64_t to, bool bias) {
    fv__name name;
    FV_TRY(fv__layer_part(&name, &l->base, part));
    return fv_layer_linear(out, params, name.text, &(fv_linear_options){.in = from, .out = to, .bias = bias});
}

static fv_status make_projections(multi_head *l, fv_params *params, const fv_multi_head_options *o) {
    int64_t q = l->heads * l->head, kv = 2 * l->kv_heads * l->head, merged = l->gate ? o->d_model : q;
    if (l->cross) {
        FV_TRY(child(&l->query, l, params, "q", o->d_model, q, o->bias));
        FV_TRY(child(&l->memory, l, params, "kv", o->d_model, kv, o->bias));
    } else if (!l->gate) {
        FV_TRY(child(&l->query, l, params, "qkv", o->d_model, q + kv, o->bias));
    }
    l->base.out = o->projected ? o->d_model : merged;
    return o->projected ? child(&l->project, l, params, "out", merged, o->d_model, o->bias) : FV_OK;
}

static fv_status create_kind(fv_layer *layer, fv_params *params, const fv_multi_head_options *o, bool cross) {
    multi_head *l = (multi_head *)layer;
    layer->in = o->d_model;
    l->cross = cross;
    FV_TRY(check_sizes(l, o));
    FV_TRY(fv__mechanism_prepare(l, params, o));
    FV_TRY(make_projections(l, params, o));
    return fv__mechanism_params(l, params, o);
}

static fv_status create(fv_layer *layer, fv_params *params, const void *options) {
    return create_kind(layer, params, options, false);
}

static fv_status create_cross(fv_layer *layer, fv_params *params, const void *options) {
    return create_kind(layer, params, options, true);
}

/* ---- running */

/* Without this ability of the mechanism, sequences are attended one by one. */
static fv_node *one_by_one(fv_graph *g, fv_attend *call, const fv_sequences *q, const fv_sequences *k) {
    fv_node *whole[3] = {call->in[FV_Q], call->in[FV_K], call->in[FV_V]};
    fv_node **part = fv__graph_memory(g, (size_t)q->count + 1, sizeof *part);
    int count = 0;
    for (int64_t n = 0; part && n < q->count; n++) {
        int64_t rows = q->cu[n + 1] - q->cu[n];
        if (rows == 0) continue;
        call->in[FV_Q] = fv_op_slice(g, whole[0], 2, q->cu[n], rows);
        for (int p = 1; p < 3 && whole[p]; p++)
            call->in[p == 1 ? FV_K : FV_V] = fv_op_slice(g, whole[p], 2, k->cu[n], k->cu[n + 1] - k->cu[n]);
        part[count++] = fv_op_merge_heads(g, fv_op_attend(g, call, NULL, NULL));
    }
    if (!part) return &g->empty;
    return fv_op_concat(g, part, count, 0);
}

static fv_node *run(const multi_head *l, fv_graph *g, fv_node *q, fv_node *k, fv_node *v, const fv_sequences *s,
                    const fv_sequences *memory) {
    fv_attend call = {.name = l->base.name, .options = l->options, .in = {[FV_Q] = q, [FV_K] = k, [FV_V] = v}};
    call.fixed[FV_SLOPES] = l->slopes;
    for (int p = 0; p < FV_OPERANDS; p++)
        if (l->operand[p] >= 0) call.in[p] = fv_op_param(g, l->operand[p]);
    fv_node *out;
    if (s && s->count > 1 && !l->packed) {
        out = one_by_one(g, &call, s, memory ? memory : s);
    } else {
        call.q_rows = l->packed ? s : NULL;
        call.k_rows = l->packed ? memory : NULL;
        out = fv_op_merge_heads(g, fv_op_attend(g, &call, NULL, NULL));
    }
    return l->project ? fv_layer_forward(l->project, g, out, s) : out;
}

static fv_node *turned(const multi_head *l, fv_graph *g, fv_node *x, const fv_sequences *s) {
    return l->rope ? fv_op_rope(g, x, s, l->pairing, l->rope_base) : x;
}

static fv_node *forward(const fv_layer *layer, fv_graph *g, fv_node *x, const fv_sequences *s) {
    const multi_head *l = (const multi_head *)layer;
    if (l->cross)
        return fv_graph_failed(
            g, fv__fail(FV_USAGE, "layer %s: cross-attention needs a memory\n  try: fv_layer_attend", layer->name));
    if (l->gate) return run(l, g, fv_op_heads(g, x, 0, 1, layer->in), NULL, NULL, s, NULL);
    int64_t q = l->heads * l->head, kv = l->kv_heads * l->head;
    fv_node *all = fv_layer_forward(l->query, g, x, s);
    return run(l, g, turned(l, g, fv_op_heads(g, all, 0, l->heads, l->head), s),
               turned(l, g, fv_op_heads(g, all, q, l->kv_heads, l->head), s),
               fv_op_heads(g, all, q + kv, l->kv_heads, l->head), s, NULL);
}

fv_node *fv_layer_attend(const fv_layer *layer, fv_graph *g, fv_node *x, const fv_sequences *s, fv_node *memory,
                         const fv_sequences *memory_s) {
    const multi_head *l = (const multi_head *)layer;
    if (layer->kind == &fv__layer_multi_head) return fv_layer_forward(layer, g, x, s);
    if (layer->kind != &fv__layer_cross_attention)
        return fv_graph_failed(g,
                               fv__fail(FV_USAGE, "layer %s: %s does not attend", layer->name, layer->kind->info.name));
    if (!s != !memory_s || (s && s->count != memory_s->count))
        return fv_graph_failed(
            g, fv__fail(FV_USAGE, "layer %s: as many sequences are needed in x and in the memory", layer->name));
    fv_node *q = fv_layer_forward(l->query, g, x, s), *kv = fv_layer_forward(l->memory, g, memory, memory_s);
    return run(l, g, turned(l, g, fv_op_heads(g, q, 0, l->heads, l->head), s),
               turned(l, g, fv_op_heads(g, kv, 0, l->kv_heads, l->head), memory_s),
               fv_op_heads(g, kv, l->kv_heads * l->head, l->kv_heads, l->head), s, memory_s);
}

const fv__layer_kind fv__layer_multi_head = {
    {"multi-head", "self-attention with any mechanism", fv_multi_head_rows, sizeof(fv_multi_head_options)},
    sizeof(multi_head),
    create,
    forward};

const fv__layer_kind fv__layer_cross_attention = {{"cross-attention", "queries from x, keys and values from a memory",
                                                   fv_multi_head_rows, sizeof(fv_multi_head_options)},
                                                  sizeof(multi_head),
                                                  create_cross,
                                                  forward};
