/* Recurrences by chunks: what a call may be, how much scratch it needs, its implied weights, and the choice of the
 * type. See chunkwise.h. */
#include "attn/engine/recurrent/chunkwise.h"
#include "simd/simd.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const fv__recurrent_setup *setup_of(const fv_attention_plan *plan) { return fv__recurrent_setup_of(plan); }

const fv__recurrent_kernels *fv__chunkwise_kernels(const fv_attention_plan *plan) {
    return plan->dtype == FV_F64 ? &fv__chunkwise_kernels_f64 : &fv__chunkwise_kernels_f32;
}

fv__recurrent_setup *fv__chunkwise_setup(fv_attention_plan *plan, int64_t chunk, const char *phi) {
    fv__recurrent_setup *s = fv__recurrent_setup_of(plan);
    const int rank = plan->shape[FV_LOG_DECAY].rank;
    s->chunk = chunk, s->map = phi && !strcmp(phi, "elu") ? FV_MAP_ELU : FV_MAP_IDENTITY;
    s->decay = rank == 0 ? FV_DECAY_NONE : rank == 3 ? FV_DECAY_SCALAR : FV_DECAY_VECTOR;
    plan->causal = true, plan->window_right = 0; /* whether the options say so or nothing */
    return s;
}

/* ---- what is refused */

static fv_status refuse(const fv_attention_plan *plan, const char *what, const char *wanted, const char *given) {
    return fv__fail(FV_USAGE, "attention: mechanism \"%s\", %s\n  expected %s\n  found:   %s",
                    plan->mechanism->info.name, what, wanted, given);
}

static fv_status refuse_number(const fv_attention_plan *plan, const char *what, const char *wanted, int64_t given) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)given);
    return refuse(plan, what, wanted, text);
}

static fv_status check_rows(const fv_attention_plan *plan) {
    char text[80];
    snprintf(text, sizeof text, "%lld queries, %lld keys", (long long)plan->q_len, (long long)plan->k_len);
    if (plan->q_len != plan->k_len)
        return refuse(plan, "lengths", "as many queries as keys: those of a row are of one token", text);
    if (plan->lower_right && plan->shape[FV_KV_LEN].rank)
        return refuse(plan, "causal with \"kv_len\"", "upper-left: query and key of a row are of one token",
                      "lower-right");
    if (plan->d_qk > FV_CHUNK_MAX_D) return refuse_number(plan, "columns of q and k", "at most 1024", plan->d_qk);
    return FV_OK;
}

static fv_status check_options(const fv_attention_plan *plan) {
    const fv_attention_options *o = &plan->options;
    if (plan->window_left >= 0)
        return refuse_number(plan, "option window.left", "none: a state cannot forget single keys", plan->window_left);
    if (o->window.limited && o->window.right > 0)
        return refuse_number(plan, "option window.right", "none, or 0: a state does not know what comes",
                             o->window.right);
    if (plan->shape[FV_LSE].rank) return refuse(plan, "operand \"lse\"", "none: there is no normalizer", "a tensor");
    if (plan->shape[FV_AUX].rank)
        return refuse(plan, "operand \"aux\"", "none: backward computes the states again", "a tensor");
    return FV_OK;
}

fv_status fv__chunkwise_accept(const fv_attention_plan *plan) {
    const fv__recurrent_setup *s = setup_of(plan);
    if (s->chunk & (s->chunk - 1)) return refuse_number(plan, "chunk", "a power of 2, up to 64", s->chunk);
    FV_TRY(check_options(plan));
    return check_rows(plan);
}

fv_status fv__chunkwise_check(const fv__run *run) {
    if (run->call.q_offset == 0) return FV_OK;
    return refuse_number(run->plan, "q_offset of the call", "0: query and key of a row are of one token",
                         run->call.q_offset);
}

/* ---- scratch */

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

fv__chunk_sizes fv__chunk_sizes_of(const fv_attention_plan *plan, bool backward) {
    const fv__recurrent_setup *how = setup_of(plan);
    const int64_t longest = plan->q_len > 0 ? plan->q_len : 1;
    fv__chunk_sizes s = {.d = plan->d_qk, .dv = plan->d_v, .backward = backward};
    s.n = longest < how->chunk ? longest : how->chunk;
    s.lanes = round_up(s.n, FV_CHUNK_STRIP), s.d_lanes = round_up(s.d, FV_CHUNK_STRIP);
    s.decays = how->decay == FV_DECAY_NONE ? 0 : how->decay == FV_DECAY_VECTOR ? s.d : 1;
    for (int64_t half = how->chunk / 2; half > 0; half /= 2) s.levels++;
    s.chunks = (longest + how->chunk - 1) / how->chunk;
    s.delta = how->low_rank == FV_LOW_RANK_DELTA;
    return s;
}

size_t fv__chunk_bytes(const fv__chunk_sizes *sizes, size_t element) {
    const fv__chunk_sizes s = *sizes;
    size_t bytes = 0;
#define REGION(name, rows, columns, needed) \
    bytes += (needed) ? fv__attn_lines(fv__attn_times(rows, columns), element) : 0;
#include "attn/engine/recurrent/chunkwise_regions.def"
#undef REGION
    return bytes;
}

size_t fv__chunkwise_scratch(const fv_attention_plan *plan, bool backward) {
    const fv__chunk_sizes s = fv__chunk_sizes_of(plan, backward);
    return (size_t)fv_threads() * fv__chunk_bytes(&s, plan->dtype == FV_F64 ? 8 : 4);
}

/* ---- the weights the recurrence never forms: o_i = sum_j P_ij v_j + what the initial state gives */

typedef struct row {
    const fv_attention_plan *plan;
    const fv_attention_tensors *x;
    fv__sequence s;
    int64_t head, kv, i;
} row;

static double get4(const fv_tensor *t, int64_t b, int64_t h, int64_t l, int64_t d) {
    return fv_tensor_get(t, (int64_t[4]){b, h, l, d});
}
static double get3(const fv_tensor *t, int64_t b, int64_t h, int64_t l) {
    return fv_tensor_get(t, (int64_t[3]){b, h, l});
}

static double mapped(const row *r, double x) {
    return setup_of(r->plan)->map == FV_MAP_IDENTITY ? x : x > 0 ? x + 1 : exp(x);
}

static double key(const row *r, int64_t j, int64_t d) {
    return mapped(r, get4(&r->x->t[FV_K], r->s.batch, r->kv, r->s.k_start + j, d));
}

static double key_dot(const row *r, const double *e, int64_t j) {
    double sum = 0;
    for (int64_t d = 0; d < r->plan->d_qk; d++) sum += e[d] * key(r, j, d);
    return sum;
}

static double log_decay(const row *r, int64_t j, int64_t d) {
    switch (setup_of(r->plan)->decay) {
    case FV_DECAY_CONST: return setup_of(r->plan)->log_decay(r->plan, r->head);
    case FV_DECAY_SCALAR: return get3(&r->x->t[FV_LOG_DECAY], r->s.batch, r->head, r->s.k_start + j);
    case FV_DECAY_VECTOR: return get4(&r->x->t[FV_LOG_DECAY], r->s.batch, r->head, r->s.k_start + j, d);
    default: return 0;
    }
}

/* The weight of key j for a reader e of the state after it; e becomes the reader of the state before it. */
static double take_weight(const row *r, double *e, int64_t j) {
    const bool delta = setup_of(r->plan)->low_rank == FV_LOW_RANK_DELTA;
    const double beta = delta ? get3(&r->x->t[FV_BETA], r->s.batch, r->head, r->s.k_start + j) : 1;
    const double weight = beta * key_dot(r, e, j);
    for (int64_t d = 0; d < r->plan->d_qk; d++) {
        if (delta) e[d] -= weight * key(r, j, d);
        e[d] *= exp(log_decay(r, j, d));
    }
    return weight;
}

static void weigh_row(const row *r, fv_capture capture, const fv_tensor *out, int64_t n) {
    double e[FV_CHUNK_MAX_D];
    const bool weights = capture >= FV_CAPTURE_SOFTMAX;
    const int64_t end = r->i + 1 < r->s.k_len ? r->i + 1 : r->s.k_len;
    for (int64_t d = 0; d < r->plan->d_qk; d++)
        e[d] = r->plan->options.scale * mapped(r, get4(&r->x->t[FV_Q], r->s.batch, r->head, r->s.q_start + r->i, d));
    for (int64_t j = end; j < out->dim[1]; j++) fv_tensor_set(out, (int64_t[2]){n, j}, weights ? 0 : -INFINITY);
    for (int64_t j = end - 1; j >= 0; j--)
        fv_tensor_set(out, (int64_t[2]){n, j}, weights ? take_weight(r, e, j) : key_dot(r, e, j));
}

void fv__chunkwise_weights(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                           int64_t count, const fv_tensor *out) {
    const fv_attention_plan *plan = run->plan;
    row r = {.plan = plan, .x = run->x, .s = fv__attn_sequence(run, batch), .head = head};
    r.kv = head * plan->kv_heads / plan->heads;
    for (int64_t n = 0; n < count; n++) r.i = rows[n], weigh_row(&r, capture, out, n);
}

/* ---- words */

/* Of the recurrence itself, in products with a state: forward writes and reads, and reads once more for the delta
 * rule. Backward writes again, sends back two of each, and with the delta rule three more. */
double fv__chunkwise_flops(const fv_attention_plan *plan, bool backward) {
    const double delta = setup_of(plan)->low_rank == FV_LOW_RANK_DELTA ? 1 : 0;
    const double state = 2.0 * (double)plan->d_qk * (double)plan->d_v,
                 tokens = (double)plan->batch * (double)plan->q_len;
    return state * tokens * (double)plan->heads * (backward ? 5 + 3 * delta : 2 + delta);
}

void fv__chunkwise_describe(const fv_attention_plan *plan, char *text, size_t size) {
    static const char *const decays[] = {"", ", decay per head", ", decay per token", ", decay per token and column"};
    const fv__recurrent_setup *how = setup_of(plan);
    snprintf(text, size, "recurrent %s %s, chunks of %d%s%s", fv_dtype_name(plan->dtype),
             plan->dtype == FV_F64 ? "scalar" : fv_isa(), (int)how->chunk, decays[how->decay],
             how->low_rank == FV_LOW_RANK_DELTA ? ", delta rule" : "");
}
