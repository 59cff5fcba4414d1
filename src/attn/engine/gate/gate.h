/* GATE: y = x times something in (0, 1) that is computed from x alone. A gate is one file of mech/ with its formulas;
 * everything else is here: which rows of x exist, sums over them, parameters, gradients, both real types.
 *
 *   channels    g = gate(mean of the rows of a sequence), y_p = x_p * g: a number per channel
 *   positions   g_p = gate(x_p), y_p = x_p g_p: a number per row
 *
 * Rows are grouped by positions of their own sequence into blocks of FV_GATE_ROWS; sums over rows are made per block
 * and combined in the order of blocks, so that no bit depends on threads. */
#ifndef FV_ATTN_GATE_H
#define FV_ATTN_GATE_H

#include "attn/mechanism_contract.h"
#include "simd/simd.h"

enum { FV_GATE_ROWS = 256, FV_GATE_PARAMS = 6 };

enum { FV_GATE_CAN = FV_CAN_BACKWARD | FV_CAN_VARLEN | FV_CAN_KV_LEN | FV_CAN_SELF };
#define FV_GATE_TAKES (FV_OPERAND_BIT(FV_KV_LEN) | FV_OPERAND_BIT(FV_CU_Q))
extern const fv__engine fv__gate;

/* What the formulas see: one head (of one sequence, for gates of channels). Parameters are numbered as the mechanism's
 * rows are; w[i] is the head's part of one, in row-major order.
 *
 * Channels   forward   `gate` of `mean` (D each); may keep numbers for the backward in `own`
 *            backward  `dsum`, the gradient of the sum of the rows (that of the mean, over `rows`), of `dgate`
 *            gradient  adds to sum[c] what this sequence gives to element (row, first + c) of the head's part of a
 *                      parameter, whose last axis is the columns
 * Positions  forward   gate[i] of the row x + i step, for `rows` rows
 *            backward  of one row: adds to dx (NULL: not wanted) the gradient through the gate, and to dw[i] that of
 *                      parameter i; dx already has that of the product */
#define FV_GATE_FORMULAS(suffix, R)                                                                                \
    typedef struct fv__gate_head_##suffix {                                                                        \
        const fv_attention_plan *plan;                                                                             \
        const fv__simd_##suffix *simd;                                                                             \
        const R *w[FV_GATE_PARAMS];                                                                                \
        int64_t d, rows;                                                                                           \
        R *mean, *gate, *dgate, *dsum, *own;                                                                       \
    } fv__gate_head_##suffix;                                                                                      \
    typedef struct fv__channel_gate_##suffix {                                                                     \
        void (*forward)(const fv__gate_head_##suffix *head);                                                       \
        void (*backward)(const fv__gate_head_##suffix *head);                                                      \
        void (*gradient)(const fv__gate_head_##suffix *head, int param, int64_t row, int64_t first, int64_t count, \
                         double *sum);                                                                             \
    } fv__channel_gate_##suffix;                                                                                   \
    typedef struct fv__position_gate_##suffix {                                                                    \
        void (*forward)(const fv__gate_head_##suffix *head, const R *x, int64_t step, int64_t rows, R *gate);      \
        void (*backward)(const fv__gate_head_##suffix *head, const R *x, R gate, R dgate, R *dx, R *const *dw);    \
    } fv__position_gate_##suffix;
FV_GATE_FORMULAS(f32, float)
FV_GATE_FORMULAS(f64, double)
#undef FV_GATE_FORMULAS

typedef struct fv__channel_gate {
    fv__channel_gate_f32 f32;
    fv__channel_gate_f64 f64;
} fv__channel_gate;
typedef struct fv__position_gate {
    fv__position_gate_f32 f32;
    fv__position_gate_f64 f64;
} fv__position_gate;

/* What a mechanism over GATE chooses: one of the two. */
typedef struct fv__gate_setup {
    const fv__channel_gate *channels;
    const fv__position_gate *positions;
    int64_t own;  /* numbers of `own`, for each sequence and head */
    double flops; /* of the map from `mean` to `gate` */
} fv__gate_setup;
static inline fv__gate_setup *fv__gate_setup_of(const fv_attention_plan *plan) { return fv__setup_of(plan, &fv__gate); }

/* ---- references by plain loops in double */

typedef struct fv__gate_place {
    const fv__run *run;
    int64_t b, h, from, live; /* rows [from, live) exist */
} fv__gate_place;
/* The gate of a channel of a sequence, or of a row. */
typedef double fv__plain_gate(const fv__gate_place *place, int64_t channel_or_row);
void fv__channel_gate_reference(const fv__run *run, fv__plain_gate *gate);
void fv__position_gate_reference(const fv__run *run, fv__plain_gate *gate);
double fv__plain_mean(const fv__gate_place *place, int64_t channel);
/* Element (h, i, j) of a parameter of the mechanism. */
double fv__plain_param(const fv__gate_place *place, fv_operand operand, int64_t i, int64_t j);

#endif
