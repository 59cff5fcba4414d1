/* Kernels of decoding, see kernels_decode.def. Every cache line of K and V is read once and meets all rows of queries in registers: memory is
 * what limits, so lines are asked for well before they are needed. Written once for the three storage types. */

#ifndef FV_DECODE_ONCE
#define FV_DECODE_ONCE 1
enum { STORED_F32, STORED_BF16, STORED_F16 };
#endif
#define FV_KEYS 16 /* of a block, FV_KV_KEYS of the cache */
#define FV_PAIR (2 * VL)
#if VL == 16
#define FV_BLOCKS 4 /* of keys for scores */
#define FV_PAIRS 2  /* of vectors for values */
#elif VL == 8
#define FV_BLOCKS 1
#define FV_PAIRS 1
#else
#define FV_BLOCKS 1
#define FV_PAIRS 2
#endif
#define FV_VECTORS (FV_BLOCKS * FV_KEYS / VL)

INLINE int64_t K(stored_size)(const int type) { return type == STORED_F32 ? 4 : 2; }

/* Asks for the line of p, `ahead` bytes further on. An address outside of everything does no harm. */
INLINE void K(ask)(const char *p, int64_t ahead) { v_prefetch((uintptr_t)p + (uintptr_t)ahead); }

/* ---- scores: a key per lane, so that no sum runs across a vector. A block of keys is read from its first byte to its last. */

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
                            int64_t ahead, const int rows, const int blocks) {
    const int each = FV_KEYS / VL, vectors = blocks * each;
    const int64_t pair_bytes = 2 * FV_KEYS * K(stored_size)(type), block_bytes = pairs * pair_bytes;
    vr sum[4][FV_VECTORS];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) sum[r][v] = v_set(0);
    for (int64_t c = 0; c < pairs; c++) {
        vr x[FV_VECTORS], y[FV_VECTORS];
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) {
            const char *block = k + v / each * block_bytes;
            K(key_pair)(type, block, c, v % each, &x[v], &y[v]);
            if (v % each == 0)
                for (int64_t line = 0; line < pair_bytes; line += 64) K(ask)(block + c * pair_bytes + line, ahead);
        }
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            const vr a = v_set(q[r * ldq + 2 * c]), b = v_set(q[r * ldq + 2 * c + 1]);
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++) sum[r][v] = v_fma(a, x[v], sum[r][v]);
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++) sum[r][v] = v_fma(b, y[v], sum[r][v]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) v_store(s + r * lds + v * VL, sum[r][v]);
}

INLINE void K(scores_rows)(const int type, R *s, int64_t lds, const R *q, int64_t ldq, const char *k, int64_t blocks,
                           int64_t pairs, int64_t ahead, const int rows) {
    const int64_t bytes = pairs * 2 * FV_KEYS * K(stored_size)(type);
    int64_t i = 0;
    for (; i + FV_BLOCKS <= blocks; i += FV_BLOCKS)
        K(scores_block)(type, s + i * FV_KEYS, lds, q, ldq, k + i * bytes, pairs, ahead, rows, FV_BLOCKS);
    for (; i < blocks; i++) K(scores_block)(type, s + i * FV_KEYS, lds, q, ldq, k + i * bytes, pairs, ahead, rows, 1);
}

INLINE void K(scores)(const int type, R *s, int64_t lds, const R *q, int64_t ldq, int64_t rows, const char *k,
                      int64_t blocks, int64_t pairs, int64_t ahead) {
    for (int64_t r = 0, n; r < rows; r += n, s += n * lds, q += n * ldq, ahead = 0) {
        n = rows - r >= 4 ? 4 : rows - r >= 2 ? 2 : 1;
        if (n == 4)
            K(scores_rows)(type, s, lds, q, ldq, k, blocks, pairs, ahead, 4);
        else if (n == 2)
            K(scores_rows)(type, s, lds, q, ldq, k, blocks, pairs, ahead, 2);
        else
            K(scores_rows)(type, s, lds, q, ldq, k, blocks, pairs, ahead, 1);
    }
}

/* ---- values: `rows` sums of up to `pairs` pairs of vectors stay in registers while the keys pass. */

/* The first `left` of 2 VL elements at p, then zeros; bf16 even and odd ones apart. */
INLINE void K(value_pair)(const int type, const char *p, int64_t left, vr *a, vr *b) {
    const float *f = (const float *)p;
    const uint16_t *h = (const uint16_t *)p;
    const bool whole = left >= FV_PAIR;
    if (type == STORED_F32)
        *a = whole ? v_load(f) : v_loadn(f, left),
        *b = whole ? v_load(f + VL) : v_loadn(f + VL, left > VL ? left - VL : 0);
    else if (type == STORED_F16)
        *a = whole ? v_load_f16(h) : v_loadn_f16(h, left),
        *b = whole ? v_load_f16(h + VL) : v_loadn_f16(h + VL, left - VL);
    else if (whole)
        v_load2_bf16(h, a, b);
    else
        v_loadn2_bf16(h, left, a, b);
}

INLINE void K(values_block)(const int type, R *o, int64_t ldo, const R *p, int64_t ldp, const char *v, int64_t ldv,
                            int64_t count, int64_t left, int64_t ahead, const int rows, const int pairs) {
    const int64_t step = FV_PAIR * K(stored_size)(type);
    vr sum[4][2 * FV_PAIRS];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int i = 0; i < 2 * pairs; i++) sum[r][i] = v_load(o + r * ldo + i * VL);
    for (int64_t j = 0; j < count; j++, v += ldv) {
        vr x[2 * FV_PAIRS];
#pragma GCC unroll 2
        for (int i = 0; i < pairs; i++) {
            K(value_pair)(type, v + i * step, left - i * FV_PAIR, &x[2 * i], &x[2 * i + 1]);
            for (int64_t line = 0; line < step; line += 64) K(ask)(v + i * step + line, ahead);
        }
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            const vr weight = v_set(p[r * ldp + j]);
#pragma GCC unroll 4
            for (int i = 0; i < 2 * pairs; i++) sum[r][i] = v_fma(weight, x[i], sum[r][i]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int i = 0; i < 2 * pairs; i++) v_store(o + r * ldo + i * VL, sum[r][i]);
}

INLINE void K(values_rows)(const int type, R *o, int64_t ldo, const R *p, int64_t ldp, const char *v, int64_t ldv,
                           int64_t count, int64_t width, int64_t ahead, const int rows) {
    const int64_t size = K(stored_size)(type);
    int64_t c = 0;
    for (; width - c >= FV_PAIRS * FV_PAIR; c += FV_PAIRS * FV_PAIR)
        K(values_block)(type, o + c, ldo, p, ldp, v + c * size, ldv, count, FV_PAIRS * FV_PAIR, ahead, rows, FV_PAIRS);
    for (; width - c >= FV_PAIR; c += FV_PAIR)
        K(values_block)(type, o + c, ldo, p, ldp, v + c * size, ldv, count, FV_PAIR, ahead, rows, 1);
    if (c < width) K(values_block)(type, o + c, ldo, p, ldp, v + c * size, ldv, count, width - c, ahead, rows, 1);
}

INLINE void K(values)(const int type, R *o, int64_t ldo, const R *p, int64_t ldp, int64_t rows, const char *v,
                      int64_t count, int64_t width, int64_t ahead) {
    const int64_t pitch = width * K(stored_size)(type);
    for (int64_t r = 0, n; r < rows; r += n, o += n * ldo, p += n * ldp, ahead = 0) {
        n = rows - r >= 4 ? 4 : rows - r >= 2 ? 2 : 1;
        if (n == 4)
            K(values_rows)(type, o, ldo, p, ldp, v, pitch, count, width, ahead, 4);
        else if (n == 2)
            K(values_rows)(type, o, ldo, p, ldp, v, pitch, count, width, ahead, 2);
        else
            K(values_rows)(type, o, ldo, p, ldp, v, pitch, count, width, ahead, 1);
    }
}

/* Sums of bf16 come out as they were widened, even and odd ones apart. */
INLINE int64_t K(split_place)(int64_t i) { return VL > 1 ? i / FV_PAIR * FV_PAIR + i % FV_PAIR / 2 + i % 2 * VL : i; }
static void K(split_back)(R *to, const R *from, int64_t width) {
    for (int64_t i = 0; i < width; i++) to[i] = from[K(split_place)(i)];
}

/* ---- the kernels */

#define DEFINE_STORED(T, TYPE)                                                                                         \
    static void K(scores_##T)(R * s, int64_t lds, const R *q, int64_t ldq, int64_t rows, const void *k,                \
                              int64_t blocks, int64_t pairs, int64_t ahead) {                                          \
        K(scores)(TYPE, s, lds, q, ldq, rows, k, blocks, pairs, ahead);                                                \
    }                                                                                                                  \
    static void K(values_##T)(R * o, int64_t ldo, const R *p, int64_t ldp, int64_t rows, const void *v, int64_t count, \
                              int64_t width, int64_t ahead) {                                                          \
        K(values)(TYPE, o, ldo, p, ldp, rows, v, count, width, ahead);                                                 \
    }
DEFINE_STORED(f32, STORED_F32)
DEFINE_STORED(bf16, STORED_BF16)
DEFINE_STORED(f16, STORED_F16)

/* Four chains, vector i always in chain i % 4. */
static R K(weights_row)(R *s, int64_t n, R *m) {
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
