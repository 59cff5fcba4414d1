/* Tasks: scores worked out by hand, answers as text, what cannot be learnt from, and a number for a text from beginning
 * to end. */
#include "io/json.h"
#include "support/toy.h"
#include "task/contract.h"
#include "train/train.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#define OK(call)                                                                      \
    do {                                                                              \
        if ((call) != FV_OK) fail_msg("%s:%d: %s", __FILE__, __LINE__, fv_message()); \
    } while (0)

static void refused(fv_status expected, fv_status found, const char *message) {
    assert_int_equal(found, expected);
    if (strcmp(fv_message(), message) != 0) fail_msg("expected: %s\n   found: %s", message, fv_message());
}

static bool near(double a, double b) { return fabs(a - b) < 1e-12; }

/* ---- classes */

static void test_metrics(void **state) {
    (void)state;
    const int32_t label[] = {0, 0, 1, 1, 1};
    const float p[] = {0.8f, 0.1f, 0.1f, 0.2f, 0.7f, 0.1f, 0.1f, 0.8f, 0.1f, 0.5f, 0.4f, 0.1f, 0.1f, 0.6f, 0.3f};
    fv_metrics *m;
    OK(fv_metrics_of(&m, label, p, 5, 3));
    assert_true(near(m->accuracy, 3.0 / 5));
    assert_true(near(m->precision[0], 0.5) && near(m->recall[0], 0.5));
    assert_true(near(m->precision[1], 2.0 / 3) && near(m->recall[1], 2.0 / 3));
    assert_true(near(m->macro_f1, (0.5 + 2.0 / 3) / 2)); /* class 2 occurs nowhere */
    assert_true(m->f1[2] == 0 && m->support[2] == 0);
    assert_int_equal(m->confusion[1 * 3 + 0], 1);
    assert_int_equal(m->confusion[0 * 3 + 1], 1);
    double loss = -(log(0.8) + log(0.2) + log(0.8) + log(0.4) + log(0.6)) / 5;
    assert_true(fabs(m->loss - loss) < 1e-6);
    fv_metrics_free(m);
    refused(FV_BAD_DATA, fv_metrics_of(&m, label, p, 0, 3),
            "nothing to evaluate\n  expected texts with labels\n  found:   none");
    const int32_t beyond[] = {0, 3}, before[] = {0, -1};
    refused(FV_BAD_DATA, fv_metrics_of(&m, beyond, p, 2, 3),
            "metrics: label of text 1\n  expected 0 to 2\n  found:   3");
    refused(FV_BAD_DATA, fv_metrics_of(&m, before, p, 2, 3),
            "metrics: label of text 1\n  expected 0 to 2\n  found:   -1");
}

static void test_scores(void **state) {
    (void)state;
    fv_scores scores;
    fv_score found;
    char key[64];
    fv__scores_init(&scores, fv_task_find("classify"));
    scores.score[1].value = 0.25;
    OK(fv_scores_find(&scores, "macro-f1", &found));
    assert_true(found.value == 0.25 && found.higher_is_better);
    OK(fv_scores_find(&scores, "loss", &found));
    assert_false(found.higher_is_better);
    refused(FV_USAGE, fv_scores_find(&scores, "f1", &found),
            "unknown metric\n  expected accuracy, macro-f1 or loss\n  found:   \"f1\"");
    assert_string_equal(fv__score_key(key, "valid_", "macro-f1"), "valid_macro_f1");
}

static fv_model classifier(const char *const *names) {
    return (fv_model){.target = {"classify", FV_TARGET_CLASS, 2, {2, names}, 0, 0}};
}

static void test_evaluation_json(void **state) {
    (void)state;
    const int32_t label[] = {0, 1};
    const float p[] = {0.75f, 0.25f, 0.5f, 0.5f};
    const char *names[] = {"no", "yes \"quoted\""};
    const fv_model model = classifier(names);
    fv_metrics *m;
    fv__json *json;
    char *text;
    OK(fv_metrics_of(&m, label, p, 2, 2));
    fv_evaluation e = {.count = 2, .metrics = m};
    fv__scores_init(&e.scores, fv_task_find("classify"));
    e.scores.score[0].value = m->accuracy;
    OK(fv_evaluation_json(&e, &model, &text));
    OK(fv__json_parse(&json, text, strlen(text), "evaluation", FV_FAIL));
    assert_true(fv__json_float(fv__json_get(json, "accuracy"), 0) == 0.5);
    assert_int_equal(fv__json_int(fv__json_get(fv__json_get(fv__json_get(json, "by_class"), names[1]), "support"), 0),
                     1);
    fv__json_free(json);
    fv_text_free(text);
    fv_metrics_free(m);
}

static void answers(const fv_model *model, const float *answer, fv_answer_options how, const char *expected) {
    char *line;
    OK(fv_answer_line(&line, model, answer, &how));
    assert_string_equal(line, expected);
    fv_text_free(line);
}

static void test_answers(void **state) {
    (void)state;
    const char *names[] = {"a\tb", "c \"d\""};
    const fv_model model = classifier(names), number = {.target = {"regress", FV_TARGET_REAL, 1, {0}, 0, 1}};
    const float p[] = {0.25f, 0.75f}, equal[] = {0.5f, 0.5f}, x = -1.5f;
    answers(&model, p, (fv_answer_options){1, 0, false, "text"}, "c \"d\"");
    answers(&model, p, (fv_answer_options){2, 0, true, "text"}, "c \"d\" 0.750000  a b 0.250000");
    answers(&model, p, (fv_answer_options){2, 0.5, true, "tsv"}, "c \"d\"\t0.750000");
    answers(&model, p, (fv_answer_options){1, 0.9, false, "text"}, "");
    answers(&model, equal, (fv_answer_options){9, 0, false, "csv"}, "\"a\tb\",\"c \"\"d\"\"\"");
    answers(&model, p, (fv_answer_options){1, 0, false, "json"},
            "{\"labels\": [{\"label\": \"c \\\"d\\\"\", \"probability\": 0.750000}]}");
    answers(&number, &x, (fv_answer_options){1, 0, false, "text"}, "-1.5");
    answers(&number, &x, (fv_answer_options){1, 0, false, "json"}, "{\"number\": -1.5}");
}

/* ---- numbers */

static double score(const fv_scores *scores, const char *name) {
    fv_score found;
    OK(fv_scores_find(scores, name, &found));
    return found.value;
}

/* Targets 1 2 3 4, answers 2 1 4 4: missed by 1 -1 1 0; ranks 2 1 3.5 3.5 against 1 2 3 4. */
static void test_regression_scores(void **state) {
    (void)state;
    const double target[] = {1, 2, 3, 4}, flat[] = {5, 5, 5, 5};
    const float answer[] = {2, 1, 4, 4}, reversed[] = {40, 30, 20, 10}, exact[] = {1, 2, 3, 4};
    fv_scores scores;
    OK(fv_regression_scores(&scores, target, answer, 4));
    assert_true(near(score(&scores, "r2"), 1 - 3.0 / 5));
    assert_true(near(score(&scores, "rmse"), sqrt(3.0 / 4)));
    assert_true(near(score(&scores, "mae"), 3.0 / 4));
    assert_true(near(score(&scores, "spearman"), 3.5 / sqrt(5 * 4.5)));
    OK(fv_regression_scores(&scores, target, exact, 4));
    assert_true(score(&scores, "r2") == 1 && score(&scores, "mae") == 0 && near(score(&scores, "spearman"), 1));
    OK(fv_regression_scores(&scores, target, reversed, 4));
    assert_true(near(score(&scores, "spearman"), -1) && score(&scores, "r2") < 0);
    OK(fv_regression_scores(&scores, flat, answer, 4)); /* undefined */
    assert_true(score(&scores, "r2") == 0 && score(&scores, "spearman") == 0);
    refused(FV_BAD_DATA, fv_regression_scores(&scores, flat, answer, 0),
            "nothing to evaluate\n  expected texts with numbers\n  found:   none");
}

static void test_numbers_are_read(void **state) {
    (void)state;
    fv_dataset *data;
    const char good[] = "label\ttext\n-2.5\tone\n1e3\ttwo\n", bad[] = "label\ttext\n1\tone\n1,5\ttwo\n",
               lines[] = "__label__3 three\n__label__nan none\n";
    OK(fv_dataset_parse(&data, "good.tsv", good, strlen(good), NULL, NULL, FV_TARGET_REAL));
    assert_true(data->number[0] == -2.5 && data->number[1] == 1000 && !data->label && data->classes.count == 0);
    fv_dataset_free(data);
    refused(FV_BAD_DATA, fv_dataset_parse(&data, "bad.tsv", bad, strlen(bad), NULL, NULL, FV_TARGET_REAL),
            "bad.tsv:3: not a number\n  expected a finite number such as 3.5 in column \"label\"\n  found:   \"1,5\"");
    assert_int_equal(fv_dataset_parse(&data, "lines.txt", lines, strlen(lines), NULL, NULL, FV_TARGET_REAL),
                     FV_BAD_DATA);
    assert_non_null(strstr(fv_message(), "lines.txt:2: not a number"));
}

static void test_what_cannot_be_learnt(void **state) {
    (void)state;
    const char *text[] = {"one", "two"};
    const size_t size[] = {3, 3};
    const double same[] = {7, 7}, other[] = {7, 8}, wrong[] = {7, NAN};
    fv_dataset *flat, *data;
    fv_model *model;
    fv_train_setup how;
    OK(fv_dataset_of_numbers(&flat, (fv_texts){2, text, size}, same));
    OK(fv_dataset_of_numbers(&data, (fv_texts){2, text, size}, other));
    OK(fv_train_setup_init(&how, "linear"));
    OK(fv_train_setup_set(&how, "task", "regress"));
    refused(FV_BAD_DATA, fv_train(&model, NULL, flat, NULL, &how),
            "nothing to learn from\n  expected at least two different numbers\n  found:   7, of all 2 training texts");
    how.task.metric = "accuracy";
    refused(FV_USAGE, fv_train_setup_check(&how),
            "unknown metric\n  expected r2|rmse|mae|spearman\n  found:   accuracy");
    OK(fv_train_setup_init(&how, "bayes"));
    refused(FV_BAD_DATA, fv_train(&model, NULL, data, NULL, &how),
            "nothing to learn from\n  expected texts with labels\n  found:   none");
    OK(fv_train_setup_set(&how, "task", "regress"));
    refused(FV_USAGE, fv_train_setup_check(&how),
            "task regress cannot train this model\n  expected one of: linear, bag, attention, transformer\n  found:   "
            "bayes");
    OK(fv_train_setup_set(&how, "task", "vectors"));
    assert_int_equal(fv_train_setup_check(&how), FV_USAGE);
    assert_int_equal(fv_train_setup_set(&how, "task", "regres"), FV_USAGE);
    assert_non_null(strstr(fv_message(), "found:   \"regres\"\n  try:     regress"));
    fv_dataset_free(flat);
    refused(FV_USAGE, fv_dataset_of_numbers(&flat, (fv_texts){2, text, size}, wrong),
            "text 1: its target\n  expected a finite number\n  found:   nan");
    fv_dataset_free(data);
}

/* A model answers the same after it was saved and loaded, alone and among others; its units are those of the data. */
static void same_when_loaded(const fv_model *model, const fv_dataset *data) {
    char folder[64];
    fv_model *loaded;
    float *a = calloc((size_t)data->texts.count, sizeof *a), *b = calloc((size_t)data->texts.count, sizeof *b), alone;
    assert_int_equal(toy_folder(folder), 0);
    OK(fv_model_save(model, folder));
    OK(fv_model_load(&loaded, folder));
    assert_string_equal(fv_model_task_of(loaded), "regress");
    assert_int_equal(fv_model_target(loaded), FV_TARGET_REAL);
    OK(fv_model_predict(model, data->texts, a));
    OK(fv_model_predict(loaded, data->texts, b));
    assert_memory_equal(a, b, (size_t)data->texts.count * sizeof *a);
    OK(fv_model_predict(loaded, (fv_texts){1, data->texts.text + 3, data->texts.size + 3}, &alone));
    assert_true(alone == a[3]);
    free(a);
    free(b);
    fv_model_free(loaded);
}

/* A word that adds stands above one that takes away. */
static void contributions_point_the_right_way(const fv_model *model) {
    const char text[] = "word3 plus3 word4 minus3";
    fv_trace *trace;
    float value[8] = {0};
    OK(fv_model_trace(&trace, model, text, strlen(text)));
    OK(fv_trace_backward(trace, 0));
    OK(fv_trace_contributions(trace, value));
    const char *kind = fv_model_kind_of(model)->name;
    /* gradient times input is exact for what is linear in the words, and a hint for the others */
    bool linear = !(fv_model_kind_of(model)->can & FV_MODEL_HAS_ATTENTION);
    if (!(value[1] > value[3]) || (linear && !(value[1] > value[0] + 0.5f && value[3] < value[0] - 0.5f)))
        fail_msg("%s: %g %g %g %g", kind, (double)value[0], (double)value[1], (double)value[2], (double)value[3]);
    fv_trace_free(trace);
}

static void test_regress_learns(void **state) {
    (void)state;
    const char *const kinds[] = {"linear", "bag", "attention", "transformer"};
    fv_dataset *train, *valid;
    OK(toy_numbers(&train, 400, 1));
    OK(toy_numbers(&valid, 100, 2));
    for (int k = 0; k < 4; k++) {
        fv_train_setup how;
        fv_train_result result;
        fv_model *model;
        OK(fv_train_setup_init(&how, kinds[k]));
        OK(fv_train_setup_set(&how, "task", "regress"));
        how.tokenizer.min_count = 1;
        if (k > 0) how.model.d_model = 16, how.train.learning_rate = 0.01, how.train.epochs = 12;
        if (k > 1) how.model.heads = 2;
        if (k == 3) how.model.layers = 1, how.model.dropout = 0, how.model.word_dropout = 0;
        if (k == 1) how.train.learning_rate = 0.05;
        OK(fv_train(&model, &result, train, valid, &how));
        if (!(score(&result.best, "r2") > 0.9)) fail_msg("%s: r2 %g", kinds[k], score(&result.best, "r2"));
        assert_true(score(&result.best, "spearman") > 0.9);
        same_when_loaded(model, valid);
        contributions_point_the_right_way(model);
        fv_model_free(model);
    }
    fv_dataset_free(train);
    fv_dataset_free(valid);
}

/* ---- every task */

/* Without a table of all pairs: memory grows with the classes and the texts. */
static void test_metrics_of_many_classes(void **state) {
    (void)state;
    enum { CLASSES = 60000, TEXTS = 40 };
    float *p = fv__alloc_array((size_t)CLASSES * TEXTS, sizeof *p);
    int32_t label[TEXTS];
    fv_metrics *m;
    for (int32_t i = 0; i < TEXTS; i++) {
        label[i] = i < 20 ? 7 : i < 30 ? 50000 : i;
        p[(int64_t)i * CLASSES + (i < 30 ? 3 : i)] = 1;
    }
    OK(fv_metrics_of(&m, label, p, TEXTS, CLASSES));
    assert_null(m->confusion);
    assert_int_equal(m->confusions, 2);
    assert_true(m->confused[0].label == 7 && m->confused[0].predicted == 3 && m->confused[0].count == 20);
    assert_true(m->confused[1].label == 50000 && m->confused[1].predicted == 3 && m->confused[1].count == 10);
    assert_true(m->accuracy == 0.25 && m->support[7] == 20 && m->recall[35] == 1 && m->precision[3] == 0);
    fv_metrics_free(m);
    fv__free(p);
}

static void test_every_task_is_complete(void **state) {
    (void)state;
    assert_null(fv_task_at(fv_task_count()));
    assert_non_null(fv_option_find(fv_task_option_rows(), "metric"));
    for (size_t i = 0; i < fv_task_count(); i++) {
        const fv_task *task = fv_task_at(i);
        const fv__task *own = (const fv__task *)task;
        const fv_option *row = fv_option_find(fv_task_option_rows(), "task");
        assert_ptr_equal(fv_task_find(task->name), task);
        assert_non_null(strstr(row->choices, task->name));
        assert_true(task->networks ? !task->file && own->check && own->prepare && own->loss && own->evaluate &&
                                         own->answer && own->explain && task->scores
                                   : task->file && own->make_file);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics),          cmocka_unit_test(test_metrics_of_many_classes),
        cmocka_unit_test(test_scores),           cmocka_unit_test(test_evaluation_json),
        cmocka_unit_test(test_answers),          cmocka_unit_test(test_regression_scores),
        cmocka_unit_test(test_numbers_are_read), cmocka_unit_test(test_what_cannot_be_learnt),
        cmocka_unit_test(test_regress_learns),   cmocka_unit_test(test_every_task_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
