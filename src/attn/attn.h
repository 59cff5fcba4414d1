/* Between the files of the dispatcher: text.c, check.c, plan.c, run.c. */
#ifndef FV_ATTN_ATTN_H
#define FV_ATTN_ATTN_H

#include "attn/contract.h"

/* "name:key=value,key=value" into plan->mechanism and plan->params. */
fv_status fv__attn_parse(fv_attention_plan *plan, const char *text);
/* Ports, shapes, dtypes, options against what the mechanism promises; fills the sizes of the plan. */
fv_status fv__attn_check(fv_attention_plan *plan, const fv_attention_tensors *shapes);
/* The shape of one of the mechanism's own ports, resolved; rank 0 when it does not use it. */
fv_tensor fv__attn_port_shape(const fv_attention_plan *plan, fv_port port);
/* Is any gradient of an input wanted? */
bool fv__attn_wants_backward(const fv_attention_plan *plan);

#endif
