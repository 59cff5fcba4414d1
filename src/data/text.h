/* text: the little Unicode that data needs, on utf8proc's tables.
 *
 * "Word" and "space" mean what Python's \w and \s mean on str, because published data recipes are written with them:
 * \w is the categories L* and N* and the underscore; \s is a fixed list. Invalid bytes are seen as U+FFFD, one for each
 * maximal part of a sequence (Unicode standard, section 3.9), as every common decoder replaces them.
 */
#ifndef FV_DATA_TEXT_H
#define FV_DATA_TEXT_H

#include "base/base.h"

/* The code point at the start of text (size > 0) and its length in bytes; U+FFFD for an invalid sequence, in which case
 * *valid (may be NULL) becomes false. */
int32_t fv__utf8_next(const char *text, size_t size, size_t *length, bool *valid);

/* Writes 1 to 4 bytes, returns how many. */
size_t fv__utf8_put(char out[4], int32_t code);

/* Appends the text with every invalid sequence replaced by U+FFFD. */
void fv__text_repair(fv__buf *out, const char *text, size_t size);

bool fv__is_space(int32_t code);
bool fv__is_word(int32_t code);    /* letter, number of any kind, underscore */
bool fv__is_letter(int32_t code);  /* L* */
bool fv__is_number(int32_t code);  /* N* */
bool fv__is_mark(int32_t code);    /* M* */
bool fv__is_punct(int32_t code);   /* ASCII punctuation and symbols, P* */
bool fv__is_control(int32_t code); /* Cc Cf Co Cs except tab, newline, carriage return */
bool fv__is_cjk(int32_t code);     /* ideographs that BERT puts spaces around */
/* A character of a script that is written without spaces between words (Han, kana, Thai, Lao, Khmer, Burmese ...), or a
 * pictograph: such a character, with the marks behind it, is a token of its own. */
bool fv__stands_alone(int32_t code);
/* May one such character be a word? Those that stand alone, and syllables of Hangul and Tibetan. */
bool fv__is_one_letter_word(int32_t code);
int32_t fv__lower(int32_t code); /* simple mapping */

/* str.lower(): full mapping (dotted capital I, final sigma). Appends. */
void fv__text_lower(fv__buf *out, const char *text, size_t size);

/* re.sub(r'\s+', ' ', text).strip() and re.sub(r'\W+', ' ', text).strip(). Append. */
void fv__text_one_line(fv__buf *out, const char *text, size_t size);
void fv__text_words(fv__buf *out, const char *text, size_t size);

/* len(text.split()) */
int64_t fv__text_count_words(const char *text, size_t size);

/* text.strip(): moves the start, returns the new size. */
size_t fv__text_strip(const char **text, size_t size);

#endif
