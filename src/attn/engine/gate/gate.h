/* GATE: y = x times something in (0, 1) that is computed from x alone. What the gates share: which rows of x exist, how
 * they are grouped into blocks, and what such a mechanism refuses.
 *
 * Rows are grouped by positions of their own sequence into blocks of FV_GATE_ROWS; sums over rows are made per block
 * and combined in the order of blocks, so that no bit depends on threads. */
#ifndef FV_ATTN_GATE_H
#define FV_ATTN_GATE_H

#include "attn/mechanism_contract.h"

enum { FV_GATE_ROWS = 256 };

fv_status fv__gate_accept(fv_attention_plan *plan);
void fv__gate_describe(const fv_attention_plan *plan, char *text, size_t size);

static inline void *fv__gate_carve(char **at, int64_t count, size_t element) {
    void *p = *at;
    *at += fv__attn_lines(count, element);
    return p;
}

/* Blocks over all sequences, at most; a block is a row of every head. */
int64_t fv__gate_most_blocks(const fv_attention_plan *plan);
size_t fv__gate_first_bytes(const fv_attention_plan *plan);
/* first[n] = number of the first block of sequence n; returns the number of blocks. Padding has blocks too: it is set
 * to zero. */
int64_t fv__gate_count(const fv_attention_plan *plan, const fv_attention_tensors *x, int64_t *first);

/* Rows [row, row + rows) of the tensors at `batch`, the first `live` of which exist. */
typedef struct fv__gate_rows {
    int64_t sequence, batch, row, rows, live;
} fv__gate_rows;
fv__gate_rows fv__gate_rows_of(const fv_attention_plan *plan, const fv_attention_tensors *x, const int64_t *first,
                               int64_t block);

#endif
