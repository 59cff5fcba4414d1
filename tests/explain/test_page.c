/* The explorer page: no data becomes markup, the size stays within its budget, and the blocks say what the weights
 * were. */
#define _GNU_SOURCE /* memmem */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "explain/blocks.h"
#include "explain/page.h"
#include "explain_case.h"
#include "io/json.h"
#include "io/pack.h"

#include <stdio.h>

/* In the payload every `<` opens or closes an element of ours. */
static void nothing_hostile_in_the_page(void **state) {
    (void)state;
    fv_explanation *e = all_hostile();
    fv__buf page = rendered(e, "html", NULL);
    const char *at = page.data + fv__page_part_before().size, *end = page.data + page.size - fv__page_part_after().size;
    int opened = 0, closed = 0;
    for (; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        assert_true(c >= 32 || c == '\n');
        assert_false(c == 0xE2 && (unsigned char)at[1] == 0x80 &&
                     ((unsigned char)at[2] == 0xA8 || (unsigned char)at[2] == 0xA9));
        if (c != '<') continue;
        bool open = !strncmp(at, "<script type=\"application/json\" id=\"fv-meta\">", 45) ||
                    !strncmp(at, "<script type=\"text/plain\" id=\"fv-", 33);
        bool close = !strncmp(at, "</script>\n", 10);
        assert_true(open || close);
        opened += open;
        closed += close;
    }
    assert_int_equal(opened, closed);
    assert_true(opened > 1);
    assert_null(strstr(page.data, "<script>alert(1)"));
    fv__buf_free(&page);
    fv_explanation_free(e);
}

static int base64_digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = memchr(digits, c, 64);
    return at ? (int)(at - digits) : -1;
}

/* Content of a block, or an empty buffer when the page does not have it. */
static fv__buf block_of(const fv__buf *page, const char *id, bool deflated) {
    char mark[80];
    fv__buf packed = {0}, out = {0};
    snprintf(mark, sizeof mark, "<script type=\"text/plain\" id=\"fv-%s\">", id);
    const char *at = memmem(page->data, page->size, mark, strlen(mark));
    if (!at) return out;
    for (at += strlen(mark); *at != '<' && *at != '='; at += 4) {
        uint32_t bits = 0, have = 0;
        for (int k = 0; k < 4; k++) {
            int digit = base64_digit(at[k]);
            bits = bits << 6 | (uint32_t)(digit < 0 ? 0 : digit);
            have += digit >= 0;
        }
        char bytes[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
        fv__buf_add(&packed, bytes, have - 1);
        if (have < 4) break;
    }
    if (!deflated) return packed;
    assert_int_equal(fv__inflate(&out, packed.data, packed.size, 1 << 26), FV_OK);
    fv__buf_free(&packed);
    return out;
}

static fv__json *meta_of(const fv__buf *page) {
    static const char mark[] = "<script type=\"application/json\" id=\"fv-meta\">";
    const char *at = memmem(page->data, page->size, mark, sizeof mark - 1);
    assert_non_null(at);
    at += sizeof mark - 1;
    fv__json *meta = NULL;
    assert_int_equal(fv__json_parse(&meta, at, (size_t)(strstr(at, "</script>") - at), "meta", FV_BAD_DATA), FV_OK);
    return meta;
}

static void the_meta_says_what_is_there(void **state) {
    (void)state;
    fv_explanation *e = many_words(20, 2, 4);
    fv__buf page = rendered(e, "html", NULL);
    fv__json *meta = meta_of(&page);
    assert_string_equal(fv__json_text(fv__json_get(meta, "format")), "fovea-explorer");
    assert_int_equal(fv__json_int(fv__json_get(meta, "version"), 0), 1);
    fv__json *sequence = fv__json_at(fv__json_get(meta, "sequences"), 0),
             *map = fv__json_at(fv__json_get(meta, "maps"), 0);
    assert_int_equal(fv__json_count(fv__json_get(sequence, "start")), 20);
    assert_int_equal(fv__json_int(fv__json_at(fv__json_get(sequence, "end"), 3), 0), 39);
    assert_int_equal(fv__json_count(fv__json_get(map, "heads")), 8 + 2 + 1);
    assert_int_equal(fv__json_int(fv__json_get(map, "select"), -1), 9); /* mean of the last layer, as the others draw */
    fv__json *stats = fv__json_get(map, "stats");
    for (size_t s = 0; s < fv__json_count(stats); s++)
        assert_int_equal(fv__json_count(fv__json_get(fv__json_at(stats, s), "values")), 11);
    assert_int_equal(fv__json_count(fv__json_get(fv__json_at(fv__json_get(meta, "attributions"), 1), "values")), 20);
    assert_int_equal(fv__json_int(fv__json_path(meta, "prediction.predicted"), -1), 0);
    fv__json_free(meta);
    fv__buf_free(&page);
    fv_explanation_free(e);
}

/* A query of another sequence has no position of its own among the keys. */
static void statistics_mean_something(void **state) {
    (void)state;
    const float w[6] = {.5f, .25f, .25f, .25f, .25f, .5f};
    fv_explanation *e;
    assert_int_equal(fv_explanation_of(&e, "t", w, 1, 1, 2, 3, NULL, NULL), FV_OK);
    fv__buf page = rendered(e, "html", NULL);
    fv__json *meta = meta_of(&page), *stats = fv__json_get(fv__json_at(fv__json_get(meta, "maps"), 0), "stats");
    assert_int_equal(fv__json_count(stats), 3);
    for (size_t s = 0; s < 3; s++) {
        const char *id = fv__json_text(fv__json_get(fv__json_at(stats, s), "id"));
        assert_true(!strcmp(id, "entropy") || !strcmp(id, "focus") || !strcmp(id, "max"));
    }
    fv__json_free(meta);
    fv__buf_free(&page);
    fv_explanation_free(e);
}

/* Hundreds of classes: the probable ones, and those something speaks about. */
static void few_of_many_classes_are_sent(void **state) {
    (void)state;
    fv_explanation *e;
    const float a[1] = {1};
    const fv_explain_token token = {"x", 0, 1, 0, false};
    assert_int_equal(fv_explanation_create(&e, "t", "m"), FV_OK);
    for (int c = 0; c < 300; c++)
        assert_int_equal(fv_explanation_add_class(e, c == 7 ? "rare" : "c", c == 7 ? 0 : 1 / 299.0, 0), FV_OK);
    assert_int_equal(fv_explanation_add_sequence(e, "input", "x", 1, &token, 1, NULL), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "g", "G", "", 0, 7, true, a), FV_OK);
    fv__buf page = rendered(e, "html", NULL);
    fv__json *meta = meta_of(&page), *classes = fv__json_path(meta, "prediction.classes");
    assert_int_equal(fv__json_count(classes), 21);
    int64_t spoken = fv__json_int(fv__json_get(fv__json_at(fv__json_get(meta, "attributions"), 0), "class"), -1);
    assert_string_equal(fv__json_text(fv__json_get(fv__json_at(classes, (size_t)spoken), "name")), "rare");
    assert_int_equal(fv__json_int(fv__json_path(meta, "prediction.omitted"), 0), 279);
    assert_true(fabs(fv__json_float(fv__json_path(meta, "prediction.omitted_probability"), 0) - 279 / 299.0) < 1e-5);
    fv__json_free(meta);
    fv__buf_free(&page);
    fv_explanation_free(e);
}

static void small_maps_travel_exactly(void **state) {
    (void)state;
    fv_explanation *e = many_words(20, 2, 4);
    for (int compressed = 0; compressed < 2; compressed++) {
        fv__buf page = rendered(e, "html", SET("compress", compressed ? "true" : "false"));
        for (int n = 0; n < 11; n++) {
            char id[40];
            snprintf(id, sizeof id, "exact-0-%d", n);
            fv__buf block = block_of(&page, id, compressed);
            assert_int_equal(block.size, 1600);
            assert_memory_equal(block.data, e->map[0].head[n].weight, 1600);
            fv__buf_free(&block);
        }
        fv__buf_free(&page);
    }
    fv_explanation_free(e);
}

static void whole_blocks_keep_their_promise(void **state) {
    (void)state;
    enum { N = 200 };
    fv_explanation *e = many_words(N, 2, 4);
    fv__buf page = rendered(e, "html", NULL);
    for (int n = 0; n < 11; n++) {
        char id[40];
        snprintf(id, sizeof id, "full-0-%d", n);
        fv__buf block = block_of(&page, id, true);
        assert_int_equal(block.size, N * 4 + N * N);
        for (int i = 0; i < N; i++) {
            float max;
            memcpy(&max, block.data + i * 4, 4);
            for (int j = 0; j < N; j++) {
                double c = (unsigned char)block.data[N * 4 + i * N + j] / 255.0,
                       p = e->map[0].head[n].weight[i * N + j];
                assert_true(fabs(max * c * c - p) <= 0.004 * max);
            }
        }
        fv__buf_free(&block);
    }
    fv__buf exact = block_of(&page, "exact-0-9", true);
    assert_int_equal(exact.size, N * N * 4);
    fv__buf_free(&exact);
    fv__buf_free(&page);
    fv_explanation_free(e);
}

/* The heaviest keys of each row in falling order, and what they leave out. */
static void check_top(const char *block, const float *weight, int n, int top) {
    const float *rowmax = (const float *)(const void *)block, *rest = rowmax + n, *entropy = rest + n;
    const uint16_t *key = (const uint16_t *)(const void *)(entropy + n);
    const unsigned char *code = (const unsigned char *)(key + n * top);
    for (int i = 0; i < n; i++) {
        const float *row = weight + i * n;
        double kept = 0, bits = 0, total = 0;
        for (int j = 0; j < n; j++) total += row[j], bits -= row[j] > 0 ? row[j] * log2(row[j]) : 0;
        for (int k = 0; k < top; k++) {
            double c = code[i * top + k] / 255.0, p = row[key[i * top + k]];
            assert_true(fabs(rowmax[i] * c * c - p) <= 0.004 * rowmax[i]);
            if (k > 0) assert_true(p <= row[key[i * top + k - 1]]);
            kept += p;
        }
        int heavier = 0;
        for (int j = 0; j < n; j++) heavier += row[j] > row[key[i * top + top - 1]];
        assert_true(heavier < top);
        assert_true(fabs(kept + rest[i] - total) < 1e-5 && fabs(entropy[i] - bits) < 1e-3);
    }
}

static void a_page_keeps_its_budget(void **state) {
    (void)state;
    enum { N = 220 };
    static const char *const budgets[] = {"650K", "900K", "16M"};
    fv_explanation *e = many_words(N, 4, 4);
    size_t before = 0;
    for (int b = 0; b < 3; b++) {
        fv__buf page = rendered(e, "html", SET("max-size", budgets[b], "full", "3:2"));
        size_t limit;
        assert_int_equal(fv__parse_bytes(budgets[b], &limit), FV_OK);
        assert_in_range(page.size, before, limit);
        before = page.size;
        fv__buf asked = block_of(&page, "full-0-14", true), selected = block_of(&page, "full-0-19", true);
        assert_int_equal(asked.size, N * 4 + N * N);
        assert_int_equal(selected.size, N * 4 + N * N);
        fv__buf top = block_of(&page, "top-0-1", true), last = block_of(&page, "full-0-20", true);
        if (b == 2)
            assert_true(top.size == 0 && last.size > 0);
        else {
            assert_int_equal(top.size, N * 12 + N * 16 * 3);
            check_top(top.data, e->map[0].head[1].weight, N, 16);
            fv__buf thumb = block_of(&page, "thumb-0", true);
            assert_int_equal(thumb.size, 21 * 64 * 64);
            fv__buf_free(&thumb);
        }
        if (b == 0) assert_int_equal(last.size, 0);
        fv__buf *const all[] = {&asked, &selected, &top, &last, &page};
        for (int i = 0; i < 5; i++) fv__buf_free(all[i]);
    }
    fv_explanation_free(e);
}

/* Max-pooled: a line one token wide is still there, at every place of its way. */
static void thumbnails_keep_thin_lines(void **state) {
    (void)state;
    enum { N = 150 };
    static float w[N * N];
    for (int i = 0; i < N; i++) w[i * N + (i > 0 ? i - 1 : 0)] = i % 2 ? 1 : .25f;
    fv__buf thumb = {0};
    fv__block_thumb(&thumb, w, N, N, 64, 64);
    assert_int_equal(thumb.size, 64 * 64);
    for (int i = 0; i < N; i++) {
        int r = -1, c = -1, j = i > 0 ? i - 1 : 0;
        for (int k = 0; k < 64; k++) {
            if (k * N / 64 <= i && i < (k + 1) * N / 64) r = k;
            if (k * N / 64 <= j && j < (k + 1) * N / 64) c = k;
        }
        assert_true((unsigned char)thumb.data[r * 64 + c] >= 128);
    }
    fv__buf_free(&thumb);
}

static void sizes_are_read_with_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t bytes;
    } good[] = {{"0", 0}, {"123", 123}, {"800K", 819200}, {"16M", 16 << 20}, {"2gb", (size_t)2 << 30}, {"1kB", 1024}};
    static const char *const bad[] = {"", "M", "1.5M", "-1", "16X", "16MM", "99999999999999999999", "9999999999999G"};
    size_t bytes;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(fv__parse_bytes(good[i].text, &bytes), FV_OK);
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(fv__parse_bytes(bad[i], &bytes), FV_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_hostile_in_the_page),  cmocka_unit_test(the_meta_says_what_is_there),
        cmocka_unit_test(few_of_many_classes_are_sent), cmocka_unit_test(statistics_mean_something),
        cmocka_unit_test(small_maps_travel_exactly),    cmocka_unit_test(whole_blocks_keep_their_promise),
        cmocka_unit_test(a_page_keeps_its_budget),      cmocka_unit_test(thumbnails_keep_thin_lines),
        cmocka_unit_test(sizes_are_read_with_units),
    };
    return cmocka_run_group_tests_name("explain_page", tests, NULL, NULL);
}
