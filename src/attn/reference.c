/* The visitor of the references. See reference.h. */
#include "attn/reference.h"

#include "tensor/dtype.h"

double fv__plain_get(const fv_tensor *t, int64_t b, int64_t h, int64_t l, int64_t d) {
    const int64_t index[4] = {t->dim[0] == 1 ? 0 : b, t->dim[1] == 1 ? 0 : h, t->dim[2] == 1 ? 0 : l,
                              t->dim[3] == 1 ? 0 : d};
    return fv_tensor_get(t, index);
}

void fv__plain_columns(double *to, const fv_tensor *t, int64_t b, int64_t h, int64_t l, int64_t d0, int64_t count) {
    const int64_t at = (t->dim[0] == 1 ? 0 : b) * t->stride[0] + (t->dim[1] == 1 ? 0 : h) * t->stride[1] +
                       (t->dim[2] == 1 ? 0 : l) * t->stride[2] + d0 * t->stride[3];
    const char *from = (const char *)t->data + at * (int64_t)fv_dtype_size(t->dtype);
    fv__load_f64(to, from, t->dtype, t->stride[3], count);
}

double fv__plain_dot(const fv__row *r, int64_t j) {
    const fv_attention_tensors *x = r->run->x;
    const int64_t columns = r->run->plan->d_qk;
    double sum = 0, q[64], k[64];
    for (int64_t d0 = 0; d0 < columns; d0 += 64) {
        const int64_t width = columns - d0 < 64 ? columns - d0 : 64;
        fv__plain_columns(q, &x->t[FV_Q], r->b, r->h, r->q_row, d0, width);
        fv__plain_columns(k, &x->t[FV_K], r->b, r->kv, r->k_start + j, d0, width);
        for (int64_t d = 0; d < width; d++) sum += q[d] * k[d];
    }
    return sum;
}

void fv__plain_output(const fv__row *r, fv__plain_weight_fn *weight, void *context) {
    const fv_tensor *t = r->run->x->t;
    const int64_t d_v = r->run->plan->d_v;
    for (int64_t d0 = 0; d0 < d_v; d0 += 64) { /* 64 columns at a time: nothing is stored */
        double out[64] = {0};
        const int64_t width = d_v - d0 < 64 ? d_v - d0 : 64;
        for (int64_t j = 0; j < r->k_len; j++) {
            const double p = weight(r, j, context);
            if (p == 0) continue;
            double v[64];
            fv__plain_columns(v, &t[FV_V], r->b, r->kv, r->k_start + j, d0, width);
            for (int64_t d = 0; d < width; d++) out[d] += p * v[d];
        }
        for (int64_t d = 0; d < width; d++)
            fv_tensor_set(&t[FV_OUT], (int64_t[4]){r->b, r->h, r->q_row, d0 + d}, out[d]);
    }
}

bool fv__row_visible(const fv__row *r, int64_t j) {
    const fv_attention_plan *plan = r->run->plan;
    const fv_attention_options *o = &plan->options;
    const bool inside = j < r->prefix;
    if (o->causal != FV_CAUSAL_NONE && j > r->position && !inside) return false;
    if (plan->window_left >= 0 && j < r->position - plan->window_left) return false;
    if (plan->window_right >= 0 && j > r->position + plan->window_right && !inside) return false;
    if (o->blocks && !fv_block_mask_visible(o->blocks, r->b, r->h, r->i, j)) return false;
    const fv_tensor *mask = &r->run->x->t[FV_MASK];
    if (!mask->rank) return true;
    return (fv__plain_get(mask, r->b, r->h, r->q_row, r->k_start + j) != 0) == (o->mask_means == FV_MASK_KEEP);
}

static int64_t whole(const fv_tensor *t, int64_t i) { return (int64_t)fv_tensor_get(t, &i); }

void fv__each_row(const fv__run *run, fv__row_fn *fn, void *context) {
    const fv_attention_plan *plan = run->plan;
    const fv_tensor *t = run->x->t, *cu_q = &t[FV_CU_Q], *cu_k = t[FV_CU_K].rank ? &t[FV_CU_K] : cu_q;
    for (int64_t n = 0; n < plan->sequences; n++) {
        fv__row r = {.run = run, .sequence = n, .b = plan->packed ? 0 : n, .k_len = plan->k_len};
        int64_t q_start = 0, q_len = plan->q_len;
        if (plan->packed) {
            q_start = whole(cu_q, n), q_len = whole(cu_q, n + 1) - q_start;
            r.k_start = whole(cu_k, n), r.k_len = whole(cu_k, n + 1) - r.k_start;
        }
        if (t[FV_KV_LEN].rank && whole(&t[FV_KV_LEN], n) < r.k_len) r.k_len = whole(&t[FV_KV_LEN], n);
        if (t[FV_PREFIX_LEN].rank) r.prefix = whole(&t[FV_PREFIX_LEN], n);
        r.q_len = q_len;
        const bool lower_right = plan->options.causal == FV_CAUSAL_LOWER_RIGHT;
        const int64_t offset = lower_right ? r.k_len - q_len : run->call.q_offset;
        for (r.h = 0; r.h < plan->heads; r.h++)
            for (r.i = 0, r.kv = r.h * plan->kv_heads / plan->heads; r.i < q_len; r.i++) {
                r.q_row = q_start + r.i, r.position = r.i + offset;
                fn(&r, context);
            }
    }
}
