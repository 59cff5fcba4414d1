/* encode.c - from a text to tokens: added tokens first, in the text as it is, then the stages for the rest. */
#include "data/text.h"
#include "data/token/token_contract.h"

#include <string.h>

#include <string.h>

/* ---- for the models */

/* Every byte of e->word knows its character, and so the bytes of the text. */
fv_status fv__word_bytes(fv__encoder *e, const fv__char *word, size_t count) {
    char part[512];
    size_t bytes = 0, at = 0, used = 0;
    for (size_t i = 0; i < count; i++)
        bytes += word[i].code < 0x80 ? 1 : word[i].code < 0x800 ? 2 : word[i].code < 0x10000 ? 3 : 4;
    FV_TRY(FV_GROW(&e->owner, &e->owner_capacity, bytes + 1));
    e->word.size = 0;
    for (size_t i = 0; i < count; i++) {
        size_t n = fv__utf8_put(part + used, word[i].code);
        for (size_t k = 0; k < n; k++) e->owner[at++] = (int32_t)i;
        used += n;
        if (used < sizeof part - 4 && i + 1 < count) continue;
        fv__buf_add(&e->word, part, used);
        used = 0;
    }
    return fv__buf_status(&e->word);
}

/* ---- the pieces between */

static fv_status encode_part(const fv_tokenizer *t, fv__encoder *e, const char *text, size_t from, size_t to,
                             int32_t *words) {
    if (from == to) return FV_OK;
    size_t at = 0;
    FV_TRY(fv__normalise(t, &e->pieces, text, from, to));
    for (fv__span span; (span = fv__next_word(t, &e->pieces, &at)).count;)
        FV_TRY(t->model->encode(t, e, e->pieces.chars + span.first, span.count, (*words)++));
    return FV_OK;
}

/* An added token may take the blanks at its sides with it. */
static fv_status encode_added(fv__encoder *e, const fv__added_token *a, const char *text, size_t size, size_t *at,
                              int32_t *words) {
    FV_TRY(fv__token_emit(e->tokens, a->id, (int32_t)*at, (int32_t)(*at + a->size), (*words)++));
    *at += a->size;
    size_t length;
    while (a->rstrip && *at < size && fv__is_space(fv__utf8_next(text + *at, size - *at, &length, NULL))) *at += length;
    return FV_OK;
}

static size_t without_blanks(const char *text, size_t from, size_t to) {
    const char *start = text + from;
    size_t kept = fv__text_strip(&start, to - from);
    return kept ? (size_t)(start - text) + kept : from;
}

fv_status fv__encode(const fv_tokenizer *t, fv__encoder *e, fv_tokens *tokens, const char *text, size_t size) {
    int32_t words = 0;
    size_t done = 0;
    if (size > INT32_MAX)
        return fv__fail(FV_BAD_DATA, "a text is too long\n  expected less than 2^31 bytes\n  found:   %zu", size);
    e->tokens = tokens;
    tokens->count = 0;
    for (size_t at = 0; at < size;) {
        const fv__added_token *a = fv__added_at(t, text, at, size);
        if (!a) {
            at++;
            continue;
        }
        FV_TRY(encode_part(t, e, text, done, a->lstrip ? without_blanks(text, done, at) : at, &words));
        FV_TRY(encode_added(e, a, text, size, &at, &words));
        done = at;
    }
    return encode_part(t, e, text, done, size, &words);
}

void fv__encoder_free(fv__encoder *e) {
    fv__pieces_free(&e->pieces);
    fv__buf_free(&e->word);
    fv__free(e->owner);
    fv__free(e->symbol);
    fv__free(e->next);
    fv__free(e->previous);
    fv__free(e->pair_rank);
    *e = (fv__encoder){0};
}

fv_status fv_tokenizer_encode(const fv_tokenizer *tokenizer, fv_tokens *tokens, const char *text, size_t size) {
    fv__encoder e = {0};
    fv_status status = fv__encode(tokenizer, &e, tokens, text, size);
    fv__encoder_free(&e);
    return status;
}
