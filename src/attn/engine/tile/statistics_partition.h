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
    int64_t columns, shared;  /* numbers of the parts of columns, of the blocks that spans share */
    size_t worker_bytes;
} fv__statistics_partition;
fv__statistics_partition fv__statistics_partition_of(const fv_attention_plan *plan,
                                                     const fv_attention_statistics *want);

/* Scratch of a call, and of a worker in it; memory NULL: only its bytes. */
typedef struct fv__statistics_memory {
    int64_t *first, *shared_first;
    void *columns, *shared, *keys;
    char *workers;
    size_t bytes;
} fv__statistics_memory;
fv__statistics_memory fv__statistics_lay_out(const fv_attention_plan *plan, const fv__statistics_partition *partition,
                                             void *memory);
typedef struct fv__statistics_worker {
    void *kt, *s, *bias_tile, *keep; /* (D, SIDE), (SIDE, SIDE) three times */
    void *norm, *rest, *entropy;     /* span each */
    int64_t *start, *end;            /* span each */
    void *score, *q, *norms;         /* of score/; (GROUP, D) unless the base is its own; of the denominators */
    size_t bytes;
} fv__statistics_worker;
fv__statistics_worker fv__statistics_worker_of(const fv_attention_plan *plan, const fv__statistics_partition *partition,
                                               void *memory);

size_t fv__statistics_scratch(const fv_attention_plan *plan, const fv_attention_statistics *want);

#endif
