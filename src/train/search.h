/* search: how the kind auto is trained. search.c tries members on held-out texts, blends them and fits the final ones;
 * search_plan.c decides before anything is trained what there is time for. */
#ifndef FV_TRAIN_SEARCH_H
#define FV_TRAIN_SEARCH_H

#include "train/train.h"

enum { FV__ATTEMPTS = 4, FV__FOLDS = 5 };

/* One model that may become a member. */
typedef struct fv__attempt {
    const char *name;
    bool by_gradient;
    fv_train_setup how;
    char until[32];
    double epochs; /* planned, of a count-based member 1; 0: there is no time for it */
    bool again;    /* it learns once more from all texts in the end */
} fv__attempt;

typedef struct fv__plan {
    double budget, planned; /* seconds, and those of the count-based members */
    int folds, used;        /* texts are dealt to so many folds, and so many of these are held out in turn */
    int64_t tokens;         /* of the training texts, as networks read them */
    int attempts;
    fv__attempt attempt[FV__ATTEMPTS];
} fv__plan;

/* From the training texts and the options alone, never from the clock: the same plan on every machine. `valid`: the
 * texts to choose by were given, nothing is dealt. */
fv_status fv__plan_make(fv__plan *plan, const fv_dataset *train, const fv_dataset *valid, const fv_train_setup *setup);

/* Seconds after which the clock ends what the plan did not foresee. */
static inline double fv__plan_latest(const fv__plan *plan) { return 2 * plan->budget + 30; }

/* Trains all that was planned; see fv_train. */
fv_status fv__train_blend(fv_model **model, fv_train_result *result, const fv_dataset *train, const fv_dataset *valid,
                          const fv_train_setup *setup, fv__run_log *run_log);

#endif
