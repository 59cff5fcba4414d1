/* Compiles one file for float and for double. The file says its own path and includes this; what it has to say once
 * stands in the first part, what is written for the real type R in the second:
 *
 *     #ifndef FV_BOTH_REALS
 *     #define FV_BOTH_REALS "attn/weight/NAME.c"
 *     #include "simd/both_reals.h"
 *     ... once; names_f32 and names_f64 are known ...
 *     #else
 *     ... static R T(name)(const SIMD *simd, ...) ...
 *     #endif
 */
#include <math.h>
#include <string.h>

#define R float
#define T(name) name##_f32
#define SIMD fv__simd_f32
#define SIMD_NOW fv__simd_f32_now
#define FV_REAL_IS_DOUBLE 0
#include FV_BOTH_REALS
#undef R
#undef T
#undef SIMD
#undef SIMD_NOW
#undef FV_REAL_IS_DOUBLE
#define R double
#define T(name) name##_f64
#define SIMD fv__simd_f64
#define SIMD_NOW fv__simd_f64_now
#define FV_REAL_IS_DOUBLE 1
#include FV_BOTH_REALS
#undef R
#undef T
#undef SIMD
#undef SIMD_NOW
#undef FV_REAL_IS_DOUBLE
