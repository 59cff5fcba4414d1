/* The graph: begins a step, makes nodes in the step's arena, walks the tape backwards. */
#include "grad/graph.h"

#include "grad/op_attend.h"
#include "grad/sequences.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- lifetime */

fv_status fv_graph_create(fv_graph **out, fv_params *params) {
    *out = NULL;
    fv_graph *g = fv__alloc(sizeof *g);
    if (!g) return FV_NO_RESOURCES;
    fv_status status = fv__arena_create(&g->arena);
    if (status != FV_OK) {
        fv__free(g);
        return status;
    }
    g->params = params;
    g->dtype = params ? fv__params_dtype(params) : FV_F32;
    g->size = fv_dtype_size(g->dtype);
    g->empty.value = fv_tensor_1d(NULL, g->dtype, 0);
    g->empty.param = -1;
    fv_graph_begin(g, FV_MODE_INFER, 0);
    status = g->status;
    if (status != FV_OK) {
        fv_graph_free(g);
        return status;
    }
    *out = g;
    return FV_OK;
}

void fv_graph_free(fv_graph *g) {
    if (!g) return;
    fv__plans_free(g->plans);
    fv__angles_free(g->angles);
    fv__arena_free(g->arena);
    fv__free(g);
}

void fv_graph_begin(fv_graph *g, fv_mode mode, uint64_t seed) {
    fv__arena_reset(g->arena);
    g->mode = mode;
    g->seed = seed;
    g->draws = 0;
    g->status = FV_OK;
    g->last = NULL;
    g->kept = NULL;
    g->attend_first = g->attend_last = NULL;
    g->attend_count = 0;
    g->scratch = NULL;
    g->scratch_bytes = 0;
    fv__plans_trim(g->plans, g->step++);
    g->param_count = fv_params_count(g->params);
    g->param_node = fv__arena_alloc(g->arena, (size_t)g->param_count * sizeof *g->param_node);
    if (!g->param_node) g->status = FV_NO_RESOURCES;
}

fv_mode fv_graph_mode(const fv_graph *g) { return g->mode; }
fv_status fv_graph_status(const fv_graph *g) { return g->status; }
size_t fv_graph_peak(const fv_graph *g) { return fv__arena_peak(g->arena); }

/* ---- failures */

fv_node *fv_graph_failed(fv_graph *g, fv_status status) {
    if (g->status == FV_OK) g->status = status;
    return &g->empty;
}

bool fv__ready(fv_graph *g, const char *where, fv_node *const *in, int inputs) {
    if (g->status != FV_OK) return false;
    for (int i = 0; i < inputs; i++) {
        if (in[i] && in[i] != &g->empty) continue;
        fv_graph_failed(g, fv__fail(FV_USAGE, "%s: input %d\n  expected a node\n  found:   NULL", where, i));
        return false;
    }
    return true;
}

fv_node *fv__refuse(fv_graph *g, const char *where, const char *expected, const fv_node *found) {
    char shape[128] = "nothing";
    if (found) fv_tensor_describe(&found->value, shape, sizeof shape);
    return fv_graph_failed(g, fv__fail(FV_USAGE, "%s: an input has the wrong shape\n  expected %s\n  found:   %s",
                                       where, expected, shape));
}

/* ---- nodes */

void *fv__graph_memory(fv_graph *g, size_t count, size_t size) {
    size_t bytes;
    if (!fv__mul_ok(count, size, &bytes)) {
        fv_graph_failed(g, fv__fail(FV_NO_RESOURCES, "graph: the size of a value overflows"));
        return NULL;
    }
    void *memory = fv__arena_raw(g->arena, bytes);
    if (!memory) fv_graph_failed(g, FV_NO_RESOURCES);
    return memory;
}

void *fv__graph_copy(fv_graph *g, const void *from, size_t count, size_t size) {
    void *memory = fv__graph_memory(g, count, size);
    if (memory && count) memcpy(memory, from, count * size);
    return memory;
}

static fv_node *blank(fv_graph *g) {
    fv_node *node = fv__graph_memory(g, 1, sizeof *node);
    if (!node) return &g->empty;
    *node = (fv_node){.param = -1};
    return node;
}

fv_node *fv__node_new(fv_graph *g, int rank, const int64_t *dim, fv_node *const *in, int inputs,
                      fv__back_fn *backward) {
    if (g->status != FV_OK) return &g->empty;
    size_t bytes;
    if (!fv__size_of(dim, rank, g->size, &bytes))
        return fv_graph_failed(g, fv__fail(FV_NO_RESOURCES, "graph: the size of a value overflows"));
    fv_node *node = blank(g);
    void *data = fv__graph_memory(g, bytes, 1);
    if (node == &g->empty || !data) return &g->empty;
    node->value = fv_tensor_of(data, g->dtype, rank, dim);
    node->needs_grad = g->mode == FV_MODE_TRACE;
    for (int i = 0; i < inputs; i++) {
        node->in[i] = in[i];
        if (in[i] && in[i]->needs_grad) node->needs_grad = true;
    }
    if (!node->needs_grad || g->mode == FV_MODE_INFER) return node;
    node->backward = backward;
    node->before = g->last;
    g->last = node;
    return node;
}

fv_node *fv__node_like(fv_graph *g, const fv_node *x, fv_node *const *in, int inputs, fv__back_fn *backward) {
    return fv__node_new(g, x->value.rank, x->value.dim, in, inputs, backward);
}

fv_node *fv__node_view(fv_graph *g, fv_node *x, const fv_tensor *value) {
    fv_node *node = blank(g);
    if (node == &g->empty) return node;
    node->value = *value;
    node->owner = x->owner ? x->owner : x;
    node->needs_grad = x->needs_grad;
    return node;
}

struct fv__kept {
    struct fv__kept *next;
    const void *owner;
    fv_node *node;
};

void fv__graph_keep(fv_graph *g, const void *owner, fv_node *node) {
    struct fv__kept *k = fv__graph_memory(g, 1, sizeof *k);
    if (!k) return;
    *k = (struct fv__kept){g->kept, owner, node};
    g->kept = k;
}

fv_node *fv__graph_kept(fv_graph *g, const void *owner) {
    for (struct fv__kept *k = g->kept; k; k = k->next)
        if (k->owner == owner) return k->node;
    return NULL;
}

int64_t fv__node_rows(const fv_node *x) {
    int64_t rows = 1;
    for (int i = 0; i + 1 < x->value.rank; i++) rows *= x->value.dim[i];
    return rows;
}

fv_tensor fv_node_value(const fv_node *node) { return node->value; }
fv_tensor fv_node_grad(const fv_node *node) { return fv__grad_at(node); }

double fv_node_scalar(const fv_node *node) {
    if (!node->value.data || fv_tensor_count(&node->value) != 1) return NAN;
    return fv_tensor_get(&node->value, (int64_t[FV_MAX_DIMS]){0});
}

/* ---- sources */

static fv_node *source(fv_graph *g, const fv_tensor *x, bool leaf) {
    if (g->status != FV_OK) return &g->empty;
    if (x->rank < 1 || (!x->data && fv_tensor_count(x) != 0))
        return fv_graph_failed(g, fv__fail(FV_USAGE, "graph: a source\n  expected data\n  found:   NULL"));
    fv_node *node;
    if (x->dtype == g->dtype && fv_tensor_contiguous(x)) {
        node = blank(g);
        if (node == &g->empty) return node;
        node->value = *x;
    } else {
        node = fv__node_new(g, x->rank, x->dim, NULL, 0, NULL);
        if (node == &g->empty) return node;
        fv_status status = fv_tensor_copy(&node->value, x);
        if (status != FV_OK) return fv_graph_failed(g, status);
    }
    node->needs_grad = leaf && g->mode != FV_MODE_INFER;
    return node;
}

fv_node *fv_op_constant(fv_graph *g, const fv_tensor *x) { return source(g, x, false); }
fv_node *fv_op_leaf(fv_graph *g, const fv_tensor *x) { return source(g, x, true); }

fv_node *fv_op_param(fv_graph *g, int index) {
    if (g->status != FV_OK) return &g->empty;
    if (index < 0 || index >= g->param_count)
        return fv_graph_failed(g,
                               fv__fail(FV_USAGE, "fv_op_param: index\n  expected 0 or more, below %d\n  found:   %d",
                                        g->param_count, index));
    if (g->param_node[index]) return g->param_node[index];
    if (g->mode == FV_MODE_TRAIN && fv_params_grads(g->params) != FV_OK) return fv_graph_failed(g, FV_NO_RESOURCES);
    fv_param p = fv_params_get(g->params, index);
    fv_node *node = blank(g);
    if (node == &g->empty) return node;
    node->value = p.value;
    node->grad = p.grad.data;
    node->param = index;
    node->needs_grad = g->mode == FV_MODE_TRAIN && !(p.flags & FV_PARAM_FROZEN);
    return g->param_node[index] = node;
}

/* ---- backward */

/* A view's gradient lies in its owner's as its value lies in the owner's value. */
static fv_tensor grad_view(const fv_node *x, const fv_node *owner) {
    fv_tensor grad = x->value;
    grad.data = owner->grad ? (char *)owner->grad + ((char *)x->value.data - (char *)owner->value.data) : NULL;
    return grad;
}

fv_tensor fv__grad_at(const fv_node *node) { return grad_view(node, node->owner ? node->owner : node); }

fv_tensor fv__grad_of(fv_graph *g, fv_node *x, bool *fresh) {
    if (fresh) *fresh = false;
    fv_tensor none = {0};
    if (!x || !x->needs_grad) return none;
    fv_node *owner = x->owner ? x->owner : x;
    if (owner->param >= 0 && fv__params_touch(g->params, owner->param, NULL, 0) != FV_OK)
        return fv_graph_failed(g, FV_NO_RESOURCES), none;
    if (owner->grad) return grad_view(x, owner);
    size_t bytes = (size_t)fv__count(owner) * g->size;
    owner->grad = fv__graph_memory(g, bytes, 1);
    if (!owner->grad) return none;
    if (fresh && owner == x)
        *fresh = true;
    else
        memset(owner->grad, 0, bytes);
    return grad_view(x, owner);
}

fv_tensor fv__grad_of_rows(fv_graph *g, fv_node *x, const int32_t *rows, int64_t count) {
    fv_tensor none = {0};
    if (!x || !x->needs_grad || x->param < 0) return fv__grad_of(g, x, NULL);
    fv_status status = fv__params_touch(g->params, x->param, rows, count);
    if (status == FV_OK) return grad_view(x, x);
    fv_graph_failed(g, status);
    return none;
}

static fv_status start(fv_graph *g, fv_node *node, const fv_tensor *cotangent) {
    if (cotangent && !fv_tensor_same_shape(cotangent, &node->value))
        return fv__fail(FV_USAGE, "fv_graph_backward: the cotangent has another shape than the node");
    if (!cotangent && fv__count(node) != 1)
        return fv__fail(
            FV_USAGE,
            "fv_graph_backward: the node\n  expected a scalar, or a cotangent of its shape\n  found:   neither");
    fv_tensor grad = fv__grad_of(g, node, NULL);
    if (!grad.data) return g->status;
    if (cotangent) return fv_tensor_copy(&grad, cotangent);
    fv_tensor_fill(&grad, 1);
    return FV_OK;
}

static bool reached(const fv_node *node) {
    for (; node; node = node->partner)
        if (node->grad) return true;
    return false;
}

fv_status fv_graph_backward(fv_graph *g, fv_node *node, const fv_tensor *cotangent) {
    if (g->status != FV_OK) return g->status;
    if (g->mode == FV_MODE_INFER)
        return g->status = fv__fail(FV_USAGE,
                                    "fv_graph_backward: nothing was recorded\n"
                                    "  try:     fv_graph_begin with FV_MODE_TRAIN or FV_MODE_TRACE");
    g->status = start(g, node, cotangent);
    for (fv_node *n = g->last; n && g->status == FV_OK; n = n->before)
        if (n->backward && reached(n)) n->backward(g, n);
    return g->status;
}
