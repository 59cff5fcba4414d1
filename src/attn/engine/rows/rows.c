/* ROWS: scratch and the choice of the type. See rows.h. */
#include "attn/engine/rows/rows.h"

#include <stdio.h>

static const fv__rows_engine *engine_of(const fv_attention_plan *plan) {
    return plan->dtype == FV_F64 ? &fv__rows_engine_f64 : &fv__rows_engine_f32;
}

void fv__rows_forward(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch) {
    engine_of(plan)->forward(plan, x, scratch);
}

void fv__rows_backward(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch) {
    engine_of(plan)->backward(plan, x, scratch);
}

void fv__rows_weights(const fv_attention_plan *plan, const fv_attention_tensors *x, fv_capture capture, int64_t batch,
                      int64_t head, const int64_t *rows, int64_t count, const fv_tensor *out) {
    engine_of(plan)->weights(plan, x, capture, batch, head, rows, count, out);
}

size_t fv__rows_worker_bytes(const fv_attention_plan *plan) {
    const size_t e = plan->dtype == FV_F64 ? 8 : 4;
    const int64_t rows = FV_ROWS_BLOCK, ld = (plan->k_len + rows - 1) / rows * rows;
    return fv__attn_lines(fv__attn_times(plan->d_qk, rows), e) + 2 * fv__attn_lines(fv__attn_times(ld, rows), e) +
           fv__attn_lines(ld, e);
}

size_t fv__rows_scratch(const fv_attention_plan *plan, bool backward) {
    (void)backward;
    return (size_t)fv_threads() * fv__rows_worker_bytes(plan);
}

void fv__rows_describe(const fv_attention_plan *plan, char *text, size_t size) {
    snprintf(text, size, "rows %s, %d whole rows at a time", fv_dtype_name(plan->dtype), FV_ROWS_BLOCK);
}
