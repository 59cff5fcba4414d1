/* References of gates by plain loops in double. See gate.h. */
#include "attn/engine/gate/gate.h"

typedef void sequence_fn(const fv__gate_place *place, int64_t end, fv__plain_gate *gate);

static void each_head(const fv__run *run, sequence_fn *fn, fv__plain_gate *gate) {
    const fv_tensor *in = &run->x->t[FV_Q], *len = &run->x->t[FV_KV_LEN], *cu = &run->x->t[FV_CU_Q];
    for (int64_t n = 0; n < (cu->rank ? cu->dim[0] - 1 : in->dim[0]); n++) {
        const int64_t next = n + 1, end = cu->rank ? (int64_t)fv_tensor_get(cu, &next) : in->dim[2];
        fv__gate_place p = {.run = run, .b = cu->rank ? 0 : n, .from = cu->rank ? (int64_t)fv_tensor_get(cu, &n) : 0};
        p.live = len->rank ? (int64_t)fv_tensor_get(len, &n) : end;
        for (p.h = 0; p.h < in->dim[1]; p.h++) fn(&p, end, gate);
    }
}

static void scale(const fv__gate_place *p, int64_t row, int64_t channel, double gate) {
    const int64_t at[4] = {p->b, p->h, row, channel};
    fv_tensor_set(&p->run->x->t[FV_OUT], at, row < p->live ? gate * fv_tensor_get(&p->run->x->t[FV_Q], at) : 0);
}

static void channels(const fv__gate_place *p, int64_t end, fv__plain_gate *gate) {
    for (int64_t d = 0; d < p->run->plan->d_qk; d++) {
        const double g = p->live > p->from ? gate(p, d) : 0;
        for (int64_t l = p->from; l < end; l++) scale(p, l, d, g);
    }
}

static void positions(const fv__gate_place *p, int64_t end, fv__plain_gate *gate) {
    for (int64_t l = p->from; l < end; l++) {
        const double g = l < p->live ? gate(p, l) : 0;
        for (int64_t d = 0; d < p->run->plan->d_qk; d++) scale(p, l, d, g);
    }
}

void fv__channel_gate_reference(const fv__run *run, fv__plain_gate *gate) { each_head(run, channels, gate); }
void fv__position_gate_reference(const fv__run *run, fv__plain_gate *gate) { each_head(run, positions, gate); }

double fv__plain_mean(const fv__gate_place *p, int64_t channel) {
    double sum = 0;
    for (int64_t l = p->from; l < p->live; l++)
        sum += fv_tensor_get(&p->run->x->t[FV_Q], (int64_t[4]){p->b, p->h, l, channel});
    return sum / (double)(p->live - p->from);
}

double fv__plain_param(const fv__gate_place *p, fv_operand operand, int64_t i, int64_t j) {
    return fv_tensor_get(&p->run->x->t[operand], (int64_t[3]){p->h, i, j});
}
