/* blocks: attention matrices as the byte strings of docs/explorer-format.md, sections 3 and 4. */
#ifndef FV_EXPLAIN_BLOCKS_H
#define FV_EXPLAIN_BLOCKS_H

#include "explain/render.h"

enum { FV_PAGE_LEVELS = 255, FV_PAGE_TOP = 16, FV_PAGE_THUMB = 64 };

/* Little-endian content of one block, appended; `queries` x `keys` weights, none negative. */
void fv__block_full(fv__buf *out, const float *weight, int64_t queries, int64_t keys);
void fv__block_exact(fv__buf *out, const float *weight, int64_t queries, int64_t keys);
void fv__block_top(fv__buf *out, const float *weight, int64_t queries, int64_t keys, int64_t top);
void fv__block_thumb(fv__buf *out, const float *weight, int64_t queries, int64_t keys, int64_t rows, int64_t columns);

/* What a page sends of one matrix: finished <script> elements, or nothing. */
typedef struct fv__matrix_blocks {
    fv__buf full, top, exact;
} fv__matrix_blocks;
typedef struct fv__map_blocks {
    int64_t heads, select;     /* the matrix shown first */
    fv__matrix_blocks *matrix; /* (heads) */
    fv__buf thumb;
    int64_t rows, columns; /* of a thumbnail */
    int64_t top;           /* weights kept per row of the top blocks, 0: none are sent */
} fv__map_blocks;

/* Chooses and encodes within `budget` bytes, in the order of section 4; `first` (or nothing) are the heads to send
 * whole before others. `map` (e->maps) is zeroed and filled except for `select`, which is read. */
fv_status fv__blocks_make(fv__map_blocks *map, const fv_explanation *e, const fv__head_choice *first, size_t budget,
                          bool compress);
void fv__blocks_free(fv__map_blocks *map, int maps);

#endif
