/* The contract between the dispatcher, an engine (engine/NAME/) and a mechanism (mech/NAME.c).
 *
 * A mechanism is one constant of type fv__mechanism, named fv__mech_NAME, and one row in mechanisms.def. It says which
 * engine computes it and sets that engine up. The dispatcher checks everything the public row promises (operands,
 * shapes, dtypes, abilities) before it calls; what only the mechanism knows is checked in its `setup`. After a plan
 * exists nothing can fail: forward and backward return void and never allocate. */
#ifndef FV_ATTN_CONTRACT_H
#define FV_ATTN_CONTRACT_H

#include "attn/regions.h"
#include "base/base.h"
#include "fovea/attention.h"
#include "fovea/statistics.h"

typedef struct fv__mechanism fv__mechanism;
typedef struct fv__engine fv__engine;
enum { FV_ATTN_CHILDREN = 4 };

/* Everything a kernel needs to know, resolved: defaults filled in, sizes named. Never changed after it was made. */
struct fv_attention_plan {
    const fv__mechanism *mechanism;
    fv_attention_options options;                              /* scale and windows already resolved, see below */
    fv_tensor shape[FV_OPERAND_SLOTS], grad[FV_OPERAND_SLOTS]; /* shapes announced; rank 0 = absent */
    fv_dtype dtype;   /* of the arithmetic, and of all a mechanism sees: f32 or f64 */
    fv_dtype storage; /* of the caller's q k v out: dtype, or bf16 or f16, see cast.c */
    int64_t batch, heads, kv_heads, q_len, k_len, d_qk, d_v;
    int64_t sequences; /* batch, or N of cu_seqlens */
    bool causal, lower_right, packed;
    int64_t window_left, window_right;          /* as given; causal makes window_right 0 */
    void *params;                               /* the mechanism's own, filled from text */
    void *setup;                                /* of the engine, filled by the mechanism: see fv__ENGINE_setup_of */
    fv_attention_plan *child[FV_ATTN_CHILDREN]; /* plans this one runs: see fv__plan_child */
    int children;
};

/* One call of a plan. */
typedef struct fv__run {
    const fv_attention_plan *plan;
    const fv_attention_tensors *x;
    fv_attention_call call;
} fv__run;

/* An engine computes a family of mechanisms: fv__tile, fv__rows, fv__recurrent, fv__gate in engine/NAME/NAME.h. What it
 * can do (FV_NAME_CAN there), every mechanism over it can do unless the mechanism's row takes it away. */
struct fv__engine {
    const char *name;
    uint32_t can;      /* FV_CAN_... */
    bool reads_out;    /* its backward reads `out`, if there is a lse; of 16-bit tensors before rounding, see cast.c */
    size_t setup_size; /* of the struct a mechanism fills; zero means the engine's defaults */
    /* What the engine refuses, after the mechanism's setup and before the scale is resolved. May be NULL. */
    fv_status (*accept)(const fv_attention_plan *plan);
    fv_status (*check)(const fv__run *run);                          /* what it refuses of a call. May be NULL */
    size_t (*scratch)(const fv_attention_plan *plan, bool backward); /* bytes, whatever the call says */
    double (*flops)(const fv_attention_plan *plan, const fv_attention_call *call, bool backward);
    void (*forward)(const fv__run *run, void *scratch);
    void (*backward)(const fv__run *run, void *scratch);
    /* Weights of chosen rows, and the bytes of scratch that takes (NULL: none). weights NULL: cannot. Several threads
     * may call it at once, each with its scratch; it starts none and allocates nothing. */
    size_t (*weights_scratch)(const fv_attention_plan *plan);
    void (*weights)(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                    int64_t count, const fv_tensor *out, void *scratch);
    /* Scratch and work of fv_attention_statistics_compute; both NULL: from blocks of rows of weights. Of `want`
     * everything is checked. */
    size_t (*statistics_scratch)(const fv_attention_plan *plan, const fv_attention_statistics *want);
    void (*statistics)(const fv__run *run, const fv_attention_statistics *want, void *scratch);
    void (*describe)(const fv_attention_plan *plan, char *text, size_t size); /* name, type, tiles */
    /* Can fv_decode compute it over a cache, keys where they lie? NULL: no. */
    bool (*decodes_in_place)(const fv_attention_plan *plan);
};

struct fv__mechanism {
    fv_mechanism info;  /* public row; first, so a pointer to it is a pointer to this */
    size_t params_size; /* sizeof the struct info.params describes */
    const fv__engine *engine;
    bool unnormalized;                           /* rows of weights do not sum to 1: there is no lse */
    fv_status (*setup)(fv_attention_plan *plan); /* checks what only it knows, fills plan->setup; may be NULL */
    int64_t (*extent)(const fv_attention_plan *plan, char letter); /* of its own in info.operands; may be NULL */
    void (*reference)(const fv__run *run);
};

/* plan->setup when the plan runs on `engine`, else NULL: a setup is never taken for that of another engine. */
static inline void *fv__setup_of(const fv_attention_plan *plan, const fv__engine *engine) {
    return plan->mechanism->engine == engine ? plan->setup : NULL;
}

/* Plans a mechanism that another is made of, in the setup of that one: with options and shapes of its own, checked like
 * those of any caller. The child belongs to the plan. */
fv_status fv__plan_child(fv_attention_plan *plan, const fv_attention_options *options,
                         const fv_attention_tensors *shapes, const fv_attention_plan **child);

/* Scratch of 2^48 bytes and more is refused when planning: no machine has it. So sizes stop growing there, and sums
 * of them, times the threads, never wrap: what is too large is seen to be. */
#define FV_ATTN_MOST (INT64_C(1) << 48)

/* a * b of two counts, at most FV_ATTN_MOST; a count of -1 is one that overflowed. */
static inline int64_t fv__attn_times(int64_t a, int64_t b) {
    int64_t product;
    const bool wraps = __builtin_mul_overflow(a, b, &product) || product < 0;
    return wraps || product > FV_ATTN_MOST ? FV_ATTN_MOST : product;
}

/* Bytes that `count` elements take in scratch, where every array begins at a line of 64; at most FV_ATTN_MOST, and a
 * red zone under sanitizers. */
static inline size_t fv__attn_lines(int64_t count, size_t element) {
    return (((size_t)fv__attn_times(count, (int64_t)element) + 63) & ~(size_t)63) + FV_RED_ZONE;
}

/* Element i of a tensor of i32 or i64 with one axis: lengths, cu_seqlens. */
static inline int64_t fv__attn_integer(const fv_tensor *t, int64_t i) {
    const int64_t at = i * t->stride[0];
    return t->dtype == FV_I64 ? ((const int64_t *)t->data)[at] : ((const int32_t *)t->data)[at];
}

/* A sequence of the batch, packed or not: where its rows are and which keys exist. */
typedef struct fv__sequence {
    int64_t batch;  /* index on axis 0 of the tensors (0 when packed) */
    int64_t number; /* number of the sequence: addresses dropout */
    int64_t q_start, q_len, k_start, k_len;
    int64_t q_offset; /* position of its query 0 among its keys */
    int64_t prefix;   /* keys every query sees, at most k_len */
} fv__sequence;
fv__sequence fv__attn_sequence(const fv__run *run, int64_t number);

/* First and one-past-last key that query i (inside the sequence) may see by causality, windows and prefix; empty: *end
 * <= *start. */
void fv__attn_visible(const fv_attention_plan *plan, const fv__sequence *sequence, int64_t i, int64_t *start,
                      int64_t *end);

/* Refuses a number that the arithmetic does not have: too large, or so small that it would be taken for 0. In units of
 * log 2 it is half as large again, so half of the largest is the most. */
fv_status fv__attn_check_number(const char *where, double value, fv_dtype arithmetic);

/* Refuses sides below -1 or beyond 2^48, and sides that are set without `limited`. */
fv_status fv__attn_check_window(const char *where, const fv_window *w);

/* Refuses a plan with gradients and without "lse": what a backward from the log-sum-exp needs. */
fv_status fv__attn_check_saved_lse(const fv_attention_plan *plan);

#endif
