/* TILE for f64. See tile.h. */
#include "attn/engine/tile/tile.h"
#include "simd/simd.h"

#include <math.h>
#include <string.h>

#define R double
#define T(name) fv__tile_##name##_f64
#define SIMD fv__simd_f64
#define SIMD_NOW fv__simd_f64_now
#include "attn/engine/tile/tile_engine.h"
