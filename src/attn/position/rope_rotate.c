/* Rotation of rows by a table of cosines and sines. A task owns some rows of all heads of one batch entry, so a table
 * of another type or order is converted once for all heads. rope_rotate_typed.h is written for a type R. */
#include "attn/position/rope_call.h"
#include "simd/simd.h"
#include "tensor/dtype.h"

#include <string.h>

enum { PAIRS = 64, TABLE = 4096 }; /* of a row of a block at most; numbers of a block, twice: near a core's cache */

#define R float
#define T(name) name##_f32
#define SIMD fv__simd_f32
#define SIMD_NOW fv__simd_f32_now
#define TYPE FV_F32
#include "attn/position/rope_rotate_typed.h"
#undef R
#undef T
#undef SIMD
#undef SIMD_NOW
#undef TYPE

#define R double
#define T(name) name##_f64
#define SIMD fv__simd_f64
#define SIMD_NOW fv__simd_f64_now
#define TYPE FV_F64
#include "attn/position/rope_rotate_typed.h"

void fv__rope_rotate(const fv__rope_call *call) {
    const int64_t *dim = call->to->dim, row = call->columns / 2 < PAIRS ? call->columns / 2 : PAIRS;
    fv__rope_call split = *call;
    if (!dim[1] || !dim[3]) return;
    split.rows = TABLE / (row ? row : 1);
    while (split.rows > 16 && dim[0] * ((dim[2] + split.rows - 1) / split.rows) < 8)
        split.rows /= 2; /* work for all threads */
    const int64_t tasks = dim[0] * ((dim[2] + split.rows - 1) / split.rows);
    fv__parallel_for(tasks, call->to->dtype == FV_F64 ? rotate_task_f64 : rotate_task_f32, &split);
}
