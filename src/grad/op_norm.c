/* Layer norm, RMS norm, softmax and log-softmax over the last axis. */
#include "grad/graph.h"

#include "grad/plain.h"
#include "simd/simd.h"

#include <string.h>

enum { NORM_ROWS = 64 }; /* rows that share one partial sum of the weight's gradient */

typedef enum norm_kind { LAYER, RMS } norm_kind;

typedef struct norm {
    norm_kind kind;
    fv_dtype dtype;
    size_t size;
    int64_t columns;
    double eps;
    void *mean, *rstd; /* [rows] */
    const void *x, *w, *b;
    void *y;
    const void *dy;
    void *dx, *dw, *db; /* dw, db: partial sums [pieces, columns] */
    bool fresh;
} norm;

static void norm_rows(void *context, int64_t start, int64_t count) {
    const norm *c = context;
    for (int64_t row = start; row < start + count; row++) {
        void *y = fv__at(c->y, row * c->columns, c->size), *rstd = fv__at(c->rstd, row, c->size);
        const void *x = fv__at(c->x, row * c->columns, c->size);
        if (c->kind == LAYER)
            FV__CALL(c->dtype, layer_norm, y, fv__at(c->mean, row, c->size), rstd, x, c->w, c->b, c->columns, c->eps);
        else
            FV__CALL(c->dtype, rms_norm, y, rstd, x, c->w, c->columns, c->eps);
    }
}

static double value_at(const norm *c, const void *array, int64_t i) {
    return c->dtype == FV_F32 ? ((const float *)array)[i] : ((const double *)array)[i];
}

static void norm_rows_back(void *context, int64_t start, int64_t count) {
    const norm *c = context;
    int64_t n = c->columns;
    void *dw = c->dw ? fv__at(c->dw, start / NORM_ROWS * n, c->size) : NULL;
    void *db = c->db ? fv__at(c->db, start / NORM_ROWS * n, c->size) : NULL;
    if (dw) memset(dw, 0, (size_t)n * c->size);
    if (db) memset(db, 0, (size_t)n * c->size);
    for (int64_t row = start; row < start + count; row++) {
        void *dx = c->dx ? fv__at(c->dx, row * n, c->size) : NULL;
        const void *x = fv__at(c->x, row * n, c->size), *dy = fv__at(c->dy, row * n, c->size);
        if (dx && c->fresh) memset(dx, 0, (size_t)n * c->size);
        if (c->kind == LAYER)
            FV__CALL(c->dtype, layer_norm_back, dx, dw, db, dy, x, c->w, value_at(c, c->mean, row),
                     value_at(c, c->rstd, row), n);
        else
            FV__CALL(c->dtype, rms_norm_back, dx, dw, dy, x, c->w, value_at(c, c->rstd, row), n);
    }
}

/* Partial sums are combined in the order of the rows. */
static void combine(fv_graph *g, fv_node *into, const void *partial, int64_t pieces, int64_t n) {
    fv_tensor d = fv__grad_of(g, into, NULL);
    if (!d.data) return;
    for (int64_t i = 0; i < pieces; i++) FV__CALL(g->dtype, axpy, d.data, 1, fv__at(partial, i * n, g->size), n);
}

static void norm_back(fv_graph *g, fv_node *node) {
    norm c = *(norm *)node->saved;
    fv_node *x = node->in[0], *w = node->in[1], *b = node->in[2];
    int64_t rows = fv__node_rows(x), pieces = (rows + NORM_ROWS - 1) / NORM_ROWS;
    c.dy = fv__grad_at(node).data;
    if (w && w->needs_grad) c.dw = fv__graph_memory(g, (size_t)(pieces * c.columns), g->size);
    if (b && b->needs_grad) c.db = fv__graph_memory(g, (size_t)(pieces * c.columns), g->size);
    c.dx = fv__grad_of(g, x, &c.fresh).data;
    if (g->status != FV_OK) return;
    fv__spans(rows, NORM_ROWS, norm_rows_back, &c);
    if (c.dw) combine(g, w, c.dw, pieces, c.columns);
    if (c.db) combine(g, b, c.db, pieces, c.columns);
}

static bool row_of(const fv_node *w, int64_t columns) {
    return !w || (w->value.rank == 1 && w->value.dim[0] == columns && fv_tensor_contiguous(&w->value));
}

static fv_node *norm_op(fv_graph *g, const char *where, norm_kind kind, fv_node *x, fv_node *w, fv_node *b,
                        double eps) {
    if (!fv__ready(g, where, &x, 1)) return &g->empty;
    x = fv__node_dense(g, x);
    int64_t columns = fv__columns(x), rows = fv__node_rows(x);
    if (!row_of(w, columns) || !row_of(b, columns)) return fv__refuse(g, where, "weight and bias [columns of x]", x);
    fv_node *in[] = {x, w, b};
    fv_node *y = fv__node_like(g, x, in, 3, norm_back);
    norm c = {.kind = kind,
              .dtype = g->dtype,
              .size = g->size,
              .columns = columns,
              .eps = eps,
              .x = x->value.data,
              .w = w ? w->value.data : NULL,
              .b = b ? b->value.data : NULL,
              .y = y->value.data};
    c.mean = fv__graph_memory(g, (size_t)rows, g->size);
    c.rstd = fv__graph_memory(g, (size_t)rows, g->size);
    if (y == &g->empty || !c.mean || !c.rstd || !(y->saved = fv__graph_copy(g, &c, 1, sizeof c))) return &g->empty;
    fv__spans(rows, NORM_ROWS, norm_rows, &c);
    return y;
}

fv_node *fv_op_layer_norm(fv_graph *g, fv_node *x, fv_node *weight, fv_node *bias, double eps) {
    return norm_op(g, "fv_op_layer_norm", LAYER, x, weight, bias, eps);
}

fv_node *fv_op_layer_norm_found(fv_graph *g, fv_node *x, fv_node *weight, fv_node *bias, double eps, fv_tensor *mean,
                                fv_tensor *rstd) {
    fv_node *y = norm_op(g, "fv_op_layer_norm_found", LAYER, x, weight, bias, eps);
    const norm *c = y->saved;
    *mean = fv_tensor_1d(c ? c->mean : NULL, g->dtype, c ? fv__node_rows(y) : 0);
    *rstd = fv_tensor_1d(c ? c->rstd : NULL, g->dtype, c ? fv__node_rows(y) : 0);
    return y;
}

fv_node *fv_op_rms_norm(fv_graph *g, fv_node *x, fv_node *weight, double eps) {
    return norm_op(g, "fv_op_rms_norm", RMS, x, weight, NULL, eps);
}

/* ---- softmax */

typedef struct soft {
    fv_dtype dtype;
    size_t size;
    int64_t columns;
    bool logarithm, fresh;
    void *y, *dx;
    const void *x, *dy;
} soft;

static void soft_rows(void *context, int64_t start, int64_t count) {
    const soft *c = context;
    for (int64_t row = start; row < start + count; row++) {
        void *y = fv__at(c->y, row * c->columns, c->size);
        const void *x = fv__at(c->x, row * c->columns, c->size);
        if (c->logarithm)
            FV__PLAIN(c->dtype, shift, y, x, -FV__CALL(c->dtype, logsumexp, x, c->columns), c->columns);
        else
            FV__CALL(c->dtype, softmax, y, x, c->columns);
    }
}

static void soft_rows_back(void *context, int64_t start, int64_t count) {
    const soft *c = context;
    for (int64_t row = start; row < start + count; row++) {
        void *dx = fv__at(c->dx, row * c->columns, c->size);
        const void *y = fv__at(c->y, row * c->columns, c->size), *dy = fv__at(c->dy, row * c->columns, c->size);
        if (c->fresh) memset(dx, 0, (size_t)c->columns * c->size);
        if (c->logarithm)
            FV__PLAIN(c->dtype, log_softmax_back, dx, dy, y, c->columns);
        else
            FV__CALL(c->dtype, softmax_back, dx, dy, y, c->columns);
    }
}

static void soft_back(fv_graph *g, fv_node *node) {
    soft c = {g->dtype,
              g->size,
              fv__columns(node),
              *(bool *)node->saved,
              .y = node->value.data,
              .dy = fv__grad_at(node).data};
    c.dx = fv__grad_of(g, node->in[0], &c.fresh).data;
    if (c.dx) fv__spans(fv__node_rows(node), fv__piece_rows(c.columns), soft_rows_back, &c);
}

static fv_node *soft_op(fv_graph *g, const char *where, fv_node *x, bool logarithm) {
    if (!fv__ready(g, where, &x, 1)) return &g->empty;
    x = fv__node_dense(g, x);
    fv_node *y = fv__node_like(g, x, &x, 1, soft_back);
    if (y == &g->empty || !(y->saved = fv__graph_copy(g, &logarithm, 1, sizeof logarithm))) return &g->empty;
    soft c = {g->dtype, g->size, fv__columns(x), logarithm, .y = y->value.data, .x = x->value.data};
    fv__spans(fv__node_rows(x), fv__piece_rows(c.columns), soft_rows, &c);
    return y;
}

fv_node *fv_op_softmax(fv_graph *g, fv_node *x) { return soft_op(g, "fv_op_softmax", x, false); }
fv_node *fv_op_log_softmax(fv_graph *g, fv_node *x) { return soft_op(g, "fv_op_log_softmax", x, true); }
