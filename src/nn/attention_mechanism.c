/* Fits a mechanism of the table into an attention layer: what it needs becomes parameters; what it cannot do is
 * refused now. */
#include "nn/attention.h"

#include "grad/graph.h"

#include <math.h>
#include <string.h>

static uint32_t bit(int operand) { return UINT32_C(1) << operand; }

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

/* Slopes of Press et al. 2021 (ALiBi): 2^(-8 i / n) for n a power of two; otherwise those of the power below, and
 * every second of the power above. */
static double slope(int64_t head, int64_t heads) {
    int64_t below = 1;
    while (below * 2 <= heads) below *= 2;
    if (head < below) return pow(2, -8.0 * (double)(head + 1) / (double)below);
    return pow(2, -8.0 * (double)(2 * (head - below) + 1) / (double)(2 * below));
}

static fv_status make_slopes(multi_head *l, fv_params *params) {
    fv_dtype dtype = fv__params_dtype(params);
    void *data = fv__params_memory(params, (size_t)l->heads * fv_dtype_size(dtype));
    if (!data) return FV_NO_RESOURCES;
    l->slopes = fv_tensor_1d(data, dtype, l->heads);
    for (int64_t h = 0; h < l->heads; h++) fv_tensor_set(&l->slopes, &h, slope(h, l->heads));
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

/* A learned vector or matrix of a mechanism starts uniform, by its last two axes; biases at zero. */
static fv_init start_of(const char *name, const fv_tensor *shape) {
    int last = shape->rank - 1;
    if (shape->rank == 1 && name[0] == 'b') return FV_INIT(ZEROS, 0);
    int64_t fans = shape->dim[last] + (last > 0 ? shape->dim[last - 1] : 1);
    return FV_INIT(UNIFORM, sqrt(6.0 / (double)(fans > 0 ? fans : 1)));
}

static fv_status operand_param(multi_head *l, fv_params *params, int operand, const char *name,
                               const fv_tensor *shape) {
    return fv__layer_param(&l->base, params, name, shape->rank, shape->dim, start_of(name, shape),
                           shape->rank > 1 ? FV_PARAM_DECAY : 0, &l->operand[operand]);
}

static fv_status check_needs(const multi_head *l, const fv_mechanism *m) {
    uint32_t given = bit(FV_Q) | bit(FV_K) | bit(FV_V) | bit(FV_SINKS) | bit(FV_SLOPES) | bit(FV_CU_Q) | bit(FV_CU_K);
    for (int p = FV_W0; p <= FV_W5; p++) given |= bit(p);
    for (int p = 0; p < FV_OPERANDS; p++)
        if (m->needs & bit(p) & ~given)
            return fv__fail(FV_USAGE, "layer %s: mechanism \"%s\" needs \"%s\", which this layer does not make",
                            l->base.name, m->name, fv_operand_name((fv_operand)p));
    if (l->gate && l->cross)
        return fv__fail(FV_USAGE, "layer %s: mechanism \"%s\" has no keys, so there is no cross-attention with it",
                        l->base.name, m->name);
    return FV_OK;
}

static fv_status set_options(multi_head *l, fv_params *params, const fv_multi_head_options *o) {
    static const fv_attention_options standard = FV_ATTENTION_DEFAULT;
    l->options = standard;
    FV_TRY(fv__layer_text(params, o->mechanism, &l->options.mechanism));
    l->options.causal = o->causal ? FV_CAUSAL_UPPER_LEFT : FV_CAUSAL_NONE;
    l->options.window_left = o->window_left;
    l->options.window_right = o->window_right;
    l->options.softcap = o->softcap;
    l->options.dropout = o->dropout;
    return FV_OK;
}

fv_status fv__mechanism_prepare(multi_head *l, fv_params *params, const fv_multi_head_options *o) {
    const fv_mechanism *m;
    FV_TRY(named(l, find(o->mechanism, &m)));
    for (int p = 0; p < FV_OPERANDS; p++) l->operand[p] = -1;
    l->gate = (m->can & FV_CAN_SELF) && !(m->needs & bit(FV_K));
    l->packed = m->can & FV_CAN_VARLEN;
    FV_TRY(check_needs(l, m));
    FV_TRY(set_options(l, params, o));
    return fv__is(o->positions, "alibi") ? make_slopes(l, params) : FV_OK;
}

fv_status fv__mechanism_params(multi_head *l, fv_params *params, const fv_multi_head_options *o) {
    const fv_mechanism *m;
    FV_TRY(find(o->mechanism, &m));
    fv_attention_tensors x = sample(l, fv__params_dtype(params), o->d_model);
    for (int p = FV_W0; p <= FV_W5; p++) {
        const char *name = m->operand_names[p - FV_W0];
        if (!name || !((m->needs | m->takes) & bit(p))) continue;
        FV_TRY(named(l, fv_attention_operand_shape(&l->options, &x, (fv_operand)p, &x.t[p])));
        if (x.t[p].rank) FV_TRY(operand_param(l, params, p, name, &x.t[p]));
    }
    if (o->sinks) {
        x.t[FV_SINKS] = fv_tensor_1d(NULL, fv__params_dtype(params), l->heads);
        FV_TRY(fv__layer_param(&l->base, params, "sinks", 1, &l->heads, FV_INIT(ZEROS, 0), 0, &l->operand[FV_SINKS]));
    }
    FV_TRY(named(l, fv_attention_operand_shape(&l->options, &x, FV_OUT, &x.t[FV_OUT])));
    fv_attention_plan *plan;
    FV_TRY(named(l, fv_attention_plan_create(&plan, &l->options, &x)));
    fv_attention_plan_free(plan);
    return FV_OK;
}
