/* The block mask of the options as a pattern of keys. See fovea/blocks.h. */
#include "attn/blocks/block_mask.h"
#include "attn/keys/keys.h"

static const fv_block_mask *mask_of(const fv__keys_view *view) { return view->run->plan->options.blocks; }

static fv_block_kind kind(const fv__keys_view *view, const fv__query_block *q, int64_t j0, int64_t j1) {
    return fv__blocks_kind(mask_of(view), q->sequence->batch, q->head, q->i0, q->i1, j0, j1);
}

static void bits(const fv__keys_view *view, const fv__query_block *q, int64_t j0, uint64_t *words) {
    fv__blocks_rows(mask_of(view), q->sequence->batch, q->head, q->i0, q->i1 - q->i0, j0, words);
}

static double count(const fv_attention_plan *plan, const void *params, const fv__sequence *sequence, int64_t i,
                    int64_t start, int64_t end) {
    const fv_block_info info = fv_block_mask_info(plan->options.blocks);
    const int64_t planes = info.batch * info.heads;
    double seen = 0;
    (void)params, (void)sequence;
    for (int64_t p = 0; p < planes; p++)
        seen += (double)fv__blocks_count(plan->options.blocks, p / info.heads, p % info.heads, i, start, end);
    return planes > 0 ? seen / (double)planes : 0;
}

const fv__keys fv__keys_block_mask = {.name = "block mask", .kind = kind, .bits = bits, .count = count};
