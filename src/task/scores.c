/* Scores, evaluations and answers: what is the same for every task. */
#include "task/contract.h"

#include <stdio.h>
#include <string.h>

/* ---- scores */

void fv__scores_init(fv_scores *scores, const fv_task *task) {
    *scores = (fv_scores){0};
    for (const fv_score *one = task->scores; one && one->name && scores->count < FV_MAX_SCORES; one++)
        scores->score[scores->count++] = *one;
}

/* "accuracy, macro-f1 or loss" */
static void list_scores(fv__buf *list, const fv_scores *scores) {
    for (int i = 0; i < scores->count; i++)
        fv__buf_printf(list, "%s%s", i == 0 ? "" : i + 1 == scores->count ? " or " : ", ", scores->score[i].name);
}

fv_status fv_scores_find(const fv_scores *scores, const char *name, fv_score *score) {
    for (int i = 0; i < scores->count; i++)
        if (strcmp(scores->score[i].name, name) == 0) return *score = scores->score[i], FV_OK;
    fv__buf list = {0};
    list_scores(&list, scores);
    fv_status status =
        fv__fail(FV_USAGE, "unknown metric\n  expected %s\n  found:   \"%s\"", list.data ? list.data : "none", name);
    fv__buf_free(&list);
    return status;
}

char *fv__score_key(char key[64], const char *prefix, const char *name) {
    snprintf(key, 64, "%s%s", prefix, name);
    for (char *at = key; *at; at++)
        if (*at == '-') *at = '_';
    return key;
}

/* ---- evaluations */

fv_status fv__evaluate_answers(fv_evaluation **out, const fv_model *model, const fv_encoded *encoded,
                               const float *answer) {
    const fv__task *task;
    *out = NULL;
    FV_TRY(fv__task_need(&task, model));
    fv_evaluation *e = fv__alloc(sizeof *e);
    if (!e) return FV_NO_RESOURCES;
    e->count = encoded->count;
    fv__scores_init(&e->scores, &task->info);
    fv_status status = task->evaluate(e, model, encoded, answer);
    if (status == FV_OK)
        *out = e;
    else
        fv_evaluation_free(e);
    return status;
}

fv_status fv_evaluate_encoded(fv_evaluation **out, const fv_model *model, const fv_encoded *encoded) {
    const fv__task *task;
    *out = NULL;
    FV_TRY(fv__task_need(&task, model));
    float *answer = fv__alloc_array((size_t)encoded->count, (size_t)model->target.outputs * sizeof *answer);
    if (!answer) return FV_NO_RESOURCES;
    fv_status status = fv_model_predict_encoded(model, encoded, answer);
    if (status == FV_OK) status = fv__evaluate_answers(out, model, encoded, answer);
    fv__free(answer);
    return status;
}

fv_status fv_evaluate(fv_evaluation **evaluation, const fv_model *model, const fv_dataset *data) {
    fv_encoded *encoded;
    *evaluation = NULL;
    FV_TRY(fv_model_encode(&encoded, model, data));
    fv_status status = fv_evaluate_encoded(evaluation, model, encoded);
    fv_encoded_free(encoded);
    return status;
}

void fv_evaluation_free(fv_evaluation *e) {
    if (!e) return;
    fv_metrics_free((fv_metrics *)(uintptr_t)e->metrics);
    fv__free(e);
}

fv_status fv__evaluation_fill(fv__json *o, const fv_evaluation *e, const fv_model *model) {
    const fv__task *task;
    char key[64];
    FV_TRY(fv__task_need(&task, model));
    FV_TRY(fv__json_set(o, "count", fv__json_of_int(e->count)));
    for (int i = 0; i < e->scores.count; i++) {
        const fv_score *s = &e->scores.score[i];
        FV_TRY(fv__json_set(o, fv__score_key(key, "", s->name), fv__json_of_float(s->value)));
    }
    return task->details ? task->details(o, e, model) : FV_OK;
}

fv_status fv_evaluation_json(const fv_evaluation *evaluation, const fv_model *model, char **json) {
    fv__json *o = fv__json_object();
    fv__buf text = {0};
    *json = NULL;
    fv_status status = o ? fv__evaluation_fill(o, evaluation, model) : FV_NO_RESOURCES;
    if (status == FV_OK) status = fv__json_dump(o, FV_JSON_PRETTY, &text);
    if (status == FV_OK && !(*json = fv__strdup(text.data))) status = FV_NO_RESOURCES;
    fv__buf_free(&text);
    fv__json_free(o);
    return status;
}

/* ---- answers */

const fv_option *fv_answer_option_rows(void) {
    static const fv_option rows[] = {{"top-k", FV_OPT_INT, offsetof(fv_answer_options, top_k), "1", 1, 1e6, "N",
                                      "so many classes a text, the most probable first"},
                                     {"threshold", FV_OPT_FLOAT, offsetof(fv_answer_options, threshold), "0", 0, 1, "P",
                                      "only classes at least so probable; the line may become empty"},
                                     {"probabilities", FV_OPT_BOOL, offsetof(fv_answer_options, probabilities), "false",
                                      0, 0, NULL, "also print how probable each class is"},
                                     {"answer-format", FV_OPT_CHOICE, offsetof(fv_answer_options, format), "text", 0, 0,
                                      "text|tsv|csv|json", "form of the lines"},
                                     {0}};
    return rows;
}

void fv__answer_text(fv__buf *line, const char *text) {
    for (size_t length; *text; text += length) {
        length = strcspn(text, "\t\n\r");
        fv__buf_shown(line, text, length);
        if (text[length]) fv__buf_text(line, " "), length++;
    }
}

fv_status fv_answer_line(char **line, const fv_model *model, const float *answer, const fv_answer_options *options) {
    const fv__task *task;
    fv_answer_options standard;
    fv__buf text = {0};
    *line = NULL;
    fv_options_init(fv_answer_option_rows(), &standard);
    FV_TRY(fv__task_need(&task, model));
    fv_status status = task->answer(&text, model, answer, options ? options : &standard);
    if (status == FV_OK) status = fv__buf_status(&text);
    if (status == FV_OK && !(*line = fv__strdup(text.data ? text.data : ""))) status = FV_NO_RESOURCES;
    fv__buf_free(&text);
    return status;
}
