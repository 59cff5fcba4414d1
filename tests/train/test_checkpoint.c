/* Checkpoints that somebody made: every hash is right, so only the checks of what is inside are left. And setups
 * that were filled by hand, which have not been through the parser of options. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "fovea/files.h"
#include "fovea/train.h"
#include "support/scratch.h"
#include "support/toy.h"

static fv_dataset *train_data, *valid_data;

static fv_train_setup quick(const char *folder) {
    fv_train_setup how;
    assert_int_equal(fv_train_setup_init(&how, "transformer"), FV_OK);
    how.model.d_model = 8, how.model.heads = 2, how.model.d_ff = 8, how.model.layers = 1;
    how.train.epochs = 1, how.train.batch_size = 16, how.train.save_every = "100e", how.train.ema_decay = 0.9;
    how.folder = folder;
    return how;
}

static fv_status run(const char *folder, bool resume) {
    fv_model *model;
    fv_train_setup how = quick(folder);
    how.resume = resume;
    if (resume) how.train.epochs = 2;
    fv_status status = fv_train(&model, NULL, train_data, valid_data, &how);
    fv_model_free(model);
    return status;
}

/* ---- making one */

enum { ARRAYS = 5 };
static const char *const names[ARRAYS] = {"weights", "moment1", "moment2", "average", "averaged"};

/* The state with the number behind "key": replaced. */
static char *patched(const char *state, const char *key, const char *number) {
    char quoted[64], *text = malloc(strlen(state) + 64);
    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    const char *at = strstr(state, quoted);
    assert_non_null(at);
    at += strlen(quoted);
    sprintf(text, "%.*s%s%s", (int)(at - state), state, number, at + strcspn(at, ",}"));
    return text;
}

static void forge(const char *path, const char *key, const char *number, int64_t first_row) {
    fv_tensor_file *file;
    fv_named_tensor array[ARRAYS];
    char hash_text[32];
    assert_int_equal(fv_tensor_file_open(&file, path), FV_OK);
    const char *about = fv_tensor_file_metadata(file, "about");
    char *state = patched(fv_tensor_file_metadata(file, "state"), key, number);
    uint64_t hash = fv__hash(about, strlen(about), fv__hash(state, strlen(state), 1));
    for (int i = 0; i < ARRAYS; i++) {
        array[i].name = names[i];
        assert_int_equal(fv_tensor_file_find(file, names[i], &array[i].tensor), FV_OK);
    }
    fv_tensor *rows = &array[ARRAYS - 1].tensor;
    size_t bytes = (size_t)rows->dim[0] * sizeof first_row;
    int64_t *own = malloc(bytes);
    memcpy(own, rows->data, bytes);
    if (first_row) own[0] = first_row;
    rows->data = own;
    for (int i = 0; i < ARRAYS; i++) {
        const fv_tensor *t = &array[i].tensor;
        hash = fv__hash(t->data, (size_t)t->dim[0] * fv_dtype_size(t->dtype), hash);
    }
    snprintf(hash_text, sizeof hash_text, "%016llx", (unsigned long long)hash);
    const char *metadata[] = {"state", state, "about", about, "hash", hash_text, NULL};
    assert_int_equal(fv_safetensors_write(path, array, ARRAYS, metadata), FV_OK);
    fv_tensor_file_close(file);
    free(state);
    free(own);
}

static void test_forged(void **unused) {
    (void)unused;
    static const struct {
        const char *key, *number;
        int64_t first_row;
        const char *found; /* NULL: taken */
    } rows[] = {
        {"bad", "0", 0, NULL}, /* the forger can do what the trainer does */
        {"metrics_bytes", "-5", 0, "-5"},
        {"updates", "-1", 0, "-1"},
        {"updates", "9223372036854775807", 0, "9223372036854775807"},
        {"judged", "-2", 0, "-2"},
        {"cursor.epoch", "-9223372036854775808", 0, "-9223372036854775808"},
        {"bad", "0", INT64_MIN, "-9223372036854775808"},
        {"bad", "0", 1000000, "1000000"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[16], folder[256], path[300];
        snprintf(name, sizeof name, "forged%zu", i);
        strcpy(folder, scratch_path(name));
        snprintf(path, sizeof path, "%s/last/a.safetensors", folder);
        assert_int_equal(run(folder, false), FV_OK);
        forge(path, rows[i].key, rows[i].number, rows[i].first_row);
        fv_status status = run(folder, true);
        if (!rows[i].found) {
            assert_int_equal(status, FV_OK);
            continue;
        }
        char last[64];
        snprintf(last, sizeof last, "\n  found:   %s", rows[i].found);
        assert_int_equal(status, FV_BAD_MODEL);
        if (!strstr(fv_message(), last)) fail_msg("%s %s: %s", rows[i].key, rows[i].number, fv_message());
    }
}

/* ---- setups */

static void test_filled_by_hand(void **unused) {
    (void)unused;
    fv_train_setup how = quick(NULL);
    assert_int_equal(fv_train_setup_check(&how), FV_OK);
    how.train.gradient_accumulation = 0;
    assert_int_equal(fv_train_setup_check(&how), FV_USAGE);
    assert_string_equal(fv_message(), "gradient-accumulation is out of range\n  expected 1 to 1048576\n  found:   0");
    how = quick(NULL), how.train.learning_rate = NAN;
    assert_int_equal(fv_train_setup_check(&how), FV_USAGE);
    how = quick(NULL), how.train.schedule = NULL;
    assert_int_equal(fv_train_setup_check(&how), FV_USAGE);
    assert_string_equal(fv_message(),
                        "unknown schedule\n  expected constant|linear|cosine|inverse-sqrt\n  found:   nothing");
    how = quick(NULL), how.train.eval_every = NULL;
    assert_int_equal(fv_train_setup_check(&how), FV_USAGE);
    how = quick(NULL), how.train.until = "1e300u";
    assert_int_equal(fv_train_setup_check(&how), FV_USAGE);
    how = quick(NULL), how.model.mechanism = "softmx";
    assert_int_equal(fv_train_setup_check(&how), FV_USAGE);
    assert_non_null(strstr(fv_message(), "\n  found:   \"softmx\"\n  try:     softmax"));
}

static int start(void **state) {
    bool made = toy_data(&train_data, 40, 1) == FV_OK && toy_data(&valid_data, 20, 2) == FV_OK;
    return made ? scratch_make(state) : -1;
}

static int end(void **state) {
    fv_dataset_free(train_data);
    fv_dataset_free(valid_data);
    return scratch_remove(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forged), cmocka_unit_test(test_filled_by_hand)};
    return cmocka_run_group_tests_name("checkpoint", tests, start, end);
}
