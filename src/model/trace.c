/* Traces: one text through a model with everything kept, for looking and explaining. Attention weights are
 * recomputed from the fused kernels' log-sum-exp, and only those that are asked for. */
#include "model/trace.h"
#include "data/dataset.h"

#include <string.h>

/* ---- neural kinds */

static fv_status encode(fv__trace *t, const fv_model *model, fv_texts one) {
    fv_batch_options how = {.batch_size = 1, .bucket = 1};
    FV_TRY(fv__texts_check(one));
    FV_TRY(fv__model_corpus(&t->corpus, model, &(fv_dataset){.texts = one}));
    t->open.cut = t->corpus->cut > 0;
    FV_TRY(fv_batches_create(&t->batches, t->corpus, &how));
    return fv__run_create(&t->run, model);
}

static fv_status forward(fv__trace *t) {
    fv_cursor cursor = {0};
    fv_batch batch;
    FV_TRY(fv_batches_next(t->batches, &batch, &cursor));
    memset(&t->nodes, 0, sizeof t->nodes);
    fv__run_begin(&t->run, FV_MODE_TRACE, 0);
    t->open.model->kind->build(&t->run, &batch, &t->nodes);
    return fv_graph_status(t->run.graph);
}

/* ---- tokens: what the model read, with their places in the text */

/* Neural kinds read [CLS] in front, at most max-length tokens, and one unknown token instead of nothing; those that are
 * not in the text have the range 0..0. */
static fv_status keep_tokens(fv__trace *t, const fv_tokens *all) {
    const int32_t *read = t->corpus ? t->corpus->id : all->id;
    int64_t count = t->corpus ? t->corpus->start[1] : all->count;
    /* The id does not tell what is in front: a text may hold "[CLS]" itself. */
    int64_t in_front = t->corpus && (fv__adds_cls(&t->open.model->options) || all->count == 0);
    t->token_memory = fv__alloc_array((size_t)count, 4 * sizeof *t->token_memory);
    if (!t->token_memory) return FV_NO_RESOURCES;
    int32_t *id = t->token_memory;
    t->tokens =
        (fv_tokens){.count = count, .id = id, .start = id + count, .end = id + 2 * count, .word = id + 3 * count};
    for (int64_t i = 0; i < count; i++) {
        bool added = i < in_front;
        id[i] = read[i];
        t->tokens.start[i] = added ? 0 : all->start[i - in_front];
        t->tokens.end[i] = added ? 0 : all->end[i - in_front];
        t->tokens.word[i] = added ? -1 : all->word[i - in_front];
    }
    return FV_OK;
}

static fv_status read_text(fv__trace *t, const fv_model *model, const char *text, size_t size) {
    fv_tokens all = {0};
    fv_status status = fv_tokenizer_encode(model->tokenizer, &all, text, size);
    if (status == FV_OK && model->kind->fit) status = fv__features_find(&t->found, model, &all, text);
    if (status == FV_OK) status = keep_tokens(t, &all);
    fv_tokens_free(&all);
    return status;
}

/* ---- both */

fv_status fv__trace_keep_outputs(fv__trace *t, const float *output) {
    int64_t outputs = t->open.outputs;
    t->output = fv__alloc_array((size_t)outputs, 2 * sizeof *t->output);
    if (!t->output) return FV_NO_RESOURCES;
    float *answer = t->output + outputs;
    memcpy(t->output, output, (size_t)outputs * sizeof *output);
    fv__answers(answer, output, &t->open.model->target);
    FV_TRY(fv__check_outputs(t->open.model, t->output, 2 * outputs));
    for (int64_t c = 1; c < outputs; c++)
        if (answer[c] > answer[t->open.predicted]) t->open.predicted = c;
    t->open.output = t->output, t->open.answer = answer;
    return FV_OK;
}

static fv_status keep_pool(fv__trace *t) {
    const fv_node *weights = t->nodes.pooling_weights;
    const fv_model *model = t->open.model;
    const char *pool = model->options.pooling;
    bool mean = model->kind->mean_pooled || (pool && strcmp(pool, "mean") == 0);
    bool cls = fv__adds_cls(&model->options);
    int64_t count = t->tokens.count;
    if (!weights && !mean && !cls) return FV_OK;
    t->pooling_weights = fv__alloc_array((size_t)count, sizeof *t->pooling_weights);
    if (!t->pooling_weights) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < count; i++) {
        fv_tensor value = weights ? fv_node_value(weights) : (fv_tensor){0};
        if (weights)
            t->pooling_weights[i] = (float)fv_tensor_get(&value, (int64_t[]){i, 0});
        else
            t->pooling_weights[i] = mean ? 1 / (float)count : (float)(i == 0);
    }
    t->open.pooling_weights = t->pooling_weights;
    return FV_OK;
}

static fv_status trace_network(fv__trace *t, const fv_model *model, fv_texts one) {
    FV_TRY(encode(t, model, one));
    FV_TRY(read_text(t, model, one.text[0], one.size[0]));
    FV_TRY(forward(t));
    fv_tensor output = fv_node_value(t->nodes.output);
    FV_TRY(fv__trace_keep_outputs(t, output.data));
    FV_TRY(keep_pool(t));
    if (!(model->kind->info.can & FV_MODEL_HAS_ATTENTION)) return FV_OK;
    t->open.layers = fv_graph_attention_count(t->run.graph);
    t->open.heads = t->open.layers ? model->options.heads : 0;
    return FV_OK;
}

static fv_status trace_counts(fv__trace *t, const fv_model *model, fv_texts one) {
    FV_TRY(read_text(t, model, one.text[0], one.size[0]));
    FV_TRY(fv__features_count(&t->features, model, one));
    fv__features_weigh(&t->features, fv_params_get(model->params, FV__SCALE).value.data);
    float *output = fv__alloc_array((size_t)model->target.outputs, sizeof *output);
    if (!output) return FV_NO_RESOURCES;
    fv__features_score(output, &t->features, fv_params_get(model->params, FV__WEIGHT).value.data,
                       fv_params_get(model->params, FV__BIAS).value.data, model->target.outputs);
    fv_status status = fv__trace_keep_outputs(t, output);
    fv__free(output);
    return status;
}

static fv_status trace_text(fv__trace *t, const fv_model *model, size_t size) {
    fv_texts one = {1, (const char *const *)&t->text, &size};
    if (model->kind->blends) return fv__trace_blend(t, t->text, size);
    return model->kind->build ? trace_network(t, model, one) : trace_counts(t, model, one);
}

fv_status fv_model_trace(fv_trace **out, const fv_model *model, const char *text, size_t size) {
    *out = NULL;
    fv__trace *t = fv__alloc(sizeof *t);
    if (!t) return FV_NO_RESOURCES;
    t->open = (fv_trace){.model = model, .outputs = model->target.outputs, .tokens = &t->tokens, .store = t};
    t->target = -1;
    t->text = fv__alloc(size + 1);
    fv_status status = t->text ? FV_OK : FV_NO_RESOURCES;
    if (status == FV_OK) {
        memcpy(t->text, text, size);
        t->open.text = t->text;
        status = trace_text(t, model, size);
    }
    if (status == FV_OK)
        *out = &t->open;
    else
        fv_trace_free(&t->open);
    return status;
}

void fv_trace_free(fv_trace *trace) {
    if (!trace) return;
    fv__trace *t = trace->store;
    for (int i = 0; i < t->members; i++) fv_trace_free(t->member[i]);
    fv__run_free(&t->run);
    fv_batches_free(t->batches);
    fv_corpus_free(t->corpus);
    fv__occurrences_free(&t->found);
    fv__counts_free(&t->features);
    fv__free(t->token_memory);
    fv__free(t->text);
    fv__free(t->output);
    fv__free(t->pooling_weights);
    fv__free(t);
}

/* ---- attention */

static fv_status find_record(const fv_trace *trace, int64_t layer, int64_t head, const int64_t *rows, int64_t count,
                             fv_attention_record *record) {
    int64_t tokens = trace->tokens->count;
    if (layer < 0 || layer >= trace->layers || head < 0 || head >= trace->heads)
        return fv__fail(FV_USAGE,
                        "trace: layer and head\n  expected 0 or more, below %lld and %lld\n  found:   %lld and %lld",
                        (long long)trace->layers, (long long)trace->heads, (long long)layer, (long long)head);
    for (int64_t i = 0; rows && i < count; i++)
        if (rows[i] < 0 || rows[i] >= tokens)
            return fv__fail(FV_USAGE, "trace: row\n  expected 0 to %lld\n  found:   %lld", (long long)tokens - 1,
                            (long long)rows[i]);
    return fv_graph_attention(fv__trace_shown(trace)->store->run.graph, (int)layer, record);
}

fv_status fv_trace_weights(const fv_trace *trace, fv_capture capture, int64_t layer, int64_t head, const int64_t *rows,
                           int64_t count, float *out) {
    fv_attention_record record;
    FV_TRY(find_record(trace, layer, head, rows, count, &record));
    if (!rows) count = trace->tokens->count;
    fv_tensor weights = fv_tensor_2d(out, FV_F32, count, trace->tokens->count);
    return fv_attention_weights(record.plan, &record.call, &record.x, capture, 0, head, rows, count, &weights);
}

/* The gradient of weight (i, j) is the dot product of the output's gradient at i and the value at j. */
fv_status fv_trace_weight_gradients(const fv_trace *trace, int64_t layer, int64_t head, const int64_t *rows,
                                    int64_t count, float *out) {
    fv_attention_record record;
    FV_TRY(find_record(trace, layer, head, rows, count, &record));
    const fv_tensor *gradient = &record.x.d[FV_OUT], *value = &record.x.t[FV_V];
    int64_t tokens = trace->tokens->count, head_dim = value->dim[3], group = trace->heads / value->dim[1];
    if (trace->store->target < 0 || !gradient->data)
        return fv__fail(FV_USAGE, "no gradients yet\n  try:     fv_trace_backward first");
    const float *dout = (const float *)gradient->data + head * gradient->stride[1];
    const float *v = (const float *)value->data + head / group * value->stride[1];
    for (int64_t r = 0; r < (rows ? count : tokens); r++)
        for (int64_t j = 0; j < tokens; j++) {
            const float *a = dout + (rows ? rows[r] : r) * gradient->stride[2], *b = v + j * value->stride[2];
            double sum = 0;
            for (int64_t d = 0; d < head_dim; d++) sum += (double)a[d * gradient->stride[3]] * b[d * value->stride[3]];
            out[r * tokens + j] = (float)sum;
        }
    return FV_OK;
}

/* ---- gradients and contributions */

fv_status fv_trace_backward(fv_trace *trace, int64_t index) {
    fv__trace *t = trace->store;
    if (index < 0 || index >= trace->outputs)
        return fv__fail(FV_USAGE, "trace: output\n  expected 0 to %lld\n  found:   %lld", (long long)trace->outputs - 1,
                        (long long)index);
    if (t->members) FV_TRY(fv__trace_blend_backward(t, index));
    if (trace->model->kind->build) {
        FV_TRY(forward(t)); /* a graph goes backward once */
        fv_node *chosen = fv_op_sum(t->run.graph, fv_op_slice(t->run.graph, t->nodes.output, 1, index, 1));
        FV_TRY(fv_graph_backward(t->run.graph, chosen, NULL));
    }
    t->target = index;
    return FV_OK;
}

static void network_contributions(const fv__trace *t, float *out) {
    fv_tensor x = fv_node_value(t->nodes.input), dx = fv_node_grad(t->nodes.input);
    const fv__target *target = &t->open.model->target;
    double unit = target->type == FV_TARGET_REAL ? target->scale : 1; /* of the output, in those of the answer */
    for (int64_t i = 0; i < x.dim[0]; i++) {
        double sum = 0;
        for (int64_t d = 0; dx.data && d < x.dim[1]; d++)
            sum += fv_tensor_get(&x, (int64_t[]){i, d}) * fv_tensor_get(&dx, (int64_t[]){i, d});
        out[i] = (float)(sum * unit);
    }
}

/* What feature f adds to the target beyond what it adds to the average class; to a number there is no average. */
static double advantage(const fv_model *model, int32_t f, int64_t target) {
    const float *weight = fv_params_get(model->params, FV__WEIGHT).value.data;
    int64_t features = fv__feature_count(model);
    double mean = 0;
    if (model->target.type == FV_TARGET_REAL) return weight[f] * model->target.scale;
    for (int32_t c = 0; c < model->target.outputs; c++) mean += weight[c * features + f];
    return weight[target * features + f] - mean / model->target.outputs;
}

static int64_t find_column(const fv__counts *x, int32_t feature) {
    int64_t low = 0, high = x->start[1];
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (x->column[middle] <= feature)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* A feature's value is shared out over its occurrences, and each over its words. */
static fv_status counting_contributions(const fv__trace *t, float *out) {
    const fv_model *model = t->open.model;
    const fv__counts *x = &t->features;
    int64_t *times = fv__alloc_array((size_t)x->start[1], sizeof *times);
    if (!times) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < t->tokens.count; i++) out[i] = 0;
    for (int64_t k = 0; k < t->found.count; k++) times[find_column(x, t->found.item[k].feature)]++;
    for (int64_t k = 0; k < t->found.count; k++) {
        const fv__occurrence *at = &t->found.item[k];
        int64_t i = find_column(x, at->feature);
        double share = x->value[i] * advantage(model, at->feature, t->target) / (double)(times[i] * at->length);
        for (int32_t n = 0; n < at->length; n++) out[at->first + n] += (float)share;
    }
    fv__free(times);
    return FV_OK;
}

fv_status fv_trace_contributions(const fv_trace *trace, float *out) {
    const fv__trace *t = trace->store;
    if (t->target < 0) return fv__fail(FV_USAGE, "no gradients yet\n  try:     fv_trace_backward first");
    if (t->members) return fv__trace_blend_contributions(t, out);
    if (trace->model->kind->fit) return counting_contributions(t, out);
    network_contributions(t, out);
    return FV_OK;
}
