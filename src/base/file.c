/* Reading whole files into memory. Nothing is mapped: what is mapped can be cut short by another process, and then any
 * look at it ends the process; a copy stays what it was. */
#include "base/file.h"

#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static fv_status check_kind(const struct stat *about, const char *path, bool regular) {
    if (S_ISDIR(about->st_mode))
        return fv__fail(FV_BAD_DATA, "%s: cannot be read\n  expected a file\n  found:   a folder", path);
    if (regular && !S_ISREG(about->st_mode))
        return fv__fail(FV_BAD_DATA,
                        "%s: cannot be read\n  expected a regular file\n  found:   a pipe, a device or a socket", path);
    return FV_OK;
}

/* `regular`: a pipe is opened without waiting for its other end, and refused. */
static fv_status open_for_reading(int *fd, struct stat *about, const char *path, bool regular) {
    *fd = fv__sys_open(path, O_RDONLY | (regular ? O_NONBLOCK : 0));
    if (*fd < 0) return fv__file_fail(FV_BAD_DATA, path, "open");
    fv_status status =
        fstat(*fd, about) ? fv__file_fail(FV_BAD_DATA, path, "look at") : check_kind(about, path, regular);
    if (status != FV_OK) close(*fd);
    return status;
}

/* Room for more than `size` bytes: what is there moves. New memory is not zeroed, it will be written. */
static fv_status make_room(char **bytes, size_t *capacity, size_t size, size_t expected, const char *path) {
    size_t need, twice;
    if (size < *capacity) return FV_OK;
    bool fits = fv__add_ok(size ? size : expected, 1, &need); /* one more byte, to meet the end */
    if (fits && size && fv__mul_ok(*capacity, 2, &twice) && twice > need) need = twice;
    char *bigger = fits ? fv__alloc_raw(need) : NULL;
    if (!bigger) return fits ? FV_NO_RESOURCES : fv__fail(FV_NO_RESOURCES, "%s: too large", path);
    if (size) memcpy(bigger, *bytes, size);
    fv__free(*bytes);
    *bytes = bigger;
    *capacity = need;
    return FV_OK;
}

/* Reads to the end. `expected` is a first guess: pipes have no size, and files grow. */
static fv_status read_all(fv__file *file, int fd, size_t expected, const char *path) {
    char *bytes = NULL;
    size_t capacity = 0, size = 0;
    fv_status status;
    while ((status = make_room(&bytes, &capacity, size, expected, path)) == FV_OK) {
        int64_t got = fv__sys_read(fd, bytes + size, capacity - size);
        if (got < 0) status = fv__file_fail(FV_BAD_DATA, path, "read");
        if (got <= 0) break;
        size += (size_t)got;
    }
    if (status != FV_OK) {
        fv__free(bytes);
        return status;
    }
    *file = (fv__file){(unsigned char *)bytes, size};
    return FV_OK;
}

static size_t size_hint(const struct stat *about) {
    bool known = S_ISREG(about->st_mode) && about->st_size > 0;
    return known ? (size_t)about->st_size : 64 * 1024 - 1;
}

static fv_status read_file(fv__file *file, const char *path, bool regular) {
    int fd;
    struct stat about;
    *file = (fv__file){0};
    FV_TRY(open_for_reading(&fd, &about, path, regular));
    fv_status status = read_all(file, fd, size_hint(&about), path);
    close(fd);
    return status;
}

fv_status fv__file_read(fv__file *file, const char *path) { return read_file(file, path, false); }

fv_status fv__file_read_regular(fv__file *file, const char *path) { return read_file(file, path, true); }

void fv__file_free(fv__file *file) {
    fv__free((void *)(uintptr_t)file->data);
    *file = (fv__file){0};
}
