/* Products: linear layers and (batched) matrix products. */
#include "grad/graph.h"

#include "dense/dense.h"
#include "simd/simd.h"

#include <string.h>

/* Rows of x as a matrix: dense, or two axes with a gap between the rows. */
static bool is_matrix(const fv_tensor *t) {
    return fv_tensor_contiguous(t) || (t->rank == 2 && t->stride[1] == 1 && t->stride[0] >= t->dim[1]);
}

static fv_node *as_matrix(fv_graph *g, fv_node *x) { return is_matrix(&x->value) ? x : fv__node_dense(g, x); }

static int64_t leading(const fv_tensor *t) { return t->rank == 2 ? t->stride[0] : t->dim[t->rank - 1]; }

static void run(fv_graph *g, const fv__product *p, void *c, const void *a, const void *b) {
    fv_status status = fv__matmul(p, c, a, b);
    if (status != FV_OK) fv_graph_failed(g, status);
}

/* ---- sums over rows, for biases */

typedef struct column_sums {
    fv_dtype dtype;
    size_t size;
    char *partial; /* [pieces, columns] */
    const fv_tensor *x;
    int64_t columns, row_step;
} column_sums;

enum { SUM_ROWS = 256 };

static void sum_piece(void *context, int64_t start, int64_t count) {
    const column_sums *s = context;
    void *sum = fv__at(s->partial, start / SUM_ROWS * s->columns, s->size);
    memset(sum, 0, (size_t)s->columns * s->size);
    for (int64_t row = start; row < start + count; row++)
        FV__CALL(s->dtype, axpy, sum, 1, fv__at(s->x->data, row * s->row_step, s->size), s->columns);
}

/* y += sum of the rows of x; partial sums of a fixed number of rows, combined in order. */
static void add_column_sums(fv_graph *g, void *y, const fv_tensor *x, int64_t rows, int64_t columns) {
    int64_t pieces = (rows + SUM_ROWS - 1) / SUM_ROWS;
    column_sums s = {.dtype = g->dtype, .size = g->size, .x = x, .columns = columns, .row_step = leading(x)};
    s.partial = fv__graph_memory(g, (size_t)(pieces * columns), g->size);
    if (!s.partial) return;
    fv__spans(rows, SUM_ROWS, sum_piece, &s);
    for (int64_t i = 0; i < pieces; i++)
        FV__CALL(g->dtype, axpy, y, 1, fv__at(s.partial, i * columns, g->size), columns);
}

/* ---- linear */

static void linear_back(fv_graph *g, fv_node *node) {
    fv_node *x = node->in[0], *w = node->in[1];
    fv_tensor dy = fv__grad_at(node), db = fv__grad_of(g, node->in[2], NULL);
    int64_t rows = fv__node_rows(x), in = w->value.dim[1], out = w->value.dim[0];
    bool fresh;
    if (db.data) add_column_sums(g, db.data, &dy, rows, out);
    fv_tensor dw = fv__grad_of(g, w, &fresh);
    if (dw.data) {
        fv__product p = {.dtype = g->dtype,
                         .m = out,
                         .n = in,
                         .k = rows,
                         .a_transposed = true,
                         .lda = out,
                         .ldb = leading(&x->value),
                         .ldc = in,
                         .accumulate = !fresh};
        run(g, &p, dw.data, dy.data, x->value.data);
    }
    fv_tensor dx = fv__grad_of(g, x, &fresh);
    if (dx.data) {
        fv__product p = {.dtype = g->dtype,
                         .m = rows,
                         .n = in,
                         .k = out,
                         .lda = out,
                         .ldb = in,
                         .ldc = leading(&dx),
                         .accumulate = !fresh};
        run(g, &p, dx.data, dy.data, w->value.data);
    }
}

static bool linear_fits(const fv_node *x, const fv_node *w, const fv_node *b) {
    return w->value.rank == 2 && w->value.dim[1] == fv__columns(x) && fv_tensor_contiguous(&w->value) &&
           (!b || (b->value.rank == 1 && b->value.dim[0] == w->value.dim[0] && fv_tensor_contiguous(&b->value)));
}

fv_node *fv_op_linear(fv_graph *g, fv_node *x, fv_node *w, fv_node *b) {
    fv_node *in[] = {x, w, b};
    if (!fv__ready(g, "fv_op_linear", in, b ? 3 : 2)) return &g->empty;
    if (!linear_fits(x, w, b)) return fv__refuse(g, "fv_op_linear", "x [.., in], dense w [out, in], b [out]", x);
    in[0] = x = as_matrix(g, x);
    int64_t dim[FV_MAX_DIMS];
    memcpy(dim, x->value.dim, sizeof dim);
    dim[x->value.rank - 1] = w->value.dim[0];
    fv_node *y = fv__node_new(g, x->value.rank, dim, in, 3, linear_back);
    if (y == &g->empty) return y;
    fv__product p = {.dtype = g->dtype,
                     .m = fv__node_rows(x),
                     .n = w->value.dim[0],
                     .k = w->value.dim[1],
                     .b_transposed = true,
                     .lda = leading(&x->value),
                     .ldb = w->value.dim[1],
                     .ldc = w->value.dim[0],
                     .bias = b ? b->value.data : NULL};
    run(g, &p, y->value.data, x->value.data, w->value.data);
    return y;
}

/* ---- matmul */

typedef struct flips {
    bool a, b;
} flips;

static int64_t rows_of(const fv_node *x) { return x->value.dim[x->value.rank - 2]; }

static int64_t batch_of(const fv_node *x) {
    int64_t batch = 1;
    for (int i = 0; i + 2 < x->value.rank; i++) batch *= x->value.dim[i];
    return batch;
}

/* The product of two nodes' memories (values or gradients) as stored matrices of the given shapes. */
static void multiply(fv_graph *g, fv_node *like, int64_t m, int64_t n, int64_t k, void *c, bool accumulate,
                     const void *a, bool a_flip, const void *b, bool b_flip) {
    fv__product p = {.dtype = g->dtype,
                     .m = m,
                     .n = n,
                     .k = k,
                     .a_transposed = a_flip,
                     .b_transposed = b_flip,
                     .lda = a_flip ? m : k,
                     .ldb = b_flip ? k : n,
                     .ldc = n,
                     .accumulate = accumulate,
                     .batch = batch_of(like),
                     .step_a = m * k,
                     .step_b = k * n,
                     .step_c = m * n};
    if (p.batch > 0) run(g, &p, c, a, b);
}

static void matmul_back(fv_graph *g, fv_node *node) {
    const flips *flip = node->saved;
    fv_node *a = node->in[0], *b = node->in[1];
    const void *dc = fv__grad_at(node).data, *va = a->value.data, *vb = b->value.data;
    int64_t m = rows_of(node), n = fv__columns(node), k = flip->a ? rows_of(a) : fv__columns(a);
    bool fresh;
    fv_tensor da = fv__grad_of(g, a, &fresh);
    if (da.data && !flip->a) multiply(g, node, m, k, n, da.data, !fresh, dc, false, vb, !flip->b);
    if (da.data && flip->a) multiply(g, node, k, m, n, da.data, !fresh, vb, flip->b, dc, true);
    fv_tensor db = fv__grad_of(g, b, &fresh);
    if (db.data && !flip->b) multiply(g, node, k, n, m, db.data, !fresh, va, !flip->a, dc, false);
    if (db.data && flip->b) multiply(g, node, n, k, m, db.data, !fresh, dc, true, va, flip->a);
}

static bool batches_agree(const fv_node *a, const fv_node *b) {
    if (a->value.rank != b->value.rank || a->value.rank < 2) return false;
    for (int i = 0; i + 2 < a->value.rank; i++)
        if (a->value.dim[i] != b->value.dim[i]) return false;
    return true;
}

fv_node *fv_op_matmul(fv_graph *g, fv_node *a, fv_node *b, bool a_transposed, bool b_transposed) {
    fv_node *in[] = {a, b};
    if (!fv__ready(g, "fv_op_matmul", in, 2)) return &g->empty;
    if (!batches_agree(a, b)) return fv__refuse(g, "fv_op_matmul", "as many axes in b, the same batch", b);
    in[0] = a = fv__node_dense(g, a);
    in[1] = b = fv__node_dense(g, b);
    int64_t m = a_transposed ? fv__columns(a) : rows_of(a), k = a_transposed ? rows_of(a) : fv__columns(a);
    int64_t n = b_transposed ? rows_of(b) : fv__columns(b);
    if (k != (b_transposed ? fv__columns(b) : rows_of(b)))
        return fv__refuse(g, "fv_op_matmul", "inner sizes that agree", b);
    int64_t dim[FV_MAX_DIMS];
    memcpy(dim, a->value.dim, sizeof dim);
    dim[a->value.rank - 2] = m;
    dim[a->value.rank - 1] = n;
    fv_node *c = fv__node_new(g, a->value.rank, dim, in, 2, matmul_back);
    flips flip = {a_transposed, b_transposed};
    if (c == &g->empty || !(c->saved = fv__graph_copy(g, &flip, 1, sizeof flip))) return &g->empty;
    multiply(g, c, m, n, k, c->value.data, false, a->value.data, a_transposed, b->value.data, b_transposed);
    return c;
}
