/* What predict, eval and explain have in common: a model by its name, and texts to give it. */
#ifndef CLI_EVALUATE_H
#define CLI_EVALUATE_H

#include "command.h"
#include "fovea/model.h"

/* `model` is a folder; runs/NAME and "last" are tried as well. FV_BAD_MODEL. */
fv_status cli_model_load(fv_model **model, const char *name);

/* Sets the data flags the model was trained with, as far as the user says nothing else: which columns are text and
 * label. */
fv_status cli_model_inherit(const char *name);

/* Texts of a list of files; NULL or "-" is standard input. With targets, classes are those of the model. */
fv_status cli_texts_read(fv_dataset **data, const char *list, const fv_dataset_options *options, fv_target_type target,
                         const fv_classes *classes);

#endif
