/* process: runs another program and reads what it prints. The only file of the library that starts processes.
 * Arguments go as a vector, never through a shell. */
#ifndef FV_DATA_PROCESS_H
#define FV_DATA_PROCESS_H

#include "base/base.h"

enum { FV__NOT_FOUND = 127 }; /* exit code of a program that is not there, as shells have it */

/* Runs argv[0] (searched in PATH) to its end. Standard output is appended to `out` (NULL: thrown away), standard error
 * to the file `log`. *code is its exit code, FV__NOT_FOUND, or 128 + the signal that ended it.
 * FV_FAIL: it could not be started for another reason. FV_INTERRUPTED: it was stopped because the user asked. */
fv_status fv__run(const char *const *argv, const char *log, fv__buf *out, int *code);

#endif
