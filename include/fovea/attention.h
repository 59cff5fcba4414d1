/* fovea/attention.h - every attention mechanism behind one interface: describe, plan, run.
 *
 *     fv_attention_tensors x = {0};
 *     x.t[FV_Q] = fv_bhld(q, FV_F32, B, H, Lq, D);    x.t[FV_K] = fv_bhld(k, FV_F32, B, Hkv, Lk, D);
 *     x.t[FV_V] = fv_bhld(v, FV_F32, B, Hkv, Lk, Dv); x.t[FV_OUT] = fv_bhld(out, FV_F32, B, H, Lq, Dv);
 *     fv_attention_options how = FV_ATTENTION_DEFAULT;
 *     how.causal = FV_CAUSAL_LOWER_RIGHT;
 *     fv_status status = fv_attention(&how, NULL, &x);                // plans, takes scratch, runs
 *
 * In a loop: fv_attention_plan_create once, then fv_attention_forward / _backward with scratch of the announced size.
 * O(L) memory forward and backward; the same bits for any number of threads.
 */
#ifndef FOVEA_ATTENTION_H
#define FOVEA_ATTENTION_H

#include "blocks.h"
#include "operands.h"
#include "tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- tensors -----------------------------------------------------------------------------------------------------
 * A mechanism reads and writes named tensors, its operands (operands.h). One numbering serves all mechanisms; each
 * says which it takes. Shapes are logical (batch, heads, length, head_dim) with any strides, unit stride on the last
 * axis of q k v out; data is aligned to its element. Inputs may overlap (packed QKV, one tensor as k and v); what is
 * written overlaps nothing else, nor itself by a stride of 0. Dtype of q k v out and all differentiable operands:
 * f32, or f64 for all of them, or bf16 or f16 with arithmetic in f32: then q k v out are of one type, lse and aux
 * are f32, the other operands either; results are rounded to nearest even. A gradient has its tensor's type. 16-bit
 * tensors are converted in scratch, which the plan announces; rows that a length hides are not read. */

/* t: the tensors. d: their gradients. Forward reads t of the inputs and writes t of the outputs. Backward reads t, and
 * d of the outputs (absent = zero), and OVERWRITES d of the inputs that are present. `rank == 0` means absent. */
typedef struct fv_attention_tensors {
    fv_tensor t[FV_OPERAND_SLOTS];
    fv_tensor d[FV_OPERAND_SLOTS];
} fv_attention_tensors;

/* ---- options */

/* Query i and key j are compared by position i + q_offset and j. UPPER_LEFT: q_offset as the call gives it (0).
 * LOWER_RIGHT: q_offset = Lk - Lq, the last query sees the last key: of each sequence its own, kv_len - Lq with key
 * lengths, lengths between cu_seqlens with packed sequences. */
typedef enum fv_causal { FV_CAUSAL_NONE, FV_CAUSAL_UPPER_LEFT, FV_CAUSAL_LOWER_RIGHT } fv_causal;
typedef enum fv_mask_means { FV_MASK_KEEP, FV_MASK_DROP } fv_mask_means; /* what a true element says */

/* All zeros are the defaults: `fv_attention_options how = {.scale = .5}`.
 * Order: scale, softcap, bias and slopes, masks, softmax with sinks, dropout/(1-p), values.
 * A row without visible keys gives zeros, LSE -inf and zero gradients; what is masked is never read. */
typedef struct fv_attention_options {
    const char *mechanism; /* "softmax", "topk:k=32", "window:left=64,right=0"; NULL is softmax */
    /* 0: 1/sqrt(D); may be negative. Of a size that the arithmetic, f32 or f64, has, as softcap (FV_USAGE). */
    double scale;
    double softcap; /* 0: none; else cap*tanh(s/cap) */
    fv_causal causal;
    fv_window window; /* FV_WINDOW(left, right); zeros: none */
    fv_mask_means mask_means;
    double
        dropout; /* probability of dropping a weight, up to 1; bits are addressed by (seed of the call, b, h, i, j) */
    const fv_block_mask
        *blocks;          /* which query sees which key, besides all the above (not with cu_seqlens); NULL: all */
    uint64_t reserved[8]; /* zero; anything else is FV_USAGE */
} fv_attention_options;
#define FV_ATTENTION_DEFAULT \
    { 0 }

/* Its rows, all but `blocks`, which has no text. A struct that holds these options includes them by a GROUP row. */
FV_API const fv_option *fv_attention_rows(void);

/* What may differ from call to call of one plan; NULL in its place is all zeros. The backward, the weights and the
 * statistics of a forward take the call of that forward. */
typedef struct fv_attention_call {
    uint64_t seed;        /* of the dropout */
    int64_t q_offset;     /* position of query 0 among the keys, up to 2^48; with UPPER_LEFT, NONE and windows */
    uint64_t reserved[8]; /* zero; anything else is FV_USAGE */
} fv_attention_call;
FV_API const fv_option *fv_attention_call_rows(void);

/* ---- running */

/* One call: plan, scratch, forward; then backward if any gradient of an input is present in x->d. options NULL:
 * FV_ATTENTION_DEFAULT. FV_USAGE as for a plan, FV_NO_RESOURCES without memory for the scratch. */
FV_API fv_status fv_attention(const fv_attention_options *options, const fv_attention_call *call,
                              const fv_attention_tensors *x);

/* A plan is immutable and may be shared between threads. Only shapes and dtypes of `shapes` are read (data may be NULL,
 * rank 0 = absent): operands in t that will be given, and in d the gradients that will be given or wanted.
 * Refuses with the reason: FV_USAGE for wrong shapes or options, or what the mechanism cannot do; FV_NO_RESOURCES when
 * the scratch would be 2^48 bytes or more, or the rows of all sequences and heads are beyond 2^63. Free it with
 * _plan_free; the text of options->mechanism may end before, options->blocks may not. */
typedef struct fv_attention_plan fv_attention_plan;
FV_API fv_status fv_attention_plan_create(fv_attention_plan **plan, const fv_attention_options *options,
                                          const fv_attention_tensors *shapes);
FV_API void fv_attention_plan_free(fv_attention_plan *plan);

/* Bytes of scratch a call needs, for fv_threads() as it is now. Any alignment will do. */
FV_API size_t fv_attention_scratch(const fv_attention_plan *plan, bool backward);

/* "softmax: tile f32 avx512 48x128, 2 threads, scratch 1.2 MiB" and what is switched on. Returns the length it
 * needs. */
FV_API size_t fv_attention_plan_describe(const fv_attention_plan *plan, char *text, size_t size);

/* 0 for a call that would be refused. Multiply-adds counted twice, of the (query, key) pairs that shapes and options
 * leave visible: lengths, prefixes and masks are values and not known to a plan, packed sequences are taken for
 * equal ones. Backward of softmax is 2.5 times the forward when Dv is D. */
FV_API double fv_attention_flops(const fv_attention_plan *plan, const fv_attention_call *call, bool backward);

/* Shapes must be those of the plan; values of lengths and cu_seqlens are checked. Nothing is allocated. Lse and aux may
 * be left out of a forward, planned gradients out of a backward. FV_USAGE: other tensors than planned, a backward of a
 * plan without gradients. */
FV_API fv_status fv_attention_forward(const fv_attention_plan *plan, const fv_attention_call *call,
                                      const fv_attention_tensors *x, void *scratch);
FV_API fv_status fv_attention_backward(const fv_attention_plan *plan, const fv_attention_call *call,
                                       const fv_attention_tensors *x, void *scratch);

/* The same forward by plain loops in double precision, for checking; shares no code with the engine. Slow. */
FV_API fv_status fv_attention_reference(const fv_attention_plan *plan, const fv_attention_call *call,
                                        const fv_attention_tensors *x);

/* Scores or weights of chosen query rows of one (batch, head), after a forward that gave FV_LSE; `capture` is the point
 * of the computation, as `qk_matmul_output_mode` of ONNX says. With cu_seqlens, `batch` is the number of the sequence
 * and rows count inside it. rows NULL: all rows in order, and `count` is not read; no row is a list of 0. weights:
 * (rows, Lk) of the plan's dtype; keys that do not exist or are masked get 0 (weights) or -inf (scores). SOFTMAX is
 * before dropout, DROPOUT after it: what multiplied the values. For 16-bit tensors the weights are f32, and memory
 * is taken for an f32 copy of the keys of the head, or for a selection of keys (FV_NO_RESOURCES). */
typedef enum fv_capture {
    FV_CAPTURE_RAW,        /* times scale */
    FV_CAPTURE_SOFTCAPPED, /* cap tanh(s/cap) */
    FV_CAPTURE_BIASED,     /* with bias, slopes and what the mechanism adds to them */
    FV_CAPTURE_SOFTMAX,
    FV_CAPTURE_DROPOUT
} fv_capture;
FV_API fv_status fv_attention_weights(const fv_attention_plan *plan, const fv_attention_call *call,
                                      const fv_attention_tensors *x, fv_capture capture, int64_t batch, int64_t head,
                                      const int64_t *rows, int64_t count, const fv_tensor *weights);

/* ---- the table of mechanisms */

enum { /* what a mechanism can do */
       FV_CAN_BACKWARD = 1,
       FV_CAN_CAUSAL = 2,   /* causal masks and windows given in the options */
       FV_CAN_GQA = 4,      /* grouped-query attention: fewer kv heads than heads */
       FV_CAN_VARLEN = 8,   /* sequences of any lengths packed without padding: cu_seqlens */
       FV_CAN_KV_LEN = 16,  /* operand kv_len */
       FV_CAN_WEIGHTS = 32, /* fv_attention_weights */
       FV_CAN_DROPOUT = 64,
       FV_CAN_SELF = 128,   /* needs only x: a gate, q is its input */
       FV_CAN_BLOCKS = 256, /* options.blocks */
       FV_CAN_DECODE = 512  /* the last rows alone, over all keys, give what they give with the rows before them */
};

/* A parameter of a mechanism: what a layer makes of it. */
typedef enum fv_operand_init {
    FV_OPERAND_XAVIER, /* uniform, bound sqrt(6 / (sum of the last two axes)) */
    FV_OPERAND_ZEROS,
    FV_OPERAND_ONES,
    FV_OPERAND_NORMAL /* normal, deviation 0.1 */
} fv_operand_init;
typedef struct fv_mechanism_operand {
    fv_operand operand;       /* FV_W0 ..., FV_AUX */
    const char *name, *shape; /* "w1"; "H,R,D", with letters of its own beside those of operands.def */
    fv_operand_init init;
    bool decay; /* weight decay applies */
    const char *help;
} fv_mechanism_operand;

typedef struct fv_mechanism {
    const char *name, *summary; /* summary: one line */
    const char *citation;       /* who, what, where */
    const char *cost;           /* "O(n m d)" */
    uint64_t needs, takes;      /* sets of operands it cannot do without / also understands; out, lse, aux not listed */
    uint32_t can;               /* FV_CAN_... */
    const fv_option *params;    /* its settings, ended by a NULL name */
    const fv_mechanism_operand *operands; /* its own parameters, ended by a NULL name; NULL: none */
    const char *examples[4]; /* calls that show it at small lengths: tests and `fovea verify` run them; at least one */
} fv_mechanism;

FV_API size_t fv_mechanism_count(void);
FV_API const fv_mechanism *fv_mechanism_at(size_t index);
FV_API const fv_mechanism *fv_mechanism_find(const char *name); /* NULL if there is none */
/* The row of one of its own parameters; NULL: it has none of this number. */
FV_API const fv_mechanism_operand *fv_mechanism_own(const fv_mechanism *mechanism, fv_operand operand);

/* The shape an operand must have for mechanism text `options->mechanism` given q (and k, v) in `shapes`: rank 0 if
 * unused. */
FV_API fv_status fv_attention_operand_shape(const fv_attention_options *options, const fv_attention_tensors *shapes,
                                            fv_operand operand, fv_tensor *shape);

#ifdef __cplusplus
}
#endif
#endif
