/* Kernels of tiles: packing, masks, softmax step, backward of the weights. See kernels_tile.def. */

/* ---- layout */

/* VL x VL elements of `from`, transposed; rows beyond `rows` and columns beyond `cols` read as 0. */
INLINE void K(load_transposed)(vr *x, const R *from, int64_t ld, int64_t rows, int64_t cols, vr factor) {
    if (rows >= VL && cols >= VL) {
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) x[i] = v_mul(factor, v_load(from + i * ld));
    } else {
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++)
            x[i] = i < rows ? v_mul(factor, v_loadn(from + i * ld, cols < VL ? cols : VL)) : v_set(0);
    }
    v_transpose(x);
}

static void K(pack)(R *to, int64_t lanes, const R *from, int64_t ld, int64_t rows, int64_t cols, R factor) {
    const vr f = v_set(factor);
    for (int64_t r = 0; r < lanes; r += VL)
        for (int64_t c = 0; c < cols; c += VL) {
            vr x[VL];
            K(load_transposed)(x, from + r * ld + c, ld, rows - r, cols - c, f);
            R *column = to + c * lanes + r;
            if (cols - c >= VL) {
#pragma GCC unroll 16
                for (int i = 0; i < VL; i++) v_store(column + i * lanes, x[i]);
            } else {
#pragma GCC unroll 16
                for (int i = 0; i < VL; i++)
                    if (c + i < cols) v_store(column + i * lanes, x[i]);
            }
        }
}

/* VL x VL elements to `to`, of which rows x cols are inside */
INLINE void K(store_square)(R *to, int64_t ld, int64_t rows, int64_t cols, const vr *x, bool add) {
    if (rows >= VL && cols >= VL) {
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) v_store(to + i * ld, add ? v_add(v_load(to + i * ld), x[i]) : x[i]);
        return;
    }
    const int64_t left = cols < VL ? cols : VL;
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++)
        if (i < rows) v_storen(to + i * ld, add ? v_add(v_loadn(to + i * ld, left), x[i]) : x[i], left);
}

static void K(unpack)(R *to, int64_t ld, const R *from, int64_t lanes, int64_t rows, int64_t cols, const R *factor,
                      bool add) {
    for (int64_t r = 0; r < rows; r += VL)
        for (int64_t c = 0; c < cols; c += VL) {
            vr x[VL];
            const vr f = v_load(factor + r);
            const R *column = from + c * lanes + r;
            if (cols - c >= VL) {
#pragma GCC unroll 16
                for (int i = 0; i < VL; i++) x[i] = v_mul(f, v_load(column + i * lanes));
            } else {
#pragma GCC unroll 16
                for (int i = 0; i < VL; i++) x[i] = c + i < cols ? v_mul(f, v_load(column + i * lanes)) : v_set(0);
            }
            v_transpose(x);
            K(store_square)(to + r * ld + c, ld, rows - r, cols - c, x, add);
        }
}

/* ---- scores */

static bool K(finite_tile)(const R *a, int64_t ld, int64_t rows, int64_t cols) {
    const vr zero = v_set(0);
    vr sum = v_set(0);
    for (int64_t r = 0; r < rows; r++, a += ld) FOR_VECTORS(cols) sum = v_fma(LOAD(a), zero, sum);
    return v_sum(sum) == 0;
}

static void K(band_mask)(R *s, int64_t first, int64_t rows, int64_t lanes, const R *start, const R *end) {
    const vr hidden = v_set(-INFINITY);
    for (int64_t q = 0; q < lanes; q += VL) {
        const vr begin = v_load(start + q), last = v_load(end + q);
        for (int64_t r = first; r < rows; r++) {
            const vr at = v_set((R)r);
            R *x = s + r * lanes + q;
            v_store(x, v_select(v_and(v_le(begin, at), v_lt(at, last)), v_load(x), hidden));
        }
    }
}

static void K(bit_mask)(R *s, int64_t rows, int64_t lanes, const uint64_t *bits) {
    const vr hidden = v_set(-INFINITY);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t q = 0; q < lanes; q += VL) {
            R *x = s + r * lanes + q;
            v_store(x, v_select(v_bits((uint32_t)(bits[r] >> q)), v_load(x), hidden));
        }
}

static void K(softcap)(R *s, int64_t n, R cap) {
    const vr c = v_set(cap), inverse = v_set(1 / cap);
    FOR_VECTORS(n) STORE(s, v_mul(c, K(v_tanh)(v_mul(inverse, LOAD(s)))));
}

/* A bias joins scores in units of log 2 as log2(e) b. Beyond half of the largest number that would leave the range, so
 * from there on it grows by half of b: what is larger stays far larger, and every finite bias a finite number. */
#define FV_MOST (FV_REAL_IS_DOUBLE ? 1.79769313486231570815e308 : (double)3.40282346638528859812e38f)
#define FV_BEND (FV_MOST / 2 * (1.44269504088896340736 - 0.5))

INLINE vr K(bent)(vr s, vr b, vr x, vm far) {
    const vr hidden = v_set(-INFINITY), bend = v_sign_of(v_set(FV_BEND), b);
    return v_select(v_eq(b, hidden), hidden, v_select(far, v_fma(v_set(0.5), b, v_add(s, bend)), x));
}

INLINE vr K(biased)(vr s, vr b) {
    const vr x = v_fma(v_set(1.44269504088896340736), b, s);
    const vm far = v_lt(v_set(FV_MOST / 2), v_abs(b));
    return v_any(far) ? K(bent)(s, b, x, far) : x;
}

/* The natural score of one in units of log 2 that a bias joined. */
INLINE vr K(natural)(vr x) {
    const vr ln2 = v_set(0.69314718055994530942), most = v_set(FV_MOST);
    const vr bent = v_sub(x, v_sign_of(v_set(FV_BEND), x)),
             twice = v_min(most, v_max(v_set(-FV_MOST), v_add(bent, bent)));
    return v_select(v_lt(v_set(FV_MOST / 2 * 1.44269504088896340736), v_abs(x)), twice, v_mul(ln2, x));
}

static void K(add_bias)(R *s, const R *a, int64_t n) { FOR_VECTORS(n) STORE(s, K(biased)(LOAD(s), LOAD(a))); }

static void K(natural_scores)(R *y, const R *x, int64_t n) { FOR_VECTORS(n) STORE(y, K(natural)(LOAD(x))); }

static void K(add_alibi)(R *a, int64_t rows, int64_t lanes, R slope, R distance, R row_step, R lane_step) {
    const vr f = v_set(slope);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t q = 0; q < lanes; q += VL) {
            R *x = a + r * lanes + q;
            vr d = v_fma(v_set(lane_step), v_iota(), v_set(distance + (R)r * row_step + (R)q * lane_step));
            v_store(x, v_fnma(f, v_abs(d), v_load(x)));
        }
}

static R K(alibi_backward)(const R *ds, int64_t rows, int64_t lanes, R distance, R row_step, R lane_step) {
    vr sum = v_set(0);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t q = 0; q < lanes; q += VL) {
            vr d = v_fma(v_set(lane_step), v_iota(), v_set(distance + (R)r * row_step + (R)q * lane_step));
            sum = v_fnma(v_load(ds + r * lanes + q), v_abs(d), sum);
        }
    return v_sum(sum);
}

/* ---- softmax */

/* A maximum that would grow by no more than this stays as it is, and with it the sums that refer to it: weights reach
 * 2^4 instead of 1. After FlashAttention-4 (Dao and others), which allows 2^8. */
#define SLACK 4

/* Four chains hide the latency of the maximum and of the sum. Row r always belongs to chain r % 4, so hidden rows at
 * the end change no bit of the sum. */
INLINE vr K(column_top)(const R *s, int64_t rows, int64_t lanes, vr before) {
    vr top[4] = {before, before, before, before};
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4)
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) top[u] = v_max(v_load(s + (r + u) * lanes), top[u]);
    for (; r < rows; r++) top[0] = v_max(v_load(s + r * lanes), top[0]);
    return v_max(v_max(top[0], top[1]), v_max(top[2], top[3]));
}

INLINE void K(weight)(R *s, vr base, vr *sum, vr *top) {
    const vr x = v_load(s), p = K(v_exp2)(v_sub(x, base));
    if (top) *top = v_max(x, *top);
    v_store(s, p);
    *sum = v_add(*sum, p);
}

/* s = exp2(s - base), and their sum; *most becomes the largest of itself and the scores (NULL: not wanted). */
INLINE vr K(column_weights)(R *s, int64_t rows, int64_t lanes, vr base, vr *most) {
    const vr zero = v_set(0), low = most ? *most : zero;
    vr sum[4] = {zero, zero, zero, zero}, top[4] = {low, low, low, low};
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4)
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) K(weight)(s + (r + u) * lanes, base, &sum[u], most ? &top[u] : NULL);
#pragma GCC unroll 3
    for (int u = 0; u < 3; u++)
        if (r + u < rows) K(weight)(s + (r + u) * lanes, base, &sum[u], most ? &top[u] : NULL);
    if (most) *most = v_max(v_max(top[0], top[1]), v_max(top[2], top[3]));
    return v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3]));
}

static inline bool K(online_softmax_column)(R *s, int64_t rows, int64_t lanes, R *m, R *l, R *alpha) {
    const vr before = v_load(m), most = K(column_top)(s, rows, lanes, before);
    const vr now = v_select(v_le(most, v_add(before, v_set(SLACK))), before, most);
    const vr safe = v_select(v_eq(now, v_set(-INFINITY)), v_set(0), now);
    const vr sum = K(column_weights)(s, rows, lanes, safe, NULL), shrink = K(v_exp2)(v_sub(before, safe));
    v_store(m, now);
    v_store(l, v_fma(v_load(l), shrink, sum));
    v_store(alpha, shrink);
    return v_any(v_lt(shrink, v_set(1)));
}

static bool K(online_softmax)(R *s, int64_t rows, int64_t lanes, R *m, R *l, R *alpha) {
    bool any = false;
    for (int64_t q = 0; q < lanes; q += VL)
        any |= K(online_softmax_column)(s + q, rows, lanes, m + q, l + q, alpha + q);
    return any;
}

static bool K(online_softmax_same_max)(R *s, int64_t rows, int64_t lanes, const R *m, R *l, R *next) {
    for (int64_t q = 0; q < lanes; q += VL) {
        const vr before = v_load(m + q);
        vr top = before;
        v_store(next + q, v_add(v_load(l + q), K(column_weights)(s + q, rows, lanes, before, &top)));
        if (v_any(v_lt(v_add(before, v_set(SLACK)), top))) return false;
    }
    for (int64_t q = 0; q < lanes; q += VL) v_store(l + q, v_load(next + q));
    return true;
}

static void K(scale_rows)(R *to, int64_t ldto, const R *from, int64_t ld, int64_t rows, int64_t cols, const R *factor) {
    for (int64_t r = 0; r < rows; r++, to += ldto, from += ld) K(scale)(to, factor[r], from, cols);
}

static void K(softmax_finalize)(R *factor, R *lse, const R *m, const R *l, int64_t lanes, R sink, R gain, bool biased) {
    const vr zero = v_set(0), g = v_set(gain), k = v_set(sink), most = v_set(128), ln2 = v_set(0.69314718055994530942);
    for (int64_t q = 0; q < lanes; q += VL) {
        const vr top = v_load(m + q), sum = v_load(l + q);
        const vm seen = v_lt(zero, sum), dead = v_eq(sum, zero);
        vr extra = sink > -INFINITY ? K(v_exp2)(v_min(v_sub(k, top), most)) : zero;
        v_store(factor + q, v_select(dead, zero, v_div(g, v_add(sum, extra))));
        vr log2l = v_select(seen, K(v_log2)(v_select(seen, sum, v_set(1))), sum);
        const vr all = v_add(top, log2l);
        v_store(lse + q, v_select(dead, v_set(-INFINITY), biased ? K(natural)(all) : v_mul(ln2, all)));
    }
}

static void K(dot_rows)(R *out, const R *a, int64_t lda, const R *b, int64_t ldb, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; r++, a += lda, b += ldb) {
        vr sum = v_set(0);
        FOR_VECTORS(cols) sum = v_fma(LOAD(a), LOAD(b), sum);
        out[r] = v_sum(sum);
    }
}

/* ---- dropout */

INLINE K(counter) K(drop_counter)(vu i, vu j, const fv__drop *drop) {
    K(counter) x = {i, j, u_set((uint32_t)drop->stream), u_set((uint32_t)(drop->stream >> 32))};
    return K(philox)(x, drop->seed);
}

/* lanes are queries: the two halves of 16 draws decide for lanes 0..15 and 16..31, the four words for keys 16 apart */
static void K(drop_lanes)(R *p, int64_t rows, int64_t lanes, int64_t i0, int64_t j0, const fv__drop *drop) {
    const vu limit = u_set(drop->threshold << 16);
    const vr zero = v_set(0);
    for (int64_t q = 0; q < lanes && q < 16; q += VL)
        for (int64_t group = 0; group < rows; group += 64)
            for (int64_t c = 0; c < 16 && group + c < rows; c++) {
                const vu i = u_add(u_set((uint32_t)(i0 / 32 * 16 + q)), u_iota());
                const K(counter) x = K(drop_counter)(i, u_set((uint32_t)((j0 + group) / 64 * 16 + c)), drop);
                const vu word[4] = {x.c0, x.c1, x.c2, x.c3};
#pragma GCC unroll 4
                for (int w = 0; w < 4; w++) {
                    const int64_t r = group + c + 16 * w;
                    if (r >= rows) break;
                    R *row = p + r * lanes + q;
                    v_store(row, v_select(u_ge(u_shl16(word[w]), limit), v_load(row), zero));
                    if (q + 16 < lanes) v_store(row + 16, v_select(u_ge(word[w], limit), v_load(row + 16), zero));
                }
            }
}

/* rows 16 apart share a draw, and so do columns 16 apart; those outside the tile are left out */
static void K(drop_rows)(R *f, int64_t rows, int64_t lanes, int64_t i0, int64_t j0, const fv__drop *drop) {
    const vu limit = u_set(drop->threshold << 16);
    const vr zero = v_set(0), kept = v_set((R)drop->scale);
    for (int64_t i = i0 / 32 * 32; i < i0 + rows; i += i % 32 == 15 ? 17 : 1) {
        const int64_t low = i - i0, high = low + 16;
        const bool has_low = low >= 0 && low < rows, has_high = high >= 0 && high < rows;
        if (!has_low && !has_high) continue;
        for (int64_t group = j0 / 64 * 64 - j0; group < lanes; group += 64)
            for (int64_t c = 0; c < 16; c += VL) {
                const vu j = u_add(u_set((uint32_t)((j0 + group) / 64 * 16 + c)), u_iota());
                const K(counter) x = K(drop_counter)(u_set((uint32_t)(i / 32 * 16 + i % 16)), j, drop);
                const vu word[4] = {x.c0, x.c1, x.c2, x.c3};
#pragma GCC unroll 4
                for (int w = 0; w < 4; w++) {
                    const int64_t q = group + c + 16 * w;
                    if (q < 0 || q >= lanes) continue;
                    if (has_low) v_store(f + low * lanes + q, v_select(u_ge(u_shl16(word[w]), limit), kept, zero));
                    if (has_high) v_store(f + high * lanes + q, v_select(u_ge(word[w], limit), kept, zero));
                }
            }
    }
}

/* ---- backward */

/* P = exp2((s - norm) - rest), at most 1, dS = P (keep dP - delta). A hidden element has P = dS = 0 exactly, whatever
 * its score and dP are. */
static void K(softmax_backward_plain)(R *s, R *dp, int64_t rows, int64_t lanes, const R *norm, const R *delta) {
    for (int64_t r = 0; r < rows; r++, s += lanes, dp += lanes) {
        const vr n = v_set(norm[r]), d = v_set(delta[r]);
        for (int64_t q = 0; q < lanes; q += VL) {
            vr p = K(v_exp2)(v_min(v_set(0), v_sub(v_load(s + q), n)));
            v_store(dp + q, v_mul(p, v_sub(v_load(dp + q), d)));
            v_store(s + q, p);
        }
    }
}

/* One vector of the general case; `visible` tells the lanes inside the band. far: the row has a rest. In a row without
 * one, a bias so large that it would have to be bent has the weight 0. */
INLINE void K(softmax_backward_vector)(R *s, R *dp, vr norm, const vr *rest, vr d, vm visible, R *bias, const R *keep,
                                       vr cap, vr inverse_cap, bool capped, const bool far) {
    const vr zero = v_set(0), log2e = v_set(1.44269504088896340736);
    vr x = v_load(s), g = v_load(dp), tangent = zero;
    if (capped) tangent = K(v_tanh)(v_mul(x, inverse_cap)), x = v_mul(cap, tangent);
    if (bias) {
        vr b = v_load(bias);
        visible = v_and(visible, v_lt(v_set(-INFINITY), b));
        x = far ? K(biased)(x, b) : v_fma(log2e, b, x);
    }
    x = v_sub(x, norm);
    if (far) x = v_sub(x, *rest);
    vr p = K(v_exp2)(v_min(zero, x)), w = p;
    if (keep) g = v_mul(g, v_load(keep)), w = v_mul(p, v_load(keep));
    vr ds = v_select(visible, v_mul(p, v_sub(g, d)), zero);
    if (bias) v_store(bias, ds);
    if (capped) ds = v_select(visible, v_mul(ds, v_fnma(tangent, tangent, v_set(1))), zero);
    v_store(dp, ds);
    v_store(s, v_select(visible, w, zero));
}

INLINE void K(softmax_backward_rows)(R *s, R *dp, int64_t rows, int64_t lanes, const R *norm, const R *rest,
                                     const R *delta, const R *start, const R *end, R *bias, const R *keep, R softcap,
                                     const bool far) {
    const vr cap = v_set(softcap), inverse_cap = v_set(softcap == 0 ? 0 : 1 / softcap);
    for (int64_t r = 0; r < rows; r++) {
        const vr n = v_set(norm[r]), more = v_set(far ? rest[r] : 0), d = v_set(delta[r]);
        const vr first = v_set(start ? start[r] : 0), last = v_set(end ? end[r] : (R)lanes);
        for (int64_t q = 0; q < lanes; q += VL) {
            const int64_t at = r * lanes + q;
            const vr lane = v_add(v_iota(), v_set((R)q));
            K(softmax_backward_vector)
            (s + at, dp + at, n, &more, d, v_and(v_le(first, lane), v_lt(lane, last)), bias ? bias + at : NULL,
             keep ? keep + at : NULL, cap, inverse_cap, softcap != 0, far);
        }
    }
}

static void K(softmax_backward_from_lse)(R *s, R *dp, int64_t rows, int64_t lanes, const R *norm, const R *rest,
                                         const R *delta, const R *start, const R *end, R *bias, const R *keep,
                                         R softcap) {
    if (rest)
        K(softmax_backward_rows)(s, dp, rows, lanes, norm, rest, delta, start, end, bias, keep, softcap, true);
    else if (start || bias || keep || softcap != 0)
        K(softmax_backward_rows)(s, dp, rows, lanes, norm, NULL, delta, start, end, bias, keep, softcap, false);
    else
        K(softmax_backward_plain)(s, dp, rows, lanes, norm, delta);
}

/* ---- additive scores */

static void K(additive_scores)(R *s, const R *a, int64_t lda, const R *transposed, int64_t lanes, const R *w,
                               int64_t rows, int64_t cols, R factor) {
    for (int64_t r = 0; r < rows; r++, a += lda, s += lanes)
        for (int64_t q = 0; q < lanes; q += VL) {
            vr sum = v_set(0);
            for (int64_t c = 0; c < cols; c++) {
                const vr t = K(v_tanh)(v_add(v_set(a[c]), v_load(transposed + c * lanes + q)));
                sum = v_fma(v_set(w[c]), t, sum);
            }
            v_store(s + q, v_mul(v_set(factor), sum));
        }
}

/* dt = ds w (1 - t^2). Where ds is 0 nothing is added, so that a NaN in a hidden key stays where it is. */
static void K(additive_scores_backward)(R *da, int64_t ldda, R *dtransposed, R *dw, const R *ds, const R *a,
                                        int64_t lda, const R *transposed, int64_t lanes, const R *w, int64_t rows,
                                        int64_t cols) {
    const vr zero = v_set(0), one = v_set(1);
    for (int64_t c = 0; c < cols; c++) {
        vr sum_w = zero;
        for (int64_t r = 0; r < rows; r++) {
            const vr x = v_set(a[r * lda + c]);
            vr sum_a = zero;
            for (int64_t q = 0; q < lanes; q += VL) {
                const vr g = v_load(ds + r * lanes + q), t = K(v_tanh)(v_add(x, v_load(transposed + c * lanes + q)));
                const vm live = v_lt(zero, v_abs(g));
                const vr dt = v_select(live, v_mul(v_mul(g, v_set(w[c])), v_fnma(t, t, one)), zero);
                sum_a = v_add(sum_a, dt);
                sum_w = v_add(sum_w, v_select(live, v_mul(g, t), zero));
                if (dtransposed) v_store(dtransposed + c * lanes + q, v_add(v_load(dtransposed + c * lanes + q), dt));
            }
            if (da) da[r * ldda + c] += v_sum(sum_a);
        }
        dw[c] += v_sum(sum_w);
    }
}
