/* Exact attention by plain loops in double, straight from the definition:
 *
 *   s_ij = cap tanh(scale q_i.k_j / cap) + bias_ij - slope |i + offset - j|,
 *   P_ij = exp(s_ij) / (exp(sink) + sum_j exp(s_ij)),
 *   O_i = sum_j keep_ij P_ij v_j / (1 - p),   LSE_i = ln sum_j exp(s_ij).
 *
 * Shares no code with the engine; three passes over the keys of a row, so nothing is stored. */
#include "attn/mech/exact.h"
#include "simd/simd.h"

#include <math.h>

typedef struct row {
    fv__raw_score *raw;
    const fv_attention_plan *plan;
    const fv_attention_tensors *x;
    int64_t sequence, b, h, kv, i, q_start, k_start, q_len, k_len, offset, prefix;
} row;

static double get4(const fv_tensor *t, int64_t b, int64_t h, int64_t l, int64_t d) {
    const int64_t index[4] = {t->dim[0] == 1 ? 0 : b, t->dim[1] == 1 ? 0 : h, t->dim[2] == 1 ? 0 : l,
                              t->dim[3] == 1 ? 0 : d};
    return fv_tensor_get(t, index);
}

static int64_t whole(const fv_tensor *t, int64_t i) { return (int64_t)fv_tensor_get(t, &i); }

static bool hidden(const row *r, int64_t j) {
    const fv_attention_options *o = &r->plan->options;
    const int64_t at = r->i + r->offset;
    const bool inside = j < r->prefix; /* of the prefix: seen from everywhere */
    if (r->plan->causal && j > at && !inside) return true;
    if (r->plan->window_left >= 0 && j < at - r->plan->window_left) return true;
    if (r->plan->window_right >= 0 && j > at + r->plan->window_right && !inside) return true;
    if (o->blocks && !fv_block_mask_visible(o->blocks, r->b, r->h, r->i, j)) return true;
    const fv_tensor *mask = &r->x->t[FV_MASK];
    if (!mask->rank) return false;
    const bool set = get4(mask, r->b, r->h, r->q_start + r->i, r->k_start + j) != 0;
    return set == (o->mask_means == FV_MASK_DROP);
}

/* The score, -inf where it is hidden; nothing of a hidden key is read. */
static double score(const row *r, int64_t j) {
    if (hidden(r, j)) return -INFINITY;
    const fv_attention_tensors *x = r->x;
    const fv_attention_options *o = &r->plan->options;
    double bias = 0;
    if (x->t[FV_BIAS].rank) bias = get4(&x->t[FV_BIAS], r->b, r->h, r->q_start + r->i, r->k_start + j);
    if (bias == -INFINITY) return bias;
    double s = o->scale * r->raw(r->plan, x, (fv__query_key){r->b, r->h, r->kv, r->q_start + r->i, r->k_start + j});
    if (o->softcap > 0) s = o->softcap * tanh(s / o->softcap);
    if (x->t[FV_SLOPES].rank) bias -= fv_tensor_get(&x->t[FV_SLOPES], &r->h) * fabs((double)(r->i + r->offset - j));
    return s + bias;
}

static double weight(const row *r, int64_t j, double top, double sum) {
    const double s = score(r, j);
    if (s == -INFINITY) return 0;
    const fv_attention_options *o = &r->plan->options;
    if (o->dropout > 0) {
        const fv__drop drop = fv__drop_of(o->dropout, o->seed, (uint64_t)(r->sequence * r->plan->heads + r->h));
        return fv__drop_keeps_at(&drop, r->i, j) ? exp(s - top) / sum * drop.scale : 0;
    }
    return exp(s - top) / sum;
}

static void one_row(const row *r) {
    const fv_attention_tensors *x = r->x;
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < r->k_len; j++) {
        const double s = score(r, j);
        if (!(s <= top)) top = s;
    }
    const bool seen = !(top == -INFINITY);
    double sink = x->t[FV_SINKS].rank ? fv_tensor_get(&x->t[FV_SINKS], &r->h) : -INFINITY;
    for (int64_t j = 0; j < r->k_len && seen; j++) sum += exp(score(r, j) - top);
    const int64_t at[3] = {r->b, r->h, r->q_start + r->i};
    if (x->t[FV_LSE].rank) fv_tensor_set(&x->t[FV_LSE], at, seen ? top + log(sum) : -INFINITY);
    if (seen) sum += exp(sink - top);
    for (int64_t d0 = 0; d0 < r->plan->d_v; d0 += 64) {
        double out[64] = {0};
        const int64_t width = r->plan->d_v - d0 < 64 ? r->plan->d_v - d0 : 64;
        for (int64_t j = 0; j < r->k_len && seen; j++) {
            const double p = weight(r, j, top, sum);
            if (p == 0) continue;
            for (int64_t d = 0; d < width; d++) out[d] += p * get4(&x->t[FV_V], r->b, r->kv, r->k_start + j, d0 + d);
        }
        for (int64_t d = 0; d < width; d++) {
            const int64_t to[4] = {r->b, r->h, r->q_start + r->i, d0 + d};
            fv_tensor_set(&x->t[FV_OUT], to, out[d]);
        }
    }
}

static double dot(const fv_attention_plan *plan, const fv_attention_tensors *x, fv__query_key at) {
    double s = 0;
    for (int64_t d = 0; d < plan->d_qk; d++)
        s += get4(&x->t[FV_Q], at.b, at.h, at.q_row, d) * get4(&x->t[FV_K], at.b, at.kv, at.k_row, d);
    return s;
}

void fv__exact_reference(const fv_attention_plan *plan, const fv_attention_tensors *x) {
    fv__plain_reference(plan, x, dot);
}

void fv__plain_reference(const fv_attention_plan *plan, const fv_attention_tensors *x, fv__raw_score *raw) {
    for (int64_t n = 0; n < plan->sequences; n++) {
        row r = {.raw = raw,
                 .plan = plan,
                 .x = x,
                 .sequence = n,
                 .b = plan->packed ? 0 : n,
                 .q_len = plan->q_len,
                 .k_len = plan->k_len};
        if (plan->packed) {
            const fv_tensor *q = &x->t[FV_CU_Q], *k = x->t[FV_CU_K].rank ? &x->t[FV_CU_K] : q;
            r.q_start = whole(q, n), r.q_len = whole(q, n + 1) - r.q_start;
            r.k_start = whole(k, n), r.k_len = whole(k, n + 1) - r.k_start;
        }
        if (x->t[FV_KV_LEN].rank && whole(&x->t[FV_KV_LEN], n) < r.k_len) r.k_len = whole(&x->t[FV_KV_LEN], n);
        if (x->t[FV_PREFIX_LEN].rank) r.prefix = whole(&x->t[FV_PREFIX_LEN], n);
        r.offset = plan->lower_right ? r.k_len - r.q_len : plan->options.q_offset;
        for (r.h = 0; r.h < plan->heads; r.h++)
            for (r.i = 0, r.kv = r.h * plan->kv_heads / plan->heads; r.i < r.q_len; r.i++) one_row(&r);
    }
}

fv_status fv__exact_accept(fv_attention_plan *plan) {
    bool wanted = false;
    for (int p = 0; p < FV_MASK; p++) wanted |= plan->grad[p].rank != 0;
    if (!wanted || plan->shape[FV_LSE].rank) return FV_OK;
    return fv__fail(FV_USAGE, "attention: mechanism \"%s\", backward\n  expected port \"lse\", written by the forward",
                    plan->mechanism->info.name);
}
