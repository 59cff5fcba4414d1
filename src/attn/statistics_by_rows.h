/* Attention statistics of engines that have no quicker way: from the weights themselves, a block of rows at a time. */
#ifndef FV_ATTN_STATISTICS_BY_ROWS_H
#define FV_ATTN_STATISTICS_BY_ROWS_H

#include "attn/mechanism_contract.h"

size_t fv__statistics_by_rows_scratch(const fv_attention_plan *plan, const fv_attention_statistics *want);
void fv__statistics_by_rows(const fv__run *run, const fv_attention_statistics *want, void *scratch);

#endif
