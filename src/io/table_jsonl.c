/* JSON: every line one object, or objects over several lines, or one array of objects; a column is a key, or a path of
 * keys with dots. Which of them it is, the first bytes say. */
#include "io/table_impl.h"

#include <inttypes.h>
#include <string.h>

static bool blank(const char *line, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (line[i] != ' ' && line[i] != '\t') return false;
    return true;
}

static fv_status parse(fv__table *t, const char *line, size_t size, int64_t number) {
    fv__json_free(t->object);
    t->object = NULL;
    FV_TRY(fv__json_parse_row(&t->object, line, size, t->name, number, FV_BAD_DATA));
    if (fv__json_kind_of(t->object) == FV_JSON_OBJECT) return FV_OK;
    return fv__fail(FV_BAD_DATA, "%s:%" PRId64 ": expected one JSON object per %s\n  found:   %s", t->name, number,
                    t->layout == FV_JSON_BY_LINE ? "line" : "text", fv__json_kind_name(t->object));
}

/* Strings are taken as they are; numbers and truth values as they are written. Where the text lies is said by offset,
 * because the scratch may still move. */
static fv_status add_value(fv__table *t, const char *key, const fv__json *value, int64_t line, bool nested) {
    fv__json_kind kind = fv__json_kind_of(value);
    if (kind == FV_JSON_NONE || kind == FV_JSON_NULL) return fv__table_field(t, NULL, 0);
    if (kind == FV_JSON_STRING) return fv__table_field(t, fv__json_text(value), fv__json_text_size(value));
    if ((kind == FV_JSON_ARRAY || kind == FV_JSON_OBJECT) && !nested)
        return fv__fail(FV_BAD_DATA, "%s:%" PRId64 ": \"%s\"\n  expected a text or a number\n  found:   %s", t->name,
                        line, key, fv__json_kind_name(value));
    size_t begin = t->scratch.size;
    FV_TRY(fv__json_dump(value, FV_JSON_LINE, &t->scratch));
    FV_TRY(fv__table_field(t, (const char *)t, t->scratch.size - begin)); /* the mark of a field in the scratch */
    return FV_OK;
}

/* The fields marked above, now that the scratch is complete. They lie there one after the other. */
static void resolve_row(fv__table *t) {
    const char *at = t->scratch.data;
    for (int i = 0; i < t->count; i++) {
        if (t->all[i].data != (const char *)t) continue;
        t->all[i].data = at;
        at += t->all[i].size;
    }
}

/* ---- objects over several lines */

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static const char *behind_string(const char *p, const char *end) {
    for (p++; p < end && *p != '"'; p++) p += *p == '\\';
    return p < end ? p + 1 : end;
}

/* The end of the value at p, as far as brackets and quotes say; NULL when it has none. */
static const char *value_end(const char *p, const char *end) {
    int64_t depth = 0;
    while (p < end) {
        char c = *p;
        if (!depth && (c == ',' || c == ']' || c == '}' || is_space(c))) return p;
        if (c == '"') {
            p = behind_string(p, end);
            continue;
        }
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        p++;
        if (!depth && (c == '}' || c == ']')) return p;
    }
    return depth ? NULL : p;
}

static void pass_spaces(fv__table *t) {
    for (; t->at < t->end && is_space(*t->at); t->at++) t->line += *t->at == '\n';
}

/* An object that ends on its own line is the first of JSON lines, and so is one that never ends: then the fault has a
 * line. */
static void find_layout(fv__table *t) {
    const char *p = t->at;
    while (p < t->end && is_space(*p)) p++;
    t->layout = FV_JSON_BY_LINE;
    if (p == t->end || (*p != '{' && *p != '[')) return;
    const char *stop = value_end(p, t->end);
    bool lines = !stop || (*p == '{' && !memchr(p, '\n', (size_t)(stop - p)));
    if (lines) return;
    t->layout = *p == '[' ? FV_JSON_ONE_ARRAY : FV_JSON_VALUES;
    pass_spaces(t);
    t->at += *p == '[';
}

static fv_status end_of_array(fv__table *t, bool *more) {
    t->at++;
    pass_spaces(t);
    t->layout = FV_JSON_END;
    *more = false;
    return t->at == t->end ? FV_OK : fv__table_fail(t, t->line, "something follows the array of objects");
}

/* The next value as a piece of the file. */
static fv_status next_value(fv__table *t, const char **value, size_t *size, int64_t *line, bool *more) {
    pass_spaces(t);
    *more = t->at < t->end && t->layout != FV_JSON_END;
    if (t->layout == FV_JSON_ONE_ARRAY && *more && *t->at == ']') return end_of_array(t, more);
    if (!*more) return t->layout == FV_JSON_ONE_ARRAY ? fv__table_fail(t, t->line, "the array has no end") : FV_OK;
    FV_TRY(fv__table_refuse_mark(t));
    const char *stop = value_end(t->at, t->end);
    if (!stop) stop = t->end;
    if (stop == t->at) return fv__table_fail(t, t->line, "malformed JSON: a value is missing");
    *value = t->at;
    *size = (size_t)(stop - t->at);
    *line = t->line;
    FV_TRY(fv__table_check_text(t, *value, *size, *line));
    for (const char *p = t->at; p < stop; p++) t->line += *p == '\n';
    t->at = stop;
    pass_spaces(t);
    bool comma = t->layout == FV_JSON_ONE_ARRAY && t->at < t->end && *t->at == ',';
    t->at += comma;
    if (comma || t->layout != FV_JSON_ONE_ARRAY || (t->at < t->end && *t->at == ']')) return FV_OK;
    return t->at == t->end ? FV_OK : fv__table_fail(t, t->line, "malformed JSON: a comma is missing");
}

static fv_status next_line(fv__table *t, const char **line, size_t *size, int64_t *number, bool *more) {
    do {
        FV_TRY(fv__table_refuse_mark(t));
        FV_TRY(fv__table_line(t, line, size, more));
    } while (*more && blank(*line, *size));
    *number = t->line - 1;
    return FV_OK;
}

static fv_status add_values(fv__table *t, const char *text, size_t size, int64_t number) {
    t->scratch.size = 0;
    FV_TRY(parse(t, text, size, number));
    for (int i = 0; i < t->column_count; i++)
        FV_TRY(add_value(t, t->columns[i], fv__json_path(t->object, t->columns[i]), number, false));
    for (void *pair = t->columns ? NULL : fv__json_first(t->object); pair; pair = fv__json_next(t->object, pair))
        FV_TRY(add_value(t, fv__json_key(pair), fv__json_value(pair), number, true));
    resolve_row(t);
    return FV_OK;
}

/* A line that cannot be read has its answer too: that of an empty text. */
static fv_status add_nothing(fv__table *t) {
    fv__table_say_odd(t, "read as an empty text");
    t->count = 0;
    for (int i = 0; i < t->column_count; i++) FV_TRY(fv__table_field(t, "", 0));
    return FV_OK;
}

fv_status fv__table_jsonl(fv__table *t, int64_t *number, bool *more) {
    const char *text = NULL;
    size_t size = 0;
    if (t->layout == FV_JSON_UNKNOWN) find_layout(t);
    if (t->layout == FV_JSON_BY_LINE)
        FV_TRY(next_line(t, &text, &size, number, more));
    else
        FV_TRY(next_value(t, &text, &size, number, more));
    if (!*more) return FV_OK;
    fv_status status = add_values(t, text, size, *number);
    return status == FV_BAD_DATA && t->lenient ? add_nothing(t) : status;
}
