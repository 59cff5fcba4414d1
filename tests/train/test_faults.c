/* Every fallible allocation and every file call fails once, in a training, a prediction and an explanation: a clean
 * status with a message, nothing leaked, and the files of before still good. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/toy.h"
#include "fovea/explain.h"
#include "fovea/train.h"

static char folder[64];
static fv_dataset *train, *valid;
static fv_model *good;

static fv_status train_toy(fv_model **model, const char *kind, const char *run) {
    fv_train_setup how;
    FV_TRY(fv_train_setup_init(&how, kind));
    how.model.d_model = 16, how.model.heads = 2, how.model.d_ff = 16, how.model.layers = 1;
    how.train.epochs = 2, how.train.batch_size = 8, how.train.eval_every = "4u", how.train.save_every = "4u";
    how.folder = run;
    return fv_train(model, NULL, train, valid, &how);
}

typedef fv_status scenario_fn(void);

static fv_status do_train(void) {
    fv_model *model = NULL;
    char run[100], clean[140];
    snprintf(run, sizeof run, "%s/run", folder);
    snprintf(clean, sizeof clean, "rm -rf %s", run);
    if (system(clean) != 0) return FV_FAIL;
    fv_status status = train_toy(&model, "transformer", run);
    fv_model_free(model);
    return status;
}

static fv_status do_train_linear(void) {
    fv_model *model = NULL;
    fv_status status = train_toy(&model, "linear", NULL);
    fv_model_free(model);
    return status;
}

static fv_status do_save(void) {
    char path[100];
    snprintf(path, sizeof path, "%s/saved", folder);
    return fv_model_save(good, path);
}

static fv_status do_predict(void) {
    char path[100];
    snprintf(path, sizeof path, "%s/model", folder);
    fv_model *model = NULL;
    float probability[2 * 64];
    fv_texts texts = valid->texts;
    if (texts.count > 64) texts.count = 64;
    fv_status status = fv_model_load(&model, path);
    if (!status) status = fv_model_predict(model, texts, probability);
    fv_model_free(model);
    return status;
}

static fv_status do_explain(void) {
    fv_explanation *e = NULL;
    char page[100];
    snprintf(page, sizeof page, "%s/page.html", folder);
    fv_status status = fv_explain(&e, good, "a good happy word3 text", 23, NULL);
    if (!status) status = fv_render_file(e, page, NULL);
    fv_explanation_free(e);
    return status;
}

/* The saved model of before must load and answer at any moment. */
static void check_saved(void) {
    char path[100];
    snprintf(path, sizeof path, "%s/saved", folder);
    fv_model *model = NULL;
    assert_int_equal(fv_model_load(&model, path), FV_OK);
    fv_model_free(model);
}

static void walk(scenario_fn *scenario, fv__fault_point point, void (*after)(void), int64_t stride) {
    assert_int_equal(scenario(), FV_OK); /* warm: pools and tables that live as long as the process */
    int64_t live = fv__alloc_live(), failures = 0;
    for (int64_t n = 1;; n += n < 200 ? 1 : stride) {
        int64_t before = fv__fault_point_calls(point);
        fv__inject(point, n, false);
        fv_status status = scenario();
        fv__inject(point, 0, false);
        if (fv__fault_point_calls(point) - before < n) break; /* there is no n-th call: all have had their turn */
        if (status != FV_OK) {
            failures++;
            assert_true(fv_message()[0] != '\0');
        }
        if (fv__alloc_live() != live)
            fail_msg("%ld blocks leaked when call %ld failed: %s", (long)(fv__alloc_live() - live), (long)n,
                     fv_message());
        if (after) after();
    }
    assert_true(failures > 5);
}

static int64_t stride(void) { return getenv("FOVEA_TEST_LONG") ? 1 : getenv("FOVEA_TEST_QUICK") ? 29 : 7; }
static void train_alloc(void **s) { (void)s, walk(do_train, FV_FAULT_ALLOC, NULL, stride()); }
static void train_file(void **s) { (void)s, walk(do_train, FV_FAULT_FILE, NULL, 1); }
static void linear_alloc(void **s) { (void)s, walk(do_train_linear, FV_FAULT_ALLOC, NULL, stride()); }
static void save_alloc(void **s) { (void)s, walk(do_save, FV_FAULT_ALLOC, check_saved, 1); }
static void save_file(void **s) { (void)s, walk(do_save, FV_FAULT_FILE, check_saved, 1); }
static void predict_alloc(void **s) { (void)s, walk(do_predict, FV_FAULT_ALLOC, NULL, stride()); }
static void predict_file(void **s) { (void)s, walk(do_predict, FV_FAULT_FILE, NULL, 1); }
static void explain_alloc(void **s) { (void)s, walk(do_explain, FV_FAULT_ALLOC, NULL, stride()); }
static void explain_file(void **s) { (void)s, walk(do_explain, FV_FAULT_FILE, NULL, 1); }

static int setup(void **state) {
    (void)state;
    char path[100];
    if (toy_folder(folder)) return 1;
    if (toy_data(&train, 64, 1) || toy_data(&valid, 24, 2)) return 1;
    if (train_toy(&good, "transformer", NULL)) return 1;
    snprintf(path, sizeof path, "%s/model", folder);
    return fv_model_save(good, path);
}

static int teardown(void **state) {
    (void)state;
    char clean[100];
    snprintf(clean, sizeof clean, "rm -rf %s", folder);
    fv_model_free(good);
    fv_dataset_free(train);
    fv_dataset_free(valid);
    return system(clean);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(train_alloc),  cmocka_unit_test(train_file),    cmocka_unit_test(linear_alloc),
        cmocka_unit_test(save_alloc),   cmocka_unit_test(save_file),     cmocka_unit_test(predict_alloc),
        cmocka_unit_test(predict_file), cmocka_unit_test(explain_alloc), cmocka_unit_test(explain_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
