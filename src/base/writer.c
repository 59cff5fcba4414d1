/* Atomic writing: everything goes to ".NAME.tmp" beside the target, which replaces the target in one step when it is
 * complete and on disk. The temporary file has a fixed name, so a killed process leaves at most one behind and the
 * next one takes it over; a lock on it keeps two writers of the same target apart. */
#include "base/writer.h"

#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Links are followed, so that the file they name is replaced and not the link. */
static fv_status final_path(char **out, const char *path) {
    char resolved[PATH_MAX];
    struct stat link;
    bool follow = !lstat(path, &link) && S_ISLNK(link.st_mode) && realpath(path, resolved);
    *out = fv__strdup(follow ? resolved : path);
    return *out ? FV_OK : FV_NO_RESOURCES;
}

static fv_status temporary_path(char **out, const char *path) {
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0;
    fv__buf text = {0};
    fv__buf_add(&text, path, folder);
    fv__buf_printf(&text, ".%s.tmp", path + folder);
    *out = text.data;
    if (!text.failed) return FV_OK;
    fv__buf_free(&text);
    *out = NULL;
    return FV_NO_RESOURCES;
}

/* Did the file behind fd lose its name (another writer renamed or removed it) before we got the lock? */
static bool is_still(int fd, const char *path) {
    struct stat ours, there;
    return !fstat(fd, &ours) && !stat(path, &there) && ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
}

/* A link or a pipe of that name is not what a stopped writer left: whoever put it there chose where we would write. */
static fv_status check_own(const fv__writer *w) {
    struct stat about;
    if (!fstat(w->fd, &about) && S_ISREG(about.st_mode) && about.st_nlink <= 1) return FV_OK;
    return fv__fail(FV_FAIL,
                    "%s: is in the way\n  expected nothing, or a regular file that a stopped writer left\n"
                    "  found:   a link, a pipe or a device\n  try:     remove it",
                    w->temporary);
}

/* It is not ours to remove. */
static void forget_temporary(fv__writer *w) {
    fv__free(w->temporary);
    w->temporary = NULL;
}

static fv_status open_temporary(fv__writer *w) {
    for (;;) {
        w->fd = fv__sys_open(w->temporary, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK);
        if (w->fd < 0 && (errno == ELOOP || errno == ENXIO)) return check_own(w); /* a link; a pipe nobody reads */
        if (w->fd < 0) return fv__file_fail(FV_FAIL, w->path, "write");
        fv_status own = check_own(w);
        if (own != FV_OK) return forget_temporary(w), own;
        bool taken = flock(w->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
        if (!taken && is_still(w->fd, w->temporary)) break;
        close(w->fd);
        w->fd = -1;
        if (taken)
            return fv__fail(FV_FAIL, "%s: is being written by another process\n  try:     another name, or wait",
                            w->path);
    }
    if (ftruncate(w->fd, 0)) return fv__file_fail(FV_FAIL, w->path, "write");
    struct stat old;
    if (!stat(w->path, &old) && fchmod(w->fd, old.st_mode & 0777)) return fv__file_fail(FV_FAIL, w->path, "write");
    return FV_OK;
}

/* Devices and pipes are written directly: there is nothing to replace. */
static fv_status open_target(fv__writer *w) {
    struct stat about;
    bool exists = !stat(w->path, &about);
    size_t length = strlen(w->path);
    if ((exists && S_ISDIR(about.st_mode)) || (length && w->path[length - 1] == '/'))
        return fv__fail(FV_FAIL, "%s: cannot be written\n  expected the name of a file\n  found:   a folder", w->path);
    if (exists && !S_ISREG(about.st_mode)) {
        w->fd = fv__sys_open(w->path, O_WRONLY);
        return w->fd < 0 ? fv__file_fail(FV_FAIL, w->path, "write") : FV_OK;
    }
    FV_TRY(temporary_path(&w->temporary, w->path));
    return open_temporary(w);
}

fv_status fv__writer_open(fv__writer *writer, const char *path) {
    *writer = (fv__writer){.fd = -1};
    fv_status status = final_path(&writer->path, path);
    if (status == FV_OK) status = open_target(writer);
    if (status != FV_OK) fv__writer_abort(writer);
    writer->status = status;
    return status;
}

void fv__writer_add(fv__writer *writer, const void *bytes, size_t count) {
    if (writer->status != FV_OK) return;
    if (fv__sys_write(writer->fd, bytes, count))
        writer->written += count;
    else
        writer->status = fv__file_fail(FV_FAIL, writer->path, "write");
}

/* Data first, then the name: after a power cut there is the old file or the new one, never half of one. */
static fv_status finish_file(fv__writer *w) {
    if (!fv__sys_sync(w->fd)) return fv__file_fail(FV_FAIL, w->path, "write");
    if (!w->temporary) return FV_OK;
    if (!fv__sys_rename(w->temporary, w->path)) return fv__file_fail(FV_FAIL, w->path, "replace");
    fv__free(w->temporary);
    w->temporary = NULL;
    return fv__sys_sync_folder(w->path) ? FV_OK : fv__file_fail(FV_FAIL, w->path, "write the folder of");
}

fv_status fv__writer_commit(fv__writer *writer) {
    fv_status status = writer->status;
    if (status == FV_OK) status = finish_file(writer);
    fv__writer_abort(writer);
    return writer->status = status;
}

void fv__writer_abort(fv__writer *writer) {
    if (writer->fd >= 0) {
        /* Removed before it is closed: the lock goes with the descriptor. */
        if (writer->temporary) unlink(writer->temporary);
        close(writer->fd);
    }
    fv__free(writer->temporary);
    fv__free(writer->path);
    writer->fd = -1;
    writer->temporary = writer->path = NULL;
    if (writer->status == FV_OK) writer->status = FV_FAIL; /* nothing more can be written */
}

fv_status fv__write_file(const char *path, const void *bytes, size_t count) {
    fv__writer writer;
    FV_TRY(fv__writer_open(&writer, path));
    fv__writer_add(&writer, bytes, count);
    return fv__writer_commit(&writer);
}
