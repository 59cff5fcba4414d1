/* Chunkwise recurrences for f32. See chunkwise.h. */
#include "attn/engine/recurrent/chunkwise.h"
#include "simd/simd.h"

#include <string.h>

#define R float
#define T(name) fv__chunkwise_##name##_f32
#define SIMD fv__simd_f32
#define SIMD_NOW fv__simd_f32_now
#include "attn/engine/recurrent/chunkwise_engine.h"
