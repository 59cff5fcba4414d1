/* How a survey of weights is cut, and where its scratch is. The work is in tile_survey.h. */
#ifndef FV_ATTN_SURVEY_H
#define FV_ATTN_SURVEY_H

#include "attn/mechanism_contract.h"

enum {
    FV_SURVEY_SPANS = 16,
    FV_SURVEY_UNIT = 128
}; /* spans of a long sequence; a span is a multiple of UNIT queries */

/* Depends on shapes and wishes only, so that no bit depends on threads. */
typedef struct fv__survey_cut {
    int64_t sequences, heads; /* asked for */
    int64_t span;             /* queries of a task */
    int64_t key_blocks;       /* blocks of keys, at most */
    size_t first_bytes, column_bytes, shared_bytes, worker_bytes;
} fv__survey_cut;
fv__survey_cut fv__survey_cut_of(const fv_attention_plan *plan, const fv_survey *want);

/* For mechanisms over TILE. */
size_t fv__tile_survey_scratch(const fv_attention_plan *plan, const fv_survey *want);
void fv__tile_survey(const fv_attention_plan *plan, const fv_attention_tensors *x, const fv_survey *want,
                     void *scratch);

#endif
