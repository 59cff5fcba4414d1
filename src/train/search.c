/* The search of the kind auto, see search.h. Every member is judged on texts it has not seen: of a few hundred texts
 * each fifth in turn, of many a tenth, or those that were given for it. What members say about these texts decides how
 * much each counts; count-based members then learn once more from all training texts. */
#include "train/search.h"
#include "data/dataset.h"
#include "model/blend.h"

#include <stdio.h>
#include <string.h>

typedef struct part {
    fv_dataset *train, *held; /* to learn from, to be judged by */
    int64_t first;            /* row of the first held text among all that are judged */
} part;

typedef struct candidate {
    float *answer; /* (judged, outputs) */
    fv_scores scores;
    double seconds, weight;
    bool tried;
    fv_model *model; /* the last that was trained */
} candidate;

typedef struct search {
    const fv_train_setup *setup;
    const fv__task *task;
    const fv_dataset *train, *given; /* given: validation texts, NULL: none */
    fv__run_log *run_log;
    fv__plan plan;
    part part[FV__FOLDS];
    fv_dataset *judged; /* the held texts of all parts */
    fv_encoded *targets;
    fv_vectors *vectors;
    candidate of[FV__ATTEMPTS];
    fv_model *blend;
    double started;
    bool late; /* the clock ended something */
} search;

/* ---- events */

static fv_status emit(search *s, fv_event e) {
    e.seconds = fv__now() - s->started, e.eta = -1;
    if (s->setup->event) s->setup->event(s->setup->event_context, &e);
    return fv__run_log_write(s->run_log, &e);
}

/* Of a member's own events only the steps are passed on: they show that something goes on. */
static void on_member_event(void *context, const fv_event *e) {
    search *s = context;
    if (e->kind == FV_EVENT_STEP && s->setup->event) s->setup->event(s->setup->event_context, e);
}

static fv_status note(search *s, const char *text) { return emit(s, (fv_event){.kind = FV_EVENT_NOTE, .note = text}); }

static fv_status tell_member(search *s, int i, bool decided) {
    const candidate *c = &s->of[i];
    fv_event e = {.kind = FV_EVENT_MEMBER,
                  .valid = c->scores,
                  .member = s->plan.attempt[i].name,
                  .weight = decided ? c->weight : -1,
                  .member_seconds = c->seconds,
                  .member_parameters = c->model ? fv_model_parameters(c->model) : 0};
    return emit(s, e);
}

/* ---- texts */

static fv_status select_rows(fv_dataset **out, const fv_dataset *all, const int32_t *fold, int32_t which, bool held,
                             int64_t *row) {
    int64_t count = 0;
    for (int64_t i = 0; i < all->texts.count; i++)
        if ((fold[i] == which) == held) row[count++] = i;
    return fv_dataset_select(out, all, row, count);
}

static fv_status deal_rows(search *s, int32_t *fold, int64_t *row) {
    FV_TRY(fv__dataset_folds(fold, s->train, s->plan.folds, (uint64_t)s->setup->train.seed));
    int64_t judged = 0, *all = row + s->train->texts.count;
    for (int32_t k = 0; k < s->plan.used; k++) {
        FV_TRY(select_rows(&s->part[k].train, s->train, fold, k, false, row));
        FV_TRY(select_rows(&s->part[k].held, s->train, fold, k, true, row));
        s->part[k].first = judged;
        memcpy(all + judged, row, (size_t)s->part[k].held->texts.count * sizeof *row);
        judged += s->part[k].held->texts.count;
    }
    return fv_dataset_select(&s->judged, s->train, all, judged);
}

/* Nothing can be chosen by texts of which one part has nothing to learn from. */
static bool can_choose(const search *s) {
    for (int k = 0; k < s->plan.used; k++)
        if (s->task->check(s->part[k].train, NULL) != FV_OK) return false;
    return s->judged->texts.count > 0;
}

static fv_status deal(search *s) {
    if (s->given) return FV_OK;
    size_t count = (size_t)s->train->texts.count;
    int32_t *fold = fv__alloc_array(count, sizeof *fold);
    int64_t *row = fv__alloc_array(count, 2 * sizeof *row);
    fv_status status = fold && row ? deal_rows(s, fold, row) : FV_NO_RESOURCES;
    fv__free(fold);
    fv__free(row);
    if (status == FV_OK && !can_choose(s)) s->plan.used = 0;
    return status;
}

static const fv_dataset *part_train(const search *s, int k) { return s->given ? s->train : s->part[k].train; }
static const fv_dataset *part_held(const search *s, int k) { return s->given ? s->given : s->part[k].held; }

static fv_status say_what_decides(search *s) {
    char text[160];
    if (s->given)
        snprintf(text, sizeof text, "members are chosen by the %lld validation texts",
                 (long long)s->given->texts.count);
    else if (s->plan.used == 0)
        snprintf(text, sizeof text, "too few texts to choose by: the linear model alone");
    else if (s->plan.used > 1)
        snprintf(text, sizeof text, "members are chosen by cross-validation, each of %d parts held out in turn",
                 s->plan.used);
    else
        snprintf(text, sizeof text, "members are chosen by %lld texts held out", (long long)s->judged->texts.count);
    return note(s, text);
}

/* ---- attempts */

static bool is_planned(const search *s, int i) { return s->plan.attempt[i].epochs > 0; }

/* Trains on some of the texts; *model is the caller's. */
static fv_status fit(search *s, int i, const fv_dataset *train, fv_model **model) {
    fv__attempt *attempt = &s->plan.attempt[i];
    fv_train_result result;
    fv__limits limits = {.deadline = s->started + fv__plan_latest(&s->plan)};
    fv_train_setup how = attempt->how;
    how.event = on_member_event, how.event_context = s;
    if (attempt->by_gradient) {
        double share = (double)train->texts.count / (double)s->train->texts.count;
        snprintf(attempt->until, sizeof attempt->until, "%.0ft", share * attempt->epochs * (double)s->plan.tokens + 1);
        how.train.until = attempt->until;
        how.vectors = s->vectors;
    }
    FV_TRY(fv__train(model, &result, train, NULL, &how, &limits));
    s->late |= limits.reached;
    return FV_OK;
}

static fv_status evaluate_member(search *s, candidate *c) {
    fv_evaluation *e;
    FV_TRY(fv__evaluate_answers(&e, s->blend, s->targets, c->answer));
    c->scores = e->scores;
    fv_evaluation_free(e);
    return FV_OK;
}

/* Of cross-validation only the answers are kept. */
static fv_status try_part(search *s, int i, int k) {
    candidate *c = &s->of[i];
    fv_model_free(c->model);
    c->model = NULL;
    FV_TRY(fit(s, i, part_train(s, k), &c->model));
    return fv_model_predict(c->model, part_held(s, k)->texts, c->answer + s->part[k].first * s->blend->target.outputs);
}

static fv_status try_member(search *s, int i) {
    candidate *c = &s->of[i];
    double start = fv__now();
    c->answer = fv__alloc_array((size_t)s->targets->count, (size_t)s->blend->target.outputs * sizeof *c->answer);
    if (!c->answer) return FV_NO_RESOURCES;
    for (int k = 0; k < s->plan.used; k++) FV_TRY(try_part(s, i, k));
    c->seconds = fv__now() - start;
    c->tried = true;
    FV_TRY(evaluate_member(s, c));
    return tell_member(s, i, false);
}

static fv_status learn_vectors(search *s, int64_t dim) {
    fv_vectors_options o;
    fv_options_init(fv_vectors_option_rows(), &o);
    o.dim = dim;
    if (o.rank < dim) o.rank = dim;
    o.lowercase = s->setup->tokenizer.lowercase;
    o.min_count = 2;
    o.seed = s->setup->train.seed;
    fv_status status = fv_vectors_train(&s->vectors, s->train->texts, &o);
    if (status != FV_BAD_DATA && status != FV_USAGE) return status;
    s->vectors = NULL; /* too few words: the network starts at random */
    return FV_OK;
}

static fv_status try_all(search *s) {
    for (int i = 0; i < s->plan.attempts; i++) {
        char text[160];
        if (!is_planned(s, i)) {
            snprintf(text, sizeof text, "%s was left out: it does not fit in a budget of %s", s->plan.attempt[i].name,
                     s->setup->model.budget);
            FV_TRY(note(s, text));
            continue;
        }
        if (s->plan.attempt[i].by_gradient && !s->vectors)
            FV_TRY(learn_vectors(s, s->plan.attempt[i].how.model.d_model));
        FV_TRY(try_member(s, i));
    }
    return FV_OK;
}

/* ---- the blend */

static fv_status worth_of(const search *s, const fv_scores *scores, double *worth, double *tie) {
    fv_score metric, second = {0};
    FV_TRY(fv_scores_find(scores, s->setup->task.metric, &metric));
    if (s->task->tie) FV_TRY(fv_scores_find(scores, s->task->tie, &second));
    *worth = metric.higher_is_better ? metric.value : -metric.value;
    *tie = second.higher_is_better ? second.value : -second.value;
    return FV_OK;
}

static fv_status score_blend(search *s, fv_evaluation **e) {
    int32_t outputs = s->blend->target.outputs;
    int64_t count = s->targets->count, numbers = count * outputs;
    double *sum = fv__alloc_array((size_t)numbers, sizeof *sum);
    float *answer = fv__alloc_array((size_t)numbers, sizeof *answer);
    fv_status status = sum && answer ? FV_OK : FV_NO_RESOURCES;
    for (int i = 0; status == FV_OK && i < s->plan.attempts; i++)
        if (s->of[i].weight > 0) fv__blend_sum(sum, s->of[i].answer, s->of[i].weight, numbers);
    for (int64_t i = 0; status == FV_OK && i < numbers; i++) answer[i] = (float)sum[i];
    for (int64_t t = 0; status == FV_OK && t < count; t++)
        fv__answers(answer + t * outputs, answer + t * outputs, &s->blend->target);
    if (status == FV_OK) status = fv__evaluate_answers(e, s->blend, s->targets, answer);
    fv__free(sum);
    fv__free(answer);
    return status;
}

/* Is `a` better than `b`: by the metric, then by the task's second opinion? */
static fv_status is_better(const search *s, const fv_scores *a, const fv_scores *b, bool *better) {
    double worth[2], tie[2];
    FV_TRY(worth_of(s, a, &worth[0], &tie[0]));
    FV_TRY(worth_of(s, b, &worth[1], &tie[1]));
    *better = worth[0] > worth[1] || (worth[0] == worth[1] && tie[0] > tie[1]);
    return FV_OK;
}

static fv_status find_best_member(const search *s, int *best) {
    *best = -1;
    for (int i = 0; i < s->plan.attempts; i++) {
        bool better = *best < 0;
        if (!s->of[i].tried) continue;
        if (!better) FV_TRY(is_better(s, &s->of[i].scores, &s->of[*best].scores, &better));
        if (better) *best = i;
    }
    return FV_OK;
}

/* One step of the way from the weights of least loss to the best member alone. */
static void set_weights(search *s, const double *weight, int best, double share) {
    for (int i = 0; i < s->plan.attempts; i++) s->of[i].weight = (1 - share) * weight[i] + (i == best ? share : 0);
}

/* The least loss need not be the best metric. The first weights on the way to the best member that are no worse than it
 * are kept: choosing among all of them would mistake luck for merit where few texts decide. */
static fv_status choose_weights(search *s, const double *weight, fv_evaluation **e) {
    enum { STEPS = 4 };
    int best;
    bool worse = true;
    FV_TRY(find_best_member(s, &best));
    for (int step = 0; step <= STEPS && worse; step++) {
        fv_evaluation_free(*e);
        *e = NULL;
        set_weights(s, weight, best, (double)step / STEPS);
        FV_TRY(score_blend(s, e));
        double blend[2], member[2];
        FV_TRY(worth_of(s, &(*e)->scores, &blend[0], &blend[1]));
        FV_TRY(worth_of(s, &s->of[best].scores, &member[0], &member[1]));
        worse = blend[0] < member[0];
    }
    return FV_OK;
}

static fv_status weigh(search *s, fv_evaluation **e) {
    const float *answer[FV__ATTEMPTS];
    double weight[FV__ATTEMPTS], all[FV__ATTEMPTS] = {0};
    int count = 0;
    for (int i = 0; i < s->plan.attempts; i++)
        if (s->of[i].tried) answer[count++] = s->of[i].answer;
    FV_TRY(s->task->blend(weight, s->targets, answer, count, s->blend->target.outputs));
    for (int i = 0, k = 0; i < s->plan.attempts; i++)
        if (s->of[i].tried) all[i] = weight[k++];
    return choose_weights(s, all, e);
}

static fv_status choose_blindly(search *s) {
    for (int i = 0; i < s->plan.attempts; i++) s->of[i].weight = strcmp(s->plan.attempt[i].name, "linear") == 0;
    return FV_OK;
}

/* ---- the final members */

static bool learns_again(const search *s, int i) {
    if (s->plan.used != 1) return true;
    return !s->given && s->plan.attempt[i].again; /* a network would take as long again */
}

static fv_status finish_member(search *s, int i) {
    candidate *c = &s->of[i];
    double start = fv__now();
    if (learns_again(s, i)) {
        fv_model_free(c->model);
        c->model = NULL;
        FV_TRY(fit(s, i, s->train, &c->model));
    }
    c->seconds += fv__now() - start;
    FV_TRY(tell_member(s, i, true));
    fv_model *model = c->model;
    c->model = NULL;
    return fv__blend_add(s->blend, s->plan.attempt[i].name, model, c->weight);
}

static fv_status finish(search *s) {
    for (int i = 0; i < s->plan.attempts; i++) {
        if (s->of[i].weight > 0)
            FV_TRY(finish_member(s, i));
        else if (s->of[i].tried)
            FV_TRY(tell_member(s, i, true));
    }
    if (!s->late) return FV_OK;
    return note(s, "stopped by the clock, far beyond the budget: another run may give another model");
}

static fv_status keep(search *s, const fv_evaluation *e, fv_train_result *r) {
    const fv_train_setup *setup = s->setup;
    *r = (fv_train_result){.updates = 1,
                           .best_update = 1,
                           .texts = s->train->texts.count,
                           .tokens = s->plan.tokens,
                           .best = e ? e->scores : (fv_scores){0},
                           .judged = e ? e->count : 0,
                           .parameters = fv_model_parameters(s->blend)};
    FV_TRY(fv__train_begin(s->blend, setup, s->run_log));
    if (setup->folder) FV_TRY(fv_model_save(s->blend, setup->folder));
    if (e) FV_TRY(fv__run_log_evaluation(s->run_log, s->blend, e, 1));
    r->seconds = fv__now() - s->started;
    return FV_OK;
}

/* ---- all of it */

static fv_status begin(search *s) {
    fv__target target = {.task = s->task->info.name};
    if (!s->task->blend)
        return fv__fail(FV_USAGE, "models of the task %s are not blended\n  try:     another --model",
                        s->task->info.name);
    FV_TRY(fv__plan_make(&s->plan, s->train, s->given, s->setup));
    FV_TRY(deal(s));
    s->task->prepare(&target, s->train);
    FV_TRY(fv__model_create(&s->blend, &s->setup->model, &target, NULL, 0, (uint64_t)s->setup->train.seed));
    FV_TRY(fv_model_encode(&s->targets, s->blend, s->given ? s->given : s->judged));
    return say_what_decides(s);
}

static fv_status run(search *s, fv_train_result *result) {
    fv_evaluation *e = NULL;
    FV_TRY(begin(s));
    if (s->plan.used) FV_TRY(try_all(s));
    fv_status status = s->plan.used ? weigh(s, &e) : choose_blindly(s);
    if (status == FV_OK) status = finish(s);
    if (status == FV_OK) status = keep(s, e, result);
    fv_evaluation_free(e);
    return status;
}

static void free_search(search *s) {
    for (int k = 0; k < FV__FOLDS; k++) {
        fv_dataset_free(s->part[k].train);
        fv_dataset_free(s->part[k].held);
    }
    for (int i = 0; i < FV__ATTEMPTS; i++) {
        fv__free(s->of[i].answer);
        fv_model_free(s->of[i].model);
    }
    fv_dataset_free(s->judged);
    fv_encoded_free(s->targets);
    fv_vectors_free(s->vectors);
    fv_model_free(s->blend);
}

fv_status fv__train_blend(fv_model **out, fv_train_result *result, const fv_dataset *train, const fv_dataset *valid,
                          const fv_train_setup *setup, fv__run_log *run_log) {
    search *s = fv__alloc(sizeof *s);
    if (!s) return FV_NO_RESOURCES;
    s->setup = setup, s->run_log = run_log, s->train = train, s->given = valid;
    s->task = (const fv__task *)fv_task_find(setup->task.task);
    s->started = fv__now();
    fv_status status = run(s, result);
    if (status == FV_OK) *out = s->blend, s->blend = NULL;
    free_search(s);
    fv__free(s);
    return status;
}
