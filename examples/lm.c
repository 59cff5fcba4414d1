/* A language model of letters: learns the lines below, saves what it learnt, loads it into another, which writes on.
 *     cc lm.c $(pkg-config --cflags --libs fovea) && ./a.out */
#include <fovea/fovea.h>
#include <stdio.h>
#include <stdlib.h>

enum { LETTERS = 128, WIDTH = 64, LAYERS = 5, BATCH = 4, LENGTH = 96, ROWS = BATCH * LENGTH, STEPS = 250, PROMPT = 8 };
static const char text[] =
    "A query asks every key how near it stands. The answers, made to sum to one, say how much of\n"
    "each value comes along; so a letter that looks behind it learns which one is next to come.\n";

typedef struct lm {
    fv_params *params;
    fv_graph *graph;
    fv_layer *layer[LAYERS];
} lm;

static void check(fv_status status) {
    if (status != FV_OK) fprintf(stderr, "lm: %s\n", fv_message()), exit(status);
}

static lm lm_create(uint64_t seed) {
    fv_block_options o = {.d_model = WIDTH, .heads = 4, .positions = "rope", .attention.causal = FV_CAUSAL_UPPER_LEFT};
    lm m;
    check(fv_params_create(&m.params, FV_F32, seed));
    check(fv_graph_create(&m.graph, m.params));
    check(fv_layer_embedding(&m.layer[0], m.params, "embed", &(fv_embedding_options){LETTERS, .d_model = WIDTH}));
    for (int i = 1; i <= 2; i++) check(fv_layer_block(&m.layer[i], m.params, i == 1 ? "block0" : "block1", &o));
    check(fv_layer_norm(&m.layer[3], m.params, "norm", &(fv_norm_options){.d_model = WIDTH}));
    check(fv_layer_linear(&m.layer[4], m.params, "out", &(fv_linear_options){WIDTH, .out = LETTERS}));
    return m;
}

static fv_node *logits_of(const lm *m, const int32_t *letter, int64_t count, fv_flow flow, uint64_t step) {
    fv_graph_begin(m->graph, step ? FV_MODE_TRAIN : FV_MODE_INFER, step);
    flow.x = fv_layer_embed(m->layer[0], m->graph, letter, count);
    for (int i = 1; i < LAYERS; i++) flow.x = fv_layer_forward(m->layer[i], m->graph, &flow);
    return flow.x;
}

static void train(const lm *m, fv_optimizer *optimizer) {
    const fv_schedule schedule = {FV_SCHEDULE_COSINE, .warmup = 20, .total = STEPS};
    int32_t letter[ROWS], next[ROWS], cu[BATCH + 1] = {0};
    for (uint64_t step = 1; step <= STEPS; step++) {
        for (int64_t row = 0, at = 0; row < ROWS; row++, at++) {
            if (row % LENGTH == 0) at = fv_random_integer(1, step, (uint64_t)row, sizeof text - 1 - LENGTH);
            letter[row] = text[at], next[row] = text[at + 1], cu[row / LENGTH + 1] = (int32_t)row + 1;
        }
        fv_node *logits = logits_of(m, letter, ROWS, (fv_flow){.sequences = &(fv_sequences){BATCH, cu}}, step);
        fv_node *loss = fv_op_cross_entropy(m->graph, logits, &(fv_targets){.labels = next});
        check(fv_graph_backward(m->graph, loss, NULL));
        if (step % 50 == 0) printf("step %d: loss %.3f\n", (int)step, fv_node_scalar(loss));
        fv_clip_grad_norm(optimizer, 1);
        fv_optimizer_set_learning_rate(optimizer, 3e-3 * fv_schedule_at(&schedule, (double)step));
        check(fv_optimizer_step(optimizer));
        fv_optimizer_zero_grads(optimizer);
    }
}

/* The likeliest letter after all before it, of which the caches hold what is needed. */
static int32_t next_letter(const lm *m, fv_layer_caches *caches, int32_t letter) {
    const float *logit = fv_node_value(logits_of(m, &letter, 1, (fv_flow){.caches = caches}, 0)).data;
    check(fv_graph_status(m->graph));
    int32_t best = 0;
    for (int32_t c = 1; c < LETTERS; c++) best = logit[c] > logit[best] ? c : best;
    return best;
}

int main(void) {
    const lm learner = lm_create(1), writer = lm_create(2);
    fv_optimizer *optimizer;
    fv_layer_caches *caches;
    check(fv_optimizer_create(&optimizer, learner.params, NULL)); /* AdamW */
    train(&learner, optimizer);
    check(fv_params_save(learner.params, "lm.safetensors"));
    check(fv_params_load(writer.params, "lm.safetensors"));
    check(fv_layer_caches_create(&caches, &(fv_cache_options){.batch = 1, .capacity = LENGTH}));
    for (int32_t n = 0, letter = 0; n < LENGTH; letter = next_letter(&writer, caches, letter), n++)
        putchar(letter = n < PROMPT ? text[n] : letter);
}
