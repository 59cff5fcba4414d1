/* What `fovea bench attention` was asked to time: lists of threads, mechanisms, dtypes, shapes and masks become
 * problems. */
#include "bench.h"
#include "console.h"
#include "flags.h"
#include "fovea/files.h"
#include "mechanism.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From one sentence to a long text, narrow and wide heads: the shapes every comparison of this project uses. */
static const char grid[] =
    "8,12,32,64\n8,12,128,64\n4,12,512,64\n1,12,1024,64\n1,12,2048,64\n1,4,4096,64\n1,1,8192,64\n1,8,1024,128\n"
    "1,4,4096,128";

/* ---- one word of a list */

/* "1,12,2048,64", or with kv heads "1,12/4,2048,64" */
static fv_status parse_shape(const char *text, cli_problem_shape *s) {
    long long b, h, kv, l, d;
    int end = 0;
    bool grouped = sscanf(text, "%lld,%lld/%lld,%lld,%lld%n", &b, &h, &kv, &l, &d, &end) == 5 && !text[end];
    if (!grouped) {
        bool plain = sscanf(text, "%lld,%lld,%lld,%lld%n", &b, &h, &l, &d, &end) == 4 && !text[end];
        kv = h;
        if (!plain)
            return cli_fail(FV_USAGE,
                            "--shape: wrong shape\n  expected BATCH,HEADS,LENGTH,WIDTH such as 1,12,2048,64 or "
                            "1,12/4,2048,64\n  found:   %s",
                            text);
    }
    if (b < 1 || h < 1 || kv < 1 || h % kv || l < 1 || d < 1 || b > 65536 || h > 65536 || l > 1 << 24 || d > 65536)
        return cli_fail(
            FV_USAGE,
            "--shape: sizes out of range\n  expected positive sizes, and kv heads that divide the heads\n  found:   %s",
            text);
    *s = (cli_problem_shape){.b = b, .h = h, .hkv = kv, .l = l, .d = d};
    return FV_OK;
}

static const char *const causal_names[] = {"none", "upper-left", "lower-right", NULL};
static const char *const dtype_names[] = {"f32", "f64", "bf16", "f16", NULL};
static const fv_dtype dtypes[] = {FV_F32, FV_F64, FV_BF16, FV_F16};

/* The words of "a,b" as indices into `names`. */
static fv_status choices(const char *flag, const char *text, const char *const *names, int *index, size_t *count) {
    *count = 0;
    for (const char *at = text; *at || at == text;) {
        size_t size = strcspn(at, ",");
        int found = 0;
        while (names[found] && (strlen(names[found]) != size || strncmp(names[found], at, size) != 0)) ++found;
        if (!names[found] || *count == 8) {
            char known[128] = "";
            for (int i = 0; names[i]; i++)
                snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", names[i]);
            return cli_fail(FV_USAGE,
                            "%s: unknown or too many values\n  expected some of %s, with commas between\n  found:   %s",
                            flag, known, text);
        }
        index[(*count)++] = found;
        at += size;
        if (*at == ',') ++at;
    }
    return FV_OK;
}

static fv_status parse_threads(const char *text, int *threads, size_t *count) {
    *count = 0;
    for (const char *at = text; *at || at == text;) {
        char *end;
        long n = strtol(at, &end, 10);
        if (end == at || n < 1 || n > 1024 || (*end && *end != ',') || *count == 64)
            return cli_fail(FV_USAGE,
                            "--threads: wrong numbers\n  expected numbers from 1 to 1024, such as 1,2\n  found:   %s",
                            text);
        threads[(*count)++] = (int)n;
        at = end + (*end == ',');
    }
    return FV_OK;
}

/* ---- packed sequences */

/* Random lengths from low to high; or the same number of tokens in lengths that differ by one at most. */
static void pack(cli_bench_case *one, int64_t sequences, int64_t low, int64_t high, bool equal) {
    int32_t *start = cli_keep(cli_alloc((size_t)(sequences + 1) * sizeof *start));
    cli_random r = {5};
    for (int64_t i = 0; i < sequences; i++)
        start[i + 1] = start[i] + (int32_t)(low + cli_random_below(&r, high - low + 1));
    const int64_t total = start[sequences];
    for (int64_t i = 0; equal && i < sequences; i++) start[i + 1] = (int32_t)(total * (i + 1) / sequences);
    one->shape.b = 1, one->shape.l = total, one->shape.sequences = sequences, one->shape.start = start;
    snprintf(one->shape_text, sizeof one->shape_text, "%lld x %s%lld..%lld,%lld,%lld", (long long)sequences,
             equal ? "equal to " : "", (long long)low, (long long)high, (long long)one->shape.h,
             (long long)one->shape.d);
}

static fv_status parse_packed(const cli_bench_options *o, int64_t *low, int64_t *high) {
    long long a, b;
    int end = 0;
    bool good = sscanf(o->packed, "%lld..%lld%n", &a, &b, &end) == 2 && !o->packed[end];
    if (!good || a < 1 || b < a || b > 1 << 20 || o->sentences > (INT64_C(1) << 30) / b)
        return cli_fail(
            FV_USAGE,
            "--packed: wrong lengths\n  expected SHORTEST..LONGEST such as 5..60, at most 2^30 tokens\n  found:   %s",
            o->packed);
    *low = a, *high = b;
    return FV_OK;
}

/* ---- a file */

static fv_status wrong_shapes(const char *path, const fv_tensor *q, const fv_tensor *k) {
    char shape[2][128];
    fv_tensor_describe(q, shape[0], sizeof shape[0]);
    fv_tensor_describe(k, shape[1], sizeof shape[1]);
    return cli_fail(FV_BAD_DATA,
                    "%s: wrong shapes\n  expected q, k and v as (batch, heads, length, head_dim), kv heads that divide "
                    "the heads\n  found:   q %s, k %s",
                    path, shape[0], shape[1]);
}

static fv_status wrong_offsets(const char *path, const fv_tensor *cu) {
    char shape[128];
    fv_tensor_describe(cu, shape, sizeof shape);
    return cli_fail(FV_BAD_DATA, "%s: cu_seqlens_q\n  expected i32 (sequences + 1)\n  found:   %s", path, shape);
}

static fv_status shape_of_file(const cli_bench_options *o, cli_bench_case *one) {
    fv_tensor_file *file;
    fv_tensor q = {0}, k = {0}, cu;
    fv_status status = fv_tensor_file_open(&file, o->in);
    if (status != FV_OK) return status;
    status = fv_tensor_file_find(file, "q", &q);
    if (status == FV_OK) status = fv_tensor_file_find(file, "k", &k);
    if (status == FV_OK && (q.rank != 4 || k.rank != 4 || q.dim[2] != k.dim[2] || k.dim[1] < 1 || q.dim[1] % k.dim[1]))
        status = wrong_shapes(o->in, &q, &k);
    if (status == FV_OK)
        one->shape = (cli_problem_shape){
            .b = q.dim[0], .h = q.dim[1], .hkv = k.dim[1], .l = q.dim[2], .d = q.dim[3], .bias = one->shape.bias};
    if (status == FV_OK && fv_tensor_file_has(file, "cu_seqlens_q")) {
        status = fv_tensor_file_find(file, "cu_seqlens_q", &cu);
        if (status == FV_OK && (cu.rank != 1 || cu.dtype != FV_I32 || cu.dim[0] < 2))
            status = wrong_offsets(o->in, &cu);
        if (status == FV_OK) {
            one->shape.sequences = cu.dim[0] - 1;
            one->shape.start = memcpy(cli_keep(cli_alloc((size_t)cu.dim[0] * 4)), cu.data, (size_t)cu.dim[0] * 4);
        }
    }
    const cli_problem_shape *s = &one->shape;
    char kv[32] = "";
    if (s->hkv != s->h) snprintf(kv, sizeof kv, "/%lld", (long long)s->hkv);
    snprintf(one->shape_text, sizeof one->shape_text, "%lld,%lld%s,%lld,%lld", (long long)s->b, (long long)s->h, kv,
             (long long)s->l, (long long)s->d);
    fv_tensor_file_close(file);
    return status;
}

/* Values of the file instead of random ones, in the dtype of the problem. */
static fv_status fill_from(const char *path, cli_problem *problem) {
    static const struct {
        const char *name;
        fv_operand operand;
        bool gradient;
    } each[] = {
        {"q", FV_Q, false}, {"k", FV_K, false}, {"v", FV_V, false}, {"bias", FV_BIAS, false}, {"do", FV_OUT, true}};
    fv_tensor_file *file;
    fv_status status = fv_tensor_file_open(&file, path);
    for (size_t i = 0; i < sizeof each / sizeof *each && status == FV_OK; i++) {
        const fv_tensor *to = each[i].gradient ? &problem->x.d[each[i].operand] : &problem->x.t[each[i].operand];
        fv_tensor from;
        if (to->rank == 0 || !fv_tensor_file_has(file, each[i].name)) continue;
        status = fv_tensor_file_find(file, each[i].name, &from);
        if (status == FV_OK) status = fv_tensor_copy(to, &from);
    }
    fv_tensor_file_close(file);
    return status;
}

fv_status cli_bench_open(cli_problem *problem, const cli_bench_case *one) {
    fv_set_threads(one->threads);
    fv_status status = cli_problem_of(problem, &one->how, &one->shape, one->dtype, one->backward);
    return status == FV_OK && one->in ? fill_from(one->in, problem) : status;
}

/* ---- all combinations */

typedef struct lists {
    int threads[64], causal[8], dtype[8];
    size_t n_threads, n_causal, n_dtype, mechanisms, shapes;
    char **mechanism, **shape;
    int64_t low, high; /* packed, or 0 */
} lists;

static fv_status read_lists(const cli_bench_options *o, lists *l) {
    const char *causal = o->grid && !cli_given("causal") ? "none,upper-left" : o->causal;
    l->mechanism = cli_list_split(o->attention, &l->mechanisms);
    l->shape = cli_list_split(o->grid ? grid : o->shape, &l->shapes);
    if (o->in) l->shapes = 1;
    fv_status status = parse_threads(o->threads, l->threads, &l->n_threads);
    if (status == FV_OK) status = choices("--causal", causal, causal_names, l->causal, &l->n_causal);
    if (status == FV_OK) status = choices("--dtype", o->dtype, dtype_names, l->dtype, &l->n_dtype);
    if (status == FV_OK && o->packed) status = parse_packed(o, &l->low, &l->high);
    return status;
}

static void describe_with(const cli_bench_options *o, cli_bench_case *one) {
    char *to = one->with;
    const size_t size = sizeof one->with;
    if (o->dropout > 0) snprintf(to, size, "dropout %g", o->dropout);
    if (one->shape.bias != CLI_BIAS_NONE)
        snprintf(to + strlen(to), size - strlen(to), "%s%s bias", *to ? ", " : "", o->bias);
}

static cli_bias bias_of(const char *name) {
    return strcmp(name, "none") == 0 ? CLI_BIAS_NONE : strcmp(name, "full") == 0 ? CLI_BIAS_FULL : CLI_BIAS_TRAINED;
}

/* `equal`: the second half of a packed pair. */
static fv_status make_case(const cli_bench_options *o, const lists *l, const char *mechanism, const char *shape,
                           bool equal, cli_bench_case *one) {
    const fv_mechanism *m;
    fv_status status = cli_mechanism_find(mechanism, &m);
    if (status != FV_OK) return status;
    one->in = o->in;
    one->how.mechanism = cli_keep(cli_text("%s", mechanism));
    one->how.dropout = o->dropout;
    one->backward = (m->can & FV_CAN_BACKWARD) && strcmp(o->pass, "both") == 0;
    one->shape.bias = bias_of(o->bias);
    if (o->in) {
        status = shape_of_file(o, one);
    } else {
        const cli_bias bias = one->shape.bias;
        status = parse_shape(shape, &one->shape);
        one->shape.bias = bias;
        snprintf(one->shape_text, sizeof one->shape_text, "%s", shape);
        if (status == FV_OK && o->packed) pack(one, o->sentences, l->low, l->high, equal);
    }
    describe_with(o, one);
    return status;
}

fv_status cli_bench_cases(const cli_bench_options *o, cli_bench_case **cases, size_t *count) {
    lists l = {0};
    fv_status status = read_lists(o, &l);
    const size_t pair = o->packed && !o->in ? 2 : 1, inner = l.n_dtype * l.n_causal * l.shapes * pair;
    const size_t all = status == FV_OK ? l.n_threads * l.mechanisms * inner : 0;
    *cases = cli_alloc(all * sizeof **cases);
    for (*count = 0; *count < all && status == FV_OK; ++*count) {
        size_t i = *count;
        cli_bench_case *one = &(*cases)[i];
        one->how = (fv_attention_options)FV_ATTENTION_DEFAULT;
        const bool equal = i % pair;
        i /= pair;
        const int causal = l.causal[i % l.n_causal];
        i /= l.n_causal;
        const char *shape = o->in ? "" : l.shape[i % l.shapes];
        i /= l.shapes;
        one->dtype = dtypes[l.dtype[i % l.n_dtype]];
        i /= l.n_dtype;
        const char *mechanism = l.mechanism[i % l.mechanisms];
        one->threads = l.threads[i / l.mechanisms];
        one->how.causal = causal == 0 ? FV_CAUSAL_NONE : causal == 1 ? FV_CAUSAL_UPPER_LEFT : FV_CAUSAL_LOWER_RIGHT;
        snprintf(one->causal, sizeof one->causal, "%s", causal_names[causal]);
        status = make_case(o, &l, mechanism, shape, equal, one);
    }
    cli_free(l.mechanism);
    cli_free(l.shape);
    return status;
}

/* ---- operations */

/* The same problem with one sequence of `length`, as far as a plan needs to know. */
static fv_status flops_of_one(const cli_problem *problem, int64_t length, bool backward, double *flops) {
    static const fv_operand rows[] = {FV_Q, FV_K, FV_V, FV_OUT, FV_LSE};
    fv_attention_tensors x = problem->x;
    fv_attention_plan *plan;
    fv_attention_options how = problem->how;
    memset(&x.t[FV_CU_Q], 0, sizeof x.t[FV_CU_Q]);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (x.t[rows[i]].rank) x.t[rows[i]].dim[2] = length;
        if (x.d[rows[i]].rank) x.d[rows[i]].dim[2] = length;
    }
    fv_status status = fv_attention_plan_create(&plan, &how, &x);
    if (status == FV_OK) *flops += fv_attention_flops(plan, NULL, backward);
    fv_attention_plan_free(plan);
    return status;
}

fv_status cli_bench_flops(const cli_problem *problem, const cli_bench_case *one, bool backward, double *flops) {
    const cli_problem_shape *s = &one->shape;
    fv_status status = FV_OK;
    *flops = s->sequences ? 0 : fv_attention_flops(problem->plan, NULL, backward);
    for (int64_t i = 0; i < s->sequences && status == FV_OK; i++)
        status = flops_of_one(problem, s->start[i + 1] - s->start[i], backward, flops);
    return status;
}
