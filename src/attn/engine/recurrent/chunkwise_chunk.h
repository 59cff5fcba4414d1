/* One chunk of a recurrence, forward and backward, for the real type R, on arrays without gaps. See chunkwise.h. */

/* U: what the keys write into the state. Without the delta rule U = V. With it W = V - (K e^..) S - M U and
 * U = beta W, with M the pairs of the keys with each other; c->m holds -M, so that what is subtracted is a product
 * added. */
static void T(delta_solve)(const T(chunk) * c) {
    const int64_t dv = c->dv, lanes = c->lanes;
    R *w = c->w, *u = c->u;
    for (int64_t first = 0; first < c->n; first += STRIP) {
        const int64_t end = T(least)(first + STRIP, c->n);
        c->simd->gemm(w + first * dv, dv, c->m + first * lanes, lanes, 1, u, dv, end - first, dv, first,
                      FV_GEMM_CONTINUE);
        for (int64_t r = first; r < end; r++) {
            c->simd->gemm(w + r * dv, dv, c->m + r * lanes + first, lanes, 1, u + first * dv, dv, 1, dv, r - first,
                          FV_GEMM_CONTINUE);
            c->simd->scale(u + r * dv, c->beta[r], w + r * dv, dv);
        }
    }
}

/* The same triangle from the other end. du: gradient of U by what reads it, afterwards by all uses; dW = beta du. */
static void T(delta_solve_backward)(const T(chunk) * c) {
    const int64_t dv = c->dv, lanes = c->lanes;
    R *du = c->du, *dw = c->dw;
    for (int64_t first = (c->n - 1) / STRIP * STRIP; first >= 0; first -= STRIP) {
        const int64_t end = T(least)(first + STRIP, c->n);
        c->simd->gemm(du + first * dv, dv, c->m + end * lanes + first, 1, lanes, dw + end * dv, dv, end - first, dv,
                      c->n - end, FV_GEMM_CONTINUE);
        for (int64_t r = end - 1; r >= first; r--) {
            c->simd->gemm(du + r * dv, dv, c->m + (r + 1) * lanes + r, 1, lanes, dw + (r + 1) * dv, dv, 1, dv,
                          end - r - 1, FV_GEMM_CONTINUE);
            c->simd->scale(dw + r * dv, c->beta[r], du + r * dv, dv);
            c->dbeta[r] = c->simd->dot(c->w + r * dv, du + r * dv, dv);
        }
    }
}

/* ---- forward. `state` is the one before the chunk, NULL when it is zero. */

/* -k e^.., which reads the state */
static const R *T(negative_keys)(const T(chunk) * c) {
    c->simd->scale(c->rows, -1, c->k, c->n * c->d);
    return T(decayed)(c, c->rows, c->rows, c->from_start);
}

static void T(chunk_values)(const T(chunk) * c, const R *state) {
    if (!c->delta) return; /* u is v */
    const int64_t d = c->d, dv = c->dv;
    T(pairs)(c, c->m, c->k, true);
    c->simd->scale(c->m, -1, c->m, c->n * c->lanes);
    memcpy(c->w, c->v, (size_t)(c->n * dv) * sizeof(R));
    if (state) c->simd->gemm(c->w, dv, T(negative_keys)(c), d, 1, state, dv, c->n, dv, d, FV_GEMM_CONTINUE);
    T(delta_solve)(c);
}

/* O = (Q e^..) S + A U */
static void T(chunk_read)(const T(chunk) * c, const R *state, R *out, int64_t ld) {
    const int64_t d = c->d, dv = c->dv;
    T(pairs)(c, c->a, c->q, false);
    if (state) {
        const R *q = T(decayed)(c, c->rows, c->q, c->from_start);
        c->simd->gemm(out, ld, q, d, 1, state, dv, c->n, dv, d, FV_GEMM_OVERWRITE);
    }
    T(lower_product)(c, out, ld, c->a, c->u, dv, dv, state ? FV_GEMM_CONTINUE : FV_GEMM_OVERWRITE);
}

/* S = e^.. S + (K e^..)^T U; `empty`: S was zero and is not read */
static void T(chunk_write)(const T(chunk) * c, R *state, bool empty) {
    const R *k = T(decayed)(c, c->rows, c->k, c->to_end);
    if (!empty) T(decay_state)(c, state);
    c->simd->gemm(state, c->dv, k, 1, c->d, c->u, c->dv, c->d, c->dv, c->n,
                  empty ? FV_GEMM_OVERWRITE : FV_GEMM_CONTINUE);
}

/* ---- backward. `next` is the gradient of the state after the chunk, NULL when it is zero. */

/* sums_i += x_i y_i: what row i gives to the decays it passed; without a gradient of the decays nothing */
static void T(decay_gradient_rows)(const T(chunk) * c, R *sums, const R *x, const R *y) {
    if (c->dg) c->simd->mul_add(sums, x, y, c->n * c->d);
}

/* What the state after the chunk sends back: dU += (K e^..) E, dK += U E^T e^.. */
static void T(backward_write)(const T(chunk) * c, const R *next) {
    const int64_t d = c->d, dv = c->dv, n = c->n;
    const R *k = T(decayed)(c, c->rows, c->k, c->to_end);
    c->simd->gemm(c->du, dv, k, d, 1, next, dv, n, dv, d, FV_GEMM_CONTINUE);
    c->simd->pack(c->turned_state, c->d_lanes, next, dv, d, dv, 1);
    c->simd->gemm(c->drows, d, c->u, dv, 1, c->turned_state, c->d_lanes, n, d, dv, FV_GEMM_OVERWRITE);
    T(decay_gradient_rows)(c, c->written, k, c->drows);
    T(add_decayed)(c, c->dk, c->drows, c->to_end);
}

/* What rows x that read the state, with the gradient dy of what they read, send back: dx = dy S^T e^.. */
static void T(backward_rows)(const T(chunk) * c, const R *x, R *dx, const R *dy, int64_t ld) {
    c->simd->gemm(c->drows, c->d, dy, ld, 1, c->turned_state, c->d_lanes, c->n, c->d, c->dv, FV_GEMM_OVERWRITE);
    T(decay_gradient_rows)(c, c->read, x, c->drows);
    T(add_decayed)(c, dx, c->drows, c->from_start);
}

static void T(backward_read)(const T(chunk) * c, const R *state, const R *dout, int64_t ld) {
    c->simd->pack(c->turned_state, c->d_lanes, state, c->dv, c->d, c->dv, 1);
    T(backward_rows)(c, T(decayed)(c, c->rows, c->q, c->from_start), c->dq, dout, ld);
    if (!c->delta) return;
    c->simd->scale(c->negative, -1, c->dw, c->n * c->dv); /* of W = ... - (K e^..) S */
    const R *k = T(decayed)(c, c->rows, c->k, c->from_start);
    T(backward_rows)(c, k, c->dk, c->negative, c->dv);
}

/* A: dA = tril(dO U^T). -M: dW U^T below the diagonal. */
static void T(backward_pairs)(const T(chunk) * c) {
    const int64_t dv = c->dv;
    T(pairs_backward)(c, c->a, c->da, c->q, c->dq);
    if (!c->delta) return;
    c->simd->pack(c->packed_v, c->lanes, c->u, dv, c->n, dv, 1);
    T(triangle)(c, c->da, c->dw, dv, c->packed_v, dv, true);
    c->simd->scale(c->da, -1, c->da, c->n * c->lanes);
    c->simd->scale(c->m, -1, c->m, c->n * c->lanes);
    T(pairs_backward)(c, c->m, c->da, c->k, c->dk);
}

/* E before the chunk = e^.. E + (Q e^..)^T dO - (K e^..)^T dW; `empty`: E was zero and is not read */
static void T(backward_state)(const T(chunk) * c, R *next, const R *dout, int64_t ld, bool empty) {
    const int64_t d = c->d, dv = c->dv;
    const R *q = T(decayed)(c, c->rows, c->q, c->from_start);
    if (!empty) T(decay_state)(c, next);
    c->simd->gemm(next, dv, q, 1, d, dout, ld, d, dv, c->n, empty ? FV_GEMM_OVERWRITE : FV_GEMM_CONTINUE);
    if (c->delta) c->simd->gemm(next, dv, T(negative_keys)(c), 1, d, c->dw, dv, d, dv, c->n, FV_GEMM_CONTINUE);
}

/* ---- gradient of the decays */

/* sums over the columns, when one decay serves all of them */
static void T(narrow)(const T(chunk) * c, R *x, int64_t rows) {
    for (int64_t i = 0; c->decays == 1 && i < rows; i++) x[i] = c->simd->sum(x + i * c->d, c->d);
}

/* dg_t += sum over i >= t of read_i + sum over j < t of written_j + e^.. S E */
static void T(backward_decay)(const T(chunk) * c, const R *state, const R *next) {
    const int64_t w = c->decays;
    const SIMD *simd = c->simd;
    if (!c->dg) return;
    T(narrow)(c, c->read, c->n), T(narrow)(c, c->written, c->n);
    R *sum = c->sums;
    simd->fill(sum, 0, w);
    for (int64_t t = c->n - 1; t >= 0; t--) {
        simd->add(sum, sum, c->read + t * w, w);
        simd->add(c->dg + t * w, c->dg + t * w, sum, w);
    }
    simd->fill(sum, 0, w);
    for (int64_t i = 0; state && next && i < c->d; i++)
        sum[w == 1 ? 0 : i] += c->whole[w == 1 ? 0 : i] * simd->dot(state + i * c->dv, next + i * c->dv, c->dv);
    for (int64_t t = 0; t < c->n; t++) {
        simd->add(c->dg + t * w, c->dg + t * w, sum, w);
        simd->add(sum, sum, c->written + t * w, w);
    }
}

/* All gradients of a chunk into dq dk dv dg dbeta of c. `empty`: next is zero and not read. `before`: next becomes
 * the gradient of the state before the chunk. */
static void T(chunk_backward)(const T(chunk) * c, const R *state, R *next, bool empty, bool before, const R *dout,
                              int64_t ld) {
    const int64_t n = c->n, d = c->d, dv = c->dv;
    const SIMD *simd = c->simd;
    simd->fill(c->dq, 0, n * d), simd->fill(c->dk, 0, n * d);
    if (c->dg) simd->fill(c->dg, 0, n * c->decays), simd->fill(c->read, 0, n * d), simd->fill(c->written, 0, n * d);
    T(pairs)(c, c->a, c->q, false);
    simd->pack(c->packed_v, c->lanes, c->u, dv, n, dv, 1);
    T(triangle)(c, c->da, dout, ld, c->packed_v, dv, false);
    T(upper_product)(c, c->du, dv, c->a, dout, ld, dv, FV_GEMM_OVERWRITE);
    if (!empty) T(backward_write)(c, next);
    if (c->delta) T(delta_solve_backward)(c);
    if (state) T(backward_read)(c, state, dout, ld);
    T(backward_pairs)(c);
    T(backward_decay)(c, state, empty ? NULL : next);
    if (before) T(backward_state)(c, next, dout, ld, empty);
}
