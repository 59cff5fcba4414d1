/* The options of attention and of a call as rows: `fovea attend`, the layers and the keys of plans loop over them. A
 * new option is a field, taken from the reserved words, and its row here. */
#include "fovea/attention.h"

#define ROW(type, field, name, standard, min, max, choices, help) \
    { name, FV_OPT_##type, offsetof(fv_attention_options, field), standard, min, max, choices, help }
static const fv_option option_rows[] = {
    ROW(STRING, mechanism, "mechanism", "softmax", 0, 0, "NAME:PARAM=VALUE",
        "the mechanism; `fovea mechanisms` lists them"),
    ROW(FLOAT, scale, "scale", "0", -1e9, 1e9, "X", "of the scores; 0: 1/sqrt(head_dim)"),
    ROW(FLOAT, softcap, "softcap", "0", 0, 1e9, "X", "scores become cap*tanh(score/cap); 0: none"),
    ROW(ENUM, causal, "causal", "none", 0, 0, "none|upper-left|lower-right", "which corner the diagonal starts from"),
    ROW(WINDOW_LEFT, window, "window-left", "-1", -1, 1e15, "N",
        "keys seen to the left of a query besides itself; -1: all"),
    ROW(WINDOW_RIGHT, window, "window-right", "-1", -1, 1e15, "N", "keys seen to the right; -1: all"),
    ROW(ENUM, mask_means, "mask-means", "keep", 0, 0, "keep|drop", "what a true element of the mask says"),
    ROW(FLOAT, dropout, "dropout", "0", 0, 1, "P", "probability of dropping a weight"),
    {0},
};
#undef ROW

#define ROW(field, name, min, max, help) \
    { name, FV_OPT_INT, offsetof(fv_attention_call, field), "0", min, max, "N", help }
static const fv_option call_rows[] = {
    ROW(q_offset, "q-offset", -1e15, 1e15, "position of query 0 among the keys; the length of past_k is added"),
    ROW(seed, "seed", 0, 9e18, "of the dropout"),
    {0},
};

const fv_option *fv_attention_rows(void) { return option_rows; }

const fv_option *fv_attention_call_rows(void) { return call_rows; }
