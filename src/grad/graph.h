/* The inside of a graph: what an operation needs to be written.
 *
 * An operation is one function that checks its inputs, makes its node with fv__node_new, computes the value, and leaves
 * a backward function that ADDS to the gradients of its inputs. Kernels take void pointers; FV__CALL picks f32 or f64.
 *
 * Nodes are owners or views. An owner has dense memory (any order of axes); a view is a window of an owner, in its
 * value and in its gradient, so backward through a view is nothing. */
#ifndef FV_GRAD_GRAPH_H
#define FV_GRAD_GRAPH_H

#include "base/base.h"
#include "fovea/files.h"
#include "fovea/grad.h"

typedef void fv__back_fn(fv_graph *g, fv_node *node);

enum { FV__INPUTS = 4 };

struct fv_node {
    fv_tensor value;
    void *grad;              /* owners: memory as `value`; NULL until something contributes */
    fv_node *owner;          /* views: whose memory this is; NULL for owners */
    fv_node *partner;        /* another output of the same operation, made after this one */
    fv_node *in[FV__INPUTS]; /* NULL where absent */
    fv__back_fn *backward;   /* NULL: sources and views */
    void *saved;             /* what backward needs, in the arena */
    fv_node *before;         /* the tape */
    int param;               /* index, -1 otherwise */
    bool needs_grad;
};

typedef struct fv__attend_call fv__attend_call; /* attend.h */
typedef struct fv__plans fv__plans;
typedef struct fv__angles fv__angles; /* sequences.h */

struct fv_graph {
    fv_params *params;
    fv_dtype dtype;
    size_t size; /* of one element */
    fv_mode mode;
    uint64_t seed, draws; /* dropout: number of random operations so far in this step */
    fv_status status;
    fv__arena *arena;
    fv_node *last;        /* the tape, backwards */
    fv_node empty;        /* what failed operations return */
    fv_node **param_node; /* this step's node of each parameter, in the arena */
    int param_count;
    struct fv__kept *kept;
    fv__attend_call *attend_first, *attend_last;
    int attend_count;
    void *scratch; /* of attention, shared by the calls of a step */
    size_t scratch_bytes;
    uint64_t step;    /* number of fv_graph_begin */
    fv__plans *plans; /* kept from step to step */
    fv__angles *angles;
};

/* ---- making nodes */

/* A new owner of this shape with memory that is not initialised; in[] are the inputs that may want gradients. NULL
 * inputs are fine. On failure the empty node is returned: `if (y == &g->empty) return y;`. */
fv_node *fv__node_new(fv_graph *g, int rank, const int64_t *dim, fv_node *const *in, int inputs, fv__back_fn *backward);
fv_node *fv__node_like(fv_graph *g, const fv_node *x, fv_node *const *in, int inputs, fv__back_fn *backward);
/* A view of x's memory with this description (data inside x's). */
fv_node *fv__node_view(fv_graph *g, fv_node *x, const fv_tensor *value);
/* x itself if it is row-major without gaps, else a copy with gradient. */
fv_node *fv__node_dense(fv_graph *g, fv_node *x);
/* Scratch of this step, not initialised. NULL puts the failure on the graph. */
void *fv__graph_memory(fv_graph *g, size_t count, size_t size);
void *fv__graph_copy(fv_graph *g, const void *from, size_t count, size_t size);

/* Remembers a node of this step under the address of whoever made it; the last one counts. NULL if there is none. */
void fv__graph_keep(fv_graph *g, const void *owner, fv_node *node);
fv_node *fv__graph_kept(fv_graph *g, const void *owner);

/* False (and the failure is on the graph) when an earlier operation failed or an input is missing. */
bool fv__ready(fv_graph *g, const char *where, fv_node *const *in, int inputs);
/* Refuses: fv__fail with "where: what\n  expected ...\n  found: ..." made of the shapes. Returns the empty node. */
fv_node *fv__refuse(fv_graph *g, const char *where, const char *expected, const fv_node *found);

/* ---- gradients */

/* Where to put a contribution to the gradient of x (strides in the tensor); data NULL: nobody wants it.
 * *fresh: the memory has no contribution yet and is NOT initialised, so the caller must write all of it. With fresh
 * == NULL it is zeroed first instead. */
fv_tensor fv__grad_of(fv_graph *g, fv_node *x, bool *fresh);
/* The same for a caller that writes into these rows of x only: a table of parameters remembers which rows have a
 * gradient (fv_param.touched). */
fv_tensor fv__grad_of_rows(fv_graph *g, fv_node *x, const int32_t *rows, int64_t count);
/* The gradient that arrived at a node; data NULL if none did. */
fv_tensor fv__grad_at(const fv_node *node);

/* ---- running kernels */

#define FV__CALL(dtype, kernel, ...) \
    ((dtype) == FV_F32 ? fv__simd_f32_now()->kernel(__VA_ARGS__) : fv__simd_f64_now()->kernel(__VA_ARGS__))

static inline void *fv__at(const void *base, int64_t elements, size_t size) {
    return (char *)(uintptr_t)base + elements * (int64_t)size;
}

/* Calls fn on [start, start+count) pieces of n items; the pieces depend on n and `piece` only. */
typedef void fv__span_fn(void *context, int64_t start, int64_t count);
void fv__spans(int64_t n, int64_t piece, fv__span_fn *fn, void *context);
enum { FV__PIECE = 16384 }; /* elements of a piece of pointwise work */
/* Rows of a piece when each has n elements. */
static inline int64_t fv__piece_rows(int64_t n) { return n >= FV__PIECE ? 1 : FV__PIECE / (n ? n : 1); }

/* Rows and columns of x seen as a matrix of its last axis. */
static inline int64_t fv__columns(const fv_node *x) { return x->value.dim[x->value.rank - 1]; }
static inline int64_t fv__count(const fv_node *x) { return fv_tensor_count(&x->value); }
int64_t fv__node_rows(const fv_node *x);

/* y += x for tensors of the same shape and any strides; with `overwrite` y = x. */
void fv__accumulate(const fv_tensor *y, const fv_tensor *x, bool overwrite);

/* ---- parameters */

/* From here on a parameter that is added must be a tensor of this file with its shape, which is asked before memory is
 * taken; nothing is drawn, for the values will be the file's. NULL: as before. */
void fv__params_expect(fv_params *params, const fv_tensor_file *file);

/* Memory that lives as long as the parameters: layers. NULL sets the message. */
void *fv__params_memory(fv_params *params, size_t bytes);
fv_dtype fv__params_dtype(const fv_params *params);

/* These rows of a FV_PARAM_SPARSE parameter belong to the next step; NULL: every row. Nothing for other parameters. */
fv_status fv__params_touch(fv_params *params, int index, const int32_t *rows, int64_t count);
void fv__params_untouch(fv_params *params, int index); /* its gradients are zero again */

#endif
