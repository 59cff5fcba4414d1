/* base: parallel_for (both runtimes), the number of threads, FOVEA_ISA. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum { N = 5000 };

typedef struct count_job {
    int hits[N];
    atomic_int wrong_worker, busy_worker;
    atomic_bool in_use[64];
} count_job;

static void count_one(void *context, int64_t index, int worker) {
    count_job *job = context;
    if (worker < 0 || worker >= fv_threads())
        atomic_fetch_add(&job->wrong_worker, 1);
    else if (atomic_exchange(&job->in_use[worker], true))
        atomic_fetch_add(&job->busy_worker, 1);
    job->hits[index]++; /* plain: each index belongs to one call */
#ifdef _OPENMP
    if (omp_get_max_threads() != 1) atomic_fetch_add(&job->wrong_worker, 1);
#endif
    if (worker >= 0 && worker < 64) atomic_store(&job->in_use[worker], false);
}

static void check_loop(int threads, int64_t count) {
    static count_job job;
    memset(&job, 0, sizeof job);
    fv_set_threads(threads);
    assert_int_equal(fv_threads(), threads);
    fv__parallel_for(count, count_one, &job);
    for (int i = 0; i < N; i++) assert_int_equal(job.hits[i], i < count);
    assert_int_equal(job.wrong_worker, 0);
    assert_int_equal(job.busy_worker, 0); /* a worker's scratch is never used by two calls at once */
}

static void every_index_is_called_once(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 3, 7, 2, 1};
    static const int64_t counts[] = {0, 1, 2, 5, N};
    for (int round = 0; round < 5; round++)
        for (int t = 0; t < 6; t++)
            for (int c = 0; c < 5; c++) check_loop(threads[t], counts[c]);
    fv__parallel_for(-1, count_one, NULL);
}

static void add_inner(void *context, int64_t index, int worker) {
    (void)index;
    (void)worker;
    ++*(int *)context; /* plain: nested loops run on the thread that starts them */
}

static void add_outer(void *context, int64_t index, int worker) {
    (void)worker;
    fv__parallel_for(100, add_inner, (int *)context + index);
}

static void nested_loops_run_serially(void **state) {
    (void)state;
    int sums[50] = {0};
    fv_set_threads(4);
    fv__parallel_for(50, add_outer, sums);
    for (int i = 0; i < 50; i++) assert_int_equal(sums[i], 100);
}

static void *host_thread(void *argument) {
    (void)argument;
    for (int i = 0; i < 50; i++) {
        int sums[50] = {0};
        fv__parallel_for(50, add_outer, sums);
        for (int k = 0; k < 50; k++)
            if (sums[k] != 100) return "wrong";
    }
    return NULL;
}

/* A host program may call the library from several threads of its own. */
static void several_callers_at_once(void **state) {
    (void)state;
    pthread_t threads[3];
    void *result;
    fv_set_threads(3);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, host_thread, NULL), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], &result);
        assert_null(result);
    }
}

/* With the pthread runtime a thread that cannot be made means fewer workers; with OpenMP the door is not asked. */
static void fewer_threads_than_asked_give_the_same(void **state) {
    (void)state;
    for (int nth = 1; nth <= 4; nth++) {
        fv__inject(FV_FAULT_ALLOC, nth, true);
        check_loop(16 + nth, N);
        fv__inject(FV_FAULT_ALLOC, 0, false);
    }
    check_loop(20, N);
}

/* ---- what the environment says: this program starts itself again with `probe` */

static char warning[256];
static void keep_warning(void *context, fv_log_level level, const char *line) {
    (void)context;
    if (level == FV_LOG_WARN) snprintf(warning, sizeof warning, "%s", line);
}

static int probe(void) {
    fv_set_log(keep_warning, NULL);
    printf("%s %d %s\n", fv_isa(), fv_threads(), warning);
    return 0;
}

static void run_probe(const char *environment, char *line, size_t size) {
    char self[4096], command[8192];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(length > 0);
    self[length] = '\0';
    snprintf(command, sizeof command, "%s %s probe", environment, self);
    FILE *pipe = popen(command, "r");
    assert_non_null(fgets(line, (int)size, pipe));
    pclose(pipe);
}

static void the_environment_chooses(void **state) {
    (void)state;
    char best[64], line[512], expected[512];
    run_probe("FOVEA_THREADS=3 FOVEA_ISA=", best, sizeof best);
    best[strcspn(best, " ")] = '\0';
    run_probe("FOVEA_THREADS=3 FOVEA_ISA=scalar", line, sizeof line);
    assert_string_equal(line, "scalar 3 \n");
    run_probe("FOVEA_THREADS=3 FOVEA_ISA=sse9", line, sizeof line);
    snprintf(expected, sizeof expected, "%s 3 FOVEA_ISA=sse9: expected scalar, avx2, avx512 or neon; using %s\n", best,
             best);
    assert_string_equal(line, expected);
    run_probe("FOVEA_THREADS=many FOVEA_ISA=scalar", line, sizeof line);
    assert_non_null(strstr(line, "FOVEA_THREADS=many: expected a number from 1 to 1024; using "));
    run_probe("FOVEA_THREADS=0 FOVEA_ISA=scalar", line, sizeof line);
    assert_non_null(strstr(line, "FOVEA_THREADS=0: expected"));
}

static void threads_are_limited(void **state) {
    (void)state;
    fv_set_threads(100000);
    assert_int_equal(fv_threads(), 1024);
    fv_set_threads(0);
    assert_in_range(fv_threads(), 1, 1024);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_is_called_once), cmocka_unit_test(nested_loops_run_serially),
        cmocka_unit_test(several_callers_at_once),    cmocka_unit_test(fewer_threads_than_asked_give_the_same),
        cmocka_unit_test(the_environment_chooses),    cmocka_unit_test(threads_are_limited),
    };
    if (argc == 2 && !strcmp(argv[1], "probe")) return probe();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
