/* Looking at the weights after a forward: whole rows, or a survey of all of them. Checks first, then the mechanism. */
#include "attn/attn.h"

#include <stdio.h>
#include <string.h>

/* ---- whole rows */

static fv_status check_lse(const fv_attention_plan *plan, const fv_attention_tensors *x, const char *what) {
    if (plan->shape[FV_LSE].rank && !x->t[FV_LSE].rank)
        return fv__fail(FV_USAGE, "attention: %s need \"lse\" of the forward", what);
    if (!plan->shape[FV_LSE].rank && fv__attn_has_lse(plan))
        return fv__fail(FV_USAGE, "attention: %s need \"lse\"\n  try:     announce it when planning", what);
    return FV_OK;
}

static fv_status check_weights(const fv_attention_plan *plan, const fv_attention_tensors *x, fv_stage stage,
                               int64_t batch, int64_t head, const int64_t *rows, int64_t count,
                               const fv_tensor *weights) {
    const char *name = plan->mechanism->info.name;
    if (!plan->mechanism->weights)
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" has no weights to show", name);
    if ((unsigned)stage > FV_STAGE_DROPOUT)
        return fv__fail(FV_USAGE, "attention: weights of stage %d\n  expected one of fv_stage", (int)stage);
    FV_TRY(fv__attn_check_run(plan, x, false));
    if (stage >= FV_STAGE_SOFTMAX) FV_TRY(check_lse(plan, x, "weights"));
    if (batch < 0 || batch >= plan->sequences || head < 0 || head >= plan->heads)
        return fv__fail(FV_USAGE, "attention: weights of batch %lld, head %lld\n  expected below %lld and %lld",
                        (long long)batch, (long long)head, (long long)plan->sequences, (long long)plan->heads);
    if (count < 0) return fv__fail(FV_USAGE, "attention: weights of %lld rows", (long long)count);
    const fv__segment segment = fv__attn_segment(plan, x, batch);
    for (int64_t i = 0; i < count; i++)
        if (rows[i] < 0 || rows[i] >= segment.q_len)
            return fv__fail(FV_USAGE, "attention: weights of row %lld\n  expected 0 to %lld", (long long)rows[i],
                            (long long)segment.q_len - 1);
    if (weights->rank != 2 || weights->dim[0] < count || weights->dim[1] < segment.k_len ||
        weights->dtype != plan->dtype)
        return fv__fail(FV_USAGE, "attention: the tensor for weights\n  expected (%lld, %lld) of dtype %s",
                        (long long)count, (long long)plan->k_len, fv_dtype_name(plan->dtype));
    if (!weights->data && fv_tensor_count(weights) > 0)
        return fv__fail(FV_USAGE, "attention: the tensor for weights is without data");
    return FV_OK;
}

/* A bias of 16 bits is converted a row at a time: its plane is as large as the weights of the whole sequence. */
static void rows_with_bias(const fv_attention_plan *plan, fv_attention_tensors *y, const fv_tensor *bias,
                           fv_stage stage, int64_t batch, int64_t head, const int64_t *rows, int64_t count,
                           const fv_tensor *weights, void *memory) {
    const fv__segment s = fv__attn_segment(plan, y, batch);
    const int64_t n = bias->dim[3], at[3] = {s.batch, head, 0};
    for (int64_t i = 0; i < count; i++) {
        fv_tensor row = *bias, to = *weights;
        for (int a = 0; a < 3; a++)
            row = fv_tensor_slice(row, a, bias->dim[a] == 1 ? 0 : a < 2 ? at[a] : s.q_start + rows[i], 1);
        y->t[FV_BIAS] = fv_tensor_of(memory, FV_F32, 4, (int64_t[]){1, 1, 1, n});
        fv_tensor_copy(&y->t[FV_BIAS], &row);
        to.data = (char *)to.data + i * to.stride[0] * (int64_t)sizeof(float);
        plan->mechanism->weights(plan, y, stage, batch, head, rows + i, 1, &to);
    }
}

static fv_status half_weights(const fv_attention_plan *plan, const fv_attention_tensors *x, fv_stage stage,
                              int64_t batch, int64_t head, const int64_t *rows, int64_t count,
                              const fv_tensor *weights) {
    const fv_tensor *bias = &x->t[FV_BIAS];
    const bool half_bias = bias->rank && fv__attn_is_half(bias->dtype);
    fv_attention_plan apart = *plan; /* in which such a bias does not count */
    fv_attention_tensors rest = *x, y;
    if (half_bias) apart.shape[FV_BIAS].rank = rest.t[FV_BIAS].rank = 0;
    const size_t bytes = fv__stage_inputs_bytes(&apart, true);
    char *memory = fv__alloc(bytes + (half_bias ? (size_t)bias->dim[3] * sizeof(float) : 0));
    if (!memory) return FV_NO_RESOURCES;
    fv__stage_inputs(&apart, &rest, batch, head, &y, memory);
    if (half_bias)
        rows_with_bias(plan, &y, bias, stage, batch, head, rows, count, weights, memory + bytes);
    else
        plan->mechanism->weights(plan, &y, stage, batch, head, rows, count, weights);
    fv__free(memory);
    return FV_OK;
}

fv_status fv_attention_weights(const fv_attention_plan *plan, const fv_attention_tensors *x, fv_stage stage,
                               int64_t batch, int64_t head, const int64_t *rows, int64_t count,
                               const fv_tensor *weights) {
    FV_TRY(check_weights(plan, x, stage, batch, head, rows, count, weights));
    if (stage == FV_STAGE_DROPOUT && plan->options.dropout == 0) stage = FV_STAGE_SOFTMAX;
    if (plan->storage != plan->dtype) return half_weights(plan, x, stage, batch, head, rows, count, weights);
    plan->mechanism->weights(plan, x, stage, batch, head, rows, count, weights);
    return FV_OK;
}

/* ---- surveys */

/* "softmax, window, additive" */
static const char *who_can(char *text, size_t size) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < fv_mechanism_count() && used < size; i++) {
        const fv__mechanism *m = (const fv__mechanism *)fv_mechanism_at(i);
        if (m->survey) used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", m->info.name);
    }
    return text;
}

static fv_status check_output(const fv_attention_plan *plan, const fv_tensor *t, const char *name, int rank,
                              const int64_t *need) {
    bool fits = t->rank == rank && t->dim[0] == need[0] && t->dim[1] == need[1] && t->dtype == plan->dtype;
    for (int a = 2; fits && a < rank; a++) fits = t->dim[a] >= need[a];
    if (fits && (t->data || fv_tensor_count(t) == 0)) return FV_OK;
    char found[128], wanted[128];
    const fv_tensor want = fv_tensor_of(NULL, plan->dtype, rank, need);
    fv_tensor_describe(t, found, sizeof found);
    fv_tensor_describe(&want, wanted, sizeof wanted);
    return fv__fail(FV_USAGE, "attention: survey, tensor \"%s\"\n  expected %s, or longer last axes\n  found:   %s%s",
                    name, wanted, found, fits ? " without data" : "");
}

static bool any_block(const fv_survey *want) { return want->mean.rank || want->max.rank; }

/* What does not depend on the values of lengths. */
static fv_status check_wishes(const fv_attention_plan *plan, const fv_survey *want) {
    char text[256];
    if (!plan->mechanism->survey)
        return fv__fail(FV_USAGE,
                        "attention: mechanism \"%s\" has no survey: its weights do not follow from lse tile by tile\n"
                        "  expected one of %s",
                        plan->mechanism->info.name, who_can(text, sizeof text));
    if (!plan->shape[FV_LSE].rank)
        return fv__fail(FV_USAGE, "attention: a survey needs \"lse\"\n  try:     announce it when planning");
    if (want->batch < -1 || want->batch >= plan->sequences || want->head < -1 || want->head >= plan->heads)
        return fv__fail(
            FV_USAGE, "attention: survey of batch %lld, head %lld\n  expected below %lld and %lld, -1 for all",
            (long long)want->batch, (long long)want->head, (long long)plan->sequences, (long long)plan->heads);
    const int64_t far = INT64_C(1) << 48;
    if (any_block(want) && (want->pool_q < 1 || want->pool_k < 1 || want->pool_q > far || want->pool_k > far))
        return fv__fail(FV_USAGE, "attention: survey, blocks of %lld x %lld\n  expected 1 or more, up to 2^48",
                        (long long)want->pool_q, (long long)want->pool_k);
    if (!any_block(want) && !want->columns.rank && !want->entropy.rank)
        return fv__fail(FV_USAGE, "attention: survey\n  expected a tensor for mean, max, columns or entropy");
    return FV_OK;
}

static fv_status check_survey(const fv_attention_plan *plan, const fv_attention_tensors *x, const fv_survey *want) {
    const int64_t first = want->batch >= 0 ? want->batch : 0, sequences = want->batch >= 0 ? 1 : plan->sequences;
    const int64_t heads = want->head >= 0 ? 1 : plan->heads;
    int64_t q_len = 0, k_len = 0;
    for (int64_t n = first; n < first + sequences; n++) {
        const fv__segment s = fv__attn_segment(plan, x, n);
        if (s.q_len > q_len) q_len = s.q_len;
        if (s.k_len > k_len) k_len = s.k_len;
    }
    const int64_t bq = any_block(want) ? (q_len + want->pool_q - 1) / want->pool_q : 0,
                  bk = any_block(want) ? (k_len + want->pool_k - 1) / want->pool_k : 0;
    const int64_t blocks[4] = {sequences, heads, bq, bk};
    if (want->mean.rank) FV_TRY(check_output(plan, &want->mean, "mean", 4, blocks));
    if (want->max.rank) FV_TRY(check_output(plan, &want->max, "max", 4, blocks));
    const bool all = want->batch < 0;
    const int64_t columns[3] = {all ? plan->batch : 1, heads, all && plan->packed ? plan->k_len : k_len},
                  rows[3] = {all ? plan->batch : 1, heads, all ? plan->q_len : q_len};
    if (want->columns.rank) FV_TRY(check_output(plan, &want->columns, "columns", 3, columns));
    if (want->entropy.rank) FV_TRY(check_output(plan, &want->entropy, "entropy", 3, rows));
    return FV_OK;
}

size_t fv_attention_survey_scratch(const fv_attention_plan *plan, const fv_survey *want) {
    if (check_wishes(plan, want) != FV_OK) return 0;
    const bool one = want->batch >= 0 && want->head >= 0;
    const size_t staged = plan->storage != plan->dtype ? fv__stage_inputs_bytes(plan, one) : 0;
    return staged + plan->mechanism->survey_scratch(plan, want) + 64;
}

fv_status fv_attention_survey(const fv_attention_plan *plan, const fv_attention_tensors *x, const fv_survey *want,
                              void *scratch) {
    FV_TRY(check_wishes(plan, want));
    FV_TRY(fv__attn_check_run(plan, x, false));
    if (!x->t[FV_LSE].rank) return check_lse(plan, x, "surveys");
    FV_TRY(check_survey(plan, x, want));
    if (!scratch)
        return fv__fail(FV_USAGE, "attention: no scratch\n  expected %zu bytes, see fv_attention_survey_scratch",
                        fv_attention_survey_scratch(plan, want));
    fv_attention_tensors y = *x;
    char *at = fv__attn_aligned(scratch);
    if (plan->storage != plan->dtype) {
        fv__stage_inputs(plan, x, want->batch, want->head, &y, at);
        at += fv__stage_inputs_bytes(plan, want->batch >= 0 && want->head >= 0);
    }
    plan->mechanism->survey(plan, &y, want, at);
    return FV_OK;
}
