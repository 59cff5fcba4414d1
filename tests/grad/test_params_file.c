/* Parameters in a file: they come back as they were, and no damaged or foreign file changes a value. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/base.h"
#include "fovea/files.h"
#include "fovea/grad.h"
#include "support/scratch.h"

#define OK(call)                                                           \
    do {                                                                   \
        fv_status ok_ = (call);                                            \
        if (ok_ != FV_OK) fail_msg("%s: %d %s", #call, ok_, fv_message()); \
    } while (0)

static fv_params *network(fv_dtype dtype, uint64_t seed) {
    fv_params *p;
    OK(fv_params_create(&p, dtype, seed));
    OK(fv_params_add(p, "embed.weight", 2, (int64_t[]){7, 3}, FV_INIT(NORMAL, 1), FV_PARAM_SPARSE, NULL));
    OK(fv_params_add(p, "frozen", 1, (int64_t[]){5}, FV_INIT(UNIFORM, 1), FV_PARAM_FROZEN, NULL));
    OK(fv_params_add(p, "empty", 2, (int64_t[]){0, 4}, FV_INIT(ZEROS, 0), 0, NULL));
    OK(fv_params_add(p, "out.bias", 1, (int64_t[]){3}, FV_INIT(NORMAL, 1), 0, NULL));
    return p;
}

static bool same(const fv_params *a, const fv_params *b, double tolerance) {
    fv_tensor x = fv_params_flat(a), y = fv_params_flat(b);
    for (int64_t i = 0; i < x.dim[0]; i++)
        if (!(fabs(fv_tensor_get(&x, &i) - fv_tensor_get(&y, &i)) <= tolerance)) return false;
    return x.dim[0] == y.dim[0];
}

static void round_trip(void **state) {
    (void)state;
    static const fv_dtype dtypes[] = {FV_F32, FV_F64};
    for (int from = 0; from < 2; from++)
        for (int to = 0; to < 2; to++) {
            fv_params *saved = network(dtypes[from], 1), *loaded = network(dtypes[to], 2);
            const char *path = scratch_path("round.safetensors");
            OK(fv_params_save(saved, path));
            assert_false(same(saved, loaded, 0.01));
            OK(fv_params_load(loaded, path));
            assert_true(same(saved, loaded, from == 1 && to == 0 ? 1e-7 : 0));
            fv_params_free(saved);
            fv_params_free(loaded);
        }
}

/* Loading `path` must fail so, and change nothing. */
static void refused(const char *path, const char *message) {
    fv_params *p = network(FV_F32, 5), *before = network(FV_F32, 5);
    assert_int_equal(fv_params_load(p, path), FV_BAD_MODEL);
    if (!strstr(fv_message(), message)) fail_msg("expected: %s\n   found: %s", message, fv_message());
    assert_true(same(p, before, 0));
    fv_params_free(p);
    fv_params_free(before);
}

/* The file of network(), but for one tensor. */
static const char *with(const char *name, fv_tensor t, const char *extra) {
    fv_params *p = network(FV_F32, 1);
    fv_named_tensor tensors[5];
    int count = fv_params_count(p);
    for (int i = 0; i < count; i++) {
        fv_param param = fv_params_get(p, i);
        tensors[i] = (fv_named_tensor){param.name, strcmp(param.name, name) == 0 ? t : param.value};
    }
    if (extra) tensors[count++] = (fv_named_tensor){extra, t};
    const char *path = scratch_path("other.safetensors");
    OK(fv_safetensors_write(path, tensors, count, NULL));
    fv_params_free(p);
    return path;
}

static void foreign_files(void **state) {
    (void)state;
    float numbers[21] = {0};
    int32_t whole[3] = {1, 2, 3};
    fv_tensor three = fv_tensor_1d(numbers, FV_F32, 3);
    refused(scratch_path("nowhere"), "nowhere");
    refused(with("embed.weight", fv_tensor_2d(numbers, FV_F32, 3, 7), NULL),
            "tensor \"embed.weight\" is not that parameter\n  expected f32[7,3]\n  found:   f32[3,7]");
    refused(with("out.bias", fv_tensor_1d(whole, FV_I32, 3), NULL),
            "tensor \"out.bias\" is not that parameter\n  expected f32[3]\n  found:   i32[3]");
    refused(with("", three, "out.biases"),
            "a tensor that is no parameter\n  expected the 4 parameters of the network\n"
            "  found:   \"out.biases\"");
    numbers[1] = NAN;
    refused(with("out.bias", three, NULL), "out.bias");
    numbers[1] = INFINITY;
    refused(with("out.bias", three, NULL), "out.bias");
    fv_named_tensor alone = {"frozen", fv_tensor_1d(numbers + 2, FV_F32, 5)};
    const char *path = scratch_path("alone.safetensors");
    OK(fv_safetensors_write(path, &alone, 1, NULL));
    refused(path, "no tensor \"embed.weight\"");
}

/* Cut anywhere, or with any byte of the header changed: refused, or loaded with values that are finite. */
static void damaged_files(void **state) {
    (void)state;
    fv_params *p = network(FV_F32, 1);
    fv__file file;
    const char *path = scratch_path("whole.safetensors");
    OK(fv_params_save(p, path));
    OK(fv__file_read(&file, path));
    unsigned char *bytes = malloc(file.size);
    memcpy(bytes, file.data, file.size);
    for (size_t size = 0; size < file.size; size++) refused(scratch_file("cut", bytes, size), "cut");
    int refusals = 0;
    size_t header = 8 + bytes[0] + 256u * bytes[1];
    for (size_t at = 0; at < header; at++) {
        bytes[at] ^= 0x11;
        fv_status status = fv_params_load(p, scratch_file("flipped", bytes, file.size));
        assert_true(status == FV_OK || status == FV_BAD_MODEL);
        refusals += status != FV_OK;
        bytes[at] ^= 0x11;
    }
    assert_true(refusals > (int)header / 2); /* the rest is padding and metadata */
    OK(fv_params_load(p, scratch_file("flipped", bytes, file.size)));
    free(bytes);
    fv__file_free(&file);
    fv_params_free(p);
}

/* Every allocation that fails is reported; a file that cannot be written leaves the old one. */
static void faults(void **state) {
    (void)state;
    fv_params *p = network(FV_F32, 1), *other = network(FV_F32, 2);
    const char *path = scratch_path("kept.safetensors");
    OK(fv_params_save(p, path));
    for (fv__fault_point point = 0; point < FV_FAULT_POINTS; point++)
        for (int saving = 0; saving < 2; saving++) {
            bool failed = true;
            for (int64_t n = 1; failed; n++) {
                fv__inject(point, n, false);
                fv_status status = saving ? fv_params_save(other, path) : fv_params_load(other, path);
                fv__inject(point, 0, false);
                failed = status != FV_OK;
                if (failed) OK(fv_params_load(p, path)); /* whole, whichever it is */
            }
            OK(fv_params_save(p, path));
        }
    fv_params_free(p);
    fv_params_free(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(foreign_files),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(faults),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
