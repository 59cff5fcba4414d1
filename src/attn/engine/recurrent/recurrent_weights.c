/* Weights of chosen rows of a recurrence, by plain loops. See recurrent.h. */
#include "attn/engine/recurrent/recurrent.h"

#include <math.h>

static double phi(double x) { return x > 0 ? x + 1 : exp(x); }

static double similarity(const fv__run *run, const fv__sequence *s, int64_t head, int64_t i, int64_t j) {
    const fv_tensor *q = &run->x->t[FV_Q], *k = &run->x->t[FV_K];
    const int64_t kv = head * run->plan->kv_heads / run->plan->heads;
    double sum = 0;
    for (int64_t d = 0; d < run->plan->d_qk; d++)
        sum += phi(fv_tensor_get(q, (int64_t[4]){s->batch, head, s->q_start + i, d})) *
               phi(fv_tensor_get(k, (int64_t[4]){s->batch, kv, s->k_start + j, d}));
    return sum;
}

void fv__recurrent_weights(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                           int64_t count, const fv_tensor *out, void *scratch) {
    const fv__sequence s = fv__attn_sequence(run, batch);
    (void)scratch;
    const bool normal = capture == FV_CAPTURE_SOFTMAX;
    for (int64_t n = 0; n < count; n++) {
        const int64_t at[3] = {s.batch, head, s.q_start + rows[n]};
        int64_t start, end;
        fv__attn_visible(run->plan, &s, rows[n], &start, &end);
        const double total = normal ? exp(fv_tensor_get(&run->x->t[FV_LSE], at)) : 1;
        for (int64_t j = 0; j < out->dim[1]; j++) {
            const bool seen = j >= start && j < end;
            const double none = normal ? 0 : -INFINITY;
            fv_tensor_set(out, (int64_t[2]){n, j}, seen ? similarity(run, &s, head, rows[n], j) / total : none);
        }
    }
}
