/* GATE: y = x times something in (0, 1) that is computed from x alone. What the gates share: which rows of x exist, how
 * they are grouped into blocks, and what such a mechanism refuses.
 *
 * Rows are grouped by positions of their own sequence into blocks of FV_GATE_ROWS; sums over rows are made per block
 * and combined in the order of blocks, so that no bit depends on threads. */
#ifndef FV_ATTN_GATE_H
#define FV_ATTN_GATE_H

#include "attn/mechanism_contract.h"

enum { FV_GATE_ROWS = 256 };

enum { FV_GATE_CAN = FV_CAN_BACKWARD | FV_CAN_VARLEN | FV_CAN_KV_LEN | FV_CAN_SELF };
extern const fv__engine fv__gate;

/* One gate; of each pair the first is for f32, the second for f64. */
typedef struct fv__gate_kernels {
    size_t (*scratch)(const fv_attention_plan *plan, bool backward);
    double (*flops)(const fv_attention_plan *plan, bool backward);
    void (*forward[2])(const fv__run *run, void *scratch);
    void (*backward[2])(const fv__run *run, void *scratch);
} fv__gate_kernels;

/* What a mechanism over GATE chooses. */
typedef struct fv__gate_setup {
    const fv__gate_kernels *kernels;
} fv__gate_setup;
static inline fv__gate_setup *fv__gate_setup_of(const fv_attention_plan *plan) { return fv__setup_of(plan, &fv__gate); }

static inline void *fv__gate_carve(char **at, int64_t count, size_t element) {
    const size_t bytes = fv__attn_lines(count, element);
    void *p = fv__region_guard(*at, bytes);
    *at += bytes;
    return p;
}

/* Blocks over all sequences, at most; a block is a row of every head. */
int64_t fv__gate_most_blocks(const fv_attention_plan *plan);
size_t fv__gate_first_bytes(const fv_attention_plan *plan);
/* first[n] = number of the first block of sequence n; returns the number of blocks. Padding has blocks too: it is set
 * to zero. */
int64_t fv__gate_count(const fv__run *run, int64_t *first);

/* Rows [row, row + rows) of the tensors at `batch`, the first `live` of which exist. */
typedef struct fv__gate_rows {
    int64_t sequence, batch, row, rows, live;
} fv__gate_rows;
fv__gate_rows fv__gate_rows_of(const fv__run *run, const int64_t *first, int64_t block);

#endif
