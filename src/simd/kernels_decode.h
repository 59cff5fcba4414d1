/* Kernels of decoding, see kernels_decode.def. Every cache line of K and V is read once, for all rows of queries, in
 * registers: memory is what limits, so lines are prefetched well before they are needed. Written once for the three
 * storage types. */

#ifndef FV_DECODE_ONCE
#define FV_DECODE_ONCE 1
enum { STORED_F32, STORED_BF16, STORED_F16 };
#endif
#define FV_KEYS 16 /* of a block, FV_KV_KEYS of the cache */
#define FV_PAIR (2 * VL)
#define FV_KEY_VECTORS (FV_KEYS / VL)
#if VL == 16
#define FV_CHAINS 2 /* of a score, even and odd columns: with 4 rows enough to keep the multipliers busy */
#define FV_BLOCKS 2 /* of keys at once in the 16-bit types: every q that is loaded is used twice */
#define FV_WIDE 4   /* vectors of values that stay in registers for 4 rows of weights */
#else
#define FV_CHAINS 1
#define FV_BLOCKS 1
#define FV_WIDE 2
#endif

INLINE int64_t K(stored_size)(const int type) { return type == STORED_F32 ? 4 : 2; }

/* Prefetches the lines of `bytes` from `at` on, that is, for what will be read in a while. No address does harm. */
#define FV_PREFETCH(at, bytes) \
    for (uintptr_t line = (at), end = line + (uintptr_t)(bytes); line < end; line += 64) v_prefetch(line)

/* ---- scores: a key per lane, so that no sum runs across a vector. A block of keys is read from its first byte to its
 * last. */

/* Vector `v` of columns 2c and 2c + 1 of a block of keys. `type` is a constant wherever this is inlined. */
INLINE void K(key_pair)(const int type, const char *block, int64_t c, int v, vr *x, vr *y) {
    if (type == STORED_F32) {
        const float *at = (const float *)block + c * 2 * FV_KEYS + v * VL;
        *x = v_load(at), *y = v_load(at + FV_KEYS);
    } else if (type == STORED_F16) {
        const uint16_t *at = (const uint16_t *)block + c * 2 * FV_KEYS + v * VL;
        *x = v_load_f16(at), *y = v_load_f16(at + FV_KEYS);
    } else
        v_load2_bf16((const uint16_t *)block + c * 2 * FV_KEYS + v * FV_PAIR, x, y);
}

/* `rows` queries against `blocks` blocks of keys. */
INLINE void K(scores_block)(const int type, R *s, int64_t lds, const R *q, int64_t ldq, const char *k, int64_t pairs,
                            int64_t prefetch_distance, const int rows, const int blocks) {
    enum { N = FV_KEY_VECTORS, ODD = FV_CHAINS - 1 };
    const int64_t step = 2 * FV_KEYS * K(stored_size)(type);
    const int vectors = blocks * N;
    uintptr_t next = (uintptr_t)k + (uintptr_t)prefetch_distance;
    vr sum[FV_CHAINS][4][2 * N];
#pragma GCC unroll 2
    for (int i = 0; i < FV_CHAINS; i++)
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++) sum[i][r][v] = v_set(0);
    for (int64_t c = 0; c < pairs; c++, next += (uintptr_t)(blocks * step)) {
        vr x[2 * N], y[2 * N];
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) K(key_pair)(type, k + v / N * pairs * step, c, v % N, &x[v], &y[v]);
        FV_PREFETCH(next, blocks * step);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            const vr a = v_set(q[r * ldq + 2 * c]), b = v_set(q[r * ldq + 2 * c + 1]);
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++) sum[0][r][v] = v_fma(a, x[v], sum[0][r][v]);
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++) sum[ODD][r][v] = v_fma(b, y[v], sum[ODD][r][v]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++)
            v_store(s + r * lds + v * VL, ODD ? v_add(sum[0][r][v], sum[ODD][r][v]) : sum[0][r][v]);
}

INLINE void K(scores_rows)(const int type, R *s, int64_t lds, const R *q, int64_t ldq, int64_t rows, const char *k,
                           int64_t pairs, int64_t prefetch_distance, const int blocks) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4, prefetch_distance = 0)
        K(scores_block)(type, s + r * lds, lds, q + r * ldq, ldq, k, pairs, prefetch_distance, 4, blocks);
    for (; r + 2 <= rows; r += 2, prefetch_distance = 0)
        K(scores_block)(type, s + r * lds, lds, q + r * ldq, ldq, k, pairs, prefetch_distance, 2, blocks);
    if (r < rows) K(scores_block)(type, s + r * lds, lds, q + r * ldq, ldq, k, pairs, prefetch_distance, 1, blocks);
}

INLINE void K(scores)(const int type, R *s, int64_t lds, const R *q, int64_t ldq, int64_t rows, const char *k,
                      int64_t blocks, int64_t pairs, int64_t prefetch_distance) {
    const int64_t bytes = pairs * 2 * FV_KEYS * K(stored_size)(type);
    const int64_t at_once = type == STORED_F32 ? 1 : FV_BLOCKS;
    for (; blocks >= at_once; blocks -= at_once, k += at_once * bytes, s += at_once * FV_KEYS)
        K(scores_rows)(type, s, lds, q, ldq, rows, k, pairs, prefetch_distance, (int)at_once);
    if (blocks > 0) K(scores_rows)(type, s, lds, q, ldq, rows, k, pairs, prefetch_distance, 1);
}

/* ---- values: some 4 KiB at a time, so that they are near when other columns or other rows of weights pass over
 * them. */

/* The first `left` of 2 VL elements at p, then zeros; bf16 even and odd ones apart. */
INLINE void K(value_pair)(const int type, const char *p, int64_t left, vr *a, vr *b) {
    const float *f = (const float *)p;
    const uint16_t *h = (const uint16_t *)p;
    const bool whole = left >= FV_PAIR;
    if (type == STORED_F32) {
        *a = whole ? v_load(f) : v_loadn(f, left);
        *b = whole ? v_load(f + VL) : v_loadn(f + VL, left > VL ? left - VL : 0);
    } else if (type == STORED_F16) {
        *a = whole ? v_load_f16(h) : v_loadn_f16(h, left);
        *b = whole ? v_load_f16(h + VL) : v_loadn_f16(h + VL, left - VL);
    } else if (whole)
        v_load2_bf16(h, a, b);
    else
        v_loadn2_bf16(h, left, a, b);
}

/* Sums of `rows` rows over `wide` vectors; `left` columns from v on. With every key it prefetches as many bytes as it
 * reads, from *next on, unless next is NULL. */
INLINE void K(values_block)(const int type, R *o, int64_t ldo, const R *p, int64_t ldp, const char *v, int64_t pitch,
                            int64_t count, int64_t left, uintptr_t *next, const int rows, const int wide) {
    const int64_t step = FV_PAIR * K(stored_size)(type);
    vr sum[4][FV_WIDE];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int i = 0; i < wide; i++) sum[r][i] = v_load(o + r * ldo + i * VL);
    for (int64_t j = 0; j < count; j++, v += pitch) {
        vr x[FV_WIDE];
#pragma GCC unroll 8
        for (int i = 0; i < wide; i += 2) K(value_pair)(type, v + i / 2 * step, left - i * VL, &x[i], &x[i + 1]);
        if (next) {
            FV_PREFETCH(*next, wide / 2 * step);
            *next += (uintptr_t)(wide / 2 * step);
        }
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            const vr weight = v_set(p[r * ldp + j]);
#pragma GCC unroll 16
            for (int i = 0; i < wide; i++) sum[r][i] = v_fma(weight, x[i], sum[r][i]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int i = 0; i < wide; i++) v_store(o + r * ldo + i * VL, sum[r][i]);
}

/* All columns for some rows. */
INLINE void K(values_rows)(const int type, R *o, int64_t ldo, const R *p, int64_t ldp, const char *v, int64_t count,
                           int64_t width, uintptr_t *next, const int rows) {
    enum { WIDE = FV_WIDE * VL };
    const int64_t size = K(stored_size)(type), pitch = width * size;
    int64_t c = 0;
    for (; width - c >= WIDE; c += WIDE)
        K(values_block)(type, o + c, ldo, p, ldp, v + c * size, pitch, count, WIDE, next, rows, FV_WIDE);
    for (; width - c >= FV_PAIR; c += FV_PAIR)
        K(values_block)(type, o + c, ldo, p, ldp, v + c * size, pitch, count, FV_PAIR, next, rows, 2);
    if (c < width) K(values_block)(type, o + c, ldo, p, ldp, v + c * size, pitch, count, width - c, next, rows, 2);
}

INLINE void K(values)(const int type, R *o, int64_t ldo, const R *p, int64_t ldp, int64_t rows, const char *v,
                      int64_t count, int64_t width, int64_t prefetch_distance) {
    const int64_t pitch = width * K(stored_size)(type), few = pitch < 1024 ? 4096 / pitch : 4;
    for (int64_t j = 0, n; j < count; j += n, v += n * pitch, p += n) {
        uintptr_t next = (uintptr_t)v + (uintptr_t)prefetch_distance;
        int64_t r = 4;
        n = count - j < few ? count - j : few;
        if (rows >= 4)
            K(values_rows)(type, o, ldo, p, ldp, v, n, width, &next, 4);
        else if (rows >= 2)
            K(values_rows)(type, o, ldo, p, ldp, v, n, width, &next, 2), r = 2;
        else
            K(values_rows)(type, o, ldo, p, ldp, v, n, width, &next, 1), r = 1;
        for (; r + 4 <= rows; r += 4) K(values_rows)(type, o + r * ldo, ldo, p + r * ldp, ldp, v, n, width, NULL, 4);
        for (; r + 2 <= rows; r += 2) K(values_rows)(type, o + r * ldo, ldo, p + r * ldp, ldp, v, n, width, NULL, 2);
        if (r < rows) K(values_rows)(type, o + r * ldo, ldo, p + r * ldp, ldp, v, n, width, NULL, 1);
    }
}

/* Sums of bf16 come out as they were widened, even and odd ones apart. */
INLINE int64_t K(deinterleave_index)(int64_t i) {
    return VL > 1 ? i / FV_PAIR * FV_PAIR + i % FV_PAIR / 2 + i % 2 * VL : i;
}
static void K(deinterleave)(R *to, const R *from, int64_t width) {
    for (int64_t i = 0; i < width; i++) to[i] = from[K(deinterleave_index)(i)];
}

/* ---- the kernels */

#define DEFINE_STORED(T, TYPE)                                                                                         \
    static void K(scores_##T)(R * s, int64_t lds, const R *q, int64_t ldq, int64_t rows, const void *k,                \
                              int64_t blocks, int64_t pairs, int64_t prefetch_distance) {                              \
        K(scores)(TYPE, s, lds, q, ldq, rows, k, blocks, pairs, prefetch_distance);                                    \
    }                                                                                                                  \
    static void K(values_##T)(R * o, int64_t ldo, const R *p, int64_t ldp, int64_t rows, const void *v, int64_t count, \
                              int64_t width, int64_t prefetch_distance) {                                              \
        K(values)(TYPE, o, ldo, p, ldp, rows, v, count, width, prefetch_distance);                                     \
    }
DEFINE_STORED(f32, STORED_F32)
DEFINE_STORED(bf16, STORED_BF16)
DEFINE_STORED(f16, STORED_F16)

static void K(prefetch)(const void *p, int64_t bytes) { FV_PREFETCH((uintptr_t)p, bytes); }

/* Four chains, vector i always in chain i % 4. */
static R K(softmax_partial)(R *s, int64_t n, R *m) {
    vr top = v_set(-INFINITY), sum[4];
    for (int u = 0; u < 4; u++) sum[u] = v_set(0);
    for (int64_t i = 0; i < n; i += VL) top = v_max(v_load(s + i), top);
    *m = v_hmax(top);
    const vr shift = v_set(*m == -INFINITY ? 0 : *m);
    for (int64_t i = 0; i < n; i += 4 * VL)
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) {
            R *at = s + i + u * VL;
            if (i + u * VL >= n) break;
            vr e = K(v_exp2)(v_sub(v_load(at), shift));
            v_store(at, e);
            sum[u] = v_add(sum[u], e);
        }
    return v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
}
