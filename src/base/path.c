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

/* A line that a crash cut short stays on its own. */
static bool ends_in_half_a_line(int fd) {
    char last = '\n';
    off_t size = lseek(fd, 0, SEEK_END);
    return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

fv_status fv__append_line(const char *path, const char *line) {
    int fd = fv__sys_open(path, O_RDWR | O_CREAT | O_APPEND);
    if (fd < 0) return fv__file_fail(FV_FAIL, path, "write");
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

fv_status fv__lock_file(int *fd, const char *path) {
    *fd = fv__sys_open(path, O_RDWR | O_CREAT);
    if (*fd < 0) return fv__file_fail(FV_FAIL, path, "lock");
    fv_status status = take_lock(*fd, path);
    if (status == FV_OK) return FV_OK;
    close(*fd);
    *fd = -1;
    return status;
}

void fv__unlock_file(int fd) {
    if (fd >= 0) close(fd);
}
