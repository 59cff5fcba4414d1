/* The parts of a chunkwise recurrence in their order. Included by chunkwise_f32.c and chunkwise_f64.c, which define
 * R, T(name), SIMD and SIMD_NOW. */
#include "attn/engine/recurrent/chunkwise_arrays.h"
#include "attn/engine/recurrent/chunkwise_pairs.h"
#include "attn/engine/recurrent/chunkwise_chunk.h"
#include "attn/engine/recurrent/chunkwise_job.h"
#include "attn/engine/recurrent/chunkwise_forward.h"
#include "attn/engine/recurrent/chunkwise_backward.h"
