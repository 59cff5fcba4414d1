/* token.c - the table of tokenizer models, training, and the public calls. */
#include "data/text.h"
#include "data/token/token_contract.h"

#include <string.h>

#define FV__TOKEN(name) &fv__token_##name,
static const fv__token_model *const models[] = {
#include "data/token/list.def"
    NULL};
#undef FV__TOKEN

const fv__token_model *fv__token_model_at(int index) { return models[index]; }

const fv_option *fv_tokenizer_option_rows(void) {
    static const fv_option rows[] = {{"tokenizer", FV_OPT_CHOICE, offsetof(fv_tokenizer_options, tokenizer), "word", 0,
                                      0, "word|bpe|wordpiece", "whole words, byte pairs, or pieces of words"},
                                     {"lowercase", FV_OPT_BOOL, offsetof(fv_tokenizer_options, lowercase), "true", 0, 0,
                                      NULL, "make no difference between A and a"},
                                     {"min-count", FV_OPT_INT, offsetof(fv_tokenizer_options, min_count), "2", 1, 1e9,
                                      "N", "leave out words (bpe, wordpiece: pairs) seen less often"},
                                     {"vocab-size", FV_OPT_INT, offsetof(fv_tokenizer_options, vocab_size), "0", 0, 1e7,
                                      "N", "most tokens; 0 is no limit for word, 8000 for bpe and wordpiece"},
                                     {"max-word", FV_OPT_INT, offsetof(fv_tokenizer_options, max_word), "100", 1, 10000,
                                      "N", "wordpiece: longer words become [UNK]"},
                                     {0}};
    return rows;
}

/* ---- vocabulary and tokens */

fv_status fv__vocab_add(fv_tokenizer *t, const char *token, size_t size, int32_t *id) {
    int64_t next = (int64_t)fv__map_size(t->ids), old = fv__map_get(t->ids, token, size, -1);
    *id = (int32_t)(old < 0 ? next : old);
    if (next >= INT32_MAX) return fv__fail(FV_NO_RESOURCES, "vocabulary: more than 2^31 tokens");
    return old < 0 ? fv__map_set(t->ids, token, size, next) : FV_OK;
}

/* Room for `need` tokens: the four arrays lie in one block, each `capacity` long. */
static fv_status reserve(fv_tokens *tokens, size_t need) {
    if (need <= tokens->capacity) return FV_OK;
    size_t capacity = tokens->capacity * 2 > need ? tokens->capacity * 2 : need < 64 ? 64 : need;
    int32_t *block = fv__alloc_array(capacity, 4 * sizeof *block),
            **part[] = {&tokens->id, &tokens->start, &tokens->end, &tokens->word};
    if (!block) return FV_NO_RESOURCES;
    void *old = tokens->id;
    for (size_t i = 0; i < 4; i++) {
        if (tokens->count) memcpy(block + i * capacity, *part[i], (size_t)tokens->count * sizeof *block);
        *part[i] = block + i * capacity;
    }
    fv__free(old);
    tokens->capacity = capacity;
    return FV_OK;
}

fv_status fv__token_emit(fv_tokens *tokens, int32_t id, int32_t from, int32_t to, int32_t word) {
    if ((size_t)tokens->count == tokens->capacity) FV_TRY(reserve(tokens, (size_t)tokens->count + 1));
    tokens->id[tokens->count] = id;
    tokens->start[tokens->count] = from;
    tokens->end[tokens->count] = to;
    tokens->word[tokens->count++] = word;
    return FV_OK;
}

void fv_tokens_free(fv_tokens *tokens) {
    if (!tokens) return;
    fv__free(tokens->id);
    *tokens = (fv_tokens){0};
}

/* ---- building */

fv_status fv__tokenizer_new(fv_tokenizer **tokenizer, const fv__token_model *model) {
    fv_tokenizer *t = *tokenizer = fv__alloc(sizeof *t);
    if (!t) return FV_NO_RESOURCES;
    t->model = model;
    t->special = (fv_special){-1, -1, -1};
    return fv__map_create(&t->ids);
}

/* The token of every id. Numbers may be missing in a file, but not so many that they waste memory. */
static fv_status list_tokens(fv_tokenizer *t) {
    int64_t top = -1, count = (int64_t)fv__map_size(t->ids);
    for (int64_t i = 0; i < count; i++)
        if (fv__map_value(t->ids, (size_t)i) > top) top = fv__map_value(t->ids, (size_t)i);
    if (top >= INT32_MAX - 1 || top > 4 * count + 1000)
        return fv__fail(FV_BAD_MODEL, "vocabulary: ids of %lld tokens\n  expected 0 to %lld\n  found:   %lld",
                        (long long)count, (long long)count - 1, (long long)top);
    fv__free(t->token);
    t->size = (int32_t)(top + 1);
    t->token = fv__alloc_array((size_t)t->size, sizeof *t->token);
    if (!t->token) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < count; i++) {
        int64_t id = fv__map_value(t->ids, (size_t)i);
        const char *token = fv__map_key(t->ids, (size_t)i, NULL);
        if (t->token[id])
            return fv__fail(FV_BAD_MODEL, "vocabulary: id %lld\n  expected one token\n  found:   \"%s\" and \"%s\"",
                            (long long)id, t->token[id], token);
        t->token[id] = token;
    }
    return FV_OK;
}

static int32_t find_special(const fv_tokenizer *t, const char *const *names) {
    for (; *names; names++) {
        int32_t id = (int32_t)fv__map_get(t->ids, *names, strlen(*names), -1);
        if (id >= 0) return id;
    }
    return -1;
}

fv_status fv__tokenizer_finish(fv_tokenizer *t) {
    static const char *const pad[] = {"[PAD]", "<pad>", NULL}, *const cls[] = {"[CLS]", "<s>", "<cls>", NULL};
    t->special.pad = find_special(t, pad);
    t->special.cls = find_special(t, cls);
    FV_TRY(list_tokens(t));
    FV_TRY(fv__added_index(t));
    return t->model->finish ? t->model->finish(t) : FV_OK;
}

static fv_status add_specials(fv_tokenizer *t) {
    static const char *const names[] = {"[PAD]", "[UNK]", "[CLS]"};
    for (int32_t i = 0; i < 3; i++)
        FV_TRY(fv__added_add(
            t, (fv__added_token){.content = names[i], .size = strlen(names[i]), .id = i, .special = true}));
    t->special.unk = 1;
    return FV_OK;
}

/* ---- training */

static fv_status count_text(const fv_tokenizer *t, fv__pieces *p, fv__map *counts, fv__buf *word) {
    size_t at = 0;
    for (fv__span span; (span = fv__next_word(t, p, &at)).count;) {
        word->size = 0;
        for (size_t i = 0; i < span.count; i++) {
            char bytes[4];
            fv__buf_add(word, bytes, fv__utf8_put(bytes, p->chars[span.first + i].code));
        }
        FV_TRY(fv__buf_status(word));
        FV_TRY(fv__map_add(counts, word->data, word->size, 1));
    }
    return FV_OK;
}

static fv_status count_words(const fv_tokenizer *t, fv_texts texts, fv__map *counts) {
    fv__pieces pieces = {0};
    fv__buf word = {0};
    fv_status status = FV_OK;
    for (int64_t i = 0; i < texts.count && status == FV_OK; i++) {
        status = fv__normalise(t, &pieces, texts.text[i], 0, texts.size[i]);
        if (status == FV_OK) status = count_text(t, &pieces, counts, &word);
        if (status == FV_OK && fv_interrupted())
            status = fv__fail(FV_INTERRUPTED, "tokenizer training: stopped on request");
    }
    fv__pieces_free(&pieces);
    fv__buf_free(&word);
    return status;
}

static const fv__token_model *find_model(const char *name) {
    for (int i = 0; models[i]; i++)
        if (!strcmp(models[i]->name, name)) return models[i];
    return NULL;
}

static fv_status train(fv_tokenizer *t, fv_texts texts, const fv_tokenizer_options *options) {
    fv__map *counts = NULL;
    t->pre = t->model->pre;
    t->unspaced = t->model->unspaced;
    t->prefix_space = t->pre == FV_PRE_BYTES;
    t->normal.lower = options->lowercase;
    t->normal.clean = t->normal.cjk = t->pre == FV_PRE_BERT;
    FV_TRY(add_specials(t));
    FV_TRY(fv__map_create(&counts));
    fv_status status = count_words(t, texts, counts);
    if (status == FV_OK) status = t->model->train(t, (fv__word_counts){counts}, options);
    fv__map_free(counts);
    return status == FV_OK ? fv__tokenizer_finish(t) : status;
}

fv_status fv_tokenizer_train(fv_tokenizer **tokenizer, fv_texts texts, const fv_tokenizer_options *options) {
    fv_tokenizer_options standard;
    *tokenizer = NULL;
    if (!options) fv_options_init(fv_tokenizer_option_rows(), &standard), options = &standard;
    const fv__token_model *model = find_model(options->tokenizer);
    if (!model)
        return fv__unknown_name("tokenizer", options->tokenizer,
                                (const char *const[]){"word", "bpe", "wordpiece", NULL});
    fv_tokenizer *t = NULL;
    fv_status status = fv__tokenizer_new(&t, model);
    if (status == FV_OK) status = train(t, texts, options);
    if (status == FV_OK)
        *tokenizer = t;
    else
        fv_tokenizer_free(t);
    return status;
}

static fv_status copy_word_tokenizer(fv_tokenizer *t, const fv_tokenizer *from, const char *const *words,
                                     int64_t count) {
    int64_t next = from->size; /* behind the last, which need not be the number of tokens: ids may be skipped */
    t->pre = from->pre;
    t->unspaced = from->unspaced;
    t->prefix_space = from->prefix_space;
    t->normal = from->normal;
    for (size_t i = 0; i < fv__map_size(from->ids); i++) {
        size_t size;
        const char *token = fv__map_key(from->ids, i, &size);
        FV_TRY(fv__map_set(t->ids, token, size, fv__map_value(from->ids, i)));
    }
    for (size_t i = 0; i < from->added_count; i++) FV_TRY(fv__added_add(t, from->added[i]));
    for (int64_t i = 0; i < count; i++)
        if (fv__map_get(t->ids, words[i], strlen(words[i]), -1) < 0)
            FV_TRY(fv__map_set(t->ids, words[i], strlen(words[i]), next++));
    t->special.unk = from->special.unk;
    return fv__tokenizer_finish(t);
}

fv_status fv_tokenizer_with_words(fv_tokenizer **out, const fv_tokenizer *from, const char *const *words,
                                  int64_t count) {
    *out = NULL;
    if (from->model != &fv__token_word)
        return fv__fail(FV_USAGE, "words can only be added to a word tokenizer\n  found:   %s", from->model->name);
    fv_tokenizer *t = NULL;
    fv_status status = fv__tokenizer_new(&t, from->model);
    if (status == FV_OK) status = copy_word_tokenizer(t, from, words, count);
    if (status == FV_OK)
        *out = t;
    else
        fv_tokenizer_free(t);
    return status;
}

/* ---- decoding and looking */

fv_status fv_tokenizer_decode(const fv_tokenizer *t, char **text, const int32_t *id, int64_t count) {
    fv__buf out = {0};
    for (int64_t i = 0; i < count; i++) {
        const char *token = fv_tokenizer_token(t, id[i]);
        if (token && !t->is_special[id[i]]) t->model->decode(t, &out, token);
    }
    fv__buf_add(&out, "", 0);
    *text = NULL;
    fv_status status = fv__buf_status(&out);
    if (status == FV_OK && !(*text = fv__strdup(out.data ? out.data : ""))) status = FV_NO_RESOURCES;
    fv__buf_free(&out);
    return status;
}

void fv_text_free(char *text) { fv__free(text); }
int32_t fv_tokenizer_size(const fv_tokenizer *t) { return t->size; }
const char *fv_tokenizer_kind(const fv_tokenizer *t) { return t->model->name; }
const char *fv_tokenizer_token(const fv_tokenizer *t, int32_t id) {
    return id >= 0 && id < t->size ? t->token[id] : NULL;
}
int32_t fv_tokenizer_id(const fv_tokenizer *t, const char *token) {
    return (int32_t)fv__map_get(t->ids, token, strlen(token), -1);
}
fv_special fv_tokenizer_special(const fv_tokenizer *t) { return t->special; }

void fv_tokenizer_free(fv_tokenizer *t) {
    if (!t) return;
    fv__map_free(t->ids);
    fv__map_free(t->inner);
    fv__free(t->token);
    fv__added_free(t);
    fv__free(t->prefix);
    fv__free(t->merge);
    fv__free(t->pair);
    fv__free(t->rank);
    fv__free(t);
}
