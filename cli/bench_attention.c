/* fovea bench attention: time forward and backward of chosen problems, beside the multiply-add peak measured in the
 * same run. Nothing is timed before its result agreed with the reference. */
#include "bench.h"
#include "console.h"
#include "flags.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

cli_timing cli_bench_summary(double *seconds, int64_t count) {
    double mean = 0, square = 0;
    qsort(seconds, (size_t)count, sizeof *seconds, by_value);
    for (int64_t i = 0; i < count; i++) mean += seconds[i] / (double)count;
    for (int64_t i = 0; i < count; i++) square += (seconds[i] - mean) * (seconds[i] - mean);
    return (cli_timing){seconds[count / 2], count > 1 ? sqrt(square / (double)(count - 1)) : 0, seconds[0]};
}

/* ---- timing */

typedef struct passes {
    cli_timing forward, backward, both;
    double peak; /* of one thread, the better of before and after */
} passes;

/* A problem that is open, checked, and ready to be timed again and again. */
typedef struct bench {
    const cli_bench_options *o;
    const cli_bench_case *one;
    cli_problem problem;
    cli_scratch_use use[2]; /* forward, backward */
    double flops[2];
    void *scratch;
} bench;

static double clock_now(const cli_bench_options *o) { return strcmp(o->clock, "cpu") == 0 ? cli_cpu_now() : cli_now(); }

static fv_status time_passes(const bench *b, int64_t repeat, passes *p) {
    double *seconds = cli_alloc((size_t)repeat * 3 * sizeof *seconds);
    const bool backward = b->one->backward;
    fv_status status = FV_OK;
    p->peak = cli_peak_flops(fv_isa(), b->one->dtype);
    for (int64_t i = -1; i < repeat && status == FV_OK; i++) {
        int64_t at = i < 0 ? 0 : i; /* the first round warms up */
        double start = clock_now(b->o);
        status = fv_attention_forward(b->problem.plan, &b->problem.call, &b->problem.x, b->scratch);
        double middle = clock_now(b->o);
        if (backward && status == FV_OK)
            status = fv_attention_backward(b->problem.plan, &b->problem.call, &b->problem.x, b->scratch);
        double end = clock_now(b->o);
        seconds[at] = middle - start;
        seconds[repeat + at] = end - middle;
        seconds[2 * repeat + at] = end - start;
    }
    p->peak = fmax(p->peak, cli_peak_flops(fv_isa(), b->one->dtype));
    p->forward = cli_bench_summary(seconds, repeat);
    p->backward = cli_bench_summary(seconds + repeat, repeat);
    p->both = cli_bench_summary(seconds + 2 * repeat, repeat);
    cli_free(seconds);
    return status;
}

static void close_bench(bench *b) {
    cli_free(b->scratch);
    cli_problem_free(&b->problem);
}

static fv_status open_bench(bench *b, const cli_bench_options *o, const cli_bench_case *one) {
    *b = (bench){.o = o, .one = one};
    fv_status status = cli_bench_open(&b->problem, one);
    if (status == FV_OK) status = cli_bench_scratch(&b->problem, false, &b->use[0]);
    if (status == FV_OK && one->backward) status = cli_bench_scratch(&b->problem, true, &b->use[1]);
    if (status == FV_OK) status = cli_bench_check(&b->problem, one);
    if (status == FV_OK) status = cli_bench_flops(&b->problem, one, false, &b->flops[0]);
    if (status == FV_OK && one->backward) status = cli_bench_flops(&b->problem, one, true, &b->flops[1]);
    if (status == FV_OK)
        b->scratch = cli_alloc(b->use[0].announced > b->use[1].announced ? b->use[0].announced : b->use[1].announced);
    if (status != FV_OK) close_bench(b);
    return status;
}

/* ---- the table */

static const char *const columns[] = {"mechanism", "shape", "type",        "threads",    "pass",
                                      "ms",        "sd",    "best",        "GFLOP/s",    "% of peak",
                                      "causal",    "with",  "scratch KiB", "touched KiB"};
enum { COLUMNS = sizeof columns / sizeof *columns };

static void row(cli_table *table, const bench *b, const char *pass, cli_timing t, double flops, double peak,
                cli_scratch_use use) {
    const cli_bench_case *one = b->one;
    cli_table_text(table, b->problem.how.mechanism);
    cli_table_text(table, one->shape_text);
    cli_table_text(table, fv_dtype_name(one->dtype));
    cli_table_number(table, one->threads, 0);
    cli_table_text(table, pass);
    cli_table_number(table, 1e3 * t.median, 3);
    cli_table_number(table, 1e3 * t.sd, 3);
    cli_table_number(table, 1e3 * t.best, 3);
    cli_table_number(table, flops / t.best / 1e9, 1);
    cli_table_number(table, 100 * flops / t.best / (peak * one->threads), 1);
    cli_table_text(table, one->causal);
    cli_table_text(table, one->with);
    cli_table_number(table, (double)use.announced / 1024, 1);
    cli_table_number(table, (double)use.touched / 1024, 1);
}

static void rows(cli_table *table, const bench *b, const passes *p) {
    const cli_scratch_use f = b->use[0], g = b->use[1];
    const cli_scratch_use both = {f.announced > g.announced ? f.announced : g.announced,
                                  f.touched > g.touched ? f.touched : g.touched};
    row(table, b, "forward", p->forward, b->flops[0], p->peak, f);
    if (!b->one->backward) return;
    row(table, b, "backward", p->backward, b->flops[1], p->peak, g);
    row(table, b, "both", p->both, b->flops[0] + b->flops[1], p->peak, both);
}

/* ---- one table, or one for every line of standard input */

static void say_end(double peak) {
    cli_say("%s kernels; multiply-add peak of one thread %.1f GFLOP/s; every result agreed with the reference",
            fv_isa(), peak / 1e9);
}

static fv_status run_table(const cli_bench_options *o, const cli_bench_case *cases, size_t count) {
    cli_table *table = cli_table_new(columns, COLUMNS);
    double peak = 0;
    fv_status status = FV_OK;
    for (size_t i = 0; i < count && status == FV_OK; i++) {
        bench b;
        passes p;
        status = open_bench(&b, o, &cases[i]);
        if (status != FV_OK) break;
        status = time_passes(&b, o->repeat, &p);
        if (status == FV_OK) rows(table, &b, &p);
        peak = p.peak;
        close_bench(&b);
    }
    if (status == FV_OK) cli_table_print(table, cli_format_of(o->output), stdout);
    if (status == FV_OK) say_end(peak);
    cli_table_free(table);
    return status;
}

/* Another program takes turns with this one: it writes a line, the number of repeats or nothing, and reads a table up
 * to an empty line. Between the turns nothing runs here. */
static fv_status run_turns(const cli_bench_options *o, const cli_bench_case *one) {
    char line[64];
    bench b;
    fv_status status = open_bench(&b, o, one);
    if (status != FV_OK) return status;
    while (status == FV_OK && fgets(line, sizeof line, stdin)) {
        const long asked = strtol(line, NULL, 10);
        passes p;
        cli_table *table = cli_table_new(columns, COLUMNS);
        status = time_passes(&b, asked > 0 && asked <= 100000 ? asked : o->repeat, &p);
        if (status == FV_OK) {
            rows(table, &b, &p);
            cli_table_print(table, cli_format_of(o->output), stdout);
            putchar('\n');
            status = cli_output_finish();
        }
        cli_table_free(table);
    }
    close_bench(&b);
    return status;
}

fv_status cli_bench_attention(const cli_bench_options *o) {
    if (o->memory) return cli_bench_memory(o);
    if (o->statistics) return cli_bench_statistics(o);
    cli_bench_case *cases;
    size_t count;
    fv_status status = cli_bench_cases(o, &cases, &count);
    if (status == FV_OK && o->turns && count != 1)
        status = cli_fail(FV_USAGE, "--turns: wrong number of problems\n  expected one\n  found:   %zu", count);
    else if (status == FV_OK)
        status = o->turns ? run_turns(o, cases) : run_table(o, cases, count);
    cli_free(cases);
    return status;
}
