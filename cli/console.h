/* What goes to stderr and to the person: errors, log, progress, colour, terminal width, signals. */
#ifndef CLI_CONSOLE_H
#define CLI_CONSOLE_H

#include "fovea/base.h"

#include <stdio.h>

/* Prints "fovea: error: ..." and returns `status`. Control characters are shown, never sent to the terminal. */
fv_status cli_fail(fv_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2))); /* a line unless --quiet */

/* The one way of text that came from a file, a model or the command line to a stream: control characters but line
 * breaks and tabs are shown as \xNN, so that none steers a terminal. Freed with cli_free. */
char *cli_shown(const char *text);

/* Prints the library's message for a status that no cli_fail has reported yet. */
void cli_report(fv_status status);
void cli_reported(bool yes); /* for commands that go on after a failure: forget, or silence, the report */

fv_status cli_console_setup(void); /* after the flags are known: log, colour, quiet */
int cli_width(FILE *stream);       /* columns, 80 when unknown */
bool cli_is_terminal(FILE *stream);
bool cli_use_color(FILE *stream);
const char *cli_color(FILE *stream, const char *code); /* "\033[1m" or "" */

/* A line that replaces itself on a terminal, at most ten times a second; elsewhere a plain line when `due`. */
void cli_progress(const char *text, bool due);
void cli_progress_json(const char *object, bool due);
bool cli_progress_wants_json(void);
int cli_progress_room(void); /* columns of the line, or very many where it is not drawn */
void cli_progress_end(void); /* clears the line */
double cli_now(void);        /* monotonic seconds */
double cli_cpu_now(void);    /* seconds of processor time of all threads */
void cli_duration(double seconds, char *text, size_t size); /* "07:31", "1:02:03" */

void cli_signals(bool saves);
int cli_exit_code(fv_status status); /* 130 or 143 when interrupted */

/* Memory that is never missing: on failure the program says so and ends with the exit code for it. */
void *cli_alloc(size_t bytes);
void *cli_realloc(void *block, size_t bytes);
char *cli_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
void cli_free(void *block);
void *cli_keep(void *block); /* frees it when the program ends; returns it */

#endif
