/* cells: how wide text is on a terminal, and text that cannot command one. Widths are utf8proc's (Unicode's East Asian
 * Width); combining marks take none. */
#include "data/text.h"
#include "explain/render.h"

#include <utf8proc.h>

void fv__plain_text(fv__buf *out, const char *text, size_t size) {
    for (size_t i = 0, length; i < size; i += length) {
        char bytes[4];
        int32_t code = fv__utf8_next(text + i, size - i, &length, NULL);
        if (code == '\n' || code == '\r' || code == '\t' || code == 0x2028 || code == 0x2029) code = ' ';
        if (fv__is_control(code) && utf8proc_category(code) == UTF8PROC_CATEGORY_CF) continue;
        if (fv__is_control(code)) code = 0xFFFD;
        fv__buf_add(out, bytes, fv__utf8_put(bytes, code));
    }
}

int64_t fv__text_columns(const char *text, size_t size) {
    int64_t columns = 0;
    for (size_t i = 0, length; i < size; i += length)
        columns += utf8proc_charwidth(fv__utf8_next(text + i, size - i, &length, NULL));
    return columns;
}

int64_t fv__fit_columns(fv__buf *out, const char *text, size_t size, int64_t columns) {
    int64_t used = 0, total = fv__text_columns(text, size), room = total <= columns ? columns : columns - 1;
    for (size_t i = 0, length; i < size; i += length) {
        int width = utf8proc_charwidth(fv__utf8_next(text + i, size - i, &length, NULL));
        if (used + width > room) break;
        fv__buf_add(out, text + i, length);
        used += width;
    }
    if (total <= columns || columns < 1) return used;
    fv__buf_text(out, "~");
    return used + 1;
}
