/* Kernels of rotary positions. See kernels.def. */

INLINE void K(rope_halves_row)(R *to, const R *from, int64_t apart, const R *cosine, const R *sine, int64_t pairs,
                               bool add) {
    R *to_b = to + apart;
    const R *from_b = from + apart;
    FOR_VECTORS(pairs) {
        const vr a = LOAD(from), b = LOAD(from_b), c = LOAD(cosine), s = LOAD(sine);
        const vr x = v_fnma(b, s, v_mul(a, c)), y = v_fma(a, s, v_mul(b, c));
        STORE(to, add ? v_add(LOAD(to), x) : x);
        STORE(to_b, add ? v_add(LOAD(to_b), y) : y);
    }
}

static void K(rope_halves)(R *to, int64_t ld_to, const R *from, int64_t ld_from, int64_t apart, const R *cosine,
                           const R *sine, int64_t ldt, int64_t rows, int64_t pairs, bool add) {
    for (int64_t r = 0; r < rows; r++, to += ld_to, from += ld_from, cosine += ldt, sine += ldt)
        if (add) /* known to the compiler in each copy */
            K(rope_halves_row)(to, from, apart, cosine, sine, pairs, true);
        else
            K(rope_halves_row)(to, from, apart, cosine, sine, pairs, false);
}

INLINE void K(rope_pairs_row)(R *to, const R *from, const R *cosine, const R *sine, int64_t n, bool add) {
    if (VL > 1) {
        FOR_VECTORS(n) {
            const vr x = LOAD(from), y = v_fma(v_swap_pairs(x), LOAD(sine), v_mul(x, LOAD(cosine)));
            STORE(to, add ? v_add(LOAD(to), y) : y);
        }
        return;
    }
    for (int64_t i = 0; i < n; i += 2) {
        const R a = from[i], b = from[i + 1], x = b * sine[i] + a * cosine[i], y = a * sine[i + 1] + b * cosine[i + 1];
        to[i] = add ? to[i] + x : x, to[i + 1] = add ? to[i + 1] + y : y;
    }
}

static void K(rope_pairs)(R *to, int64_t ld_to, const R *from, int64_t ld_from, const R *cosine, const R *sine,
                          int64_t ldt, int64_t rows, int64_t n, bool add) {
    for (int64_t r = 0; r < rows; r++, to += ld_to, from += ld_from, cosine += ldt, sine += ldt)
        if (add)
            K(rope_pairs_row)(to, from, cosine, sine, n, true);
        else
            K(rope_pairs_row)(to, from, cosine, sine, n, false);
}
