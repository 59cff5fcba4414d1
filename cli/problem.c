/* Random attention problems. See trial.h. */
#include "problem.h"
#include "console.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- numbers (splitmix64, Steele, Lea and Flood, OOPSLA 2014) ------------------------------------------------------------ */

static uint64_t next_random(cli_random *r) {
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t cli_random_below(cli_random *r, int64_t n) { return (int64_t)(next_random(r) % (uint64_t)n); }

static double uniform(cli_random *r) { return (double)(next_random(r) >> 11) * 0x1p-53; }

double cli_random_normal(cli_random *r) {
    double u = uniform(r), v = uniform(r);
    return sqrt(-2 * log(1 - u)) * cos(2 * 3.14159265358979323846 * v);
}

/* ---- tensors ----------------------------------------------------------------------------------------------------------------- */

fv_tensor cli_trial_new(cli_trial *trial, const fv_tensor *shape) {
    fv_tensor t = fv_tensor_of(NULL, shape->dtype, shape->rank, shape->dim);
    int64_t count = fv_tensor_count(&t);
    size_t bytes;
    if (count < 0 || __builtin_mul_overflow((size_t)count, fv_dtype_size(t.dtype), &bytes)) bytes = SIZE_MAX / 2;
    t.data = trial->block[trial->blocks++] = cli_alloc(bytes);
    return t;
}

/* Values a port can have: log decays are negative, write strengths lie in (0, 1), parameters are small. */
static double value_for(fv_port port, cli_random *r) {
    double x = cli_random_normal(r);
    if (port == FV_GATE || port == FV_SLOPES) return port == FV_GATE ? -0.2 * fabs(x) : 0.1 * fabs(x);
    if (port == FV_BETA) return 1 / (1 + exp(-x));
    return port >= FV_W0 && port <= FV_W5 ? 0.3 * x : x;
}

static void fill(const fv_tensor *t, fv_port port, cli_random *r) {
    int64_t count = fv_tensor_count(t);
    fv_tensor flat = fv_tensor_1d(t->data, t->dtype, count);
    /* floats, so that a problem is the same in f32 and f64 */
    for (int64_t i = 0; i < count; ++i) fv_tensor_set(&flat, &i, (double)(float)value_for(port, r));
}

static fv_tensor shape4(fv_dtype dtype, int64_t a, int64_t b, int64_t c, int64_t d) {
    int64_t dim[4] = {a, b, c, d};
    return fv_tensor_of(NULL, dtype, 4, dim);
}

/* A port of the shape the library asks for, filled. */
static fv_status add_port(cli_trial *trial, fv_port port, fv_dtype dtype, cli_random *r) {
    fv_tensor shape;
    fv_status status = fv_attention_port_shape(&trial->how, &trial->x, port, &shape);
    if (status != FV_OK || shape.rank == 0) return status;
    shape.dtype = dtype;
    trial->x.t[port] = cli_trial_new(trial, &shape);
    fill(&trial->x.t[port], port, r);
    return FV_OK;
}

static void add_word(cli_trial *trial, const char *word) {
    size_t n = strlen(trial->text);
    snprintf(trial->text + n, sizeof trial->text - n, " %s", word);
}

/* ---- masks, lengths, packing -------------------------------------------------------------------------------------------------- */

static void add_mask(cli_trial *trial, cli_random *r) {
    const fv_tensor *q = &trial->x.t[FV_Q], *k = &trial->x.t[FV_K];
    fv_tensor shape = shape4(FV_BOOL, cli_random_below(r, 2) ? q->dim[0] : 1, cli_random_below(r, 2) ? q->dim[1] : 1,
                             q->dim[2], k->dim[2]);
    fv_tensor mask = trial->x.t[FV_MASK] = cli_trial_new(trial, &shape);
    for (int64_t i = 0; i < fv_tensor_count(&mask); ++i) ((unsigned char *)mask.data)[i] = cli_random_below(r, 4) != 0;
    trial->how.mask_means = cli_random_below(r, 2) ? FV_MASK_KEEP : FV_MASK_DROP;
    add_word(trial, trial->how.mask_means == FV_MASK_KEEP ? "mask keep" : "mask drop");
}

static void add_plane(cli_trial *trial, cli_random *r) {
    const fv_tensor *q = &trial->x.t[FV_Q], *k = &trial->x.t[FV_K];
    int64_t dim[4] = {q->dim[0], q->dim[1], q->dim[2], k->dim[2]};
    for (int a = 0; a < 4; ++a)
        if (cli_random_below(r, 3) == 0) dim[a] = 1;
    fv_tensor shape = shape4(q->dtype, dim[0], dim[1], dim[2], dim[3]);
    trial->x.t[FV_BIAS] = cli_trial_new(trial, &shape);
    fill(&trial->x.t[FV_BIAS], FV_BIAS, r);
    add_word(trial, "bias");
}

static void add_lengths(cli_trial *trial, cli_random *r) {
    int64_t batch = trial->x.t[FV_Q].dim[0], keys = trial->x.t[FV_K].dim[2];
    fv_tensor shape = fv_tensor_1d(NULL, FV_I32, batch), lengths = trial->x.t[FV_KV_LEN] = cli_trial_new(trial, &shape);
    for (int64_t i = 0; i < batch; ++i) ((int32_t *)lengths.data)[i] = (int32_t)cli_random_below(r, keys + 1);
    add_word(trial, "kv_len");
}

static void add_prefix(cli_trial *trial, int64_t sequences, cli_random *r) {
    int64_t keys = trial->x.t[FV_K].dim[2];
    fv_tensor shape = fv_tensor_1d(NULL, FV_I32, sequences),
              t = trial->x.t[FV_PREFIX_LEN] = cli_trial_new(trial, &shape);
    for (int64_t i = 0; i < sequences; ++i) ((int32_t *)t.data)[i] = (int32_t)cli_random_below(r, keys + 1);
    add_word(trial, "prefix_len");
}

static void add_packing(cli_trial *trial, fv_port port, int64_t total, int64_t sequences, cli_random *r) {
    fv_tensor shape = fv_tensor_1d(NULL, FV_I32, sequences + 1), cu = trial->x.t[port] = cli_trial_new(trial, &shape);
    int32_t *at = cu.data;
    for (int64_t i = 1; i < sequences; ++i) {
        at[i] = at[i - 1] + (int32_t)cli_random_below(r, total / sequences * 2);
        if (at[i] > total) at[i] = (int32_t)total;
    }
    at[sequences] = (int32_t)total;
}

static void add_structure(cli_trial *trial, cli_random *r, bool packed) {
    uint32_t can = trial->mechanism->can, takes = trial->mechanism->takes;
    if (can & FV_CAN_CAUSAL && cli_random_below(r, 2)) {
        trial->how.causal = cli_random_below(r, 2) ? FV_CAUSAL_UPPER_LEFT : FV_CAUSAL_LOWER_RIGHT;
        add_word(trial, trial->how.causal == FV_CAUSAL_UPPER_LEFT ? "causal upper-left" : "causal lower-right");
    }
    if (can & FV_CAN_CAUSAL && cli_random_below(r, 3) == 0) {
        trial->how.window_left = cli_random_below(r, 20);
        trial->how.window_right = cli_random_below(r, 2) ? -1 : cli_random_below(r, 20);
        add_word(trial, "window");
    }
    if (takes >> FV_MASK & 1 && !packed && cli_random_below(r, 3) == 0) add_mask(trial, r);
    if (can & FV_CAN_LENGTHS && !packed && cli_random_below(r, 3) == 0) add_lengths(trial, r);
    if (takes >> FV_BIAS & 1 && cli_random_below(r, 3) == 0) add_plane(trial, r);
    if (takes >> FV_SLOPES & 1 && cli_random_below(r, 4) == 0) trial->how.softcap = 2, add_word(trial, "softcap");
    if (can & FV_CAN_DROPOUT && cli_random_below(r, 4) == 0)
        trial->how.dropout = 0.2, trial->how.seed = 7, add_word(trial, "dropout");
    if (takes >> FV_PREFIX_LEN & 1 && !packed && cli_random_below(r, 5) == 0)
        add_prefix(trial, trial->x.t[FV_Q].dim[0], r);
    if (packed) {
        int64_t sequences = 1 + cli_random_below(r, 4);
        bool same = trial->x.t[FV_Q].dim[2] == trial->x.t[FV_K].dim[2];
        add_packing(trial, FV_CU_Q, trial->x.t[FV_Q].dim[2], sequences, r);
        if (!same) add_packing(trial, FV_CU_K, trial->x.t[FV_K].dim[2], sequences, r);
        add_word(trial, "packed");
    }
}

/* ---- a whole problem ------------------------------------------------------------------------------------------------------------- */

static fv_status add_ports(cli_trial *trial, fv_dtype dtype, cli_random *r, bool optional) {
    fv_status status = FV_OK;
    for (int port = FV_BIAS; port < FV_MASK && status == FV_OK; ++port) {
        bool needed = trial->mechanism->needs >> port & 1, taken = trial->mechanism->takes >> port & 1;
        if (trial->x.t[port].rank) continue;
        if (!needed && !(optional && taken && cli_random_below(r, 3) == 0)) continue;
        status = add_port(trial, (fv_port)port, dtype, r);
        if (!needed && trial->x.t[port].rank) add_word(trial, fv_port_name((fv_port)port));
    }
    return status;
}

static fv_status outputs_of(cli_trial *trial, bool backward, uint32_t fixed) {
    static const fv_port outs[] = {FV_OUT, FV_LSE, FV_STATE_OUT, FV_AUX};
    for (size_t i = 0; i < sizeof outs / sizeof *outs; ++i) {
        fv_tensor shape;
        fv_status status = fv_attention_port_shape(&trial->how, &trial->x, outs[i], &shape);
        if (status != FV_OK) return status;
        if (outs[i] == FV_LSE && trial->mechanism->can & FV_CAN_SELF) continue; /* a gate has no softmax */
        if (shape.rank > 0) trial->x.t[outs[i]] = cli_trial_new(trial, &shape);
    }
    if (backward) {
        cli_random r = {99};
        trial->x.d[FV_OUT] = cli_trial_new(trial, &trial->x.t[FV_OUT]);
        fill(&trial->x.d[FV_OUT], FV_OUT, &r);
        for (int port = FV_Q; port < FV_MASK; ++port)
            if (trial->x.t[port].rank > 0 && !(fixed >> port & 1))
                trial->x.d[port] = cli_trial_new(trial, &trial->x.t[port]);
    }
    return FV_OK;
}

/* Quarters: their products are exact in f32, so that scores which are equal in f64 are equal in f32 as well. */
static void onto_grid(const fv_tensor *t) {
    fv_tensor flat = fv_tensor_1d(t->data, t->dtype, t->rank ? fv_tensor_count(t) : 0);
    for (int64_t i = 0; i < flat.dim[0]; ++i) fv_tensor_set(&flat, &i, rint(4 * fv_tensor_get(&flat, &i)) / 4);
}

/* What a mechanism's row does not say it cannot do, and it refuses: windows. */
static fv_status plan_without_windows(cli_trial *trial) {
    fv_status status = fv_attention_plan_create(&trial->plan, &trial->how, &trial->x);
    if (status != FV_USAGE || (trial->how.window_left < 0 && trial->how.window_right < 0)) return status;
    trial->how.window_left = trial->how.window_right = -1;
    add_word(trial, "(left out)");
    return fv_attention_plan_create(&trial->plan, &trial->how, &trial->x);
}

/* Parameters that matter at these lengths, where the usual ones would not. */
static const char *text_of(const char *name) {
    return strcmp(name, "window") == 0 ? "window:left=9,right=4" : strcmp(name, "topk") == 0 ? "topk:k=6" : name;
}

fv_status cli_trial_random(cli_trial *trial, const fv_mechanism *m, uint64_t seed, fv_dtype dtype, bool grid) {
    static const int64_t widths[] = {1, 3, 8, 16, 24, 33, 64};
    cli_random r = {seed * 0x2545f4914f6cdd1du + 1};
    memset(trial, 0, sizeof *trial);
    trial->mechanism = m;
    trial->how = (fv_attention_options)FV_ATTENTION_DEFAULT;
    trial->how.mechanism = text_of(m->name);
    bool gate = (m->needs >> FV_K & 1) == 0, packed = m->can & FV_CAN_PACKED && cli_random_below(&r, 4) == 0;
    int64_t b = packed ? 1 : 1 + cli_random_below(&r, 2), hkv = 1 + cli_random_below(&r, 2),
            group = m->can & FV_CAN_GROUPED ? 1 + cli_random_below(&r, 3) : 1;
    int64_t lq = 1 + cli_random_below(&r, 40), lk = cli_random_below(&r, 2) ? lq : 1 + cli_random_below(&r, 80);
    int64_t d = widths[cli_random_below(&r, 7)], dv = cli_random_below(&r, 2) ? d : widths[cli_random_below(&r, 7)];
    if (seed % 16 == 0) /* several blocks of an engine; one head, for the reference is slow */
        b = hkv = group = 1, lq += 60, lk = 130 + 3 * lk;
    if (packed) lq += 4, lk = cli_random_below(&r, 2) ? lq : lk + 4;
    snprintf(trial->text, sizeof trial->text, "b%lld h%lld/%lld q%lld k%lld d%lld dv%lld %s", (long long)b,
             (long long)(hkv * group), (long long)hkv, (long long)lq, (long long)lk, (long long)d, (long long)dv,
             fv_dtype_name(dtype));
    const fv_tensor shape[3] = {shape4(dtype, b, hkv * group, lq, d), shape4(dtype, b, hkv, lk, d),
                                shape4(dtype, b, hkv, lk, dv)};
    for (int port = FV_Q; port <= (gate ? FV_Q : FV_V); ++port) {
        trial->x.t[port] = cli_trial_new(trial, &shape[port]);
        fill(&trial->x.t[port], (fv_port)port, &r);
    }
    if (!gate) add_structure(trial, &r, packed);
    if (!gate && cli_random_below(&r, 4) == 0 && m->can & FV_CAN_WEIGHTS) trial->how.scale = 0.3;
    fv_status status = add_ports(trial, dtype, &r, !packed);
    if (status == FV_OK) status = outputs_of(trial, (m->can & FV_CAN_BACKWARD) != 0, 0);
    const fv_tensor *lse = &trial->x.t[FV_LSE];
    if (status == FV_OK && lse->rank && m->can & FV_CAN_WEIGHTS && cli_random_below(&r, 2)) {
        trial->x.d[FV_LSE] = cli_trial_new(trial, lse);
        fill(&trial->x.d[FV_LSE], FV_LSE, &r);
        add_word(trial, "dlse");
    }
    for (int port = FV_Q; grid && port <= FV_BIAS; ++port)
        if (port != FV_V) onto_grid(&trial->x.t[port]);
    return status == FV_OK ? plan_without_windows(trial) : status;
}

static void add_bias(cli_trial *trial, const cli_trial_shape *s, cli_random *r) {
    fv_tensor shape = shape4(trial->x.t[FV_Q].dtype, 1, s->h, s->l, s->l);
    trial->x.t[FV_BIAS] = cli_trial_new(trial, &shape);
    fill(&trial->x.t[FV_BIAS], FV_BIAS, r);
}

static void add_starts(cli_trial *trial, const cli_trial_shape *s) {
    fv_tensor shape = fv_tensor_1d(NULL, FV_I32, s->sequences + 1), cu = cli_trial_new(trial, &shape);
    memcpy(cu.data, s->start, (size_t)(s->sequences + 1) * sizeof *s->start);
    trial->x.t[FV_CU_Q] = cu;
}

fv_status cli_trial_of(cli_trial *trial, const fv_attention_options *how, const cli_trial_shape *s, fv_dtype dtype,
                       bool backward) {
    cli_random r = {1};
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(how->mechanism, ":"), how->mechanism);
    memset(trial, 0, sizeof *trial);
    trial->mechanism = fv_mechanism_find(name);
    trial->how = *how;
    bool gate = (trial->mechanism->needs >> FV_K & 1) == 0;
    const fv_tensor q = shape4(dtype, s->b, s->h, s->l, s->d), k = shape4(dtype, s->b, s->hkv, s->l, s->d);
    for (int port = FV_Q; port <= (gate ? FV_Q : FV_V); ++port) {
        trial->x.t[port] = cli_trial_new(trial, port == FV_Q ? &q : &k);
        fill(&trial->x.t[port], (fv_port)port, &r);
    }
    if (s->bias != CLI_BIAS_NONE) add_bias(trial, s, &r);
    if (s->sequences > 0) add_starts(trial, s);
    fv_status status = add_ports(trial, dtype, &r, false);
    if (status == FV_OK) status = outputs_of(trial, backward, s->bias == CLI_BIAS_FULL ? 1u << FV_BIAS : 0);
    return status == FV_OK ? fv_attention_plan_create(&trial->plan, &trial->how, &trial->x) : status;
}

fv_status cli_trial_run(cli_trial *trial, bool backward) {
    size_t size = fv_attention_scratch(trial->plan, false),
           more = backward ? fv_attention_scratch(trial->plan, true) : 0;
    void *scratch = cli_alloc(size > more ? size : more);
    fv_status status = fv_attention_forward(trial->plan, &trial->x, scratch);
    if (status == FV_OK && backward) status = fv_attention_backward(trial->plan, &trial->x, scratch);
    cli_free(scratch);
    return status;
}

void cli_trial_free(cli_trial *trial) {
    fv_attention_plan_free(trial->plan);
    for (int i = 0; i < trial->blocks; ++i) cli_free(trial->block[i]);
    memset(trial, 0, sizeof *trial);
}

double cli_difference(const fv_tensor *a, const fv_tensor *b) {
    int64_t count = fv_tensor_count(a);
    fv_tensor x = fv_tensor_1d(a->data, a->dtype, count), y = fv_tensor_1d(b->data, b->dtype, count);
    double largest = 1e-30, worst = 0;
    for (int64_t i = 0; i < count; ++i) {
        double value = fabs(fv_tensor_get(&y, &i));
        if (isfinite(value) && value > largest) largest = value;
    }
    for (int64_t i = 0; i < count; ++i) {
        double p = fv_tensor_get(&x, &i), q = fv_tensor_get(&y, &i);
        if (p == q || (isnan(p) && isnan(q))) continue;
        if (!isfinite(p) || !isfinite(q)) return INFINITY;
        worst = fmax(worst, fabs(p - q) / (1e-3 * largest + fabs(q)));
    }
    return worst;
}
