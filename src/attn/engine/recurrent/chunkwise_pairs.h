/* Pair products of a chunk with decay, forward and backward, for the real type R. See chunkwise.h.
 *
 *   pairs       A_ij = sum over d of x_i,d k_j,d e^(g_j+1,d + ... + g_i,d)      for j <= i, else 0
 *   backward    dx_i += sum_j dA_ij k_j e^(...)      dk_j += sum_i dA_ij x_i e^(...)
 *               dg_t += sum over j < t <= i of dA_ij A_ij
 *
 * No exponent is positive and none is a difference of two sums: a decay of 1e-40 beside one of 1 loses nothing. One
 * decay per token: the exponents of all pairs are summed row by row and stand in an n x n array. One per token and
 * column: the chunk is halved again and again. A block [a, a + 2 half) has its middle at m = a + half, and the pairs
 * (i >= m, j < m) of it are one product of matrices,
 *
 *   (x_i e^(g_m + ... + g_i)) . (k_j e^(g_j+1 + ... + g_m-1))
 *
 * which is the secondary chunking of Yang et al. 2023, arXiv 2312.06635, carried down to single tokens. */

/* ---- products with a lower triangle, in strips of 16 rows */

/* gemm; `finite` false: B holds infinities or NaN that a zero in A must hide */
static inline void T(product)(const SIMD *simd, bool finite, R *c, int64_t ldc, const R *a, int64_t a_row,
                              int64_t a_col, const R *b, int64_t ldb, int64_t m, int64_t n, int64_t k,
                              fv__gemm_mode mode) {
    (finite ? simd->gemm : simd->gemm_masked)(c, ldc, a, a_row, a_col, b, ldb, m, n, k, mode);
}

/* a = lower triangle of x y^T, with y^T packed: (cols, lanes); above the diagonal, and on it if `strict`, 0 */
static void T(triangle)(const T(chunk) * c, R *a, const R *x, int64_t ld, const R *yt, int64_t cols, bool strict) {
    for (int64_t r = 0; r < c->n; r += STRIP) {
        const int64_t rows = T(least)(STRIP, c->n - r);
        c->simd->gemm(a + r * c->lanes, c->lanes, x + r * ld, ld, 1, yt, c->lanes, rows, r + rows, cols,
                      FV_GEMM_OVERWRITE);
    }
    for (int64_t r = 0; r < c->n; r++) {
        const int64_t first = strict ? r : r + 1;
        c->simd->fill(a + r * c->lanes + first, 0, c->lanes - first);
    }
}

/* to += a b, or = */
static void T(lower_product)(const T(chunk) * c, R *to, int64_t ld, const R *a, const R *b, int64_t ldb, int64_t cols,
                             fv__gemm_mode mode) {
    const bool finite = c->simd->finite_tile(b, ldb, c->n, cols);
    for (int64_t r = 0; r < c->n; r += STRIP) {
        const int64_t rows = T(least)(STRIP, c->n - r), keys = r + rows;
        T(product)(c->simd, finite, to + r * ld, ld, a + r * c->lanes, c->lanes, 1, b, ldb, rows, cols, keys, mode);
    }
}

/* to += a^T b, or = */
static void T(upper_product)(const T(chunk) * c, R *to, int64_t ld, const R *a, const R *b, int64_t ldb, int64_t cols,
                             fv__gemm_mode mode) {
    const bool finite = c->simd->finite_tile(b, ldb, c->n, cols);
    for (int64_t r = 0; r < c->n; r += STRIP) {
        const int64_t keys = T(least)(STRIP, c->n - r), rows = c->n - r;
        const R *from = a + r * c->lanes + r;
        T(product)(c->simd, finite, to + r * ld, ld, from, 1, c->lanes, b + r * ldb, ldb, keys, cols, rows, mode);
    }
}

/* ---- decays: of rows */

/* y_i = x_i e_i; without decay x itself */
static const R *T(decayed)(const T(chunk) * c, R *y, const R *x, const R *e) {
    const int64_t d = c->d;
    for (int64_t i = 0; c->decays && i < c->n; i++)
        if (c->decays == 1)
            c->simd->scale(y + i * d, e[i], x + i * d, d);
        else
            c->simd->mul(y + i * d, x + i * d, e + i * d, d);
    return c->decays ? y : x;
}

/* y_i += x_i e_i */
static void T(add_decayed)(const T(chunk) * c, R *y, const R *x, const R *e) {
    const int64_t d = c->d;
    for (int64_t i = 0; i < c->n; i++)
        if (c->decays == 0)
            c->simd->add(y + i * d, y + i * d, x + i * d, d);
        else if (c->decays == 1)
            c->simd->axpy(y + i * d, e[i], x + i * d, d);
        else
            c->simd->mul_add(y + i * d, x + i * d, e + i * d, d);
}

/* rows of a state times the decay of the whole chunk */
static void T(decay_state)(const T(chunk) * c, R *state) {
    for (int64_t i = 0; c->decays && i < c->d; i++, state += c->dv)
        c->simd->scale(state, c->whole[c->decays == 1 ? 0 : i], state, c->dv);
}

/* from_start_i = e^(g_0 + ... + g_i), to_end_i = e^(g_i+1 + ... + g_n-1), whole = e^(g_0 + ... + g_n-1) */
static void T(decay_edges)(const T(chunk) * c) {
    const int64_t w = c->decays, n = c->n;
    if (w == 0) return;
    memcpy(c->from_start, c->g, (size_t)w * sizeof(R));
    for (int64_t i = 1; i < n; i++) c->simd->add(c->from_start + i * w, c->from_start + (i - 1) * w, c->g + i * w, w);
    c->simd->fill(c->to_end + (n - 1) * w, 0, w);
    for (int64_t i = n - 2; i >= 0; i--)
        c->simd->add(c->to_end + i * w, c->to_end + (i + 1) * w, c->g + (i + 1) * w, w);
    c->simd->exp(c->from_start, c->from_start, n * w);
    c->simd->exp(c->to_end, c->to_end, n * w);
    memcpy(c->whole, c->from_start + (n - 1) * w, (size_t)w * sizeof(R));
}

/* ---- decays: of pairs */

static void T(decay_scalar)(const T(chunk) * c) {
    R *row = c->between;
    c->simd->fill(row, 0, c->lanes);
    for (int64_t i = 1; i < c->n; i++, row += c->lanes) {
        R *next = row + c->lanes;
        for (int64_t j = 0; j < i; j++) next[j] = row[j] + c->g[i];
        c->simd->fill(next + i, 0, c->lanes - i);
    }
    for (int64_t i = 0; i < c->n; i++) c->simd->exp(c->between + i * c->lanes, c->between + i * c->lanes, i + 1);
}

/* Of the level with halves of `half` tokens: e^(g_m + ... + g_i) for i >= m, e^(g_j+1 + ... + g_m-1) for j < m. */
static void T(decay_level)(const T(chunk) * c, R *e, int64_t half) {
    const int64_t d = c->d;
    const SIMD *simd = c->simd;
    for (int64_t m = half; m < c->n; m += 2 * half) {
        const int64_t end = T(least)(m + half, c->n);
        memcpy(e + m * d, c->g + m * d, (size_t)d * sizeof(R));
        for (int64_t i = m + 1; i < end; i++) simd->add(e + i * d, e + (i - 1) * d, c->g + i * d, d);
        simd->fill(e + (m - 1) * d, 0, d);
        for (int64_t j = m - 2; j >= m - half; j--) simd->add(e + j * d, e + (j + 1) * d, c->g + (j + 1) * d, d);
        simd->exp(e + (m - half) * d, e + (m - half) * d, (end - m + half) * d);
    }
}

static void T(decay_pairs)(const T(chunk) * c) {
    if (c->decays == 1) T(decay_scalar)(c);
    R *e = c->halves;
    for (int64_t half = c->chunk / 2; c->decays > 1 && half > 0; half /= 2, e += c->room * c->d)
        T(decay_level)(c, e, half);
}

/* ---- pairs with a decay per column, a level at a time */

/* l = x e for the second halves, k e for the first halves */
static void T(level_rows)(const T(chunk) * c, R *l, const R *x, const R *e, int64_t half) {
    const int64_t d = c->d;
    for (int64_t m = half; m < c->n; m += 2 * half) {
        const int64_t first = (m - half) * d, rows = T(least)(half, c->n - m);
        c->simd->mul(l + first, c->k + first, e + first, half * d);
        c->simd->mul(l + m * d, x + m * d, e + m * d, rows * d);
    }
}

static void T(pairs_vector)(const T(chunk) * c, R *a, const R *x, bool strict) {
    const int64_t d = c->d, lanes = c->lanes;
    const R *e = c->halves;
    c->simd->fill(a, 0, c->n * lanes);
    for (int64_t half = c->chunk / 2; half > 0; half /= 2, e += c->room * d) {
        if (half >= c->n) continue;
        T(level_rows)(c, c->level, x, e, half);
        c->simd->pack(c->packed, lanes, c->level, d, c->n, d, 1);
        for (int64_t m = half; m < c->n; m += 2 * half)
            c->simd->gemm(a + m * lanes + m - half, lanes, c->level + m * d, d, 1, c->packed + m - half, lanes,
                          T(least)(half, c->n - m), half, d, FV_GEMM_OVERWRITE);
    }
    for (int64_t i = 0; !strict && i < c->n; i++) a[i * lanes + i] = c->simd->dot(x + i * d, c->k + i * d, d);
}

/* dg_t += sum of rows i >= t of the second half, and of columns j < t of the first; p = dl l; sum: room for a row */
static void T(level_decay_gradient)(const T(chunk) * c, R *p, int64_t half, R *sum) {
    const int64_t d = c->d;
    const SIMD *simd = c->simd;
    for (int64_t m = half; m < c->n; m += 2 * half) {
        simd->fill(sum, 0, d);
        for (int64_t t = T(least)(m + half, c->n) - 1; t >= m; t--) {
            simd->add(sum, sum, p + t * d, d);
            simd->add(c->dg + t * d, c->dg + t * d, sum, d);
        }
        simd->fill(sum, 0, d);
        for (int64_t j = m - half; j + 1 < m; j++) {
            simd->add(sum, sum, p + j * d, d);
            simd->add(c->dg + (j + 1) * d, c->dg + (j + 1) * d, sum, d);
        }
    }
}

/* Gradients of one level: dl of its rows and columns, then of x, k and g. */
static void T(level_backward)(const T(chunk) * c, const R *da, const R *x, R *dx, const R *e, int64_t half) {
    const int64_t d = c->d, lanes = c->lanes;
    R *l = c->level, *dl = c->dlevel;
    T(level_rows)(c, l, x, e, half);
    for (int64_t m = half; m < c->n; m += 2 * half) {
        const int64_t a = m - half, rows = T(least)(half, c->n - m);
        const R *block = da + m * lanes + a;
        c->simd->gemm(dl + m * d, d, block, lanes, 1, l + a * d, d, rows, d, half, FV_GEMM_OVERWRITE);
        c->simd->gemm(dl + a * d, d, block, 1, lanes, l + m * d, d, half, d, rows, FV_GEMM_OVERWRITE);
        c->simd->mul_add(dx + m * d, dl + m * d, e + m * d, rows * d);
        c->simd->mul_add(c->dk + a * d, dl + a * d, e + a * d, half * d);
        if (c->dg) c->simd->mul(l + a * d, l + a * d, dl + a * d, (half + rows) * d);
    }
    if (c->dg) T(level_decay_gradient)(c, l, half, c->sums);
}

static void T(pairs_vector_backward)(const T(chunk) * c, const R *da, const R *x, R *dx) {
    const int64_t d = c->d;
    const R *e = c->halves;
    for (int64_t half = c->chunk / 2; half > 0; half /= 2, e += c->room * d)
        if (half < c->n) T(level_backward)(c, da, x, dx, e, half);
    for (int64_t i = 0; i < c->n; i++) {
        const R diagonal = da[i * c->lanes + i];
        c->simd->axpy(dx + i * d, diagonal, c->k + i * d, d);
        c->simd->axpy(c->dk + i * d, diagonal, x + i * d, d);
    }
}

/* ---- pairs with a decay per token, or none */

/* dg_t += sum over j < t <= i of z_ij; zt = z^T */
static void T(pairs_decay_gradient)(const T(chunk) * c, const R *z) {
    R *zt = c->turned, *sum = c->sums;
    c->simd->pack(zt, c->lanes, z, c->lanes, c->n, c->n, 1);
    c->simd->fill(sum, 0, c->n);
    for (int64_t t = 1; t < c->n; t++) {
        c->simd->add(sum, sum, zt + (t - 1) * c->lanes, c->n);
        c->dg[t] += c->simd->sum(sum + t, c->n - t);
    }
}

static void T(pairs_scalar_backward)(const T(chunk) * c, const R *a, R *da, const R *x, R *dx) {
    const int64_t size = c->n * c->lanes;
    if (c->decays && c->dg) {
        c->simd->mul(c->products, a, da, size);
        T(pairs_decay_gradient)(c, c->products);
    }
    if (c->decays) c->simd->mul(da, da, c->between, size);
    T(lower_product)(c, dx, c->d, da, c->k, c->d, c->d, FV_GEMM_CONTINUE);
    T(upper_product)(c, c->dk, c->d, da, x, c->d, c->d, FV_GEMM_CONTINUE);
}

/* ---- either */

/* a = pairs of the rows x with the keys; strict: only j < i */
static void T(pairs)(const T(chunk) * c, R *a, const R *x, bool strict) {
    if (c->decays > 1) {
        T(pairs_vector)(c, a, x, strict);
        return;
    }
    c->simd->pack(c->packed, c->lanes, c->k, c->d, c->n, c->d, 1);
    T(triangle)(c, a, x, c->d, c->packed, c->d, strict);
    if (c->decays)
        for (int64_t i = 0; i < c->n; i++)
            c->simd->mul(a + i * c->lanes, a + i * c->lanes, c->between + i * c->lanes, i);
}

/* Adds to dx, and to dk and dg of the chunk. da is spoiled. */
static void T(pairs_backward)(const T(chunk) * c, const R *a, R *da, const R *x, R *dx) {
    if (c->decays > 1)
        T(pairs_vector_backward)(c, da, x, dx);
    else
        T(pairs_scalar_backward)(c, a, da, x, dx);
}
