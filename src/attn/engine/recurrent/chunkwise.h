/* Recurrences with decay and delta rule in their chunkwise form, forward and backward, in O(length) time and memory.
 *
 *   S_t = e^g_t S_t-1 + k_t u_t^T      o_t = scale q_t^T S_t      g_t <= 0, one number or one per row of S
 *   u_t = v_t,  or with the delta rule  u_t = beta_t (v_t - (e^g_t S_t-1)^T k_t)
 *
 * In a chunk of n tokens, with G_i = g_0 + ... + g_i, S the state before it and all arrays rows of tokens:
 *
 *   A_ij = sum_d q_i,d k_j,d e^(G_i,d - G_j,d), j <= i          M_ij = the same of k_i and k_j, j < i
 *   U = V                                                       delta: W = V - (K e^G) S - M U,  U = beta W, row by row
 *   O = (Q e^G) S + A U                                         S' = e^G_n-1 S + (K e^(G_n-1 - G))^T U
 *
 *   backward, E' = dS':
 *   dU = A^T dO + (K e^(G_n-1 - G)) E'                          dA = tril(dO U^T)
 *   delta: dU_j -= sum_i>j M_ij dW_i, dW = beta dU,             dbeta_i = W_i . dU_i,  dM = -tril(dW U^T, -1),  dV = dW
 *   dQ = (dO S^T) e^G + dA's part, dK = (U E'^T) e^(..) - (dW S^T) e^G + dA's and dM's parts
 *   E = e^G_n-1 E' + (Q e^G)^T dO - (K e^G)^T dW
 *   dg_t = sum over all j < t <= i of what e^(G_i - G_j) multiplies, times its gradient; S is j = -1 and S' is i = n
 *
 * Yang et al. 2023 (2312.06635), Yang et al. 2024 (2406.06484); Dao and Gu 2024 (2405.21060) for exponents that are
 * summed and not subtracted. The gradient of the decays is likewise a sum over pairs, not a difference of two sums.
 *
 * A task is a head of a sequence; it walks over the chunks with the state at hand, in backward over the group of
 * heads that share a kv head. Backward stores the state before each chunk, per worker: a head of v when n = D. Chunks
 * are cut by positions in the sequence of the token: a result depends neither on threads nor on what else is in the
 * batch.
 *
 * Keys at and beyond kv_len do not exist: nothing is written or forgotten there, and queries there read the last
 * state. */
#ifndef FV_ATTN_CHUNKWISE_H
#define FV_ATTN_CHUNKWISE_H

#include "attn/engine/recurrent/recurrent.h"

enum {
    FV_CHUNK_STRIP = 16,   /* rows of a triangle that are one product */
    FV_CHUNK_MAX_D = 1024, /* most rows of a state: weights and references keep a column of it at hand */
};

/* ---- between chunkwise.c and the two types */

typedef struct fv__chunk_sizes {
    int64_t n, lanes, d, d_lanes, dv; /* tokens; tokens and D rounded up to what a packed array wants */
    int64_t decays, levels, chunks;   /* decays of a token: 0, 1 or D; halvings; states that backward stores */
    bool delta, backward;
} fv__chunk_sizes;

fv__chunk_sizes fv__chunk_sizes_of(const fv_attention_plan *plan, bool backward);
size_t fv__chunk_bytes(const fv__chunk_sizes *sizes, size_t element); /* of a worker */

extern const fv__recurrent_kernels fv__chunkwise_kernels_f32, fv__chunkwise_kernels_f64;
const fv__recurrent_kernels *fv__chunkwise_kernels(const fv_attention_plan *plan);

/* ---- the parts of the engine, see recurrent.c */

fv_status fv__chunkwise_accept(const fv_attention_plan *plan);
fv_status fv__chunkwise_check(const fv__run *run);
size_t fv__chunkwise_scratch(const fv_attention_plan *plan, bool backward);
double fv__chunkwise_flops(const fv_attention_plan *plan, bool backward);
void fv__chunkwise_weights(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                           int64_t count, const fv_tensor *out);
void fv__chunkwise_describe(const fv_attention_plan *plan, char *text, size_t size);

/* ---- for mechanisms */

/* What every causal recurrence without a normalizer needs, takes and can. Its keys are those of its queries: the last
 * rows alone go on from a state, not from all keys. */
#define FV_CHUNKWISE_NEEDS (FV_OPERAND_BIT(FV_Q) | FV_OPERAND_BIT(FV_K) | FV_OPERAND_BIT(FV_V))
#define FV_CHUNKWISE_TAKES (FV_OPERAND_BIT(FV_STATE) | FV_OPERAND_BIT(FV_KV_LEN) | FV_OPERAND_BIT(FV_CU_Q))
enum { FV_CHUNKWISE_CAN = FV_RECURRENT_CAN & ~FV_CAN_DECODE };

/* The setup of a causal recurrence: chunk and features as the options say ("identity", "elu"; NULL is identity), decays
 * as the operand log_decay has them, if it is there. */
fv__recurrent_setup *fv__chunkwise_setup(fv_attention_plan *plan, int64_t chunk, const char *phi);

#endif
