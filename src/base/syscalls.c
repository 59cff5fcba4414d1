/* Calls of the system that can fail, with fault points. See syscalls.h. */
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST_CALL = 1 << 30 };

/* An injected failure looks like the system's. */
static bool refused(int reason) {
    if (!fv__injected(FV_FAULT_FILE)) return false;
    errno = reason;
    return true;
}

int fv__sys_open(const char *path, int flags) {
    if (refused(EIO)) return -1;
    int fd;
    do fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

int64_t fv__sys_read(int fd, void *bytes, size_t count) {
    if (refused(EIO)) return -1;
    ssize_t got;
    do got = read(fd, bytes, count < LARGEST_CALL ? count : LARGEST_CALL);
    while (got < 0 && errno == EINTR);
    return got;
}

/* A file that may grow no further, or a pipe nobody reads, is an error of write; the signal that comes with it ends a
 * process that does not expect it. It goes to this thread, which does not let it in meanwhile. */
typedef struct held_signals {
    sigset_t ours, before, pending;
} held_signals;

static void hold_signals(held_signals *h) {
    sigemptyset(&h->ours);
    sigaddset(&h->ours, SIGXFSZ);
    sigaddset(&h->ours, SIGPIPE);
    sigpending(&h->pending);
    pthread_sigmask(SIG_BLOCK, &h->ours, &h->before);
}

static void release_signals(const held_signals *h, int reason) {
    const struct timespec now = {0, 0};
    const int number = reason == EFBIG ? SIGXFSZ : SIGPIPE;
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    if ((reason == EFBIG || reason == EPIPE) && !sigismember(&h->pending, number))
        while (sigtimedwait(&one, NULL, &now) < 0 && errno == EINTR) {}
    pthread_sigmask(SIG_SETMASK, &h->before, NULL);
}

static bool write_all(int fd, const void *bytes, size_t count) {
    const char *p = bytes;
    while (count > 0) {
        if (refused(ENOSPC)) return false;
        ssize_t put = write(fd, p, count < LARGEST_CALL ? count : LARGEST_CALL);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return false;
        p += put;
        count -= (size_t)put;
    }
    return true;
}

bool fv__sys_write(int fd, const void *bytes, size_t count) {
    held_signals held;
    hold_signals(&held);
    const bool written = write_all(fd, bytes, count);
    const int reason = errno;
    release_signals(&held, written ? 0 : reason);
    errno = reason;
    return written;
}

bool fv__sys_sync(int fd) {
    if (refused(EIO)) return false;
    int failed;
    do failed = fsync(fd);
    while (failed && errno == EINTR);
    return !failed || errno == EINVAL || errno == ENOTSUP || errno == EROFS;
}

bool fv__sys_close(int fd) {
    bool injected = refused(EIO);
    int reason = errno;
    bool closed = close(fd) == 0 || errno == EINTR;
    if (injected) errno = reason;
    return closed && !injected;
}

bool fv__sys_rename(const char *from, const char *to) {
    if (refused(EIO)) return false;
    return rename(from, to) == 0;
}

bool fv__sys_make_dir(const char *path) {
    if (refused(EIO)) return false;
    return mkdir(path, 0777) == 0;
}

bool fv__sys_sync_folder(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length >= sizeof folder) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(folder, path, length);
    folder[length] = '\0';
    int fd = fv__sys_open(length ? folder : slash ? "/" : ".", O_RDONLY | O_DIRECTORY);
    if (fd < 0) return errno == EACCES; /* a folder we may write to but not read cannot be synced */
    bool synced = fv__sys_sync(fd);
    int reason = errno;
    close(fd);
    errno = reason;
    return synced;
}

fv_status fv__file_fail(fv_status otherwise, const char *path, const char *verb) {
    int reason = errno;
    char text[256];
    if (strerror_r(reason, text, sizeof text)) snprintf(text, sizeof text, "error %d", reason);
    bool no_room = reason == ENOSPC || reason == EDQUOT || reason == EFBIG || reason == ENOMEM || reason == EMFILE ||
                   reason == ENFILE;
    return fv__fail(no_room ? FV_NO_RESOURCES : otherwise, "%s: cannot %s: %s", path, verb, text);
}
