/* vectors.c - word vectors from texts: words, counts, positive pointwise mutual information, singular vectors. */
#include "data/vectors/vectors.h"
#include "data/text.h"
#include "data/token/token_contract.h"

#include <math.h>
#include <string.h>

const fv_option *fv_vectors_option_rows(void) {
    static const fv_option rows[] = {
        {"vector-dim", FV_OPT_INT, offsetof(fv_vectors_options, dim), "128", 1, 4096, "N", "numbers of a vector"},
        {"vector-rank", FV_OPT_INT, offsetof(fv_vectors_options, rank), "192", 1, 8192, "N",
         "rank of the decomposition, at least the dim"},
        {"vector-min-count", FV_OPT_INT, offsetof(fv_vectors_options, min_count), "4", 1, 1e9, "N",
         "leave out words seen less often"},
        {"window", FV_OPT_INT, offsetof(fv_vectors_options, window), "8", 1, 1000, "N",
         "words to each side that count as near"},
        {"passes", FV_OPT_INT, offsetof(fv_vectors_options, passes), "2", 0, 100, "N",
         "iterations of the decomposition"},
        {"context-power", FV_OPT_FLOAT, offsetof(fv_vectors_options, context_power), "0.75", 0, 1, "P",
         "exponent of the context counts"},
        {"vector-lowercase", FV_OPT_BOOL, offsetof(fv_vectors_options, lowercase), "true", 0, 0, NULL,
         "make no difference between A and a"},
        {"vector-seed", FV_OPT_INT, offsetof(fv_vectors_options, seed), "1", 0, 9e15, "N",
         "seed of the random subspace"},
        {0}};
    return rows;
}

/* ---- texts as one row of word numbers */

typedef struct sequence {
    int32_t *id;
    size_t length, capacity;
} sequence;

static fv_status add_gap(sequence *r, int64_t window) {
    FV_TRY(FV_GROW(&r->id, &r->capacity, r->length + (size_t)window));
    for (int64_t i = 0; i < window; i++) r->id[r->length++] = -1;
    return FV_OK;
}

static fv_status add_text(sequence *r, const fv_tokens *tokens, int32_t specials) {
    FV_TRY(FV_GROW(&r->id, &r->capacity, r->length + (size_t)tokens->count));
    for (int64_t i = 0; i < tokens->count; i++) {
        int32_t id = tokens->id[i] - specials;
        r->id[r->length++] = id < 0 ? -1 : id;
    }
    if (r->length >= INT32_MAX) return fv__fail(FV_NO_RESOURCES, "word vectors: more than 2^31 words of text");
    return FV_OK;
}

static fv_status number_words(sequence *r, const fv_tokenizer *t, fv_texts texts, int64_t window) {
    fv__encoder e = {0};
    fv_tokens tokens = {0};
    fv_status status = add_gap(r, window);
    for (int64_t i = 0; i < texts.count && status == FV_OK; i++) {
        status = fv__encode(t, &e, &tokens, texts.text[i], texts.size[i]);
        if (status == FV_OK) status = add_text(r, &tokens, (int32_t)t->added_count);
        if (status == FV_OK) status = add_gap(r, window);
        if (status == FV_OK && fv_interrupted()) status = fv__fail(FV_INTERRUPTED, "word vectors: stopped on request");
    }
    fv__encoder_free(&e);
    fv_tokens_free(&tokens);
    return status;
}

/* ---- positive pointwise mutual information: log(n(w,c) S / (n(w) n(c)^p)), S = sum of n(c)^p */

typedef struct biases {
    float *plain, *powered;
} biases;

static fv_status make_biases(biases *b, const fv__sparse *counts, double power) {
    b->plain = fv__alloc_array((size_t)counts->size, sizeof *b->plain);
    b->powered = fv__alloc_array((size_t)counts->size, sizeof *b->powered);
    if (!b->plain || !b->powered) return FV_NO_RESOURCES;
    double total = 0;
    for (int64_t i = 0; i < counts->size; i++)
        if (counts->sum[i] > 0) total += pow(counts->sum[i], power);
    for (int64_t i = 0; i < counts->size; i++) {
        if (counts->sum[i] <= 0) continue; /* no neighbours: an empty row */
        b->plain[i] = (float)-log(counts->sum[i]);
        b->powered[i] = (float)(log(total) - power * log(counts->sum[i]));
    }
    return FV_OK;
}

/* The first `dim` columns, each times the root of its singular value; rows of length 1. */
static void take_rows(float *data, const float *u, const double *sigma, int64_t count, int64_t dim, int64_t rank) {
    for (int64_t r = 0; r < count; r++) {
        double norm = 0;
        float *out = data + r * dim;
        for (int64_t j = 0; j < dim && j < rank; j++) {
            out[j] = (float)(u[r * rank + j] * sqrt(sigma[j]));
            norm += (double)out[j] * out[j];
        }
        for (int64_t j = 0; j < dim && norm > 0; j++) out[j] = (float)(out[j] / sqrt(norm));
    }
}

static fv_status decompose(float *data, const fv__sparse *counts, const fv_vectors_options *o) {
    biases b = {0};
    int64_t rank = o->rank < o->dim ? o->dim : o->rank;
    if (rank > counts->size) rank = counts->size;
    float *u = fv__alloc_array((size_t)counts->size, (size_t)rank * sizeof *u);
    double *sigma = fv__alloc_array((size_t)rank, sizeof *sigma);
    fv_status status = u && sigma ? make_biases(&b, counts, o->context_power) : FV_NO_RESOURCES;
    fv__svd_job job = {{counts, b.plain, b.powered}, {counts, b.powered, b.plain}, rank, o->passes, (uint64_t)o->seed};
    if (status == FV_OK) status = fv__svd(&job, u, sigma);
    if (status == FV_OK) take_rows(data, u, sigma, counts->size, o->dim, rank);
    fv__free(u);
    fv__free(sigma);
    fv__free(b.plain);
    fv__free(b.powered);
    return status;
}

static fv_status train(fv_vectors **vectors, const fv_tokenizer *t, fv_texts texts, const fv_vectors_options *o) {
    int64_t specials = (int64_t)t->added_count, words = t->size - specials;
    if (words < 2)
        return fv__fail(FV_BAD_DATA,
                        "word vectors: words that occur at least %lld times\n  expected at least 2\n  found:   %lld\n  "
                        "try:     more text, or a "
                        "smaller --vector-min-count",
                        (long long)o->min_count, (long long)words);
    sequence r = {0};
    fv__sparse counts = {0};
    float *data = fv__alloc_array((size_t)words, (size_t)o->dim * sizeof *data);
    fv_status status = data ? number_words(&r, t, texts, o->window) : FV_NO_RESOURCES;
    if (status == FV_OK)
        fv__log(FV_LOG_INFO, "word vectors: %lld words, %zu places: counting neighbours", (long long)words, r.length);
    if (status == FV_OK) status = fv__cooccur(&counts, r.id, (int64_t)r.length, words, o->window);
    fv__free(r.id);
    if (status == FV_OK) fv__log(FV_LOG_INFO, "word vectors: decomposing");
    if (status == FV_OK) status = decompose(data, &counts, o);
    fv__sparse_free(&counts);
    if (status == FV_OK) return fv__vectors_build(vectors, data, words, o->dim, t->token + specials);
    fv__free(data);
    return status;
}

fv_status fv_vectors_train(fv_vectors **vectors, fv_texts texts, const fv_vectors_options *options) {
    fv_vectors_options o;
    fv_tokenizer *t = NULL;
    fv_tokenizer_options words;
    *vectors = NULL;
    fv_options_init(fv_vectors_option_rows(), &o);
    fv_options_init(fv_tokenizer_option_rows(), &words);
    if (options) o = *options;
    if (o.dim < 1 || o.window < 1 || o.window > 1000 || o.passes < 0 || o.min_count < 1 || o.dim > 4096 ||
        o.rank > 8192)
        return fv__fail(
            FV_USAGE,
            "word vectors: an option is out of range\n  expected dim 1 to 4096, rank to 8192, window 1 to 1000\n"
            "  found:   dim %lld, rank %lld, window %lld, passes %lld, min-count %lld",
            (long long)o.dim, (long long)o.rank, (long long)o.window, (long long)o.passes, (long long)o.min_count);
    words.tokenizer = "word";
    words.lowercase = o.lowercase;
    words.min_count = o.min_count;
    FV_TRY(fv_tokenizer_train(&t, texts, &words));
    fv_status status = train(vectors, t, texts, &o);
    fv_tokenizer_free(t);
    return status;
}

/* ---- the object */

static fv_status copy_words(fv_vectors *v, const char *const *word) {
    for (int64_t i = 0; i < v->count; i++) {
        size_t size = strlen(word[i]), before = fv__map_size(v->store->row);
        FV_TRY(fv__map_set(v->store->row, word[i], size, i));
        if (fv__map_size(v->store->row) == before)
            return fv__fail(FV_BAD_DATA, "word vectors: \"%s\"\n  expected once\n  found:   twice", word[i]);
        v->store->word[i] = fv__map_key(v->store->row, (size_t)i, NULL);
    }
    return FV_OK;
}

fv_status fv__vectors_build(fv_vectors **vectors, float *data, int64_t count, int64_t dim, const char *const *word) {
    fv_vectors *v = fv__alloc(sizeof *v);
    fv__vectors *s = fv__alloc(sizeof *s);
    *vectors = NULL;
    if (!v || !s) {
        fv__free(v);
        fv__free(s);
        fv__free(data);
        return FV_NO_RESOURCES;
    }
    v->store = s;
    v->count = count;
    v->dim = dim;
    v->data = s->data = data;
    s->word = fv__alloc_array((size_t)count, sizeof *s->word);
    v->word = s->word;
    fv_status status = s->word ? fv__map_create(&s->row) : FV_NO_RESOURCES;
    if (status == FV_OK) status = copy_words(v, word);
    if (status == FV_OK)
        *vectors = v;
    else
        fv_vectors_free(v);
    return status;
}

void fv_vectors_free(fv_vectors *v) {
    if (!v) return;
    fv__map_free(v->store->row);
    fv__free(v->store->word);
    fv__free(v->store->data);
    fv__free(v->store);
    fv__free(v);
}

int64_t fv_vectors_find(const fv_vectors *v, const char *word) {
    return fv__map_get(v->store->row, word, strlen(word), -1);
}

static double cosine_of(const fv_vectors *v, int64_t a, int64_t b) {
    double dot = 0, x = 0, y = 0;
    for (int64_t j = 0; j < v->dim; j++) {
        double p = v->data[a * v->dim + j], q = v->data[b * v->dim + j];
        dot += p * q;
        x += p * p;
        y += q * q;
    }
    return x > 0 && y > 0 ? dot / sqrt(x * y) : 0;
}

int64_t fv_vectors_nearest(const fv_vectors *v, int64_t of, int64_t *near, float *cosine, int64_t room) {
    int64_t count = 0;
    if (of < 0 || of >= v->count) return 0;
    for (int64_t r = 0; r < v->count; r++) {
        if (r == of) continue;
        float c = (float)cosine_of(v, of, r);
        if (count == room && (!room || c <= cosine[room - 1])) continue;
        int64_t at = count < room ? count++ : room - 1;
        for (; at > 0 && cosine[at - 1] < c; at--) {
            near[at] = near[at - 1];
            cosine[at] = cosine[at - 1];
        }
        near[at] = r;
        cosine[at] = c;
    }
    return count;
}

/* A token that keeps its capitals falls back to the lower-case word. */
static int64_t find_token(const fv_vectors *v, const char *token, fv__buf *lower) {
    int64_t row = fv_vectors_find(v, token);
    if (row >= 0) return row;
    lower->size = 0;
    fv__text_lower(lower, token, strlen(token));
    return lower->size ? fv__map_get(v->store->row, lower->data, lower->size, -1) : -1;
}

int64_t fv_vectors_fill(const fv_vectors *v, const fv_tokenizer *tokenizer, float *table) {
    int64_t found = 0;
    fv__buf lower = {0};
    for (int32_t id = 0; id < fv_tokenizer_size(tokenizer); id++) {
        const char *token = fv_tokenizer_token(tokenizer, id);
        int64_t row = token ? find_token(v, token, &lower) : -1;
        if (row < 0) continue;
        memcpy(table + id * v->dim, v->data + row * v->dim, (size_t)v->dim * sizeof *table);
        found++;
    }
    fv__buf_free(&lower);
    return found;
}
