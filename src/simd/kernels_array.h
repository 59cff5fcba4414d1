/* Kernels on arrays: reductions, elementwise functions and their gradients, in the vector vocabulary. */

/* for (...) over n elements by vectors: `i` is the first element, `left` how many of the vector are inside. LOAD and
 * STORE of the last vector touch only those; lanes beyond read as 0. */
#define FOR_VECTORS(n) for (int64_t i = 0, left; i < (n) && (left = (n)-i < VL ? (n)-i : VL, true); i += VL)
#define LOAD(p) (left == VL ? v_load((p) + i) : v_loadn((p) + i, left))
#define STORE(p, v) (left == VL ? (void)v_store((p) + i, v) : (void)v_storen((p) + i, v, left))

/* ---- reductions */

static R K(dot)(const R *a, const R *b, int64_t n) {
    vr s[4] = {v_set(0), v_set(0), v_set(0), v_set(0)};
    int64_t j = 0;
    for (; j + 4 * VL <= n; j += 4 * VL)
        for (int u = 0; u < 4; u++) s[u] = v_fma(v_load(a + j + u * VL), v_load(b + j + u * VL), s[u]);
    a += j, b += j;
    FOR_VECTORS(n - j) s[0] = v_fma(LOAD(a), LOAD(b), s[0]);
    return v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
}

static R K(sum)(const R *a, int64_t n) {
    vr s[4] = {v_set(0), v_set(0), v_set(0), v_set(0)};
    int64_t j = 0;
    for (; j + 4 * VL <= n; j += 4 * VL)
        for (int u = 0; u < 4; u++) s[u] = v_add(s[u], v_load(a + j + u * VL));
    a += j;
    FOR_VECTORS(n - j) s[0] = v_add(s[0], LOAD(a));
    return v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
}

static R K(max)(const R *a, int64_t n) {
    vr s = v_set(-INFINITY);
    int64_t j = 0;
    for (; j + VL <= n; j += VL) s = v_max(v_load(a + j), s);
    R best = v_hmax(s);
    for (; j < n; j++) best = a[j] > best ? a[j] : best;
    return best;
}

static double K(norm2)(const R *a, int64_t n) {
    double s[8] = {0};
    int64_t j = 0;
    for (; j + 8 <= n; j += 8)
        for (int u = 0; u < 8; u++) s[u] += (double)a[j + u] * (double)a[j + u];
    for (int u = 0; j < n; j++, u++) s[u] += (double)a[j] * (double)a[j];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* x * 0 is 0 for finite x and NaN otherwise; a sum of those keeps any NaN. */
static bool K(all_finite)(const R *a, int64_t n) {
    vr s[2] = {v_set(0), v_set(0)};
    const vr zero = v_set(0);
    int64_t j = 0;
    for (; j + 2 * VL <= n; j += 2 * VL) {
        s[0] = v_fma(v_load(a + j), zero, s[0]);
        s[1] = v_fma(v_load(a + j + VL), zero, s[1]);
    }
    a += j;
    FOR_VECTORS(n - j) s[0] = v_fma(LOAD(a), zero, s[0]);
    return v_sum(v_add(s[0], s[1])) == 0;
}

/* ---- elementwise */

static void K(fill)(R *y, R value, int64_t n) {
    const vr c = v_set(value);
    FOR_VECTORS(n) STORE(y, c);
}

static void K(axpy)(R *y, R a, const R *x, int64_t n) {
    const vr c = v_set(a);
    FOR_VECTORS(n) STORE(y, v_fma(c, LOAD(x), LOAD(y)));
}

static void K(scale)(R *y, R a, const R *x, int64_t n) {
    const vr c = v_set(a);
    FOR_VECTORS(n) STORE(y, v_mul(c, LOAD(x)));
}

static void K(add)(R *y, const R *a, const R *b, int64_t n) { FOR_VECTORS(n) STORE(y, v_add(LOAD(a), LOAD(b))); }
static void K(sub)(R *y, const R *a, const R *b, int64_t n) { FOR_VECTORS(n) STORE(y, v_sub(LOAD(a), LOAD(b))); }
static void K(mul)(R *y, const R *a, const R *b, int64_t n) { FOR_VECTORS(n) STORE(y, v_mul(LOAD(a), LOAD(b))); }
static void K(mul_add)(R *y, const R *a, const R *b, int64_t n) {
    FOR_VECTORS(n) STORE(y, v_fma(LOAD(a), LOAD(b), LOAD(y)));
}

static void K(exp)(R *y, const R *x, int64_t n) { FOR_VECTORS(n) STORE(y, K(v_exp)(LOAD(x))); }
static void K(tanh)(R *y, const R *x, int64_t n) { FOR_VECTORS(n) STORE(y, K(v_tanh)(LOAD(x))); }
static void K(sigmoid)(R *y, const R *x, int64_t n) { FOR_VECTORS(n) STORE(y, K(v_sigmoid)(LOAD(x))); }
static void K(erf)(R *y, const R *x, int64_t n) { FOR_VECTORS(n) STORE(y, K(v_erf)(LOAD(x))); }

/* max(x, 0) with the operands in the order that lets NaN through. */
static void K(relu)(R *y, const R *x, int64_t n) { FOR_VECTORS(n) STORE(y, v_max(v_set(0), LOAD(x))); }

static void K(gelu)(R *y, const R *x, int64_t n) {
    FOR_VECTORS(n) {
        vr a = LOAD(x);
        STORE(y, v_mul(a, K(v_phi)(a)));
    }
}

/* Hendrycks & Gimpel, arXiv 1606.08415: x/2 (1 + tanh u) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3). */
static inline vr K(v_gelu_argument)(vr x) {
    return v_mul(v_mul(v_set(1.59576912160573071176), x), v_fma(v_mul(v_set(0.044715), x), x, v_set(1)));
}

static void K(gelu_tanh)(R *y, const R *x, int64_t n) {
    FOR_VECTORS(n) {
        vr a = LOAD(x);
        STORE(y, v_mul(a, K(v_sigmoid)(K(v_gelu_argument)(a))));
    }
}

static void K(silu)(R *y, const R *x, int64_t n) {
    FOR_VECTORS(n) {
        vr a = LOAD(x);
        STORE(y, v_mul(a, K(v_sigmoid)(a)));
    }
}

/* ---- gradients */

static void K(tanh_back)(R *dx, const R *dy, const R *y, int64_t n) {
    FOR_VECTORS(n) {
        vr t = LOAD(y);
        STORE(dx, v_fma(LOAD(dy), v_fnma(t, t, v_set(1)), LOAD(dx)));
    }
}

static void K(sigmoid_back)(R *dx, const R *dy, const R *y, int64_t n) {
    FOR_VECTORS(n) {
        vr s = LOAD(y);
        STORE(dx, v_fma(LOAD(dy), v_fnma(s, s, s), LOAD(dx)));
    }
}

static void K(relu_back)(R *dx, const R *dy, const R *x, int64_t n) {
    FOR_VECTORS(n) STORE(dx, v_add(LOAD(dx), v_select(v_lt(v_set(0), LOAD(x)), LOAD(dy), v_set(0))));
}

/* Phi(x) + x phi(x), phi the normal density */
static void K(gelu_back)(R *dx, const R *dy, const R *x, int64_t n) {
    FOR_VECTORS(n) {
        vr a = LOAD(x);
        vr density = v_mul(v_set(0.39894228040143267794), K(v_exp)(v_mul(v_mul(v_set(-0.5), a), a)));
        STORE(dx, v_fma(LOAD(dy), v_fma(a, density, K(v_phi)(a)), LOAD(dx)));
    }
}

/* s + x s (1 - s) u', with s = sigmoid(u) */
static void K(gelu_tanh_back)(R *dx, const R *dy, const R *x, int64_t n) {
    FOR_VECTORS(n) {
        vr a = LOAD(x);
        vr s = K(v_sigmoid)(K(v_gelu_argument)(a));
        vr slope = v_mul(v_set(1.59576912160573071176), v_fma(v_mul(v_set(3 * 0.044715), a), a, v_set(1)));
        STORE(dx, v_fma(LOAD(dy), v_fma(v_mul(a, slope), v_fnma(s, s, s), s), LOAD(dx)));
    }
}

static void K(silu_back)(R *dx, const R *dy, const R *x, int64_t n) {
    FOR_VECTORS(n) {
        vr a = LOAD(x);
        vr s = K(v_sigmoid)(a);
        STORE(dx, v_fma(LOAD(dy), v_fma(a, v_fnma(s, s, s), s), LOAD(dx)));
    }
}
