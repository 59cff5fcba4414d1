/* `fovea train` in parts: what to do (cmd_train.c), word vectors on the way (train_vectors.c), what its progress looks
 * like (train_progress.c). */
#ifndef CLI_TRAIN_H
#define CLI_TRAIN_H

#include "command.h"
#include "fovea/train.h"

/* Prints progress; `context` is not used. */
void cli_train_event(void *context, const fv_event *event);

/* Reads a list of files as the flags of the data say. */
fv_status cli_train_read(fv_dataset **out, const char *list, fv_target_type target, const fv_classes *classes);

typedef struct cli_train_vectors {
    const char *texts; /* files, NULL: none are learnt */
    fv_vectors_options options;
} cli_train_vectors;
extern cli_train_vectors cli_vectors;

size_t cli_train_vectors_groups(cli_group *group); /* returns how many it filled */
fv_status cli_train_vectors_resolve(const fv_model_options *model);
/* Learns and saves them in the run folder, if asked to; the model then starts from that file. */
fv_status cli_train_vectors_learn(const char *folder, fv_model_options *model);
/* A task that makes a file, from a list of files of texts. */
fv_status cli_train_make_file(const fv_task *task, const char *list, const char *path);

#endif
