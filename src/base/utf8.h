/* base: is a text UTF-8? */
#ifndef FV_BASE_UTF8_H
#define FV_BASE_UTF8_H

#include "fovea/base.h"

/* The number of bytes before the first one that is not UTF-8: `size` when all is well. */
size_t fv__utf8_valid(const void *text, size_t size);

#endif
