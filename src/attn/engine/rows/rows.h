/* ROWS: attention whose rows cannot be normalised online. The scores of a few query rows against all keys are held in
 * scratch, a row rule turns them into the scores that count, softmax and values follow. Memory per worker is ROWS times
 * the keys.
 *
 * Forward: a task owns ROWS queries of one head. Backward: a task owns a kv head with its group of heads and all their
 * rows, in order, so nothing is added by two tasks. rows_engine.h is written for a type R and compiled by rows_f32.c
 * and _f64.c. */
#ifndef FV_ATTN_ROWS_H
#define FV_ATTN_ROWS_H

#include "attn/mechanism_contract.h"

enum { FV_ROWS_BLOCK = 16 };

/* The row rule: keep the `top` largest scores of a row, of equal ones those with the lowest index; the others become
 * -inf. */
typedef struct fv__rows_tuning {
    int64_t top;
} fv__rows_tuning;

size_t fv__rows_scratch(const fv_attention_plan *plan, bool backward);
void fv__rows_forward(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch);
void fv__rows_backward(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch);
void fv__rows_weights(const fv_attention_plan *plan, const fv_attention_tensors *x, fv_capture capture, int64_t batch,
                      int64_t head, const int64_t *rows, int64_t count, const fv_tensor *out);
void fv__rows_describe(const fv_attention_plan *plan, char *text, size_t size);

/* ---- between rows.c and the two types */

size_t fv__rows_worker_bytes(const fv_attention_plan *plan);
typedef struct fv__rows_engine {
    void (*forward)(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch);
    void (*backward)(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch);
    void (*weights)(const fv_attention_plan *plan, const fv_attention_tensors *x, fv_capture capture, int64_t batch,
                    int64_t head, const int64_t *rows, int64_t count, const fv_tensor *out);
} fv__rows_engine;
extern const fv__rows_engine fv__rows_engine_f32, fv__rows_engine_f64;

#endif
