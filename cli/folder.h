/* Run folders and files the command itself writes. */
#ifndef CLI_FOLDER_H
#define CLI_FOLDER_H

#include "fovea/base.h"

/* Replaces `path` by these bytes or leaves it as it was: temporary name, fsync, rename. */
fv_status cli_write_file(const char *path, const char *text, size_t size);

/* "runs/reviews" of "data/reviews.csv", "runs/app16" of "app16/train.tsv". Freed with cli_free. */
char *cli_run_name(const char *input);

/* Makes the folder, or FOLDER-2, FOLDER-3 ... when something is in it already; with `overwrite` it is used as it is,
 * and with `asked`, when the user named it, another name is no answer: FV_USAGE. A run that was killed before its
 * first checkpoint is not in the way. */
fv_status cli_claim_folder(const char *wanted, bool overwrite, bool asked, char **folder);
bool cli_is_unstarted(const char *folder);

/* FV_USAGE while a process trains there. */
fv_status cli_check_free(const char *folder);
void cli_remove_folder(const char *folder); /* with the files in it; not recursive */

/* A folder, or NAME of runs/NAME; "last" is the run that was written to most recently under runs/. Freed with
 * cli_free. */
fv_status cli_find_run(const char *name, char **folder);
bool cli_is_folder(const char *path);
bool cli_is_file(const char *path);
char *cli_join(const char *folder, const char *name);

#endif
