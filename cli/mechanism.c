/* Mechanisms and their operands by the names people use. See mechanism.h. */
#include "mechanism.h"
#include "console.h"
#include "flags.h"

#include <string.h>

fv_status cli_mechanism_find(const char *text, const fv_mechanism **mechanism) {
    const char *names[256];
    char name[64], near[256];
    size_t count = 0;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(text, ":"), text);
    *mechanism = fv_mechanism_find(name);
    if (*mechanism) return FV_OK;
    for (; count < fv_mechanism_count() && count < 256; count++) names[count] = fv_mechanism_at(count)->name;
    if (cli_nearest(name, names, count, "", near, sizeof near))
        return cli_fail(FV_USAGE, "unknown mechanism %s      did you mean %s?", name, near);
    return cli_fail(FV_USAGE, "unknown mechanism %s\n  try:     fovea mechanisms", name);
}

const char *cli_operand_name(const fv_mechanism *mechanism, int operand) {
    const fv_mechanism_operand *own = mechanism ? fv_mechanism_own(mechanism, (fv_operand)operand) : NULL;
    if (own) return own->name;
    if (!*fv_operand_info((fv_operand)operand)->shape && fv_operand_is((fv_operand)operand, FV_ROLE_PARAM)) return NULL;
    return fv_operand_name((fv_operand)operand);
}
