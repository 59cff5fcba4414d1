/* JSON lines: every line one object; a column is a key, or a path of keys with dots. */
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
    FV_TRY(fv__json_parse_at(&t->object, line, size, t->name, number, FV_BAD_DATA));
    if (fv__json_kind_of(t->object) == FV_JSON_OBJECT) return FV_OK;
    return fv__fail(FV_BAD_DATA, "%s:%" PRId64 ": expected one JSON object per line\n  found:   %s", t->name, number,
                    fv__json_kind_name(t->object));
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

fv_status fv__table_jsonl(fv__table *t, int64_t *number, bool *more) {
    const char *line = NULL;
    size_t size = 0;
    do FV_TRY(fv__table_line(t, &line, &size, more));
    while (*more && blank(line, size));
    *number = t->line - 1;
    if (!*more) return FV_OK;
    t->scratch.size = 0;
    FV_TRY(parse(t, line, size, *number));
    for (int i = 0; i < t->column_count; i++)
        FV_TRY(add_value(t, t->columns[i], fv__json_path(t->object, t->columns[i]), *number, false));
    for (void *pair = t->columns ? NULL : fv__json_first(t->object); pair; pair = fv__json_next(t->object, pair))
        FV_TRY(add_value(t, fv__json_key(pair), fv__json_value(pair), *number, true));
    resolve_row(t);
    return FV_OK;
}
