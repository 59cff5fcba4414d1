/* The graph's own kernels in f32 and f64, reached like those of simd: FV__PLAIN(dtype, kernel, arguments). */
#ifndef FV_GRAD_PLAIN_H
#define FV_GRAD_PLAIN_H

#include "base/base.h"

#define KERNEL(result, name, arguments) result(*name) arguments;
#define R float
typedef struct fv__plain_f32 {
#include "grad/plain.def"
} fv__plain_f32;
#undef R
#define R double
typedef struct fv__plain_f64 {
#include "grad/plain.def"
} fv__plain_f64;
#undef R
#undef KERNEL

extern const fv__plain_f32 fv__plain_f32_table;
extern const fv__plain_f64 fv__plain_f64_table;

#define FV__PLAIN(dtype, kernel, ...) \
    ((dtype) == FV_F32 ? fv__plain_f32_table.kernel(__VA_ARGS__) : fv__plain_f64_table.kernel(__VA_ARGS__))

#endif
