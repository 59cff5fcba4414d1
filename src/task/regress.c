/* regress: a number for a text. Networks learn numbers of mean 0 and variance 1, by the training part, and the mean
 * square of what they miss is made small; answers and scores are in the numbers' own units. */
#include "task/contract.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- learning */

static fv_status check(const fv_dataset *train, const fv_dataset *valid) {
    if (!train->number || train->texts.count == 0)
        return fv__fail(FV_BAD_DATA, "nothing to learn from\n  expected texts with numbers\n  found:   none");
    int64_t i = 1;
    while (i < train->texts.count && train->number[i] == train->number[0]) i++;
    if (i == train->texts.count)
        return fv__fail(FV_BAD_DATA,
                        "nothing to learn from\n  expected at least two different numbers\n  found:   %g, of all %lld "
                        "training texts",
                        train->number[0], (long long)train->texts.count);
    return !valid || valid->number
               ? FV_OK
               : fv__fail(FV_BAD_DATA, "validation\n  expected texts with numbers\n  found:   none");
}

static double mean_of(const double *x, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += x[i];
    return sum / (double)count;
}

static double square_around(const double *x, int64_t count, double mean) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (x[i] - mean) * (x[i] - mean);
    return sum;
}

static void prepare(fv__target *target, const fv_dataset *train) {
    int64_t count = train->texts.count;
    target->type = FV_TARGET_REAL;
    target->outputs = 1;
    target->mean = mean_of(train->number, count);
    target->scale = sqrt(square_around(train->number, count, target->mean) / (double)count);
    if (!(target->scale > 0)) target->scale = 1; /* numbers so near to each other that their squares vanish */
}

static fv_node *loss(fv__run *run, const fv_batch *batch, fv_node *output, const fv_task_options *options,
                     double *weight) {
    const fv__target *t = &run->model->target;
    fv_status status = FV_GROW(&run->wanted, &run->wanted_capacity, (size_t)batch->rows);
    (void)options;
    if (status != FV_OK) return fv_graph_failed(run->graph, status);
    for (int32_t i = 0; i < batch->rows; i++) run->wanted[i] = (float)((batch->number[i] - t->mean) / t->scale);
    fv_tensor wanted = fv_tensor_2d(run->wanted, FV_F32, batch->rows, 1);
    *weight = batch->rows;
    return fv_op_mse(run->graph, output, &wanted);
}

/* ---- scores */

typedef struct place {
    double value;
    int64_t index;
} place;

static int by_value(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* rank[i], from 1; equal values share the mean of their ranks. `list` is scratch. */
static void rank(double *rank, const double *value, int64_t count, place *list) {
    for (int64_t i = 0; i < count; i++) list[i] = (place){value[i], i};
    qsort(list, (size_t)count, sizeof *list, by_value);
    for (int64_t first = 0, end; first < count; first = end) {
        for (end = first; end < count && list[end].value == list[first].value; end++) {}
        for (int64_t i = first; i < end; i++) rank[list[i].index] = 0.5 * (double)(first + 1 + end);
    }
}

static double correlation(const double *a, const double *b, int64_t count) {
    double mean_a = mean_of(a, count), mean_b = mean_of(b, count), product = 0;
    double square = square_around(a, count, mean_a) * square_around(b, count, mean_b);
    for (int64_t i = 0; i < count; i++) product += (a[i] - mean_a) * (b[i] - mean_b);
    return square > 0 ? product / sqrt(square) : 0;
}

/* memory: 4 * count numbers; the last 2 * count of them are places. */
static double spearman(const double *target, const float *answer, int64_t count, double *rank_a, double *rank_b,
                       place *list) {
    rank(rank_a, target, count, list);
    for (int64_t i = 0; i < count; i++) rank_b[i] = answer[i];
    rank(rank_b, rank_b, count, list);
    return correlation(rank_a, rank_b, count);
}

fv_status fv_regression_scores(fv_scores *scores, const double *target, const float *answer, int64_t count) {
    fv__scores_init(scores, fv_task_find("regress"));
    if (count < 1) return fv__fail(FV_BAD_DATA, "nothing to evaluate\n  expected texts with numbers\n  found:   none");
    double *ranks = fv__alloc_array((size_t)count, 2 * sizeof *ranks), square = 0, absolute = 0;
    place *list = fv__alloc_array((size_t)count, sizeof *list);
    double around = square_around(target, count, mean_of(target, count));
    for (int64_t i = 0; i < count; i++) {
        double missed = (double)answer[i] - target[i];
        square += missed * missed;
        absolute += fabs(missed);
    }
    fv_status status = ranks && list ? FV_OK : FV_NO_RESOURCES;
    scores->score[0].value = around > 0 ? 1 - square / around : 0;
    scores->score[1].value = sqrt(square / (double)count);
    scores->score[2].value = absolute / (double)count;
    if (status == FV_OK) scores->score[3].value = spearman(target, answer, count, ranks, ranks + count, list);
    fv__free(ranks);
    fv__free(list);
    return status;
}

static fv_status evaluate(fv_evaluation *e, const fv_model *model, const fv_encoded *encoded, const float *answer) {
    (void)model;
    if (!encoded->number)
        return fv__fail(FV_BAD_DATA, "nothing to evaluate\n  expected texts with numbers\n  found:   none");
    return fv_regression_scores(&e->scores, encoded->number, answer, e->count);
}

/* ---- answers */

static fv_status answer(fv__buf *line, const fv_model *model, const float *number, const fv_answer_options *o) {
    (void)model;
    fv__buf_printf(line, strcmp(o->format, "json") == 0 ? "{\"number\": %.7g}" : "%.7g", (double)*number);
    return FV_OK;
}

static void explain(fv__outcome *outcome, const fv_trace *trace) {
    fv__format(outcome->answer, sizeof outcome->answer, "%.7g", (double)trace->answer[0]);
}

/* ---- the task */

static const fv_option options[] = {
    FV__TASK_ROW_METRIC("r2|rmse|mae|spearman", "r2"),
    {0},
};
static const fv_score scores_of_task[] = {
    {"r2", 0, true}, {"rmse", 0, false}, {"mae", 0, false}, {"spearman", 0, true}, {0}};

const fv__task fv__task_regress = {
    .info = {"regress", "a number for a text", "a file of texts with numbers", FV_TARGET_REAL,
             FV_MODEL_BY_GRADIENT | FV_MODEL_FITS_NUMBERS, options, scores_of_task, NULL},
    .check = check,
    .prepare = prepare,
    .loss = loss,
    .evaluate = evaluate,
    .answer = answer,
    .explain = explain,
};
