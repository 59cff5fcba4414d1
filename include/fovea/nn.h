/* fovea/nn.h - layers: parameters with names, and a forward function over fovea/grad.h.
 *
 *     fv_layer *embed, *block, *pool, *out;
 *     fv_embedding_options e = {.vocabulary = V, .d_model = 128};
 *     fv_block_options o = {.d_model = 128, .heads = 8};                // zero means the default, in every field
 *     fv_layer_embedding(&embed, params, "embed", &e);
 *     fv_layer_block(&block, params, "block0", &o);                     // block0.attention.qkv.weight, ...
 *     ...
 *     fv_node *x = fv_layer_embed(embed, g, ids, T);                  // [T, 128]: tokens of all sequences, no padding
 *     x = fv_layer_apply(block, g, x, &sequences);
 *     x = fv_layer_apply(pool, g, x, &sequences);                       // [N, 128]
 *
 * A layer belongs to the parameters it was made in and lives as long. It has no state of its own: a value of a run is a
 * node of the graph. Options are structs described by rows (names, defaults, ranges), so a configuration file, the
 * command line and C code set the same fields; a struct of zeros, or NULL, holds all defaults, only sizes without one
 * must be given (d_model, in, out, vocabulary). `reserved` is room for options to come. Strings in options are read
 * while creating (the mechanism's text is copied). Creation fails with FV_USAGE and the reason; forward failures
 * stay on the graph. Parameter names are those of PyTorch: NAME.weight [out,in], NAME.bias.
 */
#ifndef FOVEA_NN_H
#define FOVEA_NN_H

#include "cache.h"
#include "grad.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fv_layer fv_layer;
typedef struct fv_layer_caches fv_layer_caches; /* below */

/* Height and width of a picture whose rows of pixels, one after the other, are a sequence. */
typedef struct fv_grid {
    int64_t height, width;
} fv_grid;

/* What flows through layers, the one argument of every forward: x, and what a layer may want to know about it. A layer
 * reads what it needs; a block hands the rest on to its parts. Zero is absent, everything is borrowed for the call. */
typedef struct fv_flow {
    fv_node *x;                           /* [T, d_model]: the rows of all sequences, no padding */
    const fv_sequences *sequences;        /* NULL: one sequence of all rows */
    fv_node *memory;                      /* [T', d_model], as many sequences: what cross-attention reads */
    const fv_sequences *memory_sequences; /* NULL: one sequence */
    const fv_grid *grid;                  /* [N] pictures of height * width rows; NULL: no pictures */
    fv_layer_caches *caches;              /* decoding: what earlier forwards left; NULL: nothing is kept */
    const int64_t *position; /* [N] of the first row of each sequence; NULL: 0, with caches the rows seen so far */
    const void *reserved[4]; /* NULL */
} fv_flow;

/* The one forward: flow->x [T, d_model] of a packed batch -> [T, out] (pooling: [N, out]). */
FV_API fv_node *fv_layer_forward(const fv_layer *layer, fv_graph *g, const fv_flow *flow);

/* The common call: x and its sequences, nothing else. */
static inline fv_node *fv_layer_apply(const fv_layer *layer, fv_graph *g, fv_node *x, const fv_sequences *sequences) {
    fv_flow flow = {x, sequences, NULL, NULL, NULL, NULL, NULL, {NULL, NULL, NULL, NULL}};
    return fv_layer_forward(layer, g, &flow);
}

/* The same flow with another x: how a layer of layers calls its parts. */
static inline fv_node *fv_layer_next(const fv_layer *layer, fv_graph *g, const fv_flow *flow, fv_node *x) {
    fv_flow next = *flow;
    next.x = x;
    return fv_layer_forward(layer, g, &next);
}
FV_API const char *fv_layer_name(const fv_layer *layer);
FV_API int64_t fv_layer_out(const fv_layer *layer); /* columns of what forward returns */

/* ---- linear: x W^T + b */
typedef struct fv_linear_options {
    int64_t in, out;
    bool no_bias;
    double init;          /* standard deviation of W; 0: Xavier uniform */
    uint64_t reserved[8]; /* 0 */
} fv_linear_options;
FV_API const fv_option *fv_linear_rows(void);
FV_API fv_status fv_layer_linear(fv_layer **layer, fv_params *params, const char *name, const fv_linear_options *o);

/* ---- embedding: rows of a table */
typedef struct fv_embedding_options {
    int64_t vocabulary, d_model;
    double init;          /* standard deviation; 0: 1/sqrt(d_model) */
    bool scaled;          /* multiply by sqrt(d_model), as Vaswani et al. 2017 */
    bool frozen;          /* keep the vectors as they are */
    uint64_t reserved[8]; /* 0 */
} fv_embedding_options;
FV_API const fv_option *fv_embedding_rows(void);
FV_API fv_status fv_layer_embedding(fv_layer **layer, fv_params *params, const char *name,
                                    const fv_embedding_options *o);
FV_API fv_node *fv_layer_embed(const fv_layer *layer, fv_graph *g, const int32_t *ids, int64_t count);
FV_API fv_node *fv_layer_embed_bags(const fv_layer *layer, fv_graph *g, const int32_t *ids, const int64_t *offsets,
                                    int64_t bags, fv_bag kind);

/* ---- normalisation */
typedef struct fv_norm_options {
    int64_t d_model;
    const char *norm;     /* NULL: layer; layer | rms | none */
    double eps;           /* 0: 1e-5 layer, 1e-6 rms */
    uint64_t reserved[8]; /* 0 */
} fv_norm_options;
FV_API const fv_option *fv_norm_rows(void);
FV_API fv_status fv_layer_norm(fv_layer **layer, fv_params *params, const char *name, const fv_norm_options *o);

/* ---- dropout */
typedef struct fv_dropout_options {
    double p;
    uint64_t reserved[8]; /* 0 */
} fv_dropout_options;
FV_API const fv_option *fv_dropout_rows(void);
FV_API fv_status fv_layer_dropout(fv_layer **layer, fv_params *params, const char *name, const fv_dropout_options *o);

/* ---- feed-forward: d_model -> d_ff -> d_model */
typedef struct fv_feed_forward_options {
    int64_t d_model, d_ff;  /* d_ff 0: 4 * d_model (swiglu: 8/3 * d_model, a multiple of 8) */
    const char *activation; /* NULL: gelu; gelu | gelu-tanh | relu | silu | swiglu */
    double dropout;         /* after the activation */
    bool no_bias;
    uint64_t reserved[8]; /* 0 */
} fv_feed_forward_options;
FV_API const fv_option *fv_feed_forward_rows(void);
FV_API fv_status fv_layer_feed_forward(fv_layer **layer, fv_params *params, const char *name,
                                       const fv_feed_forward_options *o);

/* ---- multi-head attention with any mechanism of fovea/attention.h */
typedef struct fv_multi_head_options {
    int64_t d_model;
    int64_t heads;         /* 0: 8 */
    int64_t kv_heads;      /* 0: heads; fewer: grouped-query */
    int64_t head_dim;      /* 0: d_model / heads */
    const char *positions; /* NULL: none; none | rope | rope-pairs | alibi: positions that act inside attention */
    double rope_base;      /* 0: 10000 */
    bool no_bias;          /* of the projections */
    bool sinks;            /* one learned logit per head */
    bool no_projection;    /* of the output: textbook single-layer models */
    fv_attention_options attention; /* .mechanism "topk:k=32", .causal, ...; a gate runs on x itself */
    uint64_t reserved[8];           /* 0 */
} fv_multi_head_options;
FV_API const fv_option *fv_multi_head_rows(void);
FV_API fv_status fv_layer_multi_head(fv_layer **layer, fv_params *params, const char *name,
                                     const fv_multi_head_options *o);
/* Cross-attention: queries from flow.x, keys and values from flow.memory. */
FV_API fv_status fv_layer_cross_attention(fv_layer **layer, fv_params *params, const char *name,
                                          const fv_multi_head_options *o);

/* ---- positions added to token vectors */
typedef struct fv_positions_options {
    int64_t d_model;
    int64_t max_length;    /* of learned tables, 0: 512; a longer sequence is FV_BAD_DATA */
    const char *positions; /* NULL: learned; none | sinusoidal | learned */
    uint64_t reserved[8];  /* 0 */
} fv_positions_options;
FV_API const fv_option *fv_positions_rows(void);
FV_API fv_status fv_layer_positions(fv_layer **layer, fv_params *params, const char *name,
                                    const fv_positions_options *o);

/* ---- pooling: one vector per sequence */
typedef struct fv_pooling_options {
    int64_t d_model;
    const char
        *pooling; /* NULL: mean; mean | max | first | cls (= first) | attention | mean+attention (out = 2 * d_model) */
    uint64_t reserved[8]; /* 0 */
} fv_pooling_options;
FV_API const fv_option *fv_pooling_rows(void);
FV_API fv_status fv_layer_pooling(fv_layer **layer, fv_params *params, const char *name, const fv_pooling_options *o);
/* The weights [T,1] attention pooling gave to the rows in this step's last forward of the layer; NULL for other
 * kinds. */
FV_API fv_node *fv_layer_pooling_weights(const fv_layer *layer, fv_graph *g);

/* ---- transformer block: attention and feed-forward, each with norm, dropout and residual */
typedef struct fv_block_options {
    int64_t d_model, heads, kv_heads; /* of the attention */
    int64_t d_ff;                     /* of the feed-forward */
    const char *norm;                 /* NULL: layer; layer | rms */
    const char *order;                /* NULL: pre; pre | post: where the norm stands */
    const char *activation;           /* of the feed-forward */
    const char *positions;            /* of the attention, and so on: zeros mean what they mean there */
    double rope_base;
    bool no_bias, sinks;
    double dropout; /* of what each half adds to the residual stream, and inside the feed-forward */
    fv_attention_options attention;
    uint64_t reserved[8]; /* 0 */
} fv_block_options;
FV_API const fv_option *fv_block_rows(void);
FV_API fv_status fv_layer_block(fv_layer **layer, fv_params *params, const char *name, const fv_block_options *o);

/* ---- decoding: each forward brings new rows, and layers remember the earlier ones
 *
 *     fv_layer_caches *caches;  fv_layer_caches_create(&caches, &(fv_cache_options){.batch = 1, .capacity = 1024});
 *     fv_flow flow = {.x = prompt, .caches = caches};  ... fv_layer_forward(block, g, &flow);     // [rows, d_model]
 *     fv_graph_begin(g, FV_MODE_INFER, 0);                                                        // next token:
 *     flow.x = token;  ... fv_layer_forward(block, g, &flow);                                     // [1, d_model]
 *
 * A forward of new rows gives what these rows are in a forward of all rows. Self-attention keeps keys and values (it
 * must be causal), or the state of a recurrence, which does not grow; cross-attention keeps those of its memory:
 * flow.memory is read when a sequence has none yet, and may be NULL afterwards. Positions go on where the last forward
 * ended. Flows have `batch` sequences, in FV_MODE_INFER; each layer occurs once in a forward. f32 parameters only. A
 * layer's part is made when it first asks, so forward can fail with FV_NO_RESOURCES: without memory, or when a sequence
 * is longer than the capacity. After a failed forward some layers have its rows and others not: truncate to the length
 * before, or with recurrences reset. */

/* Of `keep` kv_heads and head dimensions are each layer's own and not read; batch 0 is 1. FV_USAGE as for a
 * fv_kv_cache. */
FV_API fv_status fv_layer_caches_create(fv_layer_caches **caches, const fv_cache_options *keep);
FV_API void fv_layer_caches_free(fv_layer_caches *caches); /* before or after the layers; NULL is fine */
FV_API int64_t fv_layer_caches_length(const fv_layer_caches *caches, int64_t b); /* rows all layers have seen */
/* Forgets the rows from `length` on; memories stay. FV_USAGE: b is no sequence, a ring has lost rows before, the state
 * of a recurrence would have to go back to a length other than 0. */
FV_API fv_status fv_layer_caches_truncate(fv_layer_caches *caches, int64_t b, int64_t length);
FV_API fv_status fv_layer_caches_reset(fv_layer_caches *caches, int64_t b); /* with its memory; -1: every one */
/* For beams, as fv_kv_cache_reorder: every sequence b < n becomes what sequence parent[b] was, memory included. */
FV_API fv_status fv_layer_caches_reorder(fv_layer_caches *caches, const int64_t *parent, int64_t n);
/* All of it again, to go on apart: guesses that may be wrong, branches of a search. */
FV_API fv_status fv_layer_caches_clone(fv_layer_caches **copy, const fv_layer_caches *caches);
/* Sequence to_b of `to` becomes what sequence from_b of `from` is, as fv_kv_cache_copy, memory included. The caches are
 * of the same layers. After a failure sequence to_b must be reset. */
FV_API fv_status fv_layer_caches_copy(fv_layer_caches *to, int64_t to_b, const fv_layer_caches *from, int64_t from_b);
FV_API size_t fv_layer_caches_bytes(const fv_layer_caches *caches); /* of keys, values and states */

/* ---- the table of layers: for help, configuration and tests */
typedef struct fv_layer_kind {
    const char *name, *summary; /* "feed-forward", one line */
    const fv_option *rows;      /* its options, ended by a NULL name */
    size_t options_size;
} fv_layer_kind;
FV_API size_t fv_layer_kind_count(void);
FV_API const fv_layer_kind *fv_layer_kind_at(size_t index);
FV_API const fv_layer_kind *fv_layer_kind_find(const char *name); /* NULL if there is none */
/* Any layer by kind; `options` is the struct of that kind (fv_layer_kind.rows describe it). */
FV_API fv_status fv_layer_create(fv_layer **layer, const char *kind, fv_params *params, const char *name,
                                 const void *options);

#ifdef __cplusplus
}
#endif
#endif
