/* fovea config: the complete configuration of a training, printed, checked, or compared with another. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "folder.h"
#include "output.h"

#include <string.h>

static struct options { const char *what, *files; } o;
static const fv_option rows[] = {
    {"what", FV_OPT_CHOICE, offsetof(struct options, what), "print", 0, 0, "print|check|diff",
     "print all keys, check files, or compare two"},
    {"files", FV_OPT_STRING, offsetof(struct options, files), NULL, 0, 0, "FILE...", "YAML files or run folders"},
    {0}};

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"options", rows, &o, NULL};
    return 1;
}

static char *file_of(const char *path) {
    return cli_is_folder(path) ? cli_join(path, "config.yaml") : cli_text("%s", path);
}

/* The flags of `fovea train` with these files, settled. The caller closes them, also after a failure. */
static fv_status resolve_train(cli_flags *flags, char **path, size_t count) {
    cli_flags *before = cli_current;
    cli_flags_open(flags, cli_command_find("train", NULL));
    cli_flags_defaults(flags, false);
    cli_current = flags;
    fv_status status = FV_OK;
    for (size_t i = 0; i < count && status == FV_OK; i++) {
        char *file = file_of(path[i]);
        status = cli_config_read(flags, cli_keep(file), false);
    }
    if (status == FV_OK && cli_global.preset) status = cli_config_preset(flags, cli_global.preset);
    if (status == FV_OK && flags->command->resolve) status = flags->command->resolve();
    cli_current = before;
    return status;
}

static fv_status text_of(char **path, size_t count, char **text) {
    cli_flags flags;
    fv_status status = resolve_train(&flags, path, count);
    *text = status == FV_OK ? cli_config_text(&flags) : NULL;
    cli_flags_close(&flags);
    return status;
}

/* Both texts list the same keys in the same order, except those that do not apply to a model: walk by key. */
static const char *value_in(const char *text, const char *key, size_t n) {
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (strncmp(line, key, n) == 0 && line[n] == ':') return line + n + 2;
    return NULL;
}

static void row(cli_table *table, const char *key, size_t n, const char *a, const char *b) {
    char *name = cli_text("%.*s", (int)n, key), *left = a ? cli_text("%.*s", (int)strcspn(a, "\n"), a) : cli_text("-");
    char *right = b ? cli_text("%.*s", (int)strcspn(b, "\n"), b) : cli_text("-");
    if (strcmp(left, right) != 0) {
        cli_table_text(table, name);
        cli_table_text(table, left);
        cli_table_text(table, right);
    }
    cli_free(name);
    cli_free(left);
    cli_free(right);
}

static fv_status diff(char **path, size_t count) {
    if (count != 2)
        return cli_fail(FV_USAGE,
                        "config diff compares two files, found %zu\n  try:     fovea config diff runs/a runs/b", count);
    char *a = NULL, *b = NULL;
    fv_status status = text_of(path, 1, &a);
    if (status == FV_OK) status = text_of(path + 1, 1, &b);
    const char *columns[] = {"key", path[0], path[1]};
    cli_table *table = cli_table_new(columns, 3);
    for (const char *line = status == FV_OK ? a : ""; *line; line = strchr(line, '\n') + 1)
        if (*line != '#')
            row(table, line, strcspn(line, ":"), line + strcspn(line, ":") + 2, value_in(b, line, strcspn(line, ":")));
    for (const char *line = status == FV_OK ? b : ""; *line; line = strchr(line, '\n') + 1)
        if (*line != '#' && !value_in(a, line, strcspn(line, ":")))
            row(table, line, strcspn(line, ":"), NULL, line + strcspn(line, ":") + 2);
    if (status == FV_OK) cli_table_print(table, cli_format_of(cli_global.format), stdout);
    cli_table_free(table);
    cli_free(a);
    cli_free(b);
    return status;
}

static fv_status check(char **path, size_t count) {
    if (count == 0) return cli_missing("files", "YAML files to check");
    fv_status worst = FV_OK;
    for (size_t i = 0; i < count; i++) {
        char *text = NULL;
        fv_status status = text_of(path + i, 1, &text);
        if (status == FV_OK)
            printf("%s: ok\n", path[i]);
        else {
            cli_report(status);
            cli_reported(false);
            worst = status;
        }
        cli_free(text);
    }
    cli_reported(worst != FV_OK);
    return worst;
}

static fv_status run(void) {
    size_t count;
    char **path = cli_list_split(o.files, &count), *text = NULL;
    fv_status status = FV_OK;
    if (strcmp(o.what, "diff") == 0)
        status = diff(path, count);
    else if (strcmp(o.what, "check") == 0)
        status = check(path, count);
    else {
        status = text_of(path, count, &text);
        if (status == FV_OK) fputs(text, stdout);
    }
    cli_free(text);
    cli_free(path);
    return status;
}

const cli_command cmd_config = {
    .name = "config",
    .aliases = "cfg",
    .summary = "print, check or compare configurations of a training",
    .usage = "[print] [FILE...]\ncheck FILE...\ndiff A B",
    .examples = "fovea config print > train.yaml\nfovea config check train.yaml\nfovea config diff runs/a runs/b",
    .positional = "what files...",
    .groups = groups,
    .run = run,
};
