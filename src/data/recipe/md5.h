/* MD5 (RFC 1321). Only to recognise files and to split data as published recipes do: it protects nothing. */
#ifndef FV_DATA_MD5_H
#define FV_DATA_MD5_H

#include "base/base.h"

void fv__md5(uint8_t digest[16], const void *bytes, size_t count);
void fv__md5_hex(char hex[33], const void *bytes, size_t count);

/* The digest read as one big-endian number, modulo a small n. */
int fv__md5_mod(const void *bytes, size_t count, int n);

#endif
