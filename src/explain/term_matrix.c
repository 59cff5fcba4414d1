/* term_matrix: one attention matrix in character cells. Short texts get a cell of two columns for each pair, with
 * every word named; long ones get half a character (one colour above, one below), and bins when even that is too
 * wide. */
#include "explain/term.h"

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
    double max;
} matrix;

static fv_status fill_shades(matrix *m) {
    fv__scale scale = fv__scale_of(m->t->options->scale);
    m->rows = (m->query->count + m->bin - 1) / m->bin;
    m->columns = (m->key->count + m->bin - 1) / m->bin;
    m->shade = fv__alloc_array((size_t)m->rows * (size_t)m->columns, sizeof *m->shade);
    if (!m->shade) return FV_NO_RESOURCES;
    m->max = fv__largest(m->head->weight, m->query->count * m->key->count);
    for (int64_t i = 0; i < m->query->count; i++)
        for (int64_t j = 0; j < m->key->count; j++) {
            float *to = &m->shade[i / m->bin * m->columns + j / m->bin];
            *to = fmaxf(*to, (float)fv__shade(scale, m->head->weight[i * m->key->count + j], m->max));
        }
    return FV_OK;
}

static void row_caption(const matrix *m, int64_t row) {
    int64_t used = fv__term_caption(m->t->out, m->query, row * m->bin, m->caption);
    fv__term_spaces(m->t->out, m->caption - used + 1);
}

/* ---- two columns a cell */

/* The words over the columns, written downwards, ending just above the matrix. */
static fv_status key_captions(const matrix *m) {
    int64_t tallest = 0, *width = fv__alloc_array((size_t)m->columns, sizeof *width);
    fv__buf *caption = fv__alloc_array((size_t)m->columns, sizeof *caption);
    fv_status status = width && caption ? FV_OK : FV_NO_RESOURCES;
    for (int64_t j = 0; status == FV_OK && j < m->columns; j++) {
        width[j] = fv__term_caption(&caption[j], m->key, j * m->bin, KEY_CAPTION);
        status = fv__buf_status(&caption[j]);
        if (width[j] > tallest) tallest = width[j];
    }
    for (int64_t line = 0; status == FV_OK && line < tallest; line++) {
        fv__term_spaces(m->t->out, m->caption + 1);
        for (int64_t j = 0; j < m->columns; j++) {
            /* One character a line; wide ones take the room of two columns. */
            int64_t at = line - (tallest - width[j]), used = 0;
            size_t from = 0;
            while (at > 0 && from < caption[j].size) {
                from++;
                while (from < caption[j].size && (caption[j].data[from] & 0xC0) == 0x80) from++;
                at--;
            }
            size_t end = from + (from < caption[j].size);
            while (end < caption[j].size && (caption[j].data[end] & 0xC0) == 0x80) end++;
            if (at == 0 && end > from) {
                fv__buf_add(m->t->out, caption[j].data + from, end - from);
                used = fv__text_columns(caption[j].data + from, end - from);
            }
            fv__term_spaces(m->t->out, 2 - used);
        }
        fv__buf_text(m->t->out, "\n");
    }
    for (int64_t j = 0; caption && j < m->columns; j++) fv__buf_free(&caption[j]);
    fv__free(caption);
    fv__free(width);
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
    fv__buf_printf(&line, " 0 .. %.3g, %s scale", m->max, names[fv__scale_of(m->t->options->scale)]);
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
