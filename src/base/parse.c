/* Numbers from text and back. Reading is strict: what the C library accepts beyond plain decimal numbers (spaces,
 * hex, "nan", tails) is refused. */
#include "base/parse.h"

#include "base/base.h"
#include "base/locale.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool fv__parse_int(const char *text, int64_t *value) {
    bool negative = *text == '-';
    if (*text == '-' || *text == '+') text++;
    if (!*text) return false;
    int64_t n = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        int digit = *text - '0'; /* counted downwards when negative, because INT64_MIN has no positive twin */
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, negative ? -digit : digit, &n)) return false;
    }
    *value = n;
    return true;
}

bool fv__parse_float(const char *text, double *value) {
    if (!*text || text[strspn(text, "+-.0123456789eE")] || !strpbrk(text, "0123456789")) return false;
    fv__locale saved = fv__locale_enter();
    char *end;
    int errno_before = errno;
    errno = 0;
    double number = strtod(text, &end);
    errno = errno_before;
    fv__locale_leave(saved);
    if (*end || !isfinite(number)) return false;
    *value = number;
    return true;
}

void fv__print_float(char text[32], double value) {
    fv__locale saved = fv__locale_enter();
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    fv__locale_leave(saved);
}
