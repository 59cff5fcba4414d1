/* Positions: added to the vectors (sinusoidal, learned) or turning pairs of them (rotary). */
#include "grad/sequences.h"

#include "attn/position/rope_call.h"

#include <math.h>

/* ---- added */

/* Angles of the rows at hand, [*count, (width+1)/2]: the graph's table of all positions from 0, or, when rows stand far
 * from there, one row of numbers for each; then at->row counts these. */
static bool angles_at(fv_graph *g, fv__positions *at, int64_t rows, int64_t width, double base, const double *both[2],
                      int64_t *count) {
    bool table = at->end <= rows;
    fv_status status = table ? fv__angles_of(g, width, base, at->end, &both[0], &both[1])
                             : fv__angles_at(g, width, base, at->row, rows, &both[0], &both[1]);
    for (int64_t i = 0; i < rows && !table; i++) at->row[i] = (int32_t)i;
    *count = table ? at->end : rows;
    if (status != FV_OK) fv_graph_failed(g, status);
    return status == FV_OK;
}

/* [count, width] */
static double *sinusoids(fv_graph *g, int64_t width, const double *const both[2], int64_t count) {
    double *table = fv__graph_memory(g, (size_t)(count * width), sizeof *table);
    int64_t pairs = (width + 1) / 2;
    for (int64_t p = 0; table && p < count; p++)
        for (int64_t i = 0; i < width; i++) table[p * width + i] = both[i % 2 == 0][p * pairs + i / 2];
    return table;
}

/* Vaswani et al. 2017, section 3.5: sin in even columns, cos in odd ones. */
fv_node *fv_op_add_sinusoidal(fv_graph *g, fv_node *x, const fv_sequences *s, const int64_t *first) {
    const char *where = "fv_op_add_sinusoidal";
    fv_sequences seq;
    fv__positions at;
    if (!fv__ready(g, where, &x, 1)) return &g->empty;
    if (x->value.rank != 2) return fv__refuse(g, where, "[T, width]", x);
    if (!fv__sequences_take(g, where, s, x->value.dim[0], &seq)) return &g->empty;
    if (!fv__positions_of(g, where, &seq, first, &at)) return &g->empty;
    const double *both[2];
    int64_t count, width = x->value.dim[1];
    if (!angles_at(g, &at, x->value.dim[0], width, 10000, both, &count)) return &g->empty;
    double *values = sinusoids(g, width, both, count);
    if (!values) return &g->empty;
    fv_tensor table = fv_tensor_2d(values, FV_F64, count, width);
    return fv_op_add(g, x, fv_op_embedding(g, fv_op_constant(g, &table), at.row, x->value.dim[0]));
}

fv_node *fv_op_add_positions(fv_graph *g, fv_node *x, fv_node *table, const fv_sequences *s, const int64_t *first) {
    fv_node *in[] = {x, table};
    fv_sequences seq;
    fv__positions at;
    if (!fv__ready(g, "fv_op_add_positions", in, 2)) return &g->empty;
    if (x->value.rank != 2 || table->value.rank != 2)
        return fv__refuse(g, "fv_op_add_positions", "[T, width] and [max, width]", x);
    if (!fv__sequences_take(g, "fv_op_add_positions", s, x->value.dim[0], &seq)) return &g->empty;
    if (!fv__positions_of(g, "fv_op_add_positions", &seq, first, &at)) return &g->empty;
    if (at.end > table->value.dim[0])
        return fv_graph_failed(
            g, fv__fail(FV_BAD_DATA,
                        "fv_op_add_positions: a sequence is too long\n  expected at most %lld tokens, the "
                        "rows of the table\n  found:   %lld\n  try:     cut the text, or a larger max-length",
                        (long long)table->value.dim[0], (long long)at.end));
    return fv_op_add(g, x, fv_op_embedding(g, table, at.row, x->value.dim[0]));
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

/* The angles are copied into the step: the graph's table may move before backward. */
static bool rope_angles(fv_graph *g, fv__positions *at, int64_t rows, int64_t width, double base,
                        fv_rope_options *how) {
    const double *both[2];
    int64_t count, pairs = width / 2;
    if (!angles_at(g, at, rows, width, base, both, &count)) return false;
    size_t numbers = (size_t)(count * pairs);
    how->position = fv_tensor_1d(at->row, FV_I32, rows);
    how->cosine = fv_tensor_2d(fv__graph_copy(g, both[0], numbers, sizeof(double)), FV_F64, count, pairs);
    how->sine = fv_tensor_2d(fv__graph_copy(g, both[1], numbers, sizeof(double)), FV_F64, count, pairs);
    return g->status == FV_OK;
}

fv_node *fv_op_rope(fv_graph *g, fv_node *x, const fv_sequences *s, const int64_t *first, fv_rope_pairing pairing,
                    double base) {
    fv_sequences seq;
    fv__positions at;
    if (!fv__ready(g, "fv_op_rope", &x, 1)) return &g->empty;
    if (!can_turn(&x->value)) return fv__refuse(g, "fv_op_rope", "(1, H, T, D) or [T, D] with an even D", x);
    if (!(base > 0))
        return fv_graph_failed(g, fv__fail(FV_USAGE, "fv_op_rope: base\n  expected above 0\n  found:   %g", base));
    int64_t rows = x->value.dim[x->value.rank - 2], width = fv__columns(x);
    if (!fv__sequences_take(g, "fv_op_rope", s, rows, &seq)) return &g->empty;
    if (!fv__positions_of(g, "fv_op_rope", &seq, first, &at)) return &g->empty;
    fv_rope_options how = FV_ROPE_DEFAULT;
    how.pairing = pairing;
    if (!rope_angles(g, &at, rows, width, base, &how)) return &g->empty;
    fv_node *y = fv__node_like(g, x, &x, 1, rope_back);
    if (g->status != FV_OK || !(y->saved = fv__graph_copy(g, &how, 1, sizeof how))) return &g->empty;
    const fv_tensor to = four_axes(y->value), from = four_axes(x->value);
    fv_status status = fv__rope(&how, &from, &to, false, false);
    return status == FV_OK ? y : fv_graph_failed(g, status);
}
