/* The contract of a command, and what every command may use.
 *
 * A command is one constant named cmd_NAME in the file cmd_NAME.c, and one row in list.def. Its flags are rows of
 * fv_option (base.h) in groups: many groups are the library's own tables, so an option of the library is a flag, a
 * key of a config file, an environment name, a line of --help, of the man page and of the completion without being
 * written twice. Commands never call each other. Results go to stdout (output.h), everything else to stderr
 * (console.h). */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "fovea/base.h"

/* One table of options and the struct it fills. Two groups of a command may have a row of the same name (the seed of
 * the batches and the seed of the model): it is one flag and sets both; the first row is the one in the help.
 * `rename` is a list of pairs, row name and flag name, ended by NULL; an empty flag name hides the row. */
typedef struct cli_group {
    const char *title;
    const fv_option *rows;
    void *options;
    const char *const *rename;
} cli_group;

#define CLI_MAX_GROUPS 20

/* A STRING row whose hint (choices) ends in "..." is a list: it may be given several times, and cli_list_* reads it. */
typedef struct cli_command {
    const char *name;
    const char *aliases;    /* "supervised fit"; "predict-prob:prob=true" also sets a flag. NULL: none */
    const char *summary;    /* one line, lower case */
    const char *usage;      /* what follows "fovea NAME", one form a line */
    const char *about;      /* some sentences for --help and the man page, may be NULL */
    const char *examples;   /* one command a line */
    const char *positional; /* flags that plain words fill, in order, unless given by name: "model input..." */
    bool common;            /* listed by `fovea help`, not only by `fovea help all` */
    bool saves;             /* on SIGINT it saves and returns FV_INTERRUPTED instead of dying at once */
    size_t (*groups)(cli_group *group); /* fills at most CLI_MAX_GROUPS, returns how many */
    fv_status (*resolve)(void);         /* may be NULL; after all flags are known, before --dump-config and run */
    fv_status (*run)(void);
} cli_command;

extern const cli_command *const cli_commands[];                           /* ended by NULL, in the order of list.def */
const cli_command *cli_command_find(const char *name, const char **sets); /* by name or alias; NULL if there is none */

/* How fovea was called, quoted for a shell: what command.txt keeps. */
void cli_command_line(int argc, char **argv);
const char *cli_command_line_text(void);

#endif
