/* The kind auto: what is tried, how it is judged and blended, the folder it leaves, and what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "data/dataset.h"
#include "fovea/train.h"
#include "model/blend.h"
#include "support/scratch.h"
#include "support/toy.h"
#include "train/search.h"

#define OK(call)                                                           \
    do {                                                                   \
        fv_status ok_ = (call);                                            \
        if (ok_ != FV_OK) fail_msg("%s: %d %s", #call, ok_, fv_message()); \
    } while (0)

static fv_train_setup quick(const char *folder) {
    fv_train_setup how;
    OK(fv_train_setup_init(&how, "auto"));
    how.model.budget = "1s";
    how.folder = folder;
    return how;
}

/* ---- what is said about members */

typedef struct heard {
    int tried, decided;
    double best_metric; /* of the members */
    double weight;      /* sum */
    char notes[2000];
} heard;

static void listen(void *context, const fv_event *e) {
    heard *h = context;
    if (e->kind == FV_EVENT_NOTE) strcat(strcat(h->notes, e->note), "\n");
    if (e->kind != FV_EVENT_MEMBER) return;
    if (e->weight < 0) {
        h->tried++;
        h->best_metric = fmax(h->best_metric, e->valid.score[0].value);
    } else {
        h->decided++;
        h->weight += e->weight;
        assert_true(e->member_seconds >= 0 && (e->weight == 0 || e->member_parameters > 0));
    }
}

static fv_model *train(fv_train_setup how, int texts, bool valid, fv_train_result *r, heard *h) {
    fv_dataset *data, *held = NULL;
    fv_model *model;
    OK(toy_data(&data, texts, 1));
    if (valid) OK(toy_data(&held, 40, 2));
    *h = (heard){0};
    how.event = listen, how.event_context = h;
    OK(fv_train(&model, r, data, held, &how));
    fv_dataset_free(data);
    fv_dataset_free(held);
    return model;
}

static void test_cross_validation_of_few_texts(void **state) {
    (void)state;
    fv_train_result r;
    heard h;
    fv_model *model = train(quick(NULL), 200, false, &r, &h);
    assert_int_equal(r.judged, 200);
    assert_int_equal(r.texts, 200);
    assert_true(h.tried == 4 && h.decided == 4 && h.weight > 0);
    assert_true(r.best.score[0].value >= h.best_metric);
    assert_non_null(strstr(h.notes, "cross-validation, each of 5 parts"));
    assert_true(fv_model_member_count(model) >= 1);
    fv_model_free(model);
}

static void test_a_tenth_of_many_texts(void **state) {
    (void)state;
    fv_train_result r;
    heard h;
    fv_model_free(train(quick(NULL), 2000, false, &r, &h));
    assert_true(r.judged >= 190 && r.judged <= 210);
    assert_true(r.best.score[0].value >= h.best_metric);
    assert_non_null(strstr(h.notes, "texts held out"));
}

static void test_given_texts_decide(void **state) {
    (void)state;
    fv_train_result r;
    heard h;
    fv_model_free(train(quick(NULL), 200, true, &r, &h));
    assert_int_equal(r.judged, 40);
    assert_non_null(strstr(h.notes, "by the 40 validation texts"));
}

static void test_too_few_texts(void **state) {
    (void)state;
    fv_train_result r;
    heard h;
    fv_model *model = train(quick(NULL), 2, false, &r, &h);
    assert_int_equal(r.judged, 0);
    assert_int_equal(r.best.count, 0);
    assert_int_equal(fv_model_member_count(model), 1);
    assert_non_null(strstr(h.notes, "too few texts"));
    fv_model_free(model);
}

/* A network that cannot learn within the budget is left out, and that is said. */
static void test_no_time(void **state) {
    (void)state;
    fv_train_result r;
    heard h;
    fv_train_setup how = quick(NULL);
    how.model.budget = "0.001s";
    fv_model_free(train(how, 200, false, &r, &h));
    assert_int_equal(h.tried, 1);
    assert_non_null(strstr(h.notes, "subwords was left out"));
    assert_non_null(strstr(h.notes, "attention was left out: it does not fit in a budget of 0.001s"));
}

static void test_plan_is_counted_not_timed(void **state) {
    (void)state;
    fv_dataset *data;
    fv__plan plan, longer;
    fv_train_setup how = quick(NULL);
    OK(toy_data(&data, 500, 1));
    how.model.budget = "2s";
    OK(fv__plan_make(&plan, data, NULL, &how));
    how.model.budget = "4s";
    OK(fv__plan_make(&longer, data, NULL, &how));
    const fv__attempt *a = &plan.attempt[3], *b = &longer.attempt[3];
    assert_true(a->by_gradient && a->epochs > 0.5 && plan.planned > 0 && plan.planned == longer.planned);
    assert_true(fabs(b->epochs * (2 - plan.planned) - a->epochs * (4 - plan.planned)) < 1e-9);
    assert_true(longer.tokens == plan.tokens && plan.used == 5 && plan.folds == 5);
    OK(fv__plan_make(&plan, data, data, &how));
    assert_true(plan.used == 1 && plan.attempt[3].epochs > b->epochs);
    fv_dataset_free(data);
}

/* ---- folds */

static void test_folds(void **state) {
    (void)state;
    const char *text[300];
    size_t size[300];
    char word[100][8];
    int32_t of_class[300], fold[300];
    int count[5][2] = {{0}};
    for (int i = 0; i < 300; i++) { /* every text three times, once under the other class */
        snprintf(word[i % 100], sizeof *word, "w%d", i % 100);
        text[i] = word[i % 100], size[i] = strlen(word[i % 100]);
        of_class[i] = (i % 100 < 30) != (i >= 200);
    }
    const char *const names[] = {"a", "b"};
    fv_dataset *data;
    OK(fv_dataset_of(&data, (fv_texts){300, text, size}, of_class, (fv_classes){2, names}));
    OK(fv__dataset_folds(fold, data, 5, 1));
    for (int i = 0; i < 300; i++) {
        assert_true(fold[i] >= 0 && fold[i] < 5 && fold[i] == fold[i % 100]);
        if (i < 100) count[fold[i]][of_class[i]]++;
    }
    for (int k = 0; k < 5; k++) assert_true(count[k][0] == 14 && count[k][1] == 6);
    fv_dataset_free(data);
}

/* ---- weights of a blend */

enum { TEXTS = 400 };

static double loss_of(const float *const *answer, const int32_t *wanted, double a, double b) {
    double sum = 0;
    for (int t = 0; t < TEXTS; t++) {
        double z[2];
        for (int c = 0; c < 2; c++) z[c] = a * log(answer[0][2 * t + c]) + b * log(answer[1][2 * t + c]);
        sum += log(exp(z[0]) + exp(z[1])) - z[wanted[t]];
    }
    return sum / TEXTS;
}

static void test_weights_are_the_least_loss(void **state) {
    (void)state;
    static float one[2 * TEXTS], two[2 * TEXTS], noise[2 * TEXTS];
    static int32_t wanted[TEXTS];
    const float *const answer[] = {one, two, noise};
    double weight[3], least = INFINITY;
    for (int t = 0; t < TEXTS; t++) {
        wanted[t] = t % 2;
        double x[3] = {2 * (t % 2) - 1 + 1.5 * fv__random_normal(1, 1, (uint64_t)t),
                       4 * (t % 2) - 2 + 4 * fv__random_normal(1, 2, (uint64_t)t),
                       fv__random_normal(1, 3, (uint64_t)t)};
        float *to[] = {one, two, noise};
        for (int m = 0; m < 3; m++)
            to[m][2 * t + 1] = (float)(1 / (1 + exp(-x[m]))), to[m][2 * t] = 1 - to[m][2 * t + 1];
    }
    fv_encoded targets = {.count = TEXTS, .label = wanted};
    OK(fv__blend_classes(weight, &targets, answer, 2, 2));
    double found = loss_of(answer, wanted, weight[0], weight[1]);
    for (double a = 0; a < 3; a += 0.02)
        for (double b = 0; b < 3; b += 0.02) least = fmin(least, loss_of(answer, wanted, a, b));
    if (!(found < least + 5e-4)) fail_msg("loss %.6f, least %.6f", found, least);
    OK(fv__blend_classes(weight, &targets, answer, 3, 2));
    assert_true(weight[0] > 0.2 && weight[1] > 0.1 && weight[2] < 0.1);
    OK(fv__blend_classes(weight, &targets, &answer[0], 1, 2));
    assert_true(weight[0] > 0.5);
}

/* ---- the folder */

static uint64_t file_hash(const char *folder, const char *name) {
    char path[700];
    fv__file file;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!fv__path_exists(path)) return 0;
    OK(fv__file_read(&file, path));
    uint64_t hash = fv__hash(file.data, file.size, 1);
    fv__file_free(&file);
    return hash;
}

static void test_same_bytes_for_any_threads(void **state) {
    (void)state;
    static const char *const files[] = {"config.json", "members/linear/model.safetensors",
                                        "members/bayes/model.safetensors", "members/attention/model.safetensors"};
    uint64_t hash[3][4];
    fv_train_result r;
    heard h;
    for (int i = 0; i < 3; i++) {
        char folder[300];
        snprintf(folder, sizeof folder, "%s", scratch_path(i == 0 ? "one" : i == 1 ? "two" : "three"));
        fv_set_threads(i == 0 ? 1 : i == 1 ? 2 : 4);
        fv_model_free(train(quick(folder), 200, false, &r, &h));
        for (int k = 0; k < 4; k++) hash[i][k] = file_hash(folder, files[k]);
    }
    fv_set_threads(0);
    for (int k = 0; k < 4; k++) assert_true(hash[0][k] == hash[1][k] && hash[0][k] == hash[2][k]);
    assert_true(hash[0][0] != 0);
}

static void test_folder(void **state) {
    (void)state;
    fv_train_result r;
    heard h;
    char folder[300], path[400];
    fv_model *loaded, *again = NULL;
    snprintf(folder, sizeof folder, "%s", scratch_path("run"));
    fv_train_setup how = quick(folder);
    fv_model *model = train(how, 200, false, &r, &h);
    OK(fv_model_load(&loaded, folder));
    assert_int_equal(fv_model_member_count(loaded), fv_model_member_count(model));
    assert_true(file_hash(folder, "eval.json") && file_hash(folder, "metrics.jsonl"));
    for (int i = 0; i < fv_model_member_count(loaded); i++) { /* each member is a model folder */
        const char *name;
        fv_model_member(loaded, i, &name, NULL);
        snprintf(path, sizeof path, "%s/members/%s", folder, name);
        OK(fv_model_load(&again, path));
        fv_model_free(again);
    }
    fv_model_free(loaded);
    fv_model_free(model);
    how.resume = true;
    fv_dataset *data;
    OK(toy_data(&data, 200, 1));
    assert_int_equal(fv_train(&again, NULL, data, NULL, &how), FV_USAGE);
    assert_non_null(strstr(fv_message(), "a search is not resumed"));
    /* another kind in its place takes the members away, and nothing that is not ours */
    snprintf(path, sizeof path, "%s/members/mine.txt", folder);
    OK(fv__write_file(path, "x", 1));
    OK(fv_train_setup_init(&how, "bayes"));
    how.folder = folder, how.overwrite = true;
    OK(fv_train(&again, NULL, data, NULL, &how));
    fv_model_free(again);
    assert_false(file_hash(folder, "members/bayes/config.json") || file_hash(folder, "members/linear/config.json"));
    assert_true(file_hash(folder, "members/mine.txt") && file_hash(folder, "config.json"));
    fv_dataset_free(data);
}

static void test_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"", "5", "5e", "0s", "-3s", "soon"};
    fv_train_setup how = quick(NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        how.model.budget = bad[i];
        assert_int_equal(fv_train_setup_check(&how), FV_USAGE);
        assert_non_null(strstr(fv_message(), "budget: not a time\n  expected a number above zero and a unit: 90s"));
    }
    how.model.budget = "1s";
    OK(fv_train_setup_set(&how, "task", "regress"));
    assert_int_equal(fv_train_setup_check(&how), FV_USAGE);
}

static void stop_at_first_step(void *context, const fv_event *e) {
    (void)context;
    if (e->kind == FV_EVENT_STEP) fv_interrupt();
}

static void test_interrupted(void **state) {
    (void)state;
    fv_dataset *data;
    fv_model *model;
    fv_train_setup how = quick(NULL);
    how.event = stop_at_first_step;
    OK(toy_data(&data, 200, 1));
    int64_t before = fv__alloc_live();
    assert_int_equal(fv_train(&model, NULL, data, NULL, &how), FV_INTERRUPTED);
    fv_interrupt_clear();
    assert_null(model);
    assert_true(fv__alloc_live() <= before + 64); /* caches of attention plans may stay */
    fv_dataset_free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cross_validation_of_few_texts),
        cmocka_unit_test(test_a_tenth_of_many_texts),
        cmocka_unit_test(test_given_texts_decide),
        cmocka_unit_test(test_too_few_texts),
        cmocka_unit_test(test_no_time),
        cmocka_unit_test(test_plan_is_counted_not_timed),
        cmocka_unit_test(test_folds),
        cmocka_unit_test(test_weights_are_the_least_loss),
        cmocka_unit_test(test_same_bytes_for_any_threads),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_interrupted),
    };
    return cmocka_run_group_tests_name("search", tests, scratch_make, scratch_remove);
}
