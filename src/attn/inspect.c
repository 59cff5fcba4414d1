/* Looking at the weights after a forward: whole rows, or statistics of all of them. Checks first, then the
 * mechanism. */
#include "attn/attn.h"
#include "attn/statistics_by_rows.h"

/* ---- whole rows */

static fv_status check_lse(const fv_attention_plan *plan, const fv_attention_tensors *x, const char *what) {
    if (plan->shape[FV_LSE].rank && !x->t[FV_LSE].rank)
        return fv__fail(FV_USAGE, "attention: %s\n  expected operand \"lse\" of the forward\n  found:   none", what);
    if (!plan->shape[FV_LSE].rank && fv__attn_has_lse(plan))
        return fv__fail(FV_USAGE, "attention: %s need \"lse\"\n  try:     announce it when planning", what);
    return FV_OK;
}

static fv_status wrong_weights(const fv_attention_plan *plan, const fv_tensor *weights, int64_t rows) {
    char found[128];
    fv_tensor_describe(weights, found, sizeof found);
    return fv__fail(FV_USAGE, "attention: the tensor for weights\n  expected (%lld, %lld) of dtype %s\n  found:   %s",
                    (long long)rows, (long long)plan->k_len, fv_dtype_name(plan->dtype), found);
}

static fv_status check_weights(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                               int64_t *rows_wanted, const fv_tensor *weights) {
    const fv_attention_plan *plan = run->plan;
    if ((unsigned)capture > FV_CAPTURE_DROPOUT)
        return fv__fail(FV_USAGE, "attention: weights, capture\n  expected one of fv_capture\n  found:   %d",
                        (int)capture);
    if (capture >= FV_CAPTURE_SOFTMAX) FV_TRY(check_lse(plan, run->x, "weights"));
    if (batch < 0 || batch >= plan->sequences || head < 0 || head >= plan->heads)
        return fv__fail(FV_USAGE,
                        "attention: weights, batch and head\n  expected below %lld and %lld\n  found:   %lld and %lld",
                        (long long)plan->sequences, (long long)plan->heads, (long long)batch, (long long)head);
    const fv__sequence sequence = fv__attn_sequence(run, batch);
    if (!rows) *rows_wanted = sequence.q_len;
    const int64_t count = *rows_wanted;
    if (count < 0)
        return fv__fail(FV_USAGE, "attention: weights, number of rows\n  expected 0 or more\n  found:   %lld",
                        (long long)count);
    for (int64_t i = 0; rows && i < count; i++)
        if (rows[i] < 0 || rows[i] >= sequence.q_len)
            return fv__fail(FV_USAGE, "attention: weights, row\n  expected 0 to %lld\n  found:   %lld",
                            (long long)sequence.q_len - 1, (long long)rows[i]);
    if (weights->rank != 2 || weights->dim[0] < count || weights->dim[1] < sequence.k_len ||
        weights->dtype != plan->dtype)
        return wrong_weights(plan, weights, count);
    if (!weights->data && fv_tensor_count(weights) > 0)
        return fv__fail(FV_USAGE, "attention: the tensor for weights\n  expected data\n  found:   NULL");
    return FV_OK;
}

/* Mechanisms take lists of rows. Without one all rows are listed, a few at a time: nothing is allocated. */
static void weigh_rows(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                       int64_t count, const fv_tensor *weights, void *scratch) {
    enum { AT_ONCE = 256 };
    int64_t list[AT_ONCE];
    if (rows) {
        run->plan->mechanism->engine->weights(run, capture, batch, head, rows, count, weights, scratch);
        return;
    }
    for (int64_t first = 0; first < count; first += AT_ONCE) {
        const int64_t now = count - first < AT_ONCE ? count - first : AT_ONCE;
        for (int64_t i = 0; i < now; i++) list[i] = first + i;
        const fv_tensor to = fv_tensor_slice(*weights, 0, first, now);
        run->plan->mechanism->engine->weights(run, capture, batch, head, list, now, &to, scratch);
    }
}

/* A bias of 16 bits is converted a row at a time: its plane is as large as the weights of the whole sequence. */
static void rows_with_bias(const fv__run *run, fv_attention_tensors *y, const fv_tensor *bias, fv_capture capture,
                           int64_t batch, int64_t head, const int64_t *rows, int64_t count, const fv_tensor *weights,
                           void *memory, void *scratch) {
    const fv__sequence s = fv__attn_sequence(run, batch);
    const int64_t n = bias->dim[3], at[3] = {s.batch, head, 0};
    for (int64_t i = 0; i < count; i++) {
        const int64_t number = rows ? rows[i] : i;
        fv_tensor row = *bias, to = *weights;
        for (int a = 0; a < 3; a++)
            row = fv_tensor_slice(row, a, bias->dim[a] == 1 ? 0 : a < 2 ? at[a] : s.q_start + number, 1);
        y->t[FV_BIAS] = fv_tensor_of(memory, FV_F32, 4, (int64_t[]){1, 1, 1, n});
        fv_tensor_copy(&y->t[FV_BIAS], &row);
        to.data = (char *)to.data + i * to.stride[0] * (int64_t)sizeof(float);
        run->plan->mechanism->engine->weights(run, capture, batch, head, &number, 1, &to, scratch);
    }
}

static fv_status cast_weights(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                              int64_t count, const fv_tensor *weights, void *scratch) {
    const fv_tensor *bias = &run->x->t[FV_BIAS];
    const bool narrow_bias = bias->rank && fv__attn_is_16bit(bias->dtype);
    fv_attention_plan apart = *run->plan; /* in which such a bias does not count */
    fv_attention_tensors rest = *run->x, y;
    const fv__run outer = {&apart, &rest, run->call}, inner = {run->plan, &y, run->call};
    if (narrow_bias) apart.shape[FV_BIAS].rank = rest.t[FV_BIAS].rank = 0;
    const size_t bytes = fv__cast_inputs_bytes(&apart, true);
    char *memory = fv__alloc(bytes + (narrow_bias ? (size_t)bias->dim[3] * sizeof(float) : 0));
    if (!memory) return FV_NO_RESOURCES;
    fv__cast_inputs(&outer, batch, head, &y, memory);
    if (narrow_bias)
        rows_with_bias(&inner, &y, bias, capture, batch, head, rows, count, weights, memory + bytes, scratch);
    else
        weigh_rows(&inner, capture, batch, head, rows, count, weights, scratch);
    fv__free(memory);
    return FV_OK;
}

fv_status fv_attention_weights(const fv_attention_plan *plan, const fv_attention_call *call,
                               const fv_attention_tensors *x, fv_capture capture, int64_t batch, int64_t head,
                               const int64_t *rows, int64_t count, const fv_tensor *weights) {
    fv__run run;
    FV_TRY(fv__attn_need(plan, "plan"));
    FV_TRY(fv__attn_need(weights, "tensor for the weights"));
    const fv__mechanism *m = plan->mechanism;
    if (!(m->info.can & FV_CAN_WEIGHTS))
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\" has no weights to show", m->info.name);
    FV_TRY(fv__attn_start(&run, plan, call, x, false));
    FV_TRY(check_weights(&run, capture, batch, head, rows, &count, weights));
    if (capture == FV_CAPTURE_DROPOUT && plan->options.dropout == 0) capture = FV_CAPTURE_SOFTMAX;
    const size_t bytes = m->engine->weights_scratch ? m->engine->weights_scratch(plan) : 0;
    void *scratch = bytes ? fv__alloc(bytes) : NULL;
    if (bytes && !scratch) return FV_NO_RESOURCES;
    fv_status status = FV_OK;
    if (plan->storage != plan->dtype)
        status = cast_weights(&run, capture, batch, head, rows, count, weights, scratch);
    else
        weigh_rows(&run, capture, batch, head, rows, count, weights, scratch);
    fv__regions_open(scratch, bytes);
    fv__free(scratch);
    return status;
}

/* ---- statistics */

static fv_status check_output(const fv_attention_plan *plan, const fv_tensor *t, const char *name, int rank,
                              const int64_t *need) {
    bool fits = t->rank == rank && t->dim[0] == need[0] && t->dim[1] == need[1] && t->dtype == plan->dtype;
    for (int a = 2; fits && a < rank; a++) fits = t->dim[a] >= need[a];
    if (fits && (t->data || fv_tensor_count(t) == 0)) return FV_OK;
    char found[128], wanted[128];
    const fv_tensor want = fv_tensor_of(NULL, plan->dtype, rank, need);
    fv_tensor_describe(t, found, sizeof found);
    fv_tensor_describe(&want, wanted, sizeof wanted);
    return fv__fail(FV_USAGE,
                    "attention: statistics, tensor \"%s\"\n  expected %s, or longer last axes\n  found:   %s%s", name,
                    wanted, found, fits ? " without data" : "");
}

static bool any_block(const fv_attention_statistics *want) { return want->mean.rank || want->max.rank; }

/* Engines without their own have those from blocks of rows. */
static size_t statistics_scratch(const fv_attention_plan *plan, const fv_attention_statistics *want) {
    const fv__engine *engine = plan->mechanism->engine;
    return engine->statistics ? engine->statistics_scratch(plan, want) : fv__statistics_by_rows_scratch(plan, want);
}

static size_t statistics_bytes(const fv_attention_plan *plan, const fv_attention_statistics *want) {
    const bool one = want->batch >= 0 && want->head >= 0;
    const size_t cast = plan->storage != plan->dtype ? fv__cast_inputs_bytes(plan, one) : 0;
    return cast + statistics_scratch(plan, want) + 64;
}

/* What does not depend on the values of lengths. */
static fv_status check_wanted(const fv_attention_plan *plan, const fv_attention_statistics *want) {
    FV_TRY(fv__attn_need(plan, "plan"));
    FV_TRY(fv__attn_need(want, "what statistics are wanted"));
    if (!(plan->mechanism->info.can & FV_CAN_WEIGHTS))
        return fv__fail(FV_USAGE, "attention: statistics\n  expected a mechanism with weights\n  found:   \"%s\"",
                        plan->mechanism->info.name);
    if (!plan->shape[FV_LSE].rank && fv__attn_has_lse(plan))
        return fv__fail(FV_USAGE, "attention: statistics need \"lse\"\n  try:     announce it when planning");
    if (want->entropy.rank && !fv__attn_has_lse(plan))
        return fv__fail(FV_USAGE,
                        "attention: statistics, entropy\n  expected a mechanism whose rows of weights sum to 1\n"
                        "  found:   \"%s\"",
                        plan->mechanism->info.name);
    if (want->batch < -1 || want->batch >= plan->sequences || want->head < -1 || want->head >= plan->heads)
        return fv__fail(FV_USAGE,
                        "attention: statistics, batch and head\n  expected below %lld and %lld, -1 for all\n  found:   "
                        "%lld and %lld",
                        (long long)plan->sequences, (long long)plan->heads, (long long)want->batch,
                        (long long)want->head);
    const int64_t far = INT64_C(1) << 48;
    if (any_block(want) && (want->pool_q < 1 || want->pool_k < 1 || want->pool_q > far || want->pool_k > far))
        return fv__fail(
            FV_USAGE,
            "attention: statistics, pool_q and pool_k\n  expected 1 or more, up to 2^48\n  found:   %lld and %lld",
            (long long)want->pool_q, (long long)want->pool_k);
    if (!any_block(want) && !want->columns.rank && !want->entropy.rank)
        return fv__fail(
            FV_USAGE, "attention: statistics\n  expected a tensor for mean, max, columns or entropy\n  found:   none");
    if (statistics_bytes(plan, want) >= (size_t)FV_ATTN_MOST)
        return fv__fail(FV_NO_RESOURCES,
                        "attention: statistics, its scratch\n  expected less than 2^48 bytes\n"
                        "  found:   more\n  try:     one batch and head at a time");
    return FV_OK;
}

static fv_status check_statistics(const fv__run *run, const fv_attention_statistics *want) {
    const fv_attention_plan *plan = run->plan;
    const int64_t first = want->batch >= 0 ? want->batch : 0, sequences = want->batch >= 0 ? 1 : plan->sequences;
    const int64_t heads = want->head >= 0 ? 1 : plan->heads;
    int64_t q_len = 0, k_len = 0;
    for (int64_t n = first; n < first + sequences; n++) {
        const fv__sequence s = fv__attn_sequence(run, n);
        if (s.q_len > q_len) q_len = s.q_len;
        if (s.k_len > k_len) k_len = s.k_len;
    }
    const int64_t bq = any_block(want) ? (q_len + want->pool_q - 1) / want->pool_q : 0,
                  bk = any_block(want) ? (k_len + want->pool_k - 1) / want->pool_k : 0;
    const int64_t blocks[4] = {sequences, heads, bq, bk};
    if (want->mean.rank) FV_TRY(check_output(plan, &want->mean, "mean", 4, blocks));
    if (want->max.rank) FV_TRY(check_output(plan, &want->max, "max", 4, blocks));
    const bool all = want->batch < 0;
    const int64_t columns[3] = {all ? plan->batch : 1, heads, all && plan->packed ? plan->k_len : k_len},
                  rows[3] = {all ? plan->batch : 1, heads, all ? plan->q_len : q_len};
    if (want->columns.rank) FV_TRY(check_output(plan, &want->columns, "columns", 3, columns));
    if (want->entropy.rank) FV_TRY(check_output(plan, &want->entropy, "entropy", 3, rows));
    return FV_OK;
}

size_t fv_attention_statistics_scratch(const fv_attention_plan *plan, const fv_attention_statistics *want) {
    return check_wanted(plan, want) == FV_OK ? statistics_bytes(plan, want) : 0;
}

fv_status fv_attention_statistics_compute(const fv_attention_plan *plan, const fv_attention_call *call,
                                          const fv_attention_tensors *x, const fv_attention_statistics *want,
                                          void *scratch) {
    fv__run run;
    FV_TRY(check_wanted(plan, want));
    FV_TRY(fv__attn_start(&run, plan, call, x, false));
    FV_TRY(check_lse(plan, x, "statistics"));
    FV_TRY(check_statistics(&run, want));
    if (!scratch)
        return fv__fail(FV_USAGE,
                        "attention: statistics, scratch\n  expected %zu bytes, see fv_attention_statistics_scratch\n  "
                        "found:   NULL",
                        fv_attention_statistics_scratch(plan, want));
    fv_attention_tensors y = *x;
    const fv__run inner = {plan, &y, run.call};
    char *at = fv__attn_aligned(scratch);
    if (plan->storage != plan->dtype) {
        fv__cast_inputs(&run, want->batch, want->head, &y, at);
        at += fv__cast_inputs_bytes(plan, want->batch >= 0 && want->head >= 0);
    }
    const fv__engine *engine = plan->mechanism->engine;
    (engine->statistics ? engine->statistics : fv__statistics_by_rows)(&inner, want, at);
    fv__regions_open(scratch, fv_attention_statistics_scratch(plan, want));
    return FV_OK;
}
