/* Prediction. Each text runs through the model on its own, many texts side by side on the threads: so its answer
 * cannot depend on its neighbours or on how many threads there are. */
#include "data/dataset.h"
#include "model/blend.h"
#include "model/features.h"
#include "model/network.h"

#include <string.h>

enum { CHUNK = 4096 }; /* texts that are encoded at a time: bounds the memory */

/* ---- count-based kinds */

static void score_counts(const fv_model *model, const fv__counts *x, float *answer) {
    int32_t outputs = model->target.outputs;
    fv__features_score(answer, x, fv_params_get(model->params, FV__WEIGHT).value.data,
                       fv_params_get(model->params, FV__BIAS).value.data, outputs);
    for (int64_t t = 0; t < x->rows; t++) fv__answers(answer + t * outputs, answer + t * outputs, &model->target);
}

/* ---- neural kinds */

typedef struct worker {
    fv__run run;
    fv_batches *batches; /* one text each, in the order of the corpus */
    fv_status status;
    char *message; /* of the thread that failed */
} worker;

typedef struct job {
    const fv_model *model;
    worker *workers;
    float *answer;
} job;

static fv_status predict_one(job *j, worker *w, int64_t index) {
    fv_cursor cursor = {0, index};
    fv_batch batch;
    fv__nodes nodes = {0};
    FV_TRY(fv_batches_next(w->batches, &batch, &cursor));
    fv__run_begin(&w->run, FV_MODE_INFER, 0);
    j->model->kind->build(&w->run, &batch, &nodes);
    FV_TRY(fv_graph_status(w->run.graph));
    fv_tensor output = fv_node_value(nodes.output);
    fv__answers(j->answer + index * j->model->target.outputs, output.data, &j->model->target);
    return FV_OK;
}

static void predict_on_worker(void *context, int64_t index, int number) {
    job *j = context;
    worker *w = &j->workers[number];
    if (w->status != FV_OK) return;
    if (fv_interrupted())
        w->status = fv__fail(FV_INTERRUPTED, "interrupted while predicting");
    else
        w->status = predict_one(j, w, index);
    if (w->status != FV_OK) w->message = fv__strdup(fv_message());
}

static fv_status start_workers(job *j, const fv_corpus *corpus, int count) {
    fv_batch_options one = {.batch_size = 1, .bucket = 1};
    for (int i = 0; i < count; i++) {
        FV_TRY(fv__run_create(&j->workers[i].run, j->model));
        FV_TRY(fv_batches_create(&j->workers[i].batches, corpus, &one));
    }
    return FV_OK;
}

static fv_status stop_workers(job *j, int count) {
    fv_status status = FV_OK;
    for (int i = 0; i < count; i++) {
        worker *w = &j->workers[i];
        if (w->status != FV_OK && status == FV_OK) status = fv__fail(w->status, "%s", w->message ? w->message : "");
        fv__free(w->message);
        fv_batches_free(w->batches);
        fv__run_free(&w->run);
    }
    fv__free(j->workers);
    return status;
}

static fv_status run_network(const fv_model *model, const fv_corpus *corpus, float *answer) {
    int count = fv_threads();
    job j = {model, fv__alloc_array((size_t)count, sizeof *j.workers), answer};
    if (!j.workers) return FV_NO_RESOURCES;
    fv_status status = start_workers(&j, corpus, count);
    if (status == FV_OK) fv__parallel_for(corpus->count, predict_on_worker, &j);
    fv_status stopped = stop_workers(&j, count);
    return status != FV_OK ? status : stopped;
}

/* ---- both */

fv_status fv_model_predict_encoded(const fv_model *model, const fv_encoded *encoded, float *answer) {
    if (fv_interrupted()) return fv__fail(FV_INTERRUPTED, "interrupted while predicting");
    if (encoded->count == 0) return FV_OK;
    if (model->kind->blends) return fv__blend_predict(model, encoded, answer);
    if (model->kind->build)
        FV_TRY(run_network(model, encoded->corpus, answer));
    else
        score_counts(model, encoded->counts, answer);
    return fv__check_outputs(model, answer, encoded->count * model->target.outputs);
}

static fv_status predict_chunk(const fv_model *model, fv_texts texts, float *answer) {
    fv_encoded *encoded;
    fv_dataset data = {.texts = texts};
    if (!model->kind->fit) FV_TRY(fv__texts_check(texts));
    FV_TRY(fv_model_encode(&encoded, model, &data));
    fv_status status = fv_model_predict_encoded(model, encoded, answer);
    fv_encoded_free(encoded);
    return status;
}

fv_status fv_model_predict(const fv_model *model, fv_texts texts, float *answer) {
    for (int64_t at = 0; at < texts.count; at += CHUNK) {
        int64_t count = texts.count - at < CHUNK ? texts.count - at : CHUNK;
        fv_texts part = {count, texts.text + at, texts.size + at};
        if (fv_interrupted()) return fv__fail(FV_INTERRUPTED, "interrupted while predicting");
        FV_TRY(predict_chunk(model, part, answer + at * model->target.outputs));
    }
    return FV_OK;
}
