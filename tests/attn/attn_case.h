/* Random calls of attention for the tests: a case is a function of (mechanism, seed) alone, in f32 or f64 with the same
 * values, with strided tensors whose gaps hold NaN (inputs) or a canary (outputs). */
#ifndef FV_TESTS_ATTN_CASE_H
#define FV_TESTS_ATTN_CASE_H

#include "attn/mechanism_contract.h"
#include "base/base.h"
#include "simd/simd.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct attn_case {
    uint64_t seed, draw;
    fv_dtype dtype;
    fv_attention_options how;
    fv_attention_call call;
    fv_attention_tensors x;
    void *store[2 * FV_OPERANDS];
    size_t elements[2 * FV_OPERANDS];
    int64_t b, h, kv, lq, lk, d, dv;
} attn_case;

#define CANARY 12345.0

/* Values on a grid: scores are exact in f32 and many are equal, for mechanisms that choose by score. */
static double grid;

static inline int64_t below(attn_case *c, int64_t n) { return fv__random_below(c->seed, 1, c->draw++, n); }
static inline bool chance(attn_case *c, int64_t percent) { return below(c, 100) < percent; }
static inline double value(attn_case *c) {
    const double x = (double)(float)(2 * fv__random_uniform(c->seed, 2, c->draw++) - 1);
    return grid > 0 ? rint(x / grid) * grid : x;
}

static inline double get_at(const fv_tensor *t, int64_t at) {
    return t->dtype == FV_F64 ? ((const double *)t->data)[at] : (double)((const float *)t->data)[at];
}
static inline void set_at(const fv_tensor *t, int64_t at, double v) {
    if (t->dtype == FV_F64)
        ((double *)t->data)[at] = v;
    else
        ((float *)t->data)[at] = (float)v;
}

/* Position in memory of the element number n of the shape, counted row-major. */
static inline int64_t place(const fv_tensor *t, int64_t n) {
    int64_t at = 0;
    for (int a = t->rank - 1; a >= 0; a--) at += n % t->dim[a] * t->stride[a], n /= t->dim[a];
    return at;
}

/* Memory of a real tensor in one of three layouts; every element, also in the gaps, starts as `fill`. */
static inline fv_tensor make_tensor(attn_case *c, int slot, int rank, const int64_t *dim, double fill) {
    fv_tensor t = fv_tensor_of(NULL, c->dtype, rank, dim);
    const int64_t layout = rank == 4 ? below(c, 3) : 0;
    if (layout == 1) { /* (B,L,H,D) */
        t.stride[2] = dim[1] * dim[3], t.stride[1] = dim[3], t.stride[0] = dim[2] * dim[1] * dim[3];
    } else if (layout == 2) { /* gaps after rows and heads */
        t.stride[2] = dim[3] + below(c, 5), t.stride[1] = t.stride[2] * dim[2] + below(c, 7),
        t.stride[0] = t.stride[1] * dim[1];
    }
    int64_t last = 0, count = 1;
    for (int a = 0; a < rank; a++) last += dim[a] > 0 ? (dim[a] - 1) * t.stride[a] : 0, count *= dim[a];
    c->elements[slot] = count > 0 ? (size_t)last + 1 : 0;
    c->store[slot] = t.data = malloc(c->elements[slot] * fv_dtype_size(c->dtype) + 1);
    for (size_t i = 0; i < c->elements[slot]; i++) set_at(&t, (int64_t)i, fill);
    return t;
}

static inline void fill_random(attn_case *c, const fv_tensor *t, double size) {
    for (int64_t n = 0; n < fv_tensor_count(t); n++) set_at(t, place(t, n), size * value(c));
}

static inline void add_input(attn_case *c, fv_operand operand, int rank, const int64_t *dim, double size,
                             bool gradient) {
    c->x.t[operand] = make_tensor(c, operand, rank, dim, NAN);
    fill_random(c, &c->x.t[operand], size);
    if (gradient) c->x.d[operand] = make_tensor(c, FV_OPERANDS + operand, rank, dim, CANARY);
}

static inline void add_integers(attn_case *c, fv_operand operand, int64_t count, const int64_t *values) {
    int32_t *p = malloc((size_t)count * 4 + 1);
    for (int64_t i = 0; i < count; i++) p[i] = (int32_t)values[i];
    c->store[operand] = p;
    c->x.t[operand] = fv_tensor_1d(p, FV_I32, count);
}

static inline int64_t some_length(attn_case *c, int64_t most) {
    switch (below(c, 12)) {
    case 0: return 0;
    case 1: return 1;
    case 2: return 64 < most ? 64 : most;
    case 3: return most;
    default: return 1 + below(c, most);
    }
}

static inline void add_cu(attn_case *c, fv_operand operand, int64_t n, int64_t total) {
    int64_t cu[16] = {0};
    for (int64_t i = 1; i < n; i++) cu[i] = below(c, total + 1);
    for (int64_t i = 1; i < n; i++)
        for (int64_t j = 1; j + i < n; j++)
            if (cu[j] > cu[j + 1]) {
                int64_t t = cu[j];
                cu[j] = cu[j + 1], cu[j + 1] = t;
            }
    cu[n] = total;
    add_integers(c, operand, n + 1, cu);
}

/* Masked data is never read: what kv_len cuts off becomes NaN. */
static inline void poison_beyond(attn_case *c, fv_operand operand, const int64_t *live) {
    const fv_tensor *t = &c->x.t[operand];
    for (int64_t b = 0; t->rank && b < t->dim[0]; b++)
        for (int64_t h = 0; h < t->dim[1]; h++)
            for (int64_t l = live[b]; l < t->dim[2]; l++)
                for (int64_t d = 0; d < (t->rank > 3 ? t->dim[3] : 1); d++)
                    set_at(t, b * t->stride[0] + h * t->stride[1] + l * t->stride[2] + d, NAN);
}

static inline void add_plane(attn_case *c, fv_operand operand) {
    const int64_t dim[4] = {chance(c, 50) ? c->b : 1, chance(c, 50) ? c->h : 1, chance(c, 80) ? c->lq : 1,
                            chance(c, 80) ? c->lk : 1};
    if (operand == FV_BIAS) {
        add_input(c, operand, 4, dim, 2, true);
        if (chance(c, 50))
            for (int64_t n = 0; n < fv_tensor_count(&c->x.t[operand]); n++)
                if (chance(c, 10)) set_at(&c->x.t[operand], place(&c->x.t[operand], n), -INFINITY);
        return;
    }
    fv_tensor t = fv_tensor_of(NULL, FV_BOOL, 4, dim);
    const int64_t count = fv_tensor_count(&t), percent = chance(c, 20) ? 2 : 80;
    unsigned char *p = malloc((size_t)count + 1);
    c->how.mask_means = chance(c, 50) ? FV_MASK_KEEP : FV_MASK_DROP;
    for (int64_t i = 0; i < count; i++) p[i] = chance(c, percent) == (c->how.mask_means == FV_MASK_KEEP);
    t.data = c->store[operand] = p;
    c->x.t[operand] = t;
}

/* Operands of recurrences: decays of every size, keys of length 1 where the delta rule asks for them. */
static inline void add_recurrence(attn_case *c, const fv_mechanism *m) {
    static const double decays[] = {1e-3, 0.1, 1, 8};
    const fv_tensor *k = &c->x.t[FV_K], *decay = &c->x.t[FV_LOG_DECAY], *beta = &c->x.t[FV_BETA];
    const fv_operand operands[] = {FV_LOG_DECAY, FV_BETA, FV_STATE, FV_STATE_OUT};
    const double size = decays[below(c, 4)];
    for (int i = 0; i < 4; i++) {
        fv_tensor shape;
        const bool optional = !(m->needs >> operands[i] & 1);
        if (fv_attention_operand_shape(&c->how, &c->x, operands[i], &shape) != FV_OK || !shape.rank) continue;
        if (optional && chance(c, 40)) continue;
        if (operands[i] == FV_LOG_DECAY) { /* per token, or per token and column */
            shape.rank = chance(c, 50) ? 3 : 4, shape.dim[3] = c->d;
        }
        if (operands[i] == FV_STATE_OUT) {
            c->x.t[FV_STATE_OUT] = make_tensor(c, FV_STATE_OUT, 4, shape.dim, CANARY);
            c->x.d[FV_STATE_OUT] = make_tensor(c, FV_OPERANDS + FV_STATE_OUT, 4, shape.dim, NAN);
            fill_random(c, &c->x.d[FV_STATE_OUT], 1);
        } else
            add_input(c, operands[i], shape.rank, shape.dim, operands[i] == FV_LOG_DECAY ? size : 1, true);
    }
    const fv_tensor *start = &c->x.t[FV_STATE];
    for (int64_t n = 0; start->rank && start->dim[3] > c->dv && n < fv_tensor_count(start); n++) /* a normaliser */
        if (n % start->dim[3] == c->dv) set_at(start, place(start, n), fabs(get_at(start, place(start, n))));
    for (int64_t n = 0; decay->rank && n < fv_tensor_count(decay); n++)
        set_at(decay, place(decay, n), -fabs(get_at(decay, place(decay, n))));
    for (int64_t n = 0; beta->rank && n < fv_tensor_count(beta); n++)
        set_at(beta, place(beta, n), fabs(get_at(beta, place(beta, n))));
    for (int64_t n = 0; (m->needs >> FV_BETA & 1) && n < fv_tensor_count(k); n += c->d) {
        double sum = 1e-12;
        for (int64_t e = 0; e < c->d; e++) sum += get_at(k, place(k, n + e)) * get_at(k, place(k, n + e));
        for (int64_t e = 0; e < c->d; e++)
            set_at(k, place(k, n + e), (double)(float)(get_at(k, place(k, n + e)) / sqrt(sum)));
    }
}

/* Its rows are tokens: as many keys as queries, all of the past in a state. Others, which also take a state, have all
 * keys at hand. */
static inline bool is_recurrence(const fv_mechanism *m) {
    return (m->takes >> FV_STATE & 1) && !(m->can & FV_CAN_DECODE);
}

/* The calls of those others that a state goes with. */
static inline bool state_fits(const attn_case *c) {
    return c->how.causal && c->lq == c->lk && !c->call.q_offset && !c->how.window.limited && !c->x.t[FV_CU_K].rank &&
           !(c->how.causal == FV_CAUSAL_LOWER_RIGHT && c->x.t[FV_KV_LEN].rank);
}

/* The examples of mechanism m that the tests of all mechanisms run: attention by scores, which takes masks or
 * sinks, and recurrences. NULL ends them. */
static inline const char *case_example(size_t m, int t) {
    const fv_mechanism *info = fv_mechanism_at(m);
    const uint64_t either = FV_OPERAND_BIT(FV_MASK) | FV_OPERAND_BIT(FV_SINKS);
    return t < 4 && (info->takes & either || is_recurrence(info)) ? info->examples[t] : NULL;
}

/* One side of the window; the other stays. */
static inline void case_window_left(fv_attention_options *how, int64_t left) {
    how->window = FV_WINDOW(left, how->window.limited ? how->window.right : -1);
}
static inline void case_window_right(fv_attention_options *how, int64_t right) {
    how->window = FV_WINDOW(how->window.limited ? how->window.left : -1, right);
}

static inline void add_options(attn_case *c, uint32_t can, uint32_t takes, bool packed) {
    if (chance(c, 30)) c->how.scale = 0.1 + fv__random_uniform(c->seed, 3, c->draw++);
    if (!(can & FV_CAN_DECODE) && takes >> FV_STATE & 1) { /* a row's query, key and value are one token */
        if (chance(c, 60)) c->how.causal = chance(c, 50) ? FV_CAUSAL_UPPER_LEFT : FV_CAUSAL_LOWER_RIGHT;
    } else if (can & FV_CAN_CAUSAL) {
        if (chance(c, 40)) c->how.causal = chance(c, 50) ? FV_CAUSAL_UPPER_LEFT : FV_CAUSAL_LOWER_RIGHT;
        if (chance(c, 15)) c->call.q_offset = below(c, 40) - 20;
        if (chance(c, 25)) case_window_left(&c->how, below(c, 60));
        if (chance(c, 20)) case_window_right(&c->how, below(c, 60));
    }
    if ((can & FV_CAN_DROPOUT) && chance(c, 25))
        c->how.dropout = 0.05 + 0.7 * fv__random_uniform(c->seed, 3, c->draw++), c->call.seed = c->seed * 77;
    if ((takes >> FV_SINKS & 1) && chance(c, 20)) add_input(c, FV_SINKS, 1, &c->h, 3, true);
    if ((takes >> FV_SLOPES & 1) && chance(c, 15)) add_input(c, FV_SLOPES, 1, &c->h, 0.2, true);
    if ((takes >> FV_SLOPES & 1) && chance(c, 15)) c->how.softcap = 0.5 + 3 * fv__random_uniform(c->seed, 3, c->draw++);
    if ((takes >> FV_BIAS & 1) && chance(c, 25)) add_plane(c, FV_BIAS);
    if ((takes >> FV_MASK & 1) && chance(c, 25)) add_plane(c, FV_MASK);
    if (!packed && (can & FV_CAN_KV_LEN) && chance(c, 25)) {
        int64_t live[16];
        for (int64_t b = 0; b < c->b; b++) live[b] = chance(c, 15) ? 0 : below(c, c->lk + 1);
        add_integers(c, FV_KV_LEN, c->b, live);
        poison_beyond(c, FV_K, live);
        poison_beyond(c, FV_V, live);
        poison_beyond(c, FV_LOG_DECAY, live);
        poison_beyond(c, FV_BETA, live);
        if (takes >> FV_STATE & 1 && !(can & FV_CAN_DECODE) && c->how.causal) c->how.causal = FV_CAUSAL_UPPER_LEFT;
    }
    if ((takes >> FV_PREFIX_LEN & 1) && chance(c, 15)) {
        const int64_t n = packed ? c->x.t[FV_CU_Q].dim[0] - 1 : c->b;
        int64_t prefix[16];
        for (int64_t i = 0; i < n; i++) prefix[i] = below(c, c->lk + 1);
        add_integers(c, FV_PREFIX_LEN, n, prefix);
    }
}

/* longest: the largest length. The same seed gives the same case in both dtypes. */
static inline void case_make(attn_case *c, const char *mechanism, uint64_t seed, fv_dtype dtype, int64_t longest) {
    static const fv_attention_options standard = FV_ATTENTION_DEFAULT;
    static const int64_t widths[] = {1, 2, 3, 5, 8, 16, 17, 24, 32, 33, 40, 64};
    *c = (attn_case){.seed = seed, .dtype = dtype, .how = standard};
    c->how.mechanism = mechanism;
    char name[32] = "";
    sscanf(mechanism, "%31[^:]", name);
    const fv_mechanism *m = fv_mechanism_find(name);
    const bool packed = (m->can & FV_CAN_VARLEN) && chance(c, 15), self = m->can & FV_CAN_SELF;
    const int64_t group = (m->can & FV_CAN_GQA) ? 1 + below(c, 3) : 1;
    c->b = packed ? 1 : 1 + below(c, 3), c->kv = 1 + below(c, 3), c->h = c->kv * group;
    c->lq = some_length(c, longest), c->lk = chance(c, 40) ? c->lq : some_length(c, longest);
    c->d = widths[below(c, longest > 20 ? 12 : 6)],
    c->dv = chance(c, 50) ? c->d : widths[below(c, longest > 20 ? 12 : 6)];
    const bool recurrence = is_recurrence(m);
    if (self) c->lk = c->lq, c->dv = c->d;
    if (recurrence) c->lk = c->lq;
    const int64_t q[4] = {c->b, c->h, c->lq, c->d}, k[4] = {c->b, c->kv, c->lk, c->d},
                  v[4] = {c->b, c->kv, c->lk, c->dv};
    const int64_t out[4] = {c->b, c->h, c->lq, c->dv};
    const double size = chance(c, 30) ? 3 : 1;
    add_input(c, FV_Q, 4, q, size, true);
    if (m->needs >> FV_K & 1) add_input(c, FV_K, 4, k, size, true);
    if (m->needs >> FV_V & 1) add_input(c, FV_V, 4, v, 1, true);
    for (int p = 0; p < FV_OPERANDS; p++) {
        fv_tensor shape;
        if (!fv_mechanism_own(m, (fv_operand)p) || !fv_operand_is(p, FV_ROLE_PARAM)) continue;
        if (fv_attention_operand_shape(&c->how, &c->x, (fv_operand)p, &shape) != FV_OK || !shape.rank) continue;
        if (!(m->needs >> p & 1) && chance(c, 40)) continue;
        add_input(c, (fv_operand)p, shape.rank, shape.dim, 1, true);
    }
    if (packed) {
        const int64_t n = 1 + below(c, 5);
        add_cu(c, FV_CU_Q, n, c->lq);
        if ((m->takes >> FV_CU_K & 1) && (c->lq != c->lk || chance(c, 50))) add_cu(c, FV_CU_K, n, c->lk);
    }
    if (recurrence) add_recurrence(c, m);
    add_options(c, m->can, m->takes, packed);
    if (!recurrence && (m->takes >> FV_STATE & 1) && state_fits(c)) add_recurrence(c, m);
    c->x.t[FV_OUT] = make_tensor(c, FV_OUT, 4, out, CANARY);
    c->x.d[FV_OUT] = make_tensor(c, FV_OPERANDS + FV_OUT, 4, out, NAN);
    fill_random(c, &c->x.d[FV_OUT], 1);
    fv_tensor aux;
    if (fv_attention_operand_shape(&c->how, &c->x, FV_AUX, &aux) == FV_OK && aux.rank)
        c->x.t[FV_AUX] = make_tensor(c, FV_AUX, aux.rank, aux.dim, CANARY);
    if (self || recurrence) return;
    c->x.t[FV_LSE] = make_tensor(c, FV_LSE, 3, out, CANARY);
    if (chance(c, 60) && m->can & FV_CAN_WEIGHTS) {
        c->x.d[FV_LSE] = make_tensor(c, FV_OPERANDS + FV_LSE, 3, out, NAN);
        fill_random(c, &c->x.d[FV_LSE], 1);
    }
}

static inline void case_free(attn_case *c) {
    for (int i = 0; i < 2 * FV_OPERANDS; i++) free(c->store[i]);
}

typedef enum run_what { RUN_FORWARD = 1, RUN_BACKWARD = 2, RUN_REFERENCE = 4 } run_what;

/* A case that wants no gradient has no backward. */
static inline bool case_wants(const attn_case *c) {
    bool wanted = false;
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is(p, FV_ROLE_DIFFERENTIABLE)) wanted |= c->x.d[p].rank != 0;
    return wanted;
}

/* Scratch starts as NaN: what is read before it is written shows. */
static inline fv_status case_run(attn_case *c, int what) {
    fv_attention_plan *plan;
    FV_TRY(fv_attention_plan_create(&plan, &c->how, &c->x));
    const size_t forward = fv_attention_scratch(plan, false), backward = fv_attention_scratch(plan, true);
    const size_t bytes = forward > backward ? forward : backward;
    unsigned char *scratch = malloc(bytes + 64);
    memset(scratch, 0xff, bytes);
    memset(scratch + bytes, 0x5a, 64);
    fv_status status = FV_OK;
    if (what & RUN_REFERENCE) status = fv_attention_reference(plan, &c->call, &c->x);
    if (status == FV_OK && (what & RUN_FORWARD)) status = fv_attention_forward(plan, &c->call, &c->x, scratch);
    memset(scratch, 0xff, bytes);
    if (status == FV_OK && case_wants(c) && (what & RUN_BACKWARD))
        status = fv_attention_backward(plan, &c->call, &c->x, scratch);
    for (int i = 0; i < 64; i++)
        if (scratch[bytes + (size_t)i] != 0x5a)
            status = fv__fail(FV_FAIL, "scratch: written beyond the announced size");
    free(scratch);
    fv_attention_plan_free(plan);
    return status;
}

/* Elements outside the tensor's shape still hold the canary. */
static inline bool gaps_untouched(const attn_case *c, const fv_tensor *t, int slot) {
    const int64_t count = fv_tensor_count(t);
    unsigned char *inside = calloc(c->elements[slot] + 1, 1);
    for (int64_t n = 0; n < count; n++) inside[place(t, n)] = 1;
    bool ok = true;
    for (size_t i = 0; i < c->elements[slot]; i++)
        if (!inside[i] && get_at(t, (int64_t)i) != CANARY) ok = false;
    free(inside);
    return ok;
}

/* Largest |a - b| over elements, infinite when only one is finite; `size` becomes the largest |b|. */
static inline double difference(const fv_tensor *a, const fv_tensor *b, double *size) {
    double worst = 0;
    *size = 0;
    for (int64_t n = 0; n < fv_tensor_count(a); n++) {
        const double x = get_at(a, place(a, n)), y = get_at(b, place(b, n));
        if (x == y) continue;
        const double gap = fabs(x - y);
        if (!(gap <= worst)) worst = isfinite(gap) ? gap : INFINITY;
        if (isfinite(y) && fabs(y) > *size) *size = fabs(y);
    }
    return worst;
}

static inline bool same_bytes(const fv_tensor *a, const fv_tensor *b) {
    for (int64_t n = 0; n < fv_tensor_count(a); n++) {
        const double x = get_at(a, place(a, n)), y = get_at(b, place(b, n));
        if (memcmp(&x, &y, sizeof x)) return false;
    }
    return true;
}

/* sum dO O + sum dLSE LSE over the finite ones, by a forward of the case: what gradients are held against. */
static inline double case_loss(void *context) {
    attn_case *c = context;
    if (case_run(c, RUN_FORWARD) != FV_OK) return NAN;
    const fv_operand outputs[] = {FV_OUT, FV_LSE, FV_STATE_OUT};
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        const fv_tensor *t = &c->x.t[outputs[i]], *d = &c->x.d[outputs[i]];
        for (int64_t n = 0; d->rank && n < fv_tensor_count(t); n++) {
            const double y = get_at(t, place(t, n)), weight = get_at(d, place(d, n));
            if (isfinite(y) && isfinite(weight)) sum += y * weight;
        }
    }
    return sum;
}

#endif
