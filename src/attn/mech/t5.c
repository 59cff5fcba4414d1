/* Softmax with learned biases by relative position, in buckets. Raffel et al., Exploring the Limits of Transfer
 * Learning with a Unified Text-to-Text Transformer, 2020, arXiv 1910.10683.
 *
 *   forward    s_ij = scale q_i.k_j (+ softcap) + table[h][bucket(j - i)]   P = softmax of rows of s   O = P V
 *   backward   that of softmax;  dtable[h][b] = sum of dS_ij over the pairs of bucket b
 *
 * Small distances have a bucket each, larger ones share buckets that grow, all beyond max-distance have the last. T5's
 * own models multiply the product by 1 and not by 1/sqrt(D), which is folded into how they start; here the scale is
 * 1/sqrt(D) unless it is given. A table of T5 is (buckets, heads), ours has a row for each head. In those models one
 * table serves all layers; a layer of ours has its own. */
#include "attn/engine/tile/tile.h"
#include "attn/mech/exact.h"
#include "attn/position/t5_buckets.h"

#include <math.h>

typedef struct t5_params {
    int64_t buckets, max_distance, bidirectional;
    fv__t5_buckets made;
} t5_params;

static const fv_option params[] = {
    {"buckets", FV_OPT_INT, offsetof(t5_params, buckets), "32", 2, FV_T5_MOST_BUCKETS, NULL,
     "rows of the table for each head"},
    {"max-distance", FV_OPT_INT, offsetof(t5_params, max_distance), "128", 2, 1e9, NULL,
     "from here on all distances have the last bucket"},
    {"bidirectional", FV_OPT_INT, offsetof(t5_params, bidirectional), "-1", -1, 1, NULL,
     "1: half of the buckets for keys after the query, 0: those count as distance 0, -1: 1 unless causal"},
    {0},
};

static bool both_directions(const fv_attention_plan *plan) {
    const t5_params *p = plan->params;
    return p->bidirectional < 0 ? !plan->causal : p->bidirectional != 0;
}

static fv_status setup(fv_attention_plan *plan) {
    t5_params *p = plan->params;
    FV_TRY(fv__t5_buckets_make(&p->made, "attention: mechanism \"t5\"", p->buckets, p->max_distance,
                               both_directions(plan)));
    fv__tile_setup_of(plan)->choice[FV_SCORE_t5] = &p->made;
    return FV_OK;
}

static int64_t extent(const fv_attention_plan *plan, char letter) {
    return letter == 'U' ? ((const t5_params *)plan->params)->buckets : 0;
}

static const fv_mechanism_operand operands[] = {
    {FV_W0, "table", "H,U", FV_OPERAND_ZEROS, false, "a bias for each bucket of relative positions"},
    {0},
};

/* ---- reference: the formula of the authors' code, step by step, for every pair */

static double added(const fv__row *r, int64_t j) {
    const t5_params *p = r->run->plan->params;
    int64_t side = p->buckets, bucket = 0, n = r->position - j;
    if (both_directions(r->run->plan)) {
        side /= 2;
        if (n < 0) bucket = side, n = -n;
    } else if (n < 0)
        n = 0;
    const int64_t exact = side / 2;
    if (n < exact)
        bucket += n;
    else {
        const double ratio = log((double)n / (double)exact) / log((double)p->max_distance / (double)exact);
        const int64_t large = exact + (int64_t)(ratio * (double)(side - exact) + 1e-9);
        bucket += large < side - 1 ? large : side - 1;
    }
    return fv_tensor_get(&r->run->x->t[FV_W0], (int64_t[2]){r->h, bucket});
}

static void reference(const fv__run *run) { fv__plain_reference(run, fv__plain_dot, added); }

const fv__mechanism fv__mech_t5 = {
    .info = {.name = "t5",
             .summary = "softmax with learned biases by buckets of relative positions",
             .citation = "Raffel et al. 2020, arXiv 1910.10683",
             .cost = "O(n m d) time, O(n d) memory",
             .needs = FV_EXACT_NEEDS | FV_OPERAND_BIT(FV_W0),
             .takes = FV_EXACT_TAKES,
             .can = FV_TILE_CAN,
             .params = params,
             .operands = operands,
             .examples = {"t5", "t5:buckets=6,max-distance=9", "t5:buckets=7,max-distance=40,bidirectional=0"}},
    .params_size = sizeof(t5_params),
    .engine = &fv__tile,
    .setup = setup,
    .extent = extent,
    .reference = reference,
};
