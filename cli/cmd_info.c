/* fovea info: what is in a model folder, a tensor file or a data file. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "folder.h"
#include "fovea/files.h"
#include "fovea/model.h"
#include "output.h"
#include "corpus_statistics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct options {
    const char *file, *metadata;
    bool tensors;
} o;
static fv_dataset_options data;

#define AT(field) offsetof(struct options, field)
static const fv_option rows[] = {
    {"file", FV_OPT_STRING, AT(file), NULL, 0, 0, "FILE", "a model folder, .safetensors, .npy, or texts"},
    {"tensors", FV_OPT_BOOL, AT(tensors), "false", 0, 0, NULL, "also list the tensors of a model"},
    {"metadata", FV_OPT_STRING, AT(metadata), NULL, 0, 0, "KEY", "print one string of a .safetensors file's metadata"},
    {0}};
#undef AT

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"options", rows, &o, NULL};
    group[1] = (cli_group){"data", fv_dataset_option_rows(), &data, NULL};
    return 2;
}

static const char *const tensor_columns[] = {"tensor", "shape", "bytes"};

static void tensor_row(cli_table *table, const char *name, const fv_tensor *t) {
    char shape[128];
    fv_tensor_describe(t, shape, sizeof shape);
    cli_table_text(table, name && *name ? name : "(unnamed)");
    cli_table_text(table, shape);
    cli_table_number(table, (double)fv_tensor_count(t) * (double)fv_dtype_size(t->dtype), 0);
}

static void show_metadata(const char *value) {
    cli_format format = cli_format_of(cli_global.format);
    char *shown = cli_shown(value);
    if (format == CLI_JSON || format == CLI_JSONL)
        cli_json_text(stdout, value, strlen(value));
    else
        fputs(shown, stdout);
    putchar('\n');
    cli_free(shown);
}

static fv_status show_tensors(void) {
    fv_tensor_file *file = NULL;
    fv_status status = fv_tensor_file_open(&file, o.file);
    if (status != FV_OK) return status;
    const char *value = o.metadata ? fv_tensor_file_metadata(file, o.metadata) : NULL;
    if (o.metadata && !value)
        status = cli_fail(FV_BAD_DATA, "%s has no metadata %s", o.file, o.metadata);
    else if (value)
        show_metadata(value);
    else {
        cli_table *table = cli_table_new(tensor_columns, 3);
        for (int64_t i = 0; i < fv_tensor_file_count(file); i++) {
            fv_tensor t = fv_tensor_file_at(file, i);
            tensor_row(table, fv_tensor_file_name(file, i), &t);
        }
        cli_table_print(table, cli_format_of(cli_global.format), stdout);
        cli_table_free(table);
    }
    fv_tensor_file_close(file);
    return status;
}

static void model_options(const fv_model *model, cli_table *table) {
    for (const fv_option *row = fv_model_kind_of(model)->options; row->name; row++) {
        char text[256];
        if (row->flags & FV_OPTION_LOCAL) continue; /* of a training, not of the model */
        fv_options_print(row, fv_model_options_of(model), text, sizeof text);
        cli_table_text(table, row->name);
        cli_table_text(table, text);
    }
}

static void model_members(const fv_model *model, cli_table *table) {
    for (int i = 0; i < fv_model_member_count(model); i++) {
        const char *name;
        double weight;
        const fv_model *member = fv_model_member(model, i, &name, &weight);
        char text[512], *key = cli_text("member %s", name);
        int used = snprintf(text, sizeof text, "weight %.3f, ", weight);
        fv_model_describe(member, text + used, sizeof text - (size_t)used);
        cli_table_text(table, key);
        cli_table_text(table, text);
        cli_free(key);
    }
}

static char *class_list(fv_classes classes) {
    size_t size = 1;
    for (int32_t i = 0; i < classes.count; i++) size += strlen(classes.name[i]) + 2;
    char *list = cli_alloc(size), *at = list;
    for (int32_t i = 0; i < classes.count; i++) at += sprintf(at, "%s%s", i ? ", " : "", classes.name[i]);
    *at = 0;
    return list;
}

static void model_table(const fv_model *model, const char *description) {
    static const char *const columns[] = {"key", "value"};
    char number[32], *classes = class_list(fv_model_classes(model));
    cli_table *table = cli_table_new(columns, 2);
    snprintf(number, sizeof number, "%" PRId64, fv_model_parameters(model));
    const char *const pairs[][2] = {{"task", fv_model_task_of(model)},
                                    {"model", fv_model_kind_of(model)->name},
                                    {"summary", description},
                                    {"parameters", number},
                                    {"classes", classes}};
    for (int i = 0; i < 5; i++) {
        if (!*pairs[i][1]) continue;
        cli_table_text(table, pairs[i][0]);
        cli_table_text(table, pairs[i][1]);
    }
    if (fv_model_tokenizer(model)) {
        char text[64];
        snprintf(text, sizeof text, "%s, %d tokens", fv_tokenizer_kind(fv_model_tokenizer(model)),
                 (int)fv_tokenizer_size(fv_model_tokenizer(model)));
        cli_table_text(table, "tokenizer");
        cli_table_text(table, text);
    }
    model_members(model, table);
    model_options(model, table);
    cli_table_print(table, cli_format_of(cli_global.format), stdout);
    cli_table_free(table);
    cli_free(classes);
}

static fv_status show_model(void) {
    fv_model *model = NULL;
    char text[512];
    fv_status status = fv_model_load(&model, o.file);
    if (status != FV_OK) return status;
    fv_model_describe(model, text, sizeof text);
    model_table(model, text);
    if (o.tensors) {
        cli_table *table = cli_table_new(tensor_columns, 3);
        for (size_t i = 0; i < fv_model_tensor_count(model); i++) {
            const char *name;
            fv_tensor t = fv_model_tensor(model, i, &name);
            tensor_row(table, name, &t);
        }
        putchar('\n');
        cli_table_print(table, cli_format_of(cli_global.format), stdout);
        cli_table_free(table);
    }
    fv_model_free(model);
    return FV_OK;
}

static fv_status show_texts(void) {
    fv_dataset *set = NULL;
    cli_corpus_statistics statistics;
    fv_status status = fv_dataset_read(&set, &o.file, 1, &data, NULL);
    if (status != FV_OK) return status;
    cli_corpus_statistics_of(set, &statistics);
    cli_corpus_statistics_print(set, &statistics);
    fv_dataset_free(set);
    return FV_OK;
}

static fv_status run(void) {
    if (!o.file) return cli_missing("file", "a model folder, tensor file or data file");
    if (!cli_is_folder(o.file) && !cli_is_file(o.file))
        return cli_fail(FV_BAD_DATA, "%s: cannot be read\n  expected a file or folder\n  found:   nothing of this name",
                        o.file);
    switch (cli_thing_of(o.file)) {
    case CLI_MODEL: return show_model();
    case CLI_TENSORS: return show_tensors();
    default: return show_texts();
    }
}

const cli_command cmd_info = {
    .name = "info",
    .aliases = "inspect",
    .summary = "say what is in a model folder, tensor file or data file",
    .usage = "FILE [OPTIONS]",
    .examples =
        "fovea info runs/reviews --tensors\nfovea info qkv.safetensors\nfovea info reviews.csv --text-col text "
        "--label-col label",
    .positional = "file",
    .common = true,
    .groups = groups,
    .run = run,
};
