/* fovea/nn.h - layers: parameters with names, and a forward function over fovea/grad.h.
 *
 *     fv_layer *embed, *block, *pool, *out;
 *     fv_embedding_options e; fv_options_init(fv_embedding_rows, &e); e.vocabulary = V; e.d_model = 128;
 *     fv_block_options o;     fv_options_init(fv_block_rows, &o);     o.d_model = 128; o.heads = 8;
 *     fv_layer_embedding(&embed, params, "embed", &e);
 *     fv_layer_block(&block, params, "block0", &o);                     // block0.attention.qkv.weight, ...
 *     ...
 *     fv_node *x = fv_layer_embed(embed, g, ids, T);                    // [T, 128]: tokens of all sequences, no padding
 *     x = fv_layer_forward(block, g, x, &sequences);
 *     x = fv_layer_forward(pool, g, x, &sequences);                     // [N, 128]
 *
 * A layer belongs to the parameters it was made in and lives as long. It has no state of its own: a value of a run is a
 * node of the graph. Options are structs described by rows (names, defaults, ranges), so a configuration file, the
 * command line and C code set the same fields. Strings in options are read while creating (the mechanism's text is
 * copied). Creation fails with FV_USAGE and the reason; forward failures stay on the graph.
 * Parameter names are those of PyTorch: NAME.weight [out,in], NAME.bias.
 */
#ifndef FOVEA_NN_H
#define FOVEA_NN_H

#include "grad.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fv_layer fv_layer;

/* The one forward: x [T, d_model] of a packed batch -> [T, out] (pooling: [N, out]). `s` may be NULL where a layer
 * does not look across rows (linear, norms, feed-forward, dropout); NULL for others means one sequence of all rows. */
FV_API fv_node *fv_layer_forward(const fv_layer *layer, fv_graph *g, fv_node *x, const fv_sequences *s);
FV_API const char *fv_layer_name(const fv_layer *layer);
FV_API int64_t fv_layer_out(const fv_layer *layer); /* columns of what forward returns */

/* ---- linear: x W^T + b */
typedef struct fv_linear_options {
    int64_t in, out;
    bool bias;   /* true */
    double init; /* standard deviation of W; 0: Xavier uniform */
} fv_linear_options;
FV_API extern const fv_option fv_linear_rows[];
FV_API fv_status fv_layer_linear(fv_layer **layer, fv_params *params, const char *name, const fv_linear_options *o);

/* ---- embedding: rows of a table */
typedef struct fv_embedding_options {
    int64_t vocabulary, d_model;
    double init; /* standard deviation; 0: 1/sqrt(d_model) */
    bool scaled; /* multiply by sqrt(d_model), as Vaswani et al. 2017 */
    bool frozen; /* keep the vectors as they are */
} fv_embedding_options;
FV_API extern const fv_option fv_embedding_rows[];
FV_API fv_status fv_layer_embedding(fv_layer **layer, fv_params *params, const char *name,
                                    const fv_embedding_options *o);
FV_API fv_node *fv_layer_embed(const fv_layer *layer, fv_graph *g, const int32_t *ids, int64_t count);
FV_API fv_node *fv_layer_embed_bags(const fv_layer *layer, fv_graph *g, const int32_t *ids, const int64_t *offsets,
                                    int64_t bags, fv_bag kind);

/* ---- normalisation */
typedef struct fv_norm_options {
    int64_t d_model;
    const char *norm; /* layer | rms | none */
    double eps;       /* 0: 1e-5 layer, 1e-6 rms */
} fv_norm_options;
FV_API extern const fv_option fv_norm_rows[];
FV_API fv_status fv_layer_norm(fv_layer **layer, fv_params *params, const char *name, const fv_norm_options *o);

/* ---- dropout */
typedef struct fv_dropout_options {
    double p;
} fv_dropout_options;
FV_API extern const fv_option fv_dropout_rows[];
FV_API fv_status fv_layer_dropout(fv_layer **layer, fv_params *params, const char *name, const fv_dropout_options *o);

/* ---- feed-forward: d_model -> d_ff -> d_model */
typedef struct fv_feed_forward_options {
    int64_t d_model, d_ff;  /* d_ff 0: 4 * d_model (swiglu: 8/3 * d_model, a multiple of 8) */
    const char *activation; /* gelu | gelu-tanh | relu | silu | swiglu */
    double dropout;         /* after the activation */
    bool bias;
} fv_feed_forward_options;
FV_API extern const fv_option fv_feed_forward_rows[];
FV_API fv_status fv_layer_feed_forward(fv_layer **layer, fv_params *params, const char *name,
                                       const fv_feed_forward_options *o);

/* ---- multi-head attention with any mechanism of fovea/attention.h */
typedef struct fv_multi_head_options {
    int64_t d_model, heads;
    int64_t kv_heads;         /* 0: heads; fewer: grouped-query */
    int64_t head_dim;         /* 0: d_model / heads */
    const char *mechanism;    /* "softmax", "topk:k=32", ...; a gate runs on x itself */
    const char *positions;    /* none | rope | rope-pairs | alibi: positions that act inside attention */
    double rope_base;         /* 10000 */
    bool causal, bias, sinks; /* bias: of the projections; sinks: one learned logit per head */
    bool projected;           /* false: no output projection (textbook single-layer models) */
    fv_window window;         /* zeros: none */
    double softcap;           /* 0: none */
    double dropout;           /* of attention weights */
} fv_multi_head_options;
FV_API extern const fv_option fv_multi_head_rows[];
FV_API fv_status fv_layer_multi_head(fv_layer **layer, fv_params *params, const char *name,
                                     const fv_multi_head_options *o);
/* Cross-attention: queries from x, keys and values from `memory` [T', d_model]; `cross` says so when creating. */
FV_API fv_status fv_layer_cross_attention(fv_layer **layer, fv_params *params, const char *name,
                                          const fv_multi_head_options *o);
FV_API fv_node *fv_layer_attend(const fv_layer *layer, fv_graph *g, fv_node *x, const fv_sequences *s, fv_node *memory,
                                const fv_sequences *memory_s);

/* ---- positions added to token vectors */
typedef struct fv_positions_options {
    int64_t d_model, max_length; /* max_length: of learned tables; a longer sequence is FV_BAD_DATA */
    const char *positions;       /* none | sinusoidal | learned */
} fv_positions_options;
FV_API extern const fv_option fv_positions_rows[];
FV_API fv_status fv_layer_positions(fv_layer **layer, fv_params *params, const char *name,
                                    const fv_positions_options *o);

/* ---- pooling: one vector per sequence */
typedef struct fv_pooling_options {
    int64_t d_model;
    const char *pooling; /* mean | max | first | cls (= first) | attention | mean+attention (out = 2 * d_model) */
} fv_pooling_options;
FV_API extern const fv_option fv_pooling_rows[];
FV_API fv_status fv_layer_pooling(fv_layer **layer, fv_params *params, const char *name, const fv_pooling_options *o);
/* The weights [T,1] attention pooling gave to the rows in this step's last forward of the layer; NULL for other
 * kinds. */
FV_API fv_node *fv_layer_pooling_weights(const fv_layer *layer, fv_graph *g);

/* ---- transformer block: attention and feed-forward, each with norm, dropout and residual */
typedef struct fv_block_options {
    int64_t d_model, heads, kv_heads, d_ff; /* d_ff 0: 4 * d_model */
    const char *norm;                       /* layer | rms */
    const char *order;                      /* pre | post: where the norm stands */
    const char *activation;                 /* of the feed-forward */
    const char *mechanism, *positions;      /* of the attention */
    double rope_base;
    bool causal, bias, sinks;
    fv_window window;
    double softcap;
    double dropout;           /* of what each half adds to the residual stream, and inside the feed-forward */
    double attention_dropout; /* of attention weights */
} fv_block_options;
FV_API extern const fv_option fv_block_rows[];
FV_API fv_status fv_layer_block(fv_layer **layer, fv_params *params, const char *name, const fv_block_options *o);

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
