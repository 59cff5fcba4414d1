/* AdamW over the flat block of parameters (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019), with
 * lazy rows for embedding tables. Work is cut by the problem and summed in order: the same bits for any number of threads. */
#include "simd/simd.h"
#include "train/train.h"

#include <math.h>
#include <string.h>

enum { PIECE = 1 << 15, ROWS = 256 };   /* elements of dense parameters, rows of tables */

/* ---- making ------------------------------------------------------------------------------------------------------ */

static fv_status add_table(fv__optimizer *o, int index) {
    if (index < 0 || (fv_params_get(o->params, index).flags & FV_PARAM_FROZEN)) return FV_OK;
    fv_param p = fv_params_get(o->params, index);
    fv__table *t = &o->table[o->tables++];
    *t = (fv__table){.index = index, .rows = p.value.dim[0], .width = p.value.dim[1]};
    t->mark = fv__alloc_array((size_t)t->rows, sizeof *t->mark);
    t->touched = fv__alloc_array((size_t)t->rows, sizeof *t->touched);
    return t->mark && t->touched ? FV_OK : FV_NO_RESOURCES;
}

static fv_status take(fv__optimizer *o, const fv_model *model) {
    FV_TRY(fv_params_grads(o->params));
    fv_tensor flat = fv_params_flat(o->params);
    size_t elements = (size_t)flat.dim[0];
    o->moment1 = fv__alloc_array(elements, sizeof *o->moment1);
    o->moment2 = fv__alloc_array(elements, sizeof *o->moment2);
    if (!o->moment1 || !o->moment2) return FV_NO_RESOURCES;
    FV_TRY(add_table(o, model->layers.embed_table));
    FV_TRY(add_table(o, model->layers.ngram_table));
    o->pieces = flat.dim[0] / PIECE + fv_params_count(o->params) + 1;
    for (int t = 0; t < o->tables; t++) o->pieces += o->table[t].rows / ROWS + 1;
    o->piece_sum = fv__alloc_array((size_t)o->pieces, sizeof *o->piece_sum);
    return o->piece_sum ? FV_OK : FV_NO_RESOURCES;
}

fv_status fv__optimizer_create(fv__optimizer *o, fv_model *model, const fv_train_options *options) {
    memset(o, 0, sizeof *o);
    o->params = model->params;
    o->options = options;
    fv_status status = take(o, model);
    if (status != FV_OK) fv__optimizer_free(o);
    return status;
}

void fv__optimizer_free(fv__optimizer *o) {
    for (int t = 0; t < 2; t++) {
        fv__free(o->table[t].mark);
        fv__free(o->table[t].touched);
    }
    fv__free(o->moment1);
    fv__free(o->moment2);
    fv__free(o->piece_sum);
    memset(o, 0, sizeof *o);
}

/* ---- which rows -------------------------------------------------------------------------------------------------- */

static void touch(fv__table *t, int32_t row, int64_t update) {
    if (t->mark[row] == update) return;
    t->mark[row] = update;
    t->touched[t->count++] = row;
}

void fv__optimizer_touch(fv__optimizer *o, const fv_model *model, const fv_batch *batch, int64_t update) {
    for (int k = 0; k < o->tables; k++) {
        fv__table *t = &o->table[k];
        if (t->index == model->layers.embed_table) {
            for (int32_t i = 0; i < batch->tokens; i++) touch(t, batch->id[i], update);
            touch(t, fv_tokenizer_special(model->tokenizer).unk, update);   /* word dropout reads it */
        } else {
            for (int32_t i = 0; i < batch->cu_bags[batch->tokens]; i++) touch(t, batch->bag[i], update);
        }
    }
}

/* ---- walking over everything that has a gradient ------------------------------------------------------------------- */

typedef void span_fn(fv__optimizer *o, int64_t offset, int64_t count, double *sum, const fv__adamw *step);
typedef struct walk {
    fv__optimizer *o;
    span_fn *fn;
    int64_t base, offset, count;        /* dense: the parameter; tables: base of the sums */
    const fv__table *table;
    fv__adamw step;
} walk;

static void dense_piece(void *context, int64_t piece, int worker) {
    walk *w = context;
    int64_t start = piece * PIECE, count = w->count - start < PIECE ? w->count - start : PIECE;
    (void)worker;
    w->fn(w->o, w->offset + start, count, &w->o->piece_sum[w->base + piece], &w->step);
}

static void table_piece(void *context, int64_t piece, int worker) {
    walk *w = context;
    int64_t end = (piece + 1) * ROWS < w->table->count ? (piece + 1) * ROWS : w->table->count;
    (void)worker;
    for (int64_t i = piece * ROWS; i < end; i++)
        w->fn(w->o, w->offset + w->table->touched[i] * w->table->width, w->table->width, &w->o->piece_sum[w->base + piece],
              &w->step);
}

static const fv__table *table_of(const fv__optimizer *o, int index) {
    for (int t = 0; t < o->tables; t++)
        if (o->table[t].index == index) return &o->table[t];
    return NULL;
}

/* Calls fn on all spans, one parameter after the other; returns how many sums were used. */
static int64_t for_all(fv__optimizer *o, span_fn *fn, const fv__adamw *step) {
    int64_t base = 0;
    for (int i = 0; i < fv_params_count(o->params); i++) {
        fv_param p = fv_params_get(o->params, i);
        if (p.flags & FV_PARAM_FROZEN) continue;
        walk w = {.o = o, .fn = fn, .base = base, .offset = p.offset, .count = fv_tensor_count(&p.value), .step = *step};
        w.table = table_of(o, i);
        if (w.table) w.step.lr *= o->options->table_rate;
        w.step.decay = (p.flags & FV_PARAM_DECAY) && !w.table ? step->decay : 0;
        int64_t pieces = w.table ? (w.table->count + ROWS - 1) / ROWS : (w.count + PIECE - 1) / PIECE;
        fv__parallel_for(pieces, w.table ? table_piece : dense_piece, &w);
        base += pieces;
    }
    return base;
}

/* ---- the three walks ----------------------------------------------------------------------------------------------- */

static float *gradient(const fv__optimizer *o) { return fv_params_flat_grads(o->params).data; }

static void square_span(fv__optimizer *o, int64_t offset, int64_t count, double *sum, const fv__adamw *step) {
    (void)step;
    *sum += fv__simd_f32_now()->norm2(gradient(o) + offset, count);
}

double fv__optimizer_norm(fv__optimizer *o) {
    fv__adamw none = {0};
    memset(o->piece_sum, 0, (size_t)o->pieces * sizeof *o->piece_sum);
    int64_t used = for_all(o, square_span, &none);
    double sum = 0;
    for (int64_t i = 0; i < used; i++) sum += o->piece_sum[i];
    return sqrt(sum);
}

static void update_span(fv__optimizer *o, int64_t offset, int64_t count, double *sum, const fv__adamw *step) {
    float *value = fv_params_flat(o->params).data;
    (void)sum;
    fv__simd_f32_now()->adamw(value + offset, o->moment1 + offset, o->moment2 + offset, gradient(o) + offset, count, step);
}

void fv__optimizer_update(fv__optimizer *o, int64_t update, double rate, double gradient_scale) {
    const fv_train_options *how = o->options;
    fv__adamw step = {.lr = rate, .beta1 = how->beta1, .beta2 = how->beta2, .eps = how->epsilon, .decay = how->weight_decay,
                      .correct1 = 1 - pow(how->beta1, (double)update), .correct2 = 1 - pow(how->beta2, (double)update),
                      .grad_scale = gradient_scale};
    for_all(o, update_span, &step);
}

static void zero_span(fv__optimizer *o, int64_t offset, int64_t count, double *sum, const fv__adamw *step) {
    (void)sum, (void)step;
    memset(gradient(o) + offset, 0, (size_t)count * sizeof(float));
}

void fv__optimizer_zero(fv__optimizer *o) {
    fv__adamw none = {0};
    for_all(o, zero_span, &none);
    for (int t = 0; t < o->tables; t++) o->table[t].count = 0;
}

/* ---- schedule ---------------------------------------------------------------------------------------------------- */

double fv__schedule(const fv_train_options *options, double done) {
    double warmup = options->warmup;
    if (done < warmup) return done / warmup;
    double rest = warmup < 1 ? (done - warmup) / (1 - warmup) : 1;
    if (rest > 1) rest = 1;
    if (strcmp(options->schedule, "linear") == 0) return 1 - rest;
    if (strcmp(options->schedule, "cosine") == 0) return 0.5 * (1 + cos(3.14159265358979323846 * rest));
    return 1;
}
