/* The flags of one command. See flags.h. */
#include "flags.h"
#include "console.h"

#include <stdio.h>
#include <string.h>

cli_globals cli_global;
cli_flags *cli_current;

#define AT(field) offsetof(cli_globals, field)
const fv_option cli_global_rows[] = {
    {"config", FV_OPT_STRING, AT(config), NULL, 0, 0, "FILE...",
     "YAML file of flags; several may be given, a later one wins"},
    {"preset", FV_OPT_STRING, AT(preset), NULL, 0, 0, "NAME", "a named set of flags, weaker than every other source"},
    {"dump-config", FV_OPT_BOOL, AT(dump_config), "false", 0, 0, NULL,
     "print the complete configuration as YAML and stop"},
    {"format", FV_OPT_CHOICE, AT(format), "text", 0, 0, "text|tsv|json|jsonl|csv|md", "how results are printed"},
    {"threads", FV_OPT_INT, AT(threads), "0", 0, 1024, "N",
     "threads; 0: as many as there are cores. Results never depend on it"},
    {"progress", FV_OPT_CHOICE, AT(progress), "auto", 0, 0, "auto|bar|plain|json|none",
     "how progress is shown on stderr"},
    {"color", FV_OPT_CHOICE, AT(color), "auto", 0, 0, "auto|always|never", "auto obeys the terminal and NO_COLOR"},
    {"quiet", FV_OPT_BOOL, AT(quiet), "false", 0, 0, NULL, "only results and errors"},
    {"verbose", FV_OPT_INT, AT(verbose), "0", 0, 3, "N", "say more; -v may be repeated"},
    {"help", FV_OPT_BOOL, AT(help), "false", 0, 0, NULL, "this help"},
    {0}};
#undef AT

/* ---- names */

/* Short letters, first flag that the command has. Meaning by majority of the tools people come from. */
static const struct {
    char letter;
    const char *name;
} letters[] = {{'m', "model"},         {'i', "input"}, {'i', "in"},         {'o', "output"}, {'o', "out"},
               {'t', "threads"},       {'s', "seed"},  {'b', "batch-size"}, {'b', "batch"},  {'e', "epochs"},
               {'l', "learning-rate"}, {'k', "top-k"}, {'c', "config"},     {'q', "quiet"},  {'v', "verbose"},
               {'h', "help"},          {'r', "repeat"}};

static cli_flag *exact(cli_flags *flags, const char *name) {
    for (size_t i = 0; i < flags->count; i++)
        if (strcmp(flags->flag[i].name, name) == 0) return &flags->flag[i];
    return NULL;
}

static bool is_alias(const cli_flag *flag, const char *name) {
    const char *other;
    for (size_t i = 0; (other = fv_option_alias(flag->name, i)); i++)
        if (strcmp(other, name) == 0) return true;
    return false;
}

cli_flag *cli_flag_find(cli_flags *flags, const char *word) {
    char name[128];
    cli_normalise(word, name, sizeof name);
    cli_flag *flag = exact(flags, name);
    for (size_t i = 0; !flag && i < flags->count; i++)
        if (is_alias(&flags->flag[i], name)) flag = &flags->flag[i];
    return flag;
}

cli_flag *cli_flag_short(cli_flags *flags, char letter) {
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
        cli_flag *flag = letters[i].letter == letter ? exact(flags, letters[i].name) : NULL;
        if (flag) return flag;
    }
    return NULL;
}

char cli_flag_letter(const cli_flags *flags, const cli_flag *flag) {
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (cli_flag_short((cli_flags *)flags, letters[i].letter) == flag) return letters[i].letter;
    return 0;
}

/* ---- building */

static const char *name_in(const cli_group *group, const char *row) {
    for (size_t i = 0; group->rename && group->rename[i]; i += 2)
        if (strcmp(group->rename[i], row) == 0) return group->rename[i + 1];
    return row;
}

static void add_rows(cli_flags *flags, const cli_group *group) {
    for (const fv_option *row = group->rows; row->name; row++) {
        const char *name = name_in(group, row->name);
        if (!*name || exact(flags, name)) continue;
        flags->flag = cli_realloc(flags->flag, (flags->count + 1) * sizeof *flags->flag);
        flags->flag[flags->count++] = (cli_flag){name, row, group, CLI_BUILTIN, false};
    }
}

void cli_flags_open(cli_flags *flags, const cli_command *command) {
    memset(flags, 0, sizeof *flags);
    flags->command = command;
    if (command && command->groups) flags->groups = command->groups(flags->group);
    flags->group[flags->groups++] = (cli_group){"everywhere", cli_global_rows, &cli_global, NULL};
    for (size_t i = 0; i < flags->groups; i++) add_rows(flags, &flags->group[i]);
}

void cli_flags_defaults(cli_flags *flags, bool globals) {
    for (size_t i = 0; i < flags->groups; i++)
        if (globals || flags->group[i].rows != cli_global_rows)
            fv_options_init(flags->group[i].rows, flags->group[i].options);
}

void cli_flags_close(cli_flags *flags) {
    cli_free(flags->flag);
    memset(flags, 0, sizeof *flags);
}

/* ---- values */

bool cli_flag_is_list(const cli_flag *flag) {
    const char *hint = flag->row->choices;
    size_t n = hint ? strlen(hint) : 0;
    return flag->row->type == FV_OPT_STRING && n > 3 && strcmp(hint + n - 3, "...") == 0;
}

const char *cli_flag_no(const cli_flag *flag) {
    return cli_row_is_bool(flag->row) && flag->group->rows != cli_global_rows ? "[no-]" : "";
}

static const char **string_at(const cli_group *group, const fv_option *row) {
    return (const char **)(void *)((char *)group->options + row->offset);
}

const char *cli_flag_text(const cli_flag *flag, char *text, size_t size) {
    bool string = flag->row->type == FV_OPT_STRING || flag->row->type == FV_OPT_CHOICE;
    if (string) return *string_at(flag->group, flag->row);
    fv_options_print(flag->row, flag->group->options, text, size);
    return text;
}

static void expected(const fv_option *row, char *text, size_t size) {
    switch (row->type) {
    case FV_OPT_BOOL:
    case FV_OPT_NOT: snprintf(text, size, "true or false"); break;
    case FV_OPT_INT:
    case FV_OPT_WINDOW_LEFT:
    case FV_OPT_WINDOW_RIGHT:
        if (row->min == 0 && row->max == 0)
            snprintf(text, size, "a whole number");
        else if (row->max >= 9e18)
            snprintf(text, size, "a whole number, %.0f or more", row->min);
        else
            snprintf(text, size, "a whole number from %.0f to %.0f", row->min, row->max);
        break;
    case FV_OPT_FLOAT:
        if (row->min == 0 && row->max == 0)
            snprintf(text, size, "a number");
        else if (row->max >= 1e300)
            snprintf(text, size, "a number, %g or more", row->min);
        else
            snprintf(text, size, "a number from %g to %g", row->min, row->max);
        break;
    case FV_OPT_CHOICE:
    case FV_OPT_ENUM: {
        size_t n = 0;
        for (const char *c = row->choices; c && *c && n + 3 < size; c++) {
            if (*c == '|')
                n += (size_t)snprintf(text + n, size - n, ", ");
            else
                text[n++] = *c;
        }
        text[n] = 0;
        break;
    }
    default: snprintf(text, size, "text"); break;
    }
}

static bool is_choice(const char *choices, const char *word) {
    const size_t n = strlen(word);
    for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (n && strcspn(at, "|") == n && strncmp(at, word, n) == 0) return true;
    return false;
}

/* " did you mean" for a wrong choice. A form of data is not one of results. */
static void near_choice(const fv_option *row, const char *value, char *text, size_t size) {
    char list[512], near[256];
    const char *names[64];
    size_t count = 0;
    text[0] = 0;
    if ((row->type != FV_OPT_CHOICE && row->type != FV_OPT_ENUM) || !row->choices) return;
    const cli_flag *data = cli_current ? exact(cli_current, "input-format") : NULL;
    if (data && strcmp(row->name, "format") == 0 && is_choice(data->row->choices, value)) {
        snprintf(text, size, "\n  try:     --input-format %s, which is that of the data", value);
        return;
    }
    snprintf(list, sizeof list, "%s", row->choices);
    for (char *rest = list, *one; count < 64 && (one = strsep(&rest, "|"));) names[count++] = one;
    if (cli_nearest(value, names, count, "", near, sizeof near)) snprintf(text, size, "\n  try:     %s", near);
}

static fv_status set_row(const cli_group *group, const fv_option *row, const char *value, const char *where) {
    bool string = row->type == FV_OPT_STRING;
    if (!value && (string || row->type == FV_OPT_CHOICE)) {
        *string_at(group, row) = NULL;
        return FV_OK;
    }
    if (string) {
        *string_at(group, row) = value;
        return FV_OK;
    }
    char lower[16] = "";
    if (cli_row_is_bool(row) && value) cli_normalise(value, lower, sizeof lower); /* True, as Python writes it */
    if (value && fv_options_set(row, group->options, row->name, *lower ? lower : value) == FV_OK) return FV_OK;
    char want[512], near[300];
    expected(row, want, sizeof want);
    near_choice(row, value ? value : "", near, sizeof near);
    return cli_fail(FV_USAGE, "%s: wrong value\n  expected %s\n  found:   \"%s\"%s", where, want, value ? value : "",
                    near);
}

fv_status cli_flag_set(cli_flags *flags, cli_flag *flag, const char *value, cli_source source, const char *where) {
    if (flag->source > source) return FV_OK;
    const char *old = cli_flag_is_list(flag) ? *string_at(flag->group, flag->row) : NULL;
    bool append = old && value && source == CLI_LINE && flag->source == CLI_LINE;
    char *kept = !value ? NULL : cli_keep(append ? cli_text("%s\n%s", old, value) : cli_text("%s", value));
    for (size_t g = 0; g < flags->groups; g++) {
        const cli_group *group = &flags->group[g];
        bool shadowed = group->rows == cli_global_rows && flag->group->rows != cli_global_rows;
        for (const fv_option *row = group->rows; row->name && !shadowed; row++) {
            if (strcmp(name_in(group, row->name), flag->name) != 0) continue;
            fv_status status = set_row(group, row, kept, where);
            if (status != FV_OK) return status;
        }
    }
    flag->source = source;
    return FV_OK;
}

void cli_flags_rebase(cli_flags *flags, void (*init)(void)) {
    char **text = cli_alloc(flags->count * sizeof *text), buffer[64];
    for (size_t i = 0; i < flags->count; i++) {
        const char *now = cli_flag_text(&flags->flag[i], buffer, sizeof buffer);
        text[i] = now ? cli_keep(cli_text("%s", now)) : NULL;
    }
    init();
    for (size_t i = 0; i < flags->count; i++) {
        cli_flag *flag = &flags->flag[i];
        cli_source source = flag->source;
        if (source == CLI_BUILTIN) continue;
        flag->source = CLI_BUILTIN;
        cli_flag_set(flags, flag, text[i], source, flag->name);
    }
    cli_free(text);
}

bool cli_given(const char *name) {
    const cli_flag *flag = cli_current ? exact(cli_current, name) : NULL;
    return flag && flag->source != CLI_BUILTIN;
}

bool cli_on_line(const char *name) {
    const cli_flag *flag = cli_current ? exact(cli_current, name) : NULL;
    return flag && flag->source == CLI_LINE;
}

fv_status cli_missing(const char *name, const char *what) {
    return cli_fail(FV_USAGE, "--%s is missing: %s\n  try:     fovea %s --help", name, what,
                    cli_current->command->name);
}

/* ---- lists */

static size_t list_count(const char *list) {
    size_t count = list && *list ? 1 : 0;
    for (; list && *list; list++) count += *list == '\n';
    return count;
}

char **cli_list_split(const char *list, size_t *count) {
    *count = list_count(list);
    size_t head = (*count + 1) * sizeof(char *);
    char **entry = cli_alloc(head + (list ? strlen(list) : 0) + 1);
    char *text = (char *)entry + head;
    if (list) strcpy(text, list);
    for (size_t i = 0; i < *count; i++) entry[i] = strsep(&text, "\n");
    return entry;
}
