/* ROWS for f32. See rows.h. */
#include "attn/engine/rows/rows.h"
#include "simd/simd.h"

#include <math.h>
#include <string.h>

#define R float
#define T(name) fv__rows_##name##_f32
#define SIMD fv__simd_f32
#define SIMD_NOW fv__simd_f32_now
#define FV_REAL_IS_DOUBLE 0
#include "attn/engine/rows/rows_engine.h"
