/* figure: the layout of a picture. With attention it is a matrix with its captions, a colour bar, and under the columns
 * the attributions of the same tokens; without, it is the most important words with a bar each. */
#include "explain/canvas.h"

#include <math.h>
#include <string.h>

enum {
    MARGIN = 28,
    HEADING = 18,
    BODY = 13,
    SMALL = 11,
    BAR_ROW = 24,
    BAR_WIDTH = 260,
    CAPTION_MAX = 18, /* columns of text that a caption may take */
    HEADING_MAX = 100,
    CELLS_MAX = 1500 /* of a side; longer texts are binned */
};
static const fv__rgb ink = {20, 21, 26}, muted = {96, 100, 112}, rule = {214, 218, 226}, paper = {255, 255, 255};

/* ---- captions */

static int64_t width_of(const fv__figure *f, int64_t size, const char *text) {
    return fv__type_width(f->typesetter, size, text, strlen(text));
}

/* The caption of a token, plain and cut to CAPTION_MAX columns. */
static void caption_of(fv__buf *out, const fv_explain_sequence *s, int64_t token) {
    fv__buf raw = {0}, plain = {0};
    fv__token_caption(&raw, s, token);
    fv__plain_text(&plain, raw.data ? raw.data : "", raw.size);
    fv__cut_columns(out, plain.data ? plain.data : "", plain.size, CAPTION_MAX, "\xE2\x80\xA6");
    out->failed |= raw.failed || plain.failed;
    fv__buf_free(&raw);
    fv__buf_free(&plain);
}

static int64_t widest_caption(const fv__figure *f, const fv_explain_sequence *s, int64_t step, int64_t size) {
    int64_t widest = 1;
    for (int64_t i = 0; i < s->count; i += step) {
        fv__buf caption = {0};
        caption_of(&caption, s, i);
        int64_t width = caption.size ? fv__type_width(f->typesetter, size, caption.data, caption.size) : 0;
        if (width > widest) widest = width;
        fv__buf_free(&caption);
    }
    return widest;
}

/* ---- layout */

static int64_t cell_for(int64_t tokens) {
    static const int64_t size[][2] = {{8, 40},   {14, 30}, {24, 24}, {40, 18}, {64, 14},
                                      {100, 10}, {160, 7}, {260, 5}, {420, 3}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        if (tokens <= size[i][0]) return size[i][1];
    return tokens <= 900 ? 2 : 1;
}

static int64_t caption_size(const fv__figure *f) { return f->cell >= 14 ? BODY : SMALL; }
/* Every step-th cell has a caption, so that lines do not touch. */
static int64_t caption_step(const fv__figure *f) {
    int64_t line = caption_size(f) + 1;
    return f->cell >= line ? 1 : (line + f->cell - 1) / f->cell;
}

static void layout_matrix(fv__figure *f, int64_t asked) {
    const fv_explain_sequence *query = &f->e->sequence[f->map->query], *key = &f->e->sequence[f->map->key];
    int64_t longest = query->count > key->count ? query->count : key->count;
    f->bin = longest > CELLS_MAX ? (longest + CELLS_MAX - 1) / CELLS_MAX : 1;
    f->rows = (query->count + f->bin - 1) / f->bin;
    f->columns = (key->count + f->bin - 1) / f->bin;
    f->cell = asked > 0 ? asked : cell_for(longest);
    f->tone = fv__tone_of(f->scale, f->map->normalised, f->map->causal, f->head->weight, query->count, key);
    f->matrix_width = f->columns * f->cell;
    f->matrix_height = f->rows * f->cell;
    int64_t step = caption_step(f) * f->bin;
    f->query_caption = widest_caption(f, query, step, caption_size(f));
    f->key_caption = widest_caption(f, key, step, caption_size(f));
    int64_t room = f->query_caption + 30; /* of the captions, of the strips' names */
    for (int i = 0; i < 2; i++)
        if (f->side[i] && room < width_of(f, SMALL, f->side[i]->caption) + 6)
            room = width_of(f, SMALL, f->side[i]->caption) + 6;
    f->left = MARGIN + room;
    f->top = MARGIN + HEADING + 50 + f->key_caption + 34;
    f->width = f->left + f->matrix_width + 20 + 14 + 70 + MARGIN;
    f->height = f->top + f->matrix_height + 20 + MARGIN;
    for (int i = 0; i < 2; i++)
        if (f->side[i]) f->height += 34;
    if (f->height < f->top + 180) f->height = f->top + 180;
}

static fv_status layout_bars(fv__figure *f, int64_t top) {
    const fv_attribution *a = f->side[0];
    if (!a)
        return fv__fail(
            FV_USAGE,
            "explain: there is nothing to draw\n  expected attention maps or attributions\n  found:   neither");
    const fv_explain_sequence *s = &f->e->sequence[a->sequence];
    int64_t room = top < s->count ? top : s->count;
    f->bar = fv__alloc_array((size_t)room + 1, sizeof *f->bar);
    if (!f->bar) return FV_NO_RESOURCES;
    f->bars = fv__top_tokens(f->e, a, f->bar, room);
    f->max = fv__largest(a->value, s->count);
    f->query_caption = widest_caption(f, s, 1, BODY);
    f->left = MARGIN + f->query_caption + 12;
    f->top = MARGIN + HEADING + 56;
    f->width = f->left + BAR_WIDTH + 90 + MARGIN;
    f->height = f->top + f->bars * BAR_ROW + MARGIN;
    return FV_OK;
}

/* ---- heading */

static void write_title(const fv__figure *f, fv__buf *line) {
    if (f->map)
        fv__head_title(line, f->map, f->head);
    else
        fv__buf_text(line, f->side[0]->caption);
    if (f->e->model[0]) fv__buf_printf(line, "  (%s)", f->e->model);
}

static void write_subtitle(const fv__figure *f, fv__buf *line) {
    const fv_explanation *e = f->e;
    int32_t of_class = fv__explained_class(e);
    if (f->map && fv__nearly_uniform(f->map, f->head)) fv__buf_text(line, "nearly uniform attention; ");
    if (e->predicted < 0) {
        fv__buf_text(line, e->title);
        return;
    }
    fv__buf_printf(line, "predicted %s, %.1f %%", e->class_of[e->predicted].name,
                   100 * e->class_of[e->predicted].probability);
    if (e->expected >= 0) fv__buf_printf(line, "; true class %s", e->class_of[e->expected].name);
    if (of_class != e->predicted) fv__buf_printf(line, "; explained %s", e->class_of[of_class].name);
}

/* One line, made plain, cut to HEADING_MAX columns; the figure grows to hold it. */
static fv_status heading(fv__figure *f, fv__buf *out, int64_t size, void (*write)(const fv__figure *, fv__buf *)) {
    fv__buf line = {0}, plain = {0};
    write(f, &line);
    fv__plain_text(&plain, line.data ? line.data : "", line.size);
    fv__buf_text(out, "");
    fv__cut_columns(out, plain.data ? plain.data : "", plain.size, HEADING_MAX, "\xE2\x80\xA6");
    int64_t width = out->size ? fv__type_width(f->typesetter, size, out->data, out->size) : 0;
    if (f->width < 2 * MARGIN + width) f->width = 2 * MARGIN + width;
    out->failed |= line.failed || plain.failed;
    fv__buf_free(&line);
    fv__buf_free(&plain);
    return fv__buf_status(out);
}

static fv_status choose(fv__figure *f, const fv_render_options *options) {
    fv__side_by_side(f->e, f->side);
    if (f->e->maps == 0 && !options->matrix) return layout_bars(f, options->top);
    int map;
    int64_t head;
    FV_TRY(fv_explanation_find(f->e, options->matrix, &map, &head));
    f->map = &f->e->map[map];
    f->head = &f->map->head[head];
    for (int i = 0; i < 2; i++)
        if (f->side[i] && f->side[i]->sequence != f->map->key) f->side[i] = NULL;
    layout_matrix(f, options->cell);
    return FV_OK;
}

fv_status fv__figure_make(fv__figure *f, const fv_explanation *e, const fv_render_options *options) {
    *f = (fv__figure){.e = e, .scale = fv__scale_of(options->scale)};
    FV_TRY(fv__typesetter_create(&f->typesetter));
    FV_TRY(choose(f, options));
    FV_TRY(heading(f, &f->title, HEADING, write_title));
    return heading(f, &f->subtitle, BODY, write_subtitle);
}

void fv__figure_free(fv__figure *f) {
    fv__free(f->bar);
    fv__buf_free(&f->title);
    fv__buf_free(&f->subtitle);
    fv__typesetter_free(f->typesetter);
}

/* ---- drawing */

static void put(fv__canvas *c, int64_t x, int64_t y, fv__type type, const char *text) {
    c->text(c, x, y, type, text, strlen(text));
}

static void put_buf(fv__canvas *c, int64_t x, int64_t y, fv__type type, fv__buf *text) {
    if (text->data) c->text(c, x, y, type, text->data, text->size);
    text->size = 0;
}

static void draw_heading(const fv__figure *f, fv__canvas *c) {
    const fv__type title = {HEADING, FV_ANCHOR_START, false, ink}, subtitle = {BODY, FV_ANCHOR_START, false, muted};
    c->text(c, MARGIN, MARGIN + HEADING - 4, title, f->title.data, f->title.size);
    c->text(c, MARGIN, MARGIN + HEADING + 18, subtitle, f->subtitle.data, f->subtitle.size);
}

/* The largest weight of each bin, so that a diagonal stays visible however small the picture. */
static fv_status draw_cells(const fv__figure *f, fv__canvas *c) {
    int64_t queries = f->e->sequence[f->map->query].count, keys = f->e->sequence[f->map->key].count;
    float *shade = fv__alloc_array((size_t)f->rows * (size_t)f->columns, sizeof *shade);
    if (!shade) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < queries; i++) {
        double unit = fv__tone_unit(&f->tone, i);
        for (int64_t j = 0; j < keys; j++) {
            float *to = &shade[i / f->bin * f->columns + j / f->bin];
            *to = fmaxf(*to, (float)fv__tone_shade(&f->tone, unit, j, f->head->weight[i * keys + j]));
        }
    }
    c->rect(c, f->left - 1, f->top - 1, f->matrix_width + 2, f->matrix_height + 2, rule);
    fv_status status = c->cells(c, &(fv__cells){f->left, f->top, f->cell, f->cell, f->rows, f->columns, shade});
    fv__free(shade);
    return status;
}

static fv_status draw_captions(const fv__figure *f, fv__canvas *c) {
    static const char query_name[] = "query (row)";
    const fv_explain_sequence *query = &f->e->sequence[f->map->query], *key = &f->e->sequence[f->map->key];
    int64_t size = caption_size(f), step = caption_step(f), middle = f->cell / 2 + size * 35 / 100;
    fv__buf caption = {0};
    for (int64_t i = 0; i < f->rows; i += step) {
        caption_of(&caption, query, i * f->bin);
        put_buf(c, f->left - 6, f->top + i * f->cell + middle, (fv__type){size, FV_ANCHOR_END, false, ink}, &caption);
    }
    for (int64_t j = 0; j < f->columns; j += step) {
        caption_of(&caption, key, j * f->bin);
        put_buf(c, f->left + j * f->cell + middle, f->top - 7, (fv__type){size, FV_ANCHOR_START, true, ink}, &caption);
    }
    fv_status status = fv__buf_status(&caption);
    fv__buf_free(&caption);
    put(c, f->left + f->matrix_width / 2, f->top - f->key_caption - 18,
        (fv__type){SMALL, FV_ANCHOR_MIDDLE, false, muted}, "key (column)");
    if (f->matrix_height < width_of(f, SMALL, query_name)) return status;
    put(c, f->left - f->query_caption - 18, f->top + f->matrix_height / 2,
        (fv__type){SMALL, FV_ANCHOR_MIDDLE, true, muted}, query_name);
    return status;
}

/* What the end of the scale, and the even share, are called beside the bar. */
static void name_shades(const fv__figure *f, fv__buf *top, fv__buf *even) {
    fv__buf_printf(top, f->tone.top < 0.01 ? "%.1e" : "%.3f", f->tone.top);
    fv__tone_even_caption(&f->tone, even);
}

static fv_status draw_color_bar(const fv__figure *f, fv__canvas *c) {
    enum { STEPS = 60, STEP = 2, HIGH = STEPS * STEP };
    static const char *const names[] = {"linear", "sqrt", "log"};
    const fv__type note = {SMALL, FV_ANCHOR_START, false, muted};
    float shade[STEPS];
    int64_t x = f->left + f->matrix_width + 20;
    for (int i = 0; i < STEPS; i++) shade[i] = 1 - (float)i / (STEPS - 1);
    FV_TRY(c->cells(c, &(fv__cells){x, f->top, 14, STEP, STEPS, 1, shade}));
    fv__buf top = {0}, even = {0};
    name_shades(f, &top, &even);
    fv_status status = top.failed || even.failed ? FV_NO_RESOURCES : FV_OK;
    put_buf(c, x + 19, f->top + 9, note, &top);
    put_buf(c, x + 19, f->top + (int64_t)(HIGH * (1 - FV_SHADE_EVEN)), note, &even);
    put(c, x + 19, f->top + HIGH + 2, note, "0");
    put(c, x, f->top + HIGH + 20, note, names[f->scale]);
    fv__buf_free(&top);
    fv__buf_free(&even);
    return status;
}

/* One row of cells under the matrix, in the columns of the same tokens. */
static fv_status draw_strip(const fv__figure *f, fv__canvas *c, const fv_attribution *a, int64_t y) {
    int64_t count = f->e->sequence[a->sequence].count;
    float *shade = fv__alloc_array((size_t)f->columns, sizeof *shade);
    if (!shade) return FV_NO_RESOURCES;
    fv__tone tone = fv__attribution_tone(f->scale, a, &f->e->sequence[a->sequence]);
    double unit = fv__tone_unit(&tone, 0);
    for (int64_t j = 0; j < count; j++) {
        double value = copysign(fv__tone_shade(&tone, unit, j, fabs((double)a->value[j])), a->value[j]);
        float *to = &shade[j / f->bin];
        if (fabs(value) > fabs((double)*to)) *to = (float)value;
    }
    put(c, f->left - 6, y + 14, (fv__type){SMALL, FV_ANCHOR_END, false, muted}, a->caption);
    c->rect(c, f->left - 1, y - 1, f->matrix_width + 2, 22, rule);
    fv_status status = c->cells(c, &(fv__cells){f->left, y, f->cell, 20, 1, f->columns, shade});
    fv__free(shade);
    return status;
}

static fv_status draw_bars(const fv__figure *f, fv__canvas *c) {
    const fv_attribution *a = f->side[0];
    const fv_explain_sequence *s = &f->e->sequence[a->sequence];
    int64_t zero = a->is_signed ? f->left + BAR_WIDTH / 2 : f->left, room = f->left + BAR_WIDTH - zero;
    fv__buf caption = {0};
    c->rect(c, zero, f->top - 6, 1, f->bars * BAR_ROW + 6, rule);
    for (int64_t i = 0; i < f->bars; i++) {
        double value = a->value[f->bar[i]], share = f->max > 0 ? value / f->max : 0;
        int64_t y = f->top + i * BAR_ROW, length = (int64_t)(fabs(share) * (double)room + 0.5);
        caption_of(&caption, s, f->bar[i]);
        put_buf(c, f->left - 12, y + 13, (fv__type){BODY, FV_ANCHOR_END, false, ink}, &caption);
        c->rect(c, share < 0 ? zero - length : zero, y, length, 17, fv__shade_color(share < 0 ? -0.55 : 0.55));
        fv__buf_printf(&caption, a->is_signed ? "%+.3f" : "%.3f", value);
        put_buf(c, f->left + BAR_WIDTH + 12, y + 13, (fv__type){BODY, FV_ANCHOR_START, false, muted}, &caption);
    }
    fv_status status = fv__buf_status(&caption);
    fv__buf_free(&caption);
    return status;
}

fv_status fv__figure_draw(const fv__figure *f, fv__canvas *c) {
    c->rect(c, 0, 0, f->width, f->height, paper);
    draw_heading(f, c);
    if (!f->map) return draw_bars(f, c);
    FV_TRY(draw_cells(f, c));
    FV_TRY(draw_captions(f, c));
    FV_TRY(draw_color_bar(f, c));
    int64_t y = f->top + f->matrix_height + 16;
    for (int i = 0; i < 2; i++) {
        if (!f->side[i]) continue;
        FV_TRY(draw_strip(f, c, f->side[i], y));
        y += 34;
    }
    return FV_OK;
}

fv_status fv__figure_render(const fv_explanation *e, const fv_render_options *options, fv__sink *sink,
                            fv__figure_write_fn *write) {
    fv__figure f;
    fv_status status = fv__figure_make(&f, e, options);
    if (status == FV_OK) status = write(&f, sink);
    fv__figure_free(&f);
    return status;
}
