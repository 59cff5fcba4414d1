/* Texts encoded once: token ids for neural kinds, weighted features for count-based kinds, and the targets as the model
 * numbers them. */
#include "model/blend.h"
#include "model/features.h"

#include "data/dataset.h"

#include <string.h>

bool fv__adds_cls(const fv_model_options *options) { return options->pooling && strcmp(options->pooling, "cls") == 0; }

fv_status fv__model_corpus(fv_corpus **corpus, const fv_model *model, const fv_dataset *data) {
    const fv_model_options *o = &model->options;
    fv_corpus_options how = {.max_length = o->max_length, .ngrams = o->ngrams};
    how.add_cls = fv__adds_cls(o);
    return fv_corpus_create(corpus, data, model->tokenizer, &how);
}

static fv_status encode_counts(fv_encoded *e, const fv_model *model, fv_texts texts) {
    if (!(e->counts = fv__alloc(sizeof *e->counts))) return FV_NO_RESOURCES;
    FV_TRY(fv__features_count(e->counts, model, texts));
    fv__features_weigh(e->counts, fv_params_get(model->params, FV__SCALE).value.data);
    return FV_OK;
}

/* ---- targets */

/* own[c]: what the model calls class c of the data, -1: it does not know it. Of equal names the first counts. */
static fv_status name_classes(int32_t *own, fv_classes data, fv_classes model, fv__map *number) {
    for (int32_t c = model.count; c-- > 0;) FV_TRY(fv__map_set(number, model.name[c], strlen(model.name[c]), c));
    for (int32_t c = 0; c < data.count; c++)
        own[c] = (int32_t)fv__map_get(number, data.name[c], strlen(data.name[c]), -1);
    return FV_OK;
}

static int32_t *translate_classes(fv_classes data, fv_classes model) {
    fv__map *number = NULL;
    int32_t *own = fv__alloc_array((size_t)data.count, sizeof *own);
    fv_status status = own ? fv__map_create(&number) : FV_NO_RESOURCES;
    if (status == FV_OK) status = name_classes(own, data, model, number);
    fv__map_free(number);
    if (status == FV_OK) return own;
    fv__free(own);
    return NULL;
}

static fv_status encode_labels(fv_encoded *e, const fv_model *model, const fv_dataset *data) {
    fv_classes known = model->target.classes;
    int32_t *own = translate_classes(data->classes, known);
    e->label = fv__alloc_array((size_t)e->count, sizeof *e->label);
    fv_status status = own && e->label ? FV_OK : FV_NO_RESOURCES;
    for (int64_t i = 0; status == FV_OK && i < e->count; i++) {
        e->label[i] = own[data->label[i]];
        if (e->label[i] < 0)
            status = fv__fail(
                FV_BAD_DATA,
                "line %lld: a label the model does not know\n  expected one of its %d classes\n  found:   \"%s\"",
                data->line ? (long long)data->line[i] : (long long)i + 1, (int)known.count,
                data->classes.name[data->label[i]]);
    }
    fv__free(own);
    return status;
}

static fv_status encode_numbers(fv_encoded *e, const fv_dataset *data) {
    e->number = fv__alloc_array((size_t)e->count, sizeof *e->number);
    if (!e->number) return FV_NO_RESOURCES;
    if (e->count) memcpy(e->number, data->number, (size_t)e->count * sizeof *e->number);
    return FV_OK;
}

/* ---- all kinds */

static fv_status encode_texts(fv_encoded *e, const fv_model *model, fv_texts texts) {
    if (model->kind->blends) return fv__blend_encode(e, model, texts);
    if (model->kind->build) return fv__model_corpus(&e->corpus, model, &(fv_dataset){.texts = texts});
    return encode_counts(e, model, texts);
}

fv_status fv_model_encode(fv_encoded **out, const fv_model *model, const fv_dataset *data) {
    *out = NULL;
    fv_encoded *e = fv__alloc(sizeof *e);
    if (!e) return FV_NO_RESOURCES;
    e->count = data->texts.count;
    fv_status status = FV_OK;
    if (data->label && model->target.type == FV_TARGET_CLASS) status = encode_labels(e, model, data);
    if (data->number && model->target.type == FV_TARGET_REAL) status = encode_numbers(e, data);
    if (status == FV_OK) status = encode_texts(e, model, data->texts);
    if (status == FV_OK)
        *out = e;
    else
        fv_encoded_free(e);
    return status;
}

void fv_encoded_free(fv_encoded *e) {
    if (!e) return;
    for (int i = 0; i < e->members; i++) fv_encoded_free(e->member[i]);
    fv__free(e->member);
    fv_corpus_free(e->corpus);
    if (e->counts) fv__counts_free(e->counts);
    fv__free(e->counts);
    fv__free(e->label);
    fv__free(e->number);
    fv__free(e);
}

int64_t fv_encoded_count(const fv_encoded *e) { return e->count; }
