/* Parts of neural kinds, see network.h. */
#include "model/network.h"

#include "grad/graph.h"

#include <string.h>

enum { STREAM_WORD_DROPOUT = 0x776f7264 }; /* its own stream of random numbers */

/* ---- running */

fv_status fv__run_create(fv__run *run, const fv_model *model) {
    memset(run, 0, sizeof *run);
    run->model = model;
    return fv_graph_create(&run->graph, model->params);
}

void fv__run_free(fv__run *run) {
    fv_graph_free(run->graph);
    fv__free(run->offset);
    fv__free(run->id);
    fv__free(run->wanted);
    memset(run, 0, sizeof *run);
}

void fv__run_begin(fv__run *run, fv_mode mode, uint64_t seed) {
    run->seed = seed;
    fv_graph_begin(run->graph, mode, seed);
}

/* ---- making */

void *fv__network_new(fv_model *model, size_t size) { return model->network = fv__alloc(size); }

static fv_status make_table(fv_layer **layer, fv_model *model, const char *name, int64_t rows, bool frozen) {
    fv_embedding_options o;
    fv_options_init(fv_embedding_rows(), &o);
    o.vocabulary = rows, o.d_model = model->options.d_model, o.frozen = frozen;
    o.scaled =
        model->options.positions && strcmp(model->options.positions, "sinusoidal") == 0; /* or the waves drown it */
    return fv_layer_embedding(layer, model->params, name, &o);
}

fv_status fv__make_embeddings(fv__embeddings *e, fv_model *model) {
    int64_t bits = model->options.ngrams.ngram_bits;
    bool frozen = model->options.freeze_vectors;
    FV_TRY(make_table(&e->words, model, "embed", model->sizes.vocabulary, frozen));
    model->embed_table = fv_params_find(model->params, "embed.weight");
    if (bits == 0) return FV_OK;
    return make_table(&e->ngrams, model, "ngrams", (int64_t)1 << bits, false);
}

fv_status fv__make_linear(fv_layer **layer, fv_model *model, const char *name, int64_t in, int64_t out) {
    fv_linear_options o;
    fv_options_init(fv_linear_rows(), &o);
    o.in = in, o.out = out;
    return fv_layer_linear(layer, model->params, name, &o);
}

fv_status fv__make_pooling(fv_layer **layer, fv_model *model) {
    fv_pooling_options o;
    fv_options_init(fv_pooling_rows(), &o);
    o.d_model = model->options.d_model;
    o.pooling = strcmp(model->options.pooling, "cls") == 0 ? "first" : model->options.pooling;
    return fv_layer_pooling(layer, model->params, "pool", &o);
}

/* Asking for a shape is the cheapest question that reads the whole text of a mechanism. */
static fv_status check_mechanism(const char *text) {
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    fv_attention_tensors x = {.t = {[FV_Q] = fv_bhld(NULL, FV_F32, 1, 1, 1, 1)}};
    fv_tensor shape;
    how.mechanism = text;
    return fv_attention_operand_shape(&how, &x, FV_OUT, &shape);
}

fv_status fv__check_attention(const fv_model_options *options) {
    if (options->d_model % options->heads == 0) return check_mechanism(options->mechanism);
    return fv__fail(FV_USAGE, "heads must divide d_model\n  found:   heads %lld, d_model %lld",
                    (long long)options->heads, (long long)options->d_model);
}

fv_status fv__check_ngrams(const fv_model_options *options) {
    const fv_ngram_options *n = &options->ngrams;
    if (n->ngram_min <= n->ngram_max) return FV_OK;
    return fv__fail(FV_USAGE, "ngram-min is larger than ngram-max\n  found:   %lld and %lld", (long long)n->ngram_min,
                    (long long)n->ngram_max);
}

/* ---- the input */

/* Words are dropped by (step, token), so a resumed run drops the same. [CLS] stays: it carries the answer. A
 * tokenizer from elsewhere may lack [UNK]: then there is nothing to put in the place of a word. */
static bool drops(const fv__run *run, const fv_batch *batch, int32_t token) {
    double share = run->model->options.word_dropout;
    fv_special special = fv_tokenizer_special(run->model->tokenizer);
    if (share == 0 || special.unk < 0 || fv_graph_mode(run->graph) != FV_MODE_TRAIN) return false;
    return batch->id[token] != special.cls &&
           fv__random_uniform(run->seed, STREAM_WORD_DROPOUT, (uint64_t)token) < share;
}

/* Which rows of the table move in a step does not depend on chance: a word that was dropped does, and so does the
 * unknown word that stands for it. */
static fv_status touch_words(const fv__run *run, const fv_batch *batch, int32_t unknown) {
    int table = run->model->embed_table;
    if (fv_graph_mode(run->graph) != FV_MODE_TRAIN) return FV_OK;
    FV_TRY(fv__params_touch(run->model->params, table, batch->id, batch->tokens));
    return fv__params_touch(run->model->params, table, &unknown, unknown >= 0);
}

static fv_node *embed_words(fv_layer *words, fv__run *run, const fv_batch *batch) {
    int32_t unknown = fv_tokenizer_special(run->model->tokenizer).unk;
    fv_status status = FV_GROW(&run->id, &run->id_capacity, (size_t)batch->tokens + 1);
    if (status != FV_OK) return fv_graph_failed(run->graph, status);
    for (int32_t i = 0; i < batch->tokens; i++) run->id[i] = drops(run, batch, i) ? unknown : batch->id[i];
    status = touch_words(run, batch, unknown);
    if (status != FV_OK) return fv_graph_failed(run->graph, status);
    return fv_layer_embed(words, run->graph, run->id, batch->tokens);
}

/* The n-grams of a dropped word stay: they teach the model to do with half of what it knows about a word. */
static fv_node *embed_ngrams(fv_layer *ngrams, fv__run *run, const fv_batch *batch) {
    fv_status status = FV_GROW(&run->offset, &run->offset_capacity, (size_t)batch->tokens + 1);
    if (status != FV_OK) return fv_graph_failed(run->graph, status);
    for (int32_t i = 0; i <= batch->tokens; i++) run->offset[i] = batch->cu_bags[i];
    return fv_layer_embed_bags(ngrams, run->graph, batch->bag, run->offset, batch->tokens, FV_BAG_MEAN);
}

fv_node *fv__embed(const fv__embeddings *e, fv__run *run, const fv_batch *batch) {
    fv_node *x = embed_words(e->words, run, batch);
    return e->ngrams ? fv_op_add(run->graph, x, embed_ngrams(e->ngrams, run, batch)) : x;
}
