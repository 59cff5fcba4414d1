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
    const char *hint; /* the caller's, while the table is opened */
    char newline;     /* the end of a line; '\r' when there is no other */
    char delimiter;   /* CSV, TSV */
    bool quoted;      /* the same: fields may be quoted */
    bool lenient;     /* odd lines are texts */
    bool marked;      /* a byte order mark inside was spoken of */
    int odd;          /* odd lines so far, when lenient */
    enum { FV_JSON_UNKNOWN, FV_JSON_BY_LINE, FV_JSON_ONE_ARRAY, FV_JSON_VALUES, FV_JSON_END } layout; /* JSONL */
    char *prefix;                                                                                     /* fastText */
    char **columns;                                                                                   /* asked for */
    int column_count;
    int *pick;               /* CSV, TSV: place of each column that was asked for */
    char **names;            /* header, NULL-terminated */
    int width;               /* fields of every row of CSV and TSV; 0 before the first */
    fv__field *all, *picked; /* fields of this row; those asked for */
    size_t all_capacity, picked_capacity;
    int count, labels; /* in `all` */
    fv__buf scratch;   /* unquoted and converted fields of this row */
    fv__buf repaired;  /* this line, when it was odd */
    fv__json *object;  /* JSONL: this row */
};

/* Adds a field to this row. */
fv_status fv__table_field(fv__table *t, const char *data, size_t size);
/* "NAME:LINE: what" as FV_BAD_DATA. */
fv_status fv__table_fail(const fv__table *t, int64_t line, const char *what);
/* The bytes are UTF-8 without NUL and not too long; `line` is where they begin. */
fv_status fv__table_check_text(const fv__table *t, const char *text, size_t size, int64_t line);
/* Says what fv_message() says of an odd line, and how it is read. Only of the first ten. */
void fv__table_say_odd(fv__table *t, const char *how);
/* A byte order mark where a record begins that is not the first. */
bool fv__table_starts_with_mark(const fv__table *t);
fv_status fv__table_refuse_mark(const fv__table *t);
/* The next line without its end (LF or CR LF), checked, or repaired when the table is lenient. False at the end of the
 * file. */
fv_status fv__table_line(fv__table *t, const char **line, size_t *size, bool *more);

/* How fields are written, from the bytes at t->at; delimiter 0: find it. */
void fv__table_find_newline(fv__table *t);
fv_status fv__table_find_dialect(fv__table *t, char delimiter);
const char *fv__table_delimiter_name(char delimiter, char name[4]);
/* The header, and t->pick. */
fv_status fv__table_read_header(fv__table *t);
bool fv__table_has_columns(const fv__table *t); /* of the present row: those that were asked for */
void fv__table_free_texts(char **texts);
/* The fields of the next row into t->all; fv__table_next_row also holds its width against that of the first. */
fv_status fv__table_read_fields(fv__table *t, int64_t *line, bool *more);
fv_status fv__table_next_row(fv__table *t, int64_t *line, bool *more);

/* Each: *more is false at the end; *line is where the row begins. */
fv_status fv__table_csv(fv__table *t, int64_t *line, bool *more);
fv_status fv__table_tsv(fv__table *t, int64_t *line, bool *more);
fv_status fv__table_jsonl(fv__table *t, int64_t *line, bool *more);
fv_status fv__table_fasttext(fv__table *t, int64_t *line, bool *more);
fv_status fv__table_lines(fv__table *t, int64_t *line, bool *more);

#endif
