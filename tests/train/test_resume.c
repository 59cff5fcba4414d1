/* A training is killed (SIGKILL) at random moments and resumed each time: the model's bytes are those of the
 * unbroken run, and those of a run with any other number of threads. A full disk in the middle loses nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/toy.h"
#include "fovea/train.h"

static char folder[64];
static const char *self;

/* The training program: this test started again with arguments. */
static int child(const char *run, int threads) {
    fv_set_threads(threads);
    fv_dataset *train = NULL, *valid = NULL;
    fv_model *model = NULL;
    fv_train_setup how;
    fv_status status = toy_data(&train, 300, 1);
    if (!status) status = toy_data(&valid, 60, 2);
    if (!status) status = fv_train_setup_init(&how, "transformer");
    if (!status) {
        how.model.d_model = 32, how.model.heads = 4, how.model.d_ff = 64, how.model.layers = 2;
        how.train.epochs = 12, how.train.batch_size = 8, how.train.eval_every = "20u", how.train.save_every = "7u";
        how.train.early_stopping = 0;
        how.folder = run, how.resume = fv_train_can_resume(run);
        status = fv_train(&model, NULL, train, valid, &how);
    }
    if (status) fprintf(stderr, "%s\n", fv_message());
    fv_model_free(model);
    fv_dataset_free(train);
    fv_dataset_free(valid);
    return status;
}

static pid_t start(const char *run, const char *threads, const char *fault) {
    pid_t pid = fork();
    if (pid == 0) {
        if (fault) setenv("FOVEA_FAIL", fault, 1);
        execl(self, self, "--child", run, threads, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static int finish(pid_t pid) {
    int code = 0;
    assert_int_equal(waitpid(pid, &code, 0), pid);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -WTERMSIG(code);
}

static void path_of(char *path, size_t size, const char *run) { snprintf(path, size, "%s/%s", folder, run); }

static void same_model(const char *run, const char *other) {
    char a[200], b[200];
    snprintf(a, sizeof a, "%s/%s/model.safetensors", folder, run);
    snprintf(b, sizeof b, "%s/%s/model.safetensors", folder, other);
    fv__file x, y;
    assert_int_equal(fv__file_read(&x, a), FV_OK);
    assert_int_equal(fv__file_read(&y, b), FV_OK);
    assert_true(x.size == y.size && x.size > 1000);
    assert_memory_equal(x.data, y.data, x.size);
    fv__file_free(&x);
    fv__file_free(&y);
}

static void test_threads(void **state) {
    (void)state;
    static const char *const threads[] = {"1", "2", "4"};
    char run[100];
    for (int i = 0; i < 3; i++) {
        path_of(run, sizeof run, threads[i]);
        assert_int_equal(finish(start(run, threads[i], NULL)), 0);
        same_model("1", threads[i]);
    }
}

static void test_kills(void **state) {
    (void)state;
    char run[100];
    path_of(run, sizeof run, "killed");
    int kills = 0, wanted = getenv("FOVEA_TEST_QUICK") ? 10 : getenv("FOVEA_TEST_LONG") ? 2000 : 50;
    for (uint64_t turn = 0; kills < wanted; turn++) {
        pid_t pid = start(run, "2", NULL);
        /* from before the first checkpoint to a few updates later; long enough that the run does move on */
        int64_t wait = 1000000 * (5 + fv__random_below(7, 7, turn, turn % 4 == 3 ? 400 : 90));
        nanosleep(&(struct timespec){wait / 1000000000, wait % 1000000000}, NULL);
        kill(pid, SIGKILL);
        int code = finish(pid);
        if (code == 0) { /* it was done before the kill: judge it and begin again */
            same_model("1", "killed");
            char clean[140];
            snprintf(clean, sizeof clean, "rm -rf %s", run);
            assert_int_equal(system(clean), 0);
        } else {
            assert_int_equal(code, -SIGKILL);
            kills++;
        }
    }
    assert_int_equal(finish(start(run, "2", NULL)), 0);
    same_model("1", "killed");
    print_message("%d kills\n", kills);
}

/* The n-th file call fails and all after it: as when the disk is full. What was saved before must carry on. */
static void test_full_disk(void **state) {
    (void)state;
    char run[100], fault[40];
    path_of(run, sizeof run, "full");
    for (int n = 10; n < 200; n += 37) {
        snprintf(fault, sizeof fault, "file:%d+", n);
        int code = finish(start(run, "2", fault));
        assert_true(code > 0); /* a status, not a signal */
    }
    assert_int_equal(finish(start(run, "2", NULL)), 0);
    same_model("1", "full");
}

static int setup(void **state) { return (void)state, toy_folder(folder); }

static int teardown(void **state) {
    (void)state;
    char clean[100];
    snprintf(clean, sizeof clean, "rm -rf %s", folder);
    return system(clean);
}

int main(int count, char **argument) {
    if (count == 4 && !strcmp(argument[1], "--child")) return child(argument[2], atoi(argument[3]));
    self = argument[0];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_kills),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
