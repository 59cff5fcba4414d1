/* What the mechanisms over the TILE engine share: the operands and the plain reference. */
#ifndef FV_ATTN_EXACT_H
#define FV_ATTN_EXACT_H

#include "attn/mechanism_contract.h"
#include "attn/reference.h"

#define FV_EXACT_NEEDS (FV_OPERAND_BIT(FV_Q) | FV_OPERAND_BIT(FV_K) | FV_OPERAND_BIT(FV_V))
#define FV_EXACT_TAKES                                                                                          \
    (FV_OPERAND_BIT(FV_BIAS) | FV_OPERAND_BIT(FV_SINKS) | FV_OPERAND_BIT(FV_SLOPES) | FV_OPERAND_BIT(FV_MASK) | \
     FV_OPERAND_BIT(FV_KV_LEN) | FV_OPERAND_BIT(FV_PREFIX_LEN) | FV_OPERAND_BIT(FV_CU_Q) | FV_OPERAND_BIT(FV_CU_K))

void fv__exact_reference(const fv__run *run);

/* The same with another score of the row and key j, before scale and softcap, and with what is added to it after them
 * (NULL: nothing). */
typedef double fv__row_score(const fv__row *row, int64_t j);
void fv__plain_reference(const fv__run *run, fv__row_score *raw, fv__row_score *added);

/* The score of the row and key j as above, -inf where it is hidden, and its weight after dropout, given the largest
 * score of the row and the sum of exp(s - top): for references with another way to use them. */
double fv__plain_score(const fv__row *row, int64_t j, fv__row_score *raw);
double fv__plain_weight(const fv__row *row, int64_t j, double s, double top, double sum);

/* The same over the keys that `keeps` leaves of those that the row sees; it is asked for those alone, the keys of a row
 * in order, three times. */
typedef bool fv__row_predicate(const fv__row *row, int64_t j, void *context);
void fv__keys_reference(const fv__run *run, fv__row_predicate *keeps, void *context);

#endif
