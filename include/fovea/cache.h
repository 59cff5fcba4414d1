/* fovea/cache.h - decoding: a cache of keys and values that grows by rows, and attention of a few new rows over it.
 *
 *     fv_cache_options keep = {.batch = 1, .kv_heads = 8, .d_qk = 128, .d_v = 128, .dtype = FV_BF16, .capacity = 8192};
 *     fv_kv_cache *cache;    fv_kv_cache_create(&cache, &keep);
 *     fv_decode_options how = FV_DECODE_DEFAULT;
 *     fv_decode_plan *plan;  fv_decode_plan_create(&plan, &how, cache, 32, 1);         // 32 query heads, 1 new row
 *     ...                                                                              // for each new token:
 *     fv_kv_cache_append(cache, &k, &v, NULL);                                         // (B,Hkv,1,D)
 *     fv_decode_tensors x = {.q = q, .out = out};                                      // (B,H,1,D)
 *     fv_decode(plan, cache, &x, scratch);
 *
 * Positions are absolute: the first row ever appended to a sequence is position 0. Sequences of a batch have lengths
 * of their own. Nothing is allocated by append, truncate, reset, copy, reorder or fv_decode. A cache is not locked:
 * one thread at a time changes it, any number read it.
 */
#ifndef FOVEA_CACHE_H
#define FOVEA_CACHE_H

#include "attention.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the cache */

typedef enum fv_cache_kind {
    FV_CACHE_CONTIGUOUS, /* `capacity` positions for each sequence */
    FV_CACHE_RING, /* the last `capacity` positions of each sequence: for windows. A row with n-1 new ones behind it and
                            window_left w needs capacity w + n */
    FV_CACHE_PAGED /* `pages` pages of `page_rows` positions that sequences take as they grow and give back */
} fv_cache_kind;

typedef struct fv_cache_options {
    int64_t batch, kv_heads, d_qk, d_v; /* each 1 or more */
    fv_dtype dtype;                     /* of what is stored: FV_F32, FV_BF16 or FV_F16 */
    fv_cache_kind kind;
    int64_t capacity;         /* PAGED: positions of one sequence at most, 0 for as many as there are pages */
    int64_t page_rows, pages; /* PAGED only; page_rows is a multiple of 16 */
} fv_cache_options;

typedef struct fv_kv_cache fv_kv_cache;

/* FV_USAGE: a size that is out of range, a dtype that is not stored. FV_NO_RESOURCES: not enough memory. */
FV_API fv_status fv_kv_cache_create(fv_kv_cache **cache, const fv_cache_options *options);
FV_API void fv_kv_cache_free(fv_kv_cache *cache);

/* More capacity, by allocating anew and moving what is there: `size` is the new capacity of CONTIGUOUS and RING, the
 * new number of pages of PAGED. Needs old and new memory at once; on failure the cache is as before. Never smaller than
 * it was (FV_USAGE). */
FV_API fv_status fv_kv_cache_grow(fv_kv_cache *cache, int64_t size);

/* What the cache was made with, `capacity` and `pages` as they are now. */
FV_API fv_cache_options fv_kv_cache_options(const fv_kv_cache *cache);
FV_API size_t fv_kv_cache_bytes(const fv_kv_cache *cache);       /* of keys and values together */
FV_API int64_t fv_kv_cache_free_pages(const fv_kv_cache *cache); /* PAGED: that no sequence has; 0 for other kinds */

/* Positions appended to sequence b so far, and the first of them that is still there (above 0 in rings and copies of
 * them). */
FV_API int64_t fv_kv_cache_length(const fv_kv_cache *cache, int64_t b);
FV_API int64_t fv_kv_cache_first(const fv_kv_cache *cache, int64_t b);

/* Appends rows: k (B,Hkv,n,Dqk) and v (B,Hkv,n,Dv), any floating dtype (rounded once) and any strides with unit stride
 * on the last axis. counts: how many of the n rows each sequence takes, the first ones (B numbers from 0 to n); NULL is
 * n for all. Does all or nothing: FV_USAGE for shapes, FV_NO_RESOURCES when a sequence or the pool of pages has no
 * capacity left. */
FV_API fv_status fv_kv_cache_append(fv_kv_cache *cache, const fv_tensor *k, const fv_tensor *v, const int64_t *counts);

/* Forgets positions from `length` on, for example rejected guesses. FV_USAGE: more than there are, or before the first
 * kept. */
FV_API fv_status fv_kv_cache_truncate(fv_kv_cache *cache, int64_t b, int64_t length);

/* Sequence b (-1: every one) is empty again and starts at position 0; pages that no other sequence has go back to
 * the pool. */
FV_API fv_status fv_kv_cache_reset(fv_kv_cache *cache, int64_t b);

/* A new cache with the same options and contents. FV_NO_RESOURCES: not enough memory; *copy is NULL then. */
FV_API fv_status fv_kv_cache_clone(fv_kv_cache **copy, const fv_kv_cache *cache);

/* Sequence to_b of `to` becomes a copy of sequence from_b of `from`. Within one PAGED cache the two share pages,
 * nothing is moved, and it takes no free page; a shared page is copied when one of them appends to it, which takes
 * one. Otherwise the rows are copied: the caches may be of different kinds and sizes, but not of other kv heads,
 * widths or dtype (FV_USAGE); a ring keeps the last `capacity` of them. FV_NO_RESOURCES: no room in `to`. On failure
 * nothing has changed. */
FV_API fv_status fv_kv_cache_copy(fv_kv_cache *to, int64_t to_b, const fv_kv_cache *from, int64_t from_b);

/* For beams: every sequence b < n becomes a copy of what sequence parent[b] was, the others stay. PAGED caches share
 * pages as in fv_kv_cache_copy; the others move rows, and only those of sequences that change. Needs no memory and
 * no free page. FV_USAGE: n beyond the batch, a parent that is no sequence; nothing has changed then. */
FV_API fv_status fv_kv_cache_reorder(fv_kv_cache *cache, const int64_t *parent, int64_t n);

/* Copies positions start, start + 1, ... of sequence b: k is (Hkv,n,Dqk), v is (Hkv,n,Dv), any floating dtype;
 * either may be NULL. */
FV_API fv_status fv_kv_cache_read(const fv_kv_cache *cache, int64_t b, int64_t start, const fv_tensor *k,
                                  const fv_tensor *v);

/* ---- attention of new rows */

/* With `length` positions in a sequence and n new rows, row r is position length - n + r: append first, then decode.
 * Order as in fv_attention: scale, softcap, bias and slopes, masks, softmax with sinks, values; the results are
 * those of the last n rows of fv_attention over the whole sequence, up to rounding. Zeros are the defaults. */
typedef struct fv_decode_options {
    double scale;             /* 0: 1/sqrt(Dqk) */
    double softcap;           /* 0: none; else cap*tanh(s/cap) */
    fv_window window;         /* positions seen to the left of a row besides itself, and with see_all to the right */
    fv_mask_means mask_means; /* what a true element of the mask says */
    bool see_all;             /* rows also see the new rows behind them */
    /* Cross-attention: the cache holds an encoder's memory of any length, also 0, and every row sees all of it. Rows
     * have no position in it: no window, no slopes, no prefix_len. */
    bool memory;
    /* NULL: softmax. Any mechanism whose scores are made key by key, with its parameters in `w` of the tensors: "t5",
     * "shaw:max-distance=8", "window:left=64,right=0". Others are FV_USAGE, and so is one that looks at positions with
     * memory. */
    const char *mechanism;
    uint64_t reserved[7]; /* 0 */
} fv_decode_options;
#define FV_DECODE_DEFAULT \
    { 0 }

/* `rank == 0`: absent. Only q and out are needed. */
typedef struct fv_decode_tensors {
    fv_tensor q;      /* (B,H,n,Dqk) f32, bf16 or f16; n up to the rows planned; head h reads kv head h*Hkv/H */
    fv_tensor out;    /* (B,H,n,Dv) f32, bf16 or f16 */
    fv_tensor lse;    /* (B,H,n) f32, natural log of the softmax denominator without sinks */
    fv_tensor sinks;  /* (H) f32, learned logits that join the denominator */
    fv_tensor slopes; /* (H) f32, ALiBi: adds -slope*|i-j| */
    /* Rows of each sequence, the first ones of q; rows beyond give 0 and -inf. NULL: n for all. */
    const int64_t *counts;
    /* (B|1,H|1,n|1,P|1) with any strides: element j is of position j, P is the longest length or more. bias, in f32,
     * bf16 or f16, is added to the scores, and -inf masks; mask is bool or u8, see mask_means. What is masked is never
     * looked at. */
    fv_tensor bias, mask;
    fv_tensor prefix_len; /* (B) i32 or i64: rows see all positions below it; the window's left side holds */
    fv_tensor w[6];       /* f32, operands w0 to w5 of the mechanism, as fv_attention_operand_shape says */
    uint64_t reserved[8]; /* 0 */
} fv_decode_tensors;

/* A plan serves every cache of the same head dimensions, heads, batch and dtype (all layers of a model) and any number
 * of threads at once. heads: a multiple of Hkv. rows: the largest n. FV_USAGE: sizes or options that make no sense. */
typedef struct fv_decode_plan fv_decode_plan;
FV_API fv_status fv_decode_plan_create(fv_decode_plan **plan, const fv_decode_options *options,
                                       const fv_kv_cache *cache, int64_t heads, int64_t rows);
FV_API void fv_decode_plan_free(fv_decode_plan *plan);

/* Bytes of scratch a call needs, for whatever lengths fit into the cache as it is now and for fv_threads(). Any
 * alignment will do. */
FV_API size_t fv_decode_scratch(const fv_decode_plan *plan, const fv_kv_cache *cache);

/* "decode bf16 avx512, group 4, chunks of 1024 keys, 2 threads, scratch 0.3 MiB". Returns the length it needs. */
FV_API size_t fv_decode_describe(const fv_decode_plan *plan, const fv_kv_cache *cache, char *text, size_t size);

/* Bytes of keys and values that a call with `rows` new rows in every sequence reads; without prefixes and masks. */
FV_API double fv_decode_bytes(const fv_decode_plan *plan, const fv_kv_cache *cache, int64_t rows);

/* K and V are read once, in their storage type, whatever the group and (up to some tens of rows) n. The same bits for
 * any number of threads, for any kind of cache, and for n rows at once or one by one. A row that sees nothing gives
 * zeros and LSE -inf. FV_USAGE: tensors of another shape than planned; a ring that no longer has what a row must
 * see. */
FV_API fv_status fv_decode(const fv_decode_plan *plan, const fv_kv_cache *cache, const fv_decode_tensors *x,
                           void *scratch);

#ifdef __cplusplus
}
#endif
#endif
