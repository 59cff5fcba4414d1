/* folds.c - rows dealt to folds for cross-validation: within classes, by a hash of the text, so that equal texts are
 * in one fold and the same text is always in the same place of the order. */
#include "data/dataset.h"

#include <stdlib.h>
#include <string.h>

typedef struct place {
    uint64_t hash;
    int32_t group; /* class of the first row with this text */
    int64_t row;
} place;

static int by_hash(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static int by_group(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    return by_hash(a, b);
}

/* All rows with one text belong to the class of the first of them. */
static void group_equal_texts(place *list, int64_t count) {
    qsort(list, (size_t)count, sizeof *list, by_hash);
    for (int64_t i = 1; i < count; i++)
        if (list[i].hash == list[i - 1].hash) list[i].group = list[i - 1].group;
}

fv_status fv__dataset_folds(int32_t *fold, const fv_dataset *all, int32_t folds, uint64_t seed) {
    int64_t count = all->texts.count;
    place *list = fv__alloc_array((size_t)count, sizeof *list);
    if (!list) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < count; i++)
        list[i] = (place){fv__hash(all->texts.text[i], all->texts.size[i], seed), all->label ? all->label[i] : 0, i};
    group_equal_texts(list, count);
    qsort(list, (size_t)count, sizeof *list, by_group);
    int32_t next = 0; /* goes on over classes, or the small ones would all begin in the first fold */
    for (int64_t i = 0; i < count; i++) {
        bool same = i > 0 && list[i].hash == list[i - 1].hash;
        fold[list[i].row] = same ? fold[list[i - 1].row] : next;
        if (!same) next = (next + 1) % folds;
    }
    fv__free(list);
    return FV_OK;
}
