/* ROWS for f32. See rows.h. */
#include "attn/engine/rows/rows.h"
#include "simd/simd.h"

#include <math.h>
#include <string.h>

#define R float
#define T(name) fv__rows_##name##_f32
#define SIMD fv__simd_f32
#define SIMD_NOW fv__simd_f32_now
#define ROW_WEIGHT_OF fv__row_weight_f32
#define ROW_WEIGHT_TYPE f32
#include "attn/engine/rows/rows_engine.h"
