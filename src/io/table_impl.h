/* The inside of a table, for its formats. Each format has one function: the fields of the next row into t->all. */
#ifndef FV_IO_TABLE_IMPL_H
#define FV_IO_TABLE_IMPL_H

#include "io/json.h"
#include "io/table.h"

enum { FV_TABLE_RECORD_LIMIT = 16 << 20 };

struct fv__table {
    char *name;
    fv__file file;        /* empty when the bytes are the caller's */
    const char *at, *end; /* what is left */
    int64_t line;         /* of `at`, from 1 */
    fv__table_format format;
    fv__table_header header;
    char delimiter;
    char *prefix;   /* fastText */
    char **columns; /* asked for */
    int column_count;
    int *pick;               /* CSV, TSV: place of each column that was asked for */
    char **names;            /* header, NULL-terminated */
    int width;               /* fields of every row of CSV and TSV; 0 before the first */
    fv__field *all, *picked; /* fields of this row; those asked for */
    size_t all_capacity, picked_capacity;
    int count, labels; /* in `all` */
    fv__buf scratch;   /* unquoted and converted fields of this row */
    fv__json *object;  /* JSONL: this row */
};

/* Adds a field to this row. */
fv_status fv__table_field(fv__table *t, const char *data, size_t size);
/* "NAME:LINE: what" as FV_BAD_DATA. */
fv_status fv__table_fail(const fv__table *t, int64_t line, const char *what);
/* The bytes are UTF-8 without NUL and not too long; `line` is where they begin. */
fv_status fv__table_check_text(const fv__table *t, const char *text, size_t size, int64_t line);
/* The next line without its end (LF or CR LF), checked. False at the end of the file. */
fv_status fv__table_line(fv__table *t, const char **line, size_t *size, bool *more);

/* Each: *more is false at the end; *line is where the row begins. */
fv_status fv__table_csv(fv__table *t, int64_t *line, bool *more);
fv_status fv__table_tsv(fv__table *t, int64_t *line, bool *more);
fv_status fv__table_jsonl(fv__table *t, int64_t *line, bool *more);
fv_status fv__table_fasttext(fv__table *t, int64_t *line, bool *more);
fv_status fv__table_lines(fv__table *t, int64_t *line, bool *more);

#endif
