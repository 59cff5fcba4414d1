/* Names of files: joining, folders, a line at the end of a log, and the lock that keeps a second process out. */
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

bool fv__path_exists(const char *path) {
    struct stat about;
    return stat(path, &about) == 0;
}

bool fv__path_is_dir(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

bool fv__path_is_link(const char *path) {
    struct stat about;
    return lstat(path, &about) == 0 && S_ISLNK(about.st_mode);
}

fv_status fv__path_join(char **out, const char *folder, const char *name) {
    size_t length = strlen(folder);
    bool slash = length > 0 && folder[length - 1] != '/' && name[0] != '/';
    fv__buf text = {0};
    if (name[0] != '/') fv__buf_add(&text, folder, length);
    if (slash) fv__buf_text(&text, "/");
    fv__buf_text(&text, name);
    *out = text.data;
    if (!text.failed) return FV_OK;
    fv__buf_free(&text);
    *out = NULL;
    return FV_NO_RESOURCES;
}

static fv_status make_one(const char *path) {
    if (fv__path_is_dir(path) || fv__sys_make_dir(path)) return FV_OK;
    int reason = errno;
    if (reason == EEXIST && fv__path_is_dir(path)) return FV_OK; /* somebody else was faster */
    errno = reason;
    return fv__file_fail(FV_FAIL, path, "make the folder");
}

fv_status fv__make_dirs(const char *path) {
    char *copy = fv__strdup(path);
    if (!copy) return FV_NO_RESOURCES;
    fv_status status = FV_OK;
    for (char *p = copy + 1; *copy && *p && status == FV_OK; p++) {
        if (*p != '/') continue;
        *p = '\0';
        status = make_one(copy);
        *p = '/';
    }
    if (status == FV_OK) status = make_one(copy);
    fv__free(copy);
    return status;
}

static fv_status not_own(const char *path) {
    return fv__fail(FV_FAIL,
                    "%s: cannot be used\n  expected a regular file, with no other name\n"
                    "  found:   a link, a pipe or a device\n  try:     remove it, or use another folder",
                    path);
}

fv_status fv__check_own_file(const char *path) {
    struct stat about;
    if (lstat(path, &about))
        return errno == ENOENT || errno == ENOTDIR ? FV_OK : fv__file_fail(FV_FAIL, path, "look at");
    return S_ISREG(about.st_mode) ? FV_OK : not_own(path);
}

/* A file of a run: never through a link, which somebody else may have set to lead elsewhere. */
static fv_status open_own(int *fd, const char *path, int flags, const char *verb) {
    struct stat about;
    *fd = fv__sys_open(path, flags | O_NOFOLLOW | O_NONBLOCK);
    if (*fd < 0) return errno == ELOOP ? not_own(path) : fv__file_fail(FV_FAIL, path, verb);
    if (!fstat(*fd, &about) && S_ISREG(about.st_mode) && about.st_nlink <= 1) return FV_OK;
    close(*fd);
    *fd = -1;
    return not_own(path);
}

/* A line that a crash cut short stays on its own. */
static bool ends_in_half_a_line(int fd) {
    char last = '\n';
    off_t size = lseek(fd, 0, SEEK_END);
    return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

fv_status fv__append_line(const char *path, const char *line) {
    int fd;
    FV_TRY(open_own(&fd, path, O_RDWR | O_CREAT | O_APPEND, "write"));
    fv__buf text = {0};
    if (ends_in_half_a_line(fd)) fv__buf_text(&text, "\n");
    fv__buf_text(&text, line);
    fv__buf_text(&text, "\n");
    fv_status status = fv__buf_status(&text);
    if (status == FV_OK && !fv__sys_write(fd, text.data, text.size)) status = fv__file_fail(FV_FAIL, path, "write");
    if (!fv__sys_close(fd) && status == FV_OK) status = fv__file_fail(FV_FAIL, path, "write");
    fv__buf_free(&text);
    return status;
}

/* The process id that the holder wrote into its lock file. */
static fv_status name_the_holder(int fd, const char *path) {
    char text[32] = "";
    int64_t holder;
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    if (got > 0) text[strcspn(text, "\n")] = '\0';
    if (got > 0 && fv__parse_int(text, &holder))
        return fv__fail(FV_FAIL, "%s: is locked by process %s\n  try:     wait for it, or use another folder", path,
                        text);
    return fv__fail(FV_FAIL, "%s: is locked by another process\n  try:     wait for it, or use another folder", path);
}

static fv_status take_lock(int fd, const char *path) {
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno == EWOULDBLOCK) return name_the_holder(fd, path);
        return fv__file_fail(FV_FAIL, path, "lock");
    }
    char text[32];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    bool written = ftruncate(fd, 0) == 0 && fv__sys_write(fd, text, (size_t)length);
    return written ? FV_OK : fv__file_fail(FV_FAIL, path, "write");
}

/* The folder is locked too, so that a removed lock file lets nobody in. Some file systems lock no folders: there the
 * file must do. */
static fv_status lock_folder(int *fd, const char *path, int file) {
    char *folder = fv__strdup(path);
    if (!folder) return FV_NO_RESOURCES;
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = '\0';
    *fd = fv__sys_open(slash ? folder : ".", O_RDONLY | O_DIRECTORY);
    fv__free(folder);
    if (*fd < 0) return FV_OK;
    if (!flock(*fd, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK) return FV_OK;
    close(*fd);
    *fd = -1;
    return name_the_holder(file, path);
}

fv_status fv__lock(fv__lock_held *lock, const char *path) {
    *lock = (fv__lock_held){-1, -1};
    FV_TRY(open_own(&lock->file, path, O_RDWR | O_CREAT, "lock"));
    fv_status status = lock_folder(&lock->folder, path, lock->file);
    if (status == FV_OK) status = take_lock(lock->file, path);
    if (status != FV_OK) fv__unlock(lock);
    return status;
}

void fv__unlock(fv__lock_held *lock) {
    if (lock->file >= 0) close(lock->file);
    if (lock->folder >= 0) close(lock->folder);
    *lock = (fv__lock_held){-1, -1};
}
