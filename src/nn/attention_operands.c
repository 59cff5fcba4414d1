/* Inputs of a mechanism besides q, k and v, as its rows ask a layer to make them: decays and write strengths of x, keys
 * of length 1. */
#include "nn/attention.h"

#include <math.h>
#include <stdio.h>

/* ---- creating */

static fv_status linear(fv_layer **out, const multi_head *l, fv_params *params, const char *name, const char *part,
                        fv_linear_options options) {
    char both[64];
    fv__name full;
    snprintf(both, sizeof both, "%s%s", name, part);
    FV_TRY(fv__layer_part(&full, &l->base, both));
    return fv_layer_linear(out, params, full.text, &options);
}

static fv_status create_one(multi_head *l, fv_params *params, const fv_multi_head_options *o,
                            const fv_mechanism_operand *row, const fv_tensor *shape) {
    if (l->made_count == FV_MADE)
        return fv__fail(FV_USAGE, "layer %s: operands that it makes\n  expected at most %d\n  found:   more",
                        l->base.name, FV_MADE);
    fv__made *made = &l->made[l->made_count++];
    *made = (fv__made){.row = row, .columns = shape->rank > 3 ? shape->dim[3] : 0};
    const int64_t in = o->d_model, out = l->heads * (made->columns ? made->columns : 1);
    if (!row->rank)
        return linear(&made->up, l, params, row->name, "",
                      (fv_linear_options){.in = in, .out = out, .no_bias = o->no_bias});
    FV_TRY(linear(&made->down, l, params, row->name, ".down",
                  (fv_linear_options){.in = in, .out = row->rank, .no_bias = true}));
    return linear(&made->up, l, params, row->name, ".up",
                  (fv_linear_options){.in = row->rank, .out = out, .no_bias = o->no_bias});
}

fv_status fv__made_create(multi_head *l, fv_params *params, const fv_multi_head_options *o, const fv_mechanism *m,
                          fv_attention_tensors *x) {
    for (const fv_mechanism_operand *row = m->operands; row && row->name; row++) {
        const fv_operand p = row->operand;
        if (row->map == FV_OPERAND_UNIT_ROWS) l->unit_rows[p] = true;
        if (row->map == FV_OPERAND_GIVEN || row->map == FV_OPERAND_UNIT_ROWS || l->cross) continue;
        FV_TRY(fv_attention_operand_shape(&l->options, x, p, &x->t[p]));
        FV_TRY(create_one(l, params, o, row, &x->t[p]));
    }
    return FV_OK;
}

/* ---- running */

static fv_node *make(const multi_head *l, fv_graph *g, const fv_flow *flow, const fv__made *made) {
    const fv_mechanism_operand *row = made->row;
    fv_node *y = made->down ? fv_layer_forward(made->down, g, flow) : flow->x;
    y = fv_layer_apply(made->up, g, y, flow->sequences);
    y = fv_op_activation(g, y, row->map == FV_OPERAND_SIGMOID ? FV_SIGMOID : FV_LOG_SIGMOID);
    if (row->factor != 1) y = fv_op_scale(g, y, row->factor);
    if (made->columns) return fv_op_heads(g, y, 0, l->heads, made->columns);
    const int64_t rows = fv_node_value(flow->x).dim[0];
    return fv_op_transpose(g, fv_op_reshape(g, y, 3, (int64_t[]){1, rows, l->heads}), 1, 2);
}

void fv__made_of(const multi_head *l, fv_graph *g, const fv_flow *flow, fv__qkv *x) {
    for (int i = 0; i < l->made_count; i++) x->made[i] = make(l, g, flow, &l->made[i]);
}

/* An RMS norm leaves rows of length sqrt(D). */
fv_node *fv__unit_rows(const multi_head *l, fv_graph *g, fv_operand operand, fv_node *x) {
    const double columns = (double)l->head;
    if (!l->unit_rows[operand]) return x;
    return fv_op_scale(g, fv_op_rms_norm(g, x, NULL, 1e-6 / columns), 1 / sqrt(columns));
}
