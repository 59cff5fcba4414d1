/* What the mechanisms over the TILE engine share: the plain reference and the abilities. */
#ifndef FV_ATTN_EXACT_H
#define FV_ATTN_EXACT_H

#include "attn/mechanism_contract.h"

enum {
    FV_EXACT_NEEDS = 1 << FV_Q | 1 << FV_K | 1 << FV_V,
    FV_EXACT_TAKES = 1 << FV_BIAS | 1 << FV_SINKS | 1 << FV_SLOPES | 1 << FV_MASK | 1 << FV_KV_LEN |
                     1 << FV_PREFIX_LEN | 1 << FV_CU_Q | 1 << FV_CU_K,
    FV_EXACT_CAN = FV_CAN_BACKWARD | FV_CAN_CAUSAL | FV_CAN_GQA | FV_CAN_VARLEN | FV_CAN_KV_LEN | FV_CAN_WEIGHTS |
                   FV_CAN_DROPOUT | FV_CAN_BLOCKS
};

/* Backward needs `lse` of the forward. */
fv_status fv__exact_accept(fv_attention_plan *plan);
void fv__exact_reference(const fv_attention_plan *plan, const fv_attention_tensors *x);

/* One query and one key, where they are in the tensors. */
typedef struct fv__query_key {
    int64_t b, h, kv, q_row, k_row;
} fv__query_key;
typedef double fv__raw_score(const fv_attention_plan *plan, const fv_attention_tensors *x, fv__query_key at);
/* The same with another score before scale and softcap. */
void fv__plain_reference(const fv_attention_plan *plan, const fv_attention_tensors *x, fv__raw_score *score);

#endif
