/* base: a growing text. */
#ifndef FV_BASE_BUF_H
#define FV_BASE_BUF_H

#include "base/status.h"

/* snprintf and vsnprintf, with a point in numbers whatever the locale of the host says. */
int fv__format(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int fv__format_list(char *text, size_t size, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* A growing byte string, always NUL-terminated. After a failed append `failed` stays set: check once at the end. */
typedef struct fv__buf {
    char *data;
    size_t size, capacity;
    bool failed;
} fv__buf;
void fv__buf_add(fv__buf *buf, const void *bytes, size_t count);
void fv__buf_text(fv__buf *buf, const char *text);
void fv__buf_printf(fv__buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
fv_status fv__buf_status(const fv__buf *buf);
void fv__buf_free(fv__buf *buf);

#endif
