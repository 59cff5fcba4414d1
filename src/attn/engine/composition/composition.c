/* COMPOSITION: runs the parts and merges them. See composition.h. */
#include "attn/engine/composition/composition.h"
#include "attn/attn.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- planning */

fv_status fv__composition_add(fv_attention_plan *plan, const fv_attention_options *options) {
    const fv__composition_setup *setup = fv__composition_setup_of(plan);
    fv_attention_tensors y = {0};
    for (int p = 0; p < FV_OPERANDS; p++) {
        if (fv_operand_is(p, FV_ROLE_RESULT)) continue;
        const fv_dtype dtype = fv_operand_is(p, FV_ROLE_DIFFERENTIABLE) ? plan->dtype : plan->shape[p].dtype;
        if (plan->shape[p].rank) y.t[p] = fv_tensor_of(NULL, dtype, plan->shape[p].rank, plan->shape[p].dim);
        if (plan->grad[p].rank) y.d[p] = y.t[p];
    }
    setup->part(plan, plan->children, &y);
    const int64_t out[4] = {plan->batch, plan->heads, plan->q_len, plan->d_v};
    y.t[FV_OUT] = fv_tensor_of(NULL, plan->dtype, 4, out), y.t[FV_LSE] = fv_tensor_of(NULL, plan->dtype, 3, out);
    if (fv__attn_wants_backward(plan)) y.d[FV_OUT] = y.t[FV_OUT], y.d[FV_LSE] = y.t[FV_LSE];
    const fv_attention_plan *child;
    return fv__plan_child(plan, options, &y, &child);
}

static fv_status accept(const fv_attention_plan *plan) {
    FV_TRY(fv__attn_check_saved_lse(plan));
    if (!fv__attn_wants_backward(plan) || plan->shape[FV_AUX].rank) return FV_OK;
    return fv__fail(FV_USAGE,
                    "attention: mechanism \"%s\", backward\n  expected operand \"aux\", written by the forward\n"
                    "  found:   none",
                    plan->mechanism->info.name);
}

/* ---- memory */

typedef struct job {
    const fv__run *run;
    const fv__composition_setup *setup;
    double factor[FV_MERGE_PARTS], d_factor[FV_MERGE_PARTS];
    fv__parts parts, d; /* results and their gradients */
    fv_tensor beside[FV_OPERANDS];
    double *sums;
    void *child; /* scratch of the part that runs */
} job;

/* Room for a result and its LSE. */
static void part_region(fv__regions *all, const fv_attention_plan *plan, fv__parts *parts, int k) {
    const int64_t dim[4] = {plan->batch, plan->heads, plan->q_len, plan->d_v};
    parts->out[k] = fv_tensor_of(NULL, plan->dtype, 4, dim), parts->lse[k] = fv_tensor_of(NULL, plan->dtype, 3, dim);
    const size_t size = fv_dtype_size(plan->dtype);
    parts->out[k].data = fv__region(all, fv__attn_lines(fv_tensor_count(&parts->out[k]), size));
    parts->lse[k].data = fv__region(all, fv__attn_lines(fv_tensor_count(&parts->lse[k]), size));
    parts->count = k + 1;
}

static size_t child_bytes(const fv_attention_plan *plan, bool backward) {
    size_t most = 0;
    for (int k = 0; k < plan->children; k++) {
        const fv_attention_plan *child = plan->child[k];
        if (backward && !fv__attn_wants_backward(child)) continue;
        const size_t bytes = child->mechanism->engine->scratch(child, backward);
        if (bytes > most) most = bytes;
    }
    return most;
}

/* All memory of a call: counted without `memory`, else drawn from it. */
static size_t lay_out(const fv_attention_plan *plan, bool backward, char *memory, job *j) {
    fv__regions all = {memory, 0};
    const size_t size = fv_dtype_size(plan->dtype);
    const bool saved = memory && j->run->x->t[FV_AUX].rank; /* then the results lie there */
    for (int k = 0; k < plan->children; k++) {
        if (backward) part_region(&all, plan, &j->d, k);
        if (!backward && !saved) part_region(&all, plan, &j->parts, k);
    }
    for (int p = 0; backward && p < FV_OPERANDS; p++) {
        j->beside[p] = (fv_tensor){0};
        if (!plan->grad[p].rank || !fv_operand_is(p, FV_ROLE_DIFFERENTIABLE)) continue;
        j->beside[p] = fv_tensor_of(NULL, plan->dtype, plan->shape[p].rank, plan->shape[p].dim);
        j->beside[p].data = fv__region(&all, fv__attn_lines(fv_tensor_count(&j->beside[p]), size));
    }
    const int64_t dim[4] = {plan->batch, plan->heads, plan->q_len, plan->d_v};
    const fv_tensor out = fv_tensor_of(NULL, plan->dtype, 4, dim);
    if (backward) j->sums = fv__region(&all, fv__attn_lines(fv__merge_sums(&out, plan->children), sizeof(double)));
    j->child = fv__region(&all, fv__attn_lines((int64_t)child_bytes(plan, backward), 1));
    return all.used;
}

static size_t scratch_size(const fv_attention_plan *plan, bool backward) {
    job j;
    return lay_out(plan, backward, NULL, &j);
}

/* aux (B,H,Lq,P): side by side the outputs of the parts, then their LSE. */
static void parts_in_aux(const fv_attention_plan *plan, const fv_tensor *aux, fv__parts *parts) {
    const int64_t dv = plan->d_v;
    for (parts->count = 0; parts->count < plan->children; parts->count++) {
        const int k = parts->count;
        parts->out[k] = fv_tensor_slice(*aux, 3, k * dv, dv);
        parts->lse[k] = fv_tensor_slice(*aux, 3, plan->children * dv + k, 1);
        parts->lse[k].rank = 3;
    }
}

/* ---- running */

static fv_attention_tensors tensors_of(const job *j, int k) {
    fv_attention_tensors y = *j->run->x;
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is(p, FV_ROLE_RESULT)) y.t[p] = y.d[p] = (fv_tensor){0};
    j->setup->part(j->run->plan, k, &y);
    return y;
}

static job start(const fv__run *run) { return (job){.run = run, .setup = fv__composition_setup_of(run->plan)}; }

static void forward(const fv__run *run, void *scratch) {
    const fv_attention_plan *plan = run->plan;
    const fv_attention_tensors *x = run->x;
    job j = start(run);
    lay_out(plan, false, scratch, &j);
    if (x->t[FV_AUX].rank) parts_in_aux(plan, &x->t[FV_AUX], &j.parts);
    for (int k = 0; k < plan->children; k++) {
        fv_attention_tensors y = tensors_of(&j, k);
        y.t[FV_OUT] = j.parts.out[k], y.t[FV_LSE] = j.parts.lse[k];
        fv__attn_engine_run(&(fv__run){plan->child[k], &y, run->call}, false, j.child);
    }
    if (!j.setup->factors) {
        fv__merge_by_lse(&j.parts, &x->t[FV_OUT], &x->t[FV_LSE]);
        return;
    }
    j.setup->factors(run, j.factor);
    fv__merge_by_factor(&j.parts, j.factor, &x->t[FV_OUT]);
    if (x->t[FV_LSE].rank) fv_tensor_copy(&x->t[FV_LSE], &j.parts.lse[0]);
}

/* A tensor that an earlier part read as well has a gradient already: this one is written beside it and added. */
static bool is_shared(const job *j, int k, const fv_attention_tensors *y, int p) {
    for (int before = 0; before < k; before++) {
        const fv_attention_tensors other = tensors_of(j, before);
        if (fv__attn_wants_backward(j->run->plan->child[before]) && other.d[p].rank && other.d[p].data == y->d[p].data)
            return true;
    }
    return false;
}

static void add_to(const fv_tensor *sum, const fv_tensor *more) {
    int64_t at[FV_MAX_DIMS] = {0};
    for (int64_t left = fv_tensor_count(sum); left > 0; left--) {
        fv_tensor_set(sum, at, fv_tensor_get(sum, at) + fv_tensor_get(more, at));
        for (int a = sum->rank - 1; a >= 0 && ++at[a] == sum->dim[a]; a--) at[a] = 0;
    }
}

static void backward_part(job *j, int k) {
    const fv_attention_plan *plan = j->run->plan;
    if (!fv__attn_wants_backward(plan->child[k])) return;
    fv_attention_tensors y = tensors_of(j, k), with = y;
    bool shared[FV_OPERANDS] = {false};
    for (int p = 0; p < FV_OPERANDS; p++) {
        shared[p] = y.d[p].rank && is_shared(j, k, &y, p);
        if (shared[p]) with.d[p] = j->beside[p];
    }
    with.t[FV_OUT] = j->parts.out[k], with.t[FV_LSE] = j->parts.lse[k];
    with.d[FV_OUT] = j->d.out[k];
    if (!j->setup->factors) with.d[FV_LSE] = j->d.lse[k];
    if (j->setup->factors && k == 0) with.d[FV_LSE] = j->run->x->d[FV_LSE];
    fv__attn_engine_run(&(fv__run){plan->child[k], &with, j->run->call}, true, j->child);
    for (int p = 0; p < FV_OPERANDS; p++)
        if (shared[p]) add_to(&y.d[p], &with.d[p]);
}

/* Without a gradient of out the parts have none either, and the factors no influence. */
static void backward_of_merge(job *j) {
    const fv_attention_tensors *x = j->run->x;
    if (!j->setup->factors) {
        fv__merge_by_lse_backward(&j->parts, &x->d[FV_OUT], &x->d[FV_LSE], &j->d);
        return;
    }
    j->setup->factors(j->run, j->factor);
    if (x->d[FV_OUT].rank)
        fv__merge_by_factor_backward(&j->parts, j->factor, &x->d[FV_OUT], &j->d, j->d_factor, j->sums);
    for (int k = 0; k < j->d.count && !x->d[FV_OUT].rank; k++) j->d.out[k].rank = 0;
    j->setup->factors_backward(j->run, j->d_factor);
}

static void backward(const fv__run *run, void *scratch) {
    job j = start(run);
    lay_out(run->plan, true, scratch, &j);
    parts_in_aux(run->plan, &run->x->t[FV_AUX], &j.parts);
    backward_of_merge(&j);
    for (int k = 0; k < run->plan->children; k++) backward_part(&j, k);
}

/* ---- weights: sum_k c_k P_k, a row at a time; scores are those of the first part */

static size_t weights_scratch(const fv_attention_plan *plan) {
    size_t most = 0;
    for (int k = 0; k < plan->children; k++) {
        const fv_attention_plan *child = plan->child[k];
        const size_t bytes =
            child->mechanism->engine->weights_scratch ? child->mechanism->engine->weights_scratch(child) : 0;
        if (bytes > most) most = bytes;
    }
    return most + fv__attn_lines(plan->k_len, sizeof(double));
}

/* LSE of a row from its scores: what a forward saved need not be there. */
static double lse_of(const fv_tensor *row) {
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < row->dim[1]; i++) {
        const double s = fv_tensor_get(row, (int64_t[2]){0, i});
        if (!(s <= top)) top = s;
    }
    for (int64_t i = 0; i < row->dim[1] && top != -INFINITY; i++)
        sum += exp(fv_tensor_get(row, (int64_t[2]){0, i}) - top);
    return top == -INFINITY ? top : top + log(sum);
}

typedef struct looked_at {
    int64_t batch, head, row;
    fv_capture capture;
    void *scratch;
} looked_at;

/* The row of part k into `row`. */
static void weigh_part(const job *j, int k, const looked_at *l, const fv_tensor *row) {
    const fv_attention_plan *child = j->run->plan->child[k];
    fv_attention_tensors y = tensors_of(j, k);
    const fv__run run = {child, &y, j->run->call};
    double lse;
    const bool weights = l->capture >= FV_CAPTURE_SOFTMAX;
    child->mechanism->engine->weights(&run, weights ? FV_CAPTURE_BIASED : l->capture, l->batch, l->head, &l->row, 1,
                                      row, l->scratch);
    if (!weights) return;
    const fv_tensor one = fv_tensor_1d(&lse, child->dtype, 1);
    fv_tensor_set(&one, (int64_t[1]){0}, lse_of(row));
    y.t[FV_LSE] = child->shape[FV_LSE], y.t[FV_LSE].data = &lse; /* every row has this one */
    memset(y.t[FV_LSE].stride, 0, sizeof y.t[FV_LSE].stride);
    child->mechanism->engine->weights(&run, l->capture, l->batch, l->head, &l->row, 1, row, l->scratch);
}

static void weights(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                    int64_t count, const fv_tensor *out, void *scratch) {
    job j = start(run);
    const int64_t keys = fv__attn_sequence(run, batch).k_len;
    looked_at l = {batch, head, 0, capture, (char *)scratch + fv__attn_lines(run->plan->k_len, sizeof(double))};
    const fv_tensor one = fv_tensor_2d(scratch, run->plan->dtype, 1, keys);
    j.setup->factors(run, j.factor);
    for (int64_t n = 0; n < count; n++) {
        l.row = rows[n];
        const fv_tensor to = fv_tensor_slice(fv_tensor_slice(*out, 0, n, 1), 1, 0, keys);
        weigh_part(&j, 0, &l, &to);
        for (int k = 1; capture >= FV_CAPTURE_SOFTMAX && k < run->plan->children; k++) {
            weigh_part(&j, k, &l, &one);
            for (int64_t i = 0; i < keys; i++) {
                const int64_t at[2] = {0, i};
                const double before = fv_tensor_get(&to, at) * (k == 1 ? j.factor[0] : 1);
                fv_tensor_set(&to, at, before + j.factor[k] * fv_tensor_get(&one, at));
            }
        }
    }
}

/* ---- what it costs and what it is */

static double flops(const fv_attention_plan *plan, const fv_attention_call *call, bool backward) {
    double sum = 0;
    for (int k = 0; k < plan->children; k++)
        sum += plan->child[k]->mechanism->engine->flops(plan->child[k], call, backward);
    return sum;
}

static void describe(const fv_attention_plan *plan, char *text, size_t size) {
    size_t used = (size_t)snprintf(text, size, "composition of ");
    for (int k = 0; k < plan->children && used < size; k++) {
        const fv_attention_plan *child = plan->child[k];
        char part[128] = "";
        child->mechanism->engine->describe(child, part, sizeof part);
        used += (size_t)snprintf(text + used, size - used, "%s%s (%s)", k ? " and " : "", child->mechanism->info.name,
                                 part);
    }
}

const fv__engine fv__composition = {
    .name = "composition",
    .can = FV_COMPOSITION_CAN,
    .setup_size = sizeof(fv__composition_setup),
    .accept = accept,
    .scratch = scratch_size,
    .flops = flops,
    .forward = forward,
    .backward = backward,
    .weights_scratch = weights_scratch,
    .weights = weights,
    .describe = describe,
};
