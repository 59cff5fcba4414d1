/* A folder of its own for each test program, and small files in it. */
#ifndef FV_TEST_SCRATCH_H
#define FV_TEST_SCRATCH_H

#include "base/base.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch_folder[64];

static inline int scratch_make(void **state) {
    (void)state;
    strcpy(scratch_folder, "/tmp/fovea-test-XXXXXX");
    return mkdtemp(scratch_folder) ? 0 : -1;
}

static inline int scratch_remove(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", scratch_folder);
    return system(command);
}

/* "FOLDER/name"; four names can be in use at once. */
static inline const char *scratch_path(const char *name) {
    static char paths[4][512];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scratch_folder, name);
    return path;
}

static inline const char *scratch_file(const char *name, const void *bytes, size_t size) {
    const char *path = scratch_path(name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f)) abort();
    return path;
}

/* Files in the folder; leftovers of a failed writer would show here. */
static inline int scratch_count(void) {
    int count = 0;
    DIR *folder = opendir(scratch_folder);
    for (struct dirent *e; (e = readdir(folder));) count += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(folder);
    return count;
}

/* Does the file hold exactly these bytes? */
static inline bool scratch_holds(const char *path, const void *bytes, size_t size) {
    fv__file file;
    if (fv__file_read(&file, path) != FV_OK) return false;
    bool same = file.size == size && !memcmp(file.data, bytes, size);
    fv__file_free(&file);
    return same;
}

#endif
