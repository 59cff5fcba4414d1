/* tone: how weights of one matrix become shades. Where rows sum to one a weight is measured against the even share, one
 * over the tokens its query sees, times the tokens of the key when it is a word of several: the even share is pale
 * (FV_SHADE_EVEN), whatever the length; darker is more than that. Elsewhere `top` is the largest weight. */
#ifndef FV_EXPLAIN_TONE_H
#define FV_EXPLAIN_TONE_H

#include "explain/color.h"
#include "explain/explain.h"

#define FV_SHADE_EVEN 0.15
typedef struct fv__tone {
    fv__scale scale;
    bool even, causal;
    const fv_explain_sequence *key;
    int64_t tokens; /* of all keys; more than there are keys when pieces were merged */
    double top;     /* the largest weight, of queries that see several keys; at least thrice the even share */
} fv__tone;
fv__tone fv__tone_of(fv__scale scale, bool even, bool causal, const float *weight, int64_t queries,
                     const fv_explain_sequence *key);

/* The even share of one token for a query; that of a key is as many times this as it has tokens. */
double fv__tone_unit(const fv__tone *tone, int64_t query);
double fv__tone_shade(const fv__tone *tone, double unit, int64_t key, double weight);

/* "1/14", or what it is called where words or queries differ in it; nothing without an even share. Appends. */
void fv__tone_even_caption(const fv__tone *tone, fv__buf *out);

#endif
