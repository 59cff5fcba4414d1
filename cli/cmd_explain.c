/* fovea explain: what a model attended to in a text, in the terminal or as a page, picture or array. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "evaluate.h"
#include "output.h"
#include "picture.h"

#include <stdio.h>
#include <string.h>

static struct options { const char *model, *text, *output; } o;
static fv_explain_options what;
static fv_render_options how;

#define AT(field) offsetof(struct options, field)
static const fv_option rows[] = {
    {"model", FV_OPT_STRING, AT(model), NULL, 0, 0, "FOLDER", "a model or run folder; NAME of runs/NAME will do"},
    {"text", FV_OPT_STRING, AT(text), NULL, 0, 0, "TEXT", "what to explain; standard input without it"},
    {"output", FV_OPT_STRING, AT(output), NULL, 0, 0, "FILE...",
     "FILE.html, .svg, .png, .pdf, .npy or .txt; the terminal without it"},
    {0}};
#undef AT

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"explanation", rows, &o, NULL};
    group[1] = (cli_group){"explanation", fv_explain_option_rows(), &what, NULL};
    group[2] = (cli_group){"picture", fv_render_option_rows(), &how, NULL};
    return 3;
}

static fv_status resolve(void) {
    cli_picture_resolve(&how);
    return FV_OK;
}

/* The folder's own name, without the folders it is in. */
static char *run_name(const char *folder) {
    size_t end = strlen(folder);
    while (end > 1 && folder[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && folder[start - 1] != '/') start--;
    return cli_keep(cli_text("%.*s", (int)(end - start), folder + start));
}

/* Attributions as a table: one row a token. */
static void print_table(const fv_explanation *e, cli_format format) {
    const char *columns[18] = {"token"};
    size_t count = 1;
    int which[17];
    for (int i = 0; i < e->attributions && count < 18; i++) {
        if (e->attribution[i].sequence != 0) continue;
        which[count - 1] = i;
        columns[count++] = e->attribution[i].id;
    }
    cli_table *table = cli_table_new(columns, count);
    for (int64_t t = 0; t < e->sequence[0].count; t++) {
        cli_table_text(table, e->sequence[0].token[t].piece);
        for (size_t c = 1; c < count; c++) cli_table_number(table, e->attribution[which[c - 1]].value[t], 6);
    }
    cli_table_print(table, format, stdout);
    cli_table_free(table);
}

static fv_status show(const fv_explanation *e) {
    cli_format format = cli_format_of(cli_global.format);
    size_t count;
    fv_status status = cli_picture_write(e, o.output, &how, &count);
    if (status != FV_OK || count > 0) return status;
    if (format == CLI_TEXT || e->sequences == 0) return cli_picture_print(e, &how);
    print_table(e, format);
    return FV_OK;
}

/* Standard input as one text, without the newline at its end. */
static fv_status read_text(char **text, size_t *size) {
    if (o.text) {
        *text = cli_text("%s", o.text);
        *size = strlen(*text);
        return fv_text_check("the text", *text, *size);
    }
    fv_status status = cli_read_stdin(text, size);
    while (*size > 0 && ((*text)[*size - 1] == '\n' || (*text)[*size - 1] == '\r')) --*size;
    if (status == FV_OK && *size == 0)
        status = cli_fail(FV_BAD_DATA,
                          "standard input: nothing to explain\n  expected a text\n  found:   none\n  try:     fovea "
                          "explain %s \"a text\"",
                          o.model);
    return status == FV_OK ? fv_text_check("standard input", *text, *size) : status;
}

static fv_status run(void) {
    fv_model *model = NULL;
    fv_explanation *e = NULL;
    char *text = NULL;
    size_t size = 0;
    fv_status status = cli_picture_check(o.output);
    if (status == FV_OK) status = cli_model_load(&model, o.model);
    if (status == FV_OK) status = read_text(&text, &size);
    if (status == FV_OK && !what.name) what.name = run_name(o.model);
    if (status == FV_OK) status = fv_explain(&e, model, text, size, &what);
    if (status == FV_OK) status = fv_explanation_add_note(e, "command", cli_command_line_text());
    if (status == FV_OK) status = show(e);
    fv_explanation_free(e);
    fv_model_free(model);
    cli_free(text);
    return status;
}

const cli_command cmd_explain = {
    .name = "explain",
    .aliases = "see viz attribute",
    .summary = "show what a model attended to in a text",
    .usage = "MODEL \"TEXT\" [-o FILE.html] [OPTIONS]",
    .about =
        "Shows the attention maps, and beside them what each word did to the score of the class: attention is not by "
        "itself an "
        "explanation. A page (.html) opens from disk and needs no network.",
    .examples =
        "fovea explain runs/news \"Parliament votes on the budget\"\n"
        "fovea explain runs/news \"Parliament votes on the budget\" -o budget.html -o budget.svg\n"
        "fovea explain -m runs/news --matrix 0:3 --scale sqrt < text.txt",
    .positional = "model text",
    .common = true,
    .groups = groups,
    .resolve = resolve,
    .run = run,
};
