/* `fovea train`: word vectors on the way, learnt from unlabelled texts before a network starts from them. */
#include "console.h"
#include "flags.h"
#include "folder.h"
#include "fovea/vectors.h"
#include "train_command.h"

cli_train_vectors cli_vectors;
static const char *const names[] = {"window",        "vector-window", "passes", "vector-passes",
                                    "context-power", "vector-power",  NULL};
static const fv_option rows[] = {{"unlabelled", FV_OPT_STRING, offsetof(cli_train_vectors, texts), NULL, 0, 0,
                                  "FILE...", "texts from which word vectors are learnt first"},
                                 {0}};

size_t cli_train_vectors_groups(cli_group *group) {
    group[0] = (cli_group){"word vectors", rows, &cli_vectors, NULL};
    group[1] = (cli_group){"word vectors", fv_vectors_option_rows(), &cli_vectors.options, names};
    return 2;
}

/* Vectors that start an embedding are as wide as it. */
fv_status cli_train_vectors_resolve(const fv_model_options *model) {
    fv_vectors_options *o = &cli_vectors.options;
    for (size_t i = 0; !cli_vectors.texts && i < cli_current->count; i++) {
        const cli_flag *flag = &cli_current->flag[i];
        if (flag->group->options == o && flag->source == CLI_LINE)
            return cli_fail(FV_USAGE, "--%s alone changes nothing\n  expected --unlabelled FILE too\n  found:   none",
                            flag->name);
    }
    if (!cli_vectors.texts) return FV_OK;
    if (!(fv_model_kind_find(model->kind)->can & FV_MODEL_TAKES_VECTORS))
        return cli_fail(FV_USAGE, "--unlabelled: --model %s has no word vectors\n  try:     --model transformer",
                        model->kind);
    if (!cli_given("vector-dim")) o->dim = model->d_model;
    if (o->dim == model->d_model) return FV_OK;
    return cli_fail(FV_USAGE, "--vector-dim and --d-model differ\n  expected the same number\n  found:   %lld and %lld",
                    (long long)o->dim, (long long)model->d_model);
}

fv_status cli_train_make_file(const fv_task *task, const char *list, const char *path) {
    fv_dataset *set = NULL;
    char *what = NULL;
    fv_status status = cli_train_read(&set, list, FV_TARGET_NONE, NULL);
    double start = cli_now();
    if (status == FV_OK) status = fv_task_make_file(task, path, set->texts, &cli_vectors.options, &what);
    if (status == FV_OK) cli_say("%s  %s in %.1f s", task->name, what, cli_now() - start);
    fv_text_free(what);
    fv_dataset_free(set);
    return status;
}

/* They are kept in the run folder, and the run's configuration names that file: a resumed run needs no texts again. */
fv_status cli_train_vectors_learn(const char *folder, fv_model_options *model) {
    if (!cli_vectors.texts) return FV_OK;
    char *path = cli_keep(cli_join(folder, "vectors.safetensors"));
    fv_status status = cli_train_make_file(fv_task_find("vectors"), cli_vectors.texts, path);
    if (status == FV_OK) model->vectors = path;
    cli_vectors.texts = NULL;
    return status;
}
