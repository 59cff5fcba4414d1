/* safetensors and npy: the file, every tensor read, and written again. */
#include "fuzz/fuzz.h"

#include "fovea/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    fv_tensor_file *file;
    if (!fuzz_done(fv_tensor_file_open(&file, fuzz_file(0, bytes, size)))) return 0;
    fuzz_done(fv_tensor_file_check_finite(file));
    double sum = 0;
    for (int64_t i = 0; i < fv_tensor_file_count(file) && i < 1000; i++) {
        fv_tensor t = fv_tensor_file_at(file, i), found;
        const char *name = fv_tensor_file_name(file, i);
        char text[128];
        fv_tensor_describe(&t, text, sizeof text);
        if (fv_tensor_file_find(file, name, &found) != FV_OK) abort();
        int64_t last[FV_MAX_DIMS] = {0};
        for (int d = 0; d < t.rank; d++) last[d] = t.dim[d] - 1;
        if (fv_tensor_count(&t) > 0) sum += fv_tensor_get(&t, last);
    }
    fv_tensor none;
    fuzz_done(fv_tensor_file_find(file, "block0.attention.q.weight", &none));
    fv_tensor_file_close(file);
    return sum == 12345.678;
}
