/* Training from the inside: durations, checkpoints, run folder, and the trainer that joins them. */
#ifndef FV_TRAIN_TRAIN_H
#define FV_TRAIN_TRAIN_H

#include "fovea/optim.h"
#include "fovea/train.h"
#include "task/contract.h"

struct json_t;

/* ---- durations of training (options.c) */

typedef enum fv__unit { FV_UNIT_EPOCHS, FV_UNIT_UPDATES, FV_UNIT_TOKENS, FV_UNIT_SECONDS } fv__unit;
typedef struct fv__duration {
    double amount;
    fv__unit unit;
} fv__duration;
fv_status fv__duration_parse(fv__duration *span, const char *name, const char *text);

/* How far training is, in every unit. */
typedef struct fv__progress {
    double epochs, updates, tokens, seconds;
} fv__progress;
static inline double fv__progress_in(const fv__progress *p, fv__unit unit) {
    return unit == FV_UNIT_EPOCHS    ? p->epochs
           : unit == FV_UNIT_UPDATES ? p->updates
           : unit == FV_UNIT_TOKENS  ? p->tokens
                                     : p->seconds;
}

/* ---- what a checkpoint says besides arrays */

typedef struct fv__state {
    int64_t updates;
    fv_cursor cursor;         /* the next batch */
    fv__progress now, before; /* at and before the last update */
    int64_t judged;           /* update whose weights were judged last, -1: none */
    int64_t best_update, bad; /* bad: evaluations since */
    double best_value;
    fv_scores best;  /* names and order are the task's */
    double loss_sum; /* since the last STEP event */
    int64_t loss_count;
    int64_t metrics_bytes; /* length of metrics.jsonl */
} fv__state;

/* The optimizer these options describe, and the share of the highest rate after `done` (0 to 1) of all updates. */
fv_status fv__optimizer_of(fv_optimizer **optimizer, const fv_model *model, const fv_train_options *options);
double fv__schedule(const fv_train_options *options, double done);

/* ---- checkpoints (checkpoint.c) */

/* FOLDER/last/a.safetensors and b.safetensors: the newer and the one before. Each carries a hash of all it holds.
 * `fingerprint` describes data and options of the run and is given back by loading. *slot: which of the two is next;
 * -1: look. */
fv_status fv__checkpoint_save(const char *folder, int *slot, const fv__state *state, const struct json_t *fingerprint,
                              fv_optimizer *optimizer);
/* Loads the newest valid one into the parameters and moments. *fingerprint is freed by the caller. *note: an older
 * one had to be used, or NULL; freed by the caller. FV_BAD_MODEL when there is none. */
fv_status fv__checkpoint_load(const char *folder, fv__state *state, struct json_t **fingerprint,
                              fv_optimizer *optimizer, char **note);

/* ---- the run folder (run_log.c) */

typedef struct fv__run_log {
    const char *folder;  /* NULL: nothing is written */
    char *metrics, *log; /* paths */
    fv__lock_held lock;
} fv__run_log;
fv_status fv__run_log_open(fv__run_log *run_log, const char *folder);
void fv__run_log_close(fv__run_log *run_log);
fv_status fv__run_log_write(fv__run_log *run_log, const fv_event *event);
fv_status fv__run_log_size(const fv__run_log *run_log, int64_t *bytes); /* of metrics.jsonl */
fv_status fv__run_log_cut(const fv__run_log *run_log, int64_t bytes);   /* forgets what came later */
fv_status fv__run_log_evaluation(const fv__run_log *run_log, const fv_model *model, const fv_evaluation *evaluation,
                                 int64_t update);

/* ---- training inside a training (fit.c) */

/* A training that is a part of another ends early when the clock says so. */
typedef struct fv__limits {
    double deadline; /* fv__now() */
    bool reached;    /* it ended early */
} fv__limits;
/* As fv_train; limits may be NULL. */
fv_status fv__train(fv_model **model, fv_train_result *result, const fv_dataset *train, const fv_dataset *valid,
                    const fv_train_setup *setup, fv__limits *limits);

/* ---- the loop (loop.c) */

/* Makes the run folder that of this run: nothing of an earlier one is touched before everything was read, checked
 * and taken. */
fv_status fv__train_begin(const fv_model *model, const fv_train_setup *setup, fv__run_log *run_log);
/* Trains a model that has its initial weights; on return it has the best ones. */
fv_status fv__train_by_gradient(fv_model *model, fv_train_result *result, const fv_dataset *train,
                                const fv_dataset *valid, const fv_train_setup *setup, fv__run_log *run_log,
                                fv__limits *limits);

#endif
