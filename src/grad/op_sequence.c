/* Operations that look at one packed sequence at a time: pooling, softmax over the rows, weighted sums. */
#include "grad/sequences.h"

#include "grad/plain.h"
#include "simd/simd.h"

#include <string.h>

enum { SEQUENCES = 4 }; /* in a piece of work */

typedef struct pooling {
    fv_dtype dtype;
    size_t size;
    fv_pool kind;
    fv_sequences seq;
    int64_t width;
    int32_t *winner; /* max: [N, width] row in the sequence */
    void *y, *dx, *dw;
    const void *x, *w, *dy;
} pooling;

static int64_t length_of(const fv_sequences *s, int64_t n) { return s->cu[n + 1] - s->cu[n]; }

static void *row_at(const pooling *c, const void *base, int64_t row) { return fv__at(base, row * c->width, c->size); }

static double share(const pooling *c, int64_t length) { return c->kind == FV_POOL_MEAN ? 1.0 / (double)length : 1; }

/* ---- mean, sum, max, first */

static void pool_one(const pooling *c, int64_t n) {
    int64_t length = length_of(&c->seq, n), start = c->seq.cu[n];
    void *y = row_at(c, c->y, n);
    size_t bytes = (size_t)c->width * c->size;
    if (length == 0) {
        memset(y, 0, bytes);
    } else if (c->kind == FV_POOL_MAX) {
        FV__PLAIN(c->dtype, column_max, y, c->winner + n * c->width, row_at(c, c->x, start), length, c->width);
    } else {
        memcpy(y, row_at(c, c->x, start), bytes);
        if (c->kind == FV_POOL_FIRST) return;
        for (int64_t t = start + 1; t < start + length; t++)
            FV__CALL(c->dtype, axpy, y, 1, row_at(c, c->x, t), c->width);
        FV__CALL(c->dtype, scale, y, share(c, length), y, c->width);
    }
}

static void pool_one_back(const pooling *c, int64_t n) {
    int64_t length = length_of(&c->seq, n), start = c->seq.cu[n];
    const void *dy = row_at(c, c->dy, n);
    if (length == 0) return;
    if (c->kind == FV_POOL_MAX) {
        FV__PLAIN(c->dtype, column_max_back, row_at(c, c->dx, start), dy, c->winner + n * c->width, c->width);
        return;
    }
    int64_t end = c->kind == FV_POOL_FIRST ? start + 1 : start + length;
    for (int64_t t = start; t < end; t++) FV__CALL(c->dtype, axpy, row_at(c, c->dx, t), share(c, length), dy, c->width);
}

static void pool_some(void *context, int64_t first, int64_t count) {
    for (int64_t n = first; n < first + count; n++) pool_one(context, n);
}

static void pool_some_back(void *context, int64_t first, int64_t count) {
    for (int64_t n = first; n < first + count; n++) pool_one_back(context, n);
}

static void pool_back(fv_graph *g, fv_node *node) {
    pooling c = *(pooling *)node->saved;
    c.dy = fv__grad_at(node).data;
    c.dx = fv__grad_of(g, node->in[0], NULL).data;
    if (c.dx) fv__spans(c.seq.count, SEQUENCES, pool_some_back, &c);
}

/* x as [T, width] in one piece, and its sequences. */
static bool take(fv_graph *g, const char *where, fv_node **x, const fv_sequences *s, pooling *c) {
    if (!fv__ready(g, where, x, 1)) return false;
    if ((*x)->value.rank != 2) {
        fv__refuse(g, where, "[T, width]", *x);
        return false;
    }
    *x = fv__node_dense(g, *x);
    *c = (pooling){.dtype = g->dtype, .size = g->size, .width = fv__columns(*x), .x = (*x)->value.data};
    return fv__sequences_take(g, where, s, (*x)->value.dim[0], &c->seq);
}

fv_node *fv_op_pool(fv_graph *g, fv_node *x, const fv_sequences *s, fv_pool kind) {
    pooling c;
    if (!take(g, "fv_op_pool", &x, s, &c)) return &g->empty;
    c.kind = kind;
    if (kind == FV_POOL_MAX) c.winner = fv__graph_memory(g, (size_t)(c.seq.count * c.width), sizeof *c.winner);
    fv_node *y = fv__node_new(g, 2, (int64_t[]){c.seq.count, c.width}, &x, 1, pool_back);
    c.y = y->value.data;
    if (g->status != FV_OK || !(y->saved = fv__graph_copy(g, &c, 1, sizeof c))) return &g->empty;
    fv__spans(c.seq.count, SEQUENCES, pool_some, &c);
    return y;
}

/* ---- softmax over the rows of each sequence */

static void soft_some(void *context, int64_t first, int64_t count) {
    const pooling *c = context;
    for (int64_t n = first; n < first + count; n++) {
        int64_t length = length_of(&c->seq, n), at = c->seq.cu[n];
        if (length) FV__PLAIN(c->dtype, column_softmax, row_at(c, c->y, at), row_at(c, c->x, at), length, c->width);
    }
}

static void soft_some_back(void *context, int64_t first, int64_t count) {
    const pooling *c = context;
    for (int64_t n = first; n < first + count; n++)
        FV__PLAIN(c->dtype, column_softmax_back, row_at(c, c->dx, c->seq.cu[n]), row_at(c, c->dy, c->seq.cu[n]),
                  row_at(c, c->y, c->seq.cu[n]), length_of(&c->seq, n), c->width);
}

static void soft_back(fv_graph *g, fv_node *node) {
    pooling c = *(pooling *)node->saved;
    c.dy = fv__grad_at(node).data;
    c.dx = fv__grad_of(g, node->in[0], NULL).data;
    if (c.dx) fv__spans(c.seq.count, SEQUENCES, soft_some_back, &c);
}

fv_node *fv_op_softmax_rows(fv_graph *g, fv_node *x, const fv_sequences *s) {
    pooling c;
    if (!take(g, "fv_op_softmax_rows", &x, s, &c)) return &g->empty;
    fv_node *y = fv__node_like(g, x, &x, 1, soft_back);
    c.y = y->value.data;
    if (g->status != FV_OK || !(y->saved = fv__graph_copy(g, &c, 1, sizeof c))) return &g->empty;
    fv__spans(c.seq.count, SEQUENCES, soft_some, &c);
    return y;
}

/* ---- weighted sums */

static double weight_at(const pooling *c, int64_t t) {
    return c->dtype == FV_F32 ? ((const float *)c->w)[t] : ((const double *)c->w)[t];
}

static void weigh_some(void *context, int64_t first, int64_t count) {
    const pooling *c = context;
    for (int64_t n = first; n < first + count; n++) {
        void *y = row_at(c, c->y, n);
        memset(y, 0, (size_t)c->width * c->size);
        for (int64_t t = c->seq.cu[n]; t < c->seq.cu[n + 1]; t++)
            FV__CALL(c->dtype, axpy, y, weight_at(c, t), row_at(c, c->x, t), c->width);
    }
}

static void weigh_some_back(void *context, int64_t first, int64_t count) {
    const pooling *c = context;
    for (int64_t n = first; n < first + count; n++) {
        const void *dy = row_at(c, c->dy, n);
        for (int64_t t = c->seq.cu[n]; t < c->seq.cu[n + 1]; t++) {
            if (c->dx) FV__CALL(c->dtype, axpy, row_at(c, c->dx, t), weight_at(c, t), dy, c->width);
            if (!c->dw) continue;
            if (c->dtype == FV_F32)
                ((float *)c->dw)[t] += fv__simd_f32_now()->dot(row_at(c, c->x, t), dy, c->width);
            else
                ((double *)c->dw)[t] += fv__simd_f64_now()->dot(row_at(c, c->x, t), dy, c->width);
        }
    }
}

static void weigh_back(fv_graph *g, fv_node *node) {
    pooling c = *(pooling *)node->saved;
    c.dy = fv__grad_at(node).data;
    c.dx = fv__grad_of(g, node->in[0], NULL).data;
    c.dw = fv__grad_of(g, node->in[1], NULL).data;
    if (c.dx || c.dw) fv__spans(c.seq.count, SEQUENCES, weigh_some_back, &c);
}

fv_node *fv_op_pool_weighted(fv_graph *g, fv_node *x, fv_node *weights, const fv_sequences *s) {
    pooling c;
    fv_node *both[] = {x, weights};
    if (!fv__ready(g, "fv_op_pool_weighted", both, 2) || !take(g, "fv_op_pool_weighted", &x, s, &c)) return &g->empty;
    if (fv__count(weights) != x->value.dim[0]) return fv__refuse(g, "fv_op_pool_weighted", "weights [T, 1]", weights);
    weights = fv__node_dense(g, weights);
    fv_node *in[] = {x, weights};
    fv_node *y = fv__node_new(g, 2, (int64_t[]){c.seq.count, c.width}, in, 2, weigh_back);
    c.y = y->value.data;
    c.w = weights->value.data;
    if (g->status != FV_OK || !(y->saved = fv__graph_copy(g, &c, 1, sizeof c))) return &g->empty;
    fv__spans(c.seq.count, SEQUENCES, weigh_some, &c);
    return y;
}
