/* base: files that are read, paths, locks. */
#ifndef FV_BASE_FILE_H
#define FV_BASE_FILE_H

#include "base/status.h"

/* A read-only file in memory. Mapped or read; size checked against the real file. Directories and unreadable files are
 * FV_BAD_DATA with the reason. "-" is not special here. */
typedef struct fv__file {
    const unsigned char *data;
    size_t size;
    bool mapped;
} fv__file;
fv_status fv__file_read(fv__file *file, const char *path);
fv_status fv__file_map(fv__file *file, const char *path);
void fv__file_free(fv__file *file);

fv_status fv__make_dirs(const char *path);
bool fv__path_exists(const char *path);
bool fv__path_is_dir(const char *path);
fv_status fv__path_join(char **out, const char *folder, const char *name); /* caller frees with fv__free */
/* Refuses a second process: creates and locks FILE (flock). The lock ends with the process or fv__unlock_file. */
fv_status fv__lock_file(int *fd, const char *path);
void fv__unlock_file(int fd);

#endif
