/* apt: Debian's indexes through apt-get with its own state folder, so that no root is needed and nothing of the
 * machine's own package state is read or changed. */
#ifndef FV_DATA_APT_H
#define FV_DATA_APT_H

#include "base/base.h"

typedef struct fv__apt {
    const char *codename;       /* release of Debian: "bookworm" */
    char *state, *config, *log; /* folder, and two files in it */
} fv__apt;

/* Makes FOLDER/.apt and brings its indexes up to date. The machine's own package sources are used when they hold this
 * release, otherwise deb.debian.org. FV_BAD_DATA: no apt here; FV_FAIL: the network or the archive did not answer. */
fv_status fv__apt_open(fv__apt *apt, const char *folder, const char *codename);

/* Paths of the present indexes of component main: kind "Packages" or "Translations" (English); one a line. */
fv_status fv__apt_indexes(const fv__apt *apt, const char *kind, fv__buf *paths);

/* Contents of one index, decompressed; bytes that are not UTF-8 replaced by U+FFFD. */
fv_status fv__apt_read(const fv__apt *apt, const char *path, fv__buf *text);

void fv__apt_close(fv__apt *apt); /* frees; the folder stays, so that the next time is quicker */

#endif
