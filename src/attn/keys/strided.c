/* Strided attention: the keys near a query, and every stride-th of all others. Child, Gray, Radford, Sutskever,
 * Generating Long Sequences with Sparse Transformers, 2019, arXiv 1904.10509, section 4.2, both sets in one softmax.
 *
 *   query at position p sees key j:   |p - j| < stride   or   p - j is a multiple of stride      causal hides j > p
 *
 *   stride=3, causal       keys  0 1 2 3 4 5 6 7 8
 *   query 8 sees                     x     x x x x
 *
 * The pattern is static. Of p keys before it a query keeps stride + p / stride. What is computed are tiles of 32
 * queries (64 in the backward) and 64 keys, skipped where no distance of a pair fits: about 96 / stride of those far
 * away stay, so strides below 128 save little. */
#include "attn/engine/tile/tile.h"
#include "attn/keys/keys.h"
#include "attn/mech/exact.h"

typedef struct strided_params {
    int64_t stride;
} strided_params;

static const fv_option params[] = {
    {"stride", FV_OPT_INT, offsetof(strided_params, stride), "128", 1, 1e12, NULL,
     "keys seen before the query, itself among them, and the step between the others"},
    {0},
};

/* ---- the pattern: distances p - j from `low` to `high`, all of them occur */

typedef struct distances {
    int64_t low, high, stride;
} distances;

static distances distances_of(const fv__keys_view *view, const fv__query_block *q, int64_t j0, int64_t j1) {
    const int64_t offset = q->sequence->q_offset;
    return (distances){q->i0 + offset - (j1 - 1), q->i1 - 1 + offset - j0,
                       ((const strided_params *)view->params)->stride};
}

/* a modulo m, not negative. */
static int64_t modulo(int64_t a, int64_t m) { return (a % m + m) % m; }

static fv_block_kind kind(const fv__keys_view *view, const fv__query_block *q, int64_t j0, int64_t j1) {
    const distances d = distances_of(view, q, j0, j1);
    if (d.stride == 1 || (d.low >= -d.stride && d.high <= d.stride)) return FV_BLOCK_FULL;
    const bool near = d.low < d.stride && d.high > -d.stride, multiple = modulo(d.high, d.stride) <= d.high - d.low;
    return near || multiple ? FV_BLOCK_PARTIAL : FV_BLOCK_EMPTY;
}

/* Bits [first, end) of a word, of which any part may lie outside. */
static uint64_t range_of_bits(int64_t first, int64_t end) {
    first = first < 0 ? 0 : first, end = end > 64 ? 64 : end;
    if (first >= end) return 0;
    return ~UINT64_C(0) >> (64 - (end - first)) << first;
}

static void bits(const fv__keys_view *view, const fv__query_block *q, int64_t j0, uint64_t *words) {
    const int64_t stride = ((const strided_params *)view->params)->stride;
    for (int64_t i = q->i0; i < q->i1; i++) {
        const int64_t p = i + q->sequence->q_offset - j0; /* counted from the first key of the word */
        uint64_t word = range_of_bits(p - stride + 1, p + stride);
        for (int64_t c = modulo(p, stride); c < 64; c += stride) word |= UINT64_C(1) << c;
        words[i - q->i0] = word;
    }
}

static int64_t next(const fv__keys_view *view, const fv__query_block *q, int64_t j) {
    const int64_t stride = ((const strided_params *)view->params)->stride, k_len = q->sequence->k_len;
    const int64_t first = q->i0 + q->sequence->q_offset, last = q->i1 - 1 + q->sequence->q_offset;
    if (j > first - stride && j < last + stride) return j;
    const int64_t past = modulo(j - first, stride); /* multiples of the queries: first, first + 1, ..., last */
    if (past <= last - first) return j;
    int64_t found = j + stride - past;
    if (j <= first - stride && first - stride + 1 < found) found = first - stride + 1;
    return found < k_len ? found : k_len;
}

/* Keys of [start, end) at a multiple of stride from p. */
static int64_t multiples(int64_t start, int64_t end, int64_t p, int64_t stride) {
    const int64_t first = start + modulo(p - start, stride);
    return first < end ? (end - 1 - first) / stride + 1 : 0;
}

static double count(const fv_attention_plan *plan, const void *of, const fv__sequence *sequence, int64_t i,
                    int64_t start, int64_t end) {
    const int64_t stride = ((const strided_params *)of)->stride, p = i + sequence->q_offset;
    const int64_t low = p - stride + 1, high = p + stride; /* the near ones */
    const int64_t a = low < start ? start : low < end ? low : end, b = high < a ? a : high < end ? high : end;
    (void)plan;
    return (double)(multiples(start, a, p, stride) + (b - a) + multiples(b, end, p, stride));
}

const fv__keys fv__keys_strided = {.name = "strided", .kind = kind, .bits = bits, .next = next, .count = count};

/* ---- the mechanism: softmax over these keys */

static fv_status setup(fv_attention_plan *plan) {
    fv__tile_setup *s = fv__tile_setup_of(plan);
    s->keys = &fv__keys_strided, s->keys_params = plan->params;
    return FV_OK;
}

static bool keeps(const fv__row *r, int64_t j, void *context) {
    const int64_t stride = ((const strided_params *)r->run->plan->params)->stride;
    const int64_t distance = r->position > j ? r->position - j : j - r->position;
    (void)context;
    return distance < stride || distance % stride == 0;
}

static void reference(const fv__run *run) { fv__keys_reference(run, keeps, NULL); }

const fv__mechanism fv__mech_strided = {
    .info = {.name = "strided",
             .summary = "softmax over near keys and every stride-th of the others",
             .citation = "Child et al. 2019, arXiv 1904.10509",
             .cost = "O(n m d 96/s) time, O(n d) memory",
             .needs = FV_EXACT_NEEDS,
             .takes = FV_EXACT_TAKES,
             .can = FV_TILE_CAN,
             .params = params,
             .examples = {"strided:stride=5", "strided:stride=1", "strided:stride=13", "strided:stride=150"}},
    .params_size = sizeof(strided_params),
    .engine = &fv__tile,
    .setup = setup,
    .reference = reference,
};
