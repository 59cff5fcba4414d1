/* Views share memory and gradient; dense copies and concatenation where memory must be in one piece. */
#include "grad/graph.h"

#include <string.h>

/* ---- copies */

static void dense_back(fv_graph *g, fv_node *node) {
    fv_tensor dy = fv__grad_at(node), dx = fv__grad_of(g, node->in[0], NULL);
    if (dx.data) fv__accumulate(&dx, &dy, false);
}

fv_node *fv__node_dense(fv_graph *g, fv_node *x) {
    if (fv_tensor_contiguous(&x->value) || x == &g->empty) return x;
    fv_node *y = fv__node_like(g, x, &x, 1, dense_back);
    if (y != &g->empty) fv__accumulate(&y->value, &x->value, true);
    return y;
}

/* ---- views */

fv_node *fv_op_reshape(fv_graph *g, fv_node *x, int rank, const int64_t *dim) {
    if (!fv__ready(g, "fv_op_reshape", &x, 1)) return &g->empty;
    size_t bytes;
    if (rank < 1 || rank > FV_MAX_DIMS || !fv__size_of(dim, rank, g->size, &bytes) ||
        (int64_t)(bytes / g->size) != fv__count(x))
        return fv__refuse(g, "fv_op_reshape", "as many elements as the new shape", x);
    x = fv__node_dense(g, x);
    if (x == &g->empty) return x;
    fv_tensor view = fv_tensor_of(x->value.data, g->dtype, rank, dim);
    return fv__node_view(g, x, &view);
}

fv_node *fv_op_slice(fv_graph *g, fv_node *x, int axis, int64_t start, int64_t count) {
    if (!fv__ready(g, "fv_op_slice", &x, 1)) return &g->empty;
    if (axis < 0 || axis >= x->value.rank || start < 0 || count < 0 || count > x->value.dim[axis] ||
        start > x->value.dim[axis] - count)
        return fv__refuse(g, "fv_op_slice", "an axis that holds the slice", x);
    fv_tensor view = fv_tensor_slice(x->value, axis, start, count);
    return fv__node_view(g, x, &view);
}

fv_node *fv_op_transpose(fv_graph *g, fv_node *x, int axis_a, int axis_b) {
    if (!fv__ready(g, "fv_op_transpose", &x, 1)) return &g->empty;
    if (axis_a < 0 || axis_b < 0 || axis_a >= x->value.rank || axis_b >= x->value.rank)
        return fv__refuse(g, "fv_op_transpose", "both axes", x);
    fv_tensor view = fv_tensor_transpose(x->value, axis_a, axis_b);
    return fv__node_view(g, x, &view);
}

fv_node *fv_op_heads(fv_graph *g, fv_node *x, int64_t start, int64_t heads, int64_t width) {
    if (!fv__ready(g, "fv_op_heads", &x, 1)) return &g->empty;
    if (x->value.rank != 2 || start < 0 || heads < 0 || width < 0 || x->value.stride[1] != 1 ||
        start + heads * width > x->value.dim[1])
        return fv__refuse(g, "fv_op_heads", "[T, columns that hold the heads]", x);
    fv_tensor view = {.data = fv__at(x->value.data, start, g->size), .dtype = g->dtype, .rank = 4};
    memcpy(view.dim, (int64_t[]){1, heads, x->value.dim[0], width}, 4 * sizeof *view.dim);
    memcpy(view.stride, (int64_t[]){x->value.dim[0] * x->value.stride[0], width, x->value.stride[0], 1},
           4 * sizeof *view.stride);
    return fv__node_view(g, x, &view);
}

/* (1,H,T,D) in memory (T,H,D), as attention leaves it, is [T, H*D] without copying. */
fv_node *fv_op_merge_heads(fv_graph *g, fv_node *x) {
    if (!fv__ready(g, "fv_op_merge_heads", &x, 1)) return &g->empty;
    if (x->value.rank != 4 || x->value.dim[0] != 1) return fv__refuse(g, "fv_op_merge_heads", "(1, H, T, D)", x);
    int64_t rows = x->value.dim[2], columns = x->value.dim[1] * x->value.dim[3];
    fv_node *turned = fv_op_transpose(g, x, 1, 2);
    return fv_op_reshape(g, turned, 2, (int64_t[]){rows, columns});
}

/* ---- concatenation */

typedef struct joined {
    int count, axis;
    fv_node **part;
} joined;

static void concat_back(fv_graph *g, fv_node *node) {
    const joined *j = node->saved;
    fv_tensor dy = fv__grad_at(node);
    int64_t start = 0;
    for (int i = 0; i < j->count; i++) {
        int64_t size = j->part[i]->value.dim[j->axis];
        fv_tensor from = fv_tensor_slice(dy, j->axis, start, size);
        bool fresh;
        fv_tensor to = fv__grad_of(g, j->part[i], &fresh);
        if (to.data) fv__accumulate(&to, &from, fresh);
        start += size;
    }
}

static bool joinable(const fv_node *a, const fv_node *b, int axis) {
    if (axis < 0 || axis >= a->value.rank || a->value.rank != b->value.rank) return false;
    for (int i = 0; i < a->value.rank; i++)
        if (i != axis && a->value.dim[i] != b->value.dim[i]) return false;
    return true;
}

fv_node *fv_op_concat(fv_graph *g, fv_node *const *parts, int count, int axis) {
    if (!fv__ready(g, "fv_op_concat", parts, count)) return &g->empty;
    if (count < 1) return fv__refuse(g, "fv_op_concat", "at least one part", NULL);
    int64_t total = 0, dim[FV_MAX_DIMS];
    fv_node *wants = parts[0];
    for (int i = 0; i < count; i++) {
        if (!joinable(parts[0], parts[i], axis))
            return fv__refuse(g, "fv_op_concat", "parts that differ in the axis only", parts[i]);
        total += parts[i]->value.dim[axis];
        if (parts[i]->needs_grad) wants = parts[i];
    }
    memcpy(dim, parts[0]->value.dim, sizeof dim);
    dim[axis] = total;
    joined j = {count, axis, fv__graph_copy(g, parts, (size_t)count, sizeof *parts)};
    fv_node *y = fv__node_new(g, parts[0]->value.rank, dim, &wants, 1, concat_back);
    if (y == &g->empty || !j.part || !(y->saved = fv__graph_copy(g, &j, 1, sizeof j))) return &g->empty;
    total = 0;
    for (int i = 0; i < count; i++) {
        int64_t size = parts[i]->value.dim[axis];
        fv_tensor to = fv_tensor_slice(y->value, axis, total, size);
        fv__accumulate(&to, &parts[i]->value, true);
        total += size;
    }
    return y;
}
