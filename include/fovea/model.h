/* fovea/model.h - text classifiers: choose a kind, save, load, predict, look inside. Training is in train.h.
 *
 *     fv_model *model;
 *     fv_status status = fv_model_load(&model, "runs/news");
 *     float *probability = malloc(sizeof(float) * texts.count * fv_model_classes(model).count);
 *     status = fv_model_predict(model, texts, probability);
 *     fv_model_free(model);
 *
 * A model is immutable once it is loaded or trained and may be used by many threads at once. A text gets the same
 * probabilities, bit for bit, alone or among others and with any number of threads.
 */
#ifndef FOVEA_MODEL_H
#define FOVEA_MODEL_H

#include "attention.h"
#include "data.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fv_model fv_model;

/* ---- kinds and their options */

/* Every kind reads the fields its own rows name; fv_model_options_init fills them with the defaults of that kind. */
typedef struct fv_model_options {
    const char *kind; /* "bayes", "linear", "bag", "attention", "transformer" */

    /* count-based kinds */
    double alpha;        /* bayes: pseudo-count added to every word of every class */
    double c;            /* linear: inverse strength of the L2 penalty */
    int64_t word_ngrams; /* bayes, linear: longest run of words that is a feature */
    int64_t min_texts;   /* bayes, linear: features of fewer training texts are left out */
    bool sublinear;      /* linear: 1 + log(count) instead of count */

    /* neural kinds: text */
    int64_t max_length;      /* tokens a text; the rest is cut off */
    fv_ngram_options ngrams; /* hashed character n-grams added to the word embeddings; bits 0 = none */
    const char *vectors;     /* file of word vectors that start the embedding; NULL: random */
    bool freeze_vectors;     /* the embedding stays as the vectors are (training only) */

    /* neural kinds: network */
    int64_t d_model, heads, layers, d_ff;
    const char *mechanism;    /* mechanism with its parameters, as in fv_attention_options: "softmax", "topk:k=8" */
    const char *positions;    /* none|sinusoidal|learned|rope|alibi */
    const char *activation;   /* gelu|relu */
    const char *pooling;      /* mean|max|cls|attention|mean+attention */
    double dropout;           /* of embeddings, sublayers and the pooled vector (training only) */
    double attention_dropout; /* of attention weights (training only) */
    double word_dropout;      /* share of tokens replaced by [UNK] (training only) */
} fv_model_options;

enum {                             /* what a kind can do */
       FV_MODEL_HAS_ATTENTION = 1, /* a trace has layers and heads */
       FV_MODEL_BY_GRADIENT = 2,   /* trained step by step (otherwise in one go: no epochs, no checkpoints) */
       FV_MODEL_TAKES_VECTORS = 4, /* understands the option vectors */
       FV_MODEL_RESIDUAL = 8       /* tokens also pass beside the attention: rollout adds the identity */
};

typedef struct fv_model_kind {
    const char *name, *summary; /* summary: one line */
    const char *citation;       /* who, what, where */
    uint32_t can;               /* FV_MODEL_... */
    const fv_option *options;   /* rows over fv_model_options with this kind's defaults, ended by a NULL name */
} fv_model_kind;

FV_API size_t fv_model_kind_count(void);
FV_API const fv_model_kind *fv_model_kind_at(size_t index);
FV_API const fv_model_kind *fv_model_kind_find(const char *name); /* NULL if there is none */

/* Zeroes the struct, sets kind and the defaults of its rows. FV_USAGE (with the nearest name) for an unknown kind. */
FV_API fv_status fv_model_options_init(fv_model_options *options, const char *kind);

/* Refuses, with the reason, options that no model can have: heads that do not divide d_model, sizes out of range or
 * whose products overflow, unknown mechanisms. Called by everything that makes a model. */
FV_API fv_status fv_model_options_check(const fv_model_options *options);

/* ---- presets: named, complete choices */

/* Each setting is "name=value", a row of the model kind, the tokenizer, the vectors or training (train.h). */
typedef struct fv_preset {
    const char *name, *help;
    const char *kind;            /* model kind */
    const char *const *settings; /* ended by NULL */
} fv_preset;
FV_API size_t fv_preset_count(void);
FV_API const fv_preset *fv_preset_at(size_t index);
FV_API const fv_preset *fv_preset_find(const char *name); /* NULL if there is none */

/* ---- a saved model */

/* A folder: config.json, model.safetensors (__metadata__ {"format":"pt"}), tokenizer.json.
 * Every file is replaced atomically. Loading checks everything and answers FV_BAD_MODEL with file, tensor or key, what
 * was expected and what was found. Unknown keys of config.json are logged as a warning. */
FV_API fv_status fv_model_load(fv_model **model, const char *folder);
FV_API fv_status fv_model_save(const fv_model *model, const char *folder);
FV_API void fv_model_free(fv_model *model);

/* ---- asking a model */

FV_API const fv_model_kind *fv_model_kind_of(const fv_model *model);
FV_API const fv_model_options *fv_model_options_of(const fv_model *model);
FV_API fv_classes fv_model_classes(const fv_model *model);
FV_API const fv_tokenizer *fv_model_tokenizer(const fv_model *model);
FV_API int64_t fv_model_parameters(const fv_model *model); /* numbers that were learnt */
FV_API size_t fv_model_tensor_count(const fv_model *model);
FV_API fv_tensor fv_model_tensor(const fv_model *model, size_t index, const char **name); /* name may be NULL */

/* "transformer: 1 layer, 8 heads, d_model 128, ..., 16 classes, 6,012,304 parameters". Returns the length it needs. */
FV_API size_t fv_model_describe(const fv_model *model, char *text, size_t size);

/* probability: (texts.count, classes). Each row sums to 1. FV_INTERRUPTED after fv_interrupt(). */
FV_API fv_status fv_model_predict(const fv_model *model, fv_texts texts, float *probability);

/* ---- looking inside: one text */

/* What a model did with one text. Fields are read-only. A trace is used by one thread at a time; it keeps a pointer to
 * the model. layers and heads are 0 for kinds without attention. */
typedef struct fv_trace {
    const fv_model *model;
    const char *text;        /* copy; token offsets count its bytes */
    const fv_tokens *tokens; /* what the model read: ids, byte ranges, words; [CLS] in front has range 0..0 */
    bool cut;                /* the text was longer than max-length */
    int64_t layers, heads;
    int64_t classes;
    const float *logit;           /* (classes) */
    const float *probability;     /* (classes) */
    int64_t predicted;            /* class with the highest probability */
    const float *pooling_weights; /* (tokens) share of each token in the pooled vector, sums to 1; NULL: no such thing
                                    (max pooling, count-based kinds). mean+attention: the attention half */
    struct fv__trace *store;
} fv_trace;

FV_API fv_status fv_model_trace(fv_trace **trace, const fv_model *model, const char *text, size_t size);

/* Scores or weights of chosen query rows of one head: out is (count, tokens); rows NULL: all of them, and `count` is
 * not read. From the fused path: only what is asked for is computed. FV_USAGE when the mechanism has no weights. */
FV_API fv_status fv_trace_weights(const fv_trace *trace, fv_capture capture, int64_t layer, int64_t head,
                                  const int64_t *rows, int64_t count, float *out);

/* Gradients of the logit of `target` for everything the text went through. Call it before the two functions below;
 * calling it again with another class replaces the gradients. */
FV_API fv_status fv_trace_backward(fv_trace *trace, int64_t target);

/* d logit / d weights of chosen query rows of one head: out is (count, tokens); rows NULL: all, as above. */
FV_API fv_status fv_trace_weight_gradients(const fv_trace *trace, int64_t layer, int64_t head, const int64_t *rows,
                                           int64_t count, float *out);

/* What each token added to the logit of the target: gradient times input for neural kinds, the sum of its features'
 * weights for count-based kinds. out: (tokens). */
FV_API fv_status fv_trace_contributions(const fv_trace *trace, float *out);
FV_API void fv_trace_free(fv_trace *trace);

#ifdef __cplusplus
}
#endif
#endif
