/* The contract between the dispatcher (plan.c, run.c) and a mechanism (mech/NAME.c).
 *
 * A mechanism is one constant of type fv__mechanism, named fv__mech_NAME, and one row in mechanisms.def. The dispatcher
 * checks everything the public row promises (ports, shapes, dtypes, abilities) before it calls; what only the mechanism
 * knows is checked in `accept`. After a plan exists nothing can fail: forward and backward return void and never
 * allocate. */
#ifndef FV_ATTN_CONTRACT_H
#define FV_ATTN_CONTRACT_H

#include "base/base.h"
#include "fovea/attention.h"
#include "fovea/statistics.h"

typedef struct fv__mechanism fv__mechanism;

/* Everything a kernel needs to know, resolved: defaults filled in, sizes named. */
struct fv_attention_plan {
    const fv__mechanism *mechanism;
    fv_attention_options options;              /* scale, causal -> q_offset and windows already resolved, see below */
    fv_tensor shape[FV_PORTS], grad[FV_PORTS]; /* shapes announced; rank 0 = absent */
    fv_dtype dtype;                            /* of the arithmetic, and of all a mechanism sees: f32 or f64 */
    fv_dtype storage;                          /* of the caller's q k v out: dtype, or bf16 or f16, see cast.c */
    int64_t batch, heads, kv_heads, q_len, k_len, d_qk, d_v;
    int64_t sequences; /* batch, or N of cu_seqlens */
    int64_t q_offset;  /* per plan; with LOWER_RIGHT it is k_len - q_len of each sequence: see `lower_right` */
    bool causal, lower_right, packed;
    int64_t window_left, window_right; /* as given; causal makes window_right 0 */
    void *params;                      /* the mechanism's own, filled from text */
    void *tuning; /* what accept chose (tile sizes ...); freed with the plan by fv__free, may be NULL */
};

struct fv__mechanism {
    fv_mechanism info;                            /* public row; first, so a pointer to it is a pointer to this */
    size_t params_size;                           /* sizeof the struct info.params describes */
    fv_status (*accept)(fv_attention_plan *plan); /* may be NULL */
    void (*port_shape)(const fv_attention_plan *plan, fv_port port, fv_tensor *shape); /* own parameters; may be NULL */
    size_t (*scratch)(const fv_attention_plan *plan, bool backward);                   /* bytes; may be NULL for 0 */
    double (*flops)(const fv_attention_plan *plan, bool backward);
    void (*forward)(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch);
    void (*backward)(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch);
    void (*reference)(const fv_attention_plan *plan, const fv_attention_tensors *x);
    void (*weights)(const fv_attention_plan *plan, const fv_attention_tensors *x, fv_capture capture, int64_t batch,
                    int64_t head, const int64_t *rows, int64_t count, const fv_tensor *out); /* NULL: cannot */
    /* Scratch and work of fv_attention_statistics_compute; both NULL: cannot. Of `want` everything is checked. */
    size_t (*statistics_scratch)(const fv_attention_plan *plan, const fv_attention_statistics *want);
    void (*statistics)(const fv_attention_plan *plan, const fv_attention_tensors *x,
                       const fv_attention_statistics *want, void *scratch);
    void (*describe)(const fv_attention_plan *plan, char *text, size_t size); /* engine, tiles; may be NULL */
};

/* Scratch of 2^48 bytes and more is refused when planning: no machine has it. So sizes stop growing there, and sums
 * of them, times the threads, never wrap: what is too large is seen to be. */
#define FV_ATTN_MOST (INT64_C(1) << 48)

/* a * b of two counts, at most FV_ATTN_MOST. */
static inline int64_t fv__attn_times(int64_t a, int64_t b) {
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) || product > FV_ATTN_MOST ? FV_ATTN_MOST : product;
}

/* Bytes that `count` elements take in scratch, where every array begins at a line of 64; at most FV_ATTN_MOST. */
static inline size_t fv__attn_lines(int64_t count, size_t element) {
    return ((size_t)fv__attn_times(count, (int64_t)element) + 63) & ~(size_t)63;
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
fv__sequence fv__attn_sequence(const fv_attention_plan *plan, const fv_attention_tensors *x, int64_t number);

/* First and one-past-last key that query i (inside the sequence) may see by causality, windows and prefix; empty: *end
 * <= *start. */
void fv__attn_visible(const fv_attention_plan *plan, const fv__sequence *sequence, int64_t i, int64_t *start,
                      int64_t *end);

/* Refuses a number that the arithmetic does not have: too large, or so small that it would be taken for 0. In units of
 * log 2 it is half as large again, so half of the largest is the most. */
fv_status fv__attn_check_number(const char *where, double value, fv_dtype arithmetic);

#endif
