/* What the mechanisms over the TILE engine share: the operands and the plain reference. */
#ifndef FV_ATTN_EXACT_H
#define FV_ATTN_EXACT_H

#include "attn/mechanism_contract.h"
#include "attn/reference.h"

enum {
    FV_EXACT_NEEDS = 1 << FV_Q | 1 << FV_K | 1 << FV_V,
    FV_EXACT_TAKES = 1 << FV_BIAS | 1 << FV_SINKS | 1 << FV_SLOPES | 1 << FV_MASK | 1 << FV_KV_LEN |
                     1 << FV_PREFIX_LEN | 1 << FV_CU_Q | 1 << FV_CU_K
};

void fv__exact_reference(const fv__run *run);

/* The same with another score of the row and key j, before scale and softcap. */
typedef double fv__raw_score(const fv__row *row, int64_t j);
void fv__plain_reference(const fv__run *run, fv__raw_score *score);

#endif
