/* typeset: text in pictures, through Pango: any script, right to left, emoji. One typesetter belongs to one rendering,
 * so threads share nothing. Letters are measured without hinting: a figure has the same layout in every format. */
#ifndef FV_EXPLAIN_TYPESET_H
#define FV_EXPLAIN_TYPESET_H

#include "explain/color.h"

typedef enum fv__anchor { FV_ANCHOR_START, FV_ANCHOR_MIDDLE, FV_ANCHOR_END } fv__anchor;

/* How text is set: `size` is that of the font in pixels, the anchor is the left end, the middle or the right end of the
 * line, whichever way its letters run; (x, y) is on the baseline. `up`: turned a quarter to the left, so it reads from
 * bottom to top. */
typedef struct fv__type {
    int64_t size;
    fv__anchor anchor;
    bool up;
    fv__rgb color;
} fv__type;

/* The family asked for; every character that it lacks comes from another installed font. */
#define FV_TYPE_FAMILY "sans-serif"

typedef struct fv__typesetter fv__typesetter;
fv_status fv__typesetter_create(fv__typesetter **typesetter); /* FV_FAIL: no font is installed */
void fv__typesetter_free(fv__typesetter *typesetter);

/* Width of one line of valid UTF-8 without line breaks, rounded up to a whole pixel. */
int64_t fv__type_width(fv__typesetter *typesetter, int64_t size, const char *text, size_t bytes);

/* Draws on a cairo_t. What no installed font has is drawn as a box with its code, and counted. */
void fv__type_draw(fv__typesetter *typesetter, void *cairo, int64_t x, int64_t y, fv__type type, const char *text,
                   size_t bytes);

/* Warns when something had no font. */
void fv__typesetter_report(const fv__typesetter *typesetter);

#endif
