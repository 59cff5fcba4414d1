/* io: every allocation and every file call fails once, then from then on. Nothing leaks, the old file stays whole, the
 * status says what it was, and the same work succeeds afterwards. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/scratch.h"

#include "fovea/files.h"
#include "io/json.h"
#include "io/pack.h"
#include "io/table.h"

/* ---- the work: each writes "precious" and reads it back */

static fv_status safetensors_round_trip(const char *path) {
    float x[600];
    uint8_t y[3] = {1, 2, 3};
    for (int i = 0; i < 600; i++) x[i] = (float)i;
    fv_named_tensor out[] = {{"x", fv_tensor_transpose(fv_tensor_2d(x, FV_F32, 20, 30), 0, 1)},
                             {"y", fv_tensor_1d(y, FV_U8, 3)}};
    const char *metadata[] = {"step", "12", NULL};
    FV_TRY(fv_safetensors_write(path, out, 2, metadata));
    fv_tensor_file *file;
    fv_tensor t;
    FV_TRY(fv_tensor_file_open(&file, path));
    fv_status status = fv_tensor_file_find(file, "x", &t);
    if (status == FV_OK) status = fv_tensor_file_check_finite(file);
    if (status == FV_OK &&
        (fv_tensor_get(&t, (int64_t[]){29, 19}) != 599 || strcmp(fv_tensor_file_metadata(file, "step"), "12")))
        status = fv__fail(FV_FAIL, "read something else");
    if (status == FV_OK) {
        fv_status missing = fv_tensor_file_find(file, "z", &t);
        status = missing == FV_BAD_DATA ? FV_OK : missing;
    }
    fv_tensor_file_close(file);
    return status;
}

static fv_status npy_round_trip(const char *path) {
    uint16_t x[6] = {0x3F80, 0, 0, 0, 0, 0x4000}; /* bf16: is converted on the way out */
    fv_tensor t = fv_tensor_2d(x, FV_BF16, 2, 3);
    FV_TRY(fv_npy_write(path, &t));
    fv_tensor_file *file;
    FV_TRY(fv_tensor_file_open(&file, path));
    t = fv_tensor_file_at(file, 0);
    bool same = fv_tensor_get(&t, (int64_t[]){1, 2}) == 2;
    fv_tensor_file_close(file);
    return same ? FV_OK : fv__fail(FV_FAIL, "read something else");
}

static fv_status build(fv__json *object) {
    FV_TRY(fv__json_set(object, "text", fv__json_of_text("a longer text, so that buffers have to grow")));
    fv__json *list = fv__json_array();
    for (int i = 0; i < 20; i++) {
        fv_status status = list ? fv__json_push(list, fv__json_of_float(i / 8.0)) : FV_NO_RESOURCES;
        if (status != FV_OK) {
            fv__json_free(list);
            return status;
        }
    }
    return fv__json_set(object, "list", list);
}

static fv_status json_round_trip(const char *path) {
    fv__json *object = fv__json_object(), *again = NULL;
    fv_status status = object ? build(object) : FV_NO_RESOURCES;
    if (status == FV_OK) status = fv__json_save(object, path);
    if (status == FV_OK) status = fv__json_load(&again, path, FV_BAD_DATA);
    if (status == FV_OK && fv__json_float(fv__json_at(fv__json_get(again, "list"), 19), 0) != 19 / 8.0)
        status = fv__fail(FV_FAIL, "read something else");
    fv__json_free(object);
    fv__json_free(again);
    return status;
}

static fv_status png_round_trip(const char *path) {
    unsigned char pixels[3 * 40 * 50];
    memset(pixels, 99, sizeof pixels);
    FV_TRY(fv_png_write(path, pixels, 40, 50, 3));
    fv__file file;
    FV_TRY(fv__file_read(&file, path));
    bool png = file.size > 60 && !memcmp(file.data, "\x89PNG\r\n\x1a\n", 8);
    fv__file_free(&file);
    return png ? FV_OK : fv__fail(FV_FAIL, "read something else");
}

static fv_status pack_round_trip(const char *path) {
    char text[3000], *folder = NULL;
    fv__buf packed = {0}, letters = {0}, back = {0};
    memset(text, 'x', sizeof text);
    fv_status status = fv__deflate(&packed, text, sizeof text, 6);
    if (status == FV_OK) status = fv__base64(&letters, packed.data, packed.size);
    if (status == FV_OK) status = fv__inflate(&back, packed.data, packed.size, sizeof text);
    if (status == FV_OK) status = fv__write_file(path, letters.data, letters.size);
    if (status == FV_OK) status = fv__path_join(&folder, "a", "b");
    if (status == FV_OK && back.size != sizeof text) status = fv__fail(FV_FAIL, "read something else");
    fv__free(folder);
    fv__buf_free(&packed);
    fv__buf_free(&letters);
    fv__buf_free(&back);
    return status;
}

static fv_status read_table(const char *path, fv__table_format format, int rows_expected) {
    const char *columns[] = {"label", "text", NULL};
    fv__table_options o = {.format = format, .columns = columns};
    fv__table *t;
    fv__row row;
    int rows = 0;
    FV_TRY(fv__table_open(&t, path, &o));
    fv_status status = FV_OK;
    for (bool more = true; more && status == FV_OK; rows += more && status == FV_OK)
        status = fv__table_next(t, &row, &more);
    fv__table_close(t);
    if (status == FV_OK && rows != rows_expected) return fv__fail(FV_FAIL, "read %d rows", rows);
    return status;
}

static fv_status table_round_trip(const char *path) {
    static const char csv[] = "text,label\n\"a \"\"quoted\"\" text\",x\n,y\n";
    static const char jsonl[] = "{\"text\": 1.5, \"label\": \"y\"}\n{\"text\": \"a\", \"label\": true}\n";
    FV_TRY(fv__write_file(path, csv, strlen(csv)));
    FV_TRY(read_table(path, FV_TABLE_CSV, 2));
    FV_TRY(fv__write_file(path, jsonl, strlen(jsonl)));
    return read_table(path, FV_TABLE_JSONL, 2);
}

/* ---- the harness */

typedef fv_status work(const char *path);

/* What the work leaves behind when nothing fails; the table leaves one of two files. */
static bool is_old_or_whole(const char *path, const fv__file *whole) {
    if (scratch_holds(path, "old", 3) || scratch_holds(path, whole->data, whole->size)) return true;
    fv__file now;
    if (fv__file_read(&now, path) != FV_OK) return false;
    bool first = now.size == 36 && !memcmp(now.data, "text,label\n", 11);
    fv__file_free(&now);
    return first;
}

static int fail_every_call(work *run, fv__fault_point point, bool persistent, const fv__file *whole) {
    int failures = 0;
    for (int nth = 1;; nth++) {
        int64_t live = fv__alloc_live();
        const char *path = scratch_file("precious", "old", 3);
        fv__inject(point, nth, persistent);
        fv_status status = run(path);
        bool fired = fv__injected(point) || status != FV_OK; /* the question counts as one call more */
        fv__inject(point, 0, false);
        assert_int_equal(fv__alloc_live(), live);
        assert_int_equal(scratch_count(), 2);
        if (!is_old_or_whole(path, whole)) fail_msg("call %d left a broken file", nth);
        if (status == FV_OK && fired) break; /* the work is shorter than nth calls */
        if (status == FV_OK) continue;       /* it found another way: reading instead of mapping */
        bool expected =
            status == FV_NO_RESOURCES || (point == FV_FAULT_FILE && (status == FV_FAIL || status == FV_BAD_DATA));
        if (!expected || !*fv_message() || strstr(fv_message(), "something else"))
            fail_msg("call %d: %s", nth, fv_message());
        failures++;
    }
    return failures;
}

static void fail_everything(work *run, int least_allocations, int least_calls) {
    fv__file whole;
    assert_int_equal(run(scratch_path("precious")), FV_OK); /* also lets libraries make what they keep */
    assert_int_equal(fv__file_read(&whole, scratch_path("precious")), FV_OK);
    scratch_file("whole", whole.data, whole.size);
    for (int persistent = 0; persistent < 2; persistent++) {
        int allocations = fail_every_call(run, FV_FAULT_ALLOC, persistent, &whole);
        int calls = fail_every_call(run, FV_FAULT_FILE, persistent, &whole);
        if (allocations < least_allocations || calls < least_calls)
            fail_msg("only %d and %d calls failed", allocations, calls);
    }
    assert_int_equal(run(scratch_path("precious")), FV_OK);
    fv__file_free(&whole);
    unlink(scratch_path("precious"));
    unlink(scratch_path("whole"));
}

static void safetensors_fail_safely(void **state) {
    (void)state;
    fail_everything(safetensors_round_trip, 20, 7);
}
static void npy_fails_safely(void **state) {
    (void)state;
    fail_everything(npy_round_trip, 8, 7);
}
static void json_fails_safely(void **state) {
    (void)state;
    fail_everything(json_round_trip, 30, 8);
}
static void png_fails_safely(void **state) {
    (void)state;
    fail_everything(png_round_trip, 8, 7);
}
static void packing_fails_safely(void **state) {
    (void)state;
    fail_everything(pack_round_trip, 8, 6);
}
static void tables_fail_safely(void **state) {
    (void)state;
    fail_everything(table_round_trip, 20, 14);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_fail_safely), cmocka_unit_test(npy_fails_safely),
        cmocka_unit_test(json_fails_safely),       cmocka_unit_test(png_fails_safely),
        cmocka_unit_test(packing_fails_safely),    cmocka_unit_test(tables_fail_safely),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
