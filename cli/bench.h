/* Parts of `fovea bench`. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "output.h"
#include "problem.h"

/* Multiply-adds a second of one thread in the vectors of these kernels, counted twice: measured, not looked up. */
double cli_peak_flops(const char *isa, fv_dtype dtype);

/* Memory to be read: `windows` windows of `bytes`, one a round. Returns the seconds that `threads` need for one
 * together. */
typedef struct cli_reader cli_reader;
cli_reader *cli_reader_new(size_t bytes, int64_t windows, int threads);
double cli_reader_seconds(cli_reader *reader, int64_t round);
void cli_reader_free(cli_reader *reader);

typedef struct cli_timing {
    double median, sd, best;
} cli_timing;
cli_timing cli_bench_summary(double *seconds, int64_t count); /* sorts them */

typedef struct cli_bench_options {
    const char *what, *shape, *attention, *causal, *dtype, *threads, *output, *clock, *bias, *pass, *packed, *in;
    int64_t repeat, batch_size, length, width, heads, layers, updates, sentences;
    double dropout;
    bool env, grid, memory, turns, statistics;
} cli_bench_options;

fv_status cli_bench_attention(const cli_bench_options *o);
fv_status cli_bench_decode(const cli_bench_options *o);
fv_status cli_bench_train(const cli_bench_options *o);

/* ---- bench attention: the problems, their check, their memory ---- */

/* One problem to time. */
typedef struct cli_bench_case {
    char shape_text[96], causal[16], with[96];
    cli_problem_shape shape;
    fv_attention_options how;
    fv_dtype dtype;
    int threads;
    bool backward;
    const char *in; /* a file that has q, k, v and more, or NULL: random numbers */
} cli_bench_case;

/* Every combination of what was asked for, threads outermost. Freed with cli_free. */
fv_status cli_bench_cases(const cli_bench_options *o, cli_bench_case **cases, size_t *count);
/* Its tensors and its plan, for the case's threads. Freed with cli_problem_free, also after a failure. */
fv_status cli_bench_open(cli_problem *problem, const cli_bench_case *one);
/* As fv_attention_flops, with the true lengths of packed sequences. */
fv_status cli_bench_flops(const cli_problem *problem, const cli_bench_case *one, bool backward, double *flops);

/* Compares what a run has left in `problem`, and the gradients of a smaller problem of the kind, with the reference in
 * f64. */
fv_status cli_bench_check(const cli_problem *problem, const cli_bench_case *one);

/* Runs one pass. `announced` is what the plan asks for; `touched` what changed of it, in lines of 64 bytes. */
typedef struct cli_scratch_use {
    size_t announced, touched;
} cli_scratch_use;
fv_status cli_bench_scratch(const cli_problem *problem, bool backward, cli_scratch_use *use);
fv_status cli_bench_memory(const cli_bench_options *o);
fv_status cli_bench_statistics(const cli_bench_options *o);

#endif
