/* io: malformed tensor files. Each has an exact status and says what is wrong; none may crash or allocate much. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/scratch.h"

#include "fovea/files.h"
#include "io/tensor_file.h"

typedef struct bad_file {
    const char *what;
    const char *header; /* JSON of a safetensors file, dictionary of an .npy file */
    size_t data;        /* bytes of data that follow */
    int64_t length;     /* what the length field says; -1: the truth */
    const char *message;
} bad_file;

#define T(dtype, shape, offsets) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const bad_file safetensors[] = {
    {"header longer than the file", "{}", 0, 3, "is cut short\n  expected a header of 3 bytes\n  found:   2"},
    {"header of 2^63 bytes", "{}", 0, INT64_MIN,
     "expected a header of at most 100000000 bytes\n  found:   9223372036854775808"},
    {"header over the cap", "{}", 0, 100000001, "expected a header of at most 100000000 bytes"},
    {"empty header", "", 0, 0, "expected a header that is a JSON object"},
    {"header of one byte", "{", 0, 1, "expected a header that is a JSON object"},
    {"header does not begin with {", " {}", 0, -1, "expected a header that is a JSON object"},
    {"header is an array", "[1]", 0, -1, "expected a header that is a JSON object"},
    {"malformed JSON", "{\"a\":}", 0, -1, ":1:6: malformed JSON"},
    {"text after the header", "{} x", 0, -1, "malformed JSON"},
    {"duplicate names", "{\"a\":" T("U8", "[1]", "[0,1]") ",\"a\":" T("U8", "[1]", "[1,2]") "}", 2, -1,
     "duplicate object key"},
    {"duplicate keys inside", "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, -1,
     "duplicate object key"},
    {"a number for a tensor", "{\"a\":7}", 0, -1, "tensor \"a\": is not described by an object"},
    {"no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, -1, "tensor \"a\": has no \"dtype\""},
    {"unknown dtype", "{\"a\":" T("F31", "[1]", "[0,4]") "}", 4, -1, "tensor \"a\": dtype F31 is not supported"},
    {"8-bit floats", "{\"a\":" T("F8_E4M3", "[1]", "[0,1]") "}", 1, -1,
     "dtype F8_E4M3 is not supported\n  expected one of F64"},
    {"no shape", "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, -1, "tensor \"a\": has no \"shape\""},
    {"negative size", "{\"a\":" T("U8", "[-1]", "[0,1]") "}", 1, -1, "\"shape\" is not a list of whole numbers"},
    {"fractional size", "{\"a\":" T("U8", "[1.5]", "[0,1]") "}", 1, -1, "\"shape\" is not a list of whole numbers"},
    {"size as text", "{\"a\":" T("U8", "[\"1\"]", "[0,1]") "}", 1, -1, "\"shape\" is not a list of whole numbers"},
    {"seven dimensions", "{\"a\":" T("U8", "[1,1,1,1,1,1,1]", "[0,1]") "}", 1, -1,
     "rank\n  expected at most 6\n  found:   7"},
    {"product wraps to 0", "{\"a\":" T("F32", "[4294967296,4294967296]", "[0,0]") "}", 0, -1,
     "tensor \"a\": the size of f32[4294967296,4294967296] overflows"},
    {"zero hides an overflow", "{\"a\":" T("F32", "[0,4611686018427387904,4]", "[0,0]") "}", 0, -1, "overflows"},
    {"no offsets", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, -1, "\"data_offsets\" is not [begin, end]"},
    {"three offsets", "{\"a\":" T("U8", "[1]", "[0,1,2]") "}", 1, -1, "\"data_offsets\" is not [begin, end]"},
    {"offsets reversed", "{\"a\":" T("U8", "[1]", "[1,0]") "}", 1, -1, "\"data_offsets\" is not [begin, end]"},
    {"negative offset", "{\"a\":" T("U8", "[1]", "[-1,0]") "}", 1, -1, "\"data_offsets\" is not [begin, end]"},
    {"shape against offsets", "{\"a\":" T("F32", "[2,3]", "[0,20]") "}", 20, -1,
     "tensor \"a\": shape and data_offsets differ\n  expected 24 bytes for f32[2,3]\n  found:   20 bytes in [0, 20)"},
    {"hole at the start", "{\"a\":" T("U8", "[1]", "[1,2]") "}", 2, -1,
     "tensor \"a\": leaves a hole before it\n  expected its data at 0\n  found:   1"},
    {"hole between", "{\"a\":" T("U8", "[1]", "[0,1]") ",\"b\":" T("U8", "[1]", "[2,3]") "}", 3, -1,
     "tensor \"b\": leaves a hole"},
    {"overlap", "{\"b\":" T("U8", "[2]", "[1,3]") ",\"a\":" T("U8", "[2]", "[0,2]") "}", 3, -1,
     "tensor \"b\": overlaps the one before it\n  expected its data at 2\n  found:   1"},
    {"same place twice", "{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("U8", "[2]", "[0,2]") "}", 2, -1,
     "tensor \"b\": overlaps"},
    {"data cut short", "{\"a\":" T("F32", "[2]", "[0,8]") "}", 7, -1,
     "is cut short\n  expected 8 bytes of data\n  found:   7"},
    {"offsets beyond any file", "{\"a\":" T("U8", "[9223372036854775807]", "[0,9223372036854775807]") "}", 1, -1,
     "is cut short\n  expected 9223372036854775807 bytes of data\n  found:   1"},
    {"a tail", "{\"a\":" T("U8", "[1]", "[0,1]") "}", 3, -1, "2 bytes after the last tensor belong to none"},
    {"a tail without tensors", "{}", 1, -1, "1 bytes after the last tensor"},
    {"metadata is a list", "{\"__metadata__\":[]}", 0, -1, "\"__metadata__\" is not an object"},
    {"metadata holds a number", "{\"__metadata__\":{\"x\":1}}", 0, -1, "metadata \"x\"\n  expected a string"},
    {"NUL in a name", "{\"a\\u0000b\":" T("U8", "[1]", "[0,1]") "}", 1, -1, "malformed JSON"},
    {"name is not UTF-8", "{\"a\xff\":" T("U8", "[1]", "[0,1]") "}", 1, -1, "malformed JSON"},
    {"an integer too large", "{\"a\":" T("U8", "[99999999999999999999]", "[0,1]") "}", 1, -1,
     "\"shape\" is not a list of whole numbers"},
};

static const bad_file npy[] = {
    {"header longer than the file", "{'descr': '<f4', 'fortran_order': False, 'shape': ()}", 4, 60,
     "is cut short in the .npy header"},
    {"empty header", "", 4, 0, "malformed .npy header\n  expected {'descr'"},
    {"not a dictionary", "('<f4', False, ())", 4, -1, "malformed .npy header"},
    {"a key is missing", "{'descr': '<f4', 'shape': ()}", 4, -1, "malformed .npy header"},
    {"a key twice", "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", 4, -1,
     "malformed .npy header"},
    {"a key too many", "{'descr': '<f4', 'fortran_order': False, 'shape': (), 'x': 1}", 4, -1, "malformed .npy header"},
    {"code instead of a value", "{'descr': '<f4', 'fortran_order': exit(), 'shape': ()}", 4, -1,
     "malformed .npy header"},
    {"text after the dictionary", "{'descr': '<f4', 'fortran_order': False, 'shape': ()}x", 4, -1,
     "malformed .npy header"},
    {"open string", "{'descr': '<f4", 4, -1, "malformed .npy header"},
    {"shape is a number", "{'descr': '<f4', 'fortran_order': False, 'shape': (1)}", 4, -1, "malformed .npy header"},
    {"negative size", "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", 4, -1, "malformed .npy header"},
    {"size over 64 bits", "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", 4, -1,
     "malformed .npy header"},
    {"seven dimensions", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1)}", 4, -1,
     "more than 6 dimensions"},
    {"product wraps", "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296,4294967296)}", 0, -1,
     "the size of the array overflows"},
    {"big-endian", "{'descr': '>f4', 'fortran_order': False, 'shape': ()}", 4, -1,
     "order of bytes\n  expected little-endian\n  found:   big-endian (>f4)"},
    {"Python objects", "{'descr': '|O', 'fortran_order': False, 'shape': ()}", 4, -1,
     "element type '|O' is not supported"},
    {"complex numbers", "{'descr': '<c8', 'fortran_order': False, 'shape': ()}", 8, -1,
     "element type '<c8' is not supported"},
    {"records", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}", 4, -1, "malformed .npy header"},
    {"cut short", "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 11, -1,
     "is cut short\n  expected 12 bytes of elements\n  found:   11"},
    {"two arrays", "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 24, -1,
     "holds more than one array, or is damaged"},
};

static void check_refused(const char *what, const void *bytes, size_t size, const char *message) {
    fv_tensor_file *file;
    int64_t live = fv__alloc_live();
    const char *path = scratch_file("bad", bytes, size);
    fv_status status = fv__tensor_file_open(&file, path, FV_BAD_MODEL);
    if (status != FV_BAD_MODEL) fail_msg("%s: status %d", what, status);
    assert_null(file);
    if (strncmp(fv_message(), path, strlen(path)) || !strstr(fv_message(), message))
        fail_msg("%s: %s", what, fv_message());
    assert_int_equal(fv__alloc_live(), live);
}

static void malformed_safetensors_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof safetensors / sizeof *safetensors; i++) {
        const bad_file *c = &safetensors[i];
        fv__buf b = {0};
        uint64_t length = c->length == -1 ? strlen(c->header) : (uint64_t)c->length;
        fv__buf_add(&b, &length, 8);
        fv__buf_text(&b, c->header);
        for (size_t k = 0; k < c->data; k++) fv__buf_text(&b, "d");
        check_refused(c->what, b.data, b.size, c->message);
        fv__buf_free(&b);
    }
}

static void malformed_npy_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof npy / sizeof *npy; i++) {
        const bad_file *c = &npy[i];
        fv__buf b = {0};
        uint16_t length = (uint16_t)(c->length == -1 ? (int64_t)strlen(c->header) : c->length);
        fv__buf_add(&b, "\x93NUMPY\1\0", 8);
        fv__buf_add(&b, &length, 2);
        fv__buf_text(&b, c->header);
        for (size_t k = 0; k < c->data; k++) fv__buf_text(&b, "d");
        check_refused(c->what, b.data, b.size, c->message);
        fv__buf_free(&b);
    }
    check_refused("version 4", "\x93NUMPY\4\0\0\0\0\0\0\0", 14,
                  "version of .npy\n  expected 1.0, 2.0 or 3.0\n  found:   4.0");
    check_refused("version 2, huge header", "\x93NUMPY\2\0\xff\xff\xff\xff", 12, "the .npy header is too long");
    check_refused("magic only", "\x93NUMPY", 6, "is cut short in the .npy header");
}

static void other_files_are_named(void **state) {
    (void)state;
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    check_refused("empty", "", 0, "not a tensor file\n  expected .safetensors or .npy\n  found:   an empty file");
    check_refused("LFS pointer", pointer, strlen(pointer), "found:   a pointer of Git LFS\n  try:     git lfs pull");
    check_refused("zip", "PK\3\4xxxxxxxx", 12, "found:   a zip archive (.npz or a PyTorch pickle)");
    check_refused("pickle", "\x80\x02}xxxxxxxxx", 12, "found:   a Python pickle");
    check_refused("gguf", "GGUF\3\0\0\0xxxx", 12, "found:   a GGUF file");
    check_refused("seven bytes", "1234567", 7, "expected 8 bytes or more\n  found:   fewer");
    check_refused("prose", "Dear Sir or Madam", 17, "is not a safetensors file, or it is damaged");
    fv_tensor_file *file;
    assert_int_equal(fv_tensor_file_open(&file, scratch_folder), FV_BAD_DATA);
    assert_non_null(strstr(fv_message(), "found:   a folder"));
}

/* Every single-byte change and every cut of a good file is either refused or still describes memory inside it. */
static void damaged_files_are_survived(void **state) {
    (void)state;
    float x[4] = {1, 2, 3, 4};
    uint8_t y[3] = {1, 2, 3};
    fv_named_tensor out[] = {{"x", fv_tensor_2d(x, FV_F32, 2, 2)}, {"y", fv_tensor_1d(y, FV_U8, 3)}};
    assert_int_equal(fv_safetensors_write(scratch_path("good"), out, 2, NULL), FV_OK);
    fv__file good;
    assert_int_equal(fv__file_read(&good, scratch_path("good")), FV_OK);
    unsigned char *bytes = fv__alloc(good.size);
    int refused = 0, accepted = 0;
    for (size_t at = 0; at < good.size; at++)
        for (int change = 0; change < 6; change++) {
            static const unsigned char flips[] = {1, 2, 16, 64, 128, 255};
            memcpy(bytes, good.data, good.size);
            bytes[at] ^= flips[change];
            fv_tensor_file *file;
            size_t size = change ? good.size : at; /* and once the file ends here */
            fv_status status = fv_tensor_file_open(&file, scratch_file("damaged", bytes, size));
            refused += status == FV_BAD_DATA;
            accepted += status == FV_OK;
            if (status == FV_OK) fv_tensor_file_check_finite(file); /* touches every element */
            if (status == FV_OK) fv_tensor_file_close(file);
        }
    assert_int_equal(refused + accepted, (int)good.size * 6);
    assert_true(refused > accepted && accepted > 0);
    fv__free(bytes);
    fv__file_free(&good);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_safetensors_are_refused),
        cmocka_unit_test(malformed_npy_are_refused),
        cmocka_unit_test(other_files_are_named),
        cmocka_unit_test(damaged_files_are_survived),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
