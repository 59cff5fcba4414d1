/* What the kind auto trains. Everything follows from counted work: the tokens a network would read, divided by a speed
 * that a slow machine with one thread reaches. A plan made by the clock would differ from run to run, and so would the
 * model. */
#include "train/search.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    SMALL = 1000,  /* texts: below, a tenth would be too few to choose by */
    TENTHS = 10,   /* from there on one tenth is held out */
    SPEED = 25000, /* tokens a second through the network of the preset below, forward and back */
    UPDATES = 600, /* a network that learns less often than this has not learnt */
    MOST_EPOCHS = 40,
    ROUNDS = 100 /* passes over the texts until a linear model is fitted */
};
#define PRODUCTS 1.5e9   /* a second, of a feature and a class */
#define LEAST_EPOCHS 0.5 /* less is not worth the time */

/* The cheapest first. Weights are drawn to zero more strongly than in the linear model by itself: what a member says
 * is weighed again, and should be no surer than it is right. */
typedef struct setting {
    const char *name, *value;
} setting;
static const struct {
    const char *name, *kind, *preset;
    setting settings[6];
} candidates[] = {
    {"bayes", "bayes", NULL, {{0}}},
    {"linear", "linear", NULL, {{"c", "10"}}},
    {"subwords",
     "linear",
     NULL,
     {{"c", "20"}, {"tolerance", "3e-4"}, {"ngram-bits", "17"}, {"ngram-min", "2"}, {"ngram-max", "5"}}},
    {"attention", NULL, "word-vectors", {{0}}},
};
enum { CANDIDATES = sizeof candidates / sizeof *candidates };

/* What the user said about texts and chance holds for every member. */
static fv_status prepare_attempt(fv__attempt *attempt, int i, const fv_train_setup *setup) {
    attempt->name = candidates[i].name;
    if (candidates[i].preset)
        FV_TRY(fv_train_setup_preset(&attempt->how, candidates[i].preset));
    else
        FV_TRY(fv_train_setup_init(&attempt->how, candidates[i].kind));
    for (const setting *s = candidates[i].settings; s->name; s++)
        FV_TRY(fv_train_setup_set(&attempt->how, s->name, s->value));
    attempt->how.tokenizer = setup->tokenizer;
    attempt->how.train.seed = setup->train.seed;
    attempt->how.task.metric = setup->task.metric;
    attempt->by_gradient = fv_model_kind_find(attempt->how.model.kind)->can & FV_MODEL_BY_GRADIENT;
    return FV_OK;
}

static fv_status count_tokens(fv__plan *plan, const fv_dataset *train, const fv_train_setup *setup, int64_t longest) {
    fv_tokenizer *tokenizer;
    fv_corpus *corpus;
    fv_corpus_options how = {.max_length = longest};
    FV_TRY(fv_tokenizer_train(&tokenizer, train->texts, &setup->tokenizer));
    fv_status status = fv_corpus_create(&corpus, &(fv_dataset){.texts = train->texts}, tokenizer, &how);
    if (status == FV_OK) plan->tokens = corpus->start[corpus->count];
    if (status == FV_OK) fv_corpus_free(corpus);
    fv_tokenizer_free(tokenizer);
    return status;
}

/* Seconds of one fit of a count-based member. A word is about two features, a byte begins one n-gram of letters of each
 * length. */
static double seconds_of_fit(const fv__plan *plan, const fv__attempt *attempt, const fv_dataset *train) {
    const fv_model_options *o = &attempt->how.model;
    double features = (double)(plan->tokens * o->word_ngrams), bytes = 0;
    for (int64_t i = 0; i < train->texts.count; i++) bytes += (double)train->texts.size[i];
    if (o->ngrams.ngram_bits) features += bytes * (double)(o->ngrams.ngram_max - o->ngrams.ngram_min + 1);
    return features * train->classes.count * 2 * (o->c > 0 ? ROUNDS : 1) / PRODUCTS;
}

/* What takes more than half of the budget is left out; once more from all texts only what takes little of it. */
static void plan_fit(fv__plan *plan, fv__attempt *attempt, const fv_dataset *train) {
    double once = seconds_of_fit(plan, attempt, train);
    attempt->epochs = !(attempt->how.model.c > 0) || plan->used * once <= plan->budget / 2; /* bayes always fits */
    attempt->again = plan->used != 1 || once <= plan->budget / 10;
    if (attempt->epochs > 0) plan->planned += (plan->used + attempt->again) * once;
}

/* Small sets need more passes, smaller batches, smaller tables, and a mean of the weights that forgets sooner. */
static void plan_network(fv__plan *plan, fv__attempt *attempt, int64_t texts, double seconds) {
    fv_train_options *o = &attempt->how.train;
    int runs = plan->used + (plan->used > 1); /* of cross-validation the last one learns from all texts */
    o->batch_size = texts < 300 ? 8 : texts < 2000 ? 16 : 32;
    double updates = ceil((double)texts / (double)o->batch_size);
    double wanted = fmin(fmax(o->epochs, UPDATES / updates), MOST_EPOCHS);
    double can = seconds * SPEED / ((double)plan->tokens * runs);
    attempt->how.model.ngrams.ngram_bits = plan->tokens < 20000 ? 12 : plan->tokens < 100000 ? 14 : 16;
    attempt->epochs = fmin(wanted, can);
    if (attempt->epochs < LEAST_EPOCHS) attempt->epochs = 0;
    o->ema_decay = fmin(o->ema_decay, 1 - 20 / fmax(updates * attempt->epochs, 40));
}

static void choose_folds(fv__plan *plan, const fv_dataset *train, const fv_dataset *valid) {
    plan->folds = plan->used = 1;
    if (valid) return;
    plan->folds = train->texts.count < SMALL ? FV__FOLDS : TENTHS;
    plan->used = train->texts.count < SMALL ? FV__FOLDS : 1;
}

fv_status fv__plan_make(fv__plan *plan, const fv_dataset *train, const fv_dataset *valid, const fv_train_setup *setup) {
    fv__duration budget;
    *plan = (fv__plan){.attempts = CANDIDATES};
    FV_TRY(fv__duration_parse(&budget, "budget", setup->model.budget));
    plan->budget = budget.amount;
    choose_folds(plan, train, valid);
    for (int i = 0; i < CANDIDATES; i++) {
        FV_TRY(prepare_attempt(&plan->attempt[i], i, setup));
        if (plan->attempt[i].by_gradient && !plan->tokens)
            FV_TRY(count_tokens(plan, train, setup, plan->attempt[i].how.model.max_length));
    }
    for (int i = 0; i < CANDIDATES; i++)
        if (!plan->attempt[i].by_gradient) plan_fit(plan, &plan->attempt[i], train);
    for (int i = 0; i < CANDIDATES; i++)
        if (plan->attempt[i].by_gradient)
            plan_network(plan, &plan->attempt[i], train->texts.count, plan->budget - plan->planned);
    return FV_OK;
}
