/* CSV as RFC 4180 has it: fields in quotes may hold delimiters, line breaks and doubled quotes. A record is first
 * delimited and checked as a whole, then cut into fields. */
#include "io/table_impl.h"

#include <inttypes.h>
#include <string.h>

static const char open_quote[] = "a quote\n  expected its end\n  found:   none";

/* The end of the record that begins at t->at: its line break outside quotes, or the end of the file. */
static fv_status record_end(const fv__table *t, const char **end, int64_t *lines) {
    bool quoted = false, at_start = true;
    int64_t opened = t->line;
    const char *p = t->at, *closed = NULL;
    *lines = 0;
    for (; p < t->end && p - t->at <= FV_TABLE_RECORD_LIMIT; p++) {
        if (*p == t->newline && !quoted) break;
        *lines += *p == t->newline;
        if (*p == '"' && quoted) {
            quoted = false;
            closed = p;
        } else if (*p == '"' && (at_start || closed == p - 1)) { /* of a doubled quote, the second opens again */
            if (at_start) opened = t->line + *lines;
            quoted = true;
        }
        at_start = !quoted && *p == t->delimiter;
    }
    *end = p;
    bool too_long = p < t->end && *p != t->newline;
    if (quoted)
        return fv__table_fail(t, opened,
                              too_long ? "a quote\n  expected its end within 16 MiB\n  found:   none" : open_quote);
    return too_long ? fv__table_fail(t, t->line, "the line is longer than 16 MiB") : FV_OK;
}

/* A quoted field; *p is at the opening quote. Without doubled quotes the field is a piece of the file. */
static fv_status quoted_field(fv__table *t, const char **p, const char *end, int64_t line) {
    const char *start = ++*p;
    size_t begin = t->scratch.size;
    for (;;) {
        const char *quote = memchr(*p, '"', (size_t)(end - *p));
        if (!quote) return fv__table_fail(t, line, open_quote);
        bool doubled = quote + 1 < end && quote[1] == '"';
        *p = quote + (doubled ? 2 : 1);
        if (doubled) {
            fv__buf_add(&t->scratch, start, (size_t)(quote + 1 - start));
            start = *p;
            continue;
        }
        if (t->scratch.size == begin) return fv__table_field(t, start, (size_t)(quote - start));
        fv__buf_add(&t->scratch, start, (size_t)(quote - start));
        FV_TRY(fv__buf_status(&t->scratch));
        return fv__table_field(t, t->scratch.data + begin, t->scratch.size - begin);
    }
}

static fv_status cut(fv__table *t, const char *p, const char *end, int64_t line) {
    for (;;) {
        if (p < end && *p == '"') {
            FV_TRY(quoted_field(t, &p, end, line));
            if (p < end && *p != t->delimiter)
                return fv__table_fail(t, line,
                                      "a quoted field\n  expected a delimiter or the end of the line after the closing "
                                      "quote\n  found:   text");
        } else {
            const char *stop = memchr(p, t->delimiter, (size_t)(end - p));
            FV_TRY(fv__table_field(t, p, (size_t)((stop ? stop : end) - p)));
            p = stop ? stop : end;
        }
        if (p == end) return FV_OK;
        p++;
    }
}

/* Room for the whole record, so that fields in the scratch never move. */
static fv_status make_room(fv__table *t, size_t size) {
    t->scratch.size = 0;
    return FV_GROW(&t->scratch.data, &t->scratch.capacity, size + 1);
}

fv_status fv__table_csv(fv__table *t, int64_t *line, bool *more) {
    while ((*more = t->at < t->end)) {
        FV_TRY(fv__table_refuse_mark(t));
        const char *start = t->at, *end = start;
        int64_t lines = 0;
        FV_TRY(record_end(t, &end, &lines));
        t->at = end < t->end ? end + 1 : end;
        *line = t->line;
        t->line += lines + 1;
        if (end > start && end[-1] == '\r') end--;
        if (end == start) continue; /* an empty line */
        size_t size = (size_t)(end - start);
        FV_TRY(fv__table_check_text(t, start, size, *line));
        FV_TRY(make_room(t, size));
        return cut(t, start, end, *line);
    }
    return FV_OK;
}
