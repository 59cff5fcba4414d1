/* base: files that are written, whole or not at all. */
#ifndef FV_BASE_WRITER_H
#define FV_BASE_WRITER_H

#include "base/status.h"

/* Atomic writing: a temporary name beside `path`, fsync, rename, fsync of the folder. Until commit succeeds the old
 * file stays as it was. After a failure call fv__writer_abort, which removes the temporary file. */
typedef struct fv__writer {
    int fd;
    char *path, *temporary;
    uint64_t written;
    fv_status status;
} fv__writer;
fv_status fv__writer_open(fv__writer *writer, const char *path);
void fv__writer_add(fv__writer *writer, const void *bytes, size_t count); /* sticky failure */
fv_status fv__writer_commit(fv__writer *writer); /* reports any earlier failure; cleans up in every case */
void fv__writer_abort(fv__writer *writer);
fv_status fv__write_file(const char *path, const void *bytes, size_t count);
fv_status fv__append_line(const char *path, const char *line); /* with newline, for logs */

#endif
