/* corpus.c - texts as token ids, with the bags of character n-grams of every different word. See data.h. */
#include "data/text.h"
#include "data/token/token_contract.h"

#include <string.h>

/* Characters of a word that n-grams are made of. A run of a million letters is no word, and each of its tokens would
 * carry the n-grams of all of it. */
enum { LONGEST_WORD = 256 };

typedef struct builder {
    const fv_tokenizer *t;
    fv_corpus_options options;
    fv_corpus *corpus;
    fv__encoder encoder;
    fv_tokens tokens;
    int64_t *start, *bag_start;
    int32_t *id, *form, *bag;
    size_t ids, id_capacity, form_capacity, bags, bag_capacity, forms, bag_start_capacity;
    fv__map *form_of; /* word in the tokenizer's case -> form */
    fv__buf word;
} builder;

/* ---- forms: the different words, each with its bag */

static fv_status add_form(builder *b) {
    int64_t need = fv_ngrams(NULL, 0, b->word.data, b->word.size, &b->options.ngrams);
    FV_TRY(FV_GROW(&b->bag, &b->bag_capacity, b->bags + (size_t)need));
    fv_ngrams(b->bag + b->bags, need, b->word.data, b->word.size, &b->options.ngrams);
    b->bags += (size_t)need;
    FV_TRY(FV_GROW(&b->bag_start, &b->bag_start_capacity, b->forms + 2));
    b->bag_start[++b->forms] = (int64_t)b->bags;
    return FV_OK;
}

static void put_word(builder *b, const char *text, size_t size) {
    size_t length, characters = 0;
    b->word.size = 0;
    for (size_t at = 0; at < size && characters < LONGEST_WORD; at += length, characters++) {
        char bytes[4];
        int32_t code = fv__utf8_next(text + at, size - at, &length, NULL);
        if (b->t->normal.lower) code = fv__lower(code);
        fv__buf_add(&b->word, bytes, fv__utf8_put(bytes, code));
    }
}

static fv_status form_of(builder *b, const char *text, int32_t from, int32_t to, int32_t *form) {
    *form = 0;
    if (from == to) return FV_OK;
    put_word(b, text + from, (size_t)(to - from));
    FV_TRY(fv__buf_status(&b->word));
    int64_t known = fv__map_get(b->form_of, b->word.data, b->word.size, -1);
    if (known < 0) {
        known = (int64_t)b->forms;
        if (known >= INT32_MAX) return fv__fail(FV_NO_RESOURCES, "more than 2^31 different words");
        FV_TRY(fv__map_set(b->form_of, b->word.data, b->word.size, known));
        FV_TRY(add_form(b));
    }
    *form = (int32_t)known;
    return FV_OK;
}

/* All tokens of a word have its form, also those that max_length cuts off from it. */
static fv_status add_forms(builder *b, const char *text, int64_t kept, int32_t *out) {
    const fv_tokens *tk = &b->tokens;
    for (int64_t i = 0, end; i < kept; i = end) {
        int32_t form;
        for (end = i + 1; end < tk->count && tk->word[end] == tk->word[i]; end++) {}
        FV_TRY(form_of(b, text, tk->start[i], tk->end[end - 1], &form));
        for (int64_t k = i; k < end && k < kept; k++) out[k] = form;
    }
    return FV_OK;
}

/* ---- texts */

static fv_status add_text(builder *b, const char *text, size_t size) {
    FV_TRY(fv__encode(b->t, &b->encoder, &b->tokens, text, size));
    bool bags = b->options.ngrams.ngram_bits > 0;
    int64_t cls = b->options.add_cls, kept = b->tokens.count;
    if (kept > b->options.max_length - cls) kept = b->options.max_length - cls, b->corpus->cut++;
    if (!kept && !cls) {
        b->tokens.count = 0;
        FV_TRY(fv__token_emit(&b->tokens, b->t->special.unk < 0 ? 0 : b->t->special.unk, 0, 0, 0));
        kept = 1;
    }
    size_t total = b->ids + (size_t)(kept + cls);
    FV_TRY(FV_GROW(&b->id, &b->id_capacity, total));
    if (cls) b->id[b->ids] = b->t->special.cls;
    if (kept) memcpy(b->id + b->ids + cls, b->tokens.id, (size_t)kept * sizeof *b->id);
    if (bags) {
        FV_TRY(FV_GROW(&b->form, &b->form_capacity, total));
        if (cls) b->form[b->ids] = 0;
        FV_TRY(add_forms(b, text, kept, b->form + b->ids + cls));
    }
    b->ids = total;
    return FV_OK;
}

static fv_status add_texts(builder *b, const fv_dataset *data) {
    for (int64_t i = 0; i < data->texts.count; i++) {
        FV_TRY(add_text(b, data->texts.text[i], data->texts.size[i]));
        b->start[i + 1] = (int64_t)b->ids;
        if (fv_interrupted()) return fv__fail(FV_INTERRUPTED, "encoding texts: stopped on request");
    }
    return FV_OK;
}

static fv_status check(const builder *b) {
    if (b->options.max_length < 1 || (b->options.add_cls && b->options.max_length < 2))
        return fv__fail(FV_USAGE, "max-length %lld\n  expected at least 1, or 2 with [CLS]",
                        (long long)b->options.max_length);
    if (b->options.add_cls && b->t->special.cls < 0)
        return fv__fail(
            FV_USAGE,
            "the tokenizer has no [CLS] token\n  expected one, because it was to be put in front of each text");
    const fv_ngram_options *n = &b->options.ngrams;
    if (n->ngram_bits && (n->ngram_bits < 0 || n->ngram_bits > 24 || n->ngram_min < 1 || n->ngram_max < n->ngram_min))
        return fv__fail(
            FV_USAGE,
            "n-grams of %lld to %lld characters in 2^%lld buckets\n  expected 1 <= ngram-min <= ngram-max, bits "
            "from 0 to 24",
            (long long)n->ngram_min, (long long)n->ngram_max, (long long)n->ngram_bits);
    return FV_OK;
}

static fv_status build(builder *b, const fv_dataset *data) {
    fv_corpus *c = b->corpus;
    int64_t n = data->texts.count;
    FV_TRY(check(b));
    if (!(b->start = fv__alloc_array((size_t)n + 1, sizeof *b->start))) return FV_NO_RESOURCES;
    FV_TRY(FV_GROW(&b->id, &b->id_capacity, 1));
    if (b->options.ngrams.ngram_bits) {
        FV_TRY(fv__map_create(&b->form_of));
        FV_TRY(FV_GROW(&b->bag, &b->bag_capacity, 1));
        FV_TRY(FV_GROW(&b->form, &b->form_capacity, 1));
        FV_TRY(FV_GROW(&b->bag_start, &b->bag_start_capacity, 2));
        b->forms = 1;
    }
    if (data->label) {
        int32_t *label = fv__alloc_array((size_t)n, sizeof *label);
        if (!label) return FV_NO_RESOURCES;
        if (n) memcpy(label, data->label, (size_t)n * sizeof *label);
        c->label = label;
    }
    FV_TRY(add_texts(b, data));
    c->count = n;
    c->forms = (int64_t)b->forms;
    return FV_OK;
}

fv_status fv_corpus_create(fv_corpus **corpus, const fv_dataset *data, const fv_tokenizer *tokenizer,
                           const fv_corpus_options *options) {
    builder b = {.t = tokenizer, .options = options ? *options : (fv_corpus_options){.max_length = 512}};
    *corpus = NULL;
    if (!(b.corpus = fv__alloc(sizeof *b.corpus))) return FV_NO_RESOURCES;
    fv_status status = build(&b, data);
    b.corpus->start = b.start;
    b.corpus->id = b.id;
    b.corpus->form = b.form;
    b.corpus->bag_start = b.bag_start;
    b.corpus->bag = b.bag;
    fv__encoder_free(&b.encoder);
    fv_tokens_free(&b.tokens);
    fv__map_free(b.form_of);
    fv__buf_free(&b.word);
    if (status == FV_OK)
        *corpus = b.corpus;
    else
        fv_corpus_free(b.corpus);
    return status;
}

static void drop(const void *array) { fv__free((void *)(uintptr_t)array); }

void fv_corpus_free(fv_corpus *c) {
    if (!c) return;
    drop(c->start);
    drop(c->id);
    drop(c->form);
    drop(c->bag_start);
    drop(c->bag);
    drop(c->label);
    fv__free(c);
}
