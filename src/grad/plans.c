/* The plans of a graph, found again by options and shapes, so that a training loop plans once per shape. */
#include "grad/op_attend.h"

#include "attn/blocks/block_mask.h"
#include "attn/mechanism_contract.h"

#include <string.h>

enum { MANY = 64, OPTIONS_BYTES = 256 };

/* What decides a plan. Compared as bytes: made in zeroed memory. */
typedef struct key {
    char options[OPTIONS_BYTES]; /* what the rows of the options say */
    uint64_t reserved[sizeof(((fv_attention_options *)0)->reserved) / sizeof(uint64_t)];
    bool wants_lse;
    uint64_t blocks; /* number of the block mask, 0 for none: an address may come again */
    struct {
        int64_t dim[4];
        int32_t rank, dtype;
    } t[FV_OPERANDS], d[FV_OPERANDS];
} key;

typedef struct entry {
    struct entry *next;
    uint64_t hash, step;
    key key;
    fv__planned planned;
} entry;

struct fv__plans {
    entry *first;
    size_t count;
    key key; /* of the question being asked: too large for the stack of every call */
};

static fv_status make_key(key *k, const fv_attention_options *options, const fv_attention_tensors *shapes,
                          bool wants_lse) {
    memset(k, 0, sizeof *k);
    const size_t length = fv__options_key(fv_attention_rows(), options, k->options, sizeof k->options);
    if (length > sizeof k->options)
        return fv__fail(FV_USAGE,
                        "attention: the options as a key of plans\n  expected at most %d bytes\n  found:   %zu\n"
                        "  try:     a shorter text of the mechanism",
                        OPTIONS_BYTES, length);
    memcpy(k->reserved, options->reserved, sizeof k->reserved);
    k->wants_lse = wants_lse;
    k->blocks = options->blocks ? options->blocks->number : 0;
    for (int p = 0; p < FV_OPERANDS; p++) {
        k->t[p].rank = shapes->t[p].rank;
        k->t[p].dtype = (int32_t)shapes->t[p].dtype;
        for (int i = 0; i < shapes->t[p].rank && i < 4; i++) k->t[p].dim[i] = shapes->t[p].dim[i];
        k->d[p].rank = shapes->d[p].rank;
    }
    return FV_OK;
}

static void entry_free(entry *e) {
    fv_attention_plan_free(e->planned.plan);
    fv__free(e);
}

/* Adds the outputs the mechanism has to the shapes, then plans. */
static fv_status plan(fv__planned *planned, const fv_attention_options *options, const fv_attention_tensors *shapes,
                      bool wants_lse) {
    fv_attention_tensors all = *shapes;
    bool record = shapes->d[FV_OUT].rank != 0;
    FV_TRY(fv_attention_operand_shape(options, shapes, FV_OUT, &planned->out));
    FV_TRY(fv_attention_operand_shape(options, shapes, FV_STATE_OUT, &planned->state));
    bool has_keys = shapes->t[FV_K].rank != 0; /* gates have no scores */
    if (has_keys && (record || wants_lse)) FV_TRY(fv_attention_operand_shape(options, shapes, FV_LSE, &planned->lse));
    if (record) FV_TRY(fv_attention_operand_shape(options, shapes, FV_AUX, &planned->aux));
    all.t[FV_OUT] = planned->out;
    all.t[FV_LSE] = planned->lse;
    all.t[FV_AUX] = planned->aux;
    if (shapes->t[FV_STATE_OUT].rank) all.t[FV_STATE_OUT] = planned->state;
    if (record) all.d[FV_OUT] = planned->out;
    if (record && wants_lse && has_keys) all.d[FV_LSE] = planned->lse;
    if (record && shapes->t[FV_STATE_OUT].rank) all.d[FV_STATE_OUT] = planned->state;
    return fv_attention_plan_create(&planned->plan, options, &all);
}

fv_status fv__plans_get(fv_graph *g, const fv_attention_options *options, const fv_attention_tensors *shapes,
                        bool wants_lse, const fv__planned **planned) {
    if (!g->plans && !(g->plans = fv__alloc(sizeof *g->plans))) return FV_NO_RESOURCES;
    fv__plans *plans = g->plans;
    FV_TRY(make_key(&plans->key, options, shapes, wants_lse));
    uint64_t hash = fv__hash(&plans->key, sizeof plans->key, 0);
    for (entry *e = plans->first; e; e = e->next) {
        if (e->hash != hash || memcmp(&e->key, &plans->key, sizeof e->key) != 0) continue;
        e->step = g->step;
        *planned = &e->planned;
        return FV_OK;
    }
    entry *e = fv__alloc(sizeof *e);
    if (!e) return FV_NO_RESOURCES;
    e->hash = hash;
    e->step = g->step;
    memcpy(&e->key, &plans->key, sizeof e->key); /* with its padding: keys are compared as bytes */
    fv_status status = plan(&e->planned, options, shapes, wants_lse);
    if (status != FV_OK) {
        entry_free(e);
        return status;
    }
    e->next = plans->first;
    plans->first = e;
    plans->count++;
    *planned = &e->planned;
    return FV_OK;
}

void fv__plans_trim(fv__plans *plans, uint64_t step) {
    if (!plans || plans->count <= MANY) return;
    for (entry **at = &plans->first; *at;) {
        entry *e = *at;
        if (e->step == step) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        entry_free(e);
        plans->count--;
    }
}

void fv__plans_free(fv__plans *plans) {
    if (!plans) return;
    for (entry *e = plans->first, *next; e; e = next) {
        next = e->next;
        entry_free(e);
    }
    fv__free(plans);
}
