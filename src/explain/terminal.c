/* terminal: everything at a glance where one already is: the classes, the text shaded twice, the words that counted
 * most, one matrix, and which heads look at little. */
#include "explain/term.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NARROWEST = 20, CLASSES = 3 };

/* ---- what the terminal can do */

static bool has(const char *text, const char *part) { return text && strstr(text, part); }

/* no-color.org: any value but the empty one. */
static fv__term_mode mode_of(const char *asked) {
    if (asked && !strcmp(asked, "truecolor")) return FV_TERM_TRUE;
    if (asked && !strcmp(asked, "256")) return FV_TERM_256;
    if (asked && !strcmp(asked, "ascii")) return FV_TERM_ASCII;
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM"), *depth = getenv("COLORTERM");
    if ((no && *no) || !term || !*term || !strcmp(term, "dumb")) return FV_TERM_ASCII;
    return has(depth, "truecolor") || has(depth, "24bit") || has(term, "-direct") ? FV_TERM_TRUE : FV_TERM_256;
}

static int64_t width_of(int64_t asked) {
    int64_t columns = asked;
    const char *from = getenv("COLUMNS");
    if (columns <= 0 && (!from || !fv__parse_int(from, &columns) || columns <= 0)) columns = 80;
    return columns < NARROWEST ? NARROWEST : columns > 1000 ? 1000 : columns;
}

/* ---- classes */

static int32_t next_probable(const fv_explanation *e, const int32_t *shown, int count) {
    int32_t best = -1;
    for (int32_t c = 0; c < e->classes; c++) {
        bool seen = false;
        for (int i = 0; i < count; i++) seen |= shown[i] == c;
        if (!seen && (best < 0 || e->class_of[c].probability > e->class_of[best].probability)) best = c;
    }
    return best;
}

static void class_line(const fv__term *t, int32_t c, int64_t name_width) {
    const fv_explain_class *one = &t->e->class_of[c];
    fv__buf plain = {0};
    fv__plain_text(&plain, one->name, strlen(one->name));
    int64_t used = fv__fit_columns(t->out, plain.data ? plain.data : "", plain.size, name_width);
    fv__term_spaces(t->out, name_width - used);
    fv__buf_printf(t->out, " %5.1f %%", 100 * one->probability);
    int64_t room = t->columns - name_width - 8 - 2 - 13;
    if (room > 24) room = 24;
    if (room >= 8) {
        fv__buf_text(t->out, "  ");
        fv__term_bar(t, t->out, one->probability, room);
    }
    while (t->out->size && t->out->data[t->out->size - 1] == ' ') t->out->size--;
    if (c == t->e->expected && t->columns >= 40) fv__buf_text(t->out, "  true class");
    fv__buf_text(t->out, "\n");
    t->out->failed |= plain.failed;
    fv__buf_free(&plain);
}

static void classes(const fv__term *t) {
    int32_t shown[CLASSES + 1];
    int count = 0;
    int64_t widest = 0, limit = t->columns - 9 < 24 ? t->columns - 9 : 24;
    for (; count < CLASSES && count < t->e->classes; count++) shown[count] = next_probable(t->e, shown, count);
    bool listed = t->e->expected < 0;
    for (int i = 0; i < count; i++) listed |= shown[i] == t->e->expected;
    if (!listed) shown[count++] = t->e->expected;
    for (int i = 0; i < count; i++) {
        int64_t columns = fv_text_columns(t->e->class_of[shown[i]].name, strlen(t->e->class_of[shown[i]].name));
        if (columns > widest) widest = columns;
    }
    for (int i = 0; i < count; i++) class_line(t, shown[i], widest < limit ? widest : limit);
    fv__buf_text(t->out, "\n");
}

/* ---- words that counted most */

typedef struct table {
    const fv_attribution *column[2];
    int64_t word, bar;
    double max[2];
} table;

static void table_row(const fv__term *t, const table *b, int64_t token) {
    int64_t used = fv__term_caption(t->out, &t->e->sequence[b->column[0]->sequence], token, b->word);
    fv__term_spaces(t->out, b->word - used);
    for (int i = 0; i < 2 && b->column[i]; i++) {
        double value = b->column[i]->value[token];
        fv__buf_printf(t->out, b->column[i]->is_signed ? " %+8.3f" : " %8.3f", value);
        if (b->bar == 0) continue;
        fv__buf_text(t->out, " ");
        fv__term_bar(t, t->out, b->max[i] > 0 ? value / b->max[i] : 0, b->bar);
    }
    fv__buf_text(t->out, "\n");
}

static void table_head(const fv__term *t, const table *b) {
    int64_t used = fv__fit_columns(t->out, "word", 4, b->word);
    fv__term_spaces(t->out, b->word - used);
    for (int i = 0; i < 2 && b->column[i]; i++) {
        int64_t width = 9 + (b->bar ? b->bar + 1 : 0);
        const char *caption = b->column[i]->caption;
        fv__buf_text(t->out, "  ");
        used = fv__fit_columns(t->out, caption, strlen(caption), width - 2);
        if (i == 0 && b->column[1]) fv__term_spaces(t->out, width - 2 - used);
    }
    fv__buf_text(t->out, "\n");
}

/* Sorted by the attribution that speaks about the class, if there is one. */
static fv_status words(const fv__term *t, const fv_attribution *const side[2]) {
    table b = {.column = {side[0], side[1]}};
    const fv_attribution *by = side[1] && side[1]->of_class >= 0 ? side[1] : side[0];
    int64_t tokens = t->e->sequence[by->sequence].count, room = t->options->top < tokens ? t->options->top : tokens;
    int64_t *token = fv__alloc_array((size_t)room + 1, sizeof *token);
    if (!token) return FV_NO_RESOURCES;
    if (side[1] && t->columns < 28) b.column[0] = by, b.column[1] = NULL;
    int64_t columns = b.column[1] ? 2 : 1;
    b.word = t->columns - 9 * columns < 20 ? t->columns - 9 * columns : 20;
    b.bar = (t->columns - b.word - 10 * columns) / columns;
    b.bar = b.bar < 6 ? 0 : b.bar > 18 ? 18 : b.bar;
    for (int i = 0; i < 2 && b.column[i]; i++) b.max[i] = fv__largest(b.column[i]->value, tokens);
    int64_t count = fv__top_tokens(t->e, by, token, room);
    if (count > 0) table_head(t, &b);
    for (int64_t i = 0; i < count; i++) table_row(t, &b, token[i]);
    if (count > 0) fv__buf_text(t->out, "\n");
    fv__free(token);
    return FV_OK;
}

/* ---- heads */

/* A cell a head: dark ones look at few words, pale ones everywhere. */
static void heads(const fv__term *t, const fv_explain_map *map) {
    int32_t layer = -1;
    int64_t used = 0, several = 0;
    for (int64_t h = 0; h < map->heads; h++) several += map->head[h].id == NULL;
    if (several < 2) return;
    fv__term_heading(t, "Heads: how focused (1 - relative entropy)");
    for (int64_t h = 0; h < map->heads; h++) {
        const fv_explain_head *one = &map->head[h];
        if (one->id) continue;
        if (one->layer != layer || used + 4 > t->columns) {
            if (h > 0) fv__buf_text(t->out, "\n");
            if (one->layer != layer)
                fv__buf_printf(t->out, "layer %-3d", one->layer);
            else
                fv__term_spaces(t->out, 9);
            used = 9;
            layer = one->layer;
        }
        double focus = 1 - one->stats.entropy;
        fv__term_ground(t, t->out, focus);
        fv__buf_printf(t->out, " .%02d", (int)fmin(99, focus * 100 + 0.5));
        fv__term_reset(t, t->out);
        used += 4;
    }
    fv__buf_text(t->out, "\n\n");
}

/* ---- the whole */

/* What the model did not see, before what it saw. */
static fv_status limits(const fv__term *t, const fv_explain_sequence *s) {
    fv__buf unread = {0}, unknown = {0};
    fv__unread_sentence(&unread, s);
    fv__unknown_sentence(&unknown, s);
    if (unread.size) fv__term_line(t, unread.data);
    if (unknown.size) fv__term_line(t, unknown.data);
    if (unread.size || unknown.size) fv__buf_text(t->out, "\n");
    fv_status status = unread.failed || unknown.failed ? FV_NO_RESOURCES : FV_OK;
    fv__buf_free(&unread);
    fv__buf_free(&unknown);
    return status;
}

static fv_status view(const fv__term *t) {
    const fv_attribution *side[2];
    fv__side_by_side(t->e, side);
    if (t->e->classes > 0)
        classes(t);
    else
        fv__term_heading(t, t->e->title);
    if (t->e->sequences > 0) FV_TRY(limits(t, &t->e->sequence[0]));
    if (side[0]) FV_TRY(fv__term_texts(t, side));
    if (side[0] && t->options->top > 0) FV_TRY(words(t, side));
    if (t->e->maps == 0 && !t->options->matrix) return FV_OK;
    FV_TRY(fv__term_matrix(t));
    heads(t, &t->e->map[0]);
    return FV_OK;
}

/* Blanks at the end of lines that carry no colour (coloured ones end with a reset). */
static void trim_lines(fv__buf *out) {
    size_t to = 0;
    for (size_t i = 0; i < out->size; i++) {
        if (out->data[i] == '\n')
            while (to > 0 && out->data[to - 1] == ' ') to--;
        out->data[to++] = out->data[i];
    }
    out->size = to;
}

static fv_status draw(const fv_explanation *e, const fv_render_options *options, fv__sink *sink) {
    fv__buf out = {0};
    fv__term t = {&out, mode_of(options->colors), width_of(options->columns), e, options};
    fv_status status = view(&t);
    trim_lines(&out);
    if (status == FV_OK) fv__sink_buf(sink, &out);
    fv__buf_free(&out);
    return status;
}

const fv__renderer fv__renderer_terminal = {
    {"terminal", ".txt", "shaded text, top words and one matrix in characters"}, true, draw};
