/* model: what a model did with one text, as an explanation.
 *
 * Weights come row by row from the fused path (fv_trace_weights); of each head one matrix is in memory besides those
 * that are kept. Attributions: `attention`, what the pooled vector sees through all layers (its pooling shares times
 * the rollout); `gradient-attention`, the sum over heads and queries of weight times d output / d weight;
 * `input-gradient`, gradient times input, which for the counting kinds is the exact contribution of each word. */
#include "explain/render.h"
#include "model/blend.h"
#include "task/contract.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define CLASSES_SENT 3 /* classes that get gradients: the asked one and the most probable others */

const fv_option *fv_explain_option_rows(void) {
    static const fv_option rows[] = {{"class", FV_OPT_STRING, offsetof(fv_explain_options, of_class), NULL, 0, 0,
                                      "NAME", "explain this class instead of the predicted one"},
                                     {"heads", FV_OPT_STRING, offsetof(fv_explain_options, heads), NULL, 0, 0, "LIST",
                                      "attention maps to keep: layers \"0,2-3\" or heads \"3:*,11:2\""},
                                     {"gradients", FV_OPT_BOOL, offsetof(fv_explain_options, gradients), "true", 0, 0,
                                      NULL, "also compute what each word did to the class's score"},
                                     {"name", FV_OPT_STRING, offsetof(fv_explain_options, name), NULL, 0, 0, "NAME",
                                      "what the model is called in headings"},
                                     {0}};
    return rows;
}

typedef struct work {
    fv_explanation *e;
    fv_trace *trace;
    fv__outcome outcome;
    fv__head_choice choice;
    int64_t tokens;
    bool has_weights, has_pool; /* of self-attention; of pooling */
    float *weight, *gradient;   /* (tokens, tokens) */
    float *mean;                /* (layers, tokens, tokens) */
    float *sum;                 /* (tokens) */
} work;

/* Whose tokens and maps are shown: of a blend one of its members. */
static const fv_model *shown_model(const fv_model *model) {
    return model->blend ? fv_model_member(model, fv__blend_shown(model), NULL, NULL) : model;
}

static bool mechanism_has_weights(const char *text) {
    char name[64];
    size_t size = text ? strcspn(text, ":") : 0;
    if (size == 0) return true; /* softmax */
    if (size >= sizeof name) return false;
    memcpy(name, text, size);
    name[size] = 0;
    const fv_mechanism *m = fv_mechanism_find(name);
    return m && (m->can & FV_CAN_WEIGHTS);
}

static fv_status take_memory(work *w) {
    const fv_trace *t = w->trace;
    int64_t square[3] = {t->layers > 0 ? t->layers : 1, w->tokens, w->tokens};
    size_t all, one;
    if (!fv__size_of(square, 3, sizeof(float), &all) || !fv__size_of(square + 1, 2, sizeof(float), &one))
        return fv__fail(FV_NO_RESOURCES, "explain: maps of %lld tokens do not fit in memory", (long long)w->tokens);
    if (!w->has_weights) all = one = 0;
    w->weight = fv__alloc(one);
    w->gradient = fv__alloc(one);
    w->mean = fv__alloc(all);
    w->sum = fv__alloc_array((size_t)w->tokens, sizeof *w->sum);
    return w->weight && w->gradient && w->mean && w->sum ? FV_OK : FV_NO_RESOURCES;
}

/* ---- the text and the prediction */

/* What the model did not see is said before anything it saw is looked at. */
static fv_status warn(const fv_explain_sequence *s) {
    fv__buf unread = {0}, unknown = {0};
    fv__unread_sentence(&unread, s);
    fv__unknown_sentence(&unknown, s);
    if (unread.size) fv__log(FV_LOG_WARN, "%s", unread.data);
    if (unknown.size) fv__log(FV_LOG_WARN, "%s", unknown.data);
    fv_status status = unread.failed || unknown.failed ? FV_NO_RESOURCES : FV_OK;
    fv__buf_free(&unread);
    fv__buf_free(&unknown);
    return status;
}

static fv_status add_tokens(work *w, size_t size) {
    const fv_trace *t = w->trace;
    const fv_tokens *from = t->tokens;
    const fv_tokenizer *tokenizer = fv_model_tokenizer(t->model);
    fv_explain_token *token = fv__alloc_array((size_t)from->count, sizeof *token);
    if (!token) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < from->count; i++) {
        bool special = from->word[i] < 0 && from->start[i] == from->end[i];
        const char *piece = tokenizer ? fv_tokenizer_token(tokenizer, from->id[i]) : NULL;
        bool unknown = tokenizer && from->id[i] == fv_tokenizer_special(tokenizer).unk && from->end[i] > from->start[i];
        token[i] =
            (fv_explain_token){piece ? piece : "", from->start[i], from->end[i], from->word[i], special, unknown};
    }
    fv_status status = fv_explanation_add_sequence(w->e, "input", t->text, size, token, from->count, NULL);
    if (status == FV_OK) w->e->sequence[0].truncated = t->cut;
    fv__free(token);
    if (status == FV_OK) status = warn(&w->e->sequence[0]);
    return status;
}

static fv_status add_prediction(work *w) {
    const fv_trace *t = w->trace;
    const fv_model_options *how = fv_model_options_of(shown_model(t->model));
    fv_classes names = w->outcome.names;
    for (int32_t c = 0; c < names.count; c++)
        FV_TRY(fv_explanation_add_class(w->e, names.name[c], t->answer[c], t->output[c]));
    if (names.count > 0) w->e->predicted = (int32_t)t->predicted;
    if (*w->outcome.answer) FV_TRY(fv_explanation_add_note(w->e, "answer", w->outcome.answer));
    w->e->parameters = fv_model_parameters(t->model);
    const char *kind = fv_model_kind_of(t->model)->name;
    w->e->kind = fv__explain_text(w->e, kind, strlen(kind));
    const char *task = fv_model_task_of(t->model);
    w->e->task = fv__explain_text(w->e, task, strlen(task));
    if (!w->e->kind || !w->e->task) return FV_NO_RESOURCES;
    if (t->layers == 0) return FV_OK;
    const char *mechanism = how->mechanism ? how->mechanism : "softmax";
    w->e->mechanism = fv__explain_text(w->e, mechanism, strlen(mechanism));
    w->e->d_model = how->d_model;
    return w->e->mechanism ? FV_OK : FV_NO_RESOURCES;
}

/* ---- maps */

static bool any_negative(const float *weight, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (weight[i] < 0) return true;
    return false;
}

/* First all heads, whatever is chosen: their means, whether later keys are hidden, and whether they can be drawn and
 * rolled out at all. */
static fv_status statistics_of(work *w, bool *normalised, bool *causal, bool *drawable) {
    const fv_trace *t = w->trace;
    int64_t size = w->tokens * w->tokens;
    *normalised = *causal = *drawable = true;
    for (int64_t i = 0; i < t->layers * t->heads; i++) {
        float *mean = w->mean + i / t->heads * size;
        FV_TRY(fv_trace_weights(t, FV_CAPTURE_SOFTMAX, i / t->heads, i % t->heads, NULL, w->tokens, w->weight));
        *normalised &= fv__rows_sum_to_one(w->weight, w->tokens, w->tokens);
        *causal &= fv__is_causal(w->weight, 1, w->tokens, w->tokens);
        *drawable &= !any_negative(w->weight, size);
        for (int64_t k = 0; k < size; k++) mean[k] += w->weight[k] / (float)t->heads;
    }
    return FV_OK;
}

static fv_status add_chosen_heads(work *w, int map) {
    const fv_trace *t = w->trace;
    int64_t kept = 0;
    for (int64_t i = 0; i < t->layers * t->heads; i++) {
        int32_t layer = (int32_t)(i / t->heads), head = (int32_t)(i % t->heads);
        if (!fv__head_chosen(&w->choice, layer, head)) continue;
        FV_TRY(fv_trace_weights(t, FV_CAPTURE_SOFTMAX, layer, head, NULL, w->tokens, w->weight));
        FV_TRY(fv_explanation_add_head(w->e, map, layer, head, NULL, NULL, w->weight));
        kept++;
    }
    if (kept > 0) return FV_OK;
    return fv__fail(
        FV_USAGE,
        "explain: no head was chosen\n  expected layers below %lld, heads below %lld\n  found:   none of them",
        (long long)t->layers, (long long)t->heads);
}

static fv_status add_self_map(work *w) {
    const fv_trace *t = w->trace;
    bool normalised, causal, drawable;
    int map;
    FV_TRY(statistics_of(w, &normalised, &causal, &drawable));
    if (!drawable) return fv_explanation_add_note(w->e, "maps", "not drawn: this attention has weights below zero");
    FV_TRY(fv_explanation_add_map(w->e, "self", "Self-attention", 0, 0, normalised, causal, &map));
    FV_TRY(add_chosen_heads(w, map));
    int32_t *number = fv__alloc_array((size_t)t->layers, sizeof *number);
    if (!number) return FV_NO_RESOURCES;
    for (int64_t l = 0; l < t->layers; l++) number[l] = (int32_t)l;
    bool residual = fv_model_kind_of(shown_model(t->model))->can & FV_MODEL_RESIDUAL;
    fv_status status = fv__add_combinations(w->e, map, w->mean, number, t->layers, t->heads > 1, residual);
    fv__free(number);
    return status;
}

static fv_status add_pool_map(work *w) {
    int query, map;
    const fv_explain_token pooled = {.piece = "pooled", .word = -1};
    FV_TRY(fv_explanation_add_sequence(w->e, "pooled output", NULL, 0, &pooled, 1, &query));
    FV_TRY(fv_explanation_add_map(w->e, "pool", "Pooling", query, 0, true, false, &map));
    return fv_explanation_add_head(w->e, map, -1, -1, "pool", "Pooling attention", w->trace->pooling_weights);
}

/* ---- attributions */

/* The matrix the pooled vector looks through: the rollout, or the last layer's mean where there is none. */
static const float *seen_through(const fv_explanation *e, bool *rollout) {
    const fv_explain_map *map = e->maps ? &e->map[0] : NULL;
    const float *mean = NULL;
    *rollout = false;
    for (int64_t h = 0; map && !strcmp(map->id, "self") && h < map->heads; h++) {
        const fv_explain_head *head = &map->head[h];
        *rollout = head->id && !strcmp(head->id, "rollout");
        if (*rollout) return head->weight;
        if (!head->id || !strcmp(head->id, "mean")) mean = head->weight;
    }
    return mean;
}

static fv_status add_class_attention(work *w) {
    const float *pool = w->trace->pooling_weights, even = 1 / (float)w->tokens;
    bool rollout;
    const float *through = seen_through(w->e, &rollout);
    if (!through && !w->has_pool) return FV_OK;
    for (int64_t j = 0; j < w->tokens; j++) {
        double sum = through ? 0 : pool[j];
        for (int64_t i = 0; through && i < w->tokens; i++)
            sum += (pool ? pool[i] : even) * (double)through[i * w->tokens + j];
        w->sum[j] = (float)sum;
    }
    return fv_explanation_add_attribution(
        w->e, "attention", "Attention",
        rollout
            ? "what the pooled output sees through all layers: its share of each position times the attention rollout"
        : through ? "what the pooled output sees through the mean of the heads of the last layer"
                  : "share of each token in the pooled output",
        0, -1, false, w->sum);
}

static fv_status add_gradient_attention(work *w, int32_t of_class) {
    const fv_trace *t = w->trace;
    memset(w->sum, 0, (size_t)w->tokens * sizeof *w->sum);
    for (int64_t i = 0; i < t->layers * t->heads; i++) {
        FV_TRY(fv_trace_weights(t, FV_CAPTURE_SOFTMAX, i / t->heads, i % t->heads, NULL, w->tokens, w->weight));
        FV_TRY(fv_trace_weight_gradients(t, i / t->heads, i % t->heads, NULL, w->tokens, w->gradient));
        for (int64_t q = 0; q < w->tokens; q++)
            for (int64_t k = 0; k < w->tokens; k++)
                w->sum[k] += w->weight[q * w->tokens + k] * w->gradient[q * w->tokens + k];
    }
    return fv_explanation_add_attribution(
        w->e, "gradient-attention", "Gradient x attention",
        of_class < 0 ? "attention weight times its gradient of the answer, summed over heads and queries"
                     : "attention weight times its gradient of the class's score, summed over heads and queries",
        0, of_class, true, w->sum);
}

/* What each member of a blend adds, and what they add together, which comes first. */
static fv_status add_members(work *w, int32_t of_class) {
    const fv_model *model = w->trace->model;
    char caption[64], about[160];
    FV_TRY(fv_trace_contributions(w->trace, w->sum));
    FV_TRY(fv_explanation_add_attribution(
        w->e, "contribution", "Contribution",
        "what the word adds to the blend's score of the class: the sum over its members", 0, of_class, true, w->sum));
    for (int i = 0; i < fv_model_member_count(model); i++) {
        const char *name;
        double weight;
        fv_model_member(model, i, &name, &weight);
        snprintf(caption, sizeof caption, "Contribution of %s", name);
        snprintf(about, sizeof about, "what the word adds by the member %s, whose weight is %.2f", name, weight);
        FV_TRY(fv_trace_member_contributions(w->trace, i, w->sum));
        FV_TRY(fv_explanation_add_attribution(w->e, name, caption, about, 0, of_class, true, w->sum));
    }
    return FV_OK;
}

/* of_class: -1 when there is one output and no class. */
static fv_status add_gradients(work *w, int32_t of_class) {
    const fv_trace *t = w->trace;
    bool counts = !(fv_model_kind_of(t->model)->can & FV_MODEL_BY_GRADIENT), class = of_class >= 0;
    FV_TRY(fv_trace_backward(w->trace, class ? of_class : 0));
    if (t->model->blend) {
        FV_TRY(add_members(w, of_class));
        return w->has_weights ? add_gradient_attention(w, of_class) : FV_OK;
    }
    if (w->has_weights) FV_TRY(add_gradient_attention(w, of_class));
    FV_TRY(fv_trace_contributions(t, w->sum));
    if (counts)
        return fv_explanation_add_attribution(
            w->e, "contribution", "Contribution",
            class ? "what the word's features add to the class's score, beyond what they add to the average class"
                  : "what the word's features add to the answer",
            0, of_class, true, w->sum);
    return fv_explanation_add_attribution(w->e, "input-gradient", "Gradient x input",
                                          class ? "embedding of the token times its gradient of the class's score"
                                                : "embedding of the token times its gradient of the answer",
                                          0, of_class, true, w->sum);
}

/* The most probable class that is none of those already done. */
static int32_t next_class(const work *w, const int32_t *done, int count) {
    int32_t best = -1;
    for (int32_t c = 0; c < w->outcome.names.count; c++) {
        bool seen = false;
        for (int i = 0; i < count; i++) seen |= done[i] == c;
        if (!seen && (best < 0 || w->trace->answer[c] > w->trace->answer[best])) best = c;
    }
    return best;
}

static fv_status wanted_class(const work *w, const char *name, int32_t *of_class) {
    fv_classes classes = w->outcome.names;
    *of_class = classes.count ? (int32_t)w->trace->predicted : -1;
    if (!name) return FV_OK;
    if (classes.count == 0)
        return fv__fail(FV_USAGE, "explain: this model has no classes\n  expected none to be named\n  found:   \"%s\"",
                        name);
    for (int32_t c = 0; c < classes.count; c++)
        if (!strcmp(classes.name[c], name)) return *of_class = c, FV_OK;
    fv__buf names = {0};
    for (int32_t c = 0; c < classes.count && names.size < 400; c++)
        fv__buf_printf(&names, "%s%s", c ? ", " : "", classes.name[c]);
    fv_status status = fv__fail(FV_USAGE, "explain: unknown class\n  expected one of: %s\n  found:   \"%s\"",
                                names.data ? names.data : "", name);
    fv__buf_free(&names);
    return status;
}

static fv_status fill(work *w, size_t size, const fv_explain_options *options) {
    int32_t done[CLASSES_SENT];
    FV_TRY(wanted_class(w, options->of_class, &done[0]));
    FV_TRY(fv__head_choice_parse(&w->choice, options->heads));
    FV_TRY(take_memory(w));
    FV_TRY(add_tokens(w, size));
    FV_TRY(add_prediction(w));
    if (w->has_weights) FV_TRY(add_self_map(w));
    if (!w->has_weights && w->trace->layers > 0)
        FV_TRY(fv_explanation_add_note(w->e, "maps", "this attention mechanism forms no weights"));
    if (w->has_pool) FV_TRY(add_pool_map(w));
    FV_TRY(add_class_attention(w));
    for (int i = 0; options->gradients && i < CLASSES_SENT; i++) {
        if (i > 0) done[i] = next_class(w, done, i);
        if (i > 0 && done[i] < 0) break;
        FV_TRY(add_gradients(w, done[i]));
    }
    FV_TRY(fv_explanation_add_note(w->e, "fovea", fv_version()));
    return fv_explanation_add_note(w->e, "kernels", fv_isa());
}

/* The heading: how the text begins. */
static fv_status create(work *w, const char *text, size_t size, const char *name) {
    enum { COLUMNS = 64 };
    fv__buf plain = {0}, title = {0};
    fv__plain_text(&plain, text, size < 4 * COLUMNS ? size : 4 * COLUMNS);
    fv__fit_columns(&title, plain.data ? plain.data : "", plain.size, COLUMNS);
    if (plain.size > title.size && !title.failed) {
        title.size--; /* the mark of what was cut */
        fv__buf_text(&title, "...");
    }
    fv_status status = plain.failed || title.failed ? FV_NO_RESOURCES : FV_OK;
    if (status == FV_OK)
        status = fv_explanation_create(&w->e, title.size ? title.data : "(empty text)",
                                       name ? name : fv_model_kind_of(w->trace->model)->name);
    fv__buf_free(&plain);
    fv__buf_free(&title);
    return status;
}

fv_status fv_explain(fv_explanation **out, const fv_model *model, const char *text, size_t size,
                     const fv_explain_options *options) {
    *out = NULL;
    fv_explain_options standard;
    fv_options_init(fv_explain_option_rows(), &standard);
    work w = {0};
    const fv__task *task;
    fv_status status = fv__task_need(&task, model);
    if (status == FV_OK) status = fv_model_trace(&w.trace, model, text, size);
    if (status == FV_OK) {
        task->explain(&w.outcome, w.trace);
        w.tokens = w.trace->tokens->count;
        const fv_model_options *shown = fv_model_options_of(shown_model(model));
        w.has_weights = w.trace->layers > 0 && mechanism_has_weights(shown->mechanism);
        const char *pool = shown->pooling;
        w.has_pool = w.trace->pooling_weights && pool && strstr(pool, "attention");
        status = create(&w, text, size, options ? options->name : NULL);
    }
    if (status == FV_OK) status = fill(&w, size, options ? options : &standard);
    fv__head_choice_free(&w.choice);
    fv__free(w.weight);
    fv__free(w.gradient);
    fv__free(w.mean);
    fv__free(w.sum);
    fv_trace_free(w.trace);
    if (status == FV_OK)
        *out = w.e;
    else
        fv_explanation_free(w.e);
    return status;
}
