/* TILE for f32. See tile.h. */
#include "attn/engine/tile/tile.h"
#include "simd/simd.h"

#include <math.h>
#include <string.h>

#define R float
#define T(name) fv__tile_##name##_f32
#define SIMD fv__simd_f32
#define SIMD_NOW fv__simd_f32_now
#include "attn/engine/tile/tile_engine.h"
