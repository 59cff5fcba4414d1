/* Random attention problems: what verify and bench run. */
#ifndef CLI_TRIAL_H
#define CLI_TRIAL_H

#include "fovea/attention.h"

/* Numbers of a seed: the same everywhere. */
typedef struct cli_random {
    uint64_t state;
} cli_random;
int64_t cli_random_below(cli_random *r, int64_t n); /* 0 .. n-1 */
double cli_random_normal(cli_random *r);

typedef struct cli_trial {
    const fv_mechanism *mechanism;
    fv_attention_options how;
    fv_attention_tensors x;
    fv_attention_plan *plan;
    char text[256]; /* "b2 h4/2 q33 k70 d16 dv8 f32 causal kv_len" */
    void *block[3 * FV_PORTS];
    int blocks;
} cli_trial;

/* Any problem the mechanism can do; the same numbers in f32 and f64. `grid`: queries, keys and bias are multiples of 1/4, so that a
 * mechanism that chooses by score chooses alike in both types. FV_USAGE (with the library's message): it refuses this combination. */
fv_status cli_trial_random(cli_trial *trial, const fv_mechanism *mechanism, uint64_t seed, fv_dtype dtype, bool grid);

/* The problem of a benchmark: batch, heads, kv heads, length, width; gradients when `backward`. A bias has the shape (1,H,L,L) and a
 * gradient when it is trained. Packed: `sequences` of them begin at start[0..sequences-1], b is 1 and l is start[sequences]. */
typedef enum cli_bias { CLI_BIAS_NONE, CLI_BIAS_FULL, CLI_BIAS_TRAINED } cli_bias;
typedef struct cli_trial_shape {
    int64_t b, h, hkv, l, d;
    cli_bias bias;
    int64_t sequences;
    const int32_t *start;
} cli_trial_shape;
fv_status cli_trial_of(cli_trial *trial, const fv_attention_options *how, const cli_trial_shape *shape, fv_dtype dtype,
                       bool backward);

fv_status cli_trial_run(cli_trial *trial, bool backward);
void cli_trial_free(cli_trial *trial);
fv_tensor cli_trial_new(cli_trial *trial, const fv_tensor *shape);

/* Largest |a - b| / (1e-3 * largest |b| + |b|); NaN or infinity on one side only is infinite. */
double cli_difference(const fv_tensor *a, const fv_tensor *b);

#endif
