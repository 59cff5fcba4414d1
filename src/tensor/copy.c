/* Moving elements: get, set, fill, and copy between any two layouts and types, one innermost row at a time. */
#include "base/base.h"
#include "tensor/dtype.h"

#include <string.h>

enum { PIECE = 512 }; /* elements converted at once, on the stack */

static char *element_at(const fv_tensor *t, const int64_t *index) {
    int64_t offset = 0;
    for (int i = 0; i < t->rank; i++) offset += index[i] * t->stride[i];
    return (char *)t->data + offset * (int64_t)fv_dtype_size(t->dtype);
}

double fv_tensor_get(const fv_tensor *t, const int64_t *index) {
    double value = 0;
    fv__load_f64(&value, element_at(t, index), t->dtype, 1, 1);
    return value;
}

void fv_tensor_set(const fv_tensor *t, const int64_t *index, double value) {
    fv__store_f64(element_at(t, index), t->dtype, 1, &value, 1);
}

/* The next row in memory order of the dims; false after the last. index[] counts all axes but the innermost. */
static bool next_row(const fv_tensor *t, int64_t *index) {
    for (int i = t->rank - 2; i >= 0; i--) {
        if (++index[i] < t->dim[i]) return true;
        index[i] = 0;
    }
    return false;
}

/* Length and stride of the innermost axis; a scalar is a row of one. */
static int64_t row_length(const fv_tensor *t) { return t->rank ? t->dim[t->rank - 1] : 1; }
static int64_t row_stride(const fv_tensor *t) { return t->rank ? t->stride[t->rank - 1] : 1; }

static void convert_piece(char *to, const fv_tensor *tt, const char *from, const fv_tensor *ft, int64_t count) {
    union {
        double f64[PIECE];
        int64_t i64[PIECE];
    } piece;
    if (fv__dtype_is_float(tt->dtype) || fv__dtype_is_float(ft->dtype)) {
        fv__load_f64(piece.f64, from, ft->dtype, row_stride(ft), count);
        fv__store_f64(to, tt->dtype, row_stride(tt), piece.f64, count);
    } else {
        fv__load_i64(piece.i64, from, ft->dtype, row_stride(ft), count);
        fv__store_i64(to, tt->dtype, row_stride(tt), piece.i64, count);
    }
}

/* A memcpy of a size known to the compiler is one load and one store. */
#define COPY(bytes)                                                                            \
    for (int64_t i = 0; i < count; i++) memcpy(to + i * to_step, from + i * from_step, bytes); \
    break

static void copy_same_type(char *to, int64_t to_step, const char *from, int64_t from_step, size_t size, int64_t count) {
    switch (size) {
    case 1: COPY(1);
    case 2: COPY(2);
    case 4: COPY(4);
    case 8: COPY(8);
    default: COPY(size);
    }
}

static void copy_row(char *to, const fv_tensor *tt, const char *from, const fv_tensor *ft, int64_t count) {
    int64_t to_step = row_stride(tt) * (int64_t)fv_dtype_size(tt->dtype);
    int64_t from_step = row_stride(ft) * (int64_t)fv_dtype_size(ft->dtype);
    bool dense = row_stride(tt) == 1 && row_stride(ft) == 1;
    if (tt->dtype == ft->dtype && dense) {
        memcpy(to, from, (size_t)count * fv_dtype_size(tt->dtype));
    } else if (tt->dtype == ft->dtype) {
        copy_same_type(to, to_step, from, from_step, fv_dtype_size(tt->dtype), count);
    } else if (dense && tt->dtype == FV_F32 && ft->dtype == FV_BF16) {
        fv__f32_from_bf16((float *)to, (const uint16_t *)from, count);
    } else if (dense && tt->dtype == FV_BF16 && ft->dtype == FV_F32) {
        fv__bf16_from_f32((uint16_t *)to, (const float *)from, count);
    } else {
        for (int64_t done = 0; done < count; done += PIECE) {
            int64_t n = count - done < PIECE ? count - done : PIECE;
            convert_piece(to + done * to_step, tt, from + done * from_step, ft, n);
        }
    }
}

static bool valid(const fv_tensor *t) { return t->data && fv_dtype_size(t->dtype) > 0; }

fv_status fv_tensor_copy(const fv_tensor *to, const fv_tensor *from) {
    char a[128], b[128];
    fv_tensor_describe(to, a, sizeof a);
    fv_tensor_describe(from, b, sizeof b);
    if (!fv_tensor_same_shape(to, from))
        return fv__fail(FV_USAGE, "tensor copy: the shapes differ\n  expected %s\n  found:   %s", a, b);
    int64_t count = fv_tensor_count(to);
    if (count < 0) return fv__fail(FV_USAGE, "tensor copy: the shape %s is too large", a);
    if (count == 0) return FV_OK;
    if (!valid(to) || !valid(from))
        return fv__fail(FV_USAGE, "tensor copy: %s\n  expected data\n  found:   NULL", valid(to) ? b : a);
    int64_t index[FV_MAX_DIMS] = {0};
    do copy_row(element_at(to, index), to, element_at(from, index), from, row_length(to));
    while (next_row(to, index));
    return FV_OK;
}

void fv_tensor_fill(const fv_tensor *t, double value) {
    if (!valid(t) || fv_tensor_count(t) <= 0) return;
    int64_t index[FV_MAX_DIMS] = {0}, size = (int64_t)fv_dtype_size(t->dtype);
    char one[8];
    fv__store_f64(one, t->dtype, 1, &value, 1);
    do copy_same_type(element_at(t, index), row_stride(t) * size, one, 0, (size_t)size, row_length(t));
    while (next_row(t, index));
}
