/* Training: durations, schedules, presets, the loop, the run folder, resume, faults. */
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
#include "train/train.h"

static fv_train_setup quick(const char *folder) {
    fv_train_setup how = toy_setup(folder);
    how.model.ngrams.ngram_bits = 8;
    return how;
}

/* ---- durations, schedules, options */

static void test_durations(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double amount;
        fv__unit unit;
    } good[] = {{"3e", 3, FV_UNIT_EPOCHS},      {"0.5e", 0.5, FV_UNIT_EPOCHS},   {"500", 500, FV_UNIT_UPDATES},
                {"500u", 500, FV_UNIT_UPDATES}, {"20Ku", 20e3, FV_UNIT_UPDATES}, {"5Mt", 5e6, FV_UNIT_TOKENS},
                {"90s", 90, FV_UNIT_SECONDS},   {"15m", 900, FV_UNIT_SECONDS},   {"2h", 7200, FV_UNIT_SECONDS}};
    static const char *const bad[] = {"",     "e",   "-3e", "0u", "3x",
                                      "1e5q", "nan", "inf", "Ku", "9999999999999999999999999999999999999999e"};
    fv__duration d;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        OK(fv__duration_parse(&d, "until", good[i].text));
        assert_true(d.unit == good[i].unit && fabs(d.amount - good[i].amount) < 1e-9);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(fv__duration_parse(&d, "until", bad[i]), FV_USAGE);
    refused(FV_USAGE, fv__duration_parse(&d, "log-every", "3x"),
            "log-every: not a duration\n  expected a number above zero and a unit: 3e (epochs), 500u or 20Ku "
            "(updates), 5Mt "
            "(tokens), 90s 15m 2h (time)\n  found:   \"3x\"");
}

static void test_schedules(void **state) {
    (void)state;
    fv_train_options o;
    fv_options_init(fv_train_option_rows(), &o);
    o.warmup = 0.5;
    assert_true(fv__schedule(&o, 0.25) == 0.5 && fv__schedule(&o, 0.5) == 1 && fv__schedule(&o, 0.75) == 0.5);
    assert_true(fv__schedule(&o, 1) == 0 && fv__schedule(&o, 7) == 0);
    o.schedule = "cosine";
    assert_true(fabs(fv__schedule(&o, 0.75) - 0.5) < 1e-12 &&
                fabs(fv__schedule(&o, 0.625) - (2 + sqrt(2)) / 4) < 1e-12);
    o.schedule = "constant";
    assert_true(fv__schedule(&o, 0.25) == 0.5 && fv__schedule(&o, 0.9) == 1);
}

static void test_setup(void **state) {
    (void)state;
    fv_train_setup how;
    OK(fv_train_setup_init(&how, "transformer"));
    OK(fv_train_setup_set(&how, "layers", "3"));
    OK(fv_train_setup_set(&how, "lowercase", "false"));
    OK(fv_train_setup_set(&how, "learning-rate", "0.5"));
    assert_true(how.model.layers == 3 && !how.tokenizer.lowercase && how.train.learning_rate == 0.5);
    assert_int_equal(fv_train_setup_set(&how, "learning-rte", "1"), FV_USAGE);
    assert_non_null(strstr(fv_message(), "\n  found:   \"learning-rte\"\n  try:     learning-rate"));
    assert_int_equal(fv_train_setup_set(&how, "alpha", "1"), FV_USAGE); /* belongs to bayes */
    for (size_t i = 0; i < fv_preset_count(); i++) {
        OK(fv_train_setup_preset(&how, fv_preset_at(i)->name));
        OK(fv_model_options_check(&how.model));
    }
    assert_int_equal(fv_train_setup_preset(&how, "word-vector"), FV_USAGE);
    assert_non_null(strstr(fv_message(), "try:     word-vectors"));
}

/* ---- training */

static uint64_t file_hash(const char *folder, const char *name) {
    char path[600];
    fv__file file;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    OK(fv__file_read(&file, path));
    uint64_t hash = fv__hash(file.data, file.size, 0);
    fv__file_free(&file);
    return hash;
}

static void test_same_bytes_for_any_threads(void **state) {
    (void)state;
    uint64_t hash[3];
    fv_train_result r;
    for (int i = 0; i < 3; i++) {
        fv_train_setup how = quick(NULL);
        fv_set_threads(1 << i);
        hash[i] = run_hash(&how, &r);
    }
    fv_set_threads(0);
    assert_true(hash[0] == hash[1] && hash[0] == hash[2]);
    fv_train_setup other = quick(NULL);
    other.train.seed = 2;
    assert_true(run_hash(&other, &r) != hash[0]);
}

static void test_counts_and_best(void **state) {
    (void)state;
    fv_train_result r;
    fv_train_setup how = quick(NULL);
    run_hash(&how, &r);
    assert_int_equal(r.texts, 120);
    assert_int_equal(r.updates, 60);
    assert_true(r.best_update > 0 && r.best_update % 10 == 0);
    assert_true(r.best.score[0].value >= 0.9);
    how.train.until = "7u";
    run_hash(&how, &r);
    assert_int_equal(r.updates, 7);
    assert_int_equal(r.best_update, 7);
    how.train.until = NULL, how.train.gradient_accumulation = 4, how.train.epochs = 1.5;
    run_hash(&how, &r);
    assert_int_equal(r.updates, 5); /* 22 batches and a half, four an update */
    how.train.gradient_accumulation = 1, how.train.epochs = 50, how.train.early_stopping = 2;
    run_hash(&how, &r);
    assert_true(r.stopped_early && r.updates == r.best_update + 20);
}

typedef struct kept {
    double metric, loss; /* of the best evaluation by metric and loss */
    int64_t update, evaluations;
} kept;

static void note_evaluation(void *context, const fv_event *e) {
    kept *k = context;
    if (e->kind != FV_EVENT_EVAL) return;
    double metric = e->valid.score[0].value, loss = e->valid.score[2].value;
    bool better = k->evaluations == 0 || metric > k->metric || (metric == k->metric && loss < k->loss);
    assert_int_equal(better, e->best);
    if (better) *k = (kept){metric, loss, e->step, k->evaluations};
    k->evaluations++;
}

/* Forty texts are soon all right: of those models the one with the lowest loss is kept. */
static void test_ties_are_broken_by_the_loss(void **state) {
    (void)state;
    fv_train_result r;
    kept k = {0};
    fv_train_setup how = quick(NULL);
    how.train.epochs = 8, how.event = note_evaluation, how.event_context = &k;
    run_hash(&how, &r);
    assert_true(k.metric == 1 && k.evaluations == 12 && k.update > 60);
    assert_int_equal(r.best_update, k.update);
    assert_true(r.best.score[2].value == k.loss);
}

/* Four batches of 8 make the gradient of one batch of 32. The tables see the same rows. */
static void test_accumulation(void **state) {
    (void)state;
    fv_model *model[2];
    for (int i = 0; i < 2; i++) {
        fv_train_setup how = quick(NULL);
        how.model.dropout = how.model.word_dropout = 0, how.train.bucket = 1, how.train.until = "3u";
        how.train.ema_decay = 0, how.train.batch_size = i ? 30 : 10, how.train.gradient_accumulation = i ? 1 : 3,
        how.train.epsilon = 1e-3;
        OK(fv_train(&model[i], NULL, train_data, NULL, &how));
    }
    for (size_t i = 0; i < fv_model_tensor_count(model[0]); i++) {
        fv_tensor a = fv_model_tensor(model[0], i, NULL), b = fv_model_tensor(model[1], i, NULL);
        for (int64_t k = 0; k < fv_tensor_count(&a); k++)
            assert_true(fabsf(((float *)a.data)[k] - ((float *)b.data)[k]) < 1e-4);
    }
    fv_model_free(model[0]);
    fv_model_free(model[1]);
}

/* ---- gradient accumulation */

/* An update of nine texts is the same update however they are cut into batches: its loss is a mean of texts. */
static void first_step(void *context, const fv_event *e) {
    if (e->kind == FV_EVENT_STEP && e->step == 1) *(fv_event *)context = *e;
}

static void test_accumulation_weighs_texts(void **state) {
    (void)state;
    const int64_t cuts[][2] = {{9, 1}, {3, 3}, {8, 2}, {4, 3}, {1, 9}};
    fv_event first[5] = {0};
    fv_dataset *nine;
    OK(toy_data(&nine, 9, 4));
    for (int i = 0; i < 5; i++) {
        fv_train_setup how = quick(NULL);
        fv_model *model;
        how.model.dropout = how.model.word_dropout = 0, how.train.max_grad_norm = 0, how.train.bucket = 1;
        how.train.batch_size = cuts[i][0], how.train.gradient_accumulation = cuts[i][1], how.train.until = "1u";
        how.event = first_step, how.event_context = &first[i];
        OK(fv_train(&model, NULL, nine, NULL, &how));
        fv_model_free(model);
        assert_true(first[i].loss > 0 && fabs(first[i].loss / first[0].loss - 1) < 1e-5);
        assert_true(fabs(first[i].gradient_norm / first[0].gradient_norm - 1) < 1e-5);
    }
    fv_dataset_free(nine);
}

/* ---- zero allocations */

typedef struct watch {
    int64_t first, last;
} watch;
static void watch_allocations(void *context, const fv_event *e) {
    watch *w = context;
    if (e->kind != FV_EVENT_STEP) return;
    if (e->step == 2) w->first = fv__alloc_count();
    w->last = fv__alloc_count();
}

static void test_no_allocations_after_the_first_step(void **state) {
    (void)state;
    const char *text[64];
    size_t size[64];
    int32_t label[64];
    const char *names[] = {"a", "b"};
    for (int i = 0; i < 64; i++)
        text[i] = i % 2 ? "one two three four" : "five six seven two", size[i] = strlen(text[i]), label[i] = i % 2;
    fv_dataset *data;
    fv_model *model;
    watch w = {0};
    fv_train_setup how = quick(NULL);
    OK(fv_dataset_of(&data, (fv_texts){64, text, size}, label, (fv_classes){2, names}));
    how.train.until = "40u", how.train.log_every = "1u";
    how.event = watch_allocations, how.event_context = &w;
    OK(fv_train(&model, NULL, data, NULL, &how));
    assert_true(w.first > 0);
    assert_int_equal(w.last, w.first);
    fv_model_free(model);
    fv_dataset_free(data);
}

/* ---- interrupt and resume */

static uint64_t unbroken(void) {
    static uint64_t hash;
    if (hash) return hash;
    fv_train_setup how = quick(scratch_path("unbroken"));
    how.train.log_every = "1u";
    fv_train_result r;
    run_hash(&how, &r);
    return hash = file_hash(how.folder, "model.safetensors");
}

static void interrupt_run(const char *folder, int64_t at, bool resume) {
    fv_train_setup how = quick(folder);
    stop s = {.at = at};
    fv_model *model;
    char message[900];
    how.train.log_every = "1u", how.resume = resume, how.event = stop_at, how.event_context = &s;
    snprintf(message, sizeof message, "interrupted at update %lld, state saved in %s/last\n  try:     --resume %s",
             (long long)at, folder, folder);
    refused(FV_INTERRUPTED, fv_train(&model, NULL, train_data, valid_data, &how), message);
    assert_null(model);
    fv_interrupt_clear();
}

static void test_resume_is_exact(void **state) {
    (void)state;
    uint64_t expected = unbroken();
    fv_train_setup how = quick(scratch_path("interrupted"));
    char folder[256];
    strcpy(folder, how.folder);
    how.folder = folder;
    interrupt_run(folder, 5, false);
    interrupt_run(folder, 20, true); /* an evaluation is due just then */
    interrupt_run(folder, 47, true);
    how.resume = true, how.train.log_every = "1u";
    fv_train_result r;
    run_hash(&how, &r);
    assert_int_equal(r.updates, 60);
    assert_true(file_hash(folder, "model.safetensors") == expected);
    run_hash(&how, &r); /* a finished run stays what it is */
    assert_true(file_hash(folder, "model.safetensors") == expected);
}

static int metrics_lines(const char *folder, const char *event) {
    char path[600], mark[64];
    fv__file file;
    int lines = 0;
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    snprintf(mark, sizeof mark, "\"event\":\"%s\"", event);
    OK(fv__file_read(&file, path));
    char *text = strndup((const char *)file.data, file.size), *squeezed = text;
    for (char *at = text; *at; at++)
        if (*at != ' ') *squeezed++ = *at;
    *squeezed = 0;
    for (const char *at = text; (at = strstr(at, mark)); at++) lines++;
    free(text);
    fv__file_free(&file);
    return lines;
}

static void test_older_checkpoint_is_used(void **state) {
    (void)state;
    uint64_t expected = unbroken();
    char folder[256], path[600];
    strcpy(folder, scratch_path("damaged"));
    interrupt_run(folder, 30, false); /* checkpoints: 9, 18, 27, 30: b holds 30, a holds 27 */
    snprintf(path, sizeof path, "%s/last/b.safetensors", folder);
    FILE *f = fopen(path, "r+b");
    fseek(f, -5, SEEK_END);
    int byte = fgetc(f);
    fseek(f, -5, SEEK_END);
    fputc(byte ^ 16, f);
    fclose(f);
    fv_train_setup how = quick(folder);
    stop s = {.at = -1};
    fv_train_result r;
    how.resume = true, how.event = stop_at, how.event_context = &s, how.train.log_every = "1u";
    run_hash(&how, &r);
    assert_int_equal(s.notes, 1);
    assert_non_null(strstr(s.note, "b.safetensors: is damaged"));
    assert_true(file_hash(folder, "model.safetensors") == expected);
    assert_int_equal(metrics_lines(folder, "eval"), 6); /* none is told twice */
    assert_int_equal(metrics_lines(folder, "train"), 60);
}

static void test_resume_refuses_another_run(void **state) {
    (void)state;
    char folder[256], message[900];
    fv_model *model;
    strcpy(folder, scratch_path("other"));
    fv_train_setup how = quick(folder);
    snprintf(message, sizeof message, "%s: no checkpoint to resume from\n  expected %s/last/a.safetensors", folder,
             folder);
    how.resume = true;
    assert_int_equal(fv_train(&model, NULL, train_data, valid_data, &how), FV_BAD_MODEL);
    interrupt_run(folder, 12, false);
    snprintf(message, sizeof message, "%s: already holds a run\n  try:     --resume %s   or another folder", folder,
             folder);
    how.resume = false;
    refused(FV_USAGE, fv_train(&model, NULL, train_data, valid_data, &how), message);
    how.resume = true, how.train.batch_size = 16;
    snprintf(message, sizeof message,
             "%s: batch-size cannot change in a resumed run\n  expected 8\n  found:   16\n"
             "  try:     a new run folder",
             folder);
    refused(FV_USAGE, fv_train(&model, NULL, train_data, valid_data, &how), message);
    how = quick(folder), how.resume = true;
    snprintf(message, sizeof message,
             "%s: the texts are not those the run began with\n  expected the same training and "
             "validation texts in the same order\n  found:   others\n  try:     a new run folder",
             folder);
    refused(FV_USAGE, fv_train(&model, NULL, valid_data, valid_data, &how), message);
    stop s = {.at = -1};
    how.event = stop_at, how.event_context = &s, how.train.learning_rate = 0.002, how.train.until = "14u";
    OK(fv_train(&model, NULL, train_data, valid_data, &how));
    assert_int_equal(s.notes, 2); /* learning-rate, until */
    fv_model_free(model);
}

static void test_two_trainers(void **state) {
    (void)state;
    fv__run_log first;
    fv_model *model;
    fv_train_setup how = quick(scratch_path("locked"));
    OK(fv__run_log_open(&first, how.folder));
    assert_int_equal(fv_train(&model, NULL, train_data, valid_data, &how), FV_FAIL);
    assert_non_null(strstr(fv_message(), "lock"));
    fv__run_log_close(&first);
    OK(fv_train(&model, NULL, train_data, valid_data, &how));
    fv_model_free(model);
}

static void test_divergence(void **state) {
    (void)state;
    fv_train_setup how = quick(scratch_path("diverged"));
    fv_model *model;
    char expected[700];
    how.train.learning_rate = 1e6, how.train.max_grad_norm = 0, how.train.weight_decay = 1e3,
    how.train.save_every = "1u", how.train.warmup = 0;
    how.train.schedule = "constant";
    assert_int_equal(fv_train(&model, NULL, train_data, valid_data, &how), FV_DIVERGED);
    snprintf(expected, sizeof expected, "last good state: %s/last (update ", how.folder);
    assert_non_null(strstr(fv_message(), expected));
    assert_non_null(strstr(fv_message(), "--learning-rate 100000"));
}

static void test_bad_data(void **state) {
    (void)state;
    const char *text[] = {"one", "two"}, *names[] = {"a", "b"}, *others[] = {"a", "c"};
    const size_t size[] = {3, 3};
    const int32_t same[] = {1, 1}, both[] = {0, 1};
    fv_dataset *one, *two, *other;
    fv_model *model;
    fv_evaluation *found;
    fv_train_setup how;
    OK(fv_dataset_of(&one, (fv_texts){2, text, size}, same, (fv_classes){2, names}));
    OK(fv_dataset_of(&two, (fv_texts){2, text, size}, both, (fv_classes){2, names}));
    OK(fv_dataset_of(&other, (fv_texts){2, text, size}, both, (fv_classes){2, others}));
    OK(fv_train_setup_init(&how, "bayes"));
    refused(FV_BAD_DATA, fv_train(&model, NULL, one, NULL, &how),
            "nothing to learn from\n  expected at least two classes\n  found:   \"b\" for all 2 training texts");
    refused(FV_BAD_DATA, fv_train(&model, NULL, two, other, &how),
            "validation\n  expected the classes of the training texts\n  found:   others");
    how.resume = true;
    refused(FV_USAGE, fv_train(&model, NULL, two, NULL, &how), "resume\n  expected a run folder\n  found:   none");
    how.resume = false, how.model.vectors = "none.vec";
    refused(FV_USAGE, fv_train(&model, NULL, two, NULL, &how),
            "the model bayes takes no word vectors\n  try:     --model transformer");
    how.model.vectors = NULL;
    OK(fv_train(&model, NULL, two, NULL, &how));
    assert_int_equal(fv_evaluate(&found, model, other), FV_BAD_DATA);
    assert_non_null(
        strstr(fv_message(), "a label the model does not know\n  expected one of its 2 classes\n  found:   \"c\""));
    fv_model_free(model);
    fv_dataset_free(one);
    fv_dataset_free(two);
    fv_dataset_free(other);
}

/* ---- word vectors */

static void test_vectors_start_the_embedding(void **state) {
    (void)state;
    fv_vectors_options o;
    fv_vectors *vectors;
    fv_model *model;
    fv_train_setup how = quick(NULL);
    fv_options_init(fv_vectors_option_rows(), &o);
    o.dim = 16, o.rank = 20, o.min_count = 1;
    OK(fv_vectors_train(&vectors, train_data->texts, &o));
    how.train.ema_decay = 0, how.vectors = vectors, how.train.until = "1u", how.train.learning_rate = 0,
    how.model.freeze_vectors = true;
    OK(fv_train(&model, NULL, train_data, NULL, &how));
    fv_tensor table = fv_model_tensor(model, 0, NULL);
    int32_t id = fv_tokenizer_id(fv_model_tokenizer(model), vectors->word[0]);
    assert_true(id >= 0);
    assert_memory_equal((float *)table.data + id * 16, vectors->data, 16 * sizeof(float));
    fv_model_free(model);
    how.model.d_model = 32;
    refused(FV_USAGE, fv_train(&model, NULL, train_data, NULL, &how),
            "word vectors do not fit\n  expected d-model 16, their dimension\n  found:   32\n  try:     --d-model 16");
    fv_vectors_free(vectors);
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

        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_schedules),
        cmocka_unit_test(test_setup),
        cmocka_unit_test(test_same_bytes_for_any_threads),
        cmocka_unit_test(test_counts_and_best),
        cmocka_unit_test(test_ties_are_broken_by_the_loss),
        cmocka_unit_test(test_accumulation_weighs_texts),
        cmocka_unit_test(test_accumulation),
        cmocka_unit_test(test_no_allocations_after_the_first_step),
        cmocka_unit_test(test_resume_is_exact),
        cmocka_unit_test(test_older_checkpoint_is_used),
        cmocka_unit_test(test_resume_refuses_another_run),
        cmocka_unit_test(test_two_trainers),
        cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_bad_data),
        cmocka_unit_test(test_vectors_start_the_embedding),
    };
    return cmocka_run_group_tests_name("train", tests, start, end);
}
