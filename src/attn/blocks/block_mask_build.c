/* Making a block mask: the predicate is called once for every pair, a row of tiles after the other in parallel; bits
 * stay for partial tiles only. */
#include "attn/blocks/block_mask.h"

#include <stdatomic.h>
#include <string.h>

typedef struct build {
    fv_block_mask *mask;
    fv_mask_predicate *predicate;
    void *context;
    int64_t *pairs; /* of each row of tiles */
    _Atomic(bool) failed;
} build;

/* A tile whose first pair is (i0, j0), of which rows x columns are inside the matrix. */
typedef struct corner {
    int64_t batch, head, i0, j0, rows, columns;
} corner;

static int32_t classify_tile(const build *b, const corner *at, uint64_t *words, int64_t *pairs) {
    const uint64_t all = at->columns < FV_BLOCK_KEYS ? ~(~UINT64_C(0) << at->columns) : ~UINT64_C(0);
    bool empty = true, full = true;
    memset(words, 0, FV_BLOCK_QUERIES * sizeof *words);
    for (int64_t i = 0; i < at->rows; i++) {
        for (int64_t j = 0; j < at->columns; j++)
            words[i] |= (uint64_t)b->predicate(b->context, at->batch, at->head, at->i0 + i, at->j0 + j) << j;
        empty = empty && !words[i], full = full && words[i] == all;
        *pairs += __builtin_popcountll(words[i]);
    }
    return empty ? FV__TILE_EMPTY : full ? FV__TILE_FULL : 0;
}

static void row_task(void *context, int64_t index, int worker) {
    build *b = context;
    fv_block_mask *m = b->mask;
    struct fv__block_row *row = &m->row[index];
    const int64_t plane = index / m->rows, i0 = index % m->rows * FV_BLOCK_QUERIES;
    size_t partial = 0;
    (void)worker;
    for (int64_t c = 0; c < m->columns && !b->failed; c++) {
        uint64_t words[FV_BLOCK_QUERIES];
        corner at = {plane / m->info.heads, plane % m->info.heads, i0, c * FV_BLOCK_KEYS, 0, 0};
        at.rows = m->info.q_len - i0 < FV_BLOCK_QUERIES ? m->info.q_len - i0 : FV_BLOCK_QUERIES;
        at.columns = m->info.k_len - at.j0 < FV_BLOCK_KEYS ? m->info.k_len - at.j0 : FV_BLOCK_KEYS;
        int32_t tile = classify_tile(b, &at, words, &b->pairs[index]);
        if (tile == 0) {
            if (FV_GROW(&row->bits, &row->capacity, (partial + 1) * FV_BLOCK_QUERIES) != FV_OK) {
                b->failed = true;
                return;
            }
            memcpy(row->bits + partial * FV_BLOCK_QUERIES, words, sizeof words);
            tile = (int32_t)partial++;
        }
        m->tile[index * m->columns + c] = tile;
    }
}

static void count(build *b, int64_t rows) {
    fv_block_info *info = &b->mask->info;
    for (int64_t r = 0; r < rows; r++) {
        info->pairs += b->pairs[r];
        info->bytes += sizeof *b->mask->row + b->mask->row[r].capacity * sizeof(uint64_t);
        for (int64_t c = 0; c < b->mask->columns; c++) {
            const int32_t tile = b->mask->tile[r * b->mask->columns + c];
            info->tiles[tile >= 0 ? FV_BLOCK_PARTIAL : tile == FV__TILE_FULL ? FV_BLOCK_FULL : FV_BLOCK_EMPTY]++;
        }
    }
    info->bytes += sizeof *b->mask + (size_t)(rows * b->mask->columns) * sizeof *b->mask->tile;
}

static fv_status fill(fv_block_mask *m, fv_mask_predicate *predicate, void *context, int64_t rows) {
    build b = {.mask = m, .predicate = predicate, .context = context};
    b.pairs = fv__alloc_array((size_t)rows, sizeof *b.pairs);
    if (!b.pairs) return FV_NO_RESOURCES;
    fv__parallel_for(rows, row_task, &b);
    if (!b.failed) count(&b, rows);
    fv__free(b.pairs);
    if (!b.failed) return FV_OK;
    return fv__fail(FV_NO_RESOURCES, "block mask: out of memory for the bits of partial tiles");
}

fv_status fv_block_mask_create(fv_block_mask **out, fv_mask_predicate *predicate, void *context, int64_t batch,
                               int64_t heads, int64_t q_len, int64_t k_len) {
    static _Atomic(uint64_t) made;
    const int64_t dim[4] = {batch, heads, q_len / FV_BLOCK_QUERIES + 1, k_len / FV_BLOCK_KEYS + 1};
    size_t bytes;
    *out = NULL;
    if (!predicate || batch < 0 || heads < 0 || q_len < 0 || k_len < 0)
        return fv__fail(
            FV_USAGE,
            "block mask: sizes\n  expected a predicate and sizes of 0 or more\n  found:   batch %lld, heads "
            "%lld, %lld queries, %lld keys",
            (long long)batch, (long long)heads, (long long)q_len, (long long)k_len);
    if (!fv__size_of(dim, 4, 64, &bytes)) return fv__fail(FV_NO_RESOURCES, "block mask: sizes overflow");
    fv_block_mask *m = fv__alloc(sizeof *m);
    if (!m) return FV_NO_RESOURCES;
    m->info = (fv_block_info){batch, heads, q_len, k_len, FV_BLOCK_QUERIES, FV_BLOCK_KEYS, {0, 0, 0}, 0, 0};
    m->number = atomic_fetch_add(&made, 1) + 1;
    m->rows = (q_len + FV_BLOCK_QUERIES - 1) / FV_BLOCK_QUERIES;
    m->columns = (k_len + FV_BLOCK_KEYS - 1) / FV_BLOCK_KEYS;
    const int64_t rows = batch * heads * m->rows;
    m->tile = fv__alloc_array((size_t)(rows * m->columns), sizeof *m->tile);
    m->row = m->tile ? fv__alloc_array((size_t)rows, sizeof *m->row) : NULL;
    const fv_status status = m->row ? fill(m, predicate, context, rows) : FV_NO_RESOURCES;
    if (status == FV_OK)
        *out = m;
    else
        fv_block_mask_free(m);
    return status;
}

void fv_block_mask_free(fv_block_mask *m) {
    if (!m) return;
    const int64_t rows = m->row ? m->info.batch * m->info.heads * m->rows : 0;
    for (int64_t r = 0; r < rows; r++) fv__free(m->row[r].bits);
    fv__free(m->row);
    fv__free(m->tile);
    fv__free(m);
}
