/* Attention weights from a file of tensors, checked and brought into shape for an explanation. */
#ifndef CLI_WEIGHTS_FILE_H
#define CLI_WEIGHTS_FILE_H

#include "fovea/files.h"

/* What is done to rows before they are shown. */
typedef struct cli_weights_options {
    bool softmax, normalize;
} cli_weights_options;

typedef struct cli_weights {
    int64_t layers, heads, queries, keys;
    float *weight; /* (layers, heads, queries, keys); freed with cli_free */
} cli_weights;

/* Takes (layers, heads, queries, keys) or any of its slices, and a batch of one. `name` is the file, for messages. What
 * is no weight is refused with its place; what is odd and can be shown is said. */
fv_status cli_weights_read(cli_weights *w, const char *name, const fv_tensor *tensor, const cli_weights_options *how);

#endif
