/* process.c - posix_spawn and one pipe. See process.h. */
#include "data/recipe/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int spawn(pid_t *child, const char *const *argv, const char *log, int out) {
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error) return error;
    error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (!error) error = posix_spawn_file_actions_adddup2(&actions, out, 1);
    if (!error) error = posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (!error) error = posix_spawnp(child, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

/* Reads until the program closes its output; on an interrupt ends the program and goes on reading what is left. */
static void drain(int in, pid_t child, fv__buf *out) {
    char part[65536];
    for (bool stopped = false;;) {
        ssize_t got = read(in, part, sizeof part);
        if (fv_interrupted() && !stopped) {
            kill(child, SIGTERM);
            stopped = true;
        }
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;
        if (out) fv__buf_add(out, part, (size_t)got);
    }
}

fv_status fv__run(const char *const *argv, const char *log, fv__buf *out, int *code) {
    int ends[2], state = 0;
    pid_t child;
    *code = FV__NOT_FOUND;
    if (pipe(ends)) return fv__fail(FV_FAIL, "%s: no pipe to it: %s", argv[0], strerror(errno));
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    int error = spawn(&child, argv, log, ends[1]);
    close(ends[1]);
    if (error) {
        close(ends[0]);
        return error == ENOENT ? FV_OK : fv__fail(FV_FAIL, "%s: cannot be started: %s", argv[0], strerror(error));
    }
    drain(ends[0], child, out);
    close(ends[0]);
    while (waitpid(child, &state, 0) < 0 && errno == EINTR) {}
    *code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
    if (fv_interrupted()) return fv__fail(FV_INTERRUPTED, "%s: stopped on request", argv[0]);
    return out ? fv__buf_status(out) : FV_OK;
}
