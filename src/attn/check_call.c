/* Everything that can be wrong with a call is found here, before anything runs: operands, shapes, dtypes, options. */
#include "attn/attn.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static bool present(const fv_tensor *t) { return t->rank != 0; }
static uint32_t bit(fv_operand operand) { return 1u << operand; }
static bool is_integer_operand(fv_operand operand) { return operand >= FV_MASK && operand <= FV_INDEX; }

bool fv__attn_wants_backward(const fv_attention_plan *plan) {
    for (int p = 0; p < FV_OUT; p++)
        if (present(&plan->grad[p])) return true;
    return false;
}

bool fv__attn_has_lse(const fv_attention_plan *plan) {
    const fv_mechanism *m = &plan->mechanism->info;
    return (m->needs & bit(FV_K)) && !((m->needs | m->takes) & bit(FV_STATE));
}

/* ---- one tensor */

static fv_status wrong_shape(const fv_attention_plan *plan, fv_operand operand, const fv_tensor *found,
                             const char *expected) {
    char text[160];
    fv_tensor_describe(found, text, sizeof text);
    return fv__fail(FV_USAGE, "attention: mechanism \"%s\", operand \"%s\"\n  expected %s\n  found:   %s",
                    plan->mechanism->info.name, fv_operand_name(operand), expected, text);
}

static fv_status check_dtype(const fv_attention_plan *plan, fv_operand operand, const fv_tensor *t) {
    if (operand == FV_MASK)
        return t->dtype == FV_BOOL || t->dtype == FV_U8 ? FV_OK : wrong_shape(plan, operand, t, "dtype bool or u8");
    if (is_integer_operand(operand))
        return t->dtype == FV_I32 || t->dtype == FV_I64 ? FV_OK : wrong_shape(plan, operand, t, "dtype i32 or i64");
    const bool bits16 = fv__attn_is_16bit(plan->storage), exact = operand == FV_LSE || operand == FV_AUX,
               same = operand <= FV_V || operand == FV_OUT;
    if (t->dtype == (exact ? plan->dtype : plan->storage) || (bits16 && !same && t->dtype == FV_F32)) return FV_OK;
    char text[64];
    snprintf(text, sizeof text, "dtype %s%s", fv_dtype_name(exact ? plan->dtype : plan->storage),
             exact             ? ""
             : bits16 && !same ? ", as q, or f32"
                               : ", as q");
    return wrong_shape(plan, operand, t, text);
}

static fv_status check_sizes(const fv_attention_plan *plan, fv_operand operand, const fv_tensor *t) {
    size_t bytes;
    if (t->rank < 0 || t->rank > FV_MAX_DIMS)
        return fv__fail(FV_USAGE, "attention: operand \"%s\" has rank %d", fv_operand_name(operand), t->rank);
    if (!fv__size_of(t->dim, t->rank, 8, &bytes) || bytes > (size_t)INT64_MAX / 4)
        return wrong_shape(plan, operand, t, "dimensions >= 0 whose product fits in memory");
    return FV_OK;
}

/* Each dimension of `t` equals want[], or is 1 where broadcast says so. */
static bool fits(const fv_tensor *t, int rank, const int64_t *want, bool broadcast) {
    if (t->rank != rank) return false;
    for (int a = 0; a < rank; a++)
        if (t->dim[a] != want[a] && !(broadcast && t->dim[a] == 1)) return false;
    return true;
}

static bool unit_last(const fv_tensor *t) { return t->dim[t->rank - 1] <= 1 || t->stride[t->rank - 1] == 1; }

static fv_status check_operand(const fv_attention_plan *plan, fv_operand operand, const fv_tensor *t, int rank,
                               const int64_t *want, bool broadcast, const char *expected) {
    if (!present(t)) return FV_OK;
    if (!fits(t, rank, want, broadcast)) return wrong_shape(plan, operand, t, expected);
    return FV_OK;
}

/* ---- the whole call */

static fv_status check_presence(const fv_attention_plan *plan) {
    const fv_mechanism *m = &plan->mechanism->info;
    const uint32_t outputs = bit(FV_OUT) | bit(FV_LSE) | bit(FV_STATE_OUT) | bit(FV_AUX),
                   known = m->needs | m->takes | outputs;
    for (int p = 0; p < FV_OPERANDS; p++) {
        if ((m->needs & bit(p)) && !present(&plan->shape[p]))
            return fv__fail(FV_USAGE, "attention: mechanism \"%s\" needs operand \"%s\"", m->name, fv_operand_name(p));
        if (present(&plan->shape[p]) && !(known & bit(p)))
            return fv__fail(FV_USAGE, "attention: mechanism \"%s\" does not take operand \"%s\"", m->name,
                            fv_operand_name(p));
        if (present(&plan->grad[p]) && is_integer_operand(p))
            return fv__fail(FV_USAGE, "attention: operand \"%s\" has no gradient", fv_operand_name(p));
        if (present(&plan->grad[p]) && !present(&plan->shape[p]))
            return fv__fail(FV_USAGE, "attention: a gradient of operand \"%s\" without its tensor", fv_operand_name(p));
    }
    if (!present(&plan->shape[FV_OUT])) return fv__fail(FV_USAGE, "attention: operand \"out\" is missing");
    if (fv__attn_wants_backward(plan) && !(m->can & FV_CAN_BACKWARD))
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" has no backward", m->name);
    return FV_OK;
}

static fv_status check_tensors(const fv_attention_plan *plan) {
    for (int p = 0; p < FV_OPERANDS; p++) {
        const fv_tensor *both[2] = {&plan->shape[p], &plan->grad[p]};
        for (int i = 0; i < 2; i++) {
            if (!present(both[i])) continue;
            FV_TRY(check_sizes(plan, p, both[i]));
            FV_TRY(check_dtype(plan, p, both[i]));
        }
        if (present(both[1]) && !fv_tensor_same_shape(both[0], both[1])) {
            char expected[160] = "no gradient: the tensor itself is absent", shape[96];
            fv_tensor_describe(both[0], shape, sizeof shape);
            if (present(both[0]))
                snprintf(expected, sizeof expected, "a gradient of the shape of its tensor, %s", shape);
            return wrong_shape(plan, p, both[1], expected);
        }
        if (present(both[1]) && both[0]->dtype != both[1]->dtype)
            return wrong_shape(plan, p, both[1], "a gradient of the dtype of its tensor");
    }
    return FV_OK;
}

static fv_status check_gate_shapes(const fv_attention_plan *plan) {
    const fv_tensor *q = &plan->shape[FV_Q];
    FV_TRY(check_operand(plan, FV_OUT, &plan->shape[FV_OUT], q->rank, q->dim, false, "the shape of q"));
    return FV_OK;
}

static fv_status check_qkv_shapes(const fv_attention_plan *plan) {
    const int64_t b = plan->batch, h = plan->heads, kh = plan->kv_heads, lq = plan->q_len, lk = plan->k_len;
    const fv_tensor *s = plan->shape;
    if (s[FV_K].rank != 4) return wrong_shape(plan, FV_K, &s[FV_K], "(B,Hkv,Lk,D)");
    if (kh <= 0 ? h > 0 : h % kh != 0)
        return wrong_shape(plan, FV_K, &s[FV_K], "a number of kv heads that divides the heads of q");
    if (kh != h && !(plan->mechanism->info.can & FV_CAN_GQA))
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" takes as many kv heads as heads",
                        plan->mechanism->info.name);
    const int64_t k_dim[4] = {b, kh, lk, plan->d_qk}, v_dim[4] = {b, kh, lk, plan->d_v},
                  out_dim[4] = {b, h, lq, plan->d_v};
    const int64_t plane[4] = {b, h, lq, lk}, state[4] = {plan->sequences, h, plan->d_qk, plan->d_v};
    if (plan->mechanism->info.needs & bit(FV_K))
        FV_TRY(check_operand(plan, FV_K, &s[FV_K], 4, k_dim, false, "(B,Hkv,Lk,D) with B and D of q"));
    FV_TRY(check_operand(plan, FV_V, &s[FV_V], 4, v_dim, false, "(B,Hkv,Lk,Dv) with B, Hkv and Lk of k"));
    FV_TRY(check_operand(plan, FV_OUT, &s[FV_OUT], 4, out_dim, false, "(B,H,Lq,Dv)"));
    FV_TRY(check_operand(plan, FV_LSE, &s[FV_LSE], 3, out_dim, false, "(B,H,Lq)"));
    FV_TRY(check_operand(plan, FV_BIAS, &s[FV_BIAS], 4, plane, true, "(B|1,H|1,Lq|1,Lk|1)"));
    FV_TRY(check_operand(plan, FV_MASK, &s[FV_MASK], 4, plane, true, "(B|1,H|1,Lq|1,Lk|1)"));
    FV_TRY(check_operand(plan, FV_SINKS, &s[FV_SINKS], 1, &h, false, "(H)"));
    FV_TRY(check_operand(plan, FV_SLOPES, &s[FV_SLOPES], 1, &h, false, "(H)"));
    FV_TRY(check_operand(plan, FV_KV_LEN, &s[FV_KV_LEN], 1, &b, false, "(B)"));
    FV_TRY(check_operand(plan, FV_PREFIX_LEN, &s[FV_PREFIX_LEN], 1, &plan->sequences, false,
                         "(B), or a number for each packed sequence"));
    FV_TRY(check_operand(plan, FV_STATE, &s[FV_STATE], 4, state, false, "(B,H,D,Dv), or one for each packed sequence"));
    FV_TRY(check_operand(plan, FV_STATE_OUT, &s[FV_STATE_OUT], 4, state, false,
                         "(B,H,D,Dv), or one for each packed sequence"));
    if (plan->options.softcap > 0 && !(plan->mechanism->info.takes & bit(FV_SLOPES)))
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" has no softcap", plan->mechanism->info.name);
    const fv_operand unit[] = {FV_Q, FV_K, FV_V, FV_OUT};
    for (int i = 0; i < 4; i++) {
        if (!unit_last(&s[unit[i]])) return wrong_shape(plan, unit[i], &s[unit[i]], "unit stride on the last axis");
        const fv_tensor *d = &plan->grad[unit[i]];
        if (present(d) && !unit_last(d))
            return wrong_shape(plan, unit[i], d, "a gradient with unit stride on the last axis");
    }
    return FV_OK;
}

static fv_status check_packed(const fv_attention_plan *plan) {
    if (!plan->packed)
        return present(&plan->shape[FV_CU_K]) ? fv__fail(FV_USAGE, "attention: operand \"cu_k\" without \"cu_q\"")
                                              : FV_OK;
    if (!(plan->mechanism->info.can & FV_CAN_VARLEN))
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" does not take packed sequences",
                        plan->mechanism->info.name);
    const fv_tensor *q = &plan->shape[FV_CU_Q], *k = &plan->shape[FV_CU_K];
    if (q->rank != 1 || q->dim[0] < 1) return wrong_shape(plan, FV_CU_Q, q, "(N+1), N the number of sequences");
    FV_TRY(check_operand(plan, FV_CU_K, k, 1, q->dim, false, "the shape of cu_q"));
    if (plan->batch != 1) return wrong_shape(plan, FV_Q, &plan->shape[FV_Q], "batch 1 with cu_seqlens");
    if (present(&plan->shape[FV_KV_LEN]))
        return fv__fail(FV_USAGE, "attention: \"kv_len\" and \"cu_q\" exclude each other");
    if (!present(k) && plan->q_len != plan->k_len)
        return fv__fail(FV_USAGE, "attention: packed keys of another length than the queries need \"cu_k\"");
    return FV_OK;
}

/* The mechanism's own parameters have the shape it says. */
static fv_status check_own(const fv_attention_plan *plan) {
    for (int p = FV_W0; p <= FV_W5; p++) {
        if (!present(&plan->shape[p]) || !plan->mechanism->operand_shape) continue;
        const fv_tensor want = fv__attn_operand_shape(plan, p);
        char text[128];
        fv_tensor_describe(&want, text, sizeof text);
        FV_TRY(check_operand(plan, p, &plan->shape[p], want.rank, want.dim, false, text));
        if (!unit_last(&plan->shape[p])) return wrong_shape(plan, p, &plan->shape[p], "unit stride on the last axis");
    }
    return FV_OK;
}

fv_status fv__attn_check_number(const char *where, double value, fv_dtype arithmetic) {
    const double least = arithmetic == FV_F64 ? DBL_MIN : FLT_MIN,
                 most = (arithmetic == FV_F64 ? DBL_MAX : FLT_MAX) / 2;
    if (value == 0 || (fabs(value) >= least && fabs(value) <= most)) return FV_OK;
    return fv__fail(FV_USAGE, "%s\n  expected 0, or a size from %.2g to %.2g, as %s has them\n  found:   %g", where,
                    least, most, fv_dtype_name(arithmetic), value);
}

static fv_status check_options(const fv_attention_plan *plan) {
    const fv_attention_options *o = &plan->options;
    const uint32_t can = plan->mechanism->info.can;
    const char *name = plan->mechanism->info.name;
    const int64_t far = INT64_C(1) << 48;
    if (!isfinite(o->scale))
        return fv__fail(FV_USAGE, "attention: scale\n  expected a finite number, 0 for 1/sqrt(D)\n  found:   %g",
                        o->scale);
    if (!(o->softcap >= 0) || !isfinite(o->softcap))
        return fv__fail(FV_USAGE, "attention: softcap\n  expected 0 or more\n  found:   %g", o->softcap);
    FV_TRY(fv__attn_check_number("attention: scale", o->scale, plan->dtype));
    FV_TRY(fv__attn_check_number("attention: softcap", o->softcap, plan->dtype));
    if ((unsigned)o->causal > FV_CAUSAL_LOWER_RIGHT)
        return fv__fail(FV_USAGE, "attention: causal\n  expected one of fv_causal\n  found:   %d", (int)o->causal);
    if ((unsigned)o->mask_means > FV_MASK_DROP)
        return fv__fail(FV_USAGE, "attention: mask_means\n  expected one of fv_mask_means\n  found:   %d",
                        (int)o->mask_means);
    if (!(o->dropout >= 0 && o->dropout < 1))
        return fv__fail(FV_USAGE, "attention: dropout\n  expected 0 <= p < 1\n  found:   %g", o->dropout);
    if (o->window_left < -1 || o->window_right < -1)
        return fv__fail(FV_USAGE, "attention: window\n  expected 0 or more, or -1 for no limit\n  found:   %lld, %lld",
                        (long long)o->window_left, (long long)o->window_right);
    if (o->window_left > far || o->window_right > far)
        return fv__fail(FV_USAGE, "attention: window\n  expected sizes up to 2^48\n  found:   %lld, %lld",
                        (long long)o->window_left, (long long)o->window_right);
    if (o->dropout > 0 && !(can & FV_CAN_DROPOUT))
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" has no dropout", name);
    const bool band = o->causal != FV_CAUSAL_NONE || o->window_left >= 0 || o->window_right >= 0;
    if (band && !(can & FV_CAN_CAUSAL))
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" has neither causal masks nor windows", name);
    if (present(&plan->shape[FV_KV_LEN]) && !(can & FV_CAN_KV_LEN))
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" does not take \"kv_len\"", name);
    return FV_OK;
}

static fv_status check_blocks(const fv_attention_plan *plan) {
    const fv_block_mask *mask = plan->options.blocks;
    if (!mask) return FV_OK;
    const fv_block_info i = fv_block_mask_info(mask);
    if (!(plan->mechanism->info.can & FV_CAN_BLOCKS))
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" takes no block mask", plan->mechanism->info.name);
    if (plan->packed)
        return fv__fail(FV_USAGE,
                        "attention: a block mask and packed sequences exclude each other\n  try:     one long "
                        "sequence, and a block mask that also keeps documents apart");
    if ((i.batch == 1 || i.batch == plan->batch) && (i.heads == 1 || i.heads == plan->heads) &&
        i.q_len == plan->q_len && i.k_len == plan->k_len)
        return FV_OK;
    return fv__fail(FV_USAGE,
                    "attention: the block mask\n  expected (%lld|1,%lld|1,%lld,%lld)\n  found:   (%lld,%lld,%lld,%lld)",
                    (long long)plan->batch, (long long)plan->heads, (long long)plan->q_len, (long long)plan->k_len,
                    (long long)i.batch, (long long)i.heads, (long long)i.q_len, (long long)i.k_len);
}

static void resolve(fv_attention_plan *plan) {
    const fv_attention_options *o = &plan->options;
    plan->causal = o->causal != FV_CAUSAL_NONE;
    plan->lower_right = o->causal == FV_CAUSAL_LOWER_RIGHT;
    plan->window_left = o->window_left, plan->window_right = o->window_right;
    if (plan->causal) plan->window_right = 0;
}

fv_status fv__attn_check_saved_lse(const fv_attention_plan *plan) {
    bool wanted = false;
    for (int p = 0; p < FV_MASK; p++) wanted |= present(&plan->grad[p]);
    if (!wanted || present(&plan->shape[FV_LSE])) return FV_OK;
    return fv__fail(FV_USAGE,
                    "attention: mechanism \"%s\", backward\n  expected operand \"lse\", written by the forward",
                    plan->mechanism->info.name);
}

static fv_status set_up(fv_attention_plan *plan) {
    const fv__mechanism *m = plan->mechanism;
    plan->setup = fv__alloc(m->engine->setup_size);
    if (!plan->setup) return FV_NO_RESOURCES;
    if (m->setup) FV_TRY(m->setup(plan));
    return m->engine->accept ? m->engine->accept(plan) : FV_OK;
}

fv_status fv__attn_check(fv_attention_plan *plan, const fv_attention_tensors *shapes) {
    memcpy(plan->shape, shapes->t, sizeof plan->shape);
    memcpy(plan->grad, shapes->d, sizeof plan->grad);
    const fv_tensor *q = &plan->shape[FV_Q], *k = &plan->shape[FV_K], *v = &plan->shape[FV_V];
    FV_TRY(check_presence(plan));
    if (q->dtype != FV_F32 && q->dtype != FV_F64 && !fv__attn_is_16bit(q->dtype))
        return wrong_shape(plan, FV_Q, q, "dtype f32 or f64, or bf16 or f16 with arithmetic in f32");
    plan->storage = q->dtype, plan->dtype = q->dtype == FV_F64 ? FV_F64 : FV_F32;
    FV_TRY(check_tensors(plan));
    if (plan->mechanism->info.can & FV_CAN_SELF && !present(k)) FV_TRY(check_gate_shapes(plan));
    if (q->rank != 4) return wrong_shape(plan, FV_Q, q, "(B,H,Lq,D)");
    plan->batch = q->dim[0], plan->heads = plan->kv_heads = q->dim[1], plan->q_len = plan->k_len = q->dim[2],
    plan->d_qk = plan->d_v = q->dim[3];
    if (present(k)) plan->kv_heads = k->dim[1], plan->k_len = k->dim[2];
    if (present(v)) plan->d_v = v->dim[3];
    plan->packed = present(&plan->shape[FV_CU_Q]);
    plan->sequences = plan->packed ? plan->shape[FV_CU_Q].dim[0] - 1 : plan->batch;
    resolve(plan);
    if (present(k)) FV_TRY(check_qkv_shapes(plan));
    FV_TRY(check_packed(plan));
    FV_TRY(check_options(plan));
    FV_TRY(check_blocks(plan));
    FV_TRY(set_up(plan));
    if (plan->options.scale == 0) plan->options.scale = 1 / sqrt(plan->d_qk > 0 ? (double)plan->d_qk : 1);
    return check_own(plan);
}
