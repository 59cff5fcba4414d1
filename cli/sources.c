/* The sources of flags besides the command line: YAML files, presets, the environment; and the YAML that says it all.
 * A file is one flat mapping: a flag's name, a value or a list of values. */
#include "console.h"
#include "flags.h"
#include "folder.h"
#include "fovea/model.h"
#include "yaml_text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define YAML_BINARY "tag:yaml.org,2002:binary"
enum { MOST_KEYS = 1000 }; /* of a file; there are some hundred flags */

/* ---- reading */

typedef struct reader {
    cli_flags *flags;
    const char *path;
    bool saved;              /* written by a run of fovea, perhaps another version: unknown keys are warnings */
    const char *const *only; /* NULL, or the keys to take; the others are skipped */
    cli_source source;
    yaml_parser_t parser;
    yaml_event_t event;
    char **seen; /* keys so far */
    size_t count;
} reader;

static fv_status next(reader *r) {
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event)) return FV_OK;
    memset(&r->event, 0, sizeof r->event);
    if (r->parser.error == YAML_MEMORY_ERROR) return cli_fail(FV_NO_RESOURCES, "%s: out of memory", r->path);
    return cli_fail(FV_USAGE, "%s:%zu: not YAML: %s", r->path, r->parser.problem_mark.line + 1,
                    r->parser.problem ? r->parser.problem : "unreadable");
}

static size_t line_of(const reader *r) { return r->event.start_mark.line + 1; }

static fv_status not_expected(const reader *r, const char *what) {
    const char *found = r->event.type == YAML_MAPPING_START_EVENT    ? "a nested mapping"
                        : r->event.type == YAML_SEQUENCE_START_EVENT ? "a list"
                        : r->event.type == YAML_ALIAS_EVENT          ? "an alias"
                        : r->event.type == YAML_SCALAR_EVENT         ? "a single value"
                                                                     : "the end";
    return cli_fail(FV_USAGE, "%s:%zu: wrong shape\n  expected %s\n  found:   %s", r->path, line_of(r), what, found);
}

static bool known_elsewhere(const char *key) {
    bool found = false;
    for (size_t i = 0; cli_commands[i] && !found; i++) {
        cli_flags other;
        cli_flags_open(&other, cli_commands[i]);
        found = cli_flag_find(&other, key) != NULL;
        cli_flags_close(&other);
    }
    return found;
}

static fv_status unknown_key(const reader *r, const char *key, size_t line) {
    const char *names[256];
    char near[512];
    size_t count = 0;
    if (r->saved) {
        cli_warn("%s:%zu: unknown key %s is left out", r->path, line, key);
        return FV_OK;
    }
    for (; count < r->flags->count && count < 256; count++) names[count] = r->flags->flag[count].name;
    if (cli_nearest(key, names, count, "", near, sizeof near))
        return cli_fail(FV_USAGE, "%s:%zu: unknown key %s      did you mean %s?", r->path, line, key, near);
    return cli_fail(FV_USAGE, "%s:%zu: unknown key %s\n  try:     fovea %s --help", r->path, line, key,
                    r->flags->command->name);
}

/* A value that grows by what is appended. */
typedef struct value_text {
    char *text;
    size_t size, room;
} value_text;

static void append(value_text *v, const char *more, size_t size) {
    if (v->room - v->size <= size) {
        v->room = 2 * (v->size + size + 16);
        v->text = cli_realloc(v->text, v->room);
    }
    memcpy(v->text + v->size, more, size);
    v->size += size;
    v->text[v->size] = 0;
}

/* The scalar of the present event: as it is, or the bytes of a !!binary one, which is how texts that are not UTF-8 are
 * written. */
static fv_status append_scalar(const reader *r, value_text *v) {
    const char *one = (const char *)r->event.data.scalar.value, *tag = (const char *)r->event.data.scalar.tag;
    if (!tag || strcmp(tag, YAML_BINARY) != 0) return append(v, one, strlen(one)), FV_OK;
    char *bytes = cli_base64_decode(one);
    if (bytes) append(v, bytes, strlen(bytes));
    cli_free(bytes);
    return bytes ? FV_OK
                 : cli_fail(FV_USAGE,
                            "%s:%zu: a !!binary value\n  expected base64, of bytes without NUL\n  found:   \"%.40s\"",
                            r->path, line_of(r), one);
}

static fv_status read_list(reader *r, const char *joint, value_text *v) {
    append(v, "", 0);
    for (bool first = true;; first = false) {
        fv_status status = next(r);
        if (status != FV_OK || r->event.type == YAML_SEQUENCE_END_EVENT) return status;
        if (r->event.type != YAML_SCALAR_EVENT) return not_expected(r, "a list of single values");
        if (!first) append(v, joint, 1);
        status = append_scalar(r, v);
        if (status != FV_OK) return status;
    }
}

/* One value, or a list joined by newlines (list flags) or commas (the others). NULL result: null. */
static fv_status read_value(reader *r, const cli_flag *flag, char **value) {
    value_text v = {0};
    fv_status status = FV_OK;
    *value = NULL;
    if (r->event.type == YAML_SEQUENCE_START_EVENT)
        status = read_list(r, flag && cli_flag_is_list(flag) ? "\n" : ",", &v);
    else if (r->event.type != YAML_SCALAR_EVENT)
        return not_expected(r, "a value or a list");
    else {
        const char *one = (const char *)r->event.data.scalar.value;
        bool plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        if (plain && (!*one || strcmp(one, "~") == 0 || strcmp(one, "null") == 0)) return FV_OK;
        status = append_scalar(r, &v);
    }
    if (status == FV_OK)
        *value = v.text;
    else
        cli_free(v.text);
    return status;
}

static bool is_taken(const reader *r, const char *key) {
    for (size_t i = 0; r->only && r->only[i]; i++)
        if (strcmp(r->only[i], key) == 0) return true;
    return !r->only;
}

static fv_status take_pair(reader *r) {
    if (r->event.type != YAML_SCALAR_EVENT) return not_expected(r, "the name of a flag");
    char key[128], where[512], *value = NULL;
    size_t line = line_of(r);
    snprintf(key, sizeof key, "%s", (const char *)r->event.data.scalar.value);
    if (r->saved && strcmp(key, "format") == 0) strcpy(key, "input-format"); /* what earlier versions wrote */
    cli_flag *flag = is_taken(r, key) ? cli_flag_find(r->flags, key) : NULL;
    snprintf(where, sizeof where, "%s:%zu: %s", r->path, line, key);
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->seen[i], flag ? flag->name : key) == 0)
            return cli_fail(FV_USAGE, "%s\n  expected once\n  found:   twice", where);
    if (r->count == MOST_KEYS)
        return cli_fail(FV_USAGE, "%s:%zu: keys\n  expected at most %d\n  found:   more", r->path, line, MOST_KEYS);
    r->seen = cli_realloc(r->seen, (r->count + 1) * sizeof *r->seen);
    r->seen[r->count++] = cli_text("%s", flag ? flag->name : key);
    fv_status status = !flag && !r->only && !known_elsewhere(key) ? unknown_key(r, key, line) : FV_OK;
    if (status == FV_OK) status = next(r);
    if (status == FV_OK) status = read_value(r, flag, &value);
    if (status == FV_OK && flag) {
        bool text = flag->row->type == FV_OPT_STRING || flag->row->type == FV_OPT_CHOICE;
        if (value || text) status = cli_flag_set(r->flags, flag, value, r->source, where);
    }
    cli_free(value);
    return status;
}

/* What follows the mapping: its document's end, then the file's. */
static fv_status read_end(reader *r) {
    fv_status status = next(r);
    if (status == FV_OK) status = next(r);
    if (status != FV_OK || r->event.type == YAML_STREAM_END_EVENT) return status;
    return cli_fail(FV_USAGE, "%s:%zu: a second document\n  expected one, with all flags\n  found:   \"---\"", r->path,
                    line_of(r));
}

static fv_status read_document(reader *r) {
    fv_status status = next(r);            /* stream start */
    if (status == FV_OK) status = next(r); /* document start, or the end of an empty file */
    if (status != FV_OK || r->event.type == YAML_STREAM_END_EVENT) return status;
    status = next(r);
    bool empty = status == FV_OK && r->event.type == YAML_SCALAR_EVENT && !*r->event.data.scalar.value;
    if (status != FV_OK) return status;
    if (empty) return read_end(r);
    if (r->event.type != YAML_MAPPING_START_EVENT) return not_expected(r, "lines such as \"learning-rate: 0.001\"");
    while ((status = next(r)) == FV_OK && r->event.type != YAML_MAPPING_END_EVENT) {
        status = take_pair(r);
        if (status != FV_OK) break;
    }
    return status == FV_OK ? read_end(r) : status;
}

static fv_status read_file(reader *r) {
    char *text;
    size_t size;
    fv_status status = cli_yaml_load(&text, &size, r->path, r->saved);
    if (status != FV_OK) return status;
    if (!yaml_parser_initialize(&r->parser))
        status = cli_fail(FV_NO_RESOURCES, "%s: out of memory", r->path);
    else {
        yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, size);
        status = read_document(r);
        yaml_event_delete(&r->event);
        yaml_parser_delete(&r->parser);
    }
    for (size_t i = 0; i < r->count; i++) cli_free(r->seen[i]);
    cli_free(r->seen);
    cli_free(text);
    return status;
}

fv_status cli_config_read(cli_flags *flags, const char *path, bool saved) {
    reader r = {.flags = flags, .path = path, .saved = saved, .source = CLI_FILE};
    return read_file(&r);
}

fv_status cli_config_inherit(cli_flags *flags, const char *path, const char *const *only) {
    reader r = {.flags = flags, .path = path, .saved = true, .only = only, .source = CLI_PRESET};
    return cli_is_file(path) ? read_file(&r) : FV_OK;
}

/* ---- presets and environment */

const char *cli_preset_name(size_t index, const char **help) {
    if (index >= fv_preset_count()) return NULL;
    if (help) *help = fv_preset_at(index)->help;
    return fv_preset_at(index)->name;
}

static fv_status unknown_preset(const char *name) {
    const char *names[64];
    size_t count = 0;
    while (count < 64 && (names[count] = cli_preset_name(count, NULL))) count++;
    return cli_unknown("preset", name, names, count);
}

fv_status cli_config_preset(cli_flags *flags, const char *name) {
    const fv_preset *preset = fv_preset_find(name);
    if (!preset) return unknown_preset(name);
    char where[160];
    snprintf(where, sizeof where, "preset %s", name);
    cli_flag *kind = cli_flag_find(flags, "model");
    fv_status status = kind ? cli_flag_set(flags, kind, preset->kind, CLI_PRESET, where) : FV_OK;
    for (size_t i = 0; status == FV_OK && preset->settings[i]; i++) {
        char key[64];
        const char *equal = strchr(preset->settings[i], '=');
        snprintf(key, sizeof key, "%.*s", (int)(equal - preset->settings[i]), preset->settings[i]);
        cli_flag *flag = cli_flag_find(flags, key);
        if (flag) status = cli_flag_set(flags, flag, equal + 1, CLI_PRESET, where);
    }
    return status;
}

/* FOVEA_BATCH_SIZE of "batch-size", and its value or NULL. */
static const char *variable(const char *flag, char name[static 128]) {
    size_t n = (size_t)snprintf(name, 128, "FOVEA_");
    for (const char *c = flag; *c && n + 1 < 128; c++) name[n++] = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    name[n] = 0;
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

fv_status cli_config_environment(cli_flags *flags) {
    for (size_t i = 0; i < flags->count; i++) {
        cli_flag *flag = &flags->flag[i];
        char name[128];
        const char *value = variable(flag->name, name), *old;
        for (size_t k = 0; !value && (old = fv_option_earlier_name(flag->name, k)); k++) value = variable(old, name);
        fv_status status = value ? cli_flag_set(flags, flag, value, CLI_ENVIRONMENT, name) : FV_OK;
        if (status != FV_OK) return status;
    }
    return FV_OK;
}

/* ---- writing */

static void put(char **text, const char *more) {
    char *longer = cli_text("%s%s", *text, more);
    cli_free(*text);
    *text = longer;
}

static void put_list(char **text, const char *list) {
    size_t count;
    char **entry = cli_list_split(list, &count);
    put(text, "[");
    for (size_t i = 0; i < count; i++) {
        char *one = cli_yaml_scalar(entry[i]);
        if (i) put(text, ", ");
        put(text, one);
        cli_free(one);
    }
    put(text, "]");
    cli_free(entry);
}

/* Did the command itself give the flag a value? A string that is set, that is. */
static bool changed(const cli_flag *flag) {
    char text[64];
    bool string = flag->row->type == FV_OPT_STRING || flag->row->type == FV_OPT_CHOICE;
    return string && cli_flag_text(flag, text, sizeof text) != NULL;
}

char *cli_config_text(const cli_flags *flags) {
    static const char *const not_part[] = {"resume", "overwrite", NULL};
    char *text = cli_text("# fovea %s %s\n", fv_version(), flags->command->name);
    for (size_t i = 0; i < flags->count; i++) {
        const cli_flag *flag = &flags->flag[i];
        char buffer[64];
        bool unset = flag->source == CLI_BUILTIN && !flag->row->standard && !changed(flag);
        const char *value = unset ? NULL : cli_flag_text(flag, buffer, sizeof buffer);
        bool skip = flag->idle || flag->group->rows == cli_global_rows;
        for (size_t k = 0; not_part[k]; k++) skip |= strcmp(not_part[k], flag->name) == 0;
        if (skip) continue;
        put(&text, flag->name);
        put(&text, ": ");
        if (!value)
            put(&text, "null");
        else if (cli_flag_is_list(flag))
            put_list(&text, value);
        else {
            char *one = cli_yaml_scalar(value);
            put(&text, one);
            cli_free(one);
        }
        put(&text, "\n");
    }
    return text;
}
