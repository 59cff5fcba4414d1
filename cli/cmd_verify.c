/* fovea verify: does the engine compute on this machine what plain loops in double precision compute? Every mechanism,
 * random shapes and options; gradients against differences of the reference. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "mechanism.h"
#include "output.h"
#include "trial.h"

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
    {"count", FV_OPT_INT, AT(count), "30", 1, 1e9, "N", "random problems for each mechanism and type"},
    {"seed", FV_OPT_INT, AT(seed), "1", 0, 1e15, "N", "of the problems"},
    {0}};
#undef AT

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"options", rows, &o, NULL};
    return 1;
}

typedef struct tally {
    int64_t forward, backward, weights, refused, failed;
    double worst, worst_gradient;
} tally;

/* An order of magnitude above what rounding gives for these sizes. */
static double tolerance(fv_dtype dtype) { return dtype == FV_F64 ? 1e-9 : 2e-3; }

static void failure(tally *t, const cli_trial *trial, uint64_t seed, const char *what, double difference) {
    ++t->failed;
    cli_fail(FV_FAIL,
             "%s: %s differs by %.2g\n  problem  %s\n  try:     fovea verify --attention %s --seed %" PRIu64
             " --count 1",
             trial->mechanism->name, what, difference, trial->text, trial->mechanism->name, seed);
}

/* ---- forward ------------------------------------------------------------------------------------------------------------------ */

static void check_forward(tally *t, cli_trial *trial, uint64_t seed) {
    fv_tensor out = trial->x.t[FV_OUT], lse = trial->x.t[FV_LSE];
    fv_attention_tensors again = trial->x;
    again.t[FV_OUT] = cli_trial_new(trial, &out);
    if (lse.rank) again.t[FV_LSE] = cli_trial_new(trial, &lse);
    if (cli_trial_run(trial, false) != FV_OK || fv_attention_reference(trial->plan, &again) != FV_OK) {
        failure(t, trial, seed, "a run that was planned failed, and so the result", INFINITY);
        return;
    }
    double difference = cli_difference(&out, &again.t[FV_OUT]);
    if (lse.rank) difference = fmax(difference, cli_difference(&lse, &again.t[FV_LSE]));
    ++t->forward;
    if (out.dtype == FV_F32) t->worst = fmax(t->worst, difference);
    if (!(difference <= tolerance(out.dtype))) failure(t, trial, seed, "the output", difference);
}

/* ---- weights: rows sum to one and weights times values is the output ------------------------------------------------------------- */

static void check_weights(tally *t, cli_trial *trial, uint64_t seed) {
    const fv_tensor *q = &trial->x.t[FV_Q], *k = &trial->x.t[FV_K], *v = &trial->x.t[FV_V], *out = &trial->x.t[FV_OUT];
    if (!(trial->mechanism->can & FV_CAN_WEIGHTS) || trial->x.t[FV_CU_Q].rank) return;
    cli_random r = {seed};
    int64_t batch = cli_random_below(&r, q->dim[0]), head = cli_random_below(&r, q->dim[1]),
            row = cli_random_below(&r, q->dim[2]);
    int64_t kv = head * k->dim[1] / q->dim[1], keys = k->dim[2];
    double *weight = cli_alloc((size_t)keys * sizeof(double)), worst = 0;
    fv_tensor w = fv_tensor_2d(weight, q->dtype, 1, keys);
    if (fv_attention_weights(trial->plan, &trial->x, FV_STAGE_SOFTMAX, batch, head, &row, 1, &w) == FV_OK) {
        for (int64_t c = 0; c < v->dim[3]; ++c) {
            double sum = 0, size = 0;
            for (int64_t j = 0; j < keys; ++j) {
                int64_t at_w[2] = {0, j}, at_v[4] = {batch, kv, j, c};
                double p = fv_tensor_get(&w, at_w), x = p != 0 ? p * fv_tensor_get(v, at_v) : 0;
                sum += x;
                size += fabs(x);
            }
            int64_t at[4] = {batch, head, row, c};
            worst = fmax(worst, fabs(sum - fv_tensor_get(out, at)) / (size + 1e-6));
        }
        ++t->weights;
        if (!(worst <= tolerance(q->dtype))) failure(t, trial, seed, "the product of weights and values", worst);
    }
    cli_free(weight);
}

/* ---- backward: directional derivatives of sum(out * r), by differences of the forward that was just checked --------- */

static double objective(cli_trial *trial, const fv_tensor *direction) {
    fv_tensor out = fv_tensor_1d(trial->x.t[FV_OUT].data, FV_F64, fv_tensor_count(&trial->x.t[FV_OUT]));
    const double *a = out.data, *b = direction->data;
    double sum = 0;
    if (cli_trial_run(trial, false) != FV_OK) return NAN;
    for (int64_t i = 0; i < out.dim[0]; ++i) sum += a[i] * b[i];
    return sum;
}

/* Moves a tensor by step * direction; the direction is that of a seed. Returns gradient * direction. */
static double move(const fv_tensor *t, const fv_tensor *gradient, uint64_t seed, double step) {
    cli_random r = {seed};
    double *x = t->data, slope = 0;
    const double *g = gradient->data;
    for (int64_t i = 0; i < fv_tensor_count(t); ++i) {
        double u = cli_random_normal(&r);
        x[i] += step * u;
        slope += g[i] * u;
    }
    return slope;
}

static double slope_error(cli_trial *trial, fv_port port, uint64_t seed, double scale, double step, void *before) {
    const fv_tensor *x = &trial->x.t[port], *g = &trial->x.d[port];
    size_t bytes = (size_t)fv_tensor_count(x) * sizeof(double);
    double slope = move(x, g, seed, step), high = objective(trial, &trial->x.d[FV_OUT]);
    memcpy(x->data, before, bytes);
    move(x, g, seed, -step);
    double low = objective(trial, &trial->x.d[FV_OUT]);
    memcpy(x->data, before, bytes);
    double found = (high - low) / (2 * step);
    return fabs(found - slope) / (fabs(found) + fabs(slope) + scale);
}

/* Mechanisms that select keys jump where the selection changes; a shorter step then stays on one side of the jump. */
static void check_port(tally *t, cli_trial *trial, fv_port port, uint64_t seed, double scale) {
    const fv_tensor *x = &trial->x.t[port];
    size_t bytes = (size_t)fv_tensor_count(x) * sizeof(double);
    void *before = cli_alloc(bytes);
    memcpy(before, x->data, bytes);
    double difference = slope_error(trial, port, seed, scale, 1e-5, before);
    for (double step = 1e-6; step > 5e-9 && !(difference <= 1e-5); step /= 10)
        difference = fmin(difference, slope_error(trial, port, seed, scale, step, before));
    cli_free(before);
    ++t->backward;
    t->worst_gradient = fmax(t->worst_gradient, difference);
    if (!(difference <= 1e-5)) {
        char what[64];
        snprintf(what, sizeof what, "the gradient of %s", cli_port_name(trial->mechanism, port));
        failure(t, trial, seed, what, difference);
    }
}

static void check_backward(tally *t, cli_trial *trial, uint64_t seed) {
    if (!(trial->mechanism->can & FV_CAN_BACKWARD) || trial->x.t[FV_OUT].dtype != FV_F64) return;
    if (cli_trial_run(trial, true) != FV_OK) {
        failure(t, trial, seed, "a backward run that was planned failed, and so the gradient", INFINITY);
        return;
    }
    double scale = 1e-3 * sqrt((double)fv_tensor_count(&trial->x.t[FV_OUT]));
    for (int port = FV_Q; port < FV_MASK; ++port)
        if (trial->x.d[port].rank && trial->x.t[port].rank) check_port(t, trial, (fv_port)port, seed, scale);
}

/* ---- all --------------------------------------------------------------------------------------------------------------------------- */

static void check_mechanism(tally *t, const fv_mechanism *m) {
    for (int64_t i = 0; i < o.count && !fv_interrupted(); ++i)
        for (int type = 0; type < 2; ++type) {
            uint64_t seed = (uint64_t)(o.seed + i);
            cli_trial trial;
            if (cli_trial_random(&trial, m, seed, type ? FV_F64 : FV_F32) != FV_OK)
                ++t->refused;
            else {
                int64_t failed = t->failed;
                check_forward(t, &trial, seed);
                if (t->failed == failed) check_weights(t, &trial, seed);
                if (t->failed == failed) check_backward(t, &trial, seed);
            }
            cli_trial_free(&trial);
        }
}

static fv_status run(void) {
    static const char *const columns[] = {"mechanism", "outputs", "gradients", "weights",
                                          "refused",   "failed",  "worst f32", "worst gradient"};
    const fv_mechanism *only = NULL;
    if (o.attention && cli_mechanism_find(o.attention, &only) != FV_OK) return FV_USAGE;
    cli_table *table = cli_table_new(columns, 8);
    tally all = {0};
    for (size_t i = 0; i < fv_mechanism_count(); ++i) {
        const fv_mechanism *m = fv_mechanism_at(i);
        tally t = {0};
        if (only && only != m) continue;
        check_mechanism(&t, m);
        if (t.forward == 0) cli_warn("%s: every random problem was refused, nothing was checked", m->name);
        cli_table_text(table, m->name);
        const int64_t counts[] = {t.forward, t.backward, t.weights, t.refused, t.failed};
        for (int k = 0; k < 5; ++k) cli_table_number(table, (double)counts[k], 0);
        char text[2][32];
        snprintf(text[0], sizeof text[0], "%.1e", t.worst);
        snprintf(text[1], sizeof text[1], "%.1e", t.worst_gradient);
        cli_table_text(table, text[0]);
        cli_table_text(table, text[1]);
        all.forward += t.forward, all.backward += t.backward, all.weights += t.weights;
        all.failed += t.failed + (t.forward == 0);
    }
    cli_table_print(table, cli_format_of(cli_global.format), stdout);
    cli_table_free(table);
    cli_say("%s kernels, %d threads: %" PRId64 " outputs, %" PRId64 " gradients and %" PRId64
            " rows of weights checked, %" PRId64 " failed",
            fv_isa(), fv_threads(), all.forward, all.backward, all.weights, all.failed);
    if (all.failed) return cli_fail(FV_FAIL, "verification failed");
    return FV_OK;
}

const cli_command cmd_verify = {
    .name = "verify",
    .summary = "check every mechanism on this machine against plain loops in double precision",
    .usage = "[OPTIONS]",
    .examples = "fovea verify\nfovea verify --attention softmax --count 1000",
    .groups = groups,
    .run = run,
};
