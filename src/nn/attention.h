/* The attention layer and its mechanism: multi_head.c projects, attention_mechanism.c fits a mechanism of the table
 * into it, cached_attention.c goes on from what a cache holds: keys and values, or the state of a recurrence. */
#ifndef FV_NN_ATTENTION_H
#define FV_NN_ATTENTION_H

#include "nn/layer_caches.h"

typedef struct multi_head {
    fv_layer base;
    int64_t heads, kv_heads, head; /* head: columns of one */
    /* gate: mechanism without keys; packed: it takes cu_seqlens; decodes: new rows alone, over all keys; in_place: over
     * a cache, without copying them; recurrence: it goes on from a state */
    bool cross, gate, packed, decodes, in_place, recurrence;
    bool rope;
    fv_rope_pairing pairing;
    double rope_base;
    fv_layer *query, *memory, *project; /* query gives q, k and v in self-attention */
    fv_attention_options options;
    fv_tensor slopes;         /* of alibi; rank 0 otherwise */
    int operand[FV_OPERANDS]; /* parameters that go to operands: w0.., sinks; -1: none */
} multi_head;

/* One call: heads (1,H,T,D) of packed sequences. NULL sequences: one. */
typedef struct fv__qkv {
    fv_node *q, *k, *v;                  /* k and v NULL: a gate on q, or all keys come from a cache */
    const fv_sequences *q_rows, *k_rows; /* k_rows NULL: as q_rows */
    fv_causal causal;
} fv__qkv;
/* -> [T, H*D]. */
fv_node *fv__attend(const multi_head *l, fv_graph *g, const fv__qkv *x);

/* The layer's entry in flow->caches; NULL: it cannot have one, and the graph says why. */
fv__layer_cache *fv__attention_cache(const multi_head *l, fv_graph *g, const fv_flow *flow);
/* Puts k and v behind what the cache has. counts: rows of each sequence to take, the first ones; NULL: all. */
bool fv__cache_append(fv_graph *g, fv__layer_cache *cache, const fv__qkv *x, const int64_t *counts);
/* Like fv__attend with all keys that the cache has; the last query of a sequence is at its last key. */
fv_node *fv__attend_cached(const multi_head *l, fv_graph *g, const fv__qkv *x, fv__layer_cache *cache);
/* Self-attention of new rows after all that the cache has, which then has them too. */
fv_node *fv__attend_and_keep(const multi_head *l, fv_graph *g, const fv__qkv *x, fv__layer_cache *cache);

/* What fv_op_attend is called with for x. */
fv_attend fv__attend_call_of(const multi_head *l, fv_graph *g, const fv__qkv *x);

/* The shape of the states of so many sequences. */
fv_status fv__attention_state(const multi_head *l, int64_t sequences, fv_tensor *shape);

/* Finds the mechanism, sets gate, packed and options, and refuses what does not go together, by planning a small
 * call. */
fv_status fv__mechanism_prepare(multi_head *l, fv_params *params, const fv_multi_head_options *o);
/* Adds the mechanism's own parameters. */
fv_status fv__mechanism_params(multi_head *l, fv_params *params, const fv_multi_head_options *o);

#endif
