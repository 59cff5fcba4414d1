/* Sequences of a call, and which keys a query may see. */
#include "attn/mechanism_contract.h"

fv__sequence fv__attn_sequence(const fv__run *run, int64_t number) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    fv__sequence s = {.batch = number, .number = number, .q_len = plan->q_len, .k_len = plan->k_len};
    if (plan->packed) {
        const fv_tensor *q = &x->t[FV_CU_Q], *k = x->t[FV_CU_K].rank ? &x->t[FV_CU_K] : q;
        s.batch = 0;
        s.q_start = fv__attn_integer(q, number), s.q_len = fv__attn_integer(q, number + 1) - s.q_start;
        s.k_start = fv__attn_integer(k, number), s.k_len = fv__attn_integer(k, number + 1) - s.k_start;
    }
    if (x->t[FV_KV_LEN].rank) {
        const int64_t live = fv__attn_integer(&x->t[FV_KV_LEN], number);
        if (live < s.k_len) s.k_len = live;
    }
    if (x->t[FV_PREFIX_LEN].rank) {
        s.prefix = fv__attn_integer(&x->t[FV_PREFIX_LEN], number);
        if (s.prefix > s.k_len) s.prefix = s.k_len;
    }
    s.q_offset = plan->lower_right ? s.k_len - s.q_len : run->call.q_offset;
    return s;
}

void fv__attn_visible(const fv_attention_plan *plan, const fv__sequence *sequence, int64_t i, int64_t *start,
                      int64_t *end) {
    const int64_t at = i + sequence->q_offset;
    *start = 0, *end = sequence->k_len;
    if (plan->window_left >= 0 && at - plan->window_left > 0) *start = at - plan->window_left;
    if (*start > sequence->k_len) *start = sequence->k_len;
    if (plan->window_right >= 0 && at + plan->window_right + 1 < *end) *end = at + plan->window_right + 1;
    if (*end < sequence->prefix) *end = sequence->prefix;
    if (*end < *start) *end = *start;
}
