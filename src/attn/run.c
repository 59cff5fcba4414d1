/* Running a plan: the tensors are compared with what was planned, then the engine is called. Nothing is allocated,
 * except by the one-call form at the end. */
#include "attn/attn.h"

#include <string.h>

static fv_status compare(fv_operand operand, const char *what, const fv_tensor *planned, const fv_tensor *given) {
    const char *name = fv_operand_name(operand);
    if (!given->rank)
        return fv__fail(FV_USAGE, "attention: %soperand \"%s\"\n  expected as planned\n  found:   none", what, name);
    if (!planned->rank)
        return fv__fail(FV_USAGE, "attention: %soperand \"%s\"\n  expected none, it was not planned\n  found:   one",
                        what, name);
    if (!fv_tensor_same_shape(planned, given) || planned->dtype != given->dtype) {
        char want[128], found[128];
        fv_tensor_describe(planned, want, sizeof want);
        fv_tensor_describe(given, found, sizeof found);
        return fv__fail(FV_USAGE, "attention: %soperand \"%s\" is not what was planned\n  expected %s\n  found:   %s",
                        what, name, want, found);
    }
    if (!given->data && fv_tensor_count(given) > 0)
        return fv__fail(FV_USAGE, "attention: %soperand \"%s\"\n  expected data\n  found:   NULL", what, name);
    const bool unit = fv_operand_info(operand)->flags & FV_OPERAND_UNIT;
    if (unit && given->dim[given->rank - 1] > 1 && given->stride[given->rank - 1] != 1)
        return fv__fail(FV_USAGE, "attention: %soperand \"%s\"\n  expected stride 1 on the last axis\n  found:   %lld",
                        what, name, (long long)given->stride[given->rank - 1]);
    return FV_OK;
}

/* 0 = cu[0] <= cu[1] <= ... <= cu[N] = total */
static fv_status check_cu(fv_operand operand, const fv_tensor *cu, int64_t total) {
    if (!cu->rank) return FV_OK;
    int64_t before = 0;
    for (int64_t i = 0; i < cu->dim[0]; i++) {
        const int64_t now = fv__attn_integer(cu, i);
        if (now < before || now > total || (i == 0 && now != 0))
            return fv__fail(
                FV_USAGE,
                "attention: operand \"%s\", element %lld\n  expected 0, then numbers that do not fall, up to "
                "%lld\n  found:   %lld",
                fv_operand_name(operand), (long long)i, (long long)total, (long long)now);
        before = now;
    }
    if (before != total)
        return fv__fail(
            FV_USAGE,
            "attention: operand \"%s\", last element\n  expected the number of packed rows, %lld\n  found:   %lld",
            fv_operand_name(operand), (long long)total, (long long)before);
    return FV_OK;
}

static fv_status check_lengths(fv_operand operand, const fv_tensor *len, int64_t most) {
    for (int64_t i = 0; len->rank && i < len->dim[0]; i++)
        if (fv__attn_integer(len, i) < 0 || fv__attn_integer(len, i) > most)
            return fv__fail(FV_USAGE, "attention: operand \"%s\", element %lld\n  expected 0 to %lld\n  found:   %lld",
                            fv_operand_name(operand), (long long)i, (long long)most,
                            (long long)fv__attn_integer(len, i));
    return FV_OK;
}

static fv_status check_values(const fv_attention_plan *plan, const fv_attention_tensors *x) {
    FV_TRY(check_lengths(FV_KV_LEN, &x->t[FV_KV_LEN], plan->k_len));
    FV_TRY(check_lengths(FV_PREFIX_LEN, &x->t[FV_PREFIX_LEN], plan->k_len));
    if (!plan->packed) return FV_OK;
    FV_TRY(check_cu(FV_CU_Q, &x->t[FV_CU_Q], plan->q_len));
    return check_cu(FV_CU_K, &x->t[FV_CU_K], plan->k_len);
}

fv_status fv__attn_check_call(const fv_attention_call *call) {
    const int64_t far = INT64_C(1) << 48;
    if (!call) return FV_OK;
    if (call->q_offset > far || call->q_offset < -far)
        return fv__fail(FV_USAGE, "attention: q_offset of the call\n  expected sizes up to 2^48\n  found:   %lld",
                        (long long)call->q_offset);
    for (size_t i = 0; i < sizeof call->reserved / sizeof *call->reserved; i++)
        if (call->reserved[i])
            return fv__fail(
                FV_USAGE,
                "attention: reserved words of fv_attention_call\n  expected zeros\n  found:   %llu\n  try:     "
                "start from fv_attention_call call = {0}",
                (unsigned long long)call->reserved[i]);
    return FV_OK;
}

/* Outputs that were planned may be left out, except `out`; backward needs all that was planned. */
static fv_status check_tensors(const fv_attention_plan *plan, const fv_attention_tensors *x, bool backward) {
    for (int p = 0; p < FV_OPERANDS; p++) {
        const bool optional = p != FV_OUT && fv_operand_is(p, FV_ROLE_RESULT) && !backward;
        if (!plan->shape[p].rank && !x->t[p].rank) continue;
        if (optional && !x->t[p].rank) continue;
        FV_TRY(compare(p, "", &plan->shape[p], &x->t[p]));
    }
    for (int p = 0; backward && p < FV_OPERANDS; p++)
        if (x->d[p].rank) FV_TRY(compare(p, "gradient of ", &plan->grad[p], &x->d[p]));
    return check_values(plan, x);
}

fv_status fv__attn_need(const void *pointer, const char *what) {
    if (pointer) return FV_OK;
    return fv__fail(FV_USAGE, "attention: %s\n  expected a pointer\n  found:   NULL", what);
}

/* Elements of a tensor that lie without gaps, in whatever order: from its first to behind its last. */
static bool dense_range(const fv_tensor *t, const char **from, const char **to) {
    int64_t span = 1;
    for (int a = 0; a < t->rank; a++) {
        if (t->dim[a] < 1 || t->stride[a] < 0) return false;
        span += (t->dim[a] - 1) * t->stride[a];
    }
    *from = t->data, *to = *from + span * (int64_t)fv_dtype_size(t->dtype);
    return span == fv_tensor_count(t);
}

/* What a forward writes over what it reads. Tensors with gaps may lie between each other's rows: of those only the same
 * first element is sure to be shared. */
static fv_status check_overlap(const fv_attention_tensors *x, fv_operand written) {
    const fv_tensor *to = &x->t[written];
    const char *a = NULL, *a_end = NULL, *b, *b_end;
    const bool dense = to->rank && dense_range(to, &a, &a_end);
    for (int p = 0; p < FV_OPERANDS && to->rank && fv_tensor_count(to) > 0; p++) {
        const fv_tensor *from = &x->t[p];
        if (!from->rank || p == (int)written || fv_operand_is(p, FV_ROLE_RESULT) || fv_tensor_count(from) <= 0)
            continue;
        bool shared = from->data == to->data;
        if (dense && dense_range(from, &b, &b_end)) shared = a < b_end && b < a_end;
        if (shared)
            return fv__fail(
                FV_USAGE, "attention: operand \"%s\"\n  expected memory of its own\n  found:   that of operand \"%s\"",
                fv_operand_name(written), fv_operand_name((fv_operand)p));
    }
    return FV_OK;
}

fv_status fv__attn_start(fv__run *run, const fv_attention_plan *plan, const fv_attention_call *call,
                         const fv_attention_tensors *x, bool backward) {
    FV_TRY(fv__attn_need(plan, "plan"));
    FV_TRY(fv__attn_need(x, "tensors"));
    *run = (fv__run){.plan = plan, .x = x};
    if (call) run->call = *call;
    FV_TRY(fv__attn_check_call(call));
    FV_TRY(check_tensors(plan, x, backward));
    return plan->mechanism->engine->check ? plan->mechanism->engine->check(run) : FV_OK;
}

void *fv__attn_aligned(void *scratch) { return (void *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63); }

static fv_status check_scratch(const fv_attention_plan *plan, bool backward, const void *scratch) {
    if (scratch || fv_attention_scratch(plan, backward) == 0) return FV_OK;
    return fv__fail(FV_USAGE, "attention: scratch\n  expected %zu bytes, see fv_attention_scratch\n  found:   NULL",
                    fv_attention_scratch(plan, backward));
}

void fv__attn_engine_run(const fv__run *run, bool backward, void *scratch) {
    const fv__engine *engine = run->plan->mechanism->engine;
    (backward ? engine->backward : engine->forward)(run, scratch);
    fv__regions_open(scratch, engine->scratch(run->plan, backward));
}

static void dispatch(const fv__run *run, bool backward, void *scratch) {
    scratch = fv__attn_aligned(scratch);
    if (run->plan->storage != run->plan->dtype)
        fv__cast_run(run, backward, scratch);
    else
        fv__attn_engine_run(run, backward, scratch);
}

fv_status fv_attention_forward(const fv_attention_plan *plan, const fv_attention_call *call,
                               const fv_attention_tensors *x, void *scratch) {
    fv__run run;
    FV_TRY(fv__attn_start(&run, plan, call, x, false));
    FV_TRY(check_overlap(x, FV_OUT));
    FV_TRY(check_overlap(x, FV_LSE));
    FV_TRY(check_scratch(plan, false, scratch));
    dispatch(&run, false, scratch);
    return FV_OK;
}

fv_status fv_attention_backward(const fv_attention_plan *plan, const fv_attention_call *call,
                                const fv_attention_tensors *x, void *scratch) {
    fv__run run;
    FV_TRY(fv__attn_need(plan, "plan"));
    if (!(plan->mechanism->info.can & FV_CAN_BACKWARD))
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" has no backward", plan->mechanism->info.name);
    if (!fv__attn_wants_backward(plan)) /* what only a backward needs was not announced when planning */
        return fv__fail(FV_USAGE, "attention: no gradient was planned\n  try:     announce what is wanted in d");
    FV_TRY(fv__attn_start(&run, plan, call, x, true));
    FV_TRY(check_scratch(plan, true, scratch));
    dispatch(&run, true, scratch);
    return FV_OK;
}

fv_status fv_attention_reference(const fv_attention_plan *plan, const fv_attention_call *call,
                                 const fv_attention_tensors *x) {
    fv__run run;
    FV_TRY(fv__attn_start(&run, plan, call, x, false));
    plan->mechanism->reference(&run);
    return FV_OK;
}

fv_status fv_attention(const fv_attention_options *options, const fv_attention_call *call,
                       const fv_attention_tensors *x) {
    fv_attention_plan *plan;
    FV_TRY(fv_attention_plan_create(&plan, options, x));
    const bool backward = fv__attn_wants_backward(plan);
    size_t bytes = fv_attention_scratch(plan, false), more = backward ? fv_attention_scratch(plan, true) : 0;
    void *scratch = fv__alloc(bytes > more ? bytes : more);
    fv_status status = scratch ? fv_attention_forward(plan, call, x, scratch) : FV_NO_RESOURCES;
    if (status == FV_OK && backward) status = fv_attention_backward(plan, call, x, scratch);
    fv__free(scratch);
    fv_attention_plan_free(plan);
    return status;
}
