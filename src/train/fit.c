/* fv_train: from texts to a model. Makes tokenizer and model, then leaves the learning to the kind (count-based kinds)
 * or to the loop (neural kinds). What is learnt and how it is judged is the task's. */
#include "model/blend.h"
#include "train/search.h"

#include <stdio.h>
#include <string.h>

/* ---- checks */

static fv_status check_folder(const fv_train_setup *setup) {
    const char *folder = setup->folder;
    const fv_model_kind *kind = fv_model_kind_find(setup->model.kind);
    if (setup->resume && !folder) return fv__fail(FV_USAGE, "resume\n  expected a run folder\n  found:   none");
    if (setup->resume && (kind->can & FV_MODEL_BLENDS))
        return fv__fail(FV_USAGE,
                        "%s: a search is not resumed, it takes the time of its budget\n  expected a run of "
                        "one network\n  found:   model %s\n  try:     the same command with --overwrite",
                        folder, kind->name);
    if (folder && !setup->resume && !setup->overwrite && fv_train_can_resume(folder))
        return fv__fail(FV_USAGE, "%s: already holds a run\n  try:     --resume %s   or another folder", folder,
                        folder);
    return FV_OK;
}

/* ---- the tokenizer */

/* A resumed run goes on with the tokenizer it began with. */
static fv_status load_tokenizer(fv_tokenizer **tokenizer, const char *folder) {
    char *path;
    FV_TRY(fv__path_join(&path, folder, "tokenizer.json"));
    fv_status status = fv_tokenizer_load(tokenizer, path);
    fv__free(path);
    return status;
}

/* Words that have a vector are known even when the training texts lack them. */
static fv_status make_tokenizer(fv_tokenizer **tokenizer, const fv_dataset *train, const fv_train_setup *setup,
                                const fv_vectors *vectors) {
    if (setup->resume) return load_tokenizer(tokenizer, setup->folder);
    fv_tokenizer *own;
    FV_TRY(fv_tokenizer_train(&own, train->texts, &setup->tokenizer));
    if (!vectors) {
        *tokenizer = own;
        return FV_OK;
    }
    fv_status status = fv_tokenizer_with_words(tokenizer, own, vectors->word, vectors->count);
    fv_tokenizer_free(own);
    return status;
}

static fv_status write_start(const fv_model *model, const char *folder) {
    char *config, *tokenizer = NULL;
    FV_TRY(fv__path_join(&config, folder, "config.json"));
    fv_status status = fv__path_join(&tokenizer, folder, "tokenizer.json");
    if (status == FV_OK) status = fv__config_write(model, config);
    if (status == FV_OK) status = fv_tokenizer_save(model->tokenizer, tokenizer);
    fv__free(config);
    fv__free(tokenizer);
    return status;
}

/* What an earlier run wrote and this one may not write again. Files of other names are not ours. */
static fv_status clear_run(const char *folder) {
    FV_TRY(fv__blend_clear(folder));
    static const char *const names[] = {"model.safetensors", "config.json",        "tokenizer.json",
                                        "eval.json",         "last/a.safetensors", "last/b.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path;
        FV_TRY(fv__path_join(&path, folder, names[i]));
        remove(path); /* one that is not there is as good as removed */
        fv__free(path);
    }
    return FV_OK;
}

fv_status fv__train_begin(const fv_model *model, const fv_train_setup *setup, fv__run_log *run_log) {
    if (!setup->folder || setup->resume) return FV_OK;
    if (setup->overwrite) FV_TRY(clear_run(setup->folder));
    FV_TRY(fv__run_log_cut(run_log, 0));
    return model->kind->blends ? FV_OK : write_start(model, setup->folder);
}

/* ---- count-based kinds: one go */

static fv_status evaluate(const fv_model *model, fv_train_result *r, const fv_dataset *valid,
                          const fv_train_setup *setup, fv__run_log *run_log) {
    fv_evaluation *found;
    if (!valid) return FV_OK;
    FV_TRY(fv_evaluate(&found, model, valid));
    r->best = found->scores;
    fv_event e = {.kind = FV_EVENT_EVAL, .step = 1, .total = 1, .valid = found->scores, .best = true, .eta = -1};
    if (setup->event) setup->event(setup->event_context, &e);
    fv_status status = fv__run_log_write(run_log, &e);
    if (status == FV_OK) status = fv__run_log_evaluation(run_log, model, found, 1);
    fv_evaluation_free(found);
    return status;
}

static fv_status train_at_once(fv_model *model, fv_train_result *r, const fv_dataset *train, const fv_dataset *valid,
                               const fv_train_setup *setup, fv__run_log *run_log) {
    double start = fv__now();
    FV_TRY(model->kind->fit(model, train));
    FV_TRY(fv__train_begin(model, setup, run_log));
    *r = (fv_train_result){.updates = 1,
                           .best_update = 1,
                           .texts = train->texts.count,
                           .seconds = fv__now() - start,
                           .parameters = fv_model_parameters(model)};
    if (setup->folder) FV_TRY(fv_model_save(model, setup->folder));
    return evaluate(model, r, valid, setup, run_log);
}

/* ---- all kinds */

static fv_status train_model(fv_model **out, fv_train_result *result, const fv_dataset *train, const fv_dataset *valid,
                             const fv_train_setup *setup, const fv_vectors *vectors, fv__run_log *run_log,
                             fv__limits *limits) {
    const fv__task *task = (const fv__task *)fv_task_find(setup->task.task);
    fv__target target = {.task = task->info.name};
    fv_tokenizer *tokenizer;
    fv_model *model;
    bool by_gradient = fv_model_kind_find(setup->model.kind)->can & FV_MODEL_BY_GRADIENT;
    FV_TRY(make_tokenizer(&tokenizer, train, setup, vectors));
    task->prepare(&target, train);
    FV_TRY(fv__model_create(&model, &setup->model, &target, tokenizer, -1, (uint64_t)setup->train.seed));
    fv_status status = FV_OK;
    if (vectors && !setup->resume) status = fv__model_fill_vectors(model, vectors);
    if (status == FV_OK)
        status = by_gradient ? fv__train_by_gradient(model, result, train, valid, setup, run_log, limits)
                             : train_at_once(model, result, train, valid, setup, run_log);
    if (status == FV_OK)
        *out = model;
    else
        fv_model_free(model);
    return status;
}

/* The vectors in memory, or those of the file; *own is what has to be freed. */
static fv_status find_vectors(const fv_vectors **vectors, fv_vectors **own, const fv_train_setup *setup) {
    const fv_model_kind *kind = fv_model_kind_find(setup->model.kind);
    *own = NULL;
    *vectors = setup->vectors;
    bool wanted = setup->vectors || setup->model.vectors;
    if (!wanted || setup->resume) return FV_OK;
    if (!(kind->can & FV_MODEL_TAKES_VECTORS))
        return fv__fail(FV_USAGE, "the model %s takes no word vectors\n  try:     --model transformer", kind->name);
    if (setup->vectors) return FV_OK;
    FV_TRY(fv_vectors_load(own, setup->model.vectors));
    *vectors = *own;
    return FV_OK;
}

static fv_status train_kind(fv_model **model, fv_train_result *result, const fv_dataset *train, const fv_dataset *valid,
                            const fv_train_setup *setup, fv__run_log *run_log, fv__limits *limits) {
    const fv_vectors *vectors;
    fv_vectors *own;
    FV_TRY(find_vectors(&vectors, &own, setup));
    fv_status status = train_model(model, result, train, valid, setup, vectors, run_log, limits);
    fv_vectors_free(own);
    return status;
}

fv_status fv__train(fv_model **model, fv_train_result *result, const fv_dataset *train, const fv_dataset *valid,
                    const fv_train_setup *setup, fv__limits *limits) {
    fv_train_result unused;
    fv__run_log run_log;
    *model = NULL;
    FV_TRY(fv_train_setup_check(setup));
    if (valid && valid->texts.count == 0) valid = NULL;
    FV_TRY(((const fv__task *)fv_task_find(setup->task.task))->check(train, valid));
    FV_TRY(check_folder(setup));
    bool blends = fv_model_kind_find(setup->model.kind)->can & FV_MODEL_BLENDS;
    if (!result) result = &unused;
    FV_TRY(fv__run_log_open(&run_log, setup->folder));
    fv_status status = blends ? fv__train_blend(model, result, train, valid, setup, &run_log)
                              : train_kind(model, result, train, valid, setup, &run_log, limits);
    fv__run_log_close(&run_log);
    return status;
}

fv_status fv_train(fv_model **model, fv_train_result *result, const fv_dataset *train, const fv_dataset *valid,
                   const fv_train_setup *setup) {
    return fv__train(model, result, train, valid, setup, NULL);
}
