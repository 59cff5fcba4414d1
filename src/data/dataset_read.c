/* dataset_read.c - labelled texts from tables and lines. Every fault names file and line; nothing is left out
 * silently. */
#include "data/dataset.h"
#include "data/text.h"
#include "io/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_COLUMNS = 16 };

const fv_option *fv_dataset_option_rows(void) {
    static const fv_option rows[] = {
        {"input-format", FV_OPT_CHOICE, offsetof(fv_dataset_options, format), "auto", 0, 0,
         "auto|csv|tsv|jsonl|fasttext|lines", "format of the data; auto goes by the extension"},
        {"header", FV_OPT_CHOICE, offsetof(fv_dataset_options, header), "auto", 0, 0, "auto|yes|no",
         "first row of CSV and TSV names the columns; auto: if it has those asked for"},
        {"text-col", FV_OPT_STRING, offsetof(fv_dataset_options, text_col), "text", 0, 0, "COLUMN[,COLUMN]",
         "column of the text: name, number from 1, or JSON path"},
        {"label-col", FV_OPT_STRING, offsetof(fv_dataset_options, label_col), "label", 0, 0, "COLUMN",
         "column of the label, or of the number"},
        {"split-col", FV_OPT_STRING, offsetof(fv_dataset_options, split_col), NULL, 0, 0, "COLUMN",
         "column that says train, valid or test"},
        {"label-prefix", FV_OPT_STRING, offsetof(fv_dataset_options, label_prefix), "__label__", 0, 0, "TEXT",
         "what labels begin with in fastText lines"},
        {"labels", FV_OPT_CHOICE, offsetof(fv_dataset_options, labels), "one", 0, 0, "one|first",
         "a line with two labels is an error, or its first one counts"},
        {"delimiter", FV_OPT_STRING, offsetof(fv_dataset_options, delimiter), NULL, 0, 0, "CHARACTER",
         "what separates the fields of CSV and TSV, or \"tab\"; recognised without it"},
        {0}};
    return rows;
}

typedef struct reader {
    fv_dataset_options options;
    fv__store *store;
    fv__rows rows;
    fv__map *labels;         /* name -> class id (in order of appearance until sorted) */
    const fv_classes *known; /* NULL: learn them */
    fv_target_type target;
    char *names;                         /* the options' columns, cut apart */
    const char *column[MAX_COLUMNS + 3]; /* texts, label, split, NULL */
    int texts, label, split;             /* number of text columns; places of the others or -1 */
    fv__buf joined;
    const char *file; /* present file */
    int32_t file_index;
    int64_t empty;   /* texts of no bytes */
    int64_t trimmed; /* labels with blanks around them */
    int64_t first_line;
} reader;

/* ---- columns */

static fv_status cut_columns(reader *r) {
    r->names = fv__strdup(r->options.text_col ? r->options.text_col : "text");
    if (!r->names) return FV_NO_RESOURCES;
    for (char *rest = r->names, *next; rest; rest = next) {
        if ((next = strchr(rest, ','))) *next++ = 0;
        if (r->texts == MAX_COLUMNS || !*rest)
            return fv__fail(FV_USAGE,
                            "text-col: names of columns\n  expected 1 to %d names or numbers with commas between\n  "
                            "found:   \"%s\"",
                            MAX_COLUMNS, r->options.text_col);
        r->column[r->texts++] = rest;
    }
    int n = r->texts;
    r->label = r->split = -1;
    if (r->target) r->label = n, r->column[n++] = r->options.label_col ? r->options.label_col : "label";
    if (r->options.split_col) r->split = n, r->column[n++] = r->options.split_col;
    return FV_OK;
}

/* ---- labels */

static fv_status unseen(const reader *r, fv__field label, int64_t line) {
    fv__buf list = {0};
    char *word = fv__alloc(label.size + 1);
    const char **names = fv__alloc_array((size_t)r->known->count + 1, sizeof *names);
    fv_status status = word && names ? FV_OK : FV_NO_RESOURCES;
    for (int32_t i = 0; status == FV_OK && i < r->known->count; i++) {
        names[i] = r->known->name[i];
        if (i < 20) fv__buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
        if (i == 20) fv__buf_text(&list, ", ...");
    }
    if (status == FV_OK) {
        memcpy(word, label.data, label.size);
        const char *near = fv__nearest(word, names);
        status =
            fv__fail(FV_BAD_DATA,
                     "%s:%lld: a label that was not seen in training\n  expected one of: %s\n  found:   \"%s\"%s%s%s",
                     r->file, (long long)line, list.data ? list.data : "", word, near ? "\n  did you mean \"" : "",
                     near ? near : "", near ? "\"?" : "");
    }
    fv__buf_free(&list);
    fv__free(word);
    fv__free(names);
    return status;
}

static fv_status no_label(const reader *r, int64_t line, bool lines) {
    if (lines)
        return fv__fail(
            FV_BAD_DATA,
            "%s:%lld: no label\n  expected a line that starts with \"%sNAME\", or CSV, TSV, JSONL with a label "
            "column\n  found:   a line without one\n  try:     --input-format tsv --label-col 1 --text-col 2",
            r->file, (long long)line, r->options.label_prefix);
    return fv__fail(FV_BAD_DATA, "%s:%lld: no label\n  expected a name in column \"%s\"\n  found:   nothing", r->file,
                    (long long)line, r->column[r->label]);
}

/* Without what cannot be seen at its ends: blanks of any kind, byte order marks, spaces of no width. */
static fv__field trimmed(fv__field label) {
    static const char *const unseen[] = {"\xEF\xBB\xBF", "\xE2\x80\x8B"};
    for (bool more = true; more;) {
        size_t before = label.size;
        label.size = fv__text_strip(&label.data, label.size);
        for (int i = 0; i < 2; i++) {
            if (label.size >= 3 && !memcmp(label.data, unseen[i], 3)) label.data += 3, label.size -= 3;
            if (label.size >= 3 && !memcmp(label.data + label.size - 3, unseen[i], 3)) label.size -= 3;
        }
        more = label.size < before;
    }
    return label;
}

static fv_status label_id(reader *r, fv__field label, int64_t line, int32_t *id) {
    int64_t found = r->known ? fv__map_get(r->labels, label.data, label.size, -1) : -1;
    fv__field plain = trimmed(label);
    if (found < 0) {
        r->trimmed += plain.size < label.size;
        label = plain;
        found = fv__map_get(r->labels, label.data, label.size, -1);
    }
    if (found < 0 && !label.size) return no_label(r, line, false);
    if (found < 0 && r->known) return unseen(r, label, line);
    if (found < 0) {
        found = (int64_t)fv__map_size(r->labels);
        if (found >= INT32_MAX / 2)
            return fv__fail(FV_BAD_DATA, "%s:%lld: labels\n  expected at most 2^30 different ones\n  found:   more",
                            r->file, (long long)line);
        FV_TRY(fv__map_set(r->labels, label.data, label.size, found));
    }
    *id = (int32_t)found;
    return FV_OK;
}

static fv_status number_of(const reader *r, fv__field field, int64_t line, double *number) {
    char text[64];
    if (field.size < sizeof text) {
        memcpy(text, field.data, field.size);
        text[field.size] = 0;
        if (strlen(text) == field.size && fv__parse_float(text, number) && isfinite(*number)) return FV_OK;
    }
    return fv__fail(FV_BAD_DATA,
                    "%s:%lld: not a number\n  expected a finite number such as 3.5 in column \"%s\"\n  found:   "
                    "\"%.*s\"%s",
                    r->file, (long long)line, r->column[r->label], (int)(field.size < 60 ? field.size : 60), field.data,
                    line == 1 ? "\n  try:     --header yes, if this row names the columns" : "");
}

/* ---- rows */

static fv_status part_of(const reader *r, fv__field field, int64_t line, uint8_t *part) {
    static const struct {
        const char *name;
        fv_part part;
    } rows[] = {{"train", FV_TRAIN}, {"training", FV_TRAIN}, {"valid", FV_VALID}, {"validation", FV_VALID},
                {"val", FV_VALID},   {"dev", FV_VALID},      {"test", FV_TEST},   {"testing", FV_TEST}};
    for (size_t i = 0; field.data && i < sizeof rows / sizeof *rows; i++)
        if (field.size == strlen(rows[i].name) && !strncasecmp(field.data, rows[i].name, field.size)) {
            *part = (uint8_t)rows[i].part;
            return FV_OK;
        }
    return fv__fail(FV_BAD_DATA, "%s:%lld: column \"%s\"\n  expected train, valid or test\n  found:   \"%.*s\"",
                    r->file, (long long)line, r->options.split_col, (int)(field.size < 60 ? field.size : 60),
                    field.data ? field.data : "");
}

/* Several text columns become one text, with a space between. */
static fv_status text_of(reader *r, const fv__row *row, fv__field *text) {
    r->joined.size = 0;
    for (int i = 0; i < r->texts; i++) {
        if (!row->fields[i].data && !r->target && r->rows.count)
            fv__log(FV_LOG_WARN, "%s:%lld: no \"%s\": read as an empty text", r->file, (long long)row->line,
                    r->column[i]);
        else if (!row->fields[i].data)
            return fv__fail(FV_BAD_DATA, "%s:%lld: no text\n  expected a value for \"%s\"\n  found:   none", r->file,
                            (long long)row->line, r->column[i]);
        if (i) fv__buf_add(&r->joined, " ", 1);
        fv__buf_add(&r->joined, row->fields[i].data, row->fields[i].size);
    }
    *text = r->texts == 1 ? row->fields[0] : (fv__field){r->joined.data, r->joined.size};
    return fv__buf_status(&r->joined);
}

static fv_status table_row(reader *r, const fv__row *row, fv__field *text, fv__field *label, uint8_t *part) {
    FV_TRY(text_of(r, row, text));
    if (r->split >= 0) FV_TRY(part_of(r, row->fields[r->split], row->line, part));
    if (!r->target) return FV_OK;
    *label = row->fields[r->label];
    return label->size ? FV_OK : no_label(r, row->line, false);
}

/* fields: labels, then the text */
static fv_status line_row(reader *r, const fv__row *row, fv__field *text, fv__field *label) {
    *text = row->fields[row->labels];
    if (!r->target) return FV_OK;
    if (!row->labels) return no_label(r, row->line, true);
    if (row->labels > 1 && strcmp(r->options.labels, "first"))
        return fv__fail(
            FV_BAD_DATA,
            "%s:%lld: several labels on one line\n  expected one, because a classifier answers with one class\n"
            "  found:   %d\n  try:     --labels first (the first one counts)",
            r->file, (long long)row->line, row->labels);
    *label = row->fields[0];
    return FV_OK;
}

static fv_status add_row(reader *r, const fv__row *row, bool lines) {
    fv__field text = {0}, label = {0};
    fv__row_values v = {.file = r->file_index, .line = row->line};
    if (lines)
        FV_TRY(line_row(r, row, &text, &label));
    else
        FV_TRY(table_row(r, row, &text, &label, &v.part));
    if (r->target == FV_TARGET_CLASS) FV_TRY(label_id(r, label, row->line, &v.label));
    if (r->target == FV_TARGET_REAL) FV_TRY(number_of(r, label, row->line, &v.number));
    FV_TRY(fv__store_text(r->store, &v.text, text.data, text.size));
    v.size = text.size;
    r->empty += !v.size;
    return fv__rows_add(&r->rows, v);
}

/* Columns by number, and a first row whose label is that of no other row: it may be the header. */
static void warn_of_header(const reader *r, const fv__table *table, size_t first) {
    size_t count = r->rows.count - first, same = 0, size;
    if (r->target != FV_TARGET_CLASS || fv__table_names(table) || strcmp(r->options.header, "auto") || count < 4)
        return;
    for (size_t i = first; i < r->rows.count; i++) same += r->rows.label[i] == r->rows.label[first];
    if (same > 1) return;
    fv__log(FV_LOG_WARN, "%s:%lld: no other row has the label \"%s\": is this the header?\n  try:     --header yes",
            r->file, (long long)r->rows.line[first], fv__map_key(r->labels, (size_t)r->rows.label[first], &size));
}

static fv_status add_table(reader *r, fv__table *table) {
    fv__table_format format = fv__table_format_of(table);
    bool lines = format == FV_TABLE_FASTTEXT || format == FV_TABLE_LINES, more = true;
    size_t before = r->rows.count;
    fv__row row;
    if (lines && r->split >= 0)
        return fv__fail(FV_USAGE, "%s: --split-col needs columns\n  expected CSV, TSV or JSONL\n  found:   plain lines",
                        r->file);
    if (format == FV_TABLE_LINES && r->target)
        return fv__fail(FV_USAGE, "%s: its labels\n  expected fasttext, csv, tsv or jsonl\n  found:   plain lines",
                        r->file);
    while (true) {
        FV_TRY(fv__table_next(table, &row, &more));
        if (!more) break;
        if (r->target && lines && !row.labels && !row.fields[0].size) continue; /* an empty line */
        FV_TRY(add_row(r, &row, lines));
    }
    if (!lines) warn_of_header(r, table, before);
    if (r->rows.count > before || !r->target) return FV_OK;
    return fv__fail(FV_BAD_DATA, "%s: no texts\n  expected at least one %s\n  found:   none", r->file,
                    lines                      ? "line"
                    : format == FV_TABLE_JSONL ? "object"
                                               : "row below the header");
}

static fv__table_header header_mode(const char *text) {
    return !strcmp(text, "yes") ? FV_HEADER_YES : !strcmp(text, "no") ? FV_HEADER_NO : FV_HEADER_AUTO;
}

/* One file: its path, or bytes that go by this name. */
static fv_status read_file(reader *r, const char *name, const void *bytes, size_t size) {
    fv__table *table = NULL;
    fv__table_options how = {.header = header_mode(r->options.header),
                             .label_prefix = r->options.label_prefix,
                             .columns = r->column,
                             .hint = r->target ? "--text-col NAME --label-col NAME" : "--text-col NAME",
                             .lenient = !r->target,
                             .first_line = r->first_line};
    FV_TRY(fv__table_parse_format(r->options.format, &how.format));
    FV_TRY(fv__table_parse_delimiter(r->options.delimiter, &how.delimiter));
    r->file = name;
    fv_status status = bytes ? fv__table_over(&table, bytes, size, name, &how) : fv__table_open(&table, name, &how);
    if (status == FV_OK) status = add_table(r, table);
    fv__table_close(table);
    return status;
}

/* ---- classes */

static int by_bytes(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static fv_status one_class(const reader *r) {
    size_t size;
    const char *name = fv__map_key(r->labels, 0, &size);
    return fv__fail(FV_BAD_DATA,
                    "%s: only one class\n  expected at least two different labels\n  found:   \"%s\" for all %zu "
                    "texts\n  try:     another "
                    "--label-col",
                    r->file, name, r->rows.count);
}

/* Sorts the labels found and renumbers the rows. */
static fv_status sort_classes(reader *r, fv_classes *classes) {
    size_t n = fv__map_size(r->labels);
    if (n < 2) return one_class(r);
    r->store->class_name = fv__alloc_array(n, sizeof *r->store->class_name);
    int32_t *renumber = fv__alloc_array(n, sizeof *renumber);
    fv_status status = r->store->class_name && renumber ? FV_OK : FV_NO_RESOURCES;
    for (size_t i = 0; i < n && status == FV_OK; i++) {
        size_t size;
        const char *name = fv__map_key(r->labels, i, &size);
        status = fv__store_text(r->store, &r->store->class_name[i], name, size);
    }
    if (status == FV_OK) {
        qsort(r->store->class_name, n, sizeof *r->store->class_name, by_bytes);
        for (size_t i = 0; i < n; i++) {
            const char *name = r->store->class_name[i];
            renumber[fv__map_get(r->labels, name, strlen(name), 0)] = (int32_t)i;
        }
        for (size_t i = 0; i < r->rows.count; i++) r->rows.label[i] = renumber[r->rows.label[i]];
        *classes = (fv_classes){(int32_t)n, r->store->class_name};
    }
    fv__free(renumber);
    return status;
}

static fv_status copy_known(reader *r, fv_classes *classes) {
    r->store->class_name = fv__alloc_array((size_t)r->known->count, sizeof *r->store->class_name);
    if (!r->store->class_name) return FV_NO_RESOURCES;
    for (int32_t i = 0; i < r->known->count; i++) {
        const char *name = r->known->name[i];
        FV_TRY(fv__map_set(r->labels, name, strlen(name), i));
        FV_TRY(fv__store_text(r->store, &r->store->class_name[i], name, strlen(name)));
    }
    *classes = (fv_classes){r->known->count, r->store->class_name};
    return FV_OK;
}

/* ---- the whole */

static fv_status start(reader *r, const fv_dataset_options *options, const char *const *path, int paths) {
    fv_options_init(fv_dataset_option_rows(), &r->options);
    if (options) r->options = *options;
    if (paths < 1) return fv__fail(FV_USAGE, "data files\n  expected at least one path\n  found:   none");
    FV_TRY(cut_columns(r));
    FV_TRY(fv__map_create(&r->labels));
    FV_TRY(fv__store_create(&r->store));
    r->store->file_name = fv__alloc_array((size_t)paths, sizeof *r->store->file_name);
    if (!r->store->file_name) return FV_NO_RESOURCES;
    for (; r->store->files < paths; r->store->files++)
        if (!(r->store->file_name[r->store->files] = fv__strdup(path[r->store->files]))) return FV_NO_RESOURCES;
    return FV_OK;
}

static fv_status read_all(reader *r, fv_dataset **data, const char *const *path, int paths, const void *bytes,
                          size_t size) {
    fv_classes classes = {0};
    if (r->known) FV_TRY(copy_known(r, &classes));
    for (int i = 0; i < paths; i++) {
        r->file_index = i;
        FV_TRY(read_file(r, path[i], bytes, size));
    }
    if (r->target == FV_TARGET_CLASS && !r->known) FV_TRY(sort_classes(r, &classes));
    if (r->trimmed)
        fv__log(FV_LOG_WARN, "data: %lld of %zu labels had blanks around them, which are left out",
                (long long)r->trimmed, r->rows.count);
    if (r->empty && r->target)
        fv__log(FV_LOG_WARN, "data: %lld of %zu texts are empty", (long long)r->empty, r->rows.count);
    fv_status status = fv__dataset_build(data, r->store, &r->rows, classes, r->target, r->split >= 0);
    r->store = NULL;
    return status;
}

static fv_status read_with(reader *r, fv_dataset **data, const char *const *path, int paths, const void *bytes,
                           size_t size, const fv_dataset_options *options) {
    *data = NULL;
    fv_status status = start(r, options, path, paths);
    if (status == FV_OK) status = read_all(r, data, path, paths, bytes, size);
    fv__rows_free(&r->rows);
    fv__store_free(r->store);
    fv__map_free(r->labels);
    fv__buf_free(&r->joined);
    fv__free(r->names);
    return status;
}

fv_status fv_dataset_read(fv_dataset **data, const char *const *path, int paths, const fv_dataset_options *options,
                          const fv_classes *classes) {
    return fv_dataset_read_target(data, path, paths, options, FV_TARGET_CLASS, classes);
}

fv_status fv_dataset_read_texts(fv_dataset **data, const char *const *path, int paths,
                                const fv_dataset_options *options) {
    return fv_dataset_read_target(data, path, paths, options, FV_TARGET_NONE, NULL);
}

fv_status fv_dataset_read_target(fv_dataset **data, const char *const *path, int paths,
                                 const fv_dataset_options *options, fv_target_type target, const fv_classes *classes) {
    reader r = {.known = target == FV_TARGET_CLASS ? classes : NULL, .target = target};
    return read_with(&r, data, path, paths, NULL, 0, options);
}

fv_status fv_dataset_parse(fv_dataset **data, const char *name, const void *bytes, size_t size,
                           const fv_dataset_options *options, const fv_classes *classes, fv_target_type target) {
    reader r = {.known = target == FV_TARGET_CLASS ? classes : NULL, .target = target};
    return read_with(&r, data, &name, 1, size ? bytes : "", size, options);
}

fv_status fv_dataset_parse_lines(fv_dataset **data, const char *name, const void *bytes, size_t size,
                                 int64_t first_line, const fv_dataset_options *options) {
    reader r = {.target = FV_TARGET_NONE, .first_line = first_line};
    return read_with(&r, data, &name, 1, size ? bytes : "", size, options);
}
