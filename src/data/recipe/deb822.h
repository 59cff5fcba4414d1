/* deb822: Debian's control files, as in Packages and Translation-en: stanzas of "Key: value" lines. */
#ifndef FV_DATA_DEB822_H
#define FV_DATA_DEB822_H

#include "base/base.h"

typedef struct fv__slice {
    const char *text;
    size_t size;
} fv__slice;

typedef struct fv__deb822_field {
    size_t key, key_size, value, value_size;
} fv__deb822_field; /* offsets into `values` */

/* Zero it, set text and size, call next until it returns false, check fv__deb822_status, free it. */
typedef struct fv__deb822 {
    const char *text;
    size_t size, at;
    fv__buf values;
    fv__deb822_field *field;
    size_t fields, capacity;
    fv_status status;
} fv__deb822;

bool fv__deb822_next(fv__deb822 *reader); /* false at the end and on lack of memory */
fv_status fv__deb822_status(const fv__deb822 *reader);
void fv__deb822_free(fv__deb822 *reader);

/* The value of a field of the present stanza: first line stripped, then each continuation line behind a newline, with
 * its leading blank. The last of equal keys counts. text is NULL when there is none. Valid until the next stanza. */
fv__slice fv__deb822_get(const fv__deb822 *reader, const char *key);

#endif
