/* fovea predict: the classes of texts, one line out for one line in. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "evaluate.h"
#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct options {
    const char *model, *input;
    int64_t top_k;
    double threshold;
    bool probabilities;
} o;
static fv_dataset_options data;

#define AT(field) offsetof(struct options, field)
static const fv_option rows[] = {
    {"model", FV_OPT_STRING, AT(model), NULL, 0, 0, "FOLDER", "a model or run folder; NAME of runs/NAME will do"},
    {"input", FV_OPT_STRING, AT(input), NULL, 0, 0, "FILE",
     "texts: lines, .csv, .tsv or .jsonl; standard input without it"},
    {"top-k", FV_OPT_INT, AT(top_k), "1", 1, 1e6, "N", "so many classes a text, the most probable first"},
    {"threshold", FV_OPT_FLOAT, AT(threshold), "0", 0, 1, "P",
     "only classes at least so probable; the line may become empty"},
    {"probabilities", FV_OPT_BOOL, AT(probabilities), "false", 0, 0, NULL, "also print how probable each class is"},
    {0}};
#undef AT
static const char *const data_names[] = {"format", "input-format", "split-col", "", "labels", "", NULL};

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"prediction", rows, &o, NULL};
    group[1] = (cli_group){"data", fv_dataset_option_rows(), &data, data_names};
    return 2;
}

static fv_status resolve(void) { return cli_model_inherit(o.model); }

/* ---- the best classes of one text */

typedef struct answer {
    fv_classes classes;
    const float *probability;
    int32_t *order;
    int32_t count;
} answer;

/* Best first; equal ones in the order of the classes. k is small, so selection is enough. */
static void rank(answer *a) {
    int32_t want = o.top_k < a->classes.count ? (int32_t)o.top_k : a->classes.count;
    for (int32_t i = 0; i < a->classes.count; i++) a->order[i] = i;
    a->count = 0;
    for (int32_t i = 0; i < want; i++) {
        int32_t best = i;
        for (int32_t k = i + 1; k < a->classes.count; k++)
            if (a->probability[a->order[k]] > a->probability[a->order[best]] ||
                (a->probability[a->order[k]] == a->probability[a->order[best]] && a->order[k] < a->order[best]))
                best = k;
        int32_t swap = a->order[i];
        a->order[i] = a->order[best];
        a->order[best] = swap;
        if (a->probability[a->order[i]] < (float)o.threshold) break;
        ++a->count;
    }
}

static void print_plain(const answer *a, const char *between) {
    for (int32_t i = 0; i < a->count; i++) {
        if (i) fputs(between, stdout);
        cli_tsv_text(stdout, a->classes.name[a->order[i]]);
        if (o.probabilities) printf("%s%.6f", *between == '\t' ? "\t" : " ", a->probability[a->order[i]]);
    }
    putchar('\n');
}

static void print_csv(const answer *a) {
    for (int32_t i = 0; i < a->count; i++) {
        const char *name = a->classes.name[a->order[i]];
        if (i) putchar(',');
        putchar('"');
        for (; *name; name++) printf(*name == '"' ? "\"%c" : "%c", *name);
        putchar('"');
        if (o.probabilities) printf(",%.6f", a->probability[a->order[i]]);
    }
    putchar('\n');
}

static void print_json(const answer *a) {
    fputs("{\"labels\": [", stdout);
    for (int32_t i = 0; i < a->count; i++) {
        const char *name = a->classes.name[a->order[i]];
        fputs(i ? ", {\"label\": " : "{\"label\": ", stdout);
        cli_json_text(stdout, name, strlen(name));
        fputs(", \"probability\": ", stdout);
        cli_json_number(stdout, a->probability[a->order[i]], 6);
        putchar('}');
    }
    fputs("]}", stdout);
}

static void print_all(fv_classes classes, const float *probability, int64_t count) {
    cli_format format = cli_format_of(cli_global.format);
    answer a = {classes, NULL, cli_alloc((size_t)classes.count * sizeof(int32_t)), 0};
    if (format == CLI_JSON) putchar('[');
    for (int64_t i = 0; i < count; i++) {
        a.probability = probability + i * classes.count;
        rank(&a);
        if (format == CLI_JSON) fputs(i ? ",\n " : "\n ", stdout);
        if (format == CLI_JSON || format == CLI_JSONL)
            print_json(&a);
        else if (format == CLI_CSV)
            print_csv(&a);
        else
            print_plain(&a, format == CLI_TSV ? "\t" : "  ");
        if (format == CLI_JSONL) putchar('\n');
    }
    if (format == CLI_JSON) fputs("\n]\n", stdout);
    cli_free(a.order);
}

static fv_status predict(const fv_model *model, fv_texts texts) {
    fv_classes classes = fv_model_classes(model);
    size_t bytes;
    if (__builtin_mul_overflow((size_t)texts.count, (size_t)classes.count * sizeof(float), &bytes))
        bytes = SIZE_MAX / 2;
    float *probability = cli_alloc(bytes);
    fv_status status = fv_model_predict(model, texts, probability);
    if (status == FV_OK) print_all(classes, probability, texts.count);
    cli_free(probability);
    return status;
}

static fv_status run(void) {
    fv_model *model = NULL;
    fv_dataset *set = NULL;
    fv_status status = cli_model_load(&model, o.model);
    if (status == FV_OK) status = cli_texts_read(&set, o.input, &data, NULL, false);
    if (status == FV_OK) status = predict(model, set->texts);
    fv_dataset_free(set);
    fv_model_free(model);
    return status;
}

const cli_command cmd_predict = {
    .name = "predict",
    .aliases = "classify predict-prob:probabilities=true",
    .summary = "print the class of every text; line n in, line n out",
    .usage = "MODEL [FILE] [K] [OPTIONS]",
    .examples =
        "fovea predict runs/news < texts.txt\n"
        "fovea predict news test.txt 3 --probabilities\n"
        "fovea predict -m runs/reviews -i new.csv --text-col text --format jsonl",
    .positional = "model input top-k",
    .common = true,
    .groups = groups,
    .resolve = resolve,
    .run = run,
};
