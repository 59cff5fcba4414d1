/* svd.c - randomised singular value decomposition by subspace iteration.
 *
 * A random subspace is multiplied by A and its transpose a few times and made orthonormal in between; A seen from that
 * subspace is small. Tall matrices are cut into blocks of rows, and what is summed over rows is summed in their order:
 * the result does not depend on the number of threads. The eigenvalues of the small Gram matrices come from LAPACK. */
#include "data/vectors/vectors.h"
#include "simd/simd.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

enum { GRAM_ROWS = 512, TALL_ROWS = 64, STREAM = 0x737664 };

/* ---- sparse times tall */

typedef struct product {
    float *out;
    const fv__ppmi *a;
    const float *x;
    int64_t rank;
    const fv__simd_f32 *simd;
} product;

static void multiply_block(void *context, int64_t index, int worker) {
    (void)worker;
    const product *p = context;
    const fv__sparse_block *b = &p->a->counts->block[index];
    int64_t first = index * FV__SPARSE_ROWS, left = p->a->counts->size - first,
            rows = left < FV__SPARSE_ROWS ? left : FV__SPARSE_ROWS;
    for (int64_t r = 0; r < rows; r++) {
        float *out = p->out + (first + r) * p->rank, row = p->a->row[first + r];
        memset(out, 0, (size_t)p->rank * sizeof *out);
        for (int64_t k = b->start[r]; k < b->start[r + 1]; k++) {
            float v = b->value[k] + row + p->a->column[b->column[k]];
            if (v > 0) p->simd->axpy(out, v, p->x + (int64_t)b->column[k] * p->rank, p->rank);
        }
    }
}

static void multiply(float *out, const fv__ppmi *a, const float *x, int64_t rank) {
    product p = {out, a, x, rank, fv__simd_f32_now()};
    fv__parallel_for(a->counts->blocks, multiply_block, &p);
}

/* ---- tall transposed times tall: the Gram matrix of y */

typedef struct gram {
    const float *y;
    float *part;
    int64_t rows, rank;
    const fv__simd_f32 *simd;
} gram;

/* The upper triangle over one block of rows. */
static void gram_block(void *context, int64_t index, int worker) {
    (void)worker;
    const gram *g = context;
    int64_t first = index * GRAM_ROWS, end = first + GRAM_ROWS < g->rows ? first + GRAM_ROWS : g->rows, k = g->rank;
    float *sum = g->part + index * k * k;
    memset(sum, 0, (size_t)(k * k) * sizeof *sum);
    for (int64_t r = first; r < end; r++) {
        const float *y = g->y + r * k;
        for (int64_t i = 0; i < k; i++) g->simd->axpy(sum + i * k + i, y[i], y + i, k - i);
    }
}

typedef struct work {
    int64_t size, rank, gram_blocks;
    float *y, *z, *part;   /* (size, rank) twice; (gram_blocks, rank, rank) */
    double *small, *eigen; /* (rank, rank), (rank) */
    float *map;            /* (rank, rank) */
    int info;
} work;

/* Eigenvalues ascending into w->eigen; eigenvectors are the rows of w->small. One task: LAPACK stays on one thread. */
static void solve(void *context, int64_t index, int worker) {
    (void)index;
    (void)worker;
    work *w = context;
    w->info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', (lapack_int)w->rank, w->small, (lapack_int)w->rank, w->eigen);
}

static fv_status eigen_of_gram(work *w, const float *y) {
    gram g = {y, w->part, w->size, w->rank, fv__simd_f32_now()};
    int64_t square = w->rank * w->rank;
    fv__parallel_for(w->gram_blocks, gram_block, &g);
    memset(w->small, 0, (size_t)square * sizeof *w->small);
    for (int64_t b = 0; b < w->gram_blocks; b++)
        for (int64_t i = 0; i < square; i++) w->small[i] += w->part[b * square + i];
    fv__parallel_for(1, solve, w); /* the upper triangle by rows is the lower one by columns */
    return w->info ? fv__fail(FV_FAIL, "word vectors: LAPACK dsyevd failed (%d)", w->info) : FV_OK;
}

/* ---- tall times small */

typedef struct change {
    float *out;
    const float *in, *map;
    int64_t rows, rank;
    const fv__simd_f32 *simd;
} change;

static void change_block(void *context, int64_t index, int worker) {
    (void)worker;
    const change *c = context;
    int64_t first = index * TALL_ROWS, end = first + TALL_ROWS < c->rows ? first + TALL_ROWS : c->rows, k = c->rank;
    for (int64_t r = first; r < end; r++) {
        float *out = c->out + r * k;
        memset(out, 0, (size_t)k * sizeof *out);
        for (int64_t i = 0; i < k; i++) c->simd->axpy(out, c->in[r * k + i], c->map + i * k, k);
    }
}

static void change_basis(const work *w, float *out, const float *in) {
    change c = {out, in, w->map, w->size, w->rank, fv__simd_f32_now()};
    fv__parallel_for((w->size + TALL_ROWS - 1) / TALL_ROWS, change_block, &c);
}

/* The map whose column j is eigenvector j (largest first), divided by the root of its eigenvalue when `unit`. */
static void make_map(work *w, bool unit) {
    int64_t k = w->rank;
    double most = w->eigen[k - 1];
    for (int64_t j = 0; j < k; j++) {
        double value = w->eigen[k - 1 - j], by = 1;
        if (unit) by = value > most * 1e-10 && value > 0 ? 1 / sqrt(value) : 0;
        for (int64_t i = 0; i < k; i++) w->map[i * k + j] = (float)(w->small[(k - 1 - j) * k + i] * by);
    }
}

/* Makes the columns of *y orthonormal (those that depend on others become zero); swaps *y with *spare. */
static fv_status orthonormalise(work *w, float **y, float **spare) {
    FV_TRY(eigen_of_gram(w, *y));
    make_map(w, true);
    change_basis(w, *spare, *y);
    float *kept = *y;
    *y = *spare;
    *spare = kept;
    return FV_OK;
}

/* ---- the whole */

typedef struct start {
    float *y;
    int64_t rank;
    uint64_t seed;
} start;

static void random_row(void *context, int64_t index, int worker) {
    (void)worker;
    const start *s = context;
    for (int64_t i = 0; i < s->rank; i++)
        s->y[index * s->rank + i] = (float)fv__random_normal(s->seed, STREAM, (uint64_t)(index * s->rank + i));
}

static fv_status iterate(const fv__svd_job *job, work *w, float *u, double *sigma) {
    start s = {w->z, w->rank, job->seed};
    fv__parallel_for(w->size, random_row, &s);
    multiply(w->y, &job->matrix, w->z, w->rank);
    FV_TRY(orthonormalise(w, &w->y, &w->z));
    for (int64_t pass = 0; pass < job->passes; pass++) {
        multiply(w->z, &job->transposed, w->y, w->rank);
        FV_TRY(orthonormalise(w, &w->z, &w->y));
        multiply(w->y, &job->matrix, w->z, w->rank);
        FV_TRY(orthonormalise(w, &w->y, &w->z));
        if (fv_interrupted()) return fv__fail(FV_INTERRUPTED, "word vectors: stopped on request");
    }
    FV_TRY(orthonormalise(w, &w->y, &w->z)); /* twice is enough for single precision */
    multiply(w->z, &job->transposed, w->y, w->rank);
    FV_TRY(eigen_of_gram(w, w->z));
    make_map(w, false);
    change_basis(w, u, w->y);
    for (int64_t j = 0; j < w->rank; j++) sigma[j] = sqrt(fmax(0, w->eigen[w->rank - 1 - j]));
    return FV_OK;
}

fv_status fv__svd(const fv__svd_job *job, float *u, double *sigma) {
    size_t k = (size_t)job->rank, tall;
    work w = {.size = job->matrix.counts->size, .rank = job->rank};
    w.gram_blocks = (w.size + GRAM_ROWS - 1) / GRAM_ROWS;
    if (!fv__mul_ok((size_t)w.size, k, &tall)) return fv__fail(FV_NO_RESOURCES, "word vectors: size overflows");
    w.y = fv__alloc_array(tall, sizeof *w.y);
    w.z = fv__alloc_array(tall, sizeof *w.z);
    w.part = fv__alloc_array((size_t)w.gram_blocks, k * k * sizeof *w.part);
    w.small = fv__alloc_array(k * k, sizeof *w.small);
    w.eigen = fv__alloc_array(k, sizeof *w.eigen);
    w.map = fv__alloc_array(k * k, sizeof *w.map);
    bool all = w.y && w.z && w.part && w.small && w.eigen && w.map;
    fv_status status = all ? iterate(job, &w, u, sigma) : FV_NO_RESOURCES;
    fv__free(w.y);
    fv__free(w.z);
    fv__free(w.part);
    fv__free(w.small);
    fv__free(w.eigen);
    fv__free(w.map);
    return status;
}
