/* `fovea train` in parts: what to do (cmd_train.c), what its progress looks like (train_progress.c). */
#ifndef CLI_TRAIN_H
#define CLI_TRAIN_H

#include "fovea/train.h"

/* Prints progress; `context` is not used. */
void cli_train_event(void *context, const fv_event *event);

#endif
