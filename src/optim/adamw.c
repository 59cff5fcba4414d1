/* adamw: Adam with decoupled weight decay. Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019,
 * algorithm 2. */
#include "grad/graph.h"
#include "optim/optimizer_contract.h"
#include "simd/simd.h"

#include <math.h>

static const fv_option rows[] = {
    FV__OPTIMIZER_ROW(FLOAT, beta1, "beta1", "0.9", 0, 0.999999, "memory of the gradient"),
    FV__OPTIMIZER_ROW(FLOAT, beta2, "beta2", "0.999", 0, 0.9999999, "memory of its square"),
    FV__OPTIMIZER_ROW(FLOAT, epsilon, "epsilon", "1e-08", 1e-30, 1, "added to the root of the square"),
    {0},
};

static int slots(const fv_optimizer_options *options) {
    (void)options;
    return 2;
}

/* The moments start at 0; this is how much of a whole mean they hold by now. */
static void prepare(fv__update *u) {
    u->correct[0] = 1 - pow(u->options->beta1, (double)u->step);
    u->correct[1] = 1 - pow(u->options->beta2, (double)u->step);
}

static void update(const fv__update *u, const fv__stretch *s) {
    const fv__adamw step = {.lr = u->learning_rate,
                            .beta1 = u->options->beta1,
                            .beta2 = u->options->beta2,
                            .eps = u->options->epsilon,
                            .decay = u->weight_decay,
                            .correct1 = u->correct[0],
                            .correct2 = u->correct[1],
                            .grad_scale = u->grad_scale};
    FV__CALL(u->dtype, adamw, s->value, s->slot[0], s->slot[1], s->grad, s->count, &step);
}

const fv__optimizer_kind fv__optimizer_adamw = {
    .info = {"adamw", "Adam with decoupled weight decay", rows},
    .slot = {"moment1", "moment2"},
    .slots = slots,
    .prepare = prepare,
    .update = update,
};
