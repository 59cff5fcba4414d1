/* RECURRENT for f64. See recurrent.h. */
#include "attn/engine/recurrent/recurrent.h"
#include "simd/simd.h"

#include <math.h>
#include <string.h>

#define R double
#define T(name) fv__recurrent_##name##_f64
#define SIMD fv__simd_f64
#define SIMD_NOW fv__simd_f64_now
#include "attn/engine/recurrent/recurrent_engine.h"
