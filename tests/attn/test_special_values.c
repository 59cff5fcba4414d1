/* Special values and places: huge and denormal numbers, NaN and infinity in live and in hidden rows, nothing at all,
 * every alignment of an element, strides beyond 2^31 elements, and the accuracy of the exponential that softmax
 * uses. */
#include "attn_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <cmocka.h>

/* ---- small dense calls on one head */

enum { LQ = 37, LK = 150, D = 12, DV = 20 };
typedef struct call {
    fv_attention_options how;
    fv_attention_call call;
    fv_attention_tensors x;
    float q[LQ * D], k[LK * D], v[LK * DV], out[LQ * DV], lse[LQ], bias[LQ * LK];
    float dq[LQ * D], dk[LK * D], dv[LK * DV], dout[LQ * DV];
    unsigned char mask[LQ * LK];
} call;

static call a, b;

static void start(call *c) {
    static const fv_attention_options standard = FV_ATTENTION_DEFAULT;
    *c = (call){.how = standard};
    float *const all[] = {c->q, c->k, c->v, c->dout};
    const int counts[] = {LQ * D, LK * D, LK * DV, LQ * DV};
    for (int t = 0; t < 4; t++)
        for (int i = 0; i < counts[t]; i++)
            all[t][i] = (float)(2 * fv__random_uniform(3, (uint64_t)t, (uint64_t)i) - 1);
    memset(c->mask, 1, sizeof c->mask);
    const int64_t rows[3] = {1, 1, LQ};
    fv_attention_tensors *x = &c->x;
    x->t[FV_Q] = fv_bhld(c->q, FV_F32, 1, 1, LQ, D), x->d[FV_Q] = fv_bhld(c->dq, FV_F32, 1, 1, LQ, D);
    x->t[FV_K] = fv_bhld(c->k, FV_F32, 1, 1, LK, D), x->d[FV_K] = fv_bhld(c->dk, FV_F32, 1, 1, LK, D);
    x->t[FV_V] = fv_bhld(c->v, FV_F32, 1, 1, LK, DV), x->d[FV_V] = fv_bhld(c->dv, FV_F32, 1, 1, LK, DV);
    x->t[FV_OUT] = fv_bhld(c->out, FV_F32, 1, 1, LQ, DV), x->d[FV_OUT] = fv_bhld(c->dout, FV_F32, 1, 1, LQ, DV);
    x->t[FV_LSE] = fv_tensor_of(c->lse, FV_F32, 3, rows);
}

static void use_bias(call *c) { c->x.t[FV_BIAS] = fv_bhld(c->bias, FV_F32, 1, 1, LQ, LK); }
static void use_mask(call *c) { c->x.t[FV_MASK] = fv_bhld(c->mask, FV_BOOL, 1, 1, LQ, LK); }

static void run(call *c) {
    const fv_status status = fv_attention(&c->how, &c->call, &c->x);
    if (status != FV_OK) fprintf(stderr, "%s\n", fv_message());
    assert_int_equal(status, FV_OK);
}

static bool all_finite(const float *p, int count) {
    for (int i = 0; i < count; i++)
        if (!isfinite(p[i])) return false;
    return true;
}
static void gradients_finite(const call *c) {
    assert_true(all_finite(c->dq, LQ * D) && all_finite(c->dk, LK * D) && all_finite(c->dv, LK * DV));
}

/* Calls `test` on every instruction set, with one and with two threads. */
static void everywhere(void (*test)(void)) {
    for (int isa = 0; isa < FV_ISAS; isa++)
        for (int threads = 1; threads <= 2; threads++) {
            if (!fv__simd_use((fv__isa)isa)) continue;
            fv_set_threads(threads);
            test();
        }
    fv__simd_use(FV_ISAS), fv_set_threads(0);
}

/* ---- sizes of numbers */

/* Scores are whole multiples of `unit`: the softmax is the mean of the values of the best keys, exactly known. */
static void whole_scores(double unit, double other) {
    start(&a);
    a.how.scale = 1;
    for (int i = 0; i < LQ * D; i++) a.q[i] = i % D == 0 ? (float)unit : 0;
    for (int i = 0; i < LK * D; i++) a.k[i] = i % D == 0 ? (float)((i / D % 7 - 9) * other) : 3;
    run(&a);
    for (int d = 0; d < DV; d++) {
        double mean = 0, count = 0;
        for (int j = 6; j < LK; j += 7) mean += (double)a.v[j * DV + d], count++;
        for (int i = 0; i < LQ; i++) assert_true(fabs((double)a.out[i * DV + d] - mean / count) < 1e-6);
        for (int j = 0; j < LK; j++) assert_true(j % 7 == 6 || a.dv[j * DV + d] == 0);
    }
    for (int i = 0; i < LQ; i++) assert_true(fabs((double)a.lse[i] + 3 * unit * other) < 4 + 3e-6 * unit * other);
    gradients_finite(&a);
}
static void huge_one(void) {
    whole_scores(1e4, 1), whole_scores(1e8, 1e8), whole_scores(1e15, 1e15), whole_scores(1e30, 1),
        whole_scores(1, 1e30);
}
static void huge_test(void **state) { (void)state, everywhere(huge_one); }

/* All scores the same enormous number, or an enormous negative bias on all keys of a row: the plain mean, nothing is
 * masked. */
static void equal_one(void) {
    static const float sizes[] = {1e4f, -1e4f, 1e30f, -1e30f, -2e38f};
    for (int s = 0; s < 5; s++) {
        start(&a), use_bias(&a);
        memset(a.q, 0, sizeof a.q);
        for (int i = 0; i < LQ * LK; i++) a.bias[i] = sizes[s];
        run(&a);
        for (int d = 0; d < DV; d++) {
            double mean = 0;
            for (int j = 0; j < LK; j++) mean += (double)a.v[j * DV + d] / LK;
            for (int i = 0; i < LQ; i++) assert_true(fabs((double)a.out[i * DV + d] - mean) < 1e-6);
        }
        gradients_finite(&a);
    }
}
static void equal_test(void **state) { (void)state, everywhere(equal_one); }

/* -inf, the lowest number and a boolean hide the same keys as long as one is left. */
static void lowest_one(void) {
    for (int how = 0; how < 2; how++) {
        start(&a), use_mask(&a), start(&b), use_bias(&b);
        for (int i = 0; i < LQ * LK; i++) {
            a.mask[i] = i % LK == 5 || fv__random_below(1, 1, (uint64_t)i, 2);
            b.bias[i] = a.mask[i] ? 0 : how ? -INFINITY : -3.4028235e38f;
        }
        run(&a), run(&b);
        for (int i = 0; i < LQ * DV; i++) assert_true(a.out[i] == b.out[i]);
        for (int i = 0; i < LQ; i++) assert_true(a.lse[i] == b.lse[i]);
        for (int i = 0; i < LK * DV; i++) assert_true(a.dv[i] == b.dv[i]);
        for (int i = 0; i < LK * D; i++) assert_true(a.dk[i] == b.dk[i]);
    }
}
static void lowest_test(void **state) { (void)state, everywhere(lowest_one); }

/* Denormal inputs are small numbers, not zero and not traps. */
static void denormal_one(void) {
    start(&a);
    for (int i = 0; i < LQ * D; i++) a.q[i] *= 1e-40f;
    for (int i = 0; i < LK * D; i++) a.k[i] *= 1e-40f;
    for (int i = 0; i < LK * DV; i++) a.v[i] *= 1e-38f;
    run(&a);
    for (int d = 0; d < DV; d++) {
        double mean = 0;
        for (int j = 0; j < LK; j++) mean += (double)a.v[j * DV + d] / LK;
        for (int i = 0; i < LQ; i++) assert_true(fabs((double)a.out[i * DV + d] - mean) < 1e-43 * LK);
    }
    for (int i = 0; i < LQ; i++) assert_true(fabs((double)a.lse[i] - log(LK)) < 1e-6);
    gradients_finite(&a);
}
static void denormal_test(void **state) { (void)state, everywhere(denormal_one); }

/* ---- NaN and infinity */

typedef enum hiding { BY_CAUSAL, BY_WINDOW, BY_MASK, BY_BIAS, BY_LENGTH, BY_PACKING, HIDINGS } hiding;

/* Keys 60..79 are hidden from the first rows by `way`; `seen` tells from which row on they are live (LQ: from none). */
static int hide(call *c, hiding way) {
    static const int32_t live[1] = {60}, cu_q[3] = {0, 20, LQ}, cu_k[3] = {0, 60, LK};
    start(c);
    if (way == BY_CAUSAL) c->how.causal = FV_CAUSAL_UPPER_LEFT, c->call.q_offset = 40;
    if (way == BY_WINDOW) c->how.window = FV_WINDOW(-1, 9), c->call.q_offset = 31;
    if (way == BY_MASK) use_mask(c);
    if (way == BY_BIAS) use_bias(c);
    for (int i = 0; i < LQ * LK && (way == BY_MASK || way == BY_BIAS); i++)
        if (i / LK < 20 && i % LK >= 60 && i % LK < 80) c->mask[i] = 0, c->bias[i] = -INFINITY;
    if (way == BY_LENGTH) c->x.t[FV_KV_LEN] = fv_tensor_1d((void *)live, FV_I32, 1);
    if (way == BY_PACKING)
        c->x.t[FV_CU_Q] = fv_tensor_1d((void *)cu_q, FV_I32, 3),
        c->x.t[FV_CU_K] = fv_tensor_1d((void *)cu_k, FV_I32, 3);
    return way == BY_LENGTH ? LQ : 20;
}

/* Rows that do not see the bad keys are the same to the last bit; rows that do are NaN when a key is. */
static void leak_one(void) {
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int way = 0; way < HIDINGS; way++)
        for (int what = 0; what < 6; what++) {
            const int rows = hide(&a, (hiding)way);
            hide(&b, (hiding)way);
            for (int j = 60; j < 80; j++) {
                for (int d = 0; d < D && what < 3; d++) b.k[j * D + d] = bad[what];
                for (int d = 0; d < DV && what >= 3; d++) b.v[j * DV + d] = bad[what - 3];
            }
            run(&a), run(&b);
            for (int i = 0; i < rows; i++) {
                assert_memory_equal(&a.out[i * DV], &b.out[i * DV], DV * 4);
                assert_memory_equal(&a.dq[i * D], &b.dq[i * D], D * 4);
                assert_true(a.lse[i] == b.lse[i]);
            }
            for (int i = rows + 19; i < LQ; i++) /* by then every bad key is live */
                for (int d = 0; d < DV; d++) assert_false(what % 3 == 0 ? !isnan(b.out[i * DV + d]) : false);
            if (way == BY_LENGTH)
                assert_memory_equal(a.dk, b.dk, sizeof a.dk), assert_memory_equal(a.dv, b.dv, sizeof a.dv);
        }
}
static void leak_test(void **state) { (void)state, everywhere(leak_one); }

/* NaN in one query: its own row, and the gradients of the keys it sees. */
static void bad_query_one(void) {
    start(&a), start(&b);
    b.q[5 * D + 2] = NAN;
    run(&a), run(&b);
    for (int i = 0; i < LQ; i++)
        for (int d = 0; d < DV; d++)
            assert_true(i == 5 ? isnan(b.out[i * DV + d]) : a.out[i * DV + d] == b.out[i * DV + d]);
    for (int i = 0; i < LQ; i++)
        for (int d = 0; d < D; d++) assert_true(i == 5 ? isnan(b.dq[i * D + d]) : a.dq[i * D + d] == b.dq[i * D + d]);
    assert_true(isnan(b.dk[0]) && isnan(b.dk[LK * D - 1]));
}
static void bad_query_test(void **state) { (void)state, everywhere(bad_query_one); }

/* ---- nothing */

/* Every size zero in turn, with every feature: out is zero where there is a row without keys, gradients are zero. */
static void empty_case(const int64_t *size, int features) {
    const int64_t q[4] = {size[0], size[1], size[2], size[4]}, k[4] = {size[0], size[1], size[3], size[4]},
                  v[4] = {size[0], size[1], size[3], size[5]}, out[4] = {size[0], size[1], size[2], size[5]};
    float memory[FV_OPERANDS][2][4096 / 16];
    int32_t live[4] = {0}, cu[2] = {0, (int32_t)size[2]}, cu_k[2] = {0, (int32_t)size[3]};
    unsigned char mask[64] = {0};
    fv_attention_tensors x = {0};
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    for (int p = 0; p < FV_OPERANDS; p++)
        for (int i = 0; i < 256; i++) memory[p][0][i] = memory[p][1][i] = 7;
    const int64_t *dims[] = {q, k, v};
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is_qkv(p))
            x.t[p] = fv_tensor_of(memory[p][0], FV_F32, 4, dims[p]),
            x.d[p] = fv_tensor_of(memory[p][1], FV_F32, 4, dims[p]);
    x.t[FV_OUT] = fv_tensor_of(memory[FV_OUT][0], FV_F32, 4, out);
    x.d[FV_OUT] = fv_tensor_of(memory[FV_OUT][1], FV_F32, 4, out);
    x.t[FV_LSE] = fv_tensor_of(memory[FV_LSE][0], FV_F32, 3, out),
    x.d[FV_LSE] = fv_tensor_of(memory[FV_LSE][1], FV_F32, 3, out);
    const int64_t plane[4] = {size[0], size[1], size[2], size[3]};
    if (features & 1)
        x.t[FV_BIAS] = fv_tensor_of(memory[FV_BIAS][0], FV_F32, 4, plane),
        x.d[FV_BIAS] = fv_tensor_of(memory[FV_BIAS][1], FV_F32, 4, plane);
    if (features & 2) x.t[FV_MASK] = fv_tensor_of(mask, FV_BOOL, 4, plane);
    if (features & 4)
        x.t[FV_SINKS] = fv_tensor_1d(memory[FV_SINKS][0], FV_F32, size[1]),
        x.d[FV_SINKS] = fv_tensor_1d(memory[FV_SINKS][1], FV_F32, size[1]);
    if (features & 8)
        x.t[FV_SLOPES] = fv_tensor_1d(memory[FV_SLOPES][0], FV_F32, size[1]),
        x.d[FV_SLOPES] = fv_tensor_1d(memory[FV_SLOPES][1], FV_F32, size[1]);
    if (features & 16)
        how.causal = FV_CAUSAL_LOWER_RIGHT, how.dropout = 0.5, how.window = FV_WINDOW(1, -1), how.softcap = 2;
    if (features & 32 && size[0] == 1)
        x.t[FV_CU_Q] = fv_tensor_1d(cu, FV_I32, 2), x.t[FV_CU_K] = fv_tensor_1d(cu_k, FV_I32, 2);
    else if (features & 32)
        x.t[FV_KV_LEN] = fv_tensor_1d(live, FV_I32, size[0]);
    const fv_status status = fv_attention(&how, NULL, &x);
    if (status != FV_OK) {
        fprintf(stderr, "%s\n", fv_message());
        assert_true(status == FV_USAGE && size[4] == 0); /* no width: refused or done, not crashed */
        return;
    }
    const bool hidden = size[3] == 0 || (features & 2) || ((features & 32) && size[0] > 1);
    for (int64_t i = 0; hidden && i < fv_tensor_count(&x.t[FV_OUT]); i++) assert_true(memory[FV_OUT][0][i] == 0);
    for (int64_t i = 0; hidden && i < fv_tensor_count(&x.t[FV_LSE]); i++)
        assert_true(memory[FV_LSE][0][i] == -INFINITY);
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is(p, FV_ROLE_DIFFERENTIABLE))
            for (int64_t i = 0; x.d[p].rank && (hidden || size[2] == 0) && i < fv_tensor_count(&x.d[p]); i++)
                assert_true(memory[p][1][i] == 0);
}
static void empty_one(void) {
    for (int zero = 0; zero < 64; zero++)
        for (int features = 0; features < 64; features++) {
            int64_t size[6] = {1 + features % 2, 2, 3, 2, 3, 5};
            for (int s = 0; s < 6; s++)
                if (zero >> s & 1) size[s] = 0;
            empty_case(size, features);
        }
}
static void empty_test(void **state) { (void)state, everywhere(empty_one); }

/* ---- places in memory */

/* Every tensor on every element of a vector: the same bits. */
static void alignment_test(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        exact_case e;
        fv__simd_use((fv__isa)(seed % 4));
        exact_make(&e, "softmax", seed, FV_F32, 60000, 0);
        assert_int_equal(case_run(&e.c, RUN_FORWARD | RUN_BACKWARD), FV_OK);
        const int64_t count = fv_tensor_count(&e.c.x.t[FV_OUT]), keys = fv_tensor_count(&e.c.x.t[FV_K]);
        double *wanted = malloc((size_t)(count + keys + 1) * sizeof *wanted);
        const fv_tensor out = e.c.x.t[FV_OUT], dk = e.c.x.d[FV_K];
        for (int64_t n = 0; n < count; n++) wanted[n] = get_at(&out, place(&out, n));
        for (int64_t n = 0; dk.rank && n < keys; n++) wanted[count + n] = get_at(&dk, place(&dk, n));
        for (int shift = 1; shift < 17; shift += 3) {
            char *moved[2 * FV_OPERANDS] = {NULL};
            attn_case c = e.c;
            for (int p = 0; p < 2 * FV_OPERANDS; p++) {
                fv_tensor *t = p < FV_OPERANDS ? &c.x.t[p] : &c.x.d[p - FV_OPERANDS];
                if (!t->rank || fv_operand_is(p % FV_OPERANDS, FV_ROLE_INTEGER)) continue;
                const size_t bytes = c.elements[p] * 4;
                moved[p] = malloc(bytes + 256);
                char *at = (char *)(((uintptr_t)moved[p] + 63) & ~(uintptr_t)63) + 4 * ((shift + p) % 16);
                t->data = memcpy(at, t->data, bytes);
            }
            assert_int_equal(case_run(&c, RUN_FORWARD | RUN_BACKWARD), FV_OK);
            for (int64_t n = 0; n < count; n++) assert_true(get_at(&c.x.t[FV_OUT], place(&out, n)) == wanted[n]);
            for (int64_t n = 0; dk.rank && n < keys; n++)
                assert_true(get_at(&c.x.d[FV_K], place(&dk, n)) == wanted[count + n]);
            for (int p = 0; p < 2 * FV_OPERANDS; p++) free(moved[p]);
        }
        free(wanted), exact_free(&e);
    }
    fv__simd_use(FV_ISAS);
}

/* Rows, heads and batches further apart than 2^31 elements: memory nobody touches costs nothing. */
static void far_apart_test(void **state) {
    (void)state;
    const size_t bytes = (size_t)1 << 37; /* 128 GiB of addresses */
    const int64_t far = ((int64_t)1 << 31) + 12345;
    char *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        fprintf(stderr, "no address space for 128 GiB here\n");
        skip();
    }
    for (uint64_t seed = 1; seed <= 60; seed++) {
        exact_case e;
        exact_make(&e, "softmax", seed, FV_F32, 60000, (uint64_t)1 << FEATURE_GAPS);
        attn_case c = e.c;
        int64_t used = 0;
        for (int p = 0; p < 2 * FV_OPERANDS; p++) {
            fv_tensor *t = p < FV_OPERANDS ? &c.x.t[p] : &c.x.d[p - FV_OPERANDS];
            if (!t->rank || t->rank < 3) continue;
            const int axis =
                t->rank == 3 ? (int)(seed % 3) : (int)((seed + (uint64_t)p) % 3); /* batch, heads or rows */
            fv_tensor to = fv_tensor_of(NULL, t->dtype, t->rank, t->dim);
            to.stride[axis] = far; /* the others keep theirs: 2^31 is more than all of them reach */
            const int64_t reach = (t->dim[axis] > 4 ? 4 : t->dim[axis]) * far + far / 2;
            if (t->dim[axis] > 4 || used + reach > (int64_t)(bytes / 4)) continue;
            to.data = map + used * 4, used += reach;
            if (fv_tensor_count(t) > 0) assert_int_equal(fv_tensor_copy(&to, t), FV_OK);
            *t = to;
        }
        fv_set_threads(1);
        assert_int_equal(case_run(&e.c, RUN_FORWARD | RUN_BACKWARD), FV_OK);
        assert_int_equal(case_run(&c, RUN_FORWARD | RUN_BACKWARD), FV_OK);
        for (int p = 0; p < FV_OPERANDS; p++) {
            if (fv_operand_is(p, FV_ROLE_RESULT) && c.x.t[p].rank) assert_true(same_bytes(&e.c.x.t[p], &c.x.t[p]));
            if (fv_operand_is(p, FV_ROLE_DIFFERENTIABLE) && c.x.d[p].rank)
                assert_true(same_bytes(&e.c.x.d[p], &c.x.d[p]));
        }
        exact_free(&e);
        madvise(map, bytes, MADV_DONTNEED);
    }
    munmap(map, bytes);
    fv_set_threads(0);
}

/* ---- the exponential of softmax */

/* Two keys with scores 0 and x, values (1, 0) and (0, 1): out is (f, f p), and p = 2^x to the last bits. scale = ln
 * 2 makes the score in units of log 2 exactly x. */
typedef struct accuracy {
    double worst, sum;
    int64_t count;
    float at;
} accuracy;

static void exp2_batch(const float *x, int64_t n, int64_t keys, accuracy *got) {
    static float out[4096 * 2], k[300], v[600], lse[4096];
    const int64_t rows[3] = {1, 1, n};
    int32_t live[1] = {2};
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    fv_attention_tensors t = {0};
    how.scale = 0.69314718055994530942;
    memset(k, 0, sizeof k), memset(v, 0, sizeof v);
    k[1] = 1, v[0] = 1, v[3] = 1;
    t.t[FV_Q] = fv_bhld((void *)x, FV_F32, 1, 1, n, 1), t.t[FV_K] = fv_bhld(k, FV_F32, 1, 1, keys, 1);
    t.t[FV_V] = fv_bhld(v, FV_F32, 1, 1, keys, 2), t.t[FV_OUT] = fv_bhld(out, FV_F32, 1, 1, n, 2);
    t.t[FV_LSE] = fv_tensor_of(lse, FV_F32, 3, rows);
    if (keys > 2) t.t[FV_KV_LEN] = fv_tensor_1d(live, FV_I32, 1);
    assert_int_equal(fv_attention(&how, NULL, &t), FV_OK);
    for (int64_t i = 0; i < n; i++) {
        const double want = exp2((double)x[i]), found = (double)out[2 * i + 1] / (double)out[2 * i];
        int e;
        frexp(want, &e);
        const double error = (found - want) / ldexp(1, e - 24);
        if (want < 0x1p-125) { /* may be zero below the normal numbers */
            assert_true(found >= 0 && found < 0x1p-124);
            continue;
        }
        got->sum += error, got->count++;
        if (!(fabs(error) <= got->worst)) got->worst = fabs(error), got->at = x[i];
    }
}

static void exp2_one(void) {
    static float x[4096];
    accuracy got = {0};
    const int batches = getenv("FOVEA_TEST_QUICK") ? 20 : getenv("FOVEA_TEST_LONG") ? 20000 : 600;
    for (int i = 0; i < batches; i++) {
        for (int j = 0; j < 4096; j++) {
            const double u = fv__random_uniform(17, (uint64_t)i, (uint64_t)j);
            /* a third over the range, a third near zero, a third over all exponents */
            x[j] = (float)(i % 3 == 0 ? -130 * u : i % 3 == 1 ? -2 * u : -ldexp(1 + u, (int)(j % 33) - 26));
        }
        exp2_batch(x, 4096, i % 2 ? 2 : 300, &got);
    }
    const double mean = got.sum / (double)got.count;
    const double allowed = 3; /* 2 of the exponential (test_simd), and the rounding of the output */
    if (got.worst > allowed || fabs(mean) > 0.02)
        fprintf(stderr, "softmax of %.9g on %s: %.3f ulp, mean %.4f of %lld\n", (double)got.at,
                fv__isa_name(fv__simd_f32_now()->isa), got.worst, mean, (long long)got.count);
    assert_true(got.worst <= allowed);
    assert_true(fabs(mean) <= 0.02);
}
static void exp2_test(void **state) {
    (void)state;
    fv_set_threads(1);
    for (int isa = 0; isa < FV_ISAS; isa++)
        if (fv__simd_use((fv__isa)isa)) exp2_one();
    fv__simd_use(FV_ISAS), fv_set_threads(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(huge_test),     cmocka_unit_test(equal_test),     cmocka_unit_test(lowest_test),
        cmocka_unit_test(denormal_test), cmocka_unit_test(leak_test),      cmocka_unit_test(bad_query_test),
        cmocka_unit_test(empty_test),    cmocka_unit_test(alignment_test), cmocka_unit_test(far_apart_test),
        cmocka_unit_test(exp2_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
