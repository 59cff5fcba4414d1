/* Explanations: statistics and rollout against answers worked out by hand, merging of pieces, and what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "explain/explain.h"

#include <math.h>
#include <string.h>

static void near(double found, double expected) { assert_true(fabs(found - expected) < 1e-6); }

/* ---- statistics */

static void uniform_attention_has_entropy_one(void **state) {
    (void)state;
    float w[4 * 4];
    for (int i = 0; i < 16; i++) w[i] = .25f;
    fv_head_stats s;
    fv_head_statistics(&s, w, 4, 4, NULL);
    near(s.entropy, 1);
    near(s.entropy_bits, 2);
    near(s.diagonal, .25);
    near(s.first, .25);
    near(s.distance, (6 + 4 + 4 + 6) / 16.0);
}

/* A causal row is measured against the keys it can see, not against all of them. */
static void entropy_counts_visible_keys(void **state) {
    (void)state;
    float w[3 * 3] = {1, 0, 0, .5f, .5f, 0, 1 / 3.f, 1 / 3.f, 1 / 3.f};
    fv_head_stats s;
    fv_head_statistics(&s, w, 3, 3, NULL);
    near(s.entropy, 2 / 3.0);
    near(s.entropy_bits, (0 + 1 + log2(3)) / 3);
}

static void a_previous_token_head(void **state) {
    (void)state;
    float w[4 * 4] = {1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    const bool special[4] = {true, false, false, false};
    fv_head_stats s;
    fv_head_statistics(&s, w, 4, 4, special);
    near(s.previous, 1);
    near(s.next, 0);
    near(s.entropy, 0);
    near(s.diagonal, .25);
    near(s.first, .5);
    near(s.special, .5);
    near(s.distance, .75);
    near(s.max, 1);
}

/* A row that sees nothing is no row; a row that does not sum to one is scaled for its entropy. */
static void empty_and_unscaled_rows(void **state) {
    (void)state;
    float w[2 * 2] = {0, 0, 3, 3};
    fv_head_stats s;
    fv_head_statistics(&s, w, 2, 2, NULL);
    near(s.entropy, 1);
    near(s.entropy_bits, 1);
    near(s.first, 3);
    near(s.previous, 3);
}

/* ---- rollout */

static void rollout_known_answer(void **state) {
    (void)state;
    const float layers[2 * 4] = {1, 0, .5f, .5f, 1, 0, .5f, .5f};
    float r[4];
    assert_int_equal(fv_attention_rollout(r, layers, 2, 2), FV_OK);
    near(r[0], 1);
    near(r[1], 0);
    near(r[2], .4375);
    near(r[3], .5625);
}

/* Layers do not commute: the last one stands on the left. */
static void rollout_multiplies_in_order(void **state) {
    (void)state;
    const float layers[2 * 4] = {0, 1, 0, 1, 1, 0, 1, 0}; /* all look at 1, then all look at 0 */
    float r[4];
    assert_int_equal(fv_attention_rollout(r, layers, 2, 2), FV_OK);
    near(r[0], .5); /* A1~ = [[.5,.5],[0,1]], A2~ = [[1,0],[.5,.5]], R = A2~ A1~ */
    near(r[1], .5);
    near(r[2], .25);
    near(r[3], .75);
}

static void rollout_of_nothing_is_identity(void **state) {
    (void)state;
    float r[9];
    assert_int_equal(fv_attention_rollout(r, NULL, 0, 3), FV_OK);
    for (int i = 0; i < 9; i++) near(r[i], i % 4 == 0);
    assert_int_equal(fv_attention_rollout(r, NULL, -1, 3), FV_USAGE);
}

static void rollout_same_bits_for_any_threads(void **state) {
    (void)state;
    enum { N = 37, LAYERS = 3 };
    float layers[LAYERS * N * N], r[3][N * N];
    for (int row = 0; row < LAYERS * N; row++) {
        double sum = 0;
        for (int j = 0; j < N; j++)
            sum += layers[row * N + j] = (float)fv__random_uniform(1, 2, (uint64_t)(row * N + j));
        for (int j = 0; j < N; j++) layers[row * N + j] /= (float)sum;
    }
    for (int t = 0; t < 3; t++) {
        fv_set_threads(1 << t);
        assert_int_equal(fv_attention_rollout(r[t], layers, LAYERS, N), FV_OK);
        assert_memory_equal(r[t], r[0], sizeof r[0]);
    }
    fv_set_threads(0);
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int j = 0; j < N; j++) sum += r[0][i * N + j];
        assert_true(fabs(sum - 1) < 1e-5);
    }
}

/* ---- from arrays */

static fv_explanation *two_layers(void) {
    const float w[2 * 2 * 4] = {1, 0, .25f, .75f, 1, 0, .75f, .25f, 1, 0, .5f, .5f, 1, 0, .5f, .5f};
    const char *labels[2] = {"the", "cat"};
    fv_explanation *e;
    assert_int_equal(fv_explanation_of(&e, "pair", w, 2, 2, 2, 2, labels, NULL), FV_OK);
    return e;
}

static void arrays_get_means_and_rollout(void **state) {
    (void)state;
    fv_explanation *e = two_layers();
    const fv_explain_map *m = &e->map[0];
    assert_int_equal(e->sequences, 1);
    assert_string_equal(e->sequence[0].token[1].piece, "cat");
    assert_true(m->normalised && m->causal);
    assert_int_equal(m->heads, 4 + 2 + 1);
    assert_string_equal(m->head[4].id, "mean");
    assert_int_equal(m->head[5].layer, 1);
    near(m->head[4].weight[2], .5);
    near(m->head[4].weight[3], .5);
    assert_string_equal(m->head[6].id, "rollout");
    near(m->head[6].weight[2], .4375);
    near(m->head[6].weight[3], .5625);
    fv_explanation_free(e);
}

static void rectangular_maps_have_no_rollout(void **state) {
    (void)state;
    const float w[2 * 3] = {.5f, .5f, 0, 0, .5f, .5f};
    fv_explanation *e;
    assert_int_equal(fv_explanation_of(&e, "cross", w, 1, 1, 2, 3, NULL, NULL), FV_OK);
    assert_int_equal(e->sequences, 2);
    assert_int_equal(e->sequence[e->map[0].query].count, 2);
    assert_int_equal(e->sequence[e->map[0].key].count, 3);
    assert_string_equal(e->sequence[0].token[2].piece, "2");
    assert_int_equal(e->map[0].heads, 1);
    assert_false(e->map[0].causal);
    fv_explanation_free(e);
}

/* Gates and linear attention: rows that do not sum to one have no rollout either. */
static void unscaled_maps_have_no_rollout(void **state) {
    (void)state;
    const float w[4] = {.9f, .8f, .7f, .6f};
    fv_explanation *e;
    assert_int_equal(fv_explanation_of(&e, "gate", w, 1, 1, 2, 2, NULL, NULL), FV_OK);
    assert_false(e->map[0].normalised);
    assert_int_equal(e->map[0].heads, 1);
    fv_explanation_free(e);
}

static void bad_weights_are_refused(void **state) {
    (void)state;
    const float bad[3] = {NAN, INFINITY, -.1f};
    fv_explanation *e;
    for (int i = 0; i < 3; i++) {
        float w[4] = {1, 0, .5f, .5f};
        w[2] = bad[i];
        assert_int_equal(fv_explanation_of(&e, "bad", w, 1, 1, 2, 2, NULL, NULL), FV_BAD_DATA);
        assert_null(e);
        assert_non_null(strstr(fv_message(), "layer 0 head 0, query 1, key 0"));
    }
    const float w[1] = {1};
    assert_int_equal(fv_explanation_of(&e, "empty", w, 0, 1, 1, 1, NULL, NULL), FV_USAGE);
    assert_int_equal(fv_explanation_of(&e, "huge", w, 1, INT32_MAX, INT64_MAX / 2, 8, NULL, NULL), FV_USAGE);
}

/* ---- words */

static fv_explanation *pieces(void) {
    /* "go play" as [CLS] go pl ay */
    const fv_explain_token token[4] = {
        {"[CLS]", 0, 0, -1, true}, {"go", 0, 2, 0, false}, {"pl", 3, 5, 1, false}, {"##ay", 5, 7, 1, false}};
    const float w[16] = {.1f, .2f, .3f, .4f, .4f, .3f, .2f, .1f, 0, 0, .5f, .5f, .5f, .5f, 0, 0};
    const float a[4] = {.1f, .2f, .3f, .4f}, g[4] = {0, 1, -3, 1};
    fv_explanation *e;
    int map;
    assert_int_equal(fv_explanation_create(&e, "t", "m"), FV_OK);
    assert_int_equal(fv_explanation_add_class(e, "games", .7, 1), FV_OK);
    assert_int_equal(fv_explanation_add_class(e, "net", .3, 0), FV_OK);
    assert_int_equal(fv_explanation_add_sequence(e, "input", "go play", 7, token, 4, NULL), FV_OK);
    assert_int_equal(fv_explanation_add_map(e, "self", "Self-attention", 0, 0, true, false, &map), FV_OK);
    assert_int_equal(fv_explanation_add_head(e, map, 0, 0, NULL, NULL, w), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "attention", "Attention", "", 0, -1, false, a), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "g", "G", "", 0, 0, true, g), FV_OK);
    return e;
}

static void pieces_become_words(void **state) {
    (void)state;
    fv_explanation *e = pieces(), *words;
    assert_int_equal(fv_explanation_words(&words, e), FV_OK);
    const fv_explain_sequence *s = &words->sequence[0];
    assert_int_equal(s->count, 3);
    assert_true(s->token[0].special);
    assert_int_equal(s->token[2].start, 3);
    assert_int_equal(s->token[2].end, 7);
    const float expected[9] = {.1f, .2f, .7f, .4f, .3f, .3f, .25f, .25f, .5f};
    for (int i = 0; i < 9; i++) near(words->map[0].head[0].weight[i], expected[i]);
    near(words->map[0].head[0].stats.special, (.1 + .4 + .25) / 3);
    near(words->attribution[0].value[2], .7);
    near(words->attribution[1].value[2], -2);
    assert_int_equal(words->predicted, 0);
    assert_string_equal(words->class_of[1].name, "net");
    fv_explanation_free(words);
    fv_explanation_free(e);
}

/* ---- texts */

static void bad_bytes_are_replaced_and_offsets_follow(void **state) {
    (void)state;
    const fv_explain_token token[2] = {{"a", 0, 2, 0, false}, {"b", 2, 3, 1, false}};
    fv_explanation *e;
    assert_int_equal(fv_explanation_create(&e, "t\xFF", NULL), FV_OK);
    assert_string_equal(e->title, "t\xEF\xBF\xBD");
    assert_int_equal(fv_explanation_add_sequence(e, "input", "a\x80z", 3, token, 2, NULL), FV_OK);
    const fv_explain_sequence *s = &e->sequence[0];
    assert_int_equal(s->size, 5);
    assert_memory_equal(s->text, "a\xEF\xBF\xBDz", 5);
    assert_int_equal(s->token[0].end, 4);
    assert_int_equal(s->token[1].start, 4);
    assert_int_equal(s->token[1].end, 5);
    fv_explanation_free(e);
}

/* A byte-level vocabulary may cut a character in two: then the bytes are shown. */
static void half_a_character_is_shown_in_hex(void **state) {
    (void)state;
    const fv_explain_token token[2] = {{"x", 0, 1, 0, false}, {"y", 1, 2, 0, false}};
    fv_explanation *e, *words;
    assert_int_equal(fv_explanation_create(&e, "t", NULL), FV_OK);
    assert_int_equal(fv_explanation_add_sequence(e, "input", "\xC3\xBC", 2, token, 2, NULL), FV_OK);
    fv__buf label = {0};
    fv__token_caption(&label, &e->sequence[0], 1);
    assert_string_equal(label.data, "bc");
    assert_int_equal(fv_explanation_words(&words, e), FV_OK);
    label.size = 0;
    fv__token_caption(&label, &words->sequence[0], 0);
    assert_string_equal(label.data, "\xC3\xBC");
    fv__buf_free(&label);
    fv_explanation_free(words);
    fv_explanation_free(e);
}

/* What a tokenizer cuts at spaces is a clause where there are none: each token is then a word. Pieces of one character,
 * marks that follow their letter, and other scripts stay together. */
static void unspaced_scripts_have_no_long_words(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t cut[5]; /* ends of tokens, all of word 0 */
        int32_t word[5];
    } cases[] = {
        {"\xE4\xBD\xA0\xE5\xA5\xBD\xE4\xB8\x96\xE7\x95\x8C", {3, 6, 12}, {0, 1, 2}}, /* Han, a longer token last */
        {"good\xE4\xBD\xA0yes", {2, 4, 7, 10}, {0, 0, 1, 2}},                        /* Han among Latin */
        {"unhappy", {2, 7}, {0, 0}},
        {"\xE0\xB8\x81\xE0\xB8\xB4\xE0\xB8\x99", {3, 6, 9}, {0, 0, 1}}, /* Thai: the vowel sign stays */
        {"\xED\x95\x9C\xEA\xB5\xAD", {3, 6}, {0, 0}},                   /* Korean has spaces */
    };
    /* A tokenizer that cuts before marks made three words of one in Devanagari. */
    const fv_explain_token cut[3] = {{"", 0, 3, 0, false}, {"", 3, 6, 1, false}, {"", 6, 9, 2, false}};
    fv_explanation *hindi;
    assert_int_equal(fv_explanation_create(&hindi, "t", NULL), FV_OK);
    assert_int_equal(
        fv_explanation_add_sequence(hindi, "input", "\xE0\xA4\xAB\xE0\xA4\xBF\xE0\xA4\xB2", 9, cut, 3, NULL), FV_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(hindi->sequence[0].token[i].word, 0);
    fv_explanation_free(hindi);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        fv_explain_token token[5] = {{0}};
        int64_t count = 0;
        for (; count < 5 && cases[c].cut[count]; count++)
            token[count] = (fv_explain_token){"", count ? cases[c].cut[count - 1] : 0, cases[c].cut[count], 0, false};
        fv_explanation *e;
        assert_int_equal(fv_explanation_create(&e, "t", NULL), FV_OK);
        assert_int_equal(
            fv_explanation_add_sequence(e, "input", cases[c].text, strlen(cases[c].text), token, count, NULL), FV_OK);
        for (int64_t i = 0; i < count; i++) assert_int_equal(e->sequence[0].token[i].word, cases[c].word[i]);
        fv_explanation_free(e);
    }
}

/* The pieces of a character that was cut into bytes all have its range, and are one word. */
static void bytes_of_a_character_stay_together(void **state) {
    (void)state;
    const fv_explain_token token[4] = {
        {"a", 0, 3, 0, false}, {"b", 0, 3, 0, false}, {"c", 3, 6, 0, false}, {"d", 6, 7, 1, false}};
    fv_explanation *e;
    assert_int_equal(fv_explanation_create(&e, "t", NULL), FV_OK);
    assert_int_equal(fv_explanation_add_sequence(e, "input", "\xE4\xBD\xA0\xE5\xA5\xBDx", 7, token, 4, NULL), FV_OK);
    const int32_t expected[4] = {0, 0, 1, 2};
    for (int i = 0; i < 4; i++) assert_int_equal(e->sequence[0].token[i].word, expected[i]);
    fv_explanation_free(e);
}

static void offsets_outside_the_text_are_refused(void **state) {
    (void)state;
    const fv_explain_token bad[3] = {{"a", 0, 4, 0, false}, {"a", 2, 1, 0, false}, {"a", -1, 1, 0, false}};
    fv_explanation *e;
    assert_int_equal(fv_explanation_create(&e, "t", NULL), FV_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fv_explanation_add_sequence(e, "input", "abc", 3, &bad[i], 1, NULL), FV_USAGE);
    assert_int_equal(fv_explanation_add_map(e, "m", "M", 0, 0, true, false, NULL), FV_USAGE);
    assert_int_equal(fv_explanation_add_head(e, 0, 0, 0, NULL, NULL, NULL), FV_USAGE);
    assert_int_equal(fv_explanation_add_attribution(e, "a", "A", "", 3, -1, false, NULL), FV_USAGE);
    fv_explanation_free(e);
}

/* ---- names */

static void matrices_have_names(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t head;
    } cases[] = {{NULL, 5},  {"", 5},    {"mean", 5},    {"0", 4},   {"1", 5},
                 {"0:1", 1}, {"1:0", 2}, {"rollout", 6}, {"self", 5}};
    fv_explanation *e = two_layers();
    int map;
    int64_t head;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(fv_explanation_find(e, cases[i].name, &map, &head), FV_OK);
        assert_int_equal(map, 0);
        assert_int_equal(head, cases[i].head);
    }
    static const char *const missing[] = {"2", "0:2", "pool", "0:", ":1", "0:1x", "-1", "99999999999"};
    for (size_t i = 0; i < sizeof missing / sizeof *missing; i++) {
        assert_int_equal(fv_explanation_find(e, missing[i], &map, &head), FV_USAGE);
        assert_non_null(strstr(fv_message(), "0:0 0:1 1:0 1:1 0 1 rollout"));
    }
    fv_explanation_free(e);
}

static void heads_are_chosen_by_lists(void **state) {
    (void)state;
    fv__head_choice c;
    assert_int_equal(fv__head_choice_parse(&c, "0,2-3,5:1,6:2-4,*:9"), FV_OK);
    assert_true(fv__head_chosen(&c, 0, 7) && fv__head_chosen(&c, 3, 0) && fv__head_chosen(&c, 5, 1));
    assert_true(fv__head_chosen(&c, 6, 3) && fv__head_chosen(&c, 8, 9));
    assert_false(fv__head_chosen(&c, 1, 0) || fv__head_chosen(&c, 5, 2) || fv__head_chosen(&c, 6, 5));
    fv__head_choice_free(&c);
    static const char *const bad[] = {"", "a", "1,", "3-1", "1:", "1;2", "4294967296", "-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(fv__head_choice_parse(&c, bad[i]), FV_USAGE);
}

/* ---- memory */

static fv_status build_and_merge(void) {
    const float w[2 * 4] = {1, 0, .5f, .5f, 1, 0, .5f, .5f};
    fv_explanation *e, *words;
    FV_TRY(fv_explanation_of(&e, "t", w, 1, 2, 2, 2, NULL, NULL));
    fv_status status = fv_explanation_words(&words, e);
    if (status == FV_OK) fv_explanation_free(words);
    fv_explanation_free(e);
    return status;
}

/* Every allocation fails once; leaks are the sanitizer's to find. */
static void running_out_of_memory_is_reported(void **state) {
    (void)state;
    assert_int_equal(build_and_merge(), FV_OK);
    int64_t failures = 0;
    for (int64_t n = 1; n < 1000; n++) {
        fv__inject(FV_FAULT_ALLOC, n, false);
        fv_status status = build_and_merge();
        fv__inject(FV_FAULT_ALLOC, 0, false);
        if (status == FV_OK) break;
        assert_int_equal(status, FV_NO_RESOURCES);
        failures++;
    }
    assert_in_range(failures, 10, 998);
}

static void indices_outside_are_refused(void **state) {
    (void)state;
    const float weight[4] = {1, 0, .5f, .5f};
    fv_explanation *e;
    assert_int_equal(fv_explanation_of(&e, "t", weight, 1, 1, 2, 2, NULL, NULL), FV_OK);
    static const int outside[] = {-1, 1, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fv_explanation_combine(e, outside[i]), FV_USAGE);
        assert_non_null(strstr(fv_message(), "fv_explanation_combine: index of a map"));
        if (outside[i] == -1) continue; /* speaks about no class */
        assert_int_equal(fv_explanation_add_attribution(e, "a", "A", "", 0, outside[i], true, weight), FV_USAGE);
        assert_non_null(strstr(fv_message(), "index of a class"));
    }
    assert_int_equal(fv_explanation_add_attribution(e, "a", "A", "", 0, 0, true, weight), FV_USAGE);
    assert_int_equal(fv_explanation_add_class(e, "yes", 1, 0), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "a", "A", "", 0, 0, true, weight), FV_OK);
    fv_explanation_free(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_attention_has_entropy_one),
        cmocka_unit_test(entropy_counts_visible_keys),
        cmocka_unit_test(a_previous_token_head),
        cmocka_unit_test(empty_and_unscaled_rows),
        cmocka_unit_test(rollout_known_answer),
        cmocka_unit_test(rollout_multiplies_in_order),
        cmocka_unit_test(rollout_of_nothing_is_identity),
        cmocka_unit_test(rollout_same_bits_for_any_threads),
        cmocka_unit_test(arrays_get_means_and_rollout),
        cmocka_unit_test(rectangular_maps_have_no_rollout),
        cmocka_unit_test(unscaled_maps_have_no_rollout),
        cmocka_unit_test(bad_weights_are_refused),
        cmocka_unit_test(pieces_become_words),
        cmocka_unit_test(bad_bytes_are_replaced_and_offsets_follow),
        cmocka_unit_test(half_a_character_is_shown_in_hex),
        cmocka_unit_test(unspaced_scripts_have_no_long_words),
        cmocka_unit_test(bytes_of_a_character_stay_together),
        cmocka_unit_test(offsets_outside_the_text_are_refused),
        cmocka_unit_test(indices_outside_are_refused),
        cmocka_unit_test(matrices_have_names),
        cmocka_unit_test(heads_are_chosen_by_lists),
        cmocka_unit_test(running_out_of_memory_is_reported),
    };
    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
