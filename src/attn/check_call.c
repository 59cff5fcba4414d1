/* Everything that can be wrong with a call is found here, before anything runs: operands, shapes, dtypes, options. */
#include "attn/attn.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static bool present(const fv_tensor *t) { return t->rank != 0; }

bool fv__attn_wants_backward(const fv_attention_plan *plan) {
    for (int p = 0; p < FV_OPERANDS; p++)
        if (present(&plan->grad[p]) && fv_operand_is(p, FV_ROLE_DIFFERENTIABLE)) return true;
    return false;
}

bool fv__attn_has_lse(const fv_attention_plan *plan) {
    return (plan->mechanism->info.needs & FV_OPERAND_BIT(FV_K)) && !plan->mechanism->unnormalized;
}

/* ---- one tensor */

static fv_status wrong_shape(const fv_attention_plan *plan, fv_operand operand, const fv_tensor *found,
                             const char *expected) {
    char text[160];
    fv_tensor_describe(found, text, sizeof text);
    return fv__fail(FV_USAGE, "attention: mechanism \"%s\", operand \"%s\"\n  expected %s\n  found:   %s",
                    plan->mechanism->info.name, fv_operand_name(operand), expected, text);
}

/* A word of a row's dtypes, as a dtype. */
static bool is_dtype(const fv_attention_plan *plan, const char *word, size_t length, fv_dtype *dtype) {
    if (length == 1 && *word == 'q') return *dtype = plan->storage, true;
    if (length == 10 && memcmp(word, "arithmetic", 10) == 0) return *dtype = plan->dtype, true;
    return false;
}

static fv_status check_dtype(const fv_attention_plan *plan, fv_operand operand, const fv_tensor *t) {
    char text[96] = "dtype ";
    fv_dtype last = t->dtype;
    bool first = true;
    for (const char *word = fv_operand_info(operand)->dtypes; *word; word += strspn(word, " ")) {
        const size_t length = strcspn(word, " "), used = strlen(text);
        fv_dtype one = t->dtype;
        const bool relative = is_dtype(plan, word, length, &one);
        const char *name = relative ? fv_dtype_name(one) : fv_dtype_name(t->dtype);
        if (relative ? t->dtype == one : strlen(name) == length && memcmp(name, word, length) == 0) return FV_OK;
        if (!relative)
            snprintf(text + used, sizeof text - used, "%s%.*s", first ? "" : " or ", (int)length, word);
        else if (first || one != last)
            snprintf(text + used, sizeof text - used, "%s%s%s", first ? "" : ", or ", name,
                     *word == 'q' ? ", as q" : "");
        first = false, last = one, word += length;
    }
    return wrong_shape(plan, operand, t, text);
}

static fv_status check_sizes(const fv_attention_plan *plan, fv_operand operand, const fv_tensor *t) {
    size_t bytes;
    if (t->rank < 0 || t->rank > FV_MAX_DIMS)
        return fv__fail(FV_USAGE, "attention: operand \"%s\"\n  expected a rank of at most %d\n  found:   %d",
                        fv_operand_name(operand), FV_MAX_DIMS, t->rank);
    if (!fv__size_of(t->dim, t->rank, 8, &bytes) || bytes > (size_t)INT64_MAX / 4)
        return wrong_shape(plan, operand, t, "dimensions >= 0 whose product fits in memory");
    return FV_OK;
}

static bool unit_last(const fv_tensor *t) { return t->dim[t->rank - 1] <= 1 || t->stride[t->rank - 1] == 1; }

/* One checker for all operands: the shape of the row, unit strides where it says so. */
static fv_status check_operand(const fv_attention_plan *plan, fv_operand operand) {
    const fv_tensor *t = &plan->shape[operand], *d = &plan->grad[operand];
    char text[256];
    if (!present(t)) return FV_OK;
    if (!fv__attn_fits(plan, operand, t)) {
        fv__attn_shape_text(plan, operand, text, sizeof text);
        return wrong_shape(plan, operand, t, text);
    }
    if (!(fv_operand_info(operand)->flags & FV_OPERAND_UNIT)) return FV_OK;
    if (!unit_last(t)) return wrong_shape(plan, operand, t, "unit stride on the last axis");
    if (present(d) && !unit_last(d))
        return wrong_shape(plan, operand, d, "a gradient with unit stride on the last axis");
    return FV_OK;
}

/* ---- the whole call */

static fv_status check_presence(const fv_attention_plan *plan) {
    const fv_mechanism *m = &plan->mechanism->info;
    for (int p = 0; p < FV_OPERAND_SLOTS; p++) {
        const char *name = fv_operand_name(p);
        const bool given = present(&plan->shape[p]), wanted = present(&plan->grad[p]);
        const bool known = ((m->needs | m->takes) & FV_OPERAND_BIT(p)) || fv_operand_is(p, FV_ROLE_RESULT);
        if (!*name && (given || wanted))
            return fv__fail(
                FV_USAGE,
                "attention: unknown operand\n  expected one of the %d this library knows\n  found:   number %d",
                FV_OPERANDS, p);
        if ((m->needs & FV_OPERAND_BIT(p)) && !given)
            return fv__fail(FV_USAGE, "attention: mechanism \"%s\"\n  expected operand \"%s\"\n  found:   none",
                            m->name, name);
        if (given && (!known || (p == FV_STATE_OUT && !(m->takes & FV_OPERAND_BIT(FV_STATE)))))
            return fv__fail(FV_USAGE, "attention: mechanism \"%s\" does not take operand \"%s\"", m->name, name);
        if (wanted && fv_operand_is(p, FV_ROLE_INTEGER))
            return fv__fail(FV_USAGE, "attention: operand \"%s\" has no gradient", name);
        if (wanted && !given)
            return fv__fail(
                FV_USAGE,
                "attention: gradient of operand \"%s\"\n  expected the operand too\n  found:   only its gradient",
                name);
    }
    if (!present(&plan->shape[FV_OUT]))
        return fv__fail(FV_USAGE, "attention: the result\n  expected operand \"out\"\n  found:   none");
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

/* q, k and v give the sizes that all shapes are made of. */
static fv_status check_ranks(const fv_attention_plan *plan) {
    const fv_operand first[] = {FV_Q, FV_K, FV_V};
    for (int i = 0; i < 3; i++)
        if (present(&plan->shape[first[i]]) && plan->shape[first[i]].rank != 4) {
            char text[32];
            snprintf(text, sizeof text, "(%s)", fv_operand_info(first[i])->shape);
            return wrong_shape(plan, first[i], &plan->shape[first[i]], text);
        }
    const fv_tensor *cu = &plan->shape[FV_CU_Q];
    if (present(cu) && (cu->rank != 1 || cu->dim[0] < 1))
        return wrong_shape(plan, FV_CU_Q, cu, "(N+1), N the number of sequences");
    return FV_OK;
}

void fv__attn_sizes(fv_attention_plan *plan) {
    const fv_tensor *q = &plan->shape[FV_Q], *k = &plan->shape[FV_K], *v = &plan->shape[FV_V];
    plan->storage = q->dtype, plan->dtype = q->dtype == FV_F64 ? FV_F64 : FV_F32;
    plan->batch = q->dim[0], plan->heads = plan->kv_heads = q->dim[1], plan->q_len = plan->k_len = q->dim[2],
    plan->d_qk = plan->d_v = q->dim[3];
    if (k->rank == 4) plan->kv_heads = k->dim[1], plan->k_len = k->dim[2];
    if (v->rank == 4) plan->d_v = v->dim[3];
    plan->packed = present(&plan->shape[FV_CU_Q]);
    plan->sequences = plan->packed ? plan->shape[FV_CU_Q].dim[0] - 1 : plan->batch;
}

static fv_status check_shapes(const fv_attention_plan *plan) {
    const int64_t h = plan->heads, kh = plan->kv_heads;
    const fv_mechanism *m = &plan->mechanism->info;
    if (kh <= 0 ? h > 0 : h % kh != 0)
        return wrong_shape(plan, FV_K, &plan->shape[FV_K], "a number of kv heads that divides the heads of q");
    if (kh != h && !(m->can & FV_CAN_GQA))
        return fv__fail(FV_USAGE,
                        "attention: mechanism \"%s\", kv heads\n  expected as many as heads, %lld\n  found:   %lld",
                        m->name, (long long)plan->heads, (long long)plan->kv_heads);
    if (present(&plan->shape[FV_CU_K]) && !plan->packed)
        return fv__fail(FV_USAGE,
                        "attention: packed sequences\n  expected operand \"cu_seqlens_q\" with \"cu_seqlens_k\"\n"
                        "  found:   only \"cu_seqlens_k\"");
    for (int p = 0; p < FV_OPERANDS; p++) FV_TRY(check_operand(plan, p));
    return FV_OK;
}

static fv_status check_packed(const fv_attention_plan *plan) {
    if (!plan->packed) return FV_OK;
    if (!(plan->mechanism->info.can & FV_CAN_VARLEN))
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" does not take packed sequences",
                        plan->mechanism->info.name);
    if (plan->batch != 1) return wrong_shape(plan, FV_Q, &plan->shape[FV_Q], "batch 1 with cu_seqlens");
    if (present(&plan->shape[FV_KV_LEN]))
        return fv__fail(FV_USAGE,
                        "attention: lengths of the sequences\n  expected \"kv_len\" or \"cu_seqlens_q\"\n"
                        "  found:   both");
    if (!present(&plan->shape[FV_CU_K]) && plan->q_len != plan->k_len)
        return fv__fail(FV_USAGE, "attention: packed keys of another length than the queries need \"cu_seqlens_k\"");
    return FV_OK;
}

fv_status fv__attn_check_number(const char *where, double value, fv_dtype arithmetic) {
    const double least = arithmetic == FV_F64 ? DBL_MIN : FLT_MIN,
                 most = (arithmetic == FV_F64 ? DBL_MAX : FLT_MAX) / 2;
    if (value == 0 || (fabs(value) >= least && fabs(value) <= most)) return FV_OK;
    return fv__fail(FV_USAGE, "%s\n  expected 0, or a size from %.2g to %.2g, as %s has them\n  found:   %g", where,
                    least, most, fv_dtype_name(arithmetic), value);
}

fv_status fv__attn_check_window(const char *where, const fv_window *w) {
    const int64_t far = INT64_C(1) << 48;
    if (!w->limited && (w->left || w->right))
        return fv__fail(FV_USAGE,
                        "%s\n  expected limited, or zeros for none\n  found:   left %lld, right %lld, not "
                        "limited\n  try:     FV_WINDOW(%lld, %lld)",
                        where, (long long)w->left, (long long)w->right, (long long)w->left, (long long)w->right);
    if (w->left < -1 || w->right < -1)
        return fv__fail(FV_USAGE, "%s\n  expected 0 or more, or -1 for no limit\n  found:   %lld, %lld", where,
                        (long long)w->left, (long long)w->right);
    if (w->left > far || w->right > far)
        return fv__fail(FV_USAGE, "%s\n  expected sizes up to 2^48\n  found:   %lld, %lld", where, (long long)w->left,
                        (long long)w->right);
    return FV_OK;
}

static fv_status check_options(const fv_attention_plan *plan) {
    const fv_attention_options *o = &plan->options;
    const uint32_t can = plan->mechanism->info.can;
    const char *name = plan->mechanism->info.name;
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
    if (!(o->dropout >= 0 && o->dropout <= 1))
        return fv__fail(FV_USAGE, "attention: dropout\n  expected 0 <= p <= 1\n  found:   %g", o->dropout);
    FV_TRY(fv__attn_check_window("attention: window", &o->window));
    for (size_t i = 0; i < sizeof o->reserved / sizeof *o->reserved; i++)
        if (o->reserved[i])
            return fv__fail(
                FV_USAGE,
                "attention: reserved words of fv_attention_options\n  expected zeros\n  found:   %llu\n  try:     "
                "start from fv_attention_options how = {0}",
                (unsigned long long)o->reserved[i]);
    if (o->dropout > 0 && !(can & FV_CAN_DROPOUT))
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" has no dropout", name);
    const bool band = o->causal != FV_CAUSAL_NONE || plan->window_left >= 0 || plan->window_right >= 0;
    if (band && !(can & FV_CAN_CAUSAL))
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" has neither causal masks nor windows", name);
    if (o->softcap > 0 && !(can & FV_CAN_SOFTCAP))
        return fv__fail(FV_USAGE,
                        "attention: mechanism \"%s\", option softcap\n  expected 0: it caps no scores\n  found:   %g",
                        name, o->softcap);
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
    plan->window_left = o->window.limited ? o->window.left : -1;
    plan->window_right = o->window.limited ? o->window.right : -1;
    if (plan->causal) plan->window_right = 0;
}

fv_status fv__attn_check_saved_lse(const fv_attention_plan *plan) {
    if (!fv__attn_wants_backward(plan) || present(&plan->shape[FV_LSE])) return FV_OK;
    return fv__fail(
        FV_USAGE,
        "attention: mechanism \"%s\", backward\n  expected operand \"lse\", written by the forward\n  found:   none",
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
    const fv_tensor *q = &plan->shape[FV_Q];
    FV_TRY(check_presence(plan));
    if (q->dtype != FV_F32 && q->dtype != FV_F64 && !fv__attn_is_16bit(q->dtype))
        return wrong_shape(plan, FV_Q, q, "dtype f32 or f64, or bf16 or f16 with arithmetic in f32");
    plan->storage = q->dtype, plan->dtype = q->dtype == FV_F64 ? FV_F64 : FV_F32;
    FV_TRY(check_tensors(plan));
    FV_TRY(check_ranks(plan));
    fv__attn_sizes(plan);
    resolve(plan);
    FV_TRY(check_shapes(plan));
    FV_TRY(check_packed(plan));
    FV_TRY(check_options(plan));
    FV_TRY(check_blocks(plan));
    FV_TRY(set_up(plan));
    if (plan->options.scale == 0) plan->options.scale = 1 / sqrt(plan->d_qk > 0 ? (double)plan->d_qk : 1);
    return FV_OK;
}
