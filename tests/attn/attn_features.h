/* Random problems of exact attention over all its features, for the tests of `softmax` and `window`. A problem is a
 * function of (mechanism, seed) alone. First the features are drawn, each with its own chance, then a problem that has
 * exactly those; so how often each feature and each pair of features was tried can be counted, and a test asserts a
 * minimum. */
#ifndef FV_TESTS_ATTN_FEATURES_H
#define FV_TESTS_ATTN_FEATURES_H

#include "attn_case.h"

#define EXACT_FEATURES(FEATURE)                                   \
    FEATURE(SCALE, 30) /* not 1/sqrt(D) */                        \
    FEATURE(SHARP, 25) /* scores ten times as large */            \
    FEATURE(SOFTCAP, 20)                                          \
    FEATURE(UPPER_LEFT, 25)                                       \
    FEATURE(LOWER_RIGHT, 25)                                      \
    FEATURE(OFFSET, 20)                                           \
    FEATURE(LEFT, 25)  /* window */                               \
    FEATURE(RIGHT, 20) /* window */                               \
    FEATURE(BIAS, 40)                                             \
    FEATURE(BIAS_HIDES, 40)  /* some of it is -inf */             \
    FEATURE(BIAS_SHARED, 60) /* broadcast on one axis or more */  \
    FEATURE(MASK, 30)                                             \
    FEATURE(MASK_DROP, 50)                                        \
    FEATURE(KV_LEN, 25)                                           \
    FEATURE(VARLEN, 25)                                           \
    FEATURE(VARLEN_KEYS, 50) /* keys have their own cu_seqlens */ \
    FEATURE(PREFIX, 20)                                           \
    FEATURE(BLOCKS, 15) /* a block mask */                        \
    FEATURE(SINKS, 25)                                            \
    FEATURE(SINKS_FAR, 30) /* far above or below all scores */    \
    FEATURE(SLOPES, 20)                                           \
    FEATURE(DROPOUT, 20)                                          \
    FEATURE(LSE_GRADIENT, 50)                                     \
    FEATURE(PARTIAL, 15) /* not all gradients are wanted */       \
    FEATURE(GQA, 35)                                              \
    FEATURE(GAPS, 50)    /* tensors with gaps between rows */     \
    FEATURE(POISON, 40)  /* NaN in what nobody sees */            \
    FEATURE(WIDE, 10)    /* a width from 129 to 576 */            \
    FEATURE(ODD, 40)     /* a width that no vector divides */     \
    FEATURE(UNEQUAL, 40) /* D is not Dv */                        \
    FEATURE(MANY, 12)    /* many heads of a few rows */           \
    FEATURE(LONG, 15)    /* longer than a tile */                 \
    FEATURE(ONE, 10)     /* one query */                          \
    FEATURE(EMPTY, 6)    /* no queries or no keys */

typedef enum exact_feature {
#define FEATURE(name, percent) FEATURE_##name,
    EXACT_FEATURES(FEATURE)
#undef FEATURE
        FEATURES
} exact_feature;

static const char *const exact_feature_names[] = {
#define FEATURE(name, percent) #name,
    EXACT_FEATURES(FEATURE)
#undef FEATURE
};

typedef struct exact_case {
    attn_case c;
    bool on[FEATURES];
    fv_block_mask *blocks;
    uint64_t state;      /* splitmix64 */
    bool large;          /* several blocks of keys and chunks of queries */
    int64_t left, right; /* windows of the mechanism and of the options together, -1: no limit */
} exact_case;

/* splitmix64 (Steele, Lea and Flood, OOPSLA 2014): millions of values are filled in, Philox would take most of the
 * time */
static inline uint64_t exact_bits(exact_case *e) {
    uint64_t z = e->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static inline int64_t exact_below(exact_case *e, int64_t n) { return (int64_t)((exact_bits(e) >> 11) % (uint64_t)n); }
static inline bool exact_chance(exact_case *e, int64_t percent) { return exact_below(e, 100) < percent; }
static inline double exact_unit(exact_case *e) { return (double)(exact_bits(e) >> 40) * 0x1p-24; }
static inline double exact_value(exact_case *e) { return 2 * exact_unit(e) - 1; } /* a float, also in f64 */

/* ---- which features */

static inline bool exact_excludes(exact_feature a, exact_feature b) {
    static const exact_feature never[][2] = {{FEATURE_UPPER_LEFT, FEATURE_LOWER_RIGHT},
                                             {FEATURE_LOWER_RIGHT, FEATURE_OFFSET},
                                             {FEATURE_KV_LEN, FEATURE_VARLEN},
                                             {FEATURE_KV_LEN, FEATURE_VARLEN_KEYS},
                                             {FEATURE_BLOCKS, FEATURE_VARLEN},
                                             {FEATURE_BLOCKS, FEATURE_VARLEN_KEYS},
                                             {FEATURE_MANY, FEATURE_LONG},
                                             {FEATURE_MANY, FEATURE_VARLEN},
                                             {FEATURE_MANY, FEATURE_VARLEN_KEYS}};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if ((never[i][0] == a && never[i][1] == b) || (never[i][0] == b && never[i][1] == a)) return true;
    return false;
}

/* What refines another feature is nothing without it. */
static inline void exact_imply(exact_case *e) {
    bool *on = e->on;
    on[FEATURE_BIAS_HIDES] &= on[FEATURE_BIAS], on[FEATURE_BIAS_SHARED] &= on[FEATURE_BIAS],
        on[FEATURE_MASK_DROP] &= on[FEATURE_MASK];
    on[FEATURE_SINKS_FAR] &= on[FEATURE_SINKS], on[FEATURE_VARLEN_KEYS] &= on[FEATURE_VARLEN];
}

static inline void exact_draw_features(exact_case *e) {
    static const int percent[] = {
#define FEATURE(name, percent) percent,
        EXACT_FEATURES(FEATURE)
#undef FEATURE
    };
    for (int p = 0; p < FEATURES; p++) e->on[p] = exact_chance(e, percent[p]);
    exact_imply(e);
    for (int a = 0; a < FEATURES; a++) /* of two that exclude each other one stays, either */
        for (int b = 0; b < a; b++)
            if (e->on[a] && e->on[b] && exact_excludes(a, b)) e->on[exact_chance(e, 50) ? a : b] = false;
    exact_imply(e);
}

/* ---- sizes: the work of a problem stays below `work` multiply-adds */

static inline int64_t exact_width(exact_case *e, bool wide) {
    static const int64_t even[] = {8, 16, 16, 32, 64}, odd[] = {1, 2, 3, 5, 7, 9, 17, 20, 24, 33, 40, 65, 80};
    if (wide) return e->on[FEATURE_ODD] ? 129 + exact_below(e, 448) : 192 + 64 * exact_below(e, 7);
    return e->on[FEATURE_ODD] ? odd[exact_below(e, 13)] : even[exact_below(e, 5)];
}

static inline int64_t exact_length(exact_case *e) {
    if (e->on[FEATURE_MANY]) return 1 + exact_below(e, 16);
    if (e->on[FEATURE_LONG])
        return exact_chance(e, 60) ? 129 + exact_below(e, e->large ? 1100 : 140) : 1 + exact_below(e, 40);
    static const int64_t edges[] = {15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 127, 128, 129};
    return exact_chance(e, 12)   ? edges[exact_below(e, 13)]
           : exact_chance(e, 20) ? 1 + exact_below(e, 100)
                                 : 1 + exact_below(e, 32);
}

static inline void exact_draw_sizes(exact_case *e, int64_t work) {
    attn_case *c = &e->c;
    const bool many = e->on[FEATURE_MANY], both = exact_chance(e, 50);
    int64_t group = e->on[FEATURE_GQA] ? 2 + exact_below(e, 3) : 1;
    c->kv = many ? 4 + exact_below(e, 5) : 1 + exact_below(e, 3);
    c->b = e->on[FEATURE_VARLEN] ? 1 : many ? 4 + exact_below(e, 8) : 1 + exact_below(e, 3);
    c->lq = exact_length(e), c->lk = exact_chance(e, 40) ? c->lq : exact_length(e);
    if (e->on[FEATURE_LONG] && c->lq <= 128 && c->lk <= 128) c->lk = 129 + exact_below(e, 140);
    if (e->on[FEATURE_ONE]) c->lq = 1;
    if (e->on[FEATURE_EMPTY]) *(exact_chance(e, 50) ? &c->lq : &c->lk) = 0;
    c->d = exact_width(e, e->on[FEATURE_WIDE]),
    c->dv = e->on[FEATURE_UNEQUAL] ? exact_width(e, e->on[FEATURE_WIDE] && both) : c->d;
    while (e->on[FEATURE_UNEQUAL] && c->dv == c->d) c->dv = exact_width(e, false);
    while (c->b * c->kv * group * c->lq * c->lk * (c->d + c->dv) > work)
        if (!many && c->b > 1)
            c->b--;
        else if (!many && c->kv > 1)
            c->kv--;
        else if (group > 2)
            group--;
        else if (!e->on[FEATURE_LONG] || (c->lq > c->lk ? c->lk : c->lq) > 1)
            *((c->lq > c->lk) == e->on[FEATURE_LONG] ? &c->lk : &c->lq) -= 1; /* a long one stays long on one side */
        else
            break;
    if (e->on[FEATURE_VARLEN] && !e->on[FEATURE_VARLEN_KEYS]) c->lk = c->lq;
    c->h = c->kv * group;
}

/* ---- tensors */

static inline void exact_fill(exact_case *e, const fv_tensor *t, double size) {
    const int64_t count = fv_tensor_count(t);
    for (int64_t n = 0; n < count; n++) set_at(t, place(t, n), size * exact_value(e));
}

/* (B,H,L,D) or (B,L,H,D) in memory, with gaps that hold `fill` when the feature is on */
static inline fv_tensor exact_tensor(exact_case *e, int slot, int rank, const int64_t *dim, double fill) {
    attn_case *c = &e->c;
    fv_tensor t = fv_tensor_of(NULL, c->dtype, rank, dim);
    const int64_t gap = e->on[FEATURE_GAPS] ? exact_below(e, 5) : 0;
    if (rank == 4 && exact_chance(e, 40))
        t.stride[1] = dim[3], t.stride[2] = dim[1] * dim[3] + gap, t.stride[0] = dim[2] * t.stride[2];
    else if (rank == 4)
        t.stride[2] = dim[3] + gap, t.stride[1] = t.stride[2] * dim[2] + gap, t.stride[0] = t.stride[1] * dim[1];
    else if (rank == 3)
        t.stride[1] += gap, t.stride[0] = t.stride[1] * dim[1];
    else if (rank == 1)
        t.stride[0] = 1 + gap;
    int64_t last = 0;
    for (int a = 0; a < rank; a++) last += dim[a] > 0 ? (dim[a] - 1) * t.stride[a] : 0;
    c->elements[slot] = fv_tensor_count(&t) > 0 ? (size_t)last + 1 : 0;
    c->store[slot] = t.data = malloc(c->elements[slot] * fv_dtype_size(c->dtype) + 1);
    for (size_t i = 0; i < c->elements[slot]; i++) set_at(&t, (int64_t)i, fill);
    return t;
}

static inline void exact_input(exact_case *e, fv_operand operand, int rank, const int64_t *dim, double size) {
    attn_case *c = &e->c;
    c->x.t[operand] = exact_tensor(e, operand, rank, dim, NAN);
    exact_fill(e, &c->x.t[operand], size);
    if (!e->on[FEATURE_PARTIAL] || exact_chance(e, 50))
        c->x.d[operand] = exact_tensor(e, FV_OPERANDS + operand, rank, dim, CANARY);
}

static inline void exact_bias(exact_case *e) {
    const attn_case *c = &e->c;
    int64_t dim[4] = {c->b, c->h, c->lq, c->lk};
    for (int a = 0; e->on[FEATURE_BIAS_SHARED] && a < 4; a++)
        if (exact_chance(e, 40)) dim[a] = 1;
    exact_input(e, FV_BIAS, 4, dim, 2);
    const fv_tensor *t = &c->x.t[FV_BIAS];
    for (int64_t n = 0; e->on[FEATURE_BIAS_HIDES] && n < fv_tensor_count(t); n++)
        if (exact_chance(e, 15)) set_at(t, place(t, n), -INFINITY);
}

static inline void exact_mask(exact_case *e) {
    attn_case *c = &e->c;
    int64_t dim[4] = {c->b, c->h, c->lq, c->lk};
    for (int a = 0; a < 4; a++)
        if (exact_chance(e, 35)) dim[a] = 1;
    c->how.mask_means = e->on[FEATURE_MASK_DROP] ? FV_MASK_DROP : FV_MASK_KEEP;
    fv_tensor t = fv_tensor_of(NULL, exact_chance(e, 50) ? FV_BOOL : FV_U8, 4, dim);
    const int64_t count = fv_tensor_count(&t), percent = exact_chance(e, 20) ? 3 : 75;
    unsigned char *p = malloc((size_t)count + 1);
    for (int64_t i = 0; i < count; i++) p[i] = exact_chance(e, percent) != e->on[FEATURE_MASK_DROP];
    t.data = c->store[FV_MASK] = p, c->elements[FV_MASK] = (size_t)count;
    c->x.t[FV_MASK] = t;
}

static inline void exact_integers(exact_case *e, fv_operand operand, int64_t count, const int64_t *values) {
    attn_case *c = &e->c;
    add_integers(c, operand, count, values);
    c->elements[operand] = (size_t)count;
}

static inline void exact_cu(exact_case *e, fv_operand operand, int64_t n, int64_t total) {
    int64_t cu[16] = {0};
    for (int64_t i = 1; i < n; i++) {
        int64_t at = i, cut = exact_below(e, total + 1);
        for (; at > 1 && cu[at - 1] > cut; at--) cu[at] = cu[at - 1];
        cu[at] = cut;
    }
    cu[n] = total;
    exact_integers(e, operand, n + 1, cu);
}

static inline void exact_options(exact_case *e) {
    attn_case *c = &e->c;
    if (e->on[FEATURE_SCALE]) c->how.scale = (exact_chance(e, 20) ? -1 : 1) * (0.05 + exact_unit(e));
    if (e->on[FEATURE_SOFTCAP]) c->how.softcap = 0.5 + 5 * exact_unit(e);
    if (e->on[FEATURE_UPPER_LEFT]) c->how.causal = FV_CAUSAL_UPPER_LEFT;
    if (e->on[FEATURE_LOWER_RIGHT]) c->how.causal = FV_CAUSAL_LOWER_RIGHT;
    if (e->on[FEATURE_OFFSET]) c->call.q_offset = exact_below(e, 60) - 20;
    if (e->on[FEATURE_LEFT]) case_window_left(&c->how, exact_below(e, exact_chance(e, 50) ? 8 : 150));
    if (e->on[FEATURE_RIGHT]) case_window_right(&c->how, exact_below(e, exact_chance(e, 50) ? 8 : 150));
    if (e->on[FEATURE_DROPOUT]) c->how.dropout = 0.05 + 0.7 * exact_unit(e), c->call.seed = exact_bits(e);
    e->left = e->right = -1;
    if (c->how.window.limited) e->left = c->how.window.left, e->right = c->how.window.right;
    long long left, right;
    if (sscanf(c->how.mechanism, "window:left=%lld,right=%lld", &left, &right) != 2) return;
    if (left >= 0 && (e->left < 0 || left < e->left)) e->left = left;
    if (right >= 0 && (e->right < 0 || right < e->right)) e->right = right;
}

/* Pictures of a block mask: documents, stripes, squares drawn at random. */
typedef struct exact_picture {
    int64_t kind, width;
    uint64_t seed;
} exact_picture;

static inline bool exact_draw(void *context, int64_t b, int64_t h, int64_t i, int64_t j) {
    const exact_picture *p = context;
    if (p->kind == 0) return i / p->width == j / p->width;
    if (p->kind == 1) return (i + j + h) % p->width < 3;
    return fv__random_below(p->seed, (uint64_t)(b * 64 + h), (uint64_t)(i / p->width * 4096 + j / p->width), 3) > 0;
}

static inline void exact_blocks(exact_case *e) {
    static const int64_t widths[] = {5, 32, 64, 70};
    exact_picture picture = {exact_below(e, 3), widths[exact_below(e, 4)], exact_bits(e)};
    const int64_t batch = exact_chance(e, 50) ? e->c.b : 1, heads = exact_chance(e, 50) ? e->c.h : 1;
    if (fv_block_mask_create(&e->blocks, exact_draw, &picture, batch, heads, e->c.lq, e->c.lk) != FV_OK) abort();
    e->c.how.blocks = e->blocks;
}

static inline void exact_outputs(exact_case *e) {
    attn_case *c = &e->c;
    const int64_t out[4] = {c->b, c->h, c->lq, c->dv};
    c->x.t[FV_OUT] = exact_tensor(e, FV_OUT, 4, out, CANARY);
    c->x.t[FV_LSE] = exact_tensor(e, FV_LSE, 3, out, CANARY);
    if (!e->on[FEATURE_PARTIAL] || exact_chance(e, 80)) {
        c->x.d[FV_OUT] = exact_tensor(e, FV_OPERANDS + FV_OUT, 4, out, NAN);
        exact_fill(e, &c->x.d[FV_OUT], 1);
    }
    if (!e->on[FEATURE_LSE_GRADIENT]) return;
    c->x.d[FV_LSE] = exact_tensor(e, FV_OPERANDS + FV_LSE, 3, out, NAN);
    exact_fill(e, &c->x.d[FV_LSE], 1);
}

/* ---- the definition of who sees whom, also for the oracle */

typedef struct exact_sequence {
    int64_t n, b, q0, lq, k0, lk, offset, prefix;
} exact_sequence;

static inline int64_t exact_sequences(const exact_case *e) {
    return e->on[FEATURE_VARLEN] ? e->c.x.t[FV_CU_Q].dim[0] - 1 : e->c.b;
}

static inline exact_sequence exact_sequence_of(const exact_case *e, int64_t n) {
    const attn_case *c = &e->c;
    exact_sequence s = {.n = n, .b = n, .lq = c->lq, .lk = c->lk};
    if (e->on[FEATURE_VARLEN]) {
        const int32_t *q = c->x.t[FV_CU_Q].data, *k = e->on[FEATURE_VARLEN_KEYS] ? c->x.t[FV_CU_K].data : q;
        s.b = 0, s.q0 = q[n], s.lq = q[n + 1] - q[n], s.k0 = k[n], s.lk = k[n + 1] - k[n];
    }
    if (e->on[FEATURE_KV_LEN]) s.lk = ((const int32_t *)c->x.t[FV_KV_LEN].data)[n];
    if (e->on[FEATURE_PREFIX]) s.prefix = ((const int32_t *)c->x.t[FV_PREFIX_LEN].data)[n];
    s.offset = c->how.causal == FV_CAUSAL_LOWER_RIGHT ? s.lk - s.lq : c->call.q_offset;
    return s;
}

static inline int64_t exact_plane_at(const fv_tensor *t, int64_t b, int64_t h, int64_t i, int64_t j) {
    const int64_t at[4] = {b, h, i, j};
    int64_t sum = 0;
    for (int a = 0; a < 4; a++) sum += t->dim[a] == 1 ? 0 : at[a] * t->stride[a];
    return sum;
}

/* i and j count inside the sequence */
static inline bool exact_visible(const exact_case *e, const exact_sequence *s, int64_t h, int64_t i, int64_t j) {
    const attn_case *c = &e->c;
    const int64_t at = i + s->offset;
    const bool inside = j < s->prefix; /* seen from everywhere, but for the left window */
    if (c->how.causal != FV_CAUSAL_NONE && j > at && !inside) return false;
    if (e->left >= 0 && j < at - e->left) return false;
    if (e->right >= 0 && j > at + e->right && !inside) return false;
    if (c->how.blocks && !fv_block_mask_visible(c->how.blocks, s->b, h, i, j)) return false;
    const fv_tensor *mask = &c->x.t[FV_MASK], *bias = &c->x.t[FV_BIAS];
    if (mask->rank) {
        const bool set = ((const unsigned char *)mask->data)[exact_plane_at(mask, s->b, h, s->q0 + i, s->k0 + j)];
        if (set == (c->how.mask_means == FV_MASK_DROP)) return false;
    }
    return !bias->rank || get_at(bias, exact_plane_at(bias, s->b, h, s->q0 + i, s->k0 + j)) > -INFINITY;
}

/* ---- what nobody sees becomes NaN: keys and values by all queries of their heads, queries (with dO and dLSE) that see
 * no key */

static inline void exact_poison_row(const fv_tensor *t, int64_t b, int64_t h, int64_t l) {
    if (!t->rank) return;
    const int64_t at = b * t->stride[0] + h * t->stride[1] + l * t->stride[2];
    for (int64_t d = 0; d < (t->rank == 4 ? t->dim[3] : 1); d++) set_at(t, at + d, NAN);
}

static inline bool exact_poison_head(exact_case *e, const exact_sequence *s, int64_t kv, bool *key) {
    const int64_t group = e->c.h / e->c.kv;
    const fv_attention_tensors *x = &e->c.x;
    bool any = false;
    for (int64_t j = 0; j < s->lk; j++) key[j] = false;
    for (int64_t h = kv * group; h < (kv + 1) * group; h++)
        for (int64_t i = 0; i < s->lq; i++) {
            bool visible_to = false;
            for (int64_t j = 0; j < s->lk; j++)
                if (exact_visible(e, s, h, i, j)) visible_to = key[j] = true;
            if (visible_to) continue;
            any = true;
            exact_poison_row(&x->t[FV_Q], s->b, h, s->q0 + i), exact_poison_row(&x->d[FV_OUT], s->b, h, s->q0 + i);
            exact_poison_row(&x->d[FV_LSE], s->b, h, s->q0 + i);
        }
    const int64_t end = e->on[FEATURE_KV_LEN] ? e->c.lk : s->lk;
    for (int64_t j = 0; j < end; j++)
        if (j >= s->lk || !key[j]) {
            any = true;
            exact_poison_row(&x->t[FV_K], s->b, kv, s->k0 + j), exact_poison_row(&x->t[FV_V], s->b, kv, s->k0 + j);
        }
    return any;
}

static inline void exact_poison(exact_case *e) {
    bool any = false, *key = malloc((size_t)e->c.lk + 1);
    for (int64_t n = 0; n < exact_sequences(e); n++) {
        const exact_sequence s = exact_sequence_of(e, n);
        for (int64_t kv = 0; kv < e->c.kv; kv++) any |= exact_poison_head(e, &s, kv, key);
    }
    free(key);
    e->on[FEATURE_POISON] = any;
}

/* ---- the whole */

/* `never`: features to leave out, as bits 1 << FEATURE_... */
static inline void exact_make(exact_case *e, const char *mechanism, uint64_t seed, fv_dtype dtype, int64_t work,
                              uint64_t never) {
    static const fv_attention_options standard = FV_ATTENTION_DEFAULT;
    *e = (exact_case){.state = seed * 0x2545f4914f6cdd1du};
    attn_case *c = &e->c;
    c->seed = seed, c->dtype = dtype, c->how = standard, c->how.mechanism = mechanism, e->large = work > 2000000;
    exact_draw_features(e);
    for (int p = 0; p < FEATURES; p++) e->on[p] &= !(never >> p & 1);
    exact_imply(e);
    exact_draw_sizes(e, work);
    const int64_t q[4] = {c->b, c->h, c->lq, c->d}, k[4] = {c->b, c->kv, c->lk, c->d},
                  v[4] = {c->b, c->kv, c->lk, c->dv};
    const double size = e->on[FEATURE_SHARP] ? 3.2 : 1;
    exact_input(e, FV_Q, 4, q, size), exact_input(e, FV_K, 4, k, size), exact_input(e, FV_V, 4, v, 1);
    exact_options(e);
    if (e->on[FEATURE_BIAS]) exact_bias(e);
    if (e->on[FEATURE_MASK]) exact_mask(e);
    if (e->on[FEATURE_SINKS]) exact_input(e, FV_SINKS, 1, &c->h, e->on[FEATURE_SINKS_FAR] ? 150 : 3);
    if (e->on[FEATURE_SLOPES]) exact_input(e, FV_SLOPES, 1, &c->h, 0.2);
    if (e->on[FEATURE_KV_LEN]) {
        int64_t live[16];
        for (int64_t b = 0; b < c->b; b++) live[b] = exact_chance(e, 15) ? 0 : exact_below(e, c->lk + 1);
        exact_integers(e, FV_KV_LEN, c->b, live);
    }
    if (e->on[FEATURE_VARLEN]) {
        const int64_t n = 1 + exact_below(e, 6);
        exact_cu(e, FV_CU_Q, n, c->lq);
        if (e->on[FEATURE_VARLEN_KEYS]) exact_cu(e, FV_CU_K, n, c->lk);
    }
    if (e->on[FEATURE_PREFIX]) {
        int64_t prefix[16];
        for (int64_t n = 0; n < exact_sequences(e); n++) prefix[n] = exact_below(e, c->lk + 1);
        exact_integers(e, FV_PREFIX_LEN, exact_sequences(e), prefix);
    }
    if (e->on[FEATURE_BLOCKS]) exact_blocks(e);
    exact_outputs(e);
    if (e->on[FEATURE_POISON]) exact_poison(e);
}

/* Outputs and gradients as before any run. */
static inline void exact_reset(exact_case *e) {
    for (int p = 0; p < FV_OPERANDS; p++) {
        const bool output = fv_operand_is(p, FV_ROLE_RESULT);
        const fv_tensor *t = output ? &e->c.x.t[p] : &e->c.x.d[p];
        const int slot = output ? p : FV_OPERANDS + p;
        for (size_t i = 0; t->rank && i < e->c.elements[slot]; i++) set_at(t, (int64_t)i, CANARY);
    }
}

static inline void exact_free(exact_case *e) {
    case_free(&e->c);
    fv_block_mask_free(e->blocks);
}

#endif
