/* render: options, the table of renderers, and the ways output leaves. */
#include "explain/render.h"

#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#define ROW(name, type, field, standard, min, max, choices, help) \
    { name, FV_OPT_##type, offsetof(fv_render_options, field), standard, min, max, choices, help }

const fv_option *fv_render_option_rows(void) {
    static const fv_option rows[] = {
        ROW("matrix", STRING, matrix, NULL, 0, 0, "NAME",
            "which matrix to draw: 2:5 (layer:head), 2 (mean of a layer), rollout, pool"),
        ROW("scale", CHOICE, scale, "sqrt", 0, 0, "linear|sqrt|log", "how weights become shades"),
        ROW("words", BOOL, words, "true", 0, 0, NULL, "merge the pieces of each word"),
        ROW("colors", CHOICE, colors, "auto", 0, 0, "auto|truecolor|256|ascii", "colours of the terminal"),
        ROW("columns", INT, columns, "0", 0, 1000, NULL, "width of the terminal, 0 = as it is"),
        ROW("top", INT, top, "10", 0, 10000, NULL, "words in the table"),
        ROW("cell", INT, cell, "0", 0, 200, NULL, "pixels of a matrix cell in pictures, 0 = by length"),
        ROW("max-size", STRING, max_size, "16M", 0, 0, "BYTES", "size of a page; what does not fit is sent coarser"),
        ROW("full", STRING, full, NULL, 0, 0, "HEADS",
            "heads a page must carry whole when it is short of room: 2:5, 0-1, 3:*"),
        ROW("compress", BOOL, compress, "true", 0, 0, NULL, "deflate the data of a page"),
        {0}};
    return rows;
}

/* ---- the table */

static const fv__renderer *const renderers[] = {
#define FV_RENDERER(name) &fv__renderer_##name,
#include "explain/list.def"
#undef FV_RENDERER
};
enum { RENDERERS = sizeof renderers / sizeof *renderers };

const fv_renderer *fv_renderer_at(int index) {
    return index >= 0 && index < RENDERERS ? &renderers[index]->info : NULL;
}

static bool ends_with(const char *text, const char *end) {
    size_t size = strlen(text), n = strlen(end);
    if (size <= n) return false;
    for (size_t i = 0; i < n; i++)
        if (tolower((unsigned char)text[size - n + i]) != end[i]) return false;
    return true;
}

static const fv__renderer *find(const char *name) {
    for (int i = 0; i < RENDERERS; i++)
        if (!strcmp(name, renderers[i]->info.name)) return renderers[i];
    for (int i = 0; i < RENDERERS; i++)
        if (ends_with(name, renderers[i]->info.extension)) return renderers[i];
    return ends_with(name, ".htm") ? &fv__renderer_html : NULL;
}

const fv_renderer *fv_renderer_find(const char *name) {
    const fv__renderer *r = find(name);
    return r ? &r->info : NULL;
}

static fv_status unknown_renderer(const char *name) {
    fv__buf have = {0};
    for (int i = 0; i < RENDERERS; i++) fv__buf_printf(&have, " %s", renderers[i]->info.extension);
    fv_status status = fv__fail(
        FV_USAGE, "explain: unknown kind of file\n  expected a name that ends with one of:%s\n  found:   \"%s\"",
        have.data ? have.data : "", name);
    fv__buf_free(&have);
    return status;
}

/* ---- output */

void fv__sink_add(fv__sink *sink, const void *bytes, size_t count) {
    if (sink->status == FV_OK && count) sink->status = sink->write(sink->context, bytes, count);
}

void fv__sink_buf(fv__sink *sink, const fv__buf *buf) {
    if (sink->status == FV_OK) sink->status = fv__buf_status(buf);
    fv__sink_add(sink, buf->data, buf->size);
}

fv_status fv_render(const fv_explanation *e, const char *renderer, const fv_render_options *options, fv_write_fn *write,
                    void *context) {
    const fv__renderer *r = find(renderer);
    if (!r) return unknown_renderer(renderer);
    fv_render_options standard;
    fv_options_init(fv_render_option_rows(), &standard);
    if (!options) options = &standard;
    fv__sink sink = {write, context, FV_OK};
    if (!r->merges_words || !options->words) {
        FV_TRY(r->draw(e, options, &sink));
        return sink.status;
    }
    fv_explanation *words;
    FV_TRY(fv_explanation_words(&words, e));
    fv_status status = r->draw(words, options, &sink);
    fv_explanation_free(words);
    return status != FV_OK ? status : sink.status;
}

static fv_status write_to_file(void *context, const void *bytes, size_t count) {
    fv__writer *writer = context;
    fv__writer_add(writer, bytes, count);
    return writer->status;
}

/* A text file is not a terminal: unless somebody asks, no colours. */
fv_status fv_render_file(const fv_explanation *e, const char *path, const fv_render_options *options) {
    if (!find(path)) return unknown_renderer(path);
    fv_render_options own;
    fv_options_init(fv_render_option_rows(), &own);
    if (options) own = *options;
    if (!own.colors || !strcmp(own.colors, "auto")) own.colors = "ascii";
    fv__writer writer;
    FV_TRY(fv__writer_open(&writer, path));
    fv_status status = fv_render(e, path, &own, write_to_file, &writer);
    if (status == FV_OK) return fv__writer_commit(&writer);
    fv__writer_abort(&writer);
    return status;
}

/* ---- what several renderers need */

fv_status fv__parse_bytes(const char *text, size_t *bytes) {
    static const char units[] = "KMG";
    size_t value = 0, digits = strspn(text, "0123456789"), unit = 1;
    bool ok = digits > 0;
    for (size_t i = 0; ok && i < digits; i++)
        ok = fv__mul_ok(value, 10, &value) && fv__add_ok(value, (size_t)(text[i] - '0'), &value);
    const char *at = text + digits, *found = *at ? strchr(units, toupper((unsigned char)*at)) : NULL;
    if (found) {
        unit = (size_t)1 << (10 * (found - units + 1));
        at += at[1] == 'B' || at[1] == 'b' ? 2 : 1;
    }
    if (ok && !*at && fv__mul_ok(value, unit, bytes)) return FV_OK;
    return fv__fail(FV_USAGE, "max-size\n  expected a number of bytes such as 800K or 16M\n  found:   \"%s\"", text);
}

void fv__head_title(fv__buf *out, const fv_explain_map *map, const fv_explain_head *head) {
    if (head->caption)
        fv__buf_text(out, head->caption);
    else if (head->id)
        fv__buf_text(out, head->id);
    else if (head->layer >= 0 && head->head >= 0)
        fv__buf_printf(out, "Layer %d, head %d", head->layer, head->head);
    else
        fv__buf_text(out, map->caption);
}

void fv__unread_sentence(fv__buf *out, const fv_explain_sequence *s) {
    int64_t read = 0;
    for (int64_t i = 0; i < s->count; i++)
        if (s->token[i].end > read) read = s->token[i].end;
    if (s->truncated && read < (int64_t)s->size)
        fv__buf_printf(out, "the model read the first %lld tokens; the last %lld of %zu bytes were cut off",
                       (long long)s->count, (long long)s->size - read, s->size);
}

void fv__unknown_sentence(fv__buf *out, const fv_explain_sequence *s) {
    enum { NAMED = 5 };
    int64_t unknown = 0;
    fv__buf names = {0};
    for (int64_t i = 0; i < s->count; i++) {
        if (!s->token[i].unknown || unknown++ >= NAMED) continue;
        fv__buf raw = {0};
        fv__token_caption(&raw, s, i);
        fv__buf_text(&names, unknown > 1 ? ", \"" : "\"");
        fv__plain_text(&names, raw.data ? raw.data : "", raw.size);
        fv__buf_text(&names, "\"");
        names.failed |= raw.failed;
        fv__buf_free(&raw);
    }
    if (unknown)
        fv__buf_printf(out, "%lld of %lld tokens are not in the vocabulary: %s%s", (long long)unknown,
                       (long long)s->count, names.data ? names.data : "", unknown > NAMED ? " ..." : "");
    out->failed |= names.failed;
    fv__buf_free(&names);
}

int32_t fv__explained_class(const fv_explanation *e) {
    for (int a = 0; a < e->attributions; a++)
        if (e->attribution[a].of_class >= 0) return e->attribution[a].of_class;
    return e->predicted;
}

void fv__side_by_side(const fv_explanation *e, const fv_attribution *out[2]) {
    int32_t of_class = fv__explained_class(e);
    int found = 0;
    out[0] = out[1] = NULL;
    for (int a = 0; a < e->attributions && found < 2; a++) {
        const fv_attribution *one = &e->attribution[a];
        bool fits = one->of_class < 0 || one->of_class == of_class;
        if (fits && (found == 0 || one->sequence == out[0]->sequence)) out[found++] = one;
    }
}

double fv__largest(const float *value, int64_t count) {
    float largest = 0; /* in double, with fmax, gcc 12 for AArch64 ends in an internal error */
    for (int64_t i = 0; i < count; i++) largest = fmaxf(largest, fabsf(value[i]));
    return (double)largest;
}

fv__tone fv__attribution_tone(fv__scale scale, const fv_attribution *a, const fv_explain_sequence *s) {
    double sum = 0;
    for (int64_t i = 0; i < s->count; i++) sum += a->value[i];
    fv__tone tone = fv__tone_of(scale, !a->is_signed && fabs(sum - 1) < 1e-3, false, a->value, 1, s);
    if (a->is_signed) tone.top = fv__largest(a->value, s->count);
    return tone;
}

bool fv__nearly_uniform(const fv_explain_map *map, const fv_explain_head *head) {
    return map->normalised && head->stats.entropy >= FV_NEARLY_UNIFORM;
}

int64_t fv__top_tokens(const fv_explanation *e, const fv_attribution *a, int64_t *token, int64_t room) {
    const fv_explain_sequence *s = &e->sequence[a->sequence];
    int64_t count = 0;
    for (int64_t i = 0; i < s->count; i++) {
        if (s->token[i].special) continue;
        int64_t at = count;
        while (at > 0 && fabsf(a->value[token[at - 1]]) < fabsf(a->value[i])) at--;
        if (at >= room) continue;
        int64_t moved = (count < room ? count : room - 1) - at;
        memmove(token + at + 1, token + at, (size_t)moved * sizeof *token);
        token[at] = i;
        if (count < room) count++;
    }
    return count;
}
