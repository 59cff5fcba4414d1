/* The contract between the rest of the library and a kind of model (one file per kind, one row in list.def).
 *
 * Kinds come in three sorts. Count-based kinds turn a text into counted features and are fitted in one go (`fit`).
 * Neural kinds build a graph of fovea/grad.h for a packed batch (`build`) and are trained step by step by src/train.
 * Both keep what they learnt as named parameters, so saving, loading and checking are the same for all. Kinds that
 * blend (blend.h) have no parameters of their own but members of the other two sorts. */
#ifndef FV_MODEL_MODEL_H
#define FV_MODEL_MODEL_H

#include "base/base.h"
#include "fovea/files.h"
#include "fovea/model.h"
#include "fovea/nn.h"
#include "fovea/vectors.h"

/* What the outputs of a model mean: the task says it, from the training part. config.json keeps it. */
typedef struct fv__target {
    const char *task; /* its name */
    fv_target_type type;
    int32_t outputs;    /* columns of the last layer */
    fv_classes classes; /* FV_TARGET_CLASS: an output is the logit of a class */
    double mean, scale; /* FV_TARGET_REAL: the output is (number - mean) / scale */
} fv__target;

/* What a model was asked to become, with every size known. */
typedef struct fv__sizes {
    int32_t vocabulary; /* of the tokenizer */
    int32_t outputs;
    int64_t ngrams; /* count-based kinds: features beyond single tokens */
} fv__sizes;

/* A neural model at work: one graph and the buffers of one thread. */
typedef struct fv__run {
    const fv_model *model;
    fv_graph *graph;
    int64_t *offset; /* bags of the batch as the graph wants them */
    int32_t *id;     /* ids after word dropout */
    float *wanted;   /* what the task wants the outputs to be */
    size_t offset_capacity, id_capacity, wanted_capacity;
    uint64_t seed; /* of the step */
} fv__run;

/* Nodes a trace wants to see again. NULL where a kind has no such thing. */
typedef struct fv__nodes {
    fv_node *input;           /* (T, d_model) what each token brings in */
    fv_node *pooling_weights; /* (T, 1) */
    fv_node *output;          /* (N, outputs) */
} fv__nodes;

enum { FV__MEMBERS = 16 }; /* of a blend, at most */

typedef struct fv__kind fv__kind;
struct fv__kind {
    fv_model_kind info; /* public row; first, so a pointer to it is a pointer to this */
    fv_status (*check)(const fv_model_options *options); /* beyond the ranges of the rows; may be NULL */
    fv_status (*make)(fv_model *model);                  /* adds the parameters of model->sizes */
    /* count-based kinds */
    fv_status (*fit)(fv_model *model, const fv_dataset *train);
    bool blends;      /* made of other models, see blend.h */
    bool mean_pooled; /* neural kinds: every token has the same share in the pooled vector */
    /* neural kinds */
    void (*build)(fv__run *run, const fv_batch *batch, fv__nodes *nodes);
};

struct fv_model {
    const fv__kind *kind;
    fv_model_options options; /* strings are owned */
    fv_tokenizer *tokenizer;
    fv__target target; /* strings are owned */
    fv__sizes sizes;
    uint64_t seed;
    fv_params *params;
    int32_t *ngram;          /* (sizes.ngrams, 2) count-based kinds: feature that is the prefix, token that follows */
    fv__map *ngram_index;    /* the same, to look up */
    uint8_t *term;           /* (vocabulary) count-based kinds: which tokens are counted, a fv__term */
    struct fv__blend *blend; /* kinds that blend: the members */
    void *network;           /* neural kinds: whatever the kind's own file keeps, see fv__network_new */
    int embed_table;         /* neural kinds: the parameter that word vectors start, -1 if absent */
};

/* A model with initial parameters. Takes the tokenizer (frees it on failure as well); copies the rest. Count-based
 * kinds that are still to be fitted have ngrams -1 and no parameters yet. */
fv_status fv__model_create(fv_model **model, const fv_model_options *options, const fv__target *target,
                           fv_tokenizer *tokenizer, int64_t ngrams, uint64_t seed);
/* The same for weights that are in a file: what the options ask for is held against its header before memory is taken
 * or a number drawn. The values are still to be copied. */
fv_status fv__model_create_for(fv_model **model, const fv_model_options *options, const fv__target *target,
                               fv_tokenizer *tokenizer, int64_t ngrams, const fv_tensor_file *weights);
/* Weights can be finite and still too large for the arithmetic: FV_BAD_MODEL, naming the tensor with the largest, when
 * one of these outputs or answers is not finite. */
fv_status fv__check_outputs(const fv_model *model, const float *output, int64_t count);
/* Starts the embedding from word vectors; their dimension must be the model's. */
fv_status fv__model_fill_vectors(fv_model *model, const fv_vectors *vectors);

/* Does the model read [CLS] in front of each text? */
bool fv__adds_cls(const fv_model_options *options);

/* Texts as token ids as this neural model reads them. Only texts and targets of the data are read. */
fv_status fv__model_corpus(fv_corpus **corpus, const fv_model *model, const fv_dataset *data);

struct fv__counts;
/* Texts as one model reads them, with what they should be answered with: encoded once, asked about often. */
struct fv_encoded {
    int64_t count;
    int32_t *label;            /* (count) as the model numbers its classes; NULL: no classes */
    double *number;            /* (count) NULL: no numbers */
    fv_corpus *corpus;         /* neural kinds */
    struct fv__counts *counts; /* count-based kinds: weighted features */
    fv_encoded **member;       /* kinds that blend: the texts as each member reads them, without targets */
    int members;
};

/* As fv_model_load, but refuses a kind that blends: members have no members. */
fv_status fv__model_load_member(fv_model **model, const char *folder);

fv_status fv__run_create(fv__run *run, const fv_model *model);
void fv__run_free(fv__run *run);

/* config.json, and back. */
fv_status fv__config_write(const fv_model *model, const char *path);
typedef struct fv__config {
    fv_model_options options; /* strings belong to `json` */
    fv__target target;        /* so do the names */
    int64_t vocabulary, ngrams;
    int members; /* of kinds that blend */
    const char *member[FV__MEMBERS];
    double weight[FV__MEMBERS];
    struct json_t *json;
} fv__config;
fv_status fv__config_read(fv__config *config, const char *path);
void fv__config_free(fv__config *config);

/* options with owned strings */
fv_status fv__options_copy(fv_model_options *to, const fv_model_options *from);
void fv__options_free(fv_model_options *options);

/* The message of a fault found by a check of options, said again as a fault of the file `path`. */
fv_status fv__bad_model(const char *path);

/* What a row of outputs says: probabilities of the classes, or the number in its own units. May be the same memory. */
void fv__answers(float *answer, const float *output, const fv__target *target);
/* Softmax of one row of logits, in double. */
void fv__probabilities(float *probability, const float *logit, int64_t classes);

/* ---- rows shared by the tables of the kinds: the same option, each kind's own default */
#define FV__FLAGGED_ROW(name, type, field, standard, lo, hi, choices, help, flags_) \
    { name, type, offsetof(fv_model_options, field), standard, lo, hi, choices, help, .flags = flags_ }
#define FV__ROW(name, type, field, standard, lo, hi, choices, help) \
    FV__FLAGGED_ROW(name, type, field, standard, lo, hi, choices, help, FV_OPTION_FIXED)
#define FV__ROW_WORD_NGRAMS(standard)                                     \
    FV__ROW("word-ngrams", FV_OPT_INT, word_ngrams, standard, 1, 5, NULL, \
            "longest run of words that is a feature; of characters, where words have no spaces, one more")
#define FV__ROW_MIN_TEXTS(standard)                                         \
    FV__ROW("min-texts", FV_OPT_INT, min_texts, standard, 1, 1000000, NULL, \
            "leave out features of fewer training texts")
#define FV__ROW_SUBLINEAR(standard) \
    FV__ROW("sublinear", FV_OPT_BOOL, sublinear, standard, 0, 0, NULL, "1 + log(count) instead of the count")
#define FV__ROW_MAX_LENGTH(standard) \
    FV__ROW("max-length", FV_OPT_INT, max_length, standard, 1, 1 << 20, NULL, "tokens a text; the rest is cut off")
#define FV__ROWS_NGRAMS(bits)                                                                             \
    FV__ROW("ngram-min", FV_OPT_INT, ngrams.ngram_min, "3", 1, 20, NULL, "shortest character n-gram"),    \
        FV__ROW("ngram-max", FV_OPT_INT, ngrams.ngram_max, "5", 1, 20, NULL, "longest character n-gram"), \
        FV__ROW("ngram-bits", FV_OPT_INT, ngrams.ngram_bits, bits, 0, 24, NULL,                           \
                "character n-grams are hashed into 2^bits rows; 0: none")
/* Where the first vectors came from is no property of the model, and is forgotten once they are in the embedding. */
#define FV__ROW_VECTORS                                                                                             \
    FV__FLAGGED_ROW("vectors", FV_OPT_STRING, vectors, NULL, 0, 0, "FILE", "word vectors that start the embedding", \
                    FV_OPTION_LOCAL),                                                                               \
        FV__FLAGGED_ROW("freeze-vectors", FV_OPT_BOOL, freeze_vectors, "false", 0, 0, NULL,                         \
                        "do not train the embedding", FV_OPTION_LOCAL | FV_OPTION_FIXED)
#define FV__ROW_D_MODEL(standard) FV__ROW("d-model", FV_OPT_INT, d_model, standard, 1, 65536, NULL, "numbers per token")
#define FV__ROW_HEADS(standard) \
    FV__ROW("heads", FV_OPT_INT, heads, standard, 1, 1024, NULL, "attention heads; they divide d_model")
#define FV__ROW_MECHANISM                                                                     \
    FV__ROW("mechanism", FV_OPT_STRING, mechanism, "softmax", 0, 0, "NAME[:param=value,...]", \
            "mechanism, see `fovea mechanisms`")
#define FV__ROW_DROPOUT(standard) \
    FV__ROW("dropout", FV_OPT_FLOAT, dropout, standard, 0, 0.99, NULL, "share of activations dropped while training")
#define FV__ROW_WORD_DROPOUT(standard)                                           \
    FV__ROW("word-dropout", FV_OPT_FLOAT, word_dropout, standard, 0, 0.99, NULL, \
            "share of tokens replaced by [UNK] while training")

#endif
