/* What weights of a threshold share, for the real type R: included by a file of this folder behind its T(threshold) and
 * T(weigh), with WEIGHT_SPAN defined: scores so far below the largest, or further, have weight 0, and the threshold is
 * counted in it. */

/* The largest of the scores; NaN when one of them is, or is infinite. */
static double T(largest)(const R *score, int64_t step, int64_t n) {
    double top = -INFINITY;
    for (int64_t j = 0; j < n; j++) {
        const double s = (double)score[j * step];
        if (!(s < INFINITY)) return NAN;
        if (s > top) top = s;
    }
    return top;
}

static R T(forward)(const SIMD *simd, R *row, int64_t n, R *spare) {
    const double top = T(largest)(row, 1, n);
    int64_t near = 0;
    (void)simd;
    for (int64_t j = 0; j < n; j++)
        if ((double)row[j] - top > -WEIGHT_SPAN) spare[near++] = row[j];
    const double tau = near ? T(threshold)(spare, 1, near, top) : 0;
    T(weigh)(row, 1, n, top, tau);
    return (R)(top + WEIGHT_SPAN * tau);
}

static void T(strided)(R *row, int64_t step, int64_t n) {
    const double top = T(largest)(row, step, n);
    T(weigh)(row, step, n, top, top > -INFINITY ? T(threshold)(row, step, n, top) : 0);
}

#undef WEIGHT_SPAN
