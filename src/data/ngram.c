/* ngram.c - hashed character n-grams of <word>: Bojanowski, Grave, Joulin, Mikolov, "Enriching word vectors with
 * subword information" (TACL 2017). The bucket of an n-gram is its 64-bit FNV-1a hash, folded to `bits`: the same on
 * every machine. */
#include "base/base.h"
#include "fovea/data.h"

#include <string.h>

const fv_option *fv_ngram_option_rows(void) {
    static const fv_option rows[] = {
        {"ngram-min", FV_OPT_INT, offsetof(fv_ngram_options, ngram_min), "3", 1, 16, "N", "shortest character n-gram"},
        {"ngram-max", FV_OPT_INT, offsetof(fv_ngram_options, ngram_max), "5", 1, 16, "N", "longest character n-gram"},
        {"ngram-bits", FV_OPT_INT, offsetof(fv_ngram_options, ngram_bits), "0", 0, 24, "N",
         "n-grams are hashed to 2^N buckets; 0 uses none"},
        {0}};
    return rows;
}

static uint64_t add_byte(uint64_t hash, unsigned char byte) { return (hash ^ byte) * 0x100000001B3u; }

static int32_t fold(uint64_t hash, int64_t bits) {
    return (int32_t)((hash ^ hash >> 32) & (((uint64_t)1 << bits) - 1));
}

/* Byte `i` of <word>. */
static unsigned char byte_at(const char *word, size_t size, size_t i) {
    return i == 0 ? '<' : i == size + 1 ? '>' : (unsigned char)word[i - 1];
}

int64_t fv_ngrams(int32_t *bucket, int64_t room, const char *word, size_t size, const fv_ngram_options *o) {
    int64_t count = 0;
    if (o->ngram_bits <= 0) return 0;
    for (size_t first = 0; first < size + 2; first++) {
        if ((byte_at(word, size, first) & 0xC0) == 0x80) continue; /* n-grams begin at characters */
        uint64_t hash = 0xCBF29CE484222325u;
        size_t at = first;
        for (int64_t n = 1; n <= o->ngram_max && at < size + 2; n++) {
            do hash = add_byte(hash, byte_at(word, size, at++));
            while (at < size + 2 && (byte_at(word, size, at) & 0xC0) == 0x80);
            if (n < o->ngram_min) continue;
            if (count < room) bucket[count] = fold(hash, o->ngram_bits);
            count++;
        }
    }
    return count;
}
