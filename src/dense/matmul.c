/* Cuts matrix products into blocks and runs them on the workers. What a block contains is decided by the problem
 * alone. */
#include "dense/dense.h"

#include "simd/simd.h"

#include <stdatomic.h>
#include <string.h>

typedef struct job {
    const fv__product *p;
    char *c;
    const char *a, *b;
    int64_t block_m, block_n, across, down; /* size of a block of C; blocks in a row of blocks, rows of blocks */
    size_t size;
    atomic_bool failed;
} job;

/* Plain loops in the order that reads rows. Used for gradient checks, where exactness matters and speed does not. */
static void multiply_f64(const fv__product *p, double *c, const double *a, const double *b) {
    for (int64_t i = 0; i < p->m; i++) {
        double *row = c + i * p->ldc;
        if (!p->accumulate) memset(row, 0, (size_t)p->n * sizeof *row);
        if (p->b_transposed && !p->a_transposed) {
            for (int64_t j = 0; j < p->n; j++) {
                double sum = 0;
                for (int64_t l = 0; l < p->k; l++) sum += a[i * p->lda + l] * b[j * p->ldb + l];
                row[j] += sum;
            }
            continue;
        }
        for (int64_t l = 0; l < p->k; l++) {
            double factor = p->a_transposed ? a[l * p->lda + i] : a[i * p->lda + l];
            if (p->b_transposed) {
                for (int64_t j = 0; j < p->n; j++) row[j] += factor * b[j * p->ldb + l];
            } else {
                for (int64_t j = 0; j < p->n; j++) row[j] += factor * b[l * p->ldb + j];
            }
        }
    }
}

static void add_bias(const fv__product *p, char *c, const char *bias, size_t size) {
    for (int64_t i = 0; i < p->m; i++) {
        char *row = c + (size_t)(i * p->ldc) * size;
        if (p->dtype == FV_F32)
            fv__simd_f32_now()->add((float *)row, (const float *)row, (const float *)bias, p->n);
        else
            fv__simd_f64_now()->add((double *)row, (const double *)row, (const double *)bias, p->n);
    }
}

/* k == 0: an empty sum. */
static void multiply_nothing(const fv__product *p, char *c, size_t size) {
    if (p->accumulate) return;
    for (int64_t i = 0; i < p->m; i++) memset(c + (size_t)(i * p->ldc) * size, 0, (size_t)p->n * size);
}

static void run_block(void *context, int64_t index, int worker) {
    (void)worker;
    job *j = context;
    const fv__product *whole = j->p;
    int64_t blocks = j->across * j->down, product = index / blocks, block = index % blocks;
    int64_t top = block / j->across * j->block_m, left = block % j->across * j->block_n;
    fv__product p = *whole;
    if (p.m - top < j->block_m)
        p.m = p.m - top;
    else
        p.m = j->block_m;
    p.n = p.n - left < j->block_n ? p.n - left : j->block_n;
    int64_t from_a = product * p.step_a + (p.a_transposed ? top : top * p.lda);
    int64_t from_b = product * p.step_b + (p.b_transposed ? left * p.ldb : left);
    char *c = j->c + (size_t)(product * p.step_c + top * p.ldc + left) * j->size;
    const char *a = j->a + (size_t)from_a * j->size, *b = j->b + (size_t)from_b * j->size;
    if (p.k == 0)
        multiply_nothing(&p, c, j->size);
    else if (p.dtype == FV_F64)
        multiply_f64(&p, (double *)c, (const double *)a, (const double *)b);
    else if (!fv__sgemm(&p, (float *)c, (const float *)a, (const float *)b))
        atomic_store(&j->failed, true);
    if (p.bias) add_bias(&p, c, (const char *)p.bias + (size_t)left * j->size, j->size);
}

static int64_t blocks_of(int64_t n, int64_t block) { return (n + block - 1) / block; }

/* Blocks large enough that packing inside the product costs little (within 5 % of one call at the sizes of our models),
 * small enough that there are at least eight for the workers to share. Small products stay whole. */
static void choose_blocks(job *j) {
    enum { MIN_SIDE = 128, MAX_ACROSS = 512, ENOUGH = 8 };
    const fv__product *p = j->p;
    j->block_m = p->m;
    j->block_n = p->n;
    if ((double)p->m * (double)p->n * (double)p->k > 1 << 20) {
        j->block_m = p->m >= 4096 ? 512 : p->m >= 1024 ? 256 : MIN_SIDE;
        if (j->block_n > MAX_ACROSS) j->block_n = MAX_ACROSS;
        while (j->block_n > MIN_SIDE && blocks_of(p->m, j->block_m) * blocks_of(p->n, j->block_n) < ENOUGH)
            j->block_n = j->block_n > 2 * MIN_SIDE ? 2 * MIN_SIDE : MIN_SIDE;
    }
    j->down = blocks_of(p->m, j->block_m);
    j->across = blocks_of(p->n, j->block_n);
}

fv_status fv__matmul(const fv__product *p, void *c, const void *a, const void *b) {
    if (p->m == 0 || p->n == 0) return FV_OK;
    job j = {.p = p, .c = c, .a = a, .b = b, .size = fv_dtype_size(p->dtype)};
    choose_blocks(&j);
    fv__parallel_for((p->batch ? p->batch : 1) * j.down * j.across, run_block, &j);
    if (atomic_load(&j.failed))
        return fv__fail(FV_NO_RESOURCES, "matrix product: oneDNN refused a product of %lld x %lld x %lld",
                        (long long)p->m, (long long)p->n, (long long)p->k);
    return FV_OK;
}
