/* trace: the inside of an fv_trace, which each sort of kind fills in its own way. */
#ifndef FV_MODEL_TRACE_H
#define FV_MODEL_TRACE_H

#include "model/blend.h"
#include "model/features.h"
#include "model/network.h"

typedef struct fv__trace fv__trace;
struct fv__trace {
    fv_trace open;    /* first: what the caller sees */
    fv_tokens tokens; /* its arrays are in token_memory */
    int32_t *token_memory;
    char *text;
    float *output, *pooling_weights; /* output: (2, outputs) outputs and answers */
    int64_t target;                  /* -1: no gradients yet */
    /* neural kinds */
    fv__run run;
    fv_corpus *corpus;
    fv_batches *batches;
    fv__nodes nodes;
    /* count-based kinds */
    fv__occurrences found;
    fv__counts features; /* the one row */
    /* kinds that blend */
    fv_trace *member[FV__MEMBERS];
    int members, shown; /* shown: whose tokens and maps stand for the blend */
};

/* Outputs of the model, and what they answer. */
fv_status fv__trace_keep_outputs(fv__trace *t, const float *output);

/* The same for kinds that blend. */
fv_status fv__trace_blend(fv__trace *t, const char *text, size_t size);
fv_status fv__trace_blend_backward(fv__trace *t, int64_t index);
fv_status fv__trace_blend_contributions(const fv__trace *t, float *out);
/* Attention of a blend is that of the member it shows. */
static inline const fv_trace *fv__trace_shown(const fv_trace *trace) {
    return trace->store->members ? trace->store->member[trace->store->shown] : trace;
}

#endif
