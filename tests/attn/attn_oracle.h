/* Exact attention and all its gradients in double precision by plain loops, together with the error each element may
 * have.
 *
 * The allowed error is a sum of magnitudes, after Higham, Accuracy and Stability of Numerical Algorithms: a chain of n
 * operations is off by at most n u times the sum of the absolute terms, and by about sqrt(n) u times it when roundings
 * are independent (Higham and Mary 2019). Dividing by it instead of by the result does not punish cancellation. The
 * errors of the steps are carried along:
 *
 *   score   e_s = c(D) scale sum|q||k| + |s| + |bias|     weight  e_p = e_s + |s - max| + 1, relative
 *   out     sum p (e_p + sum p e_p + c(n)) |v|            dS      p (e_dP + e_delta) + e_p |dS|,  and so on
 *
 * RULE_HARD is the worst case with all constants, never to be exceeded; RULE_SOFT the probable size, used for ratios.
 * Both in units of u = 2^-24 (f32) or 2^-53 (f64). */
#ifndef FV_TESTS_ATTN_ORACLE_H
#define FV_TESTS_ATTN_ORACLE_H

#include "attn_features.h"

typedef enum oracle_rule { RULE_HARD, RULE_SOFT } oracle_rule;

typedef struct oracle {
    oracle_rule rule;
    double *t[FV_OPERANDS],
        *d[FV_OPERANDS]; /* values in row-major order of the shape; d also of gradients nobody asked for */
    double *te[FV_OPERANDS], *de[FV_OPERANDS]; /* allowed errors in units of u */
} oracle;

/* one head of one sequence */
typedef struct oracle_head {
    const exact_case *e;
    oracle *o;
    exact_sequence s;
    int64_t h, kv, n, d, dv;                             /* n: keys */
    double scale, cap, slope, sink, cn, cq, cd, cdv, c1; /* c...: growth of sums over keys, queries, widths; one step */
    double *k, *v, *kt, *vt;                             /* (n,d), (n,dv) and transposed */
    double *dk, *dv_, *dke, *dve;                        /* (n,d), (n,dv) */
    double *q, *dout, *out, *oute;                       /* one row */
    double *sc, *es, *slip, *eslip, *p, *w, *keep, *dp, *edp, *row; /* n each */
    double dsink, dsinke, dslope, dslopee;
} oracle_head;

static inline double zero_if_hidden(double x) { return isfinite(x) ? x : 0; } /* NaN is put only where nobody looks */

static inline void oracle_load(double *to, const fv_tensor *t, int64_t b, int64_t h, int64_t l, int64_t rows) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < t->dim[3]; c++)
            to[r * t->dim[3] + c] =
                zero_if_hidden(get_at(t, b * t->stride[0] + h * t->stride[1] + (l + r) * t->stride[2] + c));
}

static inline void oracle_transpose(double *to, const double *from, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) to[c * rows + r] = from[r * cols + c];
}

/* sum[j] = sum_c x[c] transposed[c][j], size[j] the same of magnitudes */
static inline void oracle_products(double *restrict sum, double *restrict size, const double *x,
                                   const double *transposed, int64_t width, int64_t n) {
    for (int64_t j = 0; j < n; j++) sum[j] = size[j] = 0;
    for (int64_t c = 0; c < width; c++) {
        const double a = x[c], m = fabs(a);
        const double *restrict b = transposed + c * n;
        for (int64_t j = 0; j < n; j++) sum[j] += a * b[j], size[j] += m * fabs(b[j]);
    }
}

static inline void oracle_add(double *restrict to, double *restrict te, double a, double ae, const double *restrict x,
                              int64_t n) {
    for (int64_t c = 0; c < n; c++) to[c] += a * x[c], te[c] += ae * fabs(x[c]);
}

/* Scores of a row, their absolute errors, and the derivative of the softcap. Hidden keys get -inf. */
static inline double oracle_scores(oracle_head *w, int64_t i) {
    const exact_case *e = w->e;
    const fv_tensor *bias = &e->c.x.t[FV_BIAS];
    double top = -INFINITY;
    oracle_products(w->sc, w->es, w->q, w->kt, w->d, w->n);
    for (int64_t j = 0; j < w->n; j++) {
        double s = w->scale * w->sc[j], error = w->cd * fabs(w->scale) * w->es[j] + 3 * w->c1 * fabs(s), add = 0;
        w->slip[j] = 1, w->eslip[j] = 0;
        if (w->cap > 0) {
            const double t = tanh(s / w->cap);
            w->slip[j] = 1 - t * t;
            w->eslip[j] = 2 * fabs(t) * (error / w->cap + 6 * w->c1 * fabs(t)) + 3 * w->c1;
            s = w->cap * t, error += 8 * w->c1 * fabs(s);
        }
        if (bias->rank)
            add = get_at(bias, exact_plane_at(bias, w->s.b, w->h, w->s.q0 + i, w->s.k0 + j)), error += 4 * fabs(add);
        const double far = w->slope * fabs((double)(i + w->s.offset - j));
        s += add - far, error += 4 * w->c1 * fabs(far) + 3 * w->c1 * fabs(s);
        w->es[j] = error, w->sc[j] = exact_visible(e, &w->s, w->h, i, j) ? s : -INFINITY;
        if (w->sc[j] > top) top = w->sc[j];
    }
    return top;
}

static inline void oracle_keep(oracle_head *w, int64_t i) {
    const attn_case *c = &w->e->c;
    const fv__drop drop = fv__drop_of(c->how.dropout, c->call.seed, (uint64_t)(w->s.n * c->h + w->h));
    for (int64_t j = 0; j < w->n; j++)
        w->keep[j] = c->how.dropout == 0 ? 1 : fv__drop_keeps_at(&drop, i, j) ? drop.scale : 0;
}

/* Adds the row's share to dK, dV, and the numbers per head; returns through dq, dqe. */
static inline void oracle_back_row(oracle_head *w, int64_t i, double all, double lse, double lse_error, double dlse,
                                   double *dq, double *dqe) {
    const attn_case *c = &w->e->c;
    oracle_products(w->dp, w->edp, w->dout, w->vt, w->dv, w->n);
    double delta = 0, edelta = 0;
    for (int64_t x = 0; x < w->dv; x++) {
        delta += w->dout[x] * w->out[x];
        edelta += fabs(w->dout[x]) * (w->oute[x] + (w->cdv + 2) * fabs(w->out[x]));
    }
    if (w->sink > -INFINITY) {
        const double p = exp(w->sink - all);
        w->dsink -= p * delta;
        w->dsinke +=
            p * (edelta + fabs(delta) * (lse_error + w->cq + 4 * w->c1 * (fabs(w->sink - all) + fabs(all) + 2)));
    }
    const double gain = exp(fmin(all - lse, 700)), shift = delta - dlse * gain;
    edelta += 8 * w->c1 * fabs(dlse) * gain * (1 + fabs(all) + fabs(lse) + lse_error / w->c1);
    for (int64_t j = 0; j < w->n; j++) {
        w->row[j] = 0;
        if (w->sc[j] == -INFINITY) continue;
        const double p = w->p[j], m = w->keep[j] * w->dp[j];
        const double ep = w->es[j] + lse_error + w->c1 * (2 * fabs(w->sc[j] - all) + 2 * fabs(all) + 8);
        oracle_add(w->dv_ + j * w->dv, w->dve + j * w->dv, p * w->keep[j], p * w->keep[j] * (ep + w->cq + 2 * w->c1),
                   w->dout, w->dv);
        const double ds = p * (m - delta) + dlse * w->w[j];
        const double eds = p * ((w->cdv + 2) * w->keep[j] * w->edp[j] + edelta + 3 * w->c1 * (fabs(m) + fabs(shift))) +
                           (ep + 2 * w->c1) * p * fabs(m - shift);
        const double far = fabs((double)(i + w->s.offset - j)), raw = ds * w->slip[j] * w->scale;
        const double eraw = fabs(w->scale) * (eds * w->slip[j] + fabs(ds) * w->eslip[j]);
        w->row[j] = ds;
        w->dslope -= far * ds, w->dslopee += far * (eds + (w->cq + w->cn) * fabs(ds));
        oracle_add(dq, dqe, raw, eraw + (w->cn + 4 * w->c1) * fabs(raw), w->k + j * w->d, w->d);
        oracle_add(w->dk + j * w->d, w->dke + j * w->d, raw, eraw + (w->cq + 4 * w->c1) * fabs(raw), w->q, w->d);
        w->edp[j] = eds;
    }
    const fv_tensor *bias = &c->x.t[FV_BIAS];
    if (!bias->rank) return;
    fv_tensor dense = fv_tensor_of(NULL, FV_F64, 4, bias->dim);
    const double terms = w->o->rule == RULE_HARD ? (double)(w->n * w->s.lq * c->h * c->b) : w->cn * w->cq;
    for (int64_t j = 0; j < w->n; j++) {
        const int64_t at = exact_plane_at(&dense, w->s.b, w->h, w->s.q0 + i, w->s.k0 + j);
        if (w->sc[j] == -INFINITY) continue;
        w->o->d[FV_BIAS][at] += w->row[j], w->o->de[FV_BIAS][at] += w->edp[j] + (terms + 2) * fabs(w->row[j]);
    }
}

static inline void oracle_row(oracle_head *w, int64_t i) {
    const exact_case *e = w->e;
    const fv_attention_tensors *x = &e->c.x;
    const int64_t head = w->s.b * e->c.h + w->h, at = head * e->c.lq + w->s.q0 + i;
    double *out = w->o->t[FV_OUT] + at * w->dv, *oute = w->o->te[FV_OUT] + at * w->dv;
    oracle_load(w->q, &x->t[FV_Q], w->s.b, w->h, w->s.q0 + i, 1);
    const double top = oracle_scores(w, i);
    w->o->t[FV_LSE][at] = -INFINITY;
    if (top == -INFINITY) return;
    double sum = 0, lean = 0; /* lean: error of the sum, relative */
    for (int64_t j = 0; j < w->n; j++) sum += w->p[j] = exp(w->sc[j] - top);
    const double lse = top + log(sum),
                 all = w->sink > -INFINITY ? fmax(lse, w->sink) + log1p(exp(-fabs(lse - w->sink))) : lse;
    for (int64_t j = 0; j < w->n; j++) {
        if (w->sc[j] == -INFINITY) continue;
        w->w[j] = w->p[j] / sum;
        lean += w->w[j] * (w->es[j] + w->c1 * (fabs(w->sc[j] - top) + 8));
        w->p[j] = exp(w->sc[j] - all);
    }
    lean += w->cn;
    if (w->sink > -INFINITY) lean += 8 * w->c1 * (1 + fabs(w->sink - top) * exp(w->sink - all));
    const double blocks = w->o->rule == RULE_HARD ? 1 + (double)w->n / 8 : 1;
    w->o->t[FV_LSE][at] = lse, w->o->te[FV_LSE][at] = lean + w->c1 * (4 * fabs(top) + 4 * fabs(lse) + 8);
    oracle_keep(w, i);
    for (int64_t j = 0; j < w->n; j++) {
        if (w->sc[j] == -INFINITY) continue;
        const double p = w->p[j] * w->keep[j];
        const double error = w->es[j] + lean + w->cn + w->c1 * (fabs(w->sc[j] - top) + 8 + 4 * blocks);
        oracle_add(out, oute, p, p * error, w->v + j * w->dv, w->dv);
    }
    memcpy(w->out, out, (size_t)w->dv * sizeof(double)), memcpy(w->oute, oute, (size_t)w->dv * sizeof(double));
    memset(w->dout, 0, (size_t)w->dv * sizeof(double));
    if (x->d[FV_OUT].rank) oracle_load(w->dout, &x->d[FV_OUT], w->s.b, w->h, w->s.q0 + i, 1);
    const fv_tensor *dlse = &x->d[FV_LSE];
    const double d =
        dlse->rank ? get_at(dlse, w->s.b * dlse->stride[0] + w->h * dlse->stride[1] + (w->s.q0 + i) * dlse->stride[2])
                   : 0;
    oracle_back_row(w, i, all, lse, w->o->te[FV_LSE][at], d, w->o->d[FV_Q] + at * w->d, w->o->de[FV_Q] + at * w->d);
}

static inline double oracle_number(const fv_tensor *t, int64_t h, double absent) {
    return t->rank ? get_at(t, h * t->stride[0]) : absent;
}

static inline double oracle_growth(oracle_rule rule, int64_t n) {
    return rule == RULE_HARD ? (double)n + 3 : sqrt((double)n) + 1;
}

static inline void oracle_one_head(const exact_case *e, oracle *o, const exact_sequence *s, int64_t h, double *memory) {
    const attn_case *c = &e->c;
    const int64_t n = s->lk, kv = h * c->kv / c->h, at = (s->b * c->kv + kv) * c->lk + s->k0;
    oracle_head w = {.e = e, .o = o, .s = *s, .h = h, .kv = kv, .n = n, .d = c->d, .dv = c->dv};
    w.scale = c->how.scale != 0 ? c->how.scale : 1 / sqrt((double)c->d), w.cap = c->how.softcap;
    w.slope = oracle_number(&c->x.t[FV_SLOPES], h, 0), w.sink = oracle_number(&c->x.t[FV_SINKS], h, -INFINITY);
    w.cn = oracle_growth(o->rule, n), w.cq = oracle_growth(o->rule, s->lq * (c->h / c->kv));
    w.cd = oracle_growth(o->rule, c->d), w.cdv = oracle_growth(o->rule, c->dv), w.c1 = o->rule == RULE_HARD ? 2 : 1;
    double *m = memory;
    w.k = m, m += n * c->d, w.kt = m, m += n * c->d, w.v = m, m += n * c->dv, w.vt = m, m += n * c->dv;
    w.q = m, m += c->d, w.dout = m, m += c->dv, w.out = m, m += c->dv, w.oute = m, m += c->dv;
    double **const rows[] = {&w.sc, &w.es, &w.slip, &w.eslip, &w.p, &w.w, &w.keep, &w.dp, &w.edp, &w.row};
    for (int r = 0; r < 10; r++) *rows[r] = m, m += n;
    w.dk = o->d[FV_K] + at * c->d, w.dke = o->de[FV_K] + at * c->d;
    w.dv_ = o->d[FV_V] + at * c->dv, w.dve = o->de[FV_V] + at * c->dv;
    oracle_load(w.k, &c->x.t[FV_K], s->b, kv, s->k0, n), oracle_load(w.v, &c->x.t[FV_V], s->b, kv, s->k0, n);
    oracle_transpose(w.kt, w.k, n, c->d), oracle_transpose(w.vt, w.v, n, c->dv);
    for (int64_t i = 0; i < s->lq; i++) oracle_row(&w, i);
    if (o->d[FV_SINKS]) o->d[FV_SINKS][h] += w.dsink, o->de[FV_SINKS][h] += w.dsinke;
    if (o->d[FV_SLOPES]) o->d[FV_SLOPES][h] += w.dslope, o->de[FV_SLOPES][h] += w.dslopee;
}

static inline void oracle_run(oracle *o, const exact_case *e, oracle_rule rule) {
    const attn_case *c = &e->c;
    *o = (oracle){.rule = rule};
    for (int p = 0; p < FV_OPERANDS; p++) {
        const fv_tensor *t = &c->x.t[p];
        if (!t->rank || (!fv_operand_is(p, FV_ROLE_DIFFERENTIABLE) && p != FV_OUT && p != FV_LSE)) continue;
        const size_t count = (size_t)fv_tensor_count(t) + 1;
        double **const value = fv_operand_is(p, FV_ROLE_DIFFERENTIABLE) ? o->d : o->t,
                       **const error = fv_operand_is(p, FV_ROLE_DIFFERENTIABLE) ? o->de : o->te;
        value[p] = calloc(count, sizeof(double)), error[p] = calloc(count, sizeof(double));
    }
    const int64_t longest = c->lk;
    double *memory =
        malloc((size_t)(2 * longest * (c->d + c->dv) + c->d + 3 * c->dv + 10 * longest + 1) * sizeof(double));
    for (int64_t n = 0; n < exact_sequences(e); n++) {
        const exact_sequence s = exact_sequence_of(e, n);
        for (int64_t h = 0; h < c->h; h++) oracle_one_head(e, o, &s, h, memory);
    }
    free(memory);
}

static inline void oracle_free(oracle *o) {
    for (int p = 0; p < FV_OPERANDS; p++) free(o->t[p]), free(o->d[p]), free(o->te[p]), free(o->de[p]);
}

/* ---- a tensor of the engine against the oracle */

typedef struct oracle_gap {
    double ratio;        /* largest |found - wanted| / (u error_bound) */
    double mean, square; /* sums of (found - wanted) / (u error_bound) and its square over `count` elements */
    int64_t count, zeros, at;
    double found, wanted, error_bound;
} oracle_gap;

/* What underflows may be lost: weights below 2^-126 of the largest, gradients of values near the smallest normal
 * number. A sink far above all scores leaves gradients below e^-40, which are lost as well. */
static inline double oracle_floor(const exact_case *e, bool gradient) {
    if (e->on[FEATURE_SINKS]) return gradient ? 1e-14 : 1e-34; /* f64 as well */
    return e->c.dtype == FV_F64 ? 1e-290 : 1e-34;
}

static inline oracle_gap oracle_compare(const exact_case *e, const oracle *o, fv_operand operand, bool gradient) {
    const fv_tensor *t = gradient ? &e->c.x.d[operand] : &e->c.x.t[operand];
    const double *value = gradient ? o->d[operand] : o->t[operand], *error = gradient ? o->de[operand] : o->te[operand];
    const double u = e->c.dtype == FV_F64 ? 0x1p-53 : 0x1p-24;
    oracle_gap gap = {0};
    const int64_t count = t->rank ? fv_tensor_count(t) : 0;
    for (int64_t n = 0; n < count; n++) {
        const double x = get_at(t, place(t, n)), y = value[n], allowed = u * error[n] + oracle_floor(e, gradient);
        gap.count++, gap.zeros += x == 0;
        if (x == y) continue;
        double part = (x - y) / allowed;
        if (!isfinite(x) || !isfinite(y)) part = INFINITY;
        gap.mean += part, gap.square += part * part;
        if (fabs(part) <= gap.ratio) continue;
        gap.ratio = fabs(part), gap.at = n, gap.found = x, gap.wanted = y, gap.error_bound = u * error[n];
    }
    return gap;
}

#endif
