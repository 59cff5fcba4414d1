/* How many threads: fv_set_threads, else FOVEA_THREADS, else the cores this process may run on. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/base.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST = 1024 };

static atomic_int chosen; /* 0 = not decided */

static int clamp(int64_t threads) { return threads < 1 ? 1 : threads > MOST ? MOST : (int)threads; }

static int cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return clamp(CPU_COUNT(&set));
    return clamp(sysconf(_SC_NPROCESSORS_ONLN));
}

static int standard(void) {
    const char *text = getenv("FOVEA_THREADS");
    int64_t asked;
    if (!text || !*text) return cores();
    if (fv__parse_int(text, &asked) && asked >= 1 && asked <= MOST) return (int)asked;
    int all = cores();
    fv__log(FV_LOG_WARN, "FOVEA_THREADS=%s: expected a number from 1 to %d; using %d", text, MOST, all);
    return all;
}

void fv_set_threads(int threads) { atomic_store(&chosen, threads <= 0 ? standard() : clamp(threads)); }

int fv_threads(void) {
    int threads = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (threads) return threads;
    int undecided = 0;
    threads = standard();
    return atomic_compare_exchange_strong(&chosen, &undecided, threads) ? threads : undecided;
}
