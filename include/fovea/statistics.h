/* fovea/statistics.h - attention statistics: what the weights of a whole sequence look like, in O(length) memory.
 *
 * After a forward that gave FV_LSE, they are computed from the weights, which are recomputed tile by tile or a few rows
 * at a time: of them only what is wanted is kept. The matrix of weights is never stored. Every mechanism that has
 * weights (FV_CAN_WEIGHTS) has statistics.
 *
 *     fv_attention_statistics want = FV_ATTENTION_STATISTICS_DEFAULT;     // every sequence, every head
 *     want.columns = fv_tensor_of(sums, FV_F32, 3, (int64_t[]){B, H, Lk});
 *     void *scratch = malloc(fv_attention_statistics_scratch(plan, &want));
 *     fv_status status = fv_attention_statistics_compute(plan, NULL, &x, &want, scratch);
 *
 * Weights of chosen rows, whole: fv_attention_weights in fovea/attention.h.
 */
#ifndef FOVEA_MAPS_H
#define FOVEA_MAPS_H

#include "attention.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is wanted. Tensors of rank 0 are not computed; the others have the dtype of the arithmetic (f64 when q is f64,
 * else f32) and any strides. The leading axis N counts the sequences wanted, the next one the heads.
 *
 * A block (a, b) is the queries a*pool_q ... and the keys b*pool_k ... of one sequence; the last ones may be smaller.
 * Keys beyond kv_len belong to no block. The weights are those of FV_CAPTURE_SOFTMAX (with sinks: their share is
 * missing from the sums of rows); hidden pairs count as weight 0. With cu_seqlens blocks count inside each sequence.
 * Rows of weights that do not sum to 1 (mechanisms without lse) have no entropy: FV_USAGE.
 *
 * Tensors may be longer than the sequence needs on their last axes (longer than all need, with cu_seqlens): the rest
 * becomes 0. */
typedef struct fv_attention_statistics {
    int64_t batch, head;    /* one sequence (with cu_seqlens its number), one head; -1: all */
    int64_t pool_q, pool_k; /* queries and keys of a block of mean and max, 1 to 2^48 */
    bool dropout;           /* mean, max and columns of the weights after dropout, as they multiplied the values */
    fv_tensor mean;         /* (N, heads, blocks of queries, blocks of keys) mean weight of each block */
    fv_tensor max;          /* ... and its largest */
    fv_tensor columns;      /* (N, heads, Lk) sum over the queries: how much attention each key receives */
    fv_tensor entropy;      /* (N, heads, Lq) -sum_j p ln p of each row before dropout, in nats */
} fv_attention_statistics;
/* With batch -1 and cu_seqlens, columns and entropy lie as k and q do: N is 1, positions are those of the packed
 * tensors. */
#define FV_NO_TENSOR                \
    {                               \
        NULL, FV_F32, 0, {0}, { 0 } \
    }
#define FV_ATTENTION_STATISTICS_DEFAULT \
    { -1, -1, 64, 64, false, FV_NO_TENSOR, FV_NO_TENSOR, FV_NO_TENSOR, FV_NO_TENSOR }

/* Bytes of scratch for this plan and what is wanted, for fv_threads() as it is now; of `want` the tensors' shapes are
 * read. About 16 numbers per key and head when columns are wanted, 64 per block of keys and head when blocks are; 0
 * when they are refused (FV_NO_RESOURCES: 2^48 bytes or more). */
FV_API size_t fv_attention_statistics_scratch(const fv_attention_plan *plan, const fv_attention_statistics *want);

/* call, x: those of the forward, with the LSE it wrote. The same bits for any number of threads; nothing is allocated.
 * FV_USAGE, with the reason, for a mechanism without weights, wrong shapes, numbers out of range. */
FV_API fv_status fv_attention_statistics_compute(const fv_attention_plan *plan, const fv_attention_call *call,
                                                 const fv_attention_tensors *x, const fv_attention_statistics *want,
                                                 void *scratch);

#ifdef __cplusplus
}
#endif
#endif
