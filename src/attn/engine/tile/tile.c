/* TILE: how a call is partitioned, what scratch it needs, and the choice of the type. See tile.h. */
#include "attn/engine/tile/tile.h"
#include "simd/simd.h"

#include <stdio.h>
#include <string.h>

fv__tile_sizes fv__tile_sizes_of(const fv_attention_plan *plan) {
    return plan->dtype == FV_F64 ? fv__simd_f64_now()->tile : fv__simd_f32_now()->tile;
}

static const fv__tile_kernels *kernels_of(const fv_attention_plan *plan) {
    return plan->dtype == FV_F64 ? &fv__tile_kernels_f64 : &fv__tile_kernels_f32;
}

static void forward(const fv__run *run, void *scratch) { kernels_of(run->plan)->forward(run, scratch); }

static void backward(const fv__run *run, void *scratch) { kernels_of(run->plan)->backward(run, scratch); }

static void weights(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                    int64_t count, const fv_tensor *out, void *scratch) {
    kernels_of(run->plan)->weights(run, capture, batch, head, rows, count, out, scratch);
}

static void statistics(const fv__run *run, const fv_attention_statistics *want, void *scratch) {
    kernels_of(run->plan)->statistics(run, want, scratch);
}

/* Does the base not leave the products to the engine? */
static bool own_base(const fv_attention_plan *plan) {
    fv__score_use base[FV_SCORES];
    fv__score_list(plan, FV_SCORE_IS_BASE, base);
    return base->kernels->base != NULL;
}

/* Scratch of the parts of all tasks, an array for each score. */
static size_t part_bytes(const fv_attention_plan *plan, int64_t chunks) {
    size_t bytes = 0;
    for (int i = 0; i < FV_SCORES; i++) {
        const fv__score *score = fv__score_at((fv__score_id)i);
        if (score->on(plan))
            bytes += fv__attn_lines(fv__attn_times(chunks, plan->heads), fv__score_part_bytes(score, plan));
    }
    return bytes;
}

/* ---- patterns of keys */

size_t fv__tile_keys_bytes(const fv_attention_plan *plan) {
    const fv__tile_setup *setup = fv__tile_setup_of(plan);
    return fv__keys_scratch(plan, setup->keys, setup->keys_params);
}

fv__keys_set fv__tile_keys_of(const fv__run *run, void *memory) {
    const fv__tile_setup *setup = fv__tile_setup_of(run->plan);
    return fv__keys_of(run, setup->keys, setup->keys_params, memory);
}

static bool patterned(const fv_attention_plan *plan) { return plan->options.blocks || fv__tile_setup_of(plan)->keys; }

/* ---- partition */

/* The largest chunk keeps its four tiles near 768 KiB of f32, in the second level cache: packing is paid per chunk, so
 * few are better. */
static int64_t largest_chunk(const fv_attention_plan *plan) {
    const int64_t side = fv__tile_sizes_of(plan).side, width = plan->d_qk + plan->d_v;
    const int64_t most = width ? 98304 / width / side * side : 0;
    return most > 768 ? 768 : most < side ? side : most;
}

/* Chunks of a sequence of so many rows; many of them in an even number, for two threads. */
static int64_t chunks_of(const fv_attention_plan *plan, int64_t rows) {
    const int64_t most = largest_chunk(plan), chunks = (rows + most - 1) / most;
    return chunks < 5 ? chunks : chunks + chunks % 2;
}

int64_t fv__tile_chunk(const fv_attention_plan *plan, int64_t rows) {
    const int64_t chunks = chunks_of(plan, rows), side = fv__tile_sizes_of(plan).side;
    return chunks < 1 ? side : ((rows + chunks - 1) / chunks + side - 1) / side * side;
}

/* Pieces of `size` rows over all sequences; of packed ones, whose lengths are not known yet, at most. */
static int64_t pieces(const fv_attention_plan *plan, int64_t rows, int64_t size) {
    if (plan->packed) return rows / size + plan->sequences;
    return fv__attn_times((rows + size - 1) / size, plan->sequences);
}

/* Pairs of block and head for a task: short sequences come in groups, so that handing out work costs little and the
 * memory of the next can be prefetched during the one before; at least 16 tasks remain. */
static int64_t group_of(const fv_attention_plan *plan, int64_t units, int64_t side) {
    const int64_t sequences = plan->packed && plan->sequences ? plan->sequences : 1;
    int64_t q = plan->q_len / sequences + 1, k = plan->k_len / sequences + 1;
    if (q > side) q = side;
    if (plan->window_left >= 0 && plan->window_right >= 0 && plan->window_left < k) k = plan->window_left + 1;
    const double flops = 2.0 * (double)q * (double)k * (double)(plan->d_qk + plan->d_v);
    int64_t group = (int64_t)(8e6 / (flops + 1)) + 1;
    if (group > units / 16) group = units / 16;
    return group < 1 ? 1 : group;
}

/* Bytes of all regions of a worker, and of those that make the sums of far rows (tile_norm.h): of a forward with one
 * tile. */
static size_t worker_bytes(const fv__tile_partition *p, bool backward, size_t element, size_t *norms_bytes) {
    size_t forward_bytes = 0, backward_bytes = 0, tile_bytes = 0;
#define REGION(name, rows, columns, when) \
    forward_bytes += (when) ? fv__attn_lines(fv__attn_times((rows), (columns)), element) : 0;
#define TILE_REGION(name, rows, columns) tile_bytes += fv__attn_lines(fv__attn_times((rows), (columns)), element);
#include "attn/engine/tile/tile_forward_regions.def"
#undef REGION
#undef TILE_REGION
#define REGION(name, rows, columns, when) \
    backward_bytes += (when) ? fv__attn_lines(fv__attn_times((rows), (columns)), element) : 0;
#include "attn/engine/tile/tile_backward_regions.def"
#undef REGION
    *norms_bytes = forward_bytes + tile_bytes;
    return backward ? backward_bytes + *norms_bytes
                    : forward_bytes + (size_t)(p->sizes.block_q / p->sizes.lanes) * tile_bytes;
}

static fv__tile_partition facts_of(const fv_attention_plan *plan) {
    const bool biased = fv__score_any(plan, FV_SCORE_IS_BIAS) || fv__score_any(plan, FV_SCORE_IS_TERM);
    return (fv__tile_partition){.sizes = fv__tile_sizes_of(plan),
                                .chunk = largest_chunk(plan),
                                .keys_bytes = fv__tile_keys_bytes(plan),
                                .shared_bytes = (size_t)(plan->sequences + 8) / 8 * 64,
                                .d = plan->d_qk,
                                .dv = plan->d_v,
                                .score = fv__score_scratch(plan),
                                .biased = biased,
                                .hides =
                                    biased || patterned(plan), /* partial tiles of a pattern are a bias tile there */
                                .banded = plan->window_left >= 0 || plan->window_right >= 0,
                                .dropout = plan->options.dropout > 0,
                                .own_base = own_base(plan)};
}

fv__tile_partition fv__tile_partition_of(const fv_attention_plan *plan, bool backward) {
    const size_t e = plan->dtype == FV_F64 ? 8 : 4;
    fv__tile_partition partition = facts_of(plan);
    if (!backward) {
        partition.group =
            group_of(plan, fv__attn_times(pieces(plan, plan->q_len, partition.sizes.block_q), plan->heads),
                     partition.sizes.block_q);
        partition.worker_bytes = worker_bytes(&partition, false, e, &partition.norms_bytes);
        partition.shared_bytes += partition.keys_bytes;
        return partition;
    }
    const int64_t rows = plan->q_len > plan->k_len ? plan->q_len : plan->k_len;
    const bool equal = !plan->packed && !plan->shape[FV_KV_LEN].rank; /* sequences have `rows`, others at most */
    if (equal || partition.chunk > rows) partition.chunk = fv__tile_chunk(plan, rows);
    partition.chunks = plan->packed ? (plan->q_len + plan->k_len) / largest_chunk(plan) + 2 * plan->sequences
                                    : fv__attn_times(chunks_of(plan, rows), plan->sequences);
    partition.group = group_of(plan, fv__attn_times(partition.chunks, plan->kv_heads), partition.chunk);
    partition.shared_bytes +=
        3 * fv__attn_lines(fv__attn_times(fv__attn_times(plan->batch, plan->heads), plan->q_len), e) +
        part_bytes(plan, partition.chunks) + partition.keys_bytes;
    partition.worker_bytes = worker_bytes(&partition, true, e, &partition.norms_bytes);
    return partition;
}

void fv__tile_locate(const int64_t *first, int64_t sequences, int64_t task, int64_t *sequence, int64_t *piece) {
    int64_t low = 0, high = sequences; /* first[low] <= task < first[high] */
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (first[middle] <= task)
            low = middle;
        else
            high = middle;
    }
    *sequence = low, *piece = task - first[low];
}

static size_t weights_scratch(const fv_attention_plan *plan) {
    return fv__tile_keys_bytes(plan) + fv__tile_partition_of(plan, false).norms_bytes;
}

static size_t scratch_size(const fv_attention_plan *plan, bool backward) {
    const fv__tile_partition partition = fv__tile_partition_of(plan, backward);
    return partition.shared_bytes + (size_t)fv_threads() * partition.worker_bytes;
}

/* ---- what it costs and what it is */

double fv__tile_flops(const fv_attention_plan *plan, const fv_attention_call *call, bool backward) {
    /* packed lengths are not known here: equal ones are assumed */
    const int64_t share = plan->packed ? plan->sequences : 1;
    fv__sequence s = {.q_len = plan->q_len / (share ? share : 1), .k_len = plan->k_len / (share ? share : 1)};
    s.q_offset = plan->lower_right ? s.k_len - s.q_len : call->q_offset;
    const fv__tile_setup *setup = fv__tile_setup_of(plan); /* NULL when ROWS asks */
    const fv__keys *own = setup ? setup->keys : NULL;
    double pairs = 0;
    for (int64_t i = 0; i < s.q_len; i++) {
        int64_t start, end;
        fv__attn_visible(plan, &s, i, &start, &end);
        pairs += fv__keys_count(plan, own, own ? setup->keys_params : NULL, &s, i, start, end);
    }
    pairs *= (double)plan->sequences * (double)plan->heads * 2;
    return pairs * (double)(backward ? 3 * plan->d_qk + 2 * plan->d_v : plan->d_qk + plan->d_v);
}

static void describe(const fv_attention_plan *plan, char *text, size_t size) {
    const fv__simd_f32 *simd = fv__simd_f32_now();
    const fv__tile_sizes z = fv__tile_sizes_of(plan);
    snprintf(text, size, "tile %s %s %dx%d, backward %dx%d in chunks of %d", fv_dtype_name(plan->dtype),
             plan->dtype == FV_F64 ? "scalar" : fv__isa_name(simd->isa), (int)z.lanes, (int)z.block_k, (int)z.side,
             (int)z.side, (int)fv__tile_chunk(plan, plan->q_len > plan->k_len ? plan->q_len : plan->k_len));
    const fv__keys *own = fv__tile_setup_of(plan)->keys;
    const size_t used = strlen(text);
    if (own) snprintf(text + used, size - used, ", keys %s", own->name);
}

/* A pattern that is selected from the keys wants all of them at hand. */
static bool decodes_in_place(const fv_attention_plan *plan) {
    const fv__keys *own = fv__tile_setup_of(plan)->keys;
    return !own || !own->scratch;
}

const fv__engine fv__tile = {
    .name = "tile",
    .can = FV_TILE_CAN,
    .reads_out = true,
    .setup_size = sizeof(fv__tile_setup),
    .accept = fv__attn_check_saved_lse,
    .scratch = scratch_size,
    .flops = fv__tile_flops,
    .forward = forward,
    .backward = backward,
    .weights_scratch = weights_scratch,
    .weights = weights,
    .statistics_scratch = fv__statistics_scratch,
    .statistics = statistics,
    .describe = describe,
    .decodes_in_place = decodes_in_place,
};
