/* bf16 and f16 tensors: bit for bit the f32 call on the same values, rounded to nearest even; near the reference in
 * double; for every mechanism, every feature, any threads; nothing hidden is read. A failure prints the line that
 * repeats it:
 *     test_cast MECHANISM SEED */
#define _GNU_SOURCE
#include "attn_case.h"

#include "attn/mechanism_contract.h"
#include "fovea/statistics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/mman.h>

static int failures;

static void complain(const attn_case *c, const char *what, double found, double wanted) {
    if (failures++ > 20) return;
    fprintf(stderr, "attn/test_cast '%s' %llu   (%s: %.9g, wanted %.9g; B%d H%d/%d L%d,%d D%d,%d)\n", c->how.mechanism,
            (unsigned long long)c->seed, what, found, wanted, (int)c->b, (int)c->h, (int)c->kv, (int)c->lq, (int)c->lk,
            (int)c->d, (int)c->dv);
}

/* ---- a case of 16 bits beside its twin in f32 */

typedef struct half_case {
    attn_case full; /* f32, values that 16 bits hold */
    attn_case half; /* the same tensors in 16 bits, with the same strides */
    fv_dtype dtype;
} half_case;

static uint16_t rounded(fv_dtype dtype, float x) {
    uint16_t bits;
    if (dtype == FV_BF16)
        fv__simd_f32_of(FV_ISA_SCALAR)->to_bf16(&bits, &x, 1);
    else
        fv__simd_f32_of(FV_ISA_SCALAR)->to_f16(&bits, &x, 1);
    return bits;
}
static float widened(fv_dtype dtype, uint16_t bits) {
    float x;
    if (dtype == FV_BF16)
        fv__simd_f32_of(FV_ISA_SCALAR)->from_bf16(&x, &bits, 1);
    else
        fv__simd_f32_of(FV_ISA_SCALAR)->from_f16(&x, &bits, 1);
    return x;
}

/* Operands that may stay in f32 do so in every other case. */
static bool is_half(const half_case *c, int operand) {
    if (fv_operand_is_qkv(operand) || operand == FV_OUT) return true;
    return fv_operand_is(operand, FV_ROLE_DIFFERENTIABLE) && fv__random_below(c->full.seed, 7, (uint64_t)operand, 2);
}

static void make_half(half_case *c, int slot, bool integer) {
    const int operand = slot % FV_OPERANDS;
    fv_tensor *t = slot < FV_OPERANDS ? &c->half.x.t[operand] : &c->half.x.d[operand],
              *f = slot < FV_OPERANDS ? &c->full.x.t[operand] : &c->full.x.d[operand];
    const size_t n = c->full.elements[slot];
    *t = *f;
    if (!f->rank || integer) return;
    c->half.elements[slot] = n;
    if (!is_half(c, operand)) {
        c->half.store[slot] = t->data = malloc(n * 4 + 4);
        memcpy(t->data, f->data, n * 4);
        return;
    }
    uint16_t *to = malloc(n * 2 + 2);
    c->half.store[slot] = t->data = to, t->dtype = c->dtype;
    for (size_t i = 0; i < n; i++) {
        to[i] = rounded(c->dtype, ((float *)f->data)[i]);
        ((float *)f->data)[i] = widened(c->dtype, to[i]);
    }
}

static void fit(attn_case *c) {
    if (!strcmp(c->how.mechanism, "linear") && c->how.window.limited)
        c->how.window.left = -1; /* a state has no left window */
}

static void make_pair(half_case *c, const char *mechanism, uint64_t seed, fv_dtype dtype, int64_t longest) {
    *c = (half_case){.dtype = dtype};
    case_make(&c->full, mechanism, seed, FV_F32, longest);
    fit(&c->full);
    c->half = c->full;
    memset(c->half.store, 0, sizeof c->half.store);
    for (int slot = 0; slot < 2 * FV_OPERANDS; slot++)
        make_half(c, slot,
                  fv_operand_is((fv_operand)(slot % FV_OPERANDS), FV_ROLE_MASK | FV_ROLE_LENGTH | FV_ROLE_INDEX));
}
/* Every other call that can gives the output in f32 a place from the forward to the backward. */
static void add_aux(half_case *c) {
    fv_tensor shape;
    if (c->full.seed % 4 > 1 || c->half.x.t[FV_AUX].rank) return;
    if (fv_attention_operand_shape(&c->half.how, &c->half.x, FV_AUX, &shape) != FV_OK || !shape.rank) return;
    shape.data = c->half.store[FV_AUX] = malloc((size_t)fv_tensor_count(&shape) * 4 + 4);
    c->half.x.t[FV_AUX] = shape;
}
static void free_pair(half_case *c) { case_free(&c->full), case_free(&c->half); }

static double half_at(const fv_tensor *t, int64_t at) {
    if (t->dtype == FV_F32) return (double)((const float *)t->data)[at];
    return (double)widened(t->dtype, ((const uint16_t *)t->data)[at]);
}

/* What 16 bits keep of the f32 results must be the same bits; gaps keep what was there. The f32 results stay: the
 * backward of 16 bits reads its output as it was before it was rounded. */
static void same(half_case *c, int slot) {
    const int operand = slot % FV_OPERANDS;
    const fv_tensor *f = slot < FV_OPERANDS ? &c->full.x.t[operand] : &c->full.x.d[operand],
                    *t = slot < FV_OPERANDS ? &c->half.x.t[operand] : &c->half.x.d[operand];
    char what[40];
    snprintf(what, sizeof what, "%s%s", slot < FV_OPERANDS ? "" : "d", fv_operand_name((fv_operand)operand));
    if (!f->rank) return;
    for (size_t i = 0; i < c->full.elements[slot]; i++) {
        float x = ((const float *)f->data)[i];
        if (t->dtype != FV_F32) x = widened(c->dtype, rounded(c->dtype, x));
        const float y = (float)half_at(t, (int64_t)i);
        if (memcmp(&x, &y, 4) && !(isnan(x) && isnan(y))) complain(&c->full, what, (double)y, (double)x);
    }
}

static void one(const char *mechanism, uint64_t seed, int64_t longest) {
    half_case c;
    make_pair(&c, mechanism, seed, seed % 2 ? FV_BF16 : FV_F16, longest);
    add_aux(&c);
    if (case_run(&c.full, RUN_FORWARD) != FV_OK || case_run(&c.half, RUN_FORWARD) != FV_OK)
        complain(&c.half, fv_message(), 0, 0);
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is(p, FV_ROLE_RESULT)) same(&c, p);
    if (case_run(&c.full, RUN_BACKWARD) != FV_OK || case_run(&c.half, RUN_BACKWARD) != FV_OK)
        complain(&c.half, fv_message(), 0, 0);
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is(p, FV_ROLE_DIFFERENTIABLE)) same(&c, FV_OPERANDS + p);
    free_pair(&c);
}

/* The first example of each mechanism's row. */
static const char *text_of(int t) { return fv_mechanism_at((size_t)t)->examples[0]; }

static int64_t longest_of(uint64_t seed) { return seed % 20 == 19 ? 300 : seed % 4 == 1 ? 90 : 20; }

static void random_calls(void **state) {
    (void)state;
    const uint64_t count = getenv("FOVEA_TEST_LONG") ? 4000 : getenv("FOVEA_TEST_QUICK") ? 60 : 500;
    for (int t = 0; t < (int)fv_mechanism_count(); t++)
        for (uint64_t seed = 1; seed <= count; seed++) one(text_of(t), seed, longest_of(seed));
    assert_int_equal(failures, 0);
}

/* ---- the reference, weights, statistics */

static void against_reference(const char *mechanism, uint64_t seed) {
    half_case c, r;
    const fv_dtype dtype = seed % 2 ? FV_BF16 : FV_F16;
    make_pair(&c, mechanism, seed, dtype, 40), make_pair(&r, mechanism, seed, dtype, 40);
    if (case_run(&c.half, RUN_FORWARD) != FV_OK || case_run(&r.half, RUN_REFERENCE) != FV_OK)
        complain(&c.half, fv_message(), 0, 0);
    const double step = dtype == FV_BF16 ? 1.0 / 128 : 1.0 / 1024; /* two roundings of half a unit */
    const fv_operand operands[] = {FV_OUT, FV_LSE};
    for (int i = 0; i < 2; i++) {
        const fv_tensor *t = &c.half.x.t[operands[i]], *u = &r.half.x.t[operands[i]];
        for (int64_t n = 0; t->rank && n < fv_tensor_count(t); n++) {
            const double a = half_at(t, place(t, n)), b = half_at(u, place(u, n));
            const double allowed = 1e-5 + fabs(b) * (operands[i] == FV_OUT ? step : 1e-5);
            if (!(a == b || fabs(a - b) <= allowed)) complain(&c.half, fv_operand_name(operands[i]), a, b);
        }
    }
    free_pair(&c), free_pair(&r);
}

static fv_attention_plan *plan_of(attn_case *c) {
    fv_attention_plan *plan;
    memset(c->x.d, 0, sizeof c->x.d);
    assert_int_equal(fv_attention_plan_create(&plan, &c->how, &c->x), FV_OK);
    void *scratch = malloc(fv_attention_scratch(plan, false));
    assert_int_equal(fv_attention_forward(plan, &c->call, &c->x, scratch), FV_OK);
    free(scratch);
    return plan;
}

static void same_maps(const char *mechanism, uint64_t seed) {
    half_case c;
    make_pair(&c, mechanism, seed, seed % 2 ? FV_BF16 : FV_F16, longest_of(seed));
    attn_case *both[2] = {&c.full, &c.half};
    fv_attention_plan *plan[2] = {plan_of(&c.full), plan_of(&c.half)};
    const int64_t size = c.full.b * c.full.h * c.full.lk, count = 3, width = c.full.lk;
    const int64_t n = below(&c.full, plan[0]->sequences ? plan[0]->sequences : 1), h = below(&c.full, c.full.h);
    const bool one_head = chance(&c.full, 50);
    float *sums[2], *weights[2];
    for (int i = 0; i < 2; i++) {
        sums[i] = calloc((size_t)size + 1, 4), weights[i] = calloc((size_t)(count * width * 5) + 1, 4);
        const int64_t q_len =
            plan[i]->sequences ? fv__attn_sequence(&(fv__run){plan[i], &both[i]->x, both[i]->call}, n).q_len : 0;
        const int64_t rows[3] = {0, q_len / 2, q_len - 1};
        for (int capture = 0; q_len && capture < 5; capture++) {
            const fv_tensor w = fv_tensor_2d(weights[i] + capture * count * width, FV_F32, count, width);
            if (fv_attention_weights(plan[i], &both[i]->call, &both[i]->x, (fv_capture)capture, n, h, rows, count,
                                     &w) != FV_OK)
                complain(both[i], fv_message(), i, 0);
        }
        if (!plan[i]->sequences) continue;
        fv_attention_statistics want = FV_ATTENTION_STATISTICS_DEFAULT;
        if (one_head) want.batch = n, want.head = h;
        want.dropout = true;
        want.columns =
            fv_tensor_of(sums[i], FV_F32, 3, (int64_t[]){one_head ? 1 : c.full.b, one_head ? 1 : c.full.h, c.full.lk});
        const size_t bytes = fv_attention_statistics_scratch(plan[i], &want);
        unsigned char *scratch = malloc(bytes + 64);
        memset(scratch, 0xff, bytes), memset(scratch + bytes, 0x5a, 64);
        if (fv_attention_statistics_compute(plan[i], &both[i]->call, &both[i]->x, &want, scratch) != FV_OK)
            complain(both[i], fv_message(), i, 0);
        for (int b = 0; b < 64; b++) assert_true(scratch[bytes + (size_t)b] == 0x5a);
        free(scratch);
    }
    if (memcmp(sums[0], sums[1], (size_t)size * 4)) complain(&c.half, "columns", 1, 0);
    if (memcmp(weights[0], weights[1], (size_t)(count * width * 5) * 4)) complain(&c.half, "weights", 1, 0);
    for (int i = 0; i < 2; i++) fv_attention_plan_free(plan[i]), free(sums[i]), free(weights[i]);
    free_pair(&c);
}

static void reference_and_maps(void **state) {
    (void)state;
    const uint64_t count = getenv("FOVEA_TEST_QUICK") ? 30 : 150;
    for (int t = 0; t < (int)fv_mechanism_count(); t++)
        for (uint64_t seed = 1; seed <= count; seed++) {
            if (!strncmp(text_of(t), "topk", 4))
                continue; /* what is nearly equal in double may be chosen differently */
            against_reference(text_of(t), seed);
        }
    for (int t = 0; t < (int)fv_mechanism_count(); t++)
        for (uint64_t seed = 1; fv_mechanism_at((size_t)t)->can & FV_CAN_WEIGHTS && seed <= count; seed++)
            same_maps(text_of(t), seed);
    assert_int_equal(failures, 0);
}

/* ---- threads, and what must not be read */

static void threads_law(void **state) {
    (void)state;
    for (int t = 0; t < (int)fv_mechanism_count(); t++)
        for (uint64_t seed = 1; seed <= 6; seed++) {
            half_case first, again;
            fv_set_threads(1);
            make_pair(&first, text_of(t), seed, FV_BF16, 200);
            assert_int_equal(case_run(&first.half, RUN_FORWARD | RUN_BACKWARD), FV_OK);
            for (int threads = 2; threads <= 4; threads++) {
                fv_set_threads(threads);
                make_pair(&again, text_of(t), seed, FV_BF16, 200);
                assert_int_equal(case_run(&again.half, RUN_FORWARD | RUN_BACKWARD), FV_OK);
                for (int s = 0; s < 2 * FV_OPERANDS; s++) {
                    const fv_tensor *a = s < FV_OPERANDS ? &first.half.x.t[s] : &first.half.x.d[s - FV_OPERANDS],
                                    *b = s < FV_OPERANDS ? &again.half.x.t[s] : &again.half.x.d[s - FV_OPERANDS];
                    if (a->rank && first.half.store[s])
                        assert_memory_equal(a->data, b->data, first.half.elements[s] * fv_dtype_size(a->dtype));
                }
                free_pair(&again);
            }
            free_pair(&first);
        }
    fv_set_threads(0);
}

/* Keys beyond kv_len lie in pages that cannot be read; so do the rows of a gate. */
static void unreadable(void **state) {
    (void)state;
    enum { LIVE = 64, L = 128, D = 32, PAGE = 4096 }; /* LIVE * D * 2 bytes are one page */
    static uint16_t q[L * D], out[L * D];
    static float lse[L];
    uint16_t *k = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(k != MAP_FAILED);
    for (int i = 0; i < LIVE * D; i++) q[i] = k[i] = rounded(FV_BF16, (float)(i % 7) / 8);
    assert_int_equal(mprotect((char *)k + PAGE, PAGE, PROT_NONE), 0);
    int32_t live = LIVE;
    fv_attention_tensors x = {0};
    x.t[FV_Q] = fv_bhld(q, FV_BF16, 1, 1, L, D), x.t[FV_OUT] = fv_bhld(out, FV_BF16, 1, 1, L, D);
    x.t[FV_K] = x.t[FV_V] = fv_bhld(k, FV_BF16, 1, 1, L, D);
    x.t[FV_KV_LEN] = fv_tensor_1d(&live, FV_I32, 1);
    x.t[FV_LSE] = fv_tensor_of(lse, FV_F32, 3, (int64_t[]){1, 1, L});
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, &how, &x), FV_OK);
    void *scratch = malloc(fv_attention_scratch(plan, false));
    assert_int_equal(fv_attention_forward(plan, NULL, &x, scratch), FV_OK);
    float w[L];
    const int64_t row = 5;
    const fv_tensor to = fv_tensor_2d(w, FV_F32, 1, L);
    assert_int_equal(fv_attention_weights(plan, NULL, &x, FV_CAPTURE_SOFTMAX, 0, 0, &row, 1, &to), FV_OK);
    assert_true(w[LIVE - 1] > 0 && w[LIVE] == 0);
    fv__inject(FV_FAULT_ALLOC, 1, false); /* the copy of the keys */
    assert_int_equal(fv_attention_weights(plan, NULL, &x, FV_CAPTURE_SOFTMAX, 0, 0, &row, 1, &to), FV_NO_RESOURCES);
    fv__inject(FV_FAULT_ALLOC, 0, false);
    free(scratch);
    fv_attention_plan_free(plan);
    x.t[FV_Q] = x.t[FV_K];
    x.t[FV_K].rank = x.t[FV_V].rank = x.t[FV_LSE].rank = 0;
    uint16_t one = rounded(FV_BF16, 1), parameters[D];
    for (int i = 0; i < D; i++) parameters[i] = one;
    x.t[FV_W0] = fv_tensor_2d(parameters, FV_BF16, 1, D), x.t[FV_W1] = fv_tensor_1d(&one, FV_BF16, 1);
    how.mechanism = "spatial-gate";
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    assert_true(out[D + 1] != 0 && out[LIVE * D + 1] == 0);
    munmap(k, 2 * PAGE);
}

/* ---- what the plan says and refuses */

static void refuse(const fv_attention_options *how, const fv_attention_tensors *x, const char *words) {
    fv_attention_plan *plan;
    const fv_status status = fv_attention_plan_create(&plan, how, x);
    if (status != FV_USAGE || !strstr(fv_message(), words))
        fprintf(stderr, "expected \"%s\", got \"%s\"\n", words, status == FV_OK ? "success" : fv_message());
    assert_int_equal(status, FV_USAGE);
    assert_non_null(strstr(fv_message(), words));
}

static void promises(void **state) {
    (void)state;
    fv_attention_tensors x = {0}, y;
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    const fv_tensor full = fv_bhld(NULL, FV_F32, 1, 2, 8, 4), half = fv_bhld(NULL, FV_BF16, 1, 2, 8, 4);
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is_qkv(p)) x.t[p] = x.d[p] = half;
    x.t[FV_OUT] = half, x.t[FV_LSE] = fv_tensor_of(NULL, FV_F32, 3, half.dim);
    fv_attention_plan *plan;
    char text[512];
    assert_int_equal(fv_attention_plan_create(&plan, &how, &x), FV_OK);
    fv_attention_plan_describe(plan, text, sizeof text);
    assert_non_null(strstr(text, "bf16 tensors, f32 arithmetic"));
    const size_t bytes = fv_attention_scratch(plan, false);
    fv_attention_plan_free(plan);
    y = x;
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is_qkv(p)) y.t[p] = y.d[p] = full;
    y.t[FV_OUT] = full;
    assert_int_equal(fv_attention_plan_create(&plan, &how, &y), FV_OK);
    assert_int_equal(bytes, fv_attention_scratch(plan, false) + 4 * fv__attn_lines(64, sizeof(float)));
    fv_attention_plan_free(plan);
    y = x, y.t[FV_K] = y.d[FV_K] = full, refuse(&how, &y, "dtype bf16, as q");
    y = x, y.t[FV_V].dtype = y.d[FV_V].dtype = FV_F16, refuse(&how, &y, "dtype bf16, as q");
    y = x, y.t[FV_OUT] = full, refuse(&how, &y, "dtype bf16, as q");
    y = x, y.t[FV_LSE].dtype = FV_BF16, refuse(&how, &y, "dtype f32");
    y = x, y.d[FV_Q] = full, refuse(&how, &y, "dtype bf16");
    y = x, y.t[FV_SINKS] = fv_tensor_1d(NULL, FV_F16, 2), refuse(&how, &y, "dtype bf16, as q, or f32");
    y = x, y.t[FV_SINKS] = fv_tensor_1d(NULL, FV_F32, 2), y.d[FV_SINKS] = fv_tensor_1d(NULL, FV_BF16, 2);
    refuse(&how, &y, "gradient of the dtype of its tensor");
    y = x, y.t[FV_Q] = full, refuse(&how, &y, "dtype f32, as q");
    y = x, y.t[FV_Q].dtype = FV_I16, refuse(&how, &y, "bf16 or f16");
    fv_tensor shape;
    assert_int_equal(fv_attention_operand_shape(&how, &x, FV_LSE, &shape), FV_OK);
    assert_true(shape.dtype == FV_F32 && shape.rank == 3);
    assert_int_equal(fv_attention_operand_shape(&how, &x, FV_OUT, &shape), FV_OK);
    assert_true(shape.dtype == FV_BF16 && shape.rank == 4);
    how.mechanism = "additive";
    assert_int_equal(fv_attention_operand_shape(&how, &x, FV_W0, &shape), FV_OK);
    assert_true(shape.dtype == FV_BF16 && shape.rank == 2);
}

int main(int argc, char **argv) {
    if (argc == 3) {
        const uint64_t seed = strtoull(argv[2], NULL, 10);
        one(argv[1], seed, longest_of(seed));
        return failures != 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_calls), cmocka_unit_test(reference_and_maps),
                                       cmocka_unit_test(threads_law), cmocka_unit_test(unreadable),
                                       cmocka_unit_test(promises)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
