/* bpe.c - byte-level byte-pair encoding, as in GPT-2: every text has tokens, none is unknown.
 *
 * The bytes of a word are written with 256 printable characters, so that the vocabulary is readable JSON; merges are
 * applied lowest rank first. Short words take the plain loop; long ones keep a list of places for every rank, which is
 * linear in the length of the word but for a sort. */
#include "data/text.h"
#include "data/token/token_contract.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_SIZE = 8000, MAX_COUNTED = 256, SHORT = 48, NO_RANK = INT32_MAX };

/* The character that stands for a byte: itself when printable in Latin-1, else the next free one from U+0100 on. */
static bool is_printable(int byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
}

static int32_t char_of_byte(int byte) {
    if (is_printable(byte)) return byte;
    int32_t code = 256;
    for (int b = 0; b < byte; b++) code += !is_printable(b);
    return code;
}

static int byte_of_char(int32_t code) {
    if (code < 256) return is_printable(code) ? code : -1;
    for (int b = 0; b < 256; b++)
        if (!is_printable(b) && code-- == 256) return b;
    return -1;
}

/* ---- the table of merges */

static uint64_t key_of(int32_t left, int32_t right) { return ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1; }

static size_t slot_of(const fv_tokenizer *t, uint64_t key) {
    uint64_t h = key * 0x9E3779B97F4A7C15u;
    size_t i = (h ^ h >> 29) & (t->slots - 1);
    while (t->pair[i] && t->pair[i] != key) i = (i + 1) & (t->slots - 1);
    return i;
}

static inline int32_t rank_of(const fv_tokenizer *t, int32_t left, int32_t right) {
    size_t i = slot_of(t, key_of(left, right));
    return t->pair[i] ? t->rank[i] : NO_RANK;
}

static fv_status finish(fv_tokenizer *t) {
    /* a small vocabulary, or few and short texts, leave the bytes as they are: no merges, and no token that needs
     * one */
    if (!t->merges && fv__map_size(t->ids) != 256 + t->added_count)
        return fv__fail(
            FV_BAD_MODEL,
            "model.merges\n  expected one merge for every token that is longer than a byte\n  found:   none");
    for (t->slots = 16; t->slots < t->merges * 2 + 2;) t->slots *= 2;
    t->pair = fv__alloc_array(t->slots, sizeof *t->pair);
    t->rank = fv__alloc_array(t->slots, sizeof *t->rank);
    if (!t->pair || !t->rank) return FV_NO_RESOURCES;
    for (size_t m = t->merges; m-- > 0;) { /* the first of equal merges counts */
        size_t i = slot_of(t, key_of(t->merge[m].left, t->merge[m].right));
        t->pair[i] = key_of(t->merge[m].left, t->merge[m].right);
        t->rank[i] = (int32_t)m;
    }
    for (int b = 0; b < 256; b++) {
        char text[4];
        size_t size = fv__utf8_put(text, char_of_byte(b));
        t->byte_id[b] = (int32_t)fv__map_get(t->ids, text, size, t->special.unk);
        if (t->byte_id[b] < 0)
            return fv__fail(
                FV_BAD_MODEL,
                "BPE vocabulary: bytes\n  expected all 256 bytes, or an unk_token\n  found:   no token for byte 0x%02x",
                b);
    }
    return FV_OK;
}

/* ---- training */

static fv_status add_merge(fv_tokenizer *t, int32_t left, int32_t right, int32_t product) {
    FV_TRY(FV_GROW(&t->merge, &t->merge_capacity, t->merges + 1));
    t->merge[t->merges++] = (fv__merge){left, right, product};
    return FV_OK;
}

static fv_status made(void *context, int32_t left, int32_t right, int32_t *product) {
    fv_tokenizer *t = context;
    fv__buf text = {0};
    fv__buf_text(&text, fv__map_key(t->ids, (size_t)left, NULL));
    fv__buf_text(&text, fv__map_key(t->ids, (size_t)right, NULL));
    fv_status status = fv__buf_status(&text);
    if (status == FV_OK) status = fv__vocab_add(t, text.data, text.size, product);
    fv__buf_free(&text);
    return status == FV_OK ? add_merge(t, left, right, *product) : status;
}

typedef struct job {
    int32_t *symbol;
    size_t *start;
    int64_t *count;
} job;

static fv_status make_words(job *j, const int32_t *byte_id, fv__word_counts words) {
    size_t n = fv__map_size(words.map), bytes = 0, size;
    for (size_t w = 0; w < n; w++) {
        fv__map_key(words.map, w, &size);
        bytes += size < MAX_COUNTED ? size : MAX_COUNTED;
    }
    j->symbol = fv__alloc_array(bytes, sizeof *j->symbol);
    j->start = fv__alloc_array(n + 1, sizeof *j->start);
    j->count = fv__alloc_array(n, sizeof *j->count);
    if (!j->symbol || !j->start || !j->count) return FV_NO_RESOURCES;
    for (size_t w = 0, at = 0; w < n; w++) {
        const char *word = fv__map_key(words.map, w, &size);
        for (size_t i = 0; i < size && i < MAX_COUNTED; i++) j->symbol[at++] = byte_id[(unsigned char)word[i]];
        j->start[w + 1] = at;
        j->count[w] = fv__map_value(words.map, w);
    }
    return FV_OK;
}

static fv_status train(fv_tokenizer *t, fv__word_counts words, const fv_tokenizer_options *options) {
    int32_t byte_id[256];
    for (int b = 0; b < 256; b++) {
        char text[4];
        FV_TRY(fv__vocab_add(t, text, fv__utf8_put(text, char_of_byte(b)), &byte_id[b]));
    }
    job j = {0};
    fv_status status = make_words(&j, byte_id, words);
    if (status == FV_OK) {
        fv__pair_job pairs = {.symbol = j.symbol,
                              .start = j.start,
                              .count = j.count,
                              .words = fv__map_size(words.map),
                              .t = t,
                              .vocab_size = options->vocab_size ? options->vocab_size : DEFAULT_SIZE,
                              .min_count = options->min_count,
                              .made = made,
                              .context = t};
        status = fv__merge_pairs(&pairs);
    }
    fv__free(j.symbol);
    fv__free(j.start);
    fv__free(j.count);
    return status;
}

/* ---- files */

/* A merge is ["a", "b"], or in older files "a b". */
static fv_status read_merge(fv_tokenizer *t, fv__json_at_file model, const fv__json *entry, size_t rank) {
    const char *left = fv__json_text(entry), *right = NULL;
    size_t left_size = 0, right_size = 0;
    if (left && (right = strchr(left, ' '))) {
        left_size = (size_t)(right++ - left);
        right_size = strlen(right);
    } else if (!left && (left = fv__json_text(fv__json_at(entry, 0))) &&
               (right = fv__json_text(fv__json_at(entry, 1)))) {
        left_size = strlen(left);
        right_size = strlen(right);
    }
    if (!right)
        return fv__fail(model.fault,
                        "%s: model.merges[%zu]: not a merge\n  expected \"a b\" or [\"a\", \"b\"]\n  found:   %s",
                        model.where, rank, fv__json_kind_name(entry));
    int64_t a = fv__map_get(t->ids, left, left_size, -1), b = fv__map_get(t->ids, right, right_size, -1), c = -1;
    fv__buf product = {0};
    fv__buf_add(&product, left, left_size);
    fv__buf_add(&product, right, right_size);
    if (!product.failed) c = fv__map_get(t->ids, product.data, product.size, -1);
    fv__buf_free(&product);
    if (a < 0 || b < 0 || c < 0)
        return fv__fail(model.fault,
                        "%s: model.merges[%zu]: \"%.*s\" + \"%.*s\" does not resolve\n  expected both parts and their "
                        "product in model.vocab\n  found:   no %s",
                        model.where, rank, (int)left_size, left, (int)right_size, right,
                        a < 0   ? "left part"
                        : b < 0 ? "right part"
                                : "product");
    return add_merge(t, (int32_t)a, (int32_t)b, (int32_t)c);
}

static fv_status refuse(fv__json_at_file model, const char *key) {
    const fv__json *value = fv__json_get(model.object, key);
    const char *text = fv__json_text(value);
    return fv__fail(model.fault,
                    "%s: model.%s: not supported\n  expected null, false or \"\": byte-level BPE as in GPT-2\n"
                    "  found:   %s",
                    model.where, key, text ? text : fv__json_kind_name(value));
}

static fv_status check_settings(fv__json_at_file model) {
    static const char *const empty[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++)
        if (fv__json_text_size(fv__json_get(model.object, empty[i]))) return refuse(model, empty[i]);
    static const char *const off[] = {"byte_fallback", "ignore_merges"};
    for (int i = 0; i < 2; i++) {
        bool on;
        FV_TRY(fv__json_need_bool(model, off[i], false, &on));
        if (on) return refuse(model, off[i]);
    }
    return fv__json_get(model.object, "dropout") ? refuse(model, "dropout") : FV_OK;
}

static fv_status load(fv_tokenizer *t, fv__json_at_file model) {
    fv__json *merges;
    FV_TRY(check_settings(model));
    if (t->pre != FV_PRE_BYTES)
        return fv__fail(model.fault, "%s: pre_tokenizer: BPE without the ByteLevel pre-tokenizer is not supported",
                        model.where);
    FV_TRY(fv__vocab_load(t, model));
    FV_TRY(fv__unk_load(t, model, false));
    FV_TRY(fv__json_need_array(model, "merges", &merges));
    size_t n = fv__json_count(merges);
    for (size_t i = 0; i < n; i++) FV_TRY(read_merge(t, model, fv__json_at(merges, i), i));
    return FV_OK;
}

/* Written as "a b": byte-level tokens have no spaces, and every version of the other programs reads it. */
static void save(const fv_tokenizer *t, fv__buf *json) {
    fv__buf_text(json, ",\n    \"dropout\": null,\n    \"unk_token\": ");
    if (t->special.unk < 0)
        fv__buf_text(json, "null");
    else
        fv__json_quote(json, t->token[t->special.unk], strlen(t->token[t->special.unk]), FV_JSON_LINE);
    fv__buf_text(
        json,
        ",\n    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n"
        "    \"byte_fallback\": false,\n    \"ignore_merges\": false,\n    \"merges\": [");
    fv__buf line = {0};
    for (size_t m = 0; m < t->merges; m++) {
        line.size = 0;
        fv__buf_printf(&line, "%s %s", t->token[t->merge[m].left], t->token[t->merge[m].right]);
        fv__buf_text(json, m ? ",\n      " : "\n      ");
        if (line.failed)
            json->failed = true;
        else
            fv__json_quote(json, line.data, line.size, FV_JSON_LINE);
    }
    fv__buf_free(&line);
    fv__buf_text(json, "\n    ]");
}

/* ---- encoding: a linked list of symbols over the bytes of the word */

/* Merges the pair at `at`, which is live and has this rank. */
static void join(fv__encoder *e, const fv_tokenizer *t, int32_t at, int32_t rank, int32_t length) {
    int32_t gone = e->next[at], after = e->next[gone];
    e->symbol[at] = t->merge[rank].product;
    e->symbol[gone] = -1;
    e->next[at] = after;
    if (after < length) e->previous[after] = at;
}

static int32_t rank_at(const fv__encoder *e, const fv_tokenizer *t, int32_t at, int32_t length) {
    return e->next[at] < length ? rank_of(t, e->symbol[at], e->symbol[e->next[at]]) : NO_RANK;
}

static void merge_short(fv__encoder *e, const fv_tokenizer *t, int32_t length) {
    int32_t *rank = e->pair_rank;
    for (int32_t i = 0; i < length; i++) rank[i] = rank_at(e, t, i, length);
    for (;;) {
        int32_t best = 0;
        for (int32_t i = 0; i < length; i = e->next[i])
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == NO_RANK) return;
        join(e, t, best, rank[best], length);
        rank[best] = rank_at(e, t, best, length);
        if (best) rank[e->previous[best]] = rank_at(e, t, e->previous[best], length);
    }
}

/* Places waiting for a rank, in the order they came, and the heap of ranks that have any. */
typedef struct queue {
    int32_t *place;
    size_t count, capacity, done;
    bool sorted;
} queue;
typedef struct schedule {
    queue *rank;
    int32_t *heap;
    size_t heap_count, heap_capacity;
} schedule;

static fv_status heap_push(schedule *s, int32_t rank) {
    FV_TRY(FV_GROW(&s->heap, &s->heap_capacity, s->heap_count + 1));
    size_t at = s->heap_count++;
    for (; at && rank < s->heap[(at - 1) / 2]; at = (at - 1) / 2) s->heap[at] = s->heap[(at - 1) / 2];
    s->heap[at] = rank;
    return FV_OK;
}

static int32_t heap_pop(schedule *s) {
    int32_t top = s->heap[0], last = s->heap[--s->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < s->heap_count; at = child) {
        if (child + 1 < s->heap_count && s->heap[child + 1] < s->heap[child]) child++;
        if (last <= s->heap[child]) break;
        s->heap[at] = s->heap[child];
    }
    s->heap[at] = last;
    return top;
}

static fv_status wait(schedule *s, int32_t rank, int32_t place) {
    if (rank == NO_RANK) return FV_OK;
    queue *q = &s->rank[rank];
    if (q->done == q->count) {
        q->done = q->count = 0;
        q->sorted = true;
        FV_TRY(heap_push(s, rank));
    }
    if (q->count == q->capacity) FV_TRY(FV_GROW(&q->place, &q->capacity, q->count + 1));
    if (q->count > q->done && place < q->place[q->count - 1]) q->sorted = false;
    q->place[q->count++] = place;
    return FV_OK;
}

static int ascending(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Merges the places of one rank, left to right, until there are none or a lower rank has come up. */
static fv_status merge_rank(fv__encoder *e, const fv_tokenizer *t, schedule *s, int32_t rank, int32_t length) {
    queue *q = &s->rank[rank];
    if (!q->sorted) qsort(q->place + q->done, q->count - q->done, sizeof *q->place, ascending);
    q->sorted = true;
    while (q->done < q->count && !(s->heap_count && s->heap[0] < rank)) {
        int32_t at = q->place[q->done++];
        if (e->symbol[at] < 0 || rank_at(e, t, at, length) != rank) continue; /* a neighbour took it */
        join(e, t, at, rank, length);
        if (at) FV_TRY(wait(s, rank_at(e, t, e->previous[at], length), e->previous[at]));
        FV_TRY(wait(s, rank_at(e, t, at, length), at));
    }
    return q->done < q->count ? heap_push(s, rank) : FV_OK;
}

static fv_status merge_long(fv__encoder *e, const fv_tokenizer *t, int32_t length) {
    schedule s = {.rank = fv__alloc_array(t->merges, sizeof(queue))};
    fv_status status = s.rank ? FV_OK : FV_NO_RESOURCES;
    for (int32_t i = 0; i < length && status == FV_OK; i++) status = wait(&s, rank_at(e, t, i, length), i);
    while (s.heap_count && status == FV_OK) status = merge_rank(e, t, &s, heap_pop(&s), length);
    for (size_t m = 0; s.rank && m < t->merges; m++) fv__free(s.rank[m].place);
    fv__free(s.rank);
    fv__free(s.heap);
    return status;
}

static fv_status list_bytes(fv__encoder *e, const fv_tokenizer *t) {
    size_t n = e->word.size;
    FV_TRY(FV_GROW(&e->symbol, &e->symbol_capacity, n));
    FV_TRY(FV_GROW(&e->next, &e->next_capacity, n));
    FV_TRY(FV_GROW(&e->previous, &e->previous_capacity, n));
    if (n <= SHORT) FV_TRY(FV_GROW(&e->pair_rank, &e->rank_capacity, n));
    for (size_t i = 0; i < n; i++) {
        e->symbol[i] = t->byte_id[(unsigned char)e->word.data[i]];
        e->next[i] = (int32_t)i + 1;
        e->previous[i] = (int32_t)i - 1;
    }
    return FV_OK;
}

/* The range of a token leaves out the blank it begins with, unless it is nothing else. */
static fv_status emit(const fv__encoder *e, const fv__char *word, int32_t id, int32_t first, int32_t end,
                      int32_t index) {
    int32_t a = e->owner[first], b = e->owner[end - 1];
    while (a < b && fv__is_space(word[a].code)) a++;
    return fv__token_emit(e->tokens, id, word[a].from, word[b].to, index);
}

static fv_status encode(const fv_tokenizer *t, fv__encoder *e, const fv__char *word, size_t count, int32_t index) {
    FV_TRY(fv__word_bytes(e, word, count));
    if (e->word.size > INT32_MAX) return fv__fail(FV_BAD_DATA, "a word has more than 2^31 bytes");
    int32_t length = (int32_t)e->word.size;
    FV_TRY(list_bytes(e, t));
    if (length <= SHORT)
        merge_short(e, t, length);
    else
        FV_TRY(merge_long(e, t, length));
    for (int32_t i = 0; i < length; i = e->next[i]) FV_TRY(emit(e, word, e->symbol[i], i, e->next[i], index));
    return FV_OK;
}

static void decode(const fv_tokenizer *t, fv__buf *out, const char *token) {
    (void)t;
    size_t size = strlen(token), length;
    for (size_t at = 0; at < size; at += length) {
        int32_t code = fv__utf8_next(token + at, size - at, &length, NULL);
        int byte = byte_of_char(code);
        char one = (char)byte;
        if (byte >= 0)
            fv__buf_add(out, &one, 1);
        else
            fv__buf_add(out, token + at, length);
    }
}

const fv__token_model fv__token_bpe = {.name = "bpe",
                                       .type = "BPE",
                                       .pre = FV_PRE_BYTES,
                                       .train = train,
                                       .load = load,
                                       .finish = finish,
                                       .save = save,
                                       .encode = encode,
                                       .decode = decode};
