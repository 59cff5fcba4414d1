/* JSON on jansson, which only this folder includes. Duplicate keys, bad UTF-8, NUL in strings, numbers that do not
 * fit and text after the end are errors with file, line and column. */
#ifndef FV_IO_JSON_H
#define FV_IO_JSON_H

#include "base/base.h"

typedef struct json_t fv__json; /* jansson's value */

/* `fault` is the status of malformed input: FV_BAD_DATA, FV_BAD_MODEL or FV_USAGE. Free with fv__json_free. */
fv_status fv__json_load(fv__json **out, const char *path, fv_status fault);
fv_status fv__json_parse(fv__json **out, const char *text, size_t size, const char *where, fv_status fault);
/* The same for a piece of a file that begins at `line`. */
fv_status fv__json_parse_at(fv__json **out, const char *text, size_t size, const char *where, int64_t line,
                            fv_status fault);
/* The same for data: integers beyond 64 bits are texts of their digits, and all other numbers stay what they are. */
fv_status fv__json_parse_row(fv__json **out, const char *text, size_t size, const char *where, int64_t line,
                             fv_status fault);
void fv__json_free(fv__json *value); /* NULL is fine */

/* ---- looking. Values that are found belong to the value they were found in. NULL is accepted as "not there". ---- */
typedef enum fv__json_kind {
    FV_JSON_NONE,
    FV_JSON_NULL,
    FV_JSON_BOOL,
    FV_JSON_INT,
    FV_JSON_FLOAT,
    FV_JSON_STRING,
    FV_JSON_ARRAY,
    FV_JSON_OBJECT
} fv__json_kind;
fv__json_kind fv__json_kind_of(const fv__json *value);
const char *fv__json_kind_name(const fv__json *value);             /* "a string", "nothing", ... for messages */
size_t fv__json_count(const fv__json *value);                      /* items of an array or object, else 0 */
fv__json *fv__json_at(const fv__json *array, size_t index);        /* NULL when there is none */
fv__json *fv__json_get(const fv__json *object, const char *key);   /* NULL when missing or JSON null */
fv__json *fv__json_path(const fv__json *object, const char *path); /* "review.text": first the whole name, then dots */
const char *fv__json_text(const fv__json *value);                  /* NULL unless a string */
size_t fv__json_text_size(const fv__json *value);                  /* bytes */
int64_t fv__json_int(const fv__json *value, int64_t otherwise);
double fv__json_float(const fv__json *value, double otherwise); /* integers too */
bool fv__json_bool(const fv__json *value, bool otherwise);

/* The pairs of an object in the order of the file:
 *     for (void *i = fv__json_first(o); i; i = fv__json_next(o, i)) ... fv__json_key(i) ... fv__json_value(i) */
void *fv__json_first(const fv__json *object);
void *fv__json_next(const fv__json *object, void *pair);
const char *fv__json_key(void *pair);
fv__json *fv__json_value(void *pair);

/* Members with defaults: missing and null give `missing`; a wrong type is `fault` and the message names `where` (the
 * file) and key. An integer is a float too, and 3.0 is an integer. */
typedef struct fv__json_at_file {
    const fv__json *object;
    const char *where;
    fv_status fault;
} fv__json_at_file;
fv_status fv__json_need_int(fv__json_at_file at, const char *key, int64_t missing, int64_t *out);
fv_status fv__json_need_float(fv__json_at_file at, const char *key, double missing, double *out);
fv_status fv__json_need_bool(fv__json_at_file at, const char *key, bool missing, bool *out);
fv_status fv__json_need_text(fv__json_at_file at, const char *key, const char *missing, const char **out);
fv_status fv__json_need_object(fv__json_at_file at, const char *key, fv__json **out); /* no default: must be there */
fv_status fv__json_need_array(fv__json_at_file at, const char *key, fv__json **out);

/* ---- building. Makers return NULL when memory is out; adding NULL forwards that. `value` is taken over in every
 * case, so `fv__json_set(o, "k", fv__json_of_int(3))` leaks nothing. ---- */
fv__json *fv__json_object(void);
fv__json *fv__json_array(void);
fv__json *fv__json_of_int(int64_t value);
fv__json *fv__json_of_float(double value); /* NaN and infinity become null */
fv__json *fv__json_of_bool(bool value);
fv__json *fv__json_of_text(const char *text); /* must be UTF-8 */
fv__json *fv__json_of_bytes(const char *text, size_t size);
fv_status fv__json_set(fv__json *object, const char *key, fv__json *value);
fv_status fv__json_push(fv__json *array, fv__json *value);

/* ---- writing. Floats take the shortest text that reads back the same. ---- */
typedef enum fv__json_style {
    FV_JSON_LINE = 0,   /* one line, no line break at the end */
    FV_JSON_PRETTY = 1, /* two spaces, line break at the end */
    FV_JSON_HTML = 2    /* additionally: safe inside <script>: < > & U+2028 U+2029 are escaped */
} fv__json_style;
fv_status fv__json_dump(const fv__json *value, fv__json_style style, fv__buf *out);
fv_status fv__json_save(const fv__json *value, const char *path); /* pretty, atomic */
/* One string with quotes and escapes; for those who write JSON by hand. */
void fv__json_quote(fv__buf *out, const char *text, size_t size, fv__json_style style);

#endif
