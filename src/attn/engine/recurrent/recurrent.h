/* RECUR: attention whose memory of the past is a state of fixed size, in O(length) time and memory, forward and backward.
 *
 *   S_p = S_{p-1} + g_p [v_p 1]^T     [n_i m_i] = f_i^T S_p(i)     o_i = n_i / (m_i + eps)     f = phi(q), g = phi(k), phi = elu + 1
 *
 * One source for f32 and f64: recur_job.h, recur_forward.h and recur_backward.h are written for a type R and compiled by recur_f32.c and
 * recur_f64.c. recur.c chooses by dtype.
 *
 * Keys and queries of a sequence lie on one line of positions, key j at j and query i at i + shift; a query sees the keys at its position
 * and before. The line is cut into chunks, and SPAN/CHUNK of them make a span:
 *
 *   spans    |        0        |        1        |        2        |
 *   sum        its keys  ->  U0   its keys -> U1                          in parallel, every span on its own
 *   prefix    S = 0             S = U0            S = U0 + U1              one addition per span and state
 *   sweep     chunk by chunk:   [n m] = F S + tril(F G^T) [V 1],   then   S += G^T [V 1]     in parallel
 *
 * Without a causal mask every span reads the sum over all spans, and tril() falls away. Backward runs the same three steps from the left
 * for dQ and, with E_j = sum over i >= j of f_i [dn_i dm_i]^T in the place of S, from the right for dK and dV.
 * Chunks are cut by positions of their own sequence: a result depends neither on threads nor on what else is in the batch.
 *
 * A new recurrence (decay, delta rule) is a new field of fv__recur, read where a chunk meets the state: sweep and sum. */
#ifndef FV_ATTN_RECUR_H
#define FV_ATTN_RECUR_H

#include "attn/mechanism_contract.h"

enum {
    FV_RECUR_CHUNK = 64, /* positions whose pairs are computed one by one */
    FV_RECUR_SPAN = 256, /* positions of a task, a multiple of CHUNK; one state is stored for each */
};

/* The settings of a recurrence; the params of its mechanism begin with them. */
typedef struct fv__recur {
    double eps; /* added to the normaliser */
} fv__recur;

fv_status fv__recur_accept(fv_attention_plan *plan);
size_t fv__recur_scratch(const fv_attention_plan *plan, bool backward);
void fv__recur_forward(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch);
void fv__recur_backward(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch);
double fv__recur_flops(const fv_attention_plan *plan, bool backward);
void fv__recur_describe(const fv_attention_plan *plan, char *text, size_t size);

/* ---- between recur.c and the two types */

/* A sequence on its line of positions. Keys at and beyond `keys` are seen by nobody, queries before `blind` see nothing. */
typedef struct fv__recur_line {
    fv__segment segment;
    int64_t k_rows; /* rows of k and v that belong to the sequence, seen or not */
    int64_t shift, keys, blind, length;
} fv__recur_line;
fv__recur_line fv__recur_line_of(const fv_attention_plan *plan, const fv_attention_tensors *x, int64_t number);

/* Queries [q, q + rows) and keys [k, k + cols) of a chunk; when causal, query q + r sees the keys k + c with c <= r + ahead. */
typedef struct fv__recur_chunk {
    int64_t q, rows, k, cols, ahead;
} fv__recur_chunk;
fv__recur_chunk fv__recur_chunk_at(const fv__recur_line *line, int64_t position);

/* first[n] = number of the first span of sequence n; returns the number of spans. */
int64_t fv__recur_count(const fv_attention_plan *plan, const fv_attention_tensors *x, int64_t *first);
void fv__recur_locate(const int64_t *first, int64_t sequences, int64_t span, int64_t *sequence, int64_t *local);

typedef struct fv__recur_cut {
    int64_t spans;                                /* over all sequences, at most */
    int64_t state;                                /* elements of a state with its normaliser */
    size_t first_bytes, states_bytes, rows_bytes; /* shared by all workers; rows: one number for each query and head */
    size_t worker_bytes;
} fv__recur_cut;
fv__recur_cut fv__recur_cut_of(const fv_attention_plan *plan, bool backward);

typedef struct fv__recur_engine {
    void (*forward)(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch);
    void (*backward)(const fv_attention_plan *plan, const fv_attention_tensors *x, void *scratch);
} fv__recur_engine;
extern const fv__recur_engine fv__recur_engine_f32, fv__recur_engine_f64;

#endif
