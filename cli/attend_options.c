/* The flags of `fovea attend`: tensors from the rows of the operands, options from the rows of the library, and what
 * only this command has. */
#include "attend.h"
#include "command.h"
#include "mechanism.h"

#include <stdio.h>
#include <string.h>

/* ---- inputs: every operand that a caller gives, and what only this command knows */

static const struct {
    const char *name, *help;
} others[ATTEND_OTHERS] = {{"past_k", "keys before k, as from a cache; present_k is written"},
                           {"past_v", "values before v"},
                           {"do", "gradient of out; the gradients of all inputs are written"},
                           {"dlse", "gradient of lse, with do or alone"}};

const char *attend_name(int input) {
    if (input >= FV_OPERANDS) return others[input - FV_OPERANDS].name;
    return fv_operand_is((fv_operand)input, FV_ROLE_RESULT) ? NULL : cli_operand_name(NULL, input);
}

/* "kv-len" of "kv_len"; shapes are said where there is one. */
static fv_option input_row(int input, char *flag, size_t flag_size, char *help, size_t help_size) {
    const fv_operand_row *row = fv_operand_info((fv_operand)input);
    snprintf(flag, flag_size, "%s", attend_name(input));
    for (char *c = flag; *c; c++)
        if (*c == '_') *c = '-';
    if (input >= FV_OPERANDS)
        snprintf(help, help_size, "%s", others[input - FV_OPERANDS].help);
    else
        snprintf(help, help_size, *row->shape ? "%s (%s)" : "%s", row->help, row->shape);
    return (fv_option){
        flag, FV_OPT_STRING, offsetof(attend_options, file) + (size_t)input * sizeof(char *), NULL, 0, 0, "FILE",
        help, NULL};
}

static const fv_option *input_rows(void) {
    static fv_option rows[ATTEND_INPUTS + 1];
    static char flag[ATTEND_INPUTS][32], help[ATTEND_INPUTS][128];
    size_t count = 0;
    for (int i = 0; i < ATTEND_INPUTS; i++)
        if (attend_name(i)) rows[count++] = input_row(i, flag[i], sizeof flag[i], help[i], sizeof help[i]);
    return rows;
}

/* ---- what only this command has */

#define AT(field) offsetof(attend_options, field)
static const fv_option file_rows[] = {
    {"in", FV_OPT_STRING, AT(in), NULL, 0, 0, "FILE", "a .safetensors file with the tensors q k v ... by their names"},
    {"name", FV_OPT_STRING, AT(name), NULL, 0, 0, "NAME=INSIDE...",
     "what a tensor is called inside --in: q=layer.0.query"},
    {"tensor", FV_OPT_STRING, AT(tensor), NULL, 0, 0, "NAME=FILE...", "a parameter of the mechanism: w=w.npy"},
    {"layout", FV_OPT_CHOICE, AT(layout), "bhld", 0, 0, "bhld|blhd|bld",
     "order of batch, heads, length, head_dim in q k v out"},
    {"heads", FV_OPT_INT, AT(heads), "0", 0, 65536, "N", "with --layout bld: heads of q"},
    {"kv-heads", FV_OPT_INT, AT(kv_heads), "0", 0, 65536, "N", "with --layout bld: heads of k and v; 0: as q"},
    {0}};

const fv_option attend_rope_rows[] = {
    {"rope", FV_OPT_CHOICE, AT(rope), "none", 0, 0, "none|half|interleaved",
     "rotate q and k by their positions: halves of a head as Llama, or interleaved pairs as GPT-J"},
    {"rope-base", FV_OPT_FLOAT, AT(rope_base), "10000", 1, 1e12, "X", "base of the angles"},
    {"rope-dim", FV_OPT_INT, AT(rope_dim), "0", 0, 65536, "N", "rotated columns of a head; 0: all"},
    {"rope-scaling", FV_OPT_CHOICE, AT(rope_scaling), "none", 0, 0, "none|linear|ntk|yarn|llama3",
     "for more positions than in training; yarn scales q and k by its attention factor"},
    {"rope-factor", FV_OPT_FLOAT, AT(rope_factor), "1", 1, 1e6, "X", "how many times more positions"},
    {"rope-length", FV_OPT_FLOAT, AT(rope_length), "0", 0, 1e12, "N", "positions in training, for yarn and llama3"},
    {0}};

const fv_option attend_output_rows[] = {
    {"out", FV_OPT_STRING, AT(out), NULL, 0, 0, "FILE",
     "FILE.safetensors, FILE.npy (only out) or FOLDER/ (one .npy each)"},
    {"weights", FV_OPT_CHOICE, AT(weights), NULL, 0, 0, "raw|softcapped|biased|softmax|dropout",
     "also write scores or weights; dropout: the weights after it, as they multiply the values"},
    {"rows", FV_OPT_STRING, AT(rows), NULL, 0, 0, "LIST", "query rows of the weights: 0,5-7; all without it"},
    {"head-list", FV_OPT_STRING, AT(head_list), NULL, 0, 0, "LIST",
     "heads of the weights and of the statistics: 0,2-3; all without it"},
    {"statistics", FV_OPT_STRING, AT(statistics), NULL, 0, 0, "LIST",
     "also write what all weights look like, without storing them: pooled (mean and max of blocks), columns (attention "
     "each key receives), entropy (of each row, in nats)"},
    {"pool", FV_OPT_STRING, AT(pool), "64,64", 0, 0, "BQ,BK", "queries and keys of a block of --statistics pooled"},
    {"statistics-dropout", FV_OPT_BOOL, AT(statistics_dropout), "false", 0, 0, NULL,
     "pooled and columns of --statistics count the weights after dropout"},
    {"plan", FV_OPT_BOOL, AT(plan), "false", 0, 0, NULL,
     "print which kernel would run and what it needs; runs only with --out"},
    {0}};
#undef AT

size_t attend_groups(attend_options *o, cli_group *group) {
    static const char *const spelling[] = {"mechanism", "attention", NULL};
    size_t n = 0;
    group[n++] = (cli_group){"tensors", file_rows, o, NULL};
    group[n++] = (cli_group){"tensors", input_rows(), o, NULL};
    group[n++] = (cli_group){"attention", fv_attention_rows(), &o->how, spelling};
    group[n++] = (cli_group){"attention", fv_attention_call_rows(), &o->call, NULL};
    group[n++] = (cli_group){"rotary positions", attend_rope_rows, o, NULL};
    group[n++] = (cli_group){"output", attend_output_rows, o, NULL};
    return n;
}
