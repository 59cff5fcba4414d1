/* fovea/operands.h - the tensors of attention by name: one numbering for all mechanisms, a row for each in
 * operands.def.
 *
 * Whoever handles "all inputs" or "everything with a gradient" loops over the operands and asks their roles:
 *
 *     for (int p = 0; p < FV_OPERANDS; p++)
 *         if (x.t[p].rank && fv_operand_is(p, FV_ROLE_DIFFERENTIABLE)) ...
 */
#ifndef FOVEA_OPERANDS_H
#define FOVEA_OPERANDS_H

#include "tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fv_operand {
#define FV_OPERAND(id, name, role, flags, dtypes, shape, help) id,
#include "operands.def"
#undef FV_OPERAND
    FV_OPERANDS /* how many this version knows */
} fv_operand;

/* Places in fv_attention_tensors, more than there are operands: a program compiled before an operand was added still
 * runs. Places without an operand stay zero. */
#define FV_OPERAND_SLOTS 40

/* Sets of operands. */
#define FV_OPERAND_BIT(operand) (UINT64_C(1) << (operand))

enum {                      /* roles of operands: one bit each */
       FV_ROLE_INPUT = 1,   /* activations, with gradients */
       FV_ROLE_PARAM = 2,   /* learned, with gradients */
       FV_ROLE_MASK = 4,    /* truth values */
       FV_ROLE_LENGTH = 8,  /* integers that say which rows exist and where sequences begin */
       FV_ROLE_INDEX = 16,  /* integers that choose */
       FV_ROLE_OUTPUT = 32, /* written by a forward; a gradient of it may be given to a backward */
       FV_ROLE_SAVED = 64,  /* written by a forward for its backward */
       FV_ROLE_DIFFERENTIABLE = FV_ROLE_INPUT | FV_ROLE_PARAM,
       FV_ROLE_INTEGER = FV_ROLE_MASK | FV_ROLE_LENGTH | FV_ROLE_INDEX,
       FV_ROLE_RESULT = FV_ROLE_OUTPUT | FV_ROLE_SAVED
};

enum { FV_OPERAND_UNIT = 1 }; /* flags of operands: unit stride on the last axis */

typedef struct fv_operand_row {
    const char *name;
    uint32_t role, flags;
    const char *dtypes, *shape; /* see operands.def */
    const char *help;
} fv_operand_row;

/* The row of an operand; one with an empty name and no role for a number without. */
FV_API const fv_operand_row *fv_operand_info(fv_operand operand);
FV_API const char *fv_operand_name(fv_operand operand);
/* Has the operand one of these roles? */
FV_API bool fv_operand_is(fv_operand operand, uint32_t roles);

static inline bool fv_operand_is_qkv(fv_operand operand) {
    return operand == FV_Q || operand == FV_K || operand == FV_V;
}

#ifdef __cplusplus
}
#endif
#endif
