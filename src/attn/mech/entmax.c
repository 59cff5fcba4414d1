/* Sparse attention by alpha-entmax, between softmax (alpha 1) and sparsemax (alpha 2): keys whose scores are low have
 * weight exactly 0. Peters, Niculae, Martins, Sparse Sequence-to-Sequence Models, 2019, arXiv 1905.05702; Martins,
 * Astudillo, 2016, arXiv 1602.02068 for sparsemax; Correia et al., 2019, arXiv 1909.00015 in attention.
 *
 *   forward    S = scale Q K^T, hidden ones -inf     P_ij = ((alpha - 1) (S_ij - t_i))_+^(1 / (alpha - 1))
 *              t_i such that sum_j P_ij = 1          O = P V
 *   backward   dP = dO V^T     U = P^(2 - alpha) on the support     D_i = (sum_j U_ij dP_ij - dLSE_i) / sum_j U_ij
 *              dS = U (dP - D)
 *
 * Operand "lse" is the threshold t, -inf for a row that sees nothing. */
#include "attn/engine/rows/rows.h"
#include "attn/mech/exact.h"

#include <math.h>

typedef struct entmax_params {
    double alpha;
} entmax_params;

static const fv_option params[] = {
    {"alpha", FV_OPT_FLOAT, offsetof(entmax_params, alpha), "1.5", 1, 2, NULL, "1.5, or 2 for sparsemax"},
    {0},
};

static double alpha_of(const fv_attention_plan *plan) { return ((const entmax_params *)plan->params)->alpha; }

static fv_status setup(fv_attention_plan *plan) {
    const double alpha = alpha_of(plan);
    fv__rows_setup_of(plan)->weight = alpha == 2 ? &fv__weight_sparsemax : &fv__weight_entmax15;
    if (alpha == 1.5 || alpha == 2) return FV_OK;
    return fv__fail(FV_USAGE, "attention: mechanism \"entmax\", alpha\n  expected 1.5 or 2\n  found:   %g", alpha);
}

/* ---- reference: bisection, straight from the definition */

static double score(const fv__row *r, int64_t j) {
    return fv__row_visible(r, j) ? r->run->plan->options.scale * fv__plain_dot(r, j) : -INFINITY;
}

static double weight(double alpha, double s, double t) {
    const double u = (alpha - 1) * (s - t);
    return u > 0 ? pow(u, 1 / (alpha - 1)) : 0;
}

static double sum_at(const fv__row *r, double t) {
    double sum = 0;
    for (int64_t j = 0; j < r->k_len; j++) sum += weight(alpha_of(r->run->plan), score(r, j), t);
    return sum;
}

/* The largest score alone has weight 1 at top - 1/(alpha-1); at top nothing has any. */
static double threshold(const fv__row *r, double top) {
    double low = top - 1 / (alpha_of(r->run->plan) - 1), high = top;
    for (int i = 0; i < 60; i++) {
        const double middle = low + (high - low) / 2;
        if (sum_at(r, middle) >= 1)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static double weight_of_key(const fv__row *r, int64_t j, void *context) {
    const double *limit = context;
    return *limit > -INFINITY ? weight(alpha_of(r->run->plan), score(r, j), *limit) : 0;
}

static void one_row(const fv__row *r, void *context) {
    const fv_tensor *lse = &r->run->x->t[FV_LSE];
    double top = -INFINITY;
    (void)context;
    for (int64_t j = 0; j < r->k_len; j++) top = fmax(top, score(r, j));
    double limit = top > -INFINITY ? threshold(r, top) : top;
    fv__plain_output(r, weight_of_key, &limit);
    if (lse->rank) fv_tensor_set(lse, (int64_t[3]){r->b, r->h, r->q_row}, limit);
}

static void reference(const fv__run *run) { fv__each_row(run, one_row, NULL); }

const fv__mechanism fv__mech_entmax = {
    .info = {.name = "entmax",
             .summary = "sparse weights: 1.5-entmax or sparsemax of each row in place of softmax",
             .citation = "Peters et al. 2019, arXiv 1905.05702",
             .cost = "O(n m d) time, O(n d) memory",
             .needs = FV_EXACT_NEEDS,
             .takes = FV_ROWS_TAKES,
             .can = FV_ROWS_CAN,
             .params = params,
             .examples = {"entmax"}},
    .params_size = sizeof(entmax_params),
    .engine = &fv__rows,
    .setup = setup,
    .reference = reference,
};
