/* Calls of recurrences for the tests of their laws: all operands that the mechanism takes, with the values it is
 * meant for. CALL_REAL is their type, see attn_call.h. */
#ifndef FV_TESTS_RECURRENCE_CALL_H
#define FV_TESTS_RECURRENCE_CALL_H

#include "attn_call.h"

static inline CALL_REAL *call_data(call *c, fv_operand operand) { return c->x.t[operand].data; }
static inline CALL_REAL *call_gradient(call *c, fv_operand operand) { return c->x.d[operand].data; }

/* Keys of length 1, as the delta rule wants them. */
static inline void call_unit_keys(call *c) {
    const int64_t d = c->x.t[FV_K].dim[3], rows = d ? fv_tensor_count(&c->x.t[FV_K]) / d : 0;
    for (int64_t r = 0; r < rows; r++) {
        CALL_REAL *k = call_data(c, FV_K) + r * d;
        double sum = 0;
        for (int64_t e = 0; e < d; e++) sum += (double)k[e] * (double)k[e];
        for (int64_t e = 0; e < d; e++) k[e] = (CALL_REAL)((double)k[e] / sqrt(sum));
    }
}

/* A mechanism and its decays: per token (rank 3), per token and column (4), none (0). */
typedef struct recurrence {
    const char *text;
    int decay_rank;
} recurrence;

static inline void recurrence_give(call *c, fv_operand operand, int rank) {
    const fv_tensor *q = &c->x.t[FV_Q], *v = &c->x.t[FV_V];
    const int64_t rows[4] = {q->dim[0], q->dim[1], q->dim[2], q->dim[3]};
    const int64_t states[4] = {q->dim[0], q->dim[1], q->dim[3], v->dim[3]};
    const bool state = operand == FV_STATE || operand == FV_STATE_OUT;
    for (int g = 0; g < 2; g++) call_give(c, operand, g, rank, state ? states : rows);
}

/* q k v out, log_decay and beta where they belong, state and state_out, all with gradients; causal. Log decays lie in
 * (-decay, 0). */
static inline call recurrence_make(recurrence r, int64_t b, int64_t h, int64_t kv, int64_t l, int64_t d, int64_t dv,
                                   double decay) {
    call c = call_make(b, h, kv, l, l, d, dv);
    c.how.mechanism = r.text, c.how.causal = FV_CAUSAL_UPPER_LEFT;
    c.x.t[FV_LSE].rank = c.x.d[FV_LSE].rank = 0;
    if (r.decay_rank) recurrence_give(&c, FV_LOG_DECAY, r.decay_rank);
    if (!strncmp(r.text, "deltanet", 8)) recurrence_give(&c, FV_BETA, 3), call_unit_keys(&c);
    recurrence_give(&c, FV_STATE, 4), recurrence_give(&c, FV_STATE_OUT, 4);
    const fv_operand operands[] = {FV_LOG_DECAY, FV_BETA};
    for (int i = 0; i < 2; i++)
        for (int64_t n = 0; c.x.t[operands[i]].rank && n < fv_tensor_count(&c.x.t[operands[i]]); n++) {
            CALL_REAL *x = call_data(&c, operands[i]) + n;
            *x = (CALL_REAL)(i == 0 ? -decay * fabs((double)*x) : fabs((double)*x));
        }
    return c;
}

static const fv_operand recurrence_rows[] = {FV_Q, FV_K, FV_V, FV_LOG_DECAY, FV_BETA, FV_OUT};
enum { RECURRENCE_ROWS = sizeof recurrence_rows / sizeof *recurrence_rows };

/* The tokens [from, to) of a call: views of its tensors, states left out. */
static inline fv_attention_tensors recurrence_part(const call *c, int64_t from, int64_t to) {
    fv_attention_tensors x = c->x;
    for (int i = 0; i < RECURRENCE_ROWS; i++) {
        fv_tensor *both[2] = {&x.t[recurrence_rows[i]], &x.d[recurrence_rows[i]]};
        for (int g = 0; g < 2; g++)
            if (both[g]->rank) *both[g] = fv_tensor_slice(*both[g], 2, from, to - from);
    }
    x.t[FV_STATE].rank = x.d[FV_STATE].rank = x.t[FV_STATE_OUT].rank = x.d[FV_STATE_OUT].rank = 0;
    return x;
}

static inline void recurrence_run(const call *c, const fv_attention_tensors *x) {
    const fv_status status = fv_attention(&c->how, &c->call, x);
    if (status != FV_OK) fprintf(stderr, "%s\n", fv_message());
    assert_int_equal(status, FV_OK);
}

/* Largest difference of two tensors, relative to 1 + the largest element. */
static inline double call_distance(const fv_tensor *a, const fv_tensor *b) {
    double size;
    const double gap = difference(a, b, &size);
    return gap / (1 + size);
}

#endif
