/* Text as YAML, and the file it comes from. */
#ifndef CLI_YAML_TEXT_H
#define CLI_YAML_TEXT_H

#include "fovea/base.h"

/* The bytes of a configuration file, at most 1 MiB; freed with cli_free. `own`: it belongs to a run, and is a regular
 * file or refused; else also a pipe under /dev or /proc, as shells make them. */
fv_status cli_yaml_load(char **text, size_t *size, const char *path, bool own);

/* Plain, quoted, or !!binary when it is not UTF-8, which YAML must be: names of files are bytes. */
char *cli_yaml_scalar(const char *value);

/* NUL-terminated; NULL: not base64, or with a NUL in it. */
char *cli_base64_decode(const char *text);

#endif
