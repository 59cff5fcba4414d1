/* build: an fv_explanation piece by piece. Everything is checked and copied here, so that renderers can trust it:
 * texts are valid UTF-8, offsets are inside them, weights are finite. */
#include "explain/explain.h"
#include "data/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

char *fv__explain_text(fv_explanation *e, const char *text, size_t size) {
    char *copy = fv__arena_raw(e->store->arena, size + 1);
    if (!copy) return NULL;
    if (size) memcpy(copy, text, size);
    copy[size] = 0;
    return copy;
}

float *fv__explain_floats(fv_explanation *e, const float *from, int64_t count) {
    size_t bytes;
    if (!fv__size_of(&count, 1, sizeof *from, &bytes)) {
        fv__fail(FV_NO_RESOURCES, "explanation: %lld numbers do not fit in memory", (long long)count);
        return NULL;
    }
    float *copy = fv__arena_raw(e->store->arena, bytes);
    if (copy && bytes) memcpy(copy, from, bytes);
    return copy;
}

/* Captions come from models and files: repaired like every text. */
static fv_status copy_caption(fv_explanation *e, const char **out, const char *text) {
    if (!text) text = "";
    fv__buf fixed = {0};
    fv__text_repair(&fixed, text, strlen(text));
    fv_status status = fv__buf_status(&fixed);
    if (status == FV_OK) {
        *out = fv__explain_text(e, fixed.data ? fixed.data : "", fixed.size);
        if (!*out) status = FV_NO_RESOURCES;
    }
    fv__buf_free(&fixed);
    return status;
}

fv_status fv_explanation_create(fv_explanation **out, const char *title, const char *model_name) {
    *out = NULL;
    fv_explanation *e = fv__alloc(sizeof *e);
    if (!e) return FV_NO_RESOURCES;
    fv_status status = FV_NO_RESOURCES;
    e->store = fv__alloc(sizeof *e->store);
    if (e->store) status = fv__arena_create(&e->store->arena);
    if (status == FV_OK) status = copy_caption(e, &e->title, title);
    if (status == FV_OK) status = copy_caption(e, &e->model, model_name);
    if (status != FV_OK) {
        fv_explanation_free(e);
        return status;
    }
    e->kind = e->mechanism = e->task = "";
    e->predicted = e->expected = -1;
    *out = e;
    return FV_OK;
}

void fv_explanation_free(fv_explanation *e) {
    if (!e) return;
    for (int m = 0; m < e->maps; m++) fv__free(e->map[m].head);
    fv__free(e->map);
    fv__free(e->class_of);
    fv__free(e->sequence);
    fv__free(e->attribution);
    fv__free(e->note);
    if (e->store) {
        fv__arena_free(e->store->arena);
        fv__free(e->store->heads);
        fv__free(e->store);
    }
    fv__free(e);
}

fv_status fv_explanation_add_note(fv_explanation *e, const char *caption, const char *value) {
    fv_explain_note note = {0};
    FV_TRY(copy_caption(e, &note.caption, caption));
    FV_TRY(copy_caption(e, &note.value, value));
    FV_TRY(FV_GROW(&e->note, &e->store->notes, (size_t)e->notes + 1));
    e->note[e->notes++] = note;
    return FV_OK;
}

fv_status fv_explanation_add_class(fv_explanation *e, const char *name, double probability, double logit) {
    fv_explain_class one = {NULL, probability, logit};
    FV_TRY(copy_caption(e, &one.name, name));
    FV_TRY(FV_GROW(&e->class_of, &e->store->classes, (size_t)e->classes + 1));
    e->class_of[e->classes] = one;
    if (e->predicted < 0 || probability > e->class_of[e->predicted].probability) e->predicted = e->classes;
    e->classes++;
    return FV_OK;
}

/* ---- sequences */

/* Writes the repaired text and where each byte went: moved[i] is the new offset of byte i, and inside a bad sequence
 * that of the replacement, whose end is moved_end. */
static fv_status repair(fv__buf *text, int64_t *moved, int64_t *moved_end, const char *from, size_t size) {
    for (size_t i = 0, length; i < size; i += length) {
        bool valid = true;
        char bytes[4];
        int64_t at = (int64_t)text->size;
        size_t n = fv__utf8_put(bytes, fv__utf8_next(from + i, size - i, &length, &valid));
        fv__buf_add(text, bytes, n);
        for (size_t k = 0; k < length; k++) {
            moved[i + k] = valid ? at + (int64_t)k : at;
            moved_end[i + k] = valid || k == 0 ? moved[i + k] : at + (int64_t)n;
        }
    }
    moved[size] = moved_end[size] = (int64_t)text->size;
    return fv__buf_status(text);
}

static fv_status repair_sequence(fv_explanation *e, fv_explain_sequence *s, const char *from, size_t size) {
    fv__buf text = {0};
    int64_t *moved = fv__alloc_array(size + 1, 2 * sizeof *moved);
    fv_status status = moved ? repair(&text, moved, moved + size + 1, from, size) : FV_NO_RESOURCES;
    if (status == FV_OK) {
        s->text = fv__explain_text(e, text.data ? text.data : "", text.size);
        s->size = text.size;
        if (!s->text) status = FV_NO_RESOURCES;
        for (int64_t i = 0; i < s->count; i++) {
            s->token[i].start = moved[s->token[i].start];
            s->token[i].end = moved[size + 1 + (size_t)s->token[i].end];
        }
    }
    fv__buf_free(&text);
    fv__free(moved);
    return status;
}

static fv_status copy_token(fv_explanation *e, fv_explain_token *to, const fv_explain_token *from, int64_t index,
                            size_t size) {
    char number[24];
    if (!from) {
        snprintf(number, sizeof number, "%lld", (long long)index);
        *to = (fv_explain_token){.word = -1};
        return copy_caption(e, &to->piece, number);
    }
    if (from->start < 0 || from->end < from->start || from->end > (int64_t)size)
        return fv__fail(FV_USAGE,
                        "fv_explanation_add_sequence: token %lld is outside the text\n"
                        "  expected 0 <= start <= end <= %zu\n  found:   %lld..%lld",
                        (long long)index, size, (long long)from->start, (long long)from->end);
    *to = *from;
    return copy_caption(e, &to->piece, from->piece);
}

fv_status fv_explanation_add_sequence(fv_explanation *e, const char *caption, const char *text, size_t size,
                                      const fv_explain_token *token, int64_t count, int *index) {
    if (count < 0)
        return fv__fail(FV_USAGE, "fv_explanation_add_sequence: count\n  expected 0 or more\n  found:   %lld",
                        (long long)count);
    if (!text) size = 0;
    fv_explain_sequence s = {.count = count};
    FV_TRY(copy_caption(e, &s.caption, caption));
    size_t bytes;
    if (!fv__size_of(&count, 1, sizeof *s.token, &bytes) || !(s.token = fv__arena_alloc(e->store->arena, bytes)))
        return FV_NO_RESOURCES;
    for (int64_t i = 0; i < count; i++) FV_TRY(copy_token(e, &s.token[i], token ? &token[i] : NULL, i, size));
    if (text && fv__utf8_valid(text, size) != size) {
        FV_TRY(repair_sequence(e, &s, text, size));
    } else if (text) {
        s.text = fv__explain_text(e, text, size);
        s.size = size;
        if (!s.text) return FV_NO_RESOURCES;
    }
    fv__part_words(&s);
    FV_TRY(FV_GROW(&e->sequence, &e->store->sequences, (size_t)e->sequences + 1));
    if (index) *index = e->sequences;
    e->sequence[e->sequences++] = s;
    return FV_OK;
}

void fv__token_caption(fv__buf *out, const fv_explain_sequence *s, int64_t token) {
    const fv_explain_token *t = &s->token[token];
    size_t size = (size_t)(t->end - t->start);
    if (!s->text || size == 0) {
        fv__buf_text(out, t->piece);
    } else if (fv__utf8_valid(s->text + t->start, size) == size) {
        fv__buf_add(out, s->text + t->start, size);
    } else {
        for (size_t i = 0; i < size; i++)
            fv__buf_printf(out, "%s%02x", i ? " " : "", (unsigned char)s->text[(size_t)t->start + i]);
    }
}

void fv__special_keys(bool *out, const fv_explain_sequence *s) {
    for (int64_t i = 0; i < s->count; i++) out[i] = s->token[i].special;
}

/* ---- maps and attributions */

static fv_status check_sequence(const fv_explanation *e, int sequence, const char *where) {
    if (sequence >= 0 && sequence < e->sequences) return FV_OK;
    return fv__fail(FV_USAGE, "%s: index of a sequence\n  expected 0 or more, below %d\n  found:   %d", where,
                    e->sequences, sequence);
}

fv_status fv__check_map(const fv_explanation *e, int map, const char *where) {
    if (map >= 0 && map < e->maps) return FV_OK;
    return fv__fail(FV_USAGE, "%s: index of a map\n  expected 0 or more, below %d\n  found:   %d", where, e->maps, map);
}

fv_status fv_explanation_add_map(fv_explanation *e, const char *id, const char *caption, int query, int key,
                                 bool normalised, bool causal, int *index) {
    FV_TRY(check_sequence(e, query, "fv_explanation_add_map"));
    FV_TRY(check_sequence(e, key, "fv_explanation_add_map"));
    fv_explain_map map = {.query = query, .key = key, .normalised = normalised, .causal = causal};
    FV_TRY(copy_caption(e, &map.id, id));
    FV_TRY(copy_caption(e, &map.caption, caption));
    FV_TRY(FV_GROW(&e->map, &e->store->maps, (size_t)e->maps + 1));
    FV_TRY(FV_GROW(&e->store->heads, &e->store->head_maps, (size_t)e->maps + 1));
    if (index) *index = e->maps;
    e->map[e->maps++] = map;
    return FV_OK;
}

static fv_status check_weights(const float *weight, int64_t queries, int64_t keys, int32_t layer, int32_t head) {
    for (int64_t i = 0; i < queries * keys; i++) {
        if (isfinite(weight[i]) && weight[i] >= 0) continue;
        return fv__fail(FV_BAD_DATA,
                        "explanation: layer %d head %d, query %lld, key %lld: not an attention weight\n"
                        "  expected a finite number that is not negative\n  found:   %g",
                        layer, head, (long long)(i / keys), (long long)(i % keys), (double)weight[i]);
    }
    return FV_OK;
}

static fv_status fill_head(fv_explanation *e, fv_explain_head *head, const fv_explain_map *map, const float *weight) {
    const fv_explain_sequence *key = &e->sequence[map->key];
    int64_t queries = e->sequence[map->query].count, keys = key->count;
    FV_TRY(check_weights(weight, queries, keys, head->layer, head->head));
    head->weight = fv__explain_floats(e, weight, queries * keys);
    bool *special = fv__alloc_array((size_t)keys, sizeof *special);
    if (head->weight && special) {
        fv__special_keys(special, key);
        fv_head_statistics(&head->stats, weight, queries, keys, special);
    }
    fv_status status = head->weight && special ? FV_OK : FV_NO_RESOURCES;
    fv__free(special);
    return status;
}

fv_status fv_explanation_add_head(fv_explanation *e, int map, int32_t layer, int32_t head, const char *id,
                                  const char *caption, const float *weight) {
    FV_TRY(fv__check_map(e, map, "fv_explanation_add_head"));
    fv_explain_head one = {.layer = layer, .head = head};
    fv_explain_map *to = &e->map[map];
    if (id) FV_TRY(copy_caption(e, &one.id, id));
    if (caption) FV_TRY(copy_caption(e, &one.caption, caption));
    FV_TRY(fill_head(e, &one, to, weight));
    FV_TRY(FV_GROW(&to->head, &e->store->heads[map], (size_t)to->heads + 1));
    to->head[to->heads++] = one;
    return FV_OK;
}

fv_status fv_explanation_add_attribution(fv_explanation *e, const char *id, const char *caption, const char *about,
                                         int sequence, int32_t of_class, bool is_signed, const float *value) {
    FV_TRY(check_sequence(e, sequence, "fv_explanation_add_attribution"));
    if (of_class < -1 || of_class >= e->classes)
        return fv__fail(
            FV_USAGE,
            "fv_explanation_add_attribution: index of a class\n  expected -1 or more, below %d\n  found:   %d",
            (int)e->classes, (int)of_class);
    fv_attribution one = {.sequence = sequence, .of_class = of_class, .is_signed = is_signed};
    FV_TRY(copy_caption(e, &one.id, id));
    FV_TRY(copy_caption(e, &one.caption, caption));
    FV_TRY(copy_caption(e, &one.about, about));
    for (int64_t i = 0; i < e->sequence[sequence].count; i++)
        if (!isfinite(value[i]))
            return fv__fail(FV_BAD_DATA,
                            "explanation: attribution \"%s\" of token %lld\n  expected a finite number\n  found:   %g",
                            id, (long long)i, (double)value[i]);
    one.value = fv__explain_floats(e, value, e->sequence[sequence].count);
    if (!one.value) return FV_NO_RESOURCES;
    FV_TRY(FV_GROW(&e->attribution, &e->store->attributions, (size_t)e->attributions + 1));
    e->attribution[e->attributions++] = one;
    return FV_OK;
}

/* ---- from plain arrays */

static fv_status add_positions(fv_explanation *e, const char *caption, const char *const *piece, int64_t count,
                               int *index) {
    if (!piece) return fv_explanation_add_sequence(e, caption, NULL, 0, NULL, count, index);
    fv_explain_token *token = fv__alloc_array((size_t)count, sizeof *token);
    if (!token) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < count; i++) token[i] = (fv_explain_token){.piece = piece[i], .word = -1};
    fv_status status = fv_explanation_add_sequence(e, caption, NULL, 0, token, count, index);
    fv__free(token);
    return status;
}

/* Rows that see nothing sum to zero; all others must sum to one. */
bool fv__rows_sum_to_one(const float *weight, int64_t rows, int64_t keys) {
    for (int64_t i = 0; i < rows; i++) {
        double sum = 0;
        for (int64_t j = 0; j < keys; j++) sum += weight[i * keys + j];
        if (sum != 0 && fabs(sum - 1) > 1e-3) return false;
    }
    return true;
}

bool fv__is_causal(const float *weight, int64_t matrices, int64_t queries, int64_t keys) {
    if (queries != keys || keys < 2) return false;
    for (int64_t m = 0; m < matrices; m++)
        for (int64_t i = 0; i < queries; i++)
            for (int64_t j = i + 1; j < keys; j++)
                if (weight[(m * queries + i) * keys + j] != 0) return false;
    return true;
}

fv_status fv_explanation_add_weights(fv_explanation *e, const char *id, const char *caption, int query, int key,
                                     const float *weights, int64_t layers, int64_t heads) {
    FV_TRY(check_sequence(e, query, "fv_explanation_add_weights"));
    FV_TRY(check_sequence(e, key, "fv_explanation_add_weights"));
    int64_t queries = e->sequence[query].count, keys = e->sequence[key].count;
    size_t bytes;
    if (layers < 1 || heads < 1 || layers > INT32_MAX || heads > INT32_MAX ||
        !fv__size_of((int64_t[]){layers, heads, queries, keys}, 4, sizeof *weights, &bytes))
        return fv__fail(FV_USAGE,
                        "fv_explanation_add_weights: %lld x %lld x %lld x %lld is no (layers, heads, queries, keys)",
                        (long long)layers, (long long)heads, (long long)queries, (long long)keys);
    int map;
    bool normalised = fv__rows_sum_to_one(weights, layers * heads * queries, keys);
    FV_TRY(fv_explanation_add_map(e, id, caption, query, key, normalised,
                                  fv__is_causal(weights, layers * heads, queries, keys), &map));
    for (int64_t l = 0; l < layers; l++)
        for (int64_t h = 0; h < heads; h++)
            FV_TRY(fv_explanation_add_head(e, map, (int32_t)l, (int32_t)h, NULL, NULL,
                                           weights + (l * heads + h) * queries * keys));
    return fv_explanation_combine(e, map);
}

static fv_status fill_of(fv_explanation *e, const float *weights, int64_t layers, int64_t heads, int64_t queries,
                         int64_t keys, const char *const *query_captions, const char *const *key_captions) {
    bool same = queries == keys && (!query_captions || !key_captions || query_captions == key_captions);
    int key, query;
    FV_TRY(add_positions(e, same ? "positions" : "keys",
                         key_captions ? key_captions
                         : same       ? query_captions
                                      : NULL,
                         keys, &key));
    query = key;
    if (!same) FV_TRY(add_positions(e, "queries", query_captions, queries, &query));
    return fv_explanation_add_weights(e, same ? "self" : "cross", same ? "Self-attention" : "Attention", query, key,
                                      weights, layers, heads);
}

fv_status fv_explanation_of(fv_explanation **out, const char *title, const float *weights, int64_t layers,
                            int64_t heads, int64_t queries, int64_t keys, const char *const *query_captions,
                            const char *const *key_captions) {
    *out = NULL;
    int64_t dim[4] = {layers, heads, queries, keys};
    size_t bytes;
    if (layers < 1 || heads < 1 || queries < 1 || keys < 1 || layers > INT32_MAX || heads > INT32_MAX ||
        !fv__size_of(dim, 4, sizeof *weights, &bytes))
        return fv__fail(FV_USAGE,
                        "fv_explanation_of: weights of shape %lld,%lld,%lld,%lld\n"
                        "  expected (layers, heads, queries, keys), each at least 1",
                        (long long)layers, (long long)heads, (long long)queries, (long long)keys);
    fv_explanation *e;
    FV_TRY(fv_explanation_create(&e, title, ""));
    fv_status status = fill_of(e, weights, layers, heads, queries, keys, query_captions, key_captions);
    if (status == FV_OK)
        *out = e;
    else
        fv_explanation_free(e);
    return status;
}
