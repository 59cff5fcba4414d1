/* fovea help: overview, one command, or the documents made from the flag tables. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "flag_text.h"
#include "output.h"

#include <string.h>

static struct options {
    const char *topic;
    bool man, markdown;
} o;
static const fv_option rows[] = {
    {"topic", FV_OPT_STRING, offsetof(struct options, topic), NULL, 0, 0, "TOPIC", "a command, all or presets"},
    {"man", FV_OPT_BOOL, offsetof(struct options, man), "false", 0, 0, NULL, "print the man page"},
    {"markdown", FV_OPT_BOOL, offsetof(struct options, markdown), "false", 0, 0, NULL,
     "print every option table as Markdown"},
    {0}};

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"options", rows, &o, NULL};
    return 1;
}

static void presets(void) {
    const char *name, *help = NULL;
    for (size_t i = 0; (name = cli_preset_name(i, &help)); i++) {
        printf("  %-16s ", name);
        cli_wrap(stdout, help, 19, cli_width(stdout));
    }
}

static fv_status run(void) {
    if (o.man)
        cli_help_man(stdout);
    else if (o.markdown)
        cli_help_markdown(stdout);
    else if (!o.topic)
        cli_help_overview(stdout, false);
    else if (strcmp(o.topic, "all") == 0)
        cli_help_overview(stdout, true);
    else if (strcmp(o.topic, "presets") == 0)
        presets();
    else {
        const cli_command *command = cli_command_find(o.topic, NULL);
        if (!command)
            return cli_fail(
                FV_USAGE,
                "no such help\n  expected a command, all or presets\n  found:   %s\n  try:     fovea help all",
                o.topic);
        cli_help_command(command, stdout);
    }
    return FV_OK;
}

const cli_command cmd_help = {
    .name = "help",
    .summary = "explain fovea or one command",
    .usage = "[COMMAND|all|presets]\n--man\n--markdown",
    .positional = "topic",
    .common = true,
    .groups = groups,
    .run = run,
};
