/* Tensors as descriptions: making one, views of it, and questions about its shape. Nothing here touches data. */
#include "fovea/tensor.h"

#include "base/base.h"

#include <inttypes.h>
#include <stdio.h>

fv_tensor fv_tensor_of(void *data, fv_dtype dtype, int rank, const int64_t *dim) {
    fv_tensor t = {.data = data, .dtype = dtype, .rank = rank < 0 ? 0 : rank > FV_MAX_DIMS ? FV_MAX_DIMS : rank};
    uint64_t stride = 1; /* unsigned: a shape that overflows is refused where memory is taken, not here */
    for (int i = t.rank - 1; i >= 0; i--) {
        t.dim[i] = dim[i];
        t.stride[i] = (int64_t)stride;
        stride *= (uint64_t)dim[i];
    }
    return t;
}

fv_tensor fv_tensor_1d(void *data, fv_dtype dtype, int64_t n) { return fv_tensor_of(data, dtype, 1, &n); }

fv_tensor fv_tensor_2d(void *data, fv_dtype dtype, int64_t rows, int64_t columns) {
    return fv_tensor_of(data, dtype, 2, (int64_t[]){rows, columns});
}

fv_tensor fv_bhld(void *data, fv_dtype dtype, int64_t b, int64_t h, int64_t l, int64_t d) {
    return fv_tensor_of(data, dtype, 4, (int64_t[]){b, h, l, d});
}

fv_tensor fv_blhd(void *data, fv_dtype dtype, int64_t b, int64_t l, int64_t h, int64_t d) {
    return fv_tensor_transpose(fv_tensor_of(data, dtype, 4, (int64_t[]){b, l, h, d}), 1, 2);
}

/* A description somebody else filled: a rank outside the arrays is no shape, whatever is asked about it. */
static bool has_shape(const fv_tensor *t) { return t->rank >= 0 && t->rank <= FV_MAX_DIMS; }

/* What a wrong argument gives: nothing to read, nothing to write. A scalar has no dimension to empty, so it gets
 * one. */
static fv_tensor empty(fv_tensor t, int axis) {
    if (t.rank == 0 || !has_shape(&t)) t.rank = 1;
    if (axis < 0 || axis >= t.rank) axis = 0;
    t.dim[axis] = 0;
    return t;
}

fv_tensor fv_tensor_slice(fv_tensor t, int axis, int64_t start, int64_t count) {
    if (!has_shape(&t) || axis < 0 || axis >= t.rank || start < 0 || count < 0) return empty(t, axis);
    if (start > t.dim[axis] || count > t.dim[axis] - start) return empty(t, axis);
    t.dim[axis] = count;
    if (t.data && count > 0) t.data = (char *)t.data + start * t.stride[axis] * (int64_t)fv_dtype_size(t.dtype);
    return t;
}

fv_tensor fv_tensor_transpose(fv_tensor t, int axis_a, int axis_b) {
    if (!has_shape(&t) || axis_a < 0 || axis_a >= t.rank || axis_b < 0 || axis_b >= t.rank) return empty(t, 0);
    int64_t dim = t.dim[axis_a], stride = t.stride[axis_a];
    t.dim[axis_a] = t.dim[axis_b];
    t.stride[axis_a] = t.stride[axis_b];
    t.dim[axis_b] = dim;
    t.stride[axis_b] = stride;
    return t;
}

int64_t fv_tensor_count(const fv_tensor *t) {
    size_t count;
    return has_shape(t) && fv__size_of(t->dim, t->rank, 1, &count) ? (int64_t)count : -1;
}

bool fv_tensor_contiguous(const fv_tensor *t) {
    int64_t expected = 1;
    if (!has_shape(t)) return false;
    if (fv_tensor_count(t) == 0) return true;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->dim[i] != 1 && t->stride[i] != expected) return false;
        if (__builtin_mul_overflow(expected, t->dim[i], &expected)) return false;
    }
    return true;
}

bool fv_tensor_same_shape(const fv_tensor *a, const fv_tensor *b) {
    if (a->rank != b->rank || !has_shape(a)) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

size_t fv_tensor_describe(const fv_tensor *t, char *text, size_t size) {
    char all[256];
    if (!has_shape(t))
        return (size_t)snprintf(text, size, "%s of rank %d, at most %d", fv_dtype_name(t->dtype), t->rank, FV_MAX_DIMS);
    size_t used = (size_t)snprintf(all, sizeof all, "%s[", fv_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++)
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%" PRId64, i ? "," : "", t->dim[i]);
    snprintf(all + used, sizeof all - used, "]");
    return (size_t)snprintf(text, size, "%s", all);
}
