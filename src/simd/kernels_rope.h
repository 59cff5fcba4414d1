/* Kernels of rotary positions. See kernels.def. */

INLINE void K(rope_half_row)(R *to, const R *from, int64_t apart, const R *cosine, const R *sine, int64_t pairs,
                             vr sign, bool add) {
    R *to_b = to + apart;
    const R *from_b = from + apart;
    FOR_VECTORS(pairs) {
        const vr a = LOAD(from), b = LOAD(from_b), c = LOAD(cosine), s = v_mul(sign, LOAD(sine));
        const vr x = v_fnma(b, s, v_mul(a, c)), y = v_fma(a, s, v_mul(b, c));
        STORE(to, add ? v_add(LOAD(to), x) : x);
        STORE(to_b, add ? v_add(LOAD(to_b), y) : y);
    }
}

static void K(rope_half)(R *to, int64_t ld_to, const R *from, int64_t ld_from, int64_t apart, const R *cosine,
                         const R *sine, int64_t ldt, int64_t rows, int64_t pairs, R sign, bool add) {
    const vr g = v_set(sign);
    for (int64_t r = 0; r < rows; r++, to += ld_to, from += ld_from, cosine += ldt, sine += ldt)
        if (add) /* known to the compiler in each copy */
            K(rope_half_row)(to, from, apart, cosine, sine, pairs, g, true);
        else
            K(rope_half_row)(to, from, apart, cosine, sine, pairs, g, false);
}

/* The partner of each element comes to its place, with a sine of sign - + - + ... */
INLINE void K(rope_interleaved_row)(R *to, const R *from, const R *cosine, const R *sine, int64_t pairs, vr sign,
                                    bool add) {
#if VL > 1
    FOR_VECTORS(2 * pairs) {
        const vr x = LOAD(from), c = v_twice(cosine + i / 2, left), s = v_mul(sign, v_twice(sine + i / 2, left));
        const vr y = v_fma(v_swap_pairs(x), s, v_mul(x, c));
        STORE(to, add ? v_add(LOAD(to), y) : y);
    }
#else
    for (int64_t i = 0; i < pairs; i++, to += 2, from += 2) { /* the same fused operations as halves: the same bits */
        const R a = from[0], b = from[1], c = cosine[i], s = v_mul(sign, sine[i]);
        const R x = v_fnma(b, s, v_mul(a, c)), y = v_fma(a, s, v_mul(b, c));
        to[0] = add ? to[0] + x : x, to[1] = add ? to[1] + y : y;
    }
#endif
}

static void K(rope_interleaved)(R *to, int64_t ld_to, const R *from, int64_t ld_from, const R *cosine, const R *sine,
                                int64_t ldt, int64_t rows, int64_t pairs, R sign, bool add) {
    const vr g = VL > 1 ? v_alternate(-sign, sign) : v_set(sign);
    for (int64_t r = 0; r < rows; r++, to += ld_to, from += ld_from, cosine += ldt, sine += ldt)
        if (add)
            K(rope_interleaved_row)(to, from, cosine, sine, pairs, g, true);
        else
            K(rope_interleaved_row)(to, from, cosine, sine, pairs, g, false);
}
