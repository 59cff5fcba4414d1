/* Added tokens: those that are found in the text as it is, before anything else is done to it. A file may bring very
 * many, so they are found by their bytes, one after the other, in a sorted list. */
#include "data/text.h"
#include "data/token/token_contract.h"

#include <stdlib.h>
#include <string.h>

fv_status fv__added_add(fv_tokenizer *t, fv__added_token token) {
    FV_TRY(FV_GROW(&t->added, &t->added_capacity, t->added_count + 1));
    FV_TRY(fv__map_set(t->ids, token.content, token.size, token.id));
    token.content = fv__map_own_key(t->ids, token.content, token.size);
    t->added[t->added_count++] = token;
    return FV_OK;
}

/* ---- the index */

static int by_bytes(const void *a, const void *b) {
    const fv__added_key *x = a, *y = b;
    int order = memcmp(x->content, y->content, x->size < y->size ? x->size : y->size);
    if (order) return order;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

fv_status fv__added_index(fv_tokenizer *t) {
    fv__free(t->added_key);
    fv__free(t->is_special);
    t->added_key = fv__alloc_array(t->added_count + 1, sizeof *t->added_key);
    t->is_special = fv__alloc_array((size_t)t->size + 1, sizeof *t->is_special);
    if (!t->added_key || !t->is_special) return FV_NO_RESOURCES;
    memset(t->added_start, 0, sizeof t->added_start);
    for (size_t i = 0; i < t->added_count; i++) {
        const fv__added_token *a = &t->added[i];
        t->added_key[i] = (fv__added_key){a->content, a->size, (int32_t)i};
        t->added_start[(unsigned char)a->content[0] + 1]++;
        if (a->special && a->id < t->size) t->is_special[a->id] = true;
    }
    for (int b = 0; b < 256; b++) t->added_start[b + 1] += t->added_start[b];
    qsort(t->added_key, t->added_count, sizeof *t->added_key, by_bytes);
    return FV_OK;
}

void fv__added_free(fv_tokenizer *t) {
    fv__free(t->added);
    fv__free(t->added_key);
    fv__free(t->is_special);
}

/* ---- finding */

static bool is_word_before(const char *text, size_t at) {
    size_t from = at, length;
    while (from && ((unsigned char)text[--from] & 0xC0) == 0x80) {}
    return from < at && fv__is_word(fv__utf8_next(text + from, at - from, &length, NULL));
}

static bool is_word_after(const char *text, size_t at, size_t size) {
    size_t length;
    return at < size && fv__is_word(fv__utf8_next(text + at, size - at, &length, NULL));
}

/* The first of keys [low, high), which share `depth` bytes, whose next byte is `least` or more. */
static size_t first_from(const fv__added_key *key, size_t low, size_t high, size_t depth, unsigned least) {
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((unsigned char)key[middle].content[depth] < least)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const fv__added_token *fv__added_at(const fv_tokenizer *t, const char *text, size_t at, size_t size) {
    const fv__added_key *key = t->added_key;
    const fv__added_token *best = NULL;
    const unsigned char first = (unsigned char)text[at];
    size_t low = t->added_start[first], high = t->added_start[first + 1];
    if (low == high) return NULL;
    const bool after_word = is_word_before(text, at);
    for (size_t depth = 1; low < high; depth++) { /* keys [low, high) begin with `depth` bytes of the text */
        const bool before_word = is_word_after(text, at + depth, size);
        for (; low < high && key[low].size == depth; low++) {
            const fv__added_token *a = &t->added[key[low].index];
            bool fits = !a->single_word || (!after_word && !before_word);
            if (fits && (!best || a->size > best->size)) best = a;
        }
        if (at + depth == size) break;
        const unsigned next = (unsigned char)text[at + depth];
        low = first_from(key, low, high, depth, next);
        high = first_from(key, low, high, depth, next + 1);
    }
    return best;
}
