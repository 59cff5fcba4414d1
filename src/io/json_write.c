/* JSON: writing. Our own, because jansson prints 0.1 as 0.10000000000000001 and knows no HTML-safe form. */
#include "io/json.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

static void newline(fv__buf *out, fv__json_style style, int depth) {
    if (!(style & FV_JSON_PRETTY)) return;
    fv__buf_text(out, "\n");
    for (int i = 0; i < depth; i++) fv__buf_text(out, "  ");
}

/* The escape of the character at p (`length` bytes are taken), or NULL when it stands for itself. */
static const char *escape(const unsigned char *p, size_t left, fv__json_style style, size_t *length, char text[8]) {
    static const char *const shorts[] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
    *length = 1;
    if (*p == '"') return "\\\"";
    if (*p == '\\') return "\\\\";
    if (*p < sizeof shorts / sizeof *shorts && shorts[*p]) return shorts[*p];
    bool escaped = (style & FV_JSON_HTML) && (*p == '<' || *p == '>' || *p == '&');
    unsigned code = *p;
    if ((style & FV_JSON_HTML) && left >= 3 && p[0] == 0xE2 && p[1] == 0x80 && (p[2] == 0xA8 || p[2] == 0xA9)) {
        escaped = true;
        code = 0x2000u + (p[2] & 0x3Fu);
        *length = 3;
    }
    if (left >= 2 && p[0] == 0xC2 && p[1] < 0xA0) { /* U+0080 to U+009F steer terminals */
        escaped = true;
        code = p[1];
        *length = 2;
    }
    if (*p >= 32 && *p != 127 && !escaped) return NULL;
    snprintf(text, 8, "\\u%04x", code);
    return text;
}

void fv__json_quote(fv__buf *out, const char *text, size_t size, fv__json_style style) {
    const unsigned char *p = (const unsigned char *)text;
    size_t plain = 0, length;
    char code[8];
    fv__buf_text(out, "\"");
    for (size_t i = 0; i < size; i += length) {
        const char *escaped = escape(p + i, size - i, style, &length, code);
        if (!escaped) continue;
        fv__buf_add(out, text + plain, i - plain);
        fv__buf_text(out, escaped);
        plain = i + length;
    }
    if (plain < size) fv__buf_add(out, text + plain, size - plain);
    fv__buf_text(out, "\"");
}

static void write_float(fv__buf *out, double value) {
    char text[32];
    fv__print_float(text, value);
    fv__buf_text(out, text);
    if (!strpbrk(text, ".en")) fv__buf_text(out, ".0"); /* stays a float when it is read again */
}

static void write_value(fv__buf *out, const json_t *value, fv__json_style style, int depth);

static void write_array(fv__buf *out, const json_t *array, fv__json_style style, int depth) {
    size_t count = json_array_size(array);
    fv__buf_text(out, "[");
    for (size_t i = 0; i < count; i++) {
        if (i) fv__buf_text(out, style & FV_JSON_PRETTY ? "," : ", ");
        newline(out, style, depth + 1);
        write_value(out, json_array_get(array, i), style, depth + 1);
    }
    if (count) newline(out, style, depth);
    fv__buf_text(out, "]");
}

static void write_object(fv__buf *out, const json_t *object, fv__json_style style, int depth) {
    bool first = true;
    fv__buf_text(out, "{");
    for (void *pair = fv__json_first(object); pair; pair = fv__json_next(object, pair)) {
        const char *key = fv__json_key(pair);
        if (!first) fv__buf_text(out, style & FV_JSON_PRETTY ? "," : ", ");
        newline(out, style, depth + 1);
        fv__json_quote(out, key, strlen(key), style);
        fv__buf_text(out, ": ");
        write_value(out, fv__json_value(pair), style, depth + 1);
        first = false;
    }
    if (!first) newline(out, style, depth);
    fv__buf_text(out, "}");
}

static void write_value(fv__buf *out, const json_t *value, fv__json_style style, int depth) {
    switch (json_typeof(value)) {
    case JSON_OBJECT: write_object(out, value, style, depth); break;
    case JSON_ARRAY: write_array(out, value, style, depth); break;
    case JSON_STRING: fv__json_quote(out, json_string_value(value), json_string_length(value), style); break;
    case JSON_INTEGER: fv__buf_printf(out, "%" PRId64, (int64_t)json_integer_value(value)); break;
    case JSON_REAL: write_float(out, json_real_value(value)); break;
    case JSON_TRUE: fv__buf_text(out, "true"); break;
    case JSON_FALSE: fv__buf_text(out, "false"); break;
    case JSON_NULL: fv__buf_text(out, "null"); break;
    }
}

fv_status fv__json_dump(const fv__json *value, fv__json_style style, fv__buf *out) {
    if (!value) return FV_NO_RESOURCES; /* its maker ran out of memory and said so */
    write_value(out, value, style, 0);
    if (style & FV_JSON_PRETTY) fv__buf_text(out, "\n");
    return fv__buf_status(out);
}

fv_status fv__json_save(const fv__json *value, const char *path) {
    fv__buf text = {0};
    fv_status status = fv__json_dump(value, FV_JSON_PRETTY, &text);
    if (status == FV_OK) status = fv__write_file(path, text.data, text.size);
    fv__buf_free(&text);
    return status;
}
