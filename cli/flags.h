/* The flags of one command: built from its groups, looked up by any accepted spelling, set from five sources. */
#ifndef CLI_FLAGS_H
#define CLI_FLAGS_H

#include "command.h"

/* In the order of priority: a later source replaces what an earlier one said. */
typedef enum cli_source { CLI_BUILTIN, CLI_PRESET, CLI_FILE, CLI_ENVIRONMENT, CLI_LINE } cli_source;

typedef struct cli_flag {
    const char *name;
    const fv_option *row;
    const cli_group *group;
    cli_source source; /* where its value came from */
    bool idle;         /* means nothing together with the other flags; left out of the saved configuration */
} cli_flag;

typedef struct cli_flags {
    const cli_command *command;
    cli_group group[CLI_MAX_GROUPS];
    size_t groups;
    cli_flag *flag;
    size_t count;
} cli_flags;

/* Options every command has. */
typedef struct cli_globals {
    const char *config, *preset, *format, *progress, *color;
    bool dump_config, quiet, help;
    int64_t verbose, threads;
} cli_globals;
extern cli_globals cli_global;
extern const fv_option cli_global_rows[];

/* Lists the flags of a command; values are not touched. The flags of the running command are cli_current. */
void cli_flags_open(cli_flags *flags, const cli_command *command);
void cli_flags_defaults(cli_flags *flags, bool globals); /* fills the structs; globals: also those of every command */
void cli_flags_close(cli_flags *flags);
extern cli_flags *cli_current;

/* The flag a word means: exact name, other spelling (batch_size, batchSize) or a habit of another tool (lr). */
cli_flag *cli_flag_find(cli_flags *flags, const char *word);
cli_flag *cli_flag_short(cli_flags *flags, char letter);
char cli_flag_letter(const cli_flags *flags, const cli_flag *flag); /* its short letter or 0 */

/* Calls `init`, which fills the structs with other defaults, and then sets again what the user has set. */
void cli_flags_rebase(cli_flags *flags, void (*init)(void));

/* Sets a flag unless a stronger source already has. `where` is how the user wrote it: "--batch-size", "run.yaml:3:
 * batch-size", "FOVEA_BATCH_SIZE". */
fv_status cli_flag_set(cli_flags *flags, cli_flag *flag, const char *value, cli_source source, const char *where);
bool cli_flag_is_list(const cli_flag *flag);
static inline bool cli_row_is_bool(const fv_option *row) { return row->type == FV_OPT_BOOL || row->type == FV_OPT_NOT; }
const char *cli_flag_no(const cli_flag *flag); /* "[no-]" of a switch that can also be switched off, else "" */
const char *cli_flag_text(const cli_flag *flag, char *text, size_t size); /* NULL: a string that is not set */

/* Was this flag set by anything but its default? For the running command. */
bool cli_given(const char *name);
bool cli_on_line(const char *name); /* on the command line, that is */
/* Names the flag in an error: "--input". */
fv_status cli_missing(const char *name, const char *what);

/* Lists: entries are separated by newlines inside the string. */
char **cli_list_split(const char *list, size_t *count); /* one block, freed with cli_free */

/* args.c: all of argv after the command's name; sources.c: files, presets, environment. */
fv_status cli_args_apply(cli_flags *flags, int argc, char **argv);
fv_status cli_config_read(cli_flags *flags, const char *path, bool saved); /* saved by a run: unknown keys only warn */
/* Takes the keys `only` (ended by NULL) of a run's configuration as the weakest source; without a file, nothing. */
fv_status cli_config_inherit(cli_flags *flags, const char *path, const char *const *only);
fv_status cli_config_preset(cli_flags *flags, const char *name);
fv_status cli_config_environment(cli_flags *flags);
char *cli_config_text(const cli_flags *flags);                /* the complete YAML; freed with cli_free */
const char *cli_preset_name(size_t index, const char **help); /* NULL at the end */

/* spelling.c */
void cli_normalise(const char *word, char *out, size_t size); /* "wordNgrams", "word_ngrams" -> "word-ngrams" */
/* Up to three of `names` near to `word`, best first, written as "--a, --b or --c"; false: none */
bool cli_nearest(const char *word, const char *const *names, size_t count, const char *prefix, char *text, size_t size);
/* FV_USAGE: "unknown WHAT", all names, and the nearest of them. */
fv_status cli_unknown(const char *what, const char *name, const char *const *names, size_t count);

#endif
