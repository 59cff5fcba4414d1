/* exp, tanh, erf and the normal distribution in the vector vocabulary.
 *
 * f32: minimax polynomials (Remez, relative error below 1e-8 unless said) after the usual range reductions; exp and
 * tanh are within 2 ulp of the exact value over the whole range. f64 calls libm, which is better than that. With
 * -ffp-contract=fast v_fma is a fused operation wherever the instruction set has one. */

#if FV_REAL_IS_DOUBLE

static inline vr K(v_exp)(vr x) { return exp(x); }
static inline vr K(v_exp2)(vr x) { return exp2(x); }
static inline vr K(v_log2)(vr x) { return log2(x); }
static inline vr K(v_tanh)(vr x) { return tanh(x); }
static inline vr K(v_erf)(vr x) { return erf(x); }
static inline vr K(v_phi)(vr x) { return 0.5 * erfc(-x * 0.70710678118654752440); }

#else

/* e^x = 2^n e^r, |r| <= ln(2)/2; ln 2 in two parts so that r is exact to the last bit. The operand order of v_max and
 * v_min lets NaN through; beyond the bounds the scaling gives 0 and inf. */
static inline vr K(v_exp)(vr x) {
    x = v_min(v_set(89.0f), v_max(v_set(-104.0f), x));
    vr n = v_round(v_mul(x, v_set(1.44269504f)));
    vr r = v_fnma(n, v_set(-2.12194440e-4f), v_fnma(n, v_set(0.693359375f), x));
    vr p = v_fma(v_set(1.395051319e-3f), r, v_set(8.368875207e-3f));
    p = v_fma(p, r, v_set(4.166620550e-2f));
    p = v_fma(p, r, v_set(1.666651898e-1f));
    p = v_fma(p, r, v_set(5.000000095e-1f));
    p = v_add(v_fma(p, v_mul(r, r), r), v_set(1.0f));
    return v_ldexp(p, n);
}

/* 2^x for the weights of softmax, x <= 0: results below 2^-126 may be 0, -inf gives exactly 0, 0 exactly 1. The five
 * coefficients have the least error in units of the last place (1.0 below and 1.3 above 2^n, where roundings are half
 * as large) of those with mean error 0. */
static inline vr K(v_exp2)(vr x) {
    x = v_max(v_set(-160.0f), x);
    vr n = v_round(x), r = v_sub(x, n);
    vr p = v_fma(v_set(1.309696322e-3f), r, v_set(9.670027171e-3f));
    p = v_fma(p, r, v_set(5.551347789e-2f));
    p = v_fma(p, r, v_set(2.402227544e-1f));
    p = v_fma(p, r, v_set(6.931464611e-1f));
    p = v_fma(p, r, v_set(1.0f));
    return v_ldexp(p, n);
}

/* log2 of positive normal x: exponent plus log of a mantissa in [sqrt(1/2), sqrt(2)), by the series of atanh. */
static inline vr K(v_log2)(vr x) {
    vr e = v_exponent(x), f = v_mantissa(x);
    vm high = v_lt(v_set(1.41421356f), f);
    e = v_select(high, v_add(e, v_set(1.0f)), e);
    f = v_sub(v_select(high, v_mul(f, v_set(0.5f)), f), v_set(1.0f));
    vr t = v_div(f, v_add(f, v_set(2.0f))), z = v_mul(t, t);
    vr p = v_fma(v_set(0.3205989f), z, v_set(0.4121986f));
    p = v_fma(p, z, v_set(0.5770780f));
    p = v_fma(p, z, v_set(0.9617967f));
    return v_add(e, v_mul(t, v_fma(p, z, v_set(2.88539008f))));
}

/* x + x^3 P(x^2) below 0.625, else 1 - 2 / (e^2|x| + 1); odd by construction. */
static inline vr K(v_tanh)(vr x) {
    vr a = v_abs(x), z = v_mul(x, x);
    vr p = v_fma(v_set(-5.717064342e-3f), z, v_set(2.065060647e-2f));
    p = v_fma(p, z, v_set(-5.374350462e-2f));
    p = v_fma(p, z, v_set(1.333149137e-1f));
    p = v_fma(p, z, v_set(-3.333328393e-1f));
    vr small = v_fma(v_mul(p, z), x, x);
    vr e = K(v_exp)(v_min(v_set(20.0f), v_add(a, a)));
    vr large = v_sub(v_set(1.0f), v_div(v_set(2.0f), v_add(e, v_set(1.0f))));
    return v_select(v_lt(a, v_set(0.625f)), small, v_sign_of(large, x));
}

/* Phi(-y) for y >= 1 is e^(-y^2/2) / (y+3) times a smooth function, here a polynomial in t = (y-3)/(y+3). The square is
 * taken with its rest: without it the rounding of y^2 alone would cost 80 ulp in the far tail. */
static inline vr K(v_tail)(vr y) {
    y = v_min(v_set(15.0f), y);
    vr three = v_set(3.0f), inverse = v_div(v_set(1.0f), v_add(y, three)), t = v_mul(v_sub(y, three), inverse);
    vr p = v_fma(v_set(-1.022840006e-3f), t, v_set(9.094542731e-4f));
    p = v_fma(p, t, v_set(6.983603325e-3f));
    p = v_fma(p, t, v_set(-1.044434559e-2f));
    p = v_fma(p, t, v_set(-4.726519971e-2f));
    p = v_fma(p, t, v_set(2.300167545e-1f));
    p = v_fma(p, t, v_set(-5.093319055e-1f));
    p = v_mul(v_fma(p, t, v_set(7.290836982e-1f)), inverse);
    vr square = v_mul(y, y), rest = v_square_rest(y, square), half = v_set(-0.5f);
    return v_mul(v_fma(v_mul(half, rest), p, p), K(v_exp)(v_mul(half, square)));
}

/* The normal distribution function, relative error a few ulp in both tails. */
static inline vr K(v_phi)(vr x) {
    vr a = v_abs(x), z = v_mul(x, x);
    vr p = v_fma(v_set(-7.664693092e-6f), z, v_set(1.135126879e-4f));
    p = v_fma(p, z, v_set(-1.186353087e-3f));
    p = v_fma(p, z, v_set(9.973331733e-3f));
    p = v_fma(p, z, v_set(-6.649036097e-2f));
    p = v_fma(p, z, v_set(3.989422801e-1f));
    vr middle = v_fma(p, x, v_set(0.5f)), tail = K(v_tail)(a);
    vr outer = v_select(v_lt(x, v_set(0.0f)), tail, v_sub(v_set(1.0f), tail));
    return v_select(v_lt(a, v_set(1.0f)), middle, outer);
}

static inline vr K(v_erf)(vr x) {
    vr a = v_abs(x), z = v_mul(x, x);
    vr p = v_fma(v_set(7.889141484e-5f), z, v_set(-8.02084762e-4f));
    p = v_fma(p, z, v_set(5.189536024e-3f));
    p = v_fma(p, z, v_set(-2.685444493e-2f));
    p = v_fma(p, z, v_set(1.128360018e-1f));
    p = v_fma(p, z, v_set(-3.761262714e-1f));
    p = v_fma(p, z, v_set(1.128379166f));
    vr tail = K(v_tail)(v_mul(a, v_set(1.41421356f)));
    vr outer = v_sign_of(v_fnma(v_set(2.0f), tail, v_set(1.0f)), x);
    return v_select(v_lt(a, v_set(1.0f)), v_mul(p, x), outer);
}

#endif

/* 1 / (1 + e^-x): for negative x through e^x, so that nothing is lost in the small tail. */
static inline vr K(v_sigmoid)(vr x) {
    vr e = K(v_exp)(v_sub(v_set(0), v_abs(x))), d = v_add(v_set(1), e);
    return v_div(v_select(v_lt(x, v_set(0)), e, v_set(1)), d);
}
