/* parallel_for on OpenMP: the runtime that oneDNN uses too, so both share one set of threads.
 *
 * libgomp ends the process when the system has no thread for it, and waits for ever in a child of fork for threads that
 * only the parent has. So threads are asked for once before, where a refusal can be answered, and a child computes on
 * its own thread. Results depend on neither. */
#include "base/base.h"

#include <omp.h>
#include <pthread.h>

enum { MOST = 1024 };

static _Thread_local int this_worker = -1; /* -1: not inside a loop */
static _Thread_local int proven = 1;       /* threads this thread has had at once, itself among them */
static _Thread_local int limit = MOST;     /* more than these it did not get */
static _Thread_local bool orphaned;        /* its threads stayed with the parent */

static void in_child(void) { orphaned = proven > 1; }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }

static void *wait_at(void *gate) {
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* How many of `wanted` threads there can be at once. */
static int try_threads(int wanted) {
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread[MOST];
    int made = 0;
    pthread_mutex_lock(&gate);
    while (made < wanted && pthread_create(&thread[made], NULL, wait_at, &gate) == 0) made++;
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < made; i++) pthread_join(thread[i], NULL);
    return made;
}

/* As many workers as there can be, at most `wanted`. */
static int workers_for(int wanted) {
    if (orphaned) return 1;
    if (wanted > limit) wanted = limit;
    if (wanted <= proven) return wanted;
    const int got = proven + try_threads(wanted - proven);
    proven = got;
    if (got == wanted) return got;
    limit = got;
    fv__log(FV_LOG_WARN, "the system gives %d of %d threads: going on with them", got, wanted);
    return got;
}

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
    workers = workers_for(workers);
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
