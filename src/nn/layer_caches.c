/* What layers remember from forward to forward: keys and values, or states, and how many rows they have seen. */
#include "nn/layer_caches.h"

#include "grad/graph.h"

#include <string.h>

struct fv_layer_caches {
    fv_cache_options keep;
    fv__layer_cache *first;
    int64_t *moved; /* [batch] lengths while they are reordered */
};

/* ---- making and freeing */

/* A cache of the smallest heads is made and freed: its checks are the checks. */
static fv_status check_keep(const fv_cache_options *keep) {
    fv_cache_options small = *keep;
    fv_kv_cache *probe;
    small.kv_heads = small.d_qk = small.d_v = 1;
    FV_TRY(fv_kv_cache_create(&probe, &small));
    fv_kv_cache_free(probe);
    return FV_OK;
}

fv_status fv_layer_caches_create(fv_layer_caches **caches, const fv_cache_options *keep) {
    fv_cache_options own = *keep;
    *caches = NULL;
    if (own.batch == 0) own.batch = 1;
    FV_TRY(check_keep(&own));
    fv_layer_caches *c = fv__alloc(sizeof *c);
    int64_t *moved = fv__alloc_array((size_t)own.batch, sizeof *moved);
    if (!c || !moved) {
        fv__free(c);
        fv__free(moved);
        return FV_NO_RESOURCES;
    }
    *c = (fv_layer_caches){.keep = own, .moved = moved};
    *caches = c;
    return FV_OK;
}

static void entry_free(fv__layer_cache *entry) {
    if (!entry) return;
    fv_decode_plan_free(entry->plan);
    fv_kv_cache_free(entry->kv);
    fv__free(entry->state.data);
    fv__free(entry->moved);
    fv__free(entry->length);
    fv__free(entry);
}

void fv_layer_caches_free(fv_layer_caches *caches) {
    if (!caches) return;
    for (fv__layer_cache *e = caches->first, *next; e; e = next) {
        next = e->next;
        entry_free(e);
    }
    fv__free(caches->moved);
    fv__free(caches);
}

/* ---- states: of a sequence, as many bytes for each */

static size_t state_bytes(const fv__layer_cache *e) {
    return e->state.rank ? (size_t)(e->state.stride[0]) * fv_dtype_size(e->state.dtype) : 0;
}

static void *state_of(const fv__layer_cache *e, int64_t b) {
    return (char *)e->state.data + (size_t)b * state_bytes(e);
}

static void forget_state(fv__layer_cache *e, int64_t b) {
    if (e->state.rank) memset(state_of(e, b), 0, state_bytes(e));
}

static fv_status make_state(fv__layer_cache *e, const fv_tensor *shape) {
    e->state = fv_tensor_of(NULL, FV_F32, shape->rank, shape->dim);
    const size_t batch = (size_t)shape->dim[0], bytes = state_bytes(e);
    e->state.data = fv__alloc_array(batch, bytes + 1);
    e->moved = fv__alloc_array(batch, bytes + 1);
    if (!e->state.data || !e->moved) return FV_NO_RESOURCES;
    memset(e->state.data, 0, batch * bytes);
    return FV_OK;
}

/* Every sequence b < n becomes what sequence parent[b] was. */
static void reorder_states(fv__layer_cache *e, const int64_t *parent, int64_t n) {
    const size_t bytes = state_bytes(e);
    if (!e->state.rank) return;
    for (int64_t b = 0; b < e->state.dim[0]; b++)
        memcpy((char *)e->moved + (size_t)b * bytes, state_of(e, b < n ? parent[b] : b), bytes);
    void *before = e->state.data;
    e->state.data = e->moved, e->moved = before;
}

/* ---- entries */

static fv_status fill_entry(fv__layer_cache *e, const fv_layer_caches *caches, const fv__cache_contents *contents) {
    fv_cache_options own = caches->keep;
    e->length = fv__alloc_array((size_t)own.batch, sizeof *e->length);
    if (!e->length) return FV_NO_RESOURCES;
    memset(e->length, 0, (size_t)own.batch * sizeof *e->length);
    e->contents = *contents;
    if (contents->state.rank) return make_state(e, &contents->state);
    if (!contents->kv_heads) return FV_OK;
    own.kv_heads = contents->kv_heads;
    own.d_qk = own.d_v = contents->head_dim;
    return fv_kv_cache_create(&e->kv, &own);
}

static fv__layer_cache *new_entry(fv_layer_caches *caches, const fv_layer *layer, const fv__cache_contents *contents) {
    fv__layer_cache *e = fv__alloc(sizeof *e);
    if (!e) return NULL;
    *e = (fv__layer_cache){.next = caches->first, .layer = layer};
    if (fill_entry(e, caches, contents) != FV_OK) {
        entry_free(e);
        return NULL;
    }
    return caches->first = e;
}

static fv_status check_use(const fv_layer_caches *caches, const fv_graph *g, const fv_layer *layer,
                           const fv_sequences *s) {
    int64_t count = s ? s->count : 1;
    if (g->mode != FV_MODE_INFER)
        return fv__fail(FV_USAGE, "layer %s: caches have no gradients\n  expected FV_MODE_INFER\n  found:   %s",
                        layer->name, g->mode == FV_MODE_TRAIN ? "FV_MODE_TRAIN" : "FV_MODE_TRACE");
    if (g->dtype != FV_F32)
        return fv__fail(FV_USAGE, "layer %s: caches are for parameters in f32\n  found:   %s", layer->name,
                        fv_dtype_name(g->dtype));
    if (count == caches->keep.batch) return FV_OK;
    return fv__fail(FV_USAGE, "layer %s: other sequences than its caches have\n  expected %lld\n  found:   %lld",
                    layer->name, (long long)caches->keep.batch, (long long)count);
}

fv__layer_cache *fv__layer_cache_of(fv_layer_caches *caches, fv_graph *g, const fv_layer *layer, const fv_sequences *s,
                                    const fv__cache_contents *contents) {
    fv_status status = check_use(caches, g, layer, s);
    fv__layer_cache *e = NULL;
    for (e = caches->first; e && e->layer != layer;) e = e->next;
    if (status == FV_OK && !e && !(e = new_entry(caches, layer, contents))) status = FV_NO_RESOURCES;
    if (status == FV_OK) return e;
    fv_graph_failed(g, status);
    return NULL;
}

void fv__layer_cache_count(fv__layer_cache *cache, const fv_sequences *s) {
    for (int64_t n = 0; n < s->count; n++) cache->length[n] += s->cu[n + 1] - s->cu[n];
}

/* ---- all of them */

static fv_status check_sequence(const fv_layer_caches *caches, const char *where, int64_t b, int64_t least) {
    if (b >= least && b < caches->keep.batch) return FV_OK;
    return fv__fail(FV_USAGE, "%s: there is no sequence %lld\n  expected %lld to %lld\n  found:   %lld", where,
                    (long long)b, (long long)least, (long long)caches->keep.batch - 1, (long long)b);
}

int64_t fv_layer_caches_length(const fv_layer_caches *caches, int64_t b) {
    int64_t length = INT64_MAX;
    if (b < 0 || b >= caches->keep.batch) return 0;
    for (const fv__layer_cache *e = caches->first; e; e = e->next)
        if (!e->contents.memory && e->length[b] < length) length = e->length[b];
    return length == INT64_MAX ? 0 : length;
}

/* A state does not know what it was. */
static fv_status check_states(const fv_layer_caches *caches, int64_t b, int64_t length) {
    for (const fv__layer_cache *e = caches->first; e; e = e->next)
        if (e->state.rank && length > 0 && e->length[b] > length)
            return fv__fail(FV_USAGE,
                            "fv_layer_caches_truncate: layer %s is a recurrence, whose state has all rows in it\n"
                            "  expected %lld rows, or 0\n  found:   %lld\n  try:     fv_layer_caches_clone before rows "
                            "that may be taken back",
                            e->layer->name, (long long)e->length[b], (long long)length);
    return FV_OK;
}

fv_status fv_layer_caches_truncate(fv_layer_caches *caches, int64_t b, int64_t length) {
    FV_TRY(check_sequence(caches, "fv_layer_caches_truncate", b, 0));
    if (length < 0)
        return fv__fail(FV_USAGE, "fv_layer_caches_truncate: length\n  expected 0 or more\n  found:   %lld",
                        (long long)length);
    FV_TRY(check_states(caches, b, length));
    for (fv__layer_cache *e = caches->first; e; e = e->next) {
        if (e->contents.memory || e->length[b] <= length) continue;
        if (e->kv) FV_TRY(fv_kv_cache_truncate(e->kv, b, length));
        forget_state(e, b);
        e->length[b] = length;
    }
    return FV_OK;
}

fv_status fv_layer_caches_reset(fv_layer_caches *caches, int64_t b) {
    FV_TRY(check_sequence(caches, "fv_layer_caches_reset", b, -1));
    for (fv__layer_cache *e = caches->first; e; e = e->next) {
        if (e->kv) FV_TRY(fv_kv_cache_reset(e->kv, b));
        for (int64_t n = 0; n < caches->keep.batch; n++)
            if (b < 0 || n == b) forget_state(e, n), e->length[n] = 0;
    }
    return FV_OK;
}

fv_status fv_layer_caches_reorder(fv_layer_caches *caches, const int64_t *parent, int64_t n) {
    const char *where = "fv_layer_caches_reorder";
    if (n < 0 || n > caches->keep.batch)
        return fv__fail(FV_USAGE, "%s: beams\n  expected 0 to %lld\n  found:   %lld", where,
                        (long long)caches->keep.batch, (long long)n);
    for (int64_t b = 0; b < n; b++) FV_TRY(check_sequence(caches, where, parent[b], 0));
    for (fv__layer_cache *e = caches->first; e; e = e->next) {
        if (e->kv) FV_TRY(fv_kv_cache_reorder(e->kv, parent, n));
        reorder_states(e, parent, n);
        memcpy(caches->moved, e->length, (size_t)caches->keep.batch * sizeof *e->length);
        for (int64_t b = 0; b < n; b++) e->length[b] = caches->moved[parent[b]];
    }
    return FV_OK;
}

/* ---- copies */

size_t fv_layer_caches_bytes(const fv_layer_caches *caches) {
    size_t bytes = 0;
    for (const fv__layer_cache *e = caches->first; e; e = e->next)
        bytes += (e->kv ? fv_kv_cache_bytes(e->kv) : 0) + (size_t)caches->keep.batch * state_bytes(e);
    return bytes;
}

static fv_status copy_entry(fv__layer_cache *to, const fv__layer_cache *from, int64_t batch) {
    memcpy(to->length, from->length, (size_t)batch * sizeof *to->length);
    if (from->state.rank) memcpy(to->state.data, from->state.data, (size_t)batch * state_bytes(from));
    if (!from->kv) return FV_OK;
    fv_kv_cache_free(to->kv);
    return fv_kv_cache_clone(&to->kv, from->kv);
}

fv_status fv_layer_caches_clone(fv_layer_caches **copy, const fv_layer_caches *caches) {
    fv_status status = fv_layer_caches_create(copy, &caches->keep);
    for (const fv__layer_cache *e = caches->first; e && status == FV_OK; e = e->next) {
        fv__layer_cache *own = new_entry(*copy, e->layer, &e->contents);
        status = own ? copy_entry(own, e, caches->keep.batch) : FV_NO_RESOURCES;
    }
    if (status == FV_OK) return FV_OK;
    fv_layer_caches_free(*copy);
    *copy = NULL;
    return status;
}

static fv__layer_cache *entry_of(fv_layer_caches *caches, const fv__layer_cache *like) {
    for (fv__layer_cache *e = caches->first; e; e = e->next)
        if (e->layer == like->layer) return e;
    return new_entry(caches, like->layer, &like->contents);
}

fv_status fv_layer_caches_copy(fv_layer_caches *to, int64_t to_b, const fv_layer_caches *from, int64_t from_b) {
    FV_TRY(check_sequence(to, "fv_layer_caches_copy, to", to_b, 0));
    FV_TRY(check_sequence(from, "fv_layer_caches_copy, from", from_b, 0));
    for (const fv__layer_cache *e = from->first; e; e = e->next) {
        fv__layer_cache *own = entry_of(to, e);
        if (!own) return FV_NO_RESOURCES;
        if (e->kv) FV_TRY(fv_kv_cache_copy(own->kv, to_b, e->kv, from_b));
        if (e->state.rank) memmove(state_of(own, to_b), state_of(e, from_b), state_bytes(e));
        own->length[to_b] = e->length[from_b];
    }
    return FV_OK;
}
