/* ROWS: attention whose rows cannot be normalised online. The scores of a few query rows against all keys are held in
 * scratch, a row weight (attn/weight/) turns them into weights, values follow. Memory per worker is ROWS times the
 * keys.
 *
 * Forward: a task owns ROWS queries of one head. Backward: a task owns a kv head with its group of heads and all their
 * rows, in order, so nothing is added by two tasks. rows_engine.h is written for a type R and compiled by rows_f32.c
 * and _f64.c. */
#ifndef FV_ATTN_ROWS_H
#define FV_ATTN_ROWS_H

#include "attn/mechanism_contract.h"
#include "attn/weight/row_weight.h"

enum { FV_ROWS_BLOCK = 16 };

enum {
    FV_ROWS_CAN =
        FV_CAN_BACKWARD | FV_CAN_CAUSAL | FV_CAN_GQA | FV_CAN_VARLEN | FV_CAN_KV_LEN | FV_CAN_WEIGHTS | FV_CAN_DECODE
};
#define FV_ROWS_TAKES                                                                                                \
    (FV_OPERAND_BIT(FV_MASK) | FV_OPERAND_BIT(FV_KV_LEN) | FV_OPERAND_BIT(FV_PREFIX_LEN) | FV_OPERAND_BIT(FV_CU_Q) | \
     FV_OPERAND_BIT(FV_CU_K))
extern const fv__engine fv__rows;

/* What a mechanism over ROWS chooses. */
typedef struct fv__rows_setup {
    const fv__row_weight *weight; /* never NULL */
    int64_t top;                  /* keys that topk keeps */
} fv__rows_setup;
static inline fv__rows_setup *fv__rows_setup_of(const fv_attention_plan *plan) { return fv__setup_of(plan, &fv__rows); }

/* ---- between rows.c and the two types */

size_t fv__rows_worker_bytes(const fv_attention_plan *plan);
typedef struct fv__rows_kernels {
    void (*forward)(const fv__run *run, void *scratch);
    void (*backward)(const fv__run *run, void *scratch);
    void (*weights)(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                    int64_t count, const fv_tensor *out);
} fv__rows_kernels;
extern const fv__rows_kernels fv__rows_kernels_f32, fv__rows_kernels_f64;

#endif
