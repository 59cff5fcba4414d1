/* The rate at which threads read memory: sums over a block as large as what is to be compared, over and over. */
#include "bench.h"
#include "console.h"

#include <pthread.h>
#include <string.h>

enum { LANES = 64 };

typedef struct part {
    const uint32_t *from;
    size_t count; /* a multiple of LANES */
    uint32_t sum;
} part;

static void *read_part(void *context) {
    part *p = context;
    uint32_t sum[LANES] = {0};
    for (size_t i = 0; i < p->count; i += LANES)
        for (int lane = 0; lane < LANES; ++lane) sum[lane] += p->from[i + (size_t)lane];
    for (int lane = 0; lane < LANES; ++lane) p->sum += sum[lane];
    return NULL;
}

/* The calling thread reads the first part itself. */
static void read_all(part *parts, int threads) {
    pthread_t other[64];
    int started = 1;
    for (; started < threads; ++started)
        if (pthread_create(&other[started], NULL, read_part, &parts[started]) != 0) break;
    for (int i = started; i < threads; ++i) read_part(&parts[i]);
    read_part(&parts[0]);
    for (int i = 1; i < started; ++i) pthread_join(other[i], NULL);
}

double cli_peak_read(size_t bytes, int threads, int64_t repeat) {
    if (threads > 64) threads = 64;
    const size_t each = bytes / sizeof(uint32_t) / (size_t)threads / LANES * LANES;
    uint32_t *block = cli_alloc(each * (size_t)threads * sizeof *block + 1);
    memset(block, 1, each * (size_t)threads * sizeof *block); /* every page is there */
    part parts[64];
    double best = 0;
    for (int64_t r = 0; r < repeat; ++r) {
        for (int i = 0; i < threads; ++i) parts[i] = (part){block + (size_t)i * each, each, 0};
        const double start = cli_now();
        read_all(parts, threads);
        const double rate = (double)(each * (size_t)threads * sizeof *block) / (cli_now() - start);
        if (rate > best && parts[0].sum != 1) best = rate; /* the sum is used, so it is made */
    }
    cli_free(block);
    return best;
}
