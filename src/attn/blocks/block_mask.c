/* Block masks: what tiles are, and questions about them. They are made in block_mask_build.c. */
#include "attn/blocks/block_mask.h"

static int64_t plane_of(const fv_block_mask *m, int64_t batch, int64_t head) {
    return (m->info.batch == 1 ? 0 : batch) * m->info.heads + (m->info.heads == 1 ? 0 : head);
}

/* Bits of row i of the tile in column c. */
static uint64_t word_of(const fv_block_mask *m, int64_t plane, int64_t i, int64_t c) {
    const int64_t row = plane * m->rows + i / FV_BLOCK_QUERIES;
    const int32_t tile = m->tile[row * m->columns + c];
    if (tile < 0) return tile == FV__TILE_FULL ? ~UINT64_C(0) : 0;
    return m->row[row].bits[(int64_t)tile * FV_BLOCK_QUERIES + i % FV_BLOCK_QUERIES];
}

static fv_block_kind kind_of(int32_t tile) {
    return tile >= 0 ? FV_BLOCK_PARTIAL : tile == FV__TILE_FULL ? FV_BLOCK_FULL : FV_BLOCK_EMPTY;
}

fv_block_info fv_block_mask_info(const fv_block_mask *mask) { return mask ? mask->info : (fv_block_info){0}; }

bool fv_block_mask_visible(const fv_block_mask *m, int64_t batch, int64_t head, int64_t i, int64_t j) {
    return word_of(m, plane_of(m, batch, head), i, j / FV_BLOCK_KEYS) >> (j % FV_BLOCK_KEYS) & 1;
}

fv_block_kind fv_block_mask_kind(const fv_block_mask *m, int64_t batch, int64_t head, int64_t i, int64_t j) {
    const int64_t row = plane_of(m, batch, head) * m->rows + i / FV_BLOCK_QUERIES;
    return kind_of(m->tile[row * m->columns + j / FV_BLOCK_KEYS]);
}

fv_block_kind fv__blocks_kind(const fv_block_mask *m, int64_t batch, int64_t head, int64_t i0, int64_t i1, int64_t j0,
                              int64_t j1) {
    const int64_t plane = plane_of(m, batch, head);
    bool empty = true, full = true;
    for (int64_t r = i0 / FV_BLOCK_QUERIES; r * FV_BLOCK_QUERIES < i1; r++)
        for (int64_t c = j0 / FV_BLOCK_KEYS; c * FV_BLOCK_KEYS < j1; c++) {
            const int32_t tile = m->tile[(plane * m->rows + r) * m->columns + c];
            empty = empty && tile == FV__TILE_EMPTY, full = full && tile == FV__TILE_FULL;
            if (!empty && !full) return FV_BLOCK_PARTIAL;
        }
    return empty ? FV_BLOCK_EMPTY : FV_BLOCK_FULL;
}

void fv__blocks_rows(const fv_block_mask *m, int64_t batch, int64_t head, int64_t i0, int64_t rows, int64_t j0,
                     uint64_t *words) {
    const int64_t plane = plane_of(m, batch, head);
    for (int64_t r = 0; r < rows; r++) words[r] = word_of(m, plane, i0 + r, j0 / FV_BLOCK_KEYS) >> (j0 % FV_BLOCK_KEYS);
}

int64_t fv__blocks_count(const fv_block_mask *m, int64_t batch, int64_t head, int64_t i, int64_t start, int64_t end) {
    const int64_t plane = plane_of(m, batch, head);
    int64_t count = 0;
    for (int64_t c = start / FV_BLOCK_KEYS; c * FV_BLOCK_KEYS < end; c++) {
        const int64_t low = start - c * FV_BLOCK_KEYS, high = end - c * FV_BLOCK_KEYS;
        uint64_t word = word_of(m, plane, i, c);
        if (low > 0) word &= ~UINT64_C(0) << low;
        if (high < FV_BLOCK_KEYS) word &= ~(~UINT64_C(0) << high);
        count += __builtin_popcountll(word);
    }
    return count;
}
