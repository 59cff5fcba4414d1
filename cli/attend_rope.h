/* Rotary positions of `fovea attend`. */
#ifndef CLI_ATTEND_ROPE_H
#define CLI_ATTEND_ROPE_H

#include "attend.h"
#include "fovea/rope.h"

bool attend_rope_wanted(const attend_options *o);

/* Rotates q and the keys after the first `past`; the tensors become our own memory. */
fv_status attend_rope(const attend_options *o, const fv_attention_options *how, const fv_attention_call *call,
                      fv_attention_tensors *x, attend_layout layout, int64_t past);

/* dq and dk of what was rotated become those of what the user gave. */
fv_status attend_rope_backward(const attend_options *o, const fv_attention_options *how, const fv_attention_call *call,
                               const fv_attention_tensors *x, int64_t past);

#endif
