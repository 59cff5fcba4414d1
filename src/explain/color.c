/* color: see color.h. The two ramps are OKLCH (B. Ottosson, OKLab): lightness 0.975 - 0.645 t, chroma 0.004 + 0.165
 * t^0.8, hues 262 and 48, the same as the page's; kept as seventeen points so that no libm decides about a byte. */
#include "explain/color.h"

#include <math.h>
#include <string.h>

static const uint32_t ramp_for[17] = {0xf5f7f9, 0xe2eaf9, 0xd0ddf4, 0xbed0ef, 0xaec3e9, 0x9db6e2,
                                      0x8da9db, 0x7e9cd4, 0x6f90cc, 0x6083c5, 0x5176bd, 0x426ab5,
                                      0x345dac, 0x2550a4, 0x16439b, 0x053593, 0x00278a};
static const uint32_t ramp_against[17] = {0xf9f6f4, 0xf7e5dd, 0xf1d6c8, 0xeac7b5, 0xe3b7a2, 0xdba98f,
                                          0xd39a7d, 0xca8b6b, 0xc17d59, 0xb86e47, 0xaf6034, 0xa5511f,
                                          0x9b4300, 0x913300, 0x872200, 0x7c0a00, 0x720000};

fv__scale fv__scale_of(const char *name) {
    if (name && !strcmp(name, "linear")) return FV_SCALE_LINEAR;
    if (name && !strcmp(name, "log")) return FV_SCALE_LOG;
    return FV_SCALE_SQRT;
}

double fv__shade(fv__scale scale, double weight, double max) {
    if (!(weight > 0) || !(max > 0)) return 0;
    double x = weight < max ? weight / max : 1;
    if (scale == FV_SCALE_SQRT) return sqrt(x);
    if (scale == FV_SCALE_LOG) return x > 1e-4 ? 1 + log10(x) / 4 : 0;
    return x;
}

/* Point at t = part / 4096 of a ramp of 16 intervals, in whole numbers. */
static int between(const uint32_t *ramp, int part, int shift) {
    int i = part >> 8, rest = part & 255;
    int low = (int)(ramp[i] >> shift & 255), high = (int)(ramp[i < 16 ? i + 1 : 16] >> shift & 255);
    return low + ((high - low) * rest + (high > low ? 127 : -127)) / 255;
}

fv__rgb fv__shade_color(double shade) {
    const uint32_t *ramp = shade < 0 ? ramp_against : ramp_for;
    double t = fabs(shade) < 1 ? fabs(shade) : 1;
    int part = (int)(t * 4096 + 0.5);
    return (fv__rgb){(uint8_t)between(ramp, part, 16), (uint8_t)between(ramp, part, 8),
                     (uint8_t)between(ramp, part, 0)};
}

/* Relative luminance by WCAG 2 crosses equal contrast at 0.179; with a gamma of 2.2 that is near enough here. */
fv__rgb fv__ink_on(fv__rgb ground) {
    double light = 0.2126 * ground.r * ground.r + 0.7152 * ground.g * ground.g + 0.0722 * ground.b * ground.b;
    return light > 0.2 * 255 * 255 ? (fv__rgb){20, 21, 26} : (fv__rgb){255, 255, 255};
}

/* Chosen by hand from the colour cube: nearest colours would wander through violet and green. */
int fv__shade_color_256(double shade) {
    static const int ramp[2][8] = {{255, 189, 153, 111, 69, 26, 20, 18}, {255, 223, 216, 173, 166, 130, 88, 52}};
    return ramp[shade < 0][(int)(fmin(fabs(shade), 1) * 7 + 0.5)];
}
