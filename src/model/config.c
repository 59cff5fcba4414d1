/* config.json of a model folder:
 *
 *     {"model_type": "fovea", "format": 1, "task": "classify", "kind": "transformer", "vocab_size": 26550,
 *      "id2label": {"0": "admin", ...}, "options": {"d-model": 128, ...}}
 *
 * Options are written under the names of their rows. A key nobody knows is a warning: a newer version may have
 * written it. */
#include "io/json.h"
#include "model/blend.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FORMAT = 1 };

/* ---- writing */

static bool is_saved(const fv_option *row) { return !(row->flags & FV_OPTION_LOCAL); }

static fv__json *option_value(const fv_option *row, const fv_model_options *options) {
    const char *field = (const char *)options + row->offset;
    switch (row->type) {
    case FV_OPT_BOOL: return fv__json_of_bool(*(const bool *)field);
    case FV_OPT_NOT: return fv__json_of_bool(!*(const bool *)field);
    case FV_OPT_INT: return fv__json_of_int(*(const int64_t *)field);
    case FV_OPT_FLOAT: return fv__json_of_float(*(const double *)field);
    default: return fv__json_of_text(*(const char *const *)field);
    }
}

static fv_status write_options(fv__json *json, const fv_model *model) {
    fv__json *options = fv__json_object();
    fv_status status = options ? FV_OK : FV_NO_RESOURCES;
    for (const fv_option *row = model->kind->info.options; status == FV_OK && row->name; row++)
        if (is_saved(row)) status = fv__json_set(options, row->name, option_value(row, &model->options));
    if (status == FV_OK) return fv__json_set(json, "options", options);
    fv__json_free(options);
    return status;
}

static fv_status write_labels(fv__json *json, const fv_model *model) {
    fv__json *labels = fv__json_object();
    fv_status status = labels ? FV_OK : FV_NO_RESOURCES;
    char id[16];
    for (int32_t c = 0; status == FV_OK && c < model->target.classes.count; c++) {
        snprintf(id, sizeof id, "%d", (int)c);
        status = fv__json_set(labels, id, fv__json_of_text(model->target.classes.name[c]));
    }
    if (status == FV_OK) return fv__json_set(json, "id2label", labels);
    fv__json_free(labels);
    return status;
}

static fv_status write_number(fv__json *json, const fv_model *model) {
    fv__json *number = fv__json_object();
    fv_status status = number ? fv__json_set(number, "mean", fv__json_of_float(model->target.mean)) : FV_NO_RESOURCES;
    if (status == FV_OK) status = fv__json_set(number, "scale", fv__json_of_float(model->target.scale));
    if (status == FV_OK) return fv__json_set(json, "number", number);
    fv__json_free(number);
    return status;
}

static fv_status write_members(fv__json *json, const fv__blend *blend) {
    fv__json *list = fv__json_array();
    FV_TRY(fv__json_set(json, "members", list)); /* owned by `json` from here on */
    for (int i = 0; i < blend->count; i++) {
        fv__json *member = fv__json_object();
        FV_TRY(fv__json_push(list, member));
        FV_TRY(fv__json_set(member, "name", fv__json_of_text(blend->member[i].name)));
        FV_TRY(fv__json_set(member, "weight", fv__json_of_float(blend->member[i].weight)));
    }
    return FV_OK;
}

static fv_status write_sizes(fv__json *json, const fv_model *model) {
    if (model->kind->blends) return write_members(json, model->blend);
    FV_TRY(fv__json_set(json, "vocab_size", fv__json_of_int(model->sizes.vocabulary)));
    return model->kind->fit ? fv__json_set(json, "grams", fv__json_of_int(model->sizes.ngrams)) : FV_OK;
}

static fv_status fill(fv__json *json, const fv_model *model) {
    FV_TRY(fv__json_set(json, "model_type", fv__json_of_text("fovea")));
    FV_TRY(fv__json_set(json, "format", fv__json_of_int(FORMAT)));
    FV_TRY(fv__json_set(json, "task", fv__json_of_text(model->target.task)));
    FV_TRY(fv__json_set(json, "kind", fv__json_of_text(model->kind->info.name)));
    FV_TRY(write_sizes(json, model));
    FV_TRY(model->target.type == FV_TARGET_REAL ? write_number(json, model) : write_labels(json, model));
    return write_options(json, model);
}

fv_status fv__config_write(const fv_model *model, const char *path) {
    fv__json *json = fv__json_object();
    if (!json) return FV_NO_RESOURCES;
    fv_status status = fill(json, model);
    if (status == FV_OK) status = fv__json_save(json, path);
    fv__json_free(json);
    return status;
}

/* ---- reading */

fv_status fv__bad_model(const char *path) {
    char *reason = fv__strdup(fv_message());
    if (!reason) return FV_NO_RESOURCES;
    fv_status status = fv__fail(FV_BAD_MODEL, "%s: %s", path, reason);
    fv__free(reason);
    return status;
}

/* The name under which `object` holds an option: today's, or an earlier one in a model of an earlier version. */
static const char *key_of(const fv__json *object, const char *name) {
    const char *key = name;
    for (size_t i = 0; key && !fv__json_get(object, key); i++) key = fv_option_earlier_name(name, i);
    return key ? key : name;
}

static fv_status read_opposite(fv__json_at_file at, const char *key, bool *field) {
    bool value = !*field;
    FV_TRY(fv__json_need_bool(at, key, value, &value));
    *field = !value;
    return FV_OK;
}

static fv_status read_option(fv__json_at_file at, const fv_option *row, fv_model_options *options) {
    char *field = (char *)options + row->offset;
    const char *key = key_of(at.object, row->name);
    switch (row->type) {
    case FV_OPT_BOOL: return fv__json_need_bool(at, key, *(bool *)field, (bool *)field);
    case FV_OPT_NOT: return read_opposite(at, key, (bool *)field);
    case FV_OPT_INT: return fv__json_need_int(at, key, *(int64_t *)field, (int64_t *)field);
    case FV_OPT_FLOAT: return fv__json_need_float(at, key, *(double *)field, (double *)field);
    default: return fv__json_need_text(at, key, *(const char **)field, (const char **)field);
    }
}

/* There are some dozen of each; a warning for every one of very many would never end. */
static fv_status check_keys(const fv__json *object, const char *where) {
    enum { MOST = 1000 };
    if (fv__json_count(object) <= MOST) return FV_OK;
    return fv__fail(FV_BAD_MODEL, "%s: too many keys\n  expected at most %d\n  found:   %zu", where, MOST,
                    fv__json_count(object));
}

static fv_status read_options(fv__config *config, fv__json_at_file top) {
    fv__json *object;
    FV_TRY(fv__json_need_object(top, "options", &object));
    FV_TRY(check_keys(object, top.where));
    fv__json_at_file at = {object, top.where, FV_BAD_MODEL};
    const fv_option *rows = fv_model_kind_find(config->options.kind)->options;
    for (void *i = fv__json_first(object); i; i = fv__json_next(object, i))
        if (!fv_option_find(rows, fv__json_key(i)))
            fv__log(FV_LOG_WARN, "%s: unknown option \"%s\" is ignored", top.where, fv__json_key(i));
    for (; rows->name; rows++)
        if (is_saved(rows)) FV_TRY(read_option(at, rows, &config->options));
    return fv_model_options_check(&config->options) == FV_OK ? FV_OK : fv__bad_model(top.where);
}

static void warn_unknown(const fv__json *json, const char *path) {
    static const char *const known[] = {"model_type", "format",  "task",     "kind",          "vocab_size", "grams",
                                        "id2label",   "options", "label2id", "architectures", "number",     "members"};
    for (void *i = fv__json_first(json); i; i = fv__json_next(json, i)) {
        bool found = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) found |= strcmp(known[k], fv__json_key(i)) == 0;
        if (!found) fv__log(FV_LOG_WARN, "%s: unknown key \"%s\" is ignored", path, fv__json_key(i));
    }
}

/* The keys are numbers written as text, in any order; each of 0 .. n-1 must be there. */
static fv_status read_labels(fv__config *config, fv__json_at_file top) {
    fv__json *object;
    FV_TRY(fv__json_need_object(top, "id2label", &object));
    size_t count = fv__json_count(object);
    if (count < 2 || count > INT32_MAX)
        return fv__fail(FV_BAD_MODEL, "%s: \"id2label\"\n  expected at least 2 classes\n  found:   %zu", top.where,
                        count);
    const char **name = fv__alloc_array(count, sizeof *name);
    if (!name) return FV_NO_RESOURCES;
    config->target.classes = (fv_classes){(int32_t)count, name};
    config->target.outputs = (int32_t)count;
    fv__json_at_file at = {object, top.where, FV_BAD_MODEL};
    char id[24];
    for (size_t c = 0; c < count; c++) {
        snprintf(id, sizeof id, "%zu", c);
        FV_TRY(fv__json_need_text(at, id, NULL, &name[c]));
        if (!name[c])
            return fv__fail(FV_BAD_MODEL,
                            "%s: \"id2label\"\n  expected the keys \"0\" to \"%zu\"\n  found:   no \"%s\"", top.where,
                            count - 1, id);
    }
    return FV_OK;
}

static fv_status read_number(fv__config *config, fv__json_at_file top) {
    fv__json *object;
    FV_TRY(fv__json_need_object(top, "number", &object));
    fv__json_at_file at = {object, top.where, FV_BAD_MODEL};
    FV_TRY(fv__json_need_float(at, "mean", 0, &config->target.mean));
    FV_TRY(fv__json_need_float(at, "scale", 1, &config->target.scale));
    config->target.outputs = 1;
    if (isfinite(config->target.mean) && isfinite(config->target.scale) && config->target.scale > 0) return FV_OK;
    return fv__fail(FV_BAD_MODEL, "%s: \"number\"\n  expected a finite mean and a scale above 0\n  found:   %g and %g",
                    top.where, config->target.mean, config->target.scale);
}

/* Models of before tasks had names classify. */
static fv_status read_target(fv__config *config, fv__json_at_file at) {
    FV_TRY(fv__json_need_text(at, "task", "classify", &config->target.task));
    config->target.type = fv__json_get(at.object, "number") ? FV_TARGET_REAL : FV_TARGET_CLASS;
    return config->target.type == FV_TARGET_REAL ? read_number(config, at) : read_labels(config, at);
}

static fv_status read_members(fv__config *config, fv__json_at_file top) {
    fv__json *list;
    FV_TRY(fv__json_need_array(top, "members", &list));
    size_t count = fv__json_count(list);
    if (count < 1 || count > FV__MEMBERS)
        return fv__fail(FV_BAD_MODEL, "%s: \"members\" of a blend\n  expected 1 to %d\n  found:   %zu", top.where,
                        FV__MEMBERS, count);
    for (size_t i = 0; i < count; i++) {
        fv__json_at_file at = {fv__json_at(list, i), top.where, FV_BAD_MODEL};
        if (fv__json_kind_of(at.object) != FV_JSON_OBJECT)
            return fv__fail(FV_BAD_MODEL, "%s: \"members\", number %zu\n  expected an object\n  found:   %s", top.where,
                            i + 1, fv__json_kind_name(at.object));
        FV_TRY(fv__json_need_text(at, "name", "", &config->member[i]));
        FV_TRY(fv__json_need_float(at, "weight", 0, &config->weight[i]));
    }
    config->members = (int)count;
    return FV_OK;
}

static fv_status read_sizes(fv__config *config, fv__json_at_file at) {
    if (((const fv__kind *)fv_model_kind_find(config->options.kind))->blends) return read_members(config, at);
    FV_TRY(fv__json_need_int(at, "vocab_size", 0, &config->vocabulary));
    FV_TRY(fv__json_need_int(at, "grams", 0, &config->ngrams));
    if (config->vocabulary < 1 || config->vocabulary > INT32_MAX)
        return fv__fail(FV_BAD_MODEL, "%s: \"vocab_size\"\n  expected 1 or more, below 2^31\n  found:   %lld", at.where,
                        (long long)config->vocabulary);
    if (config->ngrams < 0 || config->ngrams > INT32_MAX - config->vocabulary)
        return fv__fail(FV_BAD_MODEL,
                        "%s: \"grams\"\n  expected 0 or more, below 2^31 with vocab_size\n  found:   %lld", at.where,
                        (long long)config->ngrams);
    return FV_OK;
}

static fv_status read_kind(fv__config *config, fv__json_at_file at) {
    const char *type, *kind;
    int64_t format;
    FV_TRY(fv__json_need_text(at, "model_type", "", &type));
    if (strcmp(type, "fovea") != 0)
        return fv__fail(FV_BAD_MODEL,
                        "%s: not a model of fovea\n  expected \"model_type\": \"fovea\"\n  found:   \"%s\"", at.where,
                        type);
    FV_TRY(fv__json_need_int(at, "format", 0, &format));
    if (format != FORMAT)
        return fv__fail(FV_BAD_MODEL, "%s: unknown format\n  expected \"format\": %d\n  found:   %lld", at.where,
                        FORMAT, (long long)format);
    FV_TRY(fv__json_need_text(at, "kind", "", &kind));
    return fv_model_options_init(&config->options, kind) == FV_OK ? FV_OK : fv__bad_model(at.where);
}

fv_status fv__config_read(fv__config *config, const char *path) {
    memset(config, 0, sizeof *config);
    FV_TRY(fv__json_load(&config->json, path, FV_BAD_MODEL));
    fv__json_at_file at = {config->json, path, FV_BAD_MODEL};
    fv_status status = FV_OK;
    if (fv__json_kind_of(config->json) != FV_JSON_OBJECT)
        status = fv__fail(FV_BAD_MODEL, "%s: not a configuration\n  expected an object\n  found:   %s", path,
                          fv__json_kind_name(config->json));
    if (status == FV_OK) status = check_keys(config->json, path);
    if (status == FV_OK) status = read_kind(config, at);
    if (status == FV_OK) status = read_sizes(config, at);
    if (status == FV_OK) status = read_target(config, at);
    if (status == FV_OK) status = read_options(config, at);
    if (status == FV_OK) warn_unknown(config->json, path);
    if (status != FV_OK) fv__config_free(config);
    return status;
}

void fv__config_free(fv__config *config) {
    fv__free((void *)config->target.classes.name);
    fv__json_free(config->json);
    memset(config, 0, sizeof *config);
}
