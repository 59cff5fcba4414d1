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
    const bool pooled = want->mean.rank || want->max.rank;
    const int64_t unit = FV_STATISTICS_UNIT;
    fv__statistics_partition partition = {.sequences = want->batch >= 0 ? 1 : plan->sequences,
                                          .heads = want->head >= 0 ? 1 : plan->heads};
    const int64_t units = pieces(pieces(plan->q_len, FV_STATISTICS_SPANS), unit);
    partition.span = unit * (units > 0 ? units : 1);
    partition.key_blocks = pooled ? pieces(plan->k_len, want->pool_k) : 0;
    const int64_t batches = want->batch >= 0 ? 1 : plan->batch;
    if (want->columns.rank)
        partition.columns = fv__attn_times(
            fv__attn_times(pieces(plan->q_len, partition.span), fv__attn_times(batches, partition.heads)), plan->k_len);
    if (pooled)
        partition.shared = fv__attn_times(
            fv__attn_times(most_shared(plan, want, partition.span, partition.sequences), partition.heads),
            fv__attn_times(4, partition.key_blocks));
    partition.worker_bytes = fv__statistics_worker_of(plan, &partition, NULL).bytes;
    return partition;
}

#define REGION(name, count, element, when) \
    if (when) m.name = fv__region(&all, fv__attn_lines(count, element));

fv__statistics_worker fv__statistics_worker_of(const fv_attention_plan *plan, const fv__statistics_partition *p,
                                               void *memory) {
    const size_t e = plan->dtype == FV_F64 ? 8 : 4;
    const int64_t side = fv__tile_sizes_of(plan).side;
    const fv__tile_partition tile = fv__tile_partition_of(plan, false);
    fv__regions all = {memory, 0};
    fv__statistics_worker m = {0};
    REGION(kt, fv__attn_times(plan->d_qk, side), e, true)
    REGION(s, side * side, e, true)
    REGION(bias_tile, side * side, e, true)
    REGION(keep, side * side, e, plan->options.dropout > 0)
    REGION(norm, p->span, e, true)
    REGION(rest, p->span, e, true)
    REGION(entropy, p->span, e, true)
    REGION(start, p->span, sizeof(int64_t), true)
    REGION(end, p->span, sizeof(int64_t), true)
    REGION(score, fv__score_scratch(plan), e, true)
    REGION(q, fv__attn_times(p->span < FV_STATISTICS_GROUP ? p->span : FV_STATISTICS_GROUP, plan->d_qk), e,
           !tile.own_base)
    REGION(norms, (int64_t)tile.norms_bytes, 1, true)
    m.bytes = all.used;
    return m;
}

fv__statistics_memory fv__statistics_lay_out(const fv_attention_plan *plan, const fv__statistics_partition *p,
                                             void *memory) {
    const size_t e = plan->dtype == FV_F64 ? 8 : 4;
    fv__regions all = {memory, 0};
    fv__statistics_memory m = {0};
    REGION(first, p->sequences + 1, sizeof(int64_t), true)
    REGION(shared_first, p->sequences + 1, sizeof(int64_t), true)
    REGION(columns, p->columns, e, p->columns > 0)
    REGION(shared, p->shared, e, p->shared > 0)
    REGION(keys, (int64_t)fv__tile_keys_bytes(plan), 1, true)
    m.workers = all.memory ? all.memory + all.used : NULL;
    m.bytes = all.used + (size_t)fv_threads() * p->worker_bytes;
    return m;
}

size_t fv__statistics_scratch(const fv_attention_plan *plan, const fv_attention_statistics *want) {
    const fv__statistics_partition partition = fv__statistics_partition_of(plan, want);
    return fv__statistics_lay_out(plan, &partition, NULL).bytes;
}
