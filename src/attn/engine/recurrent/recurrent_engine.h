/* The engine for one type, and the table recurrent.c chooses it from. */
#include "attn/engine/recurrent/recurrent_job.h"
#include "attn/engine/recurrent/recurrent_forward.h"
#include "attn/engine/recurrent/recurrent_backward.h"

const fv__recurrent_kernels T(kernels) = {T(forward), T(backward)};
