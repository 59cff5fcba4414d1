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
#include "attn/engine/gate/gate.h"
#include "simd/simd.h"

#include <math.h>
#include <string.h>

typedef struct se_params {
    int64_t reduction;
} se_params;

static const fv_option params[] = {
    {"reduction", FV_OPT_INT, offsetof(se_params, reduction), "16", 1, 1e9, NULL,
     "channels for each unit of the bottleneck"},
    {0},
};

static int64_t bottleneck(const fv_attention_plan *plan) {
    const int64_t units = plan->d_qk / ((const se_params *)plan->params)->reduction;
    return units > 0 ? units : 1;
}

/* What one sequence and head keep between the passes over their rows: z, s, du, dz (D each), h, da (R each). */
static int64_t kept(const fv_attention_plan *plan) { return 4 * plan->d_qk + 2 * bottleneck(plan); }
static int64_t weights_of_head(const fv_attention_plan *plan) {
    return (2 * plan->d_qk + 1) * bottleneck(plan) + plan->d_qk;
}

#define R float
#define T(name) name##_f32
#define SIMD fv__simd_f32
#define SIMD_NOW fv__simd_f32_now
#include "attn/mech/se.h"
#undef R
#undef T
#undef SIMD
#undef SIMD_NOW
#define R double
#define T(name) name##_f64
#define SIMD fv__simd_f64
#define SIMD_NOW fv__simd_f64_now
#include "attn/mech/se.h"

static const fv_mechanism_operand operands[] = {
    {FV_W0, "w1", "H,R,D", FV_OPERAND_XAVIER, true, "into the bottleneck of R units"},
    {FV_W1, "b1", "H,R", FV_OPERAND_ZEROS, false, "added before the relu"},
    {FV_W2, "w2", "H,D,R", FV_OPERAND_XAVIER, true, "out of the bottleneck"},
    {FV_W3, "b2", "H,D", FV_OPERAND_ZEROS, false, "added before the sigmoid"},
    {0},
};

static int64_t extent(const fv_attention_plan *plan, char letter) { return letter == 'R' ? bottleneck(plan) : 0; }

static size_t scratch_size(const fv_attention_plan *plan, bool backward) {
    const size_t e = fv_dtype_size(plan->dtype);
    const int64_t pairs = fv__attn_times(plan->sequences, plan->heads),
                  blocks = fv__attn_times(fv__gate_most_blocks(plan), plan->heads);
    return fv__gate_first_bytes(plan) + fv__attn_lines(fv__attn_times(plan->heads, weights_of_head(plan)), e) +
           fv__attn_lines(fv__attn_times(pairs, kept(plan)), e) +
           fv__attn_lines(fv__attn_times(blocks, plan->d_qk * (backward ? 2 : 1)), e);
}

static double flops(const fv_attention_plan *plan, bool backward) {
    const double rows = (double)plan->batch * (double)plan->q_len, d = (double)plan->d_qk, h = (double)plan->heads;
    const double small = 4 * (double)plan->sequences * (double)bottleneck(plan) * d;
    return h * (backward ? 5 * rows * d + 3 * small : 2 * rows * d + small);
}

static const fv__gate_kernels kernels = {scratch_size, flops, {forward_f32, forward_f64}, {backward_f32, backward_f64}};

static fv_status setup(fv_attention_plan *plan) {
    fv__gate_setup_of(plan)->kernels = &kernels;
    return FV_OK;
}

/* ---- by plain loops in double */

static double weight(const fv_attention_tensors *x, fv_operand operand, int64_t h, int64_t i, int64_t j) {
    return fv_tensor_get(&x->t[operand], (int64_t[3]){h, i, j});
}

/* s of one channel of the rows [from, to) of one head */
static double excitation(const fv_attention_tensors *x, int64_t b, int64_t h, int64_t from, int64_t to,
                         int64_t channel) {
    const fv_tensor *in = &x->t[FV_Q];
    double u = weight(x, FV_W3, h, channel, 0);
    for (int64_t r = 0; r < x->t[FV_W1].dim[1]; r++) {
        double a = weight(x, FV_W1, h, r, 0);
        for (int64_t d = 0; d < in->dim[3]; d++) {
            double sum = 0;
            for (int64_t l = from; l < to; l++) sum += fv_tensor_get(in, (int64_t[4]){b, h, l, d});
            a += weight(x, FV_W0, h, r, d) * sum / (double)(to - from);
        }
        u += weight(x, FV_W2, h, channel, r) * (a > 0 ? a : 0);
    }
    return 1 / (1 + exp(-u));
}

static void reference(const fv__run *run) {
    const fv_attention_tensors *x = run->x;
    const fv_tensor *in = &x->t[FV_Q], *len = &x->t[FV_KV_LEN], *cu = &x->t[FV_CU_Q];
    for (int64_t n = 0; n < (cu->rank ? cu->dim[0] - 1 : in->dim[0]); n++) {
        const int64_t next = n + 1, b = cu->rank ? 0 : n, from = cu->rank ? (int64_t)fv_tensor_get(cu, &n) : 0;
        const int64_t end = cu->rank ? (int64_t)fv_tensor_get(cu, &next) : in->dim[2];
        const int64_t live = len->rank ? (int64_t)fv_tensor_get(len, &n) : end;
        for (int64_t h = 0; h < in->dim[1]; h++)
            for (int64_t d = 0; d < in->dim[3]; d++) {
                const double s = live > from ? excitation(x, b, h, from, live, d) : 0;
                for (int64_t l = from; l < end; l++) {
                    const int64_t at[4] = {b, h, l, d};
                    fv_tensor_set(&x->t[FV_OUT], at, l < live ? s * fv_tensor_get(in, at) : 0);
                }
            }
    }
}

const fv__mechanism fv__mech_se = {
    .info = {.name = "se",
             .summary = "squeeze and excitation: channels scaled by the mean of the sequence",
             .citation = "Hu et al. 2018, arXiv 1709.01507",
             .cost = "O(n d) time and memory",
             .needs = FV_OPERAND_BIT(FV_Q) | FV_OPERAND_BIT(FV_W0) | FV_OPERAND_BIT(FV_W1) | FV_OPERAND_BIT(FV_W2) |
                      FV_OPERAND_BIT(FV_W3),
             .takes = FV_OPERAND_BIT(FV_KV_LEN) | FV_OPERAND_BIT(FV_CU_Q),
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
