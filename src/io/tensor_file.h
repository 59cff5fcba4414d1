/* Tensor files, for callers inside the library: the status of a fault is theirs to choose (FV_BAD_DATA for tensors
 * somebody brings, FV_BAD_MODEL for weights). */
#ifndef FV_IO_TENSOR_FILE_H
#define FV_IO_TENSOR_FILE_H

#include "base/base.h"
#include "fovea/files.h"

fv_status fv__tensor_file_open(fv_tensor_file **file, const char *path, fv_status fault);
/* The tensor of this name, which must have the shape of `expected` and be of floats or of integers as it is. */
fv_status fv__tensor_file_need(const fv_tensor_file *file, const char *name, const fv_tensor *expected,
                               fv_tensor *found);
/* Refuses a tensor of floats with NaN or infinity in it; `name` is what the file calls it. */
fv_status fv__tensor_file_finite(const fv_tensor_file *file, const char *name, const fv_tensor *tensor);

/* ---- for the formats ---- */
struct fv_tensor_file {
    char *path;
    fv_status fault;
    fv__file bytes;
    fv_named_tensor *tensors; /* names live in `names` */
    size_t count, capacity;
    fv__map *names;    /* name -> index */
    fv__map *metadata; /* key -> index of its value in `values` */
    char **values;
    size_t value_count, value_capacity;
    void **copies; /* of tensors whose place in the file is not aligned for their type */
    size_t copy_count, copy_capacity;
};
fv_status fv__npy_parse(fv_tensor_file *file);
fv_status fv__safetensors_parse(fv_tensor_file *file);
/* Adds a tensor whose elements lie row-major at `data` inside the file; copies them when they are not aligned. */
fv_status fv__tensor_file_add(fv_tensor_file *file, const char *name, fv_dtype dtype, int rank, const int64_t *dim,
                              const unsigned char *data, size_t bytes);
fv_status fv__tensor_file_add_metadata(fv_tensor_file *file, const char *key, const char *value);

/* Writes the elements row-major, whatever the strides. */
void fv__write_elements(fv__writer *writer, const fv_tensor *tensor, fv_dtype as);

#endif
