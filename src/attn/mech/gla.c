/* Gated linear attention. Yang et al., Gated Linear Attention Transformers with Hardware-Efficient Training, 2023,
 * arXiv 2312.06635; with one decay per token it is the SSD of Mamba-2, Dao and Gu, Transformers are SSMs, 2024, arXiv
 * 2405.21060.
 *
 *   forward    S_t = Diag(e^g_t) S_t-1 + k_t v_t^T        o_t = scale q_t^T S_t
 *              g_t <= 0: the operand log_decay, D numbers per token or one for all columns
 *              which is o_i = scale sum over j <= i of (sum over d of q_i,d k_j,d e^(g_j+1,d + ... + g_i,d)) v_j
 *   backward   E_t = scale q_t do_t^T + Diag(e^g_t+1) E_t+1 (E after the last token: dstate_out)
 *              dq_t = scale S_t do_t     dk_t = E_t v_t     dv_t = E_t^T k_t     dg_t = e^g_t * rowsum(E_t * S_t-1)
 *              dstate = Diag(e^g_0) E_0
 *
 * The layer of the paper has g = logsigmoid(x W) / 16, and a norm and a gate behind it; Mamba-2 has g = A dt, v = x
 * dt: those are the caller's. There is no normalizer. The implied weights are the factors of v_j above; rows do not
 * sum to 1. A decay of -inf forgets all. */
#include "attn/engine/recurrent/chunkwise.h"
#include "attn/mech/by_token.h"

#include <math.h>

typedef struct gla_params {
    int64_t chunk;
    const char *phi;
} gla_params;

static const fv_option params[] = {
    {"chunk", FV_OPT_INT, offsetof(gla_params, chunk), "64", 1, 64, NULL, "tokens computed together, a power of 2"},
    {"phi", FV_OPT_CHOICE, offsetof(gla_params, phi), "identity", 0, 0, "identity|elu",
     "features of q and k: x, or elu(x) + 1"},
    {0},
};

static fv_status setup(fv_attention_plan *plan) {
    const gla_params *p = plan->params;
    fv__chunkwise_setup(plan, p->chunk, p->phi);
    return FV_OK;
}

/* ---- by plain loops in double */

static double decay(const fv__token_walk *w, int64_t t, int64_t d) { return exp(fv__token_log_decay(w, t, d)); }

static double phi(const fv__token_walk *w, double x) {
    return ((const gla_params *)w->run->plan->params)->phi[0] == 'i' ? x : x > 0 ? x + 1 : exp(x);
}

static void head(fv__token_walk *w) {
    const double scale = w->run->plan->options.scale;
    double s[FV_CHUNK_MAX_D];
    for (int64_t e = 0; e < w->run->plan->d_v; e++) {
        fv__token_state(w, e, s);
        for (int64_t t = 0; t < w->length; t++) {
            double sum = 0;
            for (int64_t d = 0; d < w->run->plan->d_qk; d++) {
                if (t < w->keys) s[d] = decay(w, t, d) * s[d] + phi(w, fv__token_k(w, t, d)) * fv__token_v(w, t, e);
                sum += s[d] * phi(w, fv__token_q(w, t, d));
            }
            fv__token_out(w, t, e, scale * sum);
        }
        fv__token_state_out(w, e, s);
    }
}

static void reference(const fv__run *run) { fv__each_head(run, head); }

const fv__mechanism fv__mech_gla = {
    .info = {.name = "gla",
             .summary = "gated linear attention: decays per token and column, or per token; not normalized, causal",
             .citation = "Yang et al. 2023, arXiv 2312.06635",
             .cost = "O(n d^2) time, O(n d) memory",
             .needs = FV_CHUNKWISE_NEEDS | FV_OPERAND_BIT(FV_LOG_DECAY),
             .takes = FV_CHUNKWISE_TAKES,
             .can = FV_CHUNKWISE_CAN,
             .params = params,
             .examples = {"gla", "gla:chunk=16"}},
    .params_size = sizeof(gla_params),
    .engine = &fv__recurrent,
    .unnormalized = true,
    .setup = setup,
    .reference = reference,
};
