/* fovea/blocks.h - a block mask: which keys a query sees, given as a mask predicate and kept by tiles. Hidden tiles
 * cost nothing.
 *
 *     bool same_document(void *context, int64_t batch, int64_t head, int64_t i, int64_t j) {
 *         const int32_t *document = context;
 *         return document[i] == document[j];
 *     }
 *     fv_block_mask *mask;
 *     fv_block_mask_create(&mask, same_document, document, 1, 1, L, L);
 *     how.blocks = mask;                                                // fv_attention_options
 *     ... fv_attention(&how, NULL, &x) ...                  // together with causal, windows, bias, lengths as given
 *     fv_block_mask_free(mask);
 *
 * The predicate is called once for every (query, key) pair when the mask is made. Tiles of 32 queries and 64 keys are
 * then known to be empty (skipped, never read), full (computed without any mask) or partial (32 x 64 bits kept). The
 * idea of create_block_mask(mask_mod) of FlexAttention: Dong et al., 2024, arXiv 2412.05496. docs/how-to/masks.md has
 * predicates for the usual sparsity patterns.
 */
#ifndef FOVEA_BLOCKS_H
#define FOVEA_BLOCKS_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The mask predicate (mask_mod): does query i see key j? Called from several threads at once: it must only read. */
typedef bool fv_mask_predicate(void *context, int64_t batch, int64_t head, int64_t i, int64_t j);

/* Immutable; may be shared between threads, plans and calls, and must outlive them. */
typedef struct fv_block_mask fv_block_mask;

/* batch and heads are those of the call, or 1 for the same pattern everywhere (the predicate is then called with 0).
 * q_len and k_len are those of the call exactly. Time: batch * heads * q_len * k_len calls. Memory: see
 * fv_block_info.bytes. FV_USAGE: negative sizes; FV_NO_RESOURCES: no memory. */
FV_API fv_status fv_block_mask_create(fv_block_mask **mask, fv_mask_predicate *predicate, void *context, int64_t batch,
                                      int64_t heads, int64_t q_len, int64_t k_len);
FV_API void fv_block_mask_free(fv_block_mask *mask); /* NULL is fine */

typedef enum fv_block_kind { FV_BLOCK_EMPTY, FV_BLOCK_FULL, FV_BLOCK_PARTIAL } fv_block_kind;

typedef struct fv_block_info {
    int64_t batch, heads, q_len, k_len;
    int64_t tile_queries, tile_keys; /* 32, 64 */
    int64_t tiles[3];                /* how many there are of each fv_block_kind, over all batches and heads */
    int64_t pairs;                   /* (query, key) pairs that see each other */
    size_t bytes;                    /* in memory: 4 a tile, 256 to 512 a partial tile, 16 a row of tiles */
} fv_block_info;
FV_API fv_block_info fv_block_mask_info(const fv_block_mask *mask);

/* One element, and the kind of the tile it is in; a batch or head beyond a mask of 1 is taken as 0. In range
 * otherwise. */
FV_API bool fv_block_mask_visible(const fv_block_mask *mask, int64_t batch, int64_t head, int64_t i, int64_t j);
FV_API fv_block_kind fv_block_mask_kind(const fv_block_mask *mask, int64_t batch, int64_t head, int64_t i, int64_t j);

#ifdef __cplusplus
}
#endif
#endif
