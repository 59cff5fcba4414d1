/* Compiles the graph's own kernels twice, for f32 and for f64. */
#include "grad/plain.h"

#include "simd/simd.h"

#include <math.h>

#define KERNEL(result, name, arguments) .name = K(name),

#define R float
#define K(name) name##_f32
#define SIMD() fv__simd_f32_now()
#include "grad/plain_kernels.h"
const fv__plain_f32 fv__plain_f32_table = {
#include "grad/plain.def"
};
#undef R
#undef K
#undef SIMD

#define R double
#define K(name) name##_f64
#define SIMD() fv__simd_f64_now()
#include "grad/plain_kernels.h"
const fv__plain_f64 fv__plain_f64_table = {
#include "grad/plain.def"
};
