/* Compiles the file FV_SCORE_FILE again for f32 and for f64, with R, T(name) and SIMD defined: then it is its typed
 * part only. So a row of list.def is one file. Included once by each, before its constant. */
#define R float
#define T(name) name##_f32
#define SIMD fv__simd_f32
#include FV_SCORE_FILE
#undef R
#undef T
#undef SIMD
#define R double
#define T(name) name##_f64
#define SIMD fv__simd_f64
#include FV_SCORE_FILE
#undef R
#undef T
#undef SIMD
