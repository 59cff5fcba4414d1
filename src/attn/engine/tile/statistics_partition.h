/* How attention statistics are partitioned, and where their scratch is. The work is in tile_statistics.h. */
#ifndef FV_ATTN_STATISTICS_PARTITION_H
#define FV_ATTN_STATISTICS_PARTITION_H

#include "attn/mechanism_contract.h"

enum {
    FV_STATISTICS_SPANS = 16,
    FV_STATISTICS_UNIT = 128,
    FV_STATISTICS_GROUP = 1024
}; /* spans of a long sequence; a span is a multiple of UNIT queries, of which GROUP walk over the keys together */

/* Depends on shapes and on what is wanted only, so that no bit depends on threads. */
typedef struct fv__statistics_partition {
    int64_t sequences, heads; /* wanted */
    int64_t span;             /* queries of a task */
    int64_t key_blocks;       /* blocks of keys, at most */
    size_t first_bytes, column_bytes, shared_bytes, keys_bytes, worker_bytes;
} fv__statistics_partition;
fv__statistics_partition fv__statistics_partition_of(const fv_attention_plan *plan,
                                                     const fv_attention_statistics *want);

size_t fv__statistics_scratch(const fv_attention_plan *plan, const fv_attention_statistics *want);

#endif
