/* Differential attention. Ye et al., Differential Transformer, 2024, arXiv 2410.05258.
 *
 *   q = [q1, q2]   k = [k1, k2]     halves of head_dim D; with D odd the first has the column more
 *   forward    P_i = softmax of rows of scale q_i k_i^T   O = (P_1 - lambda P_2) V   scale is 1/sqrt(D/2) unless given
 *              lambda = exp(lq1.lk1) - exp(lq2.lk2) + lambda_init      one for all heads
 *   backward   dP_1 = dO V^T and dP_2 = -lambda dO V^T, each as in softmax;   dlambda = -sum dO.(P_2 V)
 *              dlq1 = dlambda exp(lq1.lk1) lk1  dlk1 = dlambda exp(lq1.lk1) lq1  and with -exp(lq2.lk2) for the others
 *
 * This is the operator DiffAttn of the paper (equation 1). The norm of each head and the factor (1 - lambda_init) that
 * follow it there (equation 3) are the caller's: an RMS norm over the columns of a head. The paper takes
 * lambda_init = 0.8 - 0.6 exp(-0.3 l) in layer l = 0, 1, ..., or 0.8 everywhere.
 * Bias, slopes, sinks, masks and softcap act on both maps alike; dropout drops a weight of P_1 - lambda P_2. lse is
 * that of the first map, as are scores that are looked at. */
#include "attn/engine/composition/composition.h"
#include "attn/mech/exact.h"

#include <math.h>

typedef struct differential_params {
    double lambda_init;
} differential_params;

static const fv_option params[] = {
    {"lambda-init", FV_OPT_FLOAT, offsetof(differential_params, lambda_init), "0.8", -1e6, 1e6, NULL,
     "what lambda begins with: 0.8 - 0.6 exp(-0.3 l) in layer l"},
    {0},
};

static const fv_mechanism_operand operands[] = {
    {FV_W0, "lq1", "E", FV_OPERAND_NORMAL, true, "lambda is exp(lq1.lk1) - exp(lq2.lk2) + lambda-init"},
    {FV_W1, "lk1", "E", FV_OPERAND_NORMAL, true, "see lq1"},
    {FV_W2, "lq2", "E", FV_OPERAND_NORMAL, true, "see lq1"},
    {FV_W3, "lk2", "E", FV_OPERAND_NORMAL, true, "see lq1"},
    {FV_AUX, "aux", "B,H,Lq,P", FV_OPERAND_ZEROS, false, "outputs of both maps and their lse"},
    {0},
};

static int64_t half(const fv_attention_plan *plan) { return (plan->d_qk + 1) / 2; }

static int64_t extent(const fv_attention_plan *plan, char letter) {
    return letter == 'E' ? half(plan) : letter == 'P' ? fv__composition_saved(plan, 2) : 0;
}

/* ---- lambda */

static double dot(const fv_tensor *a, const fv_tensor *b) {
    double sum = 0;
    for (int64_t i = 0; i < a->dim[0]; i++) sum += fv_tensor_get(a, &i) * fv_tensor_get(b, &i);
    return sum;
}

static double term(const fv__run *run, fv_operand q, fv_operand k) { return exp(dot(&run->x->t[q], &run->x->t[k])); }

static double lambda_of(const fv__run *run) {
    const differential_params *p = run->plan->params;
    return term(run, FV_W0, FV_W1) - term(run, FV_W2, FV_W3) + p->lambda_init;
}

static void factors(const fv__run *run, double *factor) { factor[0] = 1, factor[1] = -lambda_of(run); }

static void scaled(const fv_tensor *to, double factor, const fv_tensor *from) {
    for (int64_t i = 0; to->rank && i < to->dim[0]; i++) fv_tensor_set(to, &i, factor * fv_tensor_get(from, &i));
}

static void factors_backward(const fv__run *run, const double *d_factor) {
    const fv_attention_tensors *x = run->x;
    const double first = -d_factor[1] * term(run, FV_W0, FV_W1), second = d_factor[1] * term(run, FV_W2, FV_W3);
    scaled(&x->d[FV_W0], first, &x->t[FV_W1]), scaled(&x->d[FV_W1], first, &x->t[FV_W0]);
    scaled(&x->d[FV_W2], second, &x->t[FV_W3]), scaled(&x->d[FV_W3], second, &x->t[FV_W2]);
}

/* ---- parts */

static fv_tensor columns(const fv_attention_plan *plan, fv_tensor t, int k) {
    if (!t.rank) return t;
    return fv_tensor_slice(t, 3, k ? half(plan) : 0, k ? plan->d_qk - half(plan) : half(plan));
}

static void part(const fv_attention_plan *plan, int k, fv_attention_tensors *y) {
    y->t[FV_Q] = columns(plan, y->t[FV_Q], k), y->t[FV_K] = columns(plan, y->t[FV_K], k);
    y->d[FV_Q] = columns(plan, y->d[FV_Q], k), y->d[FV_K] = columns(plan, y->d[FV_K], k);
    for (const fv_mechanism_operand *own = operands; own->name; own++)
        y->t[own->operand] = y->d[own->operand] = (fv_tensor){0};
}

static fv_status setup(fv_attention_plan *plan) {
    *fv__composition_setup_of(plan) = (fv__composition_setup){part, factors, factors_backward};
    if (plan->options.scale == 0) plan->options.scale = 1 / sqrt(plan->d_qk > 1 ? (double)plan->d_qk / 2 : 1);
    fv_attention_options options = plan->options;
    options.mechanism = "softmax";
    FV_TRY(fv__composition_add(plan, &options));
    return fv__composition_add(plan, &options);
}

/* ---- reference */

static double score_of(const fv__row *r, int64_t j, int64_t from, int64_t to) {
    const fv_tensor *t = r->run->x->t;
    double sum = 0;
    for (int64_t d = from; d < to; d++)
        sum +=
            fv__plain_get(&t[FV_Q], r->b, r->h, r->q_row, d) * fv__plain_get(&t[FV_K], r->b, r->kv, r->k_start + j, d);
    return sum;
}

static double first_score(const fv__row *r, int64_t j) { return score_of(r, j, 0, half(r->run->plan)); }
static double second_score(const fv__row *r, int64_t j) {
    return score_of(r, j, half(r->run->plan), r->run->plan->d_qk);
}

typedef struct row_sum {
    double top, sum;
} row_sum;

static row_sum sum_of(const fv__row *r, fv__row_score *raw) {
    row_sum s = {-INFINITY, 0};
    for (int64_t j = 0; j < r->k_len; j++) {
        const double score = fv__plain_score(r, j, raw);
        if (!(score <= s.top)) s.top = score;
    }
    if (s.top == -INFINITY) return s;
    const fv_tensor *sinks = &r->run->x->t[FV_SINKS];
    for (int64_t j = 0; j < r->k_len; j++) s.sum += exp(fv__plain_score(r, j, raw) - s.top);
    if (raw == first_score && r->run->x->t[FV_LSE].rank)
        fv_tensor_set(&r->run->x->t[FV_LSE], (int64_t[3]){r->b, r->h, r->q_row}, s.top + log(s.sum));
    if (sinks->rank) s.sum += exp(fv_tensor_get(sinks, &r->h) - s.top);
    return s;
}

static void one_row(const fv__row *r, void *context) {
    const fv_tensor *t = r->run->x->t;
    const double lambda = *(const double *)context;
    if (t[FV_LSE].rank) fv_tensor_set(&t[FV_LSE], (int64_t[3]){r->b, r->h, r->q_row}, -INFINITY);
    const row_sum one = sum_of(r, first_score), two = sum_of(r, second_score);
    for (int64_t d = 0; d < r->run->plan->d_v; d++) {
        double out = 0;
        for (int64_t j = 0; j < r->k_len; j++) {
            const double weight =
                fv__plain_weight(r, j, fv__plain_score(r, j, first_score), one.top, one.sum) -
                lambda * fv__plain_weight(r, j, fv__plain_score(r, j, second_score), two.top, two.sum);
            if (weight != 0) out += weight * fv__plain_get(&t[FV_V], r->b, r->kv, r->k_start + j, d);
        }
        fv_tensor_set(&t[FV_OUT], (int64_t[4]){r->b, r->h, r->q_row, d}, out);
    }
}

/* Not the engine's: from the definition. */
static void reference(const fv__run *run) {
    const fv_tensor *t = run->x->t;
    double one = 0, two = 0;
    for (int64_t i = 0; i < t[FV_W0].dim[0]; i++) {
        one += fv_tensor_get(&t[FV_W0], &i) * fv_tensor_get(&t[FV_W1], &i);
        two += fv_tensor_get(&t[FV_W2], &i) * fv_tensor_get(&t[FV_W3], &i);
    }
    double lambda = exp(one) - exp(two) + ((const differential_params *)run->plan->params)->lambda_init;
    fv__each_row(run, one_row, &lambda);
}

const fv__mechanism fv__mech_differential = {
    .info = {.name = "differential",
             .summary = "the difference of two softmax maps, which cancels what both see",
             .citation = "Ye et al. 2024, arXiv 2410.05258",
             .cost = "O(n m d) time, O(n d) memory",
             .needs = FV_EXACT_NEEDS | FV_OPERAND_BIT(FV_W0) | FV_OPERAND_BIT(FV_W1) | FV_OPERAND_BIT(FV_W2) |
                      FV_OPERAND_BIT(FV_W3),
             .takes = FV_EXACT_TAKES,
             .can = FV_COMPOSITION_CAN,
             .params = params,
             .operands = operands,
             .examples = {"differential", "differential:lambda-init=0.2"}},
    .params_size = sizeof(differential_params),
    .engine = &fv__composition,
    .setup = setup,
    .extent = extent,
    .reference = reference,
};
