/* Numbers in files and messages are written with a point, whatever the locale of the host program says. */
#ifndef FV_BASE_LOCALE_H
#define FV_BASE_LOCALE_H

#include <locale.h>

typedef locale_t fv__locale;

/* In glibc and musl the "C" locale is a constant: nothing is allocated, and nothing needs to be freed. */
static inline fv__locale fv__locale_enter(void) {
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return c ? uselocale(c) : (locale_t)0;
}

static inline void fv__locale_leave(fv__locale saved) {
    if (saved) uselocale(saved);
}

#endif
