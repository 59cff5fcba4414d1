/* fovea bench decode: one new row for every head over a cache of keys and values, beside the rate at which this machine
 * reads memory. Nothing is timed before its result agreed with attention over the same keys. */
#include "bench.h"
#include "console.h"
#include "flags.h"
#include "fovea/cache.h"

#include <math.h>
#include <string.h>

/* Caches are used in turn, as those of the layers of a model are, so that none is still in the processor's own memory
 * when its turn comes again; the memory that is read beside them is as large. */
enum { MOST = 64, ENOUGH = 256 << 20 };

typedef struct decoding {
    fv_kv_cache *cache[MOST];
    int64_t caches;
    fv_decode_plan *plan;
    fv_decode_tensors x;
    cli_problem problem; /* q and out, and the keys and values in f32 */
    void *scratch;
} decoding;

static void close_decoding(decoding *d) {
    for (int64_t i = 0; i < d->caches; i++) fv_kv_cache_free(d->cache[i]);
    fv_decode_plan_free(d->plan);
    cli_free(d->scratch);
    cli_problem_free(&d->problem);
}

static fv_status fill_caches(decoding *d, const fv_cache_options *keep) {
    fv_status status = FV_OK;
    for (int64_t n = 1; d->caches < n && status == FV_OK;) {
        fv_kv_cache **cache = &d->cache[d->caches];
        status = fv_kv_cache_create(cache, keep);
        if (status != FV_OK) break;
        d->caches++;
        status = fv_kv_cache_append(*cache, &d->problem.x.t[FV_K], &d->problem.x.t[FV_V], NULL);
        n = 1 + ENOUGH / (int64_t)fv_kv_cache_bytes(*cache);
        if (n > MOST) n = MOST;
    }
    return status;
}

/* Queries of one row, keys and values of `l`: a problem of attention whose tensors are the cache's too. */
static fv_status open_decoding(decoding *d, const cli_bench_case *one) {
    const cli_problem_shape *s = &one->shape;
    const fv_cache_options keep = {s->b, s->hkv, s->d, s->d, one->dtype, FV_CACHE_CONTIGUOUS, s->l, 0, 0};
    const fv_decode_options how = FV_DECODE_DEFAULT;
    memset(d, 0, sizeof *d);
    fv_set_threads(one->threads);
    fv_status status = cli_problem_of(&d->problem, &one->how, s, FV_F32, false);
    if (status == FV_OK) status = fill_caches(d, &keep);
    if (status == FV_OK) status = fv_decode_plan_create(&d->plan, &how, d->cache[0], s->h, 1);
    if (status != FV_OK) return status;
    d->x.q = fv_tensor_slice(d->problem.x.t[FV_Q], 2, 0, 1);
    const fv_tensor out = fv_bhld(NULL, FV_F32, s->b, s->h, 1, s->d);
    d->x.out = cli_problem_new(&d->problem, &out);
    d->scratch = cli_alloc(fv_decode_scratch(d->plan, d->cache[0]) + 1);
    return FV_OK;
}

/* (Hkv,L,D) of sequence b */
static fv_tensor sequence(const fv_tensor *t, int64_t b) {
    fv_tensor one = fv_tensor_of((float *)t->data + b * t->stride[0], FV_F32, 3, t->dim + 1);
    memcpy(one.stride, t->stride + 1, 3 * sizeof *one.stride);
    return one;
}

/* Attention over what the cache holds, rounded as it is stored. */
static fv_status check_decoding(decoding *d, const cli_bench_case *one) {
    const cli_problem_shape *s = &one->shape;
    fv_attention_tensors x = {0};
    x.t[FV_Q] = d->x.q, x.t[FV_K] = d->problem.x.t[FV_K], x.t[FV_V] = d->problem.x.t[FV_V];
    x.t[FV_OUT] = cli_problem_new(&d->problem, &d->x.out);
    fv_status status = FV_OK;
    for (int64_t b = 0; b < s->b && status == FV_OK; b++) {
        fv_tensor k = sequence(&x.t[FV_K], b), v = sequence(&x.t[FV_V], b);
        status = fv_kv_cache_read(d->cache[0], b, 0, &k, &v);
    }
    if (status == FV_OK) status = fv_attention(NULL, NULL, &x);
    if (status == FV_OK) status = fv_decode(d->plan, d->cache[0], &d->x, d->scratch);
    if (status != FV_OK) return status;
    const double difference = cli_difference(&d->x.out, &x.t[FV_OUT]);
    if (difference <= 2e-3) return FV_OK;
    return cli_fail(FV_FAIL, "decode: the result differs from attention by %.2g, nothing was timed", difference);
}

/* In turn: a call, then as many bytes only read. */
static fv_status time_decoding(const cli_bench_options *o, decoding *d, const cli_bench_case *one, double *seconds,
                               double *read) {
    fv_status status = FV_OK;
    const double bytes = fv_decode_bytes(d->plan, d->cache[0], 1);
    cli_reader *reader = cli_reader_new((size_t)bytes, d->caches, one->threads);
    for (int64_t i = -1; i < o->repeat && status == FV_OK; i++) { /* the first round warms up */
        const int64_t round = i + 1, at = i < 0 ? 0 : i;
        const double start = cli_now();
        status = fv_decode(d->plan, d->cache[round % d->caches], &d->x, d->scratch);
        seconds[at] = cli_now() - start;
        read[at] = cli_reader_seconds(reader, round);
    }
    cli_reader_free(reader);
    return status;
}

static void row(const cli_bench_options *o, cli_table *table, const cli_bench_case *one, const decoding *d,
                double *seconds, double *read) {
    const cli_timing t = cli_bench_summary(seconds, o->repeat), r = cli_bench_summary(read, o->repeat);
    const double bytes = fv_decode_bytes(d->plan, d->cache[0], 1);
    cli_table_text(table, one->shape_text);
    cli_table_text(table, fv_dtype_name(one->dtype));
    cli_table_number(table, one->threads, 0);
    cli_table_number(table, 1e3 * t.median, 3);
    cli_table_number(table, 1e3 * t.sd, 3);
    cli_table_number(table, 1e3 * t.best, 3);
    cli_table_number(table, bytes / t.best / 1e9, 1);
    cli_table_number(table, bytes / r.best / 1e9, 1);
    cli_table_number(table, 100 * r.best / t.best, 1);
    cli_table_number(table, 100 * r.median / t.median, 1);
}

static fv_status bench_one(const cli_bench_options *o, cli_table *table, const cli_bench_case *one) {
    if (one->dtype == FV_F64)
        return cli_fail(FV_USAGE, "--dtype f64: a cache stores f32, bf16 or f16\n  try:     --dtype f32,bf16");
    decoding d;
    double *seconds = cli_alloc((size_t)o->repeat * 2 * sizeof *seconds), *read = seconds + o->repeat;
    fv_status status = open_decoding(&d, one);
    if (status == FV_OK) status = check_decoding(&d, one);
    if (status == FV_OK) status = time_decoding(o, &d, one, seconds, read);
    if (status == FV_OK) row(o, table, one, &d, seconds, read);
    close_decoding(&d);
    cli_free(seconds);
    return status;
}

fv_status cli_bench_decode(const cli_bench_options *o) {
    static const char *const columns[] = {"shape", "type", "threads", "ms",        "sd",
                                          "best",  "GB/s", "read",    "% of read", "median %"};
    cli_bench_case *cases;
    size_t count;
    fv_status status = cli_bench_cases(o, &cases, &count);
    if (status != FV_OK) return status;
    cli_table *table = cli_table_new(columns, 10);
    for (size_t i = 0; i < count && status == FV_OK; i++) status = bench_one(o, table, &cases[i]);
    if (status == FV_OK) {
        cli_table_print(table, cli_format_of(o->output), stdout);
        cli_say(
            "%s kernels; GB/s of keys and values, and of the same bytes only read, in turn; every result agreed with "
            "attention over the same keys",
            fv_isa());
    }
    cli_table_free(table);
    cli_free(cases);
    return status;
}
