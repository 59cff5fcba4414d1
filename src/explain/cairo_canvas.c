/* cairo_canvas: figures through Cairo, in pixels or as a page. */
#include "explain/canvas.h"

#include <cairo.h>

enum { RECTANGLES = 20000 }; /* more cells than this are one image, each a pixel of it */

typedef struct drawing {
    fv__canvas canvas; /* first: a canvas is its drawing */
    cairo_t *cairo;
    fv__typesetter *typesetter;
} drawing;

static void set_color(cairo_t *cairo, fv__rgb color) {
    cairo_set_source_rgb(cairo, color.r / 255.0, color.g / 255.0, color.b / 255.0);
}

static void fill(cairo_t *cairo, double x, double y, double width, double height, fv__rgb color) {
    set_color(cairo, color);
    cairo_rectangle(cairo, x, y, width, height);
    cairo_fill(cairo);
}

static void draw_rect(fv__canvas *canvas, int64_t x, int64_t y, int64_t width, int64_t height, fv__rgb color) {
    fill(((drawing *)canvas)->cairo, (double)x, (double)y, (double)width, (double)height, color);
}

static void draw_text(fv__canvas *canvas, int64_t x, int64_t y, fv__type type, const char *text, size_t size) {
    drawing *d = (drawing *)canvas;
    fv__type_draw(d->typesetter, d->cairo, x, y, type, text, size);
}

/* Cells of some size are parted by a thin line, so that neighbours of one shade can be counted. */
static void fill_cells(cairo_t *cairo, const fv__cells *c) {
    double gap = c->cell_width >= 10 && c->cell_height >= 10 ? 0.5 : 0;
    for (int64_t i = 0; i < c->rows; i++)
        for (int64_t j = 0; j < c->columns; j++)
            fill(cairo, (double)(c->x + j * c->cell_width), (double)(c->y + i * c->cell_height),
                 (double)c->cell_width - gap, (double)c->cell_height - gap,
                 fv__shade_color(c->shade[i * c->columns + j]));
}

static void paint_image(cairo_t *cairo, const fv__cells *c, uint32_t *pixel) {
    for (int64_t i = 0; i < c->rows * c->columns; i++) {
        fv__rgb color = fv__shade_color(c->shade[i]);
        pixel[i] = (uint32_t)color.r << 16 | (uint32_t)color.g << 8 | color.b;
    }
    cairo_surface_t *image = cairo_image_surface_create_for_data((unsigned char *)pixel, CAIRO_FORMAT_RGB24,
                                                                 (int)c->columns, (int)c->rows, (int)c->columns * 4);
    cairo_save(cairo);
    cairo_translate(cairo, (double)c->x, (double)c->y);
    cairo_scale(cairo, (double)c->cell_width, (double)c->cell_height);
    cairo_set_source_surface(cairo, image, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cairo), CAIRO_FILTER_NEAREST);
    cairo_rectangle(cairo, 0, 0, (double)c->columns, (double)c->rows);
    cairo_fill(cairo);
    cairo_restore(cairo);
    cairo_surface_finish(image); /* a page keeps a copy; the pixels are ours */
    cairo_surface_destroy(image);
}

static fv_status draw_cells(fv__canvas *canvas, const fv__cells *c) {
    cairo_t *cairo = ((drawing *)canvas)->cairo;
    if (c->rows * c->columns <= RECTANGLES) {
        fill_cells(cairo, c);
        return FV_OK;
    }
    uint32_t *pixel = fv__alloc_array((size_t)c->rows * (size_t)c->columns, sizeof *pixel);
    if (!pixel) return FV_NO_RESOURCES;
    paint_image(cairo, c, pixel);
    fv__free(pixel);
    return FV_OK;
}

fv_status fv__figure_draw_cairo(const fv__figure *f, void *surface, double zoom) {
    drawing d = {{draw_rect, draw_text, draw_cells}, cairo_create(surface), f->typesetter};
    cairo_scale(d.cairo, zoom, zoom);
    cairo_set_antialias(d.cairo, CAIRO_ANTIALIAS_DEFAULT);
    fv_status status = fv__figure_draw(f, &d.canvas);
    cairo_status_t drawn = cairo_status(d.cairo);
    cairo_destroy(d.cairo);
    if (status == FV_OK && drawn != CAIRO_STATUS_SUCCESS)
        status = fv__fail(FV_NO_RESOURCES, "picture: %s", cairo_status_to_string(drawn));
    if (status == FV_OK) fv__typesetter_report(f->typesetter);
    return status;
}
