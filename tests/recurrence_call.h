/* Calls of recurrences for the tests of their laws: all operands that the mechanism takes, with the values it is meant for. CALL_REAL is
 * their type, see attn_call.h. */
#ifndef FV_TESTS_RECURRENCE_CALL_H
#define FV_TESTS_RECURRENCE_CALL_H

#include "attn_call.h"

static inline CALL_REAL *call_data(call *c, fv_port port) { return c->x.t[port].data; }
static inline CALL_REAL *call_gradient(call *c, fv_port port) { return c->x.d[port].data; }

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

/* q k v out, log_decay and beta if needed, state and state_out, all with gradients; causal. Log decays lie in (-decay, 0). */
static inline call recurrence_make(const char *text, int64_t b, int64_t h, int64_t kv, int64_t l, int64_t d, int64_t dv,
                                   double decay) {
    static const fv_port ports[] = {FV_LOG_DECAY, FV_BETA, FV_STATE, FV_STATE_OUT};
    call c = call_make(b, h, kv, l, l, d, dv);
    c.how.mechanism = text, c.how.causal = FV_CAUSAL_UPPER_LEFT;
    c.x.t[FV_LSE].rank = c.x.d[FV_LSE].rank = 0;
    for (int i = 0; i < 4; i++) {
        fv_tensor shape;
        assert_int_equal(fv_attention_port_shape(&c.how, &c.x, ports[i], &shape), FV_OK);
        if (shape.rank)
            call_give(&c, ports[i], false, shape.rank, shape.dim), call_give(&c, ports[i], true, shape.rank, shape.dim);
    }
    for (int i = 0; i < 2; i++)
        for (int64_t n = 0; c.x.t[ports[i]].rank && n < fv_tensor_count(&c.x.t[ports[i]]); n++) {
            CALL_REAL *x = call_data(&c, ports[i]) + n;
            *x = (CALL_REAL)(ports[i] == FV_LOG_DECAY ? -decay * fabs((double)*x) : fabs((double)*x));
        }
    if (c.x.t[FV_BETA].rank) call_unit_keys(&c);
    return c;
}

static const fv_port recurrence_rows[] = {FV_Q, FV_K, FV_V, FV_LOG_DECAY, FV_BETA, FV_OUT};
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
    const fv_status status = fv_attention(&c->how, x);
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
