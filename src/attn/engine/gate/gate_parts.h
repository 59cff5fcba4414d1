/* Between the files of GATE: rows, blocks, parameters, scratch. */
#ifndef FV_ATTN_GATE_PARTS_H
#define FV_ATTN_GATE_PARTS_H

#include "attn/engine/gate/gate.h"

/* Rows [row, row + rows) of the tensors at `batch`, the first `live` of which exist. */
typedef struct fv__gate_rows {
    int64_t sequence, batch, row, rows, live;
} fv__gate_rows;
fv__gate_rows fv__gate_rows_of(const fv__run *run, const int64_t *first, int64_t block);
/* first[n] = number of the first block of sequence n; returns the number of blocks. Padding has blocks too: it is set
 * to zero. */
int64_t fv__gate_count(const fv__run *run, int64_t *first);

/* One parameter: (H, rows, columns), and where a head's part of it begins among those of all parameters. */
typedef struct fv__gate_param {
    fv_operand operand;
    int64_t rows, columns, start;
} fv__gate_param;
typedef struct fv__gate_params {
    fv__gate_param param[FV_GATE_PARAMS];
    int count;
    int64_t wide; /* numbers of a head */
} fv__gate_params;
fv__gate_params fv__gate_params_of(const fv_attention_plan *plan);

/* Numbers kept between the passes, for each sequence and head: mean, gate, dgate, dsum, own. */
static inline int64_t fv__gate_kept(const fv_attention_plan *plan) {
    return 4 * plan->d_qk + fv__gate_setup_of(plan)->own;
}

/* Scratch of a call; memory NULL: only its bytes. */
typedef struct fv__gate_memory {
    void *first, *w;              /* numbers of the first blocks; parameters, head by head */
    void *kept, *sums, *products; /* channels: see gate_channels.c; positions: sums has parts of gradients */
    size_t bytes;
} fv__gate_memory;
fv__gate_memory fv__gate_lay_out(const fv_attention_plan *plan, bool backward, void *memory);

void fv__gate_channels_f32(const fv__run *run, bool backward, void *scratch);
void fv__gate_channels_f64(const fv__run *run, bool backward, void *scratch);
void fv__gate_positions_f32(const fv__run *run, bool backward, void *scratch);
void fv__gate_positions_f64(const fv__run *run, bool backward, void *scratch);

#endif
