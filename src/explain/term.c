/* term: colours, bars and captions of the terminal view. */
#include "explain/term.h"

#include <math.h>
#include <string.h>

enum { INK = 38, GROUND = 48 };

static void color(const fv__term *t, fv__buf *out, int layer, double shade) {
    fv__rgb c = fv__shade_color(shade);
    if (t->mode == FV_TERM_TRUE) fv__buf_printf(out, "\x1b[%d;2;%d;%d;%dm", layer, c.r, c.g, c.b);
    if (t->mode == FV_TERM_256) fv__buf_printf(out, "\x1b[%d;5;%dm", layer, fv__shade_color_256(shade));
}

void fv__term_ground(const fv__term *t, fv__buf *out, double shade) {
    fv__rgb ink = fv__ink_on(fv__shade_color(shade));
    bool dark = fabs(shade) * 7 >= 4.5; /* of the eight colours of the 256, the last three */
    color(t, out, GROUND, shade);
    if (t->mode == FV_TERM_TRUE) fv__buf_printf(out, "\x1b[%d;2;%d;%d;%dm", INK, ink.r, ink.g, ink.b);
    if (t->mode == FV_TERM_256) fv__buf_printf(out, "\x1b[%d;5;%dm", INK, dark ? 231 : 233);
}

void fv__term_half(const fv__term *t, fv__buf *out, double upper, const double *lower) {
    color(t, out, INK, upper);
    if (lower) color(t, out, GROUND, *lower);
    fv__buf_text(out, "\xE2\x96\x80"); /* U+2580, upper half block */
}

void fv__term_reset(const fv__term *t, fv__buf *out) {
    if (t->mode != FV_TERM_ASCII) fv__buf_text(out, "\x1b[0m");
}

void fv__term_spaces(fv__buf *out, int64_t count) {
    for (int64_t i = 0; i < count; i++) fv__buf_text(out, " ");
}

static void print_line(const fv__term *t, const char *text, bool bold) {
    fv__buf plain = {0};
    fv__plain_text(&plain, text, strlen(text));
    if (bold && t->mode != FV_TERM_ASCII) fv__buf_text(t->out, "\x1b[1m");
    fv__fit_columns(t->out, plain.data ? plain.data : "", plain.size, t->columns);
    if (bold) fv__term_reset(t, t->out);
    fv__buf_text(t->out, "\n");
    t->out->failed |= plain.failed;
    fv__buf_free(&plain);
}

void fv__term_heading(const fv__term *t, const char *text) { print_line(t, text, true); }
void fv__term_line(const fv__term *t, const char *text) { print_line(t, text, false); }

void fv__term_bar(const fv__term *t, fv__buf *out, double share, int64_t columns) {
    int64_t length = (int64_t)(fabs(share) * (double)columns + 0.5);
    if (length > columns) length = columns;
    if (t->mode == FV_TERM_ASCII) {
        for (int64_t i = 0; i < length; i++) fv__buf_text(out, share < 0 ? "v" : "#");
    } else if (length > 0) {
        fv__term_ground(t, out, share < 0 ? -0.5 : 0.5);
        fv__term_spaces(out, length);
        fv__term_reset(t, out);
    }
    fv__term_spaces(out, columns - length);
}

char fv__term_ramp(double shade) {
    static const char ramp[] = " .:-=+*#%@";
    if (shade < 0) return shade > -0.05 ? ' ' : shade > -0.5 ? 'v' : 'V';
    return ramp[(int)(fmin(shade, 1) * 9 + 0.5)];
}

int64_t fv__term_caption(fv__buf *out, const fv_explain_sequence *s, int64_t token, int64_t columns) {
    fv__buf raw = {0}, plain = {0};
    fv__token_caption(&raw, s, token);
    fv__plain_text(&plain, raw.data ? raw.data : "", raw.size);
    int64_t used = fv__fit_columns(out, plain.data ? plain.data : "", plain.size, columns);
    out->failed |= raw.failed || plain.failed;
    fv__buf_free(&raw);
    fv__buf_free(&plain);
    return used;
}
