/* words: which tokens are one word, and a copy in which the pieces of each word are one token. */
#include "explain/explain.h"
#include "data/text.h"

#include <string.h>

/* ---- scripts without spaces: what a tokenizer calls a word is then a whole clause */

typedef enum seam { AS_GIVEN, ENDS, GOES_ON } seam;

/* Between two tokens of which one ends where the other begins: does a word end there, whatever the tokenizer says? Some
 * cut words before every mark, which parts the letters of Indic scripts. */
static seam seam_between(const fv_explain_sequence *s, const fv_explain_token *a, const fv_explain_token *b) {
    if (a->start == a->end || b->start == b->end || b->start != a->end) return AS_GIVEN;
    size_t length;
    int64_t last = a->end - 1;
    while (last > a->start && ((unsigned char)s->text[last] & 0xC0) == 0x80) last--;
    int32_t before = fv__utf8_next(s->text + last, (size_t)(a->end - last), &length, NULL);
    int32_t after = fv__utf8_next(s->text + b->start, s->size - (size_t)b->start, &length, NULL);
    if (before == 0x200D || after == 0x200D || fv__is_mark(after)) return GOES_ON; /* emoji may be made of several */
    if (fv__stands_alone(before) || fv__stands_alone(after)) return ENDS;
    return fv__is_mark(before) && fv__is_letter(after) ? GOES_ON : AS_GIVEN;
}

void fv__part_words(fv_explain_sequence *s) {
    int32_t given = -1, word = -1;
    for (int64_t i = 0; s->text && i < s->count; i++) {
        fv_explain_token *token = &s->token[i];
        if (token->word < 0) continue;
        bool follows = i > 0 && s->token[i - 1].word >= 0;
        seam at = follows ? seam_between(s, &s->token[i - 1], token) : AS_GIVEN;
        bool same = follows && token->word == given;
        if (at != AS_GIVEN) same = at == GOES_ON;
        given = token->word;
        word += !same || word < 0;
        token->word = word;
    }
}

/* ---- merging. What a query attends to adds up over the pieces of a key word; what a word attends to is the mean over
 * its pieces. So rows that summed to one still do. */

/* Tokens first[g] .. first[g + 1] - 1 of a sequence are group g. */
typedef struct grouping {
    int64_t count, *first;
} grouping;

static fv_status group(grouping *g, const fv_explain_sequence *s) {
    g->count = 0;
    g->first = fv__alloc_array((size_t)s->count + 1, sizeof *g->first);
    if (!g->first) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < s->count; i++) {
        bool joins = i > 0 && s->token[i].word >= 0 && s->token[i].word == s->token[i - 1].word;
        if (!joins) g->first[g->count++] = i;
    }
    g->first[g->count] = s->count;
    return FV_OK;
}

static int64_t group_size(const grouping *g, int64_t i) { return g->first[i + 1] - g->first[i]; }

/* The bytes from the first piece's start to the last piece's end, which may take in what lies between them. */
static fv_status join_tokens(fv_explain_token *to, fv__buf *caption, const fv_explain_sequence *s, int64_t from,
                             int64_t until) {
    *to = s->token[from];
    if (to->pieces < 1) to->pieces = 1;
    for (int64_t i = from; i < until; i++) {
        const fv_explain_token *t = &s->token[i];
        fv__buf_text(caption, t->piece);
        to->unknown |= t->unknown;
        if (i > from) to->pieces += t->pieces > 1 ? t->pieces : 1;
        if (t->start == t->end) continue;
        bool first = to->start == to->end;
        if (first || t->start < to->start) to->start = t->start;
        if (first || t->end > to->end) to->end = t->end;
    }
    return fv__buf_status(caption);
}

static fv_status add_words(fv_explanation *to, const fv_explain_sequence *s, const grouping *g) {
    fv_explain_token *word = fv__alloc_array((size_t)g->count, sizeof *word);
    fv__buf *caption = fv__alloc_array((size_t)g->count, sizeof *caption);
    fv_status status = word && caption ? FV_OK : FV_NO_RESOURCES;
    for (int64_t i = 0; status == FV_OK && i < g->count; i++) {
        status = join_tokens(&word[i], &caption[i], s, g->first[i], g->first[i + 1]);
        word[i].piece = caption[i].data;
    }
    if (status == FV_OK) status = fv_explanation_add_sequence(to, s->caption, s->text, s->size, word, g->count, NULL);
    if (status == FV_OK) to->sequence[to->sequences - 1].truncated = s->truncated;
    for (int64_t i = 0; caption && i < g->count; i++) fv__buf_free(&caption[i]);
    fv__free(caption);
    fv__free(word);
    return status;
}

static void merge_matrix(float *to, const float *from, const grouping *query, const grouping *key, int64_t keys) {
    for (int64_t q = 0; q < query->count; q++)
        for (int64_t k = 0; k < key->count; k++) {
            double sum = 0;
            for (int64_t i = query->first[q]; i < query->first[q + 1]; i++)
                for (int64_t j = key->first[k]; j < key->first[k + 1]; j++) sum += from[i * keys + j];
            to[q * key->count + k] = (float)(sum / (double)group_size(query, q));
        }
}

static fv_status merge_map(fv_explanation *to, const fv_explanation *from, int m, const grouping *g) {
    const fv_explain_map *map = &from->map[m];
    const grouping *query = &g[map->query], *key = &g[map->key];
    float *weight = fv__alloc_array((size_t)query->count * (size_t)key->count, sizeof *weight);
    if (!weight) return FV_NO_RESOURCES;
    fv_status status =
        fv_explanation_add_map(to, map->id, map->caption, map->query, map->key, map->normalised, map->causal, NULL);
    for (int64_t h = 0; status == FV_OK && h < map->heads; h++) {
        const fv_explain_head *head = &map->head[h];
        merge_matrix(weight, head->weight, query, key, from->sequence[map->key].count);
        status = fv_explanation_add_head(to, m, head->layer, head->head, head->id, head->caption, weight);
        /* Whether a head looks anywhere is a matter of tokens: one that does not gives more to words of many pieces. */
        if (status == FV_OK) to->map[m].head[h].stats.entropy = head->stats.entropy;
    }
    fv__free(weight);
    return status;
}

static fv_status merge_attribution(fv_explanation *to, const fv_attribution *from, const grouping *g) {
    float *value = fv__alloc_array((size_t)g->count, sizeof *value);
    if (!value) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < g->count; i++) {
        double sum = 0;
        for (int64_t t = g->first[i]; t < g->first[i + 1]; t++) sum += from->value[t];
        value[i] = (float)sum;
    }
    fv_status status = fv_explanation_add_attribution(to, from->id, from->caption, from->about, from->sequence,
                                                      from->of_class, from->is_signed, value);
    fv__free(value);
    return status;
}

static fv_status copy_head_matter(fv_explanation *to, const fv_explanation *from) {
    for (int i = 0; i < from->classes; i++)
        FV_TRY(fv_explanation_add_class(to, from->class_of[i].name, from->class_of[i].probability,
                                        from->class_of[i].logit));
    for (int i = 0; i < from->notes; i++)
        FV_TRY(fv_explanation_add_note(to, from->note[i].caption, from->note[i].value));
    to->kind = fv__explain_text(to, from->kind, strlen(from->kind));
    to->task = fv__explain_text(to, from->task, strlen(from->task));
    to->mechanism = fv__explain_text(to, from->mechanism, strlen(from->mechanism));
    if (!to->kind || !to->task || !to->mechanism) return FV_NO_RESOURCES;
    to->predicted = from->predicted;
    to->expected = from->expected;
    to->parameters = from->parameters;
    to->d_model = from->d_model;
    return FV_OK;
}

static fv_status fill(fv_explanation *to, const fv_explanation *from, grouping *g) {
    FV_TRY(copy_head_matter(to, from));
    for (int s = 0; s < from->sequences; s++) {
        FV_TRY(group(&g[s], &from->sequence[s]));
        FV_TRY(add_words(to, &from->sequence[s], &g[s]));
    }
    for (int m = 0; m < from->maps; m++) FV_TRY(merge_map(to, from, m, g));
    for (int a = 0; a < from->attributions; a++)
        FV_TRY(merge_attribution(to, &from->attribution[a], &g[from->attribution[a].sequence]));
    return FV_OK;
}

fv_status fv_explanation_words(fv_explanation **out, const fv_explanation *e) {
    *out = NULL;
    grouping *g = fv__alloc_array((size_t)e->sequences, sizeof *g);
    if (!g) return FV_NO_RESOURCES;
    fv_explanation *to = NULL;
    fv_status status = fv_explanation_create(&to, e->title, e->model);
    if (status == FV_OK) status = fill(to, e, g);
    for (int s = 0; s < e->sequences; s++) fv__free(g[s].first);
    fv__free(g);
    if (status == FV_OK)
        *out = to;
    else
        fv_explanation_free(to);
    return status;
}
