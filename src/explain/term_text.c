/* term_text: the text itself, each word on a ground as dark as its attribution; two attributions side by side where the
 * terminal is wide enough. Without colour a line of marks stands under each line of text. */
#include "explain/term.h"

#include "data/text.h"

#include <string.h>

/* Lines of a panel: what stands on them, marks under them (only without colour), and columns used. */
typedef struct line {
    fv__buf text, marks;
    int64_t used;
} line;
typedef struct panel {
    const fv__term *t;
    const fv_attribution *a;
    int64_t width;
    fv__tone tone;
    line *lines;
    size_t count, capacity;
    fv_status status;
} panel;

static line *last_line(panel *p) { return p->count ? &p->lines[p->count - 1] : NULL; }

static void new_line(panel *p) {
    if (p->status == FV_OK) p->status = FV_GROW(&p->lines, &p->capacity, p->count + 1);
    if (p->status == FV_OK) p->count++;
}

/* Plain text that fits on the line; `shade` is of the token it belongs to. */
static void put(panel *p, const char *text, size_t size, double shade, bool shaded) {
    line *l = last_line(p);
    int64_t columns = fv_text_columns(text, size);
    if (shaded) fv__term_ground(p->t, &l->text, shade);
    fv__buf_add(&l->text, text, size);
    if (shaded) fv__term_reset(p->t, &l->text);
    for (int64_t i = 0; i < columns; i++) {
        char mark = shaded ? fv__term_ramp(shade) : ' ';
        fv__buf_add(&l->marks, &mark, 1);
    }
    l->used += columns;
    if (l->text.failed || l->marks.failed) p->status = FV_NO_RESOURCES;
}

/* A token: on a line of its own when it does not fit on this one, cut into several when no line is long enough. */
static void put_token(panel *p, const char *text, size_t size, double shade) {
    int64_t columns = fv_text_columns(text, size);
    if (p->count == 0 || (last_line(p)->used + columns > p->width && last_line(p)->used > 0)) new_line(p);
    while (p->status == FV_OK && size > 0) {
        size_t part = 0, n;
        int64_t room = p->width - last_line(p)->used, used = 0;
        while (part < size) {
            n = fv__cluster(text + part, size - part);
            int64_t wide = fv_text_columns(text + part, n);
            if (used + wide > room && used > 0) break;
            used += wide;
            part += n;
        }
        put(p, text, part, shade, true);
        text += part;
        size -= part;
        if (size > 0) new_line(p);
    }
}

/* What lies between tokens: broken where it has blanks. */
static void put_gap(panel *p, const char *text, size_t size) {
    for (size_t i = 0, n; p->status == FV_OK && i < size; i += n) {
        fv__utf8_next(text + i, size - i, &n, NULL);
        int64_t wide = fv_text_columns(text + i, n);
        line *l = last_line(p);
        bool blank = text[i] == ' ';
        if (blank && (!l || l->used == 0 || l->text.data[l->text.size - 1] == ' ')) continue;
        if (!l || l->used + wide > p->width) {
            new_line(p);
            if (blank) continue;
        }
        if (p->status == FV_OK) put(p, text + i, n, 0, false);
    }
}

static double shade_of(const panel *p, int64_t token) {
    double value = p->a->value[token], unit = fv__tone_unit(&p->tone, 0);
    return value < 0 ? -fv__tone_shade(&p->tone, unit, token, -value) : fv__tone_shade(&p->tone, unit, token, value);
}

static void fill_token(panel *p, const fv_explain_sequence *s, int64_t i) {
    fv__buf caption = {0}, plain = {0};
    fv__token_caption(&caption, s, i);
    fv__plain_text(&plain, caption.data ? caption.data : "", caption.size);
    if (caption.failed || plain.failed) p->status = FV_NO_RESOURCES;
    if (plain.size) put_token(p, plain.data, plain.size, shade_of(p, i));
    fv__buf_free(&caption);
    fv__buf_free(&plain);
}

static void fill_gap(panel *p, const fv_explain_sequence *s, int64_t from, int64_t until) {
    fv__buf plain = {0};
    if (until > from) fv__plain_text(&plain, s->text + from, (size_t)(until - from));
    if (plain.failed) p->status = FV_NO_RESOURCES;
    if (plain.size) put_gap(p, plain.data, plain.size);
    fv__buf_free(&plain);
}

static void fill(panel *p) {
    const fv_explain_sequence *s = &p->t->e->sequence[p->a->sequence];
    int64_t at = 0;
    p->tone = fv__attribution_tone(fv__scale_of(p->t->options->scale), p->a, s);
    for (int64_t i = 0; p->status == FV_OK && i < s->count; i++) {
        const fv_explain_token *token = &s->token[i];
        bool in_text = s->text && token->end > token->start;
        if (in_text)
            fill_gap(p, s, at, token->start);
        else
            put_gap(p, " ", 1);
        if (p->status == FV_OK && (!in_text || token->end > at)) fill_token(p, s, i);
        if (!in_text) put_gap(p, " ", 1);
        if (in_text && token->end > at) at = token->end;
    }
    if (s->truncated)
        put_gap(p, " [not read: ...]", 16);
    else if (s->text)
        fill_gap(p, s, at, (int64_t)s->size);
}

/* ---- output */

static void print_row(const fv__term *t, panel *p, int panels, size_t row, bool marks) {
    int64_t owed = 0;
    for (int i = 0; i < panels; i++) {
        if (row < p[i].count && p[i].lines[row].used > 0) {
            const fv__buf *from = marks ? &p[i].lines[row].marks : &p[i].lines[row].text;
            fv__term_spaces(t->out, owed);
            fv__buf_add(t->out, from->data, from->size);
            owed = p[i].width - p[i].lines[row].used;
        } else {
            owed += p[i].width;
        }
        owed += 3;
    }
    fv__buf_text(t->out, "\n");
}

static void print_titles(const fv__term *t, const panel *p, int panels) {
    int32_t of_class = fv__explained_class(t->e);
    for (int i = 0; i < panels; i++) {
        fv__buf title = {0}, plain = {0};
        fv__buf_text(&title, p[i].a->caption);
        if (p[i].a->of_class >= 0) fv__buf_printf(&title, " for %s", t->e->class_of[of_class].name);
        fv__plain_text(&plain, title.data ? title.data : "", title.size);
        if (t->mode != FV_TERM_ASCII) fv__buf_text(t->out, "\x1b[1m");
        int64_t used = fv__fit_columns(t->out, plain.data ? plain.data : "", plain.size, p[i].width);
        fv__term_reset(t, t->out);
        if (i + 1 < panels) fv__term_spaces(t->out, p[i].width - used + 3);
        t->out->failed |= title.failed || plain.failed;
        fv__buf_free(&title);
        fv__buf_free(&plain);
    }
    fv__buf_text(t->out, "\n");
}

static void free_panel(panel *p) {
    for (size_t i = 0; i < p->count; i++) {
        fv__buf_free(&p->lines[i].text);
        fv__buf_free(&p->lines[i].marks);
    }
    fv__free(p->lines);
}

static fv_status print_panels(const fv__term *t, panel *p, int panels) {
    size_t rows = 0;
    for (int i = 0; i < panels; i++) {
        fill(&p[i]);
        if (p[i].status != FV_OK) return p[i].status;
        if (p[i].count > rows) rows = p[i].count;
    }
    print_titles(t, p, panels);
    for (size_t row = 0; row < rows; row++) {
        print_row(t, p, panels, row, false);
        if (t->mode == FV_TERM_ASCII) print_row(t, p, panels, row, true);
    }
    fv__buf_text(t->out, "\n");
    return FV_OK;
}

fv_status fv__term_texts(const fv__term *t, const fv_attribution *const side[2]) {
    bool beside = side[1] && t->columns >= 72;
    int64_t width = beside ? (t->columns - 3) / 2 : t->columns;
    panel p[2] = {{.t = t, .a = side[0], .width = width}, {.t = t, .a = side[1], .width = width}};
    fv_status status = FV_OK;
    if (beside)
        status = print_panels(t, p, 2);
    else
        for (int i = 0; i < 2 && status == FV_OK && side[i]; i++) status = print_panels(t, &p[i], 1);
    free_panel(&p[0]);
    free_panel(&p[1]);
    return status;
}
