/* The operator Attention by fovea/attention.h.
 *
 * Its text was corrected in onnx 1.22: the softcap now comes before the mask is added, so that a masked key stays
 * masked, and modes 1 and 2 of the fourth output changed places. fovea has the corrected order. A sample of the old
 * one, the sum s q.k + b under the cap, is asked for as a product of longer rows, [q, b_i/s] . [k, e_j], which is
 * that sum. */
#include "conform.h"

#include <float.h>
#include <math.h>

typedef struct call {
    fv_attention_options how;
    fv_attention_call call;
    fv_attention_tensors x;
    fv_dtype dtype, arithmetic; /* of q k v out; of scores and lse */
    int64_t batch, heads, kv_heads, q_len, k_len, past;
    fv_tensor mask, valid; /* as given, with the length of all keys; (B) keys that are there */
    bool causal, bias_first;
    fv_tensor scores; /* (B,H,Lq,Lk), the fourth output */
} call;

/* ---- inputs */

/* (B,L,H*D) or (B,H,L,D), seen as the latter. */
static fv_tensor heads_of(sample *s, fv_tensor t, const char *count, fv_dtype dtype) {
    if (t.dtype != dtype) {
        fv_tensor copy = sample_new(dtype, t.rank, t.dim);
        fv_tensor_copy(&copy, &t);
        t = copy;
    }
    if (t.rank == 4) return t;
    const int64_t heads = sample_int(s, count, 0);
    if (t.rank != 3 || heads < 1 || t.dim[2] % heads) {
        sample_fail(s, "%s does not split an input of rank %d", count, t.rank);
        return (fv_tensor){0};
    }
    return fv_blhd(t.data, dtype, t.dim[0], t.dim[1], heads, t.dim[2] / heads);
}

/* The keys of the cache, then the new ones: also an output. */
static fv_tensor present(sample *s, fv_tensor past, fv_tensor now) {
    if (past.rank == 0) return now;
    fv_tensor all = now;
    all.dim[2] += past.dim[2];
    all = sample_new(now.dtype, 4, all.dim);
    const fv_tensor old = fv_tensor_slice(all, 2, 0, past.dim[2]),
                    fresh = fv_tensor_slice(all, 2, past.dim[2], now.dim[2]);
    sample_try(s, fv_tensor_copy(&old, &past));
    sample_try(s, fv_tensor_copy(&fresh, &now));
    return all;
}

/* A mask may end before the keys do; those beyond it are hidden. */
static fv_tensor full_mask(sample *s, fv_tensor mask, int64_t k_len, fv_dtype dtype) {
    if (mask.rank == 0) return mask;
    const bool truth = mask.dtype == FV_BOOL;
    mask = sample_padded(mask, 4);
    int64_t dim[4] = {mask.dim[0], mask.dim[1], mask.dim[2], mask.dim[3]};
    const bool short_of = dim[3] != 1 && dim[3] < k_len;
    if (short_of) dim[3] = k_len;
    fv_tensor full = sample_new(truth ? FV_BOOL : dtype, 4, dim);
    fv_tensor_fill(&full, truth ? 0 : -INFINITY);
    const fv_tensor part = fv_tensor_slice(full, 3, 0, mask.dim[3]);
    sample_try(s, fv_tensor_copy(&part, &mask));
    return full;
}

static void read_options(const sample *s, call *c) {
    c->how = (fv_attention_options)FV_ATTENTION_DEFAULT;
    c->how.scale = sample_number(s, "scale", 0);
    if (c->how.scale == 0 && sample_has(s, "scale")) c->how.scale = DBL_MIN; /* 0 asks fovea for 1/sqrt(D) */
    c->how.softcap = sample_number(s, "softcap", 0);
    c->how.window = FV_WINDOW(sample_int(s, "left_window_size", -1), sample_int(s, "right_window_size", -1));
    c->causal = sample_int(s, "is_causal", 0) != 0;
}

static void read_tensors(sample *s, call *c) {
    const fv_tensor q = sample_input(s, 0), k = sample_input(s, 1), v = sample_input(s, 2);
    const fv_tensor past_k = sample_input(s, 4), past_v = sample_input(s, 5);
    c->dtype =
        q.dtype == k.dtype && q.dtype == v.dtype ? q.dtype : FV_F32; /* the operator allows v a type of its own */
    c->arithmetic = c->dtype == FV_F64 ? FV_F64 : FV_F32;
    c->x.t[FV_Q] = heads_of(s, q, "q_num_heads", c->dtype);
    c->x.t[FV_K] = present(s, past_k, heads_of(s, k, "kv_num_heads", c->dtype));
    c->x.t[FV_V] = present(s, past_v, heads_of(s, v, "kv_num_heads", c->dtype));
    const int64_t *qd = c->x.t[FV_Q].dim, *kd = c->x.t[FV_K].dim;
    c->batch = qd[0], c->heads = qd[1], c->q_len = qd[2], c->kv_heads = kd[1], c->k_len = kd[2];
    c->past = past_k.rank ? past_k.dim[2] : 0;
    const fv_tensor mask = sample_input(s, 3);
    c->mask = full_mask(s, mask, c->k_len, mask.dtype == c->dtype ? c->dtype : c->arithmetic);
    c->valid = sample_input(s, 6);
}

/* ---- masks and positions: query i is at past + i, or at the end of the keys that are there */

static void place(const sample *s, call *c) {
    const bool at_end = c->valid.rank && !c->past && s->edition >= 123;
    c->how.causal = !c->causal ? FV_CAUSAL_NONE : at_end ? FV_CAUSAL_LOWER_RIGHT : FV_CAUSAL_UPPER_LEFT;
    c->call.q_offset = c->past;
    c->x.t[FV_KV_LEN] = c->valid;
    if (c->mask.rank) c->x.t[c->mask.dtype == FV_BOOL ? FV_MASK : FV_BIAS] = c->mask;
}

/* [q, b_i/s] and [k, e_j]; what b hides stays hidden, as a mask. */
static void join_bias(sample *s, call *c) {
    const fv_tensor q = c->x.t[FV_Q], k = c->x.t[FV_K];
    const int64_t d = q.dim[3], full[4] = {c->batch, c->heads, c->q_len, c->k_len};
    const double scale = c->how.scale != 0 ? c->how.scale : 1 / sqrt((double)d);
    const fv_tensor bias = sample_broadcast(c->mask, 4, full);
    fv_tensor long_q = sample_new(c->dtype, 4, (int64_t[]){c->batch, c->heads, c->q_len, d + c->k_len});
    fv_tensor long_k = sample_new(c->dtype, 4, (int64_t[]){c->batch, c->kv_heads, c->k_len, d + c->k_len});
    const fv_tensor q_part = fv_tensor_slice(long_q, 3, 0, d), k_part = fv_tensor_slice(long_k, 3, 0, d);
    sample_try(s, fv_tensor_copy(&q_part, &q));
    sample_try(s, fv_tensor_copy(&k_part, &k));
    c->x.t[FV_MASK] = sample_new(FV_BOOL, 4, full);
    int64_t at[4];
    for (at[0] = 0; at[0] < full[0]; at[0]++)
        for (at[1] = 0; at[1] < full[1]; at[1]++)
            for (at[2] = 0; at[2] < full[2]; at[2]++)
                for (at[3] = 0; at[3] < full[3]; at[3]++) {
                    const double b = fv_tensor_get(&bias, at);
                    const int64_t to[4] = {at[0], at[1], at[2], d + at[3]}, one[4] = {at[0], 0, at[3], d + at[3]};
                    fv_tensor_set(&c->x.t[FV_MASK], at, b != -INFINITY);
                    if (b != -INFINITY) fv_tensor_set(&long_q, to, b / scale);
                    for (int64_t h = 0; h < c->kv_heads; h++)
                        fv_tensor_set(&long_k, (int64_t[]){one[0], h, one[2], one[3]}, 1);
                }
    c->x.t[FV_Q] = long_q, c->x.t[FV_K] = long_k, c->x.t[FV_BIAS] = (fv_tensor){0};
    c->how.scale = scale;
}

/* ---- running */

/* One batch entry of everything, for what the options say of a whole call. */
static fv_attention_tensors entry(const call *c, int64_t b) {
    fv_attention_tensors one = c->x;
    for (int operand = 0; operand < FV_OPERANDS; operand++)
        if (one.t[operand].rank && one.t[operand].dim[0] > 1) one.t[operand] = fv_tensor_slice(one.t[operand], 0, b, 1);
    return one;
}

static void scores_of(sample *s, const call *c, const fv_attention_plan *plan, const fv_attention_tensors *x,
                      fv_capture capture, const fv_tensor *to) {
    int64_t *row = sample_new(FV_I64, 1, &c->q_len).data;
    for (int64_t i = 0; i < c->q_len; i++) row[i] = i;
    for (int64_t b = 0; b < to->dim[0]; b++)
        for (int64_t h = 0; h < c->heads; h++) {
            const fv_tensor all = fv_tensor_slice(fv_tensor_slice(*to, 0, b, 1), 1, h, 1);
            const fv_tensor part = fv_tensor_2d(all.data, all.dtype, c->q_len, c->k_len);
            if (!sample_try(s, fv_attention_weights(plan, &c->call, x, capture, b, h, row, c->q_len, &part))) return;
        }
}

/* Forward, and scores of a capture if `scores` has room for them. */
static void solve(sample *s, const call *c, const fv_attention_options *how, fv_attention_tensors *x,
                  fv_capture capture, const fv_tensor *scores) {
    fv_attention_plan *plan = NULL;
    const int64_t *q = x->t[FV_Q].dim;
    x->t[FV_LSE] = sample_new(c->arithmetic, 3, (int64_t[]){q[0], q[1], q[2]});
    if (sample_try(s, fv_attention_plan_create(&plan, how, x))) {
        const int64_t size = (int64_t)fv_attention_scratch(plan, false);
        sample_try(s, fv_attention_forward(plan, &c->call, x, sample_new(FV_U8, 1, &size).data));
        if (scores && !*s->reason) scores_of(s, c, plan, x, capture, scores);
    }
    fv_attention_plan_free(plan);
}

/* Windows without causality that are counted from the end of each entry's keys: an offset for each, so a call for
 * each. */
static void solve_entries(sample *s, const call *c, fv_capture capture, const fv_tensor *scores) {
    for (int64_t b = 0; b < c->batch && !*s->reason; b++) {
        fv_attention_tensors one = entry(c, b);
        call moved = *c;
        moved.call.q_offset = (int64_t)fv_tensor_get(&c->valid, &b) - c->q_len;
        const fv_tensor part = scores ? fv_tensor_slice(*scores, 0, b, 1) : (fv_tensor){0};
        solve(s, &moved, &c->how, &one, capture, scores ? &part : NULL);
    }
}

static void solve_all(sample *s, call *c, fv_capture capture, const fv_tensor *scores) {
    const bool windows = c->how.window.left >= 0 || c->how.window.right >= 0;
    if (windows && !c->causal && c->valid.rank && !c->past)
        solve_entries(s, c, capture, scores);
    else
        solve(s, c, &c->how, &c->x, capture, scores);
}

/* ---- the fourth output */

typedef enum output_mode { RAW, CAPPED, BIASED, WEIGHTS } output_mode;

static output_mode mode_of(const sample *s) {
    static const output_mode now[] = {RAW, CAPPED, BIASED, WEIGHTS}, before[] = {RAW, BIASED, CAPPED, WEIGHTS};
    return (s->edition >= 122 ? now : before)[sample_int(s, "qk_matmul_output_mode", 0) & 3];
}

/* Scores before any mask: those of a call without. */
static void unmasked(sample *s, const call *c, fv_capture capture) {
    call bare = *c;
    fv_attention_tensors x = {0};
    for (int operand = 0; operand < FV_OPERANDS; operand++)
        if (fv_operand_is_qkv(operand)) x.t[operand] = c->x.t[operand];
    x.t[FV_OUT] = sample_new(c->dtype, 4, (int64_t[]){c->batch, c->heads, c->q_len, x.t[FV_V].dim[3]});
    bare.how.causal = FV_CAUSAL_NONE, bare.how.window = (fv_window){0};
    solve(s, &bare, &bare.how, &x, capture, &c->scores);
}

static void solve_with_scores(sample *s, call *c) {
    const output_mode mode = mode_of(s);
    const bool masked = mode == BIASED || mode == WEIGHTS || (mode == CAPPED && c->bias_first);
    c->scores = sample_new(c->arithmetic, 4, (int64_t[]){c->batch, c->heads, c->q_len, c->k_len});
    if (c->bias_first && mode == BIASED) { /* the sum before the cap */
        call early = *c;
        early.how.softcap = 0;
        solve_all(s, &early, FV_CAPTURE_BIASED, &c->scores);
    }
    if (!masked) unmasked(s, c, mode == RAW ? FV_CAPTURE_RAW : FV_CAPTURE_SOFTCAPPED);
    if (c->bias_first) join_bias(s, c);
    const fv_capture capture = mode == WEIGHTS ? FV_CAPTURE_SOFTMAX : FV_CAPTURE_BIASED;
    solve_all(s, c, capture, masked && !(c->bias_first && mode == BIASED) ? &c->scores : NULL);
}

/* ---- the operator */

/* Y has the layout of Q: (B,H,Lq,Dv), or (B,Lq,H*Dv) written as such. */
static fv_tensor make_output(const sample *s, call *c) {
    const int64_t width = c->x.t[FV_V].dim[3];
    const int64_t three[3] = {c->batch, c->q_len, c->heads * width}, four[4] = {c->batch, c->heads, c->q_len, width};
    const bool flat = sample_input(s, 0).rank == 3;
    const fv_tensor y = sample_new(c->dtype, flat ? 3 : 4, flat ? three : four);
    c->x.t[FV_OUT] = flat ? fv_blhd(y.data, c->dtype, c->batch, c->q_len, c->heads, width) : y;
    return y;
}

void run_attention(sample *s) {
    call c = {0};
    read_options(s, &c);
    read_tensors(s, &c);
    if (*s->reason) return;
    const fv_tensor k = c.x.t[FV_K], v = c.x.t[FV_V];
    place(s, &c);
    c.bias_first = s->edition < 122 && c.how.softcap > 0 && c.x.t[FV_BIAS].rank;
    const fv_tensor y = make_output(s, &c);
    if (sample_has_output(s, 3))
        solve_with_scores(s, &c);
    else {
        if (c.bias_first) join_bias(s, &c);
        solve_all(s, &c, FV_CAPTURE_RAW, NULL);
    }
    if (*s->reason) return;
    sample_compare(s, 0, &y);
    sample_compare(s, 1, &k);
    sample_compare(s, 2, &v);
    if (c.scores.rank) sample_compare(s, 3, &c.scores);
}
