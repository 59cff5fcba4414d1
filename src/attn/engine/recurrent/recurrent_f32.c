/* RECURRENT for f32. See recurrent.h. */
#include "attn/engine/recurrent/recurrent.h"
#include "simd/simd.h"

#include <math.h>
#include <string.h>

#define R float
#define T(name) fv__recurrent_##name##_f32
#define SIMD fv__simd_f32
#define SIMD_NOW fv__simd_f32_now
#include "attn/engine/recurrent/recurrent_engine.h"
