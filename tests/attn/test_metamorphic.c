/* Relations between calls of exact attention that mean the same, over random problems with all features the relation
 * allows: where the arithmetic is the same, so are the bits; where sums are taken in another order, the error stays
 * what the oracle allows. A failure prints the line that repeats it:  test_metamorphic RELATION MECHANISM SEED */
#include "attn_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NO(feature) ((uint64_t)1 << FEATURE_##feature)

static const char *relation;
static int failures;

static void complain(const exact_case *e, const char *what, double found, double wanted) {
    if (failures++ > 20) return;
    fprintf(stderr, "attn/test_metamorphic %s '%s' %llu   (%s: %.9g, wanted %.9g; %s B%d H%d/%d L%d,%d D%d,%d)\n",
            relation, e->c.how.mechanism, (unsigned long long)e->c.seed, what, found, wanted,
            fv__isa_name(fv__simd_f32_now()->isa), (int)e->c.b, (int)e->c.h, (int)e->c.kv, (int)e->c.lq, (int)e->c.lk,
            (int)e->c.d, (int)e->c.dv);
}

static void run(exact_case *e) {
    if (case_run(&e->c, RUN_FORWARD | RUN_BACKWARD) != FV_OK) complain(e, fv_message(), 0, 0);
}

/* ---- copies and views of problems */

/* Element 0 of the twin's memory is the lowest address its tensor reaches; strides stay. */
static void twin_tensor(const fv_tensor *from, fv_tensor *to, void **store, size_t *elements) {
    int64_t low = 0, high = 0;
    *to = *from;
    *store = NULL, *elements = 0;
    if (!from->rank) return;
    for (int a = 0; a < from->rank; a++) {
        const int64_t reach = from->dim[a] > 0 ? (from->dim[a] - 1) * from->stride[a] : 0;
        *(reach < 0 ? &low : &high) += reach;
    }
    const size_t size = fv_dtype_size(from->dtype), bytes = (size_t)(high - low + 1) * size;
    *store = malloc(bytes);
    if (fv_tensor_count(from) > 0)
        memcpy(*store, (const char *)from->data + low * (int64_t)size, bytes), *elements = (size_t)(high - low + 1);
    to->data = (char *)*store - low * (int64_t)size;
}

/* A block mask stays that of the original. */
static void twin(const exact_case *from, exact_case *to) {
    *to = *from, to->blocks = NULL;
    for (int p = 0; p < FV_OPERANDS; p++) {
        twin_tensor(&from->c.x.t[p], &to->c.x.t[p], &to->c.store[p], &to->c.elements[p]);
        twin_tensor(&from->c.x.d[p], &to->c.x.d[p], &to->c.store[FV_OPERANDS + p], &to->c.elements[FV_OPERANDS + p]);
    }
}

/* One view of every tensor that has the axis: 0 batch, 1 heads, 2 queries, 3 keys. Broadcast axes stay. */
typedef fv_tensor view_fn(fv_tensor t, int axis, const int64_t *argument);

static int axis_of(fv_operand p, int what) {
    const bool plane = p == FV_BIAS || p == FV_MASK, keys = p == FV_K || p == FV_V;
    const bool rows = p == FV_Q || p == FV_OUT || p == FV_LSE;
    if (p == FV_SINKS || p == FV_SLOPES) return what == 1 ? 0 : -1;
    if (p == FV_KV_LEN || p == FV_PREFIX_LEN) return what == 0 ? 0 : -1;
    if (!plane && !keys && !rows) return -1;
    if (what < 2) return what;
    if (plane) return what;
    return (what == 3) == keys ? 2 : -1;
}

static void view_all(exact_case *e, int what, view_fn *fn, const int64_t *argument) {
    for (int p = 0; p < FV_OPERANDS; p++) {
        fv_tensor *both[2] = {&e->c.x.t[p], &e->c.x.d[p]};
        const int axis = axis_of((fv_operand)p, what);
        for (int i = 0; i < 2 && axis >= 0; i++) {
            const bool broadcast = (p == FV_BIAS || p == FV_MASK) && both[i]->rank && both[i]->dim[axis] == 1;
            if (both[i]->rank && !broadcast) *both[i] = fn(*both[i], axis, argument);
        }
    }
}

static fv_tensor cut(fv_tensor t, int axis, const int64_t *range) {
    return fv_tensor_slice(t, axis, range[0], range[1] - range[0]);
}

static fv_tensor reversed(fv_tensor t, int axis, const int64_t *unused) {
    (void)unused;
    if (t.dim[axis] > 0) t.data = (char *)t.data + (t.dim[axis] - 1) * t.stride[axis] * (int64_t)fv_dtype_size(t.dtype);
    t.stride[axis] = -t.stride[axis];
    return t;
}

/* ---- comparisons */

static bool unsigned_zeros; /* 0 and -0 are the same */

static void same_operand(const exact_case *a, const exact_case *b, fv_operand p, bool gradient) {
    const fv_tensor *x = gradient ? &a->c.x.d[p] : &a->c.x.t[p], *y = gradient ? &b->c.x.d[p] : &b->c.x.t[p];
    if (!x->rank) return;
    for (int64_t n = 0; n < fv_tensor_count(x); n++) {
        const double found = get_at(x, place(x, n)), wanted = get_at(y, place(y, n));
        if (!memcmp(&found, &wanted, sizeof found) || (unsigned_zeros && found == 0 && wanted == 0)) continue;
        complain(b, gradient ? fv_operand_name(p) : p == FV_OUT ? "out itself" : "lse itself", found, wanted);
        return;
    }
}

enum { OUTPUTS = 1, ROWS = 2, KEYS = 4, PLANES = 8, HEADS = 16, ALL = 31 };
static void same_bits(const exact_case *a, const exact_case *b, int what) {
    if (what & OUTPUTS) same_operand(a, b, FV_OUT, false), same_operand(a, b, FV_LSE, false);
    if (what & ROWS) same_operand(a, b, FV_Q, true);
    if (what & KEYS) same_operand(a, b, FV_K, true), same_operand(a, b, FV_V, true);
    if (what & PLANES) same_operand(a, b, FV_BIAS, true);
    if (what & HEADS) same_operand(a, b, FV_SINKS, true), same_operand(a, b, FV_SLOPES, true);
}

/* Both are what the oracle of `e` says, within the probable error. */
static void as_oracle(const exact_case *e, const oracle *o, fv_operand p, bool gradient) {
    if (!(gradient ? &e->c.x.d[p] : &e->c.x.t[p])->rank) return;
    const oracle_gap gap = oracle_compare(e, o, p, gradient);
    if (!(gap.ratio <= 1)) complain(e, fv_operand_name(p), gap.found, gap.wanted);
}

static bool planes_shared(const exact_case *e) {
    const fv_tensor *b = &e->c.x.d[FV_BIAS];
    return b->rank && (b->dim[0] == 1 || b->dim[1] == 1 || b->dim[2] == 1 || b->dim[3] == 1);
}

/* Where the length itself changes, by padding or by cutting off, the backward may cut the sequence into other
 * chunks, which are the order of its sums; a short one is one chunk either way. Outputs have no such limit, and what
 * else is in the batch never matters. */
static int gradients_of(const exact_case *e, int what) {
    const int64_t rows = e->c.lq > e->c.lk ? e->c.lq : e->c.lk;
    return rows <= 256 && e->c.d + e->c.dv <= 256 ? what : 0;
}

/* ---- bits: the same work by other hands */

static void threads_relation(const char *m, uint64_t seed) {
    exact_case a, b;
    exact_make(&a, m, seed, FV_F32, seed % 20 ? 300000 : 20000000, 0);
    fv_set_threads(1), run(&a);
    twin(&a, &b);
    for (int threads = 2; threads <= 4; threads++) {
        fv_set_threads(threads), exact_reset(&b), run(&b);
        same_bits(&a, &b, ALL);
    }
    fv_set_threads(1);
    exact_free(&a), exact_free(&b);
}

typedef struct crowd {
    exact_case e[6];
} crowd;
static void crowd_run(void *context, int64_t i, int worker) {
    (void)worker;
    run(&((crowd *)context)->e[i]);
}

/* Several calls at once from several threads. */
static void together_relation(const char *m, uint64_t seed) {
    crowd alone, together;
    for (int i = 0; i < 6; i++) {
        exact_make(&alone.e[i], m, seed * 6 + (uint64_t)i, FV_F32, 300000, 0);
        twin(&alone.e[i], &together.e[i]);
        run(&alone.e[i]);
    }
    fv_set_threads(3);
    fv__parallel_for(6, crowd_run, &together);
    fv_set_threads(1);
    for (int i = 0; i < 6; i++)
        same_bits(&alone.e[i], &together.e[i], ALL), exact_free(&alone.e[i]), exact_free(&together.e[i]);
}

/* One sequence of the batch alone. */
static void batch_relation(const char *m, uint64_t seed) {
    exact_case all, one;
    exact_make(&all, m, seed, FV_F32, seed % 10 ? 600000 : 12000000, NO(VARLEN) | NO(DROPOUT) | NO(BLOCKS));
    run(&all);
    for (int64_t b = 0; b < all.c.b; b++) {
        exact_case part = all;
        view_all(&part, 0, cut, (int64_t[]){b, b + 1});
        part.c.b = 1;
        twin(&part, &one), exact_reset(&one);
        run(&one);
        const fv_tensor *bias = &all.c.x.d[FV_BIAS];
        same_bits(&part, &one, OUTPUTS | ROWS | KEYS | (bias->rank && bias->dim[0] > 1 ? PLANES : 0));
        exact_free(&one);
    }
    exact_free(&all);
}

/* Heads and batch in the opposite order, through negative strides. */
static void order_relation(const char *m, uint64_t seed) {
    exact_case a, b;
    exact_make(&a, m, seed, FV_F32, 300000, NO(DROPOUT) | NO(BLOCKS) | (seed % 2 ? 0 : NO(VARLEN)));
    run(&a);
    twin(&a, &b), exact_reset(&b);
    view_all(&a, 1, reversed, NULL), view_all(&b, 1, reversed, NULL);
    if (!a.on[FEATURE_VARLEN]) view_all(&a, 0, reversed, NULL), view_all(&b, 0, reversed, NULL);
    run(&b);
    /* heads of a group add to the gradient of their keys in the order they have */
    same_bits(&a, &b, OUTPUTS | ROWS | (a.on[FEATURE_GQA] ? 0 : KEYS) | (planes_shared(&a) ? 0 : PLANES));
    exact_free(&a), exact_free(&b);
}

/* Tokens appended to a causal call change no earlier row; keys alone appended, neither. */
static void prefix_relation(const char *m, uint64_t seed) {
    exact_case all, one;
    exact_make(&all, m, seed, FV_F32, seed % 10 ? 400000 : 8000000,
               NO(VARLEN) | NO(KV_LEN) | NO(LOWER_RIGHT) | NO(POISON) | NO(PREFIX) | NO(BLOCKS));
    all.c.how.causal = FV_CAUSAL_UPPER_LEFT, all.on[FEATURE_UPPER_LEFT] = true;
    run(&all);
    for (int round = 0; round < 4; round++) {
        const int64_t rows = all.c.lq ? 1 + exact_below(&all, all.c.lq) : 0, seen = rows + all.c.call.q_offset;
        int64_t keys = seen + exact_below(&all, 4);
        keys = keys < 0 ? 0 : keys > all.c.lk ? all.c.lk : keys;
        exact_case part = all;
        view_all(&part, 2, cut, (int64_t[]){0, rows}), view_all(&part, 3, cut, (int64_t[]){0, keys});
        part.c.lq = rows, part.c.lk = keys;
        twin(&part, &one);
        run(&one);
        same_bits(&part, &one, OUTPUTS);
        exact_free(&one);
    }
    exact_free(&all);
}

/* Every head has its own copy of the keys and values its group shares. */
static void grouped_relation(const char *m, uint64_t seed) {
    exact_case a, b;
    exact_make(&a, m, seed, FV_F32, 300000, 0);
    twin(&a, &b);
    const int64_t group = a.c.h / a.c.kv;
    const fv_operand both[] = {FV_K, FV_V};
    for (int i = 0; i < 2; i++) {
        const fv_tensor *from = &a.c.x.t[both[i]];
        const int64_t dim[4] = {from->dim[0], a.c.h, from->dim[2], from->dim[3]};
        free(b.c.store[both[i]]), free(b.c.store[FV_OPERANDS + both[i]]);
        b.c.x.t[both[i]] = exact_tensor(&b, both[i], 4, dim, NAN);
        b.c.x.d[both[i]] = exact_tensor(&b, FV_OPERANDS + both[i], 4, dim, NAN);
        for (int64_t h = 0; h < a.c.h; h++) {
            const fv_tensor to = fv_tensor_slice(b.c.x.t[both[i]], 1, h, 1),
                            own = fv_tensor_slice(*from, 1, h / group, 1);
            fv_tensor_copy(&to, &own);
        }
    }
    b.c.kv = a.c.h;
    run(&a), run(&b);
    same_bits(&a, &b, OUTPUTS | ROWS);
    exact_free(&a), exact_free(&b);
}

/* Packed sequences one by one, and as a padded batch. */
static void cut_out(const exact_case *packed, const exact_sequence *s, exact_case *one) {
    exact_case part = *packed;
    view_all(&part, 2, cut, (int64_t[]){s->q0, s->q0 + s->lq});
    view_all(&part, 3, cut, (int64_t[]){s->k0, s->k0 + s->lk});
    part.on[FEATURE_VARLEN] = part.on[FEATURE_VARLEN_KEYS] = false;
    part.c.x.t[FV_CU_Q].rank = part.c.x.t[FV_CU_K].rank = 0;
    if (part.on[FEATURE_PREFIX]) part.c.x.t[FV_PREFIX_LEN] = fv_tensor_slice(part.c.x.t[FV_PREFIX_LEN], 0, s->n, 1);
    part.c.lq = s->lq, part.c.lk = s->lk;
    twin(&part, one);
    int32_t *prefix = one->c.x.t[FV_PREFIX_LEN].data;
    if (part.on[FEATURE_PREFIX] && prefix[0] > s->lk) prefix[0] = (int32_t)s->lk; /* packed ones may reach further */
}

static void packed_relation(const char *m, uint64_t seed) {
    exact_case packed, one;
    exact_make(&packed, m, seed, FV_F32, seed % 10 ? 400000 : 8000000, NO(DROPOUT) | NO(KV_LEN) | NO(MANY));
    if (!packed.on[FEATURE_VARLEN]) {
        exact_free(&packed);
        return;
    }
    run(&packed);
    for (int64_t n = 0; n < exact_sequences(&packed); n++) {
        const exact_sequence s = exact_sequence_of(&packed, n);
        exact_case part = packed;
        view_all(&part, 2, cut, (int64_t[]){s.q0, s.q0 + s.lq}),
            view_all(&part, 3, cut, (int64_t[]){s.k0, s.k0 + s.lk});
        cut_out(&packed, &s, &one);
        run(&one);
        same_bits(&part, &one, OUTPUTS | ROWS | KEYS | (planes_shared(&packed) ? 0 : PLANES));
        exact_free(&one);
    }
    exact_free(&packed);
}

/* Rows and keys beyond those of a sequence, with finite rubbish in the queries and NaN in the keys, and no gradient
 * coming in. */
static fv_tensor padded(exact_case *e, int slot, const fv_tensor *from, int64_t length, double rubbish) {
    const int64_t dim[4] = {1, from->dim[1], length, from->rank == 4 ? from->dim[3] : 1};
    fv_tensor t = exact_tensor(e, slot, from->rank, dim, rubbish), head = fv_tensor_slice(t, 2, 0, from->dim[2]);
    fv_tensor_copy(&head, from);
    return t;
}

static void padded_relation(const char *m, uint64_t seed) {
    exact_case one, more;
    exact_make(&one, m, seed, FV_F32, seed % 10 ? 400000 : 8000000,
               NO(VARLEN) | NO(KV_LEN) | NO(LOWER_RIGHT) | NO(MASK) | NO(BIAS) | NO(POISON) | NO(BLOCKS));
    view_all(&one, 0, cut, (int64_t[]){0, 1}), one.c.b = 1;
    twin(&one, &more);
    const int64_t lq = one.c.lq + exact_below(&one, 150), lk = one.c.lk + exact_below(&one, 150);
    const fv_operand rows[] = {FV_Q, FV_K, FV_V, FV_OUT, FV_LSE};
    for (int i = 0; i < 5; i++) {
        const bool keys = rows[i] == FV_K || rows[i] == FV_V;
        free(more.c.store[rows[i]]), free(more.c.store[FV_OPERANDS + rows[i]]);
        more.c.x.t[rows[i]] = padded(&more, rows[i], &one.c.x.t[rows[i]], keys ? lk : lq, keys ? NAN : 0.5);
        more.c.store[FV_OPERANDS + rows[i]] = NULL;
        if (one.c.x.d[rows[i]].rank)
            more.c.x.d[rows[i]] = padded(&more, FV_OPERANDS + rows[i], &one.c.x.d[rows[i]], keys ? lk : lq, 0);
    }
    exact_integers(&more, FV_KV_LEN, 1, &one.c.lk);
    more.c.lq = lq, more.c.lk = lk;
    run(&one), run(&more);
    exact_case part = more;
    view_all(&part, 2, cut, (int64_t[]){0, one.c.lq}), view_all(&part, 3, cut, (int64_t[]){0, one.c.lk});
    same_bits(&one, &part, OUTPUTS | gradients_of(&more, ROWS));
    unsigned_zeros = true; /* where a sink takes all, a key's gradient may be -0, and the rows that were added add 0 */
    same_bits(&one, &part, gradients_of(&more, KEYS));
    unsigned_zeros = false;
    exact_free(&one), exact_free(&more);
}

/* Any strides against dense copies; q, k and v of one buffer. */
static void dense_copy(exact_case *e, fv_tensor *t, void **store) {
    if (!t->rank) return;
    fv_tensor dense = fv_tensor_of(NULL, t->dtype, t->rank, t->dim);
    dense.data = malloc((size_t)fv_tensor_count(t) * fv_dtype_size(t->dtype) + 8);
    fv_tensor_copy(&dense, t);
    free(*store), *store = dense.data, *t = dense;
    (void)e;
}

static void strides_relation(const char *m, uint64_t seed) {
    exact_case a, b;
    exact_make(&a, m, seed, FV_F32, 300000, 0);
    twin(&a, &b);
    for (int p = 0; p < FV_OPERANDS; p++)
        dense_copy(&b, &b.c.x.t[p], &b.c.store[p]), dense_copy(&b, &b.c.x.d[p], &b.c.store[FV_OPERANDS + p]);
    run(&a), run(&b);
    same_bits(&a, &b, ALL);
    exact_free(&a), exact_free(&b);
}

static void one_buffer_relation(const char *m, uint64_t seed) {
    exact_case a, b;
    exact_make(&a, m, seed, FV_F32, 300000, NO(UNEQUAL) | NO(GQA) | NO(LONG) | NO(ONE) | NO(EMPTY) | NO(VARLEN_KEYS));
    if (a.c.lq == a.c.lk) {
        twin(&a, &b);
        const int64_t dim[4] = {a.c.b, 3 * a.c.h, a.c.lq, a.c.d}; /* memory (B,L,3,H,D) */
        fv_tensor all = fv_blhd(NULL, FV_F32, dim[0], dim[2], dim[1], dim[3]);
        float *memory[2] = {calloc((size_t)fv_tensor_count(&all) + 1, 4), calloc((size_t)fv_tensor_count(&all) + 1, 4)};
        for (int p = 0; p < FV_OPERANDS; p++)
            if (fv_operand_is_qkv(p))
                for (int g = 0; g < 2; g++) {
                    fv_tensor *t = g ? &b.c.x.d[p] : &b.c.x.t[p];
                    if (!t->rank) continue;
                    all.data = memory[g];
                    const fv_tensor view = fv_tensor_slice(all, 1, p * a.c.h, a.c.h);
                    fv_tensor_copy(&view, t), *t = view;
                }
        run(&a), run(&b);
        same_bits(&a, &b, ALL);
        exact_free(&b), free(memory[0]), free(memory[1]);
    }
    exact_free(&a);
}

/* Values and the gradient coming in, times 16: outputs and gradients times 16, exactly; dV stays. */
static void scaled_relation(const char *m, uint64_t seed) {
    exact_case a, b;
    exact_make(&a, m, seed, FV_F32, 300000, NO(LSE_GRADIENT));
    twin(&a, &b);
    for (int64_t n = 0; n < fv_tensor_count(&b.c.x.t[FV_V]); n++) {
        const int64_t at = place(&b.c.x.t[FV_V], n);
        set_at(&b.c.x.t[FV_V], at, 16 * get_at(&b.c.x.t[FV_V], at));
    }
    run(&a), run(&b);
    const fv_operand operands[] = {FV_Q, FV_K, FV_BIAS, FV_SINKS, FV_SLOPES, FV_OUT};
    for (int i = 0; i < 6; i++) {
        const fv_tensor *x = i < 5 ? &a.c.x.d[operands[i]] : &a.c.x.t[FV_OUT],
                        *y = i < 5 ? &b.c.x.d[operands[i]] : &b.c.x.t[FV_OUT];
        for (int64_t n = 0; x->rank && n < fv_tensor_count(x); n++) {
            const double found = get_at(y, place(y, n)), wanted = 16 * get_at(x, place(x, n));
            if (found != wanted && fabs(wanted) > 1e-28) complain(&a, fv_operand_name(operands[i]), found, wanted);
        }
    }
    same_operand(&a, &b, FV_LSE, false), same_operand(&a, &b, FV_V, true);
    exact_free(&a), exact_free(&b);
}

/* Keys beyond kv_len, and keys that were never there. */
static void shorter_relation(const char *m, uint64_t seed) {
    exact_case a, b;
    exact_make(&a, m, seed, FV_F32, 300000, NO(VARLEN) | NO(DROPOUT) | NO(PREFIX) | NO(BLOCKS));
    if (a.on[FEATURE_KV_LEN]) {
        run(&a);
        for (int64_t n = 0; n < a.c.b; n++) {
            exact_case part = a;
            view_all(&part, 0, cut, (int64_t[]){n, n + 1});
            const int64_t live = ((const int32_t *)part.c.x.t[FV_KV_LEN].data)[0];
            view_all(&part, 3, cut, (int64_t[]){0, live});
            part.c.x.t[FV_KV_LEN].rank = 0, part.c.b = 1, part.c.lk = live, part.on[FEATURE_KV_LEN] = false;
            twin(&part, &b);
            run(&b);
            same_bits(&part, &b, OUTPUTS | gradients_of(&a, ROWS | KEYS | (planes_shared(&a) ? 0 : PLANES)));
            exact_free(&b);
        }
    }
    exact_free(&a);
}

/* ---- equal meaning, other arithmetic */

/* A boolean mask, and -inf in an additive one. */
static void hidden_relation(const char *m, uint64_t seed) {
    exact_case a, b;
    exact_make(&a, m, seed, FV_F32, 300000, NO(BIAS));
    if (a.on[FEATURE_MASK]) {
        twin(&a, &b);
        const fv_tensor *mask = &a.c.x.t[FV_MASK];
        fv_tensor bias = b.c.x.t[FV_BIAS] = exact_tensor(&b, FV_BIAS, 4, mask->dim, 0);
        for (int64_t n = 0; n < fv_tensor_count(mask); n++) {
            const bool set = ((const unsigned char *)mask->data)[place(mask, n)];
            if (set == (a.c.how.mask_means == FV_MASK_DROP)) set_at(&bias, place(&bias, n), -INFINITY);
        }
        b.c.x.t[FV_MASK].rank = 0, b.on[FEATURE_MASK] = false, b.on[FEATURE_BIAS] = true;
        run(&a), run(&b);
        same_bits(&a, &b, OUTPUTS | ROWS | KEYS | HEADS);
        exact_free(&b);
    }
    exact_free(&a);
}

/* A window as long as the sequence, and none. */
static void whole_relation(const char *m, uint64_t seed) {
    exact_case a, b;
    exact_make(&a, m, seed, FV_F32, 300000, NO(LEFT) | NO(RIGHT) | NO(OFFSET));
    twin(&a, &b);
    b.c.how.window = FV_WINDOW(a.c.lq + a.c.lk, a.c.lq + a.c.lk);
    oracle o;
    oracle_run(&o, &a, RULE_SOFT);
    run(&a), run(&b);
    for (int p = 0; p < FV_OPERANDS; p++) {
        if (p == FV_OUT || p == FV_LSE) as_oracle(&b, &o, (fv_operand)p, false);
        if (fv_operand_is(p, FV_ROLE_DIFFERENTIABLE)) as_oracle(&b, &o, (fv_operand)p, true);
    }
    same_bits(&a, &b, OUTPUTS);
    oracle_free(&o), exact_free(&a), exact_free(&b);
}

/* The keys in any order. */
static void permuted_relation(const char *m, uint64_t seed) {
    exact_case a, b;
    exact_make(&a, m, seed, FV_F32, 300000,
               NO(UPPER_LEFT) | NO(LOWER_RIGHT) | NO(LEFT) | NO(RIGHT) | NO(KV_LEN) | NO(VARLEN) | NO(SLOPES) |
                   NO(DROPOUT) | NO(PREFIX) | NO(BLOCKS));
    if (m[0] == 's') {
        oracle o;
        twin(&a, &b);
        int64_t *to = malloc((size_t)(a.c.lk + 1) * sizeof *to);
        for (int64_t j = 0; j < a.c.lk; j++) {
            const int64_t at = exact_below(&a, j + 1);
            to[j] = j, to[j] = to[at], to[at] = j;
        }
        const fv_operand moved[] = {FV_K, FV_V, FV_BIAS, FV_MASK};
        for (int i = 0; i < 4; i++)
            for (int64_t j = 0; j < a.c.lk; j++) {
                const int axis = i < 2 ? 2 : 3;
                const fv_tensor *x = &a.c.x.t[moved[i]], *y = &b.c.x.t[moved[i]];
                if (!x->rank || x->dim[axis] == 1) continue;
                const fv_tensor from = fv_tensor_slice(*x, axis, j, 1), into = fv_tensor_slice(*y, axis, to[j], 1);
                fv_tensor_copy(&into, &from);
            }
        oracle_run(&o, &a, RULE_SOFT);
        run(&b);
        const fv_operand still[] = {FV_OUT, FV_LSE, FV_Q, FV_SINKS};
        for (int i = 0; i < 4; i++) as_oracle(&b, &o, still[i], i > 1);
        oracle_free(&o), exact_free(&b), free(to);
    }
    exact_free(&a);
}

/* Two halves of the keys, merged by their LSE. */
static void merged_relation(const char *m, uint64_t seed) {
    exact_case a, half[2];
    exact_make(&a, m, seed, FV_F32, 400000,
               NO(LOWER_RIGHT) | NO(KV_LEN) | NO(VARLEN) | NO(SINKS) | NO(DROPOUT) | NO(PREFIX) | NO(BLOCKS));
    const int64_t middle = exact_below(&a, a.c.lk + 1), rows = a.c.b * a.c.h * a.c.lq;
    oracle o;
    oracle_run(&o, &a, RULE_SOFT);
    for (int i = 0; i < 2; i++) {
        exact_case part = a;
        view_all(&part, 3, cut, (int64_t[]){i ? middle : 0, i ? a.c.lk : middle});
        part.c.lk = i ? a.c.lk - middle : middle;
        if (i) part.c.call.q_offset -= middle;
        twin(&part, &half[i]);
        run(&half[i]);
    }
    for (int64_t n = 0; n < rows; n++) {
        const fv_tensor *l0 = &half[0].c.x.t[FV_LSE], *l1 = &half[1].c.x.t[FV_LSE], *to = &a.c.x.t[FV_LSE];
        const double x = get_at(l0, place(l0, n)), y = get_at(l1, place(l1, n)), top = fmax(x, y);
        const double lse = top == -INFINITY ? top : top + log(exp(x - top) + exp(y - top));
        set_at(to, place(to, n), lse);
        for (int64_t c = 0; c < a.c.dv; c++) {
            double sum = 0;
            for (int i = 0; i < 2; i++) {
                const fv_tensor *t = &half[i].c.x.t[FV_OUT];
                if (lse > -INFINITY) sum += exp((i ? y : x) - lse) * get_at(t, place(t, n * a.c.dv + c));
            }
            set_at(&a.c.x.t[FV_OUT], place(&a.c.x.t[FV_OUT], n * a.c.dv + c), sum);
        }
    }
    as_oracle(&a, &o, FV_OUT, false), as_oracle(&a, &o, FV_LSE, false);
    oracle_free(&o), exact_free(&a), exact_free(&half[0]), exact_free(&half[1]);
}

/* ---- all */

static const struct relation {
    const char *name;
    void (*check)(const char *mechanism, uint64_t seed);
    uint64_t count;
} relations[] = {
    {"threads", threads_relation, 480},   {"together", together_relation, 80},
    {"batch", batch_relation, 600},       {"order", order_relation, 800},
    {"prefix", prefix_relation, 600},     {"gqa", grouped_relation, 800},
    {"packed", packed_relation, 2400},    {"padded", padded_relation, 600},
    {"strides", strides_relation, 800},   {"one-buffer", one_buffer_relation, 1600},
    {"scaled", scaled_relation, 800},     {"shorter", shorter_relation, 1600},
    {"hidden", hidden_relation, 1600},    {"whole", whole_relation, 600},
    {"permuted", permuted_relation, 800}, {"merged", merged_relation, 800},
};
enum { RELATIONS = sizeof relations / sizeof *relations };

/* Seeds take turns on the instruction sets. */
static void check_one(const struct relation *r, const char *mechanism, uint64_t seed) {
    relation = r->name;
    fv_set_threads(1);
    fv__simd_use(FV_ISAS);
    fv__simd_use((fv__isa)(seed % FV_ISAS)); /* one that is not there: the best one */
    r->check(mechanism, seed);
    fv__simd_use(FV_ISAS);
}

static void check_relation(void **state) {
    const struct relation *r = *state;
    const uint64_t count = getenv("FOVEA_TEST_LONG")    ? r->count * 10
                           : getenv("FOVEA_TEST_QUICK") ? r->count / 10
                                                        : r->count;
    failures = 0;
    for (uint64_t seed = 1; seed <= count; seed++) {
        check_one(r, "softmax", seed);
        if (seed % 3 == 0) check_one(r, "window:left=30,right=9", seed);
    }
    assert_int_equal(failures, 0);
}

int main(int argc, char **argv) {
    for (int i = 0; argc == 4 && i < RELATIONS; i++)
        if (!strcmp(argv[1], relations[i].name)) {
            check_one(&relations[i], argv[2], strtoull(argv[3], NULL, 10));
            return failures != 0;
        }
    struct CMUnitTest tests[RELATIONS];
    for (int i = 0; i < RELATIONS; i++)
        tests[i] = (struct CMUnitTest){relations[i].name, check_relation, NULL, NULL, (void *)&relations[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
