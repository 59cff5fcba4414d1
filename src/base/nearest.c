/* "did you mean ...?": the name with the fewest edits (insert, delete, replace, swap neighbours). */
#include "base/base.h"

#include <ctype.h>
#include <string.h>

enum { LONGEST = 64 };

/* Spelling habits are not errors: case, and '_' for '-'. */
static int fold(char c) { return c == '_' ? '-' : tolower((unsigned char)c); }

static int least(int a, int b) { return a < b ? a : b; }

/* Optimal string alignment distance, three rolling rows. */
static int edits(const char *a, size_t n, const char *b, size_t m) {
    int rows[3][LONGEST + 1];
    int *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= m; j++) above[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            bool same = fold(a[i - 1]) == fold(b[j - 1]);
            row[j] = least(above[j - 1] + !same, least(above[j], row[j - 1]) + 1);
            bool swapped = i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]);
            if (swapped) row[j] = least(row[j], before[j - 2] + 1);
        }
        int *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[m];
}

const char *fv__nearest(const char *word, const char *const *names) {
    size_t n = strlen(word);
    if (n > LONGEST) return NULL;
    const char *best = NULL;
    int fewest = 0;
    for (; *names; names++) {
        size_t m = strlen(*names);
        if (m > LONGEST) continue;
        int d = edits(word, n, *names, m);
        size_t longer = n > m ? n : m;
        if ((size_t)d * 3 > longer) continue;
        if (!best || d < fewest) {
            best = *names;
            fewest = d;
        }
    }
    return best;
}

fv_status fv__unknown_name(const char *what, const char *name, const char *const *names) {
    fv__buf list = {0};
    for (const char *const *n = names; *n; n++) fv__buf_printf(&list, "%s%s", n > names ? ", " : "", *n);
    const char *near = fv__nearest(name ? name : "", names);
    fv_status status =
        fv__fail(FV_USAGE, "unknown %s '%s'%s%s%s\n  expected one of: %s", what, name ? name : "",
                 near ? "      did you mean " : "", near ? near : "", near ? "?" : "", list.failed ? "" : list.data);
    fv__buf_free(&list);
    return status;
}
