/* base: structs of options that nobody has set by name. */
#ifndef FV_BASE_OPTIONS_CHECK_H
#define FV_BASE_OPTIONS_CHECK_H

#include "base/status.h"

/* A struct that was filled by hand has not been through fv_options_set: holds the field of one row against it. */
fv_status fv__option_check(const fv_option *row, const void *options);
/* Fields that are zero where zero is no value (a text that is NULL, a number out of its range) become the defaults;
 * then every field is held against its row. */
fv_status fv__options_complete(const fv_option *rows, void *options);

/* What the rows say of a struct, as bytes that are equal only for equal values: a key to find things by. Returns the
 * length; writes at most `size` bytes. */
size_t fv__options_key(const fv_option *rows, const void *options, void *key, size_t size);

#endif
