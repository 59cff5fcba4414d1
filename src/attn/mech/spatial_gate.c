/* The spatial gate (sSE): every position scales its own channels. Roy et al., Concurrent Spatial and Channel Squeeze &
 * Excitation, 2018, arXiv 1803.02579 (there sSE: a 1x1 convolution to one channel). Positions are rows of x; each head
 * is a gate of its own.
 *
 *   forward    s_p = w . x_p + b     g_p = sigmoid(s_p)     y_p = g_p x_p
 *   backward   t_p = dy_p . x_p      ds_p = t_p g_p (1 - g_p)
 *              dx_p = g_p dy_p + ds_p w     dw = sum_p ds_p x_p     db = sum_p ds_p
 *
 * Rows beyond kv_len do not exist: their outputs and gradients are zero, and they are never read. */
#ifndef FV_BOTH_REALS
#define FV_BOTH_REALS "attn/mech/spatial_gate.c"
#include "attn/engine/gate/gate.h"
#include "simd/both_reals.h"

static const fv_mechanism_operand operands[] = {
    {FV_W0, "w", "H,D", FV_OPERAND_XAVIER, true, "weighs the channels"},
    {FV_W1, "b", "H", FV_OPERAND_ZEROS, false, "added before the sigmoid"},
    {0},
};

static const fv__position_gate formulas = {{forward_f32, backward_f32}, {forward_f64, backward_f64}};

static fv_status setup(fv_attention_plan *plan) {
    fv__gate_setup_of(plan)->positions = &formulas;
    return FV_OK;
}

/* g of one row, by plain loops in double */
static double gate(const fv__gate_place *p, int64_t row) {
    double s = fv__plain_param(p, FV_W1, 0, 0);
    for (int64_t d = 0; d < p->run->plan->d_qk; d++)
        s += fv__plain_param(p, FV_W0, d, 0) * fv_tensor_get(&p->run->x->t[FV_Q], (int64_t[4]){p->b, p->h, row, d});
    return 1 / (1 + exp(-s));
}

static void reference(const fv__run *run) { fv__position_gate_reference(run, gate); }

const fv__mechanism fv__mech_spatial_gate = {
    .info = {.name = "spatial-gate",
             .summary = "spatial gate (sSE): every position scales its own channels by a sigmoid of them",
             .citation = "Roy et al. 2018, arXiv 1803.02579",
             .cost = "O(n d) time and memory",
             .needs = FV_OPERAND_BIT(FV_Q) | FV_OPERAND_BIT(FV_W0) | FV_OPERAND_BIT(FV_W1),
             .takes = FV_GATE_TAKES,
             .can = FV_GATE_CAN,
             .operands = operands,
             .examples = {"spatial-gate"}},
    .engine = &fv__gate,
    .setup = setup,
    .reference = reference,
};

#else

static void T(forward)(const T(fv__gate_head) * h, const R *x, int64_t step, int64_t rows, R *g) {
    for (int64_t i = 0; i < rows; i++) g[i] = h->simd->dot(h->w[0], x + i * step, h->d) + h->w[1][0];
    h->simd->sigmoid(g, g, rows);
}

static void T(backward)(const T(fv__gate_head) * h, const R *x, R g, R dg, R *dx, R *const *dw) {
    const R ds = dg * g * (1 - g);
    h->simd->axpy(dw[0], ds, x, h->d);
    dw[1][0] += ds;
    if (dx) h->simd->axpy(dx, ds, h->w[0], h->d);
}

#endif
