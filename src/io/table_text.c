/* Tables of lines: what all formats share about text, and the three that are one row per line without quoting. */
#include "io/table_impl.h"
#include "io/text_check.h"

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

fv_status fv__table_check_text(const fv__table *t, const char *text, size_t size, int64_t line) {
    if (size > FV_TABLE_RECORD_LIMIT) return fv__table_fail(t, line, "the line is longer than 16 MiB");
    return fv__text_check(t->name, text, size, t->end, line);
}

/* ---- marks */

static const char mark[] = "\xEF\xBB\xBF";

bool fv__table_starts_with_mark(const fv__table *t) { return t->end - t->at >= 3 && !memcmp(t->at, mark, 3); }

fv_status fv__table_refuse_mark(const fv__table *t) {
    if (t->line <= 1 || !fv__table_starts_with_mark(t)) return FV_OK;
    return fv__table_fail(
        t, t->line,
        "a byte order mark (U+FEFF) inside the file\n  expected one at its start only\n  found:   two files joined, it "
        "seems\n  try:     the files one by one, as several --input");
}

/* In front of a line it is no part of the text. */
static void pass_mark(fv__table *t) {
    if (t->line <= 1 || !fv__table_starts_with_mark(t)) return;
    t->at += 3;
    if (!t->marked)
        fv__log(FV_LOG_WARN, "%s:%" PRId64 ": a byte order mark (U+FEFF) inside the file is left out", t->name,
                t->line);
    t->marked = true;
}

/* ---- lines */

void fv__table_say_odd(fv__table *t, const char *how) {
    enum { SAID = 10 };
    if (t->odd++ < SAID)
        fv__log(FV_LOG_WARN, "%s\n  %s%s", fv_message(), how, t->odd == SAID ? "; more such lines are not named" : "");
}

/* A line that is no text becomes one, with as much as can be read. */
static fv_status repair(fv__table *t, const char **line, size_t *size) {
    if (*size > FV_TABLE_RECORD_LIMIT) {
        *size = FV_TABLE_RECORD_LIMIT;
        fv__log(FV_LOG_WARN, "%s:%" PRId64 ": only the first 16 MiB of the line are read", t->name, t->line);
    }
    if (fv__text_check(t->name, *line, *size, t->end, t->line) == FV_OK) return FV_OK;
    fv__table_say_odd(t, "read with U+FFFD in its place");
    t->repaired.size = 0;
    fv__text_replace_bad(&t->repaired, *line, *size);
    *line = t->repaired.data;
    *size = t->repaired.size;
    return fv__buf_status(&t->repaired);
}

fv_status fv__table_line(fv__table *t, const char **line, size_t *size, bool *more) {
    *more = t->at < t->end;
    if (!*more) return FV_OK;
    const char *newline = memchr(t->at, t->newline, (size_t)(t->end - t->at));
    const char *stop = newline ? newline : t->end;
    *line = t->at;
    *size = (size_t)(stop - t->at);
    if (*size && stop[-1] == '\r') --*size;
    t->at = newline ? newline + 1 : t->end;
    fv_status status = t->lenient ? repair(t, line, size) : fv__table_check_text(t, *line, *size, t->line);
    t->line++;
    return status;
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
    pass_mark(t);
    *number = t->line;
    FV_TRY(fv__table_line(t, &line, &size, more));
    return *more ? fv__table_field(t, line, size) : FV_OK;
}

fv_status fv__table_tsv(fv__table *t, int64_t *number, bool *more) {
    const char *line = NULL;
    size_t size = 0;
    FV_TRY(fv__table_refuse_mark(t));
    FV_TRY(filled_line(t, &line, &size, more));
    *number = t->line - 1;
    if (!*more) return FV_OK;
    for (const char *end = line + size;;) {
        const char *gap = memchr(line, t->delimiter, (size_t)(end - line));
        FV_TRY(fv__table_field(t, line, (size_t)((gap ? gap : end) - line)));
        if (!gap) return FV_OK;
        line = gap + 1;
    }
}

/* ---- fastText: words with a prefix are labels, wherever they stand */

static bool is_space(char c) { return c == ' ' || c == '\t'; }

static const char *word_end(const char *at, const char *end) {
    while (at < end && !is_space(*at)) at++;
    return at;
}

static const char *behind_spaces(const char *at, const char *end) {
    while (at < end && is_space(*at)) at++;
    return at;
}

/* Takes the word at *at if it is a label. A prefix alone names nothing: a fault, or a word like any other. */
static fv_status take_label(fv__table *t, const char **at, const char *end, int64_t number, bool *taken) {
    size_t prefix = strlen(t->prefix);
    const char *stop;
    *taken = prefix && (size_t)(end - *at) >= prefix && !memcmp(*at, t->prefix, prefix);
    if (!*taken) return FV_OK;
    stop = word_end(*at, end);
    if ((size_t)(stop - *at) == prefix && t->lenient) return *taken = false, FV_OK;
    if ((size_t)(stop - *at) == prefix)
        return fv__table_fail(t, number, "a label\n  expected a name behind the prefix\n  found:   none");
    FV_TRY(fv__table_field(t, *at + prefix, (size_t)(stop - *at) - prefix));
    t->labels++;
    *at = stop;
    return FV_OK;
}

static bool has_prefix_inside(const fv__table *t, const char *at, const char *end) {
    size_t prefix = strlen(t->prefix);
    for (const char *p = at; prefix && (p = memchr(p, t->prefix[0], (size_t)(end - p))); p++)
        if ((size_t)(end - p) >= prefix && !memcmp(p, t->prefix, prefix) && (p == at || is_space(p[-1]))) return true;
    return false;
}

/* The words between the labels. */
static fv_status text_among_labels(fv__table *t, const char *at, const char *end, int64_t number) {
    size_t kept = t->scratch.size = 0;
    fv__buf_text(&t->scratch, "");
    while (at < end) {
        bool taken = false;
        const char *start = at;
        FV_TRY(take_label(t, &at, end, number, &taken));
        if (!taken) at = word_end(at, end);
        const char *next = behind_spaces(at, end);
        if (!taken) {
            fv__buf_add(&t->scratch, start, (size_t)(next - start));
            kept = t->scratch.size - (size_t)(next - at);
        }
        at = next;
    }
    FV_TRY(fv__buf_status(&t->scratch));
    return fv__table_field(t, t->scratch.data, kept);
}

fv_status fv__table_fasttext(fv__table *t, int64_t *number, bool *more) {
    const char *at = NULL;
    size_t size = 0;
    bool label = true;
    pass_mark(t);
    *number = t->line;
    FV_TRY(fv__table_line(t, &at, &size, more));
    if (!*more) return FV_OK;
    for (const char *end = at + size; label;) {
        at = behind_spaces(at, end);
        FV_TRY(take_label(t, &at, end, *number, &label));
        if (label) continue;
        if (has_prefix_inside(t, at, end)) return text_among_labels(t, at, end, *number);
        return fv__table_field(t, at, (size_t)(end - at));
    }
    return FV_OK;
}
