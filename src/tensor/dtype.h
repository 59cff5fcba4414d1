/* Element types: conversion of rows of elements, through double (exact for every float type and for integers up to
 * 2^53) or through int64 (between integer types). */
#ifndef FV_TENSOR_DTYPE_H
#define FV_TENSOR_DTYPE_H

#include "fovea/tensor.h"

bool fv__dtype_is_float(fv_dtype dtype);

/* `count` elements, `stride` elements apart, from or to an array of double or int64. Storing rounds floats to nearest
 * even; into integers it cuts the fraction and stays at the ends of the range (NaN becomes 0). */
void fv__load_f64(double *to, const void *from, fv_dtype dtype, int64_t stride, int64_t count);
void fv__store_f64(void *to, fv_dtype dtype, int64_t stride, const double *from, int64_t count);
void fv__load_i64(int64_t *to, const void *from, fv_dtype dtype, int64_t stride, int64_t count);
void fv__store_i64(void *to, fv_dtype dtype, int64_t stride, const int64_t *from, int64_t count);

/* The pair that large files need, contiguous and fast. */
void fv__bf16_from_f32(uint16_t *to, const float *from, int64_t count);
void fv__f32_from_bf16(float *to, const uint16_t *from, int64_t count);

#endif
