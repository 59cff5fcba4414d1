/* corpus.c - texts as token ids, with the bags of character n-grams of every different word. See data.h.
 *
 * Texts are encoded by all threads, some hundreds at a time, and put one after the other in their own order: the corpus
 * is the same for any number of threads. */
#include "data/ngram.h"
#include "data/text.h"
#include "data/token/token_contract.h"

#include <string.h>

/* Characters of a word that n-grams are made of. A run of a million letters is no word, and each of its tokens would
 * carry the n-grams of all of it. */
enum { LONGEST_WORD = 256 };
enum { WAVE = 512, PIECE = 8 }; /* texts that are encoded together, and by one thread without looking up */

/* One text of a wave. */
typedef struct encoding {
    fv_tokens tokens;
    fv_status status;
    char *message; /* of the thread on which it failed */
} encoding;

typedef struct builder {
    const fv_tokenizer *t;
    fv_corpus_options options;
    fv_corpus *corpus;
    fv__encoder *encoder; /* (workers) */
    int workers;
    encoding *wave; /* (WAVE) */
    fv_texts texts; /* of the wave */
    int64_t *start, *bag_start;
    int32_t *id, *form, *bag;
    size_t ids, id_capacity, form_capacity, bags, bag_capacity, forms, bag_start_capacity;
    fv__map *form_of; /* word in the tokenizer's case -> form */
    fv__buf word;
} builder;

/* ---- forms: the different words, each with its bag */

typedef int64_t ngrams_of(int32_t *bucket, int64_t room, const char *word, size_t size, const fv_ngram_options *how);

static fv_status add_form(builder *b, ngrams_of *ngrams) {
    int64_t need = ngrams(NULL, 0, b->word.data, b->word.size, &b->options.ngrams);
    FV_TRY(FV_GROW(&b->bag, &b->bag_capacity, b->bags + (size_t)need));
    ngrams(b->bag + b->bags, need, b->word.data, b->word.size, &b->options.ngrams);
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

/* A word that stands alone has a form for what it begins: itself and the characters behind it. */
static fv_status form_of(builder *b, const char *text, size_t size, int32_t from, int32_t to, int32_t *form) {
    *form = 0;
    if (from == to) return FV_OK;
    size_t run = b->t->unspaced ? fv__unspaced_run(text + from, size - (size_t)from, &b->options.ngrams) : 0;
    put_word(b, text + from, run ? run : (size_t)(to - from));
    FV_TRY(fv__buf_status(&b->word));
    int64_t known = fv__map_get(b->form_of, b->word.data, b->word.size, -1);
    if (known < 0) {
        known = (int64_t)b->forms;
        if (known >= INT32_MAX) return fv__fail(FV_NO_RESOURCES, "more than 2^31 different words");
        FV_TRY(fv__map_set(b->form_of, b->word.data, b->word.size, known));
        FV_TRY(add_form(b, run ? fv__ngrams_unspaced : fv_ngrams));
    }
    *form = (int32_t)known;
    return FV_OK;
}

/* All tokens of a word have its form, also those that max_length cuts off from it. */
static fv_status add_forms(builder *b, const fv_tokens *tk, const char *text, size_t size, int64_t kept, int32_t *out) {
    for (int64_t i = 0, end; i < kept; i = end) {
        int32_t form;
        for (end = i + 1; end < tk->count && tk->word[end] == tk->word[i]; end++) {}
        FV_TRY(form_of(b, text, size, tk->start[i], tk->end[end - 1], &form));
        for (int64_t k = i; k < end && k < kept; k++) out[k] = form;
    }
    return FV_OK;
}

/* ---- texts */

static fv_status add_text(builder *b, fv_tokens *tokens, const char *text, size_t size) {
    bool bags = b->options.ngrams.ngram_bits > 0;
    int64_t cls = b->options.add_cls, kept = tokens->count;
    if (kept > b->options.max_length - cls) kept = b->options.max_length - cls, b->corpus->cut++;
    if (!kept && !cls) {
        tokens->count = 0;
        FV_TRY(fv__token_emit(tokens, b->t->special.unk < 0 ? 0 : b->t->special.unk, 0, 0, 0));
        kept = 1;
    }
    size_t total = b->ids + (size_t)(kept + cls);
    FV_TRY(FV_GROW(&b->id, &b->id_capacity, total));
    if (cls) b->id[b->ids] = b->t->special.cls;
    if (kept) memcpy(b->id + b->ids + cls, tokens->id, (size_t)kept * sizeof *b->id);
    if (bags) {
        FV_TRY(FV_GROW(&b->form, &b->form_capacity, total));
        if (cls) b->form[b->ids] = 0;
        FV_TRY(add_forms(b, tokens, text, size, kept, b->form + b->ids + cls));
    }
    b->ids = total;
    return FV_OK;
}

static void encode_piece(void *context, int64_t piece, int worker) {
    builder *b = context;
    for (int64_t i = piece * PIECE; i < (piece + 1) * PIECE && i < b->texts.count; i++) {
        encoding *e = &b->wave[i];
        e->status = fv__encode(b->t, &b->encoder[worker], &e->tokens, b->texts.text[i], b->texts.size[i]);
        if (e->status != FV_OK) e->message = fv__strdup(fv_message());
    }
}

static fv_status add_wave(builder *b, int64_t first) {
    fv__parallel_for((b->texts.count + PIECE - 1) / PIECE, encode_piece, b);
    for (int64_t i = 0; i < b->texts.count; i++) {
        encoding *e = &b->wave[i];
        if (e->status != FV_OK) return fv__fail(e->status, "%s", e->message ? e->message : "out of memory");
        FV_TRY(add_text(b, &e->tokens, b->texts.text[i], b->texts.size[i]));
        b->start[first + i + 1] = (int64_t)b->ids;
    }
    return FV_OK;
}

static fv_status add_texts(builder *b, fv_texts all) {
    b->workers = fv_threads();
    b->encoder = fv__alloc_array((size_t)b->workers, sizeof *b->encoder);
    b->wave = fv__alloc_array(WAVE, sizeof *b->wave);
    if (!b->encoder || !b->wave) return FV_NO_RESOURCES;
    for (int64_t first = 0; first < all.count; first += WAVE) {
        int64_t count = all.count - first < WAVE ? all.count - first : WAVE;
        b->texts = (fv_texts){count, all.text + first, all.size + first};
        FV_TRY(add_wave(b, first));
        if (fv_interrupted()) return fv__fail(FV_INTERRUPTED, "encoding texts: stopped on request");
    }
    return FV_OK;
}

static void free_working_memory(builder *b) {
    for (int i = 0; b->encoder && i < b->workers; i++) fv__encoder_free(&b->encoder[i]);
    for (int i = 0; b->wave && i < WAVE; i++) {
        fv_tokens_free(&b->wave[i].tokens);
        fv__free(b->wave[i].message);
    }
    fv__free(b->encoder);
    fv__free(b->wave);
    fv__map_free(b->form_of);
    fv__buf_free(&b->word);
}

static fv_status check(const builder *b) {
    if (b->options.max_length < 1 || (b->options.add_cls && b->options.max_length < 2))
        return fv__fail(FV_USAGE, "max-length\n  expected at least 1, or 2 with [CLS]\n  found:   %lld",
                        (long long)b->options.max_length);
    if (b->options.add_cls && b->t->special.cls < 0)
        return fv__fail(FV_USAGE,
                        "tokenizer: [CLS] was to be put in front of each text\n  expected a tokenizer with that "
                        "token\n  found:   none");
    const fv_ngram_options *n = &b->options.ngrams;
    if (n->ngram_bits && (n->ngram_bits < 0 || n->ngram_bits > 24 || n->ngram_min < 1 || n->ngram_max < n->ngram_min))
        return fv__fail(FV_USAGE,
                        "n-grams: sizes\n  expected 1 <= ngram-min <= ngram-max, ngram-bits from 0 to 24\n"
                        "  found:   %lld to %lld characters, %lld bits",
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
    if (data->number) {
        double *number = fv__alloc_array((size_t)n, sizeof *number);
        if (!number) return FV_NO_RESOURCES;
        if (n) memcpy(number, data->number, (size_t)n * sizeof *number);
        c->number = number;
    }
    FV_TRY(add_texts(b, data->texts));
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
    free_working_memory(&b);
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
    drop(c->number);
    fv__free(c);
}
