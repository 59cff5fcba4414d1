/* explain: what the files of this folder share.
 *
 *     explanation.c an fv_explanation, piece by piece        explain_model.c what a model gives to one
 *     stats.c     head statistics                          words.c   pieces merged into words
 *     rollout.c   means and rollout                        find.c    matrices by name, choices of heads
 * and the renderers: render.h is their contract, list.def their list. */
#ifndef FV_EXPLAIN_H
#define FV_EXPLAIN_H

#include "base/base.h"
#include "fovea/explain.h"

/* Owns what the public struct points to: arrays that grow are blocks of their own, the rest is in the arena. */
struct fv__explain_store {
    fv__arena *arena;
    size_t classes, sequences, maps, attributions, notes; /* capacities */
    size_t *heads, head_maps;                             /* capacity of each map's heads */
};

/* Copies into the explanation's memory; NULL with the message set when there is none left. */
char *fv__explain_text(fv_explanation *e, const char *text, size_t size);
float *fv__explain_floats(fv_explanation *e, const float *from, int64_t count);

/* What a token looks like: its bytes of the text when they are whole characters, hex bytes when they are not, otherwise
 * its piece. Appends to `out`. */
void fv__token_caption(fv__buf *out, const fv_explain_sequence *sequence, int64_t token);

/* Numbers words anew: where a script without spaces makes one word of a clause each token is a word, and letters are
 * not parted from their marks. */
void fv__part_words(fv_explain_sequence *sequence);

/* Makes out[k] true for the special tokens; `out` has room for all of them. */
void fv__special_keys(bool *out, const fv_explain_sequence *sequence);

/* Rows that see nothing sum to zero; all others must sum to one. */
bool fv__rows_sum_to_one(const float *weight, int64_t rows, int64_t keys);
/* No query sees a later key, in any of the square matrices. */
bool fv__is_causal(const float *weight, int64_t matrices, int64_t queries, int64_t keys);

/* FV_USAGE when there is no such map. */
fv_status fv__check_map(const fv_explanation *e, int map, const char *where);

/* Adds the mean of each layer ((layers, queries, keys), layer numbers in `number`) when layers have several heads,
 * and the rollout where it is defined and tokens also pass beside the attention (`residual`). */
fv_status fv__add_combinations(fv_explanation *e, int map, const float *mean, const int32_t *number, int64_t layers,
                               bool several_heads, bool residual);

/* A choice of heads: "0,2-3" layers, "3:*,11:2-4" heads. */
typedef struct fv__head_range {
    int32_t layer_first, layer_last, head_first, head_last;
} fv__head_range;
typedef struct fv__head_choice {
    fv__head_range *range;
    size_t count, capacity;
} fv__head_choice;
fv_status fv__head_choice_parse(fv__head_choice *choice, const char *text); /* NULL: everything */
bool fv__head_chosen(const fv__head_choice *choice, int32_t layer, int32_t head);
void fv__head_choice_free(fv__head_choice *choice);

#endif
