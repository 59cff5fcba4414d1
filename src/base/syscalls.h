/* The door to files: every system call that touches one passes here, survives signals, and can be made to fail. */
#ifndef FV_BASE_SYSCALLS_H
#define FV_BASE_SYSCALLS_H

#include "base/base.h"

#include <sys/stat.h>
#include <sys/types.h>

int fv__sys_open(const char *path, int flags);
int64_t fv__sys_read(int fd, void *bytes, size_t count);     /* as read(2) */
bool fv__sys_write(int fd, const void *bytes, size_t count); /* all of it */
bool fv__sys_sync(int fd);                                   /* true for things that cannot be synced: pipes, devices */
bool fv__sys_close(int fd);                                  /* closed in every case */
bool fv__sys_rename(const char *from, const char *to);
bool fv__sys_make_dir(const char *path);
bool fv__sys_sync_folder(const char *path); /* of the folder that holds `path` */

/* The failure in errno as status and message: "PATH: cannot VERB: REASON". Lack of room is FV_NO_RESOURCES; the
 * rest is `otherwise`. */
fv_status fv__file_fail(fv_status otherwise, const char *path, const char *verb);

#endif
