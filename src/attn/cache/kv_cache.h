/* The cache as decoding sees it.
 *
 * Memory is pages of `rows` positions, (page, kv head, position): a page holds the rows of all heads, and those of one
 * head lie together. A contiguous cache and a ring have one page for each sequence, page number b; a ring comes back to
 * row 0. So one function finds every row, and what is computed from the rows cannot depend on the kind.
 *
 *   paged, rows = 32     table of sequence 0:  7 2      positions 0..31 in page 7, 32..63 in page 2
 *                        table of sequence 1:  5        positions 0..31 in page 5
 *                        unused:               0 1 3 4 6
 *
 * A row of V is its columns. Keys stand in blocks of 16 positions, a key per lane, so that scores are sums of whole
 * vectors: (pair of columns, 2, 16 keys), and for bf16 (pair of columns, 16 keys, 2), which is widened in one operation
 * a column. `rows` is a multiple of 16, so position p is lane p % 16 of its block wherever it is. An odd width has a
 * column of zeros behind it. */
#ifndef FV_ATTN_CACHE_H
#define FV_ATTN_CACHE_H

#include "base/base.h"
#include "fovea/cache.h"

struct fv_kv_cache {
    fv_cache_options o;
    int64_t rows, pages; /* positions of a page (a capacity is rounded up), pages there are */
    int64_t slots;       /* PAGED: entries of the table for each sequence */
    int64_t *table;      /* PAGED: page number of slot s of sequence b at [b * slots + s] */
    int64_t *unused;     /* PAGED: the pages nobody has, a stack of unused_count */
    int64_t unused_count;
    int64_t *length, *first; /* of each sequence */
    size_t k_pitch, v_pitch; /* bytes of a position */
    unsigned char *k, *v;
};

enum { FV_KV_KEYS = 16 }; /* of a block */

/* Where position `at` of (sequence, kv head) is: the block with its key, the row with its values. run: positions from
 * `at` on whose blocks and rows lie behind one another. */
typedef struct fv__kv_place {
    unsigned char *k, *v;
    int64_t run;
} fv__kv_place;
fv__kv_place fv__kv_at(const fv_kv_cache *cache, int64_t b, int64_t head, int64_t at);

/* Column d of the key of position `at` in its block: which element. */
static inline int64_t fv__kv_element(fv_dtype dtype, int64_t at, int64_t d) {
    const int64_t lane = at % FV_KV_KEYS;
    return dtype == FV_BF16 ? d / 2 * 2 * FV_KV_KEYS + lane * 2 + d % 2 : d * FV_KV_KEYS + lane;
}

#endif
