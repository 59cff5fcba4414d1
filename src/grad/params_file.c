/* Parameters in a file: one safetensors tensor each, by name. Everything is checked before the first value changes. */
#include "grad/graph.h"
#include "io/tensor_file.h"

#include <string.h>

fv_status fv_params_save(const fv_params *params, const char *path) {
    int count = fv_params_count(params);
    fv_named_tensor *tensors = fv__alloc_array((size_t)count + 1, sizeof *tensors);
    if (!tensors) return FV_NO_RESOURCES;
    for (int i = 0; i < count; i++) {
        fv_param p = fv_params_get(params, i);
        tensors[i] = (fv_named_tensor){p.name, p.value};
    }
    fv_status status = fv_safetensors_write(path, tensors, count, NULL);
    fv__free(tensors);
    return status;
}

static bool is_float(fv_dtype dtype) { return dtype <= FV_F16; }

static fv_status check_param(const fv_tensor_file *file, const fv_param *p) {
    fv_tensor from;
    char want[96], have[96];
    FV_TRY(fv_tensor_file_find(file, p->name, &from));
    if (fv_tensor_same_shape(&p->value, &from) && is_float(from.dtype)) return FV_OK;
    fv_tensor_describe(&p->value, want, sizeof want);
    fv_tensor_describe(&from, have, sizeof have);
    return fv__fail(FV_BAD_MODEL, "%s: tensor \"%s\" is not that parameter\n  expected %s\n  found:   %s", file->path,
                    p->name, want, have);
}

static fv_status check_file(const fv_tensor_file *file, const fv_params *params) {
    for (int i = 0; i < fv_params_count(params); i++) {
        fv_param p = fv_params_get(params, i);
        FV_TRY(check_param(file, &p));
    }
    for (int64_t i = 0; i < fv_tensor_file_count(file); i++)
        if (fv_params_find(params, fv_tensor_file_name(file, i)) < 0)
            return fv__fail(FV_BAD_MODEL,
                            "%s: a tensor that is no parameter\n  expected the %d parameters of the network\n"
                            "  found:   \"%s\"\n  try:     the options the file was saved with",
                            file->path, fv_params_count(params), fv_tensor_file_name(file, i));
    return fv_tensor_file_check_finite(file);
}

fv_status fv_params_load(fv_params *params, const char *path) {
    fv_tensor_file *file;
    FV_TRY(fv__tensor_file_open(&file, path, FV_BAD_MODEL));
    fv_status status = check_file(file, params);
    for (int i = 0; i < fv_params_count(params) && status == FV_OK; i++) {
        fv_param p = fv_params_get(params, i);
        fv_tensor from;
        status = fv_tensor_file_find(file, p.name, &from);
        if (status == FV_OK) status = fv_tensor_copy(&p.value, &from);
    }
    fv_tensor_file_close(file);
    return status;
}
