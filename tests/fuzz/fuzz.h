/* What the fuzz targets share. A target is LLVMFuzzerTestOneInput: it gives the bytes to one reader of the library and
 * uses what comes out. Whatever the bytes are, it must return: no crash, no leak, no memory or time that does not grow
 * with them. A status and a message are all a reader may answer bad bytes with. */
#ifndef FV_TEST_FUZZ_H
#define FV_TEST_FUZZ_H

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Refused input has a message; anything else is a fault of ours. */
static inline bool fuzz_done(fv_status status) {
    if (status != FV_OK && !*fv_message()) abort();
    return status == FV_OK;
}

/* The bytes as a file that only this process has. The name is good until the next call with the same slot. */
static inline const char *fuzz_file(int slot, const void *bytes, size_t size) {
    static int file[4] = {-1, -1, -1, -1};
    static char name[4][32];
    if (file[slot] < 0) file[slot] = memfd_create("fuzz", 0);
    snprintf(name[slot], sizeof name[slot], "/proc/self/fd/%d", file[slot]);
    if (file[slot] < 0 || ftruncate(file[slot], 0) || pwrite(file[slot], bytes, size, 0) != (ssize_t)size) abort();
    return name[slot];
}

/* A file in a folder of this process, under /tmp. */
static inline const char *fuzz_folder(void) {
    static char folder[32];
    if (!*folder && (strcpy(folder, "/tmp/fovea-fuzz-XXXXXX"), !mkdtemp(folder))) abort();
    return folder;
}

static inline void fuzz_put(const char *name, const void *bytes, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) abort();
}

/* The input cut at its first NUL bytes into at most `most` texts that end in NUL. Freed with fv__free of parts[0]. */
static inline size_t fuzz_cut(char **parts, size_t most, const uint8_t *bytes, size_t size) {
    char *text = fv__alloc(size + 1);
    size_t count = 0;
    if (!text) abort();
    if (size) memcpy(text, bytes, size);
    for (char *at = text; count < most; at += strlen(at) + 1) {
        parts[count++] = at;
        if (at + strlen(at) >= text + size) break;
    }
    return count;
}

#endif
