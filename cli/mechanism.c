/* Mechanisms and their ports by the names people use. See mechanism.h. */
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

const char *cli_port_name(const fv_mechanism *mechanism, int port) {
    if (port >= FV_W0 && port <= FV_W5) return mechanism->port_names[port - FV_W0];
    if (port == FV_CU_Q || port == FV_CU_K) return port == FV_CU_Q ? "cu_seqlens_q" : "cu_seqlens_k";
    return fv_port_name((fv_port)port);
}
