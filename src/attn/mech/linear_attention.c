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
 * implied weights are P_ij = f_i . g_j / (m_i + eps). */
#include "attn/engine/recurrent/recurrent.h"

#include <math.h>

static const fv_option params[] = {
    {"eps", FV_OPT_FLOAT, offsetof(fv__recurrent, eps), "1e-6", 1e-30, 1, NULL, "added to the normaliser"},
    {0},
};

/* ---- by plain loops in double */

typedef struct row {
    const fv_attention_plan *plan;
    const fv_attention_tensors *x;
    int64_t b, h, kv, i, q_start, k_start, k_len, offset;
} row;

static double get(const fv_tensor *t, int64_t b, int64_t h, int64_t l, int64_t d) {
    return fv_tensor_get(t, (int64_t[4]){b, h, l, d});
}
static double phi(double x) { return x > 0 ? x + 1 : exp(x); }

static double similarity(const row *r, int64_t j) {
    const fv_tensor *q = &r->x->t[FV_Q], *k = &r->x->t[FV_K];
    double sum = 0;
    for (int64_t d = 0; d < q->dim[3]; d++)
        sum += phi(get(q, r->b, r->h, r->q_start + r->i, d)) * phi(get(k, r->b, r->kv, r->k_start + j, d));
    return sum;
}

static bool hidden(const row *r, int64_t j) {
    if (r->plan->options.causal != FV_CAUSAL_NONE) return j > r->i + r->offset;
    return r->plan->options.window_right >= 0 && j > r->i + r->offset + r->plan->options.window_right;
}

static void one_row(const row *r) {
    const fv_attention_tensors *x = r->x;
    const int64_t width = x->t[FV_OUT].dim[3];
    const double eps = ((const fv__recurrent *)r->plan->params)->eps;
    double total = 0;
    bool seen = false;
    for (int64_t e0 = 0; e0 == 0 || e0 < width; e0 += 64) { /* 64 columns at a time: nothing is stored */
        double out[64] = {0};
        const int64_t columns = width - e0 < 64 ? width - e0 : 64;
        total = 0;
        for (int64_t j = 0; j < r->k_len; j++) {
            if (hidden(r, j)) continue;
            const double s = similarity(r, j);
            for (int64_t e = 0; e < columns; e++) out[e] += s * get(&x->t[FV_V], r->b, r->kv, r->k_start + j, e0 + e);
            total += s, seen = true;
        }
        for (int64_t e = 0; e < columns; e++)
            fv_tensor_set(&x->t[FV_OUT], (int64_t[4]){r->b, r->h, r->q_start + r->i, e0 + e}, out[e] / (total + eps));
    }
    if (x->t[FV_LSE].rank)
        fv_tensor_set(&x->t[FV_LSE], (int64_t[3]){r->b, r->h, r->q_start + r->i}, seen ? log(total + eps) : -INFINITY);
}

static void reference(const fv_attention_plan *plan, const fv_attention_tensors *x) {
    const fv_tensor *cu_q = &x->t[FV_CU_Q], *cu_k = x->t[FV_CU_K].rank ? &x->t[FV_CU_K] : cu_q, *len = &x->t[FV_KV_LEN];
    const int64_t sequences = cu_q->rank ? cu_q->dim[0] - 1 : x->t[FV_Q].dim[0], heads = x->t[FV_Q].dim[1],
                  kv_heads = x->t[FV_K].dim[1];
    for (int64_t n = 0; n < sequences; n++) {
        row r = {.plan = plan, .x = x, .b = cu_q->rank ? 0 : n, .k_len = x->t[FV_K].dim[2]};
        int64_t q_len = x->t[FV_Q].dim[2];
        if (cu_q->rank) {
            const int64_t next = n + 1;
            r.q_start = (int64_t)fv_tensor_get(cu_q, &n), q_len = (int64_t)fv_tensor_get(cu_q, &next) - r.q_start;
            r.k_start = (int64_t)fv_tensor_get(cu_k, &n), r.k_len = (int64_t)fv_tensor_get(cu_k, &next) - r.k_start;
        }
        if (len->rank && (int64_t)fv_tensor_get(len, &n) < r.k_len) r.k_len = (int64_t)fv_tensor_get(len, &n);
        r.offset = plan->options.causal == FV_CAUSAL_LOWER_RIGHT ? r.k_len - q_len : plan->options.q_offset;
        for (r.h = 0; r.h < heads; r.h++)
            for (r.i = 0, r.kv = r.h * kv_heads / heads; r.i < q_len; r.i++) one_row(&r);
    }
}

/* ---- the weights the recurrence never forms */

static void weights(const fv_attention_plan *plan, const fv_attention_tensors *x, fv_capture capture, int64_t batch,
                    int64_t head, const int64_t *rows, int64_t count, const fv_tensor *out) {
    const fv__sequence s = fv__attn_sequence(plan, x, batch);
    row r = {.plan = plan,
             .x = x,
             .b = s.batch,
             .h = head,
             .kv = head * plan->kv_heads / plan->heads,
             .q_start = s.q_start,
             .k_start = s.k_start};
    for (int64_t n = 0; n < count; n++) {
        int64_t start, end;
        r.i = rows[n];
        fv__attn_visible(plan, &s, r.i, &start, &end);
        const bool normal = capture == FV_CAPTURE_SOFTMAX;
        const double total = normal ? exp(fv_tensor_get(&x->t[FV_LSE], (int64_t[3]){r.b, head, s.q_start + r.i})) : 1;
        for (int64_t j = 0; j < out->dim[1]; j++) {
            const bool seen = j >= start && j < end;
            fv_tensor_set(out, (int64_t[2]){n, j}, seen ? similarity(&r, j) / total : normal ? 0 : -INFINITY);
        }
    }
}

const fv__mechanism fv__mech_linear = {
    .info = {.name = "linear",
             .summary = "linear attention: a state of fixed size, features elu+1, normalised",
             .citation = "Katharopoulos et al. 2020, arXiv 2006.16236",
             .cost = "O(n d^2) time, O(n d) memory",
             .needs = 1 << FV_Q | 1 << FV_K | 1 << FV_V,
             .takes = 1 << FV_KV_LEN | 1 << FV_CU_Q | 1 << FV_CU_K,
             .can = FV_CAN_BACKWARD | FV_CAN_CAUSAL | FV_CAN_GQA | FV_CAN_VARLEN | FV_CAN_KV_LEN | FV_CAN_WEIGHTS,
             .params = params},
    .params_size = sizeof(fv__recurrent),
    .accept = fv__recurrent_accept,
    .scratch = fv__recurrent_scratch,
    .flops = fv__recurrent_flops,
    .forward = fv__recurrent_forward,
    .backward = fv__recurrent_backward,
    .reference = reference,
    .weights = weights,
    .describe = fv__recurrent_describe,
};
