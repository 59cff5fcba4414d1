/* The training loop. One turn is: judge if it is time, save if it is time, stop if it is time, update. Everything a
 * turn depends on is in fv__state or a function of (seed, update), so a turn after a resume is the turn of the
 * unbroken run. */
#include "data/dataset.h"
#include "io/json.h"
#include "model/network.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STREAM_STEP = 0x73746570 }; /* seeds of the steps */

typedef struct trainer {
    fv_model *model;
    const fv__task *task;
    const fv_dataset *valid; /* NULL: nothing to judge by */
    fv_encoded *encoded;     /* the same as the model reads it: encoded once a run */
    const fv_train_setup *setup;
    const fv_train_options *how;
    fv__run_log *run_log;
    fv__limits *limits; /* NULL: none */
    fv__json *fingerprint;
    fv_corpus *corpus;
    fv_batches *batches;
    fv__run run;
    fv_optimizer *optimizer;
    fv__duration until, log_every, eval_every, save_every;
    fv__state state;
    int64_t total; /* updates in all, 0: not known */
    int64_t saved; /* update of the last checkpoint, -1: none */
    int slot;
    float *best;                               /* weights that were judged best */
    double started, elapsed_before;            /* clock */
    double learning_rate, gradient_norm, loss; /* of the last update */
    double speed, speed_weight;                /* tokens a second, an average that forgets */
    int64_t done_here;                         /* updates of this process */
} trainer;

/* ---- events */

static double seconds_here(const trainer *t) { return fv__now() - t->started; }

static double remaining(const trainer *t) {
    double share = fv__progress_in(&t->state.now, t->until.unit) / t->until.amount;
    double here = t->until.unit == FV_UNIT_SECONDS ? 0 : seconds_here(t);
    if (t->until.unit == FV_UNIT_SECONDS) return t->until.amount - t->state.now.seconds;
    if (t->done_here < 1 || share <= 0) return -1;
    return t->total ? here / (double)t->done_here * (double)(t->total - t->state.updates) : -1;
}

static fv_status emit(trainer *t, fv_event e) {
    e.step = t->state.updates, e.total = t->total;
    e.epoch = t->state.now.epochs;
    e.seconds = seconds_here(t), e.eta = remaining(t);
    e.tokens_per_second = t->speed_weight > 0 ? t->speed / t->speed_weight : 0;
    if (t->setup->event) t->setup->event(t->setup->event_context, &e);
    return fv__run_log_write(t->run_log, &e);
}

static bool due(const trainer *t, fv__duration span) {
    double now = fv__progress_in(&t->state.now, span.unit), before = fv__progress_in(&t->state.before, span.unit);
    return floor(now / span.amount) > floor(before / span.amount);
}

static fv_status emit_step(trainer *t) {
    if (!due(t, t->log_every) && t->done_here > 10) return FV_OK;
    fv_event e = {.kind = FV_EVENT_STEP,
                  .loss = t->state.loss_sum / (double)t->state.loss_count,
                  .learning_rate = t->learning_rate,
                  .gradient_norm = t->gradient_norm};
    if (due(t, t->log_every)) t->state.loss_sum = 0, t->state.loss_count = 0;
    return emit(t, e);
}

/* ---- judging and keeping the best */

static float *weights_of(const trainer *t) { return fv_params_flat(t->model->params).data; }
static size_t weight_bytes(const trainer *t) { return (size_t)fv_params_flat(t->model->params).dim[0] * sizeof(float); }

static fv_status keep_best(trainer *t, const fv_evaluation *e) {
    memcpy(t->best, weights_of(t), weight_bytes(t));
    t->state.best_update = t->state.updates;
    if (!t->run_log->folder) return FV_OK;
    FV_TRY(fv_model_save(t->model, t->run_log->folder));
    return e ? fv__run_log_evaluation(t->run_log, t->model, e, t->state.updates) : FV_OK;
}

static double worth(fv_score score) { return score.higher_is_better ? score.value : -score.value; }

/* Few texts give few values: between equal ones the task's second opinion decides. */
static bool breaks_tie(const trainer *t, const fv_scores *scores) {
    fv_score now, best;
    if (!t->task->tie || fv_scores_find(scores, t->task->tie, &now) != FV_OK) return false;
    return fv_scores_find(&t->state.best, t->task->tie, &best) == FV_OK && worth(now) > worth(best);
}

static bool is_best(const trainer *t, const fv_scores *scores, double value) {
    if (t->state.judged < 0 || value > t->state.best_value) return true;
    return value == t->state.best_value && breaks_tie(t, scores);
}

static fv_status evaluate_shown(trainer *t) {
    fv_evaluation *found;
    fv_score metric = {0};
    fv__state *s = &t->state;
    FV_TRY(fv_evaluate_encoded(&found, t->model, t->encoded));
    fv_status status = fv_scores_find(&found->scores, t->setup->task.metric, &metric);
    double value = worth(metric);
    bool best = is_best(t, &found->scores, value);
    s->judged = s->updates;
    s->bad = best ? 0 : s->bad + 1;
    if (best) {
        s->best_value = value;
        s->best = found->scores;
        if (status == FV_OK) status = keep_best(t, found);
    }
    if (status == FV_OK) status = emit(t, (fv_event){.kind = FV_EVENT_EVAL, .valid = found->scores, .best = best});
    fv_evaluation_free(found);
    return status;
}

/* What is judged and kept is the average of the weights if there is one. */
static fv_status evaluate(trainer *t) {
    fv_optimizer_show_average(t->optimizer);
    fv_status status = evaluate_shown(t);
    fv_optimizer_hide_average(t->optimizer);
    return status;
}

/* Without validation texts the last weights are the best. */
static fv_status keep_last(trainer *t) {
    fv_optimizer_show_average(t->optimizer);
    fv_status status = keep_best(t, NULL);
    fv_optimizer_hide_average(t->optimizer);
    return status;
}

/* ---- checkpoints */

static fv_status save(trainer *t) {
    if (!t->run_log->folder || t->saved == t->state.updates) return FV_OK;
    FV_TRY(fv__run_log_size(t->run_log, &t->state.metrics_bytes));
    FV_TRY(fv__checkpoint_save(t->run_log->folder, &t->slot, &t->state, t->fingerprint, t->optimizer));
    t->saved = t->state.updates;
    return emit(t, (fv_event){.kind = FV_EVENT_SAVE, .path = t->run_log->folder});
}

static fv_status diverged(const trainer *t, const char *what) {
    const fv__state *s = &t->state;
    char place[64] = "";
    if (t->saved >= 0) snprintf(place, sizeof place, " (update %lld)", (long long)t->saved);
    const char *folder = t->run_log->folder;
    if (folder && t->saved >= 0)
        return fv__fail(FV_DIVERGED,
                        "%s at update %lld (lr %g)\n  last good state: %s/last%s\n  try:     --resume %s "
                        "--learning-rate %g",
                        what, (long long)s->updates + 1, t->how->learning_rate, folder, place, folder,
                        t->how->learning_rate / 10);
    return fv__fail(FV_DIVERGED,
                    "%s at update %lld (lr %g)\n  last good state: none was saved\n  try:     --learning-rate %g", what,
                    (long long)s->updates + 1, t->how->learning_rate, t->how->learning_rate / 10);
}

static fv_status interrupted(trainer *t) {
    FV_TRY(save(t));
    if (t->run_log->folder)
        return fv__fail(FV_INTERRUPTED, "interrupted at update %lld, state saved in %s/last\n  try:     --resume %s",
                        (long long)t->state.updates, t->run_log->folder, t->run_log->folder);
    return fv__fail(FV_INTERRUPTED, "interrupted at update %lld", (long long)t->state.updates);
}

/* ---- one update */

static uint64_t step_seed(const trainer *t, int64_t part) {
    uint64_t index = (uint64_t)(t->state.updates * t->how->gradient_accumulation + part), seed = (uint64_t)t->how->seed;
    return (uint64_t)fv__random_u32(seed, STREAM_STEP, 2 * index) << 32 |
           fv__random_u32(seed, STREAM_STEP, 2 * index + 1);
}

/* What the batches of an update come to. An update means the same however its texts are cut into batches, so a batch
 * counts by what its loss is a mean of, in units of the first batch: equal batches count 1, exactly. */
typedef struct total {
    double first, weight, loss;
    int64_t tokens;
} total;

static fv_status backward(trainer *t, fv_node *loss, double share) {
    float value = (float)share; /* parameters of networks are f32 */
    fv_tensor cotangent = fv_node_value(loss);
    cotangent.data = &value;
    return fv_graph_backward(t->run.graph, loss, share == 1 ? NULL : &cotangent);
}

/* Forward and backward of one batch; its gradients are added to those of the update. */
static fv_status learn_from(trainer *t, int64_t part, total *sum) {
    fv_batch batch;
    fv__nodes nodes = {0};
    double weight = 1;
    FV_TRY(fv_batches_next(t->batches, &batch, &t->state.cursor));
    fv__run_begin(&t->run, FV_MODE_TRAIN, step_seed(t, part));
    t->model->kind->build(&t->run, &batch, &nodes);
    fv_node *loss = t->task->loss(&t->run, &batch, nodes.output, &t->setup->task, &weight);
    if (part == 0) sum->first = weight;
    double share = weight / sum->first;
    FV_TRY(backward(t, loss, share));
    sum->loss += share * fv_node_scalar(loss);
    sum->weight += share;
    sum->tokens += batch.tokens;
    return FV_OK;
}

static void measure(trainer *t, double seconds, int64_t tokens) {
    if (t->done_here > 1 && seconds > 0) { /* the first update takes memory and is no measure */
        t->speed = 0.95 * t->speed + 0.05 * (double)tokens / seconds;
        t->speed_weight = 0.95 * t->speed_weight + 0.05;
    }
}

static void advance(trainer *t, double seconds, int64_t tokens) {
    fv__state *s = &t->state;
    int64_t in_epoch = fv_batches_count(t->batches, s->cursor.epoch);
    s->updates++, t->done_here++;
    s->before = s->now;
    s->now.updates = (double)s->updates;
    s->now.epochs = (double)s->cursor.epoch + (in_epoch ? (double)s->cursor.position / (double)in_epoch : 0);
    s->now.tokens += (double)tokens;
    s->now.seconds = t->elapsed_before + seconds_here(t);
    s->loss_sum += t->loss, s->loss_count++;
    measure(t, seconds, tokens);
}

/* Share of the training done before this update; the first update of a warmup is not lost on a rate of 0. */
static double share_done(const trainer *t) {
    if (t->total) return (double)(t->state.updates + 1) / (double)(t->total + 1);
    return fv__progress_in(&t->state.now, t->until.unit) / t->until.amount;
}

static fv_status update(trainer *t) {
    double start = fv__now();
    total sum = {0};
    for (int64_t part = 0; part < t->how->gradient_accumulation; part++) FV_TRY(learn_from(t, part, &sum));
    double loss = sum.loss / sum.weight;
    fv_optimizer_scale_grads(t->optimizer, 1 / sum.weight);
    double norm = fv_clip_grad_norm(t->optimizer, t->how->max_grad_norm);
    if (!isfinite(loss)) return diverged(t, isnan(loss) ? "loss became NaN" : "loss became infinite");
    if (!isfinite(norm)) return diverged(t, "a gradient became NaN or infinite");
    t->learning_rate = t->how->learning_rate * fv__schedule(t->how, share_done(t));
    t->gradient_norm = norm, t->loss = loss;
    fv_optimizer_set_learning_rate(t->optimizer, t->learning_rate);
    FV_TRY(fv_optimizer_step(t->optimizer));
    fv_optimizer_zero_grads(t->optimizer);
    advance(t, fv__now() - start, sum.tokens);
    return emit_step(t);
}

/* ---- the turns */

static bool too_late(const trainer *t) {
    if (!t->limits || fv__now() < t->limits->deadline) return false;
    return t->limits->reached = true;
}

static bool finished(const trainer *t) {
    if (t->how->early_stopping > 0 && t->state.bad >= t->how->early_stopping) return true;
    if (t->total ? t->state.updates >= t->total : fv__progress_in(&t->state.now, t->until.unit) >= t->until.amount)
        return true;
    return too_late(t);
}

static fv_status run_turns(trainer *t) {
    for (;;) {
        bool last = finished(t), new_weights = t->state.updates > 0 && t->state.judged != t->state.updates;
        if (fv_interrupted()) return interrupted(t);
        if (t->valid && new_weights && (last || due(t, t->eval_every))) {
            fv_status status = evaluate(t);
            if (status == FV_INTERRUPTED) return interrupted(t);
            if (status == FV_BAD_MODEL) return diverged(t, "an answer to a validation text became NaN or infinite");
            FV_TRY(status);
            last = finished(t);
        }
        if (last || (t->state.updates > 0 && due(t, t->save_every))) FV_TRY(save(t));
        if (last) return FV_OK;
        FV_TRY(update(t));
    }
}

/* ---- what the run is about: told apart on resume */

static fv_status describe_rows(fv__json *into, const fv_option *rows, const void *options) {
    char value[512];
    for (; rows->name; rows++) {
        if (rows->flags == FV_OPTION_LOCAL) continue; /* has done its work: vectors are in the embedding */
        fv_options_print(rows, options, value, sizeof value);
        FV_TRY(fv__json_set(into, rows->name, fv__json_of_text(value)));
    }
    return FV_OK;
}

static fv_status describe(trainer *t, const fv_dataset *train) {
    char hash[32];
    if (!(t->fingerprint = fv__json_object())) return FV_NO_RESOURCES;
    fv__json *run = fv__json_object();
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)fv__dataset_hash(t->valid, fv__dataset_hash(train, 1)));
    FV_TRY(fv__json_set(t->fingerprint, "options", run));
    FV_TRY(fv__json_set(t->fingerprint, "data", fv__json_of_text(hash)));
    FV_TRY(fv__json_set(t->fingerprint, "task", fv__json_of_text(t->task->info.name)));
    FV_TRY(fv__json_set(t->fingerprint, "kind", fv__json_of_text(t->model->kind->info.name)));
    FV_TRY(describe_rows(run, t->model->kind->info.options, &t->model->options));
    FV_TRY(describe_rows(run, t->task->info.options, &t->setup->task));
    return describe_rows(run, fv_train_option_rows(), t->how);
}

/* Options that are not FIXED may be changed by somebody who knows that the result changes. */
static uint32_t flags_of(const trainer *t, const char *name) {
    const fv_option *const tables[] = {t->model->kind->info.options, t->task->info.options, fv_train_option_rows()};
    for (int i = 0; i < 3; i++)
        for (const fv_option *row = tables[i]; row->name; row++)
            if (strcmp(name, row->name) == 0) return row->flags;
    return 0;
}

/* What the run had for an option, under its name or an earlier one. An option of training that is younger than the run
 * had its default. NULL: nothing. */
static const char *value_before(const fv__json *options, const char *name) {
    const fv__json *value = fv__json_get(options, name);
    const char *other;
    for (size_t i = 0; !value && (other = fv_option_earlier_name(name, i)); i++) value = fv__json_get(options, other);
    const fv_option *row = value ? NULL : fv_option_find(fv_train_option_rows(), name);
    return row ? row->standard : fv__json_text(value);
}

static fv_status compare_task(const trainer *t, const fv__json *was) {
    const char *task = fv__json_text(fv__json_get(was, "task")); /* older runs have none: there was one task */
    if (!task || strcmp(task, t->task->info.name) == 0) return FV_OK;
    return fv__fail(FV_USAGE, "%s: the task cannot change in a resumed run\n  expected %s\n  found:   %s",
                    t->run_log->folder, task, t->task->info.name);
}

static fv_status compare(trainer *t, const fv__json *was) {
    FV_TRY(compare_task(t, was));
    const char *data = fv__json_text(fv__json_get(was, "data")),
               *now = fv__json_text(fv__json_get(t->fingerprint, "data"));
    if (!data || strcmp(data, now) != 0)
        return fv__fail(FV_USAGE,
                        "%s: the texts are not those the run began with\n  expected the same training and validation "
                        "texts in the same order\n  found:   others\n  try:     a new run folder",
                        t->run_log->folder);
    fv__json *options = fv__json_get(t->fingerprint, "options"), *before = fv__json_get(was, "options");
    for (void *i = fv__json_first(options); i; i = fv__json_next(options, i)) {
        const char *name = fv__json_key(i), *value = fv__json_text(fv__json_value(i));
        const char *old = value_before(before, name);
        uint32_t flags = flags_of(t, name);
        if ((flags & FV_OPTION_HARMLESS) || (old && strcmp(old, value) == 0)) continue;
        if (flags & FV_OPTION_FIXED)
            return fv__fail(FV_USAGE,
                            "%s: %s cannot change in a resumed run\n  expected %s\n  found:   %s\n  try:     a new run "
                            "folder",
                            t->run_log->folder, name, old ? old : "nothing", value);
        char note[256];
        snprintf(note, sizeof note, "%s changed from %s to %s: not the unbroken run any more", name,
                 old ? old : "nothing", value);
        FV_TRY(emit(t, (fv_event){.kind = FV_EVENT_NOTE, .note = note}));
    }
    return FV_OK;
}

/* The best weights so far are the model in the run folder. */
static fv_status load_best(trainer *t) {
    fv_model *best;
    if (t->state.best_update == 0) return FV_OK;
    FV_TRY(fv_model_load(&best, t->run_log->folder));
    fv_status status = FV_OK;
    if (fv_params_flat(best->params).dim[0] != fv_params_flat(t->model->params).dim[0])
        status = fv__fail(FV_BAD_MODEL, "%s: model.safetensors\n  expected that of this run\n  found:   another",
                          t->run_log->folder);
    else
        memcpy(t->best, fv_params_flat(best->params).data, weight_bytes(t));
    fv_model_free(best);
    return status;
}

static fv_status resume(trainer *t) {
    fv__json *was = NULL;
    char *note = NULL;
    fv_status status = fv__checkpoint_load(t->run_log->folder, &t->state, &was, t->optimizer, &note);
    if (status == FV_OK) {
        t->saved = t->state.updates;
        t->elapsed_before = t->state.now.seconds;
        status = fv__run_log_cut(t->run_log, t->state.metrics_bytes);
        if (status == FV_OK) status = compare(t, was);
        if (status == FV_OK) status = load_best(t);
        fv_event e = {.kind = FV_EVENT_NOTE, .note = note};
        if (status == FV_OK && note) status = emit(t, e);
    }
    fv__json_free(was);
    fv__free(note);
    return status;
}

/* ---- beginning and end */

/* An update never spans the end of training, but it may span epochs. */
static int64_t count_updates(const trainer *t) {
    double batches = 0, amount = t->until.amount;
    if (t->until.unit == FV_UNIT_UPDATES) return (int64_t)ceil(amount);
    if (t->until.unit != FV_UNIT_EPOCHS || amount > 10000) return 0;
    for (int64_t epoch = 0; (double)epoch < amount; epoch++) {
        double part = fmin(1, amount - (double)epoch);
        batches += part * (double)fv_batches_count(t->batches, epoch);
    }
    int64_t updates = (int64_t)(batches / (double)t->how->gradient_accumulation + 1e-9);
    return updates > 0 ? updates : 1;
}

static fv_status parse_durations(trainer *t) {
    t->until = (fv__duration){t->how->epochs, FV_UNIT_EPOCHS};
    if (t->how->until) FV_TRY(fv__duration_parse(&t->until, "until", t->how->until));
    FV_TRY(fv__duration_parse(&t->log_every, "log-every", t->how->log_every));
    FV_TRY(fv__duration_parse(&t->eval_every, "eval-every", t->how->eval_every));
    return fv__duration_parse(&t->save_every, "save-every", t->how->save_every);
}

static fv_status prepare(trainer *t, const fv_dataset *train) {
    fv_batch_options how = {.batch_size = t->how->batch_size,
                            .max_tokens = t->how->max_tokens,
                            .bucket = t->how->bucket,
                            .shuffle = true,
                            .seed = t->how->seed};
    FV_TRY(parse_durations(t));
    FV_TRY(fv__model_corpus(&t->corpus, t->model, train));
    if (t->valid) FV_TRY(fv_model_encode(&t->encoded, t->model, t->valid));
    FV_TRY(fv_batches_create(&t->batches, t->corpus, &how));
    FV_TRY(fv__run_create(&t->run, t->model));
    FV_TRY(fv__optimizer_of(&t->optimizer, t->model, t->how));
    t->best = fv__alloc(weight_bytes(t));
    if (!t->best) return FV_NO_RESOURCES;
    memcpy(t->best, weights_of(t), weight_bytes(t));
    t->total = count_updates(t);
    FV_TRY(describe(t, train));
    return t->setup->resume ? resume(t) : FV_OK;
}

static void report(const trainer *t, fv_train_result *r) {
    const fv__state *s = &t->state;
    *r = (fv_train_result){.updates = s->updates,
                           .texts = t->corpus->count,
                           .tokens = t->corpus->start[t->corpus->count],
                           .seconds = seconds_here(t),
                           .best_update = s->best_update,
                           .best = s->judged < 0 ? (fv_scores){0} : s->best,
                           .stopped_early = t->how->early_stopping > 0 && s->bad >= t->how->early_stopping,
                           .parameters = fv_model_parameters(t->model)};
}

static fv_status run(trainer *t, const fv_dataset *train, fv_train_result *result) {
    FV_TRY(prepare(t, train));
    FV_TRY(fv__train_begin(t->model, t->setup, t->run_log));
    FV_TRY(emit(t, (fv_event){.kind = FV_EVENT_START}));
    FV_TRY(run_turns(t));
    if (!t->valid) FV_TRY(keep_last(t));
    memcpy(weights_of(t), t->best, weight_bytes(t));
    report(t, result);
    return emit(t, (fv_event){.kind = FV_EVENT_END});
}

fv_status fv__train_by_gradient(fv_model *model, fv_train_result *result, const fv_dataset *train,
                                const fv_dataset *valid, const fv_train_setup *setup, fv__run_log *run_log,
                                fv__limits *limits) {
    trainer t = {.model = model,
                 .task = (const fv__task *)fv_task_of(model),
                 .valid = valid && valid->texts.count > 0 ? valid : NULL,
                 .setup = setup,
                 .how = &setup->train,
                 .run_log = run_log,
                 .limits = limits,
                 .saved = -1,
                 .slot = -1,
                 .started = fv__now()};
    t.state.judged = -1;
    fv__scores_init(&t.state.best, &t.task->info);
    fv_status status = run(&t, train, result);
    fv__run_free(&t.run);
    fv_optimizer_free(t.optimizer);
    fv_batches_free(t.batches);
    fv_corpus_free(t.corpus);
    fv_encoded_free(t.encoded);
    fv__json_free(t.fingerprint);
    fv__free(t.best);
    return status;
}
