/* Tokenizers: known cuts, offsets, training, files, long inputs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>

#include "fovea/data.h"
#include "support/scratch.h"

/* ---- help */

typedef struct list {
    const char *text[64];
    size_t size[64];
    int64_t count;
} list;

static fv_texts texts_of(list *l) {
    for (int64_t i = 0; i < l->count; i++) l->size[i] = strlen(l->text[i]);
    return (fv_texts){l->count, l->text, l->size};
}

static fv_tokenizer *train(const char *kind, int64_t vocab_size, bool lowercase, list *l) {
    fv_tokenizer_options o;
    fv_tokenizer *t;
    fv_options_init(fv_tokenizer_option_rows(), &o);
    o.tokenizer = kind;
    o.vocab_size = vocab_size;
    o.lowercase = lowercase;
    o.min_count = 1;
    if (fv_tokenizer_train(&t, texts_of(l), &o) != FV_OK) fail_msg("%s", fv_message());
    return t;
}

/* "token@start-end token@..." */
static void print_tokens(const fv_tokenizer *t, const fv_tokens *k, char *out, size_t room) {
    size_t used = 0;
    *out = 0;
    for (int64_t i = 0; i < k->count; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%s@%d-%d", i ? " " : "", fv_tokenizer_token(t, k->id[i]),
                                 k->start[i], k->end[i]);
}

static void check_tokens(const fv_tokenizer *t, const char *text, const char *expected) {
    fv_tokens k = {0};
    char found[4096];
    assert_int_equal(fv_tokenizer_encode(t, &k, text, strlen(text)), FV_OK);
    print_tokens(t, &k, found, sizeof found);
    assert_string_equal(found, expected);
    fv_tokens_free(&k);
}

static fv_tokenizer *load(const char *json) {
    fv_tokenizer *t;
    const char *path = scratch_file("t.json", json, strlen(json));
    if (fv_tokenizer_load(&t, path) != FV_OK) fail_msg("%s", fv_message());
    return t;
}

/* ---- words */

static void test_words(void **state) {
    (void)state;
    list l = {{"the cat, the dog! Caf\xC3\xA9 na\xC3\xAF"
               "ve \xE4\xB8\xAD\xE6\x96\x87 x2 i\xCC\x87"},
              {0},
              1};
    fv_tokenizer *t = train("word", 0, true, &l);
    assert_string_equal(fv_tokenizer_kind(t), "word");
    fv_special s = fv_tokenizer_special(t);
    assert_int_equal(s.pad, 0);
    assert_int_equal(s.unk, 1);
    assert_int_equal(s.cls, 2);
    assert_string_equal(fv_tokenizer_token(t, 3), "the"); /* the most frequent word comes first */
    assert_null(fv_tokenizer_token(t, fv_tokenizer_size(t)));
    assert_int_equal(fv_tokenizer_id(t, "dog") >= 0, 1);
    assert_int_equal(fv_tokenizer_id(t, "Dog"), -1);
    check_tokens(t, "The CAT,cat", "the@0-3 cat@4-7 ,@7-8 cat@8-11");
    check_tokens(t, " CAF\xC3\x89  \xE4\xB8\xAD\xE6\x96\x87!",
                 "caf\xC3\xA9@1-6 \xE4\xB8\xAD@8-11 \xE6\x96\x87@11-14 !@14-15");
    check_tokens(t, "bird x2", "[UNK]@0-4 x2@5-7");
    check_tokens(t, "\xC4\xB0", "i\xCC\x87@0-2"); /* dotted capital I becomes two characters */
    check_tokens(t, "", "");
    check_tokens(t, " \t\n", "");
    fv_tokenizer_free(t);
    t = train("word", 5, false, &l);
    assert_int_equal(fv_tokenizer_size(t), 5);
    fv_tokenizer_free(t);
}

/* In scripts without spaces a character, with its marks, is a word; so is a pictograph. Digits stay together. */
static void test_scripts_without_spaces(void **state) {
    (void)state;
    list l = {{"\u3059\u3050\u30AB\u30FC\u30C9x2 \u4E2D\U00030EDE \u0E19\u0E49\u0E33\u0E51\u0E52",
               "ok\U0001F600\u2764\uFE0F \u1000\u1031\u102C \u0E81\u0EB4\u0E99 \u1781\u17D2\u1798 \uB098\uB294"},
              {0},
              2};
    fv_tokenizer *t = train("word", 0, true, &l);
    check_tokens(t, "\u3059\u3050\u30AB\u30FC\u30C9x2",
                 "\u3059@0-3 \u3050@3-6 \u30AB@6-9 \u30FC@9-12 \u30C9@12-15 x2@15-17");
    check_tokens(t, "\u4E2D\U00030EDE", "\u4E2D@0-3 \U00030EDE@3-7"); /* ideographs of later blocks as well */
    check_tokens(t, "\u0E19\u0E49\u0E33\u0E51\u0E52", "\u0E19\u0E49@0-6 \u0E33@6-9 \u0E51\u0E52@9-15");
    check_tokens(t, "ok\U0001F600\u2764\uFE0F", "ok@0-2 \U0001F600@2-6 \u2764\uFE0F@6-12");
    check_tokens(t, "\u1000\u1031\u102C", "\u1000\u1031\u102C@0-9"); /* the vowels of Burmese are marks */
    check_tokens(t, "\u0E81\u0EB4\u0E99", "\u0E81\u0EB4@0-6 \u0E99@6-9");
    check_tokens(t, "\u1781\u17D2\u1798", "\u1781\u17D2@0-6 \u1798@6-9");
    check_tokens(t, "\uB098\uB294", "\uB098\uB294@0-6"); /* Korean has spaces */
    fv_tokenizer_free(t);
}

/* Characters that are newer than the Unicode tables here are letters like any others: known or [UNK], never gone. */
static void test_characters_of_later_versions(void **state) {
    (void)state;
    static const char *const files[] = {
        "{\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
        "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{\"[UNK]\":0,\"great\":1}}}",
        "{\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
        "\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"[UNK]\",\"vocab\":{\"[UNK]\":0,\"great\":1}}}"};
    for (int i = 0; i < 2; i++) {
        fv_tokenizer *t = load(files[i]);
        check_tokens(t, "great \xF0\x9F\xAB\xA9", "great@0-5 [UNK]@6-10");
        check_tokens(t, "\xF1\x90\x80\x80 great", "[UNK]@0-4 great@5-10"); /* U+50000 */
        check_tokens(t, "great\xCD\xB8", "[UNK]@0-7");                     /* U+0378, between letters of Greek */
        fv_tokenizer_free(t);
    }
    list l = {{"\xCD\xB8\xCD\xB9 great"}, {0}, 1};
    fv_tokenizer *t = train("word", 0, true, &l);
    check_tokens(t, "\xCD\xB8\xCD\xB9", "\xCD\xB8\xCD\xB9@0-4");
    fv_tokenizer_free(t);
}

static void test_ties_by_bytes(void **state) {
    (void)state;
    list l = {{"b a d c", "c c"}, {0}, 2};
    fv_tokenizer *t = train("word", 0, true, &l);
    static const char *const expected[] = {"c", "a", "b", "d"};
    for (int32_t i = 0; i < 4; i++) assert_string_equal(fv_tokenizer_token(t, 3 + i), expected[i]);
    fv_tokenizer_free(t);
}

static void test_with_words(void **state) {
    (void)state;
    list l = {{"a b"}, {0}, 1};
    const char *more[] = {"zebra", "a", "yak"};
    fv_tokenizer *t = train("word", 0, true, &l), *u, *b = train("bpe", 0, true, &l);
    assert_int_equal(fv_tokenizer_with_words(&u, t, more, 3), FV_OK);
    assert_int_equal(fv_tokenizer_size(u), fv_tokenizer_size(t) + 2);
    check_tokens(u, "Zebra a yak b", "zebra@0-5 a@6-7 yak@8-11 b@12-13");
    fv_tokenizer_free(u);
    assert_int_equal(fv_tokenizer_with_words(&u, b, more, 3), FV_USAGE);
    assert_string_equal(fv_message(), "words can only be added to a word tokenizer\n  found:   bpe");
    fv_tokenizer_free(t);
    fv_tokenizer_free(b);
}

/* ---- known files: the examples are worked out by hand from the rules */

static const char wordpiece_json[] =
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":0,\"content\":\"[PAD]\",\"special\":true,\"normalized\":false},"
    "{\"id\":2,\"content\":\"[CLS]\",\"special\":true},{\"id\":9,\"content\":\"[X]\",\"single_word\":true,\"lstrip\":"
    "true,\"rstrip\":true}],"
    "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"strip_accents\":"
    "null,\"lowercase\":true},"
    "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"post_processor\":{\"type\":\"TemplateProcessing\"},"
    "\"decoder\":null,"
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\",\"max_input_chars_"
    "per_word\":6,"
    "\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"un\":3,\"##aff\":4,\"##able\":5,\"e\":6,\"##e\":7,"
    "\"\xE4\xB8\xAD\":8,\"\xE6\xAC\x84\":10}}}";

static void test_wordpiece(void **state) {
    (void)state;
    fv_tokenizer *t = load(wordpiece_json);
    check_tokens(t, "unaff", "un@0-2 ##aff@2-5");
    check_tokens(t, "Un\xC3\xA9\xC3\xA8", "un@0-2 ##e@2-4 ##e@4-6"); /* accents go, offsets stay */
    check_tokens(t,
                 "e\xCC\x81"
                 "e",
                 "e@0-1 ##e@3-4");                  /* combining accent */
    check_tokens(t, "unaffx e", "[UNK]@0-6 e@7-8"); /* one bad piece spoils the word */
    check_tokens(t, "unaffable", "[UNK]@0-9");      /* longer than 6 characters */
    check_tokens(t,
                 "e\xE4\xB8\xAD"
                 "e",
                 "e@0-1 \xE4\xB8\xAD@1-4 e@4-5");
    check_tokens(t,
                 "e\x01\xC2\xAD"
                 "e\xEF\xBF\xBD",
                 "e@0-1 ##e@4-5");                       /* control and format characters are dropped */
    check_tokens(t, "\xEF\xA4\x9D", "\xE6\xAC\x84@0-3"); /* a compatibility ideograph is decomposed */
    check_tokens(t, "[CLS] e [X] e", "[CLS]@0-5 e@6-7 [X]@8-11 e@12-13");
    check_tokens(t, "a[X]", "[UNK]@0-1 [UNK]@1-2 [UNK]@2-3 [UNK]@3-4"); /* single_word: not inside a word */
    assert_int_equal(fv_tokenizer_special(t).cls, 2);
    fv_tokenizer_free(t);
}

static const char bpe_json[] =
    "{\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"model\":{\"type\":"
    "\"BPE\",\"unk_token\":\"?\","
    "\"vocab\":{\"?\":0,\"a\":1,\"b\":2,\"c\":3,\"\xC4\xA0\":4,\"ab\":5,\"bc\":6,\"abc\":7,\"\xC4\xA0"
    "a\":8,\"aa\":9,\"aaaa\":10,"
    "\"\xC3\x83\":11,\"\xC2\xA9\":12,\"'\":13,\"s\":14,\"\xC4\x8A\":15,\"1\":16,\"!\":17},"
    "\"merges\":[\"b c\",[\"a\",\"bc\"],\"a b\",\"\xC4\xA0 a\",\"a a\",\"aa aa\"]}}";

static void test_bpe(void **state) {
    (void)state;
    fv_tokenizer *t = load(bpe_json);
    check_tokens(t, "abc", "abc@0-3"); /* "b c" comes before "a b" */
    check_tokens(t, "abab", "ab@0-2 ab@2-4");
    check_tokens(t, "aaa", "aa@0-2 a@2-3"); /* left to right */
    check_tokens(t, "aaaaaaa", "aaaa@0-4 aa@4-6 a@6-7");
    check_tokens(t, "a a",
                 "a@0-1 \xC4\xA0"
                 "a@2-3"); /* the blank is in the token, not in its range */
    check_tokens(t, "a  a",
                 "a@0-1 \xC4\xA0@1-2 \xC4\xA0"
                 "a@3-4");
    check_tokens(t, "a\n\na", "a@0-1 \xC4\x8A@1-2 \xC4\x8A@2-3 a@3-4");
    check_tokens(t, "a's", "a@0-1 '@1-2 s@2-3");
    check_tokens(t, "a1!", "a@0-1 1@1-2 !@2-3");
    check_tokens(t, "\xC3\xA9", "\xC3\x83@0-2 \xC2\xA9@0-2"); /* a token inside a character has the range of it */
    check_tokens(t, "z", "?@0-1");
    fv_tokenizer_free(t);
}

/* Long words take another way through the merges; it must give the same. */
static void test_bpe_long_words(void **state) {
    (void)state;
    list l = {{"abab abba baab aab bba banana bandana abracadabra", "a ab abc abcd bcd cd d"}, {0}, 2};
    fv_tokenizer *t = train("bpe", 290, true, &l);
    for (uint64_t round = 0; round < 200; round++) {
        char text[400];
        fv_tokens whole = {0}, again = {0};
        size_t n = 40 + (size_t)fv__random_below(round, 1, 0, 300);
        for (size_t i = 0; i < n; i++) text[i] = "abcdnr"[fv__random_below(round, 2, i, round % 2 ? 6 : 2)];
        text[n] = 0;
        assert_int_equal(fv_tokenizer_encode(t, &whole, text, n), FV_OK);
        /* plain rule: always the lowest rank, leftmost first */
        char *back;
        assert_int_equal(fv_tokenizer_decode(t, &back, whole.id, whole.count), FV_OK);
        assert_string_equal(back + 1, text); /* behind the blank that is put in front */
        fv_text_free(back);
        for (int64_t i = 0; i + 1 < whole.count; i++) assert_int_equal(whole.end[i], whole.start[i + 1]);
        fv_tokens_free(&whole);
        fv_tokens_free(&again);
    }
    fv_tokenizer_free(t);
}

/* The same by the definition, slowly: of all neighbours that have a merge the one with the lowest rank, leftmost
 * first. */
static int64_t slow_bpe(const char *const merges[][2], int count, const char *text, char out[][64]) {
    int64_t n = 0;
    for (; text[n]; n++) out[n][0] = text[n], out[n][1] = 0;
    for (;;) {
        int best = count;
        int64_t at = -1;
        for (int64_t i = 0; i + 1 < n; i++)
            for (int m = 0; m < best; m++)
                if (!strcmp(out[i], merges[m][0]) && !strcmp(out[i + 1], merges[m][1])) best = m, at = i;
        if (at < 0) return n;
        memcpy(out[at] + strlen(out[at]), merges[best][1], strlen(merges[best][1]) + 1);
        memmove(out[at + 1], out[at + 2], (size_t)(--n - at - 1) * 64);
    }
}

static void test_bpe_against_definition(void **state) {
    (void)state;
    static const char *const merges[][2] = {{"b", "a"},   {"a", "b"},  {"a", "a"}, {"ab", "ab"}, {"aa", "b"},
                                            {"ba", "ba"}, {"ab", "b"}, {"b", "b"}, {"bb", "bb"}};
    enum { MERGES = sizeof merges / sizeof *merges };
    fv__buf json = {0};
    fv__buf_text(&json,
                 "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"model\":{\"type\":\"BPE\","
                 "\"unk_token\":\"?\","
                 "\"vocab\":{\"?\":0,\"a\":1,\"b\":2");
    for (int m = 0; m < MERGES; m++) fv__buf_printf(&json, ",\"%s%s\":%d", merges[m][0], merges[m][1], m + 3);
    fv__buf_text(&json, "},\"merges\":[");
    for (int m = 0; m < MERGES; m++) fv__buf_printf(&json, "%s\"%s %s\"", m ? "," : "", merges[m][0], merges[m][1]);
    fv__buf_text(&json, "]}}");
    fv_tokenizer *t = load(json.data);
    for (uint64_t round = 0; round < 400; round++) {
        char text[256], out[256][64];
        fv_tokens k = {0};
        size_t n = 1 + (size_t)fv__random_below(round, 1, 0, 200); /* short and long words */
        for (size_t i = 0; i < n; i++) text[i] = "ab"[fv__random_below(round, 2, i, 2)];
        text[n] = 0;
        assert_int_equal(fv_tokenizer_encode(t, &k, text, n), FV_OK);
        assert_int_equal(k.count, slow_bpe(merges, MERGES, text, out));
        for (int64_t i = 0; i < k.count; i++) assert_string_equal(fv_tokenizer_token(t, k.id[i]), out[i]);
        fv_tokens_free(&k);
    }
    fv_tokenizer_free(t);
    fv__buf_free(&json);
}

static void test_bpe_training(void **state) {
    (void)state;
    /* "hug" x10, "pug" x5, "pun" x12, "bun" x4, "hugs" x5: the merges u g, u n, h ug are known from counting:
     * ug 20, un 16, then hug 15 */
    fv__buf text = {0};
    static const struct {
        const char *word;
        int count;
    } words[] = {{"hug", 10}, {"pug", 5}, {"pun", 12}, {"bun", 4}, {"hugs", 5}};
    for (size_t w = 0; w < 5; w++)
        for (int i = 0; i < words[w].count; i++) fv__buf_printf(&text, "%s\n", words[w].word);
    list l = {{text.data}, {0}, 1};
    fv_tokenizer *t = train("bpe", 3 + 256 + 3, true, &l);
    assert_string_equal(fv_tokenizer_token(t, 259), "ug");
    assert_string_equal(fv_tokenizer_token(t, 260), "un");
    assert_string_equal(fv_tokenizer_token(t, 261), "hug");
    check_tokens(t, "\thug", "\xC4\xA0@0-0 \xC4\x89@0-1 hug@1-4"); /* a blank is put in front unless one is there */
    check_tokens(t, " hug", "\xC4\xA0@0-1 hug@1-4");
    assert_int_equal(fv_tokenizer_size(t), 262);
    fv_tokenizer_free(t);
    t = train("wordpiece", 0, true, &l);
    assert_true(fv_tokenizer_id(t, "##ug") >= 0);
    assert_true(fv_tokenizer_id(t, "hug") >= 0);
    check_tokens(t, "Hugs pun", "hugs@0-4 pun@5-8");
    check_tokens(t, "bug", "b@0-1 ##ug@1-3");
    fv_tokenizer_free(t);
    fv__buf_free(&text);
}

/* ---- any kind */

static const char *const kinds[] = {"word", "wordpiece", "bpe"};
static list sample = {{"The quick brown fox; the lazy dog.",
                       "caf\xC3\xA9 na\xC3\xAFve \xE4\xB8\xAD\xE6\x96\x87\xE5\xAD\x97 \xF0\x9F\x98\x80 e\xCC\x81",
                       "it's 2026, isn't it?  two  spaces\tand\ttabs",
                       "\"quotes\" \\back\\slash <b>&amp;</b> [CLS] [UNK]", "\u3059\u3050 \u0E19\u0E49\u0E33 \u4E2D x"},
                      {0},
                      5};

static bool same_tokens(const fv_tokens *a, const fv_tokens *b) {
    if (a->count != b->count) return false;
    for (int64_t i = 0; i < a->count; i++)
        if (a->id[i] != b->id[i] || a->start[i] != b->start[i] || a->end[i] != b->end[i] || a->word[i] != b->word[i])
            return false;
    return true;
}

static void check_offsets(const fv_tokens *k, const char *text, size_t size) {
    for (int64_t i = 0; i < k->count; i++) {
        assert_in_range(k->start[i], 0, size);
        assert_in_range(k->end[i], k->start[i], size);
        assert_true(((unsigned char)text[k->start[i]] & 0xC0) != 0x80); /* ranges begin and end at characters */
        assert_true((size_t)k->end[i] == size || ((unsigned char)text[k->end[i]] & 0xC0) != 0x80);
        if (i) assert_true(k->start[i] >= k->start[i - 1] && k->word[i] >= k->word[i - 1]);
    }
}

static void test_save_and_load(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++)
        for (int lower = 0; lower < 2; lower++) {
            fv_tokenizer *t = train(kinds[kind], kind ? 330 : 0, lower, &sample), *u,
                         *v = train(kinds[kind], kind ? 330 : 0, lower, &sample);
            const char *path = scratch_path("a.json"), *path2 = scratch_path("b.json"), *path3 = scratch_path("c.json");
            assert_int_equal(fv_tokenizer_save(t, path), FV_OK);
            if (fv_tokenizer_load(&u, path) != FV_OK) fail_msg("%s", fv_message());
            assert_int_equal(fv_tokenizer_save(u, path2), FV_OK);
            assert_int_equal(fv_tokenizer_save(v, path3), FV_OK);
            fv__file first;
            assert_int_equal(fv__file_read(&first, path), FV_OK);
            assert_true(scratch_holds(path2, first.data, first.size)); /* nothing is lost by reading */
            assert_true(scratch_holds(path3, first.data, first.size)); /* training is deterministic */
            fv__file_free(&first);
            for (int64_t i = 0; i < sample.count; i++) {
                fv_tokens a = {0}, b = {0};
                assert_int_equal(fv_tokenizer_encode(t, &a, sample.text[i], strlen(sample.text[i])), FV_OK);
                assert_int_equal(fv_tokenizer_encode(u, &b, sample.text[i], strlen(sample.text[i])), FV_OK);
                assert_true(a.count > 3);
                assert_true(same_tokens(&a, &b));
                check_offsets(&a, sample.text[i], strlen(sample.text[i]));
                fv_tokens_free(&a);
                fv_tokens_free(&b);
            }
            assert_int_equal(fv_tokenizer_special(u).unk, fv_tokenizer_special(t).unk);
            fv_tokenizer_free(t);
            fv_tokenizer_free(u);
            fv_tokenizer_free(v);
        }
}

static void check_decoded(const fv_tokenizer *t, const char *text, const char *expected) {
    fv_tokens k = {0};
    char *back;
    assert_int_equal(fv_tokenizer_encode(t, &k, text, strlen(text)), FV_OK);
    assert_int_equal(fv_tokenizer_decode(t, &back, k.id, k.count), FV_OK);
    assert_string_equal(back, expected);
    fv_text_free(back);
    fv_tokens_free(&k);
}

static void test_decode(void **state) {
    (void)state;
    fv_tokenizer *w = train("word", 0, true, &sample), *p = train("wordpiece", 200, true, &sample),
                 *b = train("bpe", 300, false, &sample);
    check_decoded(w, "The  fox;", "the fox ;");
    check_decoded(p, "The quick [CLS]", "the quick");
    check_decoded(b, " It's \xF0\x9F\x98\x80 \xE4\xB8\xAD!",
                  " It's \xF0\x9F\x98\x80 \xE4\xB8\xAD!"); /* bytes come back as they were */
    fv_tokenizer_free(w);
    fv_tokenizer_free(p);
    fv_tokenizer_free(b);
}

/* Random UTF-8 and rubbish give tokens with sane ranges. */
static void test_random_text(void **state) {
    (void)state;
    fv_tokenizer *t[3];
    for (int k = 0; k < 3; k++) t[k] = train(kinds[k], k ? 300 : 0, true, &sample);
    for (uint64_t round = 0; round < 300; round++) {
        char text[160];
        fv_tokens tokens = {0};
        for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(1 + fv__random_below(round, 3, i, 255));
        for (size_t i = 0; round % 2 && i + 4 < sizeof text; i += 5) memcpy(text + i, "\xF0\x9F\x98\x80 ", 5);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(fv_tokenizer_encode(t[k], &tokens, text, sizeof text), FV_OK);
            for (int64_t i = 0; i < tokens.count; i++) assert_in_range(tokens.end[i], tokens.start[i], sizeof text);
        }
        fv_tokens_free(&tokens);
    }
    for (int k = 0; k < 3; k++) fv_tokenizer_free(t[k]);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMIT 20.0
#else
#define LIMIT 2.0 /* seconds; one is usual on a busy machine, and anything quadratic takes days */
#endif

static void test_ten_megabytes(void **state) {
    (void)state;
    const size_t size = 10 << 20;
    char *text = malloc(size);
    assert_non_null(text);
    for (int k = 0; k < 3; k++) {
        fv_tokenizer *t = train(kinds[k], k ? 300 : 0, true, &sample);
        for (const char *c = "a! "; *c; c++) {
            fv_tokens tokens = {0};
            memset(text, *c, size);
            clock_t start = clock();
            assert_int_equal(fv_tokenizer_encode(t, &tokens, text, size), FV_OK);
            double seconds = (double)(clock() - start) / CLOCKS_PER_SEC; /* of this process: others may be busy */
            assert_int_equal(tokens.count == 0, *c == ' ' && k < 2);
            if (seconds > LIMIT) fail_msg("%s: 10 MB of '%c' took %.1f s", kinds[k], *c, seconds);
            print_message("%s: 10 MB of '%c': %.2f s\n", kinds[k], *c, seconds);
            fv_tokens_free(&tokens);
        }
        fv_tokenizer_free(t);
    }
    free(text);
}

/* ---- files that are refused */

#define PRE "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
#define BYTES "\"pre_tokenizer\":{\"type\":\"ByteLevel\"},"
static const struct {
    const char *json, *message;
} refused[] = {
    {"[]", "expected an object\n  found:   an array"},
    {"{}", "\"model\"\n  expected an object\n  found:   nothing"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}",
     "model is not supported\n  expected one of: WordLevel, BPE, WordPiece\n  found:   \"Unigram\""},
    {"{\"normalizer\":{\"type\":\"NFKC\"}}",
     "normalizer is not supported\n  expected one of: BertNormalizer, Lowercase, Sequence of one\n  found:   \"NFKC\""},
    {"{\"pre_tokenizer\":{\"type\":\"Metaspace\"}}",
     "pre_tokenizer is not supported\n"
     "  expected one of: BertPreTokenizer, ByteLevel, Whitespace, WhitespaceSplit, Sequence of one\n"
     "  found:   \"Metaspace\""},
    {"{\"post_processor\":{\"type\":\"Other\"}}",
     "post_processor is not supported\n"
     "  expected one of: TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel\n  found:   \"Other\""},
    {"{" BYTES "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}",
     "model.merges\n  expected one merge for every token that is longer than a byte\n  found:   none"},
    {"{" BYTES "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a b\"]}}",
     "model.merges[0]: \"a\" + \"b\" does not resolve\n  expected both parts and their product in model.vocab\n  "
     "found:   no product"},
    {"{" BYTES "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\",\"c b\"]}}",
     "model.merges[1]: \"c\" + \"b\" does not resolve\n  expected both parts and their product in model.vocab\n  "
     "found:   no left part"},
    {"{" BYTES "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"ab\"]}}",
     "model.merges[0]: not a merge\n  expected \"a b\" or [\"a\", \"b\"]\n  found:   a string"},
    {"{" BYTES "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}}",
     "BPE vocabulary: bytes\n  expected all 256 bytes, or an unk_token\n  found:   no token for byte 0x00"},
    {"{" BYTES "\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"a\":0}}}",
     "model.byte_fallback: not supported\n  expected null, false or \"\": byte-level BPE as in GPT-2\n"
     "  found:   true or false"},
    {"{" BYTES "\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\",\"vocab\":{\"a\":0}}}",
     "model.end_of_word_suffix: not supported\n  expected null, false or \"\": byte-level BPE as in GPT-2\n"
     "  found:   </w>"},
    {"{" PRE "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}",
     "pre_tokenizer: BPE without the ByteLevel pre-tokenizer is not supported"},
    {"{" PRE "\"model\":{\"type\":\"WordLevel\",\"vocab\":{}}}", "model.vocab\n  expected tokens\n  found:   none"},
    {"{" PRE "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0},\"unk_token\":\"[UNK]\"}}",
     "model.unk_token\n  expected a token of model.vocab\n  found:   \"[UNK]\""},
    {"{" PRE "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":-1}}}",
     "id of \"a\"\n  expected a whole number from 0\n  found:   a number out of range"},
    {"{" PRE "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":\"0\"}}}",
     "id of \"a\"\n  expected a whole number from 0\n  found:   a string"},
    {"{" PRE "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"[UNK]\":0,\"a\":0}}}",
     "vocabulary: id 0\n  expected one token\n  found:   \"[UNK]\" and \"a\""},
    {"{" PRE "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"[UNK]\":0,\"a\":2000000000}}}",
     "vocabulary: ids of 2 tokens\n  expected 0 to 1\n  found:   2000000000"},
    {"{" PRE
     "\"added_tokens\":[{\"id\":1,\"content\":\"\"}],\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"[UNK]\":0}}}",
     "added_tokens\n  expected entries with a content and an id from 0\n  found:   another"},
    {"{" PRE
     "\"added_tokens\":[{\"id\":1,\"content\":\"[UNK]\"}],\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"[UNK]\":0}}}",
     "added_tokens: \"[UNK]\" has id 1, in model.vocab 0"},
    {"{\"normalizer\":{\"type\":\"Lowercase\"}," PRE
     "\"added_tokens\":[{\"id\":1,\"content\":\"X\",\"normalized\":true}],\"model\":{\"type\":"
     "\"WordLevel\",\"vocab\":{\"[UNK]\":0}}}",
     "added_tokens: \"X\" is matched after normalising, which is not supported"},
};

static void test_refused_files(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        fv_tokenizer *t = (fv_tokenizer *)1;
        const char *path = scratch_file("bad.json", refused[i].json, strlen(refused[i].json));
        assert_int_equal(fv_tokenizer_load(&t, path), FV_BAD_MODEL);
        assert_null(t);
        const char *message = fv_message();
        if (!strncmp(message, path, strlen(path))) message += strlen(path) + 2; /* "PATH: " */
        assert_string_equal(message, refused[i].message);
    }
}

static void test_cut_files(void **state) {
    (void)state;
    for (size_t size = 0; size < sizeof bpe_json - 1; size += 7) { /* every prefix of a good file is refused */
        fv_tokenizer *t;
        assert_int_equal(fv_tokenizer_load(&t, scratch_file("cut.json", bpe_json, size)), FV_BAD_MODEL);
    }
}

static void test_no_memory(void **state) {
    (void)state;
    list plain = {{"the quick brown fox jumps over the lazy dog", "caf\xC3\xA9 \xE4\xB8\xAD\xE6\x96\x87"}, {0}, 2};
    for (int kind = 0; kind < 3; kind++) {
        bool done = false;
        for (int n = 1; n < 20000 && !done; n += n < 200 ? 1 : 37) {
            fv_tokenizer *t = NULL;
            fv_tokens tokens = {0};
            fv_tokenizer_options o;
            fv_options_init(fv_tokenizer_option_rows(), &o);
            o.tokenizer = kinds[kind];
            o.vocab_size = kind ? 280 : 0;
            fv__inject(FV_FAULT_ALLOC, n, false);
            fv_status status = fv_tokenizer_train(&t, texts_of(&plain), &o);
            if (status == FV_OK) status = fv_tokenizer_save(t, scratch_path("m.json"));
            if (status == FV_OK) status = fv_tokenizer_encode(t, &tokens, plain.text[0], strlen(plain.text[0]));
            done = status == FV_OK;
            fv__inject(FV_FAULT_ALLOC, 0, false);
            assert_true(done || status == FV_NO_RESOURCES);
            fv_tokenizer_free(t);
            fv_tokens_free(&tokens);
        }
        assert_true(done);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words),
                                       cmocka_unit_test(test_scripts_without_spaces),
                                       cmocka_unit_test(test_characters_of_later_versions),
                                       cmocka_unit_test(test_ties_by_bytes),
                                       cmocka_unit_test(test_with_words),
                                       cmocka_unit_test(test_wordpiece),
                                       cmocka_unit_test(test_bpe),
                                       cmocka_unit_test(test_bpe_long_words),
                                       cmocka_unit_test(test_bpe_against_definition),
                                       cmocka_unit_test(test_bpe_training),
                                       cmocka_unit_test(test_save_and_load),
                                       cmocka_unit_test(test_decode),
                                       cmocka_unit_test(test_random_text),
                                       cmocka_unit_test(test_ten_megabytes),
                                       cmocka_unit_test(test_refused_files),
                                       cmocka_unit_test(test_cut_files),
                                       cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
