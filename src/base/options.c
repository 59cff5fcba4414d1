/* Options by table: one row gives default, parsing, range check, error text and printing. */
#include "base/base.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void *field_of(const fv_option *row, void *options) { return (char *)options + row->offset; }

/* ---- a side of a window as a number: -1 is no limit, and a window without limits is none */

static int64_t *side_of(const fv_option *row, fv_window *window) {
    return row->type == FV_OPT_WINDOW_LEFT ? &window->left : &window->right;
}

static int64_t get_side(const fv_option *row, const void *field) {
    fv_window window = *(const fv_window *)field;
    return window.limited ? *side_of(row, &window) : -1;
}

static void set_side(const fv_option *row, void *field, int64_t value) {
    fv_window window = *(fv_window *)field;
    if (!window.limited) window = FV_WINDOW(-1, -1);
    *side_of(row, &window) = value;
    *(fv_window *)field = window.left < 0 && window.right < 0 ? (fv_window){0} : window;
}

static fv_status unknown_option(const fv_option *rows, const char *name) {
    const char *names[256];
    char text[4096];
    size_t count = 0, length = 0;
    for (fv_option_walk w = fv_option_walk_of(rows);
         count < 255 && fv_option_next(&w) && length + sizeof w.name < sizeof text;) {
        names[count++] = text + length;
        length += strlen(strcpy(text + length, w.name)) + 1;
    }
    names[count] = NULL;
    const char *near = fv__nearest(name, names);
    if (near) return fv__fail(FV_USAGE, "unknown option \"%s\"\n  did you mean \"%s\"?", name, near);
    char list[1024] = "";
    size_t used = 0;
    for (size_t i = 0; i < count && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
    return fv__fail(FV_USAGE, "unknown option\n  expected one of: %s\n  found:   \"%s\"",
                    count ? list : "(there are none)", name);
}

static bool parse_bool(const char *text, bool *value) {
    static const char *const words[] = {"false", "no", "off", "0", "true", "yes", "on", "1"};
    for (int i = 0; i < 8; i++) {
        if (strcmp(text, words[i])) continue;
        *value = i >= 4;
        return true;
    }
    return false;
}

static bool in_range(const fv_option *row, double value) {
    bool unlimited = row->min == 0 && row->max == 0;
    return unlimited || (value >= row->min && value <= row->max);
}

/* Which of "a|b|c" is `value`? -1: none. */
static int choice_of(const char *choices, const char *value) {
    size_t length = strlen(value);
    int number = 0;
    for (const char *at = choices; at; at = strchr(at, '|'), number++) {
        at += *at == '|';
        size_t word = strcspn(at, "|");
        if (word == length && !memcmp(at, value, word)) return number;
    }
    return -1;
}

static bool is_choice(const char *choices, const char *value) { return choice_of(choices, value) >= 0; }

/* The word of a number, and its length; "" when there is none. */
static const char *choice_at(const char *choices, int number, size_t *length) {
    const char *at = choices;
    for (int n = 0; at && n < number; n++) at = (at = strchr(at, '|')) ? at + 1 : NULL;
    if (!at || number < 0) at = "";
    *length = strcspn(at, "|");
    return at;
}

/* The choice nearest to `value`, copied into `word`; false when none is near. */
static bool near_choice(const char *choices, const char *value, char *word, size_t size) {
    char text[1024];
    const char *names[128];
    size_t count = 0;
    if (strlen(choices) >= sizeof text) return false;
    strcpy(text, choices);
    for (char *rest = text, *next; rest && count < 127; rest = next) {
        next = strchr(rest, '|');
        if (next) *next++ = '\0';
        names[count++] = rest;
    }
    names[count] = NULL;
    const char *near = fv__nearest(value, names);
    if (near) snprintf(word, size, "%s", near);
    return near != NULL;
}

static fv_status bad_number(const fv_option *row, const char *value) {
    const char *kind = row->type == FV_OPT_FLOAT ? "a number" : "a whole number";
    if (row->min == 0 && row->max == 0)
        return fv__fail(FV_USAGE, "option \"%s\"\n  expected %s\n  found:   \"%s\"", row->name, kind, value);
    char low[32], high[32];
    fv__print_float(low, row->min);
    fv__print_float(high, row->max);
    return fv__fail(FV_USAGE, "option \"%s\"\n  expected %s from %s to %s\n  found:   \"%s\"", row->name, kind, low,
                    high, value);
}

static fv_status bad_choice(const fv_option *row, const char *value) {
    char near[128], hint[192] = "";
    if (near_choice(row->choices, value, near, sizeof near))
        snprintf(hint, sizeof hint, "\n  did you mean \"%s\"?", near);
    return fv__fail(FV_USAGE, "option \"%s\"\n  expected one of: %s\n  found:   \"%s\"%s", row->name, row->choices,
                    value, hint);
}

static fv_status bad_bool(const fv_option *row, const char *value) {
    return fv__fail(FV_USAGE, "option \"%s\"\n  expected true or false\n  found:   \"%s\"", row->name, value);
}

/* Text into the field of its row. */
static fv_status assign(const fv_option *row, void *field, const char *value) {
    int64_t whole;
    double number;
    switch (row->type) {
    case FV_OPT_BOOL: return parse_bool(value, (bool *)field) ? FV_OK : bad_bool(row, value);
    case FV_OPT_NOT:
        if (!parse_bool(value, (bool *)field)) return bad_bool(row, value);
        *(bool *)field = !*(bool *)field;
        return FV_OK;
    case FV_OPT_INT:
        if (!fv__parse_int(value, &whole) || !in_range(row, (double)whole)) return bad_number(row, value);
        *(int64_t *)field = whole;
        return FV_OK;
    case FV_OPT_FLOAT:
        if (!fv__parse_float(value, &number) || !in_range(row, number)) return bad_number(row, value);
        *(double *)field = number;
        return FV_OK;
    case FV_OPT_CHOICE:
        if (!is_choice(row->choices, value)) return bad_choice(row, value);
        *(const char **)field = value;
        return FV_OK;
    case FV_OPT_ENUM:
        if (!is_choice(row->choices, value)) return bad_choice(row, value);
        *(int *)field = choice_of(row->choices, value);
        return FV_OK;
    case FV_OPT_STRING: *(const char **)field = value; return FV_OK;
    case FV_OPT_WINDOW_LEFT:
    case FV_OPT_WINDOW_RIGHT:
        if (!fv__parse_int(value, &whole) || !in_range(row, (double)whole)) return bad_number(row, value);
        set_side(row, field, whole);
        return FV_OK;
    case FV_OPT_GROUP: break; /* its rows are set, never itself */
    }
    return fv__fail(FV_USAGE, "option \"%s\" has a type that is not known (%d)", row->name, (int)row->type);
}

static void clear(const fv_option *row, void *field) {
    switch (row->type) {
    case FV_OPT_BOOL:
    case FV_OPT_NOT: *(bool *)field = false; break;
    case FV_OPT_INT: *(int64_t *)field = 0; break;
    case FV_OPT_FLOAT: *(double *)field = 0; break;
    case FV_OPT_STRING:
    case FV_OPT_CHOICE: *(const char **)field = NULL; break;
    case FV_OPT_WINDOW_LEFT: /* of two rows for one window the first is that of its left side */
        *(fv_window *)field = (fv_window){0};
        break;
    case FV_OPT_ENUM: *(int *)field = 0; break;
    case FV_OPT_WINDOW_RIGHT:
    case FV_OPT_GROUP: break;
    }
}

void fv_options_init(const fv_option *rows, void *options) {
    for (const fv_option *row = rows; row->name; row++) /* what a struct holds beside its rows */
        if (row->type == FV_OPT_GROUP) memset(field_of(row, options), 0, (size_t)row->max);
    for (fv_option_walk w = fv_option_walk_of(rows); fv_option_next(&w);) {
        void *field = field_of(&w.row, options);
        clear(&w.row, field);
        if (w.row.standard) assign(&w.row, field, w.row.standard);
    }
}

fv_status fv_options_set(const fv_option *rows, void *options, const char *name, const char *value) {
    fv_option_walk walk;
    if (!fv_option_walk_find(&walk, rows, name)) return unknown_option(rows, name);
    return assign(&walk.row, field_of(&walk.row, options), value);
}

size_t fv_options_print(const fv_option *row, const void *options, char *text, size_t size) {
    const void *field = (const char *)options + row->offset;
    char number[32];
    const char *out = number;
    size_t length = 0;
    switch (row->type) {
    case FV_OPT_BOOL: out = *(const bool *)field ? "true" : "false"; break;
    case FV_OPT_NOT: out = *(const bool *)field ? "false" : "true"; break;
    case FV_OPT_INT: snprintf(number, sizeof number, "%" PRId64, *(const int64_t *)field); break;
    case FV_OPT_FLOAT: fv__print_float(number, *(const double *)field); break;
    case FV_OPT_STRING:
    case FV_OPT_CHOICE: out = *(const char *const *)field ? *(const char *const *)field : ""; break;
    case FV_OPT_WINDOW_LEFT:
    case FV_OPT_WINDOW_RIGHT: snprintf(number, sizeof number, "%" PRId64, get_side(row, field)); break;
    case FV_OPT_ENUM:
        out = choice_at(row->choices, *(const int *)field, &length);
        return (size_t)snprintf(text, size, "%.*s", (int)length, out);
    case FV_OPT_GROUP: out = ""; break;
    }
    return (size_t)snprintf(text, size, "%s", out);
}

/* ---- structs that were filled by hand */

static fv_status check_window(const fv_option *row, const fv_window *window) {
    if (window->limited || (!window->left && !window->right)) return FV_OK;
    return fv__fail(FV_USAGE,
                    "%s: a window with sides that is not limited\n  expected FV_WINDOW(%lld, %lld)\n"
                    "  found:   limited false",
                    row->name, (long long)window->left, (long long)window->right);
}

fv_status fv__option_check(const fv_option *row, const void *options) {
    const char *field = (const char *)options + row->offset;
    const bool side = row->type == FV_OPT_WINDOW_LEFT || row->type == FV_OPT_WINDOW_RIGHT;
    if (row->type == FV_OPT_INT || side) {
        if (side) FV_TRY(check_window(row, (const fv_window *)(const void *)field));
        int64_t value = side ? get_side(row, field) : *(const int64_t *)field;
        if (in_range(row, (double)value)) return FV_OK;
        return fv__fail(FV_USAGE, "%s is out of range\n  expected %.0f to %.0f\n  found:   %lld", row->name, row->min,
                        row->max, (long long)value);
    }
    if (row->type == FV_OPT_FLOAT) {
        double value = *(const double *)field;
        if (isfinite(value) && in_range(row, value)) return FV_OK;
        return fv__fail(FV_USAGE, "%s is out of range\n  expected %g to %g\n  found:   %g", row->name, row->min,
                        row->max, value);
    }
    if (row->type == FV_OPT_ENUM) {
        size_t length;
        choice_at(row->choices, *(const int *)field, &length);
        if (length) return FV_OK;
        return fv__fail(FV_USAGE, "unknown %s\n  expected %s\n  found:   %d", row->name, row->choices,
                        *(const int *)field);
    }
    const bool text_field = row->type == FV_OPT_STRING || row->type == FV_OPT_CHOICE;
    const char *text = text_field ? *(const char *const *)field : NULL;
    if (row->type == FV_OPT_CHOICE && (!text || !is_choice(row->choices, text)))
        return fv__fail(FV_USAGE, "unknown %s\n  expected %s\n  found:   %s", row->name, row->choices,
                        text ? text : "nothing");
    return FV_OK;
}

/* Would a struct of zeros have a value here that is none? */
static bool is_unset(const fv_option *row, const void *field) {
    switch (row->type) {
    case FV_OPT_INT: return *(const int64_t *)field == 0 && !in_range(row, 0);
    case FV_OPT_FLOAT: return *(const double *)field == 0 && !in_range(row, 0);
    case FV_OPT_STRING:
    case FV_OPT_CHOICE: return !*(const char *const *)field;
    default: return false;
    }
}

fv_status fv__options_complete(const fv_option *rows, void *options) {
    for (fv_option_walk w = fv_option_walk_of(rows); fv_option_next(&w);) {
        void *field = field_of(&w.row, options);
        if (w.row.standard && is_unset(&w.row, field)) FV_TRY(assign(&w.row, field, w.row.standard));
        FV_TRY(fv__option_check(&w.row, options));
    }
    return FV_OK;
}

/* ---- keys */

/* The field of a row as bytes; a string with its end. */
static const void *field_bytes(const fv_option *row, const void *options, size_t *length) {
    const char *field = (const char *)options + row->offset, *text;
    switch (row->type) {
    case FV_OPT_BOOL:
    case FV_OPT_NOT: *length = sizeof(bool); break;
    case FV_OPT_ENUM: *length = sizeof(int); break;
    case FV_OPT_INT:
    case FV_OPT_FLOAT: *length = 8; break;
    case FV_OPT_STRING:
    case FV_OPT_CHOICE:
        text = *(const char *const *)(const void *)field ? *(const char *const *)(const void *)field : row->standard;
        if (!text) text = "";
        *length = strlen(text) + 1;
        return text;
    case FV_OPT_WINDOW_LEFT: *length = sizeof(int64_t); return &((const fv_window *)(const void *)field)->left;
    case FV_OPT_WINDOW_RIGHT: *length = sizeof(int64_t); return &((const fv_window *)(const void *)field)->right;
    case FV_OPT_GROUP: *length = 0; break;
    }
    return field;
}

static size_t append(char *key, size_t size, size_t used, const void *bytes, size_t length) {
    if (used < size) memcpy(key + used, bytes, length < size - used ? length : size - used);
    return used + length;
}

size_t fv__options_key(const fv_option *rows, const void *options, void *key, size_t size) {
    size_t used = 0, length = 0;
    for (fv_option_walk w = fv_option_walk_of(rows); fv_option_next(&w);) {
        const void *bytes = field_bytes(&w.row, options, &length);
        if (w.row.type == FV_OPT_WINDOW_LEFT) {
            const fv_window *window = (const void *)((const char *)options + w.row.offset);
            used = append(key, size, used, &window->limited, sizeof window->limited);
        }
        used = append(key, size, used, bytes, length);
    }
    return used;
}
