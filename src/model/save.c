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

/* A config may ask for more than the file can hold; say so before taking the memory. */
static fv_status check_room(const fv__config *config, const fv_tensor_file *file) {
    const fv_model_options *o = &config->options;
    size_t d_model = (size_t)o->d_model, held = file->bytes.size, need = 0, part = 0;
    size_t features = (size_t)(config->vocabulary + config->ngrams), outputs = (size_t)config->target.outputs;
    bool fits = true;
    if (d_model == 0 && o->ngrams.ngram_bits > 0) features += (size_t)1 << o->ngrams.ngram_bits;
    if (d_model == 0)
        fits = fv__mul_ok(features, outputs, &need);
    else {
        fits = fv__mul_ok(features, d_model, &need);
        if (o->ngrams.ngram_bits > 0)
            fits &= fv__mul_ok((size_t)1 << o->ngrams.ngram_bits, d_model, &part) && fv__add_ok(need, part, &need);
        fits &= fv__mul_ok((size_t)o->layers, 4 * d_model * d_model, &part) && fv__add_ok(need, part, &need);
    }
    fits &= fv__mul_ok(need, sizeof(float), &need) && need <= held;
    if (fits) return FV_OK;
    return fv__fail(FV_BAD_MODEL,
                    "%s: too small for its config.json\n  expected %zu bytes or more\n  found:   %zu bytes", file->path,
                    need, held);
}

static fv_status wrong_shape(const fv_tensor_file *file, const char *name, const fv_tensor *expected,
                             const fv_tensor *found) {
    char want[96], have[96];
    fv_tensor_describe(expected, want, sizeof want);
    fv_tensor_describe(found, have, sizeof have);
    return fv__fail(FV_BAD_MODEL, "%s: tensor \"%s\" has the wrong shape\n  expected %s\n  found:   %s", file->path,
                    name, want, have);
}

static bool same_class_of_type(fv_dtype a, fv_dtype b) { return (a <= FV_F16) == (b <= FV_F16); }

static fv_status load_tensors(fv_model *model, const fv_tensor_file *file) {
    size_t count = fv_model_tensor_count(model);
    const char *name;
    for (size_t i = 0; i < count; i++) {
        fv_tensor to = fv_model_tensor(model, i, &name), from;
        FV_TRY(fv_tensor_file_find(file, name, &from));
        if (!fv_tensor_same_shape(&to, &from) || !same_class_of_type(to.dtype, from.dtype))
            return wrong_shape(file, name, &to, &from);
        FV_TRY(fv_tensor_copy(&to, &from));
    }
    for (int64_t i = 0; i < fv_tensor_file_count(file); i++) {
        bool known = false;
        for (size_t k = 0; !known && k < count; k++)
            known = (fv_model_tensor(model, k, &name), strcmp(name, fv_tensor_file_name(file, i)) == 0);
        if (!known)
            fv__log(FV_LOG_WARN, "%s: unknown tensor \"%s\" is ignored", file->path, fv_tensor_file_name(file, i));
    }
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
    FV_TRY(check_room(config, file));
    FV_TRY(load_tokenizer(&tokenizer, folder, config->vocabulary));
    fv_status status = fv__model_create(&model, &config->options, &config->target, tokenizer, config->ngrams, 0);
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
