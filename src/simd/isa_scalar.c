/* The portable tables: f32 and f64 from the same kernels, one element at a time. Exports one symbol, the pair. */
#include "simd/simd.h"
#include "simd/isa.h"
#include "simd/vec_scalar.h"

#define KERNEL(result, name, arguments) .name = K(name),

#define R float
#define K(name) name##_f32
#define FV_REAL_IS_DOUBLE 0
#include "simd/kernels.h"
static const fv__simd_f32 table_f32 = {
#include "simd/kernels.def"
#include "simd/kernels_tile.def"
#include "simd/kernels_decode.def"
    .width = VL, .tile = {.lanes = 32, .block_q = 128, .block_k = 128, .side = 64}, .isa = FV_ISA_SCALAR};
#undef R
#undef K
#undef FV_REAL_IS_DOUBLE

#define R double
#define K(name) name##_f64
#define FV_REAL_IS_DOUBLE 1
#include "simd/kernels.h"
static const fv__simd_f64 table_f64 = {
#include "simd/kernels.def"
#include "simd/kernels_tile.def"
    .width = VL, .tile = {.lanes = 32, .block_q = 128, .block_k = 128, .side = 64}, .isa = FV_ISA_SCALAR};

const fv__simd_tables fv__simd_scalar = {&table_f32, &table_f64};
