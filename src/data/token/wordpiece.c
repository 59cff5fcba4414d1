/* wordpiece.c - words cut greedily into the longest pieces that are known; pieces inside a word carry the prefix "##".
 *
 * Schuster and Nakajima, "Japanese and Korean voice search" (ICASSP 2012), as in BERT. Trained like Hugging Face's: by
 * merging the most frequent pairs of pieces. */
#include "data/text.h"
#include "data/token/token_contract.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_SIZE = 8000, MAX_COUNTED = 256 }; /* characters of a word that training looks at */
static const char continues[] = "##";

/* ---- training: the alphabet, then merges */

typedef struct letter {
    const char *text;
    size_t size;
    int64_t count;
} letter;

static int by_count(const void *a, const void *b) {
    const letter *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return strcmp(x->text, y->text);
}

/* The symbol of the character at `at`: itself at the start of a word, with prefix inside. */
static size_t symbol_text(char out[8], const char *word, size_t size, size_t at, size_t *length) {
    size_t used = 0;
    fv__utf8_next(word + at, size - at, length, NULL);
    if (at) used = 2, memcpy(out, continues, 2);
    memcpy(out + used, word + at, *length);
    return used + *length;
}

static fv_status count_letters(fv__map *letters, fv__word_counts words) {
    char text[8];
    for (size_t w = 0; w < fv__map_size(words.map); w++) {
        size_t size, length, seen = 0;
        const char *word = fv__map_key(words.map, w, &size);
        for (size_t at = 0; at < size && seen < MAX_COUNTED; at += length, seen++) {
            size_t used = symbol_text(text, word, size, at, &length);
            FV_TRY(fv__map_add(letters, text, used, fv__map_value(words.map, w)));
        }
    }
    return FV_OK;
}

/* The most frequent characters, at most half of the vocabulary, so that writing systems with many leave room for
 * words. */
static fv_status add_letters(fv_tokenizer *t, const fv__map *letters, int64_t vocab_size) {
    size_t n = fv__map_size(letters);
    letter *list = fv__alloc_array(n, sizeof *list);
    if (!list) return FV_NO_RESOURCES;
    for (size_t i = 0; i < n; i++) {
        list[i].text = fv__map_key(letters, i, &list[i].size);
        list[i].count = fv__map_value(letters, i);
    }
    qsort(list, n, sizeof *list, by_count);
    fv_status status = FV_OK;
    int32_t id;
    for (size_t i = 0; i < n && (int64_t)i < (vocab_size + 1) / 2 && status == FV_OK; i++)
        status = fv__vocab_add(t, list[i].text, list[i].size, &id);
    fv__free(list);
    return status;
}

typedef struct job {
    int32_t *symbol;
    size_t symbols, symbol_capacity, *start, words;
    int64_t *count;
} job;

/* Words as symbols; words with a character outside the alphabet are left out. */
static fv_status make_words(job *j, const fv_tokenizer *t, fv__word_counts words) {
    char text[8];
    for (size_t w = 0; w < fv__map_size(words.map); w++) {
        size_t size, length, from = j->symbols, seen = 0;
        const char *word = fv__map_key(words.map, w, &size);
        int64_t id = 0;
        for (size_t at = 0; at < size && id >= 0 && seen < MAX_COUNTED; at += length, seen++) {
            size_t used = symbol_text(text, word, size, at, &length);
            id = fv__map_get(t->ids, text, used, -1);
            FV_TRY(FV_GROW(&j->symbol, &j->symbol_capacity, j->symbols + 1));
            j->symbol[j->symbols++] = (int32_t)id;
        }
        if (id < 0) {
            j->symbols = from;
            continue;
        }
        j->count[j->words++] = fv__map_value(words.map, w);
        j->start[j->words] = j->symbols;
    }
    return FV_OK;
}

static fv_status made(void *context, int32_t left, int32_t right, int32_t *product) {
    fv_tokenizer *t = context;
    fv__buf text = {0};
    size_t size;
    fv__buf_text(&text, fv__map_key(t->ids, (size_t)left, NULL));
    const char *tail = fv__map_key(t->ids, (size_t)right, &size);
    fv__buf_add(&text, tail + 2, size - 2); /* what stands right is inside the word: without its prefix */
    fv_status status = fv__buf_status(&text);
    if (status == FV_OK) status = fv__vocab_add(t, text.data, text.size, product);
    fv__buf_free(&text);
    return status;
}

static fv_status merge(fv_tokenizer *t, job *j, fv__word_counts words, int64_t vocab_size, int64_t min_count) {
    size_t n = fv__map_size(words.map);
    j->start = fv__alloc_array(n + 1, sizeof *j->start);
    j->count = fv__alloc_array(n, sizeof *j->count);
    if (!j->start || !j->count) return FV_NO_RESOURCES;
    FV_TRY(make_words(j, t, words));
    fv__pair_job pairs = {.symbol = j->symbol,
                          .start = j->start,
                          .count = j->count,
                          .words = j->words,
                          .t = t,
                          .vocab_size = vocab_size,
                          .min_count = min_count,
                          .made = made,
                          .context = t};
    return fv__merge_pairs(&pairs);
}

static fv_status train(fv_tokenizer *t, fv__word_counts words, const fv_tokenizer_options *options) {
    int64_t size = options->vocab_size ? options->vocab_size : DEFAULT_SIZE;
    t->max_word = options->max_word;
    t->prefix = fv__strdup(continues);
    fv__map *letters = NULL;
    job j = {0};
    fv_status status = t->prefix ? fv__map_create(&letters) : FV_NO_RESOURCES;
    if (status == FV_OK) status = count_letters(letters, words);
    if (status == FV_OK) status = add_letters(t, letters, size);
    if (status == FV_OK) status = merge(t, &j, words, size, options->min_count);
    fv__map_free(letters);
    fv__free(j.symbol);
    fv__free(j.start);
    fv__free(j.count);
    return status;
}

/* ---- files */

static fv_status load(fv_tokenizer *t, fv__json_at_file model) {
    const char *prefix;
    FV_TRY(fv__vocab_load(t, model));
    FV_TRY(fv__unk_load(t, model, true));
    FV_TRY(fv__json_need_int(model, "max_input_chars_per_word", 100, &t->max_word));
    FV_TRY(fv__json_need_text(model, "continuing_subword_prefix", continues, &prefix));
    t->prefix = fv__strdup(prefix);
    return t->prefix ? FV_OK : FV_NO_RESOURCES;
}

static void save(const fv_tokenizer *t, fv__buf *json) {
    fv__buf_text(json, ",\n    \"unk_token\": ");
    fv__json_quote(json, t->token[t->special.unk], strlen(t->token[t->special.unk]), FV_JSON_LINE);
    fv__buf_text(json, ",\n    \"continuing_subword_prefix\": ");
    fv__json_quote(json, t->prefix, strlen(t->prefix), FV_JSON_LINE);
    fv__buf_printf(json, ",\n    \"max_input_chars_per_word\": %lld", (long long)t->max_word);
}

static fv_status finish(fv_tokenizer *t) {
    size_t size, prefix = strlen(t->prefix);
    FV_TRY(fv__map_create(&t->inner));
    for (size_t i = 0; i < fv__map_size(t->ids); i++) {
        const char *token = fv__map_key(t->ids, i, &size);
        if (size > t->longest) t->longest = size;
        if (size > prefix && !memcmp(token, t->prefix, prefix))
            FV_TRY(fv__map_set(t->inner, token + prefix, size - prefix, fv__map_value(t->ids, i)));
    }
    return FV_OK;
}

/* ---- encoding */

static bool is_start(char byte) { return ((unsigned char)byte & 0xC0) != 0x80; }

/* The longest known piece at `at`: its id, and its end in *end; -1 when there is none. */
static int32_t longest_piece(const fv_tokenizer *t, const fv__buf *word, size_t at, size_t *end) {
    const fv__map *map = at ? t->inner : t->ids;
    size_t stop = word->size - at > t->longest ? at + t->longest : word->size;
    for (; stop > at; stop--) {
        if (stop < word->size && !is_start(word->data[stop])) continue;
        int64_t id = fv__map_get(map, word->data + at, stop - at, -1);
        if (id < 0) continue;
        *end = stop;
        return (int32_t)id;
    }
    return -1;
}

static fv_status encode(const fv_tokenizer *t, fv__encoder *e, const fv__char *word, size_t count, int32_t index) {
    int64_t first = e->tokens->count;
    bool known = (int64_t)count <= t->max_word;
    if (known) FV_TRY(fv__word_bytes(e, word, count));
    for (size_t at = 0, end; known && at < e->word.size; at = end) {
        int32_t id = longest_piece(t, &e->word, at, &end);
        known = id >= 0;
        if (known) FV_TRY(fv__token_emit(e->tokens, id, word[e->owner[at]].from, word[e->owner[end - 1]].to, index));
    }
    if (known) return FV_OK;
    e->tokens->count = first; /* one piece that is not known makes the whole word unknown */
    return fv__token_emit(e->tokens, t->special.unk, word[0].from, word[count - 1].to, index);
}

static void decode(const fv_tokenizer *t, fv__buf *out, const char *token) {
    size_t prefix = strlen(t->prefix);
    bool inside = prefix && !strncmp(token, t->prefix, prefix);
    if (out->size && !inside) fv__buf_add(out, " ", 1);
    fv__buf_text(out, inside ? token + prefix : token);
}

const fv__token_model fv__token_wordpiece = {.name = "wordpiece",
                                             .type = "WordPiece",
                                             .pre = FV_PRE_BERT,
                                             .train = train,
                                             .load = load,
                                             .finish = finish,
                                             .save = save,
                                             .encode = encode,
                                             .decode = decode};
