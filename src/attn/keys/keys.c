/* Several patterns of keys as one. See keys.h. */
#include "attn/keys/keys.h"

static const fv__keys *const patterns[] = {
#define KEYS(name) &fv__keys_##name,
#include "attn/keys/list.def"
#undef KEYS
};

size_t fv__keys_patterns(void) { return sizeof patterns / sizeof *patterns; }

const fv__keys *fv__keys_pattern(size_t index) { return patterns[index]; }

static size_t bytes_of(const fv_attention_plan *plan, const fv__keys *pattern, const void *params) {
    return pattern->scratch ? (pattern->scratch(plan, params) + 63) & ~(size_t)63 : 0;
}

size_t fv__keys_scratch(const fv_attention_plan *plan, const fv__keys *own, const void *params) {
    size_t bytes = plan->options.blocks ? bytes_of(plan, &fv__keys_block_mask, NULL) : 0;
    if (own) bytes += bytes_of(plan, own, params);
    return bytes;
}

static void add(fv__keys_set *set, const fv__run *run, const fv__keys *pattern, const void *params, char **memory) {
    set->view[set->count++] = (fv__keys_view){pattern, run, params, *memory};
    set->skips |= pattern->next != NULL;
    if (pattern->scratch) *memory += bytes_of(run->plan, pattern, params);
}

fv__keys_set fv__keys_of(const fv__run *run, const fv__keys *own, const void *params, void *memory) {
    fv__keys_set set = {.count = 0};
    char *at = memory;
    if (run->plan->options.blocks) add(&set, run, &fv__keys_block_mask, NULL, &at);
    if (own) add(&set, run, own, params, &at);
    return set;
}

/* ---- before anything is asked */

typedef struct prepare_job {
    const fv__keys_view *view;
    int64_t sequence, head, heads; /* the first ones; heads of a sequence */
} prepare_job;

static void prepare_task(void *context, int64_t index, int worker) {
    const prepare_job *job = context;
    const fv__sequence sequence = fv__attn_sequence(job->view->run, job->sequence + index / job->heads);
    (void)worker;
    job->view->pattern->prepare(job->view, &sequence, job->head + index % job->heads);
}

void fv__keys_prepare(const fv__keys_set *set, int64_t sequence, int64_t head) {
    for (int n = 0; n < set->count; n++) {
        const fv_attention_plan *plan = set->view[n].run->plan;
        const prepare_job job = {&set->view[n], sequence < 0 ? 0 : sequence, head < 0 ? 0 : head,
                                 head < 0 ? plan->heads : 1};
        if (set->view[n].pattern->prepare)
            fv__parallel_for((sequence < 0 ? plan->sequences : 1) * job.heads, prepare_task, (void *)&job);
    }
}

/* ---- questions */

fv_block_kind fv__keys_kind(const fv__keys_set *set, const fv__query_block *q, int64_t j0, int64_t j1) {
    fv_block_kind all = FV_BLOCK_FULL;
    for (int n = 0; n < set->count; n++) {
        const fv_block_kind kind = set->view[n].pattern->kind(&set->view[n], q, j0, j1);
        if (kind == FV_BLOCK_EMPTY) return kind;
        if (kind == FV_BLOCK_PARTIAL) all = kind;
    }
    return all;
}

void fv__keys_bits(const fv__keys_set *set, const fv__query_block *q, int64_t j0, uint64_t *words) {
    uint64_t more[FV_KEYS_TILE];
    set->view[0].pattern->bits(&set->view[0], q, j0, words);
    for (int n = 1; n < set->count; n++)
        for (int64_t i = q->i0; i < q->i1; i += FV_KEYS_TILE) { /* as many rows as `more` has */
            fv__query_block some = *q;
            some.i0 = i, some.i1 = q->i1 - i < FV_KEYS_TILE ? q->i1 : i + FV_KEYS_TILE;
            set->view[n].pattern->bits(&set->view[n], &some, j0, more);
            for (int64_t r = i; r < some.i1; r++) words[r - q->i0] &= more[r - i];
        }
}

int64_t fv__keys_next(const fv__keys_set *set, const fv__query_block *q, int64_t j) {
    for (int n = 0; n < set->count; n++)
        if (set->view[n].pattern->next) j = set->view[n].pattern->next(&set->view[n], q, j);
    return j;
}

/* A 32 x 32 square of bits transposed: halves, quarters, ... of it change places (Warren, Hacker's Delight, 7-3). */
static void transpose_bits(uint32_t *x) {
    uint32_t mask = 0x0000ffff;
    for (int side = 16; side; side >>= 1, mask ^= mask << side)
        for (int i = 0; i < 32; i = (i + side + 1) & ~side) {
            const uint32_t t = (x[i] >> side ^ x[i + side]) & mask;
            x[i] ^= t << side, x[i + side] ^= t;
        }
}

void fv__keys_columns(const fv__keys_set *set, const fv__query_block *q, int64_t j0, uint64_t *words) {
    const int64_t k_len = q->sequence->k_len, end = j0 + FV_KEYS_TILE < k_len ? j0 + FV_KEYS_TILE : k_len;
    const fv_block_kind kind = fv__keys_kind(set, q, j0, end);
    if (kind != FV_BLOCK_PARTIAL) {
        for (int c = 0; c < FV_KEYS_TILE; c++) words[c] = kind == FV_BLOCK_FULL ? ~UINT64_C(0) : 0;
        return;
    }
    uint64_t rows[FV_KEYS_QUERIES] = {0};
    uint32_t half[2][FV_KEYS_QUERIES];
    fv__keys_bits(set, q, j0, rows);
    for (int i = 0; i < FV_KEYS_QUERIES; i++) half[0][i] = (uint32_t)rows[i], half[1][i] = (uint32_t)(rows[i] >> 32);
    transpose_bits(half[0]), transpose_bits(half[1]);
    for (int c = 0; c < FV_KEYS_TILE; c++) words[c] = half[c / 32][c % 32];
}

double fv__keys_count(const fv_attention_plan *plan, const fv__keys *own, const void *params,
                      const fv__sequence *sequence, int64_t i, int64_t start, int64_t end) {
    double count = (double)(end - start);
    if (plan->options.blocks) count = fv__keys_block_mask.count(plan, NULL, sequence, i, start, end);
    if (!own) return count;
    const double of_own = own->count(plan, params, sequence, i, start, end);
    return of_own < count ? of_own : count;
}
