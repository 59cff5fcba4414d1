/* dataset_split.c - train, valid and test: by a hash of the text, within classes, or by a column.
 *
 * The hash depends on the text and the seed alone. So rows that are added or removed never move others to another side,
 * and equal texts are not on two sides, unless a class consists of them. */
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

/* Rows of one class in the order of their hash: the first share is test, the next valid. Equal texts have equal hashes
 * and stay together, except those of a `large` group. */
static void deal_class(const place *list, int64_t count, const fv_split_options *o, int64_t large, uint8_t *part) {
    for (int64_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && list[end].hash == list[i].hash; end++) {}
        for (int64_t k = i; k < end; k++) {
            int64_t at = end - i >= large ? k : i;
            part[list[k].row] = part_at(((double)at + 0.5) / (double)count, o);
        }
    }
}

/* Has a part no row of the class although it has a share of it, or far more than its share? That takes equal texts. */
static bool is_uneven(const place *list, int64_t count, const fv_split_options *o, const uint8_t *part) {
    const double share[] = {[FV_TRAIN] = 1 - o->valid - o->test, [FV_VALID] = o->valid, [FV_TEST] = o->test};
    int64_t rows[3] = {0};
    bool equal = false;
    for (int64_t i = 0; i < count; i++) {
        rows[part[list[i].row]]++;
        equal |= i && list[i].hash == list[i - 1].hash;
    }
    for (int k = 0; k < 3; k++) {
        double due = share[k] * (double)count;
        if (equal && ((due >= 1 && !rows[k]) || (k != FV_TRAIN && (double)rows[k] > 2 * due + 1))) return true;
    }
    return false;
}

/* Half of the smallest part there is. */
static int64_t large_group(int64_t count, const fv_split_options *o) {
    double smallest = 1 - o->valid - o->test;
    if (o->valid > 0 && o->valid < smallest) smallest = o->valid;
    if (o->test > 0 && o->test < smallest) smallest = o->test;
    int64_t half = (int64_t)(smallest * (double)count / 2);
    return half > 2 ? half : 2;
}

static void deal_classes(place *list, int64_t count, const fv_split_options *o, const fv_classes *classes,
                         uint8_t *part) {
    qsort(list, (size_t)count, sizeof *list, by_class_and_hash);
    for (int64_t first = 0, end; first < count; first = end) {
        for (end = first; end < count && list[end].label == list[first].label; end++) {}
        const place *mine = list + first;
        deal_class(mine, end - first, o, INT64_MAX, part);
        if (!is_uneven(mine, end - first, o, part)) continue;
        deal_class(mine, end - first, o, large_group(end - first, o), part);
        fv__log(FV_LOG_WARN, "split: class \"%s\" has so many equal texts that they stand on both sides",
                classes->name[mine->label]);
    }
}

static int by_hash(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* A text with two labels is to be on one side: what it teaches is not asked about. All its rows are dealt with the
 * class of the first. Returns how many such texts there are, and a row of one. */
static int64_t join_texts_of_two_labels(place *list, int64_t count, int64_t *example) {
    int64_t found = 0;
    qsort(list, (size_t)count, sizeof *list, by_hash);
    for (int64_t i = 0, end; i < count; i = end) {
        bool other = false;
        for (end = i + 1; end < count && list[end].hash == list[i].hash; end++) {
            other |= list[end].label != list[i].label;
            list[end].label = list[i].label;
        }
        if (other && (!found++ || list[i].row < *example)) *example = list[i].row;
    }
    return found;
}

/* Texts of a class that consists of them may stand on both sides; with two labels they go to training. */
static void gather_texts_of_two_labels(place *list, int64_t count, const fv_dataset *all, uint8_t *part) {
    qsort(list, (size_t)count, sizeof *list, by_hash);
    for (int64_t i = 0, end; i < count; i = end) {
        bool other = false, apart = false;
        for (end = i + 1; end < count && list[end].hash == list[i].hash; end++) {
            other |= all->label[list[end].row] != all->label[list[i].row];
            apart |= part[list[end].row] != part[list[i].row];
        }
        for (int64_t k = i; k < end && other && apart; k++) part[list[k].row] = FV_TRAIN;
    }
}

static void deal_by_class(place *list, const fv_dataset *all, const fv_split_options *o, uint8_t *part) {
    int64_t count = all->texts.count, example = 0, two = join_texts_of_two_labels(list, count, &example);
    deal_classes(list, count, o, &all->classes, part);
    if (!two) return;
    gather_texts_of_two_labels(list, count, all, part);
    fv__log(FV_LOG_WARN, "split: %lld texts have two labels, such as that of %s:%lld; each is on one side",
            (long long)two, fv__dataset_file(all, example), (long long)all->line[example]);
}

/* A class that is asked about but never taught. */
static fv_status warn_of_untaught(const fv_dataset *all, const uint8_t *part) {
    uint8_t *seen = fv__alloc((size_t)all->classes.count + 1);
    if (!seen) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < all->texts.count; i++) seen[all->label[i]] |= (uint8_t)(1 << part[i]);
    for (int32_t c = 0; c < all->classes.count; c++)
        if (seen[c] && !(seen[c] & 1 << FV_TRAIN))
            fv__log(FV_LOG_WARN, "split: no text of the class \"%s\" is left to train on", all->classes.name[c]);
    fv__free(seen);
    return FV_OK;
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
    if (classes) deal_by_class(list, all, o, part);
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
    if (status == FV_OK && all->label) status = warn_of_untaught(all, part);
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

/* ---- texts of one part that are in another */

static int by_text_hash(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

fv_status fv_dataset_overlap(const fv_dataset *of, const fv_dataset *with, int64_t *count) {
    int64_t n = with->texts.count;
    uint64_t *known = fv__alloc_array((size_t)n + 1, sizeof *known);
    *count = 0;
    if (!known) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < n; i++) known[i] = fv__hash(with->texts.text[i], with->texts.size[i], 0);
    qsort(known, (size_t)n, sizeof *known, by_text_hash);
    for (int64_t i = 0; i < of->texts.count; i++) {
        uint64_t hash = fv__hash(of->texts.text[i], of->texts.size[i], 0);
        *count += bsearch(&hash, known, (size_t)n, sizeof *known, by_text_hash) != NULL;
    }
    fv__free(known);
    return FV_OK;
}
