/* Short trainings on the toy data, for tests of training: the data, a setup, what a run leaves as one number, and an
 * event that stops it. */
#ifndef TEST_TOY_TRAIN_H
#define TEST_TOY_TRAIN_H

#include "fovea/train.h"
#include "support/toy.h"

#include <string.h>

#define OK(call)                                                           \
    do {                                                                   \
        fv_status ok_ = (call);                                            \
        if (ok_ != FV_OK) fail_msg("%s: %d %s", #call, ok_, fv_message()); \
    } while (0)

static inline void refused(fv_status expected, fv_status found, const char *message) {
    assert_int_equal(found, expected);
    if (strcmp(fv_message(), message) != 0) fail_msg("expected: %s\n   found: %s", message, fv_message());
}

static fv_dataset *train_data, *valid_data;

static inline fv_train_setup toy_setup(const char *folder) {
    fv_train_setup how;
    OK(fv_train_setup_init(&how, "transformer"));
    how.model.d_model = 16, how.model.heads = 2, how.model.d_ff = 32, how.model.layers = 1;
    how.train.epochs = 4, how.train.batch_size = 8, how.train.learning_rate = 0.005;
    how.train.eval_every = "10u", how.train.save_every = "9u", how.train.ema_decay = 0.9;
    how.folder = folder;
    return how;
}

static inline uint64_t weights_hash(const fv_model *model) {
    uint64_t hash = 0;
    for (size_t i = 0; i < fv_model_tensor_count(model); i++) {
        fv_tensor t = fv_model_tensor(model, i, NULL);
        hash = fv__hash(t.data, (size_t)fv_tensor_count(&t) * fv_dtype_size(t.dtype), hash);
    }
    return hash;
}

static inline uint64_t run_hash(const fv_train_setup *how, fv_train_result *result) {
    fv_model *model;
    OK(fv_train(&model, result, train_data, valid_data, how));
    uint64_t hash = weights_hash(model);
    fv_model_free(model);
    return hash;
}

typedef struct stop {
    int64_t at;
    int notes;
    char note[600];
} stop;
static inline void stop_at(void *context, const fv_event *e) {
    stop *s = context;
    if (e->kind == FV_EVENT_STEP && e->step == s->at) fv_interrupt();
    if (e->kind == FV_EVENT_NOTE && e->note) s->notes++, snprintf(s->note, sizeof s->note, "%s", e->note);
}

#endif
