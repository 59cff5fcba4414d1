/* Scratch: what a plan announces and what a run really writes. The memory is filled with a pattern before; a line of 64
 * bytes that has changed was used. */
#include "bench.h"
#include "console.h"
#include "flags.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { PATTERN = 0xa5, LINE = 64 };

static size_t lines_changed(const unsigned char *bytes, size_t size) {
    unsigned char clean[LINE];
    size_t changed = 0;
    memset(clean, PATTERN, sizeof clean);
    for (size_t at = 0; at < size; at += LINE) {
        const size_t n = size - at < LINE ? size - at : LINE;
        if (memcmp(bytes + at, clean, n) != 0) changed += n;
    }
    return changed;
}

fv_status cli_bench_scratch(const cli_problem *problem, bool backward, cli_scratch_use *use) {
    use->announced = fv_attention_scratch(problem->plan, backward);
    unsigned char *scratch = cli_alloc(use->announced);
    memset(scratch, PATTERN, use->announced);
    fv_status status = backward ? fv_attention_backward(problem->plan, &problem->call, &problem->x, scratch)
                                : fv_attention_forward(problem->plan, &problem->call, &problem->x, scratch);
    use->touched = lines_changed(scratch, use->announced);
    cli_free(scratch);
    return status;
}

/* ---- --memory */

static double peak_memory(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024;
}

/* Every page of the tensors is there before the call, so that what comes on top is the call's own. */
static void touch_all(const cli_problem *problem) {
    for (int operand = 0; operand < FV_OPERANDS; operand++) {
        const bool written = fv_operand_is(operand, FV_ROLE_RESULT);
        if (written && problem->x.t[operand].rank) fv_tensor_fill(&problem->x.t[operand], 0);
        if (!written && problem->x.d[operand].rank) fv_tensor_fill(&problem->x.d[operand], 0);
    }
}

static void memory_row(cli_table *table, const cli_bench_case *one, const char *pass, cli_scratch_use use,
                       double beside, double seconds) {
    const double mib = 1 << 20;
    cli_table_text(table, one->how.mechanism);
    cli_table_text(table, one->shape_text);
    cli_table_text(table, fv_dtype_name(one->dtype));
    cli_table_number(table, one->threads, 0);
    cli_table_text(table, one->causal);
    cli_table_text(table, one->with);
    cli_table_text(table, pass);
    cli_table_number(table, (double)use.announced / mib, 3);
    cli_table_number(table, (double)use.touched / mib, 3);
    cli_table_number(table, use.announced ? 100 * (double)use.touched / (double)use.announced : 100, 1);
    cli_table_number(table, beside / mib, 3);
    cli_table_number(table, seconds, 2);
}

static fv_status memory_of(cli_table *table, const cli_bench_case *one) {
    cli_problem problem;
    fv_status status = cli_bench_open(&problem, one);
    if (status == FV_OK) touch_all(&problem);
    for (int backward = 0; backward <= one->backward && status == FV_OK; backward++) {
        cli_scratch_use use;
        const double size = (double)fv_attention_scratch(problem.plan, backward), before = peak_memory(),
                     start = cli_now();
        status = cli_bench_scratch(&problem, backward, &use);
        const double beside = peak_memory() - before - size;
        memory_row(table, one, backward ? "backward" : "forward", use, beside > 0 ? beside : 0, cli_now() - start);
    }
    if (status == FV_OK) status = cli_bench_check(&problem, one);
    cli_problem_free(&problem);
    return status;
}

/* One long head, where memory that grows with the square of the length could not hide. Dropout and window off and
 * on. */
fv_status cli_bench_memory(const cli_bench_options *given) {
    static const char *const columns[] = {"mechanism", "shape",         "type",        "threads", "causal",     "with",
                                          "pass",      "announced MiB", "touched MiB", "%",       "beside MiB", "s"};
    cli_bench_options o = *given;
    cli_table *table = cli_table_new(columns, 12);
    fv_status status = FV_OK;
    if (!cli_given("shape")) o.shape = "1,1,65536,64";
    if (!cli_given("attention")) o.attention = "softmax\nwindow:left=128,right=128";
    for (int on = 0; on <= 1 && status == FV_OK; on++) {
        cli_bench_case *cases;
        size_t count;
        o.dropout = !on ? 0 : given->dropout > 0 ? given->dropout : 0.1;
        status = cli_bench_cases(&o, &cases, &count);
        for (size_t i = 0; i < count && status == FV_OK; i++) status = memory_of(table, &cases[i]);
        cli_free(cases);
    }
    if (status == FV_OK) cli_table_print(table, cli_format_of(o.output), stdout);
    cli_table_free(table);
    if (status == FV_OK)
        cli_say(
            "announced: scratch of the plan; touched: lines of it that a run wrote; beside: memory the process took "
            "during the run and that is not scratch");
    return status;
}
