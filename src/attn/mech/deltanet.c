/* DeltaNet: linear attention with the delta rule. Schlag et al., Linear Transformers are Secretly Fast Weight
 * Programmers, 2021, arXiv 2102.11174; the chunkwise form: Yang et al., Parallelizing Linear Transformers with the
 * Delta Rule, 2024, arXiv 2406.06484. With a decay per token it is Gated DeltaNet (Yang et al. 2024, arXiv
 * 2412.06464), with one per token and column Kimi Delta Attention (Kimi Team 2025, arXiv 2510.26692).
 *
 *   forward    S' = Diag(e^g_t) S_t-1     w_t = v_t - S'^T k_t     S_t = S' + beta_t k_t w_t^T
 *              o_t = scale q_t^T S_t      beta: an operand; g <= 0: the operand log_decay, 0 when it is absent
 *              what the state holds under the key k_t is replaced by v_t, to the share beta_t |k_t|^2
 *   backward   E_t = scale q_t do_t^T + e^g_t+1 E'_t+1 (the second term after the last token: dstate_out)
 *              E'_t = E_t - beta_t k_t (E_t^T k_t)^T
 *              dq_t = scale S_t do_t     dv_t = beta_t E_t^T k_t     dbeta_t = w_t . E_t^T k_t
 *              dk_t = beta_t E_t w_t - S' dv_t       dg_t = rowsum(E'_t * S')       dstate = e^g_0 E'_0
 *
 * Keys of length 1 and beta in (0, 1) are meant (up to 2 for negative eigenvalues); with beta |k|^2 > 2 the state
 * grows without bound. The layers of the papers have them from silu, an l2 norm and a sigmoid: those are the
 * caller's. The implied weights are P_ij = scale beta_j q_i . (I - beta_i k_i k_i^T) e^g_i ... (I - beta_j+1 k_j+1
 * k_j+1^T) e^g_j+1 k_j, of either sign. */
#include "attn/engine/recurrent/chunkwise.h"
#include "attn/mech/by_token.h"

#include <math.h>

typedef struct deltanet_params {
    int64_t chunk;
} deltanet_params;

static const fv_option params[] = {
    {"chunk", FV_OPT_INT, offsetof(deltanet_params, chunk), "64", 1, 64, NULL,
     "tokens computed together, a power of 2"},
    {0},
};

static fv_status setup(fv_attention_plan *plan) {
    fv__chunkwise_setup(plan, ((const deltanet_params *)plan->params)->chunk, NULL)->low_rank = FV_LOW_RANK_DELTA;
    return FV_OK;
}

/* ---- by plain loops in double */

/* Column e of the state takes up token t. */
static void write_token(const fv__token_walk *w, int64_t t, int64_t e, double *s) {
    double held = 0;
    for (int64_t d = 0; d < w->run->plan->d_qk; d++) {
        s[d] *= exp(fv__token_log_decay(w, t, d));
        held += s[d] * fv__token_k(w, t, d);
    }
    const double wrong = fv__token_beta(w, t) * (fv__token_v(w, t, e) - held);
    for (int64_t d = 0; d < w->run->plan->d_qk; d++) s[d] += fv__token_k(w, t, d) * wrong;
}

static void head(fv__token_walk *w) {
    double s[FV_CHUNK_MAX_D];
    for (int64_t e = 0; e < w->run->plan->d_v; e++) {
        fv__token_state(w, e, s);
        for (int64_t t = 0; t < w->length; t++) {
            double sum = 0;
            if (t < w->keys) write_token(w, t, e, s);
            for (int64_t d = 0; d < w->run->plan->d_qk; d++) sum += s[d] * fv__token_q(w, t, d);
            fv__token_out(w, t, e, w->run->plan->options.scale * sum);
        }
        fv__token_state_out(w, e, s);
    }
}

static void reference(const fv__run *run) { fv__each_head(run, head); }

const fv__mechanism fv__mech_deltanet = {
    .info = {.name = "deltanet",
             .summary =
                 "linear attention with the delta rule: a write replaces what its key held; gated with decays; causal",
             .citation = "Schlag et al. 2021, arXiv 2102.11174; Yang et al. 2024, arXiv 2406.06484",
             .cost = "O(n d^2) time, O(n d) memory",
             .needs = FV_CHUNKWISE_NEEDS | FV_OPERAND_BIT(FV_BETA),
             .takes = FV_CHUNKWISE_TAKES | FV_OPERAND_BIT(FV_LOG_DECAY),
             .can = FV_CHUNKWISE_CAN,
             .params = params,
             .examples = {"deltanet", "deltanet:chunk=32"}},
    .params_size = sizeof(deltanet_params),
    .engine = &fv__recurrent,
    .unnormalized = true,
    .setup = setup,
    .reference = reference,
};
