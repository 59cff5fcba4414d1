/* Kernels of maps: weights recomputed from the log-sum-exp, and what is gathered from them. See kernels_tile.def. */

INLINE void K(softmax_from_lse_vector)(R *s, vr norm, const vr *rest, vm visible, const R *bias, const R *keep, vr cap,
                                       vr inverse_cap, bool capped, vr *entropy, const bool far) {
    const vr zero = v_set(0), log2e = v_set(1.44269504088896340736);
    vr x = v_load(s);
    if (capped) x = v_mul(cap, K(v_tanh)(v_mul(x, inverse_cap)));
    if (bias) {
        const vr b = v_load(bias);
        visible = v_and(visible, v_lt(v_set(-INFINITY), b));
        x = far ? K(biased)(x, b) : v_fma(log2e, b, x);
    }
    x = v_sub(x, norm);
    if (far) x = v_sub(x, *rest);
    x = v_select(visible, v_max(v_set(-1100), v_min(zero, x)), zero); /* finite: 0 times it is 0 */
    vr p = v_select(visible, K(v_exp2)(x), zero);
    if (entropy) *entropy = v_fnma(p, x, *entropy);
    v_store(s, keep ? v_mul(p, v_load(keep)) : p);
}

INLINE void K(softmax_from_lse_rows)(R *s, int64_t rows, int64_t lanes, const R *norm, const R *rest, const R *start,
                                     const R *end, const R *bias, const R *keep, R softcap, R *entropy,
                                     const bool far) {
    const vr cap = v_set(softcap), inverse_cap = v_set(softcap == 0 ? 0 : 1 / softcap);
    for (int64_t r = 0; r < rows; r++) {
        const vr n = v_set(norm[r]), more = v_set(far ? rest[r] : 0);
        const vr first = v_set(start ? start[r] : 0), last = v_set(end ? end[r] : (R)lanes);
        vr sum = v_set(0);
        for (int64_t q = 0; q < lanes; q += VL) {
            const int64_t at = r * lanes + q;
            const vr lane = v_add(v_iota(), v_set((R)q));
            K(softmax_from_lse_vector)
            (s + at, n, &more, v_and(v_le(first, lane), v_lt(lane, last)), bias ? bias + at : NULL,
             keep ? keep + at : NULL, cap, inverse_cap, softcap != 0, entropy ? &sum : NULL, far);
        }
        if (entropy) entropy[r] += (R)0.69314718055994530942 * v_sum(sum);
    }
}

static void K(softmax_from_lse)(R *s, int64_t rows, int64_t lanes, const R *norm, const R *rest, const R *start,
                                const R *end, const R *bias, const R *keep, R softcap, R *entropy) {
    if (rest)
        K(softmax_from_lse_rows)(s, rows, lanes, norm, rest, start, end, bias, keep, softcap, entropy, true);
    else
        K(softmax_from_lse_rows)(s, rows, lanes, norm, NULL, start, end, bias, keep, softcap, entropy, false);
}

static void K(reduce_rows)(R *sum, R *most, const R *s, int64_t rows, int64_t lanes) {
    for (int64_t q = 0; q < lanes; q += VL) {
        vr total = v_set(0), top = v_set(0);
        for (int64_t r = 0; r < rows; r++) {
            const vr x = v_load(s + r * lanes + q);
            total = v_add(total, x), top = v_max(x, top);
        }
        v_store(sum + q, total);
        if (most) v_store(most + q, top);
    }
}
