/* fovea version: which fovea this is. */
#include "command.h"
#include "flags.h"

#include <stdio.h>

static fv_status run(void) {
    printf("fovea %s\n", fv_version());
    if (cli_global.verbose > 0) printf("kernels %s, %d threads\n", fv_isa(), fv_threads());
    return FV_OK;
}

const cli_command cmd_version = {
    .name = "version",
    .summary = "print the version; -v adds the kernels in use",
    .usage = "[-v]",
    .run = run,
};
