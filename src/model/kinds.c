/* The table of kinds, their options, and the checks that are the same for all of them. */
#include "model/model.h"

#include <string.h>

#define KIND(name) extern const fv__kind fv__kind_##name;
#include "model/list.def"
#undef KIND

static const fv__kind *const kinds[] = {
#define KIND(name) &fv__kind_##name,
#include "model/list.def"
#undef KIND
};
enum { KINDS = sizeof kinds / sizeof *kinds };

size_t fv_model_kind_count(void) { return KINDS; }

const fv_model_kind *fv_model_kind_at(size_t index) { return index < KINDS ? &kinds[index]->info : NULL; }

const fv_model_kind *fv_model_kind_find(const char *name) {
    for (size_t i = 0; i < KINDS; i++)
        if (name && strcmp(kinds[i]->info.name, name) == 0) return &kinds[i]->info;
    return NULL;
}

static fv_status unknown_kind(const char *name) {
    const char *names[KINDS + 1] = {NULL};
    for (size_t i = 0; i < KINDS; i++) names[i] = kinds[i]->info.name;
    return fv__unknown_name("model", name, names);
}

fv_status fv_model_options_init(fv_model_options *options, const char *kind) {
    const fv_model_kind *found = fv_model_kind_find(kind);
    if (!found) return unknown_kind(kind);
    memset(options, 0, sizeof *options);
    options->kind = found->name;
    fv_options_init(found->options, options);
    return FV_OK;
}

/* ---- checks */

fv_status fv_model_options_check(const fv_model_options *options) {
    const fv__kind *kind = (const fv__kind *)fv_model_kind_find(options->kind);
    if (!kind) return unknown_kind(options->kind);
    for (const fv_option *row = kind->info.options; row->name; row++) FV_TRY(fv__option_check(row, options));
    return kind->check ? kind->check(options) : FV_OK;
}

/* ---- options with owned strings */

static bool is_text(const fv_option *row) { return row->type == FV_OPT_STRING || row->type == FV_OPT_CHOICE; }

fv_status fv__options_copy(fv_model_options *to, const fv_model_options *from) {
    const fv_model_kind *kind = fv_model_kind_find(from->kind);
    *to = *from;
    to->kind = kind->name;
    fv_status status = FV_OK;
    for (const fv_option *row = kind->options; row->name; row++) {
        if (!is_text(row)) continue;
        const char **field = (const char **)((char *)to + row->offset);
        if (*field && !(*field = fv__strdup(*field))) status = FV_NO_RESOURCES;
    }
    if (status != FV_OK) fv__options_free(to);
    return status;
}

void fv__options_free(fv_model_options *options) {
    const fv_model_kind *kind = fv_model_kind_find(options->kind);
    for (const fv_option *row = kind ? kind->options : NULL; row && row->name; row++) {
        if (!is_text(row)) continue;
        const char **field = (const char **)((char *)options + row->offset);
        fv__free((void *)*field);
        *field = NULL;
    }
}
