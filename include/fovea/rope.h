/* fovea/rope.h - rotary position embedding: pairs of columns of q and k are rotated by angles that grow with the
 * position, so that a product of the two depends on the distance alone. Su et al., RoFormer, 2021, arXiv 2104.09864.
 *
 *     fv_rope_options how = FV_ROPE_DEFAULT;
 *     how.base = 500000;
 *     fv_rope_forward(&how, &q, &q);                                  // in place, positions 0..L-1
 *     how.offset = past;                                              // decoding: the rows come after `past` others
 *
 * Pair i of the R rotated columns has the angle position * frequency_i, frequency_i = base^(-2i/R) before scaling, in
 * double:
 *
 *     (a, b) becomes (a cos - b sin, a sin + b cos)
 *
 * Backward is the transpose: the same rotation by the negative angle.
 */
#ifndef FOVEA_ROPE_H
#define FOVEA_ROPE_H

#include "tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which two columns are a pair. Weights trained with one need the other's columns permuted, so this is a property of a
 * model. */
typedef enum fv_rope_pairing {
    FV_ROPE_HALF,       /* (i, i + R/2), "rotate half": GPT-NeoX, Llama and its kin as distributed */
    FV_ROPE_INTERLEAVED /* (2i, 2i + 1): RoFormer, GPT-J; "interleaved" */
} fv_rope_pairing;

/* Ways to run a model on more positions than it was trained with; `factor` s is how many times more.
 *   LINEAR  frequency / s: positions are squeezed. Chen et al., Position Interpolation, 2023, arXiv 2306.15595.
 *   NTK     base * s^(R/(R-2)): the fastest pair keeps its frequency, the slowest is divided by s. For "dynamic" NTK
 *           choose s by the length at hand, s L/L0 - (s-1) (and keep keys unrotated, as the rotation of old rows
 *           changes with it).
 *   YARN    frequency / s for slow pairs, unchanged for fast ones, a ramp over the pair index between those that make
 *           beta_slow and beta_fast rotations in L0. Peng et al., 2023, arXiv 2309.00071. See fv_rope_attention_factor.
 *   LLAMA3  frequency / s where the wave is longer than L0/low, unchanged below L0/high, between them a blend linear in
 *           L0/wave. As in Llama 3.1; Grattafiori et al., The Llama 3 Herd of Models, 2024, arXiv 2407.21783. */
typedef enum fv_rope_scaling {
    FV_ROPE_UNSCALED,
    FV_ROPE_LINEAR,
    FV_ROPE_NTK,
    FV_ROPE_YARN,
    FV_ROPE_LLAMA3
} fv_rope_scaling;

typedef struct fv_rope_options {
    fv_rope_pairing pairing;
    int64_t columns; /* R, even, at most D; the columns from R on pass unchanged. 0: all */
    double base;     /* above 1 */
    fv_rope_scaling scaling;
    double factor;               /* s, at least 1 */
    double original_length;      /* L0: positions the model was trained with; YARN and LLAMA3 */
    double beta_fast, beta_slow; /* YARN: rotations within L0 */
    bool whole_ramp;             /* YARN: the ramp begins and ends at whole pair indices, as in the authors' code */
    double low, high;            /* LLAMA3: low and high frequency factor */
    double magnitude;            /* multiplies cosines and sines; 1 is a pure rotation */
    int64_t offset;              /* position of row 0 when `position` is absent */
    fv_tensor position;          /* i32 or i64, (L) or (B|1,L): position of each row; rank 0: offset + 0..L-1 */
    /* Tables of the caller, of any float type; rank 0: computed by each call. With tables, `base`, `magnitude` and all
     * of the scaling are not read. (P,R/2): row p is position p, of which 0..P-1 may occur; or (B|1,L,R/2): row l is
     * for row l, `position` absent. */
    fv_tensor cosine, sine;
} fv_rope_options;
#define FV_ROPE_DEFAULT                                                                          \
    {                                                                                            \
        FV_ROPE_HALF, 0, 10000, FV_ROPE_UNSCALED, 1, 0, 32, 1, true, 1, 4, 1, 0, {0}, {0}, { 0 } \
    }

/* Rotates `from` into `to`, which may be the same tensor: (B,H,L,D) with any strides, f32, f64, bf16 or f16 (computed
 * in f32); both of one shape and dtype, otherwise without overlap. Allocates a small table per call; nothing of its
 * size when tables are given. FV_USAGE: wrong shapes, dtypes or options, positions outside a table. The same bits for
 * any number of threads. */
FV_API fv_status fv_rope_forward(const fv_rope_options *options, const fv_tensor *from, const fv_tensor *to);

/* The gradient: `dto` of what forward wrote becomes `dfrom` of what it read (overwritten). The same conditions. */
FV_API fv_status fv_rope_backward(const fv_rope_options *options, const fv_tensor *dto, const fv_tensor *dfrom);

/* Angle per position of each pair, after scaling: `frequency` holds R/2 numbers, R of `options` or `head_dim` if that
 * is 0. */
FV_API fv_status fv_rope_frequencies(const fv_rope_options *options, int64_t head_dim, double *frequency);

/* Fills tables (P,R/2), f32 or f64, for positions 0..P-1: once for a model, instead of once a call. */
FV_API fv_status fv_rope_tables(const fv_rope_options *options, const fv_tensor *cosine, const fv_tensor *sine);

/* YaRN makes long contexts sharper: 0.1 ln s + 1, and 1 for every other scaling. Either `magnitude` of both q and k is
 * set to it, or the scale of the attention is multiplied with its square; with columns that are not rotated (R < D) the
 * two differ. */
FV_API double fv_rope_attention_factor(const fv_rope_options *options);

#ifdef __cplusplus
}
#endif
#endif
