/* fovea check: is this data file, model folder or tensor file sound? Nothing is trained or changed. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "folder.h"
#include "fovea/files.h"
#include "fovea/model.h"
#include "output.h"
#include "corpus_statistics.h"

#include <inttypes.h>
#include <string.h>

static struct options { const char *files; } o;
static fv_dataset_options data;
static const fv_option rows[] = {{"files", FV_OPT_STRING, offsetof(struct options, files), NULL, 0, 0, "FILE...",
                                  "data files, model folders, .safetensors, .npy"},
                                 {0}};

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"options", rows, &o, NULL};
    group[1] = (cli_group){"data", fv_dataset_option_rows(), &data, NULL};
    return 2;
}

/* Names of files may be as hostile as what is in them. */
static void print_ok(const char *path, const char *text) {
    char *file = cli_shown(path), *shown = cli_shown(text);
    printf("%s: ok, %s", file, shown);
    cli_free(file);
    cli_free(shown);
}

static fv_status check_model(const char *path) {
    fv_model *model = NULL;
    fv_status status = fv_model_load(&model, path);
    char text[512];
    if (status == FV_OK) {
        fv_model_describe(model, text, sizeof text);
        print_ok(path, text);
        putchar('\n');
    }
    fv_model_free(model);
    return status;
}

static fv_status check_tensors(const char *path) {
    fv_tensor_file *file = NULL;
    fv_status status = fv_tensor_file_open(&file, path);
    if (status == FV_OK) status = fv_tensor_file_check_finite(file);
    if (status == FV_OK) {
        print_ok(path, "tensors: ");
        printf("%" PRId64 "\n", fv_tensor_file_count(file));
    }
    fv_tensor_file_close(file);
    return status;
}

static fv_status check_texts(const char *path) {
    fv_dataset *set = NULL;
    cli_corpus_statistics statistics;
    fv_status status = fv_dataset_read(&set, &path, 1, &data, NULL);
    if (status != FV_OK) return status;
    cli_corpus_statistics_of(set, &statistics);
    if (statistics.empty) cli_warn("%s: %" PRId64 " empty texts", path, statistics.empty);
    if (statistics.repeated) cli_warn("%s: %" PRId64 " texts occur before", path, statistics.repeated);
    if (statistics.rarest < 5) cli_warn("%s: the rarest class has %" PRId64 " texts", path, statistics.rarest);
    print_ok(path, "");
    cli_corpus_statistics_print(set, &statistics);
    fv_dataset_free(set);
    return FV_OK;
}

static fv_status check_one(const char *path) {
    if (!cli_is_folder(path) && !cli_is_file(path))
        return cli_fail(FV_BAD_DATA, "%s: cannot be read\n  expected a file or folder\n  found:   nothing of this name",
                        path);
    switch (cli_thing_of(path)) {
    case CLI_MODEL: return check_model(path);
    case CLI_TENSORS: return check_tensors(path);
    default: return check_texts(path);
    }
}

static fv_status run(void) {
    size_t count;
    char **path = cli_list_split(o.files, &count);
    fv_status worst = count ? FV_OK : cli_missing("files", "what should be checked");
    for (size_t i = 0; i < count; i++) {
        fv_status status = check_one(path[i]);
        cli_report(status);
        cli_reported(false);
        if (status != FV_OK) worst = status;
    }
    cli_reported(worst != FV_OK);
    cli_free(path);
    return worst;
}

const cli_command cmd_check = {
    .name = "check",
    .aliases = "debug-data doctor",
    .summary = "validate data files, model folders and tensor files",
    .usage = "FILE... [OPTIONS]",
    .examples = "fovea check reviews.csv --text-col text --label-col label\nfovea check runs/reviews",
    .positional = "files...",
    .common = true,
    .groups = groups,
    .run = run,
};
