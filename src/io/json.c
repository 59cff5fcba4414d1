/* JSON: loading and looking. See json.h. */
#include "io/json.h"
#include "io/json_memory.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

/* ---- loading */

/* jansson's parser does not survive a failed allocation everywhere (2.14 asserts or frees a bad pointer), so the
 * memory it may need is asked for once, before, where a refusal can be answered; meanwhile injected failures rest. */
static bool room_to_parse(size_t size) {
    size_t need;
    void *probe = fv__mul_ok(size, 16, &need) ? fv__alloc(need + 4096) : NULL;
    fv__free(probe);
    return probe != NULL;
}

/* What a text holds costs more memory than the text: a number of one digit 28 times its bytes, an empty object 80. So
 * beyond what real files need it is counted first. */
enum { MOST_CONTAINERS = 1 << 22, MOST_VALUES = 1 << 24 };

static fv_status check_amount(const char *text, size_t size, const char *where, fv_status fault) {
    size_t containers = 0, values = 0;
    bool quoted = false;
    if (size < MOST_CONTAINERS) return FV_OK;
    for (size_t i = 0; i < size; i++) {
        const char c = text[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted) {
            containers += c == '{' || c == '[';
            values += c == ',';
        }
    }
    if (containers <= MOST_CONTAINERS && values <= MOST_VALUES) return FV_OK;
    return fv__fail(fault, "%s: JSON\n  expected at most %d objects and arrays, %d values\n  found:   %zu and %zu",
                    where, MOST_CONTAINERS, MOST_VALUES, containers, values);
}

static json_t *decode(const char *text, size_t size, json_error_t *error) {
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    json_t *value = json_loadb(text, size, flags, error);
    /* Real files hold integers such as 10^30 for "no limit"; then all numbers are read as floats, which fv__json_int
     * takes as integers where they are whole. */
    if (!value && json_error_code(error) == json_error_numeric_overflow)
        value = json_loadb(text, size, flags | JSON_DECODE_INT_AS_REAL, error);
    return value;
}

/* ---- integers beyond 64 bits, as texts of their digits */

/* The number at p: its end, and whether it is a long integer. */
static const char *number_end(const char *p, const char *end, bool *is_long) {
    const char *start = p;
    bool whole_number = true;
    for (; p < end && (strchr("+-.eE", *p) || (*p >= '0' && *p <= '9')) && *p; p++)
        whole_number &= *p == '-' || (*p >= '0' && *p <= '9');
    *is_long = whole_number && p - start > 18;
    return p;
}

static fv_status quote_long_integers(fv__buf *out, const char *text, size_t size) {
    const char *end = text + size, *kept = text;
    for (const char *p = text; p < end;) {
        if (*p == '"') {
            for (p++; p < end && *p != '"'; p++) p += *p == '\\';
            p++;
        } else if (*p == '-' || (*p >= '0' && *p <= '9')) {
            bool is_long;
            const char *stop = number_end(p, end, &is_long);
            if (is_long) {
                fv__buf_add(out, kept, (size_t)(p - kept));
                fv__buf_printf(out, "\"%.*s\"", (int)(stop - p), p);
                kept = stop;
            }
            p = stop;
        } else {
            p++;
        }
    }
    if (kept < end) fv__buf_add(out, kept, (size_t)(end - kept));
    return fv__buf_status(out);
}

fv_status fv__json_parse_row(fv__json **out, const char *text, size_t size, const char *where, int64_t line,
                             fv_status fault) {
    json_error_t error = {0};
    fv__buf quoted = {0};
    fv__json_memory_begin();
    *out = NULL;
    if (!room_to_parse(size)) return FV_NO_RESOURCES;
    fv__inject_pause(true);
    *out = json_loadb(text ? text : "", size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    fv__inject_pause(false);
    if (*out) return FV_OK;
    if (json_error_code(&error) != json_error_numeric_overflow)
        return fv__json_parse_at(out, text, size, where, line, fault);
    fv_status status = quote_long_integers(&quoted, text, size);
    if (status == FV_OK) status = fv__json_parse_at(out, quoted.data, quoted.size, where, line, fault);
    fv__buf_free(&quoted);
    return status;
}

/* ---- */

fv_status fv__json_parse_at(fv__json **out, const char *text, size_t size, const char *where, int64_t line,
                            fv_status fault) {
    json_error_t error = {0};
    fv__json_memory_begin();
    *out = NULL;
    FV_TRY(check_amount(text ? text : "", size, where, fault));
    if (!room_to_parse(size)) return FV_NO_RESOURCES;
    fv__inject_pause(true);
    *out = decode(text ? text : "", size, &error);
    fv__inject_pause(false);
    if (*out) return FV_OK;
    if (fv__json_memory_failed()) return FV_NO_RESOURCES;
    bool nul = json_error_code(&error) == json_error_null_character; /* jansson's text names its own flags */
    return fv__fail(fault, "%s:%" PRId64 ":%d: malformed JSON: %s", where, line + error.line - 1, error.column,
                    nul ? "\\u0000 cannot be part of a text" : error.text);
}

fv_status fv__json_parse(fv__json **out, const char *text, size_t size, const char *where, fv_status fault) {
    return fv__json_parse_at(out, text, size, where, 1, fault);
}

fv_status fv__json_load(fv__json **out, const char *path, fv_status fault) {
    fv__file file;
    *out = NULL;
    fv_status status = fault == FV_BAD_MODEL ? fv__file_read_regular(&file, path) : fv__file_read(&file, path);
    if (status == FV_BAD_DATA) return fault;
    FV_TRY(status);
    size_t bom = file.size >= 3 && !memcmp(file.data, "\xEF\xBB\xBF", 3) ? 3 : 0;
    status = fv__json_parse(out, (const char *)file.data + bom, file.size - bom, path, fault);
    fv__file_free(&file);
    return status;
}

void fv__json_free(fv__json *value) { json_decref(value); }

/* ---- looking */

fv__json_kind fv__json_kind_of(const fv__json *value) {
    if (!value) return FV_JSON_NONE;
    switch (json_typeof(value)) {
    case JSON_OBJECT: return FV_JSON_OBJECT;
    case JSON_ARRAY: return FV_JSON_ARRAY;
    case JSON_STRING: return FV_JSON_STRING;
    case JSON_INTEGER: return FV_JSON_INT;
    case JSON_REAL: return FV_JSON_FLOAT;
    case JSON_TRUE:
    case JSON_FALSE: return FV_JSON_BOOL;
    case JSON_NULL: break;
    }
    return FV_JSON_NULL;
}

const char *fv__json_kind_name(const fv__json *value) {
    static const char *const names[] = {"nothing",  "null",     "true or false", "a whole number",
                                        "a number", "a string", "an array",      "an object"};
    return names[fv__json_kind_of(value)];
}

size_t fv__json_count(const fv__json *value) {
    return json_is_object(value) ? json_object_size(value) : json_is_array(value) ? json_array_size(value) : 0;
}

fv__json *fv__json_at(const fv__json *array, size_t index) { return json_array_get(array, index); }

fv__json *fv__json_get(const fv__json *object, const char *key) {
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

fv__json *fv__json_path(const fv__json *object, const char *path) {
    for (;;) {
        fv__json *value = fv__json_get(object, path);
        const char *dot = strchr(path, '.');
        char key[256];
        if (value || !dot || (size_t)(dot - path) >= sizeof key) return value;
        memcpy(key, path, (size_t)(dot - path));
        key[dot - path] = '\0';
        object = fv__json_get(object, key);
        path = dot + 1;
    }
}

const char *fv__json_text(const fv__json *value) { return json_string_value(value); }

size_t fv__json_text_size(const fv__json *value) { return json_string_length(value); }

/* Is it a whole number that a double holds exactly? */
static bool whole(double value) { return value == floor(value) && fabs(value) <= 9007199254740992.0; }

int64_t fv__json_int(const fv__json *value, int64_t otherwise) {
    if (json_is_integer(value)) return json_integer_value(value);
    if (json_is_real(value) && whole(json_real_value(value))) return (int64_t)json_real_value(value);
    return otherwise;
}

double fv__json_float(const fv__json *value, double otherwise) {
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

bool fv__json_bool(const fv__json *value, bool otherwise) {
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

void *fv__json_first(const fv__json *object) { return json_object_iter((json_t *)object); }

void *fv__json_next(const fv__json *object, void *pair) { return json_object_iter_next((json_t *)object, pair); }

const char *fv__json_key(void *pair) { return json_object_iter_key(pair); }

fv__json *fv__json_value(void *pair) { return json_object_iter_value(pair); }

/* ---- members with defaults */

static fv_status wrong(fv__json_at_file at, const char *key, const char *expected, const fv__json *found) {
    return fv__fail(at.fault, "%s: \"%s\"\n  expected %s\n  found:   %s", at.where, key, expected,
                    fv__json_kind_name(found));
}

fv_status fv__json_need_int(fv__json_at_file at, const char *key, int64_t missing, int64_t *out) {
    const fv__json *value = fv__json_get(at.object, key);
    bool fits = json_is_integer(value) || (json_is_real(value) && whole(json_real_value(value)));
    if (value && !fits) return wrong(at, key, "a whole number", value);
    *out = fv__json_int(value, missing);
    return FV_OK;
}

fv_status fv__json_need_float(fv__json_at_file at, const char *key, double missing, double *out) {
    const fv__json *value = fv__json_get(at.object, key);
    if (value && !json_is_number(value)) return wrong(at, key, "a number", value);
    *out = fv__json_float(value, missing);
    return FV_OK;
}

fv_status fv__json_need_bool(fv__json_at_file at, const char *key, bool missing, bool *out) {
    const fv__json *value = fv__json_get(at.object, key);
    if (value && !json_is_boolean(value)) return wrong(at, key, "true or false", value);
    *out = fv__json_bool(value, missing);
    return FV_OK;
}

fv_status fv__json_need_text(fv__json_at_file at, const char *key, const char *missing, const char **out) {
    const fv__json *value = fv__json_get(at.object, key);
    if (value && !json_is_string(value)) return wrong(at, key, "a string", value);
    *out = value ? json_string_value(value) : missing;
    return FV_OK;
}

fv_status fv__json_need_object(fv__json_at_file at, const char *key, fv__json **out) {
    *out = fv__json_get(at.object, key);
    return json_is_object(*out) ? FV_OK : wrong(at, key, "an object", *out);
}

fv_status fv__json_need_array(fv__json_at_file at, const char *key, fv__json **out) {
    *out = fv__json_get(at.object, key);
    return json_is_array(*out) ? FV_OK : wrong(at, key, "an array", *out);
}
