/* Attention in a graph: the plans a graph keeps, and the calls of a step. */
#ifndef FV_GRAD_ATTEND_H
#define FV_GRAD_ATTEND_H

#include "grad/graph.h"

/* A plan and the outputs its mechanism has. */
typedef struct fv__planned {
    fv_attention_plan *plan;
    fv_tensor out, lse, state, aux; /* shapes; rank 0: the mechanism has no such output */
} fv__planned;

/* The plan for these options and shapes, made when it is not there yet. Valid for this step. */
fv_status fv__plans_get(fv_graph *g, const fv_attention_options *options, const fv_attention_tensors *shapes,
                        bool wants_lse, const fv__planned **planned);
void fv__plans_trim(fv__plans *plans, uint64_t step); /* frees plans that step did not use, when there are many */
void fv__plans_free(fv__plans *plans);

struct fv__attend_call {
    fv__attend_call *next;
    const char *name;
    fv_attention_plan *plan;
    fv_attention_call call; /* of the forward: backward and whoever looks at it later need the same */
    fv_attention_tensors x; /* t as run; d of the outputs is looked up in the nodes */
    fv_node *in[FV_OPERANDS];
    fv_node *out, *lse, *state;
};

#endif
