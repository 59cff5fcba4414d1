/* Random attention problems: what verify and bench run. */
#ifndef CLI_PROBLEM_H
#define CLI_PROBLEM_H

#include "fovea/attention.h"

/* Numbers of a seed: the same everywhere. */
typedef struct cli_random {
    uint64_t state;
} cli_random;
int64_t cli_random_below(cli_random *r, int64_t n); /* 0 .. n-1 */
double cli_random_normal(cli_random *r);

typedef struct cli_problem {
    const fv_mechanism *mechanism;
    fv_attention_options how;
    fv_attention_call call;
    fv_attention_tensors x;
    fv_attention_plan *plan;
    char text[256]; /* "b2 h4/2 q33 k70 d16 dv8 f32 causal kv_len" */
    void *block[3 * FV_OPERANDS];
    int blocks;
} cli_problem;

/* Any problem the mechanism can do; the same numbers in f32 and f64. `grid`: queries, keys and bias are multiples of
 * 1/4, so that a mechanism that chooses by score chooses alike in both types. FV_USAGE (with the library's message): it
 * refuses this combination. */
fv_status cli_problem_random(cli_problem *problem, const fv_mechanism *mechanism, uint64_t seed, fv_dtype dtype,
                             bool grid);

/* The problem of a benchmark: batch, heads, kv heads, length, head_dim; gradients when `backward`. A bias has the shape
 * (1,H,L,L) and a gradient when it is trained. Packed: `sequences` of them begin at start[0..sequences-1], b is 1 and l
 * is start[sequences]. */
typedef enum cli_bias { CLI_BIAS_NONE, CLI_BIAS_FULL, CLI_BIAS_TRAINED } cli_bias;
typedef struct cli_problem_shape {
    int64_t b, h, hkv, l, d;
    cli_bias bias;
    int64_t sequences;
    const int32_t *start;
} cli_problem_shape;
fv_status cli_problem_of(cli_problem *problem, const fv_attention_options *how, const cli_problem_shape *shape,
                         fv_dtype dtype, bool backward);

fv_status cli_problem_run(cli_problem *problem, bool backward);
void cli_problem_free(cli_problem *problem);
fv_tensor cli_problem_new(cli_problem *problem, const fv_tensor *shape);

/* Largest |a - b| / (1e-3 * largest |b| + |b|); NaN or infinity on one side only is infinite. */
double cli_difference(const fv_tensor *a, const fv_tensor *b);

#endif
