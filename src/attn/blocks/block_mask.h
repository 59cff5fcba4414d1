/* Block masks as the engines see them. */
#ifndef FV_ATTN_BLOCK_MASK_H
#define FV_ATTN_BLOCK_MASK_H

#include "base/base.h"
#include "fovea/blocks.h"

enum { FV_BLOCK_QUERIES = 32, FV_BLOCK_KEYS = 64 };
enum { FV__TILE_EMPTY = -2, FV__TILE_FULL = -1 }; /* kinds of tiles that need no bits */

struct fv_block_mask {
    fv_block_info info;
    uint64_t number;       /* no two masks of a process have the same: a plan found again is for this one */
    int64_t rows, columns; /* tiles of a plane */
    /* (batch, heads, rows, columns): FV__TILE_EMPTY, FV__TILE_FULL, or which of the partial tiles of its row */
    int32_t *tile;
    struct fv__block_row { /* (batch, heads, rows) */
        uint64_t *bits;    /* FV_BLOCK_QUERIES words a partial tile; bit j of word i: query i sees key j */
        size_t capacity;
    } * row;
};

/* Of the tiles that queries [i0, i1) and keys [j0, j1) touch, taken together. */
fv_block_kind fv__blocks_kind(const fv_block_mask *mask, int64_t batch, int64_t head, int64_t i0, int64_t i1,
                              int64_t j0, int64_t j1);

/* Words of the rows i0.. for the keys from j0 to the end of its tile: bit c of words[r] is query i0 + r, key j0 + c. */
void fv__blocks_rows(const fv_block_mask *mask, int64_t batch, int64_t head, int64_t i0, int64_t rows, int64_t j0,
                     uint64_t *words);
/* How many keys of [start, end) query i sees. */
int64_t fv__blocks_count(const fv_block_mask *mask, int64_t batch, int64_t head, int64_t i, int64_t start, int64_t end);

#endif
