/* Tables: opening, the format, rows. See table.h. */
#include "io/table.h"
#include "io/table_impl.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name, *extensions;
    fv__table_format format;
    fv_status (*next)(fv__table *t, int64_t *line, bool *more);
} formats[] = {{"csv", ".csv", FV_TABLE_CSV, fv__table_csv},
               {"tsv", ".tsv .tab", FV_TABLE_TSV, fv__table_tsv},
               {"jsonl", ".jsonl .ndjson .json", FV_TABLE_JSONL, fv__table_jsonl},
               {"fasttext", "", FV_TABLE_FASTTEXT, fv__table_fasttext},
               {"lines", "", FV_TABLE_LINES, fv__table_lines}};
enum { FORMATS = sizeof formats / sizeof *formats };

fv_status fv__table_parse_format(const char *text, fv__table_format *format) {
    static const char *const names[] = {"auto", "csv", "tsv", "jsonl", "fasttext", "lines", NULL};
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i])) continue;
        *format = (fv__table_format)i;
        return FV_OK;
    }
    const char *near = fv__nearest(text, names);
    return fv__fail(
        FV_USAGE,
        "unknown format of a table\n  expected auto, csv, tsv, jsonl, fasttext or lines\n  found:   \"%s\"%s%s%s", text,
        near ? "\n  did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

/* ---- what kind of file */

/* Is `extension` one of the words of `list`? */
static bool listed(const char *list, const char *extension) {
    size_t length = strlen(extension);
    for (const char *word = list; *word; word += strspn(word, " ")) {
        size_t size = strcspn(word, " ");
        if (size == length && !strncasecmp(word, extension, size)) return true;
        word += size;
    }
    return false;
}

static void guess_format(fv__table *t) {
    const char *slash = strrchr(t->name, '/'), *dot = strrchr(slash ? slash : t->name, '.');
    t->format = FV_TABLE_FASTTEXT;
    for (int i = 0; dot && i < FORMATS; i++)
        if (listed(formats[i].extensions, dot)) t->format = formats[i].format;
}

/* Files that are no text are refused by name, with the way on. */
static fv_status refuse_by_name(const fv__table *t) {
    static const struct {
        const char *magic;
        size_t size;
        const char *what;
    } others[] = {
        {"PAR1", 4, "is a Parquet file\n  try:     duckdb -c \"copy (from 'FILE') to 'data.csv'\""},
        {"ARROW1", 6,
         "is an Arrow file\n  try:     python3 -c \"import datasets; "
         "datasets.load_from_disk('FOLDER').to_json('data.jsonl')\""},
        {"\x1F\x8B", 2, "is compressed with gzip\n  try:     gzip -dk FILE"},
        {"\x28\xB5\x2F\xFD", 4, "is compressed with zstd\n  try:     zstd -d FILE"},
        {"\xFD"
         "7zXZ",
         5, "is compressed with xz\n  try:     xz -dk FILE"},
        {"BZh", 3, "is compressed with bzip2\n  try:     bzip2 -dk FILE"},
        {"PK\3\4", 4, "is a zip archive (or a spreadsheet)\n  try:     unzip FILE, or export it as CSV"},
        {"\xFF\xFE", 2, "is UTF-16\n  try:     iconv -f UTF-16 -t UTF-8 FILE"},
        {"\xFE\xFF", 2, "is UTF-16\n  try:     iconv -f UTF-16 -t UTF-8 FILE"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if ((size_t)(t->end - t->at) >= others[i].size && !memcmp(t->at, others[i].magic, others[i].size))
            return fv__fail(FV_BAD_DATA, "%s: %s", t->name, others[i].what);
    return FV_OK;
}

/* ---- rows */

static bool has_columns(const fv__table *t) { return t->format == FV_TABLE_CSV || t->format == FV_TABLE_TSV; }

fv_status fv__table_read_fields(fv__table *t, int64_t *line, bool *more) {
    if (t->format == FV_TABLE_TSV && t->quoted) return fv__table_csv(t, line, more);
    return formats[t->format - FV_TABLE_CSV].next(t, line, more);
}

static fv_status wrong_width(const fv__table *t, int64_t line) {
    char name[4];
    return fv__fail(FV_BAD_DATA,
                    "%s:%" PRId64
                    ": the number of fields differs from the first row's\n  expected %d\n"
                    "  found:   %d, separated by %s",
                    t->name, line, t->width, t->count, fv__table_delimiter_name(t->delimiter, name));
}

fv_status fv__table_next_row(fv__table *t, int64_t *line, bool *more) {
    t->count = t->labels = 0;
    FV_TRY(fv__table_read_fields(t, line, more));
    if (!*more || !has_columns(t)) return FV_OK;
    if (!t->width) t->width = t->count;
    if (t->count == t->width) return FV_OK;
    fv_status status = wrong_width(t, *line);
    if (!t->lenient || status != FV_BAD_DATA) return status;
    fv__table_say_odd(t, "read with the fields there are");
    while (t->count < t->width) FV_TRY(fv__table_field(t, "", 0));
    return FV_OK;
}

/* ---- opening */

static fv_status copy_columns(fv__table *t, const char *const *columns) {
    if (!columns) return FV_OK;
    while (columns[t->column_count]) t->column_count++;
    t->columns = fv__alloc_array((size_t)t->column_count + 1, sizeof *t->columns);
    if (!t->columns) return FV_NO_RESOURCES;
    for (int i = 0; i < t->column_count; i++)
        if (!(t->columns[i] = fv__strdup(columns[i]))) return FV_NO_RESOURCES;
    return FV_OK;
}

static fv_status setup(fv__table *t, const fv__table_options *o) {
    bool part = o->first_line > 1; /* of a file that began before: what its first bytes say was seen then */
    if (fv__table_starts_with_mark(t)) t->at += 3;
    t->line = part ? o->first_line : 1;
    t->format = o->format;
    t->header = o->header;
    t->lenient = o->lenient;
    t->hint = o->hint;
    t->newline = '\n';
    t->prefix = fv__strdup(o->label_prefix ? o->label_prefix : "__label__");
    if (!t->prefix) return FV_NO_RESOURCES;
    if (!part) FV_TRY(refuse_by_name(t));
    if (!part) fv__table_find_newline(t);
    if (t->format == FV_TABLE_AUTO) guess_format(t);
    FV_TRY(copy_columns(t, o->columns));
    if (!has_columns(t)) return FV_OK;
    FV_TRY(fv__table_find_dialect(t, o->delimiter));
    return fv__table_read_header(t);
}

fv_status fv__table_over(fv__table **table, const void *bytes, size_t size, const char *name,
                         const fv__table_options *options) {
    fv__table *t = *table = fv__alloc(sizeof *t);
    if (!t) return FV_NO_RESOURCES;
    t->at = size ? bytes : "";
    t->end = t->at + size;
    t->name = fv__strdup(name);
    fv_status status = t->name ? setup(t, options) : FV_NO_RESOURCES;
    if (status == FV_OK) return FV_OK;
    fv__table_close(t);
    *table = NULL;
    return status;
}

fv_status fv__table_open(fv__table **table, const char *path, const fv__table_options *options) {
    fv__file file;
    *table = NULL;
    FV_TRY(fv__file_read(&file, path));
    fv_status status = fv__table_over(table, file.data, file.size, path, options);
    if (status == FV_OK)
        (*table)->file = file;
    else
        fv__file_free(&file);
    return status;
}

fv_status fv__table_next(fv__table *t, fv__row *row, bool *more) {
    *row = (fv__row){0};
    FV_TRY(fv__table_next_row(t, &row->line, more));
    row->fields = t->all;
    row->count = t->count;
    row->labels = t->labels;
    if (!*more || !t->columns || !has_columns(t)) return FV_OK;
    FV_TRY(FV_GROW(&t->picked, &t->picked_capacity, (size_t)t->column_count));
    for (int i = 0; i < t->column_count; i++) t->picked[i] = t->all[t->pick[i]];
    row->fields = t->picked;
    row->count = t->column_count;
    return FV_OK;
}

fv__table_format fv__table_format_of(const fv__table *t) { return t->format; }

const char *const *fv__table_names(const fv__table *t) { return (const char *const *)t->names; }

void fv__table_free_texts(char **texts) {
    for (char **text = texts; text && *text; text++) fv__free(*text);
    fv__free(texts);
}

void fv__table_close(fv__table *t) {
    if (!t) return;
    fv__table_free_texts(t->columns);
    fv__table_free_texts(t->names);
    fv__free(t->name);
    fv__free(t->prefix);
    fv__free(t->pick);
    fv__free(t->all);
    fv__free(t->picked);
    fv__buf_free(&t->scratch);
    fv__buf_free(&t->repaired);
    fv__json_free(t->object);
    fv__file_free(&t->file);
    fv__free(t);
}
