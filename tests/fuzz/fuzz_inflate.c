/* A zlib stream of at most 64 KiB of content; and the bytes packed and unpacked again. */
#include "fuzz/fuzz.h"

#include "io/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    fv__buf out = {0}, packed = {0}, again = {0};
    if (fuzz_done(fv__inflate(&out, bytes, size, 1 << 16)) && out.size > 1 << 16) abort();
    if (fv__deflate(&packed, bytes, size, size % 10) != FV_OK) abort();
    if (fv__inflate(&again, packed.data, packed.size, size) != FV_OK || again.size != size) abort();
    if (size && memcmp(again.data, bytes, size)) abort();
    fv__buf_free(&out);
    fv__buf_free(&packed);
    fv__buf_free(&again);
    return 0;
}
