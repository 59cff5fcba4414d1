/* Gradient check: backward against central differences, extrapolated twice (Richardson; Romberg's scheme with steps
 * h, h/2, h/4, error h^6), contracted with a random cotangent, in f64. */
#include "grad/graph.h"

#include <math.h>
#include <string.h>

typedef struct check {
    fv_graph *g;
    fv_grad_fn *fn;
    void *context;
    const fv_tensor *leaves;
    int count;
    uint64_t seed;
    fv_node **nodes;     /* of the leaves */
    fv_tensor cotangent; /* data NULL until the first run has shown the shape */
} check;

typedef struct target {
    char name[64];
    double *value, *gradient; /* the numbers that are moved; what backward said */
    int64_t count;
    double worst, largest;
    int64_t at;
    double numeric;
} target;

static fv_node *run(check *c) {
    fv_graph_begin(c->g, FV_MODE_TRAIN, c->seed);
    for (int i = 0; i < c->count; i++) c->nodes[i] = fv_op_leaf(c->g, &c->leaves[i]);
    return fv__node_dense(c->g, c->fn(c->g, c->nodes, c->context));
}

static fv_status value(check *c, double *sum) {
    fv_node *y = run(c);
    FV_TRY(fv_graph_status(c->g));
    const double *a = fv_node_value(y).data, *b = c->cotangent.data;
    int64_t n = fv__count(y);
    *sum = 0;
    for (int64_t i = 0; i < n; i++) *sum += a[i] * b[i];
    return FV_OK;
}

static fv_status make_cotangent(check *c) {
    fv_node *y = run(c);
    FV_TRY(fv_graph_status(c->g));
    int64_t n = fv__count(y);
    double *data = fv__alloc_array((size_t)n, sizeof *data);
    if (!data) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < n; i++) data[i] = fv__random_normal(c->seed, 77, (uint64_t)i);
    c->cotangent = fv_tensor_of(data, FV_F64, y->value.rank, y->value.dim);
    return FV_OK;
}

static fv_status central(check *c, double *x, double h, double *slope) {
    double kept = *x, up = 0, down = 0;
    *x = kept + h;
    fv_status status = value(c, &up);
    *x = kept - h;
    if (status == FV_OK) status = value(c, &down);
    *x = kept;
    *slope = (up - down) / (2 * h);
    return status;
}

/* One extrapolation from the step h; `doubt` is how much its last two stages differ. */
static fv_status romberg(check *c, double *x, double h, double *slope, double *doubt) {
    double d[3];
    for (int i = 0; i < 3; i++) FV_TRY(central(c, x, h / (1 << i), &d[i]));
    double first = (4 * d[1] - d[0]) / 3, second = (4 * d[2] - d[1]) / 3;
    *slope = (16 * second - first) / 15;
    *doubt = fabs(second - first);
    return FV_OK;
}

/* A kink or jump within the step (relu, max, a choice of keys) shows as doubt: smaller steps then stay on one side
 * of it. */
static fv_status derivative(check *c, double *x, double *slope) {
    double h = 4e-3 * (fabs(*x) > 1 ? fabs(*x) : 1), least = INFINITY;
    for (int i = 0; i < 4 && least > 1e-9 * (1 + fabs(*slope)); i++, h /= 8) {
        double estimate, doubt;
        FV_TRY(romberg(c, x, h, &estimate, &doubt));
        if (doubt < least || i == 0) {
            *slope = estimate;
            least = doubt;
        }
    }
    return FV_OK;
}

static fv_status compare(check *c, target *t) {
    for (int64_t i = 0; i < t->count; i++) {
        double numeric = 0;
        FV_TRY(derivative(c, &t->value[i], &numeric));
        double size = fmax(fabs(numeric), fabs(t->gradient[i])), off = fabs(numeric - t->gradient[i]);
        if (size > t->largest) t->largest = size;
        if (off <= t->worst && off == off) continue;
        t->worst = off == off ? off : INFINITY;
        t->at = i;
        t->numeric = numeric;
    }
    return FV_OK;
}

static fv_status take_gradient(target *t, const fv_tensor *grad, const fv_tensor *x) {
    t->value = x->data;
    t->count = fv_tensor_count(x);
    t->gradient = fv__alloc_array((size_t)t->count, sizeof *t->gradient);
    if (!t->gradient) return FV_NO_RESOURCES;
    if (grad->data) memcpy(t->gradient, grad->data, (size_t)t->count * sizeof *t->gradient);
    return FV_OK;
}

/* Backward once; what it says is copied, because later runs reuse the memory. */
static fv_status analytic(check *c, fv_params *params, target *targets) {
    fv_params_zero_grads(params);
    fv_node *y = run(c);
    FV_TRY(fv_graph_backward(c->g, y, &c->cotangent));
    for (int i = 0; i < c->count; i++) {
        fv_tensor grad = fv_node_grad(c->nodes[i]);
        fv_tensor_describe(&c->leaves[i], targets[i].name + 8, sizeof targets[i].name - 8);
        memcpy(targets[i].name, "leaf 0: ", 8);
        targets[i].name[5] = (char)('0' + i % 10);
        FV_TRY(take_gradient(&targets[i], &grad, &c->leaves[i]));
    }
    for (int i = 0; i < fv_params_count(params); i++) {
        fv_param p = fv_params_get(params, i);
        target *t = &targets[c->count + i];
        strncpy(t->name, p.name, sizeof t->name - 1);
        FV_TRY(take_gradient(t, &p.grad, &p.value));
        if (p.flags & FV_PARAM_FROZEN) t->count = 0;
    }
    return FV_OK;
}

/* A gradient that ought to be zero is measured against the largest of all, times 1e-4. */
static fv_status report(const target *targets, int count, double tolerance, double *worst) {
    double overall = 0;
    const target *bad = NULL;
    *worst = 0;
    for (int i = 0; i < count; i++) overall = fmax(overall, targets[i].largest);
    for (int i = 0; i < count; i++) {
        double scale = fmax(targets[i].largest, 1e-4 * overall), off = targets[i].worst;
        double relative = off == 0 ? 0 : scale > 0 ? off / scale : INFINITY;
        if (relative <= *worst) continue;
        *worst = relative;
        bad = &targets[i];
    }
    if (*worst <= tolerance) return FV_OK;
    return fv__fail(FV_FAIL,
                    "gradient check: %s, element %lld\n  expected %.12g (differences)\n  found:   %.12g (backward), "
                    "relative %.2g",
                    bad->name, (long long)bad->at, bad->numeric, bad->gradient[bad->at], *worst);
}

static fv_status check_all(check *c, fv_params *params, target *targets, int count, double tolerance, double *worst) {
    FV_TRY(make_cotangent(c));
    FV_TRY(analytic(c, params, targets));
    for (int i = 0; i < count; i++) FV_TRY(compare(c, &targets[i]));
    return report(targets, count, tolerance, worst);
}

static fv_status usable(const fv_tensor *leaves, int count, const fv_params *params) {
    if (params && fv__params_dtype(params) != FV_F64)
        return fv__fail(FV_USAGE, "fv_grad_check: parameters\n  expected f64\n  found:   f32");
    for (int i = 0; i < count; i++)
        if (leaves[i].dtype != FV_F64 || !fv_tensor_contiguous(&leaves[i]))
            return fv__fail(FV_USAGE, "fv_grad_check: leaf %d must be f64 and contiguous", i);
    return FV_OK;
}

fv_status fv_grad_check(fv_grad_fn *fn, void *context, const fv_tensor *leaves, int count, fv_params *params,
                        uint64_t seed, double tolerance, double *worst) {
    double ignored;
    FV_TRY(usable(leaves, count, params));
    check c = {.fn = fn, .context = context, .leaves = leaves, .count = count, .seed = seed};
    fv_params *own = NULL;
    fv_status status = params ? FV_OK : fv_params_create(&own, FV_F64, 0);
    if (!params) params = own;
    int targets_count = count + (status == FV_OK ? fv_params_count(params) : 0);
    target *targets = fv__alloc_array((size_t)targets_count, sizeof *targets);
    c.nodes = fv__alloc_array((size_t)count, sizeof(fv_node *));
    if (!targets || !c.nodes) status = FV_NO_RESOURCES;
    if (status == FV_OK) status = fv_graph_create(&c.g, params);
    if (status == FV_OK) status = check_all(&c, params, targets, targets_count, tolerance, worst ? worst : &ignored);
    for (int i = 0; targets && i < targets_count; i++) fv__free(targets[i].gradient);
    fv__free(targets);
    fv__free(c.nodes);
    fv__free(c.cotangent.data);
    fv_graph_free(c.g);
    fv_params_free(own);
    return status;
}
