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

int fv__format_list(char *text, size_t size, const char *format, va_list arguments) {
    fv__locale saved = fv__locale_enter();
    int wanted = vsnprintf(text, size, format, arguments);
    fv__locale_leave(saved);
    return wanted;
}

int fv__format(char *text, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int wanted = fv__format_list(text, size, format, arguments);
    va_end(arguments);
    return wanted;
}

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

void fv__buf_shown(fv__buf *buf, const char *text, size_t size) {
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < size; i++) {
        const bool late = p[i] == 0xC2 && i + 1 < size && p[i + 1] >= 0x80 && p[i + 1] < 0xA0;
        if (late) i++;
        if (late || p[i] < 32 || p[i] == 127)
            fv__buf_printf(buf, "\\x%02x", (unsigned)p[i]);
        else
            fv__buf_add(buf, text + i, 1);
    }
}

fv_status fv__buf_status(const fv__buf *buf) { return buf->failed ? FV_NO_RESOURCES : FV_OK; }

void fv__buf_free(fv__buf *buf) {
    fv__free(buf->data);
    *buf = (fv__buf){0};
}
