/* pdf: the same picture as a page, for papers: text stays text, sharp at any size. */
#include "explain/canvas.h"

#include <cairo-pdf.h>

#include <string.h>

#define POINTS 0.75 /* of a pixel: 96 of them are an inch, and so are 72 points */

static cairo_status_t collect(void *context, const unsigned char *bytes, unsigned count) {
    fv__buf *out = context;
    fv__buf_add(out, bytes, count);
    return out->failed ? CAIRO_STATUS_WRITE_ERROR : CAIRO_STATUS_SUCCESS;
}

/* The same bytes every time: a date would differ. Cairo wants one, so it is a fixed one. */
static fv_status describe(cairo_surface_t *surface, const fv_explanation *e) {
    fv__buf title = {0};
    fv__plain_text(&title, e->title, strlen(e->title));
    fv_status status = fv__buf_status(&title);
    if (status == FV_OK)
        cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_TITLE, title.size ? title.data : "");
    cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE, "1970-01-01T00:00:00Z");
    fv__buf_free(&title);
    return status;
}

static fv_status write_page(const fv__figure *f, fv__sink *sink) {
    fv__buf out = {0};
    cairo_surface_t *surface =
        cairo_pdf_surface_create_for_stream(collect, &out, (double)f->width * POINTS, (double)f->height * POINTS);
    fv_status status = describe(surface, f->e);
    if (status == FV_OK) status = fv__figure_draw_cairo(f, surface, POINTS);
    cairo_surface_finish(surface);
    cairo_status_t finished = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (status == FV_OK && !out.failed && finished != CAIRO_STATUS_SUCCESS)
        status = fv__fail(FV_NO_RESOURCES, "picture: %s", cairo_status_to_string(finished));
    if (status == FV_OK) fv__sink_buf(sink, &out);
    fv__buf_free(&out);
    return status;
}

static fv_status draw(const fv_explanation *e, const fv_render_options *options, fv__sink *sink) {
    return fv__figure_render(e, options, sink, write_page);
}

const fv__renderer fv__renderer_pdf = {{"pdf", ".pdf", "the same picture as a page for papers"}, true, draw};
