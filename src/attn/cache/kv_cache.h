/* The cache as decoding sees it.
 *
 * Memory is pages of `rows` positions, (page, kv head, position): a page holds the rows of all heads, and those of one
 * head lie together. A contiguous cache and a ring have one page for each sequence, page number b; a ring comes back to
 * row 0. So one function finds every row, and what is computed from the rows cannot depend on the kind.
 *
 *   paged, rows = 32     table of sequence 0:  7 2      positions 0..31 in page 7, 32..63 in page 2
 *                        table of sequence 1:  7 5      positions 0..31 in page 7, shared; 32..63 in page 5
 *                        references:           0 0 1 0 0 1 0 2      unused: 0 1 3 4 6
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
    int64_t *references;     /* PAGED: sequences that have a page, 0 for the unused */
    int64_t *readers;        /* of each sequence, while sequences are reordered */
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

/* Positions that a sequence can have. */
int64_t fv__kv_max_length(const fv_kv_cache *cache);

/* FV_USAGE: a pointer that was needed is NULL. */
fv_status fv__kv_null_pointer(const char *what);

/* kv_pages.c, for paged caches. A free page is taken for granted: who takes counts first. */
int64_t fv__kv_pages_for(const fv_kv_cache *cache, int64_t length);
int64_t fv__kv_page_take(fv_kv_cache *cache);
void fv__kv_page_drop(fv_kv_cache *cache, int64_t page);
void fv__kv_page_copy(fv_kv_cache *to, int64_t to_page, const fv_kv_cache *from, int64_t from_page);
/* One more reference to every page of sequence b; one less to those that `length` positions do not need. */
void fv__kv_share(fv_kv_cache *cache, int64_t b);
void fv__kv_release(fv_kv_cache *cache, int64_t b, int64_t length);
int64_t fv__kv_pages_exclusive(const fv_kv_cache *cache, int64_t b);
/* Free pages that an append of `counts` (NULL: n each) takes, copies of shared ones among them; then taking them for
 * one sequence. */
int64_t fv__kv_pages_to_append(fv_kv_cache *cache, const int64_t *counts, int64_t n);
void fv__kv_pages_append(fv_kv_cache *cache, int64_t b, int64_t n);

/* kv_copy.c: everything of `from` into `to`, new, of the same sizes and at least its capacity and pages. */
void fv__kv_copy_all(fv_kv_cache *to, const fv_kv_cache *from);

/* Column d of the key of position `at` in its block: which element. */
static inline int64_t fv__kv_element(fv_dtype dtype, int64_t at, int64_t d) {
    const int64_t lane = at % FV_KV_KEYS;
    return dtype == FV_BF16 ? d / 2 * 2 * FV_KV_KEYS + lane * 2 + d % 2 : d * FV_KV_KEYS + lane;
}

#endif
