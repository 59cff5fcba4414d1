/* A 64-bit hash that is the same on every machine: table lookups, hashed n-grams, splits by hash, checksums.
 * Every step is a bijection of the state for a fixed word and of the word for a fixed state, so a change inside one
 * word of eight bytes is always seen. The finish is the 64-bit finalizer of MurmurHash3 (Appleby). */
#include "base/base.h"

static uint64_t word_at(const unsigned char *p, size_t count) {
    uint64_t w = 0;
    for (size_t i = 0; i < count; i++) w |= (uint64_t)p[i] << (8 * i);
    return w;
}

static uint64_t step(uint64_t h, uint64_t w) {
    h ^= w * 0x9E3779B97F4A7C15u;
    h = h << 29 | h >> 35;
    return h * 0xD6E8FEB86659FD93u;
}

uint64_t fv__hash(const void *bytes, size_t count, uint64_t seed) {
    const unsigned char *p = bytes;
    uint64_t h = seed ^ ((uint64_t)count * 0xA0761D6478BD642Fu);
    size_t left = count;
    for (; left >= 8; left -= 8, p += 8) h = step(h, word_at(p, 8));
    if (left) h = step(h, word_at(p, left));
    h ^= h >> 33;
    h *= 0xFF51AFD7ED558CCDu;
    h ^= h >> 33;
    h *= 0xC4CEB9FE1A85EC53u;
    return h ^ h >> 33;
}

/* ---- SipHash-1-3 (Aumasson and Bernstein, INDOCRYPT 2012): a round a word, three at the end */

static uint64_t turn(uint64_t x, int by) { return x << by | x >> (64 - by); }

static void sip_round(uint64_t v[4]) {
    v[0] += v[1], v[2] += v[3];
    v[1] = turn(v[1], 13) ^ v[0], v[3] = turn(v[3], 16) ^ v[2];
    v[0] = turn(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = turn(v[1], 17) ^ v[2], v[3] = turn(v[3], 21) ^ v[0];
    v[2] = turn(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t fv__hash_keyed(const void *bytes, size_t count, const uint64_t secret[2]) {
    const unsigned char *p = bytes;
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575u, secret[1] ^ 0x646f72616e646f6du, secret[0] ^ 0x6c7967656e657261u,
                     secret[1] ^ 0x7465646279746573u};
    size_t left = count;
    for (; left >= 8; left -= 8, p += 8) sip_word(v, word_at(p, 8));
    sip_word(v, word_at(p, left) | (uint64_t)count << 56);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
