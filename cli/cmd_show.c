/* fovea show: attention weights from anywhere, as the pages and pictures of explain. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "picture.h"
#include "weights_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct options {
    const char *input, *labels, *queries, *keys, *output;
    cli_weights_options rows;
} o;
static fv_render_options how;

#define AT(field) offsetof(struct options, field)
static const fv_option rows[] = {
    {"input", FV_OPT_STRING, AT(input), NULL, 0, 0, "FILE...",
     ".npy or .safetensors with (layers, heads, queries, keys) or any slice of it; each is a map of the page"},
    {"labels", FV_OPT_STRING, AT(labels), NULL, 0, 0, "FILE",
     "words of the tokens, one a line; queries and keys are the same"},
    {"queries", FV_OPT_STRING, AT(queries), NULL, 0, 0, "FILE", "words of the queries, one a line"},
    {"keys", FV_OPT_STRING, AT(keys), NULL, 0, 0, "FILE", "words of the keys, one a line"},
    {"softmax", FV_OPT_BOOL, AT(rows.softmax), "false", 0, 0, NULL,
     "the numbers are scores: take the softmax of each row"},
    {"normalize", FV_OPT_BOOL, AT(rows.normalize), "false", 0, 0, NULL, "divide each row by its sum"},
    {"output", FV_OPT_STRING, AT(output), NULL, 0, 0, "FILE...",
     "FILE.html, .svg, .png, .pdf, .npy or .txt; the terminal without it"},
    {0}};
#undef AT

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"weights", rows, &o, NULL};
    group[1] = (cli_group){"picture", fv_render_option_rows(), &how, NULL};
    return 2;
}

static fv_status resolve(void) {
    cli_picture_resolve(&how);
    return FV_OK;
}

/* ---- words of the tokens */

typedef struct words {
    const char *path; /* NULL: none were given */
    char *text;
    char **word;
    int64_t count;
} words;

static void split(words *w, char by) {
    size_t room = 0;
    w->count = 0;
    for (char *at = w->text; *at;) {
        size_t length = strcspn(at, by == ' ' ? " \t\n\r" : "\n");
        bool more = at[length] != 0;
        at[length] = 0;
        if (length && at[length - 1] == '\r') at[length - 1] = 0;
        if (by == '\n' || length) {
            if ((size_t)w->count == room)
                w->word = cli_realloc(w->word, (room = room ? 2 * room : 64) * sizeof *w->word);
            w->word[w->count++] = at;
        }
        at += length + more;
    }
}

static fv_status read_words(words *w, const char *path) {
    *w = (words){.path = path};
    if (!path) return FV_OK;
    FILE *file = fopen(path, "rb");
    if (!file) return cli_fail(FV_BAD_DATA, "%s: %s", path, strerror(errno));
    size_t room = 1 << 16, n = 0, got;
    w->text = cli_alloc(room);
    while ((got = fread(w->text + n, 1, room - n - 1, file)) > 0) {
        n += got;
        if (room - n == 1) w->text = cli_realloc(w->text, room *= 2);
    }
    bool failed = ferror(file);
    fclose(file);
    w->text[n] = 0;
    if (failed) return cli_fail(FV_BAD_DATA, "%s: %s", path, strerror(errno));
    /* One line is a sentence: its words. */
    const char *end = strchr(w->text, '\n');
    split(w, !end || !end[1] ? ' ' : '\n');
    return FV_OK;
}

static void free_words(words *w) {
    cli_free(w->text);
    cli_free(w->word);
}

/* ---- the explanation */

static fv_status check_words(const words *w, const char *what, int64_t count, const char *name) {
    if (!w->path || w->count == count) return FV_OK;
    return cli_fail(FV_BAD_DATA,
                    "%s: not the words of %s\n  expected %" PRId64 ", one for each of its %s\n  found:   %" PRId64,
                    w->path, name, count, what, w->count);
}

static fv_status add_sequence(fv_explanation *e, const char *caption, const words *w, int64_t count, int *index) {
    fv_explain_token *token = w->path ? cli_alloc((size_t)(count + 1) * sizeof *token) : NULL;
    for (int64_t i = 0; token && i < count; i++) token[i] = (fv_explain_token){.piece = w->word[i], .word = -1};
    fv_status status = fv_explanation_add_sequence(e, caption, NULL, 0, token, count, index);
    cli_free(token);
    return status;
}

/* One list of words for both sides, or none, and a square: tokens that attend to each other. */
static fv_status add_map(fv_explanation *e, const char *name, const char *caption, const cli_weights *w,
                         const words *of_query, const words *of_key) {
    bool same = w->queries == w->keys && of_query == of_key;
    int query = 0, key = 0;
    char *id = cli_text(e->maps ? "map-%d" : same ? "self" : "cross", e->maps + 1);
    fv_status status = check_words(of_query, "queries", w->queries, name);
    if (status == FV_OK) status = check_words(of_key, "keys", w->keys, name);
    if (status == FV_OK) status = add_sequence(e, same ? "tokens" : "keys", of_key, w->keys, &key);
    query = key;
    if (status == FV_OK && !same) status = add_sequence(e, "queries", of_query, w->queries, &query);
    if (status == FV_OK)
        status = fv_explanation_add_weights(e, id, caption, query, key, w->weight, w->layers, w->heads);
    cli_free(id);
    return status;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static fv_status add_tensor(fv_explanation *e, const char *path, const char *tensor, fv_tensor t, const words *of_query,
                            const words *of_key) {
    cli_weights w = {0};
    char *name = *tensor ? cli_text("%s: %s", path, tensor) : cli_text("%s", path), shape[128];
    fv_status status = cli_weights_read(&w, name, &t, &o.rows);
    if (status == FV_OK) status = add_map(e, name, *tensor ? tensor : base_name(path), &w, of_query, of_key);
    fv_tensor_describe(&t, shape, sizeof shape);
    if (status == FV_OK) status = fv_explanation_add_note(e, name, shape);
    cli_free(w.weight);
    cli_free(name);
    return status;
}

static fv_status add_file(fv_explanation *e, const char *path, const words *of_query, const words *of_key) {
    fv_tensor_file *file;
    fv_status status = fv_tensor_file_open(&file, path);
    if (status != FV_OK) return status;
    for (int64_t i = 0; i < fv_tensor_file_count(file) && status == FV_OK; i++)
        status = add_tensor(e, path, fv_tensor_file_name(file, i), fv_tensor_file_at(file, i), of_query, of_key);
    fv_tensor_file_close(file);
    return status;
}

static fv_status show(char **path, size_t count, const words *of_query, const words *of_key) {
    fv_explanation *e = NULL;
    size_t written = 0;
    char *title =
        count > 1 ? cli_text("%s and %zu more", base_name(path[0]), count - 1) : cli_text("%s", base_name(path[0]));
    fv_status status = fv_explanation_create(&e, title, "attention weights");
    for (size_t i = 0; i < count && status == FV_OK; i++) status = add_file(e, path[i], of_query, of_key);
    if (status == FV_OK) status = fv_explanation_add_note(e, "command", cli_command_line_text());
    if (status == FV_OK) status = fv_explanation_add_note(e, "fovea", fv_version());
    if (status == FV_OK) status = cli_picture_write(e, o.output, &how, &written);
    if (status == FV_OK && written == 0) status = cli_picture_print(e, &how);
    fv_explanation_free(e);
    cli_free(title);
    return status;
}

static fv_status run(void) {
    words labels = {0}, queries = {0}, keys = {0};
    size_t count;
    char **path = cli_list_split(o.input, &count);
    fv_status status = cli_picture_check(o.output);
    if (status == FV_OK && count == 0)
        status = cli_missing("input", "a .npy or .safetensors file of attention weights");
    if (status == FV_OK) status = read_words(&labels, o.labels);
    if (status == FV_OK) status = read_words(&queries, o.queries);
    if (status == FV_OK) status = read_words(&keys, o.keys);
    if (status == FV_OK) status = show(path, count, queries.path ? &queries : &labels, keys.path ? &keys : &labels);
    free_words(&labels);
    free_words(&queries);
    free_words(&keys);
    cli_free(path);
    return status;
}

const cli_command cmd_show = {
    .name = "show",
    .aliases = "weights",
    .summary = "look at attention weights that another program saved",
    .usage = "FILE.npy... [--labels FILE] [-o FILE.html] [OPTIONS]",
    .about =
        "Weights of any model, saved as NumPy or safetensors arrays, become the page and the pictures of `fovea "
        "explain`. "
        "Rows are queries, columns are keys. A sentence on one line will do for a file of words.",
    .examples =
        "fovea show attentions.npy --labels words.txt -o page.html\n"
        "fovea show cross.npy --queries german.txt --keys english.txt -o cross.pdf\n"
        "fovea show before.npy after.npy -o compare.html",
    .positional = "input...",
    .common = true,
    .groups = groups,
    .resolve = resolve,
    .run = run,
};
