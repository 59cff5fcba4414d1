/* The contract between the TILE engine and a pattern of keys: which keys a query may see, besides the band (causal,
 * windows, prefix, lengths: fv__attn_visible), which always holds too.
 *
 * A pattern is one constant of type fv__keys, named fv__keys_NAME, in keys/NAME.c, and one row in list.def. Forward,
 * backward, weights and statistics ask it about tiles, never about single pairs; keys.c combines several by AND.
 * Positions count inside a sequence: packed sequences are nothing special. What it says depends on the queries, the
 * keys and the call alone, not on who asks in which order: the same bits for any number of threads. */
#ifndef FV_ATTN_KEYS_CONTRACT_H
#define FV_ATTN_KEYS_CONTRACT_H

#include "attn/mechanism_contract.h"

typedef struct fv__keys fv__keys;

/* Keys stand in tiles of so many: bits of a word. */
enum { FV_KEYS_TILE = 64 };

/* A pattern in one call. */
typedef struct fv__keys_view {
    const fv__keys *pattern;
    const fv__run *run;
    const void *params; /* of the mechanism that names the pattern; NULL for the one of the options */
    void *memory;       /* as much as `scratch` said, filled by `prepare` */
} fv__keys_view;

/* Queries [i0, i1) of a head, at least one. */
typedef struct fv__query_block {
    const fv__sequence *sequence;
    int64_t head, i0, i1;
} fv__query_block;

struct fv__keys {
    const char *name;
    /* Bytes of memory for a call, and what fills a (sequence, head) of it before anything is asked, sequences and heads
     * in parallel. Both NULL: the pattern is static. Of the tensors only q, k and integers are there. */
    size_t (*scratch)(const fv_attention_plan *plan, const void *params);
    void (*prepare)(const fv__keys_view *view, const fv__sequence *sequence, int64_t head);
    /* Of the pairs of these queries and the keys [j0, j1), j0 < j1: EMPTY and FULL are promises, PARTIAL is none. */
    fv_block_kind (*kind)(const fv__keys_view *view, const fv__query_block *q, int64_t j0, int64_t j1);
    /* Bit c of words[r]: query i0 + r sees key j0 + c, up to the end of the tile of j0; other bits do not count. */
    void (*bits)(const fv__keys_view *view, const fv__query_block *q, int64_t j0, uint64_t *words);
    /* No key of [j, next) is seen by any of the queries; k_len when none is left. NULL: j. With it the time of a call
     * grows with the tiles that are kept and not with all there are. */
    int64_t (*next)(const fv__keys_view *view, const fv__query_block *q, int64_t j);
    /* How many keys of [start, end) query i sees, what its band leaves; the mean over batches and heads. For flops. */
    double (*count)(const fv_attention_plan *plan, const void *params, const fv__sequence *sequence, int64_t i,
                    int64_t start, int64_t end);
};

#endif
