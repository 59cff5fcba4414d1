/* The engine for one type, and the table recur.c chooses it from. */
#include "attn/core/recur_job.h"
#include "attn/core/recur_forward.h"
#include "attn/core/recur_backward.h"

const fv__recur_engine T(engine) = {T(forward), T(backward)};
