/* ngram.c - hashed character n-grams of <word>: Bojanowski, Grave, Joulin, Mikolov, "Enriching word vectors with
 * subword information" (TACL 2017). The bucket of an n-gram is its 64-bit FNV-1a hash, folded to `bits`: the same on
 * every machine.
 *
 * In scripts without spaces a character is a token and its n-grams run on into the characters behind it. There one
 * character says about as much as two letters, and is counted as two: 3 to 5 letters are 2 to 3 characters. */
#include "data/ngram.h"
#include "data/text.h"

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

/* The end of the character at `at`, with the marks behind it. */
static size_t behind_character(const char *run, size_t size, size_t at) {
    size_t length;
    (void)fv__utf8_next(run + at, size - at, &length, NULL);
    for (at += length; at < size; at += length)
        if (!fv__is_mark(fv__utf8_next(run + at, size - at, &length, NULL))) break;
    return at;
}

int64_t fv__ngrams_unspaced(int32_t *bucket, int64_t room, const char *run, size_t size, const fv_ngram_options *o) {
    int64_t count = 0;
    uint64_t hash = 0xCBF29CE484222325u;
    if (o->ngram_bits <= 0) return 0;
    for (size_t at = 0, end, n = 1; at < size && 2 * (int64_t)n <= o->ngram_max + 1; n++) {
        for (end = behind_character(run, size, at); at < end; at++) hash = add_byte(hash, (unsigned char)run[at]);
        if (2 * (int64_t)n < o->ngram_min) continue;
        if (count < room) bucket[count] = fold(hash, o->ngram_bits);
        count++;
    }
    return count;
}

size_t fv__unspaced_run(const char *text, size_t size, const fv_ngram_options *o) {
    size_t at = 0, length;
    for (int64_t n = 1; at < size && 2 * n <= o->ngram_max + 1; n++) {
        if (!fv__stands_alone(fv__utf8_next(text + at, size - at, &length, NULL))) break;
        at = behind_character(text, size, at);
    }
    return at;
}
