/* What the mechanism of a decode plan adds to scores and hides, asked row by row of what TILE asks tile by tile. */
#include "attn/cache/decode.h"
#include "attn/engine/tile/tile.h"

#include <math.h>
#include <string.h>

/* ---- planning */

static fv_status cannot(const fv_attention_plan *plan, const char *what, const char *wanted, const char *next) {
    return fv__fail(FV_USAGE, "decode: a mechanism %s\n  expected %s\n  found:   \"%s\"\n  try:     %s", what, wanted,
                    plan->mechanism->info.name, next);
}

/* One query and one key: what the mechanism chooses depends on neither length. */
static fv_status plan_mechanism(fv_decode_plan *plan) {
    const fv_decode_options *o = &plan->o;
    const fv_cache_options *c = &plan->cache;
    const fv_attention_options how = {.mechanism = o->mechanism,
                                      .scale = o->scale,
                                      .softcap = o->softcap,
                                      .window = o->window,
                                      .causal = o->see_all || o->memory ? FV_CAUSAL_NONE : FV_CAUSAL_LOWER_RIGHT};
    fv_attention_tensors x = {.t = {[FV_Q] = fv_bhld(NULL, FV_F32, c->batch, plan->heads, 1, c->d_qk)}};
    x.t[FV_K] = fv_bhld(NULL, FV_F32, c->batch, c->kv_heads, 1, c->d_qk);
    x.t[FV_V] = fv_bhld(NULL, FV_F32, c->batch, c->kv_heads, 1, c->d_v);
    x.t[FV_OUT] = fv_bhld(NULL, FV_F32, c->batch, plan->heads, 1, c->d_v);
    for (int i = 0; i < FV_DECODE_PARAMS; i++) {
        const fv_operand w = (fv_operand)(FV_W0 + i);
        FV_TRY(fv_attention_operand_shape(&how, &x, w, &x.t[w]));
    }
    return fv_attention_plan_create(&plan->modifiers.plan, &how, &x);
}

static bool looks_at_positions(const fv__decode_modifiers *m) {
    bool looks = m->keys || m->plan->window_left >= 0 || m->plan->window_right >= 0;
    for (int i = 0; i < m->terms; i++) looks |= m->term[i].score->positions;
    for (int i = 0; i < m->biases; i++) looks |= m->bias[i].score->positions;
    return looks;
}

fv_status fv__decode_modifiers_plan(fv_decode_plan *plan) {
    fv__decode_modifiers *m = &plan->modifiers;
    if (!plan->o.mechanism) return FV_OK;
    FV_TRY(plan_mechanism(plan));
    const fv__engine *engine = m->plan->mechanism->engine;
    if (!engine->decodes_in_place || !engine->decodes_in_place(m->plan))
        return cannot(m->plan, "over a cache", "one whose scores are made key by key, as softmax, t5 or window",
                      "fv_kv_cache_read, then fv_attention with FV_CAUSAL_LOWER_RIGHT");
    fv__score_use base[FV_SCORES];
    fv__score_list(m->plan, FV_SCORE_IS_BASE, base);
    m->base = base[0];
    m->terms = fv__score_list(m->plan, FV_SCORE_IS_TERM, m->term);
    m->biases = fv__score_list(m->plan, FV_SCORE_IS_BIAS, m->bias);
    m->keys = fv__tile_setup_of(m->plan)->keys, m->keys_params = fv__tile_setup_of(m->plan)->keys_params;
    if (plan->o.memory && looks_at_positions(m))
        return cannot(m->plan, "with memory", "one that does not look at positions, which rows do not have there",
                      "mechanism softmax");
    plan->o.scale = m->plan->options.scale;
    plan->left = m->plan->window_left, plan->right = plan->o.see_all ? m->plan->window_right : -1;
    return FV_OK;
}

static fv_status wrong_shape(const fv_tensor *want, const fv_tensor *found, int i) {
    char right[160] = "none", given[160] = "none";
    if (want->rank) fv_tensor_describe(want, right, sizeof right);
    if (found->rank) fv_tensor_describe(found, given, sizeof given);
    return fv__fail(FV_USAGE, "decode: w[%d], an operand of the mechanism\n  expected %s\n  found:   %s%s", i, right,
                    given, found->rank && !found->data ? " without data" : "");
}

fv_status fv__decode_modifiers_check(const fv_decode_plan *plan, const fv_decode_tensors *x) {
    static const fv_tensor none;
    for (int i = 0; i < FV_DECODE_PARAMS; i++) {
        const fv_tensor *found = &x->w[i],
                        *want = plan->modifiers.plan ? &plan->modifiers.plan->shape[FV_W0 + i] : &none;
        if (!want->rank && !found->rank) continue;
        if (!fv_tensor_same_shape(want, found) || found->dtype != FV_F32 || !found->data)
            return wrong_shape(want, found, i);
        if (found->dim[found->rank - 1] > 1 && found->stride[found->rank - 1] != 1)
            return fv__fail(FV_USAGE, "decode: w[%d]\n  expected unit stride on the last axis\n  found:   %lld", i,
                            (long long)found->stride[found->rank - 1]);
    }
    for (int i = 0; i < 8; i++)
        if (x->reserved[i])
            return fv__fail(FV_USAGE, "decode: reserved words of the tensors\n  expected 0\n  found:   %llu",
                            (unsigned long long)x->reserved[i]);
    return FV_OK;
}

/* ---- a call */

void fv__decode_modified_open(fv__decode_modified *call, const fv_decode_plan *plan, const fv_decode_tensors *x) {
    *call = (fv__decode_modified){.by = &plan->modifiers, .simd = fv__simd_f32_now()};
    for (int i = 0; i < FV_DECODE_PARAMS; i++) call->x.t[FV_W0 + i] = x->w[i];
    call->run = (fv__run){.plan = plan->modifiers.plan, .x = &call->x};
}

static fv__sequence sequence_of(const fv__decode_query *q) {
    return (fv__sequence){.q_len = 1, .k_len = q->length, .q_offset = q->position};
}

static fv__score_tile tile_of(const fv__decode_modified *call, const fv__run *run, const fv__sequence *sequence,
                              const fv__decode_query *q) {
    return (fv__score_tile){
        .run = run, .simd = call->simd, .sequence = sequence, .head = q->head, .kv = q->kv, .rows = 1};
}

/* The sum of what `uses` add to the keys of the tile. */
static void add_all(const fv__score_use *uses, int count, const fv__score_tile *tile, float *to) {
    memset(to, 0, FV_SCORE_MOST_KEYS * sizeof *to);
    for (int i = 0; i < count; i++) uses[i].kernels->add(tile, to, FV_SCORE_MOST_KEYS);
}

void fv__decode_add_terms(const fv__decode_modified *call, const fv__decode_query *q, int64_t start, int64_t end,
                          float factor, float *s) {
    fv_attention_tensors x = call->x; /* with this row's query */
    const fv__run run = {.plan = call->run.plan, .x = &x};
    const fv__sequence sequence = sequence_of(q);
    fv__score_tile tile = tile_of(call, &run, &sequence, q);
    float some[FV_SCORE_MOST_KEYS];
    x.t[FV_Q] = fv_bhld((void *)(uintptr_t)q->q, FV_F32, 1, 1, 1, run.plan->d_qk);
    for (int64_t at = start; at < end; at += tile.keys) {
        tile.j0 = at, tile.keys = end - at < FV_SCORE_MOST_KEYS ? end - at : FV_SCORE_MOST_KEYS;
        add_all(call->by->term, call->by->terms, &tile, some);
        call->simd->axpy(s + at - start, factor, some, tile.keys);
    }
}

void fv__decode_add_biases(const fv__decode_modified *call, const fv__decode_query *q, int64_t start, int64_t end,
                           float *s) {
    const fv__sequence sequence = sequence_of(q);
    fv__score_tile tile = tile_of(call, &call->run, &sequence, q);
    float some[FV_SCORE_MOST_KEYS];
    for (int64_t at = start; at < end; at += tile.keys) {
        tile.j0 = at, tile.keys = end - at < FV_SCORE_MOST_KEYS ? end - at : FV_SCORE_MOST_KEYS;
        add_all(call->by->bias, call->by->biases, &tile, some);
        call->simd->add_bias(s + at - start, some, tile.keys);
    }
}

/* ---- keys of a pattern */

/* Bits of the positions from `at` to the end of their tile. */
static uint64_t seen_from(const fv__decode_modified *call, const fv__decode_query *q, int64_t at) {
    const fv__keys_view view = {.pattern = call->by->keys, .run = &call->run, .params = call->by->keys_params};
    const fv__sequence sequence = sequence_of(q);
    const fv__query_block block = {.sequence = &sequence, .head = q->head, .i0 = 0, .i1 = 1};
    uint64_t word;
    view.pattern->bits(&view, &block, at, &word);
    return word;
}

void fv__decode_hide_keys(const fv__decode_modified *call, const fv__decode_query *q, int64_t start, int64_t end,
                          float *s) {
    for (int64_t at = start, next; at < end; at = next) {
        const uint64_t word = seen_from(call, q, at);
        next = (at / FV_KEYS_TILE + 1) * FV_KEYS_TILE;
        if (next > end) next = end;
        for (int64_t j = at; j < next; j++)
            if (!(word >> (j - at) & 1)) s[j - start] = -INFINITY;
    }
}

bool fv__decode_hides_key(const fv__decode_modified *call, const fv__decode_query *q, int64_t at) {
    return !(seen_from(call, q, at) & 1);
}

/* ---- a base of its own */

void fv__decode_base(const fv__decode_modified *call, const fv__decode_query *q, int64_t ldq, int64_t rows,
                     const float *keys, float factor, float *s) {
    const fv__sequence sequence = sequence_of(q);
    const fv__score_tile tile = tile_of(call, &call->run, &sequence, q);
    const fv__score_product product = {
        .a = q->q, .transposed = keys, .ld = ldq, .lanes = FV_KV_KEYS, .rows = rows, .columns = call->run.plan->d_qk};
    call->by->base.kernels->base(&tile, s, &product, (double)factor);
}
