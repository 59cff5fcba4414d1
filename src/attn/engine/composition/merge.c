/* Merging parts: pieces of rows spread over the threads. See merge.h. */
#include "attn/engine/composition/merge.h"

#include <math.h>
#include <string.h>

enum { ROWS = 64 }; /* of a piece */

typedef struct merge_job {
    const fv__parts *parts, *d; /* d NULL: forward */
    const fv_tensor *out, *lse; /* written by a forward; their gradients in a backward */
    const double *factor;       /* NULL: by LSE */
    double *sums;               /* dc of each piece */
} merge_job;

#define R float
#define T(name) merge_##name##_f32
#include "attn/engine/composition/merge_rows.h"
#undef R
#undef T
#define R double
#define T(name) merge_##name##_f64
#include "attn/engine/composition/merge_rows.h"
#undef R
#undef T

static int64_t pieces_of(const fv_tensor *out) { return (out->dim[2] + ROWS - 1) / ROWS; }

static const fv_tensor *shape_of(const merge_job *j) { return &j->parts->out[0]; }

static void piece(void *context, int64_t index, int worker) {
    const merge_job *j = context;
    const fv_tensor *shape = shape_of(j);
    const int64_t pieces = pieces_of(shape), head = index / pieces, first = index % pieces * ROWS;
    const int64_t end = first + ROWS < shape->dim[2] ? first + ROWS : shape->dim[2];
    double *sums = j->sums ? j->sums + index * j->parts->count : NULL;
    (void)worker;
    for (int k = 0; sums && k < j->parts->count; k++) sums[k] = 0;
    for (int64_t l = first; l < end; l++) {
        const int64_t at[3] = {head / shape->dim[1], head % shape->dim[1], l};
        if (shape->dtype == FV_F64)
            merge_row_of_task_f64(j, at, sums);
        else
            merge_row_of_task_f32(j, at, sums);
    }
}

static int64_t count_of(const fv_tensor *out) { return out->dim[0] * out->dim[1] * pieces_of(out); }

void fv__merge_by_lse(const fv__parts *parts, const fv_tensor *out, const fv_tensor *lse) {
    merge_job j = {.parts = parts, .out = out, .lse = lse};
    fv__parallel_for(count_of(shape_of(&j)), piece, &j);
}

void fv__merge_by_lse_backward(const fv__parts *parts, const fv_tensor *d_out, const fv_tensor *d_lse,
                               const fv__parts *d) {
    merge_job j = {.parts = parts, .out = d_out, .lse = d_lse, .d = d};
    fv__parallel_for(count_of(shape_of(&j)), piece, &j);
}

void fv__merge_by_factor(const fv__parts *parts, const double *factor, const fv_tensor *out) {
    merge_job j = {.parts = parts, .out = out, .factor = factor};
    fv__parallel_for(count_of(shape_of(&j)), piece, &j);
}

int64_t fv__merge_sums(const fv_tensor *out, int parts) { return fv__attn_times(count_of(out), parts); }

void fv__merge_by_factor_backward(const fv__parts *parts, const double *factor, const fv_tensor *d_out,
                                  const fv__parts *d, double *d_factor, double *sums) {
    merge_job j = {.parts = parts, .out = d_out, .d = d, .factor = factor, .sums = sums};
    const int64_t count = count_of(shape_of(&j));
    fv__parallel_for(count, piece, &j);
    for (int k = 0; k < parts->count; k++) d_factor[k] = 0;
    for (int64_t i = 0; i < count; i++) /* in the order of the rows, whoever computed them */
        for (int k = 0; k < parts->count; k++) d_factor[k] += sums[i * parts->count + k];
}
