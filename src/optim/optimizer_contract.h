/* The contract of an optimizer: one file per variant, one row in list.def.
 *
 * A variant says what becomes of a stretch of numbers: a piece of a parameter, or one row of a table. It is called for
 * many stretches at once from several threads, keeps nothing besides the state of the stretch, and gets options that
 * are complete and in range. */
#ifndef FV_OPTIM_CONTRACT_H
#define FV_OPTIM_CONTRACT_H

#include "fovea/optim.h"

enum { FV__SLOTS = 2 }; /* numbers an optimizer keeps for each number of the parameters */

/* What all stretches of a step have in common. */
typedef struct fv__update {
    const fv_optimizer_options *options; /* complete: no zero stands for a default */
    fv_dtype dtype;
    int64_t step;                       /* number of this one, from 1 */
    double learning_rate, weight_decay; /* of this parameter */
    double grad_scale;                  /* gradients are multiplied by it first */
    double correct[FV__SLOTS];          /* whatever `prepare` computed */
} fv__update;

typedef struct fv__stretch {
    void *value, *slot[FV__SLOTS];
    const void *grad;
    int64_t count;
} fv__stretch;

typedef struct fv__optimizer_kind {
    fv_optimizer_kind info;                            /* public row; first */
    const char *slot[FV__SLOTS];                       /* names in checkpoints */
    int (*slots)(const fv_optimizer_options *options); /* how many are kept */
    void (*prepare)(fv__update *update);               /* once a step; may be NULL */
    void (*update)(const fv__update *update, const fv__stretch *stretch);
} fv__optimizer_kind;

/* Rows of option tables, their default and range. */
#define FV__OPTIMIZER_ROW(type, field, name, standard, min, max, help) \
    { name, FV_OPT_##type, offsetof(fv_optimizer_options, field), standard, min, max, NULL, help }

#define OPTIMIZER(id) extern const fv__optimizer_kind fv__optimizer_##id;
#include "optim/list.def"
#undef OPTIMIZER

#endif
