/* The patterns of keys of a call, as the engine asks for them: the block mask of the options and the mechanism's own
 * pattern. A key is seen when every pattern lets it be seen, and the band too. */
#ifndef FV_ATTN_KEYS_H
#define FV_ATTN_KEYS_H

#include "attn/keys/keys_contract.h"

#define KEYS(name) extern const fv__keys fv__keys_##name;
#include "attn/keys/list.def"
#undef KEYS
size_t fv__keys_patterns(void); /* rows of list.def */
const fv__keys *fv__keys_pattern(size_t index);

enum { FV_KEYS_MOST = 2 }; /* patterns of a call */
typedef struct fv__keys_set {
    fv__keys_view view[FV_KEYS_MOST];
    int count;  /* 0: all keys of the band are seen, and nothing need be asked */
    bool skips; /* some pattern has `next` */
} fv__keys_set;

/* own, params: the pattern of the mechanism, NULL for none. memory: fv__keys_scratch bytes at a line of 64. */
size_t fv__keys_scratch(const fv_attention_plan *plan, const fv__keys *own, const void *params);
fv__keys_set fv__keys_of(const fv__run *run, const fv__keys *own, const void *params, void *memory);

/* Fills the memory for all sequences and heads, or for one of them (-1: all). */
void fv__keys_prepare(const fv__keys_set *set, int64_t sequence, int64_t head);

fv_block_kind fv__keys_kind(const fv__keys_set *set, const fv__query_block *q, int64_t j0, int64_t j1);
void fv__keys_bits(const fv__keys_set *set, const fv__query_block *q, int64_t j0, uint64_t *words);
int64_t fv__keys_next(const fv__keys_set *set, const fv__query_block *q, int64_t j);

/* A tile of up to 32 queries and the FV_KEYS_TILE keys from j0, where a tile begins, with a word for each key: bit r of
 * words[c]. */
enum { FV_KEYS_QUERIES = 32 };
void fv__keys_columns(const fv__keys_set *set, const fv__query_block *q, int64_t j0, uint64_t *words);

/* At most so many keys of [start, end) does query i see: exact with one pattern. */
double fv__keys_count(const fv_attention_plan *plan, const fv__keys *own, const void *params,
                      const fv__sequence *sequence, int64_t i, int64_t start, int64_t end);

#endif
