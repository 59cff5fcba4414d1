/* Is this text in UTF-8, and if not, what may it be? */
#ifndef FV_IO_TEXT_CHECK_H
#define FV_IO_TEXT_CHECK_H

#include "base/base.h"

/* FV_BAD_DATA that names the line of a byte that is not UTF-8, or of a NUL byte; `line` is that of the first byte. What
 * follows text[size) up to `end` helps to guess the encoding. */
fv_status fv__text_check(const char *name, const char *text, size_t size, const char *end, int64_t line);
/* The text with U+FFFD for whatever is no UTF-8 and for NUL bytes. Appends. */
void fv__text_replace_bad(fv__buf *out, const char *text, size_t size);

#endif
