/* RECURRENT: attention whose memory of the past is a state of fixed size, in O(length) time and memory, forward and
 * backward.
 *
 *   S_p = S_{p-1} + g_p [v_p 1]^T     [n_i m_i] = f_i^T S_p(i)     o_i = n_i / (m_i + eps)
 *   f = phi(q), g = phi(k), phi = elu + 1
 *
 * One source for f32 and f64: recurrent_job.h, recurrent_forward.h and recurrent_backward.h are written for a type R
 * and compiled by recurrent_f32.c and recurrent_f64.c. recurrent.c chooses by dtype.
 *
 * Keys and queries of a sequence have common positions, key j at j and query i at i + q_position; a query sees the keys
 * at its position and before. They are partitioned into chunks, and SPAN/CHUNK of them make a span:
 *
 *   spans    |        0        |        1        |        2        |
 *   states     its keys  ->  U0   its keys -> U1                          in parallel, every span on its own
 *   scan      S = 0             S = U0            S = U0 + U1              one addition per span and state
 *   outputs   chunk by chunk:   [n m] = F S + tril(F G^T) [V 1],   then   S += G^T [V 1]     in parallel
 *
 * Without a causal mask every span reads the sum over all spans, and tril() falls away. Backward runs the same three
 * steps from the left for dQ and, with E_j = sum over i >= j of f_i [dn_i dm_i]^T in the place of S, from the right for
 * dK and dV. Chunks are made by positions of their own sequence: a result depends neither on threads nor on what else
 * is in the batch.
 *
 * That is the form of what is normalized and forgets nothing. With decays, the delta rule and a state that comes from
 * elsewhere it is the chunkwise form, chunkwise.h. fv__recurrent_setup says which. */
#ifndef FV_ATTN_RECURRENT_H
#define FV_ATTN_RECURRENT_H

#include "attn/mechanism_contract.h"

enum {
    FV_RECURRENT_CHUNK = 64, /* positions whose pairs are computed one by one */
    FV_RECURRENT_SPAN = 256, /* positions of a task, a multiple of CHUNK; one state is stored for each */
};

enum {
    FV_RECURRENT_CAN =
        FV_CAN_BACKWARD | FV_CAN_CAUSAL | FV_CAN_GQA | FV_CAN_VARLEN | FV_CAN_KV_LEN | FV_CAN_WEIGHTS | FV_CAN_DECODE
};
extern const fv__engine fv__recurrent;

typedef enum fv__row_map { FV_MAP_IDENTITY, FV_MAP_ELU } fv__row_map; /* of q and k: x, or elu(x) + 1 */

typedef enum fv__decay {
    FV_DECAY_NONE,
    FV_DECAY_CONST,  /* per head: log_decay of the setup */
    FV_DECAY_SCALAR, /* per token: the operand log_decay is (B,H,L) */
    FV_DECAY_VECTOR  /* per token and row of the state: it is (B,H,L,D) */
} fv__decay;

typedef enum fv__low_rank {
    FV_LOW_RANK_NONE,
    FV_LOW_RANK_DELTA /* beta (B,H,L); a general pair of vectors (DPLR, RWKV-7) would stand here */
} fv__low_rank;

/* What a mechanism over RECURRENT chooses. */
typedef struct fv__recurrent_setup {
    fv__row_map map; /* FV_MAP_ELU when normalized */
    fv__decay decay; /* NONE, and no low rank, when normalized */
    fv__low_rank low_rank;
    double (*log_decay)(const fv_attention_plan *plan, int64_t head); /* <= 0; for FV_DECAY_CONST */
    int64_t chunk;   /* tokens, a power of 2 up to 64; not when normalized */
    bool normalized; /* divided by f.z + eps: the form by spans; else the chunkwise form */
    double eps;
} fv__recurrent_setup;
static inline fv__recurrent_setup *fv__recurrent_setup_of(const fv_attention_plan *plan) {
    return fv__setup_of(plan, &fv__recurrent);
}

/* The weights the recurrence never forms, by plain loops: phi(q_i).phi(k_j), normalised by lse for SOFTMAX. */
void fv__recurrent_weights(const fv__run *run, fv_capture capture, int64_t batch, int64_t head, const int64_t *rows,
                           int64_t count, const fv_tensor *out, void *scratch);

/* ---- between recurrent.c and the two types */

/* Positions of a sequence. Keys at and beyond `keys` are seen by nobody, queries before `empty_queries` see nothing. */
typedef struct fv__recurrent_positions {
    fv__sequence sequence;
    int64_t k_rows; /* rows of k and v that belong to the sequence, seen or not */
    int64_t q_position, keys, empty_queries, length;
} fv__recurrent_positions;
fv__recurrent_positions fv__recurrent_positions_of(const fv__run *run, int64_t number);

/* Queries [q, q + rows) and keys [k, k + cols) of a chunk; when causal, query q + r sees the keys k + c with c <= r +
 * diagonal. */
typedef struct fv__recurrent_chunk {
    int64_t q, rows, k, cols, diagonal;
} fv__recurrent_chunk;
fv__recurrent_chunk fv__recurrent_chunk_at(const fv__recurrent_positions *positions, int64_t position);

/* first[n] = number of the first span of sequence n; returns the number of spans. */
int64_t fv__recurrent_count(const fv__run *run, int64_t *first);
void fv__recurrent_locate(const int64_t *first, int64_t sequences, int64_t span, int64_t *sequence, int64_t *local);

typedef struct fv__recurrent_partition {
    int64_t spans;                                /* over all sequences, at most */
    int64_t state;                                /* elements of a state with its normaliser */
    size_t first_bytes, states_bytes, rows_bytes; /* shared by all workers; rows: one number for each query and head */
    size_t worker_bytes;
} fv__recurrent_partition;
fv__recurrent_partition fv__recurrent_partition_of(const fv_attention_plan *plan, bool backward);

typedef struct fv__recurrent_kernels {
    void (*forward)(const fv__run *run, void *scratch);
    void (*backward)(const fv__run *run, void *scratch);
} fv__recurrent_kernels;
extern const fv__recurrent_kernels fv__recurrent_kernels_f32, fv__recurrent_kernels_f64;

#endif
