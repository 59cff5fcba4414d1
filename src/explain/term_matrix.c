/* term_matrix: one attention matrix in character cells. Short texts get a cell of two columns for each pair, with
 * every word named; long ones get half a character (one colour above, one below), and bins when even that is too
 * wide. */
#include "explain/term.h"
#include "data/text.h"

#include <math.h>
#include <string.h>

enum { ROWS_MAX = 100, KEY_CAPTION = 8, ROW_CAPTION = 14 };

typedef struct matrix {
    const fv__term *t;
    const fv_explain_map *map;
    const fv_explain_head *head;
    const fv_explain_sequence *query, *key;
    int64_t caption, bin, rows, columns;
    float *shade; /* (rows, columns) */
    fv__tone tone;
} matrix;

static fv_status fill_shades(matrix *m) {
    fv__scale scale = fv__scale_of(m->t->options->scale);
    m->rows = (m->query->count + m->bin - 1) / m->bin;
    m->columns = (m->key->count + m->bin - 1) / m->bin;
    m->shade = fv__alloc_array((size_t)m->rows * (size_t)m->columns, sizeof *m->shade);
    if (!m->shade) return FV_NO_RESOURCES;
    m->tone = fv__tone_of(scale, m->map->normalised, m->map->causal, m->head->weight, m->query->count, m->key);
    for (int64_t i = 0; i < m->query->count; i++) {
        double unit = fv__tone_unit(&m->tone, i);
        for (int64_t j = 0; j < m->key->count; j++) {
            float *to = &m->shade[i / m->bin * m->columns + j / m->bin];
            *to = fmaxf(*to, (float)fv__tone_shade(&m->tone, unit, j, m->head->weight[i * m->key->count + j]));
        }
    }
    return FV_OK;
}

static void row_caption(const matrix *m, int64_t row) {
    int64_t used = fv__term_caption(m->t->out, m->query, row * m->bin, m->caption);
    fv__term_spaces(m->t->out, m->caption - used + 1);
}

/* ---- two columns a cell */

/* A word written downwards: its letters (grapheme clusters), at most KEY_CAPTION of them. */
typedef struct tower {
    fv__buf text;
    int64_t letters;
} tower;

static fv_status build_tower(tower *to, const fv_explain_sequence *s, int64_t token) {
    fv__buf raw = {0}, plain = {0};
    fv__token_caption(&raw, s, token);
    fv__plain_text(&plain, raw.data ? raw.data : "", raw.size);
    int64_t letters = 0;
    for (size_t i = 0; i < plain.size; letters++) i += fv__cluster(plain.data + i, plain.size - i);
    for (size_t i = 0, n; i < plain.size && to->letters < KEY_CAPTION; i += n, to->letters++) {
        bool cut = letters > KEY_CAPTION && to->letters == KEY_CAPTION - 1;
        n = fv__cluster(plain.data + i, plain.size - i);
        fv__buf_add(&to->text, cut ? "~" : plain.data + i, cut ? 1 : n);
    }
    to->text.failed |= raw.failed || plain.failed;
    fv__buf_free(&raw);
    fv__buf_free(&plain);
    return fv__buf_status(&to->text);
}

/* Letter `index` in two columns. One that is wider, an emoji made of several, shows what it begins with. */
static void print_letter(fv__buf *out, const tower *from, int64_t index) {
    size_t at = 0, n = 0;
    int64_t used = 0;
    for (int64_t i = 0; i <= index && at < from->text.size; i++) {
        at += n;
        if (at < from->text.size) n = fv__cluster(from->text.data + at, from->text.size - at);
    }
    if (index >= 0 && at < from->text.size) {
        if (fv_text_columns(from->text.data + at, n) > 2)
            fv__utf8_next(from->text.data + at, from->text.size - at, &n, NULL);
        fv__buf_add(out, from->text.data + at, n);
        used = fv_text_columns(from->text.data + at, n);
    }
    fv__term_spaces(out, 2 - used);
}

/* The words over the columns, written downwards, ending just above the matrix. */
static fv_status key_captions(const matrix *m) {
    int64_t tallest = 0;
    tower *key = fv__alloc_array((size_t)m->columns, sizeof *key);
    fv_status status = key ? FV_OK : FV_NO_RESOURCES;
    for (int64_t j = 0; status == FV_OK && j < m->columns; j++) {
        status = build_tower(&key[j], m->key, j * m->bin);
        if (key[j].letters > tallest) tallest = key[j].letters;
    }
    for (int64_t line = 0; status == FV_OK && line < tallest; line++) {
        fv__term_spaces(m->t->out, m->caption + 1);
        for (int64_t j = 0; j < m->columns; j++) print_letter(m->t->out, &key[j], line - (tallest - key[j].letters));
        fv__buf_text(m->t->out, "\n");
    }
    for (int64_t j = 0; key && j < m->columns; j++) fv__buf_free(&key[j].text);
    fv__free(key);
    return status;
}

static void large_row(const matrix *m, int64_t row) {
    row_caption(m, row);
    for (int64_t j = 0; j < m->columns; j++) {
        double shade = m->shade[row * m->columns + j];
        char mark = m->t->mode == FV_TERM_ASCII ? fv__term_ramp(shade) : ' ';
        fv__term_ground(m->t, m->t->out, shade);
        fv__buf_printf(m->t->out, "%c%c", mark, mark);
    }
    fv__term_reset(m->t, m->t->out);
    fv__buf_text(m->t->out, "\n");
}

/* ---- half a character a cell */

static void half_rows(const matrix *m, int64_t row) {
    const float *upper = m->shade + row * m->columns, *lower = row + 1 < m->rows ? upper + m->columns : NULL;
    row_caption(m, row);
    for (int64_t j = 0; j < m->columns; j++) {
        double below = lower ? lower[j] : 0;
        char mark = fv__term_ramp(fmax(upper[j], below));
        if (m->t->mode == FV_TERM_ASCII)
            fv__buf_add(m->t->out, &mark, 1);
        else
            fv__term_half(m->t, m->t->out, upper[j], lower ? &below : NULL);
    }
    fv__term_reset(m->t, m->t->out);
    fv__buf_text(m->t->out, "\n");
}

/* ---- the whole */

static void legend(const matrix *m) {
    fv__buf line = {0};
    static const char *const names[] = {"linear", "square root", "log"};
    const fv__tone *tone = &m->tone;
    fv__buf_printf(&line, " 0 .. %.3g", tone->top);
    if (tone->even) fv__buf_text(&line, ", pale is ");
    fv__tone_even_caption(tone, &line);
    fv__buf_printf(&line, ", %s scale", names[tone->scale]);
    if (m->bin > 1)
        fv__buf_printf(&line, ", a cell is the largest of %lld x %lld", (long long)m->bin, (long long)m->bin);
    for (int i = 0; i < 8 && m->t->columns >= 40; i++) {
        char mark = m->t->mode == FV_TERM_ASCII ? fv__term_ramp(i / 7.0) : ' ';
        fv__term_ground(m->t, m->t->out, i / 7.0);
        fv__buf_add(m->t->out, &mark, 1);
    }
    fv__term_reset(m->t, m->t->out);
    fv__fit_columns(m->t->out, line.data ? line.data : "", line.size, m->t->columns - (m->t->columns >= 40 ? 8 : 0));
    fv__buf_text(m->t->out, "\n\n");
    m->t->out->failed |= line.failed;
    fv__buf_free(&line);
}

static void title(const matrix *m) {
    fv__buf text = {0};
    fv__head_title(&text, m->map, m->head);
    fv__buf_text(&text, ": query (row) attends to key (column)");
    fv__term_heading(m->t, text.data ? text.data : "");
    if (fv__nearly_uniform(m->map, m->head))
        fv__term_line(m->t, "Nearly uniform: every key gets about the same, so this matrix tells little.");
    fv__buf_free(&text);
}

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

static fv_status print_matrix(matrix *m) {
    const fv__term *t = m->t;
    m->caption = t->columns / 4 < ROW_CAPTION ? t->columns / 4 : ROW_CAPTION;
    int64_t room = t->columns - m->caption - 1;
    bool large = m->key->count * 2 <= room && m->query->count <= 48;
    m->bin = large ? 1 : ceil_div(m->key->count, room);
    if (ceil_div(m->query->count, m->bin) > ROWS_MAX) m->bin = ceil_div(m->query->count, ROWS_MAX);
    FV_TRY(fill_shades(m));
    title(m);
    if (large) FV_TRY(key_captions(m));
    for (int64_t row = 0; row < m->rows; row += large ? 1 : 2) {
        if (large)
            large_row(m, row);
        else
            half_rows(m, row);
    }
    legend(m);
    return FV_OK;
}

fv_status fv__term_matrix(const fv__term *t) {
    matrix m = {.t = t};
    int map;
    int64_t head;
    FV_TRY(fv_explanation_find(t->e, t->options->matrix, &map, &head));
    m.map = &t->e->map[map];
    m.head = &m.map->head[head];
    m.query = &t->e->sequence[m.map->query];
    m.key = &t->e->sequence[m.map->key];
    fv_status status = print_matrix(&m);
    fv__free(m.shade);
    return status;
}
