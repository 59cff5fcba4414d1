/* base: loops that threads share. */
#ifndef FV_BASE_PARALLEL_H
#define FV_BASE_PARALLEL_H

#include "fovea/base.h"

/* Calls fn(context, index, worker) for index 0..count-1, each once, in any order. worker < fv_threads() names the
 * scratch to use. Cut the work by the problem, never by the number of workers. Nested calls run serially. */
typedef void fv__loop_fn(void *context, int64_t index, int worker);
void fv__parallel_for(int64_t count, fv__loop_fn *fn, void *context);

#endif
