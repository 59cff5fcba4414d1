/* Parts of `fovea bench`. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "fovea/attention.h"

/* Multiply-adds a second of one thread in the vectors of these kernels, counted twice: measured, not looked up. */
double cli_peak_flops(const char *isa, fv_dtype dtype);

typedef struct cli_bench_options {
    const char *what, *shape, *attention, *causal, *dtype, *threads, *output, *clock;
    int64_t repeat, batch_size, length, width, heads, layers, updates;
    bool env;
} cli_bench_options;

fv_status cli_bench_attention(const cli_bench_options *o);
fv_status cli_bench_train(const cli_bench_options *o);

#endif
