/* Text that is not UTF-8: where, and which iconv makes it so. See text_check.h. */
#include "io/text_check.h"

#include <inttypes.h>
#include <string.h>

/* Bytes of Western European text stand alone among ASCII; those of Chinese, Japanese or Russian in runs. Of the first
 * kind WINDOWS-1252 has all that ISO-8859-1 has, and quotes and dashes beside it. */
static const char *guess_encoding(const char *text, size_t size) {
    size_t high = 0, in_runs = 0, length;
    for (size_t i = 0; i < size; i += length) {
        length = 1;
        if ((signed char)text[i] >= 0) continue;
        size_t valid = fv__utf8_valid(text + i, size - i < 4 ? size - i : 4);
        if (valid > 1) { /* a character of UTF-8 says nothing about the others */
            length = valid;
            continue;
        }
        bool before = i && (signed char)text[i - 1] < 0, after = i + 1 < size && (signed char)text[i + 1] < 0;
        high++;
        in_runs += before || after;
    }
    return high >= 4 && in_runs * 2 > high ? "GB18030" : "WINDOWS-1252";
}

/* "iconv -f E -t UTF-8 data.csv > utf8.csv" */
static void add_step(fv__buf *step, const char *name, const char *encoding) {
    const char *slash = strrchr(name, '/'), *dot = strrchr(slash ? slash : name, '.');
    bool file = strcmp(name, "standard input") != 0;
    fv__buf_printf(step, "iconv -f %s -t UTF-8 ", encoding);
    if (file)
        fv__buf_printf(step, "%s > utf8%s", name, dot ? dot : ".txt");
    else
        fv__buf_text(step, "in front of it");
    if (!strcmp(encoding, "GB18030"))
        fv__buf_text(step, "   if it is Chinese (Japanese: SHIFT_JIS, Korean: EUC-KR, Russian: WINDOWS-1251)");
}

static int64_t line_of(const char *text, const char *bad, int64_t line) {
    for (; text < bad; text++) line += *text == '\n';
    return line;
}

fv_status fv__text_check(const char *name, const char *text, size_t size, const char *end, int64_t line) {
    enum { SAMPLE = 1 << 16 };
    const char *nul = size ? memchr(text, '\0', size) : NULL;
    size_t valid = fv__utf8_valid(text, size);
    if (nul && (size_t)(nul - text) <= valid)
        return fv__fail(FV_BAD_DATA, "%s:%" PRId64 ": not text\n  expected text in UTF-8\n  found:   a NUL byte", name,
                        line_of(text, nul, line));
    if (valid == size) return FV_OK;
    const char *bad = text + valid;
    size_t sample = end - bad < SAMPLE ? (size_t)(end - bad) : SAMPLE;
    fv__buf step = {0};
    add_step(&step, name, guess_encoding(bad, sample));
    fv_status status = fv__buf_status(&step);
    if (status == FV_OK)
        status = fv__fail(FV_BAD_DATA, "%s:%" PRId64 ": not UTF-8: byte 0x%02X\n  try:     %s", name,
                          line_of(text, bad, line), (unsigned)(unsigned char)*bad, step.data);
    fv__buf_free(&step);
    return status;
}

void fv__text_replace_bad(fv__buf *out, const char *text, size_t size) {
    while (size) {
        size_t valid = fv__utf8_valid(text, size);
        const char *nul = memchr(text, '\0', valid);
        if (nul) valid = (size_t)(nul - text);
        fv__buf_add(out, text, valid);
        if (valid == size) return;
        fv__buf_text(out, "\xEF\xBF\xBD");
        text += valid + 1;
        size -= valid + 1;
    }
}
