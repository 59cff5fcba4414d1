/* Models made of other models, see blend.h. */
#include "model/blend.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- members */

/* A name becomes a folder: letters, digits and hyphens cannot lead out of ours. */
static bool is_name(const char *name) {
    size_t size = strlen(name);
    return size > 0 && size < FV__MEMBER_NAME && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

static bool same_target(const fv__target *a, const fv__target *b) {
    if (strcmp(a->task, b->task) != 0 || a->type != b->type || a->outputs != b->outputs) return false;
    for (int32_t c = 0; c < a->classes.count; c++)
        if (strcmp(a->classes.name[c], b->classes.name[c]) != 0) return false;
    return true;
}

static fv_status check_name(const char *name) {
    if (is_name(name)) return FV_OK;
    return fv__fail(FV_BAD_MODEL,
                    "not the name of a member\n  expected small letters, digits and hyphens, at most %d\n"
                    "  found:   \"%.60s\"",
                    FV__MEMBER_NAME - 1, name);
}

static fv_status check_member(const fv_model *blend, const char *name, const fv_model *member, double weight) {
    const fv__blend *b = blend->blend;
    FV_TRY(check_name(name));
    if (b->count == FV__MEMBERS) return fv__fail(FV_BAD_MODEL, "more than %d members", FV__MEMBERS);
    for (int i = 0; i < b->count; i++)
        if (strcmp(b->member[i].name, name) == 0) return fv__fail(FV_BAD_MODEL, "two members \"%s\"", name);
    if (!(weight > 0 && weight <= 1e6))
        return fv__fail(FV_BAD_MODEL, "member \"%s\": a weight\n  expected above 0, at most 1e6\n  found:   %g", name,
                        weight);
    if (same_target(&blend->target, &member->target)) return FV_OK;
    return fv__fail(FV_BAD_MODEL,
                    "member \"%s\" answers something else\n  expected the task %s, its %d outputs in their order\n"
                    "  found:   the task %s, %d outputs",
                    name, blend->target.task, (int)blend->target.outputs, member->target.task,
                    (int)member->target.outputs);
}

static fv_status add_names(fv__blend *b, const char *name, const fv_model *member) {
    size_t count = fv_model_tensor_count(member);
    FV_TRY(FV_GROW(&b->tensor_name, &b->tensor_capacity, b->tensors + count));
    for (size_t i = 0; i < count; i++) {
        const char *tensor;
        fv_model_tensor(member, i, &tensor);
        FV_TRY(fv__path_join(&b->tensor_name[b->tensors], name, tensor));
        b->tensors++;
    }
    return FV_OK;
}

fv_status fv__blend_add(fv_model *blend, const char *name, fv_model *member, double weight) {
    fv__blend *b = blend->blend;
    fv_status status = check_member(blend, name, member, weight);
    if (status == FV_OK) status = add_names(b, name, member);
    if (status != FV_OK) {
        fv_model_free(member);
        return status;
    }
    fv__member *own = &b->member[b->count++];
    *own = (fv__member){.model = member, .weight = weight};
    memcpy(own->name, name, strlen(name) + 1);
    return FV_OK;
}

void fv__blend_free(fv__blend *b) {
    if (!b) return;
    for (int i = 0; i < b->count; i++) fv_model_free(b->member[i].model);
    for (size_t i = 0; i < b->tensors; i++) fv__free(b->tensor_name[i]);
    fv__free(b->tensor_name);
    fv__free(b);
}

int fv__blend_shown(const fv_model *blend) {
    const fv__blend *b = blend->blend;
    for (int i = 0; i < b->count; i++)
        if (b->member[i].model->kind->info.can & FV_MODEL_HAS_ATTENTION) return i;
    return b->count ? 0 : -1;
}

fv_tensor fv__blend_tensor(const fv_model *blend, size_t index, const char **name) {
    const fv__blend *b = blend->blend;
    *name = index < b->tensors ? b->tensor_name[index] : NULL;
    for (int i = 0; i < b->count; i++) {
        size_t count = fv_model_tensor_count(b->member[i].model);
        if (index < count) return fv_model_tensor(b->member[i].model, index, NULL);
        index -= count;
    }
    return (fv_tensor){0};
}

/* ---- answers */

void fv__blend_sum(double *sum, const float *answer, double weight, int64_t count) {
    for (int64_t i = 0; i < count; i++) sum[i] += weight * log(fmax((double)answer[i], 1e-30));
}

fv_status fv__blend_encode(fv_encoded *e, const fv_model *blend, fv_texts texts) {
    const fv__blend *b = blend->blend;
    e->member = fv__alloc_array((size_t)b->count, sizeof(fv_encoded *));
    if (!e->member) return FV_NO_RESOURCES;
    e->members = b->count;
    for (int i = 0; i < b->count; i++)
        FV_TRY(fv_model_encode(&e->member[i], b->member[i].model, &(fv_dataset){.texts = texts}));
    return FV_OK;
}

static fv_status sum_members(const fv__blend *b, const fv_encoded *e, double *sum, float *answer, int64_t numbers) {
    for (int i = 0; i < b->count; i++) {
        FV_TRY(fv_model_predict_encoded(b->member[i].model, e->member[i], answer));
        fv__blend_sum(sum, answer, b->member[i].weight, numbers);
    }
    return FV_OK;
}

fv_status fv__blend_predict(const fv_model *blend, const fv_encoded *e, float *answer) {
    int64_t outputs = blend->target.outputs, numbers = e->count * outputs;
    double *sum = fv__alloc_array((size_t)e->count, (size_t)outputs * sizeof *sum);
    if (!sum) return FV_NO_RESOURCES;
    fv_status status = sum_members(blend->blend, e, sum, answer, numbers);
    for (int64_t i = 0; status == FV_OK && i < numbers; i++) answer[i] = (float)sum[i];
    for (int64_t t = 0; status == FV_OK && t < e->count; t++)
        fv__answers(answer + t * outputs, answer + t * outputs, &blend->target);
    fv__free(sum);
    return status;
}

/* ---- folders */

static fv_status member_path(char **path, const char *folder, const char *name) {
    char *members;
    FV_TRY(fv__path_join(&members, folder, "members"));
    fv_status status = fv__path_join(path, members, name);
    fv__free(members);
    return status;
}

/* The configuration comes last: a folder that has one has everything that belongs to it. */
fv_status fv__blend_save(const fv_model *blend, const char *folder) {
    const fv__blend *b = blend->blend;
    char *path;
    for (int i = 0; i < b->count; i++) {
        FV_TRY(member_path(&path, folder, b->member[i].name));
        fv_status status = fv_model_save(b->member[i].model, path);
        fv__free(path);
        FV_TRY(status);
    }
    FV_TRY(fv__path_join(&path, folder, "config.json"));
    fv_status status = fv__config_write(blend, path);
    fv__free(path);
    return status;
}

static fv_status load_member(fv_model *blend, const char *folder, const char *name, double weight) {
    char *path;
    fv_model *member;
    if (check_name(name) != FV_OK) return fv__bad_model(folder);
    FV_TRY(member_path(&path, folder, name));
    fv_status status = fv__model_load_member(&member, path);
    if (status == FV_OK && fv__blend_add(blend, name, member, weight) != FV_OK) status = fv__bad_model(folder);
    fv__free(path);
    return status;
}

fv_status fv__blend_load(fv_model *blend, const fv__config *config, const char *folder) {
    for (int i = 0; i < config->members; i++) FV_TRY(load_member(blend, folder, config->member[i], config->weight[i]));
    return FV_OK;
}

static fv_status clear_member(const char *folder, const char *name) {
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    char *path, *file;
    FV_TRY(member_path(&path, folder, name));
    fv_status status = FV_OK;
    for (size_t i = 0; status == FV_OK && i < sizeof files / sizeof *files; i++) {
        status = fv__path_join(&file, path, files[i]);
        if (status == FV_OK) remove(file);
        if (status == FV_OK) fv__free(file);
    }
    if (status == FV_OK) remove(path); /* stays when it holds files of others */
    fv__free(path);
    return status;
}

static fv_status clear_members(const char *folder, const fv__config *config) {
    char *members;
    for (int i = 0; i < config->members; i++)
        if (is_name(config->member[i])) FV_TRY(clear_member(folder, config->member[i]));
    FV_TRY(fv__path_join(&members, folder, "members"));
    remove(members);
    fv__free(members);
    return FV_OK;
}

/* A configuration that cannot be read names no members. */
fv_status fv__blend_clear(const char *folder) {
    char *path;
    fv__config config;
    FV_TRY(fv__path_join(&path, folder, "config.json"));
    fv_status status = FV_OK;
    if (fv__path_exists(path) && fv__config_read(&config, path) == FV_OK) {
        if (config.members) status = clear_members(folder, &config);
        fv__config_free(&config);
    }
    fv__free(path);
    return status;
}
