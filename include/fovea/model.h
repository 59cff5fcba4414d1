/* fovea/model.h - networks that read texts: choose a kind, save, load, predict, look inside. What they are trained
 * for is a task (task.h); training is in train.h.
 *
 *     fv_model *model;
 *     fv_status status = fv_model_load(&model, "runs/news");
 *     float *answer = malloc(sizeof(float) * texts.count * fv_model_outputs(model));
 *     status = fv_model_predict(model, texts, answer);              // of a classifier: a probability for each class
 *     fv_model_free(model);
 *
 * A model is immutable once it is loaded or trained and may be used by many threads at once. A text gets the same
 * answer, bit for bit, alone or among others and with any number of threads.
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
    const char *kind; /* "bayes", "linear", "bag", "attention", "transformer", "auto" */

    /* auto */
    const char *budget; /* time for the search, "90s" or "5m" (training only) */

    /* count-based kinds */
    double alpha;        /* bayes: pseudo-count added to every word of every class */
    double c;            /* linear: inverse strength of the L2 penalty */
    double tolerance;    /* linear: largest slope of the objective at which fitting ends (training only) */
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
       FV_MODEL_RESIDUAL = 8,      /* tokens also pass beside the attention: rollout adds the identity */
       FV_MODEL_FITS_CLASSES = 16, /* kinds that are trained in one go: to classes, */
       FV_MODEL_FITS_NUMBERS = 32, /* ... to numbers. By gradient any loss can be trained */
       FV_MODEL_BLENDS = 64        /* made of models of other kinds */
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
FV_API const char *fv_model_task_of(const fv_model *model); /* "classify", see task.h */
FV_API fv_target_type fv_model_target(const fv_model *model);
FV_API int64_t fv_model_outputs(const fv_model *model);    /* numbers it answers a text with */
FV_API fv_classes fv_model_classes(const fv_model *model); /* none unless the target is a class */
FV_API const fv_tokenizer *fv_model_tokenizer(const fv_model *model);
FV_API int64_t fv_model_parameters(const fv_model *model); /* numbers that were learnt, of all members */
FV_API size_t fv_model_tensor_count(const fv_model *model);
FV_API fv_tensor fv_model_tensor(const fv_model *model, size_t index, const char **name); /* name may be NULL */

/* A model of the kind auto is made of others: the logarithm of its answer is the sum of weight times logarithm of the
 * answer over its members, made to sum to 1. They stand in FOLDER/members/NAME, each a model folder. 0: other kinds. */
FV_API int fv_model_member_count(const fv_model *model);
/* Belongs to the model; NULL outside 0 .. count - 1. name and weight may be NULL. */
FV_API const fv_model *fv_model_member(const fv_model *model, int index, const char **name, double *weight);

/* "transformer: 1 layer, 8 heads, d_model 128, ..., 16 classes, 6,012,304 parameters". Returns the length it needs. */
FV_API size_t fv_model_describe(const fv_model *model, char *text, size_t size);

/* answer: (texts.count, outputs): the probability of each class, a row sums to 1; or the number. FV_INTERRUPTED after
 * fv_interrupt(). */
FV_API fv_status fv_model_predict(const fv_model *model, fv_texts texts, float *answer);

/* Texts as one model reads them, and the targets they came with: for those who ask about the same texts again and
 * again. Classes are matched by name: FV_BAD_DATA names a label that the model does not know. Needs neither the data
 * nor the weights to stay as they were, only the tokenizer and the options of the model. */
typedef struct fv_encoded fv_encoded;
FV_API fv_status fv_model_encode(fv_encoded **encoded, const fv_model *model, const fv_dataset *data);
FV_API void fv_encoded_free(fv_encoded *encoded);
FV_API int64_t fv_encoded_count(const fv_encoded *encoded);
/* As fv_model_predict, without encoding anything. */
FV_API fv_status fv_model_predict_encoded(const fv_model *model, const fv_encoded *encoded, float *answer);

/* ---- looking inside: one text */

/* What a model did with one text. Fields are read-only. A trace is used by one thread at a time; it keeps a pointer to
 * the model. layers and heads are 0 for kinds without attention. A blend shows the tokens and the attention of one
 * member, the first that has attention. */
typedef struct fv_trace {
    const fv_model *model;
    const char *text;        /* copy; token offsets count its bytes */
    const fv_tokens *tokens; /* what the model read: ids, byte ranges, words; [CLS] in front has range 0..0 */
    bool cut;                /* the text was longer than max-length */
    int64_t layers, heads;
    int64_t outputs;
    const float *output;          /* (outputs) logits of the classes, or one number in units of the training */
    const float *answer;          /* (outputs) as fv_model_predict gives it: probabilities, or the number */
    int64_t predicted;            /* class with the highest probability; 0 for a number */
    const float *pooling_weights; /* (tokens) share of each token in the pooled vector, sums to 1; NULL: no such thing
                                    (max pooling, count-based kinds). mean+attention: the attention half */
    struct fv__trace *store;
} fv_trace;

FV_API fv_status fv_model_trace(fv_trace **trace, const fv_model *model, const char *text, size_t size);

/* Scores or weights of chosen query rows of one head: out is (count, tokens); rows NULL: all of them, and `count` is
 * not read. From the fused path: only what is asked for is computed. FV_USAGE when the mechanism has no weights. */
FV_API fv_status fv_trace_weights(const fv_trace *trace, fv_capture capture, int64_t layer, int64_t head,
                                  const int64_t *rows, int64_t count, float *out);

/* Gradients of the output `index` for everything the text went through. Call it before the two functions below;
 * calling it again with another output replaces the gradients. */
FV_API fv_status fv_trace_backward(fv_trace *trace, int64_t index);

/* d output / d weights of chosen query rows of one head: out is (count, tokens); rows NULL: all, as above. */
FV_API fv_status fv_trace_weight_gradients(const fv_trace *trace, int64_t layer, int64_t head, const int64_t *rows,
                                           int64_t count, float *out);

/* What each token added to that output: gradient times input for neural kinds, the sum of its features'
 * weights for count-based kinds. out: (tokens). */
FV_API fv_status fv_trace_contributions(const fv_trace *trace, float *out);
/* Of a blend: what one member adds to it, its weight included, over the tokens of the blend. The members' sum to the
 * blend's. FV_USAGE: no such member, or no gradients yet. */
FV_API fv_status fv_trace_member_contributions(const fv_trace *trace, int index, float *out);
FV_API void fv_trace_free(fv_trace *trace);

#ifdef __cplusplus
}
#endif
#endif
