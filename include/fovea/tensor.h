/* fovea/tensor.h - a tensor is a plain description of memory somebody else owns: pointer, type, dims, strides.
 *
 *     float numbers[6] = {1, 2, 3, 4, 5, 6}, turned[6];
 *     fv_tensor a = fv_tensor_2d(numbers, FV_F32, 2, 3);
 *     fv_tensor t = fv_tensor_transpose(a, 0, 1);                   // 3 by 2, the same memory
 *     fv_tensor to = fv_tensor_2d(turned, FV_F32, 3, 2);
 *     fv_status status = fv_tensor_copy(&to, &t);                   // 1 4 2 5 3 6
 */
#ifndef FOVEA_TENSOR_H
#define FOVEA_TENSOR_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Arithmetic is done in f32 (fast) and f64 (for checks); the others are storage. */
typedef enum fv_dtype {
    FV_F32,
    FV_F64,
    FV_BF16,
    FV_F16,
    FV_I8,
    FV_U8,
    FV_I16,
    FV_U16,
    FV_I32,
    FV_U32,
    FV_I64,
    FV_U64,
    FV_BOOL, /* one byte, 0 or 1 */
    FV_DTYPES
} fv_dtype;

#define FV_MAX_DIMS 6

/* dim[0] varies slowest. stride[] counts elements, may be zero (broadcast) or negative.
 * data == NULL means "no tensor": absent inputs and outputs nobody wants. */
typedef struct fv_tensor {
    void *data;
    fv_dtype dtype;
    int rank;
    int64_t dim[FV_MAX_DIMS];
    int64_t stride[FV_MAX_DIMS];
} fv_tensor;

FV_API size_t fv_dtype_size(fv_dtype dtype);      /* bytes of one element */
FV_API const char *fv_dtype_name(fv_dtype dtype); /* "f32", "bf16", ... */

/* A row-major view of `data`. rank <= FV_MAX_DIMS. Never fails: sizes are checked where memory is taken. */
FV_API fv_tensor fv_tensor_of(void *data, fv_dtype dtype, int rank, const int64_t *dim);
FV_API fv_tensor fv_tensor_1d(void *data, fv_dtype dtype, int64_t n);
FV_API fv_tensor fv_tensor_2d(void *data, fv_dtype dtype, int64_t rows, int64_t columns);

/* The two usual layouts of attention tensors, both described as (batch, heads, length, head_dim):
 * fv_bhld: memory (B,H,L,D).   fv_blhd: memory (B,L,H,D), which is also (B,L,H*D). */
FV_API fv_tensor fv_bhld(void *data, fv_dtype dtype, int64_t b, int64_t h, int64_t l, int64_t d);
FV_API fv_tensor fv_blhd(void *data, fv_dtype dtype, int64_t b, int64_t l, int64_t h, int64_t d);

/* Views. Out-of-range arguments give an empty view (dim 0), never a pointer outside the tensor. */
FV_API fv_tensor fv_tensor_slice(fv_tensor t, int axis, int64_t start, int64_t count);
FV_API fv_tensor fv_tensor_transpose(fv_tensor t, int axis_a, int axis_b);

FV_API int64_t fv_tensor_count(const fv_tensor *t);   /* number of elements, -1: overflow, or no rank */
FV_API bool fv_tensor_contiguous(const fv_tensor *t); /* row-major without gaps */
FV_API bool fv_tensor_same_shape(const fv_tensor *a, const fv_tensor *b);

/* Element access with conversion; for tests, printing and small tensors. `index` has rank entries, in range. */
FV_API double fv_tensor_get(const fv_tensor *t, const int64_t *index);
FV_API void fv_tensor_set(const fv_tensor *t, const int64_t *index, double value);

/* Copy with conversion between dtypes and strides; shapes must be equal (FV_USAGE otherwise). No overlap. */
FV_API fv_status fv_tensor_copy(const fv_tensor *to, const fv_tensor *from);
FV_API void fv_tensor_fill(const fv_tensor *t, double value);

/* "f32[2,8,64,16]" into `text`; returns the length it needs. */
FV_API size_t fv_tensor_describe(const fv_tensor *t, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
