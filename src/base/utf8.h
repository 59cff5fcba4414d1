/* base: texts in UTF-8, and what of a text a terminal may see. */
#ifndef FV_BASE_UTF8_H
#define FV_BASE_UTF8_H

#include "base/buf.h"

/* The number of bytes before the first one that is not UTF-8: `size` when all is well. */
size_t fv__utf8_valid(const void *text, size_t size);

/* Appends text that may come from a file to a line that may go to a terminal: control characters (below U+0020, DEL,
 * U+0080 to U+009F) are shown as \xNN. A backslash stays one. */
void fv__buf_shown(fv__buf *buf, const char *text, size_t size);

#endif
