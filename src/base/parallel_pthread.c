/* parallel_for on a pool of POSIX threads: the same door as parallel_omp.c, for machines without OpenMP and for
 * ThreadSanitizer, which cannot see into the OpenMP runtime. Workers are made when first needed and stay. When a
 * thread cannot be made the loop runs with those there are; results never depend on how many. */
#include "base/base.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MOST = 1024 };

typedef struct job {
    fv__loop_fn *fn;
    void *context;
    int64_t count;
    int helpers; /* pool threads that take part, as workers 1..helpers */
} job;

static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER; /* held by the thread whose loop the pool runs */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;  /* guards everything below */
static pthread_cond_t posted = PTHREAD_COND_INITIALIZER, finished = PTHREAD_COND_INITIALIZER;
static job current;
static uint64_t generation; /* of `current` */
static int busy, pool_size;
static atomic_int_least64_t next_index;
static _Thread_local int this_worker = -1; /* -1: not inside a loop */

/* A child of fork has none of the threads, and perhaps locks that somebody held: it begins anew. */
static void in_child(void) {
    pthread_mutex_init(&owner, NULL);
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&posted, NULL);
    pthread_cond_init(&finished, NULL);
    busy = pool_size = 0;
}

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }

static void take_part(const job *j, int worker) {
    this_worker = worker;
    for (;;) {
        int64_t i = atomic_fetch_add(&next_index, 1);
        if (i >= j->count) break;
        j->fn(j->context, i, worker);
    }
    this_worker = -1;
}

static void *pool_thread(void *argument) {
    int worker = (int)(intptr_t)argument;
    pthread_mutex_lock(&lock);
    /* A thread is born while the owner prepares the next generation: what was posted before is not its business. */
    uint64_t seen = generation;
    pool_size++;
    pthread_cond_broadcast(&finished);
    for (;;) {
        while (generation == seen) pthread_cond_wait(&posted, &lock);
        seen = generation;
        job j = current;
        if (worker > j.helpers) continue;
        pthread_mutex_unlock(&lock);
        take_part(&j, worker);
        pthread_mutex_lock(&lock);
        if (--busy == 0) pthread_cond_broadcast(&finished);
    }
    return NULL;
}

static bool make_thread(int worker) {
    pthread_t thread;
    /* A thread needs memory of its own, so a failing memory door is how a test meets this case. */
    if (fv__injected(FV_FAULT_ALLOC) || pthread_create(&thread, NULL, pool_thread, (void *)(intptr_t)worker))
        return false;
    pthread_detach(thread);
    return true;
}

/* With `lock` held: grows the pool towards `wanted` threads, returns how many of them there are. */
static int helpers_for(int wanted) {
    while (pool_size < wanted) {
        int born = pool_size + 1;
        if (!make_thread(born)) return pool_size;
        while (pool_size < born) pthread_cond_wait(&finished, &lock);
    }
    return wanted;
}

static void run_with_pool(job j, int wanted) {
    pthread_mutex_lock(&lock);
    j.helpers = helpers_for(wanted);
    atomic_store(&next_index, 0);
    current = j;
    busy = j.helpers;
    generation++;
    pthread_cond_broadcast(&posted);
    pthread_mutex_unlock(&lock);
    take_part(&j, 0);
    pthread_mutex_lock(&lock);
    while (busy > 0) pthread_cond_wait(&finished, &lock);
    pthread_mutex_unlock(&lock);
}

static void serial(const job *j, int worker) {
    int before = this_worker;
    this_worker = worker;
    for (int64_t i = 0; i < j->count; i++) j->fn(j->context, i, worker);
    this_worker = before;
}

void fv__parallel_for(int64_t count, fv__loop_fn *fn, void *context) {
    if (count <= 0) return;
    job j = {fn, context, count, 0};
    int wanted = fv_threads() < MOST ? fv_threads() : MOST;
    if (count < wanted) wanted = (int)count;
    if (this_worker >= 0) {
        serial(&j, this_worker);
    } else if (wanted > 1 && pthread_mutex_trylock(&owner) == 0) {
        run_with_pool(j, wanted - 1);
        pthread_mutex_unlock(&owner);
    } else {
        serial(&j, 0); /* one thread asked for, or the pool is busy with another caller's loop */
    }
}
