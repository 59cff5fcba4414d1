/* A model as an object: making one, asking it what it is, freeing it. */
#include "model/model.h"
#include "grad/graph.h"
#include "io/tensor_file.h"
#include "model/blend.h"
#include "model/features.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- making */

static fv_status copy_classes(fv_model *model, fv_classes classes) {
    if (classes.count < 2)
        return fv__fail(FV_BAD_DATA, "a classifier needs at least two classes\n  found:   %d", (int)classes.count);
    const char **name = fv__alloc_array((size_t)classes.count, sizeof *name);
    if (!name) return FV_NO_RESOURCES;
    model->target.classes = (fv_classes){classes.count, name};
    for (int32_t c = 0; c < classes.count; c++)
        if (!(name[c] = fv__strdup(classes.name[c]))) return FV_NO_RESOURCES;
    return FV_OK;
}

static fv_status copy_target(fv_model *model, const fv__target *target) {
    model->target = *target;
    model->target.classes = (fv_classes){0};
    model->sizes.outputs = target->outputs;
    if (!(model->target.task = fv__strdup(target->task))) return FV_NO_RESOURCES;
    return target->type == FV_TARGET_CLASS ? copy_classes(model, target->classes) : FV_OK;
}

static void free_target(fv__target *target) {
    for (int32_t c = 0; c < target->classes.count; c++) fv__free((void *)(uintptr_t)target->classes.name[c]);
    fv__free((void *)(uintptr_t)target->classes.name);
    fv__free((void *)(uintptr_t)target->task);
}

/* ngrams -1: still to be fitted. */
static fv_status make_count_based(fv_model *model, int64_t ngrams, const fv_tensor_file *weights) {
    fv_tensor shape = fv_tensor_2d(NULL, FV_I32, ngrams, 2), found;
    model->sizes.ngrams = ngrams > 0 ? ngrams : 0;
    if (ngrams < 0) return FV_OK;
    if (weights && ngrams > 0) FV_TRY(fv__tensor_file_need(weights, "grams", &shape, &found));
    model->ngram = fv__alloc_array((size_t)ngrams, 2 * sizeof *model->ngram);
    return model->ngram ? model->kind->make(model) : FV_NO_RESOURCES;
}

static fv_status fill(fv_model *model, const fv_model_options *options, const fv__target *target, int64_t ngrams,
                      const fv_tensor_file *weights) {
    FV_TRY(fv_model_options_check(options));
    FV_TRY(fv__options_copy(&model->options, options));
    FV_TRY(copy_target(model, target));
    FV_TRY(fv_params_create(&model->params, FV_F32, model->seed));
    if (model->kind->blends) return (model->blend = fv__alloc(sizeof *model->blend)) ? FV_OK : FV_NO_RESOURCES;
    fv__params_expect(model->params, weights);
    FV_TRY(model->kind->build ? model->kind->make(model) : make_count_based(model, ngrams, weights));
    fv__params_expect(model->params, NULL);
    return FV_OK;
}

static fv_status create(fv_model **out, const fv_model_options *options, const fv__target *target,
                        fv_tokenizer *tokenizer, int64_t ngrams, uint64_t seed, const fv_tensor_file *weights) {
    *out = NULL;
    fv_model *model = fv__alloc(sizeof *model);
    if (!model) {
        fv_tokenizer_free(tokenizer);
        return FV_NO_RESOURCES;
    }
    model->kind = (const fv__kind *)fv_model_kind_find(options->kind);
    model->tokenizer = tokenizer;
    model->sizes.vocabulary = tokenizer ? fv_tokenizer_size(tokenizer) : 0;
    model->embed_table = -1;
    model->seed = seed;
    fv_status status = fill(model, options, target, ngrams, weights);
    if (status != FV_OK) {
        fv_model_free(model);
        return status;
    }
    *out = model;
    return FV_OK;
}

fv_status fv__model_create(fv_model **out, const fv_model_options *options, const fv__target *target,
                           fv_tokenizer *tokenizer, int64_t ngrams, uint64_t seed) {
    return create(out, options, target, tokenizer, ngrams, seed, NULL);
}

fv_status fv__model_create_for(fv_model **out, const fv_model_options *options, const fv__target *target,
                               fv_tokenizer *tokenizer, int64_t ngrams, const fv_tensor_file *weights) {
    return create(out, options, target, tokenizer, ngrams, 0, weights);
}

void fv_model_free(fv_model *model) {
    if (!model) return;
    free_target(&model->target);
    fv__options_free(&model->options);
    fv_tokenizer_free(model->tokenizer);
    fv_params_free(model->params);
    fv__map_free(model->ngram_index);
    fv__free(model->ngram);
    fv__free(model->term);
    fv__free(model->network);
    fv__blend_free(model->blend);
    fv__free(model);
}

fv_status fv__model_fill_vectors(fv_model *model, const fv_vectors *vectors) {
    if (model->embed_table < 0 || vectors->dim != model->options.d_model)
        return fv__fail(FV_USAGE,
                        "word vectors do not fit\n  expected d-model %lld, their dimension\n  found:   %lld\n  try:    "
                        " --d-model %lld",
                        (long long)vectors->dim, (long long)model->options.d_model, (long long)vectors->dim);
    float *table = fv_params_get(model->params, model->embed_table).value.data;
    int64_t found = fv_vectors_fill(vectors, model->tokenizer, table);
    fv__log(FV_LOG_INFO, "%lld of %d words start from word vectors", (long long)found, (int)model->sizes.vocabulary);
    return FV_OK;
}

/* ---- asking */

const fv_model_kind *fv_model_kind_of(const fv_model *model) { return &model->kind->info; }
const fv_model_options *fv_model_options_of(const fv_model *model) { return &model->options; }
const char *fv_model_task_of(const fv_model *model) { return model->target.task; }
fv_target_type fv_model_target(const fv_model *model) { return model->target.type; }
int64_t fv_model_outputs(const fv_model *model) { return model->target.outputs; }

const fv_tokenizer *fv_model_tokenizer(const fv_model *model) {
    int shown = model->blend ? fv__blend_shown(model) : -1;
    return shown < 0 ? model->tokenizer : model->blend->member[shown].model->tokenizer;
}

fv_classes fv_model_classes(const fv_model *model) { return model->target.classes; }

static bool has_ngrams(const fv_model *model) { return model->kind->fit && model->sizes.ngrams > 0; }

int fv_model_member_count(const fv_model *model) { return model->blend ? model->blend->count : 0; }

const fv_model *fv_model_member(const fv_model *model, int index, const char **name, double *weight) {
    if (index < 0 || index >= fv_model_member_count(model)) return NULL;
    const fv__member *member = &model->blend->member[index];
    if (name) *name = member->name;
    if (weight) *weight = member->weight;
    return member->model;
}

int64_t fv_model_parameters(const fv_model *model) {
    int64_t count = fv_params_elements(model->params, false);
    for (int i = 0; i < fv_model_member_count(model); i++) count += fv_model_parameters(model->blend->member[i].model);
    return count;
}

size_t fv_model_tensor_count(const fv_model *model) {
    if (model->blend) return model->blend->tensors;
    return (size_t)fv_params_count(model->params) + has_ngrams(model);
}

fv_tensor fv_model_tensor(const fv_model *model, size_t index, const char **name) {
    const char *unused;
    if (!name) name = &unused;
    if (model->blend) return fv__blend_tensor(model, index, name);
    if (index < (size_t)fv_params_count(model->params)) {
        fv_param param = fv_params_get(model->params, (int)index);
        *name = param.name;
        return param.value;
    }
    *name = "grams";
    if (!has_ngrams(model) || index >= fv_model_tensor_count(model)) return (fv_tensor){0};
    return fv_tensor_2d(model->ngram, FV_I32, model->sizes.ngrams, 2);
}

/* What is particular to this model: its options, or its members with their weights. */
static void describe_parts(fv__buf *line, const fv_model *model) {
    char value[128];
    for (const fv_option *row = model->kind->info.options; row->name; row++) {
        if (row->flags & FV_OPTION_LOCAL) continue;
        fv_options_print(row, &model->options, value, sizeof value);
        fv__buf_printf(line, "%s %s, ", row->name, value);
    }
    for (int i = 0; i < fv_model_member_count(model); i++)
        fv__buf_printf(line, "%s %.2f, ", model->blend->member[i].name, model->blend->member[i].weight);
    if (!model->blend) fv__buf_printf(line, "%d tokens, ", (int)model->sizes.vocabulary);
}

size_t fv_model_describe(const fv_model *model, char *text, size_t size) {
    fv__buf line = {0};
    fv__buf_printf(&line, "%s: ", model->kind->info.name);
    describe_parts(&line, model);
    if (model->target.type == FV_TARGET_CLASS) fv__buf_printf(&line, "%d classes, ", (int)model->target.classes.count);
    fv__buf_printf(&line, "%lld parameters", (long long)fv_model_parameters(model));
    size_t length = line.failed ? 0 : line.size;
    if (size > 0) snprintf(text, size, "%s", line.failed ? "" : line.data);
    fv__buf_free(&line);
    return length;
}

static double largest_of(const fv_tensor *t) {
    const float *value = t->data;
    double most = 0;
    for (int64_t i = 0; i < fv_tensor_count(t); i++) most = fmax(most, fabs((double)value[i]));
    return most;
}

static fv_status not_finite(const fv_model *model) {
    const char *name = "";
    double most = 0;
    for (int i = 0; i < fv_params_count(model->params); i++) {
        fv_param p = fv_params_get(model->params, i);
        double here = largest_of(&p.value);
        if (here > most) most = here, name = p.name;
    }
    return fv__fail(FV_BAD_MODEL,
                    "the model gives no finite answer\n  expected weights that the arithmetic in f32 can bear\n"
                    "  found:   weights up to %.3g in tensor \"%s\"\n  try:     the last good copy of the model",
                    most, name);
}

fv_status fv__check_outputs(const fv_model *model, const float *output, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(output[i])) return not_finite(model);
    return FV_OK;
}

void fv__answers(float *answer, const float *output, const fv__target *target) {
    if (target->type == FV_TARGET_REAL)
        *answer = (float)(target->mean + target->scale * (double)*output);
    else
        fv__probabilities(answer, output, target->outputs);
}

void fv__probabilities(float *probability, const float *logit, int64_t classes) {
    float most = -INFINITY; /* in double, with fmax, gcc 12 for AArch64 ends in an internal error */
    double sum = 0;
    for (int64_t c = 0; c < classes; c++) most = fmaxf(most, logit[c]);
    for (int64_t c = 0; c < classes; c++) sum += exp((double)logit[c] - most);
    for (int64_t c = 0; c < classes; c++) probability[c] = (float)(exp((double)logit[c] - most) / sum);
}
