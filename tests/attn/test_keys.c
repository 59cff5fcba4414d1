/* Patterns of keys: what a pattern says of tiles is what it says of pairs; strided and block-topk against known
 * answers, against softmax and block masks where they say the same; no query learns of its future; the same bits in
 * every place and for any number of threads. Random calls against the plain references are in test_random. */
#include "attn_check.h"
#include "attn_call.h"

#include "attn/keys/keys.h"
#include "attn/engine/tile/tile.h"
#include "fovea/cache.h"

static const char *const own_texts[] = {"strided:stride=3",        "strided:stride=29",       "strided:stride=200",
                                        "block-topk:k=2,block=16", "block-topk:k=1,block=64", "block-topk:k=3,block=5"};
enum { OWN_TEXTS = sizeof own_texts / sizeof *own_texts };

/* Texts on the command line stand in for these; then some checks that know what ours do are left out. */
static const char *const *texts = own_texts;
static int count_of_texts = OWN_TEXTS;
static bool own(void) { return texts == own_texts; }

/* ---- the contract, of every pattern */

/* Distances of blocks of five: neither tile is a multiple of it. */
static bool patches(void *context, int64_t batch, int64_t head, int64_t i, int64_t j) {
    (void)context, (void)batch;
    return (i / 5 + j / 40 + head) % 3 == 0;
}

typedef struct asked {
    attn_case c;
    fv_attention_plan *plan;
    fv_block_mask *mask;
    fv__run run;
    void *memory;
    fv__keys_set set;
} asked;

static void ask(asked *a, const char *text, uint64_t seed, bool masked) {
    case_make(&a->c, text, seed, FV_F32, 300);
    a->c.how.blocks = a->mask = NULL;
    if (masked && !a->c.x.t[FV_CU_Q].rank) {
        assert_int_equal(fv_block_mask_create(&a->mask, patches, NULL, 1, a->c.h, a->c.lq, a->c.lk), FV_OK);
        a->c.how.blocks = a->mask;
    }
    assert_int_equal(fv_attention_plan_create(&a->plan, &a->c.how, &a->c.x), FV_OK);
    a->run = (fv__run){a->plan, &a->c.x, a->c.call};
    const size_t bytes = fv__tile_keys_bytes(a->plan);
    a->memory = malloc(bytes + 64);
    memset(a->memory, 0xff, bytes), memset((char *)a->memory + bytes, 0x5a, 64);
    a->set = fv__tile_keys_of(&a->run, a->memory);
    fv__keys_prepare(&a->set, -1, -1);
    for (int i = 0; i < 64; i++) assert_int_equal(((unsigned char *)a->memory)[bytes + (size_t)i], 0x5a);
}

static void asked_free(asked *a) {
    fv_attention_plan_free(a->plan), fv_block_mask_free(a->mask), case_free(&a->c), free(a->memory);
}

static bool pair(const asked *a, const fv__sequence *s, int64_t head, int64_t i, int64_t j) {
    uint64_t word = 0;
    fv__keys_bits(&a->set, &(fv__query_block){s, head, i, i + 1}, j, &word);
    return word & 1;
}

/* A tile of `queries` queries, some of 64 keys: bits, columns, kind and next against the pairs. */
static void check_tile(const asked *a, const fv__query_block *q, int64_t j0, int64_t j1, int64_t *empty) {
    uint64_t rows[64], columns[64] = {0};
    bool none = true, all = true, seen[64] = {false};
    fv__keys_bits(&a->set, q, j0, rows);
    if (j0 % 64 == 0 && q->i1 - q->i0 <= 32) fv__keys_columns(&a->set, q, j0, columns);
    for (int64_t i = q->i0; i < q->i1; i++)
        for (int64_t j = j0; j < j1; j++) {
            const bool one = pair(a, q->sequence, q->head, i, j);
            assert_true((rows[i - q->i0] >> (j - j0) & 1) == one);
            if (j0 % 64 == 0 && q->i1 - q->i0 <= 32) assert_true((columns[j - j0] >> (i - q->i0) & 1) == one);
            none = none && !one, all = all && one, seen[j - j0] |= one;
        }
    const fv_block_kind kind = fv__keys_kind(&a->set, q, j0, j1);
    assert_true(kind != FV_BLOCK_EMPTY || none);
    assert_true(kind != FV_BLOCK_FULL || all);
    if (!a->mask && own()) assert_true((kind == FV_BLOCK_EMPTY) == none); /* nothing is computed in vain */
    *empty += none;
    const int64_t next = fv__keys_next(&a->set, q, j0);
    assert_true(next >= j0);
    for (int64_t j = j0; j < next && j < j1; j++) assert_false(seen[j - j0]);
    if (!a->mask && own() && next < j1) assert_true(seen[next - j0]);
}

static void check_sequence(asked *a, const fv__sequence *s, int64_t *empty) {
    for (int n = 0; n < 12 && s->q_len && s->k_len; n++) {
        fv__query_block q = {.sequence = s, .head = below(&a->c, a->c.h), .i0 = below(&a->c, s->q_len)};
        const int64_t most = chance(&a->c, 50) ? 32 : 64, j0 = below(&a->c, s->k_len) / 16 * 16;
        if (chance(&a->c, 70)) q.i0 = q.i0 / 16 * 16;
        q.i1 = q.i0 + 1 + below(&a->c, most < s->q_len - q.i0 ? most : s->q_len - q.i0);
        const int64_t tile = (chance(&a->c, 50) ? j0 : j0 / 64 * 64), end = (tile / 64 + 1) * 64;
        check_tile(a, &q, tile, end < s->k_len ? end : s->k_len, empty);
    }
}

/* flops counts pairs: those of one query, by hand. */
static void check_count(const asked *a, const fv__sequence *s, int64_t i) {
    const fv__tile_setup *setup = fv__tile_setup_of(a->plan);
    int64_t start, end, seen = 0;
    fv__attn_visible(a->plan, s, i, &start, &end);
    for (int64_t j = start; j < end; j++) seen += pair(a, s, 0, i, j);
    const double count = fv__keys_count(a->plan, setup->keys, setup->keys_params, s, i, start, end);
    if (setup->keys == &fv__keys_strided && !a->mask) assert_true(count == (double)seen);
    if (setup->keys != &fv__keys_block_topk) assert_true(count >= (double)seen);
}

static void contract(void **state) {
    (void)state;
    const uint64_t cases = getenv("FOVEA_TEST_QUICK") ? 40 : 200;
    for (int t = 0; t < count_of_texts; t++) {
        int64_t empty = 0;
        for (uint64_t seed = 1; seed <= cases; seed++) {
            asked a;
            const bool takes_mask = own() && t < 3;
            ask(&a, texts[t], seed, takes_mask && seed % 4 == 0);
            for (int64_t n = 0; n < a.plan->sequences; n++) {
                const fv__sequence s = fv__attn_sequence(&a.run, n);
                check_sequence(&a, &s, &empty);
                if (s.q_len && !a.mask) check_count(&a, &s, below(&a.c, s.q_len));
            }
            asked_free(&a);
        }
        if (own() && t) assert_true(empty > 10);
    }
    assert_true(fv__keys_patterns() >= 3);
}

/* ---- known answers */

/* Keys that query i gives weight to, as text of one head: 'x' and '.'. */
static void picture(call *c, int64_t i, char *to) {
    fv_attention_plan *plan;
    float row[64];
    memset(c->x.d, 0, sizeof c->x.d);
    call_run(c);
    assert_int_equal(fv_attention_plan_create(&plan, &c->how, &c->x), FV_OK);
    const int64_t m = c->x.t[FV_K].dim[2];
    const fv_tensor w = fv_tensor_2d(row, FV_F32, 1, m);
    assert_int_equal(fv_attention_weights(plan, &c->call, &c->x, FV_CAPTURE_SOFTMAX, 0, 0, &i, 1, &w), FV_OK);
    for (int64_t j = 0; j < m; j++) to[j] = row[j] > 0 ? 'x' : '.';
    to[m] = '\0';
    fv_attention_plan_free(plan);
}

static void expect(call *c, int64_t i, const char *want) {
    char found[65];
    picture(c, i, found);
    assert_string_equal(found, want);
}

static void strided_by_hand(void **state) {
    (void)state;
    call c = call_make(1, 1, 1, 12, 12, 3, 2);
    c.how.mechanism = "strided:stride=3", c.how.causal = FV_CAUSAL_UPPER_LEFT;
    expect(&c, 0, "x..........."), expect(&c, 2, "xxx.........");
    expect(&c, 8, "..x..xxxx..."), expect(&c, 11, "..x..x..xxxx");
    c.how.causal = FV_CAUSAL_NONE;
    expect(&c, 4, ".xxxxxxx..x."), expect(&c, 0, "xxxx..x..x..");
    call_free(&c);
}

/* Blocks of two; the means of the keys are 0 3 1 2 -1 3. */
static call six_blocks(const char *text) {
    static const float keys[12] = {-1, 1, 2, 4, 0, 2, 2, 2, -5, 3, 3, 3};
    call c = call_make(1, 1, 1, 12, 12, 1, 1);
    for (int i = 0; i < 12; i++) c.memory[FV_Q][i] = 1, c.memory[FV_K][i] = keys[i];
    c.how.mechanism = text;
    return c;
}

static void topk_by_hand(void **state) {
    (void)state;
    call c = six_blocks("block-topk:k=1,block=2");
    expect(&c, 0, "..xx........");                                                        /* of equal ones the first */
    c.memory[FV_Q][4] = -3, expect(&c, 4, "........xx.."), expect(&c, 5, "........xx.."); /* the mean of both queries */
    c.memory[FV_Q][4] = 1;
    c.how.scale = -1, expect(&c, 3, "........xx.."), c.how.scale = 0; /* its weights are those of -q */
    c.how.mechanism = "block-topk:k=2,block=2", expect(&c, 7, "..xx......xx");
    c.how.mechanism = "block-topk:k=3,block=2", expect(&c, 7, "..xx..xx..xx");
    c.how.causal = FV_CAUSAL_UPPER_LEFT, c.how.mechanism = "block-topk:k=1,block=2";
    expect(&c, 1, "xx.........."), expect(&c, 4, "..xxx......."), expect(&c, 10, "..xx......x.");
    c.memory[FV_Q][5] = -1, expect(&c, 5, "..xxxx......"); /* the first query chooses alone */
    c.memory[FV_Q][5] = 1, c.memory[FV_K][1] = NAN;
    call_run(&c); /* a score that is no number is chosen first, and shows */
    assert_true(isnan(c.memory[FV_OUT][9]));
    call_free(&c);
}

/* ---- the same as something else */

static void compare(const call *a, const call *b) {
    for (int p = 0; p < FV_OPERANDS; p++) {
        const bool output = p == FV_OUT || p == FV_LSE;
        if (output) assert_true(same_bytes(&a->x.t[p], &b->x.t[p]));
        if (!output && a->x.d[p].rank) assert_true(same_bytes(&a->x.d[p], &b->x.d[p]));
    }
}

/* All keys are kept: softmax, bit for bit. */
static void all_kept(void **state) {
    static const char *const all[] = {"strided:stride=1", "strided:stride=300", "block-topk:k=5,block=64",
                                      "block-topk:k=1,block=300", "block-topk:k=1000,block=7"};
    (void)state;
    for (int t = 0; t < 5; t++)
        for (int causal = 0; causal < 3; causal++) {
            call a = call_make(2, 4, 2, 300, 290, 24, 16), b = call_make(2, 4, 2, 300, 290, 24, 16);
            a.how.causal = b.how.causal = (fv_causal)causal;
            a.how.dropout = b.how.dropout = causal == 1 ? 0.3 : 0;
            a.how.mechanism = all[t];
            call_run(&a), call_run(&b);
            compare(&a, &b);
            call_free(&a), call_free(&b);
        }
}

typedef struct rule {
    int64_t stride, offset;
    bool patched;
} rule;

static bool strided_rule(void *context, int64_t batch, int64_t head, int64_t i, int64_t j) {
    const rule *r = context;
    const int64_t d = i + r->offset > j ? i + r->offset - j : j - i - r->offset;
    return (d < r->stride || d % r->stride == 0) && (!r->patched || patches(NULL, batch, head, i, j));
}

/* Strided, alone and together with a block mask, is the block mask of the same rule. */
static void strided_as_mask(void **state) {
    static const int64_t strides[] = {2, 7, 64, 100, 130};
    (void)state;
    for (int n = 0; n < 10; n++) {
        rule r = {strides[n % 5], n % 3 == 1 ? 37 : 0, n >= 5};
        char text[64];
        fv_block_mask *whole, *rest;
        call a = call_make(2, 4, 2, 270, 390, 20, 33), b = call_make(2, 4, 2, 270, 390, 20, 33);
        assert_int_equal(fv_block_mask_create(&whole, strided_rule, &r, 1, 4, 270, 390), FV_OK);
        assert_int_equal(fv_block_mask_create(&rest, patches, NULL, 1, 4, 270, 390), FV_OK);
        snprintf(text, sizeof text, "strided:stride=%d", (int)r.stride);
        a.how.causal = b.how.causal = n % 2 ? FV_CAUSAL_UPPER_LEFT : FV_CAUSAL_NONE;
        a.call.q_offset = b.call.q_offset = r.offset;
        a.how.mechanism = text, a.how.blocks = r.patched ? rest : NULL, b.how.blocks = whole;
        call_run(&a), call_run(&b);
        compare(&a, &b);
        fv_block_mask_free(whole), fv_block_mask_free(rest), call_free(&a), call_free(&b);
    }
}

/* ---- laws */

static void spoil(const fv_tensor *t, int64_t from) {
    for (int64_t n = 0; n < fv_tensor_count(t); n++)
        if (n / t->dim[3] % t->dim[2] >= from) ((float *)t->data)[n] += (float)(1 + n % 7);
}

/* Other tokens from position t on: not a bit before t changes. Without a mask some do: the test can fail. */
static bool same_before(const char *text, fv_causal causal, fv_window window, int64_t t) {
    call a = call_make(2, 4, 2, 200, 200, 8, 8), b = call_make(2, 4, 2, 200, 200, 8, 8);
    a.how.mechanism = b.how.mechanism = text, a.how.causal = b.how.causal = causal;
    a.how.window = b.how.window = window;
    memset(a.x.d, 0, sizeof a.x.d), memset(b.x.d, 0, sizeof b.x.d);
    spoil(&b.x.t[FV_Q], t), spoil(&b.x.t[FV_K], t), spoil(&b.x.t[FV_V], t);
    call_run(&a), call_run(&b);
    bool same = true;
    for (int64_t n = 0; n < fv_tensor_count(&a.x.t[FV_OUT]); n++)
        if (n / 8 % 200 < t) same = same && a.memory[FV_OUT][n] == b.memory[FV_OUT][n];
    call_free(&a), call_free(&b);
    return same;
}

static void causality(void **state) {
    (void)state;
    for (int t = 0; t < count_of_texts; t++)
        for (int64_t at = 1; at < 200; at += 13) {
            assert_true(same_before(texts[t], FV_CAUSAL_UPPER_LEFT, (fv_window){0}, at));
            assert_true(same_before(texts[t], FV_CAUSAL_NONE, FV_WINDOW(150, 0), at));
            if (own()) assert_false(same_before(texts[t], FV_CAUSAL_NONE, (fv_window){0}, at));
        }
}

/* What a window hides from a query may be anything. */
static void window_hides(void **state) {
    (void)state;
    for (int t = 0; t < count_of_texts; t++) {
        call a = call_make(1, 2, 1, 200, 200, 8, 8), b = call_make(1, 2, 1, 200, 200, 8, 8);
        a.how.mechanism = b.how.mechanism = texts[t];
        a.how.causal = b.how.causal = FV_CAUSAL_UPPER_LEFT, a.how.window = b.how.window = FV_WINDOW(70, 0);
        memset(a.x.d, 0, sizeof a.x.d), memset(b.x.d, 0, sizeof b.x.d);
        for (int64_t n = 0; n < 30 * 8; n++) b.memory[FV_K][n] = b.memory[FV_V][n] = NAN;
        call_run(&a), call_run(&b);
        for (int h = 0; h < 2; h++)
            assert_memory_equal(a.memory[FV_OUT] + (h * 200 + 100) * 8, b.memory[FV_OUT] + (h * 200 + 100) * 8,
                                100 * 8 * sizeof(float));
        call_free(&a), call_free(&b);
    }
}

/* What belongs to a whole batch stays away from one of its sequences: planes, and dropout, which has its number. */
static void apart(attn_case *c) {
    c->how.dropout = 0;
    c->x.t[FV_BIAS].rank = c->x.d[FV_BIAS].rank = c->x.t[FV_MASK].rank = c->x.t[FV_PREFIX_LEN].rank = 0;
    c->x.d[FV_SINKS].rank = c->x.d[FV_SLOPES].rank = 0;
}

static void places_and_threads(void **state) {
    (void)state;
    int64_t sequences = 0;
    check_failures = 0;
    for (int t = 0; t < count_of_texts; t++)
        for (uint64_t seed = 1; seed <= (getenv("FOVEA_TEST_QUICK") ? 40 : 150); seed++) {
            check_packed(texts[t], seed, 300, apart, &sequences);
            if (seed <= 25) check_threads(texts[t], seed, 300, NULL);
        }
    assert_true(sequences > 30);
    assert_int_equal(check_failures, 0);
}

/* The second of two sequences of a batch, alone. */
static void batches(void **state) {
    (void)state;
    for (int t = 0; t < count_of_texts; t++) {
        call a = call_make(3, 4, 2, 140, 200, 12, 9), b = call_make(1, 4, 2, 140, 200, 12, 9);
        a.how.mechanism = b.how.mechanism = texts[t];
        for (int p = 0; p < FV_OPERANDS; p++) {
            if (!b.x.t[p].rank) continue;
            const size_t count = (size_t)fv_tensor_count(&b.x.t[p]);
            memcpy(b.memory[p], a.memory[p] + count, count * sizeof(float));
            memcpy(b.memory[FV_OPERANDS + p], a.memory[FV_OPERANDS + p] + count, count * sizeof(float));
        }
        call_run(&a), call_run(&b);
        for (int p = 0; p < FV_OPERANDS; p++) {
            if (!b.x.t[p].rank) continue;
            const size_t count = (size_t)fv_tensor_count(&b.x.t[p]);
            assert_memory_equal(a.memory[p] + count, b.memory[p], count * sizeof(float));
            assert_memory_equal(a.memory[FV_OPERANDS + p] + count, b.memory[FV_OPERANDS + p], count * sizeof(float));
        }
        call_free(&a), call_free(&b);
    }
}

/* ---- what is computed */

/* Tiles that the forward computes of a long call, walked as it does. */
static int64_t tiles_of(const char *text, int64_t length) {
    call c = call_make(1, 1, 1, length, length, 4, 4);
    fv_attention_plan *plan;
    c.how.mechanism = text, c.how.causal = FV_CAUSAL_UPPER_LEFT;
    memset(c.x.d, 0, sizeof c.x.d);
    assert_int_equal(fv_attention_plan_create(&plan, &c.how, &c.x), FV_OK);
    const fv__run run = {plan, &c.x, c.call};
    void *memory = malloc(fv__tile_keys_bytes(plan) + 1);
    const fv__keys_set set = fv__tile_keys_of(&run, memory);
    const fv__sequence s = fv__attn_sequence(&run, 0);
    int64_t tiles = 0, steps = 0;
    fv__keys_prepare(&set, -1, -1);
    for (int64_t i = 0; i < length; i += 32) {
        const fv__query_block q = {&s, 0, i, i + 32};
        for (int64_t j = 0; j < i + 32; j = (j / 64 + 1) * 64, steps++) {
            j = fv__keys_next(&set, &q, j);
            if (j >= i + 32) break;
            const int64_t j0 = j / 64 * 64;
            tiles += fv__keys_kind(&set, &q, j0, j0 + 64) != FV_BLOCK_EMPTY;
        }
    }
    assert_true(steps <= tiles + length / 32 && (double)tiles * 32 * 64 * 16 >= fv_attention_flops(plan, NULL, false));
    free(memory), fv_attention_plan_free(plan), call_free(&c);
    return tiles;
}

static void skipped(void **state) {
    (void)state;
    /* two blocks and the diagonal of each; twice the length is twice the work */
    assert_true(tiles_of("block-topk:k=2,block=64", 4096) <= 3 * 4096 / 32);
    assert_true(tiles_of("block-topk:k=2,block=64", 8192) <= 3 * 8192 / 32);
    /* 1024 near keys, and 96 of each 1024 others */
    assert_true(tiles_of("strided:stride=1024", 8192) <= (8192 / 32) * (1024 / 64 + 2 + 2 * 8));
    assert_true(tiles_of("strided:stride=1024", 8192) < tiles_of("strided:stride=8192", 8192) / 2);
}

/* ---- decoding: the rule as a mask of the new row */

static void decoding(void **state) {
    enum { N = 90, D = 16, STRIDE = 7 };
    (void)state;
    call c = call_make(1, 2, 1, N, N, D, D);
    float out[2 * D];
    bool mask[N];
    c.how.mechanism = "strided:stride=7", c.how.causal = FV_CAUSAL_UPPER_LEFT;
    memset(c.x.d, 0, sizeof c.x.d);
    call_run(&c);
    const fv_cache_options keep = {.batch = 1, .kv_heads = 1, .d_qk = D, .d_v = D, .dtype = FV_F32, .capacity = N};
    fv_kv_cache *cache;
    fv_decode_plan *plan;
    assert_int_equal(fv_kv_cache_create(&cache, &keep), FV_OK);
    assert_int_equal(fv_decode_plan_create(&plan, NULL, cache, 2, 1), FV_OK);
    void *scratch = malloc(fv_decode_scratch(plan, cache));
    for (int64_t i = 0; i < N; i++) {
        const fv_tensor k = fv_tensor_slice(c.x.t[FV_K], 2, i, 1), v = fv_tensor_slice(c.x.t[FV_V], 2, i, 1);
        rule r = {STRIDE, 0, false};
        for (int64_t j = 0; j < N; j++) mask[j] = strided_rule(&r, 0, 0, i, j);
        assert_int_equal(fv_kv_cache_append(cache, &k, &v, NULL), FV_OK);
        const fv_decode_tensors x = {.q = fv_tensor_slice(c.x.t[FV_Q], 2, i, 1),
                                     .out = fv_bhld(out, FV_F32, 1, 2, 1, D),
                                     .mask = fv_tensor_of(mask, FV_BOOL, 4, (int64_t[]){1, 1, 1, N})};
        assert_int_equal(fv_decode(plan, cache, &x, scratch), FV_OK);
        for (int n = 0; n < 2 * D; n++)
            assert_true(fabsf(out[n] - c.memory[FV_OUT][(n / D * N + i) * D + n % D]) < 1e-5F);
    }
    free(scratch), fv_decode_plan_free(plan), fv_kv_cache_free(cache), call_free(&c);
}

/* ---- refusals */

static void refusals(void **state) {
    (void)state;
    call c = call_make(1, 2, 2, 8, 8, 4, 4);
    c.how.mechanism = "strided:stride=0", call_refused(&c, "\"stride\"");
    c.how.mechanism = "block-topk:k=0", call_refused(&c, "\"k\"");
    c.how.mechanism = "block-topk:block=0", call_refused(&c, "\"block\"");
    c.how.mechanism = "block-topk";
    fv_block_mask *mask;
    assert_int_equal(fv_block_mask_create(&mask, patches, NULL, 1, 1, 8, 8), FV_OK);
    c.how.blocks = mask, call_refused(&c, "takes no block mask");
    c.how.blocks = NULL;
    call_give(&c, FV_BIAS, false, 4, (int64_t[]){1, 1, 8, 8});
    call_refused(&c, "does not take operand \"bias\"");
    fv_block_mask_free(mask), call_free(&c);
}

/* test_keys TEXT...: what holds for every pattern, of these. */
int main(int argc, char **argv) {
    const struct CMUnitTest any[] = {cmocka_unit_test(contract), cmocka_unit_test(causality),
                                     cmocka_unit_test(window_hides), cmocka_unit_test(batches),
                                     cmocka_unit_test(places_and_threads)};
    const struct CMUnitTest ours[] = {cmocka_unit_test(strided_by_hand), cmocka_unit_test(topk_by_hand),
                                      cmocka_unit_test(all_kept),        cmocka_unit_test(strided_as_mask),
                                      cmocka_unit_test(skipped),         cmocka_unit_test(decoding),
                                      cmocka_unit_test(refusals)};
    if (argc > 1) texts = (const char *const *)argv + 1, count_of_texts = argc - 1;
    const int failed = cmocka_run_group_tests(any, NULL, NULL);
    return argc > 1 ? failed : failed + cmocka_run_group_tests(ours, NULL, NULL);
}
