/* fovea bench attention: time forward and backward of chosen shapes, beside the multiply-add peak measured in the same run.
 * Nothing is timed before its result agreed with the reference. */
#include "bench.h"
#include "console.h"
#include "flags.h"
#include "mechanism.h"
#include "output.h"
#include "trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct timing {
    double median, sd, best;
} timing;

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static timing summary(double *seconds, int64_t count) {
    double mean = 0, square = 0;
    qsort(seconds, (size_t)count, sizeof *seconds, by_value);
    for (int64_t i = 0; i < count; ++i) mean += seconds[i] / (double)count;
    for (int64_t i = 0; i < count; ++i) square += (seconds[i] - mean) * (seconds[i] - mean);
    return (timing){seconds[count / 2], count > 1 ? sqrt(square / (double)(count - 1)) : 0, seconds[0]};
}

/* ---- correct first ------------------------------------------------------------------------------------------------------------ */

/* Some query rows of the full problem against the reference, which then is quick enough. FV_USAGE: the mechanism refuses
 * to compute rows alone; the whole of a smaller problem is compared instead. */
static fv_status check_rows(cli_trial *trial, double *difference) {
    int64_t length = trial->x.t[FV_Q].dim[2], rows = length < 4 ? length : 4, start = (length - rows) / 2;
    fv_attention_options how = trial->how;
    fv_attention_tensors x = trial->x;
    fv_attention_plan *plan = NULL;
    cli_trial room = {0};
    memset(x.d, 0, sizeof x.d);
    if (how.causal == FV_CAUSAL_LOWER_RIGHT) how.q_offset = trial->x.t[FV_K].dim[2] - length;
    if (how.causal != FV_CAUSAL_NONE) how.causal = FV_CAUSAL_UPPER_LEFT;
    how.q_offset += start;
    x.t[FV_Q] = fv_tensor_slice(x.t[FV_Q], 2, start, rows);
    fv_tensor part = fv_tensor_slice(trial->x.t[FV_OUT], 2, start, rows), out = part;
    x.t[FV_OUT] = cli_trial_new(&room, &part);
    fv_tensor copy = cli_trial_new(&room, &part);
    if (x.t[FV_LSE].rank) {
        fv_tensor lse = fv_tensor_slice(x.t[FV_LSE], 2, start, rows);
        x.t[FV_LSE] = cli_trial_new(&room, &lse);
    }
    fv_status status = fv_attention_plan_create(&plan, &how, &x);
    if (status == FV_OK) status = fv_attention_reference(plan, &x);
    if (status == FV_OK) status = fv_tensor_copy(&copy, &out);
    if (status == FV_OK) *difference = cli_difference(&copy, &x.t[FV_OUT]);
    fv_attention_plan_free(plan);
    cli_trial_free(&room);
    return status;
}

static fv_status check_small(const cli_trial *trial, cli_trial_shape shape, double *difference) {
    cli_trial small;
    shape.b = 1;
    if (shape.l > 150) shape.l = 150;
    fv_status status = cli_trial_of(&small, &trial->how, &shape, trial->x.t[FV_Q].dtype, false);
    if (status == FV_OK) status = cli_trial_run(&small, false);
    if (status == FV_OK) {
        fv_tensor found = small.x.t[FV_OUT];
        small.x.t[FV_OUT] = cli_trial_new(&small, &found);
        status = fv_attention_reference(small.plan, &small.x);
        *difference = cli_difference(&found, &small.x.t[FV_OUT]);
    }
    cli_trial_free(&small);
    return status;
}

static fv_status check(cli_trial *trial, const cli_trial_shape *shape) {
    double difference = INFINITY;
    bool rows = (trial->mechanism->needs >> FV_K & 1) && (trial->mechanism->can & FV_CAN_WEIGHTS);
    fv_status status = rows ? check_rows(trial, &difference) : FV_USAGE;
    if (status == FV_USAGE) status = check_small(trial, *shape, &difference);
    if (status != FV_OK) return status;
    if (difference <= 2e-3) return FV_OK;
    return cli_fail(FV_FAIL, "%s: the result differs from the reference by %.2g, nothing was timed",
                    trial->mechanism->name, difference);
}

/* ---- then fast ------------------------------------------------------------------------------------------------------------------ */

typedef struct passes {
    timing forward, backward, both;
} passes;

static double clock_now(const cli_bench_options *o) { return strcmp(o->clock, "cpu") == 0 ? cli_cpu_now() : cli_now(); }

static fv_status time_passes(const cli_bench_options *o, cli_trial *trial, bool backward, passes *p) {
    int64_t repeat = o->repeat;
    size_t size = fv_attention_scratch(trial->plan, false),
           more = backward ? fv_attention_scratch(trial->plan, true) : 0;
    void *scratch = cli_alloc(size > more ? size : more);
    double *seconds = cli_alloc((size_t)repeat * 3 * sizeof *seconds);
    fv_status status = FV_OK;
    for (int64_t i = -1; i < repeat && status == FV_OK; ++i) {
        int64_t at = i < 0 ? 0 : i; /* the first round warms up */
        double start = clock_now(o);
        status = fv_attention_forward(trial->plan, &trial->x, scratch);
        double middle = clock_now(o);
        if (backward && status == FV_OK) status = fv_attention_backward(trial->plan, &trial->x, scratch);
        double end = clock_now(o);
        seconds[at] = middle - start;
        seconds[repeat + at] = end - middle;
        seconds[2 * repeat + at] = end - start;
    }
    *p = (passes){summary(seconds, repeat), summary(seconds + repeat, repeat), summary(seconds + 2 * repeat, repeat)};
    cli_free(seconds);
    cli_free(scratch);
    return status;
}

static void row(cli_table *table, const cli_trial *trial, const char *shape, int threads, const char *pass, timing t,
                double flops, double peak) {
    cli_table_text(table, trial->how.mechanism);
    cli_table_text(table, shape);
    cli_table_text(table, fv_dtype_name(trial->x.t[FV_Q].dtype));
    cli_table_number(table, threads, 0);
    cli_table_text(table, pass);
    cli_table_number(table, 1e3 * t.median, 3);
    cli_table_number(table, 1e3 * t.sd, 3);
    cli_table_number(table, 1e3 * t.best, 3);
    cli_table_number(table, flops / t.best / 1e9, 1);
    cli_table_number(table, 100 * flops / t.best / (peak * threads), 1);
}

static fv_status bench_one(const cli_bench_options *o, cli_table *table, const char *mechanism, const char *text,
                           const cli_trial_shape *shape, int threads, double *peak) {
    cli_trial trial;
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    fv_dtype dtype = strcmp(o->dtype, "f64") == 0 ? FV_F64 : FV_F32;
    how.mechanism = mechanism;
    if (strcmp(o->causal, "none") != 0)
        how.causal = strcmp(o->causal, "upper-left") == 0 ? FV_CAUSAL_UPPER_LEFT : FV_CAUSAL_LOWER_RIGHT;
    const fv_mechanism *m;
    if (cli_mechanism_find(mechanism, &m) != FV_OK) return FV_USAGE;
    bool backward = (m->can & FV_CAN_BACKWARD) != 0;
    fv_set_threads(threads);
    fv_status status = cli_trial_of(&trial, &how, shape, dtype, backward);
    if (status == FV_OK) status = cli_trial_run(&trial, backward);
    if (status == FV_OK) status = check(&trial, shape);
    passes p;
    if (status == FV_OK) {
        double before = cli_peak_flops(fv_isa(), dtype);
        status = time_passes(o, &trial, backward, &p);
        double after = cli_peak_flops(fv_isa(), dtype);
        *peak = before > after ? before : after;
    }
    if (status == FV_OK) {
        double forward = fv_attention_flops(trial.plan, false),
               back = backward ? fv_attention_flops(trial.plan, true) : 0;
        row(table, &trial, text, threads, "forward", p.forward, forward, *peak);
        if (backward) row(table, &trial, text, threads, "backward", p.backward, back, *peak);
        if (backward) row(table, &trial, text, threads, "both", p.both, forward + back, *peak);
    }
    cli_trial_free(&trial);
    return status;
}

/* ---- lists of shapes, mechanisms, threads ------------------------------------------------------------------------------------------ */

/* "1,12,2048,64", or with kv heads "1,12/4,2048,64" */
static fv_status parse_shape(const char *text, cli_trial_shape *s) {
    long long b, h, kv, l, d;
    int end = 0;
    bool grouped = sscanf(text, "%lld,%lld/%lld,%lld,%lld%n", &b, &h, &kv, &l, &d, &end) == 5 && !text[end];
    if (!grouped) {
        bool plain = sscanf(text, "%lld,%lld,%lld,%lld%n", &b, &h, &l, &d, &end) == 4 && !text[end];
        kv = h;
        if (!plain)
            return cli_fail(
                FV_USAGE,
                "--shape %s: wrong shape\n  expected BATCH,HEADS,LENGTH,WIDTH such as 1,12,2048,64 or 1,12/4,2048,64",
                text);
    }
    if (b < 1 || h < 1 || kv < 1 || h % kv || l < 1 || d < 1 || b > 65536 || h > 65536 || l > 1 << 24 || d > 65536)
        return cli_fail(FV_USAGE,
                        "--shape %s: sizes out of range\n  expected positive sizes, and kv heads that divide the heads",
                        text);
    *s = (cli_trial_shape){b, h, kv, l, d};
    return FV_OK;
}

static fv_status bench_shapes(const cli_bench_options *o, cli_table *table, const char *mechanism, int threads,
                              double *peak) {
    size_t count;
    char **shape = cli_list_split(o->shape, &count);
    fv_status status = FV_OK;
    for (size_t i = 0; i < count && status == FV_OK; ++i) {
        cli_trial_shape s;
        status = parse_shape(shape[i], &s);
        if (status == FV_OK) status = bench_one(o, table, mechanism, shape[i], &s, threads, peak);
    }
    cli_free(shape);
    return status;
}

fv_status cli_bench_attention(const cli_bench_options *o) {
    static const char *const columns[] = {"mechanism", "shape", "type", "threads", "pass",
                                          "ms",        "sd",    "best", "GFLOP/s", "% of peak"};
    cli_table *table = cli_table_new(columns, 10);
    size_t count;
    char **mechanism = cli_list_split(o->attention, &count);
    double peak = 0;
    fv_status status = FV_OK;
    for (const char *at = o->threads; status == FV_OK && *at;) {
        char *end;
        long threads = strtol(at, &end, 10);
        if (end == at || threads < 1 || threads > 1024 || (*end && *end != ','))
            status = cli_fail(FV_USAGE, "--threads %s: wrong numbers\n  expected numbers from 1 to 1024, such as 1,2",
                              o->threads);
        for (size_t i = 0; i < count && status == FV_OK; ++i)
            status = bench_shapes(o, table, mechanism[i], (int)threads, &peak);
        at = end + (*end == ',');
    }
    if (status == FV_OK) cli_table_print(table, cli_format_of(o->output), stdout);
    if (status == FV_OK)
        cli_say("%s kernels; multiply-add peak of one thread %.1f GFLOP/s; every result agreed with the reference",
                fv_isa(), peak / 1e9);
    cli_table_free(table);
    cli_free(mechanism);
    return status;
}
