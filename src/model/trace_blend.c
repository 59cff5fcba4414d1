/* Traces of blends: one of each member. The tokens and the attention shown are those of one member; what the others say
 * about the text is laid over its tokens by their places in the text, whatever tokens the others read. */
#include "model/trace.h"

#include <string.h>

static fv_status trace_members(fv__trace *t, const char *text, size_t size) {
    const fv__blend *b = t->open.model->blend;
    for (int i = 0; i < b->count; i++) {
        FV_TRY(fv_model_trace(&t->member[i], b->member[i].model, text, size));
        t->members++;
    }
    return FV_OK;
}

static fv_status sum_outputs(fv__trace *t) {
    const fv__blend *b = t->open.model->blend;
    int64_t outputs = t->open.outputs;
    double *sum = fv__alloc_array((size_t)outputs, sizeof *sum);
    float *output = fv__alloc_array((size_t)outputs, sizeof *output);
    fv_status status = sum && output ? FV_OK : FV_NO_RESOURCES;
    for (int i = 0; status == FV_OK && i < b->count; i++)
        fv__blend_sum(sum, t->member[i]->answer, b->member[i].weight, outputs);
    for (int64_t c = 0; status == FV_OK && c < outputs; c++) output[c] = (float)sum[c];
    if (status == FV_OK) status = fv__trace_keep_outputs(t, output);
    fv__free(sum);
    fv__free(output);
    return status;
}

fv_status fv__trace_blend(fv__trace *t, const char *text, size_t size) {
    FV_TRY(trace_members(t, text, size));
    FV_TRY(sum_outputs(t));
    t->shown = fv__blend_shown(t->open.model);
    const fv_trace *shown = t->member[t->shown];
    t->open.tokens = shown->tokens;
    t->open.cut = shown->cut;
    t->open.layers = shown->layers, t->open.heads = shown->heads;
    t->open.pooling_weights = shown->pooling_weights;
    return FV_OK;
}

fv_status fv__trace_blend_backward(fv__trace *t, int64_t index) {
    for (int i = 0; i < t->members; i++) FV_TRY(fv_trace_backward(t->member[i], index));
    return FV_OK;
}

/* ---- contributions, laid over the tokens that are shown */

/* Bytes that token i of a and token k of b share. */
static int32_t shared_bytes(const fv_tokens *a, int64_t i, const fv_tokens *b, int64_t k) {
    int32_t from = a->start[i] > b->start[k] ? a->start[i] : b->start[k];
    int32_t to = a->end[i] < b->end[k] ? a->end[i] : b->end[k];
    return to > from ? to - from : 0;
}

/* Tokens of both stand in the order of the text. A token that covers several shares what it says by their bytes; one
 * that covers none (what the shown member did not read, or stands nowhere in the text) is left out. */
static void lay_over(float *out, const fv_tokens *shown, const fv_tokens *from, const float *value) {
    int64_t first = 0;
    for (int64_t i = 0; i < from->count; i++) {
        int32_t covered = 0;
        while (first < shown->count && shown->end[first] <= from->start[i]) first++;
        for (int64_t k = first; k < shown->count && shown->start[k] < from->end[i]; k++)
            covered += shared_bytes(from, i, shown, k);
        for (int64_t k = first; covered && k < shown->count && shown->start[k] < from->end[i]; k++)
            out[k] += value[i] * (float)shared_bytes(from, i, shown, k) / (float)covered;
    }
}

fv_status fv_trace_member_contributions(const fv_trace *trace, int index, float *out) {
    const fv__trace *t = trace->store;
    if (index < 0 || index >= t->members)
        return fv__fail(FV_USAGE, "trace: member\n  expected 0 to %d\n  found:   %d", t->members - 1, index);
    const fv_trace *member = t->member[index];
    int64_t count = member->tokens->count;
    float *value = fv__alloc_array((size_t)count, sizeof *value),
          weight = (float)trace->model->blend->member[index].weight;
    if (!value) return FV_NO_RESOURCES;
    fv_status status = fv_trace_contributions(member, value);
    memset(out, 0, (size_t)trace->tokens->count * sizeof *out);
    if (status == FV_OK && index == t->shown)
        memcpy(out, value, (size_t)count * sizeof *out); /* [CLS], too */
    else if (status == FV_OK)
        lay_over(out, trace->tokens, member->tokens, value);
    for (int64_t i = 0; status == FV_OK && i < trace->tokens->count; i++) out[i] *= weight;
    fv__free(value);
    return status;
}

fv_status fv__trace_blend_contributions(const fv__trace *t, float *out) {
    int64_t count = t->open.tokens->count;
    float *part = fv__alloc_array((size_t)count, sizeof *part);
    fv_status status = part ? FV_OK : FV_NO_RESOURCES;
    memset(out, 0, (size_t)count * sizeof *out);
    for (int i = 0; status == FV_OK && i < t->members; i++) {
        status = fv_trace_member_contributions(&t->open, i, part);
        for (int64_t k = 0; status == FV_OK && k < count; k++) out[k] += part[k];
    }
    fv__free(part);
    return status;
}
