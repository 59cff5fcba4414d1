/* dataset.c - datasets in memory: building, choosing rows, freeing. See dataset.h. */
#include "data/dataset.h"
#include "io/text_check.h"

#include <math.h>
#include <string.h>

/* ---- store */

fv_status fv__store_create(fv__store **store) {
    fv__store *s = *store = fv__alloc(sizeof *s);
    if (!s) return FV_NO_RESOURCES;
    atomic_init(&s->references, 1);
    return fv__arena_create(&s->strings);
}

void fv__store_free(fv__store *s) {
    if (!s || atomic_fetch_sub(&s->references, 1) > 1) return;
    fv__arena_free(s->strings);
    fv__free(s->class_name);
    for (int i = 0; i < s->files; i++) fv__free(s->file_name[i]);
    fv__free(s->file_name);
    fv__free(s);
}

fv_status fv__store_text(fv__store *store, const char **copy, const char *text, size_t size) {
    char *to = fv__arena_raw(store->strings, size + 1);
    if (!to) return FV_NO_RESOURCES;
    if (size) memcpy(to, text, size);
    to[size] = 0;
    *copy = to;
    return FV_OK;
}

/* ---- rows */

fv_status fv__rows_add(fv__rows *r, fv__row_values v) {
    size_t n = r->count + 1;
    FV_TRY(FV_GROW(&r->text, &r->text_capacity, n));
    FV_TRY(FV_GROW(&r->size, &r->size_capacity, n));
    FV_TRY(FV_GROW(&r->label, &r->label_capacity, n));
    FV_TRY(FV_GROW(&r->number, &r->number_capacity, n));
    FV_TRY(FV_GROW(&r->part, &r->part_capacity, n));
    FV_TRY(FV_GROW(&r->file, &r->file_room, n));
    FV_TRY(FV_GROW(&r->line, &r->line_capacity, n));
    r->text[r->count] = v.text;
    r->size[r->count] = v.size;
    r->label[r->count] = v.label;
    r->number[r->count] = v.number;
    r->part[r->count] = v.part;
    r->file[r->count] = v.file;
    r->line[r->count] = v.line;
    r->count = n;
    return FV_OK;
}

void fv__rows_free(fv__rows *r) {
    fv__free(r->text);
    fv__free(r->size);
    fv__free(r->label);
    fv__free(r->number);
    fv__free(r->part);
    fv__free(r->file);
    fv__free(r->line);
    *r = (fv__rows){0};
}

fv_status fv__dataset_build(fv_dataset **data, fv__store *store, fv__rows *r, fv_classes classes, fv_target_type target,
                            bool parts) {
    fv_dataset *d = *data = fv__alloc(sizeof *d);
    if (!d) {
        fv__rows_free(r);
        fv__store_free(store);
        return FV_NO_RESOURCES;
    }
    d->texts = (fv_texts){(int64_t)r->count, r->text, r->size};
    d->label = target == FV_TARGET_CLASS ? r->label : NULL;
    d->number = target == FV_TARGET_REAL ? r->number : NULL;
    d->part = parts ? r->part : NULL;
    if (!d->label) fv__free(r->label);
    if (!d->number) fv__free(r->number);
    if (!parts) fv__free(r->part);
    d->file = r->file;
    d->line = r->line;
    d->classes = classes;
    d->store = store;
    *r = (fv__rows){0};
    return FV_OK;
}

/* ---- public */

static fv_status copy_classes(fv__store *store, fv_classes from, fv_classes *to) {
    store->class_name = fv__alloc_array((size_t)from.count, sizeof *store->class_name);
    if (!store->class_name) return FV_NO_RESOURCES;
    for (int32_t i = 0; i < from.count; i++)
        FV_TRY(fv__store_text(store, &store->class_name[i], from.name[i], strlen(from.name[i])));
    *to = (fv_classes){from.count, store->class_name};
    return FV_OK;
}

fv_status fv_text_check(const char *name, const char *text, size_t size) {
    return fv__text_check(name, text, size, text + size, 1);
}

fv_status fv__texts_check(fv_texts texts) {
    for (int64_t i = 0; i < texts.count; i++)
        if (fv__utf8_valid(texts.text[i], texts.size[i]) < texts.size[i] || memchr(texts.text[i], 0, texts.size[i]))
            return fv__fail(FV_BAD_DATA, "text %lld\n  expected UTF-8 without NUL bytes\n  found:   other bytes",
                            (long long)i);
    return FV_OK;
}

static fv_status check_target(const int32_t *label, int32_t classes, const double *number, int64_t i) {
    if (label && (label[i] < 0 || label[i] >= classes))
        return fv__fail(FV_USAGE, "text %lld: its label is not a class\n  expected 0 to %d\n  found:   %d",
                        (long long)i, classes - 1, label[i]);
    if (number && !isfinite(number[i]))
        return fv__fail(FV_USAGE, "text %lld: its target\n  expected a finite number\n  found:   %g", (long long)i,
                        number[i]);
    return FV_OK;
}

static fv_status copy_rows(fv__store *store, fv__rows *rows, fv_texts texts, const int32_t *label, int32_t classes,
                           const double *number) {
    FV_TRY(fv__texts_check(texts));
    for (int64_t i = 0; i < texts.count; i++) {
        fv__row_values v = {
            .size = texts.size[i], .label = label ? label[i] : 0, .number = number ? number[i] : 0, .line = i + 1};
        FV_TRY(check_target(label, classes, number, i));
        FV_TRY(fv__store_text(store, &v.text, texts.text[i], texts.size[i]));
        FV_TRY(fv__rows_add(rows, v));
    }
    return FV_OK;
}

static fv_status dataset_of(fv_dataset **data, fv_texts texts, const int32_t *label, fv_classes classes,
                            const double *number) {
    fv_target_type target = label ? FV_TARGET_CLASS : number ? FV_TARGET_REAL : FV_TARGET_NONE;
    fv__store *store = NULL;
    fv__rows rows = {0};
    fv_classes own = {0};
    *data = NULL;
    fv_status status = fv__store_create(&store);
    if (status == FV_OK) status = copy_classes(store, classes, &own);
    if (status == FV_OK) status = copy_rows(store, &rows, texts, label, classes.count, number);
    if (status == FV_OK) return fv__dataset_build(data, store, &rows, own, target, false);
    fv__rows_free(&rows);
    fv__store_free(store);
    return status;
}

fv_status fv_dataset_of(fv_dataset **data, fv_texts texts, const int32_t *label, fv_classes classes) {
    return dataset_of(data, texts, label, classes, NULL);
}

fv_status fv_dataset_of_numbers(fv_dataset **data, fv_texts texts, const double *number) {
    return dataset_of(data, texts, NULL, (fv_classes){0}, number);
}

fv_status fv_dataset_select(fv_dataset **out, const fv_dataset *from, const int64_t *row, int64_t count) {
    fv__rows rows = {0};
    fv_status status = FV_OK;
    *out = NULL;
    for (int64_t i = 0; i < count && status == FV_OK; i++) {
        int64_t r = row[i];
        if (r < 0 || r >= from->texts.count) {
            status = fv__fail(FV_USAGE, "selection: row\n  expected 0 to %lld\n  found:   %lld",
                              (long long)from->texts.count - 1, (long long)r);
            break;
        }
        status = fv__rows_add(&rows, (fv__row_values){.text = from->texts.text[r],
                                                      .size = from->texts.size[r],
                                                      .label = from->label ? from->label[r] : 0,
                                                      .number = from->number ? from->number[r] : 0,
                                                      .part = from->part ? from->part[r] : 0,
                                                      .file = from->file[r],
                                                      .line = from->line[r]});
    }
    if (status == FV_OK) {
        atomic_fetch_add(&from->store->references, 1);
        fv_target_type target = from->label ? FV_TARGET_CLASS : from->number ? FV_TARGET_REAL : FV_TARGET_NONE;
        return fv__dataset_build(out, from->store, &rows, from->classes, target, from->part);
    }
    fv__rows_free(&rows);
    return status;
}

static void drop(const void *array) { fv__free((void *)(uintptr_t)array); }

void fv_dataset_free(fv_dataset *d) {
    if (!d) return;
    drop(d->texts.text);
    drop(d->texts.size);
    drop(d->label);
    drop(d->number);
    drop(d->part);
    drop(d->file);
    drop(d->line);
    fv__store_free(d->store);
    fv__free(d);
}

const char *fv__dataset_file(const fv_dataset *data, int64_t row) {
    return data->file[row] < data->store->files ? data->store->file_name[data->file[row]] : "text";
}

uint64_t fv__dataset_hash(const fv_dataset *data, uint64_t hash) {
    for (int64_t i = 0; data && i < data->texts.count; i++) {
        hash = fv__hash(data->texts.text[i], data->texts.size[i], hash);
        if (data->label) hash = fv__hash(&data->label[i], sizeof *data->label, hash);
        if (data->number) hash = fv__hash(&data->number[i], sizeof *data->number, hash);
    }
    return hash;
}
