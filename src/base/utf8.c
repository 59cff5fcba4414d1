/* Is this UTF-8? Overlong forms, surrogates and values above U+10FFFF are not. */
#include "base/utf8.h"

#include "base/base.h"

/* Length of the character at p with `left` bytes to the end, 0 when it is malformed. */
static size_t character(const unsigned char *p, size_t left) {
    unsigned char c = p[0], low = 0x80, high = 0xBF; /* range of the second byte (Unicode, table 3-7) */
    if (c < 0x80) return 1;
    size_t length = c >= 0xC2 && c <= 0xDF ? 2 : (c & 0xF0) == 0xE0 ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 0;
    if (!length || length > left) return 0;
    if (c == 0xE0) low = 0xA0;
    if (c == 0xED) high = 0x9F;
    if (c == 0xF0) low = 0x90;
    if (c == 0xF4) high = 0x8F;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    return length;
}

size_t fv__utf8_valid(const void *text, size_t size) {
    const unsigned char *p = text;
    size_t at = 0;
    while (at < size) {
        size_t length = character(p + at, size - at);
        if (!length) break;
        at += length;
    }
    return at;
}
