/* The operator RotaryEmbedding by fovea/rope.h: tables of cosines and sines, one row per position or one per token. */
#include "conform.h"

void run_rotary_embedding(sample *s) {
    const fv_tensor x = sample_input(s, 0);
    fv_rope_options how = FV_ROPE_DEFAULT;
    how.pairing = sample_int(s, "interleaved", 0) ? FV_ROPE_INTERLEAVED : FV_ROPE_HALF;
    how.columns = sample_int(s, "rotary_embedding_dim", 0);
    how.cosine = sample_input(s, 1), how.sine = sample_input(s, 2);
    how.position = sample_input(s, 3);
    const fv_tensor y = sample_new(x.dtype, x.rank, x.dim);
    fv_tensor from = x, to = y;
    if (x.rank == 3) { /* (B,L,H*D) */
        const int64_t heads = sample_int(s, "num_heads", 0);
        if (heads < 1 || x.dim[2] % heads) {
            sample_fail(s, "num_heads does not split the input");
            return;
        }
        from = fv_blhd(x.data, x.dtype, x.dim[0], x.dim[1], heads, x.dim[2] / heads);
        to = fv_blhd(y.data, y.dtype, y.dim[0], y.dim[1], heads, y.dim[2] / heads);
    }
    if (sample_try(s, fv_rope_forward(&how, &from, &to))) sample_compare(s, 0, &y);
}
