/* Chunkwise recurrences for f64. See chunkwise.h. */
#include "attn/engine/recurrent/chunkwise.h"
#include "simd/simd.h"

#include <string.h>

#define R double
#define T(name) fv__chunkwise_##name##_f64
#define SIMD fv__simd_f64
#define SIMD_NOW fv__simd_f64_now
#include "attn/engine/recurrent/chunkwise_engine.h"
