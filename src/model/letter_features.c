/* n-grams of letters as features of the count-based kinds: those of <word>, hashed into buckets, for every word of a
 * text. A word nobody has seen still has parts somebody has. Characters of scripts without spaces are tokens, and
 * their runs are features already. */
#include "data/text.h"
#include "data/token/token_contract.h"
#include "model/features.h"

enum { LONGEST_WORD = 64 }; /* letters; what is longer is an address or a key */

static void put_letters(fv__buf *word, const fv_tokenizer *tokenizer, const char *text, size_t size) {
    size_t length, letters = 0;
    word->size = 0;
    for (size_t at = 0; at < size && letters < LONGEST_WORD; at += length, letters++) {
        char bytes[4];
        int32_t code = fv__utf8_next(text + at, size - at, &length, NULL);
        if (tokenizer->normal.lower) code = fv__lower(code);
        fv__buf_add(word, bytes, fv__utf8_put(bytes, code));
    }
}

/* A word, or a piece of punctuation that stands between words: ":)" tells as much as many a word. */
static fv_status add_word(fv__occurrences *out, const fv_model *model, int32_t first, int32_t length) {
    const fv_ngram_options *o = &model->options.ngrams;
    int64_t base = model->sizes.vocabulary + model->sizes.ngrams;
    int64_t need = fv_ngrams(NULL, 0, out->word.data, out->word.size, o);
    FV_TRY(FV_GROW(&out->bucket, &out->bucket_capacity, (size_t)need));
    FV_TRY(FV_GROW(&out->item, &out->item_capacity, (size_t)(out->count + need) + 1));
    fv_ngrams(out->bucket, need, out->word.data, out->word.size, o);
    for (int64_t i = 0; i < need; i++)
        out->item[out->count++] = (fv__occurrence){(int32_t)(base + out->bucket[i]), first, length};
    return FV_OK;
}

fv_status fv__features_find_letters(fv__occurrences *out, const fv_model *model, const fv_tokens *tokens,
                                    const char *text) {
    for (int64_t i = 0, end; i < tokens->count; i = end) {
        for (end = i + 1; end < tokens->count && tokens->word[end] == tokens->word[i]; end++) {}
        if (tokens->start[i] == tokens->end[end - 1] || model->term[tokens->id[i]] == FV__CHARACTER) continue;
        put_letters(&out->word, model->tokenizer, text + tokens->start[i],
                    (size_t)(tokens->end[end - 1] - tokens->start[i]));
        FV_TRY(fv__buf_status(&out->word));
        FV_TRY(add_word(out, model, (int32_t)i, (int32_t)(end - i)));
    }
    return FV_OK;
}
