/* Nothing is timed before it agreed with the reference, which is plain loops in f64:
 *   - some rows of the problem itself, over all batches and heads;
 *   - the whole output and all gradients of a smaller problem of the kind. The gradients are those of the f64 engine,
 *     element by element,
 *     and those of the f64 engine are the slope of the reference in a random direction. */
#include "bench.h"
#include "console.h"

#include <math.h>
#include <string.h>

static bool is_half(fv_dtype dtype) { return dtype == FV_BF16 || dtype == FV_F16; }

/* Above what rounding of the type gives for these sizes, below what a forgotten key, row or block gives. */
static double tolerance(fv_dtype dtype) {
    if (is_half(dtype)) return dtype == FV_F16 ? 2e-3 : 1.6e-2; /* four units of the last place */
    return dtype == FV_F64 ? 1e-9 : 2e-3;
}

/* |a - b| / |b| over the whole tensor. */
static double distance(const fv_tensor *a, const fv_tensor *b) {
    const int64_t count = fv_tensor_count(a);
    const fv_tensor x = fv_tensor_1d(a->data, a->dtype, count), y = fv_tensor_1d(b->data, b->dtype, count);
    double error = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        const double p = fv_tensor_get(&x, &i), q = fv_tensor_get(&y, &i);
        error += (p - q) * (p - q), size += q * q;
    }
    return error == 0 ? 0 : sqrt(error / size);
}

/* Element by element; 16-bit results as a whole, where the rounding of the output, which the gradients are computed
 * from, is as large as a small element of them. */
static double compare(const fv_tensor *found, const fv_tensor *exact, fv_dtype dtype) {
    return is_half(dtype) ? distance(found, exact) : cli_difference(found, exact);
}

static bool is_integer(int operand) { return fv_operand_is((fv_operand)operand, FV_ROLE_INTEGER); }

/* Rows [start, start + count) of a tensor that has one for each query. */
static fv_tensor rows_of(const fv_tensor *t, int operand, int64_t start, int64_t count) {
    const bool by_query =
        operand == FV_Q || operand == FV_OUT || operand == FV_LSE || (operand == FV_BIAS && t->dim[2] > 1);
    return by_query && t->rank ? fv_tensor_slice(*t, 2, start, count) : *t;
}

/* The same problem in f64, or `count` query rows of it. Values are copied, integers shared. */
static fv_status in_f64(const cli_problem *from, int64_t start, int64_t count, bool backward, cli_problem *to) {
    memset(to, 0, sizeof *to);
    to->mechanism = from->mechanism;
    to->how = from->how;
    to->call = from->call;
    if (to->how.causal != FV_CAUSAL_NONE) to->how.causal = FV_CAUSAL_UPPER_LEFT; /* the same for equal lengths */
    to->call.q_offset += start;
    for (int operand = 0; operand < FV_OPERANDS; operand++)
        for (int gradient = 0; gradient <= (backward ? 1 : 0); gradient++) {
            const fv_tensor *t = gradient ? &from->x.d[operand] : &from->x.t[operand];
            fv_tensor *copy = gradient ? &to->x.d[operand] : &to->x.t[operand];
            if (t->rank == 0) continue;
            fv_tensor part = rows_of(t, operand, start, count), shape = part;
            shape.dtype = FV_F64;
            *copy = is_integer(operand) ? part : cli_problem_new(to, &shape);
            if (!is_integer(operand)) fv_tensor_copy(copy, &part);
        }
    return fv_attention_plan_create(&to->plan, &to->how, &to->x);
}

/* Dropout is addressed by the row's number, so its rows are the first ones; else they come from the middle. */
static fv_status check_rows(const cli_problem *problem, double *difference) {
    const int64_t length = problem->x.t[FV_Q].dim[2], count = length < 4 ? length : 4;
    const int64_t start = problem->how.dropout > 0 ? 0 : (length - count) / 2;
    cli_problem rows = {0};
    fv_status status = in_f64(problem, start, count, false, &rows);
    if (status == FV_OK) status = fv_attention_reference(rows.plan, &rows.call, &rows.x);
    if (status == FV_OK) {
        fv_tensor found = fv_tensor_slice(problem->x.t[FV_OUT], 2, start, count);
        fv_tensor copy = cli_problem_new(&rows, &rows.x.t[FV_OUT]);
        fv_tensor_copy(&copy, &found);
        *difference = compare(&copy, &rows.x.t[FV_OUT], problem->x.t[FV_OUT].dtype);
    }
    cli_problem_free(&rows);
    return status;
}

/* ---- a smaller problem */

static cli_problem_shape smaller(const cli_problem_shape *s) {
    cli_problem_shape small = *s;
    small.b = 1, small.hkv = 1, small.h = s->h / s->hkv;
    if (small.h > 4) small.h = 4;
    if (small.l > 320) small.l = 320;
    if (small.sequences > 8) small.sequences = 8;
    if (small.sequences) small.l = small.start[small.sequences];
    return small;
}

/* sum(dout * out), and the same of the last state, of the reference */
static double objective(cli_problem *exact) {
    if (fv_attention_reference(exact->plan, &exact->call, &exact->x) != FV_OK) return NAN;
    static const fv_operand outs[] = {FV_OUT, FV_STATE_OUT};
    double sum = 0;
    for (int p = 0; p < 2; p++) {
        const fv_tensor *t = &exact->x.t[outs[p]], *d = &exact->x.d[outs[p]];
        const double *a = t->data, *b = d->data;
        for (int64_t i = 0; d->rank && i < fv_tensor_count(t); i++) sum += a[i] * b[i];
    }
    return sum;
}

/* Moves all inputs by step * random direction, which is that of the seed; returns gradient * direction. */
static double move(cli_problem *exact, double step) {
    cli_random r = {77};
    double slope = 0;
    for (int operand = 0; operand < FV_OPERANDS; operand++) {
        if (!fv_operand_is(operand, FV_ROLE_DIFFERENTIABLE)) continue;
        const double *gradient = exact->x.d[operand].data;
        double *x = exact->x.t[operand].data;
        for (int64_t i = 0; gradient && i < fv_tensor_count(&exact->x.t[operand]); i++) {
            const double u = cli_random_normal(&r);
            x[i] += step * u;
            slope += gradient[i] * u;
        }
    }
    return slope;
}

/* Mechanisms that select keys jump where the selection changes; a shorter step then stays on one side of the jump. */
static double slope_error(cli_problem *exact) {
    double error = INFINITY;
    for (double step = 1e-5; step > 5e-9 && !(error <= 1e-5); step /= 10) {
        const double slope = move(exact, step), high = objective(exact);
        move(exact, -2 * step);
        const double low = objective(exact), found = (high - low) / (2 * step);
        move(exact, step);
        error = fabs(found - slope) / (fabs(found) + fabs(slope) + 1e-3);
    }
    return error;
}

static fv_status failed(const cli_problem *problem, const char *what, double difference) {
    return cli_fail(FV_FAIL, "%s: %s from the reference by %.2g, nothing was timed", problem->mechanism->name, what,
                    difference);
}

static fv_status compare_small(cli_problem *small, cli_problem *exact, const cli_bench_case *one) {
    fv_status status = fv_attention_reference(exact->plan, &exact->call, &exact->x);
    double difference = status == FV_OK ? compare(&small->x.t[FV_OUT], &exact->x.t[FV_OUT], one->dtype) : 0;
    if (!(difference <= tolerance(one->dtype)))
        return failed(small, "the result of a small problem differs", difference);
    if (status != FV_OK || !one->backward) return status;
    status = cli_problem_run(exact, true);
    for (int operand = 0; operand < FV_OPERANDS && status == FV_OK; operand++) {
        if (!fv_operand_is(operand, FV_ROLE_DIFFERENTIABLE) || small->x.d[operand].rank == 0) continue;
        difference = compare(&small->x.d[operand], &exact->x.d[operand], one->dtype);
        if (!(difference <= tolerance(one->dtype))) return failed(small, "a gradient differs", difference);
    }
    if (status != FV_OK) return status;
    difference = slope_error(exact);
    return difference <= 1e-5 ? FV_OK : failed(small, "the slope differs", difference);
}

static fv_status check_small(const cli_bench_case *one) {
    const cli_problem_shape shape = smaller(&one->shape);
    cli_problem small, exact = {0};
    fv_status status = cli_problem_of(&small, &one->how, &shape, one->dtype, one->backward);
    if (status == FV_OK) status = cli_problem_run(&small, one->backward);
    if (status == FV_OK) status = in_f64(&small, 0, small.x.t[FV_Q].dim[2], one->backward, &exact);
    if (status == FV_OK) status = compare_small(&small, &exact, one);
    cli_problem_free(&small);
    cli_problem_free(&exact);
    return status;
}

fv_status cli_bench_check(const cli_problem *problem, const cli_bench_case *one) {
    const bool rows = (problem->mechanism->needs >> FV_K & 1) && (problem->mechanism->can & FV_CAN_WEIGHTS) &&
                      one->shape.sequences == 0;
    double difference = 0;
    fv_status status = rows ? check_rows(problem, &difference) : FV_USAGE;
    if (status != FV_OK && status != FV_USAGE) return status; /* FV_USAGE: it does not compute rows alone */
    if (!(difference <= tolerance(one->dtype))) return failed(problem, "the result differs", difference);
    return check_small(one);
}
