/* Between the files of the rotary embedding, and for the tape above. */
#ifndef FV_ATTN_ROPE_H
#define FV_ATTN_ROPE_H

#include "base/base.h"
#include "fovea/rope.h"

/* What both directions are: to = or += the rotation of `from`, by the negative angle when `backward`. Nothing is
 * allocated when the options hold tables. */
fv_status fv__rope(const fv_rope_options *options, const fv_tensor *from, const fv_tensor *to, bool backward, bool add);

/* ---- between rope_angles.c, rope.c and rope_rotate.c */

/* FV_USAGE when what a caller must give is NULL. */
fv_status fv__rope_need(const void *pointer, const char *what);

/* rotated columns, of `head_dim`; FV_USAGE when they are odd or too many. */
fv_status fv__rope_columns(const fv_rope_options *options, int64_t head_dim, int64_t *columns);

/* Cosines and sines, rows of `pairs`: row r of the table for row l of batch b is position[b,l], or b * batch + l. */
typedef struct fv__rope_table {
    fv_tensor cosine, sine; /* (rows, pairs) or (B|1, L, pairs) */
    fv_tensor position;     /* (B|1, L), rank 0: none */
    int64_t first;          /* added to l when there is no position */
} fv__rope_table;

/* Fills row r of both with the angles of position[r], or of first + r: (rows, pairs), f32 or f64, unit stride. */
void fv__rope_fill(const double *frequency, double magnitude, int64_t pairs, const fv_tensor *position, int64_t first,
                   const fv_tensor *cosine, const fv_tensor *sine);

typedef struct fv__rope_call {
    const fv__rope_table *table;
    const fv_tensor *from, *to;
    int64_t columns;
    fv_rope_pairing pairing;
    bool backward, add;
    int64_t rows; /* of a task; set by fv__rope_rotate */
} fv__rope_call;
void fv__rope_rotate(const fv__rope_call *call);

static inline int64_t fv__rope_position(const fv_tensor *t, int64_t b, int64_t l) {
    const int64_t at = (t->dim[0] == 1 ? 0 : b * t->stride[0]) + l * t->stride[1];
    return t->dtype == FV_I64 ? ((const int64_t *)t->data)[at] : ((const int32_t *)t->data)[at];
}

#endif
