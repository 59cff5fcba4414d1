/* Sliding-window attention: each query sees `left` keys before its position, itself, and `right` keys after it. Beltagy
 * et al., Longformer, 2020, arXiv 2004.05150; Jiang et al., Mistral 7B, 2023, arXiv 2310.06825 (there W counts the
 * query itself: left = W-1).
 *
 *   left=2, right=1        keys  0 1 2 3 4 5
 *   query 3 sees                   x x x x
 *
 * Formulas are those of softmax over the visible keys; cost grows with the window, not with the length. */
#include "attn/engine/tile/tile.h"
#include "attn/mech/exact.h"

typedef struct window_params {
    int64_t left, right;
} window_params;

static const fv_option params[] = {
    {"left", FV_OPT_INT, offsetof(window_params, left), "128", -1, 1e12, NULL,
     "keys seen before the query, -1 for all"},
    {"right", FV_OPT_INT, offsetof(window_params, right), "128", -1, 1e12, NULL,
     "keys seen after the query, -1 for all; 0 when causal"},
    {0},
};

/* Both the mechanism's window and the one in the options hold. */
static int64_t narrower(int64_t a, int64_t b) { return a < 0 ? b : b < 0 ? a : a < b ? a : b; }

static fv_status setup(fv_attention_plan *plan) {
    const window_params *p = plan->params;
    plan->window_left = narrower(plan->window_left, p->left);
    plan->window_right = narrower(plan->window_right, p->right);
    return FV_OK;
}

const fv__mechanism fv__mech_window = {
    .info = {.name = "window",
             .summary = "softmax over a sliding window of keys",
             .citation = "Beltagy et al. 2020, arXiv 2004.05150",
             .cost = "O(n w d) time, O(n d) memory",
             .needs = FV_EXACT_NEEDS,
             .takes = FV_EXACT_TAKES,
             .can = FV_TILE_CAN,
             .params = params,
             .examples = {"window:left=7,right=3", "window:left=40,right=0"}},
    .params_size = sizeof(window_params),
    .engine = &fv__tile,
    .setup = setup,
    .reference = fv__exact_reference,
};
