/* Kernels on one row: softmax, layer norm, RMS norm. */

static R K(logsumexp)(const R *x, int64_t n) {
    R top = K(max)(x, n);
    if (!(top > -INFINITY)) top = 0;
    const vr shift = v_set(top);
    vr s = v_set(0);
    FOR_VECTORS(n) {
        vr e = K(v_exp)(v_sub(LOAD(x), shift));
        if (left < VL) e = v_select(v_lt(v_iota(), v_set((R)left)), e, v_set(0));
        s = v_add(s, e);
    }
    return top + (R)log((double)v_sum(s));
}

static R K(softmax)(R *y, const R *x, int64_t n) {
    R top = K(max)(x, n);
    if (!(top > -INFINITY)) top = 0; /* nothing to see: exp(-inf - 0) are zeros; NaN stay NaN */
    const vr shift = v_set(top);
    vr s = v_set(0);
    FOR_VECTORS(n) {
        vr e = K(v_exp)(v_sub(LOAD(x), shift));
        STORE(y, e);
        if (left < VL) e = v_select(v_lt(v_iota(), v_set((R)left)), e, v_set(0));
        s = v_add(s, e);
    }
    R total = v_sum(s);
    if (total == 0) return (R)-INFINITY;
    K(scale)(y, 1 / total, y, n);
    return top + (R)log((double)total);
}

static void K(softmax_back)(R *dx, const R *dy, const R *y, int64_t n) {
    const vr mean = v_set(K(dot)(dy, y, n));
    FOR_VECTORS(n) STORE(dx, v_fma(LOAD(y), v_sub(LOAD(dy), mean), LOAD(dx)));
}

/* Two passes: the variance of the deviations, so that a large common offset costs nothing. */
static void K(layer_norm)(R *y, R *mean, R *rstd, const R *x, const R *w, const R *b, int64_t n, R eps) {
    const R centre = K(sum)(x, n) / (R)(n ? n : 1);
    const vr c = v_set(centre);
    vr s = v_set(0);
    FOR_VECTORS(n) {
        vr d = v_sub(LOAD(x), c);
        if (left < VL) d = v_select(v_lt(v_iota(), v_set((R)left)), d, v_set(0));
        s = v_fma(d, d, s);
    }
    const R inverse = (R)(1 / sqrt((double)(v_sum(s) / (R)(n ? n : 1) + eps)));
    const vr r = v_set(inverse);
    FOR_VECTORS(n) {
        vr h = v_mul(v_sub(LOAD(x), c), r);
        if (w) h = v_mul(h, LOAD(w));
        if (b) h = v_add(h, LOAD(b));
        STORE(y, h);
    }
    *mean = centre, *rstd = inverse;
}

/* With h = (x - mean) rstd and g = dy w:  dx = rstd (g - mean(g) - h mean(g h)). */
static void K(layer_norm_back)(R *dx, R *dw, R *db, const R *dy, const R *x, const R *w, R mean, R rstd, int64_t n) {
    const vr c = v_set(mean), r = v_set(rstd);
    vr sum_g = v_set(0), sum_gh = v_set(0);
    FOR_VECTORS(n) {
        vr d = LOAD(dy), h = v_mul(v_sub(LOAD(x), c), r), g = w ? v_mul(d, LOAD(w)) : d;
        sum_g = v_add(sum_g, g); /* dy is 0 beyond the end, so h there does not count */
        sum_gh = v_fma(g, h, sum_gh);
        if (dw) STORE(dw, v_fma(d, h, LOAD(dw)));
        if (db) STORE(db, v_add(LOAD(db), d));
    }
    if (!dx) return;
    const vr a = v_set(v_sum(sum_g) / (R)(n ? n : 1)), b = v_set(v_sum(sum_gh) / (R)(n ? n : 1));
    FOR_VECTORS(n) {
        vr d = LOAD(dy), h = v_mul(v_sub(LOAD(x), c), r), g = w ? v_mul(d, LOAD(w)) : d;
        STORE(dx, v_fma(r, v_fnma(h, b, v_sub(g, a)), LOAD(dx)));
    }
}

static void K(rms_norm)(R *y, R *rstd, const R *x, const R *w, int64_t n, R eps) {
    const R inverse = (R)(1 / sqrt((double)(K(dot)(x, x, n) / (R)(n ? n : 1) + eps)));
    const vr r = v_set(inverse);
    FOR_VECTORS(n) {
        vr h = v_mul(LOAD(x), r);
        STORE(y, w ? v_mul(h, LOAD(w)) : h);
    }
    *rstd = inverse;
}

static void K(rms_norm_back)(R *dx, R *dw, const R *dy, const R *x, const R *w, R rstd, int64_t n) {
    const vr r = v_set(rstd);
    vr sum_gh = v_set(0);
    FOR_VECTORS(n) {
        vr d = LOAD(dy), h = v_mul(LOAD(x), r), g = w ? v_mul(d, LOAD(w)) : d;
        sum_gh = v_fma(g, h, sum_gh);
        if (dw) STORE(dw, v_fma(d, h, LOAD(dw)));
    }
    if (!dx) return;
    const vr b = v_set(v_sum(sum_gh) / (R)(n ? n : 1));
    FOR_VECTORS(n) {
        vr d = LOAD(dy), h = v_mul(LOAD(x), r), g = w ? v_mul(d, LOAD(w)) : d;
        STORE(dx, v_fma(r, v_fnma(h, b, g), LOAD(dx)));
    }
}
