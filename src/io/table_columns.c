/* The header of CSV and TSV, and where the columns that were asked for are. */
#include "io/table_impl.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

static bool is_number(const char *text) { return *text && !text[strspn(text, "0123456789")]; }

static bool same_text(const fv__field *f, const char *text) {
    return f->size == strlen(text) && !memcmp(f->data, text, f->size);
}

/* ---- is the first row a header? */

static int field_named(const fv__table *t, const char *name) {
    for (int i = 0; i < t->count; i++)
        if (same_text(&t->all[i], name)) return i;
    return -1;
}

/* The field of the present row that a number means, NULL when there is none. */
static const fv__field *field_numbered(const fv__table *t, const char *asked) {
    int64_t number;
    bool there = is_number(asked) && fv__parse_int(asked, &number) && number >= 1 && number <= t->count;
    return there ? &t->all[number - 1] : NULL;
}

bool fv__table_has_columns(const fv__table *t) {
    for (int i = 0; i < t->column_count; i++) {
        bool named = t->header != FV_HEADER_NO && field_named(t, t->columns[i]) >= 0;
        if (!named && !field_numbered(t, t->columns[i])) return false;
    }
    return true;
}

/* Words that headers are made of, and hardly ever a text or a class. */
static bool is_header_word(const fv__field *f) {
    static const char *const words[] = {
        "text",         "texts",        "sentence",     "review",       "reviews", "content", "comment",
        "comments",     "message",      "body",         "title",        "label",   "labels",  "class",
        "classes",      "category",     "target",       "sentiment",    "rating",  "score",   "\u6587\u672C",
        "\u5185\u5BB9", "\u8BC4\u8BBA", "\u6807\u7B7E", "\u7C7B\u522B", NULL};
    for (const char *const *word = words; *word; word++)
        if (f->size == strlen(*word) && !strncasecmp(f->data, *word, f->size)) return true;
    return false;
}

/* Asked for by number only: is the first row a header nevertheless? */
static bool looks_like_header(const fv__table *t) {
    if (t->column_count < 1) return false;
    for (int i = 0; i < t->column_count; i++) {
        const fv__field *f = field_numbered(t, t->columns[i]);
        if (!f || !is_header_word(f)) return false;
    }
    fv__log(FV_LOG_INFO, "%s: its first row is taken for a header; --header no reads it as data", t->name);
    return true;
}

/* The rule of "auto": columns were asked for by name, and the first row has all of them. */
static bool first_row_is_header(const fv__table *t) {
    int named = 0;
    if (t->header != FV_HEADER_AUTO) return t->header == FV_HEADER_YES;
    for (int i = 0; i < t->column_count; i++) {
        if (is_number(t->columns[i])) continue;
        if (field_named(t, t->columns[i]) < 0) return false;
        named++;
    }
    return named > 0 || looks_like_header(t);
}

/* ---- names */

/* Of every field of the present row, NULL-terminated. */
static fv_status keep_names(fv__table *t) {
    t->names = fv__alloc_array((size_t)t->count + 1, sizeof *t->names);
    if (!t->names) return FV_NO_RESOURCES;
    for (int i = 0; i < t->count; i++) {
        t->names[i] = fv__alloc(t->all[i].size + 1);
        if (!t->names[i]) return FV_NO_RESOURCES;
        memcpy(t->names[i], t->all[i].data, t->all[i].size);
    }
    return FV_OK;
}

static void list_found(const fv__table *t, fv__buf *list) {
    for (int i = 0; i < t->count && i < 20; i++) {
        size_t size = t->all[i].size < 40 ? t->all[i].size : 40;
        while (size < t->all[i].size && size && ((unsigned char)t->all[i].data[size] & 0xC0) == 0x80) size--;
        fv__buf_printf(list, "%s\"%.*s\"", i ? ", " : "", (int)size, t->all[i].data);
    }
    if (t->count > 20) fv__buf_text(list, ", ...");
}

/* Near names of the missing columns, each once. */
static void list_near(const fv__table *t, fv__buf *list) {
    for (int i = 0; i < t->column_count; i++) {
        const char *near = t->pick[i] < 0 ? fv__nearest(t->columns[i], (const char *const *)t->names) : NULL;
        if (near) fv__buf_printf(list, "%s\"%s\"", list->size ? " or " : "\n  did you mean ", near);
    }
    if (list->size) fv__buf_text(list, "?");
}

static fv_status missing_columns(const fv__table *t, int64_t line) {
    fv__buf missing = {0}, found = {0}, near = {0};
    for (int i = 0; i < t->column_count; i++)
        if (t->pick[i] < 0)
            fv__buf_printf(&missing, "%s\"%s\"", missing.size ? " and no column " : "no column ", t->columns[i]);
    list_found(t, &found);
    if (t->header != FV_HEADER_NO) list_near(t, &near);
    if (t->hint) fv__buf_printf(&near, "\n  try:     %s", t->hint);
    fv_status status = missing.failed || found.failed || near.failed ? FV_NO_RESOURCES : FV_OK;
    if (status == FV_OK)
        status = fv__fail(FV_BAD_DATA, "%s:%" PRId64 ": %s\n  expected %snumbers from 1 to %d\n  found:   %s%s",
                          t->name, line, missing.data ? missing.data : "",
                          t->header == FV_HEADER_NO ? "without a header " : "names in the first row, or ", t->count,
                          found.data ? found.data : "nothing", near.data ? near.data : "");
    fv__buf_free(&missing);
    fv__buf_free(&found);
    fv__buf_free(&near);
    return status;
}

/* The place of a column in the first row, which is the present one; -1 when it is not there. */
static fv_status find_column(const fv__table *t, const char *asked, bool header, int64_t line, int *place) {
    const fv__field *numbered = field_numbered(t, asked);
    *place = header ? field_named(t, asked) : -1;
    for (int i = *place + 1; *place >= 0 && i < t->count; i++)
        if (same_text(&t->all[i], asked))
            return fv__fail(FV_BAD_DATA,
                            "%s:%" PRId64 ": two columns are named \"%s\"\n  try:     their numbers: %d and %d",
                            t->name, line, asked, *place + 1, i + 1);
    if (*place < 0 && numbered) *place = (int)(numbered - t->all);
    return FV_OK;
}

static fv_status find_columns(fv__table *t, bool header, int64_t line) {
    bool all = true;
    t->pick = fv__alloc_array((size_t)t->column_count + 1, sizeof *t->pick);
    if (!t->pick) return FV_NO_RESOURCES;
    for (int i = 0; i < t->column_count; i++) {
        FV_TRY(find_column(t, t->columns[i], header, line, &t->pick[i]));
        all &= t->pick[i] >= 0;
    }
    return all ? FV_OK : missing_columns(t, line);
}

/* It stays to be read again unless it is the header. */
fv_status fv__table_read_header(fv__table *t) {
    const char *start = t->at;
    int64_t start_line = t->line, line = 1;
    bool more = false;
    FV_TRY(fv__table_next_row(t, &line, &more));
    if (!more)
        return t->header == FV_HEADER_YES
                   ? fv__fail(FV_BAD_DATA, "%s: no header\n  expected a first row\n  found:   an empty file", t->name)
                   : FV_OK;
    bool header = first_row_is_header(t);
    FV_TRY(keep_names(t));
    FV_TRY(find_columns(t, header, line));
    if (header) return FV_OK;
    fv__table_free_texts(t->names);
    t->names = NULL;
    t->at = start;
    t->line = start_line;
    return FV_OK;
}
