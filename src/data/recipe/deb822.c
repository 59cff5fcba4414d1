/* deb822.c - stanza after stanza from memory. See deb822.h. */
#include "data/recipe/deb822.h"
#include "data/text.h"

#include <string.h>

static void add_field(fv__deb822 *reader, const char *line, size_t size, const char *colon) {
    fv__deb822_field *field = &reader->field[reader->fields++];
    const char *value = colon + 1;
    size_t value_size = fv__text_strip(&value, size - (size_t)(value - line));
    field->key = reader->values.size;
    field->key_size = (size_t)(colon - line);
    fv__buf_add(&reader->values, line, field->key_size);
    field->value = reader->values.size;
    field->value_size = value_size;
    fv__buf_add(&reader->values, value, value_size);
}

static void add_line(fv__deb822 *reader, const char *line, size_t size) {
    bool continues = !size || line[0] == ' ' || line[0] == '\t';
    const char *colon = memchr(line, ':', size);
    if (continues && reader->fields) {
        fv__buf_add(&reader->values, "\n", 1);
        fv__buf_add(&reader->values, line, size);
        reader->field[reader->fields - 1].value_size += size + 1;
    } else if (colon) {
        reader->status = FV_GROW(&reader->field, &reader->capacity, reader->fields + 1);
        if (reader->status == FV_OK) add_field(reader, line, size, colon);
    }
}

/* The next empty line (the first of its two newlines), or NULL. */
static const char *empty_line(const char *text, const char *end) {
    for (const char *at = text; (at = memchr(at, '\n', (size_t)(end - at))); at++) {
        if (at + 1 >= end) return NULL;
        if (at[1] == '\n') return at;
    }
    return NULL;
}

/* A stanza ends at an empty line; what lies between two empty lines more is an empty stanza and skipped. */
bool fv__deb822_next(fv__deb822 *reader) {
    reader->fields = 0;
    while (!reader->fields && reader->at < reader->size) {
        const char *block = reader->text + reader->at, *end = reader->text + reader->size;
        const char *gap = empty_line(block, end), *stop = gap ? gap : end;
        reader->at = gap ? (size_t)(gap - reader->text) + 2 : reader->size;
        reader->values.size = 0;
        for (const char *line = block; line <= stop && reader->status == FV_OK;) {
            const char *newline = memchr(line, '\n', (size_t)(stop - line)), *last = newline ? newline : stop;
            add_line(reader, line, (size_t)(last - line));
            line = last + 1;
        }
    }
    return reader->fields && fv__deb822_status(reader) == FV_OK;
}

fv_status fv__deb822_status(const fv__deb822 *reader) {
    return reader->status == FV_OK ? fv__buf_status(&reader->values) : reader->status;
}

void fv__deb822_free(fv__deb822 *reader) {
    fv__buf_free(&reader->values);
    fv__free(reader->field);
}

fv__slice fv__deb822_get(const fv__deb822 *reader, const char *key) {
    size_t size = strlen(key);
    for (size_t i = reader->fields; i-- > 0;) {
        const fv__deb822_field *field = &reader->field[i];
        if (field->key_size == size && !memcmp(reader->values.data + field->key, key, size))
            return (fv__slice){reader->values.data + field->value, field->value_size};
    }
    return (fv__slice){0};
}
