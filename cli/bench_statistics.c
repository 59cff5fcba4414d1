/* fovea bench attention --statistics: what it costs to look at the weights, beside the forward of the same problem.
 * Eight rows of one head whole, and mean and largest weight of blocks of 64 x 64 over the whole sequence and all
 * heads. */
#include "bench.h"
#include "console.h"
#include "flags.h"
#include "fovea/statistics.h"

#include <math.h>
#include <string.h>

enum { ROWS = 8, BLOCK = 64, PASSES = 3 };

typedef struct inspection {
    cli_problem problem;
    int64_t rows[ROWS];
    fv_tensor weights; /* (8, L) */
    fv_attention_statistics want;
    void *forward_scratch, *statistics_scratch;
    size_t bytes[PASSES]; /* scratch and result of each pass */
} inspection;

static void close_inspection(inspection *m) {
    cli_free(m->forward_scratch);
    cli_free(m->statistics_scratch);
    cli_free(m->weights.data);
    cli_free(m->want.mean.data);
    cli_free(m->want.max.data);
    cli_problem_free(&m->problem);
}

static size_t bytes_of(const fv_tensor *t) { return (size_t)fv_tensor_count(t) * fv_dtype_size(t->dtype); }

static fv_status open_inspection(inspection *m, const cli_bench_case *one) {
    memset(m, 0, sizeof *m);
    fv_status status = cli_bench_open(&m->problem, one);
    if (status != FV_OK) return status;
    const cli_problem_shape *s = &one->shape;
    const fv_dtype dtype = one->dtype == FV_F64 ? FV_F64 : FV_F32;
    const int64_t blocks = (s->l + BLOCK - 1) / BLOCK;
    for (int i = 0; i < ROWS; i++) m->rows[i] = s->l * (i + 1) / (ROWS + 1);
    m->weights = fv_tensor_2d(NULL, dtype, ROWS, s->l);
    m->weights.data = cli_alloc(bytes_of(&m->weights));
    m->want = (fv_attention_statistics)FV_ATTENTION_STATISTICS_DEFAULT;
    m->want.pool_q = m->want.pool_k = BLOCK;
    m->want.mean = fv_tensor_of(NULL, dtype, 4, (int64_t[]){s->b, s->h, blocks, blocks});
    m->want.max = m->want.mean;
    m->want.mean.data = cli_alloc(bytes_of(&m->want.mean));
    m->want.max.data = cli_alloc(bytes_of(&m->want.max));
    m->bytes[0] = fv_attention_scratch(m->problem.plan, false);
    m->bytes[1] = bytes_of(&m->weights);
    m->bytes[2] = fv_attention_statistics_scratch(m->problem.plan, &m->want);
    m->forward_scratch = cli_alloc(m->bytes[0]);
    m->statistics_scratch = cli_alloc(m->bytes[2]);
    return FV_OK;
}

static fv_status run_pass(inspection *m, int pass) {
    const fv_attention_plan *plan = m->problem.plan;
    if (pass == 0) return fv_attention_forward(plan, &m->problem.call, &m->problem.x, m->forward_scratch);
    if (pass == 1)
        return fv_attention_weights(plan, &m->problem.call, &m->problem.x, FV_CAPTURE_SOFTMAX, 0, 0, m->rows, ROWS,
                                    &m->weights);
    return fv_attention_statistics_compute(plan, &m->problem.call, &m->problem.x, &m->want, m->statistics_scratch);
}

/* Weights times values is the output; the means of the blocks of a row of blocks add up to one for each query. */
static double error_of(const inspection *m) {
    const fv_tensor *v = &m->problem.x.t[FV_V], *out = &m->problem.x.t[FV_OUT];
    const int64_t length = v->dim[2], blocks = m->want.mean.dim[2];
    double worst = 0;
    for (int i = 0; i < ROWS; i++) {
        double sum = 0, size = 0;
        for (int64_t j = 0; j < length; j++) {
            const double p = fv_tensor_get(&m->weights, (int64_t[]){i, j});
            const double x = p * fv_tensor_get(v, (int64_t[]){0, 0, j, 0});
            sum += x, size += fabs(x);
        }
        worst = fmax(worst, fabs(sum - fv_tensor_get(out, (int64_t[]){0, 0, m->rows[i], 0})) / (size + 1e-6));
    }
    for (int64_t a = 0; a < blocks; a++) {
        double sum = 0;
        for (int64_t b = 0; b < blocks; b++) {
            const int64_t wide = length - b * BLOCK < BLOCK ? length - b * BLOCK : BLOCK;
            sum += (double)wide * fv_tensor_get(&m->want.mean, (int64_t[]){0, 0, a, b});
        }
        worst = fmax(worst, fabs(sum - 1));
    }
    return worst;
}

static fv_status time_inspection(inspection *m, int64_t repeat, double best[PASSES]) {
    fv_status status = FV_OK;
    for (int pass = 0; pass < PASSES; pass++) best[pass] = INFINITY;
    for (int64_t i = -1; i < repeat; i++)
        for (int pass = 0; pass < PASSES && status == FV_OK; pass++) {
            const double start = cli_now();
            status = run_pass(m, pass);
            if (i >= 0) best[pass] = fmin(best[pass], cli_now() - start);
        }
    return status;
}

static fv_status inspection_of(cli_table *table, const cli_bench_case *one, int64_t repeat) {
    static const char *const names[] = {"forward", "weights of 8 rows", "mean and largest of 64 x 64"};
    inspection m;
    double best[PASSES];
    fv_status status = open_inspection(&m, one);
    for (int pass = 0; pass < PASSES && status == FV_OK; pass++) status = run_pass(&m, pass);
    const double error = status == FV_OK ? error_of(&m) : 0;
    if (!(error <= (one->dtype == FV_F32 || one->dtype == FV_F64 ? 2e-3 : 2e-2)))
        status = cli_fail(FV_FAIL, "the weights do not give the output, they differ by %.2g, nothing was timed", error);
    if (status == FV_OK) status = time_inspection(&m, repeat, best);
    for (int pass = 0; pass < PASSES && status == FV_OK; pass++) {
        cli_table_text(table, one->how.mechanism);
        cli_table_text(table, one->shape_text);
        cli_table_text(table, fv_dtype_name(one->dtype));
        cli_table_number(table, one->threads, 0);
        cli_table_text(table, one->causal);
        cli_table_text(table, names[pass]);
        cli_table_number(table, 1e3 * best[pass], 3);
        cli_table_number(table, best[pass] / best[0], 4);
        cli_table_number(table, (double)m.bytes[pass] / 1024, 1);
    }
    close_inspection(&m);
    return status;
}

fv_status cli_bench_statistics(const cli_bench_options *given) {
    static const char *const columns[] = {"mechanism", "shape", "type",     "threads",   "causal",
                                          "what",      "best",  "forwards", "memory KiB"};
    cli_bench_options o = *given;
    cli_table *table = cli_table_new(columns, 9);
    cli_bench_case *cases;
    size_t count;
    if (!cli_given("shape")) o.shape = "1,1,16384,64";
    o.pass = "forward";
    fv_status status = cli_bench_cases(&o, &cases, &count);
    for (size_t i = 0; i < count && status == FV_OK; i++)
        status = cases[i].shape.sequences ? cli_fail(FV_USAGE,
                                                     "--statistics\n  expected sequences of one length\n  found:   "
                                                     "packed sequences\n  try:     without --packed")
                                          : inspection_of(table, &cases[i], o.repeat);
    if (status == FV_OK) cli_table_print(table, cli_format_of(o.output), stdout);
    cli_table_free(table);
    cli_free(cases);
    return status;
}
