/* canvas: the few things figures are drawn with. A figure is laid out once (figure.c) and drawn on a canvas: Cairo's
 * for PNG and PDF, elements for SVG. Coordinates are whole pixels of the figure, y goes down. */
#ifndef FV_EXPLAIN_CANVAS_H
#define FV_EXPLAIN_CANVAS_H

#include "explain/render.h"
#include "explain/typeset.h"

/* A block of coloured cells; shade -1 .. 1 as for fv__shade_color. */
typedef struct fv__cells {
    int64_t x, y, cell_width, cell_height, rows, columns;
    const float *shade;
} fv__cells;

typedef struct fv__canvas fv__canvas;
struct fv__canvas {
    void (*rect)(fv__canvas *canvas, int64_t x, int64_t y, int64_t width, int64_t height, fv__rgb color);
    void (*text)(fv__canvas *canvas, int64_t x, int64_t y, fv__type type, const char *text, size_t size);
    fv_status (*cells)(fv__canvas *canvas, const fv__cells *cells);
};

/* A figure: made from an explanation, drawn on any canvas. */
typedef struct fv__figure {
    int64_t width, height;
    const fv_explanation *e;
    const fv_explain_map *map; /* NULL: bars instead of a matrix */
    const fv_explain_head *head;
    const fv_attribution *side[2];
    fv__scale scale;
    int64_t rows, columns, bin; /* of the matrix as drawn: `bin` tokens are one cell */
    int64_t cell, matrix_width, matrix_height, left, top;
    int64_t bars, *bar;                 /* tokens with a bar */
    int64_t key_caption, query_caption; /* pixels reserved for captions */
    fv__tone tone;                      /* of the matrix */
    double max;                         /* of the bars */
    fv__buf title, subtitle;
    fv__typesetter *typesetter;
} fv__figure;
fv_status fv__figure_make(fv__figure *figure, const fv_explanation *e, const fv_render_options *options);
fv_status fv__figure_draw(const fv__figure *figure, fv__canvas *canvas);
void fv__figure_free(fv__figure *figure);

/* What a renderer does: makes a figure and has `write` put it into the sink. */
typedef fv_status fv__figure_write_fn(const fv__figure *figure, fv__sink *sink);
fv_status fv__figure_render(const fv_explanation *e, const fv_render_options *options, fv__sink *sink,
                            fv__figure_write_fn *write);

/* Draws on a cairo_surface_t, `zoom` of its units for a pixel of the figure, and says what had no font
 * (cairo_canvas.c). */
fv_status fv__figure_draw_cairo(const fv__figure *figure, void *surface, double zoom);

#endif
