/* Squeeze and excitation: channels are scaled by what the whole sequence says. Hu, Shen, Sun, Squeeze-and-Excitation
 * Networks, 2018, arXiv 1709.01507. Positions are rows of x, channels its D columns; each head is a block of its own
 * with parameters of its own.
 *
 *   forward    z = mean of the rows     a = W1 z + b1     h = relu(a)     s = sigmoid(W2 h + b2)     y_p = x_p * s
 *   backward   ds = sum_p dy_p * x_p    du = ds s (1 - s) dh = W2^T du    da = dh where a > 0        dz = W1^T da
 *              dx_p = dy_p * s + dz / n     dW2 = du h^T  db2 = du  dW1 = da z^T  db1 = da, summed over sequences
 *
 * W1 is (H, R, D), W2 is (H, D, R) with R = max(1, D / reduction). Rows beyond kv_len do not exist: they are not in the
 * mean, are never read, and their outputs and gradients are zero. */
#ifndef FV_BOTH_REALS
#define FV_BOTH_REALS "attn/mech/se.c"
#include "attn/engine/gate/gate.h"

typedef struct se_params {
    int64_t reduction;
} se_params;

static const fv_option params[] = {
    {"reduction", FV_OPT_INT, offsetof(se_params, reduction), "16", 1, 1e9, NULL,
     "channels for each unit of the bottleneck"},
    {0},
};

static const fv_mechanism_operand operands[] = {
    {FV_W0, "w1", "H,R,D", FV_OPERAND_XAVIER, true, "into the bottleneck of R units"},
    {FV_W1, "b1", "H,R", FV_OPERAND_ZEROS, false, "added before the relu"},
    {FV_W2, "w2", "H,D,R", FV_OPERAND_XAVIER, true, "out of the bottleneck"},
    {FV_W3, "b2", "H,D", FV_OPERAND_ZEROS, false, "added before the sigmoid"},
    {0},
};

static int64_t bottleneck(const fv_attention_plan *plan) {
    const int64_t units = plan->d_qk / ((const se_params *)plan->params)->reduction;
    return units > 0 ? units : 1;
}

static int64_t extent(const fv_attention_plan *plan, char letter) { return letter == 'R' ? bottleneck(plan) : 0; }

#include "simd/both_reals.h"

static const fv__channel_gate formulas = {{forward_f32, backward_f32, gradient_f32},
                                          {forward_f64, backward_f64, gradient_f64}};

static fv_status setup(fv_attention_plan *plan) {
    const int64_t units = bottleneck(plan);
    *fv__gate_setup_of(plan) = (fv__gate_setup){.channels = &formulas,
                                                .own = plan->d_qk + 2 * units, /* du, h, da */
                                                .flops = 4 * (double)units * (double)plan->d_qk};
    return FV_OK;
}

/* s of one channel, by plain loops in double */
static double excitation(const fv__gate_place *p, int64_t channel) {
    double u = fv__plain_param(p, FV_W3, channel, 0);
    for (int64_t r = 0; r < bottleneck(p->run->plan); r++) {
        double a = fv__plain_param(p, FV_W1, r, 0);
        for (int64_t d = 0; d < p->run->plan->d_qk; d++) a += fv__plain_param(p, FV_W0, r, d) * fv__plain_mean(p, d);
        u += fv__plain_param(p, FV_W2, channel, r) * (a > 0 ? a : 0);
    }
    return 1 / (1 + exp(-u));
}

static void reference(const fv__run *run) { fv__channel_gate_reference(run, excitation); }

const fv__mechanism fv__mech_se = {
    .info = {.name = "se",
             .summary = "squeeze and excitation: channels scaled by the mean of the sequence",
             .citation = "Hu et al. 2018, arXiv 1709.01507",
             .cost = "O(n d) time and memory",
             .needs = FV_OPERAND_BIT(FV_Q) | FV_OPERAND_BIT(FV_W0) | FV_OPERAND_BIT(FV_W1) | FV_OPERAND_BIT(FV_W2) |
                      FV_OPERAND_BIT(FV_W3),
             .takes = FV_GATE_TAKES,
             .can = FV_GATE_CAN,
             .params = params,
             .operands = operands,
             .examples = {"se:reduction=4", "se"}},
    .params_size = sizeof(se_params),
    .engine = &fv__gate,
    .setup = setup,
    .extent = extent,
    .reference = reference,
};

#else

static void T(forward)(const T(fv__gate_head) * k) {
    const int64_t d = k->d, units = bottleneck(k->plan);
    R *h = k->own + d;
    for (int64_t r = 0; r < units; r++) h[r] = k->simd->dot(k->w[0] + r * d, k->mean, d) + k->w[1][r];
    k->simd->relu(h, h, units);
    for (int64_t i = 0; i < d; i++) k->gate[i] = k->simd->dot(k->w[2] + i * units, h, units) + k->w[3][i];
    k->simd->sigmoid(k->gate, k->gate, d);
}

static void T(backward)(const T(fv__gate_head) * k) {
    const int64_t d = k->d, units = bottleneck(k->plan);
    R *du = k->own, *h = du + d, *da = h + units;
    k->simd->fill(du, 0, d), k->simd->fill(da, 0, units);
    k->simd->sigmoid_back(du, k->dgate, k->gate, d);
    for (int64_t i = 0; i < d; i++) k->simd->axpy(da, du[i], k->w[2] + i * units, units);
    for (int64_t r = 0; r < units; r++) da[r] = h[r] > 0 ? da[r] : 0;
    k->simd->fill(k->dsum, 0, d);
    for (int64_t r = 0; r < units; r++) k->simd->axpy(k->dsum, da[r] / (R)k->rows, k->w[0] + r * d, d);
}

static void T(gradient)(const T(fv__gate_head) * k, int param, int64_t row, int64_t first, int64_t count, double *sum) {
    const R *du = k->own, *h = du + k->d, *da = h + bottleneck(k->plan);
    const R factor = param == 0 ? da[row] : param == 2 ? du[row] : 1;
    const R *of[4] = {k->mean, da, h, du}; /* dW1 = da z^T  db1 = da  dW2 = du h^T  db2 = du */
    for (int64_t c = 0; c < count; c++) sum[c] += (double)factor * (double)of[param][first + c];
}

#endif
