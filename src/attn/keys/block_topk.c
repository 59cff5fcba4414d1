/* Block top-k attention: a block of queries sees the k blocks of keys that answer it best. After Lu et al., MoBA:
 * Mixture of Block Attention, 2025, arXiv 2502.13189, with the choice made for `block` queries together as in Yuan et
 * al., Native Sparse Attention, 2025, arXiv 2502.11089, so that whole tiles are left out.
 *
 *   Queries and keys of a sequence are cut into blocks of `block`, and every head chooses for itself. For a block I of
 *   queries and a block J of keys:
 *     no query of I sees J (causal, window, length)    left out
 *     some see some of it, the edge of the band        kept: the diagonal of a causal mask
 *     all see all of it                                a candidate; its score is  sign(scale) q_I . mean of its k
 *   The k candidates with the largest scores are kept, of equal ones the first. A score that is no number is larger
 *   than all others: what made it so shows in the output.
 *
 * No query learns of what it may not see. A mean is taken of keys that every query of I sees. q_I is the mean of the
 * block's queries only while they may look at each other's future; with causal, or any limit to the right, it is the
 * first of them. Bias, masks and block masks, which hide keys one by one, are refused: a mean would read what they
 * hide. The last rows alone are another block of queries than with the rows before them: there is no decoding.
 *
 * Scores are made in double, in one order, from the numbers as they are stored: f32 and f64, every instruction set and
 * the plain reference choose alike. The choice is not differentiated: backward makes it again from the same q and k,
 * and passes through the pairs that were kept. */
#include "attn/engine/tile/tile.h"
#include "attn/keys/keys.h"
#include "attn/mech/exact.h"

#include <math.h>

typedef struct block_topk_params {
    int64_t k, block;
} block_topk_params;

static const fv_option params[] = {
    {"k", FV_OPT_INT, offsetof(block_topk_params, k), "8", 1, 1e12, NULL,
     "blocks of keys each block of queries keeps, besides those at the edge of what it may see"},
    {"block", FV_OPT_INT, offsetof(block_topk_params, block), "64", 1, 1e12, NULL, "queries and keys of a block"},
    {0},
};

/* ---- memory: lists of kept blocks, and what the scores are made of */

enum { EDGES = 4 }; /* blocks that an edge runs through, two at either end */

static int64_t blocks_of(int64_t rows, int64_t block) { return rows / block + (rows % block != 0); }

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* How many candidates a list can have: k, or all blocks if there are fewer. */
static int64_t most_kept(const fv_attention_plan *plan, const block_topk_params *p) {
    return smaller(p->k, blocks_of(plan->k_len, p->block));
}

/* Blocks of all sequences; the lengths of packed ones are not known to a plan. */
static int64_t all_blocks(const fv_attention_plan *plan, int64_t rows, int64_t block) {
    return plan->packed ? rows / block + plan->sequences : fv__attn_times(blocks_of(rows, block), plan->sequences);
}

/* Number of a sequence's first block among all: those of packed sequences that came before fit below it. */
static int64_t first_block(const fv_attention_plan *plan, const fv__sequence *s, int64_t start, int64_t length,
                           int64_t block) {
    return plan->packed ? start / block + s->number : s->number * blocks_of(length, block);
}

typedef struct layout {
    size_t lists, sums, scores, queries; /* bytes */
} layout;

static layout layout_of(const fv_attention_plan *plan, const block_topk_params *p) {
    const int64_t lists = fv__attn_times(all_blocks(plan, plan->q_len, p->block), plan->heads),
                  keys = fv__attn_times(all_blocks(plan, plan->k_len, p->block), plan->heads),
                  planes = fv__attn_times(plan->sequences, plan->heads);
    return (layout){fv__attn_lines(fv__attn_times(lists, 1 + most_kept(plan, p) + EDGES), sizeof(int64_t)),
                    fv__attn_lines(fv__attn_times(keys, plan->d_qk), sizeof(double)),
                    fv__attn_lines(keys, sizeof(double)),
                    fv__attn_lines(fv__attn_times(planes, plan->d_qk), sizeof(double))};
}

static size_t scratch(const fv_attention_plan *plan, const void *of) {
    const layout l = layout_of(plan, of);
    return l.lists + l.sums + l.scores + l.queries;
}

/* The lists of a head of a sequence. That of block I of queries: how many, then the kept blocks of keys, rising. */
typedef struct lists {
    int64_t *first, step, block;
} lists;

static lists lists_of(const fv__keys_view *view, const fv__sequence *s, int64_t head) {
    const fv_attention_plan *plan = view->run->plan;
    const block_topk_params *p = view->params;
    const int64_t slot = 1 + most_kept(plan, p) + EDGES, step = plan->heads * slot;
    const int64_t number = first_block(plan, s, s->q_start, plan->q_len, p->block);
    return (lists){(int64_t *)view->memory + number * step + head * slot, step, p->block};
}

/* ---- the choice */

typedef struct choice {
    const fv__run *run;
    const fv__sequence *sequence;
    int64_t head, kv, k, block, blocks; /* blocks: of the sequence's keys */
    double *sum, *score, *query;        /* (blocks, D), blocks, D */
} choice;

static choice choice_of(const fv__keys_view *view, const fv__sequence *s, int64_t head) {
    const fv_attention_plan *plan = view->run->plan;
    const block_topk_params *p = view->params;
    const layout l = layout_of(plan, p);
    char *at = (char *)view->memory + l.lists;
    choice c = {.run = view->run, .sequence = s, .head = head, .block = p->block};
    c.kv = head * plan->kv_heads / plan->heads, c.k = most_kept(plan, p), c.blocks = blocks_of(s->k_len, p->block);
    /* the blocks of a head side by side */
    const int64_t own = first_block(plan, s, s->k_start, plan->k_len, p->block) * plan->heads + head * c.blocks;
    c.sum = (double *)at + own * plan->d_qk;
    c.score = (double *)(at + l.sums) + own;
    c.query = (double *)(at + l.sums + l.scores) + (s->number * plan->heads + head) * plan->d_qk;
    return c;
}

static void add_row(double *sum, const fv_tensor *t, int64_t b, int64_t h, int64_t l) {
    const int64_t at = b * t->stride[0] + h * t->stride[1] + l * t->stride[2];
    for (int64_t d = 0; d < t->dim[3]; d++)
        sum[d] += t->dtype == FV_F64 ? ((const double *)t->data)[at + d] : (double)((const float *)t->data)[at + d];
}

static void add_rows(double *sum, const fv_tensor *t, int64_t b, int64_t h, int64_t first, int64_t end) {
    for (int64_t d = 0; d < t->dim[3]; d++) sum[d] = 0;
    for (int64_t l = first; l < end; l++) add_row(sum, t, b, h, l);
}

static void sum_keys(const choice *c) {
    const fv__sequence *s = c->sequence;
    const fv_tensor *k = &c->run->x->t[FV_K];
    for (int64_t J = 0; J < c->blocks; J++)
        add_rows(c->sum + J * k->dim[3], k, s->batch, c->kv, s->k_start + J * c->block,
                 s->k_start + smaller((J + 1) * c->block, s->k_len));
}

static double score_of(const choice *c, int64_t J) {
    const int64_t d_qk = c->run->plan->d_qk, first = J * c->block;
    double sum = 0;
    for (int64_t d = 0; d < d_qk; d++) sum += c->query[d] * c->sum[J * d_qk + d];
    sum /= (double)(smaller(first + c->block, c->sequence->k_len) - first);
    if (c->run->plan->options.scale < 0) sum = -sum;
    return isnan(sum) ? INFINITY : sum;
}

/* Is block a before block b, by falling score, then by rising number? */
static bool before(const double *score, int64_t a, int64_t b) {
    return score[a] > score[b] || (score[a] == score[b] && a < b);
}

/* A heap whose root is the last of its blocks in that order. */
static void sift_down(const double *score, int64_t *heap, int64_t count, int64_t at) {
    for (int64_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && before(score, heap[child], heap[child + 1])) child++;
        if (!before(score, heap[at], heap[child])) return;
        const int64_t t = heap[at];
        heap[at] = heap[child], heap[child] = t;
    }
}

/* The last of the best k of the candidates [first, end), of which there are more than k. */
static int64_t last_of_best(const double *score, int64_t first, int64_t end, int64_t k, int64_t *heap) {
    for (int64_t n = 0; n < k; n++) heap[n] = first + n;
    for (int64_t n = k / 2 - 1; n >= 0; n--) sift_down(score, heap, k, n);
    for (int64_t J = first + k; J < end; J++)
        if (before(score, J, heap[0])) heap[0] = J, sift_down(score, heap, k, 0);
    return heap[0];
}

/* What the queries of a block see: some of them [any, any_end), all of them the candidates [first, end). Blocks. */
typedef struct reach {
    int64_t any, any_end, first, end;
} reach;

static reach reach_of(const fv_attention_plan *plan, const fv__sequence *s, int64_t block, int64_t i0, int64_t i1) {
    int64_t start[2], end[2];
    fv__attn_visible(plan, s, i0, &start[0], &end[0]); /* both bounds grow with the query */
    fv__attn_visible(plan, s, i1 - 1, &start[1], &end[1]);
    reach r = {start[0] / block, blocks_of(end[1], block), blocks_of(start[1], block), end[0] / block};
    if (end[0] == s->k_len) r.end = blocks_of(s->k_len, block); /* the last block may be short */
    if (start[0] >= end[1]) r.any_end = r.any;
    if (r.end < r.first) r.end = r.first;
    r.first = smaller(r.first, r.any_end), r.end = smaller(r.end, r.any_end);
    return r;
}

static void choose(const choice *c, int64_t I, int64_t *list) {
    const fv_attention_plan *plan = c->run->plan;
    const fv__sequence *s = c->sequence;
    const int64_t i0 = I * c->block, i1 = smaller(i0 + c->block, s->q_len);
    const reach r = reach_of(plan, s, c->block, i0, i1);
    int64_t *kept = list + 1, n = 0, last = -1;
    if (r.end - r.first > c->k) {
        add_rows(c->query, &c->run->x->t[FV_Q], s->batch, c->head, s->q_start + i0,
                 s->q_start + (plan->window_right >= 0 ? i0 + 1 : i1));
        for (int64_t J = r.first; J < r.end; J++) c->score[J] = score_of(c, J);
        last = last_of_best(c->score, r.first, r.end, c->k, kept);
    }
    for (int64_t J = r.any; J < r.any_end; J++) {
        const bool candidate = J >= r.first && J < r.end;
        if (!candidate || last < 0 || J == last || before(c->score, J, last)) kept[n++] = J;
    }
    list[0] = n;
}

static void prepare(const fv__keys_view *view, const fv__sequence *sequence, int64_t head) {
    const choice c = choice_of(view, sequence, head);
    const lists to = lists_of(view, sequence, head);
    const int64_t blocks = blocks_of(sequence->q_len, c.block);
    sum_keys(&c);
    for (int64_t I = 0; I < blocks; I++) choose(&c, I, to.first + I * to.step);
}

/* ---- questions */

/* How many of the list are below block J. */
static int64_t below(const int64_t *list, int64_t J) {
    int64_t low = 0, high = list[0];
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (list[1 + middle] < J)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static fv_block_kind kind(const fv__keys_view *view, const fv__query_block *q, int64_t j0, int64_t j1) {
    const lists l = lists_of(view, q->sequence, q->head);
    const int64_t first = j0 / l.block, end = (j1 - 1) / l.block + 1;
    bool empty = true, full = true;
    for (int64_t I = q->i0 / l.block; I * l.block < q->i1; I++) {
        const int64_t *list = l.first + I * l.step;
        const int64_t kept = below(list, end) - below(list, first);
        empty = empty && kept == 0, full = full && kept == end - first;
        if (!empty && !full) return FV_BLOCK_PARTIAL;
    }
    return empty ? FV_BLOCK_EMPTY : FV_BLOCK_FULL;
}

/* Bits of the keys from j0 to the end of their tile that a list keeps. */
static uint64_t word_of(const int64_t *list, int64_t block, int64_t j0) {
    const int64_t end = (j0 / FV_KEYS_TILE + 1) * FV_KEYS_TILE;
    uint64_t word = 0;
    for (int64_t n = below(list, j0 / block); n < list[0] && list[1 + n] * block < end; n++) {
        const int64_t first = list[1 + n] * block - j0, a = first < 0 ? 0 : first, b = smaller(first + block, end - j0);
        word |= ~UINT64_C(0) >> (64 - (b - a)) << a;
    }
    return word;
}

static void bits(const fv__keys_view *view, const fv__query_block *q, int64_t j0, uint64_t *words) {
    const lists l = lists_of(view, q->sequence, q->head);
    for (int64_t I = q->i0 / l.block; I * l.block < q->i1; I++) {
        const uint64_t word = word_of(l.first + I * l.step, l.block, j0);
        const int64_t first = I * l.block < q->i0 ? q->i0 : I * l.block, end = smaller((I + 1) * l.block, q->i1);
        for (int64_t i = first; i < end; i++) words[i - q->i0] = word;
    }
}

static int64_t next(const fv__keys_view *view, const fv__query_block *q, int64_t j) {
    const lists l = lists_of(view, q->sequence, q->head);
    int64_t found = q->sequence->k_len;
    for (int64_t I = q->i0 / l.block; I * l.block < q->i1 && found > j; I++) {
        const int64_t *list = l.first + I * l.step, n = below(list, j / l.block);
        if (n < list[0] && list[1 + n] * l.block < found) found = list[1 + n] * l.block;
    }
    return found > j ? found : j;
}

static double count(const fv_attention_plan *plan, const void *of, const fv__sequence *sequence, int64_t i,
                    int64_t start, int64_t end) {
    const block_topk_params *p = of;
    const int64_t i0 = i / p->block * p->block;
    const reach r = reach_of(plan, sequence, p->block, i0, smaller(i0 + p->block, sequence->q_len));
    const int64_t candidates = r.end - r.first;
    if (candidates <= p->k) return (double)(end - start);
    return (double)(end - start - (candidates - p->k) * p->block);
}

const fv__keys fv__keys_block_topk = {.name = "block-topk",
                                      .scratch = scratch,
                                      .prepare = prepare,
                                      .kind = kind,
                                      .bits = bits,
                                      .next = next,
                                      .count = count};

/* ---- the mechanism: softmax over these keys */

static fv_status setup(fv_attention_plan *plan) {
    fv__tile_setup *s = fv__tile_setup_of(plan);
    s->keys = &fv__keys_block_topk, s->keys_params = plan->params;
    return FV_OK;
}

/* ---- reference: of a block of queries only the last block that it keeps is remembered, and the answer for the block
 * of keys that was asked about last */

typedef struct remembered {
    int64_t sequence, head, I; /* whose */
    double score;              /* of the last candidate that is kept */
    int64_t number, J;         /* J: asked about last */
    bool kept;
} remembered;

/* Do all queries of the row's block see all of the block of keys? */
static bool all_see(const fv__row *r, int64_t block, int64_t I, int64_t J) {
    for (int64_t i = I * block; i < (I + 1) * block && i < r->q_len; i++) {
        fv__row other = *r;
        other.i = i, other.position = r->position + i - r->i;
        for (int64_t j = J * block; j < (J + 1) * block && j < r->k_len; j++)
            if (!fv__row_visible(&other, j)) return false;
    }
    return true;
}

static double plain_score(const fv__row *r, int64_t block, int64_t I, int64_t J) {
    const fv_attention_plan *plan = r->run->plan;
    const fv_tensor *t = r->run->x->t;
    const bool first_only = plan->causal || plan->window_right >= 0;
    const int64_t row0 = r->q_row - r->i;
    double score = 0, keys = 0;
    for (int64_t j = J * block; j < (J + 1) * block && j < r->k_len; j++) keys++;
    for (int64_t d = 0; d < plan->d_qk; d++) {
        double q = 0, k = 0;
        for (int64_t i = I * block; i < (first_only ? I * block + 1 : (I + 1) * block) && i < r->q_len; i++)
            q += fv__plain_get(&t[FV_Q], r->b, r->h, row0 + i, d);
        for (int64_t j = J * block; j < (J + 1) * block && j < r->k_len; j++)
            k += fv__plain_get(&t[FV_K], r->b, r->kv, r->k_start + j, d);
        score += q * k;
    }
    score /= plan->options.scale < 0 ? -keys : keys;
    return score != score ? INFINITY : score;
}

/* The next candidate after (score, number) in the order of falling score, then rising number; false: there is none. */
static bool next_best(const fv__row *r, int64_t block, int64_t I, double *score, int64_t *number) {
    int64_t found = -1;
    double best = 0;
    for (int64_t J = 0; J * block < r->k_len; J++) {
        if (!all_see(r, block, I, J)) continue;
        const double s = plain_score(r, block, I, J);
        if (s > *score || (s == *score && J <= *number)) continue;
        if (found < 0 || s > best) found = J, best = s;
    }
    if (found >= 0) *score = best, *number = found;
    return found >= 0;
}

static bool keeps(const fv__row *r, int64_t j, void *context) {
    remembered *m = context;
    const block_topk_params *p = r->run->plan->params;
    const int64_t I = r->i / p->block, J = j / p->block;
    if (m->sequence != r->sequence || m->head != r->h || m->I != I) {
        *m = (remembered){r->sequence, r->h, I, INFINITY, -1, -1, false};
        for (int64_t n = 0; n < p->k && next_best(r, p->block, I, &m->score, &m->number); n++) {}
    }
    if (m->J != J) {
        const double s = plain_score(r, p->block, I, J);
        m->J = J;
        m->kept = !all_see(r, p->block, I, J) || s > m->score || (s == m->score && J <= m->number);
    }
    return m->kept;
}

static void reference(const fv__run *run) {
    remembered m = {.sequence = -1};
    fv__keys_reference(run, keeps, &m);
}

const fv__mechanism fv__mech_block_topk = {
    .info = {.name = "block-topk",
             .summary = "softmax over the k blocks of keys that answer a block of queries best",
             .citation = "Lu et al. 2025, arXiv 2502.13189",
             .cost = "O(n k b d + n m d / b^2) time, O(n (d + k / b)) memory",
             .needs = FV_EXACT_NEEDS,
             .takes =
                 1 << FV_SINKS | 1 << FV_SLOPES | 1 << FV_KV_LEN | 1 << FV_PREFIX_LEN | 1 << FV_CU_Q | 1 << FV_CU_K,
             .can = FV_TILE_CAN & ~(FV_CAN_BLOCKS | FV_CAN_DECODE),
             .params = params,
             .examples = {"block-topk:k=2,block=4", "block-topk:k=1,block=7", "block-topk:k=1,block=64",
                          "block-topk:k=3,block=1"}},
    .params_size = sizeof(block_topk_params),
    .engine = &fv__tile,
    .setup = setup,
    .reference = reference,
};
