/* fovea/files.h - tensors in files: .safetensors and .npy, and pictures as .png.
 *
 *     fv_tensor_file *file;
 *     fv_tensor q;
 *     if (fv_tensor_file_open(&file, "in.safetensors") != FV_OK) ...        // every claim of the file is checked here
 *     if (fv_tensor_file_find(file, "q", &q) != FV_OK) ...                  // a view: read it, do not write to it
 *     ...
 *     fv_tensor_file_close(file);
 *     fv_named_tensor out[] = {{"out", o}, {"lse", lse}};
 *     fv_safetensors_write("out.safetensors", out, 2, NULL);
 *
 * Files are written atomically: the old file stays until the new one is complete and on disk.
 */
#ifndef FOVEA_FILES_H
#define FOVEA_FILES_H

#include "tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- reading: .safetensors or .npy, told apart by their content ---- */

/* The file is mapped and its tensors are read-only views that live until the file is closed. An .npy file holds one
 * tensor with an empty name. FV_BAD_DATA: missing or malformed; the message names the file and the tensor. */
typedef struct fv_tensor_file fv_tensor_file;
FV_API fv_status fv_tensor_file_open(fv_tensor_file **file, const char *path);
FV_API void fv_tensor_file_close(fv_tensor_file *file);

/* The tensors in the order of the file. An index out of range gives NULL and a tensor without data. */
FV_API int64_t fv_tensor_file_count(const fv_tensor_file *file);
FV_API const char *fv_tensor_file_name(const fv_tensor_file *file, int64_t index);
FV_API fv_tensor fv_tensor_file_at(const fv_tensor_file *file, int64_t index);

/* By name. FV_BAD_DATA when there is none; the message suggests the nearest. */
FV_API fv_status fv_tensor_file_find(const fv_tensor_file *file, const char *name, fv_tensor *tensor);
FV_API bool fv_tensor_file_has(const fv_tensor_file *file, const char *name);

/* A string of the file's metadata, NULL when it has none of that name. */
FV_API const char *fv_tensor_file_metadata(const fv_tensor_file *file, const char *key);

/* FV_BAD_DATA when a float tensor holds NaN or infinity; the message says which tensor and where. */
FV_API fv_status fv_tensor_file_check_finite(const fv_tensor_file *file);

/* ---- writing ---- */

typedef struct fv_named_tensor {
    const char *name;
    fv_tensor tensor;
} fv_named_tensor;

/* `metadata` is a list key, value, key, value, ..., NULL, or NULL; {"format": "pt"} is added, other programs ask for
 * it. The same tensors and metadata always give the same bytes, in whatever order they are listed. */
FV_API fv_status fv_safetensors_write(const char *path, const fv_named_tensor *tensors, int64_t count,
                                      const char *const *metadata);

/* bf16, which .npy does not know, is written as f32. */
FV_API fv_status fv_npy_write(const char *path, const fv_tensor *tensor);

/* 8-bit pixels, row by row without gaps; 1 channel is grey, 3 RGB, 4 RGBA. */
FV_API fv_status fv_png_write(const char *path, const unsigned char *pixels, int64_t width, int64_t height,
                              int channels);

#ifdef __cplusplus
}
#endif
#endif
