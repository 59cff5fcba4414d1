/* sgd: gradient descent, with momentum (Polyak 1964) or Nesterov's (Sutskever, Martens, Dahl and Hinton, "On the
 * importance of initialization and momentum in deep learning", ICML 2013), in the form of torch.optim.SGD. */
#include "grad/graph.h"
#include "optim/optimizer_contract.h"
#include "simd/simd.h"

static const fv_option rows[] = {
    FV__OPTIMIZER_ROW(FLOAT, momentum, "momentum", "0", 0, 0.999999, "memory of the step"),
    FV__OPTIMIZER_ROW(BOOL, nesterov, "nesterov", "false", 0, 0, "look ahead by the momentum"),
    {0},
};

static int slots(const fv_optimizer_options *options) { return options->momentum > 0; }

/* With the scaled gradient g: v = momentum v + g + decay p, and p is led down v; Nesterov's g + decay p + momentum v is
 * taken apart, so that it needs no memory: p (1 - lr decay) - lr g - lr momentum v. */
static void update(const fv__update *u, const fv__stretch *s) {
    const double rate = u->learning_rate, decay = u->weight_decay, momentum = u->options->momentum;
    if (momentum > 0) {
        FV__CALL(u->dtype, scale, s->slot[0], momentum, s->slot[0], s->count);
        FV__CALL(u->dtype, axpy, s->slot[0], u->grad_scale, s->grad, s->count);
        if (decay > 0) FV__CALL(u->dtype, axpy, s->slot[0], decay, s->value, s->count);
    }
    if (momentum > 0 && !u->options->nesterov) {
        FV__CALL(u->dtype, axpy, s->value, -rate, s->slot[0], s->count);
        return;
    }
    if (decay > 0) FV__CALL(u->dtype, scale, s->value, 1 - rate * decay, s->value, s->count);
    FV__CALL(u->dtype, axpy, s->value, -rate * u->grad_scale, s->grad, s->count);
    if (momentum > 0) FV__CALL(u->dtype, axpy, s->value, -rate * momentum, s->slot[0], s->count);
}

const fv__optimizer_kind fv__optimizer_sgd = {
    .info = {"sgd", "gradient descent, with momentum or Nesterov's momentum", rows},
    .slot = {"momentum"},
    .slots = slots,
    .update = update,
};
