/* References by plain loops in double: one visitor gives every query row with the keys it may see, so that a reference
 * is its formula and nothing else. Shares no code with the engines. */
#ifndef FV_ATTN_REFERENCE_H
#define FV_ATTN_REFERENCE_H

#include "attn/mechanism_contract.h"

typedef struct fv__row {
    const fv__run *run;
    int64_t b, h, kv;         /* batch, head, kv head in the tensors */
    int64_t sequence, i;      /* number of the sequence, row inside it */
    int64_t q_len;            /* rows of the sequence */
    int64_t q_row;            /* the row in q and out */
    int64_t k_start, k_len;   /* key j of the sequence is row k_start + j of k and v */
    int64_t position, prefix; /* of the row among the keys; keys below `prefix` are seen from everywhere */
} fv__row;

typedef void fv__row_fn(const fv__row *row, void *context);

/* Every row of every head, rows of a head in order. */
void fv__each_row(const fv__run *run, fv__row_fn *fn, void *context);

/* Does the row see key j: causality, windows, prefix, block mask, mask. */
bool fv__row_visible(const fv__row *row, int64_t j);

/* An element of a tensor of rank 4 whose axes of size 1 broadcast. */
double fv__plain_get(const fv_tensor *t, int64_t b, int64_t h, int64_t l, int64_t d);
/* Columns d0 to d0 + count - 1 of one of its rows, for tensors whose last axis does not broadcast. */
void fv__plain_columns(double *to, const fv_tensor *t, int64_t b, int64_t h, int64_t l, int64_t d0, int64_t count);
/* q_i . k_j of the row. */
double fv__plain_dot(const fv__row *row, int64_t j);
/* Writes the row of the output, the sum of weight(j) v_j; values of weight 0 are not read. */
typedef double fv__plain_weight_fn(const fv__row *row, int64_t j, void *context);
void fv__plain_output(const fv__row *row, fv__plain_weight_fn *weight, void *context);

#endif
