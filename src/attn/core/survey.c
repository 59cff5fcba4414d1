/* How a survey is cut, its scratch, and the choice of the type. See survey.h. */
#include "attn/core/survey.h"
#include "attn/core/tile.h"

static int64_t pieces(int64_t count, int64_t size) { return (count + size - 1) / size; }

/* Spans whose sequence has more than one: only those can share a block of queries. Packed lengths are not known here; of a sequence
 * longer than a span, its spans are at most twice its length over the span. */
static int64_t most_shared(const fv_attention_plan *plan, const fv_survey *want, int64_t span, int64_t sequences) {
    const int64_t spans = pieces(plan->q_len, span);
    if (spans < 2 || span % want->pool_q == 0) return 0;
    return plan->packed && want->batch < 0 ? 2 * spans : fv__attn_times(spans, sequences);
}

fv__survey_cut fv__survey_cut_of(const fv_attention_plan *plan, const fv_survey *want) {
    const size_t e = plan->dtype == FV_F64 ? 8 : 4;
    const bool pooled = want->mean.rank || want->max.rank;
    const int64_t side = FV_TILE_SIDE, unit = FV_SURVEY_UNIT;
    fv__survey_cut cut = {.sequences = want->batch >= 0 ? 1 : plan->sequences,
                          .heads = want->head >= 0 ? 1 : plan->heads};
    const int64_t units = pieces(pieces(plan->q_len, FV_SURVEY_SPANS), unit);
    cut.span = unit * (units > 0 ? units : 1);
    cut.key_blocks = pooled ? pieces(plan->k_len, want->pool_k) : 0;
    cut.first_bytes = fv__attn_lines(2 * (cut.sequences + 1), sizeof(int64_t));
    const int64_t batches = want->batch >= 0 ? 1 : plan->batch;
    if (want->columns.rank)
        cut.column_bytes = fv__attn_lines(
            fv__attn_times(fv__attn_times(pieces(plan->q_len, cut.span), fv__attn_times(batches, cut.heads)),
                           plan->k_len),
            e);
    if (pooled) {
        const int64_t shared = fv__attn_times(most_shared(plan, want, cut.span, cut.sequences), cut.heads);
        cut.shared_bytes = fv__attn_lines(fv__attn_times(shared, fv__attn_times(4, cut.key_blocks)), e);
    }
    cut.worker_bytes = fv__attn_lines(fv__attn_times(plan->d_qk, side), e) + 3 * fv__attn_lines(side * side, e) +
                       2 * fv__attn_lines(cut.span, e) + 2 * fv__attn_lines(cut.span, sizeof(int64_t));
    return cut;
}

size_t fv__tile_survey_scratch(const fv_attention_plan *plan, const fv_survey *want) {
    const fv__survey_cut cut = fv__survey_cut_of(plan, want);
    return cut.first_bytes + cut.column_bytes + cut.shared_bytes + (size_t)fv_threads() * cut.worker_bytes;
}

void fv__tile_survey(const fv_attention_plan *plan, const fv_attention_tensors *x, const fv_survey *want,
                     void *scratch) {
    (plan->dtype == FV_F64 ? &fv__tile_engine_f64 : &fv__tile_engine_f32)->survey(plan, x, want, scratch);
}
