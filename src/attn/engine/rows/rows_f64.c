/* ROWS for f64. See rows.h. */
#include "attn/engine/rows/rows.h"
#include "simd/simd.h"

#include <math.h>
#include <string.h>

#define R double
#define T(name) fv__rows_##name##_f64
#define SIMD fv__simd_f64
#define SIMD_NOW fv__simd_f64_now
#define ROW_WEIGHT_OF fv__row_weight_f64
#define ROW_WEIGHT_TYPE f64
#include "attn/engine/rows/rows_engine.h"
