/* fovea verify: does the engine compute on this machine what plain loops in double precision compute? Every
 * mechanism, every instruction set of the machine, random shapes and options.
 *
 *   f64   outputs against the mechanism's plain reference, weights times values against outputs, gradients against
 *         differences
 *   f32   on each instruction set, outputs against the reference and gradients against those in f64, which were just
 *         checked */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "mechanism.h"
#include "output.h"
#include "problem.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static struct options {
    const char *attention;
    int64_t count, seed;
} o;

#define AT(field) offsetof(struct options, field)
static const fv_option rows[] = {
    {"attention", FV_OPT_STRING, AT(attention), NULL, 0, 0, "NAME", "only this mechanism"},
    {"count", FV_OPT_INT, AT(count), "40", 1, 1e9, "N", "random problems for each mechanism"},
    {"seed", FV_OPT_INT, AT(seed), "1", 0, 1e15, "N", "of the problems"},
    {0}};
#undef AT

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"options", rows, &o, NULL};
    return 1;
}

/* What is compared, and the largest difference allowed: an order of magnitude above what rounding gives for these
 * sizes. Relative to 1 + the largest element. */
enum { OUT_F64, GRADIENT_F64, OUT_F32, GRADIENT_F32, WEIGHTS, KINDS };
static const struct kind {
    const char *name;
    double allowed;
} kinds[KINDS] = {{"out f64", 1e-12}, {"grad f64", 1e-5}, {"out f32", 1e-5}, {"grad f32", 1e-4}, {"weights", 1e-11}};

typedef struct tally {
    int64_t checks[KINDS], refused, failed;
    double worst[KINDS];
} tally;

static void failure(tally *t, const cli_problem *problem, uint64_t seed, const char *what, double difference,
                    double allowed) {
    ++t->failed;
    cli_fail(FV_FAIL,
             "%s: %s differs by %.2g, %.2g is allowed\n  problem  %s, %s kernels, %d threads\n"
             "  try:     fovea verify --attention %s --seed %" PRIu64 " --count 1",
             problem->mechanism->name, what, difference, allowed, problem->text, fv_isa(), fv_threads(),
             problem->mechanism->name, seed);
}

static void found(tally *t, int kind, const cli_problem *problem, uint64_t seed, const char *what, double difference) {
    ++t->checks[kind];
    if (!(difference <= t->worst[kind])) t->worst[kind] = difference;
    if (!(difference <= kinds[kind].allowed)) failure(t, problem, seed, what, difference, kinds[kind].allowed);
}

/* Largest |a - b| / (1 + largest |b|), any two types; infinite where one is not finite and the other is something
 * else. */
static double difference_of(const fv_tensor *a, const fv_tensor *b) {
    int64_t count = fv_tensor_count(a);
    fv_tensor x = fv_tensor_1d(a->data, a->dtype, count), y = fv_tensor_1d(b->data, b->dtype, count);
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < count; i++) {
        double p = fv_tensor_get(&x, &i), q = fv_tensor_get(&y, &i);
        if (p == q) continue;
        if (!isfinite(p) || !isfinite(q)) return INFINITY;
        if (fabs(q) > largest) largest = fabs(q);
        worst = fmax(worst, fabs(p - q));
    }
    return worst / (1 + largest);
}

/* ---- outputs */

static void compare_outputs(tally *t, int kind, cli_problem *problem, uint64_t seed, const fv_attention_tensors *with) {
    found(t, kind, problem, seed, "the output", difference_of(&problem->x.t[FV_OUT], &with->t[FV_OUT]));
    if (problem->x.t[FV_LSE].rank)
        found(t, kind, problem, seed, "the log-sum-exp", difference_of(&problem->x.t[FV_LSE], &with->t[FV_LSE]));
    const fv_tensor *state = &problem->x.t[FV_STATE_OUT];
    if (state->rank) found(t, kind, problem, seed, "the final state", difference_of(state, &with->t[FV_STATE_OUT]));
}

/* Runs forward and, if it can, backward; then the plain loops, whose outputs go to `reference`. */
static bool run_both(tally *t, cli_problem *problem, uint64_t seed, fv_attention_tensors *reference) {
    *reference = problem->x;
    reference->t[FV_OUT] = cli_problem_new(problem, &problem->x.t[FV_OUT]);
    if (problem->x.t[FV_LSE].rank) reference->t[FV_LSE] = cli_problem_new(problem, &problem->x.t[FV_LSE]);
    const fv_tensor *state = &problem->x.t[FV_STATE_OUT];
    if (state->rank) reference->t[FV_STATE_OUT] = cli_problem_new(problem, state);
    if (cli_problem_run(problem, problem->mechanism->can & FV_CAN_BACKWARD) == FV_OK &&
        fv_attention_reference(problem->plan, &problem->call, reference) == FV_OK)
        return true;
    failure(t, problem, seed, "a run that was planned failed, and so the result", INFINITY, 0);
    return false;
}

/* ---- weights times values is the output */

static double weights_error(const cli_problem *problem, const fv_tensor *w, int64_t batch, int64_t head, int64_t row) {
    const fv_tensor *v = &problem->x.t[FV_V], *out = &problem->x.t[FV_OUT];
    int64_t kv = head * v->dim[1] / problem->x.t[FV_Q].dim[1];
    double worst = 0;
    for (int64_t c = 0; c < v->dim[3]; c++) {
        double sum = 0;
        for (int64_t j = 0; j < v->dim[2]; j++) {
            int64_t at_w[2] = {0, j}, at_v[4] = {batch, kv, j, c};
            double p = fv_tensor_get(w, at_w);
            sum += p != 0 ? p * fv_tensor_get(v, at_v) : 0;
        }
        int64_t at[4] = {batch, head, row, c};
        worst = fmax(worst, fabs(sum - fv_tensor_get(out, at)));
    }
    return worst;
}

static void check_weights(tally *t, cli_problem *problem, uint64_t seed) {
    const fv_tensor *q = &problem->x.t[FV_Q], *v = &problem->x.t[FV_V];
    if (!(problem->mechanism->can & FV_CAN_WEIGHTS) || problem->x.t[FV_CU_Q].rank || problem->how.dropout > 0) return;
    if (problem->x.t[FV_STATE].rank) return; /* what it gives is no key's */
    cli_random r = {seed};
    int64_t batch = cli_random_below(&r, q->dim[0]), head = cli_random_below(&r, q->dim[1]),
            row = cli_random_below(&r, q->dim[2]);
    double *weight = cli_alloc((size_t)v->dim[2] * sizeof(double));
    fv_tensor w = fv_tensor_2d(weight, FV_F64, 1, v->dim[2]);
    if (fv_attention_weights(problem->plan, &problem->call, &problem->x, FV_CAPTURE_SOFTMAX, batch, head, &row, 1,
                             &w) != FV_OK)
        failure(t, problem, seed, "the weights of a row are refused, and so what they are", INFINITY, 0);
    else
        found(t, WEIGHTS, problem, seed, "the product of weights and values",
              weights_error(problem, &w, batch, head, row));
    cli_free(weight);
}

/* ---- gradients: directional derivatives of sum(out * r + lse * s), by differences of the forward that was just
 * checked ----------- */

/* Over finite elements: the log-sum-exp of a row that sees nothing is none. */
static double product(const fv_tensor *t, const fv_tensor *direction) {
    double sum = 0;
    const double *a = t->data, *b = direction->data;
    for (int64_t i = 0; direction->rank && i < fv_tensor_count(t); i++) sum += isfinite(a[i]) ? a[i] * b[i] : 0;
    return sum;
}

static double objective(cli_problem *problem) {
    const fv_attention_tensors *x = &problem->x;
    if (cli_problem_run(problem, false) != FV_OK) return NAN;
    return product(&x->t[FV_OUT], &x->d[FV_OUT]) + product(&x->t[FV_LSE], &x->d[FV_LSE]) +
           product(&x->t[FV_STATE_OUT], &x->d[FV_STATE_OUT]);
}

/* Moves a tensor by step * direction; the direction is that of a seed. Returns gradient * direction. */
static double move(const fv_tensor *t, const fv_tensor *gradient, uint64_t seed, double step) {
    cli_random r = {seed};
    double *x = t->data, slope = 0;
    const double *g = gradient->data;
    for (int64_t i = 0; i < fv_tensor_count(t); i++) {
        double u = cli_random_normal(&r);
        x[i] += step * u;
        slope += g[i] * u;
    }
    return slope;
}

static double slope_error(cli_problem *problem, fv_operand operand, uint64_t seed, double scale, double step,
                          void *before) {
    const fv_tensor *x = &problem->x.t[operand], *g = &problem->x.d[operand];
    size_t bytes = (size_t)fv_tensor_count(x) * sizeof(double);
    double slope = move(x, g, seed, step), high = objective(problem);
    memcpy(x->data, before, bytes);
    move(x, g, seed, -step);
    double low = objective(problem);
    memcpy(x->data, before, bytes);
    double measured = (high - low) / (2 * step);
    return fabs(measured - slope) / (fabs(measured) + fabs(slope) + scale);
}

/* Mechanisms that select keys jump where the selection changes; a shorter step then stays on one side of the jump. */
static void check_operand(tally *t, cli_problem *problem, fv_operand operand, uint64_t seed, double scale) {
    const fv_tensor *x = &problem->x.t[operand];
    size_t bytes = (size_t)fv_tensor_count(x) * sizeof(double);
    void *before = cli_alloc(bytes);
    memcpy(before, x->data, bytes);
    double difference = slope_error(problem, operand, seed, scale, 1e-5, before);
    for (double step = 1e-6; step > 5e-9 && !(difference <= kinds[GRADIENT_F64].allowed); step /= 10)
        difference = fmin(difference, slope_error(problem, operand, seed, scale, step, before));
    cli_free(before);
    char what[64];
    snprintf(what, sizeof what, "the gradient of %s", cli_operand_name(problem->mechanism, operand));
    found(t, GRADIENT_F64, problem, seed, what, difference);
}

static void check_gradients(tally *t, cli_problem *problem, uint64_t seed) {
    double scale = 1e-3 * sqrt((double)fv_tensor_count(&problem->x.t[FV_OUT]));
    for (int operand = 0; operand < FV_OPERANDS; operand++)
        if (fv_operand_is(operand, FV_ROLE_DIFFERENTIABLE))
            if (problem->x.d[operand].rank) check_operand(t, problem, (fv_operand)operand, seed, scale);
}

/* ---- f32 on one instruction set against f64 */

static void compare_gradients(tally *t, cli_problem *problem, uint64_t seed, const cli_problem *with) {
    for (int operand = 0; operand < FV_OPERANDS; operand++) {
        if (!fv_operand_is(operand, FV_ROLE_DIFFERENTIABLE)) continue;
        if (!problem->x.d[operand].rank) continue;
        char what[64];
        snprintf(what, sizeof what, "the f32 gradient of %s", cli_operand_name(problem->mechanism, operand));
        double difference = difference_of(&problem->x.d[operand], &with->x.d[operand]);
        if (operand == FV_SLOPES) difference /= (double)problem->x.t[FV_Q].dim[2]; /* distances weigh the errors */
        found(t, GRADIENT_F32, problem, seed, what, difference);
    }
}

static void check_f32(tally *t, const cli_problem *exact, const fv_attention_tensors *reference, uint64_t seed) {
    cli_problem problem;
    if (cli_problem_random(&problem, exact->mechanism, seed, FV_F32, true) != FV_OK)
        failure(t, &problem, seed, "a problem that is planned in f64 and not in f32", INFINITY, 0);
    else if (cli_problem_run(&problem, problem.mechanism->can & FV_CAN_BACKWARD) != FV_OK)
        failure(t, &problem, seed, "a run that was planned failed, and so the result", INFINITY, 0);
    else {
        compare_outputs(t, OUT_F32, &problem, seed, reference);
        compare_gradients(t, &problem, seed, exact);
    }
    cli_problem_free(&problem);
}

/* ---- all */

static void check_exact(tally *t, const fv_mechanism *m, uint64_t seed) {
    cli_problem problem;
    fv_attention_tensors reference;
    if (cli_problem_random(&problem, m, seed, FV_F64, false) != FV_OK)
        ++t->refused;
    else if (run_both(t, &problem, seed, &reference)) {
        int64_t failed = t->failed;
        compare_outputs(t, OUT_F64, &problem, seed, &reference);
        check_weights(t, &problem, seed);
        if (t->failed == failed && m->can & FV_CAN_BACKWARD) check_gradients(t, &problem, seed);
    }
    cli_problem_free(&problem);
}

static void check_every_isa(tally *t, const fv_mechanism *m, uint64_t seed, const char *const *isas, int count) {
    cli_problem problem;
    fv_attention_tensors reference;
    if (cli_problem_random(&problem, m, seed, FV_F64, true) == FV_OK && run_both(t, &problem, seed, &reference)) {
        compare_outputs(t, OUT_F64, &problem, seed, &reference);
        for (int i = 0; i < count; i++)
            if (fv_set_isa(isas[i]) == FV_OK) check_f32(t, &problem, &reference, seed);
        fv_set_isa(NULL);
    }
    cli_problem_free(&problem);
}

static void report_row(cli_table *table, const char *name, const tally *t) {
    char text[32];
    cli_table_text(table, name);
    const int64_t counts[] = {t->checks[OUT_F64] + t->checks[OUT_F32],
                              t->checks[GRADIENT_F64] + t->checks[GRADIENT_F32], t->checks[WEIGHTS], t->refused,
                              t->failed};
    for (int k = 0; k < 5; k++) cli_table_number(table, (double)counts[k], 0);
    for (int k = 0; k < KINDS; k++) {
        snprintf(text, sizeof text, "%.1e", t->worst[k]);
        cli_table_text(table, t->checks[k] ? text : "-");
    }
}

static void add_up(tally *all, const tally *t) {
    for (int k = 0; k < KINDS; k++) all->checks[k] += t->checks[k], all->worst[k] = fmax(all->worst[k], t->worst[k]);
    all->refused += t->refused, all->failed += t->failed;
}

static void conclude(const tally *all, const char *isas) {
    cli_say("outputs and gradients of %s kernels, %d threads, against plain loops in double precision:", isas,
            fv_threads());
    for (int k = 0; k < KINDS; k++)
        cli_say("  %-8s  %6" PRId64 " compared, largest difference %.1e, %.0e allowed", kinds[k].name, all->checks[k],
                all->worst[k], kinds[k].allowed);
    cli_say("%" PRId64 " failed", all->failed);
}

static fv_status run(void) {
    static const char *const columns[] = {"mechanism", "outputs",  "gradients", "weights",  "refused",    "failed",
                                          "out f64",   "grad f64", "out f32",   "grad f32", "weights f64"};
    static const char *const every[] = {"scalar", "avx2", "avx512", "neon"};
    const char *isas[sizeof every / sizeof *every];
    char text[64] = "";
    int count = 0;
    const fv_mechanism *only = NULL;
    if (o.attention && cli_mechanism_find(o.attention, &only) != FV_OK) return FV_USAGE;
    for (int i = 0; i < (int)(sizeof every / sizeof *every); i++)
        if (fv_set_isa(every[i]) == FV_OK) {
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", count ? ", " : "", every[i]);
            isas[count++] = every[i];
        }
    fv_set_isa(NULL);
    cli_table *table = cli_table_new(columns, 11);
    tally all = {0};
    for (size_t i = 0; i < fv_mechanism_count() && !fv_interrupted(); i++) {
        const fv_mechanism *m = fv_mechanism_at(i);
        tally t = {0};
        if (only && only != m) continue;
        for (int64_t n = 0; n < o.count && !fv_interrupted(); n++) {
            check_exact(&t, m, (uint64_t)(o.seed + n));
            check_every_isa(&t, m, (uint64_t)(o.seed + n), isas, count);
        }
        if (t.checks[OUT_F32] == 0) {
            ++t.failed;
            cli_warn("%s: every random problem was refused, nothing was checked", m->name);
        }
        report_row(table, m->name, &t);
        add_up(&all, &t);
    }
    cli_table_print(table, cli_format_of(cli_global.format), stdout);
    cli_table_free(table);
    conclude(&all, text);
    if (all.failed) return cli_fail(FV_FAIL, "verification failed");
    return FV_OK;
}

const cli_command cmd_verify = {
    .name = "verify",
    .summary = "check every mechanism on this machine against plain loops in double precision",
    .usage = "[OPTIONS]",
    .about =
        "Random problems with every option a mechanism has: outputs, weights and gradients in f64, then outputs and "
        "gradients in f32 with the kernels of each instruction set of the machine. Differences are relative to 1 + the "
        "largest element. Ends with exit status 1 when one is larger than allowed, after the line that repeats it.",
    .examples = "fovea verify\nfovea verify --attention softmax --count 1000",
    .groups = groups,
    .run = run,
};
