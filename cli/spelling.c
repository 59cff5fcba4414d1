/* Names as people write them: other spellings of one name, and the nearest names to a wrong one. */
#include "console.h"
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

bool cli_nearest(const char *word, const char *const *names, size_t count, const char *prefix, char *text,
                 size_t size) {
    char plain[128];
    const char *near[3];
    size_t used = 0;
    cli_normalise(word, plain, sizeof plain);
    const int found = fv_nearest_names(plain, names, count, near);
    for (int i = 0; i < found && used < size; i++) {
        const char *joint = i == 0 ? "" : i + 1 == found ? " or " : ", ";
        used += (size_t)snprintf(text + used, size - used, "%s%s%s", joint, prefix, near[i]);
    }
    return found > 0;
}

fv_status cli_unknown(const char *what, const char *name, const char *const *names, size_t count) {
    char near[256], *list = cli_text("%s", "");
    for (size_t i = 0; i < count; i++) {
        char *longer = cli_text("%s%s%s", list, i ? ", " : "", names[i]);
        cli_free(list);
        list = longer;
    }
    const bool found = cli_nearest(name, names, count, "", near, sizeof near);
    fv_status status = cli_fail(FV_USAGE, "unknown %s\n  expected one of: %s\n  found:   \"%s\"%s%s", what, list, name,
                                found ? "\n  try:     " : "", found ? near : "");
    cli_free(list);
    return status;
}
