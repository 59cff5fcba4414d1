/* Tables: opening, the header, the columns that were asked for. See table.h. */
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
               {"jsonl", ".jsonl .ndjson", FV_TABLE_JSONL, fv__table_jsonl},
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

static fv_status guess_format(fv__table *t) {
    const char *slash = strrchr(t->name, '/'), *dot = strrchr(slash ? slash : t->name, '.');
    t->format = FV_TABLE_FASTTEXT;
    if (!dot) return FV_OK;
    if (!strcasecmp(dot, ".json"))
        return fv__fail(FV_BAD_DATA,
                        "%s: not a table\n  expected JSON lines, one object per line\n  found:   a .json file\n"
                        "  try:     jq -c '.[]' %s > lines.jsonl   or   --input-format jsonl",
                        t->name, t->name);
    for (int i = 0; i < FORMATS; i++)
        if (listed(formats[i].extensions, dot)) t->format = formats[i].format;
    return FV_OK;
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

/* The next row as it stands in the file, into t->all. */
static fv_status next_row(fv__table *t, int64_t *line, bool *more) {
    t->count = t->labels = 0;
    FV_TRY(formats[t->format - FV_TABLE_CSV].next(t, line, more));
    if (!*more || !has_columns(t)) return FV_OK;
    if (!t->width) t->width = t->count;
    if (t->count == t->width) return FV_OK;
    return fv__fail(FV_BAD_DATA,
                    "%s:%" PRId64
                    ": the number of fields differs from the first row's\n  expected %d\n"
                    "  found:   %d",
                    t->name, *line, t->width, t->count);
}

static bool same_text(const fv__field *f, const char *text) {
    return f->size == strlen(text) && !memcmp(f->data, text, f->size);
}

/* ---- header and columns */

static bool is_number(const char *text) { return *text && !text[strspn(text, "0123456789")]; }

static int field_named(const fv__table *t, const char *name) {
    for (int i = 0; i < t->count; i++)
        if (same_text(&t->all[i], name)) return i;
    return -1;
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
    return named > 0;
}

static fv_status keep_names(fv__table *t, int64_t line) {
    t->names = fv__alloc_array((size_t)t->count + 1, sizeof *t->names);
    if (!t->names) return FV_NO_RESOURCES;
    for (int i = 0; i < t->count; i++) {
        t->names[i] = fv__alloc(t->all[i].size + 1);
        if (!t->names[i]) return FV_NO_RESOURCES;
        memcpy(t->names[i], t->all[i].data, t->all[i].size);
        if (field_named(t, t->names[i]) == i) continue;
        return fv__fail(FV_BAD_DATA, "%s:%" PRId64 ": two columns are named \"%s\"", t->name, line, t->names[i]);
    }
    return FV_OK;
}

static fv_status no_such_column(const fv__table *t, const char *asked) {
    if (!t->names && !is_number(asked)) {
        if (t->header == FV_HEADER_NO)
            return fv__fail(FV_BAD_DATA,
                            "%s: no header has the names of the columns\n"
                            "  expected a number from 1 to %d\n  found:   \"%s\"",
                            t->name, t->width, asked);
        return fv__fail(FV_BAD_DATA,
                        "%s:1: the first row has no column \"%s\"\n  expected a header with the columns asked "
                        "for, or their numbers from 1 to %d\n  found:   a row of values",
                        t->name, asked, t->width);
    }
    const char *near = t->names ? fv__nearest(asked, (const char *const *)t->names) : NULL;
    if (near) return fv__fail(FV_BAD_DATA, "%s:1: no column \"%s\"\n  did you mean \"%s\"?", t->name, asked, near);
    return fv__fail(FV_BAD_DATA, "%s:1: no column \"%s\" among the %d", t->name, asked, t->width);
}

static fv_status find_column(fv__table *t, const char *asked, int *place) {
    int64_t number;
    for (int i = 0; t->names && t->names[i]; i++) {
        if (strcmp(t->names[i], asked)) continue;
        *place = i;
        return FV_OK;
    }
    if (!is_number(asked) || !fv__parse_int(asked, &number) || number < 1 || number > t->width)
        return no_such_column(t, asked);
    *place = (int)number - 1;
    return FV_OK;
}

/* Looks at the first row of CSV and TSV; it stays to be read again unless it is the header. */
static fv_status read_header(fv__table *t) {
    const char *start = t->at;
    int64_t start_line = t->line, line = 1;
    bool more = false;
    FV_TRY(next_row(t, &line, &more));
    if (!more)
        return t->header == FV_HEADER_YES
                   ? fv__fail(FV_BAD_DATA, "%s: no header\n  expected a first row\n  found:   an empty file", t->name)
                   : FV_OK;
    if (first_row_is_header(t)) {
        FV_TRY(keep_names(t, line));
    } else {
        t->at = start;
        t->line = start_line;
    }
    t->pick = fv__alloc_array((size_t)t->column_count, sizeof *t->pick);
    if (!t->pick) return FV_NO_RESOURCES;
    for (int i = 0; i < t->column_count; i++) FV_TRY(find_column(t, t->columns[i], &t->pick[i]));
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
    if (t->end - t->at >= 3 && !memcmp(t->at, "\xEF\xBB\xBF", 3)) t->at += 3; /* byte order mark */
    t->line = 1;
    t->format = o->format;
    t->header = o->header;
    t->delimiter = o->delimiter ? o->delimiter : ',';
    t->prefix = fv__strdup(o->label_prefix ? o->label_prefix : "__label__");
    if (!t->prefix) return FV_NO_RESOURCES;
    if (strchr("\"\r\n", t->delimiter)) return fv__fail(FV_USAGE, "a quote or a line break cannot be the delimiter");
    FV_TRY(refuse_by_name(t));
    if (t->format == FV_TABLE_AUTO) FV_TRY(guess_format(t));
    FV_TRY(copy_columns(t, o->columns));
    return has_columns(t) ? read_header(t) : FV_OK;
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
    FV_TRY(next_row(t, &row->line, more));
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

static void free_texts(char **texts) {
    for (char **text = texts; text && *text; text++) fv__free(*text);
    fv__free(texts);
}

void fv__table_close(fv__table *t) {
    if (!t) return;
    free_texts(t->columns);
    free_texts(t->names);
    fv__free(t->name);
    fv__free(t->prefix);
    fv__free(t->pick);
    fv__free(t->all);
    fv__free(t->picked);
    fv__buf_free(&t->scratch);
    fv__json_free(t->object);
    fv__file_free(&t->file);
    fv__free(t);
}
