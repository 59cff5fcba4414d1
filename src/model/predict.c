/* Prediction. Each text runs through the model on its own, many texts side by side on the threads: so its probabilities
 * cannot depend on its neighbours or on how many threads there are. */
#include "model/features.h"
#include "model/network.h"

#include <string.h>

enum { CHUNK = 4096 }; /* texts that are encoded at a time: bounds the memory */

/* ---- count-based kinds */

static fv_status count_and_score(const fv_model *model, fv_texts texts, float *probability) {
    fv__counts x;
    FV_TRY(fv__features_count(&x, model, texts));
    fv__features_weigh(&x, fv_params_get(model->params, FV__SCALE).value.data);
    fv__features_score(probability, &x, fv_params_get(model->params, FV__WEIGHT).value.data,
                       fv_params_get(model->params, FV__BIAS).value.data, model->classes);
    fv__counts_free(&x);
    for (int64_t t = 0; t < texts.count; t++)
        fv__probabilities(probability + t * model->classes, probability + t * model->classes, model->classes);
    return FV_OK;
}

/* ---- neural kinds */

fv_status fv__model_corpus(fv_corpus **corpus, const fv_model *model, const fv_dataset *data) {
    const fv_model_options *o = &model->options;
    fv_corpus_options how = {.max_length = o->max_length, .ngrams = o->ngrams};
    how.add_cls = o->pooling && strcmp(o->pooling, "cls") == 0;
    return fv_corpus_create(corpus, data, model->tokenizer, &how);
}

typedef struct worker {
    fv__run run;
    fv_batches *batches; /* one text each, in the order of the corpus */
    fv_status status;
    char *message; /* of the thread that failed */
} worker;

typedef struct job {
    const fv_model *model;
    worker *workers;
    float *probability;
} job;

static fv_status predict_one(job *j, worker *w, int64_t index) {
    fv_cursor cursor = {0, index};
    fv_batch batch;
    fv__nodes nodes = {0};
    FV_TRY(fv_batches_next(w->batches, &batch, &cursor));
    fv__run_begin(&w->run, FV_MODE_INFER, 0);
    j->model->kind->build(&w->run, &batch, &nodes);
    FV_TRY(fv_graph_status(w->run.graph));
    fv_tensor logits = fv_node_value(nodes.logits);
    fv__probabilities(j->probability + index * j->model->classes, logits.data, j->model->classes);
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

static fv_status run_network(const fv_model *model, fv_texts texts, float *probability) {
    fv_dataset *data;
    fv_corpus *corpus = NULL;
    int count = fv_threads();
    job j = {model, fv__alloc_array((size_t)count, sizeof *j.workers), probability};
    if (!j.workers) return FV_NO_RESOURCES;
    fv_status status = fv_dataset_of(&data, texts, NULL, fv_model_classes(model));
    if (status == FV_OK) {
        status = fv__model_corpus(&corpus, model, data);
        if (status == FV_OK) status = start_workers(&j, corpus, count);
        if (status == FV_OK) fv__parallel_for(texts.count, predict_on_worker, &j);
        fv_dataset_free(data);
    }
    fv_status stopped = stop_workers(&j, count);
    fv_corpus_free(corpus);
    return status != FV_OK ? status : stopped;
}

/* ---- both */

fv_status fv_model_predict(const fv_model *model, fv_texts texts, float *probability) {
    for (int64_t at = 0; at < texts.count; at += CHUNK) {
        int64_t count = texts.count - at < CHUNK ? texts.count - at : CHUNK;
        fv_texts part = {count, texts.text + at, texts.size + at};
        float *out = probability + at * model->classes;
        if (fv_interrupted()) return fv__fail(FV_INTERRUPTED, "interrupted while predicting");
        FV_TRY(model->kind->build ? run_network(model, part, out) : count_and_score(model, part, out));
    }
    return FV_OK;
}
