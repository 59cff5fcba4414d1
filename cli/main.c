/* fovea - attention you can train, run and look at. This file finds the command, settles its flags and runs it. */
#include "console.h"
#include "flags.h"
#include "flag_text.h"
#include "output.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLI_COMMAND(name) extern const cli_command cmd_##name;
#include "list.def"
#undef CLI_COMMAND

#define CLI_COMMAND(name) &cmd_##name,
const cli_command *const cli_commands[] = {
#include "list.def"
    NULL};
#undef CLI_COMMAND

/* "supervised fit predict-prob:prob=true": is `name` one of them? `sets` receives what follows the colon. */
static bool in_aliases(const char *list, const char *name, const char **sets) {
    while (list && *list) {
        size_t n = strcspn(list, " "), bare = strcspn(list, " :");
        if (strlen(name) == bare && strncmp(list, name, bare) == 0) {
            if (list[bare] == ':' && sets) *sets = cli_keep(cli_text("%.*s", (int)(n - bare - 1), list + bare + 1));
            return true;
        }
        list += n + (list[n] == ' ');
    }
    return false;
}

const cli_command *cli_command_find(const char *name, const char **sets) {
    char plain[64];
    cli_normalise(name, plain, sizeof plain);
    for (size_t i = 0; cli_commands[i]; i++)
        if (strcmp(cli_commands[i]->name, plain) == 0 || in_aliases(cli_commands[i]->aliases, plain, sets))
            return cli_commands[i];
    return NULL;
}

static void command_names(const char **names, size_t room) {
    size_t n = 0;
    for (; cli_commands[n] && n + 1 < room; n++) names[n] = cli_commands[n]->name;
    names[n] = NULL;
}

static fv_status unknown_command(const char *name) {
    const char *names[64];
    char near[256];
    command_names(names, 64);
    size_t count = 0;
    while (names[count]) ++count;
    if (cli_nearest(name, names, count, "", near, sizeof near))
        return cli_fail(FV_USAGE, "unknown command %s      did you mean %s?", name, near);
    return cli_fail(FV_USAGE, "unknown command %s\n  try:     fovea help", name);
}

/* Strongest source first: a weaker one never replaces what a stronger one said. */
static fv_status resolve(cli_flags *flags, const char *sets, int argc, char **argv) {
    fv_status status = cli_args_apply(flags, argc, argv);
    if (status != FV_OK || cli_global.help) return status;
    if (sets) {
        char *word = cli_keep(cli_text("%s", sets));
        status = cli_args_apply(flags, 1, &word);
    }
    if (status == FV_OK) status = cli_config_environment(flags);
    size_t count;
    char **config = cli_list_split(cli_global.config, &count);
    for (size_t i = 0; status == FV_OK && i < count; i++) status = cli_config_read(flags, config[i], false);
    cli_free(config);
    if (status == FV_OK && cli_global.preset) status = cli_config_preset(flags, cli_global.preset);
    return status;
}

static fv_status run(const cli_command *command, const char *sets, int argc, char **argv) {
    cli_flags flags;
    cli_flags_open(&flags, command);
    cli_flags_defaults(&flags, true);
    cli_current = &flags;
    fv_status status = resolve(&flags, sets, argc, argv);
    if (status == FV_OK && cli_global.help)
        cli_help_command(command, stdout);
    else if (status == FV_OK) {
        if (command->resolve) status = command->resolve();
        if (status == FV_OK) status = cli_console_setup();
        if (status == FV_OK && cli_global.dump_config) {
            char *text = cli_config_text(&flags);
            fputs(text, stdout);
            cli_free(text);
        } else if (status == FV_OK) {
            cli_signals(command->saves);
            status = command->run();
        }
    }
    cli_progress_end();
    cli_report(status);
    cli_current = NULL;
    cli_flags_close(&flags);
    return status;
}

/* A standard stream that is closed leaves its number to the first file that is opened, and a result would be printed
 * into that file. In its place comes one that refuses: reading from 0 and writing to 1 and 2 fail as before. */
static void hold_standard_streams(void) {
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) _exit(FV_NO_RESOURCES);
}

int main(int argc, char **argv) {
    hold_standard_streams();
    cli_signals(false);
    cli_command_line(argc, argv);
    const char *name = argc > 1 ? argv[1] : NULL, *sets = NULL;
    fv_status status = FV_OK;
    if (!name) {
        cli_help_overview(stderr, false);
        return FV_USAGE;
    }
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0)
        name = "help";
    else if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0)
        name = "version";
    const cli_command *command = cli_command_find(name, &sets);
    status = command ? run(command, sets, argc - 2, argv + 2) : unknown_command(name);
    fv_status written = cli_output_finish();
    return cli_exit_code(status != FV_OK ? status : written);
}
