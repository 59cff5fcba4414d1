/* Losses: scalars with a mean over what counts; and sums. Row losses are added in the order of the rows, in double. */
#include "grad/graph.h"

#include "grad/plain.h"
#include "simd/simd.h"

#include <string.h>

static fv_node *scalar(fv_graph *g, fv_node *x, fv__back_fn *back, const void *saved, size_t bytes) {
    fv_node *y = fv__node_new(g, 1, (int64_t[]){1}, &x, 1, back);
    if (y == &g->empty || !(y->saved = fv__graph_copy(g, saved, 1, bytes))) return &g->empty;
    return y;
}

static void put(const fv_node *y, double value) { fv_tensor_set(&y->value, (int64_t[]){0}, value); }

static double scalar_grad(const fv_node *node) {
    fv_tensor d = fv__grad_at(node);
    return fv_tensor_get(&d, (int64_t[]){0});
}

/* ---- cross entropy */

typedef struct entropy {
    fv_dtype dtype;
    size_t size;
    int64_t classes;
    const int32_t *labels;
    const void *soft;
    const double *weight; /* [N], 0: the row does not count */
    double smoothing, total, scale;
    double *row; /* [N] losses */
    const void *x;
    void *dx;
} entropy;

static void entropy_rows(void *context, int64_t start, int64_t count) {
    const entropy *c = context;
    for (int64_t n = start; n < start + count; n++) {
        const void *x = fv__at(c->x, n * c->classes, c->size);
        const void *soft = c->soft ? fv__at(c->soft, n * c->classes, c->size) : NULL;
        int64_t label = c->labels ? c->labels[n] : -1;
        c->row[n] = c->weight[n] == 0
                        ? 0
                        : c->weight[n] * FV__PLAIN(c->dtype, cross_entropy, x, c->classes, label, soft, c->smoothing);
    }
}

static void entropy_rows_back(void *context, int64_t start, int64_t count) {
    const entropy *c = context;
    for (int64_t n = start; n < start + count; n++) {
        const void *x = fv__at(c->x, n * c->classes, c->size);
        const void *soft = c->soft ? fv__at(c->soft, n * c->classes, c->size) : NULL;
        void *dx = fv__at(c->dx, n * c->classes, c->size);
        int64_t label = c->labels ? c->labels[n] : -1;
        if (c->weight[n] == 0)
            memset(dx, 0, (size_t)c->classes * c->size);
        else
            FV__PLAIN(c->dtype, cross_entropy_back, dx, x, c->classes, label, soft, c->smoothing,
                      c->weight[n] * c->scale);
    }
}

/* The kernel overwrites: a gradient that holds something already gets the new part from a buffer. */
static void entropy_back(fv_graph *g, fv_node *node) {
    entropy c = *(entropy *)node->saved;
    fv_node *x = node->in[0];
    bool fresh;
    fv_tensor dx = fv__grad_of(g, x, c.total == 0 ? NULL : &fresh);
    if (!dx.data || c.total == 0) return;
    c.scale = scalar_grad(node) / c.total;
    c.dx = fresh ? dx.data : fv__graph_memory(g, (size_t)fv__count(x), g->size);
    if (!c.dx) return;
    fv__spans(x->value.dim[0], fv__piece_rows(c.classes), entropy_rows_back, &c);
    if (fresh) return;
    fv_tensor part = x->value;
    part.data = c.dx;
    fv__accumulate(&dx, &part, false);
}

static fv_status check_labels(const fv_targets *t, int64_t rows, int64_t classes) {
    if (!t->labels == !t->soft)
        return fv__fail(FV_USAGE, "fv_op_cross_entropy: targets\n  expected labels or soft targets\n  found:   %s",
                        t->labels ? "both" : "neither");
    if (!(t->label_smoothing >= 0 && t->label_smoothing <= 1))
        return fv__fail(FV_USAGE, "fv_op_cross_entropy: label smoothing\n  expected 0 to 1\n  found:   %g",
                        t->label_smoothing);
    for (int64_t n = 0; t->labels && n < rows; n++)
        if (t->labels[n] < -1 || t->labels[n] >= classes)
            return fv__fail(FV_BAD_DATA,
                            "fv_op_cross_entropy: label of row %lld\n  expected 0 to %lld, or -1\n  found:   %d",
                            (long long)n, (long long)classes - 1, t->labels[n]);
    return FV_OK;
}

static double *row_weights(fv_graph *g, const fv_targets *t, int64_t rows, double *total) {
    double *weight = fv__graph_memory(g, (size_t)rows, sizeof *weight);
    *total = 0;
    for (int64_t n = 0; weight && n < rows; n++) {
        int32_t label = t->labels ? t->labels[n] : 0;
        weight[n] = label < 0 ? 0 : t->row_weights ? t->row_weights[n] : 1;
        if (t->labels && t->class_weights && label >= 0) weight[n] *= t->class_weights[label];
        *total += weight[n];
    }
    return weight;
}

fv_node *fv_op_cross_entropy(fv_graph *g, fv_node *logits, const fv_targets *t) {
    if (!fv__ready(g, "fv_op_cross_entropy", &logits, 1)) return &g->empty;
    if (logits->value.rank != 2) return fv__refuse(g, "fv_op_cross_entropy", "logits [N, C]", logits);
    logits = fv__node_dense(g, logits);
    int64_t rows = logits->value.dim[0];
    entropy c = {.dtype = g->dtype,
                 .size = g->size,
                 .classes = logits->value.dim[1],
                 .smoothing = t->label_smoothing,
                 .x = logits->value.data};
    fv_status status = check_labels(t, rows, c.classes);
    if (status != FV_OK) return fv_graph_failed(g, status);
    if (t->soft && !fv_tensor_same_shape(t->soft, &logits->value))
        return fv__refuse(g, "fv_op_cross_entropy", "soft targets of the shape of the logits", logits);
    if (t->labels) c.labels = fv__graph_copy(g, t->labels, (size_t)rows, sizeof *t->labels);
    if (t->soft) c.soft = fv_op_constant(g, t->soft)->value.data;
    c.weight = row_weights(g, t, rows, &c.total);
    c.row = fv__graph_memory(g, (size_t)rows, sizeof *c.row);
    fv_node *y = scalar(g, logits, entropy_back, &c, sizeof c);
    if (g->status != FV_OK) return &g->empty;
    fv__spans(rows, fv__piece_rows(c.classes), entropy_rows, &c);
    double sum = 0;
    for (int64_t n = 0; n < rows; n++) sum += c.row[n];
    put(y, c.total == 0 ? 0 : sum / c.total);
    return y;
}

/* ---- means of element losses: binary cross entropy, squares */

typedef struct elements {
    fv_dtype dtype;
    size_t size;
    bool squares;
    const void *x, *t;
    double *partial, weight;
    void *dx;
    bool fresh;
} elements;

static void element_sums(void *context, int64_t start, int64_t count) {
    const elements *c = context;
    const void *x = fv__at(c->x, start, c->size), *t = fv__at(c->t, start, c->size);
    c->partial[start / FV__PIECE] =
        c->squares ? FV__PLAIN(c->dtype, squares, x, t, count) : FV__PLAIN(c->dtype, bce, x, t, count);
}

static void element_grads(void *context, int64_t start, int64_t count) {
    const elements *c = context;
    const void *x = fv__at(c->x, start, c->size), *t = fv__at(c->t, start, c->size);
    void *dx = fv__at(c->dx, start, c->size);
    if (c->fresh) memset(dx, 0, (size_t)count * c->size);
    if (c->squares)
        FV__PLAIN(c->dtype, squares_back, dx, x, t, 2 * c->weight, count);
    else
        FV__PLAIN(c->dtype, bce_back, dx, x, t, c->weight, count);
}

static void elements_back(fv_graph *g, fv_node *node) {
    elements c = *(elements *)node->saved;
    fv_node *x = node->in[0];
    c.weight = scalar_grad(node) / (double)fv__count(x);
    c.dx = fv__grad_of(g, x, &c.fresh).data;
    if (c.dx) fv__spans(fv__count(x), FV__PIECE, element_grads, &c);
}

static fv_node *mean_of_elements(fv_graph *g, const char *where, fv_node *x, const fv_tensor *targets, bool squares) {
    if (!fv__ready(g, where, &x, 1)) return &g->empty;
    if (!fv_tensor_same_shape(&x->value, targets)) return fv__refuse(g, where, "targets of the same shape", x);
    x = fv__node_dense(g, x);
    int64_t n = fv__count(x), pieces = (n + FV__PIECE - 1) / FV__PIECE;
    elements c = {.dtype = g->dtype,
                  .size = g->size,
                  .squares = squares,
                  .x = x->value.data,
                  .t = fv_op_constant(g, targets)->value.data};
    c.partial = fv__graph_memory(g, (size_t)pieces, sizeof *c.partial);
    fv_node *y = scalar(g, x, elements_back, &c, sizeof c);
    if (g->status != FV_OK) return &g->empty;
    fv__spans(n, FV__PIECE, element_sums, &c);
    double sum = 0;
    for (int64_t i = 0; i < pieces; i++) sum += c.partial[i];
    put(y, n ? sum / (double)n : 0);
    return y;
}

fv_node *fv_op_bce(fv_graph *g, fv_node *logits, const fv_tensor *targets) {
    return mean_of_elements(g, "fv_op_bce", logits, targets, false);
}

fv_node *fv_op_mse(fv_graph *g, fv_node *x, const fv_tensor *targets) {
    return mean_of_elements(g, "fv_op_mse", x, targets, true);
}

/* ---- sums */

static void sum_back(fv_graph *g, fv_node *node) {
    fv_node *x = node->in[0];
    fv_tensor dx = fv__grad_of(g, x, NULL);
    if (dx.data) FV__PLAIN(g->dtype, shift, dx.data, dx.data, scalar_grad(node) * *(double *)node->saved, fv__count(x));
}

static fv_node *sum_op(fv_graph *g, const char *where, fv_node *x, bool mean) {
    if (!fv__ready(g, where, &x, 1)) return &g->empty;
    x = fv__node_dense(g, x);
    int64_t n = fv__count(x);
    double factor = mean && n ? 1 / (double)n : 1, sum = 0;
    fv_node *y = scalar(g, x, sum_back, &factor, sizeof factor);
    if (g->status != FV_OK) return &g->empty;
    for (int64_t start = 0; start < n; start += FV__PIECE) {
        int64_t count = n - start < FV__PIECE ? n - start : FV__PIECE;
        sum += FV__CALL(g->dtype, sum, fv__at(x->value.data, start, g->size), count);
    }
    put(y, sum * factor);
    return y;
}

fv_node *fv_op_sum(fv_graph *g, fv_node *x) { return sum_op(g, "fv_op_sum", x, false); }
fv_node *fv_op_mean(fv_graph *g, fv_node *x) { return sum_op(g, "fv_op_mean", x, true); }
