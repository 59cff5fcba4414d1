/* The walk of the recurrent references. See by_token.h. */
#include "attn/mech/by_token.h"

static int64_t whole(const fv_tensor *t, int64_t i) { return (int64_t)fv_tensor_get(t, &i); }

void fv__each_head(const fv__run *run, void (*reference)(fv__token_walk *w)) {
    const fv_attention_tensors *x = run->x;
    const fv_tensor *cu = &x->t[FV_CU_Q], *live = &x->t[FV_KV_LEN];
    const int64_t sequences = cu->rank ? cu->dim[0] - 1 : x->t[FV_Q].dim[0];
    for (int64_t n = 0; n < sequences; n++) {
        fv__token_walk w = {.run = run, .sequence = n, .batch = cu->rank ? 0 : n};
        w.length = x->t[FV_Q].dim[2];
        if (cu->rank) w.start = whole(cu, n), w.length = whole(cu, n + 1) - w.start;
        w.keys = w.length;
        if (live->rank && whole(live, n) < w.keys) w.keys = whole(live, n);
        for (w.head = 0; w.head < x->t[FV_Q].dim[1]; w.head++) {
            w.kv = w.head * x->t[FV_K].dim[1] / x->t[FV_Q].dim[1];
            reference(&w);
        }
    }
}

static double get(const fv_tensor *t, int64_t b, int64_t h, int64_t l, int64_t e) {
    return fv_tensor_get(t, (int64_t[4]){b, h, l, e});
}

double fv__token_q(const fv__token_walk *w, int64_t t, int64_t e) {
    return get(&w->run->x->t[FV_Q], w->batch, w->head, w->start + t, e);
}

double fv__token_k(const fv__token_walk *w, int64_t t, int64_t e) {
    return get(&w->run->x->t[FV_K], w->batch, w->kv, w->start + t, e);
}

double fv__token_v(const fv__token_walk *w, int64_t t, int64_t e) {
    return get(&w->run->x->t[FV_V], w->batch, w->kv, w->start + t, e);
}

double fv__token_log_decay(const fv__token_walk *w, int64_t t, int64_t e) {
    const fv_tensor *g = &w->run->x->t[FV_LOG_DECAY];
    return g->rank ? get(g, w->batch, w->head, w->start + t, e) : 0;
}

double fv__token_beta(const fv__token_walk *w, int64_t t) {
    return get(&w->run->x->t[FV_BETA], w->batch, w->head, w->start + t, 0);
}

void fv__token_out(const fv__token_walk *w, int64_t t, int64_t e, double value) {
    fv_tensor_set(&w->run->x->t[FV_OUT], (int64_t[4]){w->batch, w->head, w->start + t, e}, value);
}

void fv__token_state(const fv__token_walk *w, int64_t e, double *column) {
    const fv_tensor *state = &w->run->x->t[FV_STATE];
    for (int64_t d = 0; d < w->run->x->t[FV_Q].dim[3]; d++)
        column[d] = state->rank ? get(state, w->sequence, w->head, d, e) : 0;
}

void fv__token_state_out(const fv__token_walk *w, int64_t e, const double *column) {
    const fv_tensor *state = &w->run->x->t[FV_STATE_OUT];
    for (int64_t d = 0; state->rank && d < state->dim[2]; d++)
        fv_tensor_set(state, (int64_t[4]){w->sequence, w->head, d, e}, column[d]);
}
