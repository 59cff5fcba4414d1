/* The kernels of plain.def, in terms of R (float or double), K(name) and SIMD(). Included by plain.c, once per type:
 * no guard. */

static void K(shift)(R *y, const R *x, R value, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = x[i] + value;
}

/* log(1/(1+exp(-x))) without overflow on either side */
static void K(log_sigmoid)(R *y, const R *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double v = x[i];
        y[i] = (R)((v < 0 ? v : 0) - log1p(exp(-fabs(v))));
    }
}

static double K(logistic)(double v) { return v >= 0 ? 1 / (1 + exp(-v)) : exp(v) / (1 + exp(v)); }

static void K(log_sigmoid_back)(R *dx, const R *dy, const R *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] += (R)(dy[i] * K(logistic)(-(double)x[i]));
}

static void K(log_softmax_back)(R *dx, const R *dy, const R *y, int64_t n) {
    R total = SIMD()->sum(dy, n);
    for (int64_t i = 0; i < n; i++) dx[i] += dy[i] - (R)exp((double)y[i]) * total;
}

static void K(column_max)(R *y, int32_t *at, const R *x, int64_t rows, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i];
        at[i] = 0;
    }
    for (int64_t row = 1; row < rows; row++)
        for (int64_t i = 0; i < n; i++)
            if (x[row * n + i] > y[i]) {
                y[i] = x[row * n + i];
                at[i] = (int32_t)row;
            }
}

static void K(column_max_back)(R *dx, const R *dy, const int32_t *at, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[at[i] * n + i] += dy[i];
}

static void K(column_softmax)(R *y, const R *x, int64_t rows, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        R most = x[i];
        for (int64_t row = 1; row < rows; row++) most = x[row * n + i] > most ? x[row * n + i] : most;
        double total = 0;
        for (int64_t row = 0; row < rows; row++) total += exp((double)x[row * n + i] - most);
        for (int64_t row = 0; row < rows; row++) y[row * n + i] = (R)(exp((double)x[row * n + i] - most) / total);
    }
}

static void K(column_softmax_back)(R *dx, const R *dy, const R *y, int64_t rows, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double inner = 0;
        for (int64_t row = 0; row < rows; row++) inner += (double)dy[row * n + i] * y[row * n + i];
        for (int64_t row = 0; row < rows; row++) dx[row * n + i] += y[row * n + i] * (dy[row * n + i] - (R)inner);
    }
}

static double K(cross_entropy)(const R *x, int64_t n, int64_t label, const R *soft, double smooth) {
    double lse = SIMD()->logsumexp(x, n), loss;
    if (label >= 0) {
        loss = lse - x[label];
    } else {
        loss = 0;
        for (int64_t i = 0; i < n; i++) loss += soft[i] == 0 ? 0 : soft[i] * (lse - x[i]);
    }
    if (smooth == 0) return loss;
    double mean = 0;
    for (int64_t i = 0; i < n; i++) mean += lse - x[i];
    return (1 - smooth) * loss + smooth * mean / (double)n;
}

static void K(cross_entropy_back)(R *dx, const R *x, int64_t n, int64_t label, const R *soft, double smooth,
                                  double weight) {
    double mass = 1;
    if (label < 0) {
        mass = 0;
        for (int64_t i = 0; i < n; i++) mass += soft[i];
        mass = (1 - smooth) * mass + smooth;
    }
    SIMD()->softmax(dx, x, n);
    SIMD()->scale(dx, (R)(weight * mass), dx, n);
    R keep = (R)(weight * (1 - smooth)), even = (R)(weight * smooth / (double)n);
    if (label >= 0)
        dx[label] -= keep;
    else
        SIMD()->axpy(dx, -keep, soft, n);
    if (smooth != 0)
        for (int64_t i = 0; i < n; i++) dx[i] -= even;
}

/* max(x,0) - x t + log(1 + exp(-|x|)): the same sum without overflow */
static double K(bce)(const R *x, const R *t, int64_t n) {
    double total = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = x[i];
        total += (v > 0 ? v : 0) - v * t[i] + log1p(exp(-fabs(v)));
    }
    return total;
}

static void K(bce_back)(R *dx, const R *x, const R *t, R weight, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] += weight * (R)(K(logistic)(x[i]) - t[i]);
}

static double K(squares)(const R *x, const R *t, int64_t n) {
    double total = 0;
    for (int64_t i = 0; i < n; i++) total += ((double)x[i] - t[i]) * ((double)x[i] - t[i]);
    return total;
}

static void K(squares_back)(R *dx, const R *x, const R *t, R weight, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] += weight * (x[i] - t[i]);
}
