/* color: weights become shades, shades become colours. Shared by all renderers so that their pictures agree. */
#ifndef FV_EXPLAIN_COLOR_H
#define FV_EXPLAIN_COLOR_H

#include "base/base.h"

typedef struct fv__rgb {
    uint8_t r, g, b;
} fv__rgb;

typedef enum fv__scale { FV_SCALE_LINEAR, FV_SCALE_SQRT, FV_SCALE_LOG } fv__scale;
fv__scale fv__scale_of(const char *name); /* NULL: sqrt */

/* 0 .. 1 of a weight among weights up to `max`. log covers four decades. */
double fv__shade(fv__scale scale, double weight, double max);

/* One hue, lightness falling evenly from nearly white: shade 0 .. 1 (for), or 0 .. -1 in a second hue (against). */
fv__rgb fv__shade_color(double shade);

/* Black or white, whichever reads better on this ground. */
fv__rgb fv__ink_on(fv__rgb ground);

/* The same ramps in the 256 colours of terminals. */
int fv__shade_color_256(double shade);

#endif
