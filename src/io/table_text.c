/* Tables of lines: what all formats share about text, and the three that are one row per line without quoting. */
#include "io/table_impl.h"

#include <inttypes.h>
#include <string.h>

fv_status fv__table_fail(const fv__table *t, int64_t line, const char *what) {
    return fv__fail(FV_BAD_DATA, "%s:%" PRId64 ": %s", t->name, line, what);
}

fv_status fv__table_field(fv__table *t, const char *data, size_t size) {
    if (t->count == INT32_MAX) return fv__table_fail(t, t->line, "too many fields");
    FV_TRY(FV_GROW(&t->all, &t->all_capacity, (size_t)t->count + 1));
    t->all[t->count++] = (fv__field){data, size};
    return FV_OK;
}

/* Of the line that holds `bad`, counted from the line where `text` begins. */
static int64_t line_of(const char *text, const char *bad, int64_t line) {
    for (; text < bad; text++) line += *text == '\n';
    return line;
}

fv_status fv__table_check_text(const fv__table *t, const char *text, size_t size, int64_t line) {
    if (size > FV_TABLE_RECORD_LIMIT) return fv__table_fail(t, line, "the line is longer than 16 MiB");
    const char *nul = memchr(text, '\0', size);
    if (nul)
        return fv__table_fail(t, line_of(text, nul, line), "not text\n  expected text in UTF-8\n  found:   a NUL byte");
    size_t valid = fv__utf8_valid(text, size);
    if (valid == size) return FV_OK;
    return fv__fail(FV_BAD_DATA, "%s:%" PRId64 ": not UTF-8: byte 0x%02X\n  try:     iconv -f ISO-8859-1 -t UTF-8 %s",
                    t->name, line_of(text, text + valid, line), (unsigned)(unsigned char)text[valid], t->name);
}

fv_status fv__table_line(fv__table *t, const char **line, size_t *size, bool *more) {
    *more = t->at < t->end;
    if (!*more) return FV_OK;
    const char *newline = memchr(t->at, '\n', (size_t)(t->end - t->at));
    const char *stop = newline ? newline : t->end;
    *line = t->at;
    *size = (size_t)(stop - t->at);
    if (*size && stop[-1] == '\r') --*size;
    t->at = newline ? newline + 1 : t->end;
    return fv__table_check_text(t, *line, *size, t->line++);
}

/* The same, but empty lines are passed over. */
static fv_status filled_line(fv__table *t, const char **line, size_t *size, bool *more) {
    do FV_TRY(fv__table_line(t, line, size, more));
    while (*more && !*size);
    return FV_OK;
}

fv_status fv__table_lines(fv__table *t, int64_t *number, bool *more) {
    const char *line = NULL;
    size_t size = 0;
    *number = t->line;
    FV_TRY(fv__table_line(t, &line, &size, more));
    return *more ? fv__table_field(t, line, size) : FV_OK;
}

fv_status fv__table_tsv(fv__table *t, int64_t *number, bool *more) {
    const char *line = NULL;
    size_t size = 0;
    FV_TRY(filled_line(t, &line, &size, more));
    *number = t->line - 1;
    if (!*more) return FV_OK;
    for (const char *end = line + size;;) {
        const char *tab = memchr(line, '\t', (size_t)(end - line));
        FV_TRY(fv__table_field(t, line, (size_t)((tab ? tab : end) - line)));
        if (!tab) return FV_OK;
        line = tab + 1;
    }
}

static bool is_space(char c) { return c == ' ' || c == '\t'; }

fv_status fv__table_fasttext(fv__table *t, int64_t *number, bool *more) {
    const char *at = NULL;
    size_t size = 0, prefix = strlen(t->prefix);
    *number = t->line;
    FV_TRY(fv__table_line(t, &at, &size, more));
    if (!*more) return FV_OK;
    for (const char *end = at + size;;) {
        while (at < end && is_space(*at)) at++;
        const char *word = at;
        bool label = prefix && (size_t)(end - at) >= prefix && !memcmp(at, t->prefix, prefix);
        if (!label) return fv__table_field(t, at, (size_t)(end - at));
        while (at < end && !is_space(*at)) at++;
        if ((size_t)(at - word) == prefix)
            return fv__table_fail(t, *number, "a label\n  expected a name behind the prefix\n  found:   none");
        FV_TRY(fv__table_field(t, word + prefix, (size_t)(at - word) - prefix));
        t->labels++;
    }
}
