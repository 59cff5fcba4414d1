/* COMPOSITION: a mechanism made of other mechanisms over the same queries, merged (merge.h).
 *
 * Its setup plans a child for each part (fv__plan_child), says how a call is seen by a part (`part`), and how the
 * results become one: by factors, or by LSE. The engine runs the parts one after the other, keeps their outputs and
 * LSE in the operand `aux` for the backward, and adds up gradients of tensors that several parts read, in the order
 * of the parts. Scratch: the results, and as much as the child that needs most. lse is that of the whole when merged
 * by LSE, else that of the first part. */
#ifndef FV_ATTN_COMPOSITION_H
#define FV_ATTN_COMPOSITION_H

#include "attn/engine/composition/merge.h"

enum {
    FV_COMPOSITION_CAN = FV_CAN_BACKWARD | FV_CAN_CAUSAL | FV_CAN_GQA | FV_CAN_VARLEN | FV_CAN_KV_LEN | FV_CAN_WEIGHTS |
                         FV_CAN_DROPOUT | FV_CAN_BLOCKS | FV_CAN_DECODE | FV_CAN_SOFTCAP
};
extern const fv__engine fv__composition;

/* What a mechanism over COMPOSITION gives. */
typedef struct fv__composition_setup {
    /* y is a copy of the call's tensors without results: makes t and d of the inputs those of part `k`. */
    void (*part)(const fv_attention_plan *plan, int k, fv_attention_tensors *y);
    /* Factors of the parts in this call; NULL: merged by LSE, and there are no weights. */
    void (*factors)(const fv__run *run, double *factor);
    /* Writes the gradients of what the factors are made of. */
    void (*factors_backward)(const fv__run *run, const double *d_factor);
} fv__composition_setup;
static inline fv__composition_setup *fv__composition_setup_of(const fv_attention_plan *plan) {
    return fv__setup_of(plan, &fv__composition);
}

/* Plans part number plan->children: `options` of the mechanism it is, tensors as `setup->part` makes them. Results and
 * dtypes follow. */
fv_status fv__composition_add(fv_attention_plan *plan, const fv_attention_options *options);

/* Columns of `aux` for so many parts. */
static inline int64_t fv__composition_saved(const fv_attention_plan *plan, int parts) {
    return parts * (plan->d_v + 1);
}

#endif
