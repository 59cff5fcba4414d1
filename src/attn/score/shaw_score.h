/* Relative keys: what the mechanism that switches them on says. */
#ifndef FV_ATTN_SHAW_SCORE_H
#define FV_ATTN_SHAW_SCORE_H

#include <stdint.h>

typedef struct fv__shaw_keys {
    int64_t max_distance; /* the table has 2 max_distance + 1 rows */
} fv__shaw_keys;

#endif
