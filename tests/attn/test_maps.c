/* Weights of rows and statistics of whole sequences against the plain reference: with the identity for values its
 * output is the matrix of weights, with every feature, and from that blocks, columns and entropies follow. A failure
 * prints the line that repeats it:
 *     test_maps MECHANISM SEED */
#include "attn_case.h"
#include "attn/position/t5_buckets.h"

#include "fovea/statistics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int failures;

static void complain(const attn_case *c, const char *where, const char *what, double found, double wanted) {
    if (failures++ > 20) return;
    fprintf(stderr, "attn/test_maps '%s' %llu   (%s %s: %.12g, wanted %.12g; B%d H%d/%d L%d,%d D%d)\n",
            c->how.mechanism, (unsigned long long)c->seed, where, what, found, wanted, (int)c->b, (int)c->h, (int)c->kv,
            (int)c->lq, (int)c->lk, (int)c->d);
}

/* ---- the oracle */

/* w[((n * H + h) * Lq + i) * Lk + j], i and j inside sequence n; zero where nothing is. */
typedef struct oracle {
    double *before, *after; /* dropout */
    fv__sequence *sequence;
    int64_t sequences;
} oracle;

/* The weights of every sequence, from the reference on values that are the identity of their sequence. */
static double *matrices(const attn_case *c, double dropout, oracle *o) {
    fv_attention_tensors x = c->x;
    fv_attention_options how = c->how;
    how.dropout = dropout;
    memset(x.d, 0, sizeof x.d);
    x.t[FV_LSE].rank = 0;
    double *v = calloc((size_t)(c->b * c->kv * c->lk * c->lk) + 1, 8),
           *out = calloc((size_t)(c->b * c->h * c->lq * c->lk) + 1, 8);
    x.t[FV_V] = fv_bhld(v, FV_F64, c->b, c->kv, c->lk, c->lk);
    x.t[FV_OUT] = fv_bhld(out, FV_F64, c->b, c->h, c->lq, c->lk);
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, &how, &x), FV_OK);
    o->sequences = plan->sequences;
    o->sequence = realloc(o->sequence, (size_t)(plan->sequences + 1) * sizeof *o->sequence);
    for (int64_t n = 0; n < plan->sequences; n++) {
        const fv__sequence s = o->sequence[n] = fv__attn_sequence(&(fv__run){plan, &x, c->call}, n);
        for (int64_t h = 0; h < c->kv; h++)
            for (int64_t j = 0; j < s.k_len; j++) v[((s.batch * c->kv + h) * c->lk + s.k_start + j) * c->lk + j] = 1;
    }
    assert_int_equal(fv_attention_reference(plan, &c->call, &x), FV_OK);
    double *w = calloc((size_t)(plan->sequences * c->h * c->lq * c->lk) + 1, 8);
    for (int64_t n = 0; n < plan->sequences; n++)
        for (int64_t h = 0; h < c->h; h++)
            for (int64_t i = 0; i < o->sequence[n].q_len; i++)
                memcpy(w + ((n * c->h + h) * c->lq + i) * c->lk,
                       out + ((o->sequence[n].batch * c->h + h) * c->lq + o->sequence[n].q_start + i) * c->lk,
                       (size_t)c->lk * 8);
    fv_attention_plan_free(plan);
    free(v), free(out);
    return w;
}

static oracle oracle_of(const attn_case *c) {
    oracle o = {0};
    o.before = matrices(c, 0, &o);
    o.after = c->how.dropout > 0 ? matrices(c, c->how.dropout, &o) : o.before;
    return o;
}
static void oracle_free(oracle *o) {
    if (o->after != o->before) free(o->after);
    free(o->before), free(o->sequence);
}

/* ---- weights of rows */

static double get4(const fv_tensor *t, int64_t b, int64_t h, int64_t l, int64_t d) {
    const int64_t index[4] = {t->dim[0] == 1 ? 0 : b, t->dim[1] == 1 ? 0 : h, t->dim[2] == 1 ? 0 : l,
                              t->dim[3] == 1 ? 0 : d};
    return fv_tensor_get(t, index);
}

static bool named(const attn_case *c, const char *name) { return !strncmp(c->how.mechanism, name, strlen(name)); }

/* What the tests' own text says of the mechanism: "t5:buckets=6,max-distance=9", "shaw:max-distance=3". */
static double t5_bias(const attn_case *c, int64_t h, int64_t relative) {
    fv__t5_buckets b;
    assert_int_equal(fv__t5_buckets_make(&b, "test", 6, 9, c->how.causal == FV_CAUSAL_NONE), FV_OK);
    return fv_tensor_get(&c->x.t[FV_W0], (int64_t[2]){h, fv__t5_bucket(&b, relative)});
}
static int64_t shaw_row(int64_t relative) { return 3 + (relative < -3 ? -3 : relative > 3 ? 3 : relative); }

/* A score of a capture before the softmax; whether it is hidden is known from the weights. */
static double plain_score(const attn_case *c, const fv_attention_plan *plan, const fv__sequence *s, fv_capture capture,
                          int64_t h, int64_t i, int64_t j) {
    const fv_attention_tensors *x = &c->x;
    double sum = 0;
    for (int64_t d = 0; d < c->d; d++) {
        const double a = get4(&x->t[FV_Q], s->batch, h, s->q_start + i, d),
                     b = get4(&x->t[FV_K], s->batch, h * c->kv / c->h, s->k_start + j, d);
        const double relative =
            named(c, "shaw") ? fv_tensor_get(&x->t[FV_W0], (int64_t[2]){shaw_row(j - i - s->q_offset), d}) : 0;
        sum +=
            named(c, "additive") ? fv_tensor_get(&x->t[FV_W0], (int64_t[2]){h, d}) * tanh(a + b) : a * (b + relative);
    }
    sum *= plan->options.scale;
    const double cap = plan->options.softcap;
    if (capture >= FV_CAPTURE_SOFTCAPPED && cap > 0) sum = cap * tanh(sum / cap);
    if (capture < FV_CAPTURE_BIASED) return sum;
    if (x->t[FV_BIAS].rank) sum += get4(&x->t[FV_BIAS], s->batch, h, s->q_start + i, s->k_start + j);
    if (named(c, "t5")) sum += t5_bias(c, h, j - i - s->q_offset);
    if (x->t[FV_SLOPES].rank) sum -= fv_tensor_get(&x->t[FV_SLOPES], &h) * fabs((double)(i + s->q_offset - j));
    return sum;
}

static void check_rows(attn_case *c, const attn_case *exact, const oracle *o, const fv_attention_plan *plan,
                       const char *where, double tolerance) {
    const int64_t n = below(c, o->sequences > 0 ? o->sequences : 1), h = below(c, c->h);
    if (!o->sequences || !o->sequence[n].q_len) return;
    const fv__sequence *s = &o->sequence[n];
    int64_t rows[40];
    const int64_t count = 1 + below(c, 40);
    for (int64_t i = 0; i < count; i++) rows[i] = below(c, s->q_len);
    const int64_t dim[2] = {count, s->k_len + below(c, 4)};
    const fv_tensor w = make_tensor(c, FV_OPERANDS + FV_INDEX, 2, dim, CANARY);
    for (int capture = FV_CAPTURE_RAW; capture <= FV_CAPTURE_DROPOUT; capture++) {
        if (fv_attention_weights(plan, &c->call, &c->x, (fv_capture)capture, n, h, rows, count, &w) != FV_OK)
            complain(c, where, fv_message(), 0, 0);
        const bool weights = capture >= FV_CAPTURE_SOFTMAX;
        for (int64_t r = 0; r < count; r++)
            for (int64_t j = 0; j < dim[1]; j++) {
                const double *before = o->before + ((n * c->h + h) * c->lq + rows[r]) * c->lk,
                             *after = o->after + ((n * c->h + h) * c->lq + rows[r]) * c->lk;
                const bool seen = j < s->k_len && before[j] != 0;
                const double got = get_at(&w, r * w.stride[0] + j);
                const double want = !seen                           ? (weights ? 0 : -INFINITY)
                                    : capture == FV_CAPTURE_SOFTMAX ? before[j]
                                    : capture == FV_CAPTURE_DROPOUT
                                        ? after[j]
                                        : plain_score(exact, plan, s, (fv_capture)capture, h, rows[r], j);
                double allowed = tolerance * (weights ? 1 : 10 + fabs(want));
                if (weights && seen && c->dtype == FV_F32) /* score and lse are rounded to their own size */
                    allowed += 2e-7 * want * fabs(plain_score(exact, plan, s, FV_CAPTURE_BIASED, h, rows[r], j));
                if (!(got == want || fabs(got - want) <= allowed)) complain(c, where, "weight", got, want);
            }
    }
    free(c->store[FV_OPERANDS + FV_INDEX]);
    c->store[FV_OPERANDS + FV_INDEX] = NULL;
}

/* ---- statistics */

/* memory of the outputs: slots of gradients that integer operands do not have */
enum { MEAN = FV_OPERANDS + FV_MASK, MAX, COLUMNS, ENTROPY };

static fv_attention_statistics random_request(attn_case *c, const oracle *o) {
    static const int64_t sizes[] = {1, 2, 7, 16, 50, 64, 100, 128, 200, 1000};
    fv_attention_statistics want = FV_ATTENTION_STATISTICS_DEFAULT;
    const bool packed = c->x.t[FV_CU_Q].rank != 0;
    if (o->sequences && chance(c, 25)) want.batch = below(c, o->sequences);
    if (chance(c, 25)) want.head = below(c, c->h);
    want.pool_q = sizes[below(c, 10)], want.pool_k = sizes[below(c, 10)];
    want.dropout = chance(c, 50);
    int64_t q_len = 0, k_len = 0;
    for (int64_t n = 0; n < o->sequences; n++) {
        if (want.batch >= 0 && n != want.batch) continue;
        if (o->sequence[n].q_len > q_len) q_len = o->sequence[n].q_len;
        if (o->sequence[n].k_len > k_len) k_len = o->sequence[n].k_len;
    }
    const bool one = want.batch >= 0;
    const int64_t n = one ? 1 : o->sequences, h = want.head >= 0 ? 1 : c->h;
    const int64_t more = chance(c, 50) ? below(c, 3) : 0;
    const int64_t mean[4] = {n, h, (q_len + want.pool_q - 1) / want.pool_q + more,
                             (k_len + want.pool_k - 1) / want.pool_k + below(c, 2)};
    const int64_t max[4] = {n, h, mean[2] + below(c, 2), mean[3]};
    const int64_t columns[3] = {one ? 1 : c->b, h, (one || !packed ? k_len : c->lk) + more},
                  entropy[3] = {one ? 1 : c->b, h, (one ? q_len : c->lq) + more};
    if (chance(c, 70)) want.mean = make_tensor(c, MEAN, 4, mean, CANARY);
    if (chance(c, 70)) want.max = make_tensor(c, MAX, 4, max, CANARY);
    if (chance(c, 70)) want.columns = make_tensor(c, COLUMNS, 3, columns, CANARY);
    if (chance(c, 70) || !(want.mean.rank || want.max.rank || want.columns.rank))
        want.entropy = make_tensor(c, ENTROPY, 3, entropy, CANARY);
    return want;
}

static void compare(const attn_case *c, const char *where, const char *what, const fv_tensor *t, const double *want,
                    double tolerance) {
    for (int64_t e = 0; e < fv_tensor_count(t); e++) {
        const double got = get_at(t, place(t, e));
        if (!(fabs(got - want[e]) <= tolerance * (1 + fabs(want[e])))) complain(c, where, what, got, want[e]);
    }
}

static void expect_blocks(const attn_case *c, const oracle *o, const fv_attention_statistics *want, const fv_tensor *t,
                          bool max, double *to) {
    const double *w = want->dropout ? o->after : o->before;
    for (int64_t n = 0; n < t->dim[0]; n++)
        for (int64_t h = 0; h < t->dim[1]; h++) {
            const int64_t number = want->batch >= 0 ? want->batch : n, head = want->head >= 0 ? want->head : h;
            const fv__sequence *s = &o->sequence[number];
            double *plane = to + (n * t->dim[1] + h) * t->dim[2] * t->dim[3];
            for (int64_t i = 0; i < s->q_len; i++)
                for (int64_t j = 0; j < s->k_len; j++) {
                    const int64_t a = i / want->pool_q, b = j / want->pool_k;
                    const int64_t rows = fmin((double)want->pool_q, (double)(s->q_len - a * want->pool_q)),
                                  keys = fmin((double)want->pool_k, (double)(s->k_len - b * want->pool_k));
                    const double p = w[((number * c->h + head) * c->lq + i) * c->lk + j];
                    double *x = plane + a * t->dim[3] + b;
                    *x = max ? fmax(*x, p) : *x + p / (double)(rows * keys);
                }
        }
}

static void expect_lines(const attn_case *c, const oracle *o, const fv_attention_statistics *want, const fv_tensor *t,
                         bool columns, double *to) {
    const bool one = want->batch >= 0;
    const double *all = columns && want->dropout ? o->after : o->before;
    for (int64_t number = one ? want->batch : 0; number < (one ? want->batch + 1 : o->sequences); number++)
        for (int64_t h = 0; h < t->dim[1]; h++) {
            const fv__sequence *s = &o->sequence[number];
            const int64_t head = want->head >= 0 ? want->head : h, n = one ? 0 : s->batch;
            double *line = to + (n * t->dim[1] + h) * t->dim[2] + (one ? 0 : columns ? s->k_start : s->q_start);
            for (int64_t i = 0; i < s->q_len; i++)
                for (int64_t j = 0; j < s->k_len; j++) {
                    const double p = all[((number * c->h + head) * c->lq + i) * c->lk + j];
                    if (columns)
                        line[j] += p;
                    else if (p > 0)
                        line[i] -= p * log(p);
                }
        }
}

static void check_output(const attn_case *c, const oracle *o, const fv_attention_statistics *want, const char *where,
                         int slot, double tolerance) {
    const fv_tensor *t = slot == MEAN      ? &want->mean
                         : slot == MAX     ? &want->max
                         : slot == COLUMNS ? &want->columns
                                           : &want->entropy;
    static const char *const names[] = {"mean", "max", "columns", "entropy"};
    const char *name = names[slot == MEAN ? 0 : slot == MAX ? 1 : slot == COLUMNS ? 2 : 3];
    if (!t->rank) return;
    double *expected = calloc((size_t)fv_tensor_count(t) + 1, 8);
    if (slot == MEAN || slot == MAX)
        expect_blocks(c, o, want, t, slot == MAX, expected);
    else
        expect_lines(c, o, want, t, slot == COLUMNS, expected);
    compare(c, where, name, t, expected, tolerance);
    if (!gaps_untouched(c, t, slot)) complain(c, where, "writes outside", 1, 0);
    free(expected);
}

/* Scratch starts as NaN and ends with a guard. */
static fv_status statistics(const fv_attention_plan *plan, const fv_attention_call *call, const fv_attention_tensors *x,
                            const fv_attention_statistics *want) {
    const size_t bytes = fv_attention_statistics_scratch(plan, want);
    unsigned char *scratch = malloc(bytes + 64);
    memset(scratch, 0xff, bytes), memset(scratch + bytes, 0x5a, 64);
    fv_status status = fv_attention_statistics_compute(plan, call, x, want, scratch);
    for (int i = 0; i < 64; i++)
        if (scratch[bytes + (size_t)i] != 0x5a) status = fv__fail(FV_FAIL, "statistics: wrote beyond its scratch");
    free(scratch);
    return status;
}

/* Empty tiles above a staircase, full ones far below it, ragged ones between. */
static bool staircase(void *context, int64_t batch, int64_t head, int64_t i, int64_t j) {
    const int64_t step = *(const int64_t *)context + head;
    return j / step < (i + batch) / step || (j / step == (i + batch) / step && (i + 3 * j) % 5 != 0);
}

/* Every third case that is not packed has a block mask on top; the caller frees it. Linear attention has no window. */
static void dress(attn_case *c) {
    int64_t step = 3 + (int64_t)(c->seed % 40);
    const char *m = c->how.mechanism;
    const bool linear = !strcmp(m, "linear"), refuses = linear || strstr(m, "topk") || !strcmp(m, "entmax");
    if (linear && c->how.window.limited) c->how.window.left = -1;
    if (c->seed % 3 || c->x.t[FV_CU_Q].rank || refuses) return;
    fv_block_mask *mask;
    assert_int_equal(fv_block_mask_create(&mask, staircase, &step, c->b, c->h, c->lq, c->lk), FV_OK);
    c->how.blocks = mask;
}

static void undress(attn_case *c) {
    fv_block_mask_free((fv_block_mask *)c->how.blocks);
    case_free(c);
}

static void look(const char *mechanism, uint64_t seed, fv_dtype dtype, int64_t longest, const oracle *o,
                 const attn_case *exact, const char *where, double tolerance) {
    attn_case c;
    case_make(&c, mechanism, seed, dtype, longest);
    dress(&c);
    memset(c.x.d, 0, sizeof c.x.d);
    assert_true(!c.store[MEAN] && !c.store[MAX]); /* slots that only a backward would use */
    if (case_run(&c, RUN_FORWARD) != FV_OK) complain(&c, where, fv_message(), 0, 0);
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, &c.how, &c.x), FV_OK);
    if (strcmp(mechanism, "linear") != 0) check_rows(&c, exact, o, plan, where, tolerance); /* it has no such scores */
    const fv_attention_statistics want = random_request(&c, o);
    if (statistics(plan, &c.call, &c.x, &want) != FV_OK) complain(&c, where, fv_message(), 0, 0);
    for (int slot = MEAN; slot <= ENTROPY; slot++) check_output(&c, o, &want, where, slot, tolerance);
    fv_attention_plan_free(plan);
    undress(&c);
}

static int64_t length_of(uint64_t seed) { return seed % 10 == 9 ? 300 : seed % 4 == 1 ? 90 : 20; }

static void one(const char *mechanism, uint64_t seed) {
    attn_case exact;
    case_make(&exact, mechanism, seed, FV_F64, length_of(seed));
    dress(&exact);
    oracle o = oracle_of(&exact);
    look(mechanism, seed, FV_F64, length_of(seed), &o, &exact, "f64", 1e-11);
    for (int isa = 0; isa < FV_ISAS; isa++) {
        if (!fv__simd_use((fv__isa)isa)) continue;
        look(mechanism, seed, FV_F32, length_of(seed), &o, &exact, fv__isa_name((fv__isa)isa), 2e-5);
    }
    fv__simd_use(FV_ISAS);
    oracle_free(&o);
    undress(&exact);
}

static const char *const texts[] = {"softmax",
                                    "window:left=7,right=3",
                                    "window:left=90,right=0",
                                    "additive",
                                    "t5:buckets=6,max-distance=9",
                                    "shaw:max-distance=3",
                                    "strided:stride=11",
                                    "block-topk:k=2,block=16",
                                    "topk:k=5",
                                    "entmax",
                                    "linear"};

static int64_t per_text(void) { return getenv("FOVEA_TEST_LONG") ? 4000 : getenv("FOVEA_TEST_QUICK") ? 40 : 200; }

static void random_maps(void **state) {
    (void)state;
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
        for (int64_t i = 0; i < per_text(); i++) one(texts[t], (uint64_t)i + 1);
    assert_int_equal(failures, 0);
}

/* ---- bits, poison, refusals */

typedef struct dense {
    fv_attention_options how;
    fv_attention_call call;
    fv_attention_tensors x;
    fv_attention_plan *plan;
    float *data[FV_OPERANDS];
} dense;

static float *give(dense *m, fv_operand operand, fv_tensor shape) {
    const int64_t count = fv_tensor_count(&shape);
    float *p = m->data[operand] = malloc((size_t)count * 4 + 4);
    for (int64_t i = 0; i < count; i++) p[i] = (float)(2 * fv__random_uniform(9, operand, (uint64_t)i) - 1);
    shape.data = p;
    m->x.t[operand] = shape;
    return p;
}
static dense make_dense(int64_t b, int64_t h, int64_t kv, int64_t lq, int64_t lk, int64_t d) {
    static const fv_attention_options standard = FV_ATTENTION_DEFAULT;
    dense m = {.how = standard};
    give(&m, FV_Q, fv_bhld(NULL, FV_F32, b, h, lq, d)), give(&m, FV_K, fv_bhld(NULL, FV_F32, b, kv, lk, d));
    give(&m, FV_V, fv_bhld(NULL, FV_F32, b, kv, lk, d)), give(&m, FV_OUT, fv_bhld(NULL, FV_F32, b, h, lq, d));
    give(&m, FV_LSE, fv_tensor_of(NULL, FV_F32, 3, (int64_t[]){b, h, lq}));
    return m;
}
static void forward(dense *m) {
    assert_int_equal(fv_attention_plan_create(&m->plan, &m->how, &m->x), FV_OK);
    void *scratch = malloc(fv_attention_scratch(m->plan, false));
    assert_int_equal(fv_attention_forward(m->plan, &m->call, &m->x, scratch), FV_OK);
    free(scratch);
}
static void free_dense(dense *m) {
    for (int p = 0; p < FV_OPERANDS; p++) free(m->data[p]);
    fv_attention_plan_free(m->plan);
}

enum { LQ = 700, LK = 610, H = 3, POOL = 90, ROWS = 8, COLS = 7 };
typedef struct result {
    float mean[H * ROWS * COLS], max[H * ROWS * COLS], columns[H * LK], entropy[H * LQ], weights[3 * LK];
} result;

static void all_maps(const dense *m, bool dropout, result *r) {
    fv_attention_statistics want = FV_ATTENTION_STATISTICS_DEFAULT;
    memset(r, 0x55, sizeof *r);
    want.pool_q = want.pool_k = POOL, want.dropout = dropout;
    want.mean = fv_bhld(r->mean, FV_F32, 1, H, ROWS, COLS), want.max = fv_bhld(r->max, FV_F32, 1, H, ROWS, COLS);
    want.columns = fv_tensor_of(r->columns, FV_F32, 3, (int64_t[]){1, H, LK});
    want.entropy = fv_tensor_of(r->entropy, FV_F32, 3, (int64_t[]){1, H, LQ});
    assert_int_equal(statistics(m->plan, &m->call, &m->x, &want), FV_OK);
    const int64_t rows[3] = {1, 333, 699};
    const fv_tensor w = fv_tensor_2d(r->weights, FV_F32, 3, LK);
    assert_int_equal(fv_attention_weights(m->plan, &m->call, &m->x, FV_CAPTURE_DROPOUT, 0, 1, rows, 3, &w), FV_OK);
}

static void one_threads_law(const char *mechanism, double dropout) {
    static result first, again;
    dense m = make_dense(1, H, 1, LQ, LK, 24);
    m.how.causal = FV_CAUSAL_LOWER_RIGHT, m.how.dropout = dropout, m.call.seed = 5, m.how.mechanism = mechanism;
    forward(&m);
    for (int threads = 1; threads <= 4; threads++) {
        fv_set_threads(threads);
        all_maps(&m, true, threads == 1 ? &first : &again);
        if (threads > 1) assert_memory_equal(&first, &again, sizeof first);
    }
    fv_set_threads(0);
    free_dense(&m);
}
static void threads_law(void **state) {
    (void)state;
    one_threads_law("softmax", 0.2), one_threads_law("entmax", 0), one_threads_law("topk:k=40", 0);
}

/* NaN in keys a mask hides from all, in a query that sees nothing, and everywhere in the values: no bit changes. */
static void hidden_law(void **state) {
    (void)state;
    static result clean, dirty;
    static unsigned char keep[LQ * LK];
    for (int i = 0; i < LQ * LK; i++) keep[i] = i % LK % 3 != 1 && i / LK != 5 && i % LK < LK - 9;
    for (int nonfinite = 0; nonfinite < 2; nonfinite++) {
        dense m = make_dense(1, H, H, LQ, LK, 24);
        m.x.t[FV_MASK] = fv_tensor_of(keep, FV_BOOL, 4, (int64_t[]){1, 1, LQ, LK});
        m.how.softcap = 2;
        for (int h = 0; nonfinite && h < H; h++) {
            for (int j = 0; j < LK; j++)
                if (j % 3 == 1 || j >= LK - 9)
                    for (int d = 0; d < 24; d++) m.data[FV_K][(h * LK + j) * 24 + d] = d % 2 ? NAN : INFINITY;
            m.data[FV_Q][(h * LQ + 5) * 24] = NAN;
        }
        forward(&m);
        for (int i = 0; nonfinite && i < H * LK * 24; i++) m.data[FV_V][i] = NAN;
        all_maps(&m, false, nonfinite ? &dirty : &clean);
        free_dense(&m);
    }
    assert_memory_equal(&clean, &dirty, sizeof clean);
    assert_true(clean.entropy[5] == 0 && clean.columns[1] == 0 && clean.columns[LK - 1] == 0 && clean.columns[0] > 0);
}

/* Rows sum to one: so do the columns, together, to the number of queries, and the entropy of equal weights is ln of
 * their number. */
static void identities(void **state) {
    (void)state;
    static result r;
    dense m = make_dense(1, H, H, LQ, LK, 16);
    memset(m.data[FV_Q], 0, H * LQ * 16 * 4);
    forward(&m);
    all_maps(&m, false, &r);
    for (int h = 0; h < H; h++) {
        double sum = 0;
        for (int j = 0; j < LK; j++) sum += (double)r.columns[h * LK + j];
        assert_true(fabs(sum - LQ) < 1e-3);
    }
    for (int i = 0; i < H * LQ; i++) assert_true(fabs((double)r.entropy[i] - log(LK)) < 1e-5);
    for (int i = 0; i < H * ROWS * COLS; i++) {
        assert_true(fabs((double)r.mean[i] - 1.0 / LK) < 1e-7);
        assert_true(fabs((double)r.max[i] - 1.0 / LK) < 1e-7);
    }
    free_dense(&m);
}

/* Scratch grows with the length, not with its square, and a long sequence of any kind fits. */
static void one_scratch_is_linear(const char *mechanism, size_t most) {
    fv_attention_tensors x = {0};
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is_qkv(p)) x.t[p] = fv_bhld(NULL, FV_F32, 1, 1, 65536, 64);
    x.t[FV_OUT] = x.t[FV_Q], x.t[FV_LSE] = fv_tensor_of(NULL, FV_F32, 3, (int64_t[]){1, 1, 65536});
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = mechanism;
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, &how, &x), FV_OK);
    fv_attention_statistics want = FV_ATTENTION_STATISTICS_DEFAULT;
    want.pool_q = want.pool_k = 100;
    want.columns = want.entropy = x.t[FV_LSE];
    want.mean = want.max = fv_bhld(NULL, FV_F32, 1, 1, 656, 656);
    assert_true(fv_attention_statistics_scratch(plan, &want) < most);
    assert_true(fv_attention_statistics_scratch(plan, &want) > 16 * 65536 * 4);
    fv_attention_plan_free(plan);
}
static void scratch_is_linear(void **state) {
    (void)state;
    one_scratch_is_linear("softmax", 6 << 20);
    one_scratch_is_linear("topk", (9 + 6 * (size_t)fv_threads()) << 20); /* parts of columns; rows of each worker */
}

static void refuse(const dense *m, const fv_attention_statistics *want, void *scratch, const char *words) {
    const fv_status status = fv_attention_statistics_compute(m->plan, &m->call, &m->x, want, scratch);
    if (status != FV_USAGE || !strstr(fv_message(), words))
        fprintf(stderr, "expected \"%s\", got \"%s\"\n", words, status == FV_OK ? "success" : fv_message());
    assert_int_equal(status, FV_USAGE);
    assert_non_null(strstr(fv_message(), words));
}

static void refusals(void **state) {
    (void)state;
    static result r;
    dense m = make_dense(2, 2, 1, 30, 40, 8);
    forward(&m);
    fv_attention_statistics good = FV_ATTENTION_STATISTICS_DEFAULT, w;
    good.columns = fv_tensor_of(r.columns, FV_F32, 3, (int64_t[]){2, 2, 40});
    void *scratch = malloc(fv_attention_statistics_scratch(m.plan, &good) + (1 << 20));
    assert_int_equal(fv_attention_statistics_compute(m.plan, &m.call, &m.x, &good, scratch), FV_OK);
    w = (fv_attention_statistics)FV_ATTENTION_STATISTICS_DEFAULT,
    refuse(&m, &w, scratch, "mean, max, columns or entropy");
    assert_int_equal(fv_attention_statistics_scratch(m.plan, &w), 0);
    w = good, w.batch = 2, refuse(&m, &w, scratch, "expected below 2 and 2");
    w = good, w.head = -2, refuse(&m, &w, scratch, "-1 for all");
    w = good, refuse(&m, &w, NULL, "fv_attention_statistics_scratch");
    w = good, w.columns.dim[2] = 39, refuse(&m, &w, scratch, "f32[2,2,40]");
    w = good, w.columns.dtype = FV_F64, refuse(&m, &w, scratch, "\"columns\"");
    w = good, w.columns.data = NULL, refuse(&m, &w, scratch, "expected data");
    w = good, w.entropy = w.columns, w.entropy.dim[1] = 1, refuse(&m, &w, scratch, "\"entropy\"");
    w = good, w.mean = fv_bhld(r.mean, FV_F32, 2, 2, 1, 1), w.pool_q = 0, refuse(&m, &w, scratch, "1 or more");
    w.pool_q = 10, w.pool_k = 40, refuse(&m, &w, scratch, "f32[2,2,3,1]");
    const fv_tensor to = fv_tensor_2d(r.columns, FV_F32, 1, 40), lse = m.x.t[FV_LSE];
    const int64_t row = 0;
    assert_int_equal(fv_attention_weights(m.plan, &m.call, &m.x, (fv_capture)7, 0, 0, &row, 1, &to), FV_USAGE);
    assert_non_null(strstr(fv_message(), "capture"));
    m.x.t[FV_LSE].rank = 0, refuse(&m, &good, scratch, "\"lse\" of the forward");
    fv_attention_plan_free(m.plan);
    forward(&m);
    refuse(&m, &good, scratch, "announce it");
    m.x.t[FV_LSE] = lse;
    fv_attention_plan_free(m.plan);
    const fv_attention_tensors gate = {.t = {[FV_Q] = m.x.t[FV_Q],
                                             [FV_OUT] = m.x.t[FV_Q],
                                             [FV_W0] = fv_tensor_2d(NULL, FV_F32, 2, 8),
                                             [FV_W1] = fv_tensor_1d(NULL, FV_F32, 2)}};
    m.how.mechanism = "spatial-gate";
    assert_int_equal(fv_attention_plan_create(&m.plan, &m.how, &gate), FV_OK);
    refuse(&m, &good, scratch, "expected a mechanism with weights\n  found:   \"spatial-gate\"");
    free(scratch);
    free_dense(&m);
}

/* ---- rows NULL: all of them */

enum { ALL = 300, ALL_KEYS = 70, ALL_WIDTH = 16 };

/* Storage 0: f32. 1: bf16. 2: bf16, the bias too, whose rows are converted one by one. */
static void all_rows_are_the_list_of_all(int storage, fv_capture capture) {
    static float q[ALL * ALL_WIDTH], k[ALL_KEYS * ALL_WIDTH], bias[ALL * ALL_KEYS], lse[ALL];
    static float out[ALL * ALL_WIDTH], listed[ALL * ALL_KEYS], all[(ALL + 1) * ALL_KEYS];
    const fv_dtype dtype = storage ? FV_BF16 : FV_F32;
    for (int i = 0; i < ALL * ALL_WIDTH; i++) q[i] = (float)(i % 13) / 8 - .75f;
    for (int i = 0; i < ALL_KEYS * ALL_WIDTH; i++) k[i] = (float)(i % 11) / 8 - .5f;
    for (int i = 0; i < ALL * ALL_KEYS; i++) bias[i] = (float)(i % 17) / 16, all[i] = -7;
    uint16_t half[3][ALL * ALL_KEYS], half_out[ALL * ALL_WIDTH];
    fv_attention_tensors x = {0};
    x.t[FV_Q] = fv_bhld(q, FV_F32, 1, 1, ALL, ALL_WIDTH), x.t[FV_K] = fv_bhld(k, FV_F32, 1, 1, ALL_KEYS, ALL_WIDTH);
    x.t[FV_BIAS] = fv_bhld(bias, FV_F32, 1, 1, ALL, ALL_KEYS);
    const int port[3] = {FV_Q, FV_K, FV_BIAS};
    for (int i = 0; i < storage + (storage > 0); i++) {
        fv_tensor to = fv_tensor_of(half[i], FV_BF16, 4, x.t[port[i]].dim);
        fv_tensor_copy(&to, &x.t[port[i]]);
        x.t[port[i]] = to;
    }
    x.t[FV_V] = x.t[FV_K];
    x.t[FV_OUT] = fv_bhld(storage ? (void *)half_out : (void *)out, dtype, 1, 1, ALL, ALL_WIDTH);
    x.t[FV_LSE] = fv_tensor_of(lse, FV_F32, 3, (int64_t[]){1, 1, ALL});
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, NULL, &x), FV_OK);
    assert_int_equal(fv_attention(NULL, NULL, &x), FV_OK);
    int64_t rows[ALL];
    for (int i = 0; i < ALL; i++) rows[i] = i;
    const fv_tensor a = fv_tensor_2d(listed, FV_F32, ALL, ALL_KEYS), b = fv_tensor_2d(all, FV_F32, ALL + 1, ALL_KEYS),
                    few = fv_tensor_2d(all, FV_F32, ALL - 1, ALL_KEYS);
    for (int i = 0; i < ALL_KEYS; i++) all[ALL * ALL_KEYS + i] = -7;
    assert_int_equal(fv_attention_weights(plan, NULL, &x, capture, 0, 0, rows, ALL, &a), FV_OK);
    /* the count is not read */
    assert_int_equal(fv_attention_weights(plan, NULL, &x, capture, 0, 0, NULL, 2, &b), FV_OK);
    assert_memory_equal(listed, all, sizeof listed);
    for (int i = 0; i < ALL_KEYS; i++) assert_true(all[ALL * ALL_KEYS + i] == -7);
    assert_int_equal(fv_attention_weights(plan, NULL, &x, capture, 0, 0, NULL, 2, &few), FV_USAGE);
    fv_attention_plan_free(plan);
}

static void test_all_rows(void **state) {
    (void)state;
    for (int storage = 0; storage < 3; storage++) {
        all_rows_are_the_list_of_all(storage, FV_CAPTURE_BIASED);
        all_rows_are_the_list_of_all(storage, FV_CAPTURE_SOFTMAX);
    }
}

int main(int argc, char **argv) {
    if (argc == 3) {
        one(argv[1], strtoull(argv[2], NULL, 10));
        return failures != 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_maps),   cmocka_unit_test(threads_law),
                                       cmocka_unit_test(test_all_rows), cmocka_unit_test(hidden_law),
                                       cmocka_unit_test(identities),    cmocka_unit_test(scratch_is_linear),
                                       cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
