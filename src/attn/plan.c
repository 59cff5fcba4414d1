/* Plans: made once, immutable, shared between threads. */
#include "attn/attn.h"

#include <stdio.h>
#include <string.h>

static const fv_attention_options standard = FV_ATTENTION_DEFAULT;

/* Well-formed, and still more than memory can hold, or than pieces of work can be counted. */
static fv_status check_extent(const fv_attention_plan *plan) {
    const int64_t rows[3] = {plan->sequences, plan->heads, plan->q_len + plan->k_len + 1};
    const bool back = fv__attn_wants_backward(plan);
    size_t count, forward = fv_attention_scratch(plan, false), backward = back ? fv_attention_scratch(plan, true) : 0;
    const size_t most = (size_t)FV_ATTN_MOST;
    const bool counts = fv__size_of(rows, 3, 1, &count);
    if (counts && forward < most && backward < most) return FV_OK;
    return fv__fail(FV_NO_RESOURCES,
                    "attention: mechanism \"%s\", %s\n  expected %s\n"
                    "  found:   more, for %lld sequences of %lld heads, %lld queries, %lld keys\n"
                    "  try:     fewer sequences or heads at a time",
                    plan->mechanism->info.name,
                    !counts           ? "rows of all sequences and heads"
                    : forward >= most ? "scratch"
                                      : "scratch of backward",
                    counts ? "less than 2^48 bytes" : "fewer than 2^63", (long long)plan->sequences,
                    (long long)plan->heads, (long long)plan->q_len, (long long)plan->k_len);
}

/* Rows without numbers take no memory, so their count says nothing about what a caller has: beyond this nothing but
 * time would be spent on them. */
static fv_status check_empty_rows(const fv_attention_plan *plan) {
    const int64_t most = INT64_C(1) << 32;
    const int64_t rows = fv__attn_times(fv__attn_times(plan->sequences, plan->heads), plan->q_len + plan->k_len);
    const int64_t pairs =
        fv__attn_times(fv__attn_times(plan->batch, plan->heads), fv__attn_times(plan->q_len, plan->k_len));
    const bool scored = plan->mechanism->info.needs & FV_OPERAND_BIT(FV_K);
    if (plan->d_qk > 0 && (plan->d_v > 0 || !scored)) return FV_OK;
    if (rows <= most && pairs <= most) return FV_OK;
    return fv__fail(
        FV_USAGE,
        "attention: mechanism \"%s\", rows of no numbers\n  expected at most 2^32 of them, and pairs of them\n"
        "  found:   %lld queries, %lld keys, head_dim %lld and %lld",
        plan->mechanism->info.name, (long long)plan->q_len, (long long)plan->k_len, (long long)plan->d_qk,
        (long long)plan->d_v);
}

fv_status fv_attention_plan_create(fv_attention_plan **out, const fv_attention_options *options,
                                   const fv_attention_tensors *shapes) {
    FV_TRY(fv__attn_need(out, "place for the plan"));
    *out = NULL;
    FV_TRY(fv__attn_need(shapes, "tensors"));
    fv_attention_plan *plan = fv__alloc(sizeof *plan);
    if (!plan) return FV_NO_RESOURCES;
    plan->options = options ? *options : standard;
    fv_status status = fv__attn_parse(plan, plan->options.mechanism);
    if (status == FV_OK) status = fv__attn_check(plan, shapes);
    if (status == FV_OK) status = check_extent(plan);
    if (status == FV_OK) status = check_empty_rows(plan);
    if (status != FV_OK) {
        fv_attention_plan_free(plan);
        return status;
    }
    plan->options.mechanism = plan->mechanism->info.name; /* the text may not outlive the call */
    *out = plan;
    return FV_OK;
}

void fv_attention_plan_free(fv_attention_plan *plan) {
    if (!plan) return;
    for (int k = 0; k < plan->children; k++) fv_attention_plan_free(plan->child[k]);
    fv__free(plan->params);
    fv__free(plan->setup);
    fv__free(plan);
}

fv_status fv__plan_child(fv_attention_plan *plan, const fv_attention_options *options,
                         const fv_attention_tensors *shapes, const fv_attention_plan **child) {
    if (plan->children == FV_ATTN_CHILDREN)
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\", parts\n  expected at most %d\n  found:   more",
                        plan->mechanism->info.name, FV_ATTN_CHILDREN);
    FV_TRY(fv_attention_plan_create(&plan->child[plan->children], options, shapes));
    *child = plan->child[plan->children++];
    return FV_OK;
}

size_t fv_attention_scratch(const fv_attention_plan *plan, bool backward) {
    if (!plan) return 0;
    size_t bytes = plan->mechanism->engine->scratch(plan, backward);
    if (backward && fv__cast_remakes_out(plan)) {
        const size_t forward = plan->mechanism->engine->scratch(plan, false);
        if (forward > bytes) bytes = forward;
    }
    if (plan->storage != plan->dtype) bytes += fv__cast_bytes(plan, backward);
    return bytes ? bytes + 64 : 0; /* run.c aligns what it is given */
}

double fv_attention_flops(const fv_attention_plan *plan, const fv_attention_call *call, bool backward) {
    static const fv_attention_call zeros;
    if (!plan || fv__attn_check_call(call) != FV_OK) return 0;
    return plan->mechanism->engine->flops(plan, call ? call : &zeros, backward);
}

static const char *size_text(size_t bytes, char *text, size_t size) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1024 && unit < 4; unit++) value /= 1024;
    fv__format(text, size, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

static void add(char *text, size_t size, const char *format, const char *word) {
    const size_t used = strlen(text);
    snprintf(text + used, size - used, format, word);
}

size_t fv_attention_plan_describe(const fv_attention_plan *plan, char *out, size_t size) {
    if (size) out[0] = '\0';
    if (!plan) return 0;
    char text[512] = "", engine[160] = "", bytes[32], more[32];
    plan->mechanism->engine->describe(plan, engine, sizeof engine);
    snprintf(text, sizeof text, "%s: %s, %d thread%s, scratch %s", plan->mechanism->info.name, engine, fv_threads(),
             fv_threads() == 1 ? "" : "s", size_text(fv_attention_scratch(plan, false), bytes, sizeof bytes));
    if (fv__attn_wants_backward(plan))
        add(text, sizeof text, " (backward %s)", size_text(fv_attention_scratch(plan, true), more, sizeof more));
    if (plan->storage != plan->dtype)
        add(text, sizeof text, ", %s tensors, f32 arithmetic", fv_dtype_name(plan->storage));
    if (plan->causal) add(text, sizeof text, ", causal %s", plan->lower_right ? "lower-right" : "upper-left");
    if (plan->window_left >= 0) add(text, sizeof text, ", %s", "window");
    if (plan->options.softcap > 0) add(text, sizeof text, ", %s", "softcap");
    if (plan->options.dropout > 0) add(text, sizeof text, ", %s", "dropout");
    if (plan->options.blocks) add(text, sizeof text, ", %s", "blocks");
    if (plan->packed) add(text, sizeof text, ", %s", "packed");
    if (plan->kv_heads != plan->heads) add(text, sizeof text, ", %s", "grouped heads");
    const fv_operand named[] = {FV_BIAS, FV_SINKS, FV_SLOPES, FV_MASK, FV_KV_LEN, FV_PREFIX_LEN};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (plan->shape[named[i]].rank) add(text, sizeof text, ", %s", fv_operand_name(named[i]));
    if (size) snprintf(out, size, "%s", text);
    return strlen(text);
}

fv_status fv_attention_operand_shape(const fv_attention_options *options, const fv_attention_tensors *shapes,
                                     fv_operand operand, fv_tensor *shape) {
    FV_TRY(fv__attn_need(shapes, "tensors"));
    FV_TRY(fv__attn_need(shape, "place for the shape"));
    fv_attention_plan plan = {.options = options ? *options : standard};
    const fv_tensor *q = &shapes->t[FV_Q];
    *shape = (fv_tensor){.dtype = q->dtype};
    fv_status status = fv__attn_parse(&plan, plan.options.mechanism);
    if (status == FV_OK && q->rank != 4)
        status = fv__fail(FV_USAGE, "attention: q\n  expected a shape (B,H,L,D)\n  found:   rank %d", q->rank);
    if (status == FV_OK) {
        memcpy(plan.shape, shapes->t, sizeof plan.shape);
        fv__attn_sizes(&plan);
        *shape = fv__attn_operand_shape(&plan, operand);
        if (!shape->rank && fv_operand_is(operand, FV_ROLE_DIFFERENTIABLE | FV_ROLE_INTEGER))
            *shape = shapes->t[operand];
    }
    fv__free(plan.params);
    return status;
}
