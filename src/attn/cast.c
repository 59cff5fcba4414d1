/* Tensors of 16 bits (bf16, f16) with arithmetic in f32, for every mechanism alike.
 *
 * The mechanism sees a plan of f32 and tensors of f32 that lie in scratch. What it reads is converted before it runs,
 * rows that exist only: what a length hides is never read. What it writes is rounded to nearest even afterwards.
 * Tensors that are f32 already (lse, and whatever the caller keeps in f32) pass through untouched. A piece of work is a
 * few rows of one tensor, so a call of many short sequences and a call of one long one are both spread over the
 * threads. */
#include "attn/attn.h"
#include "simd/simd.h"

#include <string.h>

enum { AT_ONCE = 16384 }; /* elements of a piece of work */

typedef struct conversion {
    fv_tensor t16, t32;
    bool in, limited;                 /* 16 bits to f32; rows beyond the length of a sequence do not exist */
    int64_t rows, columns, step;      /* of the last two axes; rows of a piece */
    int64_t pieces, before, sequence; /* pieces of one matrix; pieces of earlier conversions; a fixed sequence or -1 */
} conversion;

typedef struct cast {
    const fv__run *run;
    const fv__simd_f32 *simd;
    conversion list[2 * FV_OPERANDS];
    int count;
    int64_t pieces;
    char *at; /* scratch not used yet */
} cast;

bool fv__attn_is_16bit(fv_dtype dtype) { return dtype == FV_BF16 || dtype == FV_F16; }

bool fv__cast_keeps_out(const fv_attention_plan *plan) {
    return fv__attn_is_16bit(plan->storage) && plan->mechanism->engine->reads_out && fv__attn_has_lse(plan);
}

bool fv__cast_remakes_out(const fv_attention_plan *plan) {
    return fv__cast_keeps_out(plan) && !plan->shape[FV_AUX].rank;
}

static size_t cast_bytes(const fv_tensor *t) { return fv__attn_lines(fv_tensor_count(t), sizeof(float)); }

/* ---- what is converted */

typedef enum direction { NOT, IN, OUT } direction;

static direction of_tensor(int operand, bool backward) {
    if (fv_operand_is((fv_operand)operand, FV_ROLE_DIFFERENTIABLE)) return IN;
    return !fv_operand_is((fv_operand)operand, FV_ROLE_RESULT) ? NOT : backward ? IN : OUT;
}
static direction of_gradient(int operand, bool backward) {
    if (!backward) return NOT;
    if (fv_operand_is((fv_operand)operand, FV_ROLE_DIFFERENTIABLE)) return OUT;
    return fv_operand_is((fv_operand)operand, FV_ROLE_RESULT) ? IN : NOT;
}

static fv_tensor plain(const fv_tensor *like, void *data) { return fv_tensor_of(data, FV_F32, like->rank, like->dim); }

/* Rows of keys and values, and of the only input of a gate, end where the sequence ends. */
static bool has_lengths(const fv_attention_plan *plan, int operand) {
    const bool self = plan->shape[FV_K].rank == 0;
    return plan->shape[FV_KV_LEN].rank &&
           (operand == FV_K || operand == FV_V || (self && (operand == FV_Q || operand == FV_OUT)));
}

/* Appends the conversion between `t16` and a row-major tensor at `t32`, which is returned. */
static fv_tensor append_at(cast *s, const fv_tensor *t16, void *t32, bool in, bool limited, int64_t sequence) {
    conversion c = {.t16 = *t16, .t32 = plain(t16, t32), .in = in, .limited = limited, .sequence = sequence};
    int64_t matrices = 1;
    for (int a = 0; a + 2 < t16->rank; a++) matrices *= t16->dim[a];
    c.columns = t16->dim[t16->rank - 1], c.rows = t16->rank > 1 ? t16->dim[t16->rank - 2] : 1;
    c.step = c.columns > 0 && c.columns < AT_ONCE ? AT_ONCE / c.columns : 1;
    c.pieces = c.columns > 0 ? (c.rows + c.step - 1) / c.step : 0, c.before = s->pieces;
    s->pieces += c.pieces * matrices;
    s->list[s->count++] = c;
    return c.t32;
}

/* In scratch. */
static fv_tensor append(cast *s, const fv_tensor *t16, bool in, bool limited, int64_t sequence) {
    void *at = s->at;
    s->at += cast_bytes(t16);
    return append_at(s, t16, at, in, limited, sequence);
}

/* ---- converting */

static void widen(const fv__simd_f32 *simd, float *to, const uint16_t *from, fv_dtype dtype, int64_t n) {
    if (dtype == FV_BF16)
        simd->from_bf16(to, from, n);
    else
        simd->from_f16(to, from, n);
}

static void round_to_16bit(const fv__simd_f32 *simd, uint16_t *to, const float *from, fv_dtype dtype, int64_t n) {
    if (dtype == FV_BF16)
        simd->to_bf16(to, from, n);
    else
        simd->to_f16(to, from, n);
}

static void convert(const fv__simd_f32 *simd, const conversion *c, uint16_t *t16, float *t32, int64_t n) {
    if (c->in)
        widen(simd, t32, t16, c->t16.dtype, n);
    else
        round_to_16bit(simd, t16, t32, c->t16.dtype, n);
}

/* `count` rows of a matrix whose rows lie `ld` apart and whose elements lie `step` apart in the caller's tensor. */
static void convert_rows(const fv__simd_f32 *simd, const conversion *c, uint16_t *t16, float *t32, int64_t count,
                         int64_t ld, int64_t step) {
    if (step == 1 && (ld == c->columns || count == 1)) {
        convert(simd, c, t16, t32, count * c->columns);
        return;
    }
    for (int64_t r = 0; r < count; r++, t16 += ld, t32 += c->columns)
        if (step == 1)
            convert(simd, c, t16, t32, c->columns);
        else
            for (int64_t i = 0; i < c->columns; i++) convert(simd, c, t16 + i * step, t32 + i, 1);
}

static void piece_task(void *context, int64_t index, int worker) {
    const cast *s = context;
    const conversion *c = s->list;
    (void)worker;
    while (c + 1 < s->list + s->count && c[1].before <= index) c++;
    const int64_t matrix = (index - c->before) / c->pieces, row = (index - c->before) % c->pieces * c->step;
    const int rank = c->t16.rank;
    int64_t at = 0, rest = matrix, end = row + c->step < c->rows ? row + c->step : c->rows;
    for (int a = rank - 3; a >= 0; a--) at += rest % c->t16.dim[a] * c->t16.stride[a], rest /= c->t16.dim[a];
    if (c->limited) {
        const int64_t sequence = c->sequence >= 0 ? c->sequence : matrix / c->t16.dim[1];
        const int64_t live = fv__attn_sequence(s->run, sequence).k_len;
        if (end > live) end = live;
    }
    if (row >= end) return;
    const int64_t ld = rank > 1 ? c->t16.stride[rank - 2] : 0, step = c->columns > 1 ? c->t16.stride[rank - 1] : 1;
    convert_rows(s->simd, c, (uint16_t *)c->t16.data + at + row * ld,
                 (float *)c->t32.data + (matrix * c->rows + row) * c->columns, end - row, ld, step);
}

/* Conversions of one direction; the others are counted out by having no pieces. */
static void convert_all(const cast *all, bool in) {
    cast s = {.run = all->run, .simd = all->simd};
    for (int i = 0; i < all->count; i++) {
        if (all->list[i].in != in) continue;
        const int64_t next = i + 1 < all->count ? all->list[i + 1].before : all->pieces;
        if (next == all->list[i].before) continue;
        s.list[s.count] = all->list[i], s.list[s.count++].before = s.pieces;
        s.pieces += next - all->list[i].before;
    }
    fv__parallel_for(s.pieces, piece_task, &s);
}

/* ---- whole calls */

size_t fv__cast_bytes(const fv_attention_plan *plan, bool backward) {
    size_t bytes = 0;
    for (int p = 0; p < FV_OPERANDS; p++) {
        const fv_tensor *t = &plan->shape[p], *d = &plan->grad[p];
        if (t->rank && fv__attn_is_16bit(t->dtype) && of_tensor(p, backward) != NOT) bytes += cast_bytes(t);
        if (d->rank && fv__attn_is_16bit(d->dtype) && of_gradient(p, backward) != NOT) bytes += cast_bytes(d);
    }
    return bytes;
}

/* `out` of a forward, in f32 where aux keeps it, and that of a backward: what was kept, or scratch to make it in. */
static fv_tensor out_of(cast *s, const fv_attention_tensors *x, bool backward) {
    const fv_tensor *out = &x->t[FV_OUT], *aux = &x->t[FV_AUX];
    if (backward && aux->rank) return *aux;
    if (aux->rank && fv_tensor_contiguous(aux)) return append_at(s, out, aux->data, false, false, -1);
    if (!backward) return append(s, out, false, false, -1);
    void *at = s->at;
    s->at += cast_bytes(out);
    return plain(out, at);
}

/* The forward once more, for its output alone. */
static void remake_out(const fv__run *run, void *scratch) {
    fv_attention_tensors y = *run->x;
    for (int p = 0; p < FV_OPERANDS; p++)
        if (p != FV_OUT && fv_operand_is(p, FV_ROLE_RESULT)) y.t[p] = (fv_tensor){0};
    fv__attn_engine_run(&(fv__run){run->plan, &y, run->call}, false, scratch);
}

void fv__cast_run(const fv__run *run, bool backward, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    const bool keeps = fv__cast_keeps_out(plan);
    cast s = {.run = run, .simd = fv__simd_f32_now(), .at = scratch};
    fv_attention_tensors y = *x;
    for (int p = 0; p < FV_OPERANDS; p++) {
        const direction t = of_tensor(p, backward), d = of_gradient(p, backward);
        const bool limited = has_lengths(plan, p);
        if (p == FV_OUT && keeps)
            y.t[p] = out_of(&s, x, backward);
        else if (x->t[p].rank && fv__attn_is_16bit(x->t[p].dtype) && t != NOT)
            y.t[p] = append(&s, &x->t[p], t == IN, limited && t == IN, -1);
        if (x->d[p].rank && fv__attn_is_16bit(x->d[p].dtype) && d != NOT)
            y.d[p] = append(&s, &x->d[p], d == IN, limited && d == IN, -1);
    }
    convert_all(&s, true);
    char *rest = (char *)scratch + fv__cast_bytes(plan, backward);
    const fv__run inner = {plan, &y, run->call};
    if (backward && fv__cast_remakes_out(plan)) remake_out(&inner, rest);
    fv__attn_engine_run(&inner, backward, rest);
    convert_all(&s, false);
    if (!backward && keeps && x->t[FV_AUX].rank && y.t[FV_OUT].data != x->t[FV_AUX].data)
        fv_tensor_copy(&x->t[FV_AUX], &y.t[FV_OUT]);
}

/* ---- the inputs of one (batch, head), for what is recomputed after a forward */

/* Operands that lead with (batch, heads). */
static bool by_head(int operand) { return fv_operand_is((fv_operand)operand, FV_ROLE_INPUT); }

static bool recomputes(int operand) {
    return fv_operand_is((fv_operand)operand, FV_ROLE_DIFFERENTIABLE) && operand != FV_V;
}

static fv_tensor of_head(const fv_tensor *t, int64_t batch, int64_t head, int64_t heads) {
    const int64_t h = heads > 0 ? head * t->dim[1] / heads : 0;
    return fv_tensor_slice(fv_tensor_slice(*t, 0, t->dim[0] == 1 ? 0 : batch, 1), 1, t->dim[1] == 1 ? 0 : h, 1);
}

size_t fv__cast_inputs_bytes(const fv_attention_plan *plan, bool one) {
    size_t bytes = 0;
    for (int p = 0; p < FV_OPERANDS; p++) {
        fv_tensor t = plan->shape[p];
        if (!t.rank || !fv__attn_is_16bit(t.dtype) || !recomputes(p)) continue;
        if (one && by_head(p)) t.dim[0] = t.dim[1] = 1;
        bytes += cast_bytes(&t);
    }
    return bytes;
}

/* One head looks like all of them: its axes of batch and heads have stride 0. */
void fv__cast_inputs(const fv__run *run, int64_t batch, int64_t head, fv_attention_tensors *y, void *memory) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    cast s = {.run = run, .simd = fv__simd_f32_now(), .at = memory};
    const bool one = batch >= 0 && head >= 0;
    *y = *x;
    for (int p = 0; p < FV_OPERANDS; p++) {
        if (!x->t[p].rank || !fv__attn_is_16bit(x->t[p].dtype)) continue;
        y->t[p].data = NULL;
        if (!recomputes(p)) continue;
        fv_tensor from = x->t[p];
        if (one && by_head(p)) from = of_head(&from, plan->packed ? 0 : batch, head, plan->heads);
        y->t[p] = append(&s, &from, true, has_lengths(plan, p), one ? batch : -1);
        for (int a = 0; one && by_head(p) && a < 2; a++) y->t[p].dim[a] = x->t[p].dim[a], y->t[p].stride[a] = 0;
    }
    convert_all(&s, true);
}
