/* Relative positions in buckets, as T5 has them. */
#ifndef FV_ATTN_T5_BUCKETS_H
#define FV_ATTN_T5_BUCKETS_H

#include "base/base.h"

enum { FV_T5_MOST_BUCKETS = 512 };

typedef struct fv__t5_buckets {
    int64_t buckets, side; /* of both directions, of one */
    bool bidirectional;
    int64_t first[FV_T5_MOST_BUCKETS]; /* smallest distance of each bucket of one side */
} fv__t5_buckets;

/* FV_USAGE for numbers the formula does not have; `where` opens the message. */
fv_status fv__t5_buckets_make(fv__t5_buckets *b, const char *where, int64_t buckets, int64_t max_distance,
                              bool bidirectional);

/* The formula itself: bucket of a distance >= 0 on one side of `side` buckets. */
int64_t fv__t5_bucket_formula(int64_t distance, int64_t side, int64_t max_distance);

/* Bucket of key position minus query position. */
int64_t fv__t5_bucket(const fv__t5_buckets *b, int64_t relative);

/* Buckets of the relative positions from, from + 1, ..., `count` of them. */
void fv__t5_bucket_run(const fv__t5_buckets *b, int64_t from, int64_t count, int64_t *bucket);

#endif
