/* Rows of text files: CSV, TSV, JSONL, fastText lines and plain lines, one row at a time.
 * Every fault is an error with file and line; nothing is skipped or repaired silently. What is found by looking (a
 * delimiter, quotes, a header) is said in the log. */
#ifndef FV_IO_TABLE_H
#define FV_IO_TABLE_H

#include "base/base.h"

typedef enum fv__table_format {
    FV_TABLE_AUTO,     /* by extension: .csv, .tsv .tab, .jsonl .ndjson .json; anything else is fastText lines */
    FV_TABLE_CSV,      /* RFC 4180 */
    FV_TABLE_TSV,      /* tabs; quoted as CSV is when it cannot be read otherwise */
    FV_TABLE_JSONL,    /* one object per line, or over several, or an array of objects; columns are dotted paths */
    FV_TABLE_FASTTEXT, /* "__label__a __label__b text": the fields are the labels, without prefix, and then the text */
    FV_TABLE_LINES     /* every line is one field */
} fv__table_format;
typedef enum fv__table_header {
    FV_HEADER_AUTO, /* the first row is a header if it has every column that was asked for by name */
    FV_HEADER_YES,
    FV_HEADER_NO
} fv__table_header;

typedef struct fv__table_options {
    fv__table_format format;
    fv__table_header header;
    char delimiter;             /* CSV, TSV; 0: what they are named for, or another that gives the columns asked for */
    const char *label_prefix;   /* fastText: NULL means "__label__" */
    const char *const *columns; /* asked for: names, or numbers from 1; NULL-terminated; NULL means all, in order */
    const char *hint;           /* last line of a message about columns that are missing, or NULL */
    bool lenient;               /* lines: what is no UTF-8 is replaced, a prefix without a name is a word */
    int64_t first_line;         /* number of the first line; beyond 1: the bytes are a later part of a file */
} fv__table_options;

typedef struct fv__field {
    const char *data;
    size_t size;
} fv__field; /* not NUL-terminated; data NULL: not there (JSONL) */
typedef struct fv__row {
    const fv__field *fields; /* valid until the next row: the columns asked for, in that order */
    int count;
    int labels;   /* fastText: fields[0..labels-1] are labels, fields[labels] is the text */
    int64_t line; /* where the row begins, from 1 */
} fv__row;

typedef struct fv__table fv__table;
fv_status fv__table_open(fv__table **table, const char *path, const fv__table_options *options);
/* The same over bytes in memory, which must live as long as the table; `name` is used in messages. */
fv_status fv__table_over(fv__table **table, const void *bytes, size_t size, const char *name,
                         const fv__table_options *options);
fv_status fv__table_next(fv__table *table, fv__row *row, bool *more); /* *more is false after the last row */
void fv__table_close(fv__table *table);

fv__table_format fv__table_format_of(const fv__table *table); /* never AUTO */
/* Names in the header, NULL when there is none (NULL-terminated; for CSV and TSV). */
const char *const *fv__table_names(const fv__table *table);
/* "tab", "\\t" or one character of ASCII; NULL and "auto" are 0. FV_USAGE otherwise. */
fv_status fv__table_parse_delimiter(const char *text, char *delimiter);
/* "csv" -> FV_TABLE_CSV ...; FV_USAGE with the choices otherwise. */
fv_status fv__table_parse_format(const char *text, fv__table_format *format);

#endif
