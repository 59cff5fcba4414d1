/* The library lives in somebody's process: no thread to be had, a fork, a file that may not grow. It never ends its
 * host. Each case runs in a child, before this program has any thread. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "support/scratch.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { COUNT = 1000 };

static void put_square(void *context, int64_t index, int worker) {
    (void)worker;
    ((int64_t *)context)[index] = index * index;
}

static bool loop_is_right(void) {
    int64_t out[COUNT] = {0};
    fv__parallel_for(COUNT, put_square, out);
    for (int64_t i = 0; i < COUNT; i++)
        if (out[i] != i * i) return false;
    return true;
}

/* How the child ended that ran this; -1: not by itself within 20 seconds. */
static int in_child(int (*run)(void)) {
    int result;
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(run());
    }
    waitpid(child, &result, 0);
    return WIFEXITED(result) ? WEXITSTATUS(result) : -1;
}

static void limit_memory_to_now_and(size_t more) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld", &pages) != 1) _exit(3);
    fclose(file);
    rlim_t bytes = (rlim_t)pages * 4096 + more;
    setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes});
}

/* A thread has a stack of some MiB: of 200 there is room for a few. */
static int few_threads(void) {
    fv_set_threads(200);
    limit_memory_to_now_and((size_t)64 << 20);
    for (int round = 0; round < 3; round++)
        if (!loop_is_right()) return 1;
    return 0;
}

static void fewer_threads_when_there_are_no_more(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* its own memory is larger than any limit */
#endif
    assert_int_equal(in_child(few_threads), 0);
}

static int again(void) { return loop_is_right() ? 0 : 1; }

static int fork_after_threads(void) {
    fv_set_threads(4);
    if (!loop_is_right()) return 2;
    int inner = in_child(again);
    return loop_is_right() ? inner : 3; /* and the parent goes on */
}

static void a_child_of_fork_computes(void **state) {
    (void)state;
    assert_int_equal(in_child(fork_after_threads), 0);
}

static int write_too_much(void) {
    char bytes[4096] = "";
    sigset_t before, after;
    const char *path = scratch_path("large");
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, 1000});
    if (fv__write_file(path, bytes, sizeof bytes) != FV_NO_RESOURCES) return 1;
    if (!strstr(fv_message(), "File too large") || scratch_count() != 0) return 2;
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    sigpending(&before);
    return sigismember(&after, SIGXFSZ) || sigismember(&before, SIGXFSZ) ? 3 : 0;
}

static void a_file_that_may_not_grow(void **state) {
    (void)state;
    assert_int_equal(in_child(write_too_much), 0);
}

static int write_to_nobody(void) {
    int ends[2];
    char path[64];
    if (pipe(ends)) return 4;
    close(ends[0]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[1]);
    return fv__write_file(path, "text", 4) == FV_FAIL && strstr(fv_message(), "Broken pipe") ? 0 : 1;
}

static void a_pipe_nobody_reads(void **state) {
    (void)state;
    assert_int_equal(in_child(write_to_nobody), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fewer_threads_when_there_are_no_more),
        cmocka_unit_test(a_child_of_fork_computes),
        cmocka_unit_test(a_file_that_may_not_grow),
        cmocka_unit_test(a_pipe_nobody_reads),
    };
    return cmocka_run_group_tests_name("host", tests, scratch_make, scratch_remove);
}
