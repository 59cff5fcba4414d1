/* Reading whole files: into memory, or mapped. A mapped file that another process cuts short while we look at it
 * ends the process with SIGBUS; whoever cannot exclude that reads instead. */
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static fv_status open_for_reading(int *fd, struct stat *about, const char *path) {
    *fd = fv__sys_open(path, O_RDONLY);
    if (*fd < 0) return fv__file_fail(FV_BAD_DATA, path, "open");
    fv_status status = FV_OK;
    if (fstat(*fd, about))
        status = fv__file_fail(FV_BAD_DATA, path, "look at");
    else if (S_ISDIR(about->st_mode))
        status = fv__fail(FV_BAD_DATA, "%s: cannot be read\n  expected a file\n  found:   a folder", path);
    if (status != FV_OK) close(*fd);
    return status;
}

/* Reads to the end. `expected` is a first guess: pipes have no size, and files grow. */
static fv_status read_all(fv__file *file, int fd, size_t expected, const char *path) {
    char *bytes = NULL;
    size_t capacity = 0, size = 0, need;
    fv_status status = FV_OK;
    for (;;) {
        if (size == capacity) {
            bool fits = fv__add_ok(size ? size : expected, 1, &need); /* one more byte, to meet the end */
            status = fits ? FV_GROW(&bytes, &capacity, need) : fv__fail(FV_NO_RESOURCES, "%s: too large", path);
            if (status != FV_OK) break;
        }
        int64_t got = fv__sys_read(fd, bytes + size, capacity - size);
        if (got < 0) status = fv__file_fail(FV_BAD_DATA, path, "read");
        if (got <= 0) break;
        size += (size_t)got;
    }
    if (status != FV_OK) {
        fv__free(bytes);
        return status;
    }
    *file = (fv__file){(unsigned char *)bytes, size, false};
    return FV_OK;
}

static size_t size_hint(const struct stat *about) {
    bool known = S_ISREG(about->st_mode) && about->st_size > 0;
    return known ? (size_t)about->st_size : 64 * 1024 - 1;
}

fv_status fv__file_read(fv__file *file, const char *path) {
    int fd;
    struct stat about;
    *file = (fv__file){0};
    FV_TRY(open_for_reading(&fd, &about, path));
    fv_status status = read_all(file, fd, size_hint(&about), path);
    close(fd);
    return status;
}

fv_status fv__file_map(fv__file *file, const char *path) {
    int fd;
    struct stat about;
    *file = (fv__file){0};
    FV_TRY(open_for_reading(&fd, &about, path));
    fv_status status = FV_OK;
    size_t size = (size_t)about.st_size;
    void *bytes = S_ISREG(about.st_mode) && size > 0 ? fv__sys_map(fd, size) : NULL;
    if (bytes)
        *file = (fv__file){bytes, size, true};
    else
        status = read_all(file, fd, size_hint(&about), path); /* pipes, empty files, systems without mmap */
    close(fd);
    return status;
}

void fv__file_free(fv__file *file) {
    if (file->mapped)
        munmap((void *)file->data, file->size);
    else
        fv__free((void *)file->data);
    *file = (fv__file){0};
}
