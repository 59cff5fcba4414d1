/* A model folder: config.json, model.safetensors, tokenizer.json. Loading trusts nothing: every size, name, shape
 * and number is checked before the model is handed out. */
#include "io/tensor_file.h"
#include "model/blend.h"
#include "model/features.h"

#include <string.h>

/* ---- saving */

static fv_status write_tensors(const fv_model *model, const char *path) {
    size_t count = fv_model_tensor_count(model);
    fv_named_tensor *tensors = fv__alloc_array(count, sizeof *tensors);
    if (!tensors) return FV_NO_RESOURCES;
    for (size_t i = 0; i < count; i++) tensors[i].tensor = fv_model_tensor(model, i, &tensors[i].name);
    fv_status status = fv_safetensors_write(path, tensors, (int64_t)count, NULL);
    fv__free(tensors);
    return status;
}

typedef fv_status write_fn(const fv_model *model, const char *path);
static fv_status write_tokenizer(const fv_model *model, const char *path) {
    return fv_tokenizer_save(model->tokenizer, path);
}

static fv_status write_part(const fv_model *model, const char *folder, const char *name, write_fn *write) {
    char *path;
    FV_TRY(fv__path_join(&path, folder, name));
    fv_status status = write(model, path);
    fv__free(path);
    return status;
}

/* The weights come last: a folder that has new weights has everything that belongs to them. */
fv_status fv_model_save(const fv_model *model, const char *folder) {
    FV_TRY(fv__make_dirs(folder));
    if (model->kind->blends) return fv__blend_save(model, folder);
    FV_TRY(write_part(model, folder, "config.json", fv__config_write));
    FV_TRY(write_part(model, folder, "tokenizer.json", write_tokenizer));
    return write_part(model, folder, "model.safetensors", write_tensors);
}

/* ---- loading */

static void warn_unknown(const fv_model *model, const fv_tensor_file *file) {
    enum { NAMED = 8 };
    int64_t unknown = 0;
    for (int64_t i = 0; i < fv_tensor_file_count(file); i++) {
        const char *name = fv_tensor_file_name(file, i);
        bool is_ngrams = model->kind->fit && strcmp(name, "grams") == 0;
        if (is_ngrams || fv_params_find(model->params, name) >= 0) continue;
        if (unknown++ < NAMED) fv__log(FV_LOG_WARN, "%s: unknown tensor \"%s\" is ignored", file->path, name);
    }
    if (unknown > NAMED)
        fv__log(FV_LOG_WARN, "%s: %lld more unknown tensors are ignored", file->path, (long long)(unknown - NAMED));
}

static fv_status load_tensors(fv_model *model, const fv_tensor_file *file) {
    size_t count = fv_model_tensor_count(model);
    const char *name;
    for (size_t i = 0; i < count; i++) {
        fv_tensor to = fv_model_tensor(model, i, &name), from;
        FV_TRY(fv__tensor_file_need(file, name, &to, &from));
        FV_TRY(fv_tensor_copy(&to, &from));
        if (from.dtype == FV_F64) FV_TRY(fv__tensor_file_finite(file, name, &to)); /* f32 may not hold it */
    }
    warn_unknown(model, file);
    return fv_tensor_file_check_finite(file);
}

/* A gram may only extend a feature that comes before it. */
static fv_status check_ngrams(const fv_model *model, const char *path) {
    for (int64_t k = 0; k < model->sizes.ngrams; k++) {
        int64_t prefix = model->ngram[2 * k], token = model->ngram[2 * k + 1];
        if (prefix >= 0 && prefix < model->sizes.vocabulary + k && token >= 0 && token < model->sizes.vocabulary)
            continue;
        return fv__fail(FV_BAD_MODEL,
                        "%s: tensor \"grams\", row %lld\n  expected a feature below %lld and a token below %d\n"
                        "  found:   %lld, %lld",
                        path, (long long)k, (long long)(model->sizes.vocabulary + k), (int)model->sizes.vocabulary,
                        (long long)prefix, (long long)token);
    }
    return FV_OK;
}

static fv_status load_tokenizer(fv_tokenizer **tokenizer, const char *folder, int64_t expected) {
    char *path;
    FV_TRY(fv__path_join(&path, folder, "tokenizer.json"));
    fv_status status = fv_tokenizer_load(tokenizer, path);
    if (status == FV_OK && fv_tokenizer_size(*tokenizer) != expected) {
        status = fv__fail(FV_BAD_MODEL,
                          "%s: wrong number of tokens\n  expected %lld, as \"vocab_size\" in config.json\n"
                          "  found:   %d",
                          path, (long long)expected, (int)fv_tokenizer_size(*tokenizer));
        fv_tokenizer_free(*tokenizer);
    }
    fv__free(path);
    return status;
}

static fv_status load_with(fv_model **out, const char *folder, const fv__config *config, const fv_tensor_file *file) {
    fv_tokenizer *tokenizer;
    fv_model *model;
    FV_TRY(load_tokenizer(&tokenizer, folder, config->vocabulary));
    fv_status status = fv__model_create_for(&model, &config->options, &config->target, tokenizer, config->ngrams, file);
    if (status != FV_OK) return status == FV_USAGE ? fv__bad_model(folder) : status;
    status = load_tensors(model, file);
    if (status == FV_OK && model->kind->fit) {
        status = check_ngrams(model, file->path);
        if (status == FV_OK) status = fv__features_prepare(model);
    }
    if (status == FV_OK)
        *out = model;
    else
        fv_model_free(model);
    return status;
}

static fv_status load_blend(fv_model **out, const char *folder, const fv__config *config) {
    fv_model *model;
    fv_status status = fv__model_create(&model, &config->options, &config->target, NULL, 0, 0);
    if (status != FV_OK) return status;
    status = fv__blend_load(model, config, folder);
    if (status == FV_OK)
        *out = model;
    else
        fv_model_free(model);
    return status;
}

static fv_status open_weights(fv_tensor_file **file, const char *folder) {
    char *path;
    FV_TRY(fv__path_join(&path, folder, "model.safetensors"));
    fv_status status = fv__tensor_file_open(file, path, FV_BAD_MODEL);
    fv__free(path);
    return status;
}

static fv_status load_weights(fv_model **model, const char *folder, const fv__config *config) {
    fv_tensor_file *file;
    FV_TRY(open_weights(&file, folder));
    fv_status status = load_with(model, folder, config, file);
    fv_tensor_file_close(file);
    return status;
}

static fv_status load(fv_model **model, const char *folder, bool may_blend) {
    fv__config config;
    char *path;
    *model = NULL;
    if (!fv__path_is_dir(folder))
        return fv__fail(FV_BAD_MODEL,
                        "%s: not a model folder\n  expected a folder with config.json, model.safetensors and "
                        "tokenizer.json\n  found:   %s",
                        folder, fv__path_exists(folder) ? "a file" : "nothing of this name");
    FV_TRY(fv__path_join(&path, folder, "config.json"));
    fv_status status = fv__config_read(&config, path);
    fv__free(path);
    if (status != FV_OK) return status;
    if (!config.members)
        status = load_weights(model, folder, &config);
    else if (may_blend)
        status = load_blend(model, folder, &config);
    else
        status = fv__fail(FV_BAD_MODEL, "%s: a blend within a blend\n  expected a model of another kind\n  found:   %s",
                          folder, config.options.kind);
    fv__config_free(&config);
    return status;
}

fv_status fv_model_load(fv_model **model, const char *folder) { return load(model, folder, true); }

fv_status fv__model_load_member(fv_model **model, const char *folder) { return load(model, folder, false); }
