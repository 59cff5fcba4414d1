/* The contract between the TILE engine and what makes its scores.
 *
 *   s_ij = softcap(scale (base(q_i, k_j) + terms)) + bias tile      P = softmax of rows of s, sinks in the denominator
 *
 * Each row of list.def is one file, which defines a constant of type fv__score and says when it is on, what it adds to
 * a tile of scores, how its gradient follows from the gradient of the tile, and how many numbers per task and head the
 * engine keeps for that: the engine adds them up in the order of tasks, so that no bit depends on threads. A tile is
 * asked for as a whole; the engine transposes it where it holds queries in lanes. */
#ifndef FV_ATTN_SCORE_H
#define FV_ATTN_SCORE_H

#include "attn/mechanism_contract.h"

typedef enum fv__score_id {
#define SCORE(name) FV_SCORE_##name,
#include "attn/score/list.def"
#undef SCORE
    FV_SCORES
} fv__score_id;

/* Where it stands in the formula. */
typedef enum fv__score_kind {
    FV_SCORE_IS_BASE,    /* of q and k; exactly one */
    FV_SCORE_IS_TERM,    /* joins the base, before scale and softcap */
    FV_SCORE_IS_SOFTCAP, /* a function of the score alone: in the kernels of the tile */
    FV_SCORE_IS_BIAS,    /* joins the bias tile, in natural units; -inf hides */
    FV_SCORE_IS_SINK     /* in the denominator only: in the kernels of the rows */
} fv__score_kind;

/* Pairs of queries i0.. and keys j0.. of one head; both count inside the sequence, and the position of query i among
 * the keys is i + sequence->q_offset. Any rows when weights are recomputed, else at most MOST of both. */
enum { FV_SCORE_MOST_ROWS = 64, FV_SCORE_MOST_KEYS = 128, FV_SCORE_MOST_DISTANCES = 191 };
typedef struct fv__score_tile {
    const fv__run *run;
    const void *simd; /* fv__simd_f32 or fv__simd_f64 */
    const fv__sequence *sequence;
    int64_t head, kv, i0, rows, j0, keys;
    void *memory; /* `scratch` numbers of the row; NULL where rows of weights are recomputed: then without */
} fv__score_tile;

/* Rows of a base against transposed ones, a lane each; of the columns of the head dimension these. */
typedef struct fv__score_product {
    const void *a, *transposed; /* (rows, columns) with stride ld; (columns, lanes) */
    int64_t ld, lanes, rows, column, columns;
} fv__score_product;

/* For one type; R is it. Tiles are (rows, keys) with stride ld >= keys; what lies beyond the keys may be anything. */
typedef struct fv__score_kernels {
    /* BASE: s(rows, lanes) = factor base(a, transposed). NULL: products, by the engine. */
    void (*base)(const fv__score_tile *tile, void *s, const fv__score_product *p, double factor);
    /* BASE: ds is scale times the gradient of the base, 0 where a pair is hidden. Adds to da (NULL: not wanted), to
     * dtransposed (columns, lanes; NULL: not wanted) and to parts. */
    void (*base_grad)(const fv__score_tile *tile, const void *ds, const fv__score_product *p, void *da, int64_t ldda,
                      void *dtransposed, void *parts);
    /* TERM and BIAS: adds to the tile, or writes all of it when the row says `first`. */
    void (*add)(const fv__score_tile *tile, void *to, int64_t ld);
    /* BIAS: the tile where it lies in memory, with its stride, or NULL. Asked when nothing else is on. May be NULL. */
    const void *(*lies)(const fv__score_tile *tile, int64_t *ld);
    /* TERM and BIAS, when the gradient of `operand` is there, TERM always: ds is scale times the gradient of the tile
     * after the softcap (BIAS), or times that of the term (TERM); 0 where a pair is hidden. A term also adds to the
     * rows of the gradient of q, which the task owns. */
    void (*grad)(const fv__score_tile *tile, const void *ds, int64_t ld, void *parts);
} fv__score_kernels;

typedef struct fv__score {
    const char *name;
    fv__score_kind kind;
    fv_operand operand; /* whose gradient the parts are */
    bool first;         /* BIAS: writes the tile instead of adding to it; only the first of its kind can */
    bool doubles;       /* parts are double, else of the type of the arithmetic */
    bool positions;     /* looks at the positions of query and key */
    bool (*on)(const fv_attention_plan *plan);
    int64_t (*parts)(const fv_attention_plan *plan);   /* numbers for each task and head in a backward; NULL: 0 */
    int64_t (*scratch)(const fv_attention_plan *plan); /* numbers for each worker; NULL: 0 */
    /* Element of the gradient that a part belongs to, counted from its data. NULL: (heads, parts) */
    int64_t (*place)(const fv_tensor *gradient, int64_t sequence, int64_t head, int64_t part);
    /* Do tasks of different heads or batches write the same elements? They then take turns. May be NULL. */
    bool (*exclusive)(const fv_attention_plan *plan, const fv_tensor *gradient);
    fv__score_kernels f32, f64;
} fv__score;

const fv__score *fv__score_at(fv__score_id id);

/* Bytes of the parts of a task and head. */
size_t fv__score_part_bytes(const fv__score *score, const fv_attention_plan *plan);

/* Scratch numbers of each worker: the most that one of those that are on wants. */
int64_t fv__score_scratch(const fv_attention_plan *plan);

/* Is one of this kind on? */
bool fv__score_any(const fv_attention_plan *plan, fv__score_kind kind);

/* Those of a kind that are on, in order, for the type of the plan. Returns how many. */
typedef struct fv__score_use {
    const fv__score *score;
    const fv__score_kernels *kernels;
    char *parts; /* of all tasks and heads, NULL: none */
    size_t part_bytes;
} fv__score_use;
int fv__score_list(const fv_attention_plan *plan, fv__score_kind kind, fv__score_use *list);

#endif
