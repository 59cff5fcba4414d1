/* Fits a mechanism of the table into an attention layer: what it needs becomes parameters; what it cannot do is
 * refused now. */
#include "nn/attention.h"

#include "attn/mechanism_contract.h"
#include "attn/position/alibi_slopes.h"
#include "grad/graph.h"

#include <math.h>
#include <string.h>

static fv_status find(const char *text, const fv_mechanism **found) {
    char name[64];
    size_t length = strcspn(text, ":");
    if (length < sizeof name) {
        memcpy(name, text, length);
        name[length] = '\0';
        *found = fv_mechanism_find(name);
        if (*found) return FV_OK;
    }
    /* the dispatcher knows the names and suggests one */
    fv_attention_options options = FV_ATTENTION_DEFAULT;
    fv_attention_tensors none = {.t = {[FV_Q] = {.rank = 0}}};
    fv_tensor shape;
    options.mechanism = text;
    return fv_attention_operand_shape(&options, &none, FV_W0, &shape);
}

/* Puts the layer's name before what attention had to say. */
static fv_status named(const multi_head *l, fv_status status) {
    return status == FV_OK ? FV_OK : fv__fail(status, "layer %s: %s", l->base.name, fv_message());
}

static fv_status make_slopes(multi_head *l, fv_params *params) {
    fv_dtype dtype = fv__params_dtype(params);
    void *data = fv__params_memory(params, (size_t)l->heads * fv_dtype_size(dtype));
    if (!data) return FV_NO_RESOURCES;
    l->slopes = fv_tensor_1d(data, dtype, l->heads);
    for (int64_t h = 0; h < l->heads; h++) fv_tensor_set(&l->slopes, &h, fv__alibi_slope(h, l->heads));
    return FV_OK;
}

/* The shapes of a call with sequences of some length: what decides whether a plan is possible and how large
 * parameters are. */
static fv_attention_tensors sample(const multi_head *l, fv_dtype dtype, int64_t d_model) {
    enum { ROWS = 256 };
    fv_attention_tensors x = {.t = {[FV_Q] = {.rank = 0}}};
    x.t[FV_Q] = l->gate ? fv_bhld(NULL, dtype, 1, 1, ROWS, d_model) : fv_bhld(NULL, dtype, 1, l->heads, ROWS, l->head);
    if (!l->gate) x.t[FV_K] = x.t[FV_V] = fv_bhld(NULL, dtype, 1, l->kv_heads, ROWS, l->head);
    if (l->packed) x.t[FV_CU_Q] = fv_tensor_1d(NULL, FV_I32, 3);
    x.t[FV_SLOPES] = l->slopes;
    return x;
}

/* How a mechanism's row says that its parameter starts; the fans are its last two axes. */
static fv_init start_of(const fv_mechanism_operand *row, const fv_tensor *shape) {
    int last = shape->rank - 1;
    if (row->init == FV_OPERAND_ZEROS) return FV_INIT(ZEROS, 0);
    if (row->init == FV_OPERAND_ONES) return FV_INIT(ONES, 0);
    if (row->init == FV_OPERAND_NORMAL) return FV_INIT(NORMAL, 0.1);
    int64_t fans = shape->dim[last] + (last > 0 ? shape->dim[last - 1] : 1);
    return FV_INIT(UNIFORM, sqrt(6.0 / (double)(fans > 0 ? fans : 1)));
}

static fv_status own_param(multi_head *l, fv_params *params, const fv_mechanism_operand *row, const fv_tensor *shape) {
    return fv__layer_param(&l->base, params, row->name, shape->rank, shape->dim, start_of(row, shape),
                           row->decay ? FV_PARAM_DECAY : 0, &l->operand[row->operand]);
}

static fv_status check_needs(const multi_head *l, const fv_mechanism *m) {
    static const fv_operand made[] = {FV_Q, FV_K, FV_V, FV_SINKS, FV_SLOPES, FV_CU_Q, FV_CU_K};
    uint64_t given = 0;
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) given |= FV_OPERAND_BIT(made[i]);
    for (const fv_mechanism_operand *row = m->operands; row && row->name; row++) given |= FV_OPERAND_BIT(row->operand);
    for (int p = 0; p < FV_OPERANDS; p++)
        if (m->needs & FV_OPERAND_BIT(p) & ~given)
            return fv__fail(FV_USAGE, "layer %s: mechanism \"%s\" needs \"%s\", which this layer does not make",
                            l->base.name, m->name, fv_operand_name((fv_operand)p));
    if (l->gate && l->cross)
        return fv__fail(FV_USAGE, "layer %s: mechanism \"%s\" has no keys, so there is no cross-attention with it",
                        l->base.name, m->name);
    return FV_OK;
}

static fv_status set_options(multi_head *l, fv_params *params, const fv_multi_head_options *o) {
    l->options = o->attention;
    return fv__layer_text(params, o->attention.mechanism, &l->options.mechanism);
}

fv_status fv__mechanism_prepare(multi_head *l, fv_params *params, const fv_multi_head_options *o) {
    const fv_mechanism *m;
    FV_TRY(named(l, find(o->attention.mechanism, &m)));
    for (int p = 0; p < FV_OPERANDS; p++) l->operand[p] = -1;
    l->gate = (m->can & FV_CAN_SELF) && !(m->needs & FV_OPERAND_BIT(FV_K));
    l->packed = m->can & FV_CAN_VARLEN, l->decodes = m->can & FV_CAN_DECODE;
    l->recurrence = (m->takes & FV_OPERAND_BIT(FV_STATE)) && !l->cross; /* a memory is keys */
    FV_TRY(check_needs(l, m));
    FV_TRY(set_options(l, params, o));
    return fv__is(o->positions, "alibi") ? make_slopes(l, params) : FV_OK;
}

fv_status fv__mechanism_params(multi_head *l, fv_params *params, const fv_multi_head_options *o) {
    const fv_mechanism *m;
    FV_TRY(find(o->attention.mechanism, &m));
    fv_attention_tensors x = sample(l, fv__params_dtype(params), o->d_model);
    for (const fv_mechanism_operand *row = m->operands; row && row->name; row++) {
        const fv_operand p = row->operand;
        if (!fv_operand_is(p, FV_ROLE_PARAM)) continue;
        FV_TRY(named(l, fv_attention_operand_shape(&l->options, &x, p, &x.t[p])));
        if (x.t[p].rank) FV_TRY(own_param(l, params, row, &x.t[p]));
    }
    if (o->sinks) {
        x.t[FV_SINKS] = fv_tensor_1d(NULL, fv__params_dtype(params), l->heads);
        FV_TRY(fv__layer_param(&l->base, params, "sinks", 1, &l->heads, FV_INIT(ZEROS, 0), 0, &l->operand[FV_SINKS]));
    }
    FV_TRY(named(l, fv_attention_operand_shape(&l->options, &x, FV_OUT, &x.t[FV_OUT])));
    fv_attention_plan *plan;
    FV_TRY(named(l, fv_attention_plan_create(&plan, &l->options, &x)));
    const fv__engine *engine = plan->mechanism->engine;
    l->in_place = engine->decodes_in_place && engine->decodes_in_place(plan);
    fv_attention_plan_free(plan);
    return FV_OK;
}

fv_status fv__attention_state(const multi_head *l, int64_t sequences, fv_tensor *shape) {
    fv_attention_tensors x = sample(l, FV_F32, l->base.in);
    x.t[FV_CU_Q] = fv_tensor_1d(NULL, FV_I32, sequences + 1);
    return named(l, fv_attention_operand_shape(&l->options, &x, FV_STATE, shape));
}
