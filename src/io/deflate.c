/* zlib streams and base64, for the page that carries its data inside. */
#include "io/pack.h"

#include <limits.h>
#include <zlib.h>

/* zlib's memory comes through our door. */
static voidpf allocate(voidpf context, uInt items, uInt size) {
    (void)context;
    return fv__alloc_array(items, size);
}

static void give(voidpf context, voidpf pointer) {
    (void)context;
    fv__free(pointer);
}

/* zlib counts in 32 bits; larger inputs go in pieces. */
static void feed(z_stream *z, const unsigned char **bytes, size_t *left) {
    if (z->avail_in || !*left) return;
    uInt piece = *left < UINT_MAX ? (uInt)*left : UINT_MAX;
    z->next_in = (unsigned char *)*bytes;
    z->avail_in = piece;
    *bytes += piece;
    *left -= piece;
}

fv_status fv__deflate(fv__buf *out, const void *bytes, size_t size, int level) {
    z_stream z = {.zalloc = allocate, .zfree = give};
    if (deflateInit(&z, level) != Z_OK) return fv__fail(FV_NO_RESOURCES, "out of memory: deflate");
    const unsigned char *from = bytes;
    unsigned char piece[16384];
    int result = Z_OK;
    while (result == Z_OK) {
        feed(&z, &from, &size);
        z.next_out = piece;
        z.avail_out = sizeof piece;
        result = deflate(&z, size ? Z_NO_FLUSH : Z_FINISH);
        fv__buf_add(out, piece, sizeof piece - z.avail_out);
    }
    deflateEnd(&z);
    if (result != Z_STREAM_END) return fv__fail(FV_FAIL, "deflate failed (zlib code %d)", result);
    return fv__buf_status(out);
}

fv_status fv__inflate(fv__buf *out, const void *bytes, size_t size, size_t limit) {
    z_stream z = {.zalloc = allocate, .zfree = give};
    if (inflateInit(&z) != Z_OK) return fv__fail(FV_NO_RESOURCES, "out of memory: inflate");
    const unsigned char *from = bytes;
    unsigned char piece[16384];
    size_t total = 0;
    int result = Z_OK;
    while (result == Z_OK && total <= limit) {
        feed(&z, &from, &size);
        z.next_out = piece;
        z.avail_out = sizeof piece;
        result = inflate(&z, Z_NO_FLUSH);
        total += sizeof piece - z.avail_out;
        if (total <= limit) fv__buf_add(out, piece, sizeof piece - z.avail_out);
    }
    inflateEnd(&z);
    if (result == Z_MEM_ERROR) return fv__fail(FV_NO_RESOURCES, "out of memory: inflate");
    if (total > limit)
        return fv__fail(FV_BAD_DATA, "a compressed text\n  expected at most %zu bytes\n  found:   more", limit);
    if (result != Z_STREAM_END)
        return fv__fail(FV_BAD_DATA, "a compressed text\n  expected its end\n  found:   a damaged or shortened one");
    return fv__buf_status(out);
}

fv_status fv__base64(fv__buf *out, const void *bytes, size_t size) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = bytes;
    char text[1024];
    size_t used = 0;
    for (size_t i = 0; i < size; i += 3) {
        size_t n = size - i < 3 ? size - i : 3;
        unsigned w = (unsigned)p[i] << 16 | (n > 1 ? (unsigned)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0u);
        text[used++] = letters[w >> 18];
        text[used++] = letters[w >> 12 & 63];
        text[used++] = n > 1 ? letters[w >> 6 & 63] : '=';
        text[used++] = n > 2 ? letters[w & 63] : '=';
        if (used < sizeof text) continue;
        fv__buf_add(out, text, used);
        used = 0;
    }
    fv__buf_add(out, text, used);
    return fv__buf_status(out);
}
