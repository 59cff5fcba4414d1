/* The spatial gate (sSE): every position scales its own channels. Roy et al., Concurrent Spatial and Channel Squeeze &
 * Excitation, 2018, arXiv 1803.02579 (there sSE: a 1x1 convolution to one channel). Positions are rows of x; each head
 * is a gate of its own.
 *
 *   forward    s_p = w . x_p + b     g_p = sigmoid(s_p)     y_p = g_p x_p
 *   backward   t_p = dy_p . x_p      ds_p = t_p g_p (1 - g_p)
 *              dx_p = g_p dy_p + ds_p w     dw = sum_p ds_p x_p     db = sum_p ds_p
 *
 * Rows beyond kv_len do not exist: their outputs and gradients are zero, and they are never read. */
#include "attn/engine/gate/gate.h"
#include "simd/simd.h"

#include <math.h>

#define R float
#define T(name) name##_f32
#define SIMD fv__simd_f32
#define SIMD_NOW fv__simd_f32_now
#include "attn/mech/spatial_gate.h"
#undef R
#undef T
#undef SIMD
#undef SIMD_NOW
#define R double
#define T(name) name##_f64
#define SIMD fv__simd_f64
#define SIMD_NOW fv__simd_f64_now
#include "attn/mech/spatial_gate.h"

static const fv_mechanism_operand operands[] = {
    {FV_W0, "w", "H,D", FV_OPERAND_XAVIER, true, "weighs the channels"},
    {FV_W1, "b", "H", FV_OPERAND_ZEROS, false, "added before the sigmoid"},
    {0},
};

/* A sum over rows for dw and db of each block when backward, and the parameters without gaps. */
static size_t scratch_size(const fv_attention_plan *plan, bool backward) {
    const size_t e = fv_dtype_size(plan->dtype);
    const int64_t wide = plan->d_qk + 1;
    const int64_t all = fv__attn_times(plan->heads, wide);
    size_t bytes = fv__attn_lines(all, e) + fv__gate_first_bytes(plan);
    if (backward) bytes += fv__attn_lines(fv__attn_times(fv__gate_most_blocks(plan), all), e);
    return bytes;
}

static double flops(const fv_attention_plan *plan, bool backward) {
    return (double)plan->batch * (double)plan->heads * (double)plan->q_len * (double)plan->d_qk * (backward ? 9 : 3);
}

static const fv__gate_kernels kernels = {scratch_size, flops, {forward_f32, forward_f64}, {backward_f32, backward_f64}};

static fv_status setup(fv_attention_plan *plan) {
    fv__gate_setup_of(plan)->kernels = &kernels;
    return FV_OK;
}

/* ---- by plain loops in double */

static void reference(const fv__run *run) {
    const fv_attention_tensors *x = run->x;
    const fv_tensor *in = &x->t[FV_Q], *len = &x->t[FV_KV_LEN];
    for (int64_t b = 0; b < in->dim[0]; b++)
        for (int64_t h = 0; h < in->dim[1]; h++)
            for (int64_t l = 0; l < in->dim[2]; l++) {
                const bool live = !len->rank || (double)l < fv_tensor_get(len, &b);
                double s = live ? fv_tensor_get(&x->t[FV_W1], &h) : 0;
                for (int64_t d = 0; live && d < in->dim[3]; d++)
                    s += fv_tensor_get(&x->t[FV_W0], (int64_t[2]){h, d}) * fv_tensor_get(in, (int64_t[4]){b, h, l, d});
                for (int64_t d = 0; d < in->dim[3]; d++) {
                    const int64_t at[4] = {b, h, l, d};
                    fv_tensor_set(&x->t[FV_OUT], at, live ? fv_tensor_get(in, at) / (1 + exp(-s)) : 0);
                }
            }
}

const fv__mechanism fv__mech_spatial_gate = {
    .info = {.name = "spatial-gate",
             .summary = "spatial gate (sSE): every position scales its own channels by a sigmoid of them",
             .citation = "Roy et al. 2018, arXiv 1803.02579",
             .cost = "O(n d) time and memory",
             .needs = FV_OPERAND_BIT(FV_Q) | FV_OPERAND_BIT(FV_W0) | FV_OPERAND_BIT(FV_W1),
             .takes = FV_OPERAND_BIT(FV_KV_LEN) | FV_OPERAND_BIT(FV_CU_Q),
             .can = FV_GATE_CAN,
             .operands = operands,
             .examples = {"spatial-gate"}},
    .engine = &fv__gate,
    .setup = setup,
    .reference = reference,
};
