/* png: a figure in pixels, two for each of its own so that it prints well. Text is the stroke font. */
#include "data/text.h"
#include "explain/canvas.h"
#include "io/pack.h"

#include <math.h>
#include <string.h>

enum { ZOOM = 2 };

typedef struct raster {
    fv__canvas canvas; /* first: a canvas is its raster */
    unsigned char *pixel;
    int64_t width, height;
} raster;

static void fill(raster *r, int64_t x, int64_t y, int64_t width, int64_t height, fv__rgb color) {
    for (int64_t j = y < 0 ? 0 : y; j < y + height && j < r->height; j++)
        for (int64_t i = x < 0 ? 0 : x; i < x + width && i < r->width; i++) {
            unsigned char *p = r->pixel + (j * r->width + i) * 3;
            p[0] = color.r, p[1] = color.g, p[2] = color.b;
        }
}

static void raster_rect(fv__canvas *canvas, int64_t x, int64_t y, int64_t width, int64_t height, fv__rgb color) {
    fill((raster *)canvas, x * ZOOM, y * ZOOM, width * ZOOM, height * ZOOM, color);
}

/* Cells of some size are parted by a thin line, so that neighbours of one shade can be counted. */
static void raster_cells(fv__canvas *canvas, const fv__cells *c) {
    int64_t gap = c->cell_width >= 10 && c->cell_height >= 10 ? 1 : 0;
    for (int64_t i = 0; i < c->rows; i++)
        for (int64_t j = 0; j < c->columns; j++)
            fill((raster *)canvas, (c->x + j * c->cell_width) * ZOOM, (c->y + i * c->cell_height) * ZOOM,
                 c->cell_width * ZOOM - gap, c->cell_height * ZOOM - gap,
                 fv__shade_color(c->shade[i * c->columns + j]));
}

/* ---- text */

/* A line of text: where its first character stands, in pixels, and which way it runs. */
typedef struct pen {
    raster *to;
    double x, y, unit, radius;
    bool up;
    fv__rgb color;
} pen;

static void blend(raster *r, int64_t x, int64_t y, fv__rgb color, double cover) {
    if (x < 0 || y < 0 || x >= r->width || y >= r->height || cover <= 0) return;
    unsigned char *p = r->pixel + (y * r->width + x) * 3;
    const unsigned char to[3] = {color.r, color.g, color.b};
    for (int k = 0; k < 3; k++) p[k] = (unsigned char)(p[k] + (to[k] - p[k]) * cover + 0.5);
}

static double distance_to(double px, double py, const double a[2], const double b[2]) {
    double dx = b[0] - a[0], dy = b[1] - a[1], length = dx * dx + dy * dy;
    double t = length > 0 ? ((px - a[0]) * dx + (py - a[1]) * dy) / length : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    double x = a[0] + t * dx - px, y = a[1] + t * dy - py;
    return sqrt(x * x + y * y);
}

static int hex(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* The point of a glyph in the picture; the font's baseline is at y = 10. */
static void place(const pen *p, const char *point, double out[2]) {
    double x = (hex(point[0]) + 0.5) * p->unit, y = (hex(point[1]) - 10) * p->unit;
    out[0] = p->up ? p->x + y : p->x + x;
    out[1] = p->up ? p->y - x : p->y + y;
}

/* Distance of a pixel's centre to the nearest stroke. */
static double nearest_stroke(const pen *p, const char *glyph, double x, double y) {
    double best = 1e9, a[2], b[2];
    for (const char *at = glyph; at[0] && at[2]; at += 2) {
        if (at[2] == ' ') {
            at++;
            continue;
        }
        place(p, at, a);
        place(p, at + 2, b);
        best = fmin(best, distance_to(x, y, a, b));
    }
    return best;
}

static void draw_glyph(const pen *p, const char *glyph) {
    if (!*glyph) return;
    double width = 8 * p->unit, above = 11.5 * p->unit, below = 4.5 * p->unit;
    int64_t x0 = (int64_t)floor(p->up ? p->x - above : p->x - p->unit),
            y0 = (int64_t)floor(p->up ? p->y - width : p->y - above);
    int64_t x1 = (int64_t)ceil(p->up ? p->x + below : p->x + width),
            y1 = (int64_t)ceil(p->up ? p->y + p->unit : p->y + below);
    for (int64_t y = y0; y < y1; y++)
        for (int64_t x = x0; x < x1; x++) {
            double d = nearest_stroke(p, glyph, (double)x + 0.5, (double)y + 0.5);
            blend(p->to, x, y, p->color, fmin(1, p->radius + 0.5 - d));
        }
}

/* Typographic quotes and dashes have plain twins. */
static int32_t plain_twin(int32_t code) {
    if (code == 0x2018 || code == 0x2019) return '\'';
    if (code == 0x201C || code == 0x201D) return '"';
    return code == 0x2013 || code == 0x2014 || code == 0x2212 ? '-' : code == 0xA0 ? ' ' : code;
}

static void raster_text(fv__canvas *canvas, int64_t x, int64_t y, fv__type type, const char *text, size_t size) {
    double em = (double)(type.size * ZOOM), advance = 0.6 * em;
    double length = advance * (double)fv__text_columns(text, size);
    double shift = type.anchor == FV_ANCHOR_END ? length : type.anchor == FV_ANCHOR_MIDDLE ? length / 2 : 0;
    pen p = {(raster *)canvas, (double)(x * ZOOM), (double)(y * ZOOM), em * 0.07, fmax(0.62, em * 0.044),
             type.up,          type.color};
    if (type.up)
        p.y += shift;
    else
        p.x -= shift;
    for (size_t i = 0, n; i < size; i += n) {
        int32_t code = plain_twin(fv__utf8_next(text + i, size - i, &n, NULL));
        int64_t columns = fv__text_columns(text + i, n);
        if (columns == 0) continue;
        draw_glyph(&p, fv__glyph(code));
        if (type.up)
            p.y -= advance * (double)columns;
        else
            p.x += advance * (double)columns;
    }
}

static fv_status draw(const fv_explanation *e, const fv_render_options *options, fv__sink *sink) {
    fv__figure f;
    raster r = {.canvas = {raster_rect, raster_text, raster_cells}};
    fv__buf out = {0};
    size_t bytes;
    fv_status status = fv__figure_make(&f, e, options);
    if (status == FV_OK) {
        r.width = f.width * ZOOM;
        r.height = f.height * ZOOM;
        bool fits = fv__size_of((int64_t[]){r.height, r.width, 3}, 3, 1, &bytes);
        r.pixel = fits ? fv__alloc(bytes) : NULL;
        status = r.pixel ? fv__figure_draw(&f, &r.canvas) : FV_NO_RESOURCES;
    }
    if (status == FV_OK) status = fv__png_encode(&out, r.pixel, r.width, r.height, 3);
    if (status == FV_OK) fv__sink_buf(sink, &out);
    fv__buf_free(&out);
    fv__free(r.pixel);
    fv__figure_free(&f);
    return status;
}

const fv__renderer fv__renderer_png = {
    {"png", ".png", "a picture of one matrix, or of the most important words"}, true, draw};
