/* Rotary embedding against plain formulas in double, and its laws: distance alone, norm, transpose, pairings,
 * tables, refusals. */
#include "base/base.h"
#include "fovea/rope.h"
#include "simd/simd.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CANARY 77.0

static const fv_rope_options standard = FV_ROPE_DEFAULT;

/* ---- random tensors of any layout */

static uint64_t seed_now, drawn;
static int64_t below(int64_t n) { return fv__random_below(seed_now, 1, drawn++, n); }
static double uniform(void) { return 2 * fv__random_uniform(seed_now, 2, drawn++) - 1; }

/* Axes in any order of memory, with gaps; every byte of the memory becomes CANARY. */
static fv_tensor make(fv_dtype dtype, const int64_t *dim, int64_t *elements) {
    fv_tensor t = fv_tensor_of(NULL, dtype, 4, dim);
    int order[4] = {0, 1, 2, 3};
    const int64_t layout = below(4);
    if (layout == 1) order[1] = 2, order[2] = 1;
    if (layout == 2) order[2] = 3, order[3] = 2; /* no unit stride on the last axis */
    int64_t step = layout == 3 ? 2 : 1;
    for (int a = 3; a >= 0; a--) {
        t.stride[order[a]] = step;
        step = step * t.dim[order[a]] + (a > 0 && layout ? below(3) : 0);
    }
    *elements = step + 1;
    t.data = malloc((size_t)*elements * 8);
    fv_tensor all = fv_tensor_1d(t.data, dtype, *elements);
    fv_tensor_fill(&all, CANARY);
    return t;
}

static void randomize(const fv_tensor *t) {
    int64_t at[4];
    for (at[0] = 0; at[0] < t->dim[0]; at[0]++)
        for (at[1] = 0; at[1] < t->dim[1]; at[1]++)
            for (at[2] = 0; at[2] < t->dim[2]; at[2]++)
                for (at[3] = 0; at[3] < t->dim[3]; at[3]++) fv_tensor_set(t, at, uniform());
}

/* ---- the formulas, written again */

static double plain_frequency(const fv_rope_options *o, int64_t r, int64_t i) {
    const double pi = 3.14159265358979323846, two_i = 2.0 * (double)i, d = (double)r;
    const double f = pow(o->base, -two_i / d), s = o->factor, wave = 2 * pi / f;
    if (o->scaling == FV_ROPE_LINEAR) return f / s;
    if (o->scaling == FV_ROPE_NTK) return pow(o->base * pow(s, d / (d - 2)), -two_i / d);
    if (o->scaling == FV_ROPE_LLAMA3) {
        const double longest = o->original_length / o->low, shortest = o->original_length / o->high;
        if (wave > longest) return f / s;
        if (wave < shortest) return f;
        const double smooth = (o->original_length / wave - o->low) / (o->high - o->low);
        return (1 - smooth) * f / s + smooth * f;
    }
    if (o->scaling == FV_ROPE_YARN) {
        double lo = d * log(o->original_length / (2 * pi * o->beta_fast)) / (2 * log(o->base));
        double hi = d * log(o->original_length / (2 * pi * o->beta_slow)) / (2 * log(o->base));
        if (o->whole_ramp) lo = floor(lo), hi = ceil(hi);
        lo = lo < 0 ? 0 : lo, hi = hi > d - 1 ? d - 1 : hi;
        const double ramp = (double)i <= lo ? 0 : (double)i >= hi ? 1 : ((double)i - lo) / (hi - lo);
        return f * (1 - ramp) + f / s * ramp;
    }
    return f;
}

static int64_t plain_position(const fv_rope_options *o, int64_t b, int64_t l) {
    const fv_tensor *p = &o->position;
    if (!p->rank) return o->offset + l;
    const int64_t one[1] = {l}, two[2] = {p->rank == 2 && p->dim[0] == 1 ? 0 : b, l};
    return (int64_t)fv_tensor_get(p, p->rank == 1 ? one : two);
}

/* Element c of the turned row. */
static double plain_turn(const fv_rope_options *o, const fv_tensor *x, const int64_t *at, bool backward) {
    const int64_t r = o->columns ? o->columns : x->dim[3], c = at[3];
    if (c >= r) return fv_tensor_get(x, at);
    const bool halves = o->pairing == FV_ROPE_HALF, second = halves ? c >= r / 2 : c % 2;
    const int64_t pair = halves ? c % (r / 2) : c / 2, across = halves ? r / 2 : 1;
    const int64_t mate[4] = {at[0], at[1], at[2], second ? c - across : c + across};
    double angle = (double)plain_position(o, at[0], at[2]) * plain_frequency(o, r, pair);
    if (backward) angle = -angle;
    const double own = fv_tensor_get(x, at), other = fv_tensor_get(x, mate);
    return o->magnitude * (own * cos(angle) + (second ? 1 : -1) * other * sin(angle));
}

/* ---- random calls against them */

typedef struct position_store {
    int32_t narrow[64];
    int64_t wide[64];
} position_store;

static void random_options(fv_rope_options *o, const int64_t *dim, position_store *store) {
    *o = standard;
    o->pairing = below(2) ? FV_ROPE_HALF : FV_ROPE_INTERLEAVED;
    if (below(2)) o->columns = 2 * (1 + below(dim[3] / 2));
    if (below(2)) o->base = 100 + 1e5 * fabs(uniform());
    if (below(3) == 0) o->magnitude = 0.5 + fabs(uniform());
    o->scaling = (fv_rope_scaling)below(5);
    if (o->scaling == FV_ROPE_NTK && (o->columns ? o->columns : dim[3]) == 2) o->scaling = FV_ROPE_UNSCALED;
    o->factor = 1 + 15 * fabs(uniform()), o->original_length = 300 + 4000 * fabs(uniform());
    o->whole_ramp = below(2);
    const int64_t kind = below(4), batch = kind == 3 ? dim[0] : 1;
    if (kind == 0) return;
    if (kind == 1) {
        o->offset = below(3000) - 1000;
        return;
    }
    for (int i = 0; i < 64; i++) store->wide[i] = store->narrow[i] = (int32_t)below(5000) - 100;
    const int64_t two[2] = {batch, dim[2]};
    const bool wide = below(2);
    o->position = fv_tensor_of(wide ? (void *)store->wide : store->narrow, wide ? FV_I64 : FV_I32, 2, two);
    if (kind == 2 && below(2)) o->position = fv_tensor_1d(o->position.data, o->position.dtype, dim[2]);
}

/* An angle of up to 5000 radians is known to an ulp of itself times the error of pow: 5e-12 in both computations. */
static double allowed(fv_dtype dtype) {
    return dtype == FV_F64 ? 5e-12 : dtype == FV_F32 ? 6e-7 : dtype == FV_BF16 ? 1.2e-2 : 1.5e-3;
}

static void one_random(uint64_t seed, fv_dtype dtype) {
    static const int64_t widths[] = {2, 4, 6, 16, 32, 34, 64, 80, 128, 130, 192, 260};
    seed_now = seed, drawn = 0;
    const int64_t dim[4] = {1 + below(3), 1 + below(3), below(12) ? 1 + below(20) : 0, widths[below(12)]};
    position_store store;
    fv_rope_options o;
    random_options(&o, dim, &store);
    int64_t room, ignored;
    fv_tensor x = make(dtype, dim, &ignored), y = make(dtype, dim, &room);
    const bool in_place = below(2), backward = below(2);
    randomize(&x);
    if (in_place) assert_int_equal(fv_tensor_copy(&y, &x), FV_OK);
    const fv_status status = (backward ? fv_rope_backward : fv_rope_forward)(&o, in_place ? &y : &x, &y);
    if (status != FV_OK) fprintf(stderr, "%s\n", fv_message());
    assert_int_equal(status, FV_OK);
    int64_t at[4];
    for (at[0] = 0; at[0] < dim[0]; at[0]++)
        for (at[1] = 0; at[1] < dim[1]; at[1]++)
            for (at[2] = 0; at[2] < dim[2]; at[2]++)
                for (at[3] = 0; at[3] < dim[3]; at[3]++) {
                    const double want = plain_turn(&o, &x, at, backward), found = fv_tensor_get(&y, at);
                    if (!(fabs(want - found) <= allowed(dtype) * (1 + fabs(want))))
                        fprintf(stderr, "seed %d %s: %.9g, wanted %.9g\n", (int)seed, fv_dtype_name(dtype), found,
                                want);
                    assert_true(fabs(want - found) <= allowed(dtype) * (1 + fabs(want)));
                    fv_tensor_set(&y, at, CANARY);
                }
    const fv_tensor all = fv_tensor_1d(y.data, dtype, room);
    for (int64_t i = 0; i < room; i++) assert_true(fv_tensor_get(&all, &i) == CANARY); /* nothing outside was written */
    free(x.data), free(y.data);
}

static void formulas(void **state) {
    static const fv_dtype dtypes[] = {FV_F32, FV_F64, FV_BF16, FV_F16};
    (void)state;
    for (int isa = 0; isa < FV_ISAS; isa++) {
        if (!fv__simd_use((fv__isa)isa)) continue;
        for (uint64_t seed = 1; seed <= 400; seed++) one_random(seed, dtypes[seed % 4]);
    }
    fv__simd_use(FV_ISAS);
}

/* ---- laws, on (1,1,L,D) in f64 */

static void rows_of(double *x, int64_t count) {
    for (int64_t i = 0; i < count; i++) x[i] = uniform();
}
static fv_tensor one_head(double *x, int64_t length, int64_t width) { return fv_bhld(x, FV_F64, 1, 1, length, width); }

/* <R_m q, R_n k> depends on m - n only; the norm of a row stays. */
static void distance_law(void **state) {
    (void)state;
    enum { L = 40, D = 32 };
    double q[L * D], k[L * D], first[D], norm = 0;
    seed_now = 3, drawn = 0;
    rows_of(first, D), rows_of(k, D);
    for (int l = 0; l < L; l++) memcpy(q + l * D, first, sizeof first), memcpy(k + l * D, k, sizeof first);
    for (int d = 0; d < D; d++) norm += first[d] * first[d];
    for (int pairing = 0; pairing < 2; pairing++) {
        double a[L * D], b[L * D];
        fv_tensor from_q = one_head(q, L, D), from_k = one_head(k, L, D), to_q = one_head(a, L, D),
                  to_k = one_head(b, L, D);
        fv_rope_options o = standard;
        o.pairing = (fv_rope_pairing)pairing, o.offset = 1000, o.columns = 24;
        assert_int_equal(fv_rope_forward(&o, &from_q, &to_q), FV_OK);
        assert_int_equal(fv_rope_forward(&o, &from_k, &to_k), FV_OK);
        double by_distance[2 * L], least = INFINITY, most = -INFINITY;
        for (int m = 0; m < L; m++)
            for (int n = 0; n < L; n++) {
                double dot = 0, length = 0;
                for (int d = 0; d < D; d++) dot += a[m * D + d] * b[n * D + d], length += a[m * D + d] * a[m * D + d];
                if (m == 0 || n == 0) by_distance[m - n + L] = dot;
                assert_true(fabs(dot - by_distance[m - n + L]) < 1e-11 && fabs(length - norm) < 1e-12);
                least = fmin(least, dot), most = fmax(most, dot);
            }
        assert_true(most - least > 0.1); /* and it does depend on it */
    }
}

/* Backward of forward is where one began; with a magnitude it is the transpose, <Rx, y> = <x, R'y>. */
static void transpose_law(void **state) {
    (void)state;
    enum { L = 33, D = 48 };
    double x[L * D], y[L * D], rx[L * D], ry[L * D];
    seed_now = 4, drawn = 0;
    rows_of(x, L * D), rows_of(y, L * D);
    fv_tensor tx = one_head(x, L, D), ty = one_head(y, L, D), trx = one_head(rx, L, D), try_ = one_head(ry, L, D);
    for (int pairing = 0; pairing < 2; pairing++) {
        fv_rope_options o = standard;
        o.pairing = (fv_rope_pairing)pairing, o.columns = 40;
        assert_int_equal(fv_rope_forward(&o, &tx, &trx), FV_OK);
        assert_int_equal(fv_rope_backward(&o, &trx, &trx), FV_OK);
        for (int i = 0; i < L * D; i++) assert_true(fabs(rx[i] - x[i]) < 1e-14);
        o.magnitude = 1.25;
        assert_int_equal(fv_rope_forward(&o, &tx, &trx), FV_OK);
        assert_int_equal(fv_rope_backward(&o, &ty, &try_), FV_OK);
        double left = 0, right = 0;
        for (int i = 0; i < L * D; i++) left += rx[i] * y[i], right += x[i] * ry[i];
        assert_true(fabs(left - right) < 1e-11);
    }
}

/* Halves are neighbouring pairs of permuted columns: the same bytes. */
static void permutation_law(void **state) {
    (void)state;
    enum { L = 21, D = 144, R = 140 };
    static float a[L * D], b[L * D];
    seed_now = 5, drawn = 0;
    for (int l = 0; l < L; l++)
        for (int c = 0; c < D; c++) {
            const int mate = c >= R ? c : c % 2 ? R / 2 + c / 2 : c / 2; /* column c of pairs is this one of halves */
            a[l * D + c] = b[l * D + mate] = (float)uniform();
        }
    fv_tensor ta = fv_bhld(a, FV_F32, 1, 1, L, D), tb = fv_bhld(b, FV_F32, 1, 1, L, D);
    fv_rope_options o = standard;
    o.columns = R, o.offset = 7;
    assert_int_equal(fv_rope_forward(&o, &tb, &tb), FV_OK);
    o.pairing = FV_ROPE_INTERLEAVED;
    assert_int_equal(fv_rope_forward(&o, &ta, &ta), FV_OK);
    for (int l = 0; l < L; l++)
        for (int c = 0; c < D; c++) {
            const int mate = c >= R ? c : c % 2 ? R / 2 + c / 2 : c / 2;
            assert_memory_equal(&a[l * D + c], &b[l * D + mate], 4);
        }
}

/* ---- tables: of the caller or computed, by position or row by row, the same bytes */

static void table_law(void **state) {
    (void)state;
    enum { B = 2, H = 3, L = 37, D = 36, P = 90, R = 34 };
    static float x[B * H * L * D], want[B * H * L * D], found[B * H * L * D], c[P * R / 2], s[P * R / 2];
    static float c_rows[B * L * R / 2], s_rows[B * L * R / 2];
    int64_t position[B * L];
    seed_now = 6, drawn = 0;
    for (int i = 0; i < B * H * L * D; i++) x[i] = (float)uniform();
    for (int i = 0; i < B * L; i++) position[i] = below(P);
    const int64_t by_batch[2] = {B, L}, rows[3] = {B, L, R / 2};
    const fv_tensor from = fv_blhd(x, FV_F32, B, L, H, D), to_want = fv_blhd(want, FV_F32, B, L, H, D),
                    to_found = fv_blhd(found, FV_F32, B, L, H, D);
    const fv_tensor cosine = fv_tensor_2d(c, FV_F32, P, R / 2), sine = fv_tensor_2d(s, FV_F32, P, R / 2);
    for (int pairing = 0; pairing < 2; pairing++) {
        fv_rope_options o = standard;
        o.pairing = (fv_rope_pairing)pairing, o.columns = R, o.scaling = FV_ROPE_YARN, o.factor = 4,
        o.original_length = 64;
        o.magnitude = fv_rope_attention_factor(&o);
        o.position = fv_tensor_of(position, FV_I64, 2, by_batch);
        assert_int_equal(fv_rope_forward(&o, &from, &to_want), FV_OK);
        assert_int_equal(fv_rope_tables(&o, &cosine, &sine), FV_OK);
        fv_rope_options given = standard;
        given.pairing = o.pairing, given.columns = R, given.position = o.position;
        given.cosine = cosine, given.sine = sine;
        const int64_t before = fv__alloc_count();
        assert_int_equal(fv_rope_forward(&given, &from, &to_found), FV_OK);
        assert_int_equal(fv__alloc_count(), before);
        assert_memory_equal(found, want, sizeof want);
        for (int i = 0; i < B * L; i++) {
            memcpy(c_rows + i * R / 2, c + position[i] * R / 2, R / 2 * 4);
            memcpy(s_rows + i * R / 2, s + position[i] * R / 2, R / 2 * 4);
        }
        given.position.rank = 0;
        given.cosine = fv_tensor_of(c_rows, FV_F32, 3, rows), given.sine = fv_tensor_of(s_rows, FV_F32, 3, rows);
        memset(found, 0, sizeof found);
        assert_int_equal(fv_rope_forward(&given, &from, &to_found), FV_OK);
        assert_memory_equal(found, want, sizeof want);
    }
}

static void offset_law(void **state) {
    (void)state;
    enum { L = 50, D = 16 };
    double x[L * D], all[L * D], part[D];
    seed_now = 7, drawn = 0;
    rows_of(x, L * D);
    fv_tensor from = one_head(x, L, D), to = one_head(all, L, D);
    fv_rope_options o = standard;
    assert_int_equal(fv_rope_forward(&o, &from, &to), FV_OK);
    assert_memory_equal(all, x, D * sizeof *x);    /* position 0 is not rotated */
    for (o.offset = 0; o.offset < L; o.offset++) { /* row after row, as in decoding */
        fv_tensor row = one_head(x + o.offset * D, 1, D), out = one_head(part, 1, D);
        assert_int_equal(fv_rope_forward(&o, &row, &out), FV_OK);
        assert_memory_equal(part, all + o.offset * D, sizeof part);
    }
}

static void threads_law(void **state) {
    (void)state;
    enum { COUNT = 3 * 5 * 70 * 66 };
    static float x[COUNT], first[COUNT], again[COUNT];
    seed_now = 8, drawn = 0;
    for (int i = 0; i < COUNT; i++) x[i] = (float)uniform();
    const fv_tensor from = fv_bhld(x, FV_F32, 3, 5, 70, 66), a = fv_bhld(first, FV_F32, 3, 5, 70, 66),
                    b = fv_bhld(again, FV_F32, 3, 5, 70, 66);
    for (int threads = 1; threads <= 4; threads++) {
        fv_set_threads(threads);
        assert_int_equal(fv_rope_forward(&standard, &from, threads == 1 ? &a : &b), FV_OK);
        if (threads > 1) assert_memory_equal(first, again, sizeof first);
    }
    fv_set_threads(0);
}

/* ---- known answers */

/* Frequencies that transformers 4.46 computes in f32: Llama 3.1 (head 128, base 500000, factor 8, low 1, high 4, L0
 * 8192), and YaRN (head 128, base 10000, factor 16, L0 4096). Attention factors: 0.1 ln s + 1. */
static void known_frequencies(void **state) {
    (void)state;
    static const struct {
        int pair;
        double frequency;
    } llama[] = {{0, 1},
                 {1, 0.814617217},
                 {20, 0.0165604409},
                 {28, 0.00321144611},
                 {30, 0.00137189368},
                 {32, 0.000524846022},
                 {34, 0.000178507791},
                 {36, 7.78465546e-05},
                 {40, 3.42810235e-05},
                 {63, 3.06892588e-07}},
      yarn[] = {{0, 1},
                {1, 0.865964353},
                {20, 0.0562341288},
                {21, 0.0469408594},
                {28, 0.0126531422},
                {30, 0.00852684397},
                {32, 0.00567307696},
                {40, 0.000881788961},
                {44, 0.000239383779},
                {46, 8.33450904e-05},
                {47, 7.21738761e-05},
                {63, 7.21738706e-06}};
    double f[64];
    fv_rope_options o = standard;
    o.scaling = FV_ROPE_LLAMA3, o.base = 500000, o.factor = 8, o.original_length = 8192;
    assert_int_equal(fv_rope_frequencies(&o, 128, f), FV_OK);
    for (size_t i = 0; i < sizeof llama / sizeof *llama; i++)
        assert_true(fabs(f[llama[i].pair] / llama[i].frequency - 1) < 3e-6);
    o = standard, o.scaling = FV_ROPE_YARN, o.factor = 16, o.original_length = 4096;
    assert_int_equal(fv_rope_frequencies(&o, 128, f), FV_OK);
    for (size_t i = 0; i < sizeof yarn / sizeof *yarn; i++)
        assert_true(fabs(f[yarn[i].pair] / yarn[i].frequency - 1) < 3e-6);
    assert_true(fabs(fv_rope_attention_factor(&o) - 1.2772588722239782) < 1e-15);
    o.factor = 4, assert_true(fabs(fv_rope_attention_factor(&o) - 1.138629) < 1e-6);
    o.factor = 32, assert_true(fabs(fv_rope_attention_factor(&o) - 1.346574) < 1e-6);
    o.factor = 1, assert_true(fv_rope_attention_factor(&o) == 1);
    o.scaling = FV_ROPE_LINEAR, o.factor = 9, assert_true(fv_rope_attention_factor(&o) == 1);
    o.scaling = FV_ROPE_NTK; /* the first pair keeps its frequency, the last is that of LINEAR */
    assert_int_equal(fv_rope_frequencies(&o, 128, f), FV_OK);
    assert_true(f[0] == 1 && fabs(f[63] * 9 / pow(10000, -126.0 / 128) - 1) < 1e-12);
}

/* A quarter turn: base so that pair 1 has frequency pi/2. */
static void known_turns(void **state) {
    (void)state;
    double x[8] = {1, 2, 3, 4, 1, 2, 3, 4};
    fv_tensor t = one_head(x, 2, 4);
    fv_rope_options o = standard;
    double f[2];
    o.columns = 4, o.base = 4, o.offset = 0;
    assert_int_equal(fv_rope_frequencies(&o, 4, f), FV_OK);
    assert_true(f[0] == 1 && f[1] == 0.5);
    assert_int_equal(fv_rope_forward(&o, &t, &t), FV_OK);
    const double want[8] = {
        1, 2, 3, 4, cos(1) - 3 * sin(1), 2 * cos(.5) - 4 * sin(.5), sin(1) + 3 * cos(1), 2 * sin(.5) + 4 * cos(.5)};
    for (int i = 0; i < 8; i++) assert_true(fabs(x[i] - want[i]) < 1e-15);
}

/* ---- refusals */

static fv_tensor good_tensor;
static void refuse(const fv_rope_options *o, const fv_tensor *from, const fv_tensor *to, const char *words) {
    assert_int_equal(fv_rope_forward(o, from, to), FV_USAGE);
    if (!strstr(fv_message(), words)) fprintf(stderr, "expected \"%s\", got \"%s\"\n", words, fv_message());
    assert_non_null(strstr(fv_message(), words));
}
static void refuse_options(fv_rope_options o, const char *words) { refuse(&o, &good_tensor, &good_tensor, words); }

static void refusals(void **state) {
    (void)state;
    float x[2 * 3 * 5 * 8] = {0}, c[20] = {0};
    int32_t p[10] = {0, 1, 2, 3, 4, 0, 1, 2, 3, 4};
    fv_tensor t = good_tensor = fv_bhld(x, FV_F32, 2, 3, 5, 8), other = fv_bhld(x, FV_F32, 2, 3, 5, 6);
    fv_rope_options o = standard;
    assert_int_equal(fv_rope_forward(&o, &t, &t), FV_OK);
    refuse(&o, &t, &other, "shape and dtype");
    other = t, other.rank = 3, refuse(&o, &other, &other, "(B,H,L,D)");
    other = t, other.dtype = FV_I32, refuse(&o, &other, &other, "dtype");
    other = t, other.data = NULL, refuse(&o, &other, &t, "data");
    other = t, other.dim[3] = -1, refuse(&o, &other, &other, "fit in memory");
    o = standard, o.columns = 3, refuse_options(o, "columns");
    o = standard, o.columns = 10, refuse_options(o, "columns");
    o = standard, o.columns = -2, refuse_options(o, "columns");
    o = standard, o.base = 1, refuse_options(o, "base");
    o = standard, o.base = NAN, refuse_options(o, "base");
    o = standard, o.magnitude = INFINITY, refuse_options(o, "magnitude");
    o = standard, o.pairing = (fv_rope_pairing)2, refuse_options(o, "pairing");
    o = standard, o.scaling = (fv_rope_scaling)9, refuse_options(o, "scaling");
    o = standard, o.scaling = FV_ROPE_LINEAR, o.factor = 0.5, refuse_options(o, "factor");
    o = standard, o.scaling = FV_ROPE_YARN, refuse_options(o, "original_length");
    o.original_length = 100, o.beta_slow = 40, refuse_options(o, "beta_fast");
    o = standard, o.scaling = FV_ROPE_LLAMA3, o.original_length = 9, o.low = 4, refuse_options(o, "high");
    o = standard, o.offset = INT64_MAX, refuse_options(o, "offset");
    o = standard, o.position = fv_tensor_1d(p, FV_I32, 4), refuse_options(o, "positions");
    o.position = fv_tensor_1d(x, FV_F32, 5), refuse_options(o, "i32 or i64");
    o.position = fv_tensor_2d(p, FV_I32, 3, 5), refuse_options(o, "(L) or (B|1,L)");
    o = standard, o.cosine = fv_tensor_2d(c, FV_F32, 5, 4), refuse_options(o, "one of them");
    o.sine = fv_tensor_2d(c, FV_F32, 4, 5), refuse_options(o, "tables");
    o.sine = o.cosine, assert_int_equal(fv_rope_forward(&o, &t, &t), FV_OK);
    o.offset = 1, refuse_options(o, "found:   5");
    o.offset = -1, refuse_options(o, "found:   -1");
    o.offset = 0, o.position = fv_tensor_2d(p, FV_I32, 2, 5), p[7] = 5, refuse_options(o, "found:   5");
    p[7] = -1, refuse_options(o, "found:   -1");
    o.position.rank = 0, o.columns = 6, refuse_options(o, "tables");
    const int64_t rows[3] = {1, 5, 4};
    o.columns = 0, o.cosine = o.sine = fv_tensor_of(c, FV_F32, 3, rows);
    assert_int_equal(fv_rope_forward(&o, &t, &t), FV_OK);
    o.offset = 1, refuse_options(o, "row by row");
    o.offset = 0, o.cosine.dim[1] = o.sine.dim[1] = 4, refuse_options(o, "a row for each row");
    fv_tensor narrow = fv_tensor_2d(c, FV_BF16, 5, 4);
    assert_int_equal(fv_rope_tables(&standard, &narrow, &narrow), FV_USAGE);
    o = standard, o.columns = 6, narrow.dtype = FV_F32;
    assert_int_equal(fv_rope_tables(&o, &narrow, &narrow), FV_USAGE);
    fv__inject(FV_FAULT_ALLOC, 1, false);
    assert_int_equal(fv_rope_forward(&standard, &t, &t), FV_NO_RESOURCES);
    fv__inject(FV_FAULT_ALLOC, 0, false);
}

/* What must be given and is not. */
static void nothing_given(void **state) {
    (void)state;
    float x[8] = {0};
    double frequency[4];
    const fv_rope_options o = FV_ROPE_DEFAULT;
    const fv_tensor t = fv_bhld(x, FV_F32, 1, 1, 2, 4), bare = fv_tensor_2d(NULL, FV_F32, 2, 4);
    assert_int_equal(fv_rope_forward(NULL, &t, &t), FV_USAGE);
    assert_string_equal(fv_message(), "rope: the options\n  expected a pointer to it\n  found:   NULL");
    assert_int_equal(fv_rope_forward(&o, NULL, &t), FV_USAGE);
    assert_int_equal(fv_rope_backward(&o, &t, NULL), FV_USAGE);
    assert_int_equal(fv_rope_backward(NULL, &t, &t), FV_USAGE);
    assert_int_equal(fv_rope_frequencies(NULL, 8, frequency), FV_USAGE);
    assert_int_equal(fv_rope_frequencies(&o, 8, NULL), FV_USAGE);
    assert_int_equal(fv_rope_tables(&o, NULL, &bare), FV_USAGE);
    assert_int_equal(fv_rope_tables(&o, &bare, NULL), FV_USAGE);
    assert_int_equal(fv_rope_tables(NULL, &bare, &bare), FV_USAGE);
    assert_int_equal(fv_rope_tables(&o, &bare, &bare), FV_USAGE);
    assert_string_equal(fv_message(), "rope: tables\n  expected memory for both\n  found:   no data");
    assert_true(fv_rope_attention_factor(NULL) == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formulas),        cmocka_unit_test(distance_law),      cmocka_unit_test(transpose_law),
        cmocka_unit_test(permutation_law), cmocka_unit_test(table_law),         cmocka_unit_test(offset_law),
        cmocka_unit_test(threads_law),     cmocka_unit_test(known_frequencies), cmocka_unit_test(known_turns),
        cmocka_unit_test(refusals),        cmocka_unit_test(nothing_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
