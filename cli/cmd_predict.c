/* fovea predict: the answers to texts, one line out for one line in. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "evaluate.h"
#include "fovea/task.h"
#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct options { const char *model, *input; } o;
static fv_answer_options how;
static fv_dataset_options data;

#define AT(field) offsetof(struct options, field)
static const fv_option rows[] = {
    {"model", FV_OPT_STRING, AT(model), NULL, 0, 0, "FOLDER", "a model or run folder; NAME of runs/NAME will do"},
    {"input", FV_OPT_STRING, AT(input), NULL, 0, 0, "FILE",
     "texts: lines, .csv, .tsv or .jsonl; standard input without it"},
    {0}};
#undef AT
static const char *const answer_names[] = {"answer-format", "", NULL}; /* --format says it */
static const char *const data_names[] = {"split-col", "", "labels", "", NULL};

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"prediction", rows, &o, NULL};
    group[1] = (cli_group){"prediction", fv_answer_option_rows(), &how, answer_names};
    group[2] = (cli_group){"data", fv_dataset_option_rows(), &data, data_names};
    return 3;
}

static fv_status resolve(void) { return cli_model_inherit(o.model); }

static bool as_array;   /* --format json: all answers are one array */
static int64_t answers; /* printed so far */

static void start_answers(void) {
    static const char *const forms[] = {"text", "tsv", "json", "json", "csv", "text"};
    cli_format format = cli_format_of(cli_global.format);
    how.format = forms[format];
    as_array = format == CLI_JSON;
    answers = 0;
    if (as_array) putchar('[');
}

static void end_answers(void) {
    if (as_array) fputs("\n]\n", stdout);
}

static fv_status print_all(const fv_model *model, const float *answer, int64_t count) {
    for (int64_t i = 0; i < count; i++, answers++) {
        char *line;
        fv_status status = fv_answer_line(&line, model, answer + i * fv_model_outputs(model), &how);
        if (status != FV_OK) return status;
        if (as_array) fputs(answers ? ",\n " : "\n ", stdout);
        fputs(line, stdout);
        if (!as_array) putchar('\n');
        fv_text_free(line);
    }
    return FV_OK;
}

static fv_status predict(const fv_model *model, fv_texts texts) {
    size_t bytes;
    if (__builtin_mul_overflow((size_t)texts.count, (size_t)fv_model_outputs(model) * sizeof(float), &bytes))
        bytes = SIZE_MAX / 2;
    float *answer = cli_alloc(bytes);
    fv_status status = fv_model_predict(model, texts, answer);
    if (status == FV_OK) status = print_all(model, answer, texts.count);
    cli_free(answer);
    return status;
}

/* ---- lines of a pipe: answered as they come */

static bool is_stream(void) {
    bool lines = !data.format || strcmp(data.format, "auto") == 0 || strcmp(data.format, "fasttext") == 0 ||
                 strcmp(data.format, "lines") == 0;
    return lines && (!o.input || strcmp(o.input, "-") == 0);
}

static fv_status answer_lines(const fv_model *model, const char *bytes, size_t size, int64_t *line) {
    fv_dataset *set = NULL;
    fv_status status = fv_dataset_parse_lines(&set, "standard input", bytes, size, *line, &data);
    if (status == FV_OK) status = predict(model, set->texts);
    for (size_t i = 0; i < size; i++) *line += bytes[i] == '\n';
    fflush(stdout);
    fv_dataset_free(set);
    return status;
}

/* Bytes up to the last line break that has come, which go together. */
static size_t whole_lines(const char *bytes, size_t from, size_t size) {
    while (size > from && bytes[size - 1] != '\n') size--;
    return size > from ? size : 0;
}

static fv_status predict_stream(const fv_model *model) {
    size_t room = 1 << 20, size = 0, more = 1, whole;
    char *bytes = cli_alloc(room);
    fv_status status = FV_OK;
    int64_t line = 1;
    while (status == FV_OK && more) {
        if (size == room) bytes = cli_realloc(bytes, room *= 2);
        status = cli_read_some(bytes + size, room - size, &more);
        if (status != FV_OK) break;
        whole = more ? whole_lines(bytes, size, size + more) : size;
        size += more;
        if (!whole) continue;
        status = answer_lines(model, bytes, whole, &line);
        memmove(bytes, bytes + whole, size -= whole);
    }
    cli_free(bytes);
    return status;
}

static fv_status predict_files(const fv_model *model) {
    fv_dataset *set = NULL;
    fv_status status = cli_texts_read(&set, o.input, &data, FV_TARGET_NONE, NULL);
    if (status == FV_OK) status = predict(model, set->texts);
    fv_dataset_free(set);
    return status;
}

static fv_status run(void) {
    fv_model *model = NULL;
    fv_status status = cli_model_load(&model, o.model);
    if (status == FV_OK) start_answers();
    if (status == FV_OK) status = is_stream() ? predict_stream(model) : predict_files(model);
    if (status == FV_OK) end_answers();
    fv_model_free(model);
    return status;
}

const cli_command cmd_predict = {
    .name = "predict",
    .aliases = "classify predict-prob:probabilities=true",
    .summary = "print the class of every text, or its number; line n in, line n out",
    .usage = "MODEL [FILE] [K] [OPTIONS]",
    .about =
        "Control characters in labels are shown as \\xNN, so that no label steers a terminal; --format json and jsonl "
        "have every label exactly.",
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
