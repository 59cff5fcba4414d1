/* fovea/explain.h - looking at attention: what a model attended to, and pictures of it.
 *
 *     fv_explanation *e;
 *     fv_explain(&e, model, text, strlen(text), NULL);             // maps, statistics, rollout, gradient x attention
 *     fv_render_file(e, "page.html", NULL);                        // or .svg .png .pdf .npy .txt
 *     fv_explanation_free(e);
 *
 * The maps are recomputed from the fused kernels' log-sum-exp: looking never switches to a slower path and never
 * changes a result. People who bring their own weights start with fv_explanation_of, or build with the
 * fv_explanation_add_... calls; every renderer works on the plain struct below. Attention is not by itself an
 * explanation: look at both attributions. */
#ifndef FOVEA_EXPLAIN_H
#define FOVEA_EXPLAIN_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what an explanation holds ------------------------------------------------------------------------------------
 * Everything is owned by the explanation. Read freely; build with the functions of the next section. */

typedef struct fv_explain_token {
    const char *piece;  /* as the vocabulary spells it, UTF-8; shown where the token is not in the text */
    int64_t start, end; /* its bytes in the sequence's text; start == end when it is not in the text */
    int32_t word;       /* pieces of a word share the number, ascending; -1: no word. In a script without spaces (Han,
                         * kana, Thai ...) a sequence makes each token a word of its own */
    bool special;       /* [CLS], [SEP] ... */
    bool unknown;       /* not in the vocabulary: the model saw its unknown token */
    int32_t pieces;     /* tokens that were merged into this one; 0: none were */
} fv_explain_token;

/* What sits on an axis of a map. Without a text the positions have only their pieces as captions. */
typedef struct fv_explain_sequence {
    const char *caption; /* "input", "pooled output" */
    const char *text;    /* valid UTF-8 (bad bytes of the input are U+FFFD), NULL: positions only */
    size_t size;         /* bytes of text */
    int64_t count;
    fv_explain_token *token; /* (count) */
    bool truncated;          /* the model did not read the text after the last token */
} fv_explain_sequence;

/* Means over the query rows that see anything. A key is visible to a row when its weight is not zero. */
typedef struct fv_head_stats {
    double entropy;        /* H / ln(visible keys), 0 focused .. 1 uniform; a row that sees one key counts 0 */
    double entropy_bits;   /* H in bits */
    double diagonal;       /* weight of the query's own position */
    double previous, next; /* ... of the position before, after (rows that have one) */
    double first;          /* ... of key 0 */
    double special;        /* ... of special tokens */
    double distance;       /* sum of weight * |query - key| */
    double max;            /* largest weight */
} fv_head_stats;

typedef struct fv_explain_head {
    const char *id, *caption; /* combinations: "mean", "rollout", and their title; NULL for a head of the model */
    int32_t layer, head;      /* -1: none */
    const float *weight;      /* (queries, keys) */
    fv_head_stats stats;
} fv_explain_head;

/* Attention matrices of one shape: rows are queries, columns are keys. */
typedef struct fv_explain_map {
    const char *id, *caption; /* "self", "Self-attention"; "pool", "Pooling" */
    int query, key;           /* indices of sequences */
    bool normalised;          /* rows sum to 1: softmax and its kin; false for gates and linear attention */
    bool causal;
    int64_t heads;
    fv_explain_head *head; /* (heads) heads of the model first, combinations last */
} fv_explain_map;

/* One number per token. */
typedef struct fv_attribution {
    const char *id; /* "attention", "gradient-attention", "input-gradient", "contribution" */
    const char *caption, *about;
    int sequence;
    int32_t of_class;   /* index of the class it speaks about, -1: none */
    bool is_signed;     /* below zero speaks against the class */
    const float *value; /* (count of the sequence) */
} fv_attribution;

typedef struct fv_explain_class {
    const char *name;
    double probability, logit;
} fv_explain_class;
typedef struct fv_explain_note {
    const char *caption, *value;
} fv_explain_note;

typedef struct fv_explanation {
    const char *title, *model, *kind, *mechanism; /* heading, model's name, "transformer", "softmax"; "" = unknown */
    const char *task;                             /* what the model was trained for: "classify"; "" = unknown */
    int64_t parameters, d_model;                  /* of the model; 0 = unknown */
    int32_t classes, predicted, expected;         /* expected: the true class, -1 = unknown */
    fv_explain_class *class_of;                   /* (classes) */
    int sequences, maps, attributions, notes;
    fv_explain_sequence *sequence;
    fv_explain_map *map;
    fv_attribution *attribution; /* the first two are shown side by side */
    fv_explain_note *note;       /* where it comes from: command, versions, hashes */
    struct fv__explain_store *store;
} fv_explanation;

/* ---- making one */

typedef struct fv_explain_options {
    const char *of_class; /* explain this class; NULL: the predicted one */
    const char *heads;    /* "0,2-3" layers, "3:*,11:2" heads; NULL: all */
    bool gradients;       /* gradient attributions */
    const char *name;     /* what the model is called in headings; NULL: its kind */
} fv_explain_options;
FV_API const fv_option *fv_explain_option_rows(void);

/* Runs the model, of any kind, on a text: models without attention give attributions only.
 * FV_USAGE: an unknown class or head. NULL options are the defaults. */
FV_API fv_status fv_explain(fv_explanation **out, const fv_model *model, const char *text, size_t size,
                            const fv_explain_options *options);

/* From plain weights (layers, heads, queries, keys), copied. Captions may be NULL: positions are then numbered. When
 * queries == keys, means and rollout are added. FV_BAD_DATA: a weight that is NaN, infinite or negative. */
FV_API fv_status fv_explanation_of(fv_explanation **out, const char *title, const float *weights, int64_t layers,
                                   int64_t heads, int64_t queries, int64_t keys, const char *const *query_captions,
                                   const char *const *key_captions);

/* Step by step. All arguments are copied; text that is not UTF-8 is repaired and the offsets moved with it. */
FV_API fv_status fv_explanation_create(fv_explanation **out, const char *title, const char *model_name);
FV_API fv_status fv_explanation_add_note(fv_explanation *e, const char *caption, const char *value);
FV_API fv_status fv_explanation_add_class(fv_explanation *e, const char *name, double probability, double logit);
/* text NULL: `count` positions; token NULL: they are numbered. The index is written to *index (may be NULL). */
FV_API fv_status fv_explanation_add_sequence(fv_explanation *e, const char *caption, const char *text, size_t size,
                                             const fv_explain_token *token, int64_t count, int *index);
FV_API fv_status fv_explanation_add_map(fv_explanation *e, const char *id, const char *caption, int query, int key,
                                        bool normalised, bool causal, int *index);
/* A matrix of the model (id NULL) or a combination. Statistics are computed here. */
FV_API fv_status fv_explanation_add_head(fv_explanation *e, int map, int32_t layer, int32_t head, const char *id,
                                         const char *caption, const float *weight);
/* A map with all its heads from weights (layers, heads, queries, keys), with means and rollout; whether rows sum to one
 * and are causal is found out. FV_BAD_DATA as for fv_explanation_of. */
FV_API fv_status fv_explanation_add_weights(fv_explanation *e, const char *id, const char *caption, int query, int key,
                                            const float *weights, int64_t layers, int64_t heads);
/* of_class: one that was added before, or -1. */
FV_API fv_status fv_explanation_add_attribution(fv_explanation *e, const char *id, const char *caption,
                                                const char *about, int sequence, int32_t of_class, bool is_signed,
                                                const float *value);
/* Adds the mean of each layer with several heads and, for square maps that sum to one, the rollout. */
FV_API fv_status fv_explanation_combine(fv_explanation *e, int map);
FV_API void fv_explanation_free(fv_explanation *e);

/* A copy in which the pieces of each word are one token: sums over keys, means over queries, sums of attributions. */
FV_API fv_status fv_explanation_words(fv_explanation **out, const fv_explanation *e);

/* The matrix a text names: "2:5" layer 2 head 5, "2" the mean of layer 2, "mean" of the last layer, "rollout", "pool",
 * "ID:2:5" of the map with that id; NULL: the mean of the last layer, or the most focused head where that is nearly
 * uniform. FV_USAGE lists what there is. */
FV_API fv_status fv_explanation_find(const fv_explanation *e, const char *name, int *map, int64_t *head);

/* ---- the arithmetic, on plain arrays */

/* `special` (keys) may be NULL. */
FV_API void fv_head_statistics(fv_head_stats *stats, const float *weight, int64_t queries, int64_t keys,
                               const bool *special);
/* Attention rollout (Abnar and Zuidema 2020): the product over layers, last to first, of (A + I) with rows scaled to
 * sum to one. `layer` (layers, n, n) holds means over heads; out (n, n): row i tells what output i is made of. */
FV_API fv_status fv_attention_rollout(float *out, const float *layer, int64_t layers, int64_t n);

/* ---- rendering */

typedef struct fv_render_options {
    const char *matrix;   /* which matrix to draw, see fv_explanation_find */
    const char *scale;    /* linear|sqrt|log: how weights become shades */
    bool words;           /* merge pieces into words (the page does it itself; npy never) */
    const char *colors;   /* auto|truecolor|256|ascii: of a terminal. auto obeys NO_COLOR, TERM, COLORTERM */
    int64_t columns;      /* width of a terminal; 0: COLUMNS, or 80 */
    int64_t top;          /* rows of the table of words */
    int64_t cell;         /* pixels of a matrix cell in pictures; 0: chosen by the number of tokens */
    const char *max_size; /* of a page: "16M", "800K"; what does not fit is sent coarser */
    const char *full; /* heads a page carries whole before others, as fv_explain_options.heads; NULL: the shown one */
    bool compress;    /* deflate the blocks of a page */
} fv_render_options;
FV_API const fv_option *fv_render_option_rows(void);

typedef struct fv_renderer {
    const char *name;      /* "terminal" */
    const char *extension; /* ".txt" */
    const char *summary;
} fv_renderer;
FV_API const fv_renderer *fv_renderer_at(int index);          /* NULL after the last */
FV_API const fv_renderer *fv_renderer_find(const char *name); /* by name or a path's ending; NULL if there is none */

/* Receives the output piece by piece; anything but FV_OK stops the rendering and is returned. */
typedef fv_status fv_write_fn(void *context, const void *bytes, size_t count);

/* The same explanation and options give the same bytes. NULL options are the defaults. */
FV_API fv_status fv_render(const fv_explanation *e, const char *renderer, const fv_render_options *options,
                           fv_write_fn *write, void *context);
/* Atomic; the renderer is chosen by the ending of `path`. */
FV_API fv_status fv_render_file(const fv_explanation *e, const char *path, const fv_render_options *options);

/* Columns that a text takes on a terminal: two for a Chinese character or an emoji, none for a combining mark. */
FV_API int64_t fv_text_columns(const char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
