/* text.c - decoding, classes of characters, and the four text normalisations of data recipes. See text.h. */
#include "data/text.h"

#include <string.h>
#include <utf8proc.h>

/* Length of the sequence a lead byte opens and the range of its second byte (Unicode standard, table 3-7). */
static int lead(unsigned char byte, unsigned char *low, unsigned char *high) {
    *low = 0x80;
    *high = 0xBF;
    if (byte >= 0xC2 && byte <= 0xDF) return 2;
    if (byte >= 0xE0 && byte <= 0xEF) {
        if (byte == 0xE0) *low = 0xA0;
        if (byte == 0xED) *high = 0x9F;
        return 3;
    }
    if (byte >= 0xF0 && byte <= 0xF4) {
        if (byte == 0xF0) *low = 0x90;
        if (byte == 0xF4) *high = 0x8F;
        return 4;
    }
    return 0;
}

int32_t fv__utf8_next(const char *text, size_t size, size_t *length, bool *valid) {
    const unsigned char *s = (const unsigned char *)text;
    *length = 1;
    if (s[0] < 0x80) return s[0];
    unsigned char low, high;
    int want = lead(s[0], &low, &high), have = 1;
    int32_t code = want == 2 ? s[0] & 0x1F : want == 3 ? s[0] & 0x0F : s[0] & 0x07;
    while (have < want && (size_t)have < size && s[have] >= low && s[have] <= high) {
        code = code << 6 | (s[have++] & 0x3F);
        low = 0x80;
        high = 0xBF;
    }
    *length = (size_t)have;
    if (want && have == want) return code;
    if (valid) *valid = false;
    return 0xFFFD;
}

size_t fv__utf8_put(char out[4], int32_t code) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    return (size_t)utf8proc_encode_char(code, (utf8proc_uint8_t *)out);
}

void fv__text_repair(fv__buf *out, const char *text, size_t size) {
    size_t length;
    for (size_t at = 0; at < size; at += length) {
        char bytes[4];
        fv__buf_add(out, bytes, fv__utf8_put(bytes, fv__utf8_next(text + at, size - at, &length, NULL)));
    }
}

static inline utf8proc_category_t category(int32_t code) { return utf8proc_category(code); }

bool fv__is_space(int32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

bool fv__is_letter(int32_t c) {
    if (c < 0x80) return (c | 32) >= 'a' && (c | 32) <= 'z';
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool fv__is_number(int32_t c) {
    if (c < 0x80) return c >= '0' && c <= '9';
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO;
}

bool fv__is_mark(int32_t c) {
    if (c < 0x300) return false;
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_MN && k <= UTF8PROC_CATEGORY_ME;
}

bool fv__is_word(int32_t c) { return c == '_' || fv__is_letter(c) || fv__is_number(c); }

bool fv__is_punct(int32_t c) {
    if (c < 0x80) return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

bool fv__is_control(int32_t c) {
    if (c < 0x80) return (c < 32 && c != '\t' && c != '\n' && c != '\r') || c == 127;
    utf8proc_category_t k = category(c); /* Cn is no control: a character may be newer than the tables */
    return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO ||
           k == UTF8PROC_CATEGORY_CS;
}

static bool in_blocks(const int32_t block[][2], size_t blocks, int32_t c) {
    for (size_t i = 0; i < blocks; i++)
        if (c >= block[i][0] && c <= block[i][1]) return true;
    return false;
}

/* The blocks of CJK unified ideographs that BERT's tokenizer separates. */
bool fv__is_cjk(int32_t c) {
    static const int32_t block[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                                       {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
    return c >= 0x3400 && in_blocks(block, sizeof block / sizeof *block, c);
}

bool fv__stands_alone(int32_t c) {
    static const int32_t block[][2] = {
#define FV__BLOCK(first, last) {0x##first, 0x##last},
#include "data/unspaced.def"
#undef FV__BLOCK
    };
    return c >= 0xE00 && in_blocks(block, sizeof block / sizeof *block, c);
}

bool fv__is_one_letter_word(int32_t c) {
    return fv__stands_alone(c) || (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xF00 && c <= 0xFFF && fv__is_letter(c));
}

int32_t fv__lower(int32_t c) {
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return utf8proc_tolower(c);
}

static bool cased(int32_t c) {
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

static bool case_ignorable(int32_t c) {
    utf8proc_category_t k = category(c);
    return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2019 || k == UTF8PROC_CATEGORY_MN ||
           k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_LM ||
           k == UTF8PROC_CATEGORY_SK;
}

static bool cased_follows(const char *text, size_t size) {
    for (size_t at = 0, length; at < size; at += length) {
        int32_t c = fv__utf8_next(text + at, size - at, &length, NULL);
        if (!case_ignorable(c)) return cased(c);
    }
    return false;
}

void fv__text_lower(fv__buf *out, const char *text, size_t size) {
    bool after_cased = false;
    size_t length;
    for (size_t at = 0; at < size; at += length) {
        int32_t c = fv__utf8_next(text + at, size - at, &length, NULL), low = fv__lower(c);
        char bytes[4];
        if (c == 0x3A3 && after_cased && !cased_follows(text + at + length, size - at - length)) low = 0x3C2;
        if (c == 0x130)
            fv__buf_text(out, "i\xCC\x87");
        else
            fv__buf_add(out, bytes, fv__utf8_put(bytes, low));
        if (!case_ignorable(c)) after_cased = cased(c);
    }
}

static bool not_word(int32_t c) { return !fv__is_word(c); }

/* Runs of characters of the class become one space between the rest; none at the ends. */
static void squeeze(fv__buf *out, const char *text, size_t size, bool gap(int32_t)) {
    size_t from = out->size, length;
    bool space = false;
    for (size_t at = 0; at < size; at += length) {
        int32_t c = fv__utf8_next(text + at, size - at, &length, NULL);
        if (gap(c)) {
            space = true;
            continue;
        }
        if (space && out->size > from) fv__buf_add(out, " ", 1);
        space = false;
        fv__buf_add(out, text + at, length);
    }
}

void fv__text_one_line(fv__buf *out, const char *text, size_t size) { squeeze(out, text, size, fv__is_space); }
void fv__text_words(fv__buf *out, const char *text, size_t size) { squeeze(out, text, size, not_word); }

int64_t fv__text_count_words(const char *text, size_t size) {
    int64_t words = 0;
    bool inside = false;
    size_t length;
    for (size_t at = 0; at < size; at += length) {
        bool space = fv__is_space(fv__utf8_next(text + at, size - at, &length, NULL));
        words += !space && !inside;
        inside = !space;
    }
    return words;
}

size_t fv__text_strip(const char **text, size_t size) {
    size_t first = size, end = 0, length;
    for (size_t at = 0; at < size; at += length) {
        if (fv__is_space(fv__utf8_next(*text + at, size - at, &length, NULL))) continue;
        if (first == size) first = at;
        end = at + length;
    }
    *text += first;
    return end > first ? end - first : 0;
}
