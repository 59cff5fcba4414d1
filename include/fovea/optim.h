/* fovea/optim.h - optimizers, learning rates over time, clipping, the mean of the weights.
 *
 *     fv_optimizer *optimizer;
 *     fv_schedule schedule = {.kind = FV_SCHEDULE_COSINE, .warmup = 50, .total = 1000};
 *     fv_optimizer_create(&optimizer, params, &(fv_optimizer_options){.learning_rate = 3e-3, .weight_decay = 0.01});
 *     for (int64_t step = 1; step <= 1000; step++) {
 *         fv_graph_begin(g, FV_MODE_TRAIN, (uint64_t)step);
 *         status = fv_graph_backward(g, loss(g, step), NULL);           // adds to the gradients of the parameters
 *         if (!isfinite(fv_clip_grad_norm(optimizer, 1))) break;
 *         fv_optimizer_set_learning_rate(optimizer, 3e-3 * fv_schedule_at(&schedule, (double)step));
 *         status = fv_optimizer_step(optimizer);
 *         fv_optimizer_zero_grads(optimizer);
 *     }
 *     fv_optimizer_free(optimizer);
 *
 * Options that are zero mean the defaults; where zero is a value too, a number below zero says it. Frozen parameters
 * (FV_PARAM_FROZEN) stay as they are. Of tables that are read by row (FV_PARAM_SPARSE: those of embedding layers) a
 * step changes the rows that backward gave a gradient, all of them when an operation used the whole table; the others
 * keep their values and moments, which saves most of the work of a large vocabulary (lazy Adam, as
 * torch.optim.SparseAdam). Results are the same bits for any number of threads.
 */
#ifndef FOVEA_OPTIM_H
#define FOVEA_OPTIM_H

#include "files.h"
#include "grad.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- optimizers */

typedef struct fv_optimizer_options {
    const char *optimizer;          /* adamw | sgd; NULL: adamw */
    double learning_rate;           /* until fv_optimizer_set_learning_rate; 0: 0.001 */
    double embedding_lr_multiplier; /* of FV_PARAM_SPARSE tables; 0: 1, below 0: such tables stay as they are */
    double weight_decay;            /* of FV_PARAM_DECAY parameters that are no such tables; 0: none */
    double beta1;                   /* adamw: memory of the gradient, below 1; 0: 0.9, below 0: none */
    double beta2;                   /* adamw: memory of its square, below 1; 0: 0.999, below 0: none */
    double epsilon;                 /* adamw: added to the root of the square; 0: 1e-8 */
    double momentum;                /* sgd: memory of the step, below 1; 0: none */
    bool nesterov;                  /* sgd: look ahead by the momentum; false: the plain step */
    double ema_decay;               /* memory of the mean of the weights, below 1; 0: no mean is kept */
} fv_optimizer_options;

typedef struct fv_optimizer fv_optimizer;

/* For all parameters there are now; `params` is borrowed and gets memory for its gradients. NULL options: all defaults.
 * FV_USAGE: an unknown optimizer (the message suggests the nearest) or a number outside its range. */
FV_API fv_status fv_optimizer_create(fv_optimizer **optimizer, fv_params *params, const fv_optimizer_options *options);
FV_API void fv_optimizer_free(fv_optimizer *optimizer); /* NULL is fine */
FV_API fv_params *fv_optimizer_params(const fv_optimizer *optimizer);

/* The rate of the next steps, any number from 0. */
FV_API void fv_optimizer_set_learning_rate(fv_optimizer *optimizer, double learning_rate);

/* The next step reads every gradient times `factor`: 1/n after n backward passes whose gradients are to be averaged.
 * Factors of one step multiply; the step forgets them. */
FV_API void fv_optimizer_scale_grads(fv_optimizer *optimizer, double factor);

/* Length of the gradient over all parameters, with the factors so far. If it is longer than max_norm (0: never), the
 * next step reads it shortened to that. A length that is NaN or infinite is returned and shortens nothing. */
FV_API double fv_clip_grad_norm(fv_optimizer *optimizer, double max_norm);

/* One step down the gradients, which stay as they are.
 * adamw: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, as torch.optim.AdamW.
 *     m = beta1 m + (1 - beta1) g     v = beta2 v + (1 - beta2) g^2
 *     p = p (1 - lr decay) - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
 * sgd: as torch.optim.SGD, where the decay is a part of the gradient.
 *     g = g + decay p     v = momentum v + g     p = p - lr v, with nesterov p - lr (g + momentum v)
 * FV_USAGE: parameters were added since create, or the mean of the weights is shown. */
FV_API fv_status fv_optimizer_step(fv_optimizer *optimizer);

/* Gradients back to zero; of tables only where there are any. fv_params_zero_grads does the same with more work. */
FV_API void fv_optimizer_zero_grads(fv_optimizer *optimizer);

/* ---- exponential moving average of the weights (EMA), with ema_decay; else these do nothing */

/* Puts the mean over the steps so far, the late ones counting most, in the place of the weights, and the weights back.
 * mean_t = decay mean_(t-1) + (1 - decay) p_t, divided by 1 - decay^t. Looking does not change what comes next. */
FV_API void fv_optimizer_show_average(fv_optimizer *optimizer);
FV_API void fv_optimizer_hide_average(fv_optimizer *optimizer);

/* ---- checkpoints */

enum { FV_OPTIMIZER_STATES = 4 };

/* All that a step reads besides parameters, gradients and options is the number of steps done and these tensors. They
 * are views of the optimizer's memory, rank 1: write them to a file, or copy those of a file into them (of the same
 * parameters and options; names, dtypes and sizes then agree). Returns how many: "moment1" and "moment2" of adamw,
 * "momentum" of sgd if it has one, then "average" and "averaged" (i64: the step a row of a table was averaged at, 0 to
 * fv_optimizer_steps), empty without ema_decay. */
FV_API int fv_optimizer_state(fv_optimizer *optimizer, fv_named_tensor tensors[FV_OPTIMIZER_STATES]);
FV_API int64_t fv_optimizer_steps(const fv_optimizer *optimizer);
FV_API void fv_optimizer_set_steps(fv_optimizer *optimizer, int64_t steps);

/* ---- learning rate over time */

typedef enum fv_schedule_kind {
    FV_SCHEDULE_CONSTANT,
    FV_SCHEDULE_LINEAR,       /* down to 0 at the end */
    FV_SCHEDULE_COSINE,       /* half a wave down to 0: Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts */
    FV_SCHEDULE_INVERSE_SQRT, /* sqrt(warmup / done): Vaswani et al. 2017. Without a warmup: constant */
    FV_SCHEDULES
} fv_schedule_kind;

/* All three in one unit: steps, epochs, tokens, or shares of the training. */
typedef struct fv_schedule {
    fv_schedule_kind kind; /* 0: constant */
    double warmup;         /* so long the rate climbs from 0 in a line; 0: not at all */
    double total;          /* length of the training; 0: 1, for shares */
} fv_schedule;

/* Share of the highest rate (0 to 1) when `done` of the training is over. */
FV_API double fv_schedule_at(const fv_schedule *schedule, double done);

FV_API const char *fv_schedule_name(fv_schedule_kind kind); /* "inverse-sqrt"; NULL from FV_SCHEDULES on */
FV_API fv_status fv_schedule_find(fv_schedule_kind *kind, const char *name); /* FV_USAGE */

/* ---- the table of optimizers: for help, configuration and tests */

typedef struct fv_optimizer_kind {
    const char *name, *summary; /* "adamw", one line */
    const fv_option *rows;      /* the options that only some optimizers read, ended by a NULL name */
} fv_optimizer_kind;
FV_API size_t fv_optimizer_kind_count(void);
FV_API const fv_optimizer_kind *fv_optimizer_kind_at(size_t index);       /* NULL beyond the last */
FV_API const fv_optimizer_kind *fv_optimizer_kind_find(const char *name); /* NULL if there is none */

#ifdef __cplusplus
}
#endif
#endif
