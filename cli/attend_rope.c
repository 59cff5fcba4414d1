/* Rotary positions of `fovea attend`: q and the new keys are rotated before attention, their gradients back after it.
 * Keys of past_k are as a cache holds them, rotated already, and so present_k is what the next call takes as past_k. */
#include "attend_rope.h"

#include "console.h"

#include <string.h>

bool attend_rope_wanted(const attend_options *o) { return strcmp(o->rope, "none") != 0; }

static fv_rope_scaling scaling_of(const char *name) {
    static const char *const names[] = {"none", "linear", "ntk", "yarn", "llama3"};
    for (int i = 0; i < 5; i++)
        if (strcmp(names[i], name) == 0) return (fv_rope_scaling)i;
    return FV_ROPE_UNSCALED;
}

static fv_rope_options options_of(const attend_options *o) {
    fv_rope_options how = FV_ROPE_DEFAULT;
    how.pairing = strcmp(o->rope, "interleaved") == 0 ? FV_ROPE_INTERLEAVED : FV_ROPE_HALF;
    how.columns = o->rope_dim;
    how.base = o->rope_base;
    how.scaling = scaling_of(o->rope_scaling);
    how.factor = o->rope_factor;
    how.original_length = o->rope_length;
    how.magnitude = fv_rope_attention_factor(&how);
    return how;
}

static int64_t integer(const fv_tensor *t, int64_t i) { return (int64_t)fv_tensor_get(t, &i); }

/* (B, L): where each row of q, or of k, stands among the keys of its sequence; as attention counts it. */
static fv_tensor positions(const fv_attention_options *how, const fv_attention_call *call,
                           const fv_attention_tensors *x, bool of_q) {
    const fv_tensor *q = &x->t[FV_Q], *k = &x->t[FV_K], *len = &x->t[FV_KV_LEN], *cu_q = &x->t[FV_CU_Q];
    const fv_tensor *cu_k = x->t[FV_CU_K].rank ? &x->t[FV_CU_K] : cu_q, *cu = of_q ? cu_q : cu_k;
    const int64_t dim[2] = {q->dim[0], (of_q ? q : k)->dim[2]};
    const fv_tensor like = fv_tensor_of(NULL, FV_I64, 2, dim), to = attend_new(FV_I64, ATTEND_BHLD, &like);
    int64_t *position = to.data, n = 0;
    for (int64_t b = 0; b < dim[0]; b++)
        for (int64_t l = 0; l < dim[1]; l++) {
            int64_t start = 0, q_len = q->dim[2], k_len = len->rank ? integer(len, b) : k->dim[2];
            if (cu_q->rank) {
                while (n + 2 < cu->dim[0] && integer(cu, n + 1) <= l) ++n;
                start = integer(cu, n);
                q_len = integer(cu_q, n + 1) - integer(cu_q, n);
                k_len = integer(cu_k, n + 1) - integer(cu_k, n);
            }
            int64_t offset = !of_q ? 0 : how->causal == FV_CAUSAL_LOWER_RIGHT ? k_len - q_len : call->q_offset;
            position[b * dim[1] + l] = l - start + offset;
        }
    return to;
}

fv_status attend_rope(const attend_options *o, const fv_attention_options *how, const fv_attention_call *call,
                      fv_attention_tensors *x, attend_layout layout, int64_t past) {
    fv_rope_options rope = options_of(o);
    for (int i = 0; i < 2; i++) {
        const fv_operand operand = i ? FV_K : FV_Q;
        fv_tensor *t = &x->t[operand], at = positions(how, call, x, operand == FV_Q);
        const int64_t skip = operand == FV_K ? past : 0, rows = t->dim[2] - skip;
        rope.position = fv_tensor_slice(at, 1, skip, rows);
        fv_tensor all = skip ? *t : attend_new(t->dtype, layout, t); /* with a past the memory is ours already */
        fv_tensor from = fv_tensor_slice(*t, 2, skip, rows), to = fv_tensor_slice(all, 2, skip, rows);
        fv_status status = fv_rope_forward(&rope, &from, &to);
        if (status != FV_OK) return status;
        *t = all;
    }
    return FV_OK;
}

fv_status attend_rope_backward(const attend_options *o, const fv_attention_options *how, const fv_attention_call *call,
                               const fv_attention_tensors *x, int64_t past) {
    fv_rope_options rope = options_of(o);
    for (int i = 0; i < 2; i++) {
        const fv_operand operand = i ? FV_K : FV_Q;
        const int64_t skip = operand == FV_K ? past : 0, rows = x->d[operand].dim[2] - skip;
        rope.position = fv_tensor_slice(positions(how, call, x, operand == FV_Q), 1, skip, rows);
        const fv_tensor d = fv_tensor_slice(x->d[operand], 2, skip, rows);
        fv_status status = fv_rope_backward(&rope, &d, &d);
        if (status != FV_OK) return status;
    }
    return FV_OK;
}
