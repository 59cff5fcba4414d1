/* Attention of new rows after what a cache holds. A recurrence goes on from its state. Others have keys and values
 * there: what fv_decode can do reads them where they lie; the rest gets all keys copied out and attends with the last
 * query at the last key. */
#include "nn/attention.h"

#include "grad/graph.h"

#include <string.h>

/* ---- who can */

static fv_status cannot(const multi_head *l, const char *what, const char *wanted, const char *given) {
    return fv__fail(FV_USAGE, "layer %s: %s\n  expected %s\n  found:   %s\n  try:     whole sequences, without caches",
                    l->base.name, what, wanted, given);
}

static fv_status check_layer(const multi_head *l) {
    if (l->gate)
        return cannot(l, "a gate weighs all rows of a sequence at once, a cache cannot add to them",
                      "a mechanism with keys", l->options.mechanism);
    if (!l->decodes && !l->recurrence)
        return cannot(l, "new rows alone see other keys than with the rows before them",
                      "a mechanism that can decode, see fovea mechanisms", l->options.mechanism);
    if (!l->cross && l->options.causal == FV_CAUSAL_NONE)
        return cannot(l, "with caches a row cannot see those that come later", "causal", "not causal");
    bool placed = l->options.causal || l->options.window.limited || l->slopes.rank;
    if (l->cross && placed)
        return cannot(l, "with caches a row has no position in the memory", "no causal, window or alibi",
                      "one of them");
    return FV_OK;
}

fv__layer_cache *fv__attention_cache(const multi_head *l, fv_graph *g, const fv_flow *flow) {
    int64_t count = flow->sequences ? flow->sequences->count : 1;
    fv_status status = check_layer(l);
    fv__cache_contents contents = {.kv_heads = l->kv_heads, .head_dim = l->head, .memory = l->cross};
    if (status == FV_OK && l->recurrence) status = fv__attention_state(l, count, &contents.state);
    if (status == FV_OK) return fv__layer_cache_of(flow->caches, g, &l->base, flow->sequences, &contents);
    fv_graph_failed(g, status);
    return NULL;
}

/* ---- packed rows as a batch with equal lengths, and back */

static int64_t longest_of(const fv_sequences *s) {
    int64_t longest = 0;
    for (int64_t n = 0; n < s->count; n++)
        if (s->cu[n + 1] - s->cu[n] > longest) longest = s->cu[n + 1] - s->cu[n];
    return longest;
}

static bool equal_lengths(const fv_sequences *s) {
    for (int64_t n = 0; n < s->count; n++)
        if (s->cu[n + 1] - s->cu[n] != s->cu[1]) return false;
    return true;
}

/* Rows of sequence n in a packed tensor (1,H,T,D) and in a padded one (B,H,longest,D). */
static fv_tensor packed_part(const fv_tensor *packed, const fv_sequences *s, int64_t n) {
    return fv_tensor_slice(*packed, 2, s->cu[n], s->cu[n + 1] - s->cu[n]);
}

static fv_tensor padded_part(const fv_tensor *padded, const fv_sequences *s, int64_t n) {
    return fv_tensor_slice(fv_tensor_slice(*padded, 0, n, 1), 2, 0, s->cu[n + 1] - s->cu[n]);
}

/* (B,H,longest,D): the packed tensor itself, seen as a batch, when all lengths are equal; else new memory. */
static fv_tensor padded_like(fv_graph *g, const fv_tensor *packed, const fv_sequences *s) {
    int64_t longest = longest_of(s), heads = packed->dim[1], columns = packed->dim[3];
    if (equal_lengths(s)) {
        fv_tensor batch = *packed;
        batch.dim[0] = s->count;
        batch.dim[2] = longest;
        batch.stride[0] = longest * packed->stride[2];
        return batch;
    }
    float *memory = fv__graph_memory(g, (size_t)(s->count * longest), (size_t)(heads * columns) * sizeof *memory);
    return fv_blhd(memory, FV_F32, s->count, longest, heads, columns);
}

static fv_tensor padded_copy(fv_graph *g, const fv_tensor *packed, const fv_sequences *s) {
    fv_tensor padded = padded_like(g, packed, s);
    for (int64_t n = 0; n < s->count && padded.data && !equal_lengths(s); n++) {
        fv_tensor to = padded_part(&padded, s, n), from = packed_part(packed, s, n);
        fv_tensor_copy(&to, &from);
    }
    return padded;
}

static const int64_t *lengths_of(fv_graph *g, const fv_sequences *s) {
    int64_t *length = fv__graph_memory(g, (size_t)s->count, sizeof *length);
    for (int64_t n = 0; length && n < s->count; n++) length[n] = s->cu[n + 1] - s->cu[n];
    return length;
}

/* ---- appending */

bool fv__cache_append(fv_graph *g, fv__layer_cache *cache, const fv__qkv *x, const int64_t *counts) {
    if (g->status != FV_OK) return false;
    if (longest_of(x->q_rows) == 0) return true;
    fv_tensor k = padded_copy(g, &x->k->value, x->q_rows), v = padded_copy(g, &x->v->value, x->q_rows);
    if (!counts) counts = lengths_of(g, x->q_rows);
    if (g->status != FV_OK) return false;
    fv_status status = fv_kv_cache_append(cache->kv, &k, &v, counts);
    if (status == FV_OK) return true;
    fv_graph_failed(g, fv__fail(status, "layer %s: %s", cache->layer->name, fv_message()));
    return false;
}

/* ---- keys where they lie */

static fv_status plan_for(const multi_head *l, fv__layer_cache *cache, int64_t rows) {
    if (cache->plan && cache->planned_rows >= rows) return FV_OK;
    const fv_attention_options *o = &l->options;
    fv_decode_options how = {
        .scale = o->scale, .softcap = o->softcap, .window = o->window, .memory = l->cross, .mechanism = o->mechanism};
    fv_decode_plan_free(cache->plan);
    cache->plan = NULL;
    cache->planned_rows = rows;
    return fv_decode_plan_create(&cache->plan, &how, cache->kv, l->heads, rows);
}

static fv_status decode_into(const multi_head *l, fv_graph *g, const fv__qkv *x, fv__layer_cache *cache,
                             const fv_tensor *out) {
    FV_TRY(plan_for(l, cache, longest_of(x->q_rows)));
    void *scratch = fv__graph_memory(g, fv_decode_scratch(cache->plan, cache->kv) + 1, 1);
    fv_decode_tensors t = {.q = padded_copy(g, &x->q->value, x->q_rows),
                           .out = padded_like(g, out, x->q_rows),
                           .slopes = l->slopes,
                           .counts = lengths_of(g, x->q_rows)};
    if (l->operand[FV_SINKS] >= 0) t.sinks = fv_op_param(g, l->operand[FV_SINKS])->value;
    for (int i = 0; i < (int)(sizeof t.w / sizeof *t.w); i++)
        if (l->operand[FV_W0 + i] >= 0) t.w[i] = fv_op_param(g, l->operand[FV_W0 + i])->value;
    if (g->status != FV_OK) return g->status;
    FV_TRY(fv_decode(cache->plan, cache->kv, &t, scratch));
    for (int64_t n = 0; n < x->q_rows->count && !equal_lengths(x->q_rows); n++) {
        fv_tensor to = packed_part(out, x->q_rows, n), from = padded_part(&t.out, x->q_rows, n);
        FV_TRY(fv_tensor_copy(&to, &from));
    }
    return FV_OK;
}

static fv_node *decode(const multi_head *l, fv_graph *g, const fv__qkv *x, fv__layer_cache *cache) {
    const int64_t *d = x->q->value.dim;
    fv_node *out = fv__node_new(g, 4, (int64_t[]){1, d[2], d[1], d[3]}, (fv_node *[]){x->q}, 1, NULL);
    if (g->status != FV_OK) return &g->empty;
    out->value = fv_tensor_transpose(out->value, 1, 2);
    fv_status status = d[2] ? decode_into(l, g, x, cache, &out->value) : FV_OK;
    if (status == FV_OK) return fv_op_merge_heads(g, out);
    return fv_graph_failed(g, fv__fail(status, "layer %s: %s", l->base.name, fv_message()));
}

/* ---- all keys, copied out */

/* cu_seqlens of what the cache holds. */
static fv_status kept_rows(fv_graph *g, const fv__layer_cache *cache, int64_t count, fv_sequences *kept) {
    int32_t *cu = fv__graph_memory(g, (size_t)count + 1, sizeof *cu);
    int64_t total = 0;
    if (!cu) return FV_NO_RESOURCES;
    for (int64_t n = 0; n <= count; n++) {
        cu[n] = (int32_t)total;
        if (n < count) total += fv_kv_cache_length(cache->kv, n) - fv_kv_cache_first(cache->kv, n);
        if (total > INT32_MAX)
            return fv__fail(FV_NO_RESOURCES,
                            "layer %s: too many rows in its cache\n  expected at most %d\n"
                            "  found:   more",
                            cache->layer->name, INT32_MAX);
    }
    *kept = (fv_sequences){count, cu};
    return FV_OK;
}

/* (1,Hkv,T,D) as the (Hkv,T,D) of fv_kv_cache_read */
static fv_tensor without_batch(fv_tensor t) {
    fv_tensor r = {.data = t.data, .dtype = t.dtype, .rank = 3};
    for (int i = 0; i < 3; i++) r.dim[i] = t.dim[i + 1], r.stride[i] = t.stride[i + 1];
    return r;
}

static fv_status copy_out(fv_graph *g, const multi_head *l, const fv__layer_cache *cache, const fv_sequences *kept,
                          fv_tensor both[2]) {
    int64_t rows = kept->cu[kept->count];
    for (int i = 0; i < 2; i++) {
        float *memory = fv__graph_memory(g, (size_t)rows, (size_t)(l->kv_heads * l->head) * sizeof *memory);
        both[i] = fv_blhd(memory, FV_F32, 1, rows, l->kv_heads, l->head);
    }
    for (int64_t n = 0; n < kept->count && g->status == FV_OK; n++) {
        if (kept->cu[n] == kept->cu[n + 1]) continue;
        fv_tensor k = without_batch(packed_part(&both[0], kept, n)), v = without_batch(packed_part(&both[1], kept, n));
        FV_TRY(fv_kv_cache_read(cache->kv, n, fv_kv_cache_first(cache->kv, n), &k, &v));
    }
    return g->status;
}

static fv_node *attend_copied(const multi_head *l, fv_graph *g, const fv__qkv *x, const fv__layer_cache *cache) {
    fv_sequences kept;
    fv_tensor both[2];
    fv_status status = kept_rows(g, cache, x->q_rows->count, &kept);
    if (status == FV_OK) status = copy_out(g, l, cache, &kept, both);
    if (status != FV_OK) return fv_graph_failed(g, status);
    fv__qkv all = *x;
    all.k = fv_op_constant(g, &both[0]);
    all.v = fv_op_constant(g, &both[1]);
    all.k_rows = &kept;
    if (l->options.causal != FV_CAUSAL_NONE) all.causal = FV_CAUSAL_LOWER_RIGHT;
    return fv__attend(l, g, &all);
}

fv_node *fv__attend_cached(const multi_head *l, fv_graph *g, const fv__qkv *x, fv__layer_cache *cache) {
    if (g->status != FV_OK) return &g->empty;
    return l->in_place ? decode(l, g, x, cache) : attend_copied(l, g, x, cache);
}

/* ---- a state */

static fv_node *attend_from_state(const multi_head *l, fv_graph *g, const fv__qkv *x, fv__layer_cache *cache) {
    fv_attend call = fv__attend_call_of(l, g, x);
    fv_node *state;
    call.fixed[FV_STATE] = cache->state;
    fv_node *out = fv_op_attend(g, &call, NULL, &state);
    if (g->status != FV_OK) return &g->empty;
    fv_status status = fv_tensor_copy(&cache->state, &state->value);
    return status == FV_OK ? fv_op_merge_heads(g, out) : fv_graph_failed(g, status);
}

/* ---- self-attention */

/* Nothing seen yet: attention over the new rows is all there is. */
static bool starts(const fv__layer_cache *cache, int64_t count) {
    for (int64_t n = 0; n < count; n++)
        if (cache->length[n] > 0) return false;
    return true;
}

fv_node *fv__attend_and_keep(const multi_head *l, fv_graph *g, const fv__qkv *x, fv__layer_cache *cache) {
    fv_node *out;
    if (l->recurrence) {
        out = attend_from_state(l, g, x, cache);
        if (g->status != FV_OK) return out;
    } else {
        if (!fv__cache_append(g, cache, x, NULL)) return &g->empty;
        out = starts(cache, x->q_rows->count) ? fv__attend(l, g, x) : fv__attend_cached(l, g, x, cache);
    }
    fv__layer_cache_count(cache, x->q_rows); /* what was appended counts, whatever came of it */
    return out;
}
