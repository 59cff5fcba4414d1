/* base: files that are read, paths, locks. */
#ifndef FV_BASE_FILE_H
#define FV_BASE_FILE_H

#include "base/status.h"

/* A file in memory, as it was when it was read. Directories and unreadable files are FV_BAD_DATA with the reason. "-"
 * is not special here. The second form is for files of a model or a run: pipes and devices, which may never end, are
 * FV_BAD_DATA too. */
typedef struct fv__file {
    const unsigned char *data;
    size_t size;
} fv__file;
fv_status fv__file_read(fv__file *file, const char *path);
fv_status fv__file_read_regular(fv__file *file, const char *path);
void fv__file_free(fv__file *file);

fv_status fv__make_dirs(const char *path);
bool fv__path_exists(const char *path);
bool fv__path_is_dir(const char *path);
bool fv__path_is_link(const char *path);
fv_status fv__path_join(char **out, const char *folder, const char *name); /* caller frees with fv__free */
/* FV_FAIL when there is something of this name that is no regular file: what a run writes must not lead out of its
 * folder. Lines are appended, and locks written, to files that have no other name. */
fv_status fv__check_own_file(const char *path);
/* Refuses a second process: creates and locks FILE, and its folder, whose lock stays when the file is removed (flock).
 * The lock ends with the process or fv__unlock. */
typedef struct fv__lock_held {
    int file, folder; /* descriptors, -1: none */
} fv__lock_held;
fv_status fv__lock(fv__lock_held *lock, const char *path);
void fv__unlock(fv__lock_held *lock);

#endif
