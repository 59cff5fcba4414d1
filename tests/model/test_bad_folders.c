/* Bad model folders: every fault is FV_BAD_MODEL (exit code 4) with a message that names file, tensor or key. A good
 * model is saved once; each case spoils one thing of a copy. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <sys/resource.h>

#include "fovea/files.h"
#include "fovea/train.h"
#include "support/scratch.h"
#include "support/toy.h"

#define OK(call)                                                           \
    do {                                                                   \
        fv_status ok_ = (call);                                            \
        if (ok_ != FV_OK) fail_msg("%s: %d %s", #call, ok_, fv_message()); \
    } while (0)

static char good[256], bad[256];

static void shell(const char *format, ...) {
    char command[1200];
    va_list list;
    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    va_end(list);
    if (system(command) != 0) fail_msg("%s", command);
}

static void fresh(void) { shell("rm -rf %s && cp -r %s %s", bad, good, bad); }

/* The message must be exactly this, with every %s standing for the bad folder. */
static void expect(const char *message) {
    char wanted[1200] = "";
    fv_model *model;
    for (const char *at = message; *at;) {
        bool folder = strncmp(at, "%s", 2) == 0;
        strncat(wanted, folder ? bad : at, folder ? sizeof bad : 1);
        at += folder ? 2 : 1;
    }
    fv_status status = fv_model_load(&model, bad);
    if (strcmp(fv_message(), wanted) != 0) fail_msg("\nexpected: %s\n   found: %s", wanted, fv_message());
    assert_int_equal(status, FV_BAD_MODEL);
    assert_null(model);
}

/* The same for messages whose details are another part's business: it must hold this text. */
static void expect_part(const char *file, const char *part) {
    fv_model *model;
    fv_status status = fv_model_load(&model, bad);
    if (!strstr(fv_message(), file) || !strstr(fv_message(), part))
        fail_msg("\nexpected: %s ... %s\n   found: %s", file, part, fv_message());
    assert_int_equal(status, FV_BAD_MODEL);
}

static void config(const char *from, const char *to) {
    fresh();
    shell("grep -q '%s' %s/config.json && sed -i 's/%s/%s/' %s/config.json", from, bad, from, to, bad);
}

/* ---- config.json */

static void test_config_values(void **state) {
    (void)state;
    config("\"heads\": 2", "\"heads\": 3");
    expect("%s/config.json: heads must divide d_model\n  found:   heads 3, d_model 16");
    config("\"heads\": 2", "\"heads\": 0");
    expect("%s/config.json: heads is out of range\n  expected 1 to 1024\n  found:   0");
    config("\"d-model\": 16", "\"d-model\": -16");
    expect("%s/config.json: d-model is out of range\n  expected 1 to 65536\n  found:   -16");
    config("\"layers\": 1", "\"layers\": 99999999999");
    expect("%s/config.json: layers is out of range\n  expected 0 to 1000\n  found:   99999999999");
    config("\"pooling\": \"attention\"", "\"pooling\": \"best\"");
    expect("%s/config.json: unknown pooling\n  expected mean|max|cls|attention|mean+attention\n  found:   best");
    config("\"kind\": \"transformer\"", "\"kind\": \"transformr\"");
    expect(
        "%s/config.json: unknown model\n  expected one of: bayes, linear, bag, attention, transformer, auto\n"
        "  found:   \"transformr\"\n  try:     transformer");
    config("\"format\": 1", "\"format\": 7");
    expect("%s/config.json: unknown format\n  expected \"format\": 1\n  found:   7");
    config("\"model_type\": \"fovea\"", "\"model_type\": \"bert\"");
    expect("%s/config.json: not a model of fovea\n  expected \"model_type\": \"fovea\"\n  found:   \"bert\"");
    config("\"mechanism\": \"softmax\"", "\"mechanism\": \"softmx\"");
    expect_part("attention", "softmx");
}

static void test_config_types(void **state) {
    (void)state;
    config("\"d-model\": 16", "\"d-model\": \"16\"");
    expect_part("/config.json", "d-model");
    config("\"pooling\": \"attention\"", "\"pooling\": 3");
    expect_part("/config.json", "pooling");
    config("\"d-model\": 16", "\"d-model\": 16.5");
    expect_part("/config.json", "d-model");
    config("\"vocab_size\": ", "\"vocab_size\": -");
    expect_part("/config.json", "\"vocab_size\"\n  expected 1 or more, below 2^31\n  found:   -");
    config("\"0\": \"no\"", "\"7\": \"no\"");
    expect("%s/config.json: \"id2label\"\n  expected the keys \"0\" to \"1\"\n  found:   no \"0\"");
    config("\"id2label\"", "\"id2labels\"");
    expect_part("/config.json", "id2label");
    config("\"options\"", "\"option\"");
    expect_part("/config.json", "options");
    fresh();
    shell("echo '[]' > %s/config.json", bad);
    expect("%s/config.json: not a configuration\n  expected an object\n  found:   an array");
    shell("echo '{\"model_type\": ' > %s/config.json", bad);
    expect_part("/config.json", "");
    shell(": > %s/config.json", bad);
    expect_part("/config.json", "");
    shell("rm %s/config.json", bad);
    expect_part("/config.json", "");
}

/* A model names its task; one without a name is of a time when there was one task. */
static void test_config_task(void **state) {
    (void)state;
    const char *text = "good";
    const size_t size = 4;
    float answer[2];
    char *line;
    fv_model *model;
    fresh();
    shell("grep -q '\"task\"' %s/config.json && sed -i '/\"task\"/d' %s/config.json", bad, bad);
    assert_int_equal(fv_model_load(&model, bad), FV_OK);
    assert_string_equal(fv_model_task_of(model), "classify");
    fv_model_free(model);
    config("\"task\": \"classify\"", "\"task\": \"translate\"");
    assert_int_equal(fv_model_load(&model, bad), FV_OK); /* may be looked at, but not asked */
    assert_null(fv_task_of(model));
    assert_int_equal(fv_model_predict(model, (fv_texts){1, &text, &size}, answer), FV_OK);
    assert_int_equal(fv_answer_line(&line, model, answer, NULL), FV_BAD_MODEL);
    assert_string_equal(fv_message(),
                        "the task of the model\n  expected one that fits its targets\n  found:   \"translate\", which "
                        "this version does not know");
    fv_model_free(model);
    config("\"task\": \"classify\"", "\"task\": \"regress\"");
    assert_int_equal(fv_model_load(&model, bad), FV_OK);
    assert_int_equal(fv_answer_line(&line, model, answer, NULL), FV_BAD_MODEL);
    assert_string_equal(
        fv_message(),
        "the task of the model\n  expected one that fits its targets\n  found:   \"regress\", which has other targets");
    fv_model_free(model);
    config("\"task\": \"classify\"", "\"number\": {\"mean\": 1, \"scale\": 0}");
    expect("%s/config.json: \"number\"\n  expected a finite mean and a scale above 0\n  found:   1 and 0");
    config("\"task\": \"classify\"", "\"number\": {\"mean\": 1, \"scale\": 2}");
    expect_part("/model.safetensors", "\"out.weight\" has the wrong shape");
}

static void test_sizes_that_overflow(void **state) {
    (void)state;
    config("\"d-model\": 16", "\"d-model\": 65536");
    expect_part("/model.safetensors: tensor \"embed.weight\" has the wrong shape\n  expected f32[", ",65536]");
    config("\"layers\": 1", "\"layers\": 1000");
    expect_part("/model.safetensors: no tensor \"block1.", "");
    config("\"vocab_size\": [0-9]*", "\"vocab_size\": 2147483647");
    expect_part("/tokenizer.json: wrong number of tokens\n  expected 2147483647", "");
    config("\"vocab_size\": [0-9]*", "\"vocab_size\": 99999999999");
    expect("%s/config.json: \"vocab_size\"\n  expected 1 or more, below 2^31\n  found:   99999999999");
}

static long peak_kib(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss;
}

/* What a config.json announces is held against the header of the weights before memory is taken or a number drawn. */
static void test_announced_shapes_cost_nothing(void **state) {
    (void)state;
    const long before = peak_kib();
    config("\"d-ff\": 0", "\"d-ff\": 1048576");
    expect_part("/model.safetensors: tensor \"block0.", "has the wrong shape\n  expected f32[1048576");
    config("\"positions\": \"none\"", "\"positions\": \"learned\"");
    shell("sed -i 's/\"max-length\": 256/\"max-length\": 1048576/' %s/config.json", bad);
    expect_part("/model.safetensors: no tensor \"positions.weight\"", "");
    config("\"ngram-bits\": 0", "\"ngram-bits\": 24");
    expect_part("/model.safetensors: no tensor \"ngrams.weight\"", "");
    char keep[256];
    strcpy(keep, good);
    strcpy(good, scratch_path("linear"));
    config("\"grams\": [0-9]*", "\"grams\": 2000000000");
    expect_part("/model.safetensors: tensor \"grams\" has the wrong shape\n  expected i32[2000000000,2]", "");
    strcpy(good, keep);
    assert_in_range(peak_kib() - before, 0, 32 * 1024);
}

static void test_very_many_keys(void **state) {
    (void)state;
    fresh();
    shell(
        "awk '/\"heads\"/ { while (k++ < 1001) print \"\\\"k\" k \"\\\": 1,\" } 1' %s/config.json > %s/c && mv "
        "%s/c %s/config.json",
        bad, bad, bad, bad);
    expect_part("/config.json: too many keys\n  expected at most 1000\n  found:   ", "");
}

static int warnings;
static void count_warnings(void *context, fv_log_level level, const char *line) {
    (void)context;
    if (level == FV_LOG_WARN && strstr(line, "\"colour\" is ignored")) warnings++;
}

static void test_unknown_keys_warn(void **state) {
    (void)state;
    fv_model *model;
    fv_set_log(count_warnings, NULL);
    config("\"heads\": 2", "\"heads\": 2, \"colour\": 1");
    OK(fv_model_load(&model, bad));
    fv_model_free(model);
    config("\"format\": 1", "\"format\": 1, \"colour\": 1");
    OK(fv_model_load(&model, bad));
    fv_model_free(model);
    fv_set_log(NULL, NULL);
    assert_int_equal(warnings, 2);
}

/* ---- model.safetensors */

typedef void spoil_fn(fv_named_tensor *tensors, int64_t *count);

/* Rewrites the weights with something wrong in them. */
static void rewrite(spoil_fn *spoil) {
    fv_tensor_file *file;
    fv_named_tensor tensors[64];
    char path[300];
    fresh();
    snprintf(path, sizeof path, "%s/model.safetensors", good);
    OK(fv_tensor_file_open(&file, path));
    int64_t count = fv_tensor_file_count(file);
    assert_true(count < 64);
    for (int64_t i = 0; i < count; i++)
        tensors[i] = (fv_named_tensor){fv_tensor_file_name(file, i), fv_tensor_file_at(file, i)};
    spoil(tensors, &count);
    snprintf(path, sizeof path, "%s/model.safetensors", bad);
    OK(fv_safetensors_write(path, tensors, count, NULL));
    fv_tensor_file_close(file);
}

static fv_named_tensor *named(fv_named_tensor *tensors, const char *name) {
    while (strcmp(tensors->name, name) != 0) tensors++;
    return tensors;
}

static void drop_bias(fv_named_tensor *t, int64_t *count) { *named(t, "out.bias") = t[--*count]; }
static void rename_bias(fv_named_tensor *t, int64_t *count) { (void)count, named(t, "out.bias")->name = "out.bais"; }
static void cut_bias(fv_named_tensor *t, int64_t *count) { (void)count, named(t, "out.bias")->tensor.dim[0] = 1; }
static void retype_bias(fv_named_tensor *t, int64_t *count) {
    (void)count, named(t, "out.bias")->tensor.dtype = FV_I32;
}
static void turn_weight(fv_named_tensor *t, int64_t *count) {
    (void)count;
    fv_tensor *w = &named(t, "out.weight")->tensor;
    *w = fv_tensor_transpose(*w, 0, 1);
}
static float nan_values[2];
static void nan_bias(fv_named_tensor *t, int64_t *count) {
    (void)count;
    nan_values[1] = NAN;
    named(t, "out.bias")->tensor.data = nan_values;
}

static double wide_values[2] = {1e300, 0};
static void wide_bias(fv_named_tensor *t, int64_t *count) {
    (void)count;
    named(t, "out.bias")->tensor.dtype = FV_F64;
    named(t, "out.bias")->tensor.data = wide_values;
}

static float huge_values[2 * 16];
static void huge_weights(fv_named_tensor *t, int64_t *count) {
    (void)count;
    for (int i = 0; i < 32; i++) huge_values[i] = i % 3 ? 3e38f : -3e38f;
    named(t, "out.weight")->tensor.data = huge_values;
}

/* Finite, and too large for the arithmetic: the model loads, and gives no answer. */
static void test_huge_weights(void **state) {
    (void)state;
    const char *text = "great good nice";
    const size_t size = 15;
    float answer[2];
    fv_model *model;
    fv_trace *trace;
    rewrite(huge_weights);
    OK(fv_model_load(&model, bad));
    assert_int_equal(fv_model_predict(model, (fv_texts){1, &text, &size}, answer), FV_BAD_MODEL);
    assert_string_equal(fv_message(),
                        "the model gives no finite answer\n  expected weights that the arithmetic in f32 can bear\n"
                        "  found:   weights up to 3e+38 in tensor \"out.weight\"\n"
                        "  try:     the last good copy of the model");
    assert_int_equal(fv_model_trace(&trace, model, text, size), FV_BAD_MODEL);
    fv_model_free(model);
}

static void test_tensors(void **state) {
    (void)state;
    rewrite(drop_bias);
    expect_part("/model.safetensors", "out.bias");
    rewrite(rename_bias);
    expect_part("/model.safetensors", "out.bias");
    rewrite(cut_bias);
    expect("%s/model.safetensors: tensor \"out.bias\" has the wrong shape\n  expected f32[2]\n  found:   f32[1]");
    rewrite(retype_bias);
    expect("%s/model.safetensors: tensor \"out.bias\" has the wrong shape\n  expected f32[2]\n  found:   i32[2]");
    rewrite(turn_weight);
    expect(
        "%s/model.safetensors: tensor \"out.weight\" has the wrong shape\n  expected f32[2,16]\n  found:   f32[16,2]");
    rewrite(nan_bias);
    expect_part("out.bias", "element 1 is not a finite number");
    rewrite(wide_bias); /* finite in f64, not in f32 */
    expect_part("out.bias", "element 0 is not a finite number");
}

static void test_weights_file(void **state) {
    (void)state;
    fresh();
    shell("rm %s/model.safetensors", bad);
    expect_part("/model.safetensors", "");
    fresh();
    shell("truncate -s -8 %s/model.safetensors", bad);
    expect_part("/model.safetensors", "");
    fresh();
    shell("truncate -s 5 %s/model.safetensors", bad);
    expect_part("/model.safetensors", "");
    fresh();
    shell("printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:00\\nsize 1\\n' > %s/model.safetensors",
          bad);
    expect_part("/model.safetensors", "a pointer of Git LFS");
    fresh();
    shell("printf x >> %s/model.safetensors", bad);
    expect_part("/model.safetensors", "");
    fresh();
    shell(
        "printf '\\100\\0\\0\\0\\0\\0\\0\\0%%-64s%%8s' "
        "'{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}' '' > "
        "%s/model.safetensors",
        bad);
    expect_part("/model.safetensors", "");
}

static void test_folder(void **state) {
    (void)state;
    fv_model *model;
    shell("rm -rf %s", bad);
    expect(
        "%s: not a model folder\n  expected a folder with config.json, model.safetensors and tokenizer.json\n"
        "  found:   nothing of this name");
    assert_int_equal(fv_model_load(&model, "/dev/null"), FV_BAD_MODEL);
    fresh();
    shell("rm %s/tokenizer.json", bad);
    expect_part("/tokenizer.json", "");
    fresh();
    shell("echo '{}' > %s/tokenizer.json", bad);
    expect_part("/tokenizer.json", "");
}

/* A gram that extends a feature that is not there. */
static int32_t gram_values[2];
static void spoil_gram(fv_named_tensor *t, int64_t *count) {
    (void)count;
    fv_tensor *ngrams = &named(t, "grams")->tensor;
    gram_values[0] = 1 << 30;
    for (int a = 0; a < 2; a++) ngrams->stride[a] = a;
    ngrams->data = gram_values;
}

static void test_counting_model(void **state) {
    (void)state;
    char keep[256];
    strcpy(keep, good);
    strcpy(good, scratch_path("linear"));
    rewrite(spoil_gram);
    expect_part("/model.safetensors: tensor \"grams\", row 0", "found:   1073741824, 0");
    strcpy(good, keep);
}

/* A tokenizer that skips an id is sound: here 0, whose token was [PAD]. */
static void test_skipped_id(void **state) {
    (void)state;
    static const char *const kinds[] = {"linear", "bayes", "bag"}, *const tokenizers[] = {"word", "wordpiece", "bpe"};
    for (int k = 0; k < 9; k++) {
        fv_train_setup how;
        fv_dataset *data;
        fv_model *model;
        float probability[2 * 60];
        char *text;
        OK(fv_train_setup_init(&how, kinds[k / 3]));
        how.tokenizer.tokenizer = tokenizers[k % 3], how.tokenizer.vocab_size = k % 3 ? 400 : 0;
        if (k / 3 == 2) how.model.d_model = 8, how.train.until = "2u";
        OK(toy_data(&data, 60, 1));
        OK(fv_train(&model, NULL, data, NULL, &how));
        shell("rm -rf %s", bad);
        OK(fv_model_save(model, bad));
        fv_model_free(model);
        shell("sed -i '/\\[PAD\\]/d' %s/tokenizer.json && ! grep -q PAD %s/tokenizer.json", bad, bad);
        OK(fv_model_load(&model, bad));
        const fv_tokenizer *t = fv_model_tokenizer(model);
        assert_null(fv_tokenizer_token(t, 0));
        OK(fv_model_predict(model, data->texts, probability));
        OK(fv_tokenizer_decode(t, &text, (int32_t[]){0, 1, 5}, 3));
        fv_text_free(text);
        fv_trace *trace;
        OK(fv_model_trace(&trace, model, data->texts.text[0], data->texts.size[0]));
        fv_trace_free(trace);
        OK(fv_model_save(model, bad));
        fv_model_free(model);
        OK(fv_model_load(&model, bad)); /* what was saved skips the same id */
        assert_null(fv_tokenizer_token(fv_model_tokenizer(model), 0));
        if (k % 3 == 0) {
            fv_tokenizer *more;
            OK(fv_tokenizer_with_words(&more, fv_model_tokenizer(model), (const char *[]){"zebra"}, 1));
            assert_string_equal(fv_tokenizer_token(more, fv_tokenizer_size(more) - 1), "zebra");
            assert_int_equal(fv_tokenizer_size(more), fv_tokenizer_size(fv_model_tokenizer(model)) + 1);
            fv_tokenizer_free(more);
        }
        fv_model_free(model);
        fv_dataset_free(data);
    }
}

static void make(const char *kind, const char *folder) {
    fv_train_setup how;
    fv_dataset *data;
    fv_model *model;
    OK(fv_train_setup_init(&how, kind));
    how.model.d_model = 16, how.model.heads = 2, how.model.layers = 1, how.train.until = "2u";
    OK(toy_data(&data, 60, 1));
    OK(fv_train(&model, NULL, data, NULL, &how));
    OK(fv_model_save(model, folder));
    fv_model_free(model);
    fv_dataset_free(data);
}

static int start(void **state) {
    if (scratch_make(state) != 0) return -1;
    strcpy(good, scratch_path("good"));
    strcpy(bad, scratch_path("bad"));
    make("transformer", good);
    make("linear", scratch_path("linear"));
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_skipped_id),          cmocka_unit_test(test_config_values),
        cmocka_unit_test(test_config_types),        cmocka_unit_test(test_config_task),
        cmocka_unit_test(test_sizes_that_overflow), cmocka_unit_test(test_announced_shapes_cost_nothing),
        cmocka_unit_test(test_very_many_keys),      cmocka_unit_test(test_unknown_keys_warn),
        cmocka_unit_test(test_huge_weights),        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_weights_file),        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_counting_model),
    };
    return cmocka_run_group_tests_name("bad models", tests, start, scratch_remove);
}
