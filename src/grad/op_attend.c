/* The one adapter between the graph and attention: any mechanism of the table, with gradients of every differentiable
 * operand. Forward runs the plan into nodes; backward lets the plan write gradients, straight into the inputs'
 * gradients where nothing else has contributed yet, otherwise beside them and then adds. */
#include "grad/op_attend.h"

#include "attn/mechanism_contract.h"
#include "grad/sequences.h"

#include <string.h>

/* ---- forward */

static void *scratch(fv_graph *g, const fv_attention_plan *plan, bool backward) {
    size_t need = fv_attention_scratch(plan, backward);
    if (g->scratch && need <= g->scratch_bytes) return g->scratch;
    g->scratch = fv__graph_memory(g, need, 1);
    g->scratch_bytes = g->scratch ? need : 0;
    return g->scratch;
}

static bool packed_rows(fv_graph *g, const fv_sequences *s, const fv_node *x, fv_tensor *cu) {
    fv_sequences seq;
    if (!s || !x) return true;
    if (!fv__sequences_take(g, "fv_op_attend", s, x->value.dim[2], &seq)) return false;
    *cu = fv_tensor_1d((void *)(uintptr_t)seq.cu, FV_I32, seq.count + 1);
    return true;
}

/* Collects the inputs of the call: t of everything, d of what wants a gradient. */
static fv_node *collect(fv_graph *g, const fv_attend *call, fv__attend_call *c) {
    fv_node *wants = NULL;
    for (int p = 0; p < FV_OPERANDS; p++) {
        c->in[p] = call->in[p];
        c->x.t[p] = call->in[p] ? call->in[p]->value : call->fixed[p];
        if (!call->in[p] || !call->in[p]->needs_grad) continue;
        c->x.d[p] = call->in[p]->value;
        wants = call->in[p];
    }
    if (!packed_rows(g, call->q_rows, call->in[FV_Q], &c->x.t[FV_CU_Q])) return &g->empty;
    if (!packed_rows(g, call->k_rows, call->in[FV_K], &c->x.t[FV_CU_K])) return &g->empty;
    return wants;
}

static void attend_back(fv_graph *g, fv_node *node);

/* (B,H,L,D) in memory (B,L,H,D), so that heads side by side are a row. */
static fv_node *heads_node(fv_graph *g, const fv_tensor *shape, fv_node *wants, fv__back_fn *back) {
    const int64_t *d = shape->dim;
    if (shape->rank != 4) return fv__node_new(g, shape->rank, d, &wants, 1, back);
    fv_node *node = fv__node_new(g, 4, (int64_t[]){d[0], d[2], d[1], d[3]}, &wants, 1, back);
    if (node != &g->empty) node->value = fv_tensor_transpose(node->value, 1, 2);
    return node;
}

static fv_node *output(fv_graph *g, const fv_tensor *shape, fv_node *wants) {
    return shape->rank ? fv__node_new(g, shape->rank, shape->dim, &wants, 1, NULL) : NULL;
}

static void link_call(fv_graph *g, fv__attend_call *c) {
    if (g->attend_last)
        g->attend_last->next = c;
    else
        g->attend_first = c;
    g->attend_last = c;
    g->attend_count++;
}

static bool make_outputs(fv_graph *g, fv__attend_call *c, const fv__planned *planned, fv_node *wants,
                         bool wants_state) {
    c->out = heads_node(g, &planned->out, wants, attend_back);
    c->lse = output(g, &planned->lse, wants);
    c->state = wants_state ? output(g, &planned->state, wants) : NULL;
    if (planned->aux.rank) {
        c->x.t[FV_AUX] = planned->aux;
        size_t bytes = (size_t)fv_tensor_count(&planned->aux) * fv_dtype_size(planned->aux.dtype);
        c->x.t[FV_AUX].data = fv__graph_memory(g, bytes, 1);
    }
    if (g->status != FV_OK) return false;
    c->out->saved = c;
    c->out->partner = c->lse ? c->lse : c->state;
    if (c->lse) c->lse->partner = c->state;
    c->x.t[FV_OUT] = c->out->value;
    if (c->lse) c->x.t[FV_LSE] = c->lse->value;
    if (c->state) c->x.t[FV_STATE_OUT] = c->state->value;
    return true;
}

/* Plans by shape; what differs from call to call is in c->call. */
static const fv__planned *planned_for(fv_graph *g, const fv_attend *call, fv__attend_call *c, bool lse, bool state,
                                      bool record) {
    fv_attention_options options = call->options;
    if (g->mode != FV_MODE_TRAIN) options.dropout = 0;
    c->call = call->call;
    if (options.dropout > 0 && !c->call.seed) c->call.seed = fv__hash(&g->draws, sizeof g->draws, g->seed);
    if (options.dropout > 0) g->draws++;
    fv_attention_tensors shapes = c->x;
    if (record) shapes.d[FV_OUT].rank = 4;
    if (state) shapes.t[FV_STATE_OUT].rank = 4;
    const fv__planned *planned = NULL;
    fv_status status = fv__plans_get(g, &options, &shapes, lse, &planned);
    if (status != FV_OK) fv_graph_failed(g, status);
    return planned;
}

fv_node *fv_op_attend(fv_graph *g, const fv_attend *call, fv_node **lse, fv_node **state) {
    if (lse) *lse = &g->empty;
    if (state) *state = &g->empty;
    if (!fv__ready(g, "fv_op_attend", &call->in[FV_Q], 1)) return &g->empty;
    fv__attend_call *c = fv__graph_memory(g, 1, sizeof *c);
    if (!c) return &g->empty;
    memset(c, 0, sizeof *c);
    c->name = call->name ? call->name : "attention";
    fv_node *wants = collect(g, call, c);
    if (g->status != FV_OK) return &g->empty;
    bool record = g->mode != FV_MODE_INFER && wants;
    const fv__planned *planned = planned_for(g, call, c, lse != NULL, state != NULL, record);
    if (!planned || !make_outputs(g, c, planned, wants, state != NULL)) return &g->empty;
    c->plan = planned->plan;
    void *memory = scratch(g, c->plan, false);
    if (!memory) return &g->empty;
    fv_attention_tensors x = c->x;
    memset(x.d, 0, sizeof x.d);
    fv_status status = fv_attention_forward(c->plan, &c->call, &x, memory);
    if (status != FV_OK) return fv_graph_failed(g, status);
    link_call(g, c);
    if (lse && c->lse) *lse = c->lse;
    if (state && c->state) *state = c->state;
    return c->out;
}

/* ---- backward */

/* q, k and v are usually three windows side by side of one projection. When nothing else has contributed to it, the
 * three gradients together write all of its gradient, and it needs no zeroing and no adding. */
static bool windows_cover(const fv__attend_call *c) {
    fv_node *q = c->in[FV_Q], *k = c->in[FV_K], *v = c->in[FV_V];
    if (!q || !k || !v || !q->owner || q->owner != k->owner || q->owner != v->owner) return false;
    if (!q->needs_grad || q->owner->grad || q->value.rank != 4 || q->value.dim[0] != 1) return false;
    const fv_node *part[3] = {q, k, v};
    int64_t start[3], width[3], total = 0, row = q->value.stride[2];
    for (int i = 0; i < 3; i++) {
        const fv_tensor *t = &part[i]->value;
        if (t->rank != 4 || t->stride[2] != row || t->stride[3] != 1 || t->stride[1] != t->dim[3]) return false;
        start[i] = ((char *)t->data - (char *)q->owner->value.data) / (int64_t)fv_dtype_size(t->dtype);
        width[i] = t->dim[1] * t->dim[3];
        total += width[i];
        if (start[i] + width[i] > row || t->dim[2] * row != fv__count(q->owner)) return false;
    }
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < i; j++)
            if (start[i] < start[j] + width[j] && start[j] < start[i] + width[i]) return false;
    return total == row;
}

/* Where backward may write each gradient. What cannot be written in place gets memory of its own, marked in
 * `beside`. */
static bool place_gradients(fv_graph *g, fv__attend_call *c, fv_attention_tensors *x, bool *beside) {
    if (windows_cover(c)) {
        fv_node *owner = c->in[FV_Q]->owner;
        owner->grad = fv__graph_memory(g, (size_t)fv__count(owner), g->size);
        if (!owner->grad) return false;
        for (int p = 0; p < FV_OPERANDS; p++)
            if (fv_operand_is_qkv(p)) x->d[p] = fv__grad_at(c->in[p]);
    }
    for (int p = 0; p < FV_OPERANDS; p++) {
        if (x->d[p].data || !c->in[p] || !c->in[p]->needs_grad) continue;
        bool fresh;
        x->d[p] = fv__grad_of(g, c->in[p], &fresh);
        if (!x->d[p].data) return false;
        if (fresh) continue;
        beside[p] = true;
        void *memory = fv__graph_memory(g, (size_t)fv__count(c->in[p]), g->size);
        x->d[p] = fv_tensor_of(memory, g->dtype, c->in[p]->value.rank, c->in[p]->value.dim);
    }
    return g->status == FV_OK;
}

/* The gradient of an output; zeros when only another output was used. */
static fv_tensor output_grad(fv_graph *g, fv_node *node) { return node ? fv__grad_of(g, node, NULL) : (fv_tensor){0}; }

static void attend_back(fv_graph *g, fv_node *node) {
    fv__attend_call *c = node->saved;
    fv_attention_tensors x = c->x;
    bool beside[FV_OPERANDS] = {false};
    memset(x.d, 0, sizeof x.d);
    if (!place_gradients(g, c, &x, beside)) return;
    x.d[FV_OUT] = output_grad(g, c->out);
    if (c->plan->grad[FV_LSE].rank) x.d[FV_LSE] = output_grad(g, c->lse);
    if (c->plan->grad[FV_STATE_OUT].rank) x.d[FV_STATE_OUT] = output_grad(g, c->state);
    void *memory = scratch(g, c->plan, true);
    if (g->status != FV_OK || !memory) return;
    fv_status status = fv_attention_backward(c->plan, &c->call, &x, memory);
    if (status != FV_OK) fv_graph_failed(g, status);
    for (int p = 0; p < FV_OPERANDS && g->status == FV_OK; p++) {
        if (!beside[p]) continue;
        fv_tensor sum = fv__grad_of(g, c->in[p], NULL);
        fv__accumulate(&sum, &x.d[p], false);
    }
}

/* ---- looking */

int fv_graph_attention_count(const fv_graph *g) { return g->attend_count; }

fv_status fv_graph_attention(const fv_graph *g, int index, fv_attention_record *record) {
    const fv__attend_call *c = g->attend_first;
    for (int i = 0; c && i < index; i++) c = c->next;
    if (!c || index < 0)
        return fv__fail(FV_USAGE, "fv_graph_attention: index of a call\n  expected 0 or more, below %d\n  found:   %d",
                        g->attend_count, index);
    *record = (fv_attention_record){.name = c->name, .plan = c->plan, .call = c->call, .x = c->x};
    memset(record->x.d, 0, sizeof record->x.d);
    record->x.d[FV_OUT] = fv__grad_at(c->out);
    return FV_OK;
}
