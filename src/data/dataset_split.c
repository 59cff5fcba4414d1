/* dataset_split.c - train, valid and test: by a hash of the text, within classes, or by a column.
 *
 * The hash depends on the text and the seed alone. So rows that are added or removed never move others to another side,
 * and equal texts are never on two sides. */
#include "data/dataset.h"

#include <stdlib.h>
#include <string.h>

const fv_option *fv_split_option_rows(void) {
    static const fv_option rows[] = {{"split", FV_OPT_CHOICE, offsetof(fv_split_options, split), "stratified", 0, 0,
                                      "hash|stratified|column", "how rows are dealt to train, valid and test"},
                                     {"valid-share", FV_OPT_FLOAT, offsetof(fv_split_options, valid), "0.1", 0, 0.9,
                                      "SHARE", "share of rows for validation"},
                                     {"test-share", FV_OPT_FLOAT, offsetof(fv_split_options, test), "0", 0, 0.9,
                                      "SHARE", "share of rows for the test"},
                                     {"split-seed", FV_OPT_INT, offsetof(fv_split_options, split_seed), "1", 0, 9e15,
                                      "N", "another seed is another split"},
                                     {0}};
    return rows;
}

typedef struct place {
    uint64_t hash;
    int32_t label;
    int64_t row;
} place;

static double unit(uint64_t hash) { return (double)(hash >> 11) * 0x1p-53; }

static uint8_t part_at(double at, const fv_split_options *o) {
    return at < o->test ? FV_TEST : at < o->test + o->valid ? FV_VALID : FV_TRAIN;
}

static int by_class_and_hash(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* Within each class the rows in the order of their hash: the first share is test, the next valid. Equal texts of a
 * class have equal hashes and stay together. */
static void deal_classes(place *list, int64_t count, const fv_split_options *o, uint8_t *part) {
    qsort(list, (size_t)count, sizeof *list, by_class_and_hash);
    for (int64_t first = 0, end; first < count; first = end) {
        for (end = first; end < count && list[end].label == list[first].label; end++) {}
        for (int64_t i = first; i < end; i++) {
            bool same = i > first && list[i].hash == list[i - 1].hash;
            double at = ((double)(i - first) + 0.5) / (double)(end - first);
            part[list[i].row] = same ? part[list[i - 1].row] : part_at(at, o);
        }
    }
}

static fv_status deal(const fv_dataset *all, const fv_split_options *o, uint8_t *part) {
    bool classes = !strcmp(o->split, "stratified") && all->label;
    if (!strcmp(o->split, "column")) {
        if (!all->part)
            return fv__fail(FV_USAGE, "split by column: the data was read without one\n  try: --split-col COLUMN");
        memcpy(part, all->part, (size_t)all->texts.count);
        return FV_OK;
    }
    place *list = fv__alloc_array((size_t)all->texts.count, sizeof *list);
    if (!list) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < all->texts.count; i++) {
        uint64_t hash = fv__hash(all->texts.text[i], all->texts.size[i], (uint64_t)o->split_seed);
        list[i] = (place){hash, classes ? all->label[i] : 0, i};
        part[i] = part_at(unit(hash), o);
    }
    if (classes) deal_classes(list, all->texts.count, o, part);
    fv__free(list);
    return FV_OK;
}

static fv_status take(fv_dataset **out, const fv_dataset *all, const uint8_t *part, fv_part which, int64_t *row) {
    int64_t count = 0;
    for (int64_t i = 0; i < all->texts.count; i++)
        if (part[i] == which) row[count++] = i;
    if (which == FV_TRAIN && !count)
        return fv__fail(FV_BAD_DATA,
                        "split: no row is left for training\n  expected smaller shares for valid and test, or more "
                        "rows\n  found:   %lld rows",
                        (long long)all->texts.count);
    return out ? fv_dataset_select(out, all, row, count) : FV_OK;
}

fv_status fv_dataset_split(fv_dataset **train, fv_dataset **valid, fv_dataset **test, const fv_dataset *all,
                           const fv_split_options *options) {
    fv_split_options standard;
    fv_dataset **out[] = {train, valid, test};
    for (int i = 0; i < 3; i++)
        if (out[i]) *out[i] = NULL;
    if (!options) fv_options_init(fv_split_option_rows(), &standard), options = &standard;
    if (!(options->valid >= 0 && options->test >= 0 && options->valid + options->test < 1))
        return fv__fail(
            FV_USAGE, "split: shares for valid and test\n  expected from 0, together less than 1\n  found:   %g and %g",
            options->valid, options->test);
    uint8_t *part = fv__alloc_array((size_t)all->texts.count, 1);
    int64_t *row = fv__alloc_array((size_t)all->texts.count, sizeof *row);
    fv_status status = part && row ? deal(all, options, part) : FV_NO_RESOURCES;
    for (int i = 0; i < 3 && status == FV_OK; i++) status = take(out[i], all, part, (fv_part)i, row);
    for (int i = 0; i < 3 && status != FV_OK; i++)
        if (out[i]) {
            fv_dataset_free(*out[i]);
            *out[i] = NULL;
        }
    fv__free(part);
    fv__free(row);
    return status;
}
