/* png: a figure in pixels, two for each of its own so that it prints well. */
#include "explain/canvas.h"
#include "io/pack.h"

#include <cairo.h>

#include <string.h>

enum { ZOOM = 2, SIDE_MAX = 32767 /* of a surface of Cairo */ };

/* Cairo's pixels are whole words, 0x00RRGGBB; a PNG has three bytes. Both in the same memory. */
static void words_to_bytes(unsigned char *pixel, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        uint32_t color;
        memcpy(&color, pixel + 4 * i, sizeof color);
        pixel[3 * i] = (unsigned char)(color >> 16);
        pixel[3 * i + 1] = (unsigned char)(color >> 8);
        pixel[3 * i + 2] = (unsigned char)color;
    }
}

static fv_status paint(const fv__figure *f, unsigned char *pixel, int64_t width, int64_t height) {
    cairo_surface_t *surface =
        cairo_image_surface_create_for_data(pixel, CAIRO_FORMAT_RGB24, (int)width, (int)height, (int)width * 4);
    cairo_status_t made = cairo_surface_status(surface);
    fv_status status = made == CAIRO_STATUS_SUCCESS
                           ? fv__figure_draw_cairo(f, surface, ZOOM)
                           : fv__fail(FV_NO_RESOURCES, "picture: %s", cairo_status_to_string(made));
    cairo_surface_flush(surface);
    cairo_surface_destroy(surface);
    return status;
}

static fv_status write_pixels(const fv__figure *f, fv__sink *sink) {
    int64_t width = f->width * ZOOM, height = f->height * ZOOM;
    if (width > SIDE_MAX || height > SIDE_MAX)
        return fv__fail(FV_USAGE,
                        "picture: its size\n  expected at most %d pixels a side\n  found:   %lld x %lld\n"
                        "  try:     a smaller --cell, or .svg or .pdf",
                        SIDE_MAX, (long long)width, (long long)height);
    fv__buf out = {0};
    unsigned char *pixel = fv__alloc_array((size_t)(width * height), 4);
    fv_status status = pixel ? paint(f, pixel, width, height) : FV_NO_RESOURCES;
    if (status == FV_OK) {
        words_to_bytes(pixel, width * height);
        status = fv__png_encode(&out, pixel, width, height, 3);
    }
    if (status == FV_OK) fv__sink_buf(sink, &out);
    fv__buf_free(&out);
    fv__free(pixel);
    return status;
}

static fv_status draw(const fv_explanation *e, const fv_render_options *options, fv__sink *sink) {
    return fv__figure_render(e, options, sink, write_pixels);
}

const fv__renderer fv__renderer_png = {
    {"png", ".png", "a picture of one matrix, or of the most important words"}, true, draw};
