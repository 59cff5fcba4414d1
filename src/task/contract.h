/* The contract between the rest of the library and a task (one file per task, one row in list.def).
 *
 * A task says what the outputs of a network mean and how good they are; which network it is does not matter to it, and
 * training, explaining and the commands do not know which task they serve. A task that makes a file instead of a model
 * has only `make_file`. */
#ifndef FV_TASK_CONTRACT_H
#define FV_TASK_CONTRACT_H

#include "fovea/task.h"
#include "io/json.h"
#include "model/model.h"

#include <stdio.h>

/* What an explanation says about one traced text. */
typedef struct fv__outcome {
    fv_classes names; /* of the outputs, one of which is predicted; none: there is one output and nothing to choose */
    char answer[64];  /* "" when a name says it all */
} fv__outcome;

typedef struct fv__task fv__task;
struct fv__task {
    fv_task info; /* public row; first, so a pointer to it is a pointer to this */

    const char *tie; /* the score that decides between two models of equal metric; NULL: the earlier stays */
    /* Refuses parts from which nothing can be learnt. valid: NULL or at least one text. */
    fv_status (*check)(const fv_dataset *train, const fv_dataset *valid);
    /* What the outputs are, from the training part: target->type and outputs. Names are borrowed. */
    void (*prepare)(fv__target *target, const fv_dataset *train);
    /* The scalar to be made small for this batch, from outputs [rows, outputs], and how much it is a mean of: batches
     * of one update are weighed by it. run->wanted is memory for what the outputs should be. */
    fv_node *(*loss)(fv__run *run, const fv_batch *batch, fv_node *output, const fv_task_options *options,
                     double *weight);
    /* Fills scores (and metrics) from the answers to encoded texts with targets; count is set and above 0. */
    fv_status (*evaluate)(fv_evaluation *e, const fv_model *model, const fv_encoded *encoded, const float *answer);
    /* weight (members): how much each of some models counts in a blend (fovea/model.h), from their answers (count,
     * outputs) to texts with targets; 0: not at all. NULL: models of this task are not blended. */
    fv_status (*blend)(double *weight, const fv_encoded *targets, const float *const *answer, int members,
                       int32_t outputs);
    /* What an evaluation says besides count and scores; may be NULL. */
    fv_status (*details)(fv__json *into, const fv_evaluation *e, const fv_model *model);
    /* Appends one answer, see fv_answer_line. */
    fv_status (*answer)(fv__buf *line, const fv_model *model, const float *answer, const fv_answer_options *options);
    void (*explain)(fv__outcome *outcome, const fv_trace *trace);

    /* Tasks that make a file: learns, writes it, and appends a sentence about it to `what`. */
    fv_status (*make_file)(const char *path, fv_texts texts, const void *options, fv__buf *what);
};

/* The task of a model; FV_BAD_MODEL when this version does not know it. */
fv_status fv__task_need(const fv__task **task, const fv_model *model);
/* FV_USAGE: an unknown task, an option out of range, a network it cannot train. */
fv_status fv__task_options_check(const fv_task_options *options, const char *kind);
/* All scores of a task, 0. */
void fv__scores_init(fv_scores *scores, const fv_task *task);
/* How good these answers to encoded texts are; the model says what they mean. */
fv_status fv__evaluate_answers(fv_evaluation **evaluation, const fv_model *model, const fv_encoded *encoded,
                               const float *answer);
/* The blend of classifiers: least cross-entropy, see blend_weights.c. */
fv_status fv__blend_classes(double *weight, const fv_encoded *targets, const float *const *answer, int members,
                            int32_t outputs);
/* Count, scores by their names in JSON, and the task's details. */
fv_status fv__evaluation_fill(fv__json *object, const fv_evaluation *evaluation, const fv_model *model);
/* "macro-f1" -> "valid_macro_f1" with the prefix "valid_". Returns `key`. */
char *fv__score_key(char key[64], const char *prefix, const char *name);
/* Appends text that ends at a line's end: tabs and line breaks are blanks, other control characters \xNN. */
void fv__answer_text(fv__buf *line, const char *text);

/* Rows shared by the tables of tasks. */
#define FV__TASK_ROW(name, type, field, standard, lo, hi, choices, help) \
    { name, type, offsetof(fv_task_options, field), standard, lo, hi, choices, help }
#define FV__TASK_ROW_METRIC(names, standard) \
    FV__TASK_ROW("metric", FV_OPT_CHOICE, metric, standard, 0, 0, names, "what best means")

#endif
