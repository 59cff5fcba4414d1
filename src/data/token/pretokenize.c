/* pretokenize.c - normalisers and pre-tokenizers: from bytes to characters with their origin, cut into words, in
 * linear time.
 *
 * The rules are those of Hugging Face's BertNormalizer, Lowercase, BertPreTokenizer, ByteLevel (the pattern of GPT-2),
 * Whitespace and WhitespaceSplit. */
#include "data/text.h"
#include "data/token/token_contract.h"

#include <string.h>
#include <utf8proc.h>

/* Unicode's White_Space: Python's isspace without the four separators of ASCII. */
static bool is_white(int32_t c) { return fv__is_space(c) && !(c >= 0x1C && c <= 0x1F); }

/* ---- normalisers */

static fv_status emit(fv__pieces *p, int32_t code, size_t from, size_t to) {
    if (p->count == p->capacity) FV_TRY(FV_GROW(&p->chars, &p->capacity, p->count + 1));
    p->chars[p->count++] = (fv__char){code, (int32_t)from, (int32_t)to};
    return FV_OK;
}

static fv_status emit_lower(fv__pieces *p, bool lower, int32_t code, size_t from, size_t to) {
    if (lower && code == 0x130) { /* the only character whose lower case is two */
        FV_TRY(emit(p, 'i', from, to));
        return emit(p, 0x307, from, to);
    }
    return emit(p, lower ? fv__lower(code) : code, from, to);
}

/* Canonical decomposition without its non-spacing marks. */
static fv_status emit_bare(fv__pieces *p, bool lower, int32_t code, size_t from, size_t to) {
    utf8proc_int32_t part[32];
    utf8proc_ssize_t parts = utf8proc_decompose_char(code, part, 32, UTF8PROC_DECOMPOSE, NULL);
    for (utf8proc_ssize_t i = 0; i < parts && i < 32; i++)
        if (utf8proc_category(part[i]) != UTF8PROC_CATEGORY_MN) FV_TRY(emit_lower(p, lower, part[i], from, to));
    return FV_OK;
}

static fv_status emit_letters(fv__pieces *p, const fv__normaliser *n, int32_t code, size_t from, size_t to) {
    if (n->accents && code >= 0x80) return emit_bare(p, n->lower, code, from, to);
    return emit_lower(p, n->lower, code, from, to);
}

static fv_status normalise_one(fv__pieces *p, const fv__normaliser *n, int32_t code, size_t from, size_t to) {
    if (n->clean) {
        if (code == 0 || code == 0xFFFD || fv__is_control(code)) return FV_OK;
        if (is_white(code)) code = ' ';
    }
    bool alone = n->cjk && fv__is_cjk(code);
    if (alone) FV_TRY(emit(p, ' ', from, to));
    FV_TRY(emit_letters(p, n, code, from, to));
    return alone ? emit(p, ' ', from, to) : FV_OK;
}

/* ---- pre-tokenizers: each gives the first word at or behind *at and moves there; count 0 when there is none */

static size_t behind_marks(const fv__pieces *p, size_t at) {
    while (at < p->count && fv__is_mark(p->chars[at].code)) at++;
    return at;
}

/* Blanks separate and go; punctuation (when `punct`) stands alone, and so does, with its marks, a character of a script
 * without spaces (when `unspaced`). */
static fv__span next_between_blanks(const fv__pieces *p, size_t *at, bool punct, bool unspaced) {
    size_t i = *at;
    while (i < p->count && is_white(p->chars[i].code)) i++;
    size_t first = i;
    for (; i < p->count; i++) {
        int32_t c = p->chars[i].code;
        bool letter = unspaced && fv__stands_alone(c), alone = letter || (punct && fv__is_punct(c));
        if (alone && i == first) i = letter ? behind_marks(p, i + 1) : i + 1;
        if (alone || is_white(c)) break;
    }
    *at = i;
    return (fv__span){first, i - first};
}

/* \w of Rust's regex crate: Alphabetic, M, Nd, Pc, Join_Control (Unicode TR 18, annex C). */
static bool is_regex_word(int32_t c) {
    if (c < 0x80) return fv__is_letter(c) || fv__is_number(c) || c == '_';
    utf8proc_category_t k = utf8proc_category(c);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) || k == UTF8PROC_CATEGORY_PC || c == 0x200C ||
           c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

/* \w+|[^\w\s]+ */
static fv__span next_word_run(const fv__pieces *p, size_t *at) {
    size_t i = *at;
    while (i < p->count && is_white(p->chars[i].code)) i++;
    size_t first = i;
    bool word = i < p->count && is_regex_word(p->chars[i].code);
    while (i < p->count && !is_white(p->chars[i].code) && is_regex_word(p->chars[i].code) == word) i++;
    *at = i;
    return (fv__span){first, i - first};
}

typedef enum kind { LETTER, NUMBER, WHITE, OTHER } kind;

static kind kind_of(int32_t c) {
    return fv__is_letter(c) ? LETTER : fv__is_number(c) ? NUMBER : is_white(c) ? WHITE : OTHER;
}

static size_t run_end(const fv__pieces *p, size_t at) {
    kind k = kind_of(p->chars[at].code);
    while (++at < p->count && kind_of(p->chars[at].code) == k) {}
    return at;
}

/* Length of 's 't 're 've 'm 'll 'd at an apostrophe, or 0. */
static size_t contraction(const fv__pieces *p, size_t at) {
    if (p->chars[at].code != '\'' || at + 1 >= p->count) return 0;
    int32_t a = p->chars[at + 1].code, b = at + 2 < p->count ? p->chars[at + 2].code : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * A run of blanks before something else leaves its last blank: a space joins what follows, any other stands alone. */
static fv__span next_bytes(const fv__pieces *p, size_t *at) {
    size_t i = *at, end;
    if (i >= p->count) return (fv__span){i, 0};
    size_t body = i + (p->chars[i].code == ' ' && i + 1 < p->count && kind_of(p->chars[i + 1].code) != WHITE);
    end = body == i && contraction(p, i) ? i + contraction(p, i) : run_end(p, body);
    if (kind_of(p->chars[body].code) == WHITE && end < p->count && end - body > 1) end--;
    *at = end;
    return (fv__span){i, end - i};
}

fv__span fv__next_word(const fv_tokenizer *t, const fv__pieces *p, size_t *at) {
    switch (t->pre) {
    case FV_PRE_BERT: return next_between_blanks(p, at, true, t->unspaced);
    case FV_PRE_SPACES: return next_between_blanks(p, at, false, false);
    case FV_PRE_WORDS: return next_word_run(p, at);
    case FV_PRE_BYTES: return next_bytes(p, at);
    case FV_PRE_NONE: break;
    }
    fv__span all = {*at, p->count - *at};
    *at = p->count;
    return all;
}

fv_status fv__normalise(const fv_tokenizer *t, fv__pieces *p, const char *text, size_t from, size_t to) {
    size_t length;
    p->count = 0;
    FV_TRY(FV_GROW(&p->chars, &p->capacity, (to - from) + 2));
    if (t->prefix_space && to > from && text[from] != ' ') FV_TRY(emit(p, ' ', from, from));
    for (size_t at = from; at < to; at += length) {
        int32_t code = fv__utf8_next(text + at, to - at, &length, NULL);
        FV_TRY(normalise_one(p, &t->normal, code, at, at + length));
    }
    return FV_OK;
}

void fv__pieces_free(fv__pieces *p) {
    fv__free(p->chars);
    *p = (fv__pieces){0};
}
