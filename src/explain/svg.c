/* svg: a figure as text. Letters are the viewer's, so any script shows; cells of one shade are one path, so 200
 * tokens are some hundred kilobytes and stay sharp. */
#include "explain/canvas.h"

#include "data/text.h"

#include <math.h>
#include <string.h>

enum { LEVELS = 64 };

typedef struct drawing {
    fv__canvas canvas; /* first: a canvas is its drawing */
    fv__buf out;
} drawing;

/* Data never becomes markup: the five characters of XML are escaped, and what XML 1.0 cannot carry is replaced. */
static void escape(fv__buf *out, const char *text, size_t size) {
    for (size_t i = 0, n; i < size; i += n) {
        int32_t code = fv__utf8_next(text + i, size - i, &n, NULL);
        if (code == '<' || code == '>' || code == '&' || code == '"' || code == '\'')
            fv__buf_printf(out, "&#%d;", code);
        else if ((code < 32 && code != '\t' && code != '\n' && code != '\r') || code == 0xFFFE || code == 0xFFFF)
            fv__buf_text(out, "\xEF\xBF\xBD");
        else
            fv__buf_add(out, text + i, n);
    }
}

static void hex_color(fv__buf *out, fv__rgb c) { fv__buf_printf(out, "#%02x%02x%02x", c.r, c.g, c.b); }

static void svg_rect(fv__canvas *canvas, int64_t x, int64_t y, int64_t width, int64_t height, fv__rgb color) {
    fv__buf *out = &((drawing *)canvas)->out;
    fv__buf_printf(out, "<rect x=\"%lld\" y=\"%lld\" width=\"%lld\" height=\"%lld\" fill=\"", (long long)x,
                   (long long)y, (long long)width, (long long)height);
    hex_color(out, color);
    fv__buf_text(out, "\"/>\n");
}

static void svg_text(fv__canvas *canvas, int64_t x, int64_t y, fv__type type, const char *text, size_t size) {
    static const char *const anchor[] = {"start", "middle", "end"};
    fv__buf *out = &((drawing *)canvas)->out;
    fv__buf_printf(out, "<text x=\"%lld\" y=\"%lld\" font-size=\"%lld\" text-anchor=\"%s\" fill=\"", (long long)x,
                   (long long)y, (long long)type.size, anchor[type.anchor]);
    hex_color(out, type.color);
    fv__buf_text(out, "\"");
    if (type.up) fv__buf_printf(out, " transform=\"rotate(-90 %lld %lld)\"", (long long)x, (long long)y);
    fv__buf_text(out, ">");
    escape(out, text, size);
    fv__buf_text(out, "</text>\n");
}

static int level_of(float shade) { return (int)lroundf(shade * LEVELS); }

/* Runs of one level in a row of cells, as rectangles of a path: "M x y h w v height h -w z". */
static void add_runs(fv__buf *out, const fv__cells *c, int level) {
    for (int64_t i = 0; i < c->rows; i++)
        for (int64_t j = 0, end; j < c->columns; j = end) {
            end = j + 1;
            if (level_of(c->shade[i * c->columns + j]) != level) continue;
            while (end < c->columns && level_of(c->shade[i * c->columns + end]) == level) end++;
            int64_t width = (end - j) * c->cell_width;
            fv__buf_printf(out, "M%lld %lldh%lldv%lldh-%lldz", (long long)(c->x + j * c->cell_width),
                           (long long)(c->y + i * c->cell_height), (long long)width, (long long)c->cell_height,
                           (long long)width);
        }
}

static fv_status svg_cells(fv__canvas *canvas, const fv__cells *c) {
    fv__buf *out = &((drawing *)canvas)->out;
    bool present[2 * LEVELS + 1] = {false};
    for (int64_t i = 0; i < c->rows * c->columns; i++) present[level_of(c->shade[i]) + LEVELS] = true;
    for (int level = -LEVELS; level <= LEVELS; level++) {
        if (!present[level + LEVELS]) continue;
        fv__buf_text(out, "<path shape-rendering=\"crispEdges\" fill=\"");
        hex_color(out, fv__shade_color((double)level / LEVELS));
        fv__buf_text(out, "\" d=\"");
        add_runs(out, c, level);
        fv__buf_text(out, "\"/>\n");
    }
    return fv__buf_status(out);
}

static void open_svg(fv__buf *out, const fv__figure *f) {
    fv__buf title = {0};
    fv__buf_printf(out,
                   "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%lld\" height=\"%lld\" viewBox=\"0 0 %lld %lld\" "
                   "font-family=\"" FV_TYPE_FAMILY "\" role=\"img\">\n<title>",
                   (long long)f->width, (long long)f->height, (long long)f->width, (long long)f->height);
    fv__plain_text(&title, f->e->title, strlen(f->e->title));
    escape(out, title.data ? title.data : "", title.size);
    fv__buf_free(&title);
    fv__buf_text(out, "</title>\n");
}

static fv_status write_svg(const fv__figure *f, fv__sink *sink) {
    drawing d = {.canvas = {svg_rect, svg_text, svg_cells}};
    open_svg(&d.out, f);
    fv_status status = fv__figure_draw(f, &d.canvas);
    if (status == FV_OK) {
        fv__buf_text(&d.out, "</svg>\n");
        fv__sink_buf(sink, &d.out);
    }
    fv__buf_free(&d.out);
    return status;
}

static fv_status draw(const fv_explanation *e, const fv_render_options *options, fv__sink *sink) {
    return fv__figure_render(e, options, sink, write_svg);
}

const fv__renderer fv__renderer_svg = {
    {"svg", ".svg", "the same picture as text: any script, sharp at any size"}, true, draw};
