/* word.c - a vocabulary of whole words (WordLevel in tokenizer.json). */
#include "data/token/token_contract.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry {
    const char *word;
    size_t size;
    int64_t count;
} entry;

/* Most frequent first, equal counts by bytes. */
static int by_count(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return strcmp(x->word, y->word);
}

static fv_status train(fv_tokenizer *t, fv__word_counts words, const fv_tokenizer_options *options) {
    size_t n = fv__map_size(words.map), kept = 0;
    entry *list = fv__alloc_array(n, sizeof *list);
    if (!list) return FV_NO_RESOURCES;
    for (size_t i = 0; i < n; i++) {
        entry e = {.count = fv__map_value(words.map, i)};
        e.word = fv__map_key(words.map, i, &e.size);
        if (e.count >= options->min_count) list[kept++] = e;
    }
    qsort(list, kept, sizeof *list, by_count);
    fv_status status = FV_OK;
    int32_t id;
    for (size_t i = 0; i < kept && status == FV_OK; i++) {
        if (options->vocab_size && (int64_t)fv__map_size(t->ids) >= options->vocab_size) break;
        status = fv__vocab_add(t, list[i].word, list[i].size, &id);
    }
    fv__free(list);
    return status;
}

static fv_status load(fv_tokenizer *t, fv__json_at_file model) {
    FV_TRY(fv__vocab_load(t, model));
    return fv__unk_load(t, model, true);
}

static void save(const fv_tokenizer *t, fv__buf *json) {
    fv__buf_text(json, ",\n    \"unk_token\": ");
    fv__json_quote(json, t->token[t->special.unk], strlen(t->token[t->special.unk]), FV_JSON_LINE);
}

static fv_status encode(const fv_tokenizer *t, fv__encoder *e, const fv__char *word, size_t count, int32_t index) {
    FV_TRY(fv__word_bytes(e, word, count));
    int64_t id = fv__map_get(t->ids, e->word.data, e->word.size, t->special.unk);
    return fv__token_emit(e->tokens, (int32_t)id, word[0].from, word[count - 1].to, index);
}

static void decode(const fv_tokenizer *t, fv__buf *out, const char *token) {
    (void)t;
    if (out->size) fv__buf_add(out, " ", 1);
    fv__buf_text(out, token);
}

const fv__token_model fv__token_word = {.name = "word",
                                        .type = "WordLevel",
                                        .pre = FV_PRE_BERT,
                                        .unspaced = true,
                                        .train = train,
                                        .load = load,
                                        .save = save,
                                        .encode = encode,
                                        .decode = decode};
