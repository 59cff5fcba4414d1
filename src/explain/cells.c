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
        bool joiner =
            code == 0x200C || code == 0x200D; /* make letters of several in Persian, Indic scripts and emoji */
        if (fv__is_control(code) && utf8proc_category(code) == UTF8PROC_CATEGORY_CF && !joiner) continue;
        if (fv__is_control(code) && !joiner) code = 0xFFFD;
        fv__buf_add(out, bytes, fv__utf8_put(bytes, code));
    }
}

int64_t fv_text_columns(const char *text, size_t size) {
    int64_t columns = 0;
    for (size_t i = 0, length; i < size; i += length)
        columns += utf8proc_charwidth(fv__utf8_next(text + i, size - i, &length, NULL));
    return columns;
}

/* The letters before the first boundary of a grapheme cluster: what a reader takes for one letter. */
size_t fv__cluster(const char *text, size_t size) {
    utf8proc_int32_t state = 0;
    size_t at, length;
    int32_t before = fv__utf8_next(text, size, &at, NULL);
    for (; at < size; at += length) {
        int32_t code = fv__utf8_next(text + at, size - at, &length, NULL);
        if (utf8proc_grapheme_break_stateful(before, code, &state)) break;
        before = code;
    }
    return at;
}

int64_t fv__cut_columns(fv__buf *out, const char *text, size_t size, int64_t columns, const char *mark) {
    int64_t used = 0, total = fv_text_columns(text, size), room = total <= columns ? columns : columns - 1;
    for (size_t i = 0, length; i < size; i += length) {
        length = fv__cluster(text + i, size - i);
        int64_t width = fv_text_columns(text + i, length);
        if (used + width > room) break;
        fv__buf_add(out, text + i, length);
        used += width;
    }
    if (total <= columns || columns < 1) return used;
    fv__buf_text(out, mark);
    return used + 1;
}

int64_t fv__fit_columns(fv__buf *out, const char *text, size_t size, int64_t columns) {
    return fv__cut_columns(out, text, size, columns, "~");
}
