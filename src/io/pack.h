/* Packing bytes: deflate (zlib), base64 and PNG, into a growing buffer. */
#ifndef FV_IO_PACK_H
#define FV_IO_PACK_H

#include "base/base.h"

/* A zlib stream (RFC 1950), level 0..9: what a browser's DecompressionStream("deflate") reads. */
fv_status fv__deflate(fv__buf *out, const void *bytes, size_t size, int level);
/* Back again; more than `limit` bytes, or a stream that is damaged or cut, is FV_BAD_DATA. */
fv_status fv__inflate(fv__buf *out, const void *bytes, size_t size, size_t limit);
/* RFC 4648, with padding, without line breaks. */
fv_status fv__base64(fv__buf *out, const void *bytes, size_t size);
/* 8-bit pixels without gaps; 1 channel is grey, 3 RGB, 4 RGBA. */
fv_status fv__png_encode(fv__buf *out, const unsigned char *pixels, int64_t width, int64_t height, int channels);

#endif
