/* Top-k attention: each query attends to its k largest scores only. Zhao et al., Explicit Sparse Transformer, 2019,
 * arXiv 1912.11637; Gupta et al., Memory-efficient Transformers via Top-k Attention, 2021, arXiv 2106.06899.
 *
 *   forward    S = Q K^T, hidden ones -inf;  the k largest of a row stay, the others become -inf (not 0);
 *              P = softmax(scale S)   O = P V
 *   backward   that of softmax on what stayed; the choice itself has no gradient
 * Of equal scores the one with the lowest index stays, so exactly min(k, visible) keys are used. */
#include "attn/engine/rows/rows.h"
#include "attn/engine/tile/tile.h"
#include "attn/mech/exact.h"

#include <math.h>

typedef struct topk_params {
    int64_t k;
} topk_params;

static const fv_option params[] = {
    {"k", FV_OPT_INT, offsetof(topk_params, k), "32", 1, 1e12, NULL, "keys each query keeps"},
    {0},
};

static fv_status accept(fv_attention_plan *plan) {
    if (plan->options.scale < 0)
        return fv__fail(FV_USAGE, "attention: mechanism \"topk\"\n  expected a scale above 0\n  found:   %g",
                        plan->options.scale);
    fv__rows_tuning *tuning = fv__alloc(sizeof *tuning);
    if (!tuning) return FV_NO_RESOURCES;
    tuning->top = ((const topk_params *)plan->params)->k;
    plan->tuning = tuning;
    return fv__exact_accept(plan);
}

/* ---- reference: repeated search for the largest that is left */

typedef struct plain {
    const fv_attention_plan *plan;
    const fv_attention_tensors *x;
    int64_t b, h, kv, q_row, i, k_start, k_len, offset, prefix;
} plain;

static bool visible(const plain *r, int64_t j) {
    const int64_t at = r->i + r->offset;
    const bool inside = j < r->prefix;
    if (r->plan->causal && j > at && !inside) return false;
    if (r->plan->window_left >= 0 && j < at - r->plan->window_left) return false;
    if (r->plan->window_right >= 0 && j > at + r->plan->window_right && !inside) return false;
    const fv_tensor *m = &r->x->t[FV_MASK];
    if (!m->rank) return true;
    const int64_t index[4] = {m->dim[0] == 1 ? 0 : r->b, m->dim[1] == 1 ? 0 : r->h, m->dim[2] == 1 ? 0 : r->q_row,
                              m->dim[3] == 1 ? 0 : r->k_start + j};
    return (fv_tensor_get(m, index) != 0) == (r->plan->options.mask_means == FV_MASK_KEEP);
}

static double score(const plain *r, int64_t j) {
    if (!visible(r, j)) return -INFINITY;
    double s = 0;
    for (int64_t d = 0; d < r->plan->d_qk; d++) {
        const int64_t q[4] = {r->b, r->h, r->q_row, d}, k[4] = {r->b, r->kv, r->k_start + j, d};
        s += fv_tensor_get(&r->x->t[FV_Q], q) * fv_tensor_get(&r->x->t[FV_K], k);
    }
    return s;
}

/* The next key after (before, last) in the order of falling score, then rising index; -1 when there is none. */
static int64_t next_best(const plain *r, double before, int64_t last, double *best) {
    int64_t found = -1;
    for (int64_t j = 0; j < r->k_len; j++) {
        const double s = score(r, j);
        if (s == -INFINITY || s > before || (s == before && j <= last)) continue;
        if (found < 0 || s > *best) found = j, *best = s;
    }
    return found;
}

static void plain_row(const plain *r) {
    const int64_t top = ((const topk_params *)r->plan->params)->k, at[3] = {r->b, r->h, r->q_row};
    double sum = 0, most = 0;
    for (int64_t d = 0; d < r->plan->d_v; d++) {
        const int64_t to[4] = {r->b, r->h, r->q_row, d};
        fv_tensor_set(&r->x->t[FV_OUT], to, 0);
    }
    for (int pass = 0; pass < 2; pass++) { /* first the sum, then the values */
        double s = INFINITY, best = 0;
        int64_t j = -1;
        for (int64_t n = 0; n < top && (j = next_best(r, s, j, &best)) >= 0; n++) {
            s = best;
            if (n == 0) most = s;
            const double p = exp(r->plan->options.scale * (s - most));
            if (pass == 0) sum += p;
            for (int64_t d = 0; pass == 1 && d < r->plan->d_v; d++) {
                const int64_t to[4] = {r->b, r->h, r->q_row, d}, v[4] = {r->b, r->kv, r->k_start + j, d};
                fv_tensor_set(&r->x->t[FV_OUT], to,
                              fv_tensor_get(&r->x->t[FV_OUT], to) + p / sum * fv_tensor_get(&r->x->t[FV_V], v));
            }
        }
    }
    if (r->x->t[FV_LSE].rank)
        fv_tensor_set(&r->x->t[FV_LSE], at, sum > 0 ? r->plan->options.scale * most + log(sum) : -INFINITY);
}

static int64_t whole(const fv_tensor *t, int64_t i) { return (int64_t)fv_tensor_get(t, &i); }

static void reference(const fv_attention_plan *plan, const fv_attention_tensors *x) {
    for (int64_t n = 0; n < plan->sequences; n++) {
        plain r = {.plan = plan, .x = x, .b = plan->packed ? 0 : n, .k_len = plan->k_len};
        int64_t q_start = 0, q_len = plan->q_len;
        if (plan->packed) {
            const fv_tensor *q = &x->t[FV_CU_Q], *k = x->t[FV_CU_K].rank ? &x->t[FV_CU_K] : q;
            q_start = whole(q, n), q_len = whole(q, n + 1) - q_start;
            r.k_start = whole(k, n), r.k_len = whole(k, n + 1) - r.k_start;
        }
        if (x->t[FV_KV_LEN].rank && whole(&x->t[FV_KV_LEN], n) < r.k_len) r.k_len = whole(&x->t[FV_KV_LEN], n);
        if (r.x->t[FV_PREFIX_LEN].rank) r.prefix = whole(&r.x->t[FV_PREFIX_LEN], n);
        r.offset = plan->lower_right ? r.k_len - q_len : plan->options.q_offset;
        for (r.h = 0; r.h < plan->heads; r.h++)
            for (r.i = 0, r.kv = r.h * plan->kv_heads / plan->heads; r.i < q_len; r.i++)
                r.q_row = q_start + r.i, plain_row(&r);
    }
}

const fv__mechanism fv__mech_topk = {
    .info = {.name = "topk",
             .summary = "softmax over the k largest scores of each row",
             .citation = "Zhao et al. 2019, arXiv 1912.11637",
             .cost = "O(n m d) time, O(n d) memory",
             .needs = FV_EXACT_NEEDS,
             .takes = 1 << FV_MASK | 1 << FV_KV_LEN | 1 << FV_PREFIX_LEN | 1 << FV_CU_Q | 1 << FV_CU_K,
             .can = FV_EXACT_CAN & ~(FV_CAN_DROPOUT | FV_CAN_BLOCKS),
             .params = params},
    .params_size = sizeof(topk_params),
    .accept = accept,
    .scratch = fv__rows_scratch,
    .flops = fv__tile_flops,
    .forward = fv__rows_forward,
    .backward = fv__rows_backward,
    .reference = reference,
    .weights = fv__rows_weights,
    .describe = fv__rows_describe,
};
