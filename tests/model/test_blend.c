/* Blends as models: what members add, and folders that are wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "fovea/train.h"
#include "model/blend.h"
#include "support/scratch.h"
#include "support/toy.h"

#define OK(call)                                                           \
    do {                                                                   \
        fv_status ok_ = (call);                                            \
        if (ok_ != FV_OK) fail_msg("%s: %d %s", #call, ok_, fv_message()); \
    } while (0)

static fv_model *member(const char *kind, const char *tokenizer) {
    fv_train_setup how;
    fv_dataset *data;
    fv_model *model;
    OK(fv_train_setup_init(&how, kind));
    if (how.model.d_model) how.model.d_model = 16;
    if (how.model.heads) how.model.heads = 4;
    how.tokenizer.tokenizer = tokenizer;
    how.train.epochs = 4, how.train.learning_rate = 0.01;
    how.model.max_length = how.model.max_length ? 6 : 0;
    OK(toy_data(&data, 200, 1));
    OK(fv_train(&model, NULL, data, NULL, &how));
    fv_dataset_free(data);
    return model;
}

/* A blend by hand: its members read the texts in different pieces. */
static fv_model *blend(const char *second) {
    fv_model_options o;
    fv_model *model, *first = member("bayes", "word");
    OK(fv_model_options_init(&o, "auto"));
    OK(fv__model_create(&model, &o, &first->target, NULL, 0, 1));
    OK(fv__blend_add(model, "bayes", first, 3));
    OK(fv__blend_add(model, "network", member("transformer", second), 0.5));
    return model;
}

static const char text[] = "great word7 word9 hate word11 word6 word8 word19 bad";

static void test_answers_are_the_weighted_product(void **state) {
    (void)state;
    fv_model *model = blend("bpe");
    const char *one = text;
    size_t size = strlen(text);
    float p[3][2];
    OK(fv_model_predict(model, (fv_texts){1, &one, &size}, p[0]));
    for (int i = 0; i < 2; i++)
        OK(fv_model_predict(fv_model_member(model, i, NULL, NULL), (fv_texts){1, &one, &size}, p[1 + i]));
    double z[2], sum = 0;
    for (int c = 0; c < 2; c++) sum += z[c] = pow(p[1][c], 3) * pow(p[2][c], 0.5);
    for (int c = 0; c < 2; c++) assert_true(fabs(p[0][c] - z[c] / sum) < 1e-6);
    fv_model_free(model);
}

/* What members add to a class sums to what the blend says, and stands where the words do although the members cut the
 * text into other pieces; the network read six of them. */
static void test_contributions(void **state) {
    (void)state;
    static const char *const tokenizers[] = {"word", "bpe"};
    for (int k = 0; k < 2; k++) {
        fv_model *model = blend(tokenizers[k]);
        fv_trace *trace;
        float all[16], part[2][16];
        OK(fv_model_trace(&trace, model, text, strlen(text)));
        assert_int_equal(trace->layers, 2);
        assert_int_equal(trace->tokens->count, 6);
        assert_true(trace->cut);
        assert_int_equal(fv_trace_member_contributions(trace, 0, part[0]), FV_USAGE);
        OK(fv_trace_backward(trace, 1));
        OK(fv_trace_contributions(trace, all));
        for (int i = 0; i < 2; i++) OK(fv_trace_member_contributions(trace, i, part[i]));
        for (int t = 0; t < 6; t++) assert_true(fabs(all[t] - part[0][t] - part[1][t]) < 1e-6);
        assert_int_equal(fv_trace_member_contributions(trace, 2, all), FV_USAGE);
        double great = 0;
        for (int t = 0; t < 6; t++)
            if (trace->tokens->end[t] <= 5) great += part[0][t];
        assert_true(great > 0.1);
        fv_trace_free(trace);
        fv_model_free(model);
    }
}

static void test_members_as_tensors(void **state) {
    (void)state;
    fv_model *model = blend("word");
    int64_t parameters = 0;
    size_t tensors = 0;
    for (int i = 0; i < 2; i++) {
        parameters += fv_model_parameters(fv_model_member(model, i, NULL, NULL));
        tensors += fv_model_tensor_count(fv_model_member(model, i, NULL, NULL));
    }
    assert_int_equal(fv_model_parameters(model), parameters);
    assert_int_equal(fv_model_tensor_count(model), tensors);
    for (size_t i = 0; i < tensors; i++) {
        const char *name;
        fv_tensor t = fv_model_tensor(model, i, &name);
        assert_true(t.data && (strncmp(name, "bayes/", 6) == 0 || strncmp(name, "network/", 8) == 0));
    }
    assert_null(fv_model_member(model, 2, NULL, NULL));
    assert_null(fv_model_member(model, -1, NULL, NULL));
    fv_model_free(model);
}

/* ---- bad folders */

static char folder[300];

static void expect(const char *change, const char *message) {
    char command[1500];
    fv_model *model;
    snprintf(command, sizeof command, "cd %s && rm -rf bad && cp -r good bad && cd bad && %s", folder, change);
    if (system(command) != 0) fail_msg("%s", command);
    snprintf(command, sizeof command, "%s/bad", folder);
    fv_status status = fv_model_load(&model, command);
    if (status != FV_BAD_MODEL || !strstr(fv_message(), message) ||
        strncmp(fv_message(), command, strlen(command)) != 0)
        fail_msg("%s\nexpected: %s\n   found: %d %s", change, message, status, fv_message());
    assert_null(model);
}

static void test_bad_folders(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "%s", scratch_path(""));
    fv_model *model = blend("word");
    OK(fv_model_save(model, scratch_path("good")));
    fv_model_free(model);
    OK(fv_model_load(&model, scratch_path("good")));
    fv_model_free(model);
    expect("sed -i 's/\"bayes\"/\"..\\/..\\/bayes\"/' config.json",
           "not the name of a member\n  expected small letters");
    expect("sed -i 's/\"bayes\"/\"\"/' config.json", "not the name of a member");
    expect("sed -i 's/\"network\"/\"bayes\"/' config.json", "two members \"bayes\"");
    expect("sed -i 's/\"network\"/\"other\"/' config.json", "not a model folder");
    expect("sed -i 's/0.5/0/' config.json",
           "member \"network\": a weight\n  expected above 0, at most 1e6\n  found:   0");
    expect("sed -i 's/0.5/-1/' config.json", "member \"network\": a weight");
    expect("sed -i 's/0.5/1e300/' config.json", "member \"network\": a weight");
    expect("sed -i 's/0.5/\"a\"/' config.json", "\"weight\"");
    expect("sed -i 's/\"members\": \\[/\"members\": [1,/' config.json", "\"members\", number 1\n  expected an object");
    expect("sed -i 's/\"members\"/\"nobody\"/' config.json", "\"members\"");
    expect("sed -i 's/\"yes\"/\"si\"/' config.json", "member \"bayes\" answers something else");
    expect(
        "sed -i 's/\"kind\": \"bayes\"/\"kind\": \"linear\"/' members/bayes/config.json && rm members/bayes/*tensors",
        "members/bayes");
    expect("rm -r members/network && cp -r ../good members/network", "members/network: a blend within a blend");
    expect("rm -r members/network && ln -s ../../bad members/network", "members/network: a blend within a blend");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_are_the_weighted_product),
        cmocka_unit_test(test_contributions),
        cmocka_unit_test(test_members_as_tensors),
        cmocka_unit_test(test_bad_folders),
    };
    return cmocka_run_group_tests_name("blend", tests, scratch_make, scratch_remove);
}
