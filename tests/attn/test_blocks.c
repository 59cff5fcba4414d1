/* Block masks: tiles are classified exactly, and attention with one is attention with the same picture as a mask,
 * whatever else is asked.
 * A failure of the random part names mechanism and case.   test_blocks MECHANISM CASE repeats it. */
#include "attn_check.h"
#include "attn_call.h"

#include "attn/blocks/block_mask.h"
#include "attn/keys/keys.h"
#include "fovea/grad.h"

/* ---- pictures: the predicates of docs/how-to/masks.md, and random ones */

typedef enum scene { CAUSAL, WINDOW, PREFIX, DOCUMENT, DILATED, NOBODY, ALL, SCATTER, PATCHES, KINDS } scene;
typedef struct picture {
    scene scene;
    uint64_t seed;
    int64_t number, rows, columns, percent; /* of the picture: window, prefix, documents, ... */
} picture;

static bool chosen(const picture *p, int64_t batch, int64_t head, int64_t i, int64_t j) {
    const uint64_t at = (uint64_t)(((batch * 7 + head) * 4096 + i) * 4096 + j);
    return fv__random_below(p->seed, 91, at, 100) < p->percent;
}

static bool visible_to(void *context, int64_t batch, int64_t head, int64_t i, int64_t j) {
    const picture *p = context;
    switch (p->scene) {
    case CAUSAL: return j <= i;
    case WINDOW: return j <= i && i - j < p->number;
    case PREFIX: return j <= i || j < p->number;
    case DOCUMENT: return i / p->number == j / p->number;
    case DILATED: return j <= i && i - j < 8 * p->number && (i - j) % p->number == 0;
    case NOBODY: return false;
    case ALL: return true;
    case SCATTER: return chosen(p, batch, head, i, j);
    default: return chosen(p, batch, head, i / p->rows, j / p->columns); /* whole tiles, and pieces of them */
    }
}

static picture draw(attn_case *c) {
    static const int64_t sides[] = {1, 5, 32, 64, 96, 128};
    picture p = {.scene = (scene)below(c, KINDS), .seed = c->seed, .number = 1 + below(c, 50)};
    if (below(c, 2)) p.scene = PATCHES;
    p.rows = sides[below(c, 6)], p.columns = sides[below(c, 6)], p.percent = below(c, 3) ? 50 : 10;
    return p;
}

static fv_block_mask *mask_of(const picture *p, int64_t b, int64_t h, int64_t lq, int64_t lk) {
    fv_block_mask *mask;
    assert_int_equal(fv_block_mask_create(&mask, visible_to, (void *)p, b, h, lq, lk), FV_OK);
    return mask;
}

/* ---- classification */

static void count_tile(const fv_block_mask *m, const picture *p, int64_t b, int64_t h, int64_t i0, int64_t j0,
                       fv_block_info *want) {
    const fv_block_info info = fv_block_mask_info(m);
    int64_t seen = 0, all = 0;
    uint64_t rows[FV_BLOCK_QUERIES], columns[FV_BLOCK_KEYS];
    fv__blocks_rows(m, b, h, i0, info.q_len - i0 < 32 ? info.q_len - i0 : 32, j0, rows);
    const fv_attention_plan plan = {.options = {.blocks = m}};
    const fv__run run = {.plan = &plan};
    const fv__keys_set set = fv__keys_of(&run, NULL, NULL, NULL);
    const fv__sequence sequence = {.batch = b, .k_len = info.k_len};
    const fv__query_block q = {&sequence, h, i0, i0 + 32 < info.q_len ? i0 + 32 : info.q_len};
    fv__keys_columns(&set, &q, j0, columns);
    for (int64_t i = i0; i < i0 + 32 && i < info.q_len; i++)
        for (int64_t j = j0; j < j0 + 64 && j < info.k_len; j++) {
            const bool one = visible_to((void *)p, info.batch == 1 ? 0 : b, info.heads == 1 ? 0 : h, i, j);
            assert_true(fv_block_mask_visible(m, b, h, i, j) == one);
            assert_true((rows[i - i0] >> (j - j0) & 1) == one && (columns[j - j0] >> (i - i0) & 1) == one);
            seen += one, all++;
        }
    const fv_block_kind kind = seen == 0 ? FV_BLOCK_EMPTY : seen == all ? FV_BLOCK_FULL : FV_BLOCK_PARTIAL;
    assert_int_equal(fv_block_mask_kind(m, b, h, i0, j0), kind);
    assert_int_equal(fv__blocks_kind(m, b, h, i0, i0 + 1, j0, j0 + 1), kind);
    want->tiles[kind]++, want->pairs += seen;
}

static void classification(void **state) {
    static const int64_t lengths[] = {0, 1, 31, 32, 33, 64, 65, 100, 192};
    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        attn_case c = {.seed = seed};
        const picture p = draw(&c);
        const int64_t b = 1 + below(&c, 2), h = 1 + below(&c, 3), lq = lengths[below(&c, 9)],
                      lk = lengths[below(&c, 9)];
        fv_set_threads(1 + (int)below(&c, 3));
        fv_block_mask *m = mask_of(&p, b, h, lq, lk);
        const fv_block_info info = fv_block_mask_info(m);
        fv_block_info want = {.pairs = 0};
        for (int64_t plane = 0; plane < b * h; plane++)
            for (int64_t i = 0; i < lq; i += 32)
                for (int64_t j = 0; j < lk; j += 64) count_tile(m, &p, plane / h, plane % h, i, j, &want);
        assert_memory_equal(info.tiles, want.tiles, sizeof info.tiles);
        assert_int_equal(info.pairs, want.pairs);
        assert_true(info.batch == b && info.heads == h && info.q_len == lq && info.k_len == lk);
        assert_true(info.bytes <= 200 + 16 * (size_t)(b * h * (lq / 32 + 1)) +
                                      512 * (size_t)want.tiles[FV_BLOCK_PARTIAL] +
                                      4 * (size_t)(b * h * (lq / 32 + 1) * (lk / 64 + 1)));
        fv_block_mask_free(m);
    }
    fv_set_threads(0);
}

/* A long causal mask: one partial tile or two a row, and no more memory than that. */
static void long_causal(void **state) {
    (void)state;
    const picture p = {.scene = CAUSAL};
    fv_block_mask *m = mask_of(&p, 1, 1, 4096, 4096);
    const fv_block_info info = fv_block_mask_info(m);
    assert_int_equal(info.tiles[FV_BLOCK_PARTIAL], 128);
    assert_int_equal(info.tiles[FV_BLOCK_FULL], 64 * 63); /* 2 * (0 + 1 + ... + 63) */
    assert_int_equal(info.pairs, INT64_C(4096) * 4097 / 2);
    assert_true(info.bytes < 72 << 10); /* the bits of all would be 2 MiB */
    fv_block_mask_free(m);
}

/* ---- attention: against the reference, as a mask, gradients, threads */

static fv_block_mask *pool[64];
static size_t pooled;
static void empty_pool(void) {
    while (pooled) fv_block_mask_free(pool[--pooled]);
}

/* The case becomes one without cu_seqlens and with a random block mask. */
static void fit(attn_case *c) {
    if (c->x.t[FV_CU_Q].rank) c->x.t[FV_CU_Q].rank = c->x.t[FV_CU_K].rank = c->x.t[FV_PREFIX_LEN].rank = 0;
    const picture p = draw(c);
    const int64_t b = chance(c, 50) ? c->b : 1, h = chance(c, 50) ? c->h : 1;
    c->how.blocks = pool[pooled++] = mask_of(&p, b, h, c->lq, c->lk);
}

/* The same case with the picture, and the mask it had, as one mask. */
static void fit_as_mask(attn_case *c) {
    fit(c);
    const fv_tensor old = c->x.t[FV_MASK];
    const int64_t dim[4] = {c->b, c->h, c->lq, c->lk};
    fv_tensor all = fv_tensor_of(NULL, FV_BOOL, 4, dim);
    unsigned char *p = malloc((size_t)fv_tensor_count(&all) + 1);
    for (int64_t n = 0; n < fv_tensor_count(&all); n++) {
        const int64_t j = n % c->lk, i = n / c->lk % c->lq, h = n / (c->lk * c->lq) % c->h,
                      b = n / (c->lk * c->lq * c->h);
        bool hidden = !fv_block_mask_visible(c->how.blocks, b, h, i, j);
        if (old.rank) {
            const int64_t at[4] = {old.dim[0] == 1 ? 0 : b, old.dim[1] == 1 ? 0 : h, old.dim[2] == 1 ? 0 : i,
                                   old.dim[3] == 1 ? 0 : j};
            hidden |= (fv_tensor_get(&old, at) != 0) == (c->how.mask_means == FV_MASK_DROP);
        }
        p[n] = hidden == (c->how.mask_means == FV_MASK_DROP);
    }
    free(c->store[FV_MASK]);
    all.data = c->store[FV_MASK] = p;
    c->x.t[FV_MASK] = all;
    c->how.blocks = NULL;
}

static const char *const texts[] = {"softmax", "window:left=40,right=3", "additive", "t5:buckets=8,max-distance=20",
                                    "shaw:max-distance=5"};

static void as_mask(const char *text, uint64_t seed, int64_t longest) {
    attn_case blocks, mask;
    check_make(&blocks, text, seed, FV_F64, longest, fit), check_make(&mask, text, seed, FV_F64, longest, fit_as_mask);
    if (case_run(&blocks, RUN_FORWARD | RUN_BACKWARD) != FV_OK) check_complain(&blocks, "blocks", fv_message(), 0, 0);
    if (case_run(&mask, RUN_FORWARD | RUN_BACKWARD) != FV_OK) check_complain(&mask, "mask", fv_message(), 0, 0);
    for (int p = 0; p < FV_OPERANDS; p++) {
        if (p == FV_OUT || p == FV_LSE) check_close(&blocks, &mask, "as mask", (fv_operand)p, false, 1e-13);
        if (fv_operand_is(p, FV_ROLE_DIFFERENTIABLE))
            check_close(&blocks, &mask, "as mask", (fv_operand)p, true, 1e-12);
    }
    case_free(&blocks), case_free(&mask);
    empty_pool();
}

static void random_calls(void **state) {
    (void)state;
    const int64_t cases = getenv("FOVEA_TEST_QUICK") ? 20 : getenv("FOVEA_TEST_LONG") ? 2000 : 100;
    for (int t = 0; t < 3; t++)
        for (uint64_t seed = 1; seed <= (uint64_t)cases / (t ? 2 : 1); seed++) {
            const int64_t longest = seed % 10 == 0 ? 400 : 140;
            as_mask(texts[t], seed, longest);
            check_reference(texts[t], seed, longest, fit), empty_pool();
        }
    assert_int_equal(check_failures, 0);
}

static void gradients(void **state) {
    (void)state;
    int64_t checked = 0;
    const uint64_t cases = getenv("FOVEA_TEST_QUICK") ? 8 : 40;
    for (int t = 0; t < 3; t++)
        for (uint64_t seed = 1; seed <= cases; seed++)
            checked += check_gradients(texts[t], seed, seed % 8 == 0 ? 80 : 12, fit), empty_pool();
    assert_int_equal(check_failures, 0);
    assert_true(checked > (int64_t)cases * 20);
}

static void threads(void **state) {
    (void)state;
    for (int t = 0; t < 3; t++)
        for (uint64_t seed = 1; seed <= 12; seed++)
            check_threads(texts[t], seed, seed % 6 ? 150 : 700, fit), empty_pool();
    assert_int_equal(check_failures, 0);
}

/* ---- laws on dense f32 calls */

enum { B = 1, H = 2, L = 300, D = 24 };
static call make_call(fv_block_mask *mask) {
    call c = call_make(B, H, H, L, L, D, D);
    c.x.d[FV_LSE].rank = 0;
    c.how.blocks = mask;
    return c;
}

static void same_bytes_of(const call *a, const call *b) {
    assert_memory_equal(a->memory[FV_OUT], b->memory[FV_OUT], H * L * D * 4);
    assert_memory_equal(a->memory[FV_LSE], b->memory[FV_LSE], H * L * 4);
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is_qkv(p))
            assert_memory_equal(a->memory[FV_OPERANDS + p], b->memory[FV_OPERANDS + p], H * L * D * 4);
}

/* A mask that hides nothing changes no bit; one that hides all gives zeros and -inf. */
static void ends(void **state) {
    (void)state;
    const picture all = {.scene = ALL}, nobody = {.scene = NOBODY};
    fv_block_mask *full = mask_of(&all, 1, 1, L, L), *empty = mask_of(&nobody, 1, 1, L, L);
    call plain = make_call(NULL), a = make_call(full), b = make_call(empty);
    for (int64_t i = 0; i < H * L * D; i++) b.memory[FV_K][i] = b.memory[FV_V][i] = b.memory[FV_Q][i] = NAN;
    call_run(&plain), call_run(&a), call_run(&b);
    same_bytes_of(&plain, &a);
    for (int64_t i = 0; i < H * L * D; i++) {
        assert_true(b.memory[FV_OUT][i] == 0);
        for (int p = 0; p < FV_OPERANDS; p++)
            if (fv_operand_is_qkv(p)) assert_true(b.memory[FV_OPERANDS + p][i] == 0);
    }
    for (int64_t i = 0; i < H * L; i++) assert_true(b.memory[FV_LSE][i] == -INFINITY);
    call_free(&plain), call_free(&a), call_free(&b);
    fv_block_mask_free(full), fv_block_mask_free(empty);
}

/* Keys 64..191 and every fifth other one are hidden from all, queries 32..63 and 70 see nothing: NaN there changes
 * nothing. */
static bool gap(void *context, int64_t batch, int64_t head, int64_t i, int64_t j) {
    (void)context, (void)batch, (void)head;
    return (j < 64 || j >= 192) && j % 5 != 2 && (i < 32 || i >= 64) && i != 70;
}
static void nonfinite(void **state) {
    (void)state;
    fv_block_mask *mask;
    assert_int_equal(fv_block_mask_create(&mask, gap, NULL, 1, 1, L, L), FV_OK);
    assert_true(fv_block_mask_info(mask).tiles[FV_BLOCK_EMPTY] > 0);
    call a = make_call(mask), b = make_call(mask);
    for (int64_t n = 0; n < H * L; n++)
        for (int64_t d = 0; d < D; d++) {
            if (!gap(NULL, 0, 0, 0, n % L))
                b.memory[FV_K][n * D + d] = NAN, b.memory[FV_V][n * D + d] = d % 2 ? NAN : INFINITY;
            if (!gap(NULL, 0, 0, n % L, 0))
                b.memory[FV_Q][n * D + d] = NAN, b.memory[FV_OPERANDS + FV_OUT][n * D + d] = NAN;
        }
    call_run(&a), call_run(&b);
    same_bytes_of(&a, &b);
    for (int64_t n = 0; n < H * L; n++) {
        assert_true(gap(NULL, 0, 0, n % L, 0) == (a.memory[FV_LSE][n] > -INFINITY));
        for (int64_t d = 0; d < D && !gap(NULL, 0, 0, 0, n % L); d++)
            assert_true(a.memory[FV_OPERANDS + FV_K][n * D + d] == 0 && a.memory[FV_OPERANDS + FV_V][n * D + d] == 0);
    }
    call_free(&a), call_free(&b);
    fv_block_mask_free(mask);
}

/* The usual pictures are what the options of the same name say; and so are their operations. */
static void usual_pictures(void **state) {
    (void)state;
    int32_t length = 77;
    for (int s = CAUSAL; s <= PREFIX; s++) {
        const picture p = {.scene = (scene)s, .number = s == PREFIX ? 77 : 50};
        fv_block_mask *mask = mask_of(&p, 1, 1, L, L);
        call blocks = make_call(mask), option = make_call(NULL);
        option.how.causal = FV_CAUSAL_UPPER_LEFT;
        if (s == WINDOW) option.how.window = FV_WINDOW(49, -1);
        if (s == PREFIX) option.x.t[FV_PREFIX_LEN] = fv_tensor_1d(&length, FV_I32, 1);
        call_run(&blocks), call_run(&option);
        for (int64_t i = 0; i < H * L * D; i++) {
            assert_true(fabsf(blocks.memory[FV_OUT][i] - option.memory[FV_OUT][i]) < 2e-6f);
            for (int n = 0; n < FV_OPERANDS; n++)
                if (fv_operand_is_qkv(n))
                    assert_true(fabsf(blocks.memory[FV_OPERANDS + n][i] - option.memory[FV_OPERANDS + n][i]) < 2e-5f);
        }
        fv_attention_plan *a, *b;
        assert_int_equal(fv_attention_plan_create(&a, &blocks.how, &blocks.x), FV_OK);
        assert_int_equal(fv_attention_plan_create(&b, &option.how, &option.x), FV_OK);
        char text[400];
        fv_attention_plan_describe(a, text, sizeof text);
        assert_non_null(strstr(text, "blocks"));
        if (s != PREFIX) assert_true(fv_attention_flops(a, NULL, true) == fv_attention_flops(b, NULL, true));
        fv_attention_plan_free(a), fv_attention_plan_free(b);
        call_free(&blocks), call_free(&option);
        fv_block_mask_free(mask);
    }
}

/* A document mask is what each document gets alone. */
static void documents(void **state) {
    (void)state;
    const picture p = {.scene = DOCUMENT, .number = 70};
    fv_block_mask *mask = mask_of(&p, 1, 1, L, L);
    call all = make_call(mask);
    all.how.causal = FV_CAUSAL_UPPER_LEFT;
    call_run(&all);
    for (int64_t start = 0; start < L; start += 70) {
        const int64_t length = L - start < 70 ? L - start : 70;
        call one = make_call(NULL);
        one.how.causal = FV_CAUSAL_UPPER_LEFT;
        for (int p2 = 0; p2 < FV_OPERANDS; p2++)
            if (fv_operand_is_qkv(p2)) {
                one.x.t[p2] = fv_tensor_slice(all.x.t[p2], 2, start, length);
                one.x.d[p2] = fv_tensor_slice(one.x.d[p2], 2, 0, length);
            }
        one.x.t[FV_OUT] = fv_tensor_slice(one.x.t[FV_OUT], 2, 0, length),
        one.x.t[FV_LSE] = fv_tensor_slice(one.x.t[FV_LSE], 2, 0, length);
        one.x.d[FV_OUT] = fv_tensor_slice(all.x.d[FV_OUT], 2, start, length);
        call_run(&one);
        double size;
        for (int p2 = 0; p2 < FV_OPERANDS; p2++)
            if (fv_operand_is_qkv(p2)) {
                const fv_tensor part = fv_tensor_slice(all.x.d[p2], 2, start, length);
                assert_true(difference(&one.x.d[p2], &part, &size) < 2e-5);
            }
        const fv_tensor part = fv_tensor_slice(all.x.t[FV_OUT], 2, start, length);
        assert_true(difference(&one.x.t[FV_OUT], &part, &size) < 2e-6);
        call_free(&one);
    }
    call_free(&all);
    fv_block_mask_free(mask);
}

/* Weights of chosen rows: zero where hidden, and what gives the output. */
static void weights(void **state) {
    (void)state;
    const picture p = {.scene = DILATED, .number = 9};
    fv_block_mask *mask = mask_of(&p, 1, 1, L, L);
    call c = make_call(mask);
    call_run(&c);
    fv_attention_plan *plan;
    assert_int_equal(fv_attention_plan_create(&plan, &c.how, &c.x), FV_OK);
    static float w[3 * L];
    const int64_t rows[3] = {0, 100, L - 1};
    const fv_tensor to = fv_tensor_2d(w, FV_F32, 3, L);
    assert_int_equal(fv_attention_weights(plan, &c.call, &c.x, FV_CAPTURE_SOFTMAX, 0, 1, rows, 3, &to), FV_OK);
    for (int r = 0; r < 3; r++)
        for (int d = 0; d < D; d++) {
            double sum = 0;
            for (int64_t j = 0; j < L; j++) {
                assert_true(visible_to((void *)&p, 0, 0, rows[r], j) == (w[r * L + j] > 0));
                sum += (double)w[r * L + j] * (double)c.memory[FV_V][(L + j) * D + d];
            }
            assert_true(fabs(sum - (double)c.memory[FV_OUT][(L + rows[r]) * D + d]) < 1e-6);
        }
    fv_attention_plan_free(plan);
    call_free(&c);
    fv_block_mask_free(mask);
}

/* A graph finds its plans again, each with its own mask. */
static void graph_plans(void **state) {
    (void)state;
    fv_graph *g;
    assert_int_equal(fv_graph_create(&g, NULL), FV_OK);
    float q[4 * 2] = {1, 0, 0, 1, 1, 1, 2, 1};
    const fv_tensor t = fv_bhld(q, FV_F32, 1, 1, 4, 2);
    for (int step = 0; step < 4; step++) {
        const picture p = {.scene = step % 2 ? NOBODY : ALL};
        fv_graph_begin(g, FV_MODE_INFER, 1);
        fv_node *x = fv_op_constant(g, &t);
        fv_attend attend = {.options = FV_ATTENTION_DEFAULT, .in = {x, x, x}};
        attend.options.blocks = pool[pooled++] = mask_of(&p, 1, 1, 4, 4);
        const fv_tensor out = fv_node_value(fv_op_attend(g, &attend, NULL, NULL));
        assert_true((get_at(&out, 0) == 0) == (step % 2 == 1));
    }
    fv_graph_free(g);
    empty_pool();
}

/* ---- refusals */

static void refusals(void **state) {
    (void)state;
    const picture p = {.scene = SCATTER, .percent = 50};
    static const int64_t wrong[][4] = {{2, 1, L, L}, {1, 3, L, L}, {1, 1, L - 1, L}, {1, 1, L, L + 1}, {0, 1, L, L}};
    fv_block_mask *mask = NULL, *good = mask_of(&p, 1, 1, L, L);
    call c = make_call(good), packed = c;
    for (int i = 0; i < 5; i++) {
        mask = mask_of(&p, wrong[i][0], wrong[i][1], wrong[i][2], wrong[i][3]);
        c.how.blocks = mask, call_refused(&c, "the block mask");
        fv_block_mask_free(mask);
    }
    c.how.blocks = good;
    c.how.mechanism = "topk", call_refused(&c, "takes no block mask");
    c.how.mechanism = "linear", call_refused(&c, "takes no block mask");
    int32_t cu[3] = {0, 9, L};
    packed.x.t[FV_CU_Q] = fv_tensor_1d(cu, FV_I32, 3), call_refused(&packed, "packed");
    assert_int_equal(fv_block_mask_create(&mask, NULL, NULL, 1, 1, 1, 1), FV_USAGE);
    assert_int_equal(fv_block_mask_create(&mask, visible_to, (void *)&p, 1, 1, -1, 1), FV_USAGE);
    assert_int_equal(fv_block_mask_create(&mask, visible_to, (void *)&p, 1, 1, INT64_MAX, INT64_MAX), FV_NO_RESOURCES);
    assert_null(mask);
    const int64_t live = fv__alloc_live();
    for (int nth = 1;; nth++) { /* every allocation fails in turn */
        fv__inject(FV_FAULT_ALLOC, nth, false);
        const fv_status status = fv_block_mask_create(&mask, visible_to, (void *)&p, 1, 2, 100, 200);
        fv__inject(FV_FAULT_ALLOC, 0, false);
        if (status == FV_OK) {
            assert_true(nth > 10);
            break;
        }
        assert_int_equal(status, FV_NO_RESOURCES);
        assert_true(mask == NULL && fv__alloc_live() == live);
    }
    fv_block_mask_free(mask), fv_block_mask_free(good);
    call_free(&c);
}

int main(int argc, char **argv) {
    if (argc == 3) {
        const uint64_t seed = strtoull(argv[2], NULL, 10);
        as_mask(argv[1], seed, seed % 10 == 0 ? 400 : 140);
        check_reference(argv[1], seed, seed % 10 == 0 ? 400 : 140, fit);
        return check_failures != 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classification), cmocka_unit_test(long_causal),    cmocka_unit_test(random_calls),
        cmocka_unit_test(gradients),      cmocka_unit_test(threads),        cmocka_unit_test(ends),
        cmocka_unit_test(nonfinite),      cmocka_unit_test(usual_pictures), cmocka_unit_test(documents),
        cmocka_unit_test(weights),        cmocka_unit_test(graph_plans),    cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
