/* Decoding through layers: what new rows get over the caches is what they get in a forward of whole sequences, for
 * every mechanism, in batches of any lengths, after truncation, reset and reordering; what cannot be is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "fovea/nn.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { D = 8, BATCH = 3, LONGEST = 14, MEMORY = 5, STEPS = 6 };

static const int64_t lengths[BATCH] = {11, 6, LONGEST};
/* rows each sequence gets in each forward */
static const int64_t schedule[STEPS][BATCH] = {{4, 2, 7}, {1, 1, 1}, {1, 0, 2}, {1, 1, 1}, {3, 2, 2}, {1, 0, 1}};
static const int32_t memory_cu[BATCH + 1] = {0, 2, 2 + MEMORY, 3 + MEMORY};
static const fv_sequences memory_sequences = {BATCH, memory_cu};

static float input[BATCH][LONGEST * D], memory[(3 + MEMORY) * D];

/* ---- a small decoder: positions, block, cross-attention, block */

typedef struct decoder {
    fv_params *params;
    fv_graph *g;
    fv_layer *positions, *block[2], *cross;
    fv_layer_caches *caches;
} decoder;

static void make_decoder(decoder *m, const fv_block_options *block, const char *positions) {
    fv_multi_head_options cross = {.d_model = D, .heads = 2, .kv_heads = 1};
    for (int n = 0; n < BATCH; n++)
        for (int i = 0; i < LONGEST * D; i++) input[n][i] = (float)fv__random_normal(4, (uint64_t)n, (uint64_t)i);
    for (int i = 0; i < (3 + MEMORY) * D; i++) memory[i] = (float)fv__random_normal(5, 0, (uint64_t)i);
    *m = (decoder){.caches = NULL};
    assert_int_equal(fv_params_create(&m->params, FV_F32, 7), FV_OK);
    fv_positions_options p = {.d_model = D, .max_length = LONGEST, .positions = positions};
    assert_int_equal(fv_layer_positions(&m->positions, m->params, "positions", &p), FV_OK);
    for (int i = 0; i < 2; i++)
        if (fv_layer_block(&m->block[i], m->params, i ? "block1" : "block0", block) != FV_OK)
            fail_msg("%s", fv_message());
    assert_int_equal(fv_layer_cross_attention(&m->cross, m->params, "cross", &cross), FV_OK);
    assert_int_equal(fv_graph_create(&m->g, m->params), FV_OK);
}

static void free_decoder(decoder *m) {
    fv_graph_free(m->g);
    fv_params_free(m->params);
    fv_layer_caches_free(m->caches);
}

static fv_node *run(const decoder *m, fv_flow flow) {
    flow.x = fv_layer_forward(m->positions, m->g, &flow);
    flow.x = fv_layer_forward(m->block[0], m->g, &flow);
    flow.x = fv_op_add(m->g, flow.x, fv_layer_forward(m->cross, m->g, &flow));
    return fv_layer_forward(m->block[1], m->g, &flow);
}

/* Rows [first[n], first[n] + count[n]) of every sequence. */
static fv_tensor rows(float *packed, int32_t *cu, const int64_t *first, const int64_t *count) {
    cu[0] = 0;
    for (int n = 0; n < BATCH; n++) {
        memcpy(packed + cu[n] * D, input[n] + first[n] * D, (size_t)(count[n] * D) * sizeof(float));
        cu[n + 1] = cu[n] + (int32_t)count[n];
    }
    return fv_tensor_2d(packed, FV_F32, cu[BATCH], D);
}

/* One forward; `out` gets the rows, packed. */
static fv_status forward(const decoder *m, const int64_t *first, const int64_t *count, bool cached, bool with_memory,
                         float *out) {
    float packed[BATCH * LONGEST * D];
    int32_t cu[BATCH + 1];
    fv_tensor x = rows(packed, cu, first, count), keep = fv_tensor_2d(memory, FV_F32, memory_cu[BATCH], D);
    fv_sequences s = {BATCH, cu};
    fv_graph_begin(m->g, FV_MODE_INFER, 0);
    fv_flow flow = {.x = fv_op_constant(m->g, &x), .sequences = &s, .caches = cached ? m->caches : NULL};
    if (with_memory) flow.memory = fv_op_constant(m->g, &keep), flow.memory_sequences = &memory_sequences;
    fv_tensor y = fv_node_value(run(m, flow));
    fv_tensor to = fv_tensor_2d(out, FV_F32, cu[BATCH], D);
    if (fv_graph_status(m->g) == FV_OK) fv_tensor_copy(&to, &y);
    return fv_graph_status(m->g);
}

static float whole[BATCH][LONGEST * D];

static void forward_whole(const decoder *m) {
    float out[BATCH * LONGEST * D], *at = out;
    static const int64_t zero[BATCH] = {0};
    if (forward(m, zero, lengths, false, true, out) != FV_OK) fail_msg("%s", fv_message());
    for (int n = 0; n < BATCH; at += lengths[n++] * D) memcpy(whole[n], at, (size_t)(lengths[n] * D) * sizeof(float));
}

static void same_rows(const char *what, const float *out, const int64_t *first, const int64_t *count) {
    for (int n = 0; n < BATCH; n++)
        for (int64_t i = 0; i < count[n] * D; i++, out++) {
            float wanted = whole[n][first[n] * D + i];
            if (!(fabsf(*out - wanted) <= 2e-5F * (1 + fabsf(wanted))))
                fail_msg("%s: sequence %d, row %d: %.8g, in the whole %.8g", what, n, (int)(first[n] + i / D),
                         (double)*out, (double)wanted);
        }
}

static void open_caches(decoder *m, fv_cache_options keep) {
    keep.batch = BATCH;
    if (!keep.capacity && !keep.pages) keep.capacity = LONGEST;
    if (fv_layer_caches_create(&m->caches, &keep) != FV_OK) fail_msg("%s", fv_message());
}

/* Prefill, steps of one row, steps of several, sequences that rest: all as in the whole. */
static void decodes(const char *what, const fv_block_options *block, const char *positions, fv_cache_options keep) {
    decoder m;
    int64_t first[BATCH] = {0};
    float out[BATCH * LONGEST * D];
    make_decoder(&m, block, positions);
    open_caches(&m, keep);
    forward_whole(&m);
    for (int step = 0; step < STEPS; step++) {
        if (forward(&m, first, schedule[step], true, step == 0, out) != FV_OK) fail_msg("%s: %s", what, fv_message());
        same_rows(what, out, first, schedule[step]);
        for (int n = 0; n < BATCH; n++) {
            first[n] += schedule[step][n];
            assert_int_equal(fv_layer_caches_length(m.caches, n), first[n]);
        }
    }
    for (int n = 0; n < BATCH; n++) assert_int_equal(first[n], lengths[n]);
    free_decoder(&m);
}

static const fv_block_options causal = {.d_model = D, .heads = 2, .d_ff = 12, .attention.causal = FV_CAUSAL_UPPER_LEFT};

static void softmax_with_everything(void **state) {
    (void)state;
    fv_block_options o = causal;
    decodes("none", &o, "none", (fv_cache_options){0});
    decodes("learned", &o, "learned", (fv_cache_options){0});
    decodes("sinusoidal", &o, "sinusoidal", (fv_cache_options){0});
    o.positions = "rope";
    decodes("rope", &o, "none", (fv_cache_options){0});
    decodes("rope, pages", &o, "none", (fv_cache_options){.kind = FV_CACHE_PAGED, .page_rows = 16, .pages = 5});
    o.positions = "rope-pairs", o.sinks = true, o.heads = 4, o.kv_heads = 2;
    decodes("rope-pairs, sinks, fewer kv heads", &o, "learned", (fv_cache_options){0});
    o.positions = "alibi", o.attention.softcap = 3, o.order = "post", o.no_bias = true;
    decodes("alibi, softcap, post", &o, "none", (fv_cache_options){0});
    o = causal, o.attention.window = FV_WINDOW(3, -1), o.positions = "rope";
    decodes("window", &o, "none", (fv_cache_options){0});
    decodes("window, ring", &o, "none", (fv_cache_options){.kind = FV_CACHE_RING, .capacity = 12});
}

/* Decays and write strengths come from elsewhere. */
static bool layer_makes(const fv_mechanism *m) {
    return !(m->needs & (FV_OPERAND_BIT(FV_LOG_DECAY) | FV_OPERAND_BIT(FV_BETA)));
}

/* Calls fn for every example of every causal mechanism of the table that decodes or goes on from a state; the others
 * are refused below. Returns how many. */
static int each_mechanism(void (*fn)(const fv_block_options *o)) {
    int called = 0;
    for (size_t i = 0; i < fv_mechanism_count(); i++) {
        const fv_mechanism *mechanism = fv_mechanism_at(i);
        fv_block_options o = causal;
        const bool state = mechanism->takes & FV_OPERAND_BIT(FV_STATE);
        if (!(mechanism->can & FV_CAN_CAUSAL) || !(state || mechanism->can & FV_CAN_DECODE)) continue;
        if (!layer_makes(mechanism)) continue;
        for (int e = 0; e < 4 && mechanism->examples[e]; e++, called++) {
            o.attention.mechanism = mechanism->examples[e];
            fn(&o);
        }
    }
    return called;
}

static void decodes_as_whole(const fv_block_options *o) {
    fv_block_options fewer = *o;
    decodes(o->attention.mechanism, o, "learned", (fv_cache_options){0});
    fewer.heads = 4, fewer.kv_heads = 2, fewer.positions = "rope";
    decodes(o->attention.mechanism, &fewer, "none",
            (fv_cache_options){.kind = FV_CACHE_PAGED, .page_rows = 16, .pages = 5});
}

static void every_mechanism(void **state) {
    (void)state;
    assert_true(each_mechanism(decodes_as_whole) >= 20);
}

/* A clone and what it was made of go apart; a sequence that is copied or reordered goes on as its origin. */
static void goes_on_after_clone_and_reorder(const fv_block_options *o) {
    static const int64_t zero[BATCH] = {0}, five[BATCH] = {5, 5, 5}, one[BATCH] = {1, 1, 1}, parent[BATCH] = {2, 0, 2};
    const char *what = o->attention.mechanism;
    decoder m;
    float out[BATCH * LONGEST * D], other[BATCH * D];
    fv_layer_caches *kept;
    make_decoder(&m, o, "learned");
    open_caches(&m, (fv_cache_options){0});
    forward_whole(&m);
    if (forward(&m, zero, five, true, true, out) != FV_OK) fail_msg("%s: %s", what, fv_message());
    if (fv_layer_caches_clone(&kept, m.caches) != FV_OK) fail_msg("%s: %s", what, fv_message());
    assert_int_equal(fv_layer_caches_bytes(kept), fv_layer_caches_bytes(m.caches));
    assert_true(fv_layer_caches_bytes(kept) > 0);
    assert_int_equal(forward(&m, zero, one, true, false, other), FV_OK); /* other rows than those that follow */
    fv_layer_caches_free(m.caches);
    m.caches = kept;
    assert_int_equal(forward(&m, five, one, true, false, out), FV_OK);
    same_rows(what, out, five, one);
    assert_int_equal(fv_layer_caches_length(m.caches, 1), 6);
    fv_layer_caches *beams;
    fv_cache_options keep = {.batch = BATCH, .capacity = LONGEST};
    assert_int_equal(fv_layer_caches_create(&beams, &keep), FV_OK);
    for (int b = 0; b < BATCH; b++) assert_int_equal(fv_layer_caches_copy(beams, b, m.caches, b), FV_OK);
    assert_int_equal(fv_layer_caches_copy(beams, BATCH, m.caches, 0), FV_USAGE);
    fv_layer_caches_free(m.caches);
    m.caches = beams;
    if (fv_layer_caches_reorder(m.caches, parent, BATCH) != FV_OK) fail_msg("%s", fv_message());
    static float kept_input[BATCH][LONGEST * D];
    static const int64_t six[BATCH] = {6, 6, 6};
    memcpy(kept_input, input, sizeof input);
    for (int n = 0; n < BATCH; n++) memcpy(input[n] + 6 * D, kept_input[parent[n]] + 6 * D, D * sizeof(float));
    static const int64_t grown[BATCH] = {1, 0, 1}; /* parents with a seventh row */
    assert_int_equal(forward(&m, six, grown, true, false, out), FV_OK);
    for (int n = 0, at = 0; n < BATCH; at += (int)grown[n++])
        for (int c = 0; c < D * grown[n]; c++)
            if (!(fabsf(out[at * D + c] - whole[parent[n]][6 * D + c]) <= 2e-5F * (1 + fabsf(out[at * D + c]))))
                fail_msg("%s: beam %d: %g, alone %g", what, n, (double)out[at * D + c],
                         (double)whole[parent[n]][6 * D + c]);
    free_decoder(&m);
}

static void clones_and_beams_of_every_mechanism(void **state) {
    (void)state;
    assert_true(each_mechanism(goes_on_after_clone_and_reorder) >= 20);
}

/* A state takes as much memory after any number of rows, and cannot forget some of them. */
static void states_do_not_grow(void **state) {
    (void)state;
    static const int64_t zero[BATCH] = {0}, five[BATCH] = {5, 5, 5}, three[BATCH] = {3, 3, 3};
    static const char *const texts[] = {"linear", "retention"};
    for (int i = 0; i < 2; i++) {
        decoder m;
        float out[BATCH * LONGEST * D];
        fv_block_options o = causal;
        o.attention.mechanism = texts[i];
        make_decoder(&m, &o, "learned");
        open_caches(&m, (fv_cache_options){0});
        forward_whole(&m);
        assert_int_equal(forward(&m, zero, five, true, true, out), FV_OK);
        const size_t bytes = fv_layer_caches_bytes(m.caches);
        assert_int_equal(fv_layer_caches_truncate(m.caches, 0, 3), FV_USAGE);
        assert_non_null(strstr(fv_message(), "block1.attention is a recurrence"));
        for (int b = 0; b < BATCH; b++) assert_int_equal(fv_layer_caches_truncate(m.caches, b, 5), FV_OK);
        for (int b = 0; b < BATCH; b++) assert_int_equal(fv_layer_caches_truncate(m.caches, b, 0), FV_OK);
        assert_int_equal(forward(&m, zero, three, true, false, out), FV_OK);
        same_rows("from the start again", out, zero, three);
        assert_int_equal(fv_layer_caches_bytes(m.caches), bytes);
        free_decoder(&m);
    }
}

/* ---- beams */

/* After a reorder every sequence goes on as its parent would have, memory included. */
static void beams(void **state) {
    (void)state;
    static const int64_t parent[BATCH] = {2, 0, 2}, five[BATCH] = {5, 5, 5}, zero[BATCH] = {0}, one[BATCH] = {1, 1, 1};
    for (int pages = 0; pages < 2; pages++) {
        decoder m;
        float out[BATCH * LONGEST * D], next[BATCH][D];
        fv_block_options o = causal;
        o.positions = "rope";
        make_decoder(&m, &o, "learned");
        open_caches(&m, pages ? (fv_cache_options){.kind = FV_CACHE_PAGED, .page_rows = 16, .pages = 6}
                              : (fv_cache_options){0});
        forward_whole(&m);
        assert_int_equal(forward(&m, zero, five, true, true, out), FV_OK);
        if (fv_layer_caches_reorder(m.caches, parent, BATCH) != FV_OK) fail_msg("%s", fv_message());
        /* each beam gets the next row of its parent */
        for (int n = 0; n < BATCH; n++) memcpy(next[n], input[parent[n]] + 5 * D, sizeof next[n]);
        for (int n = 0; n < BATCH; n++) memcpy(input[n] + 5 * D, next[n], sizeof next[n]);
        assert_int_equal(forward(&m, five, one, true, false, out), FV_OK);
        for (int n = 0; n < BATCH; n++)
            for (int c = 0; c < D; c++)
                if (fabsf(out[n * D + c] - whole[parent[n]][5 * D + c]) > 2e-5F)
                    fail_msg("beam %d of parent %d: %g, alone %g", n, (int)parent[n], (double)out[n * D + c],
                             (double)whole[parent[n]][5 * D + c]);
        assert_int_equal(fv_layer_caches_reorder(m.caches, (const int64_t[]){0, BATCH, 1}, BATCH), FV_USAGE);
        assert_int_equal(fv_layer_caches_reorder(m.caches, parent, BATCH + 1), FV_USAGE);
        free_decoder(&m);
    }
}

/* ---- forgetting */

static void truncation_and_reset(void **state) {
    (void)state;
    static const int64_t zero[BATCH] = {0}, some[BATCH] = {6, 4, 8}, less[BATCH] = {3, 4, 8}, more[BATCH] = {3, 1, 2};
    decoder m;
    float out[BATCH * LONGEST * D];
    fv_block_options o = causal;
    o.positions = "rope";
    make_decoder(&m, &o, "learned");
    open_caches(&m, (fv_cache_options){0});
    forward_whole(&m);
    assert_int_equal(forward(&m, zero, some, true, true, out), FV_OK);
    assert_int_equal(fv_layer_caches_truncate(m.caches, 0, 3), FV_OK); /* rejected guesses; the memory stays */
    assert_int_equal(fv_layer_caches_truncate(m.caches, 1, 100), FV_OK);
    assert_int_equal(forward(&m, less, more, true, false, out), FV_OK);
    same_rows("truncated", out, less, more);
    /* sequence 1 starts anew and needs its memory again; the others go on */
    static const int64_t again[BATCH] = {6, 0, 10}, count[BATCH] = {1, 3, 1};
    assert_int_equal(fv_layer_caches_reset(m.caches, 1), FV_OK);
    assert_int_equal(forward(&m, again, count, true, false, out), FV_USAGE);
    assert_non_null(strstr(fv_message(), "flow.memory"));
    for (int n = 0; n < BATCH; n++) assert_int_equal(fv_layer_caches_truncate(m.caches, n, again[n]), FV_OK);
    assert_int_equal(forward(&m, again, count, true, true, out), FV_OK);
    same_rows("reset", out, again, count);
    assert_int_equal(fv_layer_caches_truncate(m.caches, BATCH, 0), FV_USAGE);
    assert_int_equal(fv_layer_caches_truncate(m.caches, 0, -1), FV_USAGE);
    assert_int_equal(fv_layer_caches_reset(m.caches, -2), FV_USAGE);
    assert_int_equal(fv_layer_caches_reset(m.caches, -1), FV_OK);
    for (int n = 0; n < BATCH; n++) assert_int_equal(fv_layer_caches_length(m.caches, n), 0);
    assert_int_equal(forward(&m, zero, some, true, true, out), FV_OK);
    same_rows("anew", out, zero, some);
    free_decoder(&m);
}

/* ---- refusals */

static void refused(fv_block_options o, fv_mode mode, int64_t batch, int64_t capacity, fv_status wanted,
                    const char *part) {
    decoder m;
    fv_cache_options keep = {.batch = batch, .capacity = capacity};
    make_decoder(&m, &o, "none");
    assert_int_equal(fv_layer_caches_create(&m.caches, &keep), FV_OK);
    fv_tensor x = fv_tensor_2d(input, FV_F32, 4, D);
    fv_graph_begin(m.g, mode, 0);
    fv_flow flow = {.x = fv_op_constant(m.g, &x), .caches = m.caches};
    fv_layer_forward(m.block[0], m.g, &flow);
    assert_int_equal(fv_graph_status(m.g), wanted);
    if (!strstr(fv_message(), part) || !strstr(fv_message(), "layer block0.attention"))
        fail_msg("the message does not say \"%s\" and the layer: %s", part, fv_message());
    free_decoder(&m);
}

static void refusals(void **state) {
    (void)state;
    fv_block_options o = causal;
    refused(o, FV_MODE_TRAIN, 1, 8, FV_USAGE, "FV_MODE_INFER");
    refused(o, FV_MODE_INFER, 2, 8, FV_USAGE, "expected 2");
    refused(o, FV_MODE_INFER, 1, 3, FV_NO_RESOURCES, "capacity");
    o.attention.causal = FV_CAUSAL_NONE;
    refused(o, FV_MODE_INFER, 1, 8, FV_USAGE, "not causal");
    o.attention.mechanism = "spatial_gate";
    refused(o, FV_MODE_INFER, 1, 8, FV_USAGE, "without caches");
    o.attention.causal = FV_CAUSAL_UPPER_LEFT, o.attention.mechanism = "block-topk:k=1,block=4";
    refused(o, FV_MODE_INFER, 1, 8, FV_USAGE, "a mechanism that can decode");
    o.attention.mechanism = "linear", o.attention.causal = FV_CAUSAL_NONE;
    refused(o, FV_MODE_INFER, 1, 8, FV_USAGE, "not causal");
    fv_layer_caches *caches;
    assert_int_equal(fv_layer_caches_create(&caches, &(fv_cache_options){.batch = 2}), FV_USAGE); /* no capacity */
    assert_null(caches);
    fv_layer_caches_free(NULL);
}

/* Each allocation of making caches and two forwards fails once: the status says so, and after a reset the same caches
 * give the right rows. */
static void every_allocation_fails_once(void **state) {
    (void)state;
    static const int64_t zero[BATCH] = {0};
    fv_block_options o = causal;
    o.positions = "rope";
    static const char *const texts[] = {"softmax", "topk:k=3", "linear"}; /* in place, copied out, a state */
    for (int kind = 0; kind < 3; kind++) {
        int failures = 0;
        o.attention.mechanism = texts[kind];
        for (int64_t nth = 1;; nth++) {
            decoder m;
            float out[BATCH * LONGEST * D];
            fv_cache_options keep = {.batch = BATCH, .capacity = LONGEST};
            make_decoder(&m, &o, "learned");
            fv__inject(FV_FAULT_ALLOC, nth, false);
            fv_status status = fv_layer_caches_create(&m.caches, &keep);
            if (status == FV_OK) status = forward(&m, zero, schedule[0], true, true, out);
            if (status == FV_OK) status = forward(&m, schedule[0], schedule[1], true, false, out);
            fv__inject(FV_FAULT_ALLOC, 0, false);
            assert_true(m.caches || status != FV_OK);
            if (m.caches) {
                forward_whole(&m);
                assert_int_equal(fv_layer_caches_reset(m.caches, -1), FV_OK);
                if (forward(&m, zero, schedule[0], true, true, out) != FV_OK) fail_msg("%s", fv_message());
                same_rows("after a failure", out, zero, schedule[0]);
            }
            free_decoder(&m);
            if (status == FV_OK) break;
            assert_int_equal(status, FV_NO_RESOURCES);
            failures++;
        }
        assert_true(failures > 15);
    }
}

int main(void) {
    fv_set_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_with_everything),
        cmocka_unit_test(every_mechanism),
        cmocka_unit_test(clones_and_beams_of_every_mechanism),
        cmocka_unit_test(states_do_not_grow),
        cmocka_unit_test(beams),
        cmocka_unit_test(truncation_and_reset),
        cmocka_unit_test(refusals),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
