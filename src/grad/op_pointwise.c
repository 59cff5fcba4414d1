/* Pointwise operations: sums, products, activations, dropout. */
#include "grad/graph.h"

#include "simd/simd.h"

#include <string.h>

/* ---- a (op) b, b as large as a or repeated over its first axes */

typedef enum binary_kind { ADD, SUB, MUL } binary_kind;

typedef struct binary {
    fv_dtype dtype;
    size_t size;
    binary_kind kind;
    bool fresh;
    void *y;           /* value, or the gradient that is added to */
    const void *a, *b; /* inputs; backward: dy and the other factor */
    int64_t width;     /* elements of b */
    void *partial;
} binary;

/* Rows of `width` elements, one b for all. A full-size b is the case of pieces with their own part of b. */
static void binary_rows(void *context, int64_t start, int64_t count) {
    const binary *c = context;
    for (int64_t row = start; row < start + count; row++) {
        void *y = fv__at(c->y, row * c->width, c->size);
        const void *a = fv__at(c->a, row * c->width, c->size);
        if (c->kind == ADD)
            FV__CALL(c->dtype, add, y, a, c->b, c->width);
        else if (c->kind == SUB)
            FV__CALL(c->dtype, sub, y, a, c->b, c->width);
        else
            FV__CALL(c->dtype, mul, y, a, c->b, c->width);
    }
}

static void binary_flat(void *context, int64_t start, int64_t count) {
    const binary *c = context;
    binary piece = *c;
    piece.y = fv__at(c->y, start, c->size);
    piece.a = fv__at(c->a, start, c->size);
    piece.b = fv__at(c->b, start, c->size);
    piece.width = count;
    binary_rows(&piece, 0, 1);
}

/* d += factor * dy, or d += dy * other (element by element). */
static void pass_flat(void *context, int64_t start, int64_t count) {
    const binary *c = context;
    void *y = fv__at(c->y, start, c->size);
    const void *dy = fv__at(c->a, start, c->size);
    double sign = c->kind == SUB ? -1 : 1;
    if (c->kind == MUL) {
        const void *other = fv__at(c->b, start, c->size);
        if (c->fresh)
            FV__CALL(c->dtype, mul, y, dy, other, count);
        else
            FV__CALL(c->dtype, mul_add, y, dy, other, count);
    } else if (c->fresh) {
        FV__CALL(c->dtype, scale, y, sign, dy, count);
    } else {
        FV__CALL(c->dtype, axpy, y, sign, dy, count);
    }
}

/* da += dy * b with one b for all rows. */
static void pass_rows(void *context, int64_t start, int64_t count) {
    const binary *c = context;
    for (int64_t row = start; row < start + count; row++) {
        binary one = *c;
        one.y = fv__at(c->y, row * c->width, c->size);
        one.a = fv__at(c->a, row * c->width, c->size);
        pass_flat(&one, 0, c->width);
    }
}

enum { SUM_ROWS = 256 };

/* partial sums of dy (MUL: dy * a) over a fixed number of rows */
static void sum_rows(void *context, int64_t start, int64_t count) {
    const binary *c = context;
    void *sum = fv__at(c->partial, start / SUM_ROWS * c->width, c->size);
    memset(sum, 0, (size_t)c->width * c->size);
    for (int64_t row = start; row < start + count; row++) {
        const void *dy = fv__at(c->a, row * c->width, c->size);
        if (c->kind == MUL)
            FV__CALL(c->dtype, mul_add, sum, dy, fv__at(c->b, row * c->width, c->size), c->width);
        else
            FV__CALL(c->dtype, axpy, sum, c->kind == SUB ? -1 : 1, dy, c->width);
    }
}

static void repeated_back(fv_graph *g, binary *c, int64_t rows) {
    int64_t pieces = (rows + SUM_ROWS - 1) / SUM_ROWS;
    c->partial = fv__graph_memory(g, (size_t)(pieces * c->width), g->size);
    if (!c->partial) return;
    fv__spans(rows, SUM_ROWS, sum_rows, c);
    for (int64_t i = 0; i < pieces; i++)
        FV__CALL(g->dtype, axpy, c->y, 1, fv__at(c->partial, i * c->width, g->size), c->width);
}

static void binary_back(fv_graph *g, fv_node *node) {
    fv_node *a = node->in[0], *b = node->in[1];
    binary_kind kind = *(binary_kind *)node->saved;
    int64_t n = fv__count(node), width = fv__count(b);
    bool repeated = width != n;
    binary c = {.dtype = g->dtype,
                .size = g->size,
                .kind = kind == MUL ? MUL : ADD,
                .a = fv__grad_at(node).data,
                .b = b->value.data,
                .width = width};
    c.y = fv__grad_of(g, a, &c.fresh).data;
    if (c.y && kind == MUL && repeated)
        fv__spans(n / width, fv__piece_rows(width), pass_rows, &c);
    else if (c.y)
        fv__spans(n, FV__PIECE, pass_flat, &c);
    c.kind = kind;
    c.b = a->value.data;
    c.y = fv__grad_of(g, b, repeated ? NULL : &c.fresh).data;
    if (c.y && repeated)
        repeated_back(g, &c, n / width);
    else if (c.y)
        fv__spans(n, FV__PIECE, pass_flat, &c);
}

static bool is_tail(const fv_tensor *b, const fv_tensor *a) {
    if (b->rank > a->rank || fv_tensor_count(b) == 0) return fv_tensor_same_shape(a, b);
    for (int i = 1; i <= b->rank; i++)
        if (b->dim[b->rank - i] != a->dim[a->rank - i]) return false;
    return true;
}

static fv_node *binary_op(fv_graph *g, const char *where, fv_node *a, fv_node *b, binary_kind kind) {
    fv_node *in[] = {a, b};
    if (!fv__ready(g, where, in, 2)) return &g->empty;
    if (!is_tail(&b->value, &a->value)) return fv__refuse(g, where, "b of the shape of a or of its last axes", b);
    in[0] = a = fv__node_dense(g, a);
    in[1] = b = fv__node_dense(g, b);
    fv_node *y = fv__node_like(g, a, in, 2, binary_back);
    if (y == &g->empty || !(y->saved = fv__graph_copy(g, &kind, 1, sizeof kind))) return &g->empty;
    int64_t n = fv__count(y), width = fv__count(b);
    binary c = {.dtype = g->dtype,
                .size = g->size,
                .kind = kind,
                .y = y->value.data,
                .a = a->value.data,
                .b = b->value.data,
                .width = width};
    if (n == width)
        fv__spans(n, FV__PIECE, binary_flat, &c);
    else
        fv__spans(n / width, fv__piece_rows(width), binary_rows, &c);
    return y;
}

fv_node *fv_op_add(fv_graph *g, fv_node *a, fv_node *b) { return binary_op(g, "fv_op_add", a, b, ADD); }
fv_node *fv_op_sub(fv_graph *g, fv_node *a, fv_node *b) { return binary_op(g, "fv_op_sub", a, b, SUB); }
fv_node *fv_op_mul(fv_graph *g, fv_node *a, fv_node *b) { return binary_op(g, "fv_op_mul", a, b, MUL); }

/* ---- scale */

typedef struct scaling {
    fv_dtype dtype;
    size_t size;
    double factor;
    bool add;
    void *y;
    const void *x;
} scaling;

static void scale_span(void *context, int64_t start, int64_t count) {
    const scaling *c = context;
    void *y = fv__at(c->y, start, c->size);
    const void *x = fv__at(c->x, start, c->size);
    if (c->add)
        FV__CALL(c->dtype, axpy, y, c->factor, x, count);
    else
        FV__CALL(c->dtype, scale, y, c->factor, x, count);
}

static void scale_back(fv_graph *g, fv_node *node) {
    bool fresh;
    scaling c = {g->dtype,
                 g->size,
                 *(double *)node->saved,
                 false,
                 fv__grad_of(g, node->in[0], &fresh).data,
                 fv__grad_at(node).data};
    c.add = !fresh;
    if (c.y) fv__spans(fv__count(node), FV__PIECE, scale_span, &c);
}

fv_node *fv_op_scale(fv_graph *g, fv_node *x, double factor) {
    if (!fv__ready(g, "fv_op_scale", &x, 1)) return &g->empty;
    x = fv__node_dense(g, x);
    fv_node *y = fv__node_like(g, x, &x, 1, scale_back);
    if (y == &g->empty || !(y->saved = fv__graph_copy(g, &factor, 1, sizeof factor))) return &g->empty;
    scaling c = {g->dtype, g->size, factor, false, y->value.data, x->value.data};
    fv__spans(fv__count(y), FV__PIECE, scale_span, &c);
    return y;
}

/* ---- dropout */

typedef struct dropping {
    fv_dtype dtype;
    size_t size;
    fv__drop drop;
    bool back, fresh;
    void *y;
    const void *x;
} dropping;

static void drop_span(void *context, int64_t start, int64_t count) {
    const dropping *c = context;
    void *y = fv__at(c->y, start, c->size);
    const void *x = fv__at(c->x, start, c->size);
    if (c->back && !c->fresh)
        FV__CALL(c->dtype, dropout_back, y, x, count, (uint64_t)start, &c->drop);
    else /* the gradient of a product with a mask is the same product */
        FV__CALL(c->dtype, dropout, y, x, count, (uint64_t)start, &c->drop);
}

static void dropout_back(fv_graph *g, fv_node *node) {
    dropping c = {g->dtype, g->size, *(fv__drop *)node->saved, .back = true, .x = fv__grad_at(node).data};
    c.y = fv__grad_of(g, node->in[0], &c.fresh).data;
    if (c.y) fv__spans(fv__count(node), FV__PIECE, drop_span, &c);
}

fv_node *fv_op_dropout(fv_graph *g, fv_node *x, double p) {
    if (!fv__ready(g, "fv_op_dropout", &x, 1)) return &g->empty;
    if (!(p >= 0 && p <= 1))
        return fv_graph_failed(
            g, fv__fail(FV_USAGE, "fv_op_dropout: probability\n  expected 0 <= p <= 1\n  found:   %g", p));
    if (p == 0 || g->mode != FV_MODE_TRAIN) return x;
    x = fv__node_dense(g, x);
    dropping c = {g->dtype, g->size, fv__drop_of(p, g->seed, g->draws++), .x = x->value.data};
    fv_node *y = fv__node_like(g, x, &x, 1, dropout_back);
    if (y == &g->empty || !(y->saved = fv__graph_copy(g, &c.drop, 1, sizeof c.drop))) return &g->empty;
    c.y = y->value.data;
    fv__spans(fv__count(y), FV__PIECE, drop_span, &c);
    return y;
}
