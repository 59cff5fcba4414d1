/* LayerNormalization, RMSNormalization and Gelu by the operations of a graph, RotaryEmbedding by fovea/rope.h. */
#include "conform.h"

/* ---- norms over all axes from `axis` on */

typedef struct norm {
    fv_graph *g;
    fv_tensor x, scale, bias;
    int axis;
    double eps;
} norm;

static void norm_of(const sample *s, norm *n) {
    n->x = sample_real(sample_input(s, 0)), n->scale = sample_input(s, 1), n->bias = sample_input(s, 2);
    n->eps = sample_number(s, "epsilon", 1e-5);
    n->axis = (int)sample_int(s, "axis", -1);
    if (n->axis < 0) n->axis += n->x.rank;
}

/* x as a matrix: a row is what is normalised together. */
static fv_node *as_rows(const norm *n) {
    int64_t dim[2] = {1, 1};
    for (int i = 0; i < n->x.rank; i++) dim[i >= n->axis] *= n->x.dim[i];
    return fv_op_reshape(n->g, fv_op_constant(n->g, &n->x), 2, dim);
}

static bool is_row(const norm *n, const fv_tensor *t) {
    if (t->rank != n->x.rank - n->axis) return false;
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] != n->x.dim[n->axis + i]) return false;
    return true;
}

/* Scale or bias with a number for each column of a row; NULL: it is absent, or has another shape that broadcasts. */
static fv_node *as_row(const norm *n, const fv_tensor *t) {
    const int64_t count = fv_tensor_count(t);
    if (t->rank == 0 || !is_row(n, t)) return NULL;
    return fv_op_reshape(n->g, fv_op_constant(n->g, t), 1, &count);
}

typedef fv_node *combine(fv_graph *g, fv_node *a, fv_node *b);

/* y with a scale or bias of any shape that broadcasts to x. */
static fv_node *with(const norm *n, fv_node *y, const fv_tensor *t, combine *op) {
    if (t->rank == 0) return y;
    fv_tensor whole = sample_new(n->x.dtype, n->x.rank, n->x.dim), seen = sample_broadcast(*t, n->x.rank, n->x.dim);
    fv_tensor_copy(&whole, &seen);
    return op(n->g, fv_op_reshape(n->g, y, n->x.rank, n->x.dim), fv_op_constant(n->g, &whole));
}

static fv_graph *graph_for(sample *s, const fv_tensor *x) {
    static fv_params *params[2]; /* none in them: they give the type of a graph */
    fv_graph *g = NULL;
    fv_params **p = &params[x->dtype == FV_F64];
    if (!*p && !sample_try(s, fv_params_create(p, x->dtype, 0))) return NULL;
    if (sample_try(s, fv_graph_create(&g, *p))) fv_graph_begin(g, FV_MODE_INFER, 0);
    return g;
}

/* Output `index` of the sample, in the shape of x, or of x with ones for the axes that were normalised. */
static void compare_as(sample *s, int index, const norm *n, const fv_tensor *found, bool reduced) {
    fv_tensor shape = n->x;
    for (int i = n->axis; i < shape.rank && reduced; i++) shape.dim[i] = 1;
    const fv_tensor t = fv_tensor_of(found->data, found->dtype, shape.rank, shape.dim);
    sample_compare(s, index, &t);
}

void run_layer_normalization(sample *s) {
    norm n;
    norm_of(s, &n);
    if (!(n.g = graph_for(s, &n.x))) return;
    fv_tensor mean, rstd;
    fv_node *scale = as_row(&n, &n.scale), *bias = scale ? as_row(&n, &n.bias) : NULL;
    fv_node *y = fv_op_layer_norm_found(n.g, as_rows(&n), scale, bias, n.eps, &mean, &rstd);
    if (!scale) y = with(&n, y, &n.scale, fv_op_mul);
    if (!bias) y = with(&n, y, &n.bias, fv_op_add);
    if (sample_try(s, fv_graph_status(n.g))) {
        const fv_tensor value = fv_node_value(y);
        compare_as(s, 0, &n, &value, false);
        compare_as(s, 1, &n, &mean, true);
        compare_as(s, 2, &n, &rstd, true);
    }
    fv_graph_free(n.g);
}

void run_rms_normalization(sample *s) {
    norm n;
    norm_of(s, &n);
    if (!(n.g = graph_for(s, &n.x))) return;
    fv_node *scale = as_row(&n, &n.scale), *y = fv_op_rms_norm(n.g, as_rows(&n), scale, n.eps);
    if (!scale) y = with(&n, y, &n.scale, fv_op_mul);
    if (sample_try(s, fv_graph_status(n.g))) {
        const fv_tensor value = fv_node_value(y);
        compare_as(s, 0, &n, &value, false);
    }
    fv_graph_free(n.g);
}

void run_gelu(sample *s) {
    const fv_tensor x = sample_real(sample_input(s, 0));
    const bool exact = !sample_has(s, "approximate") || sample_says(s, "approximate", "none");
    fv_graph *g = graph_for(s, &x);
    if (!g) return;
    fv_node *y = fv_op_activation(g, fv_op_constant(g, &x), exact ? FV_GELU : FV_GELU_TANH);
    if (sample_try(s, fv_graph_status(g))) {
        const fv_tensor value = fv_node_value(y);
        sample_compare(s, 0, &value);
    }
    fv_graph_free(g);
}
