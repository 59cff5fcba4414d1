/* dataset: the inside of fv_dataset. Texts and class names live in a store that selections share; the arrays over them
 * belong to each dataset. */
#ifndef FV_DATA_DATASET_H
#define FV_DATA_DATASET_H

#include "base/base.h"
#include "fovea/data.h"

#include <stdatomic.h>

typedef struct fv__store {
    atomic_int references;
    fv__arena *strings;
    const char **class_name;
    char **file_name;
    int files;
} fv__store;

/* Rows while they are being gathered. */
typedef struct fv__rows {
    const char **text;
    size_t *size;
    int32_t *label;
    double *number;
    uint8_t *part;
    int32_t *file;
    int64_t *line;
    size_t count, text_capacity, size_capacity, label_capacity, number_capacity, part_capacity, file_room,
        line_capacity;
} fv__rows;

typedef struct fv__row_values {
    const char *text;
    size_t size;
    int32_t label;
    double number;
    uint8_t part;
    int32_t file;
    int64_t line;
} fv__row_values;

fv_status fv__store_create(fv__store **store);
void fv__store_free(fv__store *store);
fv_status fv__store_text(fv__store *store, const char **copy, const char *text, size_t size); /* NUL-terminated copy */

fv_status fv__rows_add(fv__rows *rows, fv__row_values values);
void fv__rows_free(fv__rows *rows);

/* Makes a dataset of the rows; takes them over, and one reference of the store, also when it fails. */
fv_status fv__dataset_build(fv_dataset **data, fv__store *store, fv__rows *rows, fv_classes classes,
                            fv_target_type target, bool parts);

/* Of texts and targets, in their order; data may be NULL. */
uint64_t fv__dataset_hash(const fv_dataset *data, uint64_t hash);

/* fold (texts): 0 .. folds - 1 for each row, classes evenly over folds, equal texts in one. */
fv_status fv__dataset_folds(int32_t *fold, const fv_dataset *all, int32_t folds, uint64_t seed);

/* FV_BAD_DATA when a text is not UTF-8 or has a NUL byte. */
fv_status fv__texts_check(fv_texts texts);

/* The file a row came from, for messages. */
const char *fv__dataset_file(const fv_dataset *data, int64_t row);

#endif
