/* pairs.c - the training of BPE and WordPiece: merge the most frequent pair, update the counts, repeat.
 *
 * Sennrich, Haddow, Birch, "Neural machine translation of rare words with subword units" (ACL 2016). Every pair keeps
 * its count and the words it was seen in; a heap with lazy updates gives the next one, so a merge costs as much as the
 * words it changes. */
#include "data/token/token_contract.h"

#include <string.h>

typedef struct pair {
    int32_t left, right;
    int64_t count;
    uint32_t *word; /* where it was seen; a word may be listed more than once, or no longer have it */
    size_t words, capacity;
} pair;

typedef struct item {
    int64_t count;
    uint32_t pair;
} item;

typedef struct trainer {
    const fv__pair_job *job;
    int32_t *symbol;
    size_t *length; /* (words) symbols left of each word */
    pair *pairs;
    size_t pair_count, pair_capacity;
    uint32_t *slot; /* open addressing: index of the pair + 1 */
    size_t slots;
    item *heap;
    size_t heap_count, heap_capacity;
} trainer;

/* ---- the table of pairs */

static uint64_t mix(int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

static uint32_t *slot_of(const trainer *tr, int32_t left, int32_t right) {
    for (size_t i = mix(left, right) & (tr->slots - 1);; i = (i + 1) & (tr->slots - 1)) {
        uint32_t at = tr->slot[i];
        if (!at || (tr->pairs[at - 1].left == left && tr->pairs[at - 1].right == right)) return &tr->slot[i];
    }
}

static fv_status grow_slots(trainer *tr) {
    size_t slots = tr->slots ? tr->slots * 2 : 1024;
    uint32_t *bigger = fv__alloc_array(slots, sizeof *bigger);
    if (!bigger) return FV_NO_RESOURCES;
    fv__free(tr->slot);
    tr->slot = bigger;
    tr->slots = slots;
    for (size_t i = 0; i < tr->pair_count; i++) *slot_of(tr, tr->pairs[i].left, tr->pairs[i].right) = (uint32_t)i + 1;
    return FV_OK;
}

static fv_status pair_of(trainer *tr, int32_t left, int32_t right, size_t *index) {
    if ((tr->pair_count + 1) * 2 > tr->slots) FV_TRY(grow_slots(tr));
    uint32_t *slot = slot_of(tr, left, right);
    if (!*slot) {
        FV_TRY(FV_GROW(&tr->pairs, &tr->pair_capacity, tr->pair_count + 1));
        tr->pairs[tr->pair_count] = (pair){.left = left, .right = right};
        *slot = (uint32_t)++tr->pair_count;
    }
    *index = *slot - 1;
    return FV_OK;
}

/* ---- the heap: highest count first, then the bytes of the symbols */

static bool before(const trainer *tr, item a, item b) {
    if (a.count != b.count) return a.count > b.count;
    const pair *x = &tr->pairs[a.pair], *y = &tr->pairs[b.pair];
    const fv__map *ids = tr->job->t->ids;
    int order = strcmp(fv__map_key(ids, (size_t)x->left, NULL), fv__map_key(ids, (size_t)y->left, NULL));
    if (!order) order = strcmp(fv__map_key(ids, (size_t)x->right, NULL), fv__map_key(ids, (size_t)y->right, NULL));
    return order < 0;
}

static fv_status push(trainer *tr, size_t index) {
    FV_TRY(FV_GROW(&tr->heap, &tr->heap_capacity, tr->heap_count + 1));
    item new = {tr->pairs[index].count, (uint32_t)index};
    size_t at = tr->heap_count++;
    for (; at && before(tr, new, tr->heap[(at - 1) / 2]); at = (at - 1) / 2) tr->heap[at] = tr->heap[(at - 1) / 2];
    tr->heap[at] = new;
    return FV_OK;
}

static item pop(trainer *tr) {
    item top = tr->heap[0], last = tr->heap[--tr->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < tr->heap_count; at = child) {
        if (child + 1 < tr->heap_count && before(tr, tr->heap[child + 1], tr->heap[child])) child++;
        if (!before(tr, tr->heap[child], last)) break;
        tr->heap[at] = tr->heap[child];
    }
    tr->heap[at] = last;
    return top;
}

/* ---- counting */

/* Adds (or takes away) all pairs of a word. New occurrences of `fresh` (-1: of any symbol) note the word. */
static fv_status count_word(trainer *tr, size_t word, int sign, int32_t fresh) {
    const int32_t *symbol = tr->symbol + tr->job->start[word];
    for (size_t i = 0; i + 1 < tr->length[word]; i++) {
        size_t index;
        FV_TRY(pair_of(tr, symbol[i], symbol[i + 1], &index));
        pair *p = &tr->pairs[index];
        p->count += sign * tr->job->count[word];
        if (sign < 0 || (fresh >= 0 && symbol[i] != fresh && symbol[i + 1] != fresh)) continue;
        if (p->words && p->word[p->words - 1] == word) continue;
        FV_TRY(FV_GROW(&p->word, &p->capacity, p->words + 1));
        p->word[p->words++] = (uint32_t)word;
    }
    return FV_OK;
}

static void replace(trainer *tr, size_t word, int32_t left, int32_t right, int32_t product) {
    int32_t *symbol = tr->symbol + tr->job->start[word];
    size_t kept = 0, length = tr->length[word];
    for (size_t i = 0; i < length; i++) {
        bool hit = i + 1 < length && symbol[i] == left && symbol[i + 1] == right;
        symbol[kept++] = hit ? product : symbol[i];
        i += hit;
    }
    tr->length[word] = kept;
}

/* Pushes the pairs that a merge made; all others only lost, which the heap finds out when it gives them. */
static fv_status push_fresh(trainer *tr, size_t first_new, int32_t product, const uint32_t *word, size_t words) {
    for (size_t i = first_new; i < tr->pair_count; i++) FV_TRY(push(tr, i));
    for (size_t w = 0; w < words; w++) { /* the product may be a symbol that was there already */
        const int32_t *symbol = tr->symbol + tr->job->start[word[w]];
        for (size_t i = 0; i + 1 < tr->length[word[w]]; i++) {
            if (symbol[i] != product && symbol[i + 1] != product) continue;
            size_t index = *slot_of(tr, symbol[i], symbol[i + 1]) - 1;
            if (index < first_new) FV_TRY(push(tr, index));
        }
    }
    return FV_OK;
}

static fv_status merge(trainer *tr, size_t index) {
    pair done = tr->pairs[index];
    size_t first_new = tr->pair_count;
    int32_t product;
    FV_TRY(tr->job->made(tr->job->context, done.left, done.right, &product));
    tr->pairs[index].word = NULL; /* `done` owns the list now; its words lose the pair */
    tr->pairs[index].words = tr->pairs[index].capacity = 0;
    fv_status status = FV_OK;
    for (size_t w = 0; w < done.words && status == FV_OK; w++) {
        status = count_word(tr, done.word[w], -1, product);
        if (status != FV_OK) break;
        replace(tr, done.word[w], done.left, done.right, product);
        status = count_word(tr, done.word[w], 1, product);
    }
    if (status == FV_OK) status = push_fresh(tr, first_new, product, done.word, done.words);
    fv__free(done.word);
    return status;
}

static fv_status start(trainer *tr) {
    const fv__pair_job *job = tr->job;
    size_t symbols = job->start[job->words];
    tr->symbol = fv__alloc_array(symbols, sizeof *tr->symbol);
    tr->length = fv__alloc_array(job->words, sizeof *tr->length);
    if (!tr->symbol || !tr->length) return FV_NO_RESOURCES;
    if (symbols) memcpy(tr->symbol, job->symbol, symbols * sizeof *tr->symbol);
    for (size_t w = 0; w < job->words; w++) {
        tr->length[w] = job->start[w + 1] - job->start[w];
        FV_TRY(count_word(tr, w, 1, -1));
    }
    for (size_t i = 0; i < tr->pair_count; i++) FV_TRY(push(tr, i));
    return FV_OK;
}

static fv_status run(trainer *tr) {
    FV_TRY(start(tr));
    while (tr->heap_count && (int64_t)fv__map_size(tr->job->t->ids) < tr->job->vocab_size) {
        item top = pop(tr);
        int64_t count = tr->pairs[top.pair].count;
        if (count > 0 && count < top.count) FV_TRY(push(tr, top.pair));
        if (count != top.count || count <= 0) continue;
        if (count < tr->job->min_count) break;
        if (fv_interrupted()) return fv__fail(FV_INTERRUPTED, "tokenizer training: stopped on request");
        FV_TRY(merge(tr, top.pair));
    }
    return FV_OK;
}

fv_status fv__merge_pairs(const fv__pair_job *job) {
    trainer tr = {.job = job};
    fv_status status = run(&tr);
    for (size_t i = 0; i < tr.pair_count; i++) fv__free(tr.pairs[i].word);
    fv__free(tr.pairs);
    fv__free(tr.slot);
    fv__free(tr.heap);
    fv__free(tr.symbol);
    fv__free(tr.length);
    return status;
}
