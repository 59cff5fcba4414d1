/* Between the files of the dispatcher: mechanism_text.c, check_call.c, plan.c, run.c. */
#ifndef FV_ATTN_ATTN_H
#define FV_ATTN_ATTN_H

#include "attn/mechanism_contract.h"

/* "name:key=value,key=value" into plan->mechanism and plan->params. */
fv_status fv__attn_parse(fv_attention_plan *plan, const char *text);
/* Operands, shapes, dtypes, options against what the mechanism promises; fills the sizes of the plan. */
fv_status fv__attn_check(fv_attention_plan *plan, const fv_attention_tensors *shapes);
/* The sizes of the plan from its shapes of q, k, v and cu_q, as far as they are there. */
void fv__attn_sizes(fv_attention_plan *plan);

/* operands.c: shapes written in letters, with the sizes of the plan. */
typedef struct fv__shape {
    int rank;
    int64_t dim[FV_MAX_DIMS];
    bool broadcast[FV_MAX_DIMS]; /* 1 will do as well */
} fv__shape;
/* The first of the shapes in `text` ("B,Lk or B,Lk,D"); text moves behind it. */
fv__shape fv__attn_parse_shape(const fv_attention_plan *plan, const char **text);
bool fv__attn_fits(const fv_attention_plan *plan, fv_operand operand, const fv_tensor *t);
void fv__attn_shape_text(const fv_attention_plan *plan, fv_operand operand, char *out, size_t size);
fv_dtype fv__attn_dtype(const fv_attention_plan *plan, fv_operand operand); /* the first its row allows */
/* The shape an operand must have, resolved; rank 0 when it is not used, may broadcast or is the caller's choice. */
fv_tensor fv__attn_operand_shape(const fv_attention_plan *plan, fv_operand operand);
/* Is there a normalizer of rows? Gates and unnormalized recurrences have none. */
bool fv__attn_has_lse(const fv_attention_plan *plan);
/* Is any gradient of an input wanted? */
bool fv__attn_wants_backward(const fv_attention_plan *plan);

/* run.c: the call makes sense, its tensors are those of the plan, and their lengths make sense; fills `run`. call NULL:
 * zeros. */
fv_status fv__attn_start(fv__run *run, const fv_attention_plan *plan, const fv_attention_call *call,
                         const fv_attention_tensors *x, bool backward);
fv_status fv__attn_check_call(const fv_attention_call *call);
/* FV_USAGE when what a caller must give is NULL. */
fv_status fv__attn_need(const void *pointer, const char *what);
void *fv__attn_aligned(void *scratch);
/* The engine of a plan, with scratch as it announced. */
void fv__attn_engine_run(const fv__run *run, bool backward, void *scratch);

/* cast.c: a plan whose storage is not its dtype runs through here. Scratch: the tensors in f32, then what the mechanism
 * needs. */
bool fv__attn_is_16bit(fv_dtype dtype);
/* A backward that reads `out` wants it before it was rounded: from "aux", where a forward that has it keeps it, or made
 * again. */
bool fv__cast_keeps_out(const fv_attention_plan *plan);
bool fv__cast_remakes_out(const fv_attention_plan *plan);
size_t fv__cast_bytes(const fv_attention_plan *plan, bool backward);
void fv__cast_run(const fv__run *run, bool backward, void *scratch);
/* The same for what is recomputed after a forward: `y` becomes x with inputs in f32, in `memory`; values and outputs
 * are left out. With batch and head >= 0 only those are converted. */
size_t fv__cast_inputs_bytes(const fv_attention_plan *plan, bool one);
void fv__cast_inputs(const fv__run *run, int64_t batch, int64_t head, fv_attention_tensors *y, void *memory);

#endif
