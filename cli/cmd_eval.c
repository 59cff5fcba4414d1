/* fovea eval: how good a model is on texts whose targets are known: overall, and for classes one by one, with what is
 * confused most. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "fovea/train.h"
#include "evaluate.h"
#include "output.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct options {
    const char *model, *input, *metric;
    int64_t top_k, confusions;
    double fail_under;
} o;
static fv_dataset_options data;

#define AT(field) offsetof(struct options, field)
static fv_option rows[] = {
    {"model", FV_OPT_STRING, AT(model), NULL, 0, 0, "FOLDER", "a model or run folder; NAME of runs/NAME will do"},
    {"input", FV_OPT_STRING, AT(input), NULL, 0, 0, "FILE...", "labelled texts: fastText lines, .csv, .tsv or .jsonl"},
    {"top-k", FV_OPT_INT, AT(top_k), "1", 1, 1e6, "N", "also: how often the label is among the N most probable"},
    {"confusions", FV_OPT_INT, AT(confusions), "5", 0, 1e6, "N", "so many of the worst pairs of classes"},
    {"metric", FV_OPT_CHOICE, AT(metric), NULL, 0, 0, NULL,
     "the one --fail-under looks at; the first of the model's task without it"},
    {"fail-under", FV_OPT_FLOAT, AT(fail_under), NULL, -1e9, 1e9, "X",
     "end with exit code 7 when the metric is worse than this"},
    {0}};
#undef AT

static size_t groups(cli_group *group) {
    for (fv_option *row = rows; row->name; row++)
        if (strcmp(row->name, "metric") == 0) row->choices = fv_option_find(fv_task_option_rows(), "metric")->choices;
    group[0] = (cli_group){"evaluation", rows, &o, NULL};
    group[1] = (cli_group){"data", fv_dataset_option_rows(), &data, NULL};
    return 2;
}

static fv_status resolve(void) { return cli_model_inherit(o.model); }

/* ---- tables */

static void print_overall(const fv_evaluation *e, double hits) {
    printf("texts     %" PRId64 "\n", e->count);
    for (int i = 0; i < e->scores.count; i++) printf("%-8s  %.4f\n", e->scores.score[i].name, e->scores.score[i].value);
    if (o.top_k > 1 && e->metrics) printf("top-%-4" PRId64 "  %.4f\n", o.top_k, hits);
}

static void print_classes(const fv_metrics *m, fv_classes classes, cli_format format) {
    static const char *const columns[] = {"class", "texts", "precision", "recall", "f1"};
    cli_table *table = cli_table_new(columns, 5);
    for (int32_t c = 0; c < m->classes; c++) {
        cli_table_text(table, classes.name[c]);
        cli_table_number(table, (double)m->support[c], 0);
        cli_table_number(table, m->precision[c], 4);
        cli_table_number(table, m->recall[c], 4);
        cli_table_number(table, m->f1[c], 4);
    }
    cli_table_print(table, format, stdout);
    cli_table_free(table);
}

static void print_confusions(const fv_metrics *m, fv_classes classes) {
    static const char *const columns[] = {"texts", "of class", "taken for"};
    int64_t count = m->confusions < o.confusions ? m->confusions : o.confusions;
    cli_table *table = cli_table_new(columns, 3);
    for (int64_t i = 0; i < count; i++) {
        cli_table_number(table, (double)m->confused[i].count, 0);
        cli_table_text(table, classes.name[m->confused[i].label]);
        cli_table_text(table, classes.name[m->confused[i].predicted]);
    }
    if (count > 0) printf("\nworst confusions\n");
    if (count > 0) cli_table_print(table, CLI_TEXT, stdout);
    cli_table_free(table);
}

/* ---- judging */

/* Share of texts whose label is among the k most probable classes; an equal probability counts against it. */
static double hit_rate(const fv_dataset *set, const float *probability, int32_t classes) {
    int64_t hits = 0;
    for (int64_t i = 0; i < set->texts.count; i++) {
        const float *p = probability + i * classes;
        int64_t better = 0;
        for (int32_t c = 0; c < classes; c++) better += c != set->label[i] && p[c] >= p[set->label[i]];
        hits += better < o.top_k;
    }
    return set->texts.count ? (double)hits / (double)set->texts.count : 0;
}

/* Without classes the scores are the table. */
static void print_scores(const fv_evaluation *e, cli_format format) {
    const char *columns[1 + FV_MAX_SCORES] = {"texts"};
    for (int i = 0; i < e->scores.count; i++) columns[i + 1] = e->scores.score[i].name;
    cli_table *table = cli_table_new(columns, 1 + (size_t)e->scores.count);
    cli_table_number(table, (double)e->count, 0);
    for (int i = 0; i < e->scores.count; i++) cli_table_number(table, e->scores.score[i].value, 4);
    cli_table_print(table, format, stdout);
    cli_table_free(table);
}

static fv_status print(const fv_evaluation *e, const fv_model *model, double hits) {
    cli_format format = cli_format_of(cli_global.format);
    fv_classes classes = fv_model_classes(model);
    const fv_metrics *m = e->metrics;
    if (format == CLI_JSON || format == CLI_JSONL) {
        char *text = NULL;
        fv_status status = fv_evaluation_json(e, model, &text);
        if (status != FV_OK) return status;
        size_t n = strlen(text);
        printf("%s%s", text, n && text[n - 1] == '\n' ? "" : "\n");
        fv_text_free(text);
        return FV_OK;
    }
    if (format != CLI_TEXT) {
        if (m)
            print_classes(m, classes, format);
        else
            print_scores(e, format);
        return FV_OK;
    }
    print_overall(e, hits);
    if (!m) return FV_OK;
    putchar('\n');
    print_classes(m, classes, format);
    print_confusions(m, classes);
    return FV_OK;
}

static fv_status hold_against_target(const fv_evaluation *e) {
    fv_score s = e->scores.score[0];
    if (!cli_given("fail-under")) return FV_OK;
    fv_status status = o.metric ? fv_scores_find(&e->scores, o.metric, &s) : FV_OK;
    if (status != FV_OK) return status;
    if (s.higher_is_better ? s.value >= o.fail_under : s.value <= o.fail_under) return FV_OK;
    return cli_fail(FV_BELOW_TARGET, "%s is %s what was asked\n  expected %g\n  found:   %.4f", s.name,
                    s.higher_is_better ? "below" : "above", o.fail_under, s.value);
}

static fv_status evaluate(const fv_model *model, const fv_dataset *set) {
    fv_evaluation *found = NULL;
    double hits = 0;
    fv_status status = fv_evaluate(&found, model, set);
    if (status == FV_OK && o.top_k > 1 && found->metrics) {
        int32_t classes = fv_model_classes(model).count;
        float *probability = cli_alloc((size_t)set->texts.count * (size_t)classes * sizeof(float));
        status = fv_model_predict(model, set->texts, probability);
        if (status == FV_OK) hits = hit_rate(set, probability, classes);
        cli_free(probability);
    }
    if (status == FV_OK) status = print(found, model, hits);
    if (status == FV_OK) status = hold_against_target(found);
    fv_evaluation_free(found);
    return status;
}

static fv_status run(void) {
    fv_model *model = NULL;
    fv_dataset *set = NULL;
    fv_status status = cli_model_load(&model, o.model);
    fv_classes classes = {0};
    const fv_task *task = status == FV_OK ? fv_task_of(model) : NULL;
    char needed[128];
    snprintf(needed, sizeof needed, "%s, or - for standard input", task ? task->input : "a file of texts");
    if (status == FV_OK) classes = fv_model_classes(model);
    if (status == FV_OK && !o.input) status = cli_missing("input", needed);
    if (status == FV_OK) status = cli_texts_read(&set, o.input, &data, fv_model_target(model), &classes);
    if (status == FV_OK) status = evaluate(model, set);
    fv_dataset_free(set);
    fv_model_free(model);
    return status;
}

const cli_command cmd_eval = {
    .name = "eval",
    .aliases = "test val evaluate score",
    .summary = "judge a model on labelled texts",
    .usage = "MODEL FILE [K] [OPTIONS]",
    .examples =
        "fovea eval runs/news test.txt\n"
        "fovea test news test.txt 3\n"
        "fovea eval -m runs/news -i test.tsv --format json\n"
        "fovea eval runs/news test.txt --metric macro-f1 --fail-under 0.8",
    .positional = "model input top-k",
    .common = true,
    .groups = groups,
    .resolve = resolve,
    .run = run,
};
