/* typeset: see typeset.h. */
#include "explain/typeset.h"
#include "explain/render.h"

#include <pango/pangocairo.h>

enum { SAMPLE = 24 };

struct fv__typesetter {
    PangoFontMap *fonts;
    PangoContext *context;
    PangoLayout *layout;
    int64_t missing; /* characters without a font */
    fv__buf sample;  /* the first text that has one */
};

static bool has_fonts(PangoFontMap *fonts) {
    PangoFontFamily **families = NULL;
    int count = 0;
    pango_font_map_list_families(fonts, &families, &count);
    g_free(families);
    return count > 0;
}

static void set_options(PangoContext *context) {
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    pango_cairo_context_set_font_options(context, options);
    pango_context_set_round_glyph_positions(context, FALSE);
    cairo_font_options_destroy(options);
}

fv_status fv__typesetter_create(fv__typesetter **out) {
    *out = NULL;
    fv__typesetter *t = fv__alloc(sizeof *t);
    if (!t) return FV_NO_RESOURCES;
    t->fonts = pango_cairo_font_map_new();
    if (!has_fonts(t->fonts)) {
        fv__typesetter_free(t);
        return fv__fail(FV_FAIL,
                        "picture: no font is installed\n  expected one that fontconfig finds (fc-list)\n"
                        "  found:   none\n  try:     apt-get install fonts-dejavu-core");
    }
    t->context = pango_font_map_create_context(t->fonts);
    set_options(t->context);
    t->layout = pango_layout_new(t->context);
    pango_layout_set_single_paragraph_mode(t->layout, TRUE);
    *out = t;
    return FV_OK;
}

void fv__typesetter_free(fv__typesetter *t) {
    if (!t) return;
    if (t->layout) g_object_unref(t->layout);
    if (t->context) g_object_unref(t->context);
    g_object_unref(t->fonts);
    fv__buf_free(&t->sample);
    fv__free(t);
}

/* Lines are short; what is longer than Pango can count is cut. */
static void set_line(fv__typesetter *t, int64_t size, const char *text, size_t bytes) {
    PangoFontDescription *font = pango_font_description_from_string(FV_TYPE_FAMILY);
    pango_font_description_set_absolute_size(font, (double)size * PANGO_SCALE);
    pango_layout_set_font_description(t->layout, font);
    pango_font_description_free(font);
    pango_layout_set_text(t->layout, text, bytes < 1 << 20 ? (int)bytes : 1 << 20);
}

static double line_width(fv__typesetter *t) {
    int width;
    pango_layout_get_size(t->layout, &width, NULL);
    return (double)width / PANGO_SCALE;
}

int64_t fv__type_width(fv__typesetter *t, int64_t size, const char *text, size_t bytes) {
    if (bytes == 0) return 0;
    set_line(t, size, text, bytes);
    int64_t width = (int64_t)line_width(t);
    return width + ((double)width < line_width(t));
}

static void count_missing(fv__typesetter *t, const char *text, size_t bytes) {
    int missing = pango_layout_get_unknown_glyphs_count(t->layout);
    if (missing > 0 && t->missing == 0) fv__fit_columns(&t->sample, text, bytes, SAMPLE);
    t->missing += missing;
}

void fv__type_draw(fv__typesetter *t, void *cairo, int64_t x, int64_t y, fv__type type, const char *text,
                   size_t bytes) {
    if (bytes == 0) return;
    set_line(t, type.size, text, bytes);
    double width = line_width(t), baseline = (double)pango_layout_get_baseline(t->layout) / PANGO_SCALE;
    double shift = type.anchor == FV_ANCHOR_END ? width : type.anchor == FV_ANCHOR_MIDDLE ? width / 2 : 0;
    cairo_save(cairo);
    cairo_set_source_rgb(cairo, type.color.r / 255.0, type.color.g / 255.0, type.color.b / 255.0);
    cairo_translate(cairo, (double)x, (double)y);
    if (type.up) cairo_rotate(cairo, -G_PI / 2);
    cairo_move_to(cairo, -shift, -baseline);
    pango_cairo_show_layout(cairo, t->layout);
    cairo_restore(cairo);
    count_missing(t, text, bytes);
}

void fv__typesetter_report(const fv__typesetter *t) {
    if (t->missing == 0 || t->sample.failed) return;
    fv__log(FV_LOG_WARN,
            "picture: no installed font has %lld of the characters, for example in \"%s\"\n"
            "  try:     apt-get install fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji",
            (long long)t->missing, t->sample.data);
}
