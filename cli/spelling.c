/* Names as people write them: other spellings of one name, and the nearest names to a wrong one. */
#include "flags.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

void cli_normalise(const char *word, char *out, size_t size) {
    size_t n = 0;
    for (const char *c = word; *c && n + 2 < size; c++) {
        bool hump = isupper((unsigned char)*c) && c > word && islower((unsigned char)c[-1]);
        if (hump) out[n++] = '-';
        out[n++] = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
    }
    if (size) out[n] = 0;
}

#define LONGEST 64

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Edits between two words: insertion, deletion, replacement, swap of neighbours (optimal string alignment). */
static size_t edits(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b), rows[3][LONGEST + 1];
    if (n > LONGEST || m > LONGEST) return 2 * LONGEST;
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= m; j++) last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
        size_t *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[m];
}

/* Near: within a third of the length in edits, or one begins with the other. Smaller is nearer; 99 is far. */
static size_t distance(const char *word, const char *name) {
    size_t n = strlen(word), m = strlen(name), limit = (n > m ? n : m) / 3;
    if (limit < 1) limit = 1;
    if (n == 1 || m == 1) return 99;
    size_t d = edits(word, name);
    if (d <= limit) return d;
    return n >= 3 && strncmp(word, name, n) == 0 ? limit + 1 : 99;
}

bool cli_nearest(const char *word, const char *const *names, size_t count, const char *prefix, char *text,
                 size_t size) {
    char plain[LONGEST * 2];
    const char *best[3] = {0};
    size_t score[3] = {99, 99, 99}, found = 0, used = 0;
    cli_normalise(word, plain, sizeof plain);
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(plain, names[i]), at = 3;
        while (at > 0 && d < score[at - 1]) --at;
        if (at == 3) continue;
        for (size_t k = 2; k > at; k--) best[k] = best[k - 1], score[k] = score[k - 1];
        best[at] = names[i];
        score[at] = d;
    }
    while (found < 3 && best[found] && score[found] <= score[0] + 1) ++found;
    for (size_t i = 0; i < found && used < size; i++) {
        const char *joint = i == 0 ? "" : i + 1 == found ? " or " : ", ";
        used += (size_t)snprintf(text + used, size - used, "%s%s%s", joint, prefix, best[i]);
    }
    return found > 0;
}
