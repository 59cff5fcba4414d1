/* Efficient channel attention: channels are scaled by what their neighbours among the channels have on average. Wang
 * et al., ECA-Net, 2020, arXiv 1910.03151. Positions are rows of x, channels its D columns; each head has a kernel.
 *
 *   forward    z = mean of the rows     u_i = sum_t w_t z_(i + t - K/2)     s = sigmoid(u)     y_p = x_p * s
 *   backward   du = ds s (1 - s)     dz_j = sum_t w_t du_(j - t + K/2)     dw_t = sum_i du_i z_(i + t - K/2)
 *
 * K is odd; as the paper has it the next odd number from (log2 D + 1) / 2. Outside the channels z and du are 0. */
#ifndef FV_BOTH_REALS
#define FV_BOTH_REALS "attn/mech/eca.c"
#include "attn/engine/gate/gate.h"

typedef struct eca_params {
    int64_t kernel;
} eca_params;

static const fv_option params[] = {
    {"kernel", FV_OPT_INT, offsetof(eca_params, kernel), "0", 0, 1e6, NULL,
     "channels that are looked at, odd; 0: by D"},
    {0},
};

static const fv_mechanism_operand operands[] = {
    {FV_W0, "w", "H,K", FV_OPERAND_XAVIER, true, "the kernel, shared by the channels of a head"},
    {0},
};

static int64_t extent(const fv_attention_plan *plan, char letter) {
    const int64_t kernel = ((const eca_params *)plan->params)->kernel;
    int64_t log = 0;
    while (plan->d_qk >> log > 1) log++;
    return letter != 'K' ? 0 : kernel ? kernel : (log + 1) / 2 | 1;
}

#include "simd/both_reals.h"

static const fv__channel_gate formulas = {{forward_f32, backward_f32, gradient_f32},
                                          {forward_f64, backward_f64, gradient_f64}};

static fv_status setup(fv_attention_plan *plan) {
    const int64_t kernel = extent(plan, 'K');
    if (kernel % 2 == 0)
        return fv__fail(FV_USAGE, "attention: mechanism \"eca\", kernel\n  expected an odd number\n  found:   %lld",
                        (long long)kernel);
    *fv__gate_setup_of(plan) =
        (fv__gate_setup){.channels = &formulas, .own = plan->d_qk, .flops = 2 * (double)kernel * (double)plan->d_qk};
    return FV_OK;
}

/* s of one channel, by plain loops in double */
static double gate(const fv__gate_place *p, int64_t channel) {
    const int64_t kernel = p->run->x->t[FV_W0].dim[1];
    double u = 0;
    for (int64_t t = 0; t < kernel; t++) {
        const int64_t d = channel + t - kernel / 2;
        if (d >= 0 && d < p->run->plan->d_qk) u += fv__plain_param(p, FV_W0, t, 0) * fv__plain_mean(p, d);
    }
    return 1 / (1 + exp(-u));
}

static void reference(const fv__run *run) { fv__channel_gate_reference(run, gate); }

const fv__mechanism fv__mech_eca = {
    .info = {.name = "eca",
             .summary = "efficient channel attention: channels scaled by a convolution over the means of channels",
             .citation = "Wang et al. 2020, arXiv 1910.03151",
             .cost = "O(n d) time and memory",
             .needs = FV_OPERAND_BIT(FV_Q) | FV_OPERAND_BIT(FV_W0),
             .takes = FV_GATE_TAKES,
             .can = FV_GATE_CAN,
             .params = params,
             .operands = operands,
             .examples = {"eca", "eca:kernel=5"}},
    .params_size = sizeof(eca_params),
    .engine = &fv__gate,
    .setup = setup,
    .extent = extent,
    .reference = reference,
};

#else

/* y_i += sum_t w_t x_(i + sign (t - K/2)) */
static void T(convolve)(const T(fv__gate_head) * h, const R *x, int64_t sign, R factor, R *y) {
    const int64_t kernel = extent(h->plan, 'K');
    for (int64_t t = 0; t < kernel; t++) {
        const int64_t shift = sign * (t - kernel / 2), skip = shift < 0 ? -shift : shift;
        if (skip >= h->d) continue;
        h->simd->axpy(y + (shift < 0 ? skip : 0), h->w[0][t] * factor, x + (shift < 0 ? 0 : skip), h->d - skip);
    }
}

static void T(forward)(const T(fv__gate_head) * h) {
    h->simd->fill(h->gate, 0, h->d);
    T(convolve)(h, h->mean, 1, 1, h->gate);
    h->simd->sigmoid(h->gate, h->gate, h->d);
}

static void T(backward)(const T(fv__gate_head) * h) {
    R *du = h->own;
    h->simd->fill(du, 0, h->d), h->simd->fill(h->dsum, 0, h->d);
    h->simd->sigmoid_back(du, h->dgate, h->gate, h->d);
    T(convolve)(h, du, -1, 1 / (R)h->rows, h->dsum);
}

static void T(gradient)(const T(fv__gate_head) * h, int param, int64_t row, int64_t first, int64_t count, double *sum) {
    const int64_t kernel = extent(h->plan, 'K');
    (void)param, (void)row;
    for (int64_t c = 0; c < count; c++)
        for (int64_t i = 0, j = first + c - kernel / 2; i < h->d; i++, j++)
            if (j >= 0 && j < h->d) sum[c] += (double)h->own[i] * (double)h->mean[j];
}

#endif
