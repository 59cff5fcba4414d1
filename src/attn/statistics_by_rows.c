/* Attention statistics from blocks of rows of weights. A task is a span of queries of one head; spans follow from
 * shapes and consist of whole blocks of queries, so a task writes the blocks it has summed. Of the columns each span
 * has a part of its own, and the parts are added in the order of spans: the same bits for any number of threads. */
#include "attn/statistics_by_rows.h"

#include <math.h>
#include <string.h>

enum { SPANS = 16, ROWS = 16 };

typedef struct by_rows {
    const fv__run *run;
    const fv_attention_statistics *want;
    int64_t first, sequences, first_head, heads; /* wanted */
    int64_t span, spans;                         /* queries of a task; tasks of the longest sequence and head */
    int64_t k_len, key_blocks;                   /* at most */
    size_t columns_bytes, worker_bytes;
    double *columns; /* (batches, heads, spans, Lk): packed sequences lie side by side */
    char *workers;
} by_rows;

/* One task. */
typedef struct part {
    fv__sequence sequence;
    int64_t number, head, span, row, rows;  /* queries [row, row + rows) */
    double *weights, *columns, *sum, *most; /* of one row; the span's part; of a row of blocks */
    void *scratch;                          /* of the engine's weights */
    void *block;                            /* ROWS rows of weights of the plan's dtype */
} part;

static int64_t pieces(int64_t count, int64_t size) { return (count + size - 1) / size; }

static by_rows partition_of(const fv_attention_plan *plan, const fv_attention_statistics *want) {
    const bool pooled = want->mean.rank || want->max.rank;
    by_rows s = {.want = want, .sequences = plan->sequences, .heads = plan->heads, .k_len = plan->k_len};
    if (want->batch >= 0) s.first = want->batch, s.sequences = 1;
    if (want->head >= 0) s.first_head = want->head, s.heads = 1;
    const int64_t unit = pooled ? want->pool_q : ROWS, units = pieces(pieces(plan->q_len, SPANS), unit);
    s.span = fv__attn_times(units > 0 ? units : 1, unit), s.spans = pieces(plan->q_len, s.span);
    s.key_blocks = pooled ? pieces(plan->k_len, want->pool_k) : 0;
    const int64_t planes = fv__attn_times(want->batch >= 0 ? 1 : plan->batch, s.heads);
    if (want->columns.rank)
        s.columns_bytes = fv__attn_lines(fv__attn_times(fv__attn_times(planes, s.spans), s.k_len), sizeof(double));
    const fv__engine *engine = plan->mechanism->engine;
    if (engine->weights_scratch) s.worker_bytes = fv__attn_lines((int64_t)engine->weights_scratch(plan), 1);
    s.worker_bytes += fv__attn_lines(fv__attn_times(ROWS, s.k_len), fv_dtype_size(plan->dtype)) +
                      fv__attn_lines(s.k_len, sizeof(double)) + 2 * fv__attn_lines(s.key_blocks, sizeof(double));
    return s;
}

size_t fv__statistics_by_rows_scratch(const fv_attention_plan *plan, const fv_attention_statistics *want) {
    const by_rows s = partition_of(plan, want);
    return s.columns_bytes + (size_t)fv_threads() * s.worker_bytes;
}

/* ---- where results go: element (sequence, head, row, column), as fovea/statistics.h says */

static int64_t plane_at(const by_rows *s, const fv_tensor *t, int64_t n, int64_t head) {
    return (n - s->first) * t->stride[0] + (head - s->first_head) * t->stride[1];
}

static void put(const fv_tensor *t, int64_t at, double value) {
    if (t->dtype == FV_F64)
        ((double *)t->data)[at] = value;
    else
        ((float *)t->data)[at] = (float)value;
}

/* Columns and entropy lie as k and q do unless one sequence was chosen; `start` is where its rows begin there. */
static int64_t line_at(const by_rows *s, const fv_tensor *t, const part *p, int64_t start) {
    return s->want->batch >= 0 ? plane_at(s, t, s->first, p->head)
                               : plane_at(s, t, p->sequence.batch, p->head) + start * t->stride[2];
}

static void clear_task(void *context, int64_t index, int worker) {
    const fv_tensor *t = context;
    const int64_t columns = t->rank > 3 ? t->dim[3] : 1, step = t->rank > 3 ? t->stride[3] : 0;
    const int64_t at = index / t->dim[1] * t->stride[0] + index % t->dim[1] * t->stride[1];
    (void)worker;
    for (int64_t i = 0; i < t->dim[2]; i++)
        for (int64_t j = 0; j < columns; j++) put(t, at + i * t->stride[2] + j * step, 0);
}

static void clear(const fv_tensor *t) {
    if (t->rank) fv__parallel_for(t->dim[0] * t->dim[1], clear_task, (void *)t);
}

/* ---- one row of weights */

static void weigh(const by_rows *s, const part *p, fv_capture capture, int64_t row, int64_t count) {
    const fv_attention_plan *plan = s->run->plan;
    const fv_tensor to = fv_tensor_2d(p->block, plan->dtype, count, p->sequence.k_len);
    int64_t rows[ROWS];
    for (int64_t i = 0; i < count; i++) rows[i] = row + i;
    plan->mechanism->engine->weights(s->run, capture, p->number, p->head, rows, count, &to, p->scratch);
}

static void read_row(const by_rows *s, const part *p, int64_t i) {
    const int64_t n = p->sequence.k_len;
    if (s->run->plan->dtype == FV_F64)
        memcpy(p->weights, (const double *)p->block + i * n, (size_t)n * sizeof(double));
    else
        for (int64_t j = 0; j < n; j++) p->weights[j] = (double)((const float *)p->block)[i * n + j];
}

static void add_entropy(const by_rows *s, const part *p, int64_t row) {
    const fv_tensor *t = &s->want->entropy;
    double entropy = 0;
    for (int64_t j = 0; j < p->sequence.k_len; j++)
        if (p->weights[j] > 0) entropy -= p->weights[j] * log(p->weights[j]);
    put(t, line_at(s, t, p, p->sequence.q_start) + row * t->stride[2], entropy);
}

static void add_to_blocks(const by_rows *s, const part *p) {
    const int64_t n = p->sequence.k_len, size = s->want->pool_k;
    for (int64_t b = 0; b * size < n; b++)
        for (int64_t j = b * size; j < n && j - b * size < size; j++) {
            p->sum[b] += p->weights[j];
            if (p->weights[j] > p->most[b]) p->most[b] = p->weights[j];
        }
}

/* Row `a` of the blocks, of `rows` queries, is complete. */
static void finish_blocks(const by_rows *s, const part *p, int64_t a, int64_t rows) {
    const fv_tensor *mean = &s->want->mean, *max = &s->want->max;
    const int64_t n = p->sequence.k_len, size = s->want->pool_k;
    for (int64_t b = 0; b * size < n; b++) {
        const int64_t keys = n - b * size < size ? n - b * size : size;
        if (mean->rank)
            put(mean, plane_at(s, mean, p->number, p->head) + a * mean->stride[2] + b * mean->stride[3],
                p->sum[b] / ((double)rows * (double)keys));
        if (max->rank)
            put(max, plane_at(s, max, p->number, p->head) + a * max->stride[2] + b * max->stride[3], p->most[b]);
        p->sum[b] = 0, p->most[b] = -INFINITY;
    }
}

static void add_row(const by_rows *s, const part *p, int64_t row) {
    const int64_t size = s->want->pool_q, end = p->row + p->rows;
    for (int64_t j = 0; p->columns && j < p->sequence.k_len; j++) p->columns[j] += p->weights[j];
    if (!s->key_blocks) return;
    add_to_blocks(s, p);
    if ((row + 1) % size == 0 || row + 1 == end) finish_blocks(s, p, row / size, row % size + 1);
}

/* ---- the tasks */

static part part_of(const by_rows *s, int64_t index, int worker) {
    const int64_t plane = index / s->spans;
    part p = {
        .number = s->first + plane / s->heads, .head = s->first_head + plane % s->heads, .span = index % s->spans};
    p.sequence = fv__attn_sequence(s->run, p.number);
    p.row = p.span * s->span, p.rows = p.sequence.q_len - p.row;
    if (p.rows > s->span) p.rows = s->span;
    char *at = s->workers + (size_t)worker * s->worker_bytes;
    p.block = at, at += fv__attn_lines(ROWS * s->k_len, fv_dtype_size(s->run->plan->dtype));
    p.weights = (double *)at, at += fv__attn_lines(s->k_len, sizeof(double));
    p.sum = (double *)at, p.most = (double *)(at + fv__attn_lines(s->key_blocks, sizeof(double)));
    p.scratch = (char *)p.most + fv__attn_lines(s->key_blocks, sizeof(double));
    if (!s->columns) return p;
    const int64_t batch = s->want->batch >= 0 ? 0 : p.sequence.batch;
    p.columns = s->columns + ((batch * s->heads + p.head - s->first_head) * s->spans + p.span) * s->k_len;
    p.columns += p.sequence.k_start;
    return p;
}

static void span_task(void *context, int64_t index, int worker) {
    const by_rows *s = context;
    const bool entropy = s->want->entropy.rank, drops = s->want->dropout && s->run->plan->options.dropout > 0;
    const part p = part_of(s, index, worker);
    if (p.rows <= 0) return;
    if (p.columns) memset(p.columns, 0, (size_t)p.sequence.k_len * sizeof(double));
    for (int64_t b = 0; b < s->key_blocks; b++) p.sum[b] = 0, p.most[b] = -INFINITY;
    for (int64_t row = p.row; row < p.row + p.rows; row += ROWS) {
        const int64_t left = p.row + p.rows - row, count = left < ROWS ? left : ROWS;
        weigh(s, &p, FV_CAPTURE_SOFTMAX, row, count);
        for (int64_t i = 0; i < count; i++) {
            read_row(s, &p, i);
            if (entropy) add_entropy(s, &p, row + i);
            if (!drops) add_row(s, &p, row + i);
        }
        if (drops) weigh(s, &p, FV_CAPTURE_DROPOUT, row, count);
        for (int64_t i = 0; drops && i < count; i++) read_row(s, &p, i), add_row(s, &p, row + i);
    }
}

/* The parts of the columns of one sequence and head. */
static void columns_task(void *context, int64_t index, int worker) {
    const by_rows *s = context;
    const part p = part_of(s, index * s->spans, worker);
    const fv_tensor *t = &s->want->columns;
    for (int64_t j = 0; j < p.sequence.k_len; j++) {
        double sum = 0;
        for (int64_t n = 0; n < pieces(p.sequence.q_len, s->span); n++) sum += p.columns[n * s->k_len + j];
        put(t, line_at(s, t, &p, p.sequence.k_start) + j * t->stride[2], sum);
    }
}

void fv__statistics_by_rows(const fv__run *run, const fv_attention_statistics *want, void *scratch) {
    by_rows s = partition_of(run->plan, want);
    s.run = run, s.columns = want->columns.rank ? scratch : NULL, s.workers = (char *)scratch + s.columns_bytes;
    clear(&want->mean), clear(&want->max), clear(&want->columns), clear(&want->entropy);
    fv__parallel_for(s.sequences * s.heads * s.spans, span_task, &s);
    if (s.columns && s.spans) fv__parallel_for(s.sequences * s.heads, columns_task, &s);
}
