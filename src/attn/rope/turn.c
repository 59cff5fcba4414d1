/* Turning of rows by a table of cosines and sines. A task owns ROWS rows of all heads of one batch entry, so the table is read, converted
 * and, for neighbouring pairs, spread to one number per element once for all heads. turn.h is written for a type R. */
#include "attn/rope/rope.h"
#include "simd/simd.h"
#include "tensor/dtype.h"

#include <string.h>

enum { ROWS = 16, PAIRS = 64 }; /* of a block of the table */

#define R float
#define T(name) name##_f32
#define SIMD fv__simd_f32
#define SIMD_NOW fv__simd_f32_now
#define TYPE FV_F32
#include "attn/rope/turn.h"
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
#include "attn/rope/turn.h"

void fv__rope_turn(const fv__rope_call *call) {
    const int64_t tasks = call->to->dim[0] * ((call->to->dim[2] + ROWS - 1) / ROWS);
    if (!call->to->dim[1] || !call->to->dim[3]) return;
    fv__parallel_for(tasks, call->to->dtype == FV_F64 ? turn_task_f64 : turn_task_f32, (void *)call);
}
