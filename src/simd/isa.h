/* The symbols the isa_*.c export: for select.c only. */
#ifndef FV_SIMD_ISA_H
#define FV_SIMD_ISA_H

#include "simd/simd.h"

typedef struct fv__simd_tables {
    const fv__simd_f32 *f32;
    const fv__simd_f64 *f64;
} fv__simd_tables;

extern const fv__simd_tables fv__simd_scalar;
#if defined(__x86_64__)
extern const fv__simd_f32 fv__simd_avx2, fv__simd_avx512;
#elif defined(__aarch64__)
extern const fv__simd_f32 fv__simd_neon;
#endif

#endif
