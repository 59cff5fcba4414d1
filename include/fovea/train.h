/* fovea/train.h - training a network for a task.
 *
 *     fv_train_setup how;
 *     status = fv_train_setup_init(&how, "transformer");            // or fv_train_setup_preset(&how, "word-vectors")
 *     how.model.layers = 1;  how.train.epochs = 8;
 *     status = fv_train(&model, NULL, train, valid, &how);          // train, valid: fv_dataset (data.h)
 *     status = fv_evaluate(&evaluation, model, test);               // task.h
 *
 * The same seed gives the same bytes of model.safetensors with any number of threads, and a run that was stopped or
 * killed and then resumed gives the bytes of the unbroken run.
 */
#ifndef FOVEA_TRAIN_H
#define FOVEA_TRAIN_H

#include "task.h"
#include "vectors.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- options */

/* Durations are texts with a unit: "3e" epochs, "500u" or "20Ku" updates, "5Mt" tokens, "90s", "15m", "2h" wall
 * time ("until" only: a run that ends by the clock cannot be repeated exactly). A bare number means updates. */
typedef struct fv_train_options {
    double epochs;                  /* passes over the training texts */
    const char *until;              /* a duration that replaces epochs, NULL: none */
    int64_t batch_size;             /* texts an update (times gradient_accumulation) */
    int64_t max_tokens;             /* at most so many tokens a batch; 0 = no limit */
    int64_t bucket;                 /* batches that are sorted by length together */
    int64_t gradient_accumulation;  /* batches an update */
    double learning_rate;           /* highest */
    double embedding_lr_multiplier; /* learn rate of embedding tables, as a multiple of learning-rate */
    const char *schedule;           /* constant|linear|cosine|inverse-sqrt, after the warmup (optim.h) */
    double warmup;                  /* share of all updates in which the rate climbs from 0 */
    const char *optimizer;          /* adamw|sgd (optim.h) */
    double weight_decay;            /* matrices only */
    double beta1, beta2, epsilon;   /* adamw */
    double momentum;                /* sgd */
    bool nesterov;                  /* sgd */
    double max_grad_norm;           /* longest gradient; 0 = no limit */
    double ema_decay;       /* memory of the running mean of the weights that is judged and kept; 0: the weights */
    int64_t early_stopping; /* evaluations without a better one before training stops; 0 = never */
    const char *log_every, *eval_every, *save_every; /* durations */
    int64_t seed;
} fv_train_options;
FV_API const fv_option *fv_train_option_rows(void);

/* ---- progress */

typedef enum fv_event_kind {
    FV_EVENT_START, /* total is known */
    FV_EVENT_STEP,  /* every log_every, and the first ten updates */
    FV_EVENT_EVAL,  /* after the validation texts were judged */
    FV_EVENT_SAVE,  /* a checkpoint is safe on disk */
    FV_EVENT_NOTE,  /* `note` is worth telling: an older checkpoint was used, ... */
    FV_EVENT_END,
    FV_EVENT_MEMBER /* model auto: a member was judged; once more when its weight is known */
} fv_event_kind;

typedef struct fv_event {
    fv_event_kind kind;
    int64_t step, total; /* updates done, updates in all (0: not known) */
    double epoch;
    double loss, learning_rate, gradient_norm; /* STEP: loss is the mean since the last STEP */
    double tokens_per_second, seconds, eta;    /* seconds since the start of this process; eta < 0: not known */
    fv_scores valid;                           /* EVAL: scores of the validation texts */
    bool best;                                 /* EVAL: better than all before */
    const char *path;                          /* SAVE: the folder; NULL without a run folder */
    const char *note;                          /* NOTE */
    const char *member;                        /* MEMBER: its name, with its scores in `valid` */
    double weight;                             /* MEMBER: in the blend; 0: left out, below 0: not known yet */
    double member_seconds;                     /* MEMBER: all its trainings together */
    int64_t member_parameters;                 /* MEMBER: 0 when it was left out */
} fv_event;

/* Called from the thread that trains. */
typedef void fv_event_fn(void *context, const fv_event *event);

/* ---- everything one training needs */

typedef struct fv_train_setup {
    fv_model_options model;
    fv_tokenizer_options tokenizer;
    fv_task_options task;
    fv_train_options train;
    const char *folder; /* run folder, NULL: keep everything in memory */
    bool resume;        /* go on where the folder's last checkpoint is */
    bool overwrite;     /* the folder may hold a run: its files (no others) go once the new run is ready to start */
    const fv_vectors *vectors; /* word vectors in memory; replaces model.vectors */
    fv_event_fn *event;        /* may be NULL */
    void *event_context;
} fv_train_setup;

/* Defaults of a kind, or of a preset's kind with the preset's settings, for the first task: another one is set with
 * fv_train_setup_set(setup, "task", name), which also sets its defaults. FV_USAGE for an unknown name. */
FV_API fv_status fv_train_setup_init(fv_train_setup *setup, const char *kind);
FV_API fv_status fv_train_setup_preset(fv_train_setup *setup, const char *preset);

/* Sets one option of model, tokenizer, task or training by its name; `value` must outlive the setup. FV_USAGE. */
FV_API fv_status fv_train_setup_set(fv_train_setup *setup, const char *name, const char *value);

/* FV_USAGE for what no texts could be trained with: ranges, heads and width, mechanism, durations. fv_train asks it
 * first. */
FV_API fv_status fv_train_setup_check(const fv_train_setup *setup);

/* ---- training */

typedef struct fv_train_result {
    int64_t updates, texts, tokens; /* updates done in all; training texts and tokens of one epoch */
    double seconds;                 /* of this process, evaluations and checkpoints included */
    int64_t best_update;            /* the update whose weights were kept */
    fv_scores best;                 /* of the validation texts; none without them */
    int64_t judged;                 /* model auto: texts these scores are of, its own held-out ones without `valid` */
    bool stopped_early;
    int64_t parameters;
} fv_train_result;

/* Trains and returns the best model by the validation texts (the last one without them). `valid` may be NULL or empty;
 * its targets must be of the same sort, its classes those of `train`. With a folder the run keeps there
 *     config.json model.safetensors tokenizer.json   the best model so far: a model folder
 *     last/                      two generations of checkpoints: weights, optimiser, step, cursor, hashes
 *     metrics.jsonl train.log    one line an event
 *     eval.json                  the best evaluation on the validation texts
 *     lock                       held while training
 * The model auto sets texts aside by itself when `valid` is NULL and learns from them in the end where that is cheap;
 * texts that are given in `valid` only decide. Its folder has members/NAME, a model folder each, and no last/.
 * FV_INTERRUPTED: fv_interrupt() was called, the state is saved. FV_DIVERGED: the message names the last good state.
 * FV_FAIL: another process trains in the folder. FV_USAGE: the folder already holds a run and resume is not set, or
 * resume with other texts or another network than the run began with (other options, such as learning_rate, may
 * change: a NOTE). */
FV_API fv_status fv_train(fv_model **model, fv_train_result *result, const fv_dataset *train, const fv_dataset *valid,
                          const fv_train_setup *setup);

/* True when the folder holds a checkpoint to resume from. */
FV_API bool fv_train_can_resume(const char *folder);

#ifdef __cplusplus
}
#endif
#endif
