/* Exact attention by plain loops in double, straight from the definition:
 *
 *   s_ij = cap tanh(scale q_i.k_j / cap) + bias_ij - slope |i + offset - j|, and what a mechanism adds,
 *   P_ij = exp(s_ij) / (exp(sink) + sum_j exp(s_ij)),
 *   O_i = sum_j keep_ij P_ij v_j / (1 - p),   LSE_i = ln sum_j exp(s_ij).
 *
 * Shares no code with the engine; three passes over the keys of a row, so nothing is stored. */
#include "attn/mech/exact.h"
#include "simd/simd.h"

#include <math.h>

/* What differs between the mechanisms. */
typedef struct definition {
    fv__row_score *raw, *added; /* before scale and softcap, after them; added NULL: nothing */
    fv__row_predicate *keeps;   /* NULL: all */
    void *context;
} definition;

/* The score, -inf where it is hidden; nothing of a hidden key is read. */
static double score(const fv__row *r, int64_t j, const definition *of) {
    if (!fv__row_visible(r, j) || (of->keeps && !of->keeps(r, j, of->context))) return -INFINITY;
    const fv_tensor *t = r->run->x->t;
    const fv_attention_options *o = &r->run->plan->options;
    double bias = 0;
    if (t[FV_BIAS].rank) bias = fv__plain_get(&t[FV_BIAS], r->b, r->h, r->q_row, r->k_start + j);
    if (bias == -INFINITY) return bias;
    double s = o->scale * of->raw(r, j);
    if (o->softcap > 0) s = o->softcap * tanh(s / o->softcap);
    if (t[FV_SLOPES].rank) bias -= fv_tensor_get(&t[FV_SLOPES], &r->h) * fabs((double)(r->position - j));
    if (of->added) bias += of->added(r, j);
    return s + bias;
}

double fv__plain_score(const fv__row *r, int64_t j, fv__row_score *raw) {
    definition of = {.raw = raw};
    return score(r, j, &of);
}

double fv__plain_weight(const fv__row *r, int64_t j, double s, double top, double sum) {
    if (s == -INFINITY) return 0;
    const fv_attention_plan *plan = r->run->plan;
    if (plan->options.dropout == 0) return exp(s - top) / sum;
    const uint64_t stream = (uint64_t)(r->sequence * plan->heads + r->h);
    const fv__drop drop = fv__drop_of(plan->options.dropout, r->run->call.seed, stream);
    return fv__drop_keeps_at(&drop, r->i, j) ? exp(s - top) / sum * drop.scale : 0;
}

typedef struct softmax_row {
    const definition *of;
    double top, sum;
    bool seen;
} softmax_row;

static double weight_of_key(const fv__row *r, int64_t j, void *context) {
    const softmax_row *row = context;
    return row->seen ? fv__plain_weight(r, j, score(r, j, row->of), row->top, row->sum) : 0;
}

static void one_row(const fv__row *r, void *context) {
    const definition *of = context;
    const fv_tensor *t = r->run->x->t;
    const int64_t at[3] = {r->b, r->h, r->q_row};
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < r->k_len; j++) {
        const double s = score(r, j, of);
        if (!(s <= top)) top = s;
    }
    const bool seen = !(top == -INFINITY);
    double sink = t[FV_SINKS].rank ? fv_tensor_get(&t[FV_SINKS], &r->h) : -INFINITY;
    for (int64_t j = 0; j < r->k_len && seen; j++) sum += exp(score(r, j, of) - top);
    if (t[FV_LSE].rank) fv_tensor_set(&t[FV_LSE], at, seen ? top + log(sum) : -INFINITY);
    if (seen) sum += exp(sink - top);
    softmax_row row = {.of = of, .top = top, .sum = sum, .seen = seen};
    fv__plain_output(r, weight_of_key, &row);
}

void fv__plain_reference(const fv__run *run, fv__row_score *raw, fv__row_score *added) {
    definition of = {.raw = raw, .added = added};
    fv__each_row(run, one_row, &of);
}

void fv__keys_reference(const fv__run *run, fv__row_predicate *keeps, void *context) {
    definition of = {.raw = fv__plain_dot, .keeps = keeps, .context = context};
    fv__each_row(run, one_row, &of);
}

void fv__exact_reference(const fv__run *run) { fv__plain_reference(run, fv__plain_dot, NULL); }
