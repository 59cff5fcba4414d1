/* What goes to stdout: results, as text, tsv, csv, markdown, json or json lines. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "fovea/base.h"

#include <stdio.h>

typedef enum cli_format { CLI_TEXT, CLI_TSV, CLI_JSON, CLI_JSONL, CLI_CSV, CLI_MD } cli_format;
cli_format cli_format_of(const char *name);

void cli_json_text(FILE *out, const char *text, size_t size); /* quoted; invalid UTF-8 becomes U+FFFD */
void cli_tsv_text(FILE *out, const char *text);               /* tabs and newlines become spaces */
void cli_json_number(FILE *out, double value, int decimals);  /* null for NaN and infinities */

/* A table of results. Columns are named once; cells are added row by row. */
typedef struct cli_table cli_table;
cli_table *cli_table_new(const char *const *columns, size_t count);
void cli_table_text(cli_table *table, const char *text);
void cli_table_number(cli_table *table, double value, int decimals);
void cli_table_print(const cli_table *table, cli_format format, FILE *out);
void cli_table_free(cli_table *table);

void cli_wrap(FILE *out, const char *text, int indent, int width); /* words wrapped, hanging indent, ends the line */

/* 0 when everything was written or nobody reads any more (EPIPE); FV_NO_RESOURCES with an error otherwise. */
fv_status cli_output_finish(void);

/* The whole of standard input. Freed with cli_free. */
fv_status cli_read_stdin(char **bytes, size_t *size);
/* What has come by now, at least one byte and at most `room`; 0 at the end. Not to be mixed with the other. */
fv_status cli_read_some(char *bytes, size_t room, size_t *got);

#endif
