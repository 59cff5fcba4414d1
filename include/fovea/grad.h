/* fovea/grad.h - parameters, a tape of operations, gradients.
 *
 *     fv_params *params;  fv_graph *g;  int w, b;
 *     fv_params_create(&params, FV_F32, seed);
 *     fv_params_add(params, "out.weight", 2, (int64_t[]){C, D}, FV_INIT(XAVIER, 1), FV_PARAM_DECAY, &w);
 *     fv_params_add(params, "out.bias", 1, (int64_t[]){C}, FV_INIT(ZEROS, 0), 0, &b);
 *     fv_graph_create(&g, params);
 *     for (int step = 0; step < 100; step++) {
 *         fv_graph_begin(g, FV_MODE_TRAIN, step_seed);                       // forgets the last step, keeps its memory
 *         fv_node *y = fv_op_linear(g, fv_op_constant(g, &x), fv_op_param(g, w), fv_op_param(g, b));
 *         fv_node *loss = fv_op_cross_entropy(g, y, &(fv_targets){.labels = labels, .label_smoothing = .1});
 *         fv_status status = fv_graph_backward(g, loss, NULL);               // also reports any failed operation
 *         ...                                                                // a step of an optimizer: optim.h
 *     }
 *
 * An operation computes at once; its value may be read straight away. The first failure stays on the graph: later
 * operations do nothing and return an empty node (never NULL), so one check at the end is enough.
 * After the first step of a shape nothing is allocated. Results do not depend on the number of threads.
 */
#ifndef FOVEA_GRAD_H
#define FOVEA_GRAD_H

#include "attention.h"
#include "rope.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- parameters: named tensors with gradients, in one contiguous block */

typedef enum fv_init_kind {
    FV_INIT_ZEROS,
    FV_INIT_ONES,
    FV_INIT_NORMAL,  /* standard deviation `scale` */
    FV_INIT_UNIFORM, /* in [-scale, scale] */
    FV_INIT_XAVIER   /* uniform, bound scale * sqrt(6 / (fan_in + fan_out)); fans are the last and first axis */
} fv_init_kind;
typedef struct fv_init {
    fv_init_kind kind;
    double scale;
} fv_init;
#define FV_INIT(kind, scale) ((fv_init){FV_INIT_##kind, scale})

enum {
    FV_PARAM_DECAY = 1,  /* weight decay applies: matrices yes, biases and norms no */
    FV_PARAM_FROZEN = 2, /* takes part, is saved, gets no gradient */
    FV_PARAM_SPARSE = 4  /* a table that steps read by row: optimizers leave rows without a gradient alone */
};

typedef struct fv_param {
    const char *name;
    fv_tensor value;
    fv_tensor grad; /* data is NULL until fv_params_grads or the first backward */
    int64_t offset; /* of value and grad in the flat block, in elements */
    uint32_t flags;
    const int32_t *touched; /* FV_PARAM_SPARSE: rows that backward gave a gradient since the last zero, each once, */
    int64_t touched_count;  /* and how many; -1: every row, also of parameters without the flag */
} fv_param;

typedef struct fv_params fv_params;
/* dtype: FV_F32 to train, FV_F64 to check. Initial values depend on (seed, parameter name) only. */
FV_API fv_status fv_params_create(fv_params **params, fv_dtype dtype, uint64_t seed);
FV_API void fv_params_free(fv_params *params); /* and every layer made in it; NULL is fine */
/* Names are unique; *index counts from 0 in order of addition. Adding may move earlier values: get them again. */
FV_API fv_status fv_params_add(fv_params *params, const char *name, int rank, const int64_t *dim, fv_init init,
                               uint32_t flags, int *index);
FV_API int fv_params_count(const fv_params *params);
FV_API fv_param fv_params_get(const fv_params *params, int index);
FV_API int fv_params_find(const fv_params *params, const char *name); /* -1 if there is none */
FV_API void fv_params_set_flags(fv_params *params, int index, uint32_t flags);
FV_API int64_t fv_params_elements(const fv_params *params, bool trainable_only);
FV_API fv_status fv_params_grads(fv_params *params); /* takes memory for the gradients, zero; nothing if it has it */
FV_API void fv_params_zero_grads(fv_params *params);
/* All values in a safetensors file, by name, and back. Loading wants exactly the parameters of `params`: FV_BAD_MODEL
 * names a missing, unknown, misshapen or damaged tensor, and NaN; then no value has changed. f32 and f64 convert. Not
 * in a library that was built without the packages for files. */
FV_API fv_status fv_params_save(const fv_params *params, const char *path);
FV_API fv_status fv_params_load(fv_params *params, const char *path);
/* The whole block as rank-1 tensors, with the (zero) gaps that align each parameter. */
FV_API fv_tensor fv_params_flat(const fv_params *params);
FV_API fv_tensor fv_params_flat_grads(const fv_params *params);

/* ---- the graph */

typedef struct fv_graph fv_graph;
typedef struct fv_node fv_node; /* a value of this step; valid until the next fv_graph_begin */

typedef enum fv_mode {
    FV_MODE_INFER, /* no dropout, nothing recorded */
    FV_MODE_TRAIN, /* dropout, recorded, backward adds to the gradients of the parameters */
    FV_MODE_TRACE  /* no dropout, recorded, gradients of values and leaves only: for explanations */
} fv_mode;

FV_API fv_status fv_graph_create(fv_graph **graph, fv_params *params); /* params: borrowed, gives the dtype */
FV_API void fv_graph_free(fv_graph *graph);
FV_API void fv_graph_begin(fv_graph *graph, fv_mode mode, uint64_t seed); /* seed addresses the dropout of this step */
FV_API fv_mode fv_graph_mode(const fv_graph *graph);
FV_API fv_status fv_graph_status(const fv_graph *graph); /* first failure of this step; fv_message() says it */
/* For operations made outside: puts a failure on the graph, keeps the first, and returns the empty node. */
FV_API fv_node *fv_graph_failed(fv_graph *graph, fv_status status);
/* d(node . cotangent); NULL: a scalar node and cotangent 1. Once per step. FV_USAGE in FV_MODE_INFER. */
FV_API fv_status fv_graph_backward(fv_graph *graph, fv_node *node, const fv_tensor *cotangent);
FV_API size_t fv_graph_peak(const fv_graph *graph); /* bytes of its arena */

FV_API fv_tensor fv_node_value(const fv_node *node); /* may be a strided view */
FV_API fv_tensor fv_node_grad(const fv_node *node);  /* after backward; data NULL if it has none */
FV_API double fv_node_scalar(const fv_node *node);   /* the only element; NaN for an empty node */

/* A packed batch: sequence n owns rows [cu[n], cu[n+1]) of [T, d_model]; no padding. */
typedef struct fv_sequences {
    int64_t count;     /* N */
    const int32_t *cu; /* N+1 increasing, cu[0] = 0; borrowed for the call */
} fv_sequences;

/* ---- operations. Shapes in brackets; "rows of x" are all axes but the last. */

/* Sources. Data is borrowed until the step ends if its dtype is the graph's, else converted. */
FV_API fv_node *fv_op_constant(fv_graph *g, const fv_tensor *x);
FV_API fv_node *fv_op_leaf(fv_graph *g, const fv_tensor *x); /* a constant with a gradient */
FV_API fv_node *fv_op_param(fv_graph *g, int index);

/* Products. */
FV_API fv_node *fv_op_linear(fv_graph *g, fv_node *x, fv_node *w,
                             fv_node *b); /* x w^T + b; w [out,in], b [out] or NULL */
FV_API fv_node *fv_op_matmul(fv_graph *g, fv_node *a, fv_node *b, bool a_transposed, bool b_transposed);
/* leading axes are a batch and must agree */
/* Tables. ids are copied; an id outside the table is FV_BAD_DATA. */
FV_API fv_node *fv_op_embedding(fv_graph *g, fv_node *table, const int32_t *ids, int64_t count); /* [count, d_model] */
typedef enum fv_bag { FV_BAG_SUM, FV_BAG_MEAN } fv_bag;
/* Row n combines rows ids[offsets[n]] .. ids[offsets[n+1]-1] of the table; an empty bag is zero. */
FV_API fv_node *fv_op_embedding_bag(fv_graph *g, fv_node *table, const int32_t *ids, const int64_t *offsets,
                                    int64_t bags, fv_bag kind);

/* Pointwise. b has the shape of a, or of its last axes (repeated over the others). */
FV_API fv_node *fv_op_add(fv_graph *g, fv_node *a, fv_node *b);
FV_API fv_node *fv_op_sub(fv_graph *g, fv_node *a, fv_node *b);
FV_API fv_node *fv_op_mul(fv_graph *g, fv_node *a, fv_node *b);
FV_API fv_node *fv_op_scale(fv_graph *g, fv_node *x, double factor);
typedef enum fv_activation {
    FV_GELU,
    FV_GELU_TANH,
    FV_RELU,
    FV_SILU,
    FV_TANH,
    FV_SIGMOID,
    FV_LOG_SIGMOID,
    FV_ACTIVATIONS
} fv_activation;
FV_API fv_node *fv_op_activation(fv_graph *g, fv_node *x, fv_activation kind);
FV_API fv_node *fv_op_dropout(fv_graph *g, fv_node *x, double p); /* x/(1-p) or 0; x itself unless training */

/* Over the last axis. */
FV_API fv_node *fv_op_layer_norm(fv_graph *g, fv_node *x, fv_node *weight, fv_node *bias,
                                 double eps); /* weight and bias may be NULL */
/* ... and what it found in each row of x: the mean and 1/sqrt(variance + eps), [rows], of the graph until its next
 * begin. */
FV_API fv_node *fv_op_layer_norm_found(fv_graph *g, fv_node *x, fv_node *weight, fv_node *bias, double eps,
                                       fv_tensor *mean, fv_tensor *rstd);
FV_API fv_node *fv_op_rms_norm(fv_graph *g, fv_node *x, fv_node *weight, double eps);
FV_API fv_node *fv_op_softmax(fv_graph *g, fv_node *x);
FV_API fv_node *fv_op_log_softmax(fv_graph *g, fv_node *x);

/* Views share memory and gradient with x; nothing is copied (reshape copies if x has gaps). */
FV_API fv_node *fv_op_reshape(fv_graph *g, fv_node *x, int rank, const int64_t *dim);
FV_API fv_node *fv_op_slice(fv_graph *g, fv_node *x, int axis, int64_t start, int64_t count);
FV_API fv_node *fv_op_transpose(fv_graph *g, fv_node *x, int axis_a, int axis_b);
FV_API fv_node *fv_op_heads(fv_graph *g, fv_node *x, int64_t start, int64_t heads, int64_t width);
/* columns start.. of x [T, *] seen as (1, heads, T, width), as attention wants them */
FV_API fv_node *fv_op_concat(fv_graph *g, fv_node *const *parts, int count, int axis); /* copies */
FV_API fv_node *fv_op_sum(fv_graph *g, fv_node *x);                                    /* scalar */
FV_API fv_node *fv_op_mean(fv_graph *g, fv_node *x);

/* Packed sequences. Position of a row = first[n] + its place in its sequence n; first NULL: 0. table [max, d_model]. */
FV_API fv_node *fv_op_add_sinusoidal(fv_graph *g, fv_node *x, const fv_sequences *s, const int64_t *first);
FV_API fv_node *fv_op_add_positions(fv_graph *g, fv_node *x, fv_node *table, const fv_sequences *s,
                                    const int64_t *first);
/* x (1,H,T,D) or [T,D]; rotates all of D (even) */
FV_API fv_node *fv_op_rope(fv_graph *g, fv_node *x, const fv_sequences *s, const int64_t *first,
                           fv_rope_pairing pairing, double base);
typedef enum fv_pool { FV_POOL_MEAN, FV_POOL_MAX, FV_POOL_FIRST, FV_POOL_SUM } fv_pool;
FV_API fv_node *fv_op_pool(fv_graph *g, fv_node *x, const fv_sequences *s,
                           fv_pool kind);                                           /* [N, d_model]; empty: zero */
FV_API fv_node *fv_op_softmax_rows(fv_graph *g, fv_node *x, const fv_sequences *s); /* per column, over each sequence */
FV_API fv_node *fv_op_pool_weighted(fv_graph *g, fv_node *x, fv_node *weights,
                                    const fv_sequences *s); /* weights [T,1] */

/* Losses: scalars, means over what counts. logits [N, C]. */
typedef struct fv_targets {
    const int32_t *labels;      /* [N] class, -1: row does not count; or NULL and */
    const fv_tensor *soft;      /* [N, C] probabilities */
    const float *class_weights; /* [C] or NULL: row weight = weight of its label (labels only) */
    const float *row_weights;   /* [N] or NULL */
    double label_smoothing;     /* mixes this much of the uniform distribution into the target */
} fv_targets;
FV_API fv_node *fv_op_cross_entropy(fv_graph *g, fv_node *logits, const fv_targets *targets);
FV_API fv_node *fv_op_bce(fv_graph *g, fv_node *logits,
                          const fv_tensor *targets); /* targets in [0,1], shape of logits */
FV_API fv_node *fv_op_mse(fv_graph *g, fv_node *x, const fv_tensor *targets);

/* ---- attention: any mechanism of the table, with gradients of all its inputs */

typedef struct fv_attend {
    const char *name;             /* of the layer, for explanations: "block0.attention"; kept by pointer */
    fv_attention_options options; /* dropout acts only while training */
    fv_attention_call call;       /* seed 0: the graph gives one */
    fv_node
        *in[FV_OPERAND_SLOTS]; /* differentiable operands: q (B,H,L,D), k, v, bias, sinks, gate, w0... NULL: absent */
    fv_tensor
        fixed[FV_OPERAND_SLOTS]; /* masks, lengths, cu_seqlens, index, constant slopes; rank 0: absent; borrowed */
    const fv_sequences *q_rows, *k_rows; /* packed batch instead of fixed[FV_CU_Q/K]; copied. k_rows NULL: as q_rows */
} fv_attend;
/* Returns out (B,H,Lq,Dv), in memory (B,Lq,H,Dv): fv_op_merge_heads is a view. lse, state: wanted outputs or NULL. */
FV_API fv_node *fv_op_attend(fv_graph *g, const fv_attend *call, fv_node **lse, fv_node **state);
FV_API fv_node *fv_op_merge_heads(fv_graph *g, fv_node *x); /* (1,H,T,D) -> [T, H*D] */

/* The attention calls of this step, in order of execution. `plan`, `call` and `x` are those of fv_attention_weights;
 * after backward x.d[FV_OUT] is the gradient of the output, so the gradient of a weight is dot(d[FV_OUT] row,
 * t[FV_V] row). */
typedef struct fv_attention_record {
    const char *name;
    const fv_attention_plan *plan;
    fv_attention_call call; /* with the seed its dropout had */
    fv_attention_tensors x;
} fv_attention_record;
FV_API int fv_graph_attention_count(const fv_graph *graph);
FV_API fv_status fv_graph_attention(const fv_graph *graph, int index, fv_attention_record *record);

/* ---- gradient check: central differences with Richardson extrapolation, random cotangent, f64 */

typedef fv_node *fv_grad_fn(fv_graph *g, fv_node *const *leaves, void *context);
/* Compares all gradients of fn's leaves (f64 tensors, changed and restored) and of `params` (f64 or NULL) in
 * training mode.
 * *worst: largest |difference| of a tensor / largest |gradient| of it. FV_FAIL above `tolerance`; the message says
 * where. */
FV_API fv_status fv_grad_check(fv_grad_fn *fn, void *context, const fv_tensor *leaves, int count, fv_params *params,
                               uint64_t seed, double tolerance, double *worst);

#ifdef __cplusplus
}
#endif
#endif
