/* How attention statistics are partitioned, and their scratch. See statistics_partition.h. */
#include "attn/engine/tile/statistics_partition.h"
#include "attn/engine/tile/tile.h"

static int64_t pieces(int64_t count, int64_t size) { return (count + size - 1) / size; }

/* Spans whose sequence has more than one: only those can share a block of queries. Packed lengths are not known here;
 * of a sequence longer than a span, its spans are at most twice its length over the span. */
static int64_t most_shared(const fv_attention_plan *plan, const fv_attention_statistics *want, int64_t span,
                           int64_t sequences) {
    const int64_t spans = pieces(plan->q_len, span);
    if (spans < 2 || span % want->pool_q == 0) return 0;
    return plan->packed && want->batch < 0 ? 2 * spans : fv__attn_times(spans, sequences);
}

fv__statistics_partition fv__statistics_partition_of(const fv_attention_plan *plan,
                                                     const fv_attention_statistics *want) {
    const size_t e = plan->dtype == FV_F64 ? 8 : 4;
    const bool pooled = want->mean.rank || want->max.rank;
    const int64_t side = FV_TILE_SIDE, unit = FV_STATISTICS_UNIT;
    fv__statistics_partition partition = {.sequences = want->batch >= 0 ? 1 : plan->sequences,
                                          .heads = want->head >= 0 ? 1 : plan->heads};
    const int64_t units = pieces(pieces(plan->q_len, FV_STATISTICS_SPANS), unit);
    partition.span = unit * (units > 0 ? units : 1);
    partition.key_blocks = pooled ? pieces(plan->k_len, want->pool_k) : 0;
    partition.first_bytes = fv__attn_lines(2 * (partition.sequences + 1), sizeof(int64_t));
    const int64_t batches = want->batch >= 0 ? 1 : plan->batch;
    if (want->columns.rank)
        partition.column_bytes = fv__attn_lines(fv__attn_times(fv__attn_times(pieces(plan->q_len, partition.span),
                                                                              fv__attn_times(batches, partition.heads)),
                                                               plan->k_len),
                                                e);
    const int64_t shared_rows =
        pooled ? fv__attn_times(most_shared(plan, want, partition.span, partition.sequences), partition.heads) : 0;
    if (pooled)
        partition.shared_bytes =
            fv__attn_lines(fv__attn_times(shared_rows, fv__attn_times(4, partition.key_blocks)), e);
    partition.keys_bytes = fv__tile_keys_bytes(plan);
    const int64_t group = partition.span < FV_STATISTICS_GROUP ? partition.span : FV_STATISTICS_GROUP;
    partition.worker_bytes =
        fv__attn_lines(fv__attn_times(plan->d_qk, side), e) + 3 * fv__attn_lines(side * side, e) +
        3 * fv__attn_lines(partition.span, e) + fv__attn_lines(2 * partition.span, sizeof(int64_t)) +
        fv__attn_lines(fv__score_scratch(plan), e) + fv__attn_lines(fv__attn_times(group, plan->d_qk), e) +
        fv__tile_partition_of(plan, false).norms_bytes;
    return partition;
}

size_t fv__statistics_scratch(const fv_attention_plan *plan, const fv_attention_statistics *want) {
    const fv__statistics_partition partition = fv__statistics_partition_of(plan, want);
    return partition.first_bytes + partition.column_bytes + partition.shared_bytes + partition.keys_bytes +
           (size_t)fv_threads() * partition.worker_bytes;
}
