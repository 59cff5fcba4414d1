/* fovea train: from a file of labelled texts to a judged model in a run folder; or word vectors from unlabelled
 * text. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "folder.h"
#include "fovea/data.h"
#include "output.h"
#include "train_command.h"

#include <stdio.h>
#include <string.h>

/* ---- flags */

static struct options {
    const char *task, *input, *valid, *test, *unlabelled, *model, *output, *resume, *results;
    bool overwrite;
} o;
static fv_train_setup setup;
static fv_dataset_options data;
static fv_split_options split;
static fv_vectors_options vectors;

#define AT(field) offsetof(struct options, field)
static const fv_option rows[] = {
    {"input", FV_OPT_STRING, AT(input), NULL, 0, 0, "FILE...", "labelled texts: fastText lines, .csv, .tsv or .jsonl"},
    {"valid", FV_OPT_STRING, AT(valid), NULL, 0, 0, "FILE...",
     "texts that choose the best model; else a share of the input"},
    {"test", FV_OPT_STRING, AT(test), NULL, 0, 0, "FILE...",
     "texts that judge the result at the end; else a share of the input"},
    {"unlabelled", FV_OPT_STRING, AT(unlabelled), NULL, 0, 0, "FILE...",
     "texts from which word vectors are learnt first"},
    {"output", FV_OPT_STRING, AT(output), NULL, 0, 0, "FOLDER", "the run folder; runs/NAME of the input without it"},
    {"overwrite", FV_OPT_BOOL, AT(overwrite), "false", 0, 0, NULL,
     "write into a folder that is in use instead of FOLDER-2"},
    {"resume", FV_OPT_STRING, AT(resume), NULL, 0, 0, "FOLDER",
     "go on with a run that was stopped; \"last\" is the latest"},
    {"task", FV_OPT_CHOICE, AT(task), "classify", 0, 0, "classify|vectors",
     "what is trained; vectors: word vectors from any text"},
    {"results", FV_OPT_CHOICE, AT(results), "text", 0, 0, "text|tsv|json|jsonl|csv|md",
     "how the result is printed; --format is that of the data"},
    {"model", FV_OPT_STRING, AT(model), "transformer", 0, 0, "KIND", "bayes, linear, bag, attention or transformer"},
    {0}};
#undef AT

static const char *const split_names[] = {"valid", "valid-share", "test", "test-share", NULL};
static const char *const vectors_names[] = {"window",        "vector-window", "passes", "vector-passes",
                                            "context-power", "vector-power",  NULL};

/* The rows of all kinds, each name once. Their defaults differ: resolve() fills in those of the chosen kind. */
static const fv_option *model_rows(void) {
    static fv_option all[256];
    if (all[0].name) return all;
    size_t count = 0;
    for (size_t k = fv_model_kind_count(); k-- > 0;)
        for (const fv_option *row = fv_model_kind_at(k)->options; row->name; row++) {
            size_t i = 0;
            while (i < count && strcmp(all[i].name, row->name) != 0) ++i;
            if (i == count && count + 1 < sizeof all / sizeof *all) all[count++] = *row;
        }
    return all;
}

static size_t groups(cli_group *group) {
    size_t n = 0;
    group[n++] = (cli_group){"files", rows, &o, NULL};
    group[n++] = (cli_group){"data", fv_dataset_option_rows(), &data, NULL};
    group[n++] = (cli_group){"data", fv_split_option_rows(), &split, split_names};
    group[n++] = (cli_group){"text", fv_tokenizer_option_rows(), &setup.tokenizer, NULL};
    group[n++] = (cli_group){"model", model_rows(), &setup.model, NULL};
    group[n++] = (cli_group){"training", fv_train_option_rows(), &setup.train, NULL};
    group[n++] = (cli_group){"word vectors", fv_vectors_option_rows(), &vectors, vectors_names};
    return n;
}

/* ---- resolving: the kind decides defaults and which flags apply */

static bool has_row(const fv_option *list, const char *name) {
    while (list->name && strcmp(list->name, name) != 0) ++list;
    return list->name != NULL;
}

static void kind_defaults(void) {
    const char *kind = o.model;
    fv_train_setup_init(&setup, kind);
}

static fv_status does_not_apply(const char *flag) {
    char kinds[256] = "";
    size_t used = 0;
    for (size_t k = 0; k < fv_model_kind_count() && used < sizeof kinds; k++)
        if (has_row(fv_model_kind_at(k)->options, flag))
            used += (size_t)snprintf(kinds + used, sizeof kinds - used, "%s%s", used ? ", " : "",
                                     fv_model_kind_at(k)->name);
    return cli_fail(FV_USAGE, "--%s does not apply to --model %s\n  it belongs to: %s", flag, o.model, kinds);
}

static fv_status mark_idle(const fv_model_kind *kind) {
    for (size_t i = 0; i < cli_current->count; i++) {
        cli_flag *flag = &cli_current->flag[i];
        if (flag->group->options != &setup.model || has_row(kind->options, flag->row->name)) continue;
        if (flag->source == CLI_LINE) return does_not_apply(flag->name);
        flag->idle = true;
    }
    return FV_OK;
}

static fv_status unknown_kind(void) {
    const char *names[64];
    char near[256];
    size_t count = 0;
    for (; count < fv_model_kind_count() && count < 64; count++) names[count] = fv_model_kind_at(count)->name;
    bool found = cli_nearest(o.model, names, count, "", near, sizeof near);
    return cli_fail(FV_USAGE, "unknown model %s%s%s%s\n  expected bayes, linear, bag, attention or transformer",
                    o.model, found ? "      did you mean " : "", found ? near : "", found ? "?" : "");
}

static fv_status read_resumed(void) {
    char *folder;
    fv_status status = cli_find_run(o.resume, &folder);
    if (status != FV_OK) return status;
    char *config = cli_join(cli_keep(folder), "config.yaml");
    if (!cli_is_file(config))
        status =
            cli_fail(FV_USAGE, "%s is not a run folder: it has no config.yaml\n  try:     fovea train -i FILE -o %s",
                     folder, folder);
    else
        status = cli_config_read(cli_current, config, true);
    o.resume = o.output = folder;
    cli_free(config);
    return status;
}

/* Vectors that start an embedding are as wide as it. */
static fv_status resolve_vectors(const fv_model_kind *kind) {
    if (strcmp(o.task, "vectors") == 0) return FV_OK;
    if (!(kind->can & FV_MODEL_TAKES_VECTORS))
        return cli_fail(FV_USAGE, "--unlabelled: --model %s has no word vectors\n  try:     --model transformer",
                        o.model);
    if (!cli_given("vector-dim")) vectors.dim = setup.model.d_model;
    if (vectors.dim == setup.model.d_model) return FV_OK;
    return cli_fail(FV_USAGE, "--vector-dim and --d-model differ\n  expected the same number\n  found:   %lld and %lld",
                    (long long)vectors.dim, (long long)setup.model.d_model);
}

static fv_status resolve(void) {
    fv_status status = o.resume ? read_resumed() : FV_OK;
    const fv_model_kind *kind = status == FV_OK ? fv_model_kind_find(o.model) : NULL;
    if (status != FV_OK) return status;
    if (!kind) return unknown_kind();
    cli_flags_rebase(cli_current, kind_defaults);
    if (cli_given("split-col") && !cli_given("split")) split.split = "column";
    status = mark_idle(kind);
    if (status == FV_OK) status = fv_train_setup_check(&setup);
    return status == FV_OK && o.unlabelled && !o.resume ? resolve_vectors(kind) : status;
}

/* ---- data */

typedef struct parts {
    fv_dataset *all, *train, *valid, *test;
} parts;

static fv_status read_files(fv_dataset **out, const char *list, const fv_classes *classes, bool labelled) {
    size_t count;
    char **path = cli_list_split(list, &count);
    fv_status status;
    if (labelled)
        status = fv_dataset_read(out, (const char *const *)path, (int)count, &data, classes);
    else
        status = fv_dataset_read_texts(out, (const char *const *)path, (int)count, &data);
    cli_free(path);
    return status;
}

static fv_status read_parts(parts *p) {
    if (!o.input) return cli_missing("input", "a file of labelled texts");
    fv_status status = read_files(&p->all, o.input, NULL, true);
    if (status == FV_OK && o.valid) status = read_files(&p->valid, o.valid, &p->all->classes, true);
    if (status == FV_OK && o.test) status = read_files(&p->test, o.test, &p->all->classes, true);
    if (status != FV_OK) return status;
    fv_split_options how = split;
    bool own_valid = !o.valid, own_test = !o.test;
    if (!own_valid) how.valid = 0;
    if (!own_test) how.test = 0;
    return fv_dataset_split(&p->train, own_valid ? &p->valid : NULL, own_test ? &p->test : NULL, p->all, &how);
}

static void free_parts(parts *p) {
    fv_dataset_free(p->train);
    fv_dataset_free(p->valid);
    fv_dataset_free(p->test);
    fv_dataset_free(p->all);
}

/* ---- run folder */

static fv_status write_record(const char *folder) {
    char *config = cli_config_text(cli_current), *line = cli_text("%s\n", cli_command_line_text());
    char *config_path = cli_join(folder, "config.yaml"), *command_path = cli_join(folder, "command.txt");
    fv_status status = cli_write_file(config_path, config, strlen(config));
    if (status == FV_OK) status = cli_write_file(command_path, line, strlen(line));
    cli_free(config);
    cli_free(line);
    cli_free(config_path);
    cli_free(command_path);
    return status;
}

static fv_status claim(void) {
    char *wanted = o.output ? cli_text("%s", o.output) : NULL, *folder;
    if (!wanted) {
        size_t count;
        char **path = cli_list_split(o.input, &count);
        wanted = cli_run_name(path[0]);
        cli_free(path);
    }
    fv_status status = cli_claim_folder(wanted, o.overwrite, &folder);
    if (status == FV_OK) {
        setup.folder = o.output = cli_keep(folder);
        if (strcmp(folder, wanted) != 0) cli_say("%s is in use, this run is %s", wanted, folder);
        if (o.overwrite) status = cli_check_free(folder);
    }
    cli_free(wanted);
    return status;
}

/* A run that was refused before it had a model leaves no folder behind. One that diverged does: its log is worth
 * reading. */
static void discard(fv_status status) {
    char *model = cli_join(setup.folder, "model.safetensors"), *last = cli_join(setup.folder, "last");
    bool refused = status == FV_USAGE || status == FV_BAD_DATA || status == FV_BAD_MODEL;
    if (refused && !cli_is_file(model)) {
        cli_remove_folder(last);
        cli_remove_folder(setup.folder);
    }
    cli_free(model);
    cli_free(last);
}

/* ---- word vectors */

static fv_status learn_vectors(const char *texts, fv_vectors **out) {
    fv_dataset *set = NULL;
    fv_status status = read_files(&set, texts, NULL, false);
    double start = cli_now();
    if (status == FV_OK) status = fv_vectors_train(out, set->texts, &vectors);
    if (status == FV_OK)
        cli_say("vectors  %lld words of dimension %lld from %lld texts in %.1f s", (long long)(*out)->count,
                (long long)(*out)->dim, (long long)set->texts.count, cli_now() - start);
    fv_dataset_free(set);
    return status;
}

/* They are kept in the run folder, and the run's configuration names that file: a resumed run needs no texts again. */
static fv_status prepare_vectors(void) {
    if (!o.unlabelled || o.resume) return FV_OK;
    fv_vectors *learnt = NULL;
    char *path = cli_keep(cli_join(o.output, "vectors.safetensors"));
    fv_status status = learn_vectors(o.unlabelled, &learnt);
    if (status == FV_OK) status = fv_vectors_save(learnt, path);
    fv_vectors_free(learnt);
    if (status == FV_OK) setup.model.vectors = path;
    o.unlabelled = NULL;
    return status;
}

static fv_status train_vectors(void) {
    const char *texts = o.unlabelled ? o.unlabelled : o.input, *path = o.output ? o.output : "vectors.safetensors";
    fv_vectors *learnt = NULL;
    if (!texts) return cli_missing("input", "a file of texts, one a line");
    if (cli_is_file(path) && !o.overwrite)
        return cli_fail(FV_USAGE, "%s exists\n  try:     --overwrite or another --output", path);
    fv_status status = learn_vectors(texts, &learnt);
    if (status == FV_OK) status = fv_vectors_save(learnt, path);
    if (status == FV_OK) printf("%s\n", path);
    fv_vectors_free(learnt);
    return status;
}

/* ---- training */

static void add_judgement(cli_table *table, const char *part, const fv_metrics *m, const fv_train_result *r) {
    cli_table_text(table, o.model);
    cli_table_text(table, part);
    cli_table_number(table, (double)m->count, 0);
    cli_table_number(table, m->accuracy, 4);
    cli_table_number(table, m->macro_f1, 4);
    cli_table_number(table, m->loss, 4);
    cli_table_number(table, r->seconds, 1);
    cli_table_number(table, (double)r->parameters, 0);
    cli_table_text(table, o.output);
}

static fv_status judge(const fv_model *model, const parts *p, const fv_train_result *result) {
    static const char *const columns[] = {"model", "part",    "texts",      "accuracy", "macro-f1",
                                          "loss",  "seconds", "parameters", "folder"};
    const struct {
        const char *name;
        const fv_dataset *set;
    } each[] = {{"valid", p->valid}, {"test", p->test}};
    cli_table *table = cli_table_new(columns, 9);
    fv_status status = FV_OK;
    for (int i = 0; i < 2 && status == FV_OK; i++) {
        fv_metrics *metrics = NULL;
        if (!each[i].set || each[i].set->texts.count == 0) continue;
        status = fv_evaluate(&metrics, model, each[i].set);
        if (status == FV_OK) add_judgement(table, each[i].name, metrics, result);
        fv_metrics_free(metrics);
    }
    if (status == FV_OK) cli_table_print(table, cli_format_of(o.results), stdout);
    cli_table_free(table);
    return status;
}

/* The record is written once the library holds the folder's lock: a second trainer must not touch the files of the
 * first. */
static fv_status recorded;
static bool tried;

static void on_event(void *context, const fv_event *event) {
    if (event->kind == FV_EVENT_START && !o.resume) {
        tried = true;
        recorded = write_record(o.output);
        if (recorded != FV_OK) fv_interrupt();
    }
    cli_train_event(context, event);
}

static fv_status train(parts *p) {
    fv_model *model = NULL;
    fv_train_result result = {0};
    setup.folder = o.output;
    setup.resume = o.resume != NULL;
    setup.overwrite = o.overwrite && !o.resume;
    setup.event = on_event;
    cli_say("data   %lld texts to train, %lld to validate, %lld to test, %d classes", (long long)p->train->texts.count,
            (long long)(p->valid ? p->valid->texts.count : 0), (long long)(p->test ? p->test->texts.count : 0),
            (int)p->train->classes.count);
    fv_status status = fv_train(&model, &result, p->train, p->valid, &setup);
    cli_progress_end();
    if (status == FV_INTERRUPTED && tried && recorded != FV_OK) status = recorded;
    if (status == FV_OK && !tried && !o.resume) status = write_record(o.output); /* kinds that learn in one go */
    if (status == FV_OK && result.stopped_early)
        cli_say("stopped early: update %lld stays the best", (long long)result.best_update);
    if (status == FV_OK) status = judge(model, p, &result);
    fv_model_free(model);
    return status;
}

static fv_status run(void) {
    parts p = {0};
    if (strcmp(o.task, "vectors") == 0) return train_vectors();
    fv_status status = read_parts(&p);
    if (status == FV_OK && !o.resume) status = claim();
    if (status == FV_OK) status = prepare_vectors();
    if (status == FV_OK) status = train(&p);
    if (status != FV_OK && !o.resume && !o.overwrite && setup.folder) {
        cli_report(status); /* before anything else can fail */
        discard(status);
    }
    free_parts(&p);
    return status;
}

const cli_command cmd_train = {
    .name = "train",
    .aliases = "supervised fit",
    .summary = "train a text classifier, or word vectors, from files",
    .usage = "FILE [OPTIONS]\n--resume FOLDER",
    .about =
        "Reads labelled texts, sets parts aside to validate and to test, trains, keeps the best model in a run folder "
        "and prints how "
        "good it is. The defaults of the model options are those of the chosen --model (shown: transformer); --preset "
        "chooses all of them.",
    .examples =
        "fovea train reviews.csv --text-col text --label-col label\n"
        "fovea train -input train.txt -output news -epoch 5 -lr 0.5\n"
        "fovea train data=reviews.tsv model=linear\n"
        "fovea train --task vectors texts.txt -o vectors.safetensors\n"
        "fovea train --resume last",
    .positional = "input...",
    .common = true,
    .saves = true,
    .groups = groups,
    .resolve = resolve,
    .run = run,
};
