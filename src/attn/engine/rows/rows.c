/* ROWS: scratch and the choice of the type. See rows.h. */
#include "attn/engine/rows/rows.h"
#include "attn/engine/tile/tile.h"

#include <stdio.h>

static const fv__rows_kernels *kernels_of(const fv_attention_plan *plan) {
    return plan->dtype == FV_F64 ? &fv__rows_kernels_f64 : &fv__rows_kernels_f32;
}

static void forward(const fv__run *run, void *scratch) { kernels_of(run->plan)->forward(run, scratch); }

static void backward(const fv__run *run, void *scratch) { kernels_of(run->plan)->backward(run, scratch); }

static void weights(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                    int64_t count, const fv_tensor *out, void *scratch) {
    (void)scratch;
    kernels_of(run->plan)->weights(run, capture, batch, head, rows, count, out);
}

size_t fv__rows_worker_bytes(const fv_attention_plan *plan) {
    const size_t e = plan->dtype == FV_F64 ? 8 : 4;
    const int64_t rows = FV_ROWS_BLOCK, ld = (plan->k_len + rows - 1) / rows * rows;
    return fv__attn_lines(fv__attn_times(plan->d_qk, rows), e) + 2 * fv__attn_lines(fv__attn_times(ld, rows), e) +
           fv__attn_lines(ld, e) + fv__attn_lines(ld, sizeof(int64_t));
}

static size_t scratch_size(const fv_attention_plan *plan, bool backward) {
    (void)backward;
    return (size_t)fv_threads() * fv__rows_worker_bytes(plan);
}

static void describe(const fv_attention_plan *plan, char *text, size_t size) {
    snprintf(text, size, "rows %s, %d whole rows at a time", fv_dtype_name(plan->dtype), FV_ROWS_BLOCK);
}

const fv__engine fv__rows = {
    .name = "rows",
    .can = FV_ROWS_CAN,
    .setup_size = sizeof(fv__rows_setup),
    .accept = fv__attn_check_saved_lse,
    .scratch = scratch_size,
    .flops = fv__tile_flops,
    .forward = forward,
    .backward = backward,
    .weights = weights,
    .describe = describe,
};
