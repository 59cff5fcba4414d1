/* Retention. Sun et al., Retentive Network, 2023, arXiv 2307.08621.
 *
 *   forward    S_t = gamma S_t-1 + k_t v_t^T         o_t = scale q_t^T S_t
 *              with gamma = 1 - 2^(-first - step h) for head h = 0, 1, ...
 *              which is O = (scale Q K^T * D) V with D_ij = gamma^(i-j) for j <= i, else 0
 *   backward   E_t = scale q_t do_t^T + gamma E_t+1 (E after the last token: dstate_out)
 *              dq_t = scale S_t do_t     dk_t = E_t v_t     dv_t = E_t^T k_t     dstate = gamma E_0
 *
 * There is no normalizer: the three of the paper differ and cancel in the group normalization that follows, which is
 * the caller's, as are xPos (rotated q and k) and the swish gate. The implied weights are P_ij = scale gamma^(i-j)
 * q_i . k_j; rows do not sum to 1. */
#include "attn/engine/recurrent/chunkwise.h"
#include "attn/mech/by_token.h"

#include <math.h>

typedef struct retention_params {
    double first, step;
    int64_t chunk;
    const char *phi;
} retention_params;

static const fv_option params[] = {
    {"first", FV_OPT_FLOAT, offsetof(retention_params, first), "5", 0.01, 60, NULL,
     "head 0 keeps 1 - 2^-first per token"},
    {"step", FV_OPT_FLOAT, offsetof(retention_params, step), "1", 0, 60, NULL, "added to `first` from head to head"},
    {"chunk", FV_OPT_INT, offsetof(retention_params, chunk), "64", 1, 64, NULL,
     "tokens computed together, a power of 2"},
    {"phi", FV_OPT_CHOICE, offsetof(retention_params, phi), "identity", 0, 0, "identity|elu",
     "features of q and k: x, or elu(x) + 1"},
    {0},
};

static double log_decay(const fv_attention_plan *plan, int64_t head) {
    const retention_params *p = plan->params;
    return log1p(-exp2(-p->first - p->step * (double)head));
}

static fv_status setup(fv_attention_plan *plan) {
    const retention_params *p = plan->params;
    fv__recurrent_setup *s = fv__chunkwise_setup(plan, p->chunk, p->phi);
    s->decay = FV_DECAY_CONST, s->log_decay = log_decay;
    return FV_OK;
}

/* ---- by plain loops in double */

static double phi(const fv__token_walk *w, double x) {
    return ((const retention_params *)w->run->plan->params)->phi[0] == 'i' ? x : x > 0 ? x + 1 : exp(x);
}

static void head(fv__token_walk *w) {
    const retention_params *p = w->run->plan->params;
    const double gamma = 1 - pow(2, -(p->first + p->step * (double)w->head)), scale = w->run->plan->options.scale;
    double s[FV_CHUNK_MAX_D];
    for (int64_t e = 0; e < w->run->plan->d_v; e++) {
        fv__token_state(w, e, s);
        for (int64_t t = 0; t < w->length; t++) {
            double sum = 0;
            for (int64_t d = 0; d < w->run->plan->d_qk; d++) {
                if (t < w->keys) s[d] = gamma * s[d] + phi(w, fv__token_k(w, t, d)) * fv__token_v(w, t, e);
                sum += s[d] * phi(w, fv__token_q(w, t, d));
            }
            fv__token_out(w, t, e, scale * sum);
        }
        fv__token_state_out(w, e, s);
    }
}

static void reference(const fv__run *run) { fv__each_head(run, head); }

const fv__mechanism fv__mech_retention = {
    .info = {.name = "retention",
             .summary = "a state that forgets at a fixed rate per head (RetNet), not normalized, causal",
             .citation = "Sun et al. 2023, arXiv 2307.08621",
             .cost = "O(n d^2) time, O(n d) memory",
             .needs = FV_CHUNKWISE_NEEDS,
             .takes = FV_CHUNKWISE_TAKES,
             .can = FV_CHUNKWISE_CAN,
             .params = params,
             .examples = {"retention", "retention:first=0.1,step=0.7,chunk=8"}},
    .params_size = sizeof(retention_params),
    .engine = &fv__recurrent,
    .unnormalized = true,
    .setup = setup,
    .reference = reference,
};
