/* "did you mean ...?": the names with the fewest edits (insert, delete, replace, swap neighbours). */
#include "base/base.h"

#include <ctype.h>
#include <string.h>

enum { LONGEST = 64, FAR = 99 };

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

/* Smaller is nearer; FAR is too far. */
static int distance(const char *word, const char *name) {
    const size_t n = strlen(word), m = strlen(name), longer = n > m ? n : m;
    if (longer > LONGEST || n < 2 || m < 2) return FAR;
    const int limit = longer < 6 ? 1 : (int)longer / 3, d = edits(word, n, name, m);
    if (d <= limit) return d;
    return n >= 3 && n < m && edits(word, n, name, n) == 0 ? limit + 1 : FAR;
}

int fv_nearest_names(const char *word, const char *const *names, size_t count, const char *nearest[3]) {
    int score[3] = {FAR, FAR, FAR}, found = 0;
    for (int i = 0; i < 3; i++) nearest[i] = NULL;
    for (size_t i = 0; i < count; i++) {
        const int d = distance(word, names[i]);
        int at = 3;
        while (at > 0 && d < score[at - 1]) at--;
        if (at == 3) continue;
        for (int k = 2; k > at; k--) nearest[k] = nearest[k - 1], score[k] = score[k - 1];
        nearest[at] = names[i], score[at] = d;
    }
    while (found < 3 && nearest[found] && score[found] <= score[0] + 1) found++;
    return found;
}

const char *fv__nearest(const char *word, const char *const *names) {
    const char *nearest[3];
    size_t count = 0;
    while (names[count]) count++;
    return fv_nearest_names(word, names, count, nearest) ? nearest[0] : NULL;
}

fv_status fv__unknown_name(const char *what, const char *name, const char *const *names) {
    fv__buf list = {0};
    for (const char *const *n = names; *n; n++) fv__buf_printf(&list, "%s%s", n > names ? ", " : "", *n);
    const char *near = fv__nearest(name ? name : "", names);
    fv_status status = fv__fail(FV_USAGE, "unknown %s\n  expected one of: %s\n  found:   \"%s\"%s%s", what,
                                list.failed || !list.data ? "" : list.data, name ? name : "",
                                near ? "\n  try:     " : "", near ? near : "");
    fv__buf_free(&list);
    return status;
}
