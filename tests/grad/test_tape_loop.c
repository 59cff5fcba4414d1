/* A training loop on the tape: nothing is allocated after the first step, the bits do not depend on the number of
 * threads, it learns, and every allocation may fail. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "fovea/nn.h"

#include <math.h>
#include <string.h>

enum {
    VOCABULARY = 300,
    NGRAMS = 512,
    WIDTH = 64,
    HEADS = 4,
    CLASSES = 5,
    SEQUENCES = 24,
    MAX_TOKENS = SEQUENCES * 40
};

typedef struct model {
    fv_params *params;
    fv_graph *g;
    fv_layer *words, *ngrams, *positions, *block[2], *norm, *pool, *out;
} model;

/* One batch: a word of its class stands somewhere in each sequence. */
typedef struct batch {
    int32_t cu[SEQUENCES + 1], ids[MAX_TOKENS], parts[3 * MAX_TOKENS], labels[SEQUENCES];
    int64_t offsets[MAX_TOKENS + 1];
} batch;

static void fill(batch *b, uint64_t seed, bool same_lengths) {
    b->cu[0] = 0;
    for (int n = 0; n < SEQUENCES; n++) {
        int32_t length = same_lengths ? 30 : 1 + (int32_t)fv__random_below(seed, 1, (uint64_t)n, 40);
        b->cu[n + 1] = b->cu[n] + length;
        b->labels[n] = (int32_t)fv__random_below(seed, 2, (uint64_t)n, CLASSES);
        for (int32_t t = b->cu[n]; t < b->cu[n + 1]; t++)
            b->ids[t] = CLASSES + (int32_t)fv__random_below(seed, 3, (uint64_t)t, VOCABULARY - CLASSES);
        b->ids[b->cu[n] + (int32_t)fv__random_below(seed, 4, (uint64_t)n, length)] = b->labels[n];
    }
    b->offsets[0] = 0;
    for (int32_t t = 0; t < b->cu[SEQUENCES]; t++) {
        b->offsets[t + 1] = b->offsets[t] + t % 4; /* none to three parts */
        for (int64_t i = b->offsets[t]; i < b->offsets[t + 1]; i++)
            b->parts[i] = (int32_t)fv__random_below(seed, 5, (uint64_t)i, NGRAMS);
    }
}

static fv_status make(model *m) {
    fv_block_options block;
    memset(m, 0, sizeof *m);
    fv_options_init(fv_block_rows(), &block);
    block.d_model = WIDTH;
    block.heads = HEADS;
    block.dropout = 0.1;
    block.attention.dropout = 0.1;
    FV_TRY(fv_params_create(&m->params, FV_F32, 4));
    FV_TRY(fv_layer_embedding(&m->words, m->params, "words",
                              &(fv_embedding_options){.vocabulary = VOCABULARY, .d_model = WIDTH}));
    FV_TRY(fv_layer_embedding(&m->ngrams, m->params, "grams",
                              &(fv_embedding_options){.vocabulary = NGRAMS, .d_model = WIDTH}));
    FV_TRY(fv_layer_positions(&m->positions, m->params, "positions",
                              &(fv_positions_options){.d_model = WIDTH, .max_length = 40, .positions = "learned"}));
    FV_TRY(fv_layer_block(&m->block[0], m->params, "block0", &block));
    block.positions = "rope";
    block.norm = "rms";
    block.activation = "swiglu";
    block.kv_heads = 2;
    FV_TRY(fv_layer_block(&m->block[1], m->params, "block1", &block));
    FV_TRY(fv_layer_norm(&m->norm, m->params, "norm", &(fv_norm_options){.d_model = WIDTH}));
    FV_TRY(fv_layer_pooling(&m->pool, m->params, "pool",
                            &(fv_pooling_options){.d_model = WIDTH, .pooling = "mean+attention"}));
    FV_TRY(fv_layer_linear(&m->out, m->params, "out", &(fv_linear_options){.in = 2 * WIDTH, .out = CLASSES}));
    return fv_graph_create(&m->g, m->params);
}

static void drop(model *m) {
    fv_graph_free(m->g);
    fv_params_free(m->params);
}

/* Forward, backward, one plain gradient step. */
static fv_status step(model *m, const batch *b, uint64_t seed, double *loss) {
    fv_graph *g = m->g;
    int64_t tokens = b->cu[SEQUENCES];
    fv_sequences s = {SEQUENCES, b->cu};
    fv_graph_begin(g, FV_MODE_TRAIN, seed);
    fv_node *x = fv_op_add(g, fv_layer_embed(m->words, g, b->ids, tokens),
                           fv_layer_embed_bags(m->ngrams, g, b->parts, b->offsets, tokens, FV_BAG_MEAN));
    x = fv_layer_apply(m->positions, g, x, &s);
    for (int i = 0; i < 2; i++) x = fv_layer_apply(m->block[i], g, x, &s);
    x = fv_layer_apply(m->pool, g, fv_layer_apply(m->norm, g, x, &s), &s);
    x = fv_layer_apply(m->out, g, x, NULL);
    fv_node *l = fv_op_cross_entropy(g, x, &(fv_targets){.labels = b->labels, .label_smoothing = 0.05});
    FV_TRY(fv_graph_backward(g, l, NULL));
    *loss = fv_node_scalar(l);
    fv_tensor w = fv_params_flat(m->params), d = fv_params_flat_grads(m->params);
    for (int64_t i = 0; i < w.dim[0]; i++) ((float *)w.data)[i] -= 0.3f * ((float *)d.data)[i];
    fv_params_zero_grads(m->params);
    return FV_OK;
}

static void nothing_allocated(void **state) {
    (void)state;
    static batch b;
    model m;
    double loss;
    assert_int_equal(make(&m), FV_OK);
    fill(&b, 1, true);
    assert_int_equal(step(&m, &b, 1, &loss), FV_OK);
    int64_t before = fv__alloc_count();
    for (uint64_t i = 2; i < 6; i++) {
        fill(&b, i, true); /* other texts, the same lengths */
        assert_int_equal(step(&m, &b, i, &loss), FV_OK);
    }
    assert_int_equal(fv__alloc_count(), before);
    drop(&m);
}

/* Every batch of another shape: the arena grows to the largest, then only plans are made. */
static void memory_settles(void **state) {
    (void)state;
    static batch b;
    model m;
    double loss;
    assert_int_equal(make(&m), FV_OK);
    for (uint64_t i = 0; i < 30; i++) {
        fill(&b, i, false);
        assert_int_equal(step(&m, &b, i, &loss), FV_OK);
    }
    size_t peak = fv_graph_peak(m.g);
    for (uint64_t i = 0; i < 30; i++) {
        fill(&b, i, false);
        assert_int_equal(step(&m, &b, i, &loss), FV_OK);
    }
    assert_true(fv_graph_peak(m.g) == peak);
    drop(&m);
}

static void same_bits(void **state) {
    (void)state;
    static batch b;
    float *first = NULL;
    for (int threads = 1; threads <= 4; threads *= 2) {
        model m;
        double loss;
        fv_set_threads(threads);
        assert_int_equal(make(&m), FV_OK);
        for (uint64_t i = 0; i < 3; i++) {
            fill(&b, i, false);
            assert_int_equal(step(&m, &b, i, &loss), FV_OK);
        }
        fv_tensor w = fv_params_flat(m.params);
        size_t bytes = (size_t)w.dim[0] * sizeof *first;
        if (!first) {
            first = fv__alloc(bytes);
            memcpy(first, w.data, bytes);
        } else {
            assert_memory_equal(first, w.data, bytes);
        }
        drop(&m);
    }
    fv__free(first);
    fv_set_threads(1);
}

static void learns(void **state) {
    (void)state;
    static batch b;
    model m;
    double loss = 0, early = 0, late = 0;
    assert_int_equal(make(&m), FV_OK);
    for (uint64_t i = 0; i < 300; i++) {
        fill(&b, i, false);
        assert_int_equal(step(&m, &b, i, &loss), FV_OK);
        if (i < 20) early += loss / 20;
        if (i >= 280) late += loss / 20;
    }
    if (!(early > 1.3 && late < 0.6)) fail_msg("loss %g at first, %g at last", early, late);
    drop(&m);
}

/* Each allocation of two steps fails once: the status says so, nothing leaks (sanitizers), and the graph works
 * again. */
static void every_allocation_fails_once(void **state) {
    (void)state;
    static batch b;
    fill(&b, 1, true);
    int failures = 0;
    for (int64_t nth = 1;; nth++) {
        model m;
        double loss;
        fv__inject(FV_FAULT_ALLOC, nth, false);
        fv_status status = make(&m);
        if (status == FV_OK) status = step(&m, &b, 1, &loss);
        fv__inject(FV_FAULT_ALLOC, 0, false);
        bool works = m.g && m.out && step(&m, &b, 1, &loss) == FV_OK;
        assert_true(works || !m.g);
        drop(&m);
        if (status == FV_OK) break;
        assert_int_equal(status, FV_NO_RESOURCES);
        failures++;
    }
    assert_true(failures > 20);
}

int main(void) {
    fv_set_threads(1); /* same_bits sets its own */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_allocated),
        cmocka_unit_test(memory_settles),
        cmocka_unit_test(same_bits),
        cmocka_unit_test(learns),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
