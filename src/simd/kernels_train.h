/* Kernels of training: AdamW, dropout from a counter, storage types. */

static void K(adamw)(R *p, R *m, R *v, const R *g, int64_t n, const fv__adamw *step) {
    const vr b1 = v_set((R)step->beta1), c1 = v_set((R)(1 - step->beta1));
    const vr b2 = v_set((R)step->beta2), c2 = v_set((R)(1 - step->beta2)), gain = v_set((R)step->grad_scale);
    const vr keep = v_set((R)(1 - step->lr * step->decay)), rate = v_set((R)(step->lr / step->correct1));
    const vr inverse = v_set((R)(1 / sqrt(step->correct2))), eps = v_set((R)step->eps);
    FOR_VECTORS(n) {
        vr d = v_mul(gain, LOAD(g));
        vr first = v_fma(b1, LOAD(m), v_mul(c1, d)), second = v_fma(b2, LOAD(v), v_mul(c2, v_mul(d, d)));
        vr ratio = v_div(first, v_fma(v_sqrt(second), inverse, eps));
        STORE(m, first);
        STORE(v, second);
        STORE(p, v_fnma(rate, ratio, v_mul(keep, LOAD(p))));
    }
}

/* ---- Philox4x32-10 (Salmon et al., SC 2011), one counter per lane */

typedef struct K(counter) {
    vu c0, c1, c2, c3;
} K(counter);

static inline __attribute__((always_inline)) K(counter) K(philox)(K(counter) x, uint64_t seed) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++, k0 += 0x9e3779b9u, k1 += 0xbb67ae85u) {
        vu hi0, lo0, hi1, lo1;
        u_mul(x.c0, 0xd2511f53u, &hi0, &lo0);
        u_mul(x.c2, 0xcd9e8d57u, &hi1, &lo1);
        x = (K(counter)){u_xor3(hi1, x.c1, u_set(k0)), lo1, u_xor3(hi0, x.c3, u_set(k1)), lo0};
    }
    return x;
}

/* An array is cut into blocks of 128 elements. Element e of a block is decided by the counter (block * 16 + e % 16),
 * word e / 32, and of that word by the low half when e / 16 is even, else by the high half. This fills keep[] for one
 * block: 1 or 0 per element. */
static void K(drop_block)(R *keep, uint64_t block, const fv__drop *drop) {
    const vu limit = u_set(drop->threshold << 16);
    const vr one = v_set(1), zero = v_set(0);
    for (int c = 0; c < 16; c += VL) {
        uint64_t first = block * 16 + (uint64_t)c;
        K(counter)
        x = {u_add(u_set((uint32_t)first), u_iota()), u_set((uint32_t)(first >> 32)), u_set((uint32_t)drop->stream),
             u_set((uint32_t)(drop->stream >> 32))};
        x = K(philox)(x, drop->seed);
        const vu word[4] = {x.c0, x.c1, x.c2, x.c3};
        for (int w = 0; w < 4; w++) {
            v_store(keep + 32 * w + c, v_select(u_ge(u_shl16(word[w]), limit), one, zero));
            v_store(keep + 32 * w + 16 + c, v_select(u_ge(word[w], limit), one, zero));
        }
    }
}

/* Visits [first, first + n) block by block: y = or += x * keep * scale. */
static void K(drop_range)(R *y, const R *x, int64_t n, uint64_t first, const fv__drop *drop, bool add) {
    const vr scale = v_set((R)drop->scale);
    R keep[128 + VL] = {0};
    while (n > 0) {
        int64_t start = (int64_t)(first % 128), count = n < 128 - start ? n : 128 - start;
        K(drop_block)(keep, first / 128, drop);
        const R *k = keep + start;
        FOR_VECTORS(count) {
            vm kept = v_lt(v_set(0), LOAD(k));
            vr value = v_select(kept, v_mul(scale, LOAD(x)), v_set(0));
            STORE(y, add ? v_add(LOAD(y), value) : value);
        }
        y += count, x += count, n -= count, first += (uint64_t)count;
    }
}

static void K(dropout)(R *y, const R *x, int64_t n, uint64_t first, const fv__drop *drop) {
    K(drop_range)(y, x, n, first, drop, false);
}
static void K(dropout_back)(R *dx, const R *dy, int64_t n, uint64_t first, const fv__drop *drop) {
    K(drop_range)(dx, dy, n, first, drop, true);
}

/* ---- storage types */

static inline uint32_t K(bits)(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static inline float K(from_bits)(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}

static void K(to_bf16)(uint16_t *y, const R *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = K(bits)((float)x[i]), rounded = (u + 0x7fffu + ((u >> 16) & 1)) >> 16;
        y[i] = (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : rounded);
    }
}

static inline float K(of_brain)(uint16_t b) { return K(from_bits)((uint32_t)b << 16); }
static void K(from_bf16)(R *y, const uint16_t *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = (R)K(of_brain)(x[i]);
}

/* The magnitude is scaled so that the rounding of the f32 addition happens at the last bit of f16, also for its
 * denormals. */
static inline uint16_t K(half_of)(float x) {
    uint32_t u = K(bits)(x), sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) return (uint16_t)(sign | (K(bits)(K(from_bits)(magnitude) + 0.5f) - 0x3f000000u));
    return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1)) >> 13));
}
static inline float K(of_half)(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = h & 0x7fffu;
    if (magnitude >= 0x7c00u) return K(from_bits)(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    if (magnitude < 0x400u) return K(from_bits)(sign | K(bits)((float)magnitude * 0x1p-24f));
    return K(from_bits)(sign | ((magnitude << 13) + 0x38000000u));
}

static void K(to_f16)(uint16_t *y, const R *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = K(half_of)((float)x[i]);
}
static void K(from_f16)(R *y, const uint16_t *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = (R)K(of_half)(x[i]);
}
