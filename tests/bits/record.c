/* Prints hashes of what attention computes, one line a configuration and instruction set, so that two builds can be
 * held against each other bit by bit:
 *
 *     softmax/bf16/q=65/k=257/d=32/causal=lr scalar out=3f... lse=... dq=... dk=... dv=... weights=... stats=...
 *
 * The name is the whole configuration; `record NAME THREADS` runs it alone. Inputs are numbers of a counter: they
 * depend on the name and on nothing of the library.
 *   record [PART-OF-A-NAME [THREADS [ISA]]]
 */
#include "fovea/fovea.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 240, MOST_BLOCKS = 128 };

/* ---- hashes, numbers of a counter, memory */

static uint64_t hash_more(uint64_t hash, const void *bytes, size_t size) { /* FNV-1a */
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++) hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}
static uint64_t hash_of(const void *bytes, size_t size) { return hash_more(0xcbf29ce484222325u, bytes, size); }

/* The number `counter` of stream `key` (splitmix64). */
static uint64_t random_bits(uint64_t key, uint64_t counter) {
    uint64_t x = key + (counter + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
static int64_t random_below(uint64_t key, uint64_t counter, int64_t n) {
    return (int64_t)((random_bits(key, counter) >> 33) % (uint64_t)n);
}

/* In (-1, 1). With 8 significant bits and a size of at least 2^-9 it is exact in every type, so storing it never
 * rounds. */
static double random_value(uint64_t key, uint64_t counter, int bits) {
    const double x = (double)(random_bits(key, counter) >> 12) * 0x1p-51 - 1;
    if (bits == 53) return x;
    int exponent;
    const double part = frexp(x, &exponent), unit = ldexp(1, bits);
    return exponent < -8 && bits == 8 ? 0x1p-9 : ldexp(trunc(part * unit) / unit, exponent);
}

/* Memory of one configuration, freed as a whole. Every block starts as a pattern: what nobody writes stays the same
 * in every build. */
static void *blocks[MOST_BLOCKS];
static int block_count;

static void *take(size_t bytes) {
    void *memory = malloc(bytes + 64);
    if (!memory || block_count == MOST_BLOCKS) fprintf(stderr, "record: no memory\n"), exit(1);
    memset(memory, 0x5a, bytes + 64);
    return blocks[block_count++] = memory;
}
static void free_all(void) {
    while (block_count) free(blocks[--block_count]);
}

/* ---- a configuration is its name: NAME/KEY=VALUE/FLAG/... */

static uint64_t key_of_name; /* hash of the name: the seed of its numbers */

/* The value of KEY as text, "" of a flag, NULL when it is not there. The text is good until the fourth call after. */
static const char *text_of(const char *name, const char *key) {
    static char text[4][64];
    static int turn;
    const size_t size = strlen(key);
    for (const char *at = name; (at = strchr(at, '/')) != NULL;) {
        at++;
        if (strncmp(at, key, size) != 0 || (at[size] != '=' && at[size] != '/' && at[size])) continue;
        at += size + (at[size] == '=');
        turn = (turn + 1) % 4;
        snprintf(text[turn], sizeof text[turn], "%.*s", (int)strcspn(at, "/"), at);
        return text[turn];
    }
    return NULL;
}
static bool has(const char *name, const char *key) { return text_of(name, key) != NULL; }
static bool is(const char *name, const char *key, const char *value) {
    const char *text = text_of(name, key);
    return text && strcmp(text, value) == 0;
}
static double number_of(const char *name, const char *key, double absent) {
    const char *text = text_of(name, key);
    return text ? strtod(text, NULL) : absent;
}
static int64_t size_of(const char *name, const char *key, int64_t absent) {
    return (int64_t)number_of(name, key, (double)absent);
}

static void print_hash(const char *what, uint64_t hash) { printf(" %s=%016llx", what, (unsigned long long)hash); }

/* ==== everything that calls fovea
 * ================================================================================================ */

static fv_dtype dtype_of(const char *name) {
    return has(name, "f64") ? FV_F64 : has(name, "bf16") ? FV_BF16 : has(name, "f16") ? FV_F16 : FV_F32;
}
static fv_dtype arithmetic_of(const char *name) { return has(name, "f64") ? FV_F64 : FV_F32; }

/* A tensor with the bytes of its memory, gaps and all. */
typedef struct piece {
    fv_tensor t;
    size_t bytes;
} piece;

/* layout: "bhld", "blhd" or "gaps" */
static piece new_piece(fv_dtype dtype, int rank, const int64_t *dim, const char *layout) {
    piece p = {.t = fv_tensor_of(NULL, dtype, rank, dim)};
    int64_t *stride = p.t.stride, count = 1;
    if (rank == 4 && layout && strcmp(layout, "blhd") == 0)
        stride[2] = dim[1] * dim[3], stride[1] = dim[3], stride[0] = dim[2] * stride[2];
    else if (rank == 4 && layout && strcmp(layout, "gaps") == 0)
        stride[2] = dim[3] + 3, stride[1] = stride[2] * dim[2] + 5, stride[0] = stride[1] * dim[1] + 7;
    for (int a = 0; a < rank; a++) count += dim[a] > 0 ? (dim[a] - 1) * stride[a] : 0;
    if (fv_tensor_count(&p.t) == 0) count = 0;
    p.bytes = (size_t)count * fv_dtype_size(dtype);
    p.t.data = take(p.bytes);
    return p;
}
static uint64_t hash_piece(const piece *p) { return hash_of(p->t.data, p->bytes); }

/* Element number n of the shape, row-major, in `index`. */
static void index_of(const fv_tensor *t, int64_t n, int64_t *index) {
    for (int a = t->rank - 1; a >= 0; a--) index[a] = n % t->dim[a], n /= t->dim[a];
}
static void fill_piece(const piece *p, uint64_t stream, double size) {
    const int bits = p->t.dtype == FV_F64 ? 53 : p->t.dtype == FV_F32 ? 24 : 8;
    const int64_t count = fv_tensor_count(&p->t);
    int64_t index[FV_MAX_DIMS];
    for (int64_t n = 0; n < count; n++) {
        index_of(&p->t, n, index);
        fv_tensor_set(&p->t, index, size * random_value(key_of_name + stream, (uint64_t)n, bits));
    }
}

/* ---- attention */

/* Ports of numbers, the names of their gradients in a line, and how large the numbers are: powers of two. */
static const struct {
    fv_operand port;
    const char *gradient;
    double size;
} numbers[] = {{FV_Q, "dq", 2},
               {FV_K, "dk", 2},
               {FV_V, "dv", 1},
               {FV_BIAS, "dbias", 2},
               {FV_SINKS, "dsinks", 2},
               {FV_SLOPES, "dslopes", 0.25},
               {FV_W0, "dw0", 1},
               {FV_W1, "dw1", 1},
               {FV_W2, "dw2", 1},
               {FV_W3, "dw3", 1},
               {FV_LOG_DECAY, "ddecay", 0.25},
               {FV_BETA, "dbeta", 0.5},
               {FV_STATE, "dstate", 1}};
enum { NUMBERS = sizeof numbers / sizeof *numbers, PARAMS = 6, RECURRENT = 10 }; /* w0.., log_decay.. */

typedef struct problem {
    const char *name;
    char family[32]; /* the mechanism without its parameters */
    int64_t b, h, kv, lq, lk, d, dv, sequences;
    int64_t start[2][16]; /* of packed sequences: queries, keys */
    fv_attention_options how;
    fv_attention_call call;
    fv_attention_tensors x;
    fv_block_mask *picture;
    piece out, lse, aux, state_out, gradient[NUMBERS];
} problem;

static void add_numbers(problem *p, int at, int rank, const int64_t *dim) {
    const fv_operand port = numbers[at].port;
    const char *grads = text_of(p->name, "grads");
    const bool qkv = port == FV_Q || port == FV_K || port == FV_V;
    const fv_dtype dtype = !qkv && has(p->name, "mixed") && !has(p->name, "f64") ? FV_F32 : dtype_of(p->name);
    const char *layout = text_of(p->name, "layout");
    const piece t = new_piece(dtype, rank, dim, layout);
    fill_piece(&t, (uint64_t)at, port == FV_K && strncmp(p->name, "deltanet", 8) == 0 ? 0.25 : numbers[at].size);
    p->x.t[port] = t.t;
    if (grads && !strstr(grads, numbers[at].gradient)) return;
    p->gradient[at] = new_piece(dtype, rank, dim, layout);
    p->x.d[port] = p->gradient[at].t;
}

static void add_integers(problem *p, fv_operand port, int64_t count, const int64_t *value) {
    const bool wide = has(p->name, "i64");
    const piece t = new_piece(wide ? FV_I64 : FV_I32, 1, &count, NULL);
    for (int64_t i = 0; i < count; i++) fv_tensor_set(&t.t, &i, (double)value[i]);
    p->x.t[port] = t.t;
}

/* "bhqk" with a 1 for every axis that is broadcast */
static void plane_dims(const problem *p, const char *text, int64_t *dim) {
    const int64_t full[4] = {p->b, p->h, p->lq, p->lk};
    for (int a = 0; a < 4; a++) dim[a] = strlen(text) == 4 && text[a] == '1' ? 1 : full[a];
}

static void add_mask(problem *p, const char *text, bool keep) {
    int64_t dim[4], index[4];
    plane_dims(p, text, dim);
    const piece t = new_piece(has(p->name, "u8") ? FV_U8 : FV_BOOL, 4, dim, NULL);
    for (int64_t n = 0; n < fv_tensor_count(&t.t); n++) {
        index_of(&t.t, n, index);
        fv_tensor_set(&t.t, index, (random_below(key_of_name + 40, (uint64_t)n, 100) < 75) == keep);
    }
    p->x.t[FV_MASK] = t.t;
    p->how.mask_means = keep ? FV_MASK_KEEP : FV_MASK_DROP;
}

/* Sequences whose borders are random, one of them empty when there are four or more. */
static void add_borders(problem *p, int which, fv_operand port, int64_t total) {
    int64_t *start = p->start[which], n = p->sequences;
    for (int64_t i = 1; i < n; i++)
        start[i] = total * i / n + random_below(key_of_name + 50 + (uint64_t)which, (uint64_t)i, total / (2 * n) + 1);
    if (n > 3) start[2] = start[1];
    start[0] = 0, start[n] = total;
    add_integers(p, port, n + 1, start);
}

/* Which query sees which key; asked by several threads at once. The context is the word's first letter. */
static bool picture_of(void *context, int64_t batch, int64_t head, int64_t i, int64_t j) {
    switch (*(const char *)context) {
    case 'd': return i / 50 == j / 50;                                                              /* documents */
    case 's': return j <= i && (i - j < 20 || j % 16 == 15);                                        /* strided */
    case 't': return random_below(5, (uint64_t)(i / 32 * 64 + j / 64), 2) == 1;                     /* tiles */
    default: return random_below(7, (uint64_t)(((batch * 8 + head) * 1024 + i) * 1024 + j), 3) > 0; /* each */
    }
}

static fv_status add_features(problem *p) {
    static const char *const causal[] = {"none", "ul", "lr"};
    const char *name = p->name, *text;
    int64_t dim[4], value[16];
    p->how.scale = number_of(name, "scale", 0), p->how.softcap = number_of(name, "softcap", 0);
    for (int i = 0; i < 3; i++)
        if (is(name, "causal", causal[i])) p->how.causal = (fv_causal)i;
    p->call.q_offset = size_of(name, "q_offset", 0);
    if (has(name, "left") || has(name, "right"))
        p->how.window = FV_WINDOW(size_of(name, "left", -1), size_of(name, "right", -1));
    p->how.dropout = number_of(name, "dropout", 0), p->call.seed = (uint64_t)size_of(name, "seed", 1);
    if ((text = text_of(name, "bias"))) plane_dims(p, text, dim), add_numbers(p, 3, 4, dim);
    if (has(name, "sinks")) add_numbers(p, 4, 1, &p->h);
    if (has(name, "slopes")) add_numbers(p, 5, 1, &p->h);
    if ((text = text_of(name, "keep"))) add_mask(p, text, true);
    if ((text = text_of(name, "drop"))) add_mask(p, text, false);
    for (int64_t i = 0; i < p->sequences; i++) value[i] = random_below(key_of_name + 30, (uint64_t)i, p->lk + 1);
    if (has(name, "kv_len")) add_integers(p, FV_KV_LEN, p->b, value);
    if (has(name, "prefix")) add_integers(p, FV_PREFIX_LEN, p->sequences, value);
    if (!has(name, "blocks")) return FV_OK;
    const bool each = is(name, "blocks", "each");
    char *word = take(64);
    strcpy(word, text_of(name, "blocks"));
    fv_status status =
        fv_block_mask_create(&p->picture, picture_of, word, each ? p->b : 1, each ? p->h : 1, p->lq, p->lk);
    p->how.blocks = p->picture;
    return status;
}

static void add_outputs(problem *p, bool gate) {
    const char *layout = text_of(p->name, "layout");
    const int64_t out[4] = {p->b, p->h, p->lq, p->dv};
    p->out = new_piece(dtype_of(p->name), 4, out, layout), p->x.t[FV_OUT] = p->out.t;
    const piece d_out = new_piece(dtype_of(p->name), 4, out, layout);
    fill_piece(&d_out, 60, 1), p->x.d[FV_OUT] = d_out.t;
    fv_tensor shape;
    if (fv_attention_operand_shape(&p->how, &p->x, FV_AUX, &shape) == FV_OK && shape.rank)
        p->aux = new_piece(shape.dtype, shape.rank, shape.dim, NULL), p->x.t[FV_AUX] = p->aux.t;
    if (gate || has(p->name, "nolse")) return;
    p->lse = new_piece(arithmetic_of(p->name), 3, out, NULL), p->x.t[FV_LSE] = p->lse.t;
    if (!has(p->name, "dlse")) return;
    const piece d_lse = new_piece(arithmetic_of(p->name), 3, out, NULL);
    fill_piece(&d_lse, 61, 1), p->x.d[FV_LSE] = d_lse.t;
}

static void one_sign(const fv_tensor *t, double sign) {
    const fv_tensor flat = fv_tensor_1d(t->data, t->dtype, fv_tensor_count(t));
    for (int64_t n = 0; n < flat.dim[0]; n++) fv_tensor_set(&flat, &n, sign * fabs(fv_tensor_get(&flat, &n)));
}

/* Decays below and write strengths above 0, a state where the name says so; gradients of both states. */
static void add_recurrence(problem *p) {
    fv_tensor shape;
    for (int i = RECURRENT; i < NUMBERS; i++) {
        const fv_operand port = numbers[i].port;
        const bool needed = fv_mechanism_find(p->family)->needs >> port & 1;
        if (!needed && !has(p->name, port == FV_STATE ? "state" : port == FV_BETA ? "" : "decay")) continue;
        if (fv_attention_operand_shape(&p->how, &p->x, port, &shape) != FV_OK || !shape.rank) continue;
        if (port == FV_LOG_DECAY) shape.rank = has(p->name, "per_token") ? 3 : 4, shape.dim[3] = p->d;
        add_numbers(p, i, shape.rank, shape.dim);
        one_sign(&p->x.t[port], port == FV_LOG_DECAY ? -1 : 1);
        if (port != FV_STATE) continue;
        p->state_out = new_piece(arithmetic_of(p->name), shape.rank, shape.dim, NULL);
        p->x.t[FV_STATE_OUT] = p->state_out.t;
        const piece d = new_piece(arithmetic_of(p->name), shape.rank, shape.dim, NULL);
        fill_piece(&d, 62, 1), p->x.d[FV_STATE_OUT] = d.t;
    }
}

static fv_status make_problem(problem *p, const char *name) {
    static const fv_attention_options standard = FV_ATTENTION_DEFAULT;
    char *mechanism = take(NAME);
    snprintf(mechanism, NAME, "%.*s", (int)strcspn(name, "/"), name);
    const bool gate = strncmp(mechanism, "se", 2) == 0 || strncmp(mechanism, "pixel-gate", 10) == 0 ||
                      strncmp(mechanism, "eca", 3) == 0;
    *p = (problem){.name = name, .how = standard, .b = size_of(name, "b", 2), .h = size_of(name, "h", 2)};
    p->how.mechanism = mechanism;
    snprintf(p->family, sizeof p->family, "%.*s", (int)strcspn(mechanism, ":"), mechanism);
    const fv_mechanism *m = fv_mechanism_find(p->family);
    const bool recurrence = m && m->takes >> FV_STATE & 1 && !(m->can & FV_CAN_DECODE);
    p->kv = size_of(name, "kv", p->h), p->lq = size_of(name, "q", 67),
    p->lk = size_of(name, "k", gate || recurrence ? p->lq : 131);
    p->d = size_of(name, "d", 32), p->dv = gate ? p->d : size_of(name, "v", p->d);
    p->sequences = size_of(name, "cu", p->b);
    const int64_t q[4] = {p->b, p->h, p->lq, p->d}, k[4] = {p->b, p->kv, p->lk, p->d},
                  v[4] = {p->b, p->kv, p->lk, p->dv};
    add_numbers(p, 0, 4, q);
    if (!gate) add_numbers(p, 1, 4, k), add_numbers(p, 2, 4, v);
    for (int i = PARAMS; i < RECURRENT; i++) {
        fv_tensor shape;
        if (fv_attention_operand_shape(&p->how, &p->x, numbers[i].port, &shape) == FV_OK && shape.rank)
            add_numbers(p, i, shape.rank, shape.dim);
    }
    if (has(name, "cu")) add_borders(p, 0, FV_CU_Q, p->lq), memcpy(p->start[1], p->start[0], sizeof *p->start);
    if (has(name, "cuk")) add_borders(p, 1, FV_CU_K, p->lk);
    if (m) add_recurrence(p);
    const fv_status status = add_features(p);
    add_outputs(p, gate || recurrence);
    return status;
}

/* Every stage, three rows of the first and of the last sequence and head. */
static void print_weights(const problem *p, const fv_attention_plan *plan) {
    static const fv_capture captures[] = {FV_CAPTURE_RAW, FV_CAPTURE_SOFTCAPPED, FV_CAPTURE_BIASED, FV_CAPTURE_SOFTMAX,
                                          FV_CAPTURE_DROPOUT};
    uint64_t hash = hash_of("", 0);
    for (int i = 0; i < 10; i++) {
        const bool last = i >= 5, packed = has(p->name, "cu");
        const int64_t batch = last ? p->sequences - 1 : 0, head = last ? p->h - 1 : 0;
        const int64_t length = packed ? p->start[0][batch + 1] - p->start[0][batch] : p->lq;
        const int64_t rows[3] = {0, length / 2, length - 1}, dim[2] = {3, p->lk};
        const piece w = new_piece(arithmetic_of(p->name), 2, dim, NULL);
        if (length < 1) continue;
        const fv_status status =
            fv_attention_weights(plan, &p->call, &p->x, captures[i % 5], batch, head, rows, 3, &w.t);
        hash = hash_more(hash, w.t.data, w.bytes);
        if (status != FV_OK) hash = hash_more(hash, "refused", 7);
    }
    print_hash("weights", hash);
}

/* Sums of columns, entropies, pooled means and maxima; again after dropout. */
static void print_statistics(const problem *p, const fv_attention_plan *plan) {
    uint64_t hash = hash_of("", 0);
    const int64_t n = p->sequences, along = has(p->name, "cu") ? 1 : n;
    const int64_t map[4] = {n, p->h, (p->lq + 15) / 16, (p->lk + 47) / 48}, columns[3] = {along, p->h, p->lk},
                  rows[3] = {along, p->h, p->lq};
    for (int dropped = 0; dropped < 2; dropped++) {
        const fv_dtype dtype = arithmetic_of(p->name);
        const piece each[4] = {new_piece(dtype, 4, map, NULL), new_piece(dtype, 4, map, NULL),
                               new_piece(dtype, 3, columns, NULL), new_piece(dtype, 3, rows, NULL)};
        fv_attention_statistics want = FV_ATTENTION_STATISTICS_DEFAULT;
        want.pool_q = 16, want.pool_k = 48, want.dropout = dropped;
        want.mean = each[0].t, want.max = each[1].t, want.columns = each[2].t, want.entropy = each[3].t;
        void *scratch = take(fv_attention_statistics_scratch(plan, &want));
        if (fv_attention_statistics_compute(plan, &p->call, &p->x, &want, scratch) != FV_OK)
            return; /* mechanisms that have none */
        for (int i = 0; i < 4; i++) hash = hash_more(hash, each[i].t.data, each[i].bytes);
    }
    print_hash("stats", hash);
}

static fv_status run_problem(problem *p) {
    fv_attention_plan *plan;
    bool backward = false;
    fv_status status = fv_attention_plan_create(&plan, &p->how, &p->x);
    if (status != FV_OK) return status;
    for (int i = 0; i < NUMBERS; i++) backward |= p->gradient[i].t.rank > 0;
    status = fv_attention_forward(plan, &p->call, &p->x, take(fv_attention_scratch(plan, false)));
    if (status == FV_OK && backward)
        status = fv_attention_backward(plan, &p->call, &p->x, take(fv_attention_scratch(plan, true)));
    if (status == FV_OK) {
        print_hash("out", hash_piece(&p->out));
        if (p->lse.t.rank) print_hash("lse", hash_piece(&p->lse));
        if (p->aux.t.rank) print_hash("aux", hash_piece(&p->aux));
        if (p->state_out.t.rank) print_hash("state_out", hash_piece(&p->state_out));
        for (int i = 0; i < NUMBERS; i++)
            if (p->gradient[i].t.rank) print_hash(numbers[i].gradient, hash_piece(&p->gradient[i]));
        if (p->lse.t.rank || has(p->name, "weights")) print_weights(p, plan), print_statistics(p, plan);
    }
    fv_attention_plan_free(plan);
    return status;
}

static fv_status record_attention(const char *name) {
    problem p;
    fv_status status = make_problem(&p, name);
    if (status == FV_OK) status = run_problem(&p);
    fv_block_mask_free(p.picture);
    return status;
}

/* ---- decoding over a cache */

static fv_cache_options cache_options(const char *name) {
    fv_cache_options o = {.batch = size_of(name, "b", 2), .kv_heads = size_of(name, "kv", 2), .dtype = dtype_of(name)};
    o.d_qk = size_of(name, "d", 64), o.d_v = size_of(name, "v", o.d_qk);
    o.kind = has(name, "ring") ? FV_CACHE_RING : has(name, "paged") ? FV_CACHE_PAGED : FV_CACHE_CONTIGUOUS;
    o.capacity = size_of(name, "room", 300);
    if (o.kind == FV_CACHE_PAGED) o.page_rows = 32, o.pages = o.batch * (o.capacity / 32 + 1);
    return o;
}

/* Three appends of unequal counts, a truncation, and with `grow` more room before the last. */
static fv_status fill_cache(fv_kv_cache *cache, const char *name, const fv_cache_options *o) {
    const int64_t rows = size_of(name, "len", 250) / 3;
    fv_status status = FV_OK;
    for (uint64_t round = 0; round < 3 && status == FV_OK; round++) {
        const int64_t k[4] = {o->batch, o->kv_heads, rows, o->d_qk}, v[4] = {o->batch, o->kv_heads, rows, o->d_v};
        const piece keys = new_piece(FV_F32, 4, k, "gaps"), values = new_piece(FV_F32, 4, v, "blhd");
        int64_t counts[8];
        for (int64_t b = 0; b < o->batch; b++)
            counts[b] = rows - random_below(key_of_name + round, (uint64_t)b, rows / 4 + 1);
        fill_piece(&keys, 10 + round, 2), fill_piece(&values, 20 + round, 1);
        if (round == 2 && has(name, "grow"))
            status = fv_kv_cache_grow(cache, o->kind == FV_CACHE_PAGED ? o->pages + 5 : o->capacity + 77);
        if (status == FV_OK) status = fv_kv_cache_append(cache, &keys.t, &values.t, counts);
        if (status == FV_OK && round == 1) status = fv_kv_cache_truncate(cache, 0, fv_kv_cache_length(cache, 0) - 3);
    }
    return status;
}

static piece decode_extra(const char *name, const char *key, int64_t heads, uint64_t stream, double size) {
    const piece t = has(name, key) ? new_piece(FV_F32, 1, &heads, NULL) : (piece){0};
    if (t.t.rank) fill_piece(&t, stream, size);
    return t;
}

/* The parameters of the mechanism. */
static void decode_params(fv_decode_tensors *x, const fv_decode_options *how, const fv_cache_options *o) {
    const int64_t k[4] = {o->batch, o->kv_heads, 1, o->d_qk}, v[4] = {o->batch, o->kv_heads, 1, o->d_v};
    const fv_attention_options as = {.mechanism = how->mechanism};
    fv_attention_tensors shapes = {.t = {[FV_Q] = x->q}};
    shapes.t[FV_K] = fv_tensor_of(NULL, FV_F32, 4, k), shapes.t[FV_V] = fv_tensor_of(NULL, FV_F32, 4, v);
    for (int i = 0; i < 6; i++) {
        fv_tensor shape;
        if (fv_attention_operand_shape(&as, &shapes, (fv_operand)(FV_W0 + i), &shape) != FV_OK || !shape.rank) continue;
        const piece t = new_piece(FV_F32, shape.rank, shape.dim, NULL);
        fill_piece(&t, 80 + (uint64_t)i, 1), x->w[i] = t.t;
    }
}

static fv_status decode_rows(fv_kv_cache *cache, const char *name, const fv_cache_options *o) {
    fv_decode_options how = FV_DECODE_DEFAULT;
    fv_decode_plan *plan;
    const int64_t heads = size_of(name, "h", 4), n = size_of(name, "n", 1);
    const int64_t in[4] = {o->batch, heads, n, o->d_qk}, to[4] = {o->batch, heads, n, o->d_v};
    const fv_dtype dtype = has(name, "q16") ? FV_BF16 : FV_F32;
    const piece q = new_piece(dtype, 4, in, NULL), out = new_piece(has(name, "out16") ? FV_F16 : dtype, 4, to, "gaps"),
                lse = new_piece(FV_F32, 3, to, NULL), sinks = decode_extra(name, "sinks", heads, 71, 2),
                slopes = decode_extra(name, "slopes", heads, 72, 0.25);
    const int64_t counts[8] = {n, n / 2, n, 0, n, n, n, n};
    how.scale = number_of(name, "scale", 0), how.softcap = number_of(name, "softcap", 0);
    if (has(name, "left")) how.window = FV_WINDOW(size_of(name, "left", -1), -1);
    how.see_all = has(name, "see_all");
    how.mechanism = text_of(name, "mechanism");
    fill_piece(&q, 70, 2);
    fv_status status = fv_decode_plan_create(&plan, &how, cache, heads, n);
    if (status != FV_OK) return status;
    fv_decode_tensors x = {.q = q.t,
                           .out = out.t,
                           .lse = lse.t,
                           .sinks = sinks.t,
                           .slopes = slopes.t,
                           .counts = has(name, "counts") ? counts : NULL};
    if (how.mechanism) decode_params(&x, &how, o);
    status = fv_decode(plan, cache, &x, take(fv_decode_scratch(plan, cache)));
    if (status == FV_OK) print_hash("out", hash_piece(&out)), print_hash("lse", hash_piece(&lse));
    fv_decode_plan_free(plan);
    return status;
}

static fv_status record_decode(const char *name) {
    const fv_cache_options o = cache_options(name);
    fv_kv_cache *cache;
    fv_status status = fv_kv_cache_create(&cache, &o);
    if (status != FV_OK) return status;
    status = fill_cache(cache, name, &o);
    if (status == FV_OK) status = decode_rows(cache, name, &o);
    for (int64_t b = 0; b < o.batch && status == FV_OK; b++) {
        const int64_t first = fv_kv_cache_first(cache, b), count = fv_kv_cache_length(cache, b) - first;
        const int64_t kd[3] = {o.kv_heads, count, o.d_qk}, vd[3] = {o.kv_heads, count, o.d_v};
        const piece k = new_piece(FV_F32, 3, kd, NULL), v = new_piece(FV_F32, 3, vd, NULL);
        status = fv_kv_cache_read(cache, b, first, &k.t, &v.t);
        if (status == FV_OK) print_hash("k", hash_piece(&k)), print_hash("v", hash_piece(&v));
    }
    fv_kv_cache_free(cache);
    return status;
}

/* ---- rotary positions */

static fv_status record_rotary(const char *name) {
    static const char *const scalings[] = {"unscaled", "linear", "ntk", "yarn", "llama3"};
    fv_rope_options o = FV_ROPE_DEFAULT;
    const int64_t b = size_of(name, "b", 2), l = size_of(name, "l", 37), dim[4] = {b, 3, l, size_of(name, "d", 64)};
    const char *layout = text_of(name, "layout");
    const piece from = new_piece(dtype_of(name), 4, dim, layout), to = new_piece(dtype_of(name), 4, dim, NULL),
                back = new_piece(dtype_of(name), 4, dim, layout);
    o.pairing = has(name, "pairs") ? FV_ROPE_INTERLEAVED : FV_ROPE_HALF;
    for (int i = 0; i < 5; i++)
        if (has(name, scalings[i])) o.scaling = (fv_rope_scaling)i;
    o.columns = size_of(name, "columns", 0), o.base = number_of(name, "base", 10000),
    o.offset = size_of(name, "offset", 0);
    o.factor = number_of(name, "factor", o.scaling == FV_ROPE_UNSCALED ? 1 : 4);
    o.original_length = o.scaling >= FV_ROPE_YARN ? 2048 : 0;
    if (has(name, "magnitude")) o.magnitude = fv_rope_attention_factor(&o);
    if (has(name, "position")) {
        const int64_t pd[2] = {b, l};
        const piece at = new_piece(FV_I64, 2, pd, NULL);
        for (int64_t n = 0; n < b * l; n++)
            fv_tensor_set(&at.t, (int64_t[]){n / l, n % l}, (double)random_below(key_of_name, (uint64_t)n, 5000));
        o.position = at.t;
    }
    if (has(name, "tables")) {
        const int64_t td[2] = {5000, (o.columns ? o.columns : dim[3]) / 2};
        const piece cosine = new_piece(FV_F32, 2, td, NULL), sine = new_piece(FV_F32, 2, td, NULL);
        const fv_status made = fv_rope_tables(&o, &cosine.t, &sine.t);
        if (made != FV_OK) return made;
        o.cosine = cosine.t, o.sine = sine.t;
        print_hash("tables", hash_more(hash_piece(&cosine), sine.t.data, sine.bytes));
    }
    fill_piece(&from, 1, 2);
    fv_status status = fv_rope_forward(&o, &from.t, &to.t);
    if (status == FV_OK) status = fv_rope_backward(&o, &to.t, &back.t);
    if (status == FV_OK) print_hash("out", hash_piece(&to)), print_hash("dx", hash_piece(&back));
    return status;
}

/* ---- settings of the library */

static bool use_isa(const char *isa) { return fv_set_isa(isa) == FV_OK; }
static void use_threads(int threads) { fv_set_threads(threads); }
static int status_ok(void) { return FV_OK; }
static const char *reason(void) { return fv_message(); }
typedef fv_status recorder(const char *name);

/* ==== the configurations
 * ========================================================================================================= */

#include "configurations.h"
#include "machine.h"

/* ==== the lines
 * ================================================================================================================== */

static const char *only = "", *only_isa = "";

static void record(const char *name) {
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
    recorder *how = strncmp(name, "decode/", 7) == 0   ? record_decode
                    : strncmp(name, "rotary/", 7) == 0 ? record_rotary
                                                       : record_attention;
    if (!strstr(name, only)) return;
    key_of_name = hash_of(name, strlen(name));
    for (int i = 0; i < 4; i++) {
        if ((*only_isa && strcmp(only_isa, isas[i]) != 0) || !use_isa(isas[i])) continue;
        printf("%s %s", name, isas[i]);
        const int status = (int)how(name);
        if (status != status_ok()) printf(" refused=%d", status);
        if (status != status_ok() && *only) printf(" # %s", reason());
        putchar('\n');
        free_all();
    }
}

int main(int argc, char **argv) {
    if (argc > 1) only = argv[1];
    use_threads(argc > 2 ? atoi(argv[2]) : 1);
    if (argc > 3) only_isa = argv[3];
    print_machine();
    walk_configurations(record);
    return fflush(stdout) != 0;
}
