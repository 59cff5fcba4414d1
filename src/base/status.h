/* base: a failure and its message, and lines of the log. */
#ifndef FV_BASE_STATUS_H
#define FV_BASE_STATUS_H

#include "fovea/base.h"

#include <stdarg.h>

/* Records the message of this thread and returns `status`. Call it where the fault is found, and only there. */
fv_status fv__fail(fv_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Forwards a failure to the caller. */
#define FV_TRY(call)                          \
    do {                                      \
        fv_status status_ = (call);           \
        if (status_ != FV_OK) return status_; \
    } while (0)

void fv__log(fv_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
