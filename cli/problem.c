/* Random attention problems. See problem.h. */
#include "problem.h"
#include "console.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- numbers (splitmix64, Steele, Lea and Flood, OOPSLA 2014) */

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

/* ---- tensors */

fv_tensor cli_problem_new(cli_problem *problem, const fv_tensor *shape) {
    fv_tensor t = fv_tensor_of(NULL, shape->dtype, shape->rank, shape->dim);
    int64_t count = fv_tensor_count(&t);
    size_t bytes;
    if (count < 0 || __builtin_mul_overflow((size_t)count, fv_dtype_size(t.dtype), &bytes)) bytes = SIZE_MAX / 2;
    t.data = problem->block[problem->blocks++] = cli_alloc(bytes);
    return t;
}

/* Values an operand can have: log decays are negative, write strengths lie in (0, 1), parameters are small. */
static double value_for(fv_operand operand, cli_random *r) {
    double x = cli_random_normal(r);
    if (operand == FV_LOG_DECAY || operand == FV_SLOPES)
        return operand == FV_LOG_DECAY ? -0.2 * fabs(x) : 0.1 * fabs(x);
    if (operand == FV_BETA) return 1 / (1 + exp(-x));
    return fv_operand_is(operand, FV_ROLE_PARAM) && operand != FV_SINKS ? 0.3 * x : x;
}

static void fill(const fv_tensor *t, fv_operand operand, cli_random *r) {
    int64_t count = fv_tensor_count(t);
    fv_tensor flat = fv_tensor_1d(t->data, t->dtype, count);
    /* floats, so that a problem is the same in f32 and f64 */
    for (int64_t i = 0; i < count; i++) fv_tensor_set(&flat, &i, (double)(float)value_for(operand, r));
}

static fv_tensor shape4(fv_dtype dtype, int64_t a, int64_t b, int64_t c, int64_t d) {
    int64_t dim[4] = {a, b, c, d};
    return fv_tensor_of(NULL, dtype, 4, dim);
}

/* An operand of the shape the library asks for, filled. */
static fv_status add_operand(cli_problem *problem, fv_operand operand, fv_dtype dtype, cli_random *r) {
    fv_tensor shape;
    fv_status status = fv_attention_operand_shape(&problem->how, &problem->x, operand, &shape);
    if (status != FV_OK || shape.rank == 0) return status;
    shape.dtype = dtype;
    problem->x.t[operand] = cli_problem_new(problem, &shape);
    fill(&problem->x.t[operand], operand, r);
    return FV_OK;
}

static void add_word(cli_problem *problem, const char *word) {
    size_t n = strlen(problem->text);
    snprintf(problem->text + n, sizeof problem->text - n, " %s", word);
}

/* ---- masks, lengths, packing */

static void add_mask(cli_problem *problem, cli_random *r) {
    const fv_tensor *q = &problem->x.t[FV_Q], *k = &problem->x.t[FV_K];
    fv_tensor shape = shape4(FV_BOOL, cli_random_below(r, 2) ? q->dim[0] : 1, cli_random_below(r, 2) ? q->dim[1] : 1,
                             q->dim[2], k->dim[2]);
    fv_tensor mask = problem->x.t[FV_MASK] = cli_problem_new(problem, &shape);
    for (int64_t i = 0; i < fv_tensor_count(&mask); i++) ((unsigned char *)mask.data)[i] = cli_random_below(r, 4) != 0;
    problem->how.mask_means = cli_random_below(r, 2) ? FV_MASK_KEEP : FV_MASK_DROP;
    add_word(problem, problem->how.mask_means == FV_MASK_KEEP ? "mask keep" : "mask drop");
}

static void add_plane(cli_problem *problem, cli_random *r) {
    const fv_tensor *q = &problem->x.t[FV_Q], *k = &problem->x.t[FV_K];
    int64_t dim[4] = {q->dim[0], q->dim[1], q->dim[2], k->dim[2]};
    for (int a = 0; a < 4; a++)
        if (cli_random_below(r, 3) == 0) dim[a] = 1;
    fv_tensor shape = shape4(q->dtype, dim[0], dim[1], dim[2], dim[3]);
    problem->x.t[FV_BIAS] = cli_problem_new(problem, &shape);
    fill(&problem->x.t[FV_BIAS], FV_BIAS, r);
    add_word(problem, "bias");
}

static void add_lengths(cli_problem *problem, cli_random *r) {
    int64_t batch = problem->x.t[FV_Q].dim[0], keys = problem->x.t[FV_K].dim[2];
    fv_tensor shape = fv_tensor_1d(NULL, FV_I32, batch),
              lengths = problem->x.t[FV_KV_LEN] = cli_problem_new(problem, &shape);
    for (int64_t i = 0; i < batch; i++) ((int32_t *)lengths.data)[i] = (int32_t)cli_random_below(r, keys + 1);
    add_word(problem, "kv_len");
}

static void add_prefix(cli_problem *problem, int64_t sequences, cli_random *r) {
    int64_t keys = problem->x.t[FV_K].dim[2];
    fv_tensor shape = fv_tensor_1d(NULL, FV_I32, sequences),
              t = problem->x.t[FV_PREFIX_LEN] = cli_problem_new(problem, &shape);
    for (int64_t i = 0; i < sequences; i++) ((int32_t *)t.data)[i] = (int32_t)cli_random_below(r, keys + 1);
    add_word(problem, "prefix_len");
}

static void add_packing(cli_problem *problem, fv_operand operand, int64_t total, int64_t sequences, cli_random *r) {
    fv_tensor shape = fv_tensor_1d(NULL, FV_I32, sequences + 1),
              cu = problem->x.t[operand] = cli_problem_new(problem, &shape);
    int32_t *at = cu.data;
    for (int64_t i = 1; i < sequences; i++) {
        at[i] = at[i - 1] + (int32_t)cli_random_below(r, total / sequences * 2);
        if (at[i] > total) at[i] = (int32_t)total;
    }
    at[sequences] = (int32_t)total;
}

/* Of its tokens a recurrence knows the past, and keys as many as queries. */
static bool is_recurrence(const fv_mechanism *m) { return (m->takes >> FV_STATE & 1) && !(m->can & FV_CAN_DECODE); }

/* Those that also take all keys at once have a state in causal calls of that kind. */
static bool takes_state(const cli_problem *p) {
    const fv_tensor *t = p->x.t;
    return is_recurrence(p->mechanism) || (p->how.causal == FV_CAUSAL_UPPER_LEFT && !p->how.window.limited &&
                                           t[FV_Q].dim[2] == t[FV_K].dim[2] && !t[FV_CU_K].rank);
}

static void add_structure(cli_problem *problem, cli_random *r, bool packed) {
    const uint32_t can = problem->mechanism->can;
    const uint64_t takes = problem->mechanism->takes;
    if (can & FV_CAN_CAUSAL && cli_random_below(r, 2)) {
        bool upper_left = cli_random_below(r, 2) || is_recurrence(problem->mechanism);
        problem->how.causal = upper_left ? FV_CAUSAL_UPPER_LEFT : FV_CAUSAL_LOWER_RIGHT;
        add_word(problem, problem->how.causal == FV_CAUSAL_UPPER_LEFT ? "causal upper-left" : "causal lower-right");
    }
    if (can & FV_CAN_CAUSAL && !is_recurrence(problem->mechanism) && cli_random_below(r, 3) == 0) {
        problem->how.window = FV_WINDOW(cli_random_below(r, 20), -1);
        if (!cli_random_below(r, 2)) problem->how.window.right = cli_random_below(r, 20);
        add_word(problem, "window");
    }
    if (takes >> FV_MASK & 1 && !packed && cli_random_below(r, 3) == 0) add_mask(problem, r);
    if (can & FV_CAN_KV_LEN && !packed && cli_random_below(r, 3) == 0) add_lengths(problem, r);
    if (takes >> FV_BIAS & 1 && cli_random_below(r, 3) == 0) add_plane(problem, r);
    if (takes >> FV_SLOPES & 1 && cli_random_below(r, 4) == 0) problem->how.softcap = 2, add_word(problem, "softcap");
    if (can & FV_CAN_DROPOUT && cli_random_below(r, 4) == 0)
        problem->how.dropout = 0.2, problem->call.seed = 7, add_word(problem, "dropout");
    if (takes >> FV_PREFIX_LEN & 1 && !packed && cli_random_below(r, 5) == 0)
        add_prefix(problem, problem->x.t[FV_Q].dim[0], r);
    if (packed) {
        int64_t sequences = 1 + cli_random_below(r, 4);
        bool same = problem->x.t[FV_Q].dim[2] == problem->x.t[FV_K].dim[2];
        add_packing(problem, FV_CU_Q, problem->x.t[FV_Q].dim[2], sequences, r);
        if (!same) add_packing(problem, FV_CU_K, problem->x.t[FV_K].dim[2], sequences, r);
        add_word(problem, "packed");
    }
}

/* ---- a whole problem */

static fv_status add_operands(cli_problem *problem, fv_dtype dtype, cli_random *r, bool optional) {
    fv_status status = FV_OK;
    for (int operand = 0; operand < FV_OPERANDS && status == FV_OK; operand++) {
        if (!fv_operand_is(operand, FV_ROLE_DIFFERENTIABLE) || fv_operand_is_qkv(operand)) continue;
        bool needed = problem->mechanism->needs >> operand & 1, taken = problem->mechanism->takes >> operand & 1;
        if (problem->x.t[operand].rank || (operand == FV_STATE && !takes_state(problem))) continue;
        if (!needed && !(optional && taken && cli_random_below(r, 3) == 0)) continue;
        status = add_operand(problem, (fv_operand)operand, dtype, r);
        if (!needed && problem->x.t[operand].rank) add_word(problem, fv_operand_name((fv_operand)operand));
    }
    return status;
}

static fv_status outputs_of(cli_problem *problem, bool backward, uint64_t fixed) {
    static const fv_operand outs[] = {FV_OUT, FV_LSE, FV_STATE_OUT, FV_AUX};
    for (size_t i = 0; i < sizeof outs / sizeof *outs; i++) {
        fv_tensor shape;
        fv_status status = fv_attention_operand_shape(&problem->how, &problem->x, outs[i], &shape);
        if (status != FV_OK) return status;
        if (outs[i] == FV_LSE && problem->mechanism->can & FV_CAN_SELF) continue; /* a gate has no softmax */
        if (shape.rank > 0) problem->x.t[outs[i]] = cli_problem_new(problem, &shape);
    }
    if (backward) {
        cli_random r = {99};
        problem->x.d[FV_OUT] = cli_problem_new(problem, &problem->x.t[FV_OUT]);
        fill(&problem->x.d[FV_OUT], FV_OUT, &r);
        if (problem->x.t[FV_STATE_OUT].rank) {
            problem->x.d[FV_STATE_OUT] = cli_problem_new(problem, &problem->x.t[FV_STATE_OUT]);
            fill(&problem->x.d[FV_STATE_OUT], FV_STATE_OUT, &r);
        }
        for (int operand = 0; operand < FV_OPERANDS; operand++)
            if (fv_operand_is(operand, FV_ROLE_DIFFERENTIABLE) && problem->x.t[operand].rank > 0 &&
                !(fixed >> operand & 1))
                problem->x.d[operand] = cli_problem_new(problem, &problem->x.t[operand]);
    }
    return FV_OK;
}

/* Quarters: their products are exact in f32, so that scores which are equal in f64 are equal in f32 as well. */
static void onto_grid(const fv_tensor *t) {
    fv_tensor flat = fv_tensor_1d(t->data, t->dtype, t->rank ? fv_tensor_count(t) : 0);
    for (int64_t i = 0; i < flat.dim[0]; i++) fv_tensor_set(&flat, &i, rint(4 * fv_tensor_get(&flat, &i)) / 4);
}

/* Rows of length 1, as delta rules want their keys. */
static void unit_rows(const fv_tensor *t) {
    int64_t d = t->dim[3];
    for (int64_t row = 0; d && row < fv_tensor_count(t) / d; row++) {
        fv_tensor x = fv_tensor_1d((char *)t->data + (size_t)(row * d) * fv_dtype_size(t->dtype), t->dtype, d);
        double sum = 1e-6;
        for (int64_t i = 0; i < d; i++) sum += fv_tensor_get(&x, &i) * fv_tensor_get(&x, &i);
        for (int64_t i = 0; i < d; i++) fv_tensor_set(&x, &i, (double)(float)(fv_tensor_get(&x, &i) / sqrt(sum)));
    }
}

/* A state with one column more than the values has a normaliser there: a sum of what is above 0. */
static void positive_normaliser(const fv_attention_tensors *x) {
    const fv_tensor *t = &x->t[FV_STATE];
    int64_t columns = t->rank ? t->dim[3] : 0;
    if (columns == 0 || columns == x->t[FV_V].dim[3]) return;
    fv_tensor flat = fv_tensor_1d(t->data, t->dtype, fv_tensor_count(t));
    for (int64_t i = columns - 1; i < flat.dim[0]; i += columns)
        fv_tensor_set(&flat, &i, fabs(fv_tensor_get(&flat, &i)));
}

/* What a mechanism's row does not say it cannot do, and it refuses: windows. */
static fv_status plan_without_windows(cli_problem *problem) {
    fv_status status = fv_attention_plan_create(&problem->plan, &problem->how, &problem->x);
    if (status != FV_USAGE || !problem->how.window.limited) return status;
    problem->how.window = (fv_window){0};
    add_word(problem, "(left out)");
    return fv_attention_plan_create(&problem->plan, &problem->how, &problem->x);
}

fv_status cli_problem_random(cli_problem *problem, const fv_mechanism *m, uint64_t seed, fv_dtype dtype, bool grid) {
    static const int64_t widths[] = {1, 3, 8, 16, 24, 33, 64};
    cli_random r = {seed * 0x2545f4914f6cdd1du + 1};
    memset(problem, 0, sizeof *problem);
    problem->mechanism = m;
    problem->how = (fv_attention_options)FV_ATTENTION_DEFAULT;
    problem->how.mechanism = m->examples[0];
    bool gate = (m->needs >> FV_K & 1) == 0, packed = m->can & FV_CAN_VARLEN && cli_random_below(&r, 4) == 0;
    int64_t b = packed ? 1 : 1 + cli_random_below(&r, 2), hkv = 1 + cli_random_below(&r, 2),
            group = m->can & FV_CAN_GQA ? 1 + cli_random_below(&r, 3) : 1;
    int64_t lq = 1 + cli_random_below(&r, 40), lk = cli_random_below(&r, 2) ? lq : 1 + cli_random_below(&r, 80);
    int64_t d = widths[cli_random_below(&r, 7)], dv = cli_random_below(&r, 2) ? d : widths[cli_random_below(&r, 7)];
    if (seed % 16 == 0) /* several blocks of an engine; one head, for the reference is slow */
        b = hkv = group = 1, lq += 60, lk = 130 + 3 * lk;
    if (packed) lq += 4, lk = cli_random_below(&r, 2) ? lq : lk + 4;
    if (is_recurrence(m)) lk = lq;
    snprintf(problem->text, sizeof problem->text, "b%lld h%lld/%lld q%lld k%lld d%lld dv%lld %s", (long long)b,
             (long long)(hkv * group), (long long)hkv, (long long)lq, (long long)lk, (long long)d, (long long)dv,
             fv_dtype_name(dtype));
    const fv_tensor shape[3] = {shape4(dtype, b, hkv * group, lq, d), shape4(dtype, b, hkv, lk, d),
                                shape4(dtype, b, hkv, lk, dv)};
    static const fv_operand qkv[] = {FV_Q, FV_K, FV_V};
    for (int i = 0; i < (gate ? 1 : 3); i++) {
        problem->x.t[qkv[i]] = cli_problem_new(problem, &shape[i]);
        fill(&problem->x.t[qkv[i]], qkv[i], &r);
    }
    if (!gate) add_structure(problem, &r, packed);
    if (!gate && cli_random_below(&r, 4) == 0 && m->can & FV_CAN_WEIGHTS) problem->how.scale = 0.3;
    fv_status status = add_operands(problem, dtype, &r, !packed);
    if (status == FV_OK) status = outputs_of(problem, (m->can & FV_CAN_BACKWARD) != 0, 0);
    const fv_tensor *lse = &problem->x.t[FV_LSE];
    if (status == FV_OK && lse->rank && m->can & FV_CAN_WEIGHTS && cli_random_below(&r, 2)) {
        problem->x.d[FV_LSE] = cli_problem_new(problem, lse);
        fill(&problem->x.d[FV_LSE], FV_LSE, &r);
        add_word(problem, "dlse");
    }
    if (grid) onto_grid(&problem->x.t[FV_Q]), onto_grid(&problem->x.t[FV_K]), onto_grid(&problem->x.t[FV_BIAS]);
    if (m->needs & FV_OPERAND_BIT(FV_BETA)) unit_rows(&problem->x.t[FV_K]);
    positive_normaliser(&problem->x);
    return status == FV_OK ? plan_without_windows(problem) : status;
}

static void add_bias(cli_problem *problem, const cli_problem_shape *s, cli_random *r) {
    fv_tensor shape = shape4(problem->x.t[FV_Q].dtype, 1, s->h, s->l, s->l);
    problem->x.t[FV_BIAS] = cli_problem_new(problem, &shape);
    fill(&problem->x.t[FV_BIAS], FV_BIAS, r);
}

static void add_starts(cli_problem *problem, const cli_problem_shape *s) {
    fv_tensor shape = fv_tensor_1d(NULL, FV_I32, s->sequences + 1), cu = cli_problem_new(problem, &shape);
    memcpy(cu.data, s->start, (size_t)(s->sequences + 1) * sizeof *s->start);
    problem->x.t[FV_CU_Q] = cu;
}

fv_status cli_problem_of(cli_problem *problem, const fv_attention_options *how, const cli_problem_shape *s,
                         fv_dtype dtype, bool backward) {
    cli_random r = {1};
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(how->mechanism, ":"), how->mechanism);
    memset(problem, 0, sizeof *problem);
    problem->mechanism = fv_mechanism_find(name);
    problem->how = *how;
    problem->call.seed = 1;
    bool gate = (problem->mechanism->needs >> FV_K & 1) == 0;
    const fv_tensor q = shape4(dtype, s->b, s->h, s->l, s->d), k = shape4(dtype, s->b, s->hkv, s->l, s->d);
    static const fv_operand qkv[] = {FV_Q, FV_K, FV_V};
    for (int i = 0; i < (gate ? 1 : 3); i++) {
        problem->x.t[qkv[i]] = cli_problem_new(problem, i ? &k : &q);
        fill(&problem->x.t[qkv[i]], qkv[i], &r);
    }
    if (problem->mechanism->needs >> FV_BETA & 1) unit_rows(&problem->x.t[FV_K]);
    if (s->bias != CLI_BIAS_NONE) add_bias(problem, s, &r);
    if (s->sequences > 0) add_starts(problem, s);
    fv_status status = add_operands(problem, dtype, &r, false);
    if (status == FV_OK) status = outputs_of(problem, backward, s->bias == CLI_BIAS_FULL ? FV_OPERAND_BIT(FV_BIAS) : 0);
    return status == FV_OK ? fv_attention_plan_create(&problem->plan, &problem->how, &problem->x) : status;
}

fv_status cli_problem_run(cli_problem *problem, bool backward) {
    size_t size = fv_attention_scratch(problem->plan, false),
           more = backward ? fv_attention_scratch(problem->plan, true) : 0;
    void *scratch = cli_alloc(size > more ? size : more);
    fv_status status = fv_attention_forward(problem->plan, &problem->call, &problem->x, scratch);
    if (status == FV_OK && backward)
        status = fv_attention_backward(problem->plan, &problem->call, &problem->x, scratch);
    cli_free(scratch);
    return status;
}

void cli_problem_free(cli_problem *problem) {
    fv_attention_plan_free(problem->plan);
    for (int i = 0; i < problem->blocks; i++) cli_free(problem->block[i]);
    memset(problem, 0, sizeof *problem);
}

double cli_difference(const fv_tensor *a, const fv_tensor *b) {
    int64_t count = fv_tensor_count(a);
    fv_tensor x = fv_tensor_1d(a->data, a->dtype, count), y = fv_tensor_1d(b->data, b->dtype, count);
    double largest = 1e-30, worst = 0;
    for (int64_t i = 0; i < count; i++) {
        double value = fabs(fv_tensor_get(&y, &i));
        if (isfinite(value) && value > largest) largest = value;
    }
    for (int64_t i = 0; i < count; i++) {
        double p = fv_tensor_get(&x, &i), q = fv_tensor_get(&y, &i);
        if (p == q || (isnan(p) && isnan(q))) continue;
        if (!isfinite(p) || !isfinite(q)) return INFINITY;
        worst = fmax(worst, fabs(p - q) / (1e-3 * largest + fabs(q)));
    }
    return worst;
}
