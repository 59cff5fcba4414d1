/* base: names that are nearly right. */
#ifndef FV_BASE_NAMES_H
#define FV_BASE_NAMES_H

#include "base/status.h"

/* The nearest name of a NULL-terminated list within 1/3 of its length in edits, or NULL. */
const char *fv__nearest(const char *word, const char *const *names);
/* FV_USAGE: "unknown WHAT 'NAME'", the nearest of the names (ended by NULL) and all of them. A NULL name is empty. */
fv_status fv__unknown_name(const char *what, const char *name, const char *const *names);

#endif
