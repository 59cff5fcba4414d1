/* Finding and counting features, see features.h. */
#include "model/features.h"
#include "data/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- which tokens count */

static bool word_start(unsigned char c) {
    return c >= 0x80 || c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Two or more characters that begin like a word, or one that can be a word. Pieces of subword tokenizers all count. */
static fv__term term_of(const fv_tokenizer *tokenizer, int32_t id) {
    fv_special special = fv_tokenizer_special(tokenizer);
    if (id == special.pad || id == special.unk || id == special.cls) return FV__NO_TERM;
    const char *token = fv_tokenizer_token(tokenizer, id);
    if (!token) return FV__NO_TERM; /* a number that the tokenizer skips */
    if (strcmp(fv_tokenizer_kind(tokenizer), "word") != 0) return FV__WORD;
    if (!word_start((unsigned char)token[0])) return FV__NO_TERM;
    size_t size = strlen(token), first;
    int32_t code = fv__utf8_next(token, size, &first, NULL);
    if (fv__stands_alone(code)) return FV__CHARACTER;
    return fv__is_one_letter_word(code) || size > first ? FV__WORD : FV__NO_TERM;
}

static fv_status index_ngrams(fv_model *model) {
    FV_TRY(fv__map_create(&model->ngram_index));
    for (int64_t k = 0; k < model->sizes.ngrams; k++)
        FV_TRY(fv__map_set(model->ngram_index, (const char *)&model->ngram[2 * k], 8, model->sizes.vocabulary + k));
    return FV_OK;
}

fv_status fv__features_prepare(fv_model *model) {
    if (!model->term) {
        model->term = fv__alloc((size_t)model->sizes.vocabulary);
        if (!model->term) return FV_NO_RESOURCES;
        for (int32_t id = 0; id < model->sizes.vocabulary; id++)
            model->term[id] = (uint8_t)term_of(model->tokenizer, id);
    }
    fv__map_free(model->ngram_index);
    model->ngram_index = NULL;
    return index_ngrams(model);
}

/* ---- one text */

void fv__occurrences_free(fv__occurrences *o) {
    fv__free(o->item);
    fv__free(o->term);
    fv__free(o->bucket);
    fv__buf_free(&o->word);
    memset(o, 0, sizeof *o);
}

/* An unknown word is not skipped like a comma: it separates its neighbours, as it did not when they were learnt. */
static fv_status find_terms(fv__occurrences *out, const fv_model *model, const fv_tokens *tokens, int64_t *terms) {
    int32_t unknown = fv_tokenizer_special(model->tokenizer).unk;
    FV_TRY(FV_GROW(&out->term, &out->term_capacity, (size_t)tokens->count + 1));
    *terms = 0;
    for (int64_t i = 0; i < tokens->count; i++)
        if (tokens->id[i] == unknown || model->term[tokens->id[i]]) out->term[(*terms)++] = (int32_t)i;
    return FV_OK;
}

static int64_t gram_of(const fv_model *model, int64_t prefix, int32_t token) {
    int32_t key[2] = {(int32_t)prefix, token};
    return fv__map_get(model->ngram_index, (const char *)key, sizeof key, -1);
}

/* Is a run of `order` terms from `first` one that may be a feature? It has up to word_ngrams of them, and one more when
 * all are characters of scripts without spaces, whose words are longer than one. */
static bool may_be_gram(const fv_model *model, const fv_tokens *tokens, const int32_t *first, int64_t order) {
    if (order <= model->options.word_ngrams) return true;
    if (order == 2 || order > model->options.word_ngrams + 1) return false;
    for (int64_t i = 0; i < order; i++)
        if (model->term[tokens->id[first[i]]] != FV__CHARACTER) return false;
    return true;
}

fv_status fv__features_find(fv__occurrences *out, const fv_model *model, const fv_tokens *tokens, const char *text) {
    int64_t terms, longest = model->options.word_ngrams + 1;
    FV_TRY(find_terms(out, model, tokens, &terms));
    FV_TRY(FV_GROW(&out->item, &out->item_capacity, (size_t)(terms * longest) + 1));
    out->count = 0;
    for (int64_t i = 0; i < terms; i++) {
        int64_t feature = tokens->id[out->term[i]];
        if (!model->term[feature]) continue;
        for (int64_t n = 1;; n++) {
            int32_t last = out->term[i + n - 1];
            out->item[out->count++] = (fv__occurrence){(int32_t)feature, out->term[i], last - out->term[i] + 1};
            if (i + n == terms || !may_be_gram(model, tokens, out->term + i, n + 1)) break;
            feature = gram_of(model, feature, tokens->id[out->term[i + n]]);
            if (feature < 0) break;
        }
    }
    return fv__letter_buckets(model) ? fv__features_find_letters(out, model, tokens, text) : FV_OK;
}

/* ---- learning which runs of words there are */

/* Is it a comma, a bracket or the like, which nobody expects to count? */
static bool is_punctuation(const char *token) {
    for (size_t left = strlen(token), length; left; token += length, left -= length)
        if (!fv__is_punct(fv__utf8_next(token, left, &length, NULL))) return false;
    return true;
}

void fv__features_warn(const fv_model *model, const fv__counts *x) {
    enum { FEW = 200 };
    if (x->words < FEW || x->left_out * 2 <= x->words) return;
    fv__log(FV_LOG_WARN,
            "%s: %lld of %lld words are no features: single letters, and words that were seen too seldom\n  try:     "
            "--min-count 1, or --tokenizer bpe",
            model->kind->info.name, (long long)x->left_out, (long long)x->words);
}

typedef struct counter {
    fv__map *texts; /* key -> texts that have it */
    fv__map *last;  /* key -> last text that counted it, so that each text counts once */
    bool longer;    /* there are runs of one more that may be features */
} counter;

/* One more order: runs that extend a known run of `order - 1` words by one. */
static fv_status count_order(fv_model *model, fv_texts texts, int64_t order, counter *c, fv_tokens *tokens,
                             fv__occurrences *found) {
    for (int64_t t = 0; t < texts.count; t++) {
        FV_TRY(fv_tokenizer_encode(model->tokenizer, tokens, texts.text[t], texts.size[t]));
        int64_t terms;
        FV_TRY(find_terms(found, model, tokens, &terms));
        for (int64_t i = 0; i + order <= terms; i++) {
            int64_t prefix = tokens->id[found->term[i]];
            if (!model->term[prefix] || !may_be_gram(model, tokens, found->term + i, order)) continue;
            c->longer = c->longer || (i + order < terms && may_be_gram(model, tokens, found->term + i, order + 1));
            for (int64_t n = 1; n < order - 1 && prefix >= 0; n++)
                prefix = gram_of(model, prefix, tokens->id[found->term[i + n]]);
            int32_t next = tokens->id[found->term[i + order - 1]];
            if (prefix < 0 || !model->term[next]) continue;
            int32_t key[2] = {(int32_t)prefix, next};
            if (fv__map_get(c->last, (const char *)key, sizeof key, -1) == t) continue;
            FV_TRY(fv__map_set(c->last, (const char *)key, sizeof key, t));
            FV_TRY(fv__map_add(c->texts, (const char *)key, sizeof key, 1));
        }
    }
    return FV_OK;
}

static fv_status keep_frequent(fv_model *model, const fv__map *texts) {
    int64_t kept = 0, ngrams = model->sizes.ngrams;
    for (size_t i = 0; i < fv__map_size(texts); i++) kept += fv__map_value(texts, i) >= model->options.min_texts;
    if (fv__feature_count(model) + kept > INT32_MAX)
        return fv__fail(FV_NO_RESOURCES,
                        "too many runs of words: %lld\n  try:     a larger min-texts or a smaller word-ngrams",
                        (long long)kept);
    int32_t *wider = fv__realloc(model->ngram, (size_t)ngrams * 8, (size_t)(ngrams + kept) * 8);
    if (!wider) return FV_NO_RESOURCES;
    model->ngram = wider;
    for (size_t i = 0; i < fv__map_size(texts); i++) {
        size_t length;
        if (fv__map_value(texts, i) < model->options.min_texts) continue;
        memcpy(&model->ngram[2 * ngrams++], fv__map_key(texts, i, &length), 8);
    }
    model->sizes.ngrams = ngrams;
    return fv__features_prepare(model);
}

fv_status fv__features_learn(fv_model *model, fv_texts texts) {
    fv_tokens tokens = {0};
    fv__occurrences found = {0};
    fv_status status = fv__features_prepare(model);
    bool more = model->options.word_ngrams > 1;
    for (int64_t order = 2; status == FV_OK && more; order++) {
        counter c = {0};
        status = fv__map_create(&c.texts);
        if (status == FV_OK) status = fv__map_create(&c.last);
        if (status == FV_OK) status = count_order(model, texts, order, &c, &tokens, &found);
        if (status == FV_OK) status = keep_frequent(model, c.texts);
        more = order < model->options.word_ngrams || c.longer;
        fv__map_free(c.texts);
        fv__map_free(c.last);
    }
    fv_tokens_free(&tokens);
    fv__occurrences_free(&found);
    return status;
}

/* ---- sparse rows */

void fv__counts_free(fv__counts *x) {
    fv__free(x->start);
    fv__free(x->column);
    fv__free(x->value);
    memset(x, 0, sizeof *x);
}

static int by_feature(const void *a, const void *b) {
    int32_t x = ((const fv__occurrence *)a)->feature, y = ((const fv__occurrence *)b)->feature;
    return (x > y) - (x < y);
}

static fv_status add_row(fv__counts *x, fv__occurrences *found, bool sublinear) {
    int64_t at = x->start[x->rows];
    FV_TRY(FV_GROW(&x->column, &x->column_capacity, (size_t)(at + found->count) + 1));
    FV_TRY(FV_GROW(&x->value, &x->value_capacity, (size_t)(at + found->count) + 1));
    qsort(found->item, (size_t)found->count, sizeof *found->item, by_feature);
    for (int64_t i = 0; i < found->count;) {
        int64_t same = i;
        while (same < found->count && found->item[same].feature == found->item[i].feature) same++;
        x->column[at] = found->item[i].feature;
        x->value[at++] = sublinear ? 1 + (float)log((double)(same - i)) : (float)(same - i);
        i = same;
    }
    x->start[++x->rows] = at;
    return FV_OK;
}

static void count_left_out(fv__counts *x, const fv_model *model, const fv_tokens *tokens) {
    int32_t unknown = fv_tokenizer_special(model->tokenizer).unk;
    for (int64_t i = 0; i < tokens->count; i++) {
        int32_t id = tokens->id[i];
        bool word = id == unknown || model->term[id] || !is_punctuation(fv_tokenizer_token(model->tokenizer, id));
        x->words += word;
        x->left_out += word && !model->term[id];
    }
}

fv_status fv__features_count(fv__counts *x, const fv_model *model, fv_texts texts) {
    fv_tokens tokens = {0};
    fv__occurrences found = {0};
    memset(x, 0, sizeof *x);
    x->columns = fv__feature_count(model);
    fv_status status = FV_GROW(&x->start, &x->start_capacity, (size_t)texts.count + 1);
    for (int64_t t = 0; status == FV_OK && t < texts.count; t++) {
        status = fv_tokenizer_encode(model->tokenizer, &tokens, texts.text[t], texts.size[t]);
        if (status == FV_OK) status = fv__features_find(&found, model, &tokens, texts.text[t]);
        if (status == FV_OK) status = add_row(x, &found, model->options.sublinear);
        if (status == FV_OK) count_left_out(x, model, &tokens);
    }
    fv_tokens_free(&tokens);
    fv__occurrences_free(&found);
    if (status != FV_OK) fv__counts_free(x);
    return status;
}

fv_status fv__counts_transpose(fv__counts *out, const fv__counts *x) {
    int64_t items = x->start[x->rows];
    *out = (fv__counts){.rows = x->columns, .columns = x->rows};
    fv_status status = FV_GROW(&out->start, &out->start_capacity, (size_t)x->columns + 2);
    if (status == FV_OK) status = FV_GROW(&out->column, &out->column_capacity, (size_t)items + 1);
    if (status == FV_OK) status = FV_GROW(&out->value, &out->value_capacity, (size_t)items + 1);
    if (status != FV_OK) {
        fv__counts_free(out);
        return status;
    }
    int64_t *next = out->start + 1; /* next[f] runs from the first to the end of f, and is then start[f + 1] */
    for (int64_t i = 0; i < items; i++) next[x->column[i] + 1]++;
    for (int64_t f = 0; f < x->columns; f++) next[f + 1] += next[f];
    for (int64_t row = 0; row < x->rows; row++)
        for (int64_t i = x->start[row]; i < x->start[row + 1]; i++) {
            int64_t to = next[x->column[i]]++;
            out->column[to] = (int32_t)row;
            out->value[to] = x->value[i];
        }
    return FV_OK;
}

/* ---- weighing and scoring */

void fv__features_weigh(fv__counts *x, const float *scale) {
    for (int64_t row = 0; row < x->rows; row++) {
        double square = 0;
        for (int64_t i = x->start[row]; i < x->start[row + 1]; i++) {
            x->value[i] *= scale[x->column[i]];
            square += (double)x->value[i] * x->value[i];
        }
        float inverse = square > 0 ? (float)(1 / sqrt(square)) : 0;
        for (int64_t i = x->start[row]; i < x->start[row + 1]; i++) x->value[i] *= inverse;
    }
}

/* Smoothed: ln((1 + texts) / (1 + texts with it)) + 1, so that a word of every text still counts. */
void fv__features_scale(float *scale, const fv__counts *by_column, int64_t texts, int64_t min_texts, bool inverse) {
    for (int64_t f = 0; f < by_column->rows; f++) {
        int64_t with = by_column->start[f + 1] - by_column->start[f];
        float weight = inverse ? (float)(log((1.0 + (double)texts) / (1.0 + (double)with)) + 1) : 1;
        scale[f] = with >= min_texts ? weight : 0;
    }
}

void fv__features_score(float *output, const fv__counts *x, const float *weight, const float *bias, int32_t outputs) {
    for (int64_t row = 0; row < x->rows; row++)
        for (int32_t c = 0; c < outputs; c++) {
            const float *w = weight + c * x->columns;
            double sum = bias[c];
            for (int64_t i = x->start[row]; i < x->start[row + 1]; i++) sum += (double)x->value[i] * w[x->column[i]];
            output[row * outputs + c] = (float)sum;
        }
}

/* A weight for every feature and class: 2^30 of them are 4 GiB. */
static fv_status check_weights(const fv_model *model) {
    const int64_t most = INT64_C(1) << 30, features = fv__feature_count(model), outputs = model->sizes.outputs;
    if (features <= most / outputs) return FV_OK;
    return fv__fail(FV_NO_RESOURCES,
                    "model %s: a weight for every feature and class\n  expected at most 2^30 weights\n"
                    "  found:   %lld features, %lld classes\n  try:     --model bag, or a larger --min-texts",
                    model->kind->info.name, (long long)features, (long long)outputs);
}

fv_status fv__count_based_make(fv_model *model) {
    int64_t features = fv__feature_count(model);
    int index;
    FV_TRY(check_weights(model));
    fv_init zeros = FV_INIT(ZEROS, 0);
    FV_TRY(fv_params_add(model->params, "scale", 1, (int64_t[]){features}, zeros, FV_PARAM_FROZEN, &index));
    FV_TRY(fv_params_add(model->params, "weight", 2, (int64_t[]){model->sizes.outputs, features}, zeros, 0, &index));
    return fv_params_add(model->params, "bias", 1, (int64_t[]){model->sizes.outputs}, zeros, 0, &index);
}
