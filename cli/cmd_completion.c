/* fovea completion: the completion of a shell, made from the flag tables. */
#include "command.h"
#include "flag_text.h"

#include <string.h>

static struct options { const char *shell; } o;
static const fv_option rows[] = {
    {"shell", FV_OPT_CHOICE, offsetof(struct options, shell), "bash", 0, 0, "bash|zsh|fish", "which shell"}, {0}};

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"options", rows, &o, NULL};
    return 1;
}

static fv_status run(void) {
    if (strcmp(o.shell, "zsh") == 0)
        cli_help_zsh(stdout);
    else if (strcmp(o.shell, "fish") == 0)
        cli_help_fish(stdout);
    else
        cli_help_bash(stdout);
    return FV_OK;
}

const cli_command cmd_completion = {
    .name = "completion",
    .aliases = "completion-bash:shell=bash",
    .summary = "print the completion for bash, zsh or fish",
    .usage = "[bash|zsh|fish]",
    .positional = "shell",
    .examples =
        "fovea completion bash > ~/.local/share/bash-completion/completions/fovea\n"
        "fovea completion zsh > ~/.zfunc/_fovea\n"
        "fovea completion fish > ~/.config/fish/completions/fovea.fish",
    .groups = groups,
    .run = run,
};
