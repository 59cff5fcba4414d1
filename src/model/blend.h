/* blend: a model made of members of other kinds. What members say is multiplied:
 *
 *     log p(class) = sum over members of weight * log p_member(class) - log of what makes it sum to 1.
 *
 * So the score of a class is a weighted sum of the members' scores, and what a word adds to it is the weighted sum of
 * what it adds to theirs. Weights need not sum to 1: a larger sum makes the blend surer of itself.
 *
 * Each member is a model folder of its own inside that of the blend: FOLDER/members/NAME. */
#ifndef FV_MODEL_BLEND_H
#define FV_MODEL_BLEND_H

#include "model/model.h"

enum { FV__MEMBER_NAME = 32 };

typedef struct fv__member {
    char name[FV__MEMBER_NAME]; /* of its folder */
    fv_model *model;
    double weight;
} fv__member;

typedef struct fv__blend {
    int count;
    fv__member member[FV__MEMBERS];
    char **tensor_name; /* "NAME/tensor", of all tensors of all members */
    size_t tensors, tensor_capacity;
} fv__blend;

/* Adds a member and takes the model over (also on failure). FV_BAD_MODEL: a name that is no name of a folder of ours,
 * too many members, a weight that is no weight, another task or other classes. */
fv_status fv__blend_add(fv_model *blend, const char *name, fv_model *member, double weight);
void fv__blend_free(fv__blend *blend);

/* The member whose tokens and maps stand for the blend: the first with attention, else the first. -1: no members. */
int fv__blend_shown(const fv_model *blend);

/* sum (count, outputs) += weight * log of the answers of one member. */
void fv__blend_sum(double *sum, const float *answer, double weight, int64_t count);

fv_status fv__blend_encode(fv_encoded *encoded, const fv_model *blend, fv_texts texts);
fv_status fv__blend_predict(const fv_model *blend, const fv_encoded *encoded, float *answer);
fv_status fv__blend_save(const fv_model *blend, const char *folder);
fv_status fv__blend_load(fv_model *blend, const fv__config *config, const char *folder);
/* Removes the members of a blend that was saved in the folder, and no other files. */
fv_status fv__blend_clear(const char *folder);
fv_tensor fv__blend_tensor(const fv_model *blend, size_t index, const char **name);

#endif
