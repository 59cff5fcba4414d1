/* Linear attention. Katharopoulos et al., Transformers are RNNs, 2020, arXiv 2006.16236.
 *
 *   forward    f = phi(q), g = phi(k), phi(x) = elu(x) + 1     S_i = sum_{j <= i} g_j v_j^T     z_i = sum_{j <= i} g_j
 *              m_i = f_i . z_i     o_i = S_i^T f_i / (m_i + eps)     LSE_i = ln(m_i + eps)
 *   backward   dn_i = do_i / (m_i + eps)     dm_i = (dLSE_i - do_i . o_i) / (m_i + eps)
 *              df_i = S_i dn_i + z_i dm_i    E_j = sum_{i >= j} f_i dn_i^T    e_j = sum_{i >= j} f_i dm_i
 *              dg_j = E_j v_j + e_j          dv_j = E_j^T g_j
 *              dq = df phi'(q)     dk = dg phi'(k)     phi' = 1 above 0, else phi
 *
 * Without a causal mask all sums run over all i and j. There is no scale: `options.scale` says nothing here. The
 * implied weights are P_ij = f_i . g_j / (m_i + eps). A causal call takes the state of what came before, (D,Dv+1) of a
 * kv head: S and in the last column z; state_out goes on from it, and decoding keeps nothing else. */
#include "attn/engine/recurrent/recurrent.h"
#include "attn/mech/by_token.h"
#include "attn/reference.h"

#include <math.h>

typedef struct linear_params {
    double eps;
} linear_params;

static const fv_option params[] = {
    {"eps", FV_OPT_FLOAT, offsetof(linear_params, eps), "1e-6", 1e-30, 1, NULL, "added to the normaliser"},
    {0},
};

static fv_status setup(fv_attention_plan *plan) {
    fv__recurrent_setup *s = fv__recurrent_setup_of(plan);
    s->map = FV_MAP_ELU, s->normalized = true, s->eps = ((const linear_params *)plan->params)->eps;
    return FV_OK;
}

static const fv_mechanism_operand operands[] = {
    {FV_STATE, "state", "N,Hkv,D,Dv+1", FV_OPERAND_ZEROS, false, "sums over earlier tokens, the normaliser last"},
    {0},
};

/* ---- by plain loops in double */

static double phi(double x) { return x > 0 ? x + 1 : exp(x); }

static double similarity(const fv__row *r, int64_t j) {
    const fv_tensor *q = &r->run->x->t[FV_Q], *k = &r->run->x->t[FV_K];
    double sum = 0;
    for (int64_t d = 0; d < r->run->plan->d_qk; d++)
        sum += phi(fv__plain_get(q, r->b, r->h, r->q_row, d)) * phi(fv__plain_get(k, r->b, r->kv, r->k_start + j, d));
    return sum;
}

/* What the state gives the row for column e, Dv being the normaliser. */
static double from_state(const fv__row *r, int64_t e) {
    const fv_tensor *state = &r->run->x->t[FV_STATE];
    double sum = 0;
    for (int64_t d = 0; state->rank && d < r->run->plan->d_qk; d++)
        sum += phi(fv__plain_get(&r->run->x->t[FV_Q], r->b, r->h, r->q_row, d)) *
               fv_tensor_get(state, (int64_t[4]){r->sequence, r->kv, d, e});
    return sum;
}

static void one_row(const fv__row *r, void *context) {
    const fv_tensor *t = r->run->x->t;
    const int64_t width = r->run->plan->d_v, at[3] = {r->b, r->h, r->q_row};
    const double eps = ((const linear_params *)r->run->plan->params)->eps;
    double total = 0;
    bool seen = t[FV_STATE].rank != 0;
    (void)context;
    for (int64_t e0 = 0; e0 == 0 || e0 < width; e0 += 64) { /* 64 columns at a time: nothing is stored */
        double out[64] = {0};
        const int64_t columns = width - e0 < 64 ? width - e0 : 64;
        total = from_state(r, width);
        for (int64_t e = 0; e < columns; e++) out[e] = from_state(r, e0 + e);
        for (int64_t j = 0; j < r->k_len; j++) {
            if (!fv__row_visible(r, j)) continue;
            const double s = similarity(r, j);
            for (int64_t e = 0; e < columns; e++)
                out[e] += s * fv__plain_get(&t[FV_V], r->b, r->kv, r->k_start + j, e0 + e);
            total += s, seen = true;
        }
        for (int64_t e = 0; e < columns; e++)
            fv_tensor_set(&t[FV_OUT], (int64_t[4]){r->b, r->h, r->q_row, e0 + e}, out[e] / (total + eps));
    }
    if (t[FV_LSE].rank) fv_tensor_set(&t[FV_LSE], at, seen ? log(total + eps) : -INFINITY);
}

/* The state after the last token of a head. */
static void last_state(fv__token_walk *w) {
    const fv_attention_tensors *x = w->run->x;
    for (int64_t d = 0; d < w->run->plan->d_qk; d++)
        for (int64_t e = 0; e <= w->run->plan->d_v; e++) {
            const int64_t at[4] = {w->sequence, w->kv, d, e};
            double sum = x->t[FV_STATE].rank ? fv_tensor_get(&x->t[FV_STATE], at) : 0;
            for (int64_t t = 0; t < w->keys; t++)
                sum += phi(fv__token_k(w, t, d)) * (e < w->run->plan->d_v ? fv__token_v(w, t, e) : 1);
            fv_tensor_set(&x->t[FV_STATE_OUT], at, sum);
        }
}

static void reference(const fv__run *run) {
    fv__each_row(run, one_row, NULL);
    if (run->x->t[FV_STATE_OUT].rank) fv__each_head(run, last_state);
}

const fv__mechanism fv__mech_linear = {
    .info = {.name = "linear",
             .summary = "linear attention: a state of fixed size, features elu+1, normalised",
             .citation = "Katharopoulos et al. 2020, arXiv 2006.16236",
             .cost = "O(n d^2) time, O(n d) memory",
             .needs = FV_OPERAND_BIT(FV_Q) | FV_OPERAND_BIT(FV_K) | FV_OPERAND_BIT(FV_V),
             .takes = FV_OPERAND_BIT(FV_STATE) | FV_OPERAND_BIT(FV_KV_LEN) | FV_OPERAND_BIT(FV_CU_Q) |
                      FV_OPERAND_BIT(FV_CU_K),
             .can = FV_RECURRENT_CAN,
             .params = params,
             .operands = operands,
             .examples = {"linear"}},
    .params_size = sizeof(linear_params),
    .engine = &fv__recurrent,
    .setup = setup,
    .reference = reference,
};
