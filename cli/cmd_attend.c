/* fovea attend: any attention mechanism on tensors that people bring in .npy or .safetensors files. */
#include "attend.h"
#include "attend_rope.h"
#include "command.h"
#include "console.h"
#include "flags.h"
#include "mechanism.h"

#include <stdio.h>
#include <string.h>

static attend_options o;

static size_t groups(cli_group *group) { return attend_groups(&o, group); }

/* One computation: the tensors as the library sees them, and what the outputs should look like. */
typedef struct job {
    fv_attention_options how;
    fv_attention_call call;
    const fv_mechanism *mechanism;
    fv_attention_tensors x;
    attend_layout layout, past_layout;
    fv_dtype compute, shown;                    /* of the tensors the library gets, of the user's files */
    fv_dtype given[FV_OPERANDS], past_given[2]; /* of each file, and of past_k and past_v: gradients have them */
    int64_t past;                               /* keys that come from past_k */
    bool backward;
    int bias_rank; /* as given: dbias gets the same */
} job;

static bool wants(const job *j, fv_operand operand) {
    return ((j->mechanism->needs | j->mechanism->takes) >> operand & 1) != 0;
}

static void read_options(job *j) {
    j->how = o.how, j->call = o.call;
    j->layout = strcmp(o.layout, "blhd") == 0 ? ATTEND_BLHD : strcmp(o.layout, "bld") == 0 ? ATTEND_BLD : ATTEND_BHLD;
}

/* ---- inputs */

static bool is_float(fv_dtype dtype) {
    return dtype == FV_F32 || dtype == FV_F64 || dtype == FV_F16 || dtype == FV_BF16;
}

static fv_status not_type(const char *name, const char *want, const fv_tensor *t, const char *advice) {
    return cli_fail(FV_USAGE, "%s has the wrong type\n  expected %s\n  found:   %s%s", name, want,
                    fv_dtype_name(t->dtype), advice);
}

static bool is_16bit(fv_dtype dtype) { return dtype == FV_F16 || dtype == FV_BF16; }
static fv_dtype arithmetic(const job *j) { return j->compute == FV_F64 ? FV_F64 : FV_F32; }

/* Tensors of 16 bits go to the library as they are when all are of one type; a mixture is computed in the type of q,
 * f32 at least. */
static fv_status choose_types(job *j) {
    static const char *const names[] = {"q", "k", "v", "past_k", "past_v", "do"};
    for (int i = 0; i < 6; i++) {
        fv_tensor t;
        fv_status status = attend_find(&o, names[i], &t);
        if (status != FV_OK) return status;
        if (i == 0)
            j->shown = j->compute = t.dtype;
        else if (t.rank && t.dtype != j->shown && is_16bit(j->compute))
            j->compute = FV_F32;
    }
    if (!is_16bit(j->compute) && j->compute != FV_F64) j->compute = FV_F32;
    return FV_OK;
}

/* q, k, v and do in the user's layout. */
static fv_status load_main(job *j, const char *name, int64_t heads, fv_tensor *out) {
    fv_tensor t, view;
    fv_status status = attend_find(&o, name, &t);
    memset(out, 0, sizeof *out);
    if (status != FV_OK || t.rank == 0) return status;
    if (out >= j->x.t && out < j->x.t + FV_OPERANDS) j->given[out - j->x.t] = t.dtype;
    if (!is_float(t.dtype)) return not_type(name, "f32, f64, f16 or bf16", &t, "");
    status = attend_view(name, &t, j->layout, heads, &view);
    if (status != FV_OK) return status;
    *out = attend_as(&view, j->compute);
    return FV_OK;
}

/* past_k before k. With --layout bld the past is rank 4 (batch, heads, length, head_dim), as a cache keeps it, or rank
 * 3. */
static fv_status join_past(job *j, const char *name, int64_t heads, fv_tensor *now) {
    fv_tensor t, past;
    fv_status status = attend_find(&o, name, &t);
    if (status != FV_OK || t.rank == 0) return status;
    if (!is_float(t.dtype)) return not_type(name, "f32, f64, f16 or bf16", &t, "");
    j->past_given[now == &j->x.t[FV_V]] = t.dtype;
    j->past_layout = j->layout == ATTEND_BLD && t.rank == 4 ? ATTEND_BHLD : j->layout;
    status = attend_view(name, &t, j->past_layout, heads, &past);
    if (status != FV_OK) return status;
    bool fits =
        now->rank == 4 && past.dim[0] == now->dim[0] && past.dim[1] == now->dim[1] && past.dim[3] == now->dim[3];
    char found[128], wanted[128];
    fv_tensor_describe(&past, found, sizeof found);
    fv_tensor_describe(now, wanted, sizeof wanted);
    if (!fits)
        return cli_fail(FV_USAGE, "%s does not fit\n  expected batch, heads and head_dim of %s\n  found:   %s", name,
                        wanted, found);
    j->past = past.dim[2];
    *now = attend_joined(&past, now, j->past_layout, j->compute);
    return FV_OK;
}

static fv_status check_past(void) {
    fv_tensor k, v;
    fv_status status = attend_find(&o, "past_k", &k);
    if (status == FV_OK) status = attend_find(&o, "past_v", &v);
    if (status != FV_OK || (k.rank == 0) == (v.rank == 0)) return status;
    return cli_fail(FV_USAGE, "a cache has keys and values\n  expected past_k and past_v\n  found:   only %s",
                    k.rank ? "past_k" : "past_v");
}

/* Everything else, by the name of its operand. */
static fv_status load_operand(job *j, fv_operand operand) {
    const char *name = cli_operand_name(j->mechanism, operand);
    fv_tensor t;
    if (!name) return FV_OK;
    fv_status status = attend_find(&o, name, &t);
    if (status != FV_OK || t.rank == 0) return status;
    if (!wants(j, operand))
        return cli_fail(FV_USAGE, "%s does not take %s\n  try:     fovea mechanisms %s", j->mechanism->name, name,
                        j->mechanism->name);
    const bool truth = t.dtype == FV_BOOL || t.dtype == FV_U8, integer = fv_operand_is(operand, FV_ROLE_INTEGER);
    if (operand == FV_MASK && !truth)
        return not_type(name, "bool or u8", &t,
                        is_float(t.dtype) ? "\n  try:     give it as bias" : "\n  try:     save it as bool");
    if (operand != FV_MASK && integer && (truth || is_float(t.dtype))) return not_type(name, "i32 or i64", &t, "");
    if (!integer && !is_float(t.dtype)) return not_type(name, "f32, f64, f16 or bf16", &t, "");
    j->given[operand] = t.dtype;
    if (operand == FV_BIAS) j->bias_rank = t.rank;
    if (operand == FV_BIAS || operand == FV_MASK) t = attend_padded(&t, 4);
    if (!integer)
        j->x.t[operand] = attend_as(&t, is_16bit(j->compute) && t.dtype == j->compute ? j->compute : arithmetic(j));
    else
        j->x.t[operand] = attend_as(&t, operand == FV_MASK ? t.dtype : FV_I64);
    return FV_OK;
}

static fv_status load_dlse(job *j) {
    fv_tensor t;
    fv_status status = attend_find(&o, "dlse", &t);
    if (status != FV_OK || t.rank == 0) return status;
    if (!is_float(t.dtype)) return not_type("dlse", "f32, f64, f16 or bf16", &t, "");
    j->x.d[FV_LSE] = attend_as(&t, arithmetic(j));
    return FV_OK;
}

static bool is_name(const void *context, const char *name, size_t size) {
    const job *j = context;
    for (int i = FV_OPERANDS; i < ATTEND_INPUTS; i++)
        if (strlen(attend_name(i)) == size && strncmp(attend_name(i), name, size) == 0) return true;
    for (int operand = 0; operand < FV_OPERANDS; operand++) {
        if (fv_operand_is(operand, FV_ROLE_RESULT)) continue;
        const char *one = cli_operand_name(j->mechanism, operand);
        if (one && strlen(one) == size && strncmp(one, name, size) == 0) return true;
    }
    return false;
}

/* Flags that mean nothing without another one: whoever gives them expects something. */
static fv_status check_partners(void) {
    const bool rope = attend_rope_wanted(&o), scaling = strcmp(o.rope_scaling, "none") != 0;
    attend_options standard;
    fv_options_init(attend_rope_rows, &standard);
    fv_options_init(attend_output_rows, &standard);
    const struct {
        const char *name, *partner;
        bool alone;
    } flag[] = {
        {"statistics-dropout", "--statistics", o.statistics_dropout && !o.statistics},
        {"pool", "--statistics pooled",
         strcmp(o.pool, standard.pool) != 0 && !(o.statistics && strstr(o.statistics, "pooled"))},
        {"rope-base", "--rope", o.rope_base != standard.rope_base && !rope},
        {"rope-dim", "--rope", o.rope_dim != standard.rope_dim && !rope},
        {"rope-scaling", "--rope", scaling && !rope},
        {"rope-factor", "--rope-scaling", o.rope_factor != standard.rope_factor && !scaling},
        {"rope-length", "--rope-scaling", o.rope_length != standard.rope_length && !scaling},
    };
    for (size_t i = 0; i < sizeof flag / sizeof *flag; i++)
        if (flag[i].alone)
            return cli_fail(FV_USAGE, "--%s alone changes nothing\n  expected %s too\n  found:   none", flag[i].name,
                            flag[i].partner);
    return FV_OK;
}

/* Options that the mechanism has no use for. */
static fv_status check_effect(const job *j) {
    const bool gate = j->mechanism->can & FV_CAN_SELF, linear = strcmp(j->mechanism->name, "linear") == 0;
    if (j->how.scale != 0 && (gate || linear))
        return cli_fail(FV_USAGE, "--scale with %s\n  expected none: it has no scores to scale\n  found:   %g",
                        j->mechanism->name, j->how.scale);
    if (j->call.q_offset != 0 && gate)
        return cli_fail(FV_USAGE, "--q-offset with %s\n  expected none: it has no positions\n  found:   %lld",
                        j->mechanism->name, (long long)j->call.q_offset);
    return FV_OK;
}

/* Others that mean nothing alone, with something better to try, and pairs that contradict each other. */
static fv_status check_flags(const job *j) {
    if (o.rows && !o.weights)
        return cli_fail(FV_USAGE,
                        "--rows without --weights\n  it chooses what of the weights is written\n"
                        "  try:     --weights softmax");
    if (o.head_list && !o.weights && !o.statistics)
        return cli_fail(FV_USAGE,
                        "--head-list without --weights or --statistics\n  it chooses what of them is written\n"
                        "  try:     --weights softmax");
    if ((o.heads || o.kv_heads) && j->layout != ATTEND_BLD)
        return cli_fail(FV_USAGE,
                        "--%s without --layout bld\n  expected --layout bld: the other layouts say it in their shape\n "
                        " found:   another",
                        o.heads ? "heads" : "kv-heads");
    if (o.call.q_offset && j->how.causal == FV_CAUSAL_LOWER_RIGHT)
        return cli_fail(FV_USAGE,
                        "--q-offset with --causal lower-right\n  which puts the last query at the last key\n"
                        "  try:     --causal upper-left");
    fv_status status = check_effect(j);
    return status != FV_OK ? status : attend_check_names(&o, is_name, j, j->mechanism->name);
}

static fv_status load(job *j) {
    int64_t heads = o.heads, kv_heads = o.kv_heads ? o.kv_heads : o.heads;
    if (j->layout == ATTEND_BLD && heads == 0)
        return cli_missing("heads", "--layout bld does not say how many heads there are");
    fv_status status = check_flags(j);
    if (status == FV_OK) status = check_partners();
    if (status == FV_OK) status = choose_types(j);
    if (status == FV_OK) status = load_main(j, "q", heads, &j->x.t[FV_Q]);
    if (status == FV_OK && j->x.t[FV_Q].rank == 0 && o.in) return attend_nothing(&o, "q");
    if (status == FV_OK && j->x.t[FV_Q].rank == 0)
        return cli_missing("q", "the queries, as FILE.npy or as tensor q of --in FILE.safetensors");
    if (status == FV_OK && wants(j, FV_K)) status = load_main(j, "k", kv_heads, &j->x.t[FV_K]);
    if (status == FV_OK && wants(j, FV_V)) status = load_main(j, "v", kv_heads, &j->x.t[FV_V]);
    if (status == FV_OK && wants(j, FV_K) && wants(j, FV_V)) status = check_past();
    if (status == FV_OK && wants(j, FV_K)) status = join_past(j, "past_k", kv_heads, &j->x.t[FV_K]);
    if (status == FV_OK && wants(j, FV_V)) status = join_past(j, "past_v", kv_heads, &j->x.t[FV_V]);
    for (int operand = 0; status == FV_OK && operand < FV_OPERANDS; operand++)
        if (!fv_operand_is(operand, FV_ROLE_RESULT) && !fv_operand_is_qkv(operand)) status = load_operand(j, operand);
    if (status != FV_OK) return status;
    for (int operand = 0; operand < FV_OPERANDS; operand++)
        if ((j->mechanism->needs >> operand & 1) && j->x.t[operand].rank == 0)
            return cli_fail(FV_USAGE, "%s needs the tensor %s\n  try:     fovea mechanisms %s", j->mechanism->name,
                            cli_operand_name(j->mechanism, operand), j->mechanism->name);
    j->call.q_offset += j->past;
    status = load_main(j, "do", heads, &j->x.d[FV_OUT]);
    return status == FV_OK ? load_dlse(j) : status;
}

/* ---- running */

static fv_status make_outputs(job *j) {
    static const fv_operand outs[] = {FV_OUT, FV_LSE, FV_STATE_OUT, FV_AUX};
    j->backward = j->x.d[FV_OUT].rank > 0 || j->x.d[FV_LSE].rank > 0;
    for (size_t i = 0; i < sizeof outs / sizeof *outs; i++) {
        fv_tensor shape;
        if (outs[i] == FV_LSE && !wants(j, FV_K)) continue; /* gates have no scores */
        if (outs[i] == FV_AUX && !j->backward) continue;    /* which is who reads it */
        fv_status status = fv_attention_operand_shape(&j->how, &j->x, outs[i], &shape);
        if (status != FV_OK) return status;
        if (shape.rank > 0)
            j->x.t[outs[i]] = attend_new(shape.dtype, outs[i] == FV_OUT ? j->layout : ATTEND_BHLD, &shape);
    }
    for (int operand = 0; j->backward && operand < FV_OPERANDS; operand++)
        if (fv_operand_is(operand, FV_ROLE_DIFFERENTIABLE) && j->x.t[operand].rank > 0)
            j->x.d[operand] = attend_new(j->x.t[operand].dtype, ATTEND_BHLD, &j->x.t[operand]);
    return FV_OK;
}

static fv_capture capture_of(const char *name) {
    static const char *const names[] = {"raw", "softcapped", "biased", "softmax", "dropout"};
    for (int i = 0; i < 5; i++)
        if (strcmp(names[i], name) == 0) return (fv_capture)i;
    return FV_CAPTURE_SOFTMAX;
}

/* Where a packed sequence lies; without packing, the whole. */
static int64_t extent(const fv_tensor *cu, int64_t n, int64_t whole) {
    if (cu->rank == 0) return whole;
    int64_t next = n + 1;
    return (int64_t)(fv_tensor_get(cu, &next) - fv_tensor_get(cu, &n));
}

/* weights: (sequences, heads wanted, rows wanted, keys); rows and keys a sequence does not have stay zero. */
static fv_status write_weights(const job *j, const fv_attention_plan *plan) {
    const fv_tensor *q = &j->x.t[FV_Q], *k = &j->x.t[wants(j, FV_K) ? FV_K : FV_Q], *cu_q = &j->x.t[FV_CU_Q];
    const fv_tensor *cu_k = j->x.t[FV_CU_K].rank ? &j->x.t[FV_CU_K] : cu_q;
    int64_t *row = NULL, *head = NULL, rows, heads, sequences = cu_q->rank ? cu_q->dim[0] - 1 : q->dim[0];
    fv_status status = attend_numbers("--rows", o.rows, q->dim[2], &row, &rows);
    if (status == FV_OK) status = attend_numbers("--head-list", o.head_list, q->dim[1], &head, &heads);
    if (status != FV_OK) return status;
    int64_t shape[4] = {sequences, heads, rows, k->dim[2]};
    fv_tensor like = fv_tensor_of(NULL, arithmetic(j), 4, shape), all = attend_new(like.dtype, ATTEND_BHLD, &like);
    for (int64_t n = 0; n < sequences && status == FV_OK; n++) {
        int64_t q_len = extent(cu_q, n, q->dim[2]), k_len = extent(cu_k, n, k->dim[2]), inside = 0;
        while (inside < rows && row[inside] < q_len) ++inside;
        for (int64_t h = 0; h < heads && status == FV_OK && inside > 0; h++) {
            int64_t start[4] = {n, h, 0, 0};
            fv_tensor part =
                fv_tensor_2d((char *)all.data + fv_dtype_size(all.dtype) *
                                                    (size_t)(start[0] * all.stride[0] + start[1] * all.stride[1]),
                             all.dtype, inside, k_len);
            part.stride[0] = all.stride[2];
            status = fv_attention_weights(plan, &j->call, &j->x, capture_of(o.weights), n, head[h], row, inside, &part);
        }
    }
    if (status == FV_OK) attend_put("weights", &all, ATTEND_BHLD, all.dtype);
    cli_free(row);
    cli_free(head);
    return status;
}

static void put_gradients(const job *j) {
    for (int operand = 0; operand < FV_OPERANDS; operand++) {
        char name[64];
        fv_tensor d = j->x.d[operand];
        if (d.rank == 0 || !fv_operand_is(operand, FV_ROLE_DIFFERENTIABLE)) continue;
        snprintf(name, sizeof name, "d%s", cli_operand_name(j->mechanism, operand));
        if (operand == FV_BIAS) d = fv_tensor_of(d.data, d.dtype, j->bias_rank, d.dim + 4 - j->bias_rank);
        bool has_past = j->past && (operand == FV_K || operand == FV_V);
        if (has_past) {
            fv_tensor old = fv_tensor_slice(d, 2, 0, j->past);
            attend_put(operand == FV_K ? "dpast_k" : "dpast_v", &old, j->past_layout, j->past_given[operand == FV_V]);
            d = fv_tensor_slice(d, 2, j->past, d.dim[2] - j->past);
        }
        attend_put(name, &d, fv_operand_is_qkv(operand) ? j->layout : ATTEND_BHLD, j->given[operand]);
    }
}

static void put_outputs(const job *j) {
    const fv_tensor *t = j->x.t;
    fv_dtype exact = arithmetic(j);
    attend_put("out", &t[FV_OUT], j->layout, j->shown);
    if (t[FV_LSE].rank) attend_put("lse", &t[FV_LSE], ATTEND_BHLD, exact);
    if (t[FV_STATE_OUT].rank) attend_put("state_out", &t[FV_STATE_OUT], ATTEND_BHLD, exact);
    if (j->past) attend_put("present_k", &t[FV_K], j->past_layout, j->shown);
    if (j->past && t[FV_V].rank) attend_put("present_v", &t[FV_V], j->past_layout, j->shown);
    if (j->backward) put_gradients(j);
}

static void print_plan(const fv_attention_plan *plan, bool backward) {
    char text[1024];
    fv_attention_plan_describe(plan, text, sizeof text);
    printf("%s\n", text);
    printf("forward   %.4g GFLOP, scratch %zu bytes\n", fv_attention_flops(plan, NULL, false) / 1e9,
           fv_attention_scratch(plan, false));
    if (backward)
        printf("backward  %.4g GFLOP, scratch %zu bytes\n", fv_attention_flops(plan, NULL, true) / 1e9,
               fv_attention_scratch(plan, true));
}

/* After the plan has checked all shapes. */
static fv_status rotate(job *j) {
    if (!attend_rope_wanted(&o)) return FV_OK;
    if (wants(j, FV_K)) return attend_rope(&o, &j->how, &j->call, &j->x, j->layout, j->past);
    return cli_fail(FV_USAGE, "--rope %s\n  expected a mechanism with keys to rotate\n  found:   %s", o.rope,
                    j->mechanism->name);
}

static fv_status compute(const job *j, const fv_attention_plan *plan) {
    size_t forward = fv_attention_scratch(plan, false), backward = j->backward ? fv_attention_scratch(plan, true) : 0;
    void *scratch = cli_alloc(forward > backward ? forward : backward);
    fv_status status = fv_attention_forward(plan, &j->call, &j->x, scratch);
    if (status == FV_OK && j->backward) status = fv_attention_backward(plan, &j->call, &j->x, scratch);
    cli_free(scratch);
    if (status == FV_OK && j->backward && attend_rope_wanted(&o))
        status = attend_rope_backward(&o, &j->how, &j->call, &j->x, j->past);
    if (status != FV_OK) return status;
    put_outputs(j);
    if (o.weights) status = write_weights(j, plan);
    if (status == FV_OK && o.statistics) status = attend_statistics(&o, plan, &j->call, &j->x, arithmetic(j));
    return status == FV_OK ? attend_write(&o) : status;
}

static fv_status run_job(job *j) {
    fv_attention_plan *plan = NULL;
    fv_status status = cli_mechanism_find(o.how.mechanism, &j->mechanism);
    if (status == FV_OK) read_options(j);
    if (status == FV_OK) status = attend_statistics_check(&o);
    if (status == FV_OK) status = attend_open(&o);
    if (status == FV_OK) status = load(j);
    if (status == FV_OK) status = make_outputs(j);
    if (status == FV_OK) status = fv_attention_plan_create(&plan, &j->how, &j->x);
    if (status == FV_OK) status = rotate(j);
    if (status == FV_OK && o.plan) print_plan(plan, j->backward);
    if (status == FV_OK && (!o.plan || o.out)) status = compute(j, plan);
    fv_attention_plan_free(plan);
    return status;
}

static fv_status run(void) {
    job j;
    memset(&j, 0, sizeof j);
    fv_status status = run_job(&j);
    attend_close();
    return status;
}

const cli_command cmd_attend = {
    .name = "attend",
    .summary = "run any attention mechanism on tensors from .npy or .safetensors files",
    .usage = "Q.npy K.npy V.npy [--out FILE] [OPTIONS]\n--in FILE.safetensors [--out FILE] [OPTIONS]",
    .about =
        "Reads q, k, v and whatever else the mechanism takes, writes out and lse, on request the weights of chosen "
        "heads and rows or statistics of all weights, and with a gradient of out (do) the gradients of all inputs. "
        "Types "
        "f16 and bf16 are computed in f32 and written as they came.",
    .examples =
        "fovea attend --in qkv.safetensors --out result.safetensors --causal lower-right\n"
        "fovea attend --q q.npy --k k.npy --v v.npy --attention topk:k=8 --weights softmax --rows 0-3 --out looked/\n"
        "fovea attend --in qkv.safetensors --statistics pooled,columns,entropy --pool 128,128 --out maps/\n"
        "fovea attend --in qkv.safetensors --layout bld --heads 8 --plan",
    .positional = "q k v",
    .common = true,
    .groups = groups,
    .run = run,
};
