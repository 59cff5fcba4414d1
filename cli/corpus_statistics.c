/* What is in a file or folder people point at. See corpus_statistics.h. */
#include "corpus_statistics.h"
#include "console.h"
#include "flags.h"
#include "folder.h"
#include "output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

cli_thing cli_thing_of(const char *path) {
    const char *end = strrchr(path, '.');
    if (cli_is_folder(path)) return CLI_MODEL;
    return end && (strcmp(end, ".safetensors") == 0 || strcmp(end, ".npy") == 0) ? CLI_TENSORS : CLI_TEXTS;
}

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static int64_t repeats(const fv_dataset *data) {
    int64_t n = data->texts.count, count = 0;
    const char **sorted = cli_alloc((size_t)n * sizeof *sorted);
    for (int64_t i = 0; i < n; i++) sorted[i] = data->texts.text[i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_text);
    for (int64_t i = 1; i < n; i++) count += strcmp(sorted[i], sorted[i - 1]) == 0;
    cli_free(sorted);
    return count;
}

static bool is_blank(const char *text) { return text[strspn(text, " \t\r\n")] == 0; }

static int64_t *class_counts(const fv_dataset *data) {
    int64_t *count = cli_alloc((size_t)(data->classes.count + 1) * sizeof *count);
    for (int64_t i = 0; data->label && i < data->texts.count; i++) count[data->label[i]]++;
    return count;
}

void cli_corpus_statistics_of(const fv_dataset *data, cli_corpus_statistics *s) {
    memset(s, 0, sizeof *s);
    s->texts = data->texts.count;
    s->classes = data->label ? data->classes.count : 0;
    for (int64_t i = 0; i < s->texts; i++) {
        int64_t size = (int64_t)data->texts.size[i];
        s->bytes += size;
        if (size > s->longest) s->longest = size;
        s->empty += is_blank(data->texts.text[i]);
    }
    s->repeated = repeats(data);
    int64_t *count = class_counts(data);
    s->rarest = s->classes ? count[0] : 0;
    for (int32_t c = 1; c < s->classes; c++)
        if (count[c] < s->rarest) s->rarest = count[c];
    cli_free(count);
}

void cli_corpus_statistics_print(const fv_dataset *data, const cli_corpus_statistics *s) {
    static const char *const columns[] = {"class", "texts", "share"};
    cli_format format = cli_format_of(cli_global.format);
    int64_t *count = class_counts(data);
    cli_table *table = cli_table_new(columns, 3);
    for (int32_t c = 0; c < s->classes; c++) {
        cli_table_text(table, data->classes.name[c]);
        cli_table_number(table, (double)count[c], 0);
        cli_table_number(table, s->texts ? (double)count[c] / (double)s->texts : 0, 4);
    }
    if (format == CLI_TEXT)
        printf("%" PRId64 " texts, %d classes, %.1f bytes a text (longest %" PRId64 "), %" PRId64 " empty, %" PRId64
               " repeated\n",
               s->texts, (int)s->classes, s->texts ? (double)s->bytes / (double)s->texts : 0, s->longest, s->empty,
               s->repeated);
    if (s->classes > 0) cli_table_print(table, format, stdout);
    cli_table_free(table);
    cli_free(count);
}
