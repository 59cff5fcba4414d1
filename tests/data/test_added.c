/* Added tokens: found as a plain search would find them, and as quickly when a file brings very many. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fovea/data.h"
#include "support/scratch.h"

#include <time.h>

enum { MOST = 60 };
typedef struct added {
    char content[16];
    bool single, lstrip, rstrip;
} added;

static fv_tokenizer *tokenizer_of(const added *list, int count) {
    fv__buf json = {0};
    fv_tokenizer *t;
    fv__buf_text(&json, "{\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"added_tokens\":[");
    for (int i = 0; i < count; i++)
        fv__buf_printf(&json, "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":%s}", i ? "," : "", i + 1,
                       list[i].content, list[i].single ? "true" : "false");
    fv__buf_text(&json, "],\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"[UNK]\":0},\"unk_token\":\"[UNK]\"}}");
    assert_int_equal(fv__write_file(scratch_path("t.json"), json.data, json.size), FV_OK);
    if (fv_tokenizer_load(&t, scratch_path("t.json")) != FV_OK) fail_msg("%s", fv_message());
    fv__buf_free(&json);
    return t;
}

static bool is_word(char c) { return c >= 'a' && c <= 'z'; }

/* The longest that fits at `at`, the first of equal ones; -1: none. */
static int plain_search(const added *list, int count, const char *text, size_t at) {
    int best = -1;
    size_t size = strlen(text);
    for (int i = 0; i < count; i++) {
        size_t n = strlen(list[i].content);
        bool fits = at + n <= size && memcmp(text + at, list[i].content, n) == 0;
        if (list[i].single) fits &= !(at > 0 && is_word(text[at - 1])) && !(at + n < size && is_word(text[at + n]));
        if (fits && (best < 0 || n > strlen(list[best].content))) best = i;
    }
    return best;
}

static bool is_listed(const added *list, int count, const char *content) {
    for (int i = 0; i < count; i++)
        if (strcmp(list[i].content, content) == 0) return true;
    return false;
}

static void letters(char *text, size_t most, uint64_t seed, uint64_t at) {
    size_t n = 1 + (size_t)fv__random_below(seed, 1, at, (int64_t)most);
    for (size_t i = 0; i < n; i++) text[i] = "ab.<"[fv__random_below(seed, 2, at * 64 + i, 4)];
    text[n] = 0;
}

static void found_as_by_a_plain_search(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        added list[MOST];
        int count = 0, wanted = 1 + (int)fv__random_below(seed, 3, 0, MOST);
        for (int i = 0; i < wanted; i++) {
            added one = {.single = fv__random_below(seed, 4, (uint64_t)i, 3) == 0};
            letters(one.content, 1 + (size_t)fv__random_below(seed, 5, (uint64_t)i, 6), seed, (uint64_t)i);
            if (!is_listed(list, count, one.content)) list[count++] = one;
        }
        fv_tokenizer *t = tokenizer_of(list, count);
        for (uint64_t k = 0; k < 20; k++) {
            char text[64];
            fv_tokens tokens = {0};
            letters(text, 40, seed + 1000, k);
            assert_int_equal(fv_tokenizer_encode(t, &tokens, text, strlen(text)), FV_OK);
            int64_t next = 0;
            for (size_t at = 0; at < strlen(text);) {
                int found = plain_search(list, count, text, at);
                while (next < tokens.count && tokens.start[next] < (int32_t)at) next++; /* what lies between */
                if (found >= 0) {
                    assert_true(next < tokens.count);
                    assert_int_equal(tokens.id[next], found + 1);
                    assert_int_equal(tokens.start[next], at);
                    next++;
                    at += strlen(list[found].content);
                } else
                    at++;
            }
            fv_tokens_free(&tokens);
        }
        fv_tokenizer_free(t);
    }
}

static void very_many_cost_little(void **state) {
    (void)state;
    enum { COUNT = 40000 };
    added *list = fv__alloc_array(COUNT, sizeof *list);
    fv__buf text = {0};
    for (int i = 0; i < COUNT; i++) snprintf(list[i].content, sizeof list[i].content, "a%d.", i);
    clock_t start = clock();
    fv_tokenizer *t = tokenizer_of(list, COUNT);
    fv_tokens tokens = {0};
    char *decoded;
    for (int i = 0; i < COUNT; i++) fv__buf_printf(&text, "a%d. aaaa ", i);
    assert_int_equal(fv_tokenizer_encode(t, &tokens, text.data, text.size), FV_OK);
    assert_int_equal(tokens.count, 2 * COUNT);
    assert_int_equal(fv_tokenizer_decode(t, &decoded, tokens.id, tokens.count), FV_OK);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 3); /* minutes by a plain search */
    fv_text_free(decoded);
    fv_tokens_free(&tokens);
    fv_tokenizer_free(t);
    fv__buf_free(&text);
    fv__free(list);
}

static void long_ones_are_refused(void **state) {
    (void)state;
    fv__buf json = {0};
    fv_tokenizer *t;
    fv__buf_text(&json, "{\"added_tokens\":[{\"id\":1,\"content\":\"");
    for (int i = 0; i < 257; i++) fv__buf_text(&json, "x");
    fv__buf_text(&json, "\"}],\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"[UNK]\":0},\"unk_token\":\"[UNK]\"}}");
    assert_int_equal(fv__write_file(scratch_path("t.json"), json.data, json.size), FV_OK);
    assert_int_equal(fv_tokenizer_load(&t, scratch_path("t.json")), FV_BAD_MODEL);
    assert_non_null(strstr(fv_message(), "expected at most 256 bytes\n  found:   257"));
    fv__buf_free(&json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_as_by_a_plain_search),
        cmocka_unit_test(very_many_cost_little),
        cmocka_unit_test(long_ones_are_refused),
    };
    return cmocka_run_group_tests_name("added tokens", tests, scratch_make, scratch_remove);
}
