/* What explain and show have in common: where pictures go. */
#ifndef CLI_PICTURE_H
#define CLI_PICTURE_H

#include "command.h"
#include "fovea/explain.h"

/* --color and the terminal decide unless --colors and --columns do. */
void cli_picture_resolve(fv_render_options *how);
/* FV_USAGE when a name of the list has an ending of no renderer; before anything is computed. */
fv_status cli_picture_check(const char *list);
/* Writes every file of the list and says so; *count is how many there are. */
fv_status cli_picture_write(const fv_explanation *e, const char *list, const fv_render_options *how, size_t *count);
fv_status cli_picture_print(const fv_explanation *e, const fv_render_options *how); /* in the terminal */

#endif
