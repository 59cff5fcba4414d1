/* Top-k attention: each query attends to its k largest scores only. Zhao et al., Explicit Sparse Transformer, 2019,
 * arXiv 1912.11637; Gupta et al., Memory-efficient Transformers via Top-k Attention, 2021, arXiv 2106.06899.
 *
 *   forward    S = Q K^T, hidden ones -inf;  the k largest of a row stay, the others become -inf (not 0);
 *              P = softmax(scale S)   O = P V
 *   backward   that of softmax on what stayed; the choice itself has no gradient
 * Of equal scores the one with the lowest index stays, so exactly min(k, visible) keys are used. */
#include "attn/engine/rows/rows.h"
#include "attn/mech/exact.h"

#include <math.h>

typedef struct topk_params {
    int64_t k;
} topk_params;

static const fv_option params[] = {
    {"k", FV_OPT_INT, offsetof(topk_params, k), "32", 1, 1e12, NULL, "keys each query keeps"},
    {0},
};

static fv_status setup(fv_attention_plan *plan) {
    if (plan->options.scale < 0)
        return fv__fail(FV_USAGE, "attention: mechanism \"topk\"\n  expected a scale above 0\n  found:   %g",
                        plan->options.scale);
    *fv__rows_setup_of(plan) = (fv__rows_setup){&fv__weight_topk, ((const topk_params *)plan->params)->k};
    return FV_OK;
}

/* ---- reference: repeated search for the largest that is left */

/* The next key after (before, last) in the order of falling score, then rising index; -1 when there is none. */
static int64_t next_best(const fv__row *r, double before, int64_t last, double *best) {
    int64_t found = -1;
    for (int64_t j = 0; j < r->k_len; j++) {
        const double s = fv__row_visible(r, j) ? fv__plain_dot(r, j) : -INFINITY;
        if (s == -INFINITY || s > before || (s == before && j <= last)) continue;
        if (found < 0 || s > *best) found = j, *best = s;
    }
    return found;
}

static void add_value(const fv__row *r, int64_t j, double p) {
    const fv_tensor *t = r->run->x->t;
    for (int64_t d = 0; d < r->run->plan->d_v; d++) {
        const int64_t to[4] = {r->b, r->h, r->q_row, d}, v[4] = {r->b, r->kv, r->k_start + j, d};
        fv_tensor_set(&t[FV_OUT], to, fv_tensor_get(&t[FV_OUT], to) + p * fv_tensor_get(&t[FV_V], v));
    }
}

static void one_row(const fv__row *r, void *context) {
    const fv_attention_plan *plan = r->run->plan;
    const fv_tensor *t = r->run->x->t;
    const int64_t top = ((const topk_params *)plan->params)->k, at[3] = {r->b, r->h, r->q_row};
    double sum = 0, most = 0;
    (void)context;
    for (int64_t d = 0; d < plan->d_v; d++) fv_tensor_set(&t[FV_OUT], (int64_t[4]){r->b, r->h, r->q_row, d}, 0);
    for (int pass = 0; pass < 2; pass++) { /* first the sum, then the values */
        double s = INFINITY, best = 0;
        int64_t j = -1;
        for (int64_t n = 0; n < top && (j = next_best(r, s, j, &best)) >= 0; n++) {
            s = best;
            if (n == 0) most = s;
            const double p = exp(plan->options.scale * (s - most));
            if (pass == 0)
                sum += p;
            else
                add_value(r, j, p / sum);
        }
    }
    if (t[FV_LSE].rank) fv_tensor_set(&t[FV_LSE], at, sum > 0 ? plan->options.scale * most + log(sum) : -INFINITY);
}

static void reference(const fv__run *run) { fv__each_row(run, one_row, NULL); }

const fv__mechanism fv__mech_topk = {
    .info = {.name = "topk",
             .summary = "softmax over the k largest scores of each row",
             .citation = "Zhao et al. 2019, arXiv 1912.11637",
             .cost = "O(n m d) time, O(n d) memory",
             .needs = FV_EXACT_NEEDS,
             .takes = FV_ROWS_TAKES,
             .can = FV_ROWS_CAN,
             .params = params,
             .examples = {"topk:k=3", "topk:k=1", "topk:k=12"}},
    .params_size = sizeof(topk_params),
    .engine = &fv__rows,
    .setup = setup,
    .reference = reference,
};
