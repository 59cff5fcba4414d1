/* Models: options, every kind trained a little, saved, loaded, asked and traced. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "fovea/train.h"
#include "model/model.h"
#include "optim/lbfgs.h"
#include "support/scratch.h"
#include "support/toy.h"

#define OK(call)                                                           \
    do {                                                                   \
        fv_status ok_ = (call);                                            \
        if (ok_ != FV_OK) fail_msg("%s: %d %s", #call, ok_, fv_message()); \
    } while (0)

/* The kinds whose traces are known below. What holds for every kind is checked for the whole table. */
static const char *const known[] = {"bayes", "linear", "bag", "attention", "transformer", "auto"};
enum { KNOWN = sizeof known / sizeof *known };

static const char *kind_name(size_t i) { return fv_model_kind_at(i)->name; }

static void small(fv_train_setup *how, const char *kind) {
    OK(fv_train_setup_init(how, kind));
    if (how->model.d_model) how->model.d_model = 16;
    if (how->model.heads) how->model.heads = 4;
    if (how->model.ngrams.ngram_bits) how->model.ngrams.ngram_bits = 8;
    if (how->model.budget) how->model.budget = "1s";
    how->train.epochs = 8, how->train.learning_rate = 0.01, how->train.batch_size = 16;
}

static fv_model *trained(const char *kind) {
    fv_train_setup how;
    fv_dataset *data;
    fv_model *model;
    small(&how, kind);
    OK(toy_data(&data, 200, 1));
    OK(fv_train(&model, NULL, data, NULL, &how));
    fv_dataset_free(data);
    return model;
}

/* ---- options */

static void test_kinds_have_rows(void **state) {
    (void)state;
    assert_true(fv_model_kind_count() >= KNOWN);
    for (size_t i = 0; i < fv_model_kind_count(); i++) {
        const fv_model_kind *kind = fv_model_kind_at(i);
        fv_model_options o;
        if (i < KNOWN) assert_string_equal(kind->name, known[i]);
        assert_ptr_equal(fv_model_kind_find(kind->name), kind);
        OK(fv_model_options_init(&o, kind->name));
        OK(fv_model_options_check(&o));
    }
    assert_null(fv_model_kind_at(fv_model_kind_count()));
}

static void test_unknown_kind_suggests(void **state) {
    (void)state;
    fv_model_options o;
    assert_int_equal(fv_model_options_init(&o, "transfomer"), FV_USAGE);
    const char *message = "unknown model\n  expected one of: bayes, linear, bag, attention, transformer, auto";
    assert_memory_equal(fv_message(), message, strlen(message)); /* more kinds may follow */
    assert_non_null(strstr(fv_message(), "\n  found:   \"transfomer\"\n  try:     transformer"));
}

static void refused(fv_model_options o, const char *message) {
    assert_int_equal(fv_model_options_check(&o), FV_USAGE);
    assert_string_equal(fv_message(), message);
}

static void test_impossible_options(void **state) {
    (void)state;
    fv_model_options good, o;
    OK(fv_model_options_init(&good, "transformer"));
    o = good, o.d_model = 100;
    refused(o, "heads must divide d_model\n  found:   heads 8, d_model 100");
    o = good, o.heads = 0;
    refused(o, "heads is out of range\n  expected 1 to 1024\n  found:   0");
    o = good, o.layers = -1;
    refused(o, "layers is out of range\n  expected 0 to 1000\n  found:   -1");
    o = good, o.d_model = INT64_MAX;
    refused(o, "d-model is out of range\n  expected 1 to 65536\n  found:   9223372036854775807");
    o = good, o.dropout = 1;
    refused(o, "dropout is out of range\n  expected 0 to 0.99\n  found:   1");
    o = good, o.pooling = "median";
    refused(o, "unknown pooling\n  expected mean|max|cls|attention|mean+attention\n  found:   median");
    o = good, o.positions = "rope", o.d_model = 24;
    refused(o, "positions rope needs an even number of columns in each head\n  found:   d_model 24 / heads 8 = 3");
    o = good, o.ngrams.ngram_min = 6;
    refused(o, "ngram-min is larger than ngram-max\n  found:   6 and 5");
}

/* ---- scripts without spaces */

/* Clauses of 8 letters without a space, every one another; what decides is one pair of them: yes or no. */
static fv_status clauses(fv_dataset **data, uint64_t seed, const char *const *filler, const char *yes, const char *no) {
    fv__buf csv = {0};
    fv__buf_text(&csv, "label,text\n");
    for (int row = 0; row < 240; row++) {
        int64_t at = fv__random_below(seed, 1, (uint64_t)row, 8);
        fv__buf_text(&csv, row % 2 ? "yes," : "no,");
        for (int64_t k = 0; k < 8; k++)
            fv__buf_text(&csv, k == at ? (row % 2 ? yes : no)
                                       : filler[fv__random_below(seed, 2, (uint64_t)(row * 8 + k), 10)]);
        fv__buf_text(&csv, "\n");
    }
    fv_status status = fv_dataset_parse(data, "a.csv", csv.data, csv.size, NULL, NULL, true);
    fv__buf_free(&csv);
    return status;
}

static double accuracy_of(const char *kind, const char *const *filler, const char *yes, const char *no) {
    fv_train_setup how;
    fv_dataset *train, *test;
    fv_model *model;
    fv_evaluation *e;
    small(&how, kind);
    OK(clauses(&train, 1, filler, yes, no));
    OK(clauses(&test, 2, filler, yes, no));
    OK(fv_train(&model, NULL, train, NULL, &how));
    OK(fv_evaluate(&e, model, test));
    double accuracy = e->scores.score[0].value;
    fv_evaluation_free(e);
    fv_model_free(model);
    fv_dataset_free(train);
    fv_dataset_free(test);
    return accuracy;
}

/* The same letters in both classes: only their order tells. */
static void test_unspaced_text_is_learnt(void **state) {
    (void)state;
    static const char *const han[] = {"\u7684", "\u4E86", "\u662F", "\u6211", "\u6709",
                                      "\u548C", "\u5C31", "\u4EBA", "\u90FD", "\u4E00"};
    static const char *const kana[] = {"\u306E", "\u306B", "\u306F", "\u3092", "\u305F",
                                       "\u304C", "\u3067", "\u3066", "\u3068", "\u3057"};
    static const char *const thai[] = {"\u0E01", "\u0E02",       "\u0E04", "\u0E07\u0E48", "\u0E08",
                                       "\u0E0A", "\u0E15\u0E49", "\u0E17", "\u0E19",       "\u0E1A"};
    static const char *const kinds[] = {"linear", "bayes"};
    for (int i = 0; i < 2; i++) {
        assert_true(accuracy_of(kinds[i], han, "\u597D\u5403", "\u5403\u597D") > 0.97);
        assert_true(accuracy_of(kinds[i], kana, "\u3059\u304D", "\u304D\u3059") > 0.97);
        assert_true(accuracy_of(kinds[i], thai, "\u0E14\u0E35", "\u0E44\u0E21\u0E48") > 0.97);
    }
}

static char heard[512];
static void hear(void *context, fv_log_level level, const char *line) {
    (void)context;
    if (level != FV_LOG_WARN) return;
    snprintf(heard, sizeof heard, "%s", line);
}

/* What is no feature is not passed over in silence. */
static void test_words_that_are_no_features(void **state) {
    (void)state;
    static const char *const letters[] = {"a ", "b ", "c ", "d ", "e ", "f ", "g ", "h ", "i ", "j "};
    heard[0] = 0;
    fv_set_log(hear, NULL);
    accuracy_of("linear", letters, "good ", "bad ");
    assert_non_null(strstr(heard, "linear: 1680 of 1920 words are no features"));
    heard[0] = 0;
    static const char *const words[] = {"aa ", "bb ", "cc ", "dd ", "ee ", "ff ", "gg ", "hh ", "ii ", "jj "};
    accuracy_of("bayes", words, "good ", "bad ");
    fv_set_log(NULL, NULL);
    assert_string_equal(heard, "");
}

/* ---- a saved model is the model */

static void predict(const fv_model *model, const fv_dataset *data, float *p) {
    OK(fv_model_predict(model, data->texts, p));
}

static void test_save_load(void **state) {
    (void)state;
    fv_dataset *data;
    float before[2 * 60], after[2 * 60];
    OK(toy_data(&data, 60, 2));
    for (size_t i = 0; i < fv_model_kind_count(); i++) {
        fv_model *model = trained(kind_name(i)), *loaded;
        const char *folder = scratch_path(kind_name(i));
        predict(model, data, before);
        OK(fv_model_save(model, folder));
        OK(fv_model_load(&loaded, folder));
        predict(loaded, data, after);
        assert_memory_equal(before, after, sizeof before);
        assert_int_equal(fv_model_parameters(model), fv_model_parameters(loaded));
        assert_string_equal(fv_model_classes(loaded).name[1], "yes");
        fv_model_free(model);
        fv_model_free(loaded);
    }
    fv_dataset_free(data);
}

/* Texts that were encoded once give the same answers, also when the data is gone and the weights have changed. */
static void test_encoded(void **state) {
    (void)state;
    for (size_t i = 0; i < fv_model_kind_count(); i++) {
        fv_model *model = trained(kind_name(i));
        fv_dataset *data;
        fv_encoded *encoded;
        fv_evaluation *e, *again;
        float p[2 * 60], q[2 * 60];
        OK(toy_data(&data, 60, 2));
        OK(fv_model_encode(&encoded, model, data));
        OK(fv_evaluate(&e, model, data));
        predict(model, data, p);
        fv_dataset_free(data);
        assert_int_equal(fv_encoded_count(encoded), 60);
        OK(fv_model_predict_encoded(model, encoded, q));
        assert_memory_equal(p, q, sizeof p);
        OK(fv_evaluate_encoded(&again, model, encoded));
        for (int k = 0; k < e->scores.count; k++) assert_true(e->scores.score[k].value == again->scores.score[k].value);
        const fv_model *changed = fv_model_member_count(model) ? fv_model_member(model, 0, NULL, NULL) : model;
        float *bias = fv_params_get(changed->params, fv_params_count(changed->params) - 1).value.data;
        bias[0] += 1000;
        OK(fv_model_predict_encoded(model, encoded, q));
        for (int k = 0; k < 60; k++) assert_true(q[2 * k] > 0.99f);
        fv_evaluation_free(e);
        fv_evaluation_free(again);
        fv_encoded_free(encoded);
        fv_model_free(model);
    }
}

static void test_learns(void **state) {
    (void)state;
    fv_dataset *data;
    OK(toy_data(&data, 60, 2));
    for (size_t i = 0; i < fv_model_kind_count(); i++) {
        fv_model *model = trained(kind_name(i));
        fv_evaluation *e;
        OK(fv_evaluate(&e, model, data));
        double accuracy = e->scores.score[0].value;
        if (accuracy < 0.95) fail_msg("%s: accuracy %g", kind_name(i), accuracy);
        fv_evaluation_free(e);
        fv_model_free(model);
    }
    fv_dataset_free(data);
}

/* Alone, in a batch, with 1, 2 or 4 threads: the same bits. */
static void test_predict_is_independent(void **state) {
    (void)state;
    fv_dataset *data;
    float all[2 * 60], again[2 * 60];
    OK(toy_data(&data, 60, 2));
    for (size_t i = 0; i < fv_model_kind_count(); i++) {
        fv_model *model = trained(kind_name(i));
        fv_set_threads(1);
        predict(model, data, all);
        for (int64_t t = 0; t < 60; t++) {
            fv_texts one = {1, data->texts.text + t, data->texts.size + t};
            OK(fv_model_predict(model, one, again + 2 * t));
            assert_true(fabs(all[2 * t] + all[2 * t + 1] - 1) < 1e-6);
        }
        assert_memory_equal(all, again, sizeof all);
        for (int threads = 2; threads <= 4; threads += 2) {
            fv_set_threads(threads);
            predict(model, data, again);
            assert_memory_equal(all, again, sizeof all);
        }
        fv_set_threads(0);
        fv_model_free(model);
    }
    fv_dataset_free(data);
}

static void test_empty_and_strange_texts(void **state) {
    (void)state;
    const char *texts[] = {"", "   ", ",,, !!", "zzz qqq neverseen", "\xc3\xa9\xe4\xb8\xad"};
    const size_t sizes[] = {0, 3, 6, 17, 5};
    float p[10];
    for (size_t i = 0; i < fv_model_kind_count(); i++) {
        fv_model *model = trained(kind_name(i));
        OK(fv_model_predict(model, (fv_texts){5, texts, sizes}, p));
        for (int t = 0; t < 5; t++) assert_true(fabs(p[2 * t] + p[2 * t + 1] - 1) < 1e-6);
        fv_model_free(model);
    }
}

/* ---- looking inside */

static void check_attention(fv_trace *trace) {
    int64_t n = trace->tokens->count;
    float *weights = calloc((size_t)(n * n), sizeof *weights), one[64];
    for (int64_t layer = 0; layer < trace->layers; layer++)
        for (int64_t head = 0; head < trace->heads; head++) {
            int64_t row = n - 1;
            OK(fv_trace_weights(trace, FV_CAPTURE_SOFTMAX, layer, head, NULL, 0, weights));
            OK(fv_trace_weights(trace, FV_CAPTURE_SOFTMAX, layer, head, &row, 1, one));
            assert_memory_equal(one, weights + row * n, (size_t)n * sizeof *one);
            for (int64_t i = 0; i < n; i++) {
                double sum = 0;
                for (int64_t j = 0; j < n; j++) sum += weights[i * n + j];
                assert_true(fabs(sum - 1) < 1e-5);
            }
        }
    free(weights);
}

static void check_gradients(fv_trace *trace) {
    int64_t n = trace->tokens->count;
    float *contribution = calloc((size_t)n, sizeof *contribution),
          *gradient = calloc((size_t)(n * n), sizeof *gradient);
    double size = 0, of_weights = 0;
    assert_int_equal(fv_trace_contributions(trace, contribution), FV_USAGE);
    OK(fv_trace_backward(trace, trace->predicted));
    OK(fv_trace_contributions(trace, contribution));
    for (int64_t i = 0; i < n; i++) size += fabs(contribution[i]);
    assert_true(size > 0);
    for (int64_t layer = 0; layer < trace->layers; layer++) {
        OK(fv_trace_weight_gradients(trace, layer, 0, NULL, 0, gradient));
        for (int64_t i = 0; i < n * n; i++) of_weights += fabs(gradient[i]);
    }
    assert_true((trace->layers > 0) == (of_weights > 0));
    assert_int_equal(fv_trace_backward(trace, 2), FV_USAGE);
    free(contribution);
    free(gradient);
}

static void test_trace(void **state) {
    (void)state;
    const char *text = "word7 good bad, neverseen great";
    size_t size = strlen(text);
    float p[2];
    for (size_t i = 0; i < KNOWN; i++) {
        fv_model *model = trained(known[i]);
        fv_trace *trace;
        OK(fv_model_predict(model, (fv_texts){1, &text, &size}, p));
        OK(fv_model_trace(&trace, model, text, size));
        assert_memory_equal(p, trace->answer, sizeof p);
        if (i < 5) assert_int_equal(trace->layers, i < 3 ? 0 : i == 3 ? 1 : 2);
        assert_int_equal(trace->predicted, p[1] > p[0]);
        assert_int_equal(trace->tokens->count, 6);
        assert_string_equal(trace->text, text);
        assert_int_equal(trace->tokens->start[1], 6);
        assert_int_equal(trace->tokens->end[1], 10);
        if (i < 5) assert_int_equal(trace->pooling_weights != NULL, i >= 2);
        check_attention(trace);
        check_gradients(trace);
        fv_trace_free(trace);
        fv_model_free(model);
    }
}

/* The first word says it: every model must find that it does. */
static void test_contributions_point_at_the_word(void **state) {
    (void)state;
    const char *text = "great word7 word9 word11";
    for (size_t i = 0; i < fv_model_kind_count(); i++) {
        fv_model *model = trained(kind_name(i));
        fv_trace *trace;
        float c[4];
        OK(fv_model_trace(&trace, model, text, strlen(text)));
        assert_int_equal(trace->predicted, 1);
        OK(fv_trace_backward(trace, 1));
        OK(fv_trace_contributions(trace, c));
        for (int k = 1; k < 4; k++)
            if (!(c[0] > c[k])) fail_msg("%s: %g %g %g %g", kind_name(i), c[0], c[1], c[2], c[3]);
        fv_trace_free(trace);
        fv_model_free(model);
    }
}

static void test_trace_of_cls_and_long_text(void **state) {
    (void)state;
    fv_train_setup how;
    fv_dataset *data;
    fv_model *model;
    fv_trace *trace;
    const char *text = "one two three four five six seven";
    small(&how, "transformer");
    how.model.pooling = "cls", how.model.positions = "learned", how.model.max_length = 5;
    OK(toy_data(&data, 100, 1));
    OK(fv_train(&model, NULL, data, NULL, &how));
    OK(fv_model_trace(&trace, model, text, strlen(text)));
    assert_true(trace->cut);
    assert_int_equal(trace->tokens->count, 5);
    assert_int_equal(trace->tokens->end[0], 0);
    assert_int_equal(trace->tokens->word[0], -1);
    assert_int_equal(trace->tokens->start[1], 0);
    assert_int_equal(trace->tokens->end[1], 3);
    assert_true(trace->pooling_weights[0] == 1 && trace->pooling_weights[1] == 0);
    fv_trace_free(trace);
    fv_model_free(model);
    fv_dataset_free(data);
}

/* ---- every choice of the transformer */

static void test_choices(void **state) {
    (void)state;
    static const char *const settings[][2] = {{"positions", "sinusoidal"}, {"positions", "learned"},
                                              {"positions", "rope"},       {"positions", "alibi"},
                                              {"pooling", "mean"},         {"pooling", "max"},
                                              {"pooling", "cls"},          {"pooling", "mean+attention"},
                                              {"activation", "relu"},      {"ngram-bits", "8"},
                                              {"mechanism", "topk:k=3"},   {"tokenizer", "bpe"},
                                              {"tokenizer", "wordpiece"},  {"layers", "0"},
                                              {"attention-dropout", "0.1"}};
    fv_dataset *data;
    OK(toy_data(&data, 120, 1));
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        fv_train_setup how;
        fv_train_result result;
        fv_model *model;
        small(&how, "transformer");
        how.tokenizer.vocab_size = 200, how.train.epochs = 14;
        OK(fv_train_setup_set(&how, settings[i][0], settings[i][1]));
        fv_status status = fv_train(&model, &result, data, data, &how);
        if (status != FV_OK) fail_msg("%s=%s: %s", settings[i][0], settings[i][1], fv_message());
        double accuracy = result.best.score[0].value;
        if (accuracy < 0.9) fail_msg("%s=%s: accuracy %g", settings[i][0], settings[i][1], accuracy);
        fv_model_free(model);
    }
    fv_dataset_free(data);
}

/* ---- the solver of the linear model */

/* Rosenbrock's valley: minimum 0 at (1, 1), the classic test of a line search. */
static double rosenbrock(void *context, double *g, const double *x) {
    double a = 1 - x[0], b = x[1] - x[0] * x[0];
    (void)context;
    g[0] = -2 * a - 400 * x[0] * b;
    g[1] = 200 * b;
    return a * a + 100 * b * b;
}

static void test_lbfgs(void **state) {
    (void)state;
    double x[2] = {-1.2, 1};
    int rounds;
    fv__lbfgs how = {.n = 2, .history = 5, .max_rounds = 200, .tolerance = 1e-10};
    OK(fv__lbfgs_minimize(&how, x, rosenbrock, NULL, &rounds));
    assert_true(fabs(x[0] - 1) < 1e-8 && fabs(x[1] - 1) < 1e-8);
    assert_true(rounds < 80);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds_have_rows),
        cmocka_unit_test(test_unknown_kind_suggests),
        cmocka_unit_test(test_impossible_options),
        cmocka_unit_test(test_unspaced_text_is_learnt),
        cmocka_unit_test(test_words_that_are_no_features),
        cmocka_unit_test(test_save_load),
        cmocka_unit_test(test_learns),
        cmocka_unit_test(test_encoded),
        cmocka_unit_test(test_predict_is_independent),
        cmocka_unit_test(test_empty_and_strange_texts),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_contributions_point_at_the_word),
        cmocka_unit_test(test_trace_of_cls_and_long_text),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_lbfgs),
    };
    return cmocka_run_group_tests_name("model", tests, scratch_make, scratch_remove);
}
