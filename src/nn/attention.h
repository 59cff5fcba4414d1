/* The attention layer and its mechanism: multi_head.c projects, mechanism.c fits a mechanism of the table into it. */
#ifndef FV_NN_ATTENTION_H
#define FV_NN_ATTENTION_H

#include "nn/layer_contract.h"

typedef struct multi_head {
    fv_layer base;
    int64_t heads, kv_heads, head; /* head: columns of one */
    bool cross, gate, packed;      /* gate: mechanism without keys; packed: it takes cu_seqlens */
    bool rope;
    fv_rope_pairing pairing;
    double rope_base;
    fv_layer *query, *memory, *project; /* query gives q, k and v in self-attention */
    fv_attention_options options;
    fv_tensor slopes;         /* of alibi; rank 0 otherwise */
    int operand[FV_OPERANDS]; /* parameters that go to operands: w0.., sinks; -1: none */
} multi_head;

/* Finds the mechanism, sets gate, packed and options, and refuses what does not go together, by planning a small
 * call. */
fv_status fv__mechanism_prepare(multi_head *l, fv_params *params, const fv_multi_head_options *o);
/* Adds the mechanism's own parameters. */
fv_status fv__mechanism_params(multi_head *l, fv_params *params, const fv_multi_head_options *o);

#endif
