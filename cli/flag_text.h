/* Everything that is printed from the flag tables. */
#ifndef CLI_FLAG_TEXT_H
#define CLI_FLAG_TEXT_H

#include "flags.h"

#include <stdio.h>

const char *cli_help_hint(const cli_flag *flag); /* what stands for the value: "N", "FILE", "a|b", "" */
void cli_help_overview(FILE *out, bool all);
void cli_help_command(const cli_command *command, FILE *out);
void cli_help_man(FILE *out);
void cli_help_markdown(FILE *out);
void cli_help_bash(FILE *out);
void cli_help_zsh(FILE *out);
void cli_help_fish(FILE *out);

#endif
