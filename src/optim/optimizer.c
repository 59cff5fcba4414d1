/* What all optimizers share: walks over everything that has a gradient. Work is cut by the problem and summed in order:
 * the same bits for any number of threads. Tables move by rows, and only those that backward gave a gradient. */
#include "optim/optimizer.h"

#include "grad/graph.h"
#include "simd/simd.h"

#include <math.h>
#include <string.h>

enum { PIECE = 1 << 15, ROWS = 256 }; /* elements of dense parameters, rows of tables */

/* A parameter that moves by rows. */
typedef struct table {
    int index;
    int64_t rows, width;
    int64_t *averaged; /* (rows) step the row was averaged at last; with a mean only */
} table;

struct fv_optimizer {
    const fv__optimizer_kind *kind;
    fv_optimizer_options options; /* complete */
    fv_params *params;
    int param_count;
    fv_dtype dtype;
    size_t size;      /* of one element */
    int64_t elements; /* of the flat block */
    void *slot[FV__SLOTS];
    void *average; /* as the flat block, NULL: not wanted. Starts at 0; divided by 1 - decay^steps when shown */
    void *raw;     /* the weights while their mean is shown */
    bool shown;
    int64_t *averaged, averaged_count; /* of all tables, one after the other */
    table *tables;
    int table_count;
    double *piece_sum;
    int64_t piece_count;
    int64_t steps;
    double learning_rate, grad_scale; /* of the next step */
};

/* ---- creating */

static fv_status add_tables(fv_optimizer *o) {
    o->tables = fv__alloc_array((size_t)o->param_count + 1, sizeof *o->tables);
    if (!o->tables) return FV_NO_RESOURCES;
    for (int i = 0; i < o->param_count; i++) {
        fv_param p = fv_params_get(o->params, i);
        if ((p.flags & FV_PARAM_FROZEN) || !(p.flags & FV_PARAM_SPARSE) || p.value.dim[0] == 0) continue;
        int64_t rows = p.value.dim[0], width = fv_tensor_count(&p.value) / rows;
        o->tables[o->table_count++] = (table){.index = i, .rows = rows, .width = width};
        o->averaged_count += rows;
    }
    return FV_OK;
}

static fv_status take_average(fv_optimizer *o) {
    if (o->options.ema_decay == 0) return FV_OK;
    o->average = fv__alloc_array((size_t)o->elements, o->size);
    o->raw = fv__alloc_array((size_t)o->elements, o->size);
    o->averaged = fv__alloc_array((size_t)o->averaged_count, sizeof *o->averaged);
    if (!o->average || !o->raw || !o->averaged) return FV_NO_RESOURCES;
    int64_t *next = o->averaged;
    for (int t = 0; t < o->table_count; next += o->tables[t++].rows) o->tables[t].averaged = next;
    return FV_OK;
}

static fv_status take_sums(fv_optimizer *o) {
    o->piece_count = o->elements / PIECE + o->param_count + 1;
    for (int t = 0; t < o->table_count; t++) o->piece_count += o->tables[t].rows / ROWS + 1;
    o->piece_sum = fv__alloc_array((size_t)o->piece_count, sizeof *o->piece_sum);
    return o->piece_sum ? FV_OK : FV_NO_RESOURCES;
}

static fv_status take_memory(fv_optimizer *o) {
    fv_tensor flat = fv_params_flat(o->params);
    FV_TRY(fv_params_grads(o->params));
    o->param_count = fv_params_count(o->params);
    o->dtype = flat.dtype, o->size = fv_dtype_size(flat.dtype);
    o->elements = flat.dim[0];
    for (int i = 0; i < o->kind->slots(&o->options); i++) {
        o->slot[i] = fv__alloc_array((size_t)o->elements, o->size);
        if (!o->slot[i]) return FV_NO_RESOURCES;
    }
    FV_TRY(add_tables(o));
    FV_TRY(take_average(o));
    return take_sums(o);
}

fv_status fv_optimizer_create(fv_optimizer **out, fv_params *params, const fv_optimizer_options *options) {
    *out = NULL;
    fv_optimizer *o = fv__alloc(sizeof *o);
    if (!o) return FV_NO_RESOURCES;
    o->params = params;
    o->options = options ? *options : (fv_optimizer_options){0};
    fv_status status = fv__optimizer_complete(&o->options, &o->kind);
    if (status == FV_OK) status = take_memory(o);
    if (status != FV_OK) {
        fv_optimizer_free(o);
        return status;
    }
    o->learning_rate = o->options.learning_rate, o->grad_scale = 1;
    *out = o;
    return FV_OK;
}

void fv_optimizer_free(fv_optimizer *o) {
    if (!o) return;
    for (int i = 0; i < FV__SLOTS; i++) fv__free(o->slot[i]);
    fv__free(o->average);
    fv__free(o->raw);
    fv__free(o->averaged);
    fv__free(o->tables);
    fv__free(o->piece_sum);
    fv__free(o);
}

/* ---- walking over everything that has a gradient */

/* What a walk calls its function on: a piece of a dense parameter, or a row of a table. */
typedef struct place {
    int64_t offset, count; /* in the flat block */
    const table *table;    /* NULL: dense */
    int64_t row;
} place;

typedef struct walk walk;
typedef void place_fn(const walk *w, place at, double *sum);
struct walk {
    fv_optimizer *o;
    place_fn *fn;
    int64_t base, offset, count; /* of the sums; of the parameter */
    const table *table;
    const int32_t *touched; /* rows, NULL: all */
    int64_t touched_count;
    fv__update update;
    void *value, *grad; /* the flat blocks */
};

static void dense_piece(void *context, int64_t piece, int worker) {
    const walk *w = context;
    int64_t start = piece * PIECE, count = w->count - start < PIECE ? w->count - start : PIECE;
    (void)worker;
    w->fn(w, (place){w->offset + start, count, NULL, 0}, &w->o->piece_sum[w->base + piece]);
}

static void table_piece(void *context, int64_t piece, int worker) {
    const walk *w = context;
    const table *t = w->table;
    int64_t end = (piece + 1) * ROWS < w->touched_count ? (piece + 1) * ROWS : w->touched_count;
    (void)worker;
    for (int64_t i = piece * ROWS; i < end; i++) {
        int64_t row = w->touched ? w->touched[i] : i;
        w->fn(w, (place){w->offset + row * t->width, t->width, t, row}, &w->o->piece_sum[w->base + piece]);
    }
}

static const table *table_of(const fv_optimizer *o, int index) {
    for (int t = 0; t < o->table_count; t++)
        if (o->tables[t].index == index) return &o->tables[t];
    return NULL;
}

static int64_t walk_param(walk *w, int index, const fv_param *p) {
    w->offset = p->offset, w->count = fv_tensor_count(&p->value);
    w->table = table_of(w->o, index);
    if (!w->table) {
        int64_t pieces = (w->count + PIECE - 1) / PIECE;
        fv__parallel_for(pieces, dense_piece, w);
        return pieces;
    }
    bool all = p->touched_count < 0;
    w->touched = all ? NULL : p->touched, w->touched_count = all ? w->table->rows : p->touched_count;
    int64_t pieces = (w->touched_count + ROWS - 1) / ROWS;
    fv__parallel_for(pieces, table_piece, w);
    return pieces;
}

/* Calls fn on everything that has a gradient, one parameter after the other; returns how many sums were used. */
static int64_t for_all(fv_optimizer *o, place_fn *fn, const fv__update *update) {
    walk w = {.o = o, .fn = fn, .update = *update};
    w.value = fv_params_flat(o->params).data, w.grad = fv_params_flat_grads(o->params).data;
    for (int i = 0; i < o->param_count; i++) {
        fv_param p = fv_params_get(o->params, i);
        if (p.flags & FV_PARAM_FROZEN) continue;
        bool sparse = table_of(o, i) != NULL;
        w.update.learning_rate = update->learning_rate * (sparse ? o->options.embedding_lr_multiplier : 1);
        w.update.weight_decay = (p.flags & FV_PARAM_DECAY) && !sparse ? update->weight_decay : 0;
        w.base += walk_param(&w, i, &p);
    }
    return w.base;
}

/* Parameters were added since the optimizer was made: its memory does not fit theirs. */
static bool has_grown(const fv_optimizer *o) { return fv_params_count(o->params) != o->param_count; }

/* ---- the length of the gradient */

static void square(const walk *w, place at, double *sum) {
    *sum += FV__CALL(w->o->dtype, norm2, fv__at(w->grad, at.offset, w->o->size), at.count);
}

static double grad_norm(fv_optimizer *o) {
    fv__update none = {0};
    if (has_grown(o)) return NAN;
    memset(o->piece_sum, 0, (size_t)o->piece_count * sizeof *o->piece_sum);
    int64_t used = for_all(o, square, &none);
    double sum = 0;
    for (int64_t i = 0; i < used; i++) sum += o->piece_sum[i];
    return sqrt(sum);
}

double fv_clip_grad_norm(fv_optimizer *o, double max_norm) {
    double norm = grad_norm(o) * o->grad_scale;
    if (isfinite(norm) && max_norm > 0 && norm > max_norm) o->grad_scale *= max_norm / norm;
    return norm;
}

void fv_optimizer_scale_grads(fv_optimizer *o, double factor) { o->grad_scale *= factor; }
void fv_optimizer_set_learning_rate(fv_optimizer *o, double learning_rate) { o->learning_rate = learning_rate; }

/* ---- the step */

/* average = share * average + (1 - share) * value */
static void mix(fv_dtype dtype, void *average, double share, const void *value, int64_t count) {
    FV__CALL(dtype, scale, average, share, average, count);
    FV__CALL(dtype, axpy, average, 1 - share, value, count);
}

/* Since its last step a row stood still: what the average missed is a power. */
static void catch_up(const fv_optimizer *o, place at, int64_t step, void *average, const void *value) {
    int64_t *averaged = &at.table->averaged[at.row];
    if (step > *averaged)
        mix(o->dtype, average, pow(o->options.ema_decay, (double)(step - *averaged)), value, at.count);
    *averaged = step;
}

static void step_place(const walk *w, place at, double *sum) {
    const fv_optimizer *o = w->o;
    fv__stretch s = {
        .value = fv__at(w->value, at.offset, o->size), .grad = fv__at(w->grad, at.offset, o->size), .count = at.count};
    void *average = o->average ? fv__at(o->average, at.offset, o->size) : NULL;
    (void)sum;
    for (int i = 0; i < FV__SLOTS; i++) s.slot[i] = o->slot[i] ? fv__at(o->slot[i], at.offset, o->size) : NULL;
    if (average && at.table) catch_up(o, at, w->update.step - 1, average, s.value);
    o->kind->update(&w->update, &s);
    if (average) mix(o->dtype, average, o->options.ema_decay, s.value, s.count);
    if (average && at.table) at.table->averaged[at.row] = w->update.step;
}

static fv_status can_step(const fv_optimizer *o) {
    if (has_grown(o))
        return fv__fail(FV_USAGE,
                        "fv_optimizer_step: parameters were added\n  expected %d, as when the optimizer was created\n"
                        "  found:   %d",
                        o->param_count, fv_params_count(o->params));
    if (!o->shown) return FV_OK;
    return fv__fail(
        FV_USAGE,
        "fv_optimizer_step: what is in the place of the weights\n  expected the weights\n  found:   their mean\n"
        "  try:     fv_optimizer_hide_average");
}

fv_status fv_optimizer_step(fv_optimizer *o) {
    FV_TRY(can_step(o));
    fv__update update = {.options = &o->options,
                         .dtype = o->dtype,
                         .step = ++o->steps,
                         .learning_rate = o->learning_rate,
                         .weight_decay = o->options.weight_decay,
                         .grad_scale = o->grad_scale};
    if (o->kind->prepare) o->kind->prepare(&update);
    for_all(o, step_place, &update);
    o->grad_scale = 1;
    return FV_OK;
}

static void zero_place(const walk *w, place at, double *sum) {
    (void)sum;
    memset(fv__at(w->grad, at.offset, w->o->size), 0, (size_t)at.count * w->o->size);
}

void fv_optimizer_zero_grads(fv_optimizer *o) {
    fv__update none = {0};
    if (has_grown(o)) {
        fv_params_zero_grads(o->params);
        return;
    }
    for_all(o, zero_place, &none);
    for (int i = 0; i < o->param_count; i++) fv__params_untouch(o->params, i);
}

/* ---- the mean of the weights */

#define SHOW(name, R)                                                                                             \
    static void name(R *value, const R *average, int64_t count, double old, double inverse) {                     \
        for (int64_t k = 0; k < count; k++) value[k] = (R)((value[k] + old * (average[k] - value[k])) * inverse); \
    }
SHOW(show_f32, float)
SHOW(show_f64, double)

static void show_param(const fv_optimizer *o, const fv_param *p, const table *t, double inverse) {
    int64_t rows = t ? t->rows : 1, count = fv_tensor_count(&p->value) / rows;
    char *value = fv_params_flat(o->params).data;
    for (int64_t row = 0; row < rows; row++) {
        double old = t ? pow(o->options.ema_decay, (double)(o->steps - t->averaged[row])) : 1;
        void *v = fv__at(value, p->offset + row * count, o->size);
        void *average = fv__at(o->average, p->offset + row * count, o->size);
        if (o->dtype == FV_F32)
            show_f32(v, average, count, old, inverse);
        else
            show_f64(v, average, count, old, inverse);
    }
}

/* The average itself is not changed: when somebody looks must not matter. */
void fv_optimizer_show_average(fv_optimizer *o) {
    if (!o->average || o->shown || has_grown(o)) return;
    memcpy(o->raw, fv_params_flat(o->params).data, (size_t)o->elements * o->size);
    o->shown = true;
    double inverse = 1 / (1 - pow(o->options.ema_decay, (double)o->steps));
    for (int i = 0; i < o->param_count && o->steps > 0; i++) {
        fv_param p = fv_params_get(o->params, i);
        if (!(p.flags & FV_PARAM_FROZEN)) show_param(o, &p, table_of(o, i), inverse);
    }
}

void fv_optimizer_hide_average(fv_optimizer *o) {
    if (o->shown && !has_grown(o)) memcpy(fv_params_flat(o->params).data, o->raw, (size_t)o->elements * o->size);
    o->shown = false;
}

/* ---- checkpoints */

int fv_optimizer_state(fv_optimizer *o, fv_named_tensor tensors[FV_OPTIMIZER_STATES]) {
    int count = 0;
    int64_t averages = o->average ? o->elements : 0, rows = o->average ? o->averaged_count : 0;
    for (int i = 0; i < FV__SLOTS && o->slot[i]; i++)
        tensors[count++] = (fv_named_tensor){o->kind->slot[i], fv_tensor_1d(o->slot[i], o->dtype, o->elements)};
    tensors[count++] = (fv_named_tensor){"average", fv_tensor_1d(o->average, o->dtype, averages)};
    tensors[count++] = (fv_named_tensor){"averaged", fv_tensor_1d(o->averaged, FV_I64, rows)};
    return count;
}

fv_params *fv_optimizer_params(const fv_optimizer *o) { return o->params; }
int64_t fv_optimizer_steps(const fv_optimizer *o) { return o->steps; }
void fv_optimizer_set_steps(fv_optimizer *o, int64_t steps) { o->steps = steps; }
