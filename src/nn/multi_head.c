/* multi-head attention: project, split into heads, any mechanism of the table, merge, project. Self-attention takes
 * q, k and v from one product; cross-attention takes k and v from a memory. A gate (a mechanism without keys) runs
 * on x itself. */
#include "nn/attention.h"

#include "grad/graph.h"

#include <string.h>

#define FIELD(type, field, name, standard, min, max, choices, help) \
    FV__FIELD(fv_multi_head_options, type, field, name, standard, min, max, choices, help)
static const fv_option option_rows[] = {
    FV__D_MODEL(fv_multi_head_options, d_model, "d-model", "columns"),
    FIELD(INT, heads, "heads", "8", 1, 65536, NULL, "attention heads"),
    FIELD(INT, kv_heads, "kv-heads", "0", 0, 65536, NULL, "heads of keys and values; 0: as many"),
    FIELD(INT, head_dim, "head-dim", "0", 0, 65536, NULL, "columns of a head; 0: d_model / heads"),
    FIELD(CHOICE, positions, "positions", "none", 0, 0, "none|rope|rope-pairs|alibi", "positions inside attention"),
    FIELD(FLOAT, rope_base, "rope-base", "10000", 1, 1e12, NULL, "base of the rotary angles"),
    FIELD(NOT, no_bias, "bias", "true", 0, 0, NULL, "biases of the projections"),
    FIELD(BOOL, sinks, "sinks", "false", 0, 0, NULL, "one learned sink logit per head"),
    FIELD(NOT, no_projection, "projected", "true", 0, 0, NULL, "output projection"),
    FV__ATTENTION(fv_multi_head_options, attention),
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
                        "layer %s: heads that do not divide d_model\n  expected a divisor of %lld\n  found:   %lld",
                        name, (long long)o->d_model, (long long)o->heads);
    if (l->heads % l->kv_heads != 0)
        return fv__fail(
            FV_USAGE, "layer %s: kv-heads that do not divide the heads\n  expected a divisor of %lld\n  found:   %lld",
            name, (long long)l->heads, (long long)l->kv_heads);
    l->rope = !fv__is(o->positions, "none") && !fv__is(o->positions, "alibi");
    l->pairing = fv__is(o->positions, "rope") ? FV_ROPE_HALF : FV_ROPE_INTERLEAVED;
    l->rope_base = o->rope_base;
    if (l->rope && l->head % 2 != 0)
        return fv__fail(FV_USAGE, "layer %s: rotary positions need an even head_dim\n  found:   %lld", name,
                        (long long)l->head);
    return FV_OK;
}

static fv_status child(fv_layer **out, const multi_head *l, fv_params *params, const char *part, int64_t from,
                       int64_t to, bool no_bias) {
    fv__name name;
    FV_TRY(fv__layer_part(&name, &l->base, part));
    return fv_layer_linear(out, params, name.text, &(fv_linear_options){.in = from, .out = to, .no_bias = no_bias});
}

static fv_status make_projections(multi_head *l, fv_params *params, const fv_multi_head_options *o) {
    int64_t q = l->heads * l->head, kv = 2 * l->kv_heads * l->head, merged = l->gate ? o->d_model : q;
    if (l->cross) {
        FV_TRY(child(&l->query, l, params, "q", o->d_model, q, o->no_bias));
        FV_TRY(child(&l->memory, l, params, "kv", o->d_model, kv, o->no_bias));
    } else if (!l->gate) {
        FV_TRY(child(&l->query, l, params, "qkv", o->d_model, q + kv, o->no_bias));
    }
    l->base.out = o->no_projection ? merged : o->d_model;
    return o->no_projection ? FV_OK : child(&l->project, l, params, "out", merged, o->d_model, o->no_bias);
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
static fv_node *one_by_one(const multi_head *l, fv_graph *g, fv_attend *call, const fv__qkv *x) {
    const fv_sequences *q = x->q_rows, *k = x->k_rows ? x->k_rows : x->q_rows;
    fv_node *whole[3] = {call->in[FV_Q], call->in[FV_K], call->in[FV_V]};
    fv_node **part = fv__graph_memory(g, (size_t)q->count + 1, sizeof *part);
    int count = 0;
    for (int64_t n = 0; part && n < q->count; n++) {
        int64_t rows = q->cu[n + 1] - q->cu[n];
        if (rows == 0) continue;
        call->in[FV_Q] = fv_op_slice(g, whole[0], 2, q->cu[n], rows);
        for (int p = 1; p < 3 && whole[p]; p++)
            call->in[p == 1 ? FV_K : FV_V] = fv_op_slice(g, whole[p], 2, k->cu[n], k->cu[n + 1] - k->cu[n]);
        for (int i = 0; i < l->made_count; i++)
            call->in[l->made[i].row->operand] = fv_op_slice(g, x->made[i], 2, k->cu[n], k->cu[n + 1] - k->cu[n]);
        part[count++] = fv_op_merge_heads(g, fv_op_attend(g, call, NULL, NULL));
    }
    if (!part) return &g->empty;
    return fv_op_concat(g, part, count, 0);
}

fv_attend fv__attend_call_of(const multi_head *l, fv_graph *g, const fv__qkv *x) {
    fv_attend call = {.name = l->base.name, .options = l->options, .in = {[FV_Q] = x->q, [FV_K] = x->k, [FV_V] = x->v}};
    call.options.causal = x->causal;
    call.fixed[FV_SLOPES] = l->slopes;
    for (int p = 0; p < FV_OPERANDS; p++)
        if (l->operand[p] >= 0) call.in[p] = fv_op_param(g, l->operand[p]);
    for (int i = 0; i < l->made_count; i++) call.in[l->made[i].row->operand] = x->made[i];
    call.q_rows = l->packed ? x->q_rows : NULL;
    call.k_rows = l->packed ? x->k_rows : NULL;
    return call;
}

fv_node *fv__attend(const multi_head *l, fv_graph *g, const fv__qkv *x) {
    fv_attend call = fv__attend_call_of(l, g, x);
    if (x->q_rows && x->q_rows->count > 1 && !l->packed) return one_by_one(l, g, &call, x);
    return fv_op_merge_heads(g, fv_op_attend(g, &call, NULL, NULL));
}

/* Heads of one kind out of a projection's columns, turned to where their rows stand. */
static fv_node *heads_at(const multi_head *l, fv_graph *g, fv_node *from, int64_t column, int64_t heads,
                         const fv_sequences *s, const int64_t *position) {
    fv_node *x = fv_op_heads(g, from, column, heads, l->head);
    return l->rope ? fv_op_rope(g, x, s, position, l->pairing, l->rope_base) : x;
}

static fv_sequences sequences_of(const fv_sequences *given, const fv_node *x, int32_t cu[2]) {
    cu[0] = 0, cu[1] = (int32_t)x->value.dim[0];
    return given ? *given : (fv_sequences){1, cu};
}

static fv_node *self_attention(const multi_head *l, fv_graph *g, const fv_flow *flow) {
    int64_t q = l->heads * l->head, kv = l->kv_heads * l->head;
    int32_t cu[2];
    fv_sequences s = sequences_of(flow->sequences, flow->x, cu);
    fv__layer_cache *cache = flow->caches ? fv__attention_cache(l, g, flow) : NULL;
    if (flow->caches && !cache) return &g->empty;
    const int64_t *position = flow->position || !cache ? flow->position : cache->length;
    fv_node *all = fv_layer_forward(l->query, g, flow);
    fv__qkv x = {.q = fv__unit_rows(l, g, FV_Q, heads_at(l, g, all, 0, l->heads, &s, position)),
                 .k = fv__unit_rows(l, g, FV_K, heads_at(l, g, all, q, l->kv_heads, &s, position)),
                 .v = fv__unit_rows(l, g, FV_V, fv_op_heads(g, all, q + kv, l->kv_heads, l->head)),
                 .q_rows = cache ? &s : flow->sequences,
                 .causal = l->options.causal};
    fv__made_of(l, g, flow, &x);
    return cache ? fv__attend_and_keep(l, g, &x, cache) : fv__attend(l, g, &x);
}

static fv_status check_memory(const multi_head *l, const fv_flow *flow) {
    int64_t here = flow->sequences ? flow->sequences->count : 1;
    int64_t there = flow->memory_sequences ? flow->memory_sequences->count : 1;
    if (!flow->memory)
        return fv__fail(FV_USAGE,
                        "layer %s: cross-attention needs a memory\n  expected flow.memory, a node of %lld columns\n"
                        "  found:   nothing",
                        l->base.name, (long long)l->base.in);
    if (here == there) return FV_OK;
    return fv__fail(FV_USAGE, "layer %s: other sequences in the memory than in x\n  expected %lld\n  found:   %lld",
                    l->base.name, (long long)here, (long long)there);
}

/* Keys and values of the memory, for x to attend to. */
static void read_memory(const multi_head *l, fv_graph *g, const fv_flow *flow, const fv_sequences *memory, fv__qkv *x) {
    fv_node *kv = fv_layer_apply(l->memory, g, flow->memory, memory);
    x->k = fv__unit_rows(l, g, FV_K, heads_at(l, g, kv, 0, l->kv_heads, memory, NULL));
    x->v = fv__unit_rows(l, g, FV_V, fv_op_heads(g, kv, l->kv_heads * l->head, l->kv_heads, l->head));
}

/* Reads the memory of sequences that have none in the cache yet. */
static fv_status keep_memory(const multi_head *l, fv_graph *g, const fv_flow *flow, fv__layer_cache *cache) {
    int64_t count = flow->sequences ? flow->sequences->count : 1, missing = 0;
    int32_t cu[2] = {0, 0};
    for (int64_t n = 0; n < count; n++) missing += cache->length[n] == 0;
    if (!missing) return FV_OK;
    int64_t *rows = fv__graph_memory(g, (size_t)count, sizeof *rows);
    if (!rows) return FV_NO_RESOURCES;
    FV_TRY(check_memory(l, flow));
    fv_sequences memory = sequences_of(flow->memory_sequences, flow->memory, cu);
    fv__qkv x = {.q_rows = &memory};
    read_memory(l, g, flow, &memory, &x);
    for (int64_t n = 0; n < count; n++) rows[n] = cache->length[n] ? 0 : memory.cu[n + 1] - memory.cu[n];
    if (!fv__cache_append(g, cache, &x, rows)) return g->status;
    for (int64_t n = 0; n < count; n++)
        if (!cache->length[n]) cache->length[n] = 1 + rows[n];
    return FV_OK;
}

static fv_node *cached_cross(const multi_head *l, fv_graph *g, const fv_flow *flow, fv__qkv *x) {
    fv__layer_cache *cache = fv__attention_cache(l, g, flow);
    fv_status status = cache ? keep_memory(l, g, flow, cache) : g->status;
    return status == FV_OK ? fv__attend_cached(l, g, x, cache) : fv_graph_failed(g, status);
}

static fv_node *cross_attention(const multi_head *l, fv_graph *g, const fv_flow *flow) {
    int32_t cu[2], memory_cu[2];
    fv_sequences s = sequences_of(flow->sequences, flow->x, cu);
    fv_node *q = fv_layer_forward(l->query, g, flow);
    fv__qkv x = {.q = fv__unit_rows(l, g, FV_Q, heads_at(l, g, q, 0, l->heads, &s, flow->position)),
                 .q_rows = &s,
                 .causal = l->options.causal};
    if (flow->caches) return cached_cross(l, g, flow, &x);
    fv_status status = check_memory(l, flow);
    if (status != FV_OK) return fv_graph_failed(g, status);
    fv_sequences memory = sequences_of(flow->memory_sequences, flow->memory, memory_cu);
    read_memory(l, g, flow, &memory, &x);
    bool one = !flow->sequences && !flow->memory_sequences;
    x.q_rows = one ? NULL : &s;
    x.k_rows = one ? NULL : &memory;
    return fv__attend(l, g, &x);
}

static fv_node *gate(const multi_head *l, fv_graph *g, const fv_flow *flow) {
    if (flow->caches && !fv__attention_cache(l, g, flow)) return &g->empty;
    return fv__attend(l, g,
                      &(fv__qkv){.q = fv_op_heads(g, flow->x, 0, 1, l->base.in),
                                 .q_rows = flow->sequences,
                                 .causal = l->options.causal});
}

static fv_node *forward(const fv_layer *layer, fv_graph *g, const fv_flow *flow) {
    const multi_head *l = (const multi_head *)layer;
    fv_node *out = l->gate ? gate(l, g, flow) : l->cross ? cross_attention(l, g, flow) : self_attention(l, g, flow);
    return l->project ? fv_layer_apply(l->project, g, out, flow->sequences) : out;
}

const fv__layer_kind fv__layer_multi_head = {
    {"multi-head", "self-attention with any mechanism", option_rows, sizeof(fv_multi_head_options)},
    sizeof(multi_head),
    create,
    forward};

const fv__layer_kind fv__layer_cross_attention = {
    {"cross-attention", "queries from x, keys and values from a memory", option_rows, sizeof(fv_multi_head_options)},
    sizeof(multi_head),
    create_cross,
    forward};

const fv_option *fv_multi_head_rows(void) { return option_rows; }
