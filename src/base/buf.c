/* A growing byte string. Failures stay in it, so that a long text can be built without a check at every line. */
#include "base/buf.h"

#include "base/base.h"
#include "base/locale.h"

#include <stdio.h>
#include <string.h>

/* Makes room for `count` more bytes and the closing NUL. */
static bool reserve(fv__buf *buf, size_t count) {
    size_t need;
    if (buf->failed) return false;
    bool fits = fv__add_ok(buf->size, count, &need) && fv__add_ok(need, 1, &need);
    if (!fits) fv__fail(FV_NO_RESOURCES, "out of memory: a text of %zu and %zu bytes", buf->size, count);
    if (!fits || FV_GROW(&buf->data, &buf->capacity, need) != FV_OK) buf->failed = true;
    return !buf->failed;
}

void fv__buf_add(fv__buf *buf, const void *bytes, size_t count) {
    if (!reserve(buf, count)) return;
    if (count) memcpy(buf->data + buf->size, bytes, count);
    buf->size += count;
    buf->data[buf->size] = '\0';
}

void fv__buf_text(fv__buf *buf, const char *text) { fv__buf_add(buf, text, strlen(text)); }

void fv__buf_printf(fv__buf *buf, const char *format, ...) {
    char small[256];
    fv__locale saved = fv__locale_enter();
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);
    if (wanted >= 0 && (size_t)wanted < sizeof small) {
        fv__buf_add(buf, small, (size_t)wanted);
    } else if (wanted >= 0 && reserve(buf, (size_t)wanted)) {
        va_start(arguments, format);
        vsnprintf(buf->data + buf->size, (size_t)wanted + 1, format, arguments);
        va_end(arguments);
        buf->size += (size_t)wanted;
    }
    fv__locale_leave(saved);
}

fv_status fv__buf_status(const fv__buf *buf) { return buf->failed ? FV_NO_RESOURCES : FV_OK; }

void fv__buf_free(fv__buf *buf) {
    fv__free(buf->data);
    *buf = (fv__buf){0};
}
