/* parallel_for on OpenMP: the runtime that oneDNN uses too, so both share one set of threads. */
#include "base/base.h"

#include <omp.h>

static _Thread_local int this_worker = -1; /* -1: not inside a loop */

static void serial(int64_t count, fv__loop_fn *fn, void *context) {
    for (int64_t i = 0; i < count; i++) fn(context, i, this_worker);
}

void fv__parallel_for(int64_t count, fv__loop_fn *fn, void *context) {
    if (count <= 0) return;
    if (this_worker >= 0) {
        serial(count, fn, context);
        return;
    }
    int workers = fv_threads();
    if (count < workers) workers = (int)count;
        /* A team of one takes the same way: the region is what keeps a library called by fn on one thread. */
#pragma omp parallel num_threads(workers)
    {
        omp_set_num_threads(1);
        this_worker = omp_get_thread_num();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < count; i++) fn(context, i, this_worker);
        this_worker = -1;
    }
}
