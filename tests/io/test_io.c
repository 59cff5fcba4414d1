/* io: tensors through .safetensors and .npy, JSON, deflate, base64, PNG. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/scratch.h"

#include "fovea/files.h"
#include "io/json.h"
#include "io/pack.h"
#include "io/tensor_file.h"

#include <math.h>
#include <png.h>

/* ---- safetensors */

static void safetensors_come_back(void **state) {
    (void)state;
    float w[6] = {1, 2, 3, 4, 5, 6};
    uint8_t flags[3] = {1, 0, 1};
    double lse[2] = {-INFINITY, 0.5};
    uint16_t half[2] = {0x3C00, 0xC000};
    int64_t ids[1] = {1LL << 60};
    fv_tensor transposed = fv_tensor_transpose(fv_tensor_2d(w, FV_F32, 2, 3), 0, 1);
    fv_named_tensor out[] = {{"w", fv_tensor_2d(w, FV_F32, 2, 3)},
                             {"w.T", transposed},
                             {"flags", fv_tensor_1d(flags, FV_BOOL, 3)},
                             {"lse", fv_tensor_1d(lse, FV_F64, 2)},
                             {"\"quoted\"\n", fv_tensor_1d(half, FV_F16, 2)},
                             {"ids", fv_tensor_of(ids, FV_I64, 0, NULL)},
                             {"none", fv_tensor_of(NULL, FV_F32, 3, (int64_t[]){2, 0, 5})}};
    const char *metadata[] = {"name", "fovea \xc3\xa9", "b", "", NULL}, *path = scratch_path("t.safetensors");
    int64_t live = fv__alloc_live();
    assert_int_equal(fv_safetensors_write(path, out, 7, metadata), FV_OK);
    fv_tensor_file *file;
    assert_int_equal(fv_tensor_file_open(&file, path), FV_OK);
    assert_int_equal(fv_tensor_file_count(file), 7);
    for (int i = 0; i < 7; i++) {
        fv_tensor t;
        assert_int_equal(fv_tensor_file_find(file, out[i].name, &t), FV_OK);
        assert_true(fv_tensor_same_shape(&t, &out[i].tensor) && t.dtype == out[i].tensor.dtype &&
                    fv_tensor_contiguous(&t));
        assert_int_equal((uintptr_t)t.data % fv_dtype_size(t.dtype), 0);
        for (int64_t k = 0; k < fv_tensor_count(&t); k++) {
            int64_t index[2] = {t.rank == 2 ? k / t.dim[1] : k, t.rank == 2 ? k % t.dim[1] : 0};
            assert_true(fv_tensor_get(&t, index) == fv_tensor_get(&out[i].tensor, index));
        }
    }
    assert_string_equal(fv_tensor_file_metadata(file, "format"), "pt");
    assert_string_equal(fv_tensor_file_metadata(file, "name"), "fovea \xc3\xa9");
    assert_string_equal(fv_tensor_file_metadata(file, "b"), "");
    assert_null(fv_tensor_file_metadata(file, "c"));
    fv_tensor t;
    assert_int_equal(fv_tensor_file_find(file, "flagz", &t), FV_BAD_DATA);
    assert_non_null(strstr(fv_message(), "no tensor \"flagz\"\n  did you mean \"flags\"?"));
    assert_true(fv_tensor_file_has(file, "w") && !fv_tensor_file_has(file, "W"));
    assert_null(fv_tensor_file_name(file, 7));
    assert_null(fv_tensor_file_at(file, -1).data);
    assert_int_equal(fv_tensor_file_check_finite(file), FV_BAD_DATA);
    assert_non_null(strstr(fv_message(), "tensor \"lse\": element 0 is not a finite number"));
    fv_tensor_file_close(file);
    assert_int_equal(fv__alloc_live(), live);
}

static void safetensors_bytes_are_deterministic(void **state) {
    (void)state;
    float a[2] = {1, 2};
    uint8_t b[1] = {3};
    fv_named_tensor one[] = {
        {"z", fv_tensor_1d(a, FV_F32, 2)}, {"b", fv_tensor_1d(b, FV_U8, 1)}, {"a", fv_tensor_1d(a, FV_F32, 1)}};
    fv_named_tensor two[] = {one[1], one[2], one[0]};
    const char *m1[] = {"k", "1", "j", "2", NULL}, *m2[] = {"j", "2", "k", "1", NULL};
    assert_int_equal(fv_safetensors_write(scratch_path("1"), one, 3, m1), FV_OK);
    assert_int_equal(fv_safetensors_write(scratch_path("2"), two, 3, m2), FV_OK);
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\",\"j\":\"2\",\"k\":\"1\"},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
        "\"z\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]},"
        "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[12,13]}}";
    fv__file file;
    assert_int_equal(fv__file_read(&file, scratch_path("1")), FV_OK);
    assert_true(scratch_holds(scratch_path("2"), file.data, file.size));
    assert_memory_equal(file.data + 8, header, strlen(header));
    size_t size = file.data[0] + 256u * file.data[1];
    assert_int_equal(size % 8, 0);
    assert_int_equal(file.size, 8 + size + 13);
    assert_memory_equal(file.data + 8 + size, "\0\0\x80\x3f\0\0\x80\x3f\0\0\0\x40\3", 13);
    fv__file_free(&file);
}

static void safetensors_refuses_to_write_nonsense(void **state) {
    (void)state;
    float x = 1;
    fv_tensor t = fv_tensor_1d(&x, FV_F32, 1), absent = fv_tensor_1d(NULL, FV_F32, 1),
              huge = fv_tensor_2d(&x, FV_F32, INT64_MAX, 9);
    const struct {
        fv_named_tensor tensors[2];
        const char *metadata[3], *message;
    } cases[] = {{{{"a", t}, {"a", t}}, {0}, "expected each once\n  found:   \"a\" twice"},
                 {{{"__metadata__", t}, {"b", t}}, {0}, "cannot be named \"__metadata__\""},
                 {{{"\xff", t}, {"b", t}}, {0}, "cannot be named"},
                 {{{"a", absent}, {"b", t}}, {0}, "tensor \"a\"\n  expected data for f32[1]\n  found:   NULL"},
                 {{{"a", huge}, {"b", t}}, {0}, "overflows"},
                 {{{"a", t}, {"b", t}}, {"format", "np"}, "metadata \"format\" is given twice"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(fv_safetensors_write(scratch_path("no"), cases[i].tensors, 2, cases[i].metadata), FV_USAGE);
        assert_non_null(strstr(fv_message(), cases[i].message));
        assert_false(fv__path_exists(scratch_path("no")));
    }
    assert_int_equal(fv_safetensors_write(scratch_path("no"), cases[0].tensors, -1, NULL), FV_USAGE);
    assert_int_equal(fv_safetensors_write(scratch_path("empty"), NULL, 0, NULL), FV_OK);
    fv_tensor_file *file;
    assert_int_equal(fv_tensor_file_open(&file, scratch_path("empty")), FV_OK);
    assert_int_equal(fv_tensor_file_count(file), 0);
    fv_tensor_file_close(file);
}

/* Other writers pad differently: a tensor may lie at an odd address. */
static void misaligned_tensors_are_copied(void **state) {
    (void)state;
    static const char header[] =
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
        "\"b\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[1,9]}} ";
    fv__buf bytes = {0};
    double value = 2.5;
    uint64_t size = strlen(header);
    fv__buf_add(&bytes, &size, 8);
    fv__buf_text(&bytes, header);
    fv__buf_add(&bytes, "\7", 1);
    fv__buf_add(&bytes, &value, 8);
    fv_tensor_file *file;
    fv_tensor t;
    assert_int_equal(fv_tensor_file_open(&file, scratch_file("odd", bytes.data, bytes.size)), FV_OK);
    assert_int_equal(fv_tensor_file_find(file, "b", &t), FV_OK);
    assert_int_equal((uintptr_t)t.data % 8, 0);
    assert_true(*(double *)t.data == 2.5);
    assert_string_equal(fv_tensor_file_name(file, 0), "a");
    assert_int_equal(fv_tensor_file_check_finite(file), FV_OK);
    fv_tensor_file_close(file);
    fv__buf_free(&bytes);
}

static void the_caller_chooses_the_fault(void **state) {
    (void)state;
    fv_tensor_file *file;
    assert_int_equal(fv__tensor_file_open(&file, scratch_path("missing"), FV_BAD_MODEL), FV_BAD_MODEL);
    assert_null(file);
    assert_int_equal(fv__tensor_file_open(&file, scratch_file("short", "abc", 3), FV_BAD_MODEL), FV_BAD_MODEL);
    assert_int_equal(fv_tensor_file_open(&file, scratch_path("missing")), FV_BAD_DATA);
}

/* ---- npy */

static void npy_comes_back(void **state) {
    (void)state;
    static const fv_dtype types[] = {FV_F32, FV_F64, FV_F16, FV_BF16, FV_I32, FV_I64, FV_U8, FV_BOOL, FV_I8, FV_U16};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (int rank = 0; rank <= 3; rank++) {
            char memory[512] = {0};
            fv_tensor t = fv_tensor_of(memory, types[i], rank, (int64_t[]){3, 2, 4});
            for (int k = 0; k < fv_tensor_count(&t); k++) {
                fv_tensor flat = fv_tensor_1d(memory, types[i], 24);
                fv_tensor_set(&flat, (int64_t[]){k}, types[i] == FV_BOOL ? k & 1 : k);
            }
            if (rank > 1) t = fv_tensor_transpose(t, 0, 1);
            const char *path = scratch_path("a.npy");
            assert_int_equal(fv_npy_write(path, &t), FV_OK);
            fv_tensor_file *file;
            assert_int_equal(fv_tensor_file_open(&file, path), FV_OK);
            fv_tensor back = fv_tensor_file_at(file, 0);
            assert_string_equal(fv_tensor_file_name(file, 0), "");
            assert_int_equal(back.dtype, types[i] == FV_BF16 ? FV_F32 : types[i]);
            assert_true(fv_tensor_same_shape(&back, &t) && fv_tensor_contiguous(&back));
            for (int64_t k = 0; k < fv_tensor_count(&t); k++) {
                int64_t left = k, index[3] = {0};
                for (int d = rank - 1; d >= 0; left /= t.dim[d--]) index[d] = left % t.dim[d];
                assert_true(fv_tensor_get(&back, index) == fv_tensor_get(&t, index));
            }
            fv_tensor_file_close(file);
        }
}

static void npy_bytes_are_numpys(void **state) {
    (void)state;
    float v[2] = {1, 2};
    fv_tensor t = fv_tensor_1d(v, FV_F32, 2);
    char expected[136] = "\x93NUMPY\1\0\x76\0{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    memset(expected + 10 + 57, ' ', 128 - 10 - 57);
    expected[127] = '\n';
    memcpy(expected + 128, v, 8);
    assert_int_equal(fv_npy_write(scratch_path("b.npy"), &t), FV_OK);
    assert_true(scratch_holds(scratch_path("b.npy"), expected, 136));
    fv_tensor huge = fv_tensor_2d(v, FV_F32, INT64_MAX, 4), absent = fv_tensor_1d(NULL, FV_F32, 2);
    assert_int_equal(fv_npy_write(scratch_path("b.npy"), &huge), FV_USAGE);
    assert_int_equal(fv_npy_write(scratch_path("b.npy"), &absent), FV_USAGE);
    assert_true(scratch_holds(scratch_path("b.npy"), expected, 136));
}

static const char *npy_file(const char *dictionary, int version, const void *data, size_t size) {
    fv__buf b = {0};
    uint32_t length = (uint32_t)strlen(dictionary);
    fv__buf_add(&b, "\x93NUMPY", 6);
    fv__buf_add(&b, (char[]){(char)version, 0}, 2);
    fv__buf_add(&b, &length, version == 1 ? 2 : 4);
    fv__buf_text(&b, dictionary);
    fv__buf_add(&b, data, size);
    const char *path = scratch_file("c.npy", b.data, b.size);
    fv__buf_free(&b);
    return path;
}

static void npy_reads_what_numpy_writes(void **state) {
    (void)state;
    static const char *const headers[] = {"{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3), }\n",
                                          "{\"shape\":(2,3),\"fortran_order\":True,\"descr\":\"<i2\"}"};
    static const int16_t data[6] = {0, 3, 1, 4, 2, 5}; /* column by column */
    for (int version = 1; version <= 3; version++)
        for (int h = 0; h < 2; h++) {
            fv_tensor_file *file;
            assert_int_equal(fv_tensor_file_open(&file, npy_file(headers[h], version, data, 12)), FV_OK);
            fv_tensor t = fv_tensor_file_at(file, 0);
            assert_true(t.rank == 2 && t.dim[0] == 2 && t.dim[1] == 3);
            for (int64_t i = 0; i < 6; i++) assert_true(fv_tensor_get(&t, (int64_t[]){i / 3, i % 3}) == (double)i);
            fv_tensor_file_close(file);
        }
}

/* A tuple is read as Python reads it, blanks and all, and with the L that Python 2 wrote. */
static void npy_reads_tuples(void **state) {
    (void)state;
    static const struct {
        const char *shape;
        int rank;
    } good[] = {{"(6, )", 1}, {"( 6 , )", 1}, {"(6L,)", 1}, {"(2L, 3L)", 2}, {"(2, 3, )", 2}, {"( 2 ,3 )", 2}};
    static const char *const bad[] = {"(6)", "(6,,)", "(,6)", "(2 3)", "(2, 3,, )", "(6LL,)", "(6"};
    static const int16_t data[6] = {0};
    char header[128];
    fv_tensor_file *file;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(header, sizeof header, "{'descr': '<i2', 'fortran_order': False, 'shape': %s, }", good[i].shape);
        if (fv_tensor_file_open(&file, npy_file(header, 1, data, 12)) != FV_OK) fail_msg("%s", fv_message());
        fv_tensor t = fv_tensor_file_at(file, 0);
        assert_int_equal(t.rank, good[i].rank);
        assert_int_equal(fv_tensor_count(&t), 6);
        fv_tensor_file_close(file);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(header, sizeof header, "{'descr': '<i2', 'fortran_order': False, 'shape': %s, }", bad[i]);
        assert_int_equal(fv_tensor_file_open(&file, npy_file(header, 1, data, 12)), FV_BAD_DATA);
    }
}

/* ---- json */

static fv__json *parsed(const char *text) {
    fv__json *value = NULL;
    if (fv__json_parse(&value, text, strlen(text), "x.json", FV_BAD_MODEL) != FV_OK) fail_msg("%s", fv_message());
    return value;
}

static void json_is_read(void **state) {
    (void)state;
    int64_t live = fv__alloc_live();
    fv__json *v = parsed(
        "{\"a\": 3, \"b\": 2.5, \"c\": \"x\\u00e9\", \"d\": [1, null, true], \"e\": {\"f\": {\"g\": 7}}, \"h.i\": 8, "
        "\"n\": null, \"w\": 4.0}");
    fv__json_at_file at = {v, "x.json", FV_BAD_MODEL};
    int64_t i;
    double f;
    bool b;
    const char *s;
    fv__json *o;
    assert_int_equal(fv__json_count(v), 8);
    assert_true(fv__json_need_int(at, "a", 0, &i) == FV_OK && i == 3);
    assert_true(fv__json_need_int(at, "w", 0, &i) == FV_OK && i == 4);
    assert_true(fv__json_need_int(at, "missing", -5, &i) == FV_OK && i == -5);
    assert_true(fv__json_need_int(at, "n", -6, &i) == FV_OK && i == -6);
    assert_true(fv__json_need_float(at, "a", 0, &f) == FV_OK && f == 3);
    assert_true(fv__json_need_float(at, "b", 0, &f) == FV_OK && f == 2.5);
    assert_true(fv__json_need_bool(at, "missing", true, &b) == FV_OK && b);
    assert_true(fv__json_need_text(at, "c", "", &s) == FV_OK && !strcmp(s, "x\xc3\xa9"));
    assert_int_equal(fv__json_need_int(at, "b", 0, &i), FV_BAD_MODEL);
    assert_string_equal(fv_message(), "x.json: \"b\"\n  expected a whole number\n  found:   a number");
    assert_int_equal(fv__json_need_text(at, "d", "", &s), FV_BAD_MODEL);
    assert_string_equal(fv_message(), "x.json: \"d\"\n  expected a string\n  found:   an array");
    assert_int_equal(fv__json_need_bool(at, "a", true, &b), FV_BAD_MODEL);
    assert_int_equal(fv__json_need_float(at, "c", 0, &f), FV_BAD_MODEL);
    assert_int_equal(fv__json_need_object(at, "missing", &o), FV_BAD_MODEL);
    assert_string_equal(fv_message(), "x.json: \"missing\"\n  expected an object\n  found:   nothing");
    assert_true(fv__json_need_array(at, "d", &o) == FV_OK && fv__json_count(o) == 3);
    assert_true(fv__json_bool(fv__json_at(o, 2), false) && fv__json_kind_of(fv__json_at(o, 1)) == FV_JSON_NULL);
    assert_null(fv__json_at(o, 3));
    assert_int_equal(fv__json_int(fv__json_path(v, "e.f.g"), 0), 7);
    assert_int_equal(fv__json_int(fv__json_path(v, "h.i"), 0), 8); /* a key with a dot in it is a key first */
    assert_null(fv__json_path(v, "e.x.g"));
    assert_null(fv__json_path(v, "a.b"));
    assert_null(fv__json_get(NULL, "a"));
    char keys[32] = "";
    for (void *p = fv__json_first(v); p; p = fv__json_next(v, p)) strncat(keys, fv__json_key(p), 3);
    assert_string_equal(keys, "abcdeh.inw");
    fv__json_free(v);
    assert_int_equal(fv__alloc_live(), live);
}

static void json_faults_have_a_place(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {{"", "x.json:1:0: malformed JSON"},
                 {"{\"a\": 1,\n \"a\": 2}", "x.json:2:"},
                 {"{\"a\": 1,\n \"a\": 2}", "duplicate"},
                 {"{\"a\": 1} x", "x.json:1:"},
                 {"[1, 2", "x.json:1:"},
                 {"{\"a\": \"\\u0000\"}", "\\u0000"},
                 {"{\"a\": \"\xff\"}", "decode byte 0xff"},
                 {"[1e999]", "x.json:1:"},
                 {"{'a': 1}", "x.json:1:"},
                 {"[NaN]", "x.json:1:"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fv__json *v = NULL;
        assert_int_equal(fv__json_parse(&v, cases[i].text, strlen(cases[i].text), "x.json", FV_BAD_MODEL),
                         FV_BAD_MODEL);
        if (!strstr(fv_message(), cases[i].message)) fail_msg("%s", fv_message());
        assert_null(v);
    }
    fv__json *v =
        parsed("{\"max\": 1000000000000000019884624838656, \"n\": 12}"); /* as in tokenizer_config.json files */
    assert_true(fv__json_float(fv__json_get(v, "max"), 0) > 9e29 && fv__json_int(fv__json_get(v, "n"), 0) == 12);
    fv__json_free(v);
    fv__buf deep = {0};
    for (int i = 0; i < 100000; i++) fv__buf_text(&deep, "[");
    assert_int_equal(fv__json_parse(&v, deep.data, deep.size, "x.json", FV_BAD_DATA), FV_BAD_DATA);
    fv__buf_free(&deep);
    assert_int_equal(fv__json_load(&v, scratch_path("missing.json"), FV_BAD_MODEL), FV_BAD_MODEL);
    assert_int_equal(fv__json_load(&v, scratch_file("bom.json", "\xEF\xBB\xBF{\"a\":1}", 10), FV_BAD_MODEL), FV_OK);
    fv__json_free(v);
}

static fv__json *sample(void) {
    fv__json *o = fv__json_object(), *a = fv__json_array();
    fv__json_push(a, fv__json_of_float(0.1));
    fv__json_push(a, fv__json_of_float(3));
    fv__json_push(a, fv__json_of_float(NAN));
    fv__json_push(a, fv__json_of_bool(true));
    fv__json_set(o, "n", fv__json_of_int(-9));
    fv__json_set(o, "t", fv__json_of_text("a\"\\\n\t\x01</b>\xe2\x80\xa8\xc3\xa9"));
    fv__json_set(o, "list", a);
    fv__json_set(o, "none", fv__json_object());
    return o;
}

static void json_is_written(void **state) {
    (void)state;
    int64_t live = fv__alloc_live();
    fv__json *v = sample();
    fv__buf line = {0}, pretty = {0}, html = {0};
    assert_int_equal(fv__json_dump(v, FV_JSON_LINE, &line), FV_OK);
    assert_string_equal(line.data,
                        "{\"n\": -9, \"t\": \"a\\\"\\\\\\n\\t\\u0001</b>\xe2\x80\xa8\xc3\xa9\", "
                        "\"list\": [0.1, 3.0, null, true], \"none\": {}}");
    assert_int_equal(fv__json_dump(v, FV_JSON_HTML, &html), FV_OK);
    assert_non_null(strstr(html.data, "\\u0001\\u003c/b\\u003e\\u2028\xc3\xa9\""));
    assert_int_equal(fv__json_dump(fv__json_get(v, "list"), FV_JSON_PRETTY, &pretty), FV_OK);
    assert_string_equal(pretty.data, "[\n  0.1,\n  3.0,\n  null,\n  true\n]\n");
    fv__json *again = parsed(html.data); /* the escapes are JSON: the same value comes back */
    line.size = 0;
    fv__json_dump(again, FV_JSON_LINE, &line);
    fv__buf first = {0};
    fv__json_dump(v, FV_JSON_LINE, &first);
    assert_string_equal(line.data, first.data);
    assert_null(fv__json_of_text("\xff"));
    assert_int_equal(fv__json_set(v, "bad", fv__json_of_text("\xff")), FV_BAD_DATA);
    assert_non_null(strstr(fv_message(), "not UTF-8"));
    assert_int_equal(fv__json_save(v, scratch_path("s.json")), FV_OK);
    fv__json_free(again);
    assert_int_equal(fv__json_load(&again, scratch_path("s.json"), FV_BAD_DATA), FV_OK);
    assert_int_equal(fv__json_count(again), 4);
    fv__json_free(again);
    fv__json_free(v);
    fv__buf_free(&first);
    fv__buf_free(&line);
    fv__buf_free(&pretty);
    fv__buf_free(&html);
    assert_int_equal(fv__alloc_live(), live);
}

/* ---- packing */

static void deflate_and_inflate_are_inverse(void **state) {
    (void)state;
    enum { N = 300000 };
    static const size_t sizes[] = {0, 1, 100, N};
    unsigned char *bytes = fv__alloc(N);
    for (int i = 0; i < N; i++) bytes[i] = (unsigned char)(fv__random_u32(1, 1, (uint64_t)i) & 15);
    int64_t live = fv__alloc_live();
    for (int i = 0; i < 4; i++)
        for (int level = 1; level <= 9; level += 4) {
            fv__buf packed = {0}, back = {0};
            assert_int_equal(fv__deflate(&packed, bytes, sizes[i], level), FV_OK);
            if (sizes[i] == N) assert_in_range(packed.size, N / 2, N * 6 / 10); /* four bits each */
            assert_int_equal(fv__inflate(&back, packed.data, packed.size, N), FV_OK);
            assert_int_equal(back.size, sizes[i]);
            if (sizes[i]) assert_memory_equal(back.data, bytes, sizes[i]);
            back.size = 0;
            assert_int_equal(fv__inflate(&back, packed.data, packed.size - 1, N), FV_BAD_DATA);
            if (sizes[i] > 1) assert_int_equal(fv__inflate(&back, packed.data, packed.size, sizes[i] - 1), FV_BAD_DATA);
            packed.data[packed.size / 2] ^= 0x55;
            assert_int_equal(fv__inflate(&back, packed.data, packed.size, N), FV_BAD_DATA);
            fv__buf_free(&packed);
            fv__buf_free(&back);
        }
    assert_int_equal(fv__alloc_live(), live);
    fv__free(bytes);
}

static void base64_is_rfc_4648(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xff\xef\xbe", "/+++"}};
    for (int i = 0; i < 8; i++) {
        fv__buf b = {0};
        assert_int_equal(fv__base64(&b, cases[i][0], strlen(cases[i][0])), FV_OK);
        assert_string_equal(b.data, cases[i][1]);
        fv__buf_free(&b);
    }
    char many[5000];
    memset(many, 'A', sizeof many);
    fv__buf b = {0};
    assert_int_equal(fv__base64(&b, many, sizeof many), FV_OK);
    assert_int_equal(b.size, 6668);
    for (size_t i = 0; i < 6664; i += 4) assert_memory_equal(b.data + i, "QUFB", 4);
    fv__buf_free(&b);
}

static void pictures_come_back(void **state) {
    (void)state;
    enum { W = 13, H = 7 };
    static const int formats[5] = {0, PNG_FORMAT_GRAY, 0, PNG_FORMAT_RGB, PNG_FORMAT_RGBA};
    int64_t live = fv__alloc_live();
    for (int channels = 1; channels <= 4; channels++) {
        unsigned char pixels[W * H * 4], back[W * H * 4];
        const char *path = scratch_path("p.png");
        for (int i = 0; i < W * H * channels; i++) pixels[i] = (unsigned char)(i * 37);
        if (channels == 2) continue;
        assert_int_equal(fv_png_write(path, pixels, W, H, channels), FV_OK);
        png_image image = {.version = PNG_IMAGE_VERSION};
        assert_true(png_image_begin_read_from_file(&image, path));
        assert_true(image.width == W && image.height == H && image.format == (png_uint_32)formats[channels]);
        assert_true(png_image_finish_read(&image, NULL, back, 0, NULL));
        assert_memory_equal(pixels, back, W * H * channels);
    }
    fv__buf out = {0};
    unsigned char one[4] = {0};
    assert_int_equal(fv__png_encode(&out, one, 1, 1, 2), FV_USAGE);
    assert_int_equal(fv__png_encode(&out, one, 0, 1, 1), FV_USAGE);
    assert_int_equal(fv__png_encode(&out, one, 1, -1, 1), FV_USAGE);
    assert_int_equal(fv__png_encode(&out, one, INT64_MAX, 9, 4), FV_USAGE);
    assert_int_equal(out.size, 0);
    assert_int_equal(fv__alloc_live(), live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_come_back),
        cmocka_unit_test(safetensors_bytes_are_deterministic),
        cmocka_unit_test(safetensors_refuses_to_write_nonsense),
        cmocka_unit_test(misaligned_tensors_are_copied),
        cmocka_unit_test(the_caller_chooses_the_fault),
        cmocka_unit_test(npy_comes_back),
        cmocka_unit_test(npy_bytes_are_numpys),
        cmocka_unit_test(npy_reads_what_numpy_writes),
        cmocka_unit_test(npy_reads_tuples),
        cmocka_unit_test(json_is_read),
        cmocka_unit_test(json_faults_have_a_place),
        cmocka_unit_test(json_is_written),
        cmocka_unit_test(deflate_and_inflate_are_inverse),
        cmocka_unit_test(base64_is_rfc_4648),
        cmocka_unit_test(pictures_come_back),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
