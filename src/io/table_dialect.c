/* How a file of fields is written: what separates them, whether they are quoted, how lines end. What is found by
 * looking is said in the log. */
#include "io/table_impl.h"

#include <inttypes.h>
#include <string.h>

void fv__table_find_newline(fv__table *t) {
    size_t size = (size_t)(t->end - t->at);
    t->newline = size && !memchr(t->at, '\n', size) && memchr(t->at, '\r', size) ? '\r' : '\n';
    if (t->newline == '\r') fv__log(FV_LOG_INFO, "%s: its lines end with CR alone", t->name);
}

/* ---- what separates fields */

fv_status fv__table_parse_delimiter(const char *text, char *delimiter) {
    *delimiter = 0;
    if (!text || !strcmp(text, "auto")) return FV_OK;
    bool one = *text && !text[1] && (unsigned char)*text < 0x80;
    *delimiter = one ? *text : !strcmp(text, "tab") || !strcmp(text, "\\t") ? '\t' : 0;
    if (*delimiter) return FV_OK;
    return fv__fail(FV_USAGE, "the delimiter\n  expected one character, such as ; or |, or tab\n  found:   \"%s\"",
                    text);
}

const char *fv__table_delimiter_name(char delimiter, char name[4]) {
    if (delimiter == '\t') return "tab";
    memcpy(name, (char[4]){'\'', delimiter, '\''}, 4);
    return name;
}

/* The line "sep=;" that spreadsheets write in front. */
static bool take_sep_line(fv__table *t) {
    const char *p = t->at;
    bool quoted = p < t->end && *p == '"';
    p += quoted;
    if (t->end - p < 5 || memcmp(p, "sep=", 4) || strchr("\"\r\n", p[4])) return false;
    char delimiter = p[4];
    p += 5 + (quoted && p + 5 < t->end && p[5] == '"');
    if (p < t->end && *p == '\r' && t->newline == '\n') p++;
    if (p < t->end && *p != t->newline) return false;
    t->at = p < t->end ? p + 1 : p;
    t->line++;
    t->delimiter = delimiter;
    return true;
}

/* Cut by t->delimiter, does the first row have the columns that were asked for? Nothing is consumed. */
static bool first_row_fits(fv__table *t) {
    const char *start = t->at;
    int64_t start_line = t->line, line;
    bool more = false;
    t->count = 0;
    bool fits = fv__table_read_fields(t, &line, &more) == FV_OK && more && fv__table_has_columns(t);
    t->at = start;
    t->line = start_line;
    t->count = 0;
    return fits;
}

static void say_delimiter(const fv__table *t) {
    char name[4];
    const char *shown = fv__table_delimiter_name(t->delimiter, name);
    fv__log(FV_LOG_INFO, "%s: its fields are separated by %s, as --delimiter %s says", t->name,
            t->delimiter == '\t' ? "tabs" : shown, shown);
}

static void find_delimiter(fv__table *t) {
    static const char others[] = ";\t|,";
    char usual = t->delimiter = t->format == FV_TABLE_TSV ? '\t' : ',';
    if (take_sep_line(t)) {
        say_delimiter(t);
        return;
    }
    if (!t->columns || first_row_fits(t)) return;
    for (const char *c = others; *c; c++) {
        if (*c == usual) continue;
        t->delimiter = *c;
        if (!first_row_fits(t)) continue;
        say_delimiter(t);
        return;
    }
    t->delimiter = usual;
}

/* ---- quotes in TSV */

/* Has every line as many fields as the first, when quotes mean nothing? */
static bool even_without_quotes(const fv__table *t) {
    size_t first = 0;
    for (const char *line = t->at, *stop; line < t->end; line = stop + 1) {
        size_t fields = 1;
        stop = memchr(line, t->newline, (size_t)(t->end - line));
        if (!stop) stop = t->end;
        for (const char *p = line; (p = memchr(p, t->delimiter, (size_t)(stop - p))); p++) fields++;
        if (stop == line) continue;
        if (!first) first = fields;
        if (fields != first) return false;
        if (stop == t->end) break;
    }
    return true;
}

/* The end of a quoted field that begins at p, NULL when what follows is no such field. */
static const char *behind_quoted(const fv__table *t, const char *p, bool *doubled) {
    for (p++;; p += 2) {
        p = memchr(p, '"', (size_t)(t->end - p));
        if (!p) return NULL;
        if (p + 1 == t->end || p[1] != '"') break;
        *doubled = true;
    }
    p++;
    return p == t->end || *p == t->delimiter || *p == t->newline || *p == '\r' ? p : NULL;
}

/* TSV has no quotes by itself. It is taken to be quoted when every field that begins with one is closed as in CSV, and
 * there are quotes doubled inside, or rows that are of one length only then. */
static bool is_quoted(const fv__table *t) {
    bool any = false, doubled = false, at_start = true;
    if (!memchr(t->at, '"', (size_t)(t->end - t->at))) return false;
    for (const char *p = t->at; p < t->end;) {
        if (at_start && *p == '"') {
            p = behind_quoted(t, p, &doubled);
            if (!p) return false;
            any = true, at_start = false;
            continue;
        }
        at_start = *p == t->delimiter || *p == t->newline;
        p++;
    }
    return any && (doubled || !even_without_quotes(t));
}

fv_status fv__table_find_dialect(fv__table *t, char delimiter) {
    t->quoted = t->format == FV_TABLE_CSV;
    t->delimiter = delimiter;
    if (delimiter && strchr("\"\r\n", delimiter))
        return fv__fail(FV_USAGE, "a quote or a line break cannot be the delimiter");
    if (!delimiter) find_delimiter(t);
    if (!t->quoted && is_quoted(t)) {
        t->quoted = true;
        fv__log(FV_LOG_INFO, "%s: its fields are quoted as in CSV", t->name);
    }
    return FV_OK;
}
