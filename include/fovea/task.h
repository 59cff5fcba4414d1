/* fovea/task.h - what a network is trained for: the class of a text, a number for a text, word vectors.
 *
 *     fv_evaluation *evaluation;
 *     status = fv_evaluate(&evaluation, model, test);               // test: an fv_dataset with targets (data.h)
 *     for (int i = 0; i < evaluation->scores.count; i++)
 *         printf("%s %.4f\n", evaluation->scores.score[i].name, evaluation->scores.score[i].value);
 *     fv_evaluation_free(evaluation);
 *
 * A model folder names its task and its network; a task is one file of src/task and brings its options, its loss, its
 * scores and the form of its answers. Structs with visible fields are read-only for the caller.
 */
#ifndef FOVEA_TASK_H
#define FOVEA_TASK_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- scores */

typedef struct fv_score {
    const char *name; /* "macro-f1"; in JSON "macro_f1". Static */
    double value;
    bool higher_is_better;
} fv_score;

enum { FV_MAX_SCORES = 8 };
/* The first decides what the best model is, unless the option metric names another. */
typedef struct fv_scores {
    int count;
    fv_score score[FV_MAX_SCORES];
} fv_scores;

/* The score of that name. FV_USAGE for other names, with a list of those there are. */
FV_API fv_status fv_scores_find(const fv_scores *scores, const char *name, fv_score *score);

/* ---- tasks */

/* Every task reads the fields its own rows name. */
typedef struct fv_task_options {
    const char *task;       /* "classify", "regress", "vectors" */
    const char *metric;     /* one of the task's scores: what "best" means on the validation texts */
    double label_smoothing; /* classify: share of the target spread over all classes */
} fv_task_options;

typedef struct fv_task {
    const char *name, *summary; /* one line */
    const char *input;          /* what it learns from: "a file of labelled texts" */
    fv_target_type target;      /* what each text comes with */
    uint32_t networks;          /* FV_MODEL_... of which a kind needs one; 0: it trains no model but makes a file */
    const fv_option *options;   /* rows over fv_task_options with this task's defaults, ended by a NULL name */
    const fv_score *scores;     /* in the order of fv_scores, ended by a NULL name; values are 0 */
    const char *file;           /* standard name of the file it makes; NULL: it trains a model */
} fv_task;

FV_API size_t fv_task_count(void);
FV_API const fv_task *fv_task_at(size_t index);          /* NULL after the last; the first is the default */
FV_API const fv_task *fv_task_find(const char *name);    /* NULL if there is none */
FV_API const fv_task *fv_task_of(const fv_model *model); /* NULL: a task of another version */

/* Can the task train this kind of network? */
FV_API bool fv_task_trains(const fv_task *task, const fv_model_kind *kind);

/* The options of all tasks, each name once, and "task" in front: for command lines, which do not know the task yet. */
FV_API const fv_option *fv_task_option_rows(void);

/* Zeroes the struct, sets task and the defaults of its rows. FV_USAGE (with the nearest name) for an unknown task. */
FV_API fv_status fv_task_options_init(fv_task_options *options, const char *task);

/* ---- evaluation: a model on texts whose targets are known */

/* Texts of class `label` that were taken for another. */
typedef struct fv_confused {
    int32_t label, predicted;
    int64_t count;
} fv_confused;

enum { FV_CONFUSION_CLASSES = 2048 }; /* most classes of the whole table: 32 MiB */

/* By class, and what was taken for what. */
typedef struct fv_metrics {
    int64_t count; /* texts judged */
    int32_t classes;
    double accuracy;
    double macro_f1;                       /* mean over the classes that occur, as labels or as predictions */
    double loss;                           /* mean cross-entropy, natural log */
    const double *precision, *recall, *f1; /* (classes); 0 where undefined */
    const int64_t *support;                /* (classes) texts of the class */
    const int64_t *confusion;    /* (classes, classes): row = label, column = prediction; NULL: too many classes */
    const fv_confused *confused; /* (confusions) what was taken for another class, the most frequent first */
    int64_t confusions;
} fv_metrics;

typedef struct fv_evaluation {
    int64_t count; /* texts judged */
    fv_scores scores;
    const fv_metrics *metrics; /* classify; NULL: other tasks */
} fv_evaluation;

/* Classes are matched by name: FV_BAD_DATA names a label the model does not know. */
FV_API fv_status fv_evaluate(fv_evaluation **evaluation, const fv_model *model, const fv_dataset *data);
FV_API fv_status fv_evaluate_encoded(fv_evaluation **evaluation, const fv_model *model, const fv_encoded *encoded);
FV_API void fv_evaluation_free(fv_evaluation *evaluation);

/* A JSON object with all of it, classes by name. NUL-terminated; freed with fv_text_free. */
FV_API fv_status fv_evaluation_json(const fv_evaluation *evaluation, const fv_model *model, char **json);

/* The arithmetic on plain arrays: from labels (count) and probabilities (count, classes). FV_BAD_DATA: a label that is
 * no class. */
FV_API fv_status fv_metrics_of(fv_metrics **metrics, const int32_t *label, const float *probability, int64_t count,
                               int32_t classes);
FV_API void fv_metrics_free(fv_metrics *metrics);
/* ... and from numbers (count): r2, rmse, mae and spearman (equal numbers share the mean of their ranks). r2 and
 * spearman are 0 where they are undefined. */
FV_API fv_status fv_regression_scores(fv_scores *scores, const double *target, const float *answer, int64_t count);

/* ---- answers as text */

typedef struct fv_answer_options {
    int64_t top_k;      /* classify: so many classes, the most probable first */
    double threshold;   /* classify: only classes at least so probable; the line may become empty */
    bool probabilities; /* classify: also how probable each class is */
    const char *format; /* text|tsv|csv|json */
} fv_answer_options;
FV_API const fv_option *fv_answer_option_rows(void);

/* One row of fv_model_predict as a line without its end; json: an object. Freed with fv_text_free. Labels come from
 * files, and the line may go to a terminal: their control characters are \xNN in text, tsv and csv (tabs and line
 * breaks blanks, in csv as they are); json has every label exactly, with \u001b for ESC. */
FV_API fv_status fv_answer_line(char **line, const fv_model *model, const float *answer,
                                const fv_answer_options *options);

/* ---- tasks that make a file */

/* Learns from texts without targets and writes the file; `options` is the struct of the task (vectors:
 * fv_vectors_options), NULL: the defaults. *what: a sentence about the result, freed with fv_text_free; may be NULL. */
FV_API fv_status fv_task_make_file(const fv_task *task, const char *path, fv_texts texts, const void *options,
                                   char **what);

#ifdef __cplusplus
}
#endif
#endif
