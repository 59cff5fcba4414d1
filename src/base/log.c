/* Log lines go to one function of the caller's; nobody listens unless it is set. */
#include "base/base.h"

#include <stdio.h>

static fv_log_fn *listener;
static void *listener_context;

void fv_set_log(fv_log_fn *fn, void *context) {
    listener = fn;
    listener_context = context;
}

void fv__log(fv_log_level level, const char *format, ...) {
    if (!listener) return;
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    fv__format_list(line, sizeof line, format, arguments);
    va_end(arguments);
    listener(listener_context, level, line);
}
