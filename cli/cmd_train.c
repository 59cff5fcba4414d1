/* fovea train: from a file of texts to an evaluated model in a run folder, or to the file that a task makes. What is
 * read, learnt and evaluated is the task's. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "folder.h"
#include "output.h"
#include "train_command.h"

#include <stdio.h>
#include <string.h>

/* ---- flags */

static struct options {
    const char *input, *valid, *test, *model, *output, *resume;
    bool overwrite;
} o;
static fv_train_setup setup;
static fv_dataset_options data;
static fv_split_options split;

#define AT(field) offsetof(struct options, field)
static const fv_option rows[] = {
    {"input", FV_OPT_STRING, AT(input), NULL, 0, 0, "FILE...",
     "texts to learn from: fastText lines, .csv, .tsv or .jsonl"},
    {"valid", FV_OPT_STRING, AT(valid), NULL, 0, 0, "FILE...",
     "texts that choose the best model; else a share of the input"},
    {"test", FV_OPT_STRING, AT(test), NULL, 0, 0, "FILE...",
     "texts that judge the result at the end; else a share of the input"},
    {"output", FV_OPT_STRING, AT(output), NULL, 0, 0, "FOLDER", "the run folder; runs/NAME of the input without it"},
    {"overwrite", FV_OPT_BOOL, AT(overwrite), "false", 0, 0, NULL, "write into a folder that is in use"},
    {"resume", FV_OPT_STRING, AT(resume), NULL, 0, 0, "FOLDER",
     "go on with a run that was stopped; \"last\" is the latest"},
    {"model", FV_OPT_STRING, AT(model), "auto", 0, 0, "KIND",
     "auto, bayes, linear, bag, attention or transformer (the default for numbers, and when an option of it is given)"},
    {0}};
#undef AT

static const char *const split_names[] = {"valid", "valid-share", "test", "test-share", NULL};

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
    group[n++] = (cli_group){"task", fv_task_option_rows(), &setup.task, NULL};
    group[n++] = (cli_group){"data", fv_dataset_option_rows(), &data, NULL};
    group[n++] = (cli_group){"data", fv_split_option_rows(), &split, split_names};
    group[n++] = (cli_group){"text", fv_tokenizer_option_rows(), &setup.tokenizer, NULL};
    group[n++] = (cli_group){"model", model_rows(), &setup.model, NULL};
    group[n++] = (cli_group){"training", fv_train_option_rows(), &setup.train, NULL};
    return n + cli_train_vectors_groups(group + n);
}

/* ---- resolving: kind and task decide defaults and which flags apply */

static const fv_task *task_now(void) { return fv_task_find(setup.task.task); }

static bool has_row(const fv_option *list, const char *name) {
    while (list->name && strcmp(list->name, name) != 0) ++list;
    return list->name != NULL;
}

/* Does a flag say how a network is made or trained? */
static bool is_of_network(const cli_flag *flag) {
    const char *name = flag->row->name;
    if (flag->row->flags & FV_OPTION_BY_GRADIENT) return true;
    if (flag->group->options == &cli_vectors || flag->group->options == &cli_vectors.options) return true;
    return flag->group->options == &setup.model && !has_row(fv_model_kind_find("auto")->options, name);
}

/* Who chooses something about a network wants that network; auto makes its own choices. */
static void choose_model(void) {
    if (cli_given("model")) return;
    if (!fv_task_trains(task_now(), fv_model_kind_find(o.model))) o.model = "transformer";
    for (size_t i = 0; i < cli_current->count; i++)
        if (cli_current->flag[i].source != CLI_BUILTIN && is_of_network(&cli_current->flag[i])) o.model = "transformer";
}

static void kind_defaults(void) {
    const char *task = setup.task.task;
    fv_train_setup_init(&setup, o.model);
    fv_task_options_init(&setup.task, task);
}

static fv_status does_not_apply(const cli_flag *flag) {
    char kinds[256] = "";
    size_t used = 0;
    const bool by_gradient = flag->row->flags & FV_OPTION_BY_GRADIENT;
    for (size_t k = 0; k < fv_model_kind_count() && used < sizeof kinds; k++) {
        const fv_model_kind *kind = fv_model_kind_at(k);
        if (by_gradient ? kind->can & FV_MODEL_BY_GRADIENT : has_row(kind->options, flag->row->name))
            used += (size_t)snprintf(kinds + used, sizeof kinds - used, "%s%s", used ? ", " : "", kind->name);
    }
    return cli_fail(FV_USAGE, "--%s does not apply to --model %s\n  it belongs to: %s", flag->name, o.model, kinds);
}

static fv_status not_of_task(const char *flag) {
    char tasks[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < fv_task_count() && used < sizeof tasks; i++)
        if (has_row(fv_task_at(i)->options, flag))
            used += (size_t)snprintf(tasks + used, sizeof tasks - used, "%s%s", used ? ", " : "", fv_task_at(i)->name);
    return cli_fail(FV_USAGE, "--%s does not apply to --task %s\n  it belongs to: %s", flag, setup.task.task,
                    used ? tasks : "tasks that train a model");
}

static bool blends(void) { return fv_model_kind_find(o.model)->can & FV_MODEL_BLENDS; }

/* auto sets texts aside itself unless a share is asked for. */
static void mark_share_of_blend(void) {
    for (size_t i = 0; blends() && i < cli_current->count; i++) {
        cli_flag *flag = &cli_current->flag[i];
        if (flag->group->options == &split && strcmp(flag->row->name, "valid-share") == 0)
            flag->idle = flag->source == CLI_BUILTIN;
    }
}

/* A task that makes a file trains no model. */
static bool read_by_task(const cli_flag *flag) {
    if (flag->group->options == &setup.task)
        return strcmp(flag->name, "task") == 0 || has_row(task_now()->options, flag->row->name);
    const bool of_model = flag->group->options == &setup.model || flag->group->options == &setup.train ||
                          flag->group->options == &split || strcmp(flag->name, "model") == 0;
    return !task_now()->file || !of_model;
}

static bool read_by_kind(const cli_flag *flag, const fv_model_kind *kind) {
    if (flag->row->flags & FV_OPTION_BY_GRADIENT && !(kind->can & FV_MODEL_BY_GRADIENT)) return false;
    return flag->group->options != &setup.model || has_row(kind->options, flag->row->name);
}

/* A flag that changes nothing is refused on the command line; elsewhere it waits for a model that reads it. */
static fv_status mark_idle(const fv_model_kind *kind) {
    for (size_t i = 0; i < cli_current->count; i++) {
        cli_flag *flag = &cli_current->flag[i];
        const bool of_task = read_by_task(flag);
        if (of_task && (task_now()->file || read_by_kind(flag, kind))) continue;
        if (flag->source == CLI_LINE) return of_task ? does_not_apply(flag) : not_of_task(flag->name);
        flag->idle = true;
    }
    return FV_OK;
}

/* A part that is given is not cut from the input. */
static fv_status check_shares(void) {
    const char *const given[] = {o.valid, o.test}, *const share[] = {"valid-share", "test-share"};
    for (int i = 0; i < 2; i++)
        if (given[i] && cli_on_line(share[i]))
            return cli_fail(FV_USAGE, "--%s changes nothing here\n  expected --%s or --%s\n  found:   both", share[i],
                            share[i], i ? "test" : "valid");
    return FV_OK;
}

static fv_status unknown_kind(void) {
    const char *names[64];
    size_t count = 0;
    for (; count < fv_model_kind_count() && count < 64; count++) names[count] = fv_model_kind_at(count)->name;
    return cli_unknown("model", o.model, names, count);
}

/* The line that started it starts it anew, in the same folder. */
static fv_status not_started(const char *folder) {
    char *path = cli_join(folder, "command.txt"), line[1024] = "";
    FILE *file = fopen(path, "r");
    if (file && fgets(line, sizeof line, file)) line[strcspn(line, "\n")] = 0;
    if (file) fclose(file);
    cli_free(path);
    return cli_fail(FV_USAGE,
                    "%s: nothing to resume\n  expected a run with a checkpoint\n  found:   one that was stopped before "
                    "its first\n  try:     %s",
                    folder, *line ? line : "fovea train FILE");
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
    else if (cli_is_unstarted(folder))
        status = not_started(folder);
    else
        status = cli_config_read(cli_current, config, true);
    o.resume = o.output = folder;
    cli_free(config);
    return status;
}

static fv_status resolve(void) {
    fv_status status = o.resume ? read_resumed() : FV_OK;
    const fv_model_kind *kind = status == FV_OK ? fv_model_kind_find(o.model) : NULL;
    if (status != FV_OK) return status;
    if (!kind) return unknown_kind();
    if (!o.resume) choose_model(), kind = fv_model_kind_find(o.model);
    cli_flags_rebase(cli_current, kind_defaults);
    if (cli_given("split-col") && !cli_given("split")) split.split = "column";
    status = mark_idle(kind);
    mark_share_of_blend();
    if (status == FV_OK) status = check_shares();
    if (status == FV_OK && task_now()->file) return FV_OK;
    if (status == FV_OK) status = fv_train_setup_check(&setup);
    if (o.resume) cli_vectors.texts = NULL; /* they are in the run folder */
    return status == FV_OK ? cli_train_vectors_resolve(&setup.model) : status;
}

/* ---- data */

typedef struct parts {
    fv_dataset *all, *train, *valid, *test;
} parts;

fv_status cli_train_read(fv_dataset **out, const char *list, fv_target_type target, const fv_classes *classes) {
    size_t count;
    char **path = cli_list_split(list, &count);
    fv_status status = fv_dataset_read_target(out, (const char *const *)path, (int)count, &data, target, classes);
    cli_free(path);
    return status;
}

static fv_status warn_of_overlap(const char *name, const fv_dataset *part, const fv_dataset *train) {
    int64_t count = 0, all = part ? part->texts.count : 0;
    fv_status status = all ? fv_dataset_overlap(part, train, &count) : FV_OK;
    if (count) cli_warn("%lld of the %lld %s texts are also training texts", (long long)count, (long long)all, name);
    return status;
}

static fv_status read_parts(parts *p) {
    fv_target_type target = task_now()->target;
    if (!o.input) return cli_missing("input", task_now()->input);
    fv_status status = cli_train_read(&p->all, o.input, target, NULL);
    if (status == FV_OK && o.valid) status = cli_train_read(&p->valid, o.valid, target, &p->all->classes);
    if (status == FV_OK && o.test) status = cli_train_read(&p->test, o.test, target, &p->all->classes);
    if (status != FV_OK) return status;
    fv_split_options how = split;
    bool by_search = blends() && !cli_given("valid-share") && strcmp(split.split, "column") != 0;
    bool own_valid = !o.valid && !by_search, own_test = !o.test;
    if (!own_valid) how.valid = 0;
    if (!own_test) how.test = 0;
    status = fv_dataset_split(&p->train, own_valid ? &p->valid : NULL, own_test ? &p->test : NULL, p->all, &how);
    if (status == FV_OK) status = warn_of_overlap("validation", p->valid, p->train);
    return status == FV_OK ? warn_of_overlap("test", p->test, p->train) : status;
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
    fv_status status = cli_claim_folder(wanted, o.overwrite, o.output != NULL, &folder);
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

/* ---- tasks that make a file */

static fv_status make_file(const fv_task *task) {
    const char *texts = cli_vectors.texts ? cli_vectors.texts : o.input, *path = o.output ? o.output : task->file;
    if (!texts) return cli_missing("input", task->input);
    if (cli_is_file(path) && !o.overwrite)
        return cli_fail(FV_USAGE, "%s exists\n  try:     --overwrite or another --output", path);
    fv_status status = cli_train_make_file(task, texts, path);
    if (status == FV_OK) printf("%s\n", path);
    return status;
}

/* ---- training */

/* Of the model auto: what was said about each member when its weight was known. */
typedef struct member {
    char name[32];
    fv_scores scores;
    double seconds, weight;
    int64_t parameters;
} member;
static struct {
    member of[16];
    size_t count;
} members;

static void keep_member(const fv_event *e) {
    if (e->weight < 0 || members.count == sizeof members.of / sizeof *members.of) return;
    member *m = &members.of[members.count++];
    *m = (member){
        .scores = e->valid, .seconds = e->member_seconds, .weight = e->weight, .parameters = e->member_parameters};
    snprintf(m->name, sizeof m->name, "%s", e->member);
}

typedef struct part_scores {
    const char *part;
    int64_t count;
    fv_scores scores;
} part_scores;

static void add_row(cli_table *table, const char *model, const part_scores *j, double seconds, int64_t parameters) {
    cli_table_text(table, model);
    cli_table_text(table, j->part);
    cli_table_number(table, (double)j->count, 0);
    for (int i = 0; i < j->scores.count; i++) cli_table_number(table, j->scores.score[i].value, 4);
    cli_table_number(table, seconds, 1);
    cli_table_number(table, (double)parameters, 0);
}

static void add_scores(cli_table *table, const part_scores *j, const fv_train_result *r) {
    add_row(table, o.model, j, r->seconds, r->parameters);
    if (blends()) cli_table_text(table, "");
    cli_table_text(table, o.output);
}

static void add_members(cli_table *table, const fv_train_result *r) {
    for (size_t i = 0; i < members.count; i++) {
        const member *m = &members.of[i];
        const part_scores scores = {"valid", r->judged, m->scores};
        char *name = cli_text("%s/%s", o.model, m->name), *folder = cli_text("%s/members/%s", o.output, m->name);
        add_row(table, name, &scores, m->seconds, m->parameters);
        cli_table_number(table, m->weight, 3);
        cli_table_text(table, m->weight > 0 ? folder : "");
        cli_free(name);
        cli_free(folder);
    }
}

static void print_scores(const part_scores *list, int count, const fv_train_result *result) {
    const char *columns[7 + FV_MAX_SCORES] = {"model", "part", "texts"};
    size_t n = 3;
    for (const fv_score *s = task_now()->scores; s->name; s++) columns[n++] = s->name;
    columns[n++] = "seconds", columns[n++] = "parameters";
    if (blends()) columns[n++] = "weight";
    columns[n++] = "folder";
    cli_table *table = cli_table_new(columns, n);
    for (int i = 0; i < count; i++) add_scores(table, &list[i], result);
    if (result->judged) add_members(table, result);
    cli_table_print(table, cli_format_of(cli_global.format), stdout);
    cli_table_free(table);
}

static fv_status evaluate(part_scores *j, const char *part, const fv_model *model, const fv_dataset *set) {
    fv_evaluation *found;
    fv_status status = fv_evaluate(&found, model, set);
    if (status != FV_OK) return status;
    *j = (part_scores){part, found->count, found->scores};
    fv_evaluation_free(found);
    return FV_OK;
}

/* The validation texts were evaluated while training: the best scores are those of the model. Where no texts were set
 * aside, what it makes of its training texts is better than nothing. */
static fv_status evaluate_parts(const fv_model *model, const parts *p, const fv_train_result *result) {
    part_scores list[2];
    int count = 0;
    fv_status status = FV_OK;
    if (result->judged > 0)
        list[count++] = (part_scores){"valid", result->judged, result->best};
    else if (p->valid && p->valid->texts.count > 0 && result->best.count > 0)
        list[count++] = (part_scores){"valid", p->valid->texts.count, result->best};
    else if (p->valid && p->valid->texts.count > 0)
        status = evaluate(&list[count++], "valid", model, p->valid);
    if (status == FV_OK && p->test && p->test->texts.count > 0)
        status = evaluate(&list[count++], "test", model, p->test);
    if (status == FV_OK && count == 0) status = evaluate(&list[count++], "train", model, p->train);
    if (status == FV_OK) print_scores(list, count, result);
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
    if (event->kind == FV_EVENT_MEMBER) keep_member(event);
    cli_train_event(context, event);
}

static void say_data(const parts *p) {
    char classes[32] = "";
    if (p->train->classes.count > 0) snprintf(classes, sizeof classes, ", %d classes", (int)p->train->classes.count);
    long long test = p->test ? p->test->texts.count : 0, valid = p->valid ? p->valid->texts.count : 0;
    if (blends() && !valid)
        cli_say("data   %lld texts to train and to choose by, %lld to test%s", (long long)p->train->texts.count, test,
                classes);
    else
        cli_say("data   %lld texts to train, %lld to validate, %lld to test%s", (long long)p->train->texts.count, valid,
                test, classes);
}

static fv_status train(parts *p) {
    fv_model *model = NULL;
    fv_train_result result = {0};
    setup.folder = o.output;
    setup.resume = o.resume != NULL;
    setup.overwrite = o.overwrite && !o.resume;
    setup.event = on_event;
    say_data(p);
    fv_status status = fv_train(&model, &result, p->train, p->valid, &setup);
    cli_progress_end();
    if (status == FV_INTERRUPTED && tried && recorded != FV_OK) status = recorded;
    if (status == FV_OK && !tried && !o.resume) status = write_record(o.output); /* kinds that learn in one go */
    if (status == FV_OK && result.stopped_early)
        cli_say("stopped early: update %lld stays the best", (long long)result.best_update);
    if (status == FV_OK) status = evaluate_parts(model, p, &result);
    fv_model_free(model);
    return status;
}

static fv_status run(void) {
    parts p = {0};
    if (task_now()->file) return make_file(task_now());
    fv_status status = read_parts(&p);
    if (status == FV_OK && !o.resume) status = claim();
    if (status == FV_OK && !o.resume) status = cli_train_vectors_learn(o.output, &setup.model);
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
    .summary = "train a text classifier, a regression or word vectors from files",
    .usage = "FILE [OPTIONS]\n--resume FOLDER",
    .about =
        "Reads texts and what they should be answered with (--task), sets parts aside to validate and to test, trains, "
        "keeps the best model in a run folder "
        "and prints how "
        "good it is. The defaults of the model options are those of the chosen --model (shown: transformer); --preset "
        "chooses all of them. The model auto, the default for classes, trains count-based models and a network with "
        "attention within --budget, blends them as held-out texts say, and prints a line for each.",
    .examples =
        "fovea train reviews.csv --text-col text --target-col sentiment\n"
        "fovea train -input train.txt -output news -epoch 5 -lr 0.5\n"
        "fovea train reviews.csv --text-col text --target-col sentiment --budget 5m\n"
        "fovea train data=reviews.tsv model=linear\n"
        "fovea train reviews.csv --task regress --target-col stars\n"
        "fovea train --task vectors texts.txt -o vectors.safetensors\n"
        "fovea train --resume last",
    .positional = "input...",
    .common = true,
    .saves = true,
    .groups = groups,
    .resolve = resolve,
    .run = run,
};
