/* fovea bench: speed of attention, decoding and training on this machine. */
#include "bench.h"
#include "command.h"
#include "console.h"
#include "flags.h"

#include <stdlib.h>
#include <string.h>

static cli_bench_options o;

#define AT(field) offsetof(cli_bench_options, field)
static const fv_option rows[] = {
    {"what", FV_OPT_CHOICE, AT(what), "attention", 0, 0, "attention|decode|train", "what is timed"},
    {"repeat", FV_OPT_INT, AT(repeat), "5", 1, 100000, "N",
     "timed runs after one to warm up; median, spread and best are printed"},
    {"threads", FV_OPT_STRING, AT(threads), "1", 0, 0, "LIST", "numbers of threads: 1,2"},
    {"output", FV_OPT_CHOICE, AT(output), NULL, 0, 0, "text|md|csv|tsv|json|jsonl", "an older name of --format"},
    {"clock", FV_OPT_CHOICE, AT(clock), "wall", 0, 0, "wall|cpu",
     "cpu: time of the processor, for one thread on a busy machine"},
    {"env", FV_OPT_BOOL, AT(env), "false", 0, 0, NULL, "also print the environment variables that change results"},
    {0}};
static const fv_option attention_rows[] = {
    {"shape", FV_OPT_STRING, AT(shape), "1,12,2048,64", 0, 0, "B,H,L,D...",
     "batch, heads (or HEADS/KV), length, head_dim"},
    {"grid", FV_OPT_BOOL, AT(grid), "false", 0, 0, NULL,
     "nine shapes from 32 to 8,192 keys, full and causal, instead of --shape"},
    {"attention", FV_OPT_STRING, AT(attention), "softmax", 0, 0, "NAME:PARAM=VALUE...", "mechanisms"},
    {"causal", FV_OPT_STRING, AT(causal), "none", 0, 0, "LIST",
     "which corner the diagonal starts from: none, upper-left, lower-right"},
    {"dtype", FV_OPT_STRING, AT(dtype), "f32", 0, 0, "LIST", "types of the tensors: f32, f64, bf16, f16"},
    {"pass", FV_OPT_CHOICE, AT(pass), "both", 0, 0, "forward|both", "forward: without gradients"},
    {"dropout", FV_OPT_FLOAT, AT(dropout), "0", 0, 0.999, "P", "probability of dropping a weight"},
    {"bias", FV_OPT_CHOICE, AT(bias), "none", 0, 0, "none|full|trained",
     "a bias (1,heads,length,length), trained: with its gradient"},
    {"packed", FV_OPT_STRING, AT(packed), NULL, 0, 0, "MIN..MAX",
     "sequences of these lengths without padding, then the same tokens in equal lengths; heads and head_dim of "
     "--shape"},
    {"sentences", FV_OPT_INT, AT(sentences), "64", 1, 1e6, "N", "how many sequences are packed"},
    {"in", FV_OPT_STRING, AT(in), NULL, 0, 0, "FILE",
     "a .safetensors file with q k v, and bias, do, cu_seqlens_q if wanted, instead of --shape"},
    {"memory", FV_OPT_BOOL, AT(memory), "false", 0, 0, NULL,
     "scratch announced and used, of one head with 65,536 keys unless told otherwise, without and with dropout and "
     "window"},
    {"statistics", FV_OPT_BOOL, AT(statistics), "false", 0, 0, NULL,
     "the cost of weights of eight rows and of pooled statistics, beside the forward; 16,384 keys unless told "
     "otherwise"},
    {"turns", FV_OPT_BOOL, AT(turns), "false", 0, 0, NULL,
     "a table for every line of standard input (the number of repeats), so that programs take turns"},
    {0}};
static const fv_option train_rows[] = {
    {"batch-size", FV_OPT_INT, AT(batch_size), "64", 1, 65536, "N", "texts an update"},
    {"length", FV_OPT_INT, AT(length), "64", 1, 65536, "N", "tokens a text"},
    {"width", FV_OPT_INT, AT(width), "128", 1, 65536, "N", "of the model"},
    {"heads", FV_OPT_INT, AT(heads), "8", 1, 65536, "N", "of the attention"},
    {"layers", FV_OPT_INT, AT(layers), "2", 1, 1000, "N", "encoder blocks"},
    {"updates", FV_OPT_INT, AT(updates), "50", 1, 100000, "N", "how many to run; the first ten are not timed"},
    {0}};
#undef AT

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"options", rows, &o, NULL};
    group[1] = (cli_group){"bench attention", attention_rows, &o, NULL};
    group[2] = (cli_group){"bench train", train_rows, &o, NULL};
    return 3;
}

static void print_environment(void) {
    static const char *const names[] = {"FOVEA_ISA",  "FOVEA_THREADS",   "OMP_NUM_THREADS",   "OMP_PROC_BIND",
                                        "OMP_PLACES", "OMP_WAIT_POLICY", "ONEDNN_MAX_CPU_ISA"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cli_say("%s=%s", names[i], getenv(names[i]) ? getenv(names[i]) : "");
}

static fv_status run(void) {
    if (o.env) print_environment();
    if (!o.output) o.output = cli_global.format;
    if (strcmp(o.what, "train") == 0) return cli_bench_train(&o);
    return strcmp(o.what, "decode") == 0 ? cli_bench_decode(&o) : cli_bench_attention(&o);
}

const cli_command cmd_bench = {
    .name = "bench",
    .summary = "time attention, decoding or training on this machine, after checking the result",
    .usage = "[attention] [OPTIONS]\ndecode [OPTIONS]\ntrain [OPTIONS]",
    .about =
        "ms is the median, sd the spread, best the shortest run; GFLOP/s and the share of the peak are of the best. "
        "The peak is the rate of multiply-adds measured in the same run. decode times one new row for every head over "
        "a cache "
        "of LENGTH keys, beside the rate of reading memory; it takes --shape, --dtype, --threads and --repeat.",
    .examples =
        "fovea bench attention --shape 1,12,2048,64 -t 1,2 -o md\n"
        "fovea bench attention --attention softmax --attention topk:k=32 --causal none,lower-right\n"
        "fovea bench attention --grid -r 3 -o csv\n"
        "fovea bench attention --memory --shape 1,1,4096,64\n"
        "fovea bench decode --shape 1,32/8,8192,128 --dtype f32,bf16 -t 1,2\n"
        "fovea bench train -t 2",
    .positional = "what",
    .common = false,
    .groups = groups,
    .run = run,
};
