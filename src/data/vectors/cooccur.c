/* cooccur.c - which words stand near which. Every row of the matrix is counted on its own, from the places where its
 * word occurs, so that rows can be made in any order and by any number of threads. */
#include "data/vectors/vectors.h"

#include <math.h>
#include <string.h>

typedef struct scratch {
    float *sum;       /* (words) counts of the present row; zero between rows */
    int32_t *touched; /* (words) columns that are not zero */
} scratch;

typedef struct job {
    fv__sparse *out;
    const int32_t *id;
    const float *weight;  /* (window + 1) by distance */
    const int64_t *first; /* (words + 1) places of each word in `place` */
    const int32_t *place;
    int64_t window;
    scratch *scratch; /* by worker */
} job;

static int64_t count_row(const job *j, scratch *s, int64_t word) {
    int64_t touched = 0;
    for (int64_t k = j->first[word]; k < j->first[word + 1]; k++) {
        const int32_t *at = j->id + j->place[k];
        for (int64_t d = -j->window; d <= j->window; d++) {
            int32_t other = at[d];
            if (other < 0 || !d) continue;
            if (s->sum[other] == 0) s->touched[touched++] = other;
            s->sum[other] += j->weight[d < 0 ? -d : d];
        }
    }
    return touched;
}

static fv_status store_row(fv__sparse_block *b, scratch *s, int64_t touched, double *sum) {
    size_t need = b->count + (size_t)touched;
    fv_status status = FV_GROW(&b->column, &b->column_capacity, need);
    if (status == FV_OK) status = FV_GROW(&b->value, &b->value_capacity, need);
    for (int64_t i = 0; i < touched; i++) {
        int32_t c = s->touched[i];
        if (status == FV_OK) {
            *sum += s->sum[c];
            b->column[b->count] = c;
            b->value[b->count++] = logf(s->sum[c]);
        }
        s->sum[c] = 0;
    }
    return status;
}

static void count_block(void *context, int64_t index, int worker) {
    const job *j = context;
    fv__sparse_block *b = &j->out->block[index];
    int64_t first = index * FV__SPARSE_ROWS, left = j->out->size - first,
            rows = left < FV__SPARSE_ROWS ? left : FV__SPARSE_ROWS;
    b->status = FV_GROW(&b->start, &b->start_capacity, (size_t)rows + 1);
    for (int64_t r = 0; r < rows && b->status == FV_OK; r++) {
        int64_t touched = count_row(j, &j->scratch[worker], first + r);
        b->status = store_row(b, &j->scratch[worker], touched, &j->out->sum[first + r]);
        b->start[r + 1] = (int64_t)b->count;
    }
}

/* Places of every word, in order: a counting sort. */
static fv_status find_places(job *j, int64_t length, int64_t words, int64_t **first, int32_t **place) {
    int64_t *f = *first = fv__alloc_array((size_t)words + 2, sizeof *f);
    if (!f) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < length; i++)
        if (j->id[i] >= 0) f[j->id[i] + 2]++;
    for (int64_t w = 0; w < words; w++) f[w + 2] += f[w + 1];
    *place = fv__alloc_array((size_t)f[words + 1], sizeof **place);
    if (!*place) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < length; i++)
        if (j->id[i] >= 0) (*place)[f[j->id[i] + 1]++] = (int32_t)i; /* f[w + 1] ends where word w + 1 begins */
    j->first = f;
    j->place = *place;
    return FV_OK;
}

static fv_status make_scratch(job *j, int64_t words, int workers) {
    j->scratch = fv__alloc_array((size_t)workers, sizeof *j->scratch);
    if (!j->scratch) return FV_NO_RESOURCES;
    for (int i = 0; i < workers; i++) {
        j->scratch[i].sum = fv__alloc_array((size_t)words, sizeof(float));
        j->scratch[i].touched = fv__alloc_array((size_t)words, sizeof(int32_t));
        if (!j->scratch[i].sum || !j->scratch[i].touched) return FV_NO_RESOURCES;
    }
    return FV_OK;
}

static fv_status count_all(job *j) {
    fv__sparse *s = j->out;
    s->blocks = (s->size + FV__SPARSE_ROWS - 1) / FV__SPARSE_ROWS;
    s->block = fv__alloc_array((size_t)s->blocks, sizeof *s->block);
    s->sum = fv__alloc_array((size_t)s->size, sizeof *s->sum);
    if (!s->block || !s->sum) return FV_NO_RESOURCES;
    fv__parallel_for(s->blocks, count_block, j);
    for (int64_t i = 0; i < s->blocks; i++) /* the message of another thread is not ours */
        if (s->block[i].status != FV_OK) return fv__fail(s->block[i].status, "word vectors: no memory for the counts");
    return FV_OK;
}

fv_status fv__cooccur(fv__sparse *counts, const int32_t *id, int64_t length, int64_t words, int64_t window) {
    int workers = fv_threads();
    int64_t *first = NULL;
    int32_t *place = NULL;
    float *weight = fv__alloc_array((size_t)window + 1, sizeof *weight);
    job j = {.out = counts, .id = id, .weight = weight, .window = window};
    *counts = (fv__sparse){.size = words};
    fv_status status = weight ? FV_OK : FV_NO_RESOURCES;
    for (int64_t d = 1; weight && d <= window; d++) weight[d] = (float)(1 / sqrt((double)d));
    if (status == FV_OK) status = find_places(&j, length, words, &first, &place);
    if (status == FV_OK) status = make_scratch(&j, words, workers);
    if (status == FV_OK) status = count_all(&j);
    for (int i = 0; j.scratch && i < workers; i++) {
        fv__free(j.scratch[i].sum);
        fv__free(j.scratch[i].touched);
    }
    fv__free(j.scratch);
    fv__free(first);
    fv__free(place);
    fv__free(weight);
    return status;
}

void fv__sparse_free(fv__sparse *s) {
    for (int64_t i = 0; s->block && i < s->blocks; i++) {
        fv__free(s->block[i].start);
        fv__free(s->block[i].column);
        fv__free(s->block[i].value);
    }
    fv__free(s->block);
    fv__free(s->sum);
    *s = (fv__sparse){0};
}
