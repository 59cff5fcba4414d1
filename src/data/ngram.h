/* Hashed n-grams of characters that are tokens of their own (fv__stands_alone). */
#ifndef FV_DATA_NGRAM_H
#define FV_DATA_NGRAM_H

#include "fovea/data.h"

/* Bytes at the start of text that n-grams of its first character can reach: characters that stand alone, with their
 * marks; 0 when the first does not. */
size_t fv__unspaced_run(const char *text, size_t size, const fv_ngram_options *options);
/* Buckets of the n-grams that begin at the first character of such a run. Writes at most `room`, returns how many. */
int64_t fv__ngrams_unspaced(int32_t *bucket, int64_t room, const char *run, size_t size,
                            const fv_ngram_options *options);

#endif
