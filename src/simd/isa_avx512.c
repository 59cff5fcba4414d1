/* The table of AVX-512. Compiled with its flags; exports one symbol. */
#include "simd/simd.h"
#include "simd/isa.h"

#define R float
#define K(name) name##_f32
#define FV_REAL_IS_DOUBLE 0
#include "simd/vec_avx512.h"
#include "simd/kernels.h"

#define KERNEL(result, name, arguments) .name = K(name),
const fv__simd_f32 fv__simd_avx512 = {
#include "simd/kernels.def"
#include "simd/kernels_tile.def"
#include "simd/kernels_decode.def"
    .width = VL, .tile = {.lanes = 32, .block_q = 128, .block_k = 128, .side = 64}, .isa = FV_ISA_AVX512};
