/* AdamW over the flat block of parameters (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR
 * 2019), with lazy rows for embedding tables. Work is cut by the problem and summed in order: the same bits for any
 * number of threads. */
#include "simd/simd.h"
#include "train/train.h"

#include <math.h>
#include <string.h>

enum { PIECE = 1 << 15, ROWS = 256 }; /* elements of dense parameters, rows of tables */

/* ---- making */

static fv_status add_table(fv__optimizer *o, int index) {
    if (index < 0 || (fv_params_get(o->params, index).flags & FV_PARAM_FROZEN)) return FV_OK;
    fv_param p = fv_params_get(o->params, index);
    fv__table *t = &o->table[o->tables++];
    *t = (fv__table){.index = index, .rows = p.value.dim[0], .width = p.value.dim[1]};
    t->mark = fv__alloc_array((size_t)t->rows, sizeof *t->mark);
    t->touched = fv__alloc_array((size_t)t->rows, sizeof *t->touched);
    o->averaged_count += t->rows;
    return t->mark && t->touched ? FV_OK : FV_NO_RESOURCES;
}

static fv_status take_average(fv__optimizer *o, size_t elements) {
    o->average = fv__alloc_array(elements, sizeof *o->average);
    o->averaged = fv__alloc_array((size_t)o->averaged_count, sizeof *o->averaged);
    if (!o->average || !o->averaged) return FV_NO_RESOURCES;
    int64_t *next = o->averaged;
    for (int t = 0; t < o->tables; next += o->table[t++].rows) o->table[t].averaged = next;
    return FV_OK;
}

static fv_status take(fv__optimizer *o, const fv_model *model) {
    FV_TRY(fv_params_grads(o->params));
    fv_tensor flat = fv_params_flat(o->params);
    size_t elements = (size_t)flat.dim[0];
    o->moment1 = fv__alloc_array(elements, sizeof *o->moment1);
    o->moment2 = fv__alloc_array(elements, sizeof *o->moment2);
    if (!o->moment1 || !o->moment2) return FV_NO_RESOURCES;
    FV_TRY(add_table(o, model->embed_table));
    FV_TRY(add_table(o, model->ngram_table));
    if (o->options->ema_decay > 0) FV_TRY(take_average(o, elements));
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
    fv__free(o->average);
    fv__free(o->averaged);
    fv__free(o->piece_sum);
    memset(o, 0, sizeof *o);
}

/* ---- which rows */

static void touch(fv__table *t, int32_t row, int64_t update) {
    if (t->mark[row] == update) return;
    t->mark[row] = update;
    t->touched[t->count++] = row;
}

void fv__optimizer_touch(fv__optimizer *o, const fv_model *model, const fv_batch *batch, int64_t update) {
    for (int k = 0; k < o->tables; k++) {
        fv__table *t = &o->table[k];
        if (t->index == model->embed_table) {
            for (int32_t i = 0; i < batch->tokens; i++) touch(t, batch->id[i], update);
            int32_t unknown = fv_tokenizer_special(model->tokenizer).unk;
            if (unknown >= 0) touch(t, unknown, update); /* word dropout reads it */
        } else {
            for (int32_t i = 0; i < batch->cu_bags[batch->tokens]; i++) touch(t, batch->bag[i], update);
        }
    }
}

/* ---- walking over everything that has a gradient */

/* A stretch of the flat block: a piece of a dense parameter, or a row of a table. */
typedef struct stretch {
    int64_t offset, count;
    const fv__table *table; /* NULL: dense */
    int64_t row;
} stretch;

typedef struct walk walk;
typedef void stretch_fn(const walk *w, stretch s, double *sum);
struct walk {
    fv__optimizer *o;
    stretch_fn *fn;
    int64_t base, offset, count; /* of the sums; of the parameter */
    const fv__table *table;
    fv__adamw step;
    int64_t update;
    float *value, *gradient; /* the flat blocks */
};

static void dense_piece(void *context, int64_t piece, int worker) {
    const walk *w = context;
    int64_t start = piece * PIECE, count = w->count - start < PIECE ? w->count - start : PIECE;
    (void)worker;
    w->fn(w, (stretch){w->offset + start, count, NULL, 0}, &w->o->piece_sum[w->base + piece]);
}

static void table_piece(void *context, int64_t piece, int worker) {
    const walk *w = context;
    const fv__table *t = w->table;
    int64_t end = (piece + 1) * ROWS < t->count ? (piece + 1) * ROWS : t->count;
    (void)worker;
    for (int64_t i = piece * ROWS; i < end; i++) {
        int64_t row = t->touched[i];
        w->fn(w, (stretch){w->offset + row * t->width, t->width, t, row}, &w->o->piece_sum[w->base + piece]);
    }
}

static const fv__table *table_of(const fv__optimizer *o, int index) {
    for (int t = 0; t < o->tables; t++)
        if (o->table[t].index == index) return &o->table[t];
    return NULL;
}

/* Calls fn on everything that has a gradient, one parameter after the other; returns how many sums were used. */
static int64_t for_all(fv__optimizer *o, stretch_fn *fn, const fv__adamw *step, int64_t update) {
    walk w = {.o = o, .fn = fn, .update = update};
    w.value = fv_params_flat(o->params).data, w.gradient = fv_params_flat_grads(o->params).data;
    for (int i = 0; i < fv_params_count(o->params); i++) {
        fv_param p = fv_params_get(o->params, i);
        if (p.flags & FV_PARAM_FROZEN) continue;
        w.offset = p.offset, w.count = fv_tensor_count(&p.value), w.step = *step;
        w.table = table_of(o, i);
        if (w.table) w.step.lr *= o->options->embedding_lr_multiplier;
        w.step.decay = (p.flags & FV_PARAM_DECAY) && !w.table ? step->decay : 0;
        int64_t pieces = w.table ? (w.table->count + ROWS - 1) / ROWS : (w.count + PIECE - 1) / PIECE;
        fv__parallel_for(pieces, w.table ? table_piece : dense_piece, &w);
        w.base += pieces;
    }
    return w.base;
}

/* ---- the three walks */

static void square(const walk *w, stretch s, double *sum) {
    *sum += fv__simd_f32_now()->norm2(w->gradient + s.offset, s.count);
}

double fv__optimizer_norm(fv__optimizer *o) {
    fv__adamw none = {0};
    memset(o->piece_sum, 0, (size_t)o->pieces * sizeof *o->piece_sum);
    int64_t used = for_all(o, square, &none, 0);
    double sum = 0;
    for (int64_t i = 0; i < used; i++) sum += o->piece_sum[i];
    return sqrt(sum);
}

/* average = share * average + (1 - share) * value */
static void mix(float *average, double share, const float *value, int64_t count) {
    fv__simd_f32_now()->scale(average, (float)share, average, count);
    fv__simd_f32_now()->axpy(average, (float)(1 - share), value, count);
}

/* Since its last update a row stood still: what the average missed is a power. */
static void catch_up(const fv__optimizer *o, const fv__table *t, int64_t row, int64_t update, float *average,
                     const float *value) {
    if (update > t->averaged[row])
        mix(average, pow(o->options->ema_decay, (double)(update - t->averaged[row])), value, t->width);
    t->averaged[row] = update;
}

static void update_stretch(const walk *w, stretch s, double *sum) {
    const fv__optimizer *o = w->o;
    float *value = w->value + s.offset, *average = o->average ? o->average + s.offset : NULL;
    (void)sum;
    if (average && s.table) catch_up(o, s.table, s.row, w->update - 1, average, value);
    fv__simd_f32_now()->adamw(value, o->moment1 + s.offset, o->moment2 + s.offset, w->gradient + s.offset, s.count,
                              &w->step);
    if (average) mix(average, o->options->ema_decay, value, s.count);
    if (average && s.table) s.table->averaged[s.row] = w->update;
}

void fv__optimizer_update(fv__optimizer *o, int64_t update, double rate, double gradient_scale) {
    const fv_train_options *how = o->options;
    fv__adamw step = {.lr = rate,
                      .beta1 = how->beta1,
                      .beta2 = how->beta2,
                      .eps = how->epsilon,
                      .decay = how->weight_decay,
                      .correct1 = 1 - pow(how->beta1, (double)update),
                      .correct2 = 1 - pow(how->beta2, (double)update),
                      .grad_scale = gradient_scale};
    for_all(o, update_stretch, &step, update);
}

static void zero(const walk *w, stretch s, double *sum) {
    (void)sum;
    memset(w->gradient + s.offset, 0, (size_t)s.count * sizeof(float));
}

void fv__optimizer_zero(fv__optimizer *o) {
    fv__adamw none = {0};
    for_all(o, zero, &none, 0);
    for (int t = 0; t < o->tables; t++) o->table[t].count = 0;
}

/* ---- the average */

/* The average itself is not changed: when somebody looks must not matter. */
void fv__optimizer_show_average(fv__optimizer *o, int64_t updates) {
    double memory = o->options->ema_decay, inverse = 1 / (1 - pow(memory, (double)updates));
    float *value = fv_params_flat(o->params).data;
    if (updates == 0) return;
    for (int i = 0; i < fv_params_count(o->params); i++) {
        fv_param p = fv_params_get(o->params, i);
        const fv__table *t = table_of(o, i);
        if (p.flags & FV_PARAM_FROZEN) continue;
        int64_t rows = t ? t->rows : 1, count = fv_tensor_count(&p.value) / rows;
        for (int64_t row = 0; row < rows; row++) {
            float *v = value + p.offset + row * count;
            const float *average = o->average + p.offset + row * count;
            double old = t ? pow(memory, (double)(updates - t->averaged[row])) : 1;
            for (int64_t k = 0; k < count; k++) v[k] = (float)((v[k] + old * (average[k] - v[k])) * inverse);
        }
    }
}

/* ---- schedule */

double fv__schedule(const fv_train_options *options, double done) {
    double warmup = options->warmup;
    if (done < warmup) return done / warmup;
    double rest = warmup < 1 ? (done - warmup) / (1 - warmup) : 1;
    if (rest > 1) rest = 1;
    if (strcmp(options->schedule, "linear") == 0) return 1 - rest;
    if (strcmp(options->schedule, "cosine") == 0) return 0.5 * (1 + cos(3.14159265358979323846 * rest));
    return 1;
}
