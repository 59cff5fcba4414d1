/* The rate at which threads read memory: sums over it and nothing else, in the widest vectors of the machine. */
#include "bench.h"
#include "console.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

enum { SUMS = 8, THREADS = 64, PAGE = 4096 };

typedef float sum_fn(const float *from, size_t count);

#define DEFINE_SUM(NAME, TARGET, BYTES)                                                                            \
    TARGET static float NAME(const float *from, size_t count) {                                                    \
        typedef float vec __attribute__((vector_size(BYTES), aligned(4), may_alias));                              \
        enum { LANES = BYTES / 4 };                                                                                \
        vec sum[SUMS] = {{0}};                                                                                     \
        float all = 0;                                                                                             \
        for (size_t i = 0; i + SUMS * LANES <= count; i += SUMS * LANES)                                           \
            _Pragma("GCC unroll 8") for (int k = 0; k < SUMS; k++) sum[k] += *(const vec *)(from + i + k * LANES); \
        for (int k = 0; k < SUMS; k++)                                                                             \
            for (int lane = 0; lane < LANES; lane++) all += sum[k][lane];                                          \
        return all;                                                                                                \
    }

DEFINE_SUM(sum_base, , 16)
#if defined(__x86_64__)
DEFINE_SUM(sum_avx2, __attribute__((target("avx2"))), 32)
DEFINE_SUM(sum_avx512, __attribute__((target("avx512f"))), 64)
#endif

static sum_fn *sum_of_machine(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return sum_avx512;
    if (__builtin_cpu_supports("avx2")) return sum_avx2;
#endif
    return sum_base;
}

struct cli_reader {
    sum_fn *sum;
    float *block;
    size_t window; /* floats of a round */
    int64_t windows;
    int threads;
    atomic_int arrived;
};

typedef struct part {
    cli_reader *reader;
    const float *from;
    size_t count;
    double start, end;
    volatile float sum;
} part;

cli_reader *cli_reader_new(size_t bytes, int64_t windows, int threads) {
    cli_reader *r = cli_alloc(sizeof *r);
    r->sum = sum_of_machine();
    r->threads = threads < THREADS ? threads : THREADS;
    r->window = bytes / sizeof *r->block, r->windows = windows;
    const size_t all = r->window * (size_t)windows * sizeof *r->block;
    r->block = cli_alloc(all + 1);
#ifdef MADV_HUGEPAGE /* as the library asks for its own large blocks */
    const uintptr_t start = ((uintptr_t)r->block + PAGE - 1) / PAGE * PAGE,
                    end = ((uintptr_t)r->block + all) / PAGE * PAGE;
    if (end > start) (void)madvise((void *)start, end - start, MADV_HUGEPAGE);
#endif
    for (size_t i = 0; i < all / sizeof *r->block; i++) r->block[i] = 1; /* every page is there */
    return r;
}

void cli_reader_free(cli_reader *r) {
    if (r) cli_free(r->block);
    cli_free(r);
}

/* Threads wait for each other, so that making them is not timed. */
static void *read_part(void *context) {
    part *p = context;
    atomic_fetch_add(&p->reader->arrived, 1);
    while (atomic_load(&p->reader->arrived) < p->reader->threads) {}
    p->start = cli_now();
    p->sum = p->reader->sum(p->from, p->count);
    p->end = cli_now();
    return NULL;
}

double cli_reader_seconds(cli_reader *r, int64_t round) {
    part parts[THREADS];
    pthread_t other[THREADS];
    const size_t each = r->window / (size_t)r->threads;
    int made = 1;
    double start, end;
    atomic_store(&r->arrived, 0);
    for (int i = 0; i < r->threads; i++)
        parts[i] = (part){r, r->block + (size_t)(round % r->windows) * r->window + (size_t)i * each, each, 0, 0, 0};
    for (; made < r->threads; made++)
        if (pthread_create(&other[made], NULL, read_part, &parts[made]) != 0) break;
    atomic_fetch_add(&r->arrived, r->threads - made); /* those that could not be made: read here, one by one */
    read_part(&parts[0]);
    for (int i = made; i < r->threads; i++) read_part(&parts[i]);
    for (int i = 1; i < made; i++) pthread_join(other[i], NULL);
    start = parts[0].start, end = parts[0].end;
    for (int i = 1; i < r->threads; i++) {
        if (parts[i].start < start) start = parts[i].start;
        if (parts[i].end > end) end = parts[i].end;
    }
    return end - start;
}
