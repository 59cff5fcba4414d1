/* ROWBLOCK: scratch and the choice of the type. See rowblock.h. */
#include "attn/core/rowblock.h"

#include <stdio.h>

static const fv__rowblock_engine *engine_of(const fv_attention_plan *plan) {
    return plan->dtype == FV_F64 ? &fv__rowblock_engine_f64 : &fv__rowblock_engine_f32;
}

void fv__rowblock_forward(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch) {
    engine_of(plan)->forward(plan, x, scratch);
}

void fv__rowblock_backward(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch) {
    engine_of(plan)->backward(plan, x, scratch);
}

void fv__rowblock_weights(const fv_attention_plan *plan, const fv_attention_tensors *x, fv_stage stage, int64_t batch,
                          int64_t head, const int64_t *rows, int64_t count, const fv_tensor *out) {
    engine_of(plan)->weights(plan, x, stage, batch, head, rows, count, out);
}

size_t fv__rowblock_worker_bytes(const fv_attention_plan *plan) {
    const size_t e = plan->dtype == FV_F64 ? 8 : 4;
    const int64_t rows = FV_ROWBLOCK_ROWS, ld = (plan->k_len + rows - 1) / rows * rows;
    return fv__attn_lines(fv__attn_times(plan->d_qk, rows), e) + 2 * fv__attn_lines(fv__attn_times(ld, rows), e) +
           fv__attn_lines(ld, e);
}

size_t fv__rowblock_scratch(const fv_attention_plan *plan, bool backward) {
    (void)backward;
    return (size_t)fv_threads() * fv__rowblock_worker_bytes(plan);
}

void fv__rowblock_describe(const fv_attention_plan *plan, char *text, size_t size) {
    snprintf(text, size, "rowblock %s, %d whole rows at a time", fv_dtype_name(plan->dtype), FV_ROWBLOCK_ROWS);
}
