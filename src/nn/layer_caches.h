/* What layers remember from forward to forward: one entry for each layer that asks. */
#ifndef FV_NN_LAYER_CACHES_H
#define FV_NN_LAYER_CACHES_H

#include "nn/layer_contract.h"

/* What an entry keeps: a state where there is the shape of one, else keys and values of these heads; zeros: it only
 * counts its rows. */
typedef struct fv__cache_contents {
    int64_t kv_heads, head_dim;
    bool memory;
    fv_tensor state;
} fv__cache_contents;

typedef struct fv__layer_cache fv__layer_cache;
struct fv__layer_cache {
    fv__layer_cache *next;
    const fv_layer *layer;
    fv_kv_cache *kv;      /* keys and values; NULL: none */
    fv_tensor state;      /* [batch, ...] f32, states of a recurrence; rank 0: none */
    void *moved;          /* as much memory as they have, while they are reordered */
    fv_decode_plan *plan; /* for up to planned_rows new rows; NULL: not needed yet */
    int64_t planned_rows;
    fv__cache_contents contents; /* a memory is left alone by truncation */
    int64_t *length;             /* [batch] rows the layer has seen; with a memory 1 + its rows, 0: not read yet */
};

/* The entry of this layer, made when it is the first time. NULL: the failure is on the graph. Also refuses graphs and
 * sequences that do not go with caches. */
fv__layer_cache *fv__layer_cache_of(fv_layer_caches *caches, fv_graph *g, const fv_layer *layer, const fv_sequences *s,
                                    const fv__cache_contents *contents);
/* The layer has seen these rows. */
void fv__layer_cache_count(fv__layer_cache *cache, const fv_sequences *s);

#endif
