/* Positions: added to the vectors (sinusoidal, learned) or turning pairs of them (rotary). */
#include "grad/sequences.h"

#include "attn/position/rope_call.h"

#include <math.h>

/* ---- added */

static double *sinusoids(fv_graph *g, int64_t width, int64_t positions) {
    const double *cosine, *sine;
    fv_status status = fv__angles_of(g, width, 10000, positions, &cosine, &sine);
    double *table = status == FV_OK ? fv__graph_memory(g, (size_t)(positions * width), sizeof *table) : NULL;
    if (status != FV_OK) fv_graph_failed(g, status);
    int64_t pairs = (width + 1) / 2;
    for (int64_t p = 0; table && p < positions; p++)
        for (int64_t i = 0; i < width; i++) table[p * width + i] = (i % 2 ? cosine : sine)[p * pairs + i / 2];
    return table;
}

/* Vaswani et al. 2017, section 3.5: sin in even columns, cos in odd ones. */
fv_node *fv_op_add_sinusoidal(fv_graph *g, fv_node *x, const fv_sequences *s) {
    fv_sequences seq;
    if (!fv__ready(g, "fv_op_add_sinusoidal", &x, 1)) return &g->empty;
    if (x->value.rank != 2) return fv__refuse(g, "fv_op_add_sinusoidal", "[T, width]", x);
    if (!fv__sequences_take(g, "fv_op_add_sinusoidal", s, x->value.dim[0], &seq)) return &g->empty;
    int64_t longest = fv__sequences_longest(&seq);
    double *values = sinusoids(g, x->value.dim[1], longest);
    if (!values) return &g->empty;
    fv_tensor table = fv_tensor_2d(values, FV_F64, longest, x->value.dim[1]);
    return fv_op_add_positions(g, x, fv_op_constant(g, &table), s);
}

fv_node *fv_op_add_positions(fv_graph *g, fv_node *x, fv_node *table, const fv_sequences *s) {
    fv_node *in[] = {x, table};
    fv_sequences seq;
    if (!fv__ready(g, "fv_op_add_positions", in, 2)) return &g->empty;
    if (x->value.rank != 2 || table->value.rank != 2)
        return fv__refuse(g, "fv_op_add_positions", "[T, width] and [max, width]", x);
    if (!fv__sequences_take(g, "fv_op_add_positions", s, x->value.dim[0], &seq)) return &g->empty;
    if (fv__sequences_longest(&seq) > table->value.dim[0])
        return fv_graph_failed(g,
                               fv__fail(FV_BAD_DATA,
                                        "fv_op_add_positions: a sequence of %lld tokens\n  expected: at most %lld, the "
                                        "rows of the table\n  try:      cut the text, or a larger max-length",
                                        (long long)fv__sequences_longest(&seq), (long long)table->value.dim[0]));
    int32_t *position = fv__sequences_positions(g, &seq);
    if (!position) return &g->empty;
    return fv_op_add(g, x, fv_op_embedding(g, table, position, x->value.dim[0]));
}

/* ---- rotary (Su et al. 2021, arXiv 2104.09864) */

/* [T,D] or (1,H,T,D) as (1,H,T,D) */
static fv_tensor four_axes(fv_tensor t) {
    if (t.rank == 4) return t;
    fv_tensor r = {.data = t.data,
                   .dtype = t.dtype,
                   .rank = 4,
                   .dim = {1, 1, t.dim[0], t.dim[1]},
                   .stride = {0, 0, t.stride[0], t.stride[1]}};
    return r;
}

static void rope_back(fv_graph *g, fv_node *node) {
    bool fresh;
    fv_tensor dx = fv__grad_of(g, node->in[0], &fresh);
    if (!dx.data) return;
    const fv_tensor to = four_axes(dx), from = four_axes(fv__grad_at(node));
    const fv_status status = fv__rope(node->saved, &from, &to, true, !fresh);
    if (status != FV_OK) fv_graph_failed(g, status);
}

static bool can_turn(const fv_tensor *t) {
    return (t->rank == 2 || (t->rank == 4 && t->dim[0] == 1)) && t->dim[t->rank - 1] % 2 == 0;
}

fv_node *fv_op_rope(fv_graph *g, fv_node *x, const fv_sequences *s, fv_rope_pairing pairing, double base) {
    fv_sequences seq;
    if (!fv__ready(g, "fv_op_rope", &x, 1)) return &g->empty;
    if (!can_turn(&x->value)) return fv__refuse(g, "fv_op_rope", "(1, H, T, D) or [T, D] with an even D", x);
    if (!(base > 0)) return fv_graph_failed(g, fv__fail(FV_USAGE, "fv_op_rope: base %g\n  expected: above 0", base));
    int64_t rows = x->value.dim[x->value.rank - 2], width = fv__columns(x);
    if (!fv__sequences_take(g, "fv_op_rope", s, rows, &seq)) return &g->empty;
    const double *cosine, *sine;
    int64_t longest = fv__sequences_longest(&seq);
    size_t count = (size_t)(longest * (width / 2));
    fv_status status = fv__angles_of(g, width, base, longest, &cosine, &sine);
    if (status != FV_OK) return fv_graph_failed(g, status);
    fv_rope_options how = FV_ROPE_DEFAULT;
    how.pairing = pairing;
    how.position = fv_tensor_1d(fv__sequences_positions(g, &seq), FV_I32, rows);
    how.cosine = fv_tensor_2d(fv__graph_copy(g, cosine, count, sizeof *cosine), FV_F64, longest, width / 2);
    how.sine = fv_tensor_2d(fv__graph_copy(g, sine, count, sizeof *sine), FV_F64, longest, width / 2);
    fv_node *y = fv__node_like(g, x, &x, 1, rope_back);
    if (g->status != FV_OK || !(y->saved = fv__graph_copy(g, &how, 1, sizeof how))) return &g->empty;
    const fv_tensor to = four_axes(y->value), from = four_axes(x->value);
    status = fv__rope(&how, &from, &to, false, false);
    return status == FV_OK ? y : fv_graph_failed(g, status);
}
