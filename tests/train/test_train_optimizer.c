/* Training with a choice of optimizer: options, resume, runs of before there was a choice. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "fovea/train.h"
#include "io/json.h"
#include "support/scratch.h"
#include "support/toy_train.h"
#include "task/contract.h"
#include "train/train.h"

static fv_train_setup quick(const char *folder) {
    fv_train_setup how = toy_setup(folder);
    how.train.log_every = "1u";
    return how;
}

static void interrupt_run(fv_train_setup how, int64_t at) {
    stop s = {.at = at};
    fv_model *model;
    how.event = stop_at, how.event_context = &s;
    assert_int_equal(fv_train(&model, NULL, train_data, valid_data, &how), FV_INTERRUPTED);
    fv_interrupt_clear();
}

static const char *choices_of(const char *option) { return fv_option_find(fv_train_option_rows(), option)->choices; }

/* The choices of the options are the variants there are. */
static void test_optimizer_choices(void **state) {
    (void)state;
    char names[200] = "", schedules[200] = "";
    for (size_t i = 0; i < fv_optimizer_kind_count(); i++)
        strcat(strcat(names, i ? "|" : ""), fv_optimizer_kind_at(i)->name);
    for (int i = 0; i < FV_SCHEDULES; i++)
        strcat(strcat(schedules, i ? "|" : ""), fv_schedule_name((fv_schedule_kind)i));
    assert_string_equal(choices_of("optimizer"), names);
    assert_string_equal(choices_of("schedule"), schedules);
    for (size_t i = 0; i < fv_optimizer_kind_count(); i++)
        for (const fv_option *row = fv_optimizer_kind_at(i)->rows; row->name; row++) {
            const fv_option *ours = fv_option_find(fv_train_option_rows(), row->name);
            if (!ours) fail_msg("%s of %s is no option of training", row->name, fv_optimizer_kind_at(i)->name);
            assert_string_equal(ours->standard, row->standard);
            assert_true(ours->type == row->type && ours->min == row->min && ours->max == row->max);
        }
}

static fv_train_setup by_sgd(const char *folder) {
    fv_train_setup how = quick(folder);
    how.train.optimizer = "sgd", how.train.momentum = 0.9, how.train.nesterov = true, how.train.learning_rate = 0.05;
    how.train.max_grad_norm = 0;
    return how;
}

/* It learns, the same with any number of threads, and goes on after an interruption as if there had been none. */
static void test_sgd(void **state) {
    (void)state;
    fv_train_result r;
    fv_model *model;
    char folder[256];
    fv_train_setup how = by_sgd(NULL);
    fv_set_threads(1);
    uint64_t hash = run_hash(&how, &r);
    fv_set_threads(3);
    assert_true(run_hash(&how, &r) == hash && r.best.count > 0 && r.best.score[0].value >= 0.9);
    fv_set_threads(0);
    how = quick(NULL);
    assert_true(run_hash(&how, &r) != hash);
    strcpy(folder, scratch_path("sgd"));
    interrupt_run(by_sgd(folder), 20);
    how = quick(folder), how.resume = true; /* adamw has other state */
    assert_int_equal(fv_train(&model, NULL, train_data, valid_data, &how), FV_BAD_MODEL);
    assert_non_null(strstr(fv_message(), "the state of another optimizer\n"));
    how = by_sgd(folder), how.resume = true;
    assert_true(run_hash(&how, &r) == hash);
}

/* A run goes on with the optimizer it began with: each keeps other numbers. */
static void test_optimizer_is_fixed(void **state) {
    (void)state;
    fv_model *model;
    char folder[256], message[900];
    strcpy(folder, scratch_path("plain"));
    interrupt_run(quick(folder), 12);
    fv_train_setup how = by_sgd(folder);
    how.resume = true, how.train.momentum = 0;
    snprintf(message, sizeof message,
             "%s/last/b.safetensors: the state of another optimizer\n  expected \"weights\" and 2 others\n"
             "  found:   5 tensors\n  try:     the --optimizer the run began with",
             folder);
    refused(FV_BAD_MODEL, fv_train(&model, NULL, train_data, valid_data, &how), message);
}

/* A run that began before there was a choice had what is the default now. */
static void test_runs_of_before(void **state) {
    (void)state;
    char folder[256], *note;
    fv_model *model;
    fv_optimizer *optimizer;
    fv__state at = {0};
    fv__json *fingerprint;
    fv_train_result r;
    stop s = {.at = -1};
    int slot = -1;
    strcpy(folder, scratch_path("before"));
    fv_train_setup how = quick(folder);
    interrupt_run(quick(folder), 12);
    OK(fv_model_load(&model, folder));
    OK(fv__optimizer_of(&optimizer, model, &how.train));
    fv__scores_init(&at.best, fv_task_find("classify"));
    OK(fv__checkpoint_load(folder, &at, &fingerprint, optimizer, &note));
    static const char *const younger[] = {"optimizer", "momentum", "nesterov"};
    for (int i = 0; i < 3; i++) /* null is the same as missing */
        OK(fv__json_set(fv__json_get(fingerprint, "options"), younger[i], fv__json_of_float(NAN)));
    for (int i = 0; i < 2; i++) OK(fv__checkpoint_save(folder, &slot, &at, fingerprint, optimizer));
    how.resume = true, how.event = stop_at, how.event_context = &s;
    uint64_t hash = run_hash(&how, &r);
    assert_int_equal(s.notes, 0);
    how = quick(NULL);
    assert_true(run_hash(&how, &r) == hash);
    fv__json_free(fingerprint);
    fv__free(note);
    fv_optimizer_free(optimizer);
    fv_model_free(model);
}

static int start(void **state) {
    OK(toy_data(&train_data, 120, 1));
    OK(toy_data(&valid_data, 40, 2));
    return scratch_make(state);
}

static int end(void **state) {
    fv_dataset_free(train_data);
    fv_dataset_free(valid_data);
    return scratch_remove(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimizer_choices),
        cmocka_unit_test(test_sgd),
        cmocka_unit_test(test_optimizer_is_fixed),
        cmocka_unit_test(test_runs_of_before),
    };
    return cmocka_run_group_tests(tests, start, end);
}
