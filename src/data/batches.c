/* batches.c - which texts make the batches of an epoch, and packing them. See data.h.
 *
 * The plan of an epoch is a function of (corpus, options, epoch) alone, so a cursor of two numbers is all there is to
 * save. Memory for the largest possible batch is taken once. */
#include "base/base.h"
#include "fovea/data.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM = 0x62617463 }; /* of random numbers: "batc"; the epoch is the other half */

struct fv_batches {
    const fv_corpus *corpus;
    fv_batch_options o;
    int64_t planned;        /* epoch of the plan, -1 before the first */
    int64_t *order, *spare; /* (count) rows of this epoch */
    int64_t *first;         /* (batches + 1) places in `order` */
    int64_t *turn;          /* (batches) the order in which batches come */
    int64_t batches;
    int32_t *cu_seqlens, *id, *label, *cu_bags, *bag;
    double *number;
    int64_t *row;
};

const fv_option *fv_batch_option_rows(void) {
    static const fv_option rows[] = {
        {"batch-size", FV_OPT_INT, offsetof(fv_batch_options, batch_size), "64", 1, 1e6, "N", "texts in a batch"},
        {"max-tokens", FV_OPT_INT, offsetof(fv_batch_options, max_tokens), "0", 0, 1e9, "N",
         "most tokens in a batch; 0 is no limit"},
        {"bucket", FV_OPT_INT, offsetof(fv_batch_options, bucket), "1", 1, 1e6, "N",
         "so many batches are sorted by length together; 1 does not sort"},
        {"shuffle", FV_OPT_BOOL, offsetof(fv_batch_options, shuffle), "true", 0, 0, NULL,
         "another order in every epoch"},
        {"drop-last", FV_OPT_BOOL, offsetof(fv_batch_options, drop_last), "false", 0, 0, NULL,
         "leave out a last batch that is not full"},
        {"seed", FV_OPT_INT, offsetof(fv_batch_options, seed), "1", 0, 9e15, "N", "another seed is another order"},
        {0}};
    return rows;
}

static int64_t length_of(const fv_corpus *c, int64_t row) { return c->start[row + 1] - c->start[row]; }

/* ---- the plan of an epoch */

/* Stable, by length, within order[first..end): merging runs of doubling width. */
static void sort_lengths(fv_batches *b, int64_t first, int64_t end) {
    const fv_corpus *c = b->corpus;
    for (int64_t width = 1; width < end - first; width *= 2) {
        for (int64_t lo = first; lo < end; lo += 2 * width) {
            int64_t mid = lo + width < end ? lo + width : end, hi = mid + width < end ? mid + width : end, i = lo,
                    k = mid;
            for (int64_t at = lo; at < hi; at++) {
                bool left = k == hi || (i < mid && length_of(c, b->order[i]) <= length_of(c, b->order[k]));
                b->spare[at] = left ? b->order[i++] : b->order[k++];
            }
        }
        memcpy(b->order + first, b->spare + first, (size_t)(end - first) * sizeof *b->order);
    }
}

/* Cuts `order` into batches: so many texts, or fewer when the tokens would be too many. */
static void cut(fv_batches *b) {
    int64_t count = b->corpus->count, tokens = 0, rows = 0;
    b->batches = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t length = length_of(b->corpus, b->order[i]);
        if (rows == b->o.batch_size || (rows && b->o.max_tokens && tokens + length > b->o.max_tokens)) {
            b->batches++;
            tokens = rows = 0;
        }
        if (!rows) b->first[b->batches] = i;
        rows++;
        tokens += length;
    }
    bool drop = b->o.drop_last && b->batches && rows < b->o.batch_size;
    b->first[b->batches + 1] = count;
    b->batches += !drop && rows;
}

static void plan(fv_batches *b, int64_t epoch) {
    if (b->planned == epoch) return;
    int64_t count = b->corpus->count, pool = b->o.bucket * b->o.batch_size;
    uint64_t stream = (uint64_t)epoch << 32 | STREAM;
    for (int64_t i = 0; i < count; i++) b->order[i] = i;
    if (b->o.shuffle) fv__random_shuffle((uint64_t)b->o.seed, stream, b->order, count);
    for (int64_t i = 0; b->o.bucket > 1 && i < count; i += pool)
        sort_lengths(b, i, i + pool < count ? i + pool : count);
    cut(b);
    for (int64_t i = 0; i < b->batches; i++) b->turn[i] = i;
    /* sorted batches come in no order of length; unsorted ones are in random order already */
    if (b->o.shuffle && b->o.bucket > 1) fv__random_shuffle((uint64_t)b->o.seed, stream + 1, b->turn, b->batches);
    b->planned = epoch;
}

/* ---- packing */

static int32_t pack_row(fv_batches *b, int64_t row, int32_t at) {
    const fv_corpus *c = b->corpus;
    int64_t from = c->start[row], length = length_of(c, row);
    memcpy(b->id + at, c->id + from, (size_t)length * sizeof *b->id);
    for (int64_t i = 0; c->form && i < length; i++) {
        int64_t form = c->form[from + i], start = c->bag_start[form], size = c->bag_start[form + 1] - start;
        int32_t used = b->cu_bags[at + i];
        memcpy(b->bag + used, c->bag + start, (size_t)size * sizeof *b->bag);
        b->cu_bags[at + i + 1] = used + (int32_t)size;
    }
    return (int32_t)length;
}

static void pack(fv_batches *b, fv_batch *batch, int64_t number) {
    const fv_corpus *c = b->corpus;
    int64_t from = b->first[number], rows = b->first[number + 1] - from;
    *batch = (fv_batch){.rows = (int32_t)rows,
                        .cu_seqlens = b->cu_seqlens,
                        .id = b->id,
                        .row = b->row,
                        .label = c->label ? b->label : NULL,
                        .number = c->number ? b->number : NULL,
                        .cu_bags = c->form ? b->cu_bags : NULL,
                        .bag = c->form ? b->bag : NULL};
    for (int64_t i = 0; i < rows; i++) {
        int64_t row = b->order[from + i];
        int32_t length = pack_row(b, row, batch->tokens);
        b->row[i] = row;
        if (c->label) b->label[i] = c->label[row];
        if (c->number) b->number[i] = c->number[row];
        batch->tokens += length;
        b->cu_seqlens[i + 1] = batch->tokens;
        if (length > batch->longest) batch->longest = length;
    }
}

fv_status fv_batches_next(fv_batches *b, fv_batch *batch, fv_cursor *cursor) {
    if (cursor->epoch < 0 || cursor->epoch >= (int64_t)1 << 31)
        return fv__fail(FV_USAGE, "batches: epoch\n  expected 0 or more, below 2^31\n  found:   %lld",
                        (long long)cursor->epoch);
    plan(b, cursor->epoch);
    if (cursor->position < 0 || cursor->position >= b->batches)
        return fv__fail(FV_USAGE,
                        "batches: position in epoch %lld\n  expected 0 to %lld\n  found:   %lld\n  try:     the data "
                        "and batch-size of the "
                        "run that saved this position",
                        (long long)cursor->epoch, (long long)b->batches - 1, (long long)cursor->position);
    pack(b, batch, b->turn[cursor->position]);
    batch->last = ++cursor->position == b->batches;
    if (batch->last) *cursor = (fv_cursor){cursor->epoch + 1, 0};
    return FV_OK;
}

int64_t fv_batches_count(fv_batches *b, int64_t epoch) {
    plan(b, epoch);
    return b->batches;
}

/* ---- creation: how large can a batch be? */

static int descending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* The sum of the `most` largest values; values are sorted. */
static int64_t largest_sum(int64_t *value, int64_t count, int64_t most) {
    int64_t sum = 0;
    qsort(value, (size_t)count, sizeof *value, descending);
    for (int64_t i = 0; i < count && i < most; i++) sum += value[i];
    return sum;
}

static fv_status measure(const fv_batches *b, int64_t *tokens, int64_t *bags) {
    const fv_corpus *c = b->corpus;
    int64_t *value = fv__alloc_array((size_t)c->count, sizeof *value), longest = 0;
    if (!value) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < c->count; i++) {
        value[i] = length_of(c, i);
        if (value[i] > longest) longest = value[i];
    }
    *tokens = largest_sum(value, c->count, b->o.batch_size);
    if (b->o.max_tokens && *tokens > b->o.max_tokens) *tokens = longest > b->o.max_tokens ? longest : b->o.max_tokens;
    *bags = 0;
    if (c->form) {
        for (int64_t i = 0; i < c->count; i++) {
            value[i] = 0;
            for (int64_t k = c->start[i]; k < c->start[i + 1]; k++)
                value[i] += c->bag_start[c->form[k] + 1] - c->bag_start[c->form[k]];
        }
        *bags = largest_sum(value, c->count, b->o.batch_size);
    }
    fv__free(value);
    if (*tokens <= INT32_MAX && *bags <= INT32_MAX) return FV_OK;
    return fv__fail(FV_USAGE,
                    "batch-size %lld: a batch could be too large\n  expected less than 2^31 tokens and n-grams\n  "
                    "found:   %lld and %lld\n"
                    "  try:     a smaller --batch-size",
                    (long long)b->o.batch_size, (long long)*tokens, (long long)*bags);
}

static fv_status allocate(fv_batches *b) {
    const fv_corpus *c = b->corpus;
    size_t n = (size_t)c->count, rows = (size_t)(b->o.batch_size < c->count ? b->o.batch_size : c->count);
    int64_t tokens, bags;
    FV_TRY(measure(b, &tokens, &bags));
    b->order = fv__alloc_array(n, sizeof *b->order);
    b->spare = fv__alloc_array(n, sizeof *b->spare);
    b->first = fv__alloc_array(n + 2, sizeof *b->first);
    b->turn = fv__alloc_array(n + 1, sizeof *b->turn);
    b->row = fv__alloc_array(rows, sizeof *b->row);
    b->label = fv__alloc_array(rows, sizeof *b->label);
    b->number = fv__alloc_array(rows, sizeof *b->number);
    b->cu_seqlens = fv__alloc_array(rows + 1, sizeof *b->cu_seqlens);
    b->id = fv__alloc_array((size_t)tokens, sizeof *b->id);
    b->cu_bags = fv__alloc_array((size_t)tokens + 1, sizeof *b->cu_bags);
    b->bag = fv__alloc_array((size_t)bags, sizeof *b->bag);
    bool all = b->order && b->spare && b->first && b->turn && b->row && b->label && b->number && b->cu_seqlens &&
               b->id && b->cu_bags && b->bag;
    return all ? FV_OK : FV_NO_RESOURCES;
}

fv_status fv_batches_create(fv_batches **batches, const fv_corpus *corpus, const fv_batch_options *options) {
    fv_batches *b = fv__alloc(sizeof *b);
    *batches = NULL;
    if (!b) return FV_NO_RESOURCES;
    fv_options_init(fv_batch_option_rows(), &b->o);
    if (options) b->o = *options;
    b->corpus = corpus;
    b->planned = -1;
    fv_status status = FV_OK;
    if (corpus->count < 1)
        status = fv__fail(FV_BAD_DATA, "batches: texts\n  expected at least one\n  found:   none");
    else if (b->o.batch_size < 1 || b->o.bucket < 1 || b->o.max_tokens < 0 || b->o.bucket > INT64_MAX / b->o.batch_size)
        status = fv__fail(FV_USAGE,
                          "batches: batch-size, bucket and max-tokens\n  expected at least 1, 1 and 0\n  found:   "
                          "%lld, %lld and %lld",
                          (long long)b->o.batch_size, (long long)b->o.bucket, (long long)b->o.max_tokens);
    if (status == FV_OK) status = allocate(b);
    if (status == FV_OK)
        *batches = b;
    else
        fv_batches_free(b);
    return status;
}

void fv_batches_free(fv_batches *b) {
    if (!b) return;
    fv__free(b->order);
    fv__free(b->spare);
    fv__free(b->first);
    fv__free(b->turn);
    fv__free(b->row);
    fv__free(b->label);
    fv__free(b->number);
    fv__free(b->cu_seqlens);
    fv__free(b->id);
    fv__free(b->cu_bags);
    fv__free(b->bag);
    fv__free(b);
}
