/* base: status, options, memory, arenas, text, maps, random numbers, cpu. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "fovea/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- status */

static void status_keeps_the_message(void **state) {
    (void)state;
    assert_int_equal(fv__fail(FV_BAD_DATA, "%s:%d: wrong", "a.txt", 7), FV_BAD_DATA);
    assert_string_equal(fv_message(), "a.txt:7: wrong");
    fv__fail(FV_FAIL, "again: %s", fv_message()); /* an argument that is the message itself */
    assert_string_equal(fv_message(), "again: a.txt:7: wrong");
    static const char *const names[] = {"ok",           "failed",   "usage",        "bad data", "bad model",
                                        "no resources", "diverged", "below target", "unknown"};
    for (int i = 0; i < 9; i++) assert_string_equal(fv_status_name((fv_status)i), names[i]);
    assert_string_equal(fv_status_name(FV_INTERRUPTED), "interrupted");
    assert_string_equal(fv_version(), FV_VERSION);
}

static void status_message_is_printable_utf8(void **state) {
    (void)state;
    fv__fail(FV_FAIL, "a\x1b[31m \xff \xc3\xa9 \xed\xa0\x80 end\n  next");
    assert_string_equal(fv_message(), "a?[31m ? \xc3\xa9 ??? end\n  next");
    fv__fail(FV_FAIL,
             "\xc2\x9b"
             "31m \xc2\xa0"); /* CSI in one character, and the first that is none */
    assert_string_equal(fv_message(), "??31m \xc2\xa0");
    char *text = calloc(1, 10001);
    for (int i = 0; i < 10000; i += 2) memcpy(text + i, "\xc3\xa9", 2);
    for (int shift = 0; shift < 2; shift++) { /* cut in the middle of a character or between two */
        fv__fail(FV_FAIL, "%s%s", shift ? "x" : "", text);
        size_t size = strlen(fv_message());
        assert_in_range(size, 4000, 4095);
        assert_int_equal(fv__utf8_valid(fv_message(), size), size);
        assert_null(strchr(fv_message(), '?'));
    }
    free(text);
}

static void interrupt_is_a_flag(void **state) {
    (void)state;
    assert_false(fv_interrupted());
    fv_interrupt();
    assert_true(fv_interrupted());
    fv_interrupt_clear();
    assert_false(fv_interrupted());
}

static char logged[256];
static void on_log(void *context, fv_log_level level, const char *line) {
    snprintf(logged, sizeof logged, "%s%d %s", (const char *)context, (int)level, line);
}

static void log_goes_to_the_listener(void **state) {
    (void)state;
    fv_set_log(on_log, "> ");
    fv__log(FV_LOG_WARN, "%d %s", 3, "mice");
    fv_set_log(NULL, NULL);
    fv__log(FV_LOG_WARN, "nobody hears this");
    assert_string_equal(logged, "> 1 3 mice");
}

/* ---- options */

typedef struct settings {
    bool shuffle;
    int64_t batch_size;
    double rate;
    const char *model, *pooling;
} settings;

static const fv_option rows[] = {
    {"shuffle", FV_OPT_BOOL, offsetof(settings, shuffle), "true", 0, 0, NULL, "mix the order"},
    {"batch-size", FV_OPT_INT, offsetof(settings, batch_size), "32", 1, 65536, NULL, "texts per step"},
    {"learning-rate", FV_OPT_FLOAT, offsetof(settings, rate), "0.001", 0, 10, NULL, "step size"},
    {"model", FV_OPT_STRING, offsetof(settings, model), NULL, 0, 0, "FILE", "what to load"},
    {"pooling", FV_OPT_CHOICE, offsetof(settings, pooling), "mean", 0, 0, "mean|max|cls|attention", "how to pool"},
    {0},
};

static void options_have_defaults(void **state) {
    (void)state;
    settings s;
    memset(&s, 0xAA, sizeof s);
    fv_options_init(rows, &s);
    assert_true(s.shuffle);
    assert_int_equal(s.batch_size, 32);
    assert_true(s.rate == 0.001);
    assert_null(s.model);
    assert_string_equal(s.pooling, "mean");
}

static void options_are_set_from_text(void **state) {
    (void)state;
    settings s;
    fv_options_init(rows, &s);
    static const char *const no[] = {"false", "no", "off", "0"}, *const yes[] = {"true", "yes", "on", "1"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fv_options_set(rows, &s, "shuffle", no[i]), FV_OK);
        assert_false(s.shuffle);
        assert_int_equal(fv_options_set(rows, &s, "shuffle", yes[i]), FV_OK);
        assert_true(s.shuffle);
    }
    assert_int_equal(fv_options_set(rows, &s, "batch_size", "65536"), FV_OK); /* '_' is '-' */
    assert_int_equal(s.batch_size, 65536);
    assert_int_equal(fv_options_set(rows, &s, "learning-rate", "3e-4"), FV_OK);
    assert_true(s.rate == 3e-4);
    assert_int_equal(fv_options_set(rows, &s, "pooling", "cls"), FV_OK);
    assert_string_equal(s.pooling, "cls");
    assert_int_equal(fv_options_set(rows, &s, "model", "x y"), FV_OK);
    assert_string_equal(s.model, "x y");
}

static void options_refuse_with_a_reason(void **state) {
    (void)state;
    static const struct {
        const char *name, *value, *message;
    } cases[] = {
        {"learning-rte", "1", "unknown option \"learning-rte\"\n  did you mean \"learning-rate\"?"},
        {"zz", "1",
         "unknown option\n  expected one of: shuffle, batch-size, learning-rate, model, pooling\n  found:   \"zz\""},
        {"shuffle", "maybe", "option \"shuffle\"\n  expected true or false\n  found:   \"maybe\""},
        {"batch-size", "0", "option \"batch-size\"\n  expected a whole number from 1 to 65536\n  found:   \"0\""},
        {"batch-size", "3.5", "option \"batch-size\"\n  expected a whole number from 1 to 65536\n  found:   \"3.5\""},
        {"batch-size", "", "option \"batch-size\"\n  expected a whole number from 1 to 65536\n  found:   \"\""},
        {"learning-rate", "nan", "option \"learning-rate\"\n  expected a number from 0 to 10\n  found:   \"nan\""},
        {"learning-rate", "-1", "option \"learning-rate\"\n  expected a number from 0 to 10\n  found:   \"-1\""},
        {"pooling", "maen",
         "option \"pooling\"\n  expected one of: mean|max|cls|attention\n  found:   \"maen\"\n  did you mean "
         "\"mean\"?"},
        {"pooling", "mea|n", NULL},
        {"pooling", "mean|max", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        settings s, before;
        fv_options_init(rows, &s);
        before = s;
        assert_int_equal(fv_options_set(rows, &s, cases[i].name, cases[i].value), FV_USAGE);
        if (cases[i].message) assert_string_equal(fv_message(), cases[i].message);
        assert_true(s.batch_size == before.batch_size && s.rate == before.rate && s.pooling == before.pooling);
    }
}

static void options_print_what_reads_back(void **state) {
    (void)state;
    static const char *const values[] = {"false", "77", "0.1", "a b", "attention"};
    settings s, again;
    char text[64];
    fv_options_init(rows, &s);
    fv_options_init(rows, &again);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(fv_options_set(rows, &s, rows[i].name, values[i]), FV_OK);
        assert_int_equal(fv_options_print(&rows[i], &s, text, sizeof text), strlen(values[i]));
        assert_string_equal(text, values[i]);
    }
    assert_int_equal(fv_options_print(&rows[4], &s, text, 4), 9); /* cut short, but the length is said */
    assert_string_equal(text, "att");
}

/* ---- memory */

static void memory_is_zeroed_aligned_and_counted(void **state) {
    (void)state;
    int64_t live = fv__alloc_live(), count = fv__alloc_count();
    for (size_t size = 0; size < 3000; size = size * 3 + 1) {
        unsigned char *p = fv__alloc(size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 0);
        memset(p, 0xFF, size);
        unsigned char *q = fv__realloc(p, size, size + 100);
        for (size_t i = 0; i < size + 100; i++) assert_int_equal(q[i], i < size ? 0xFF : 0);
        fv__free(q);
    }
    fv__free(NULL);
    assert_int_equal(fv__alloc_live(), live);
    assert_true(fv__alloc_count() > count);
}

static void memory_refuses_the_impossible(void **state) {
    (void)state;
    assert_null(fv__alloc(SIZE_MAX));
    assert_null(fv__alloc(SIZE_MAX / 2));
    assert_null(fv__alloc_array(SIZE_MAX / 4, 8));
    assert_non_null(strstr(fv_message(), "out of memory"));
    int64_t calls = fv__fault_point_calls(FV_FAULT_ALLOC);
    fv__inject(FV_FAULT_ALLOC, 2, false);
    void *first = fv__alloc(1), *second = fv__alloc(1), *third = fv__alloc(1);
    assert_true(first && !second && third);
    assert_int_equal(fv__fault_point_calls(FV_FAULT_ALLOC), calls + 3);
    assert_string_equal(fv_message(), "out of memory: 1 bytes asked for");
    fv__inject(FV_FAULT_ALLOC, 1, true);
    assert_true(!fv__alloc(1) && !fv__alloc(1) && !fv__strdup("x"));
    unsigned char *kept = fv__realloc(first, 1, 5);
    assert_null(kept);
    fv__inject(FV_FAULT_ALLOC, 0, false);
    fv__free(first);
    fv__free(third);
}

static void sizes_are_multiplied_with_care(void **state) {
    (void)state;
    size_t n = 99;
    assert_true(fv__size_of((int64_t[]){2, 3, 4}, 3, 4, &n) && n == 96);
    assert_true(fv__size_of(NULL, 0, 8, &n) && n == 8);
    assert_true(fv__size_of((int64_t[]){0, 5}, 2, 4, &n) && n == 0);
    assert_false(fv__size_of((int64_t[]){2, -1}, 2, 4, &n));
    assert_false(fv__size_of((int64_t[]){INT64_MAX, 4}, 2, 4, &n));
    assert_false(fv__size_of((int64_t[]){0, INT64_MAX, 4}, 3, 4, &n)); /* the zero does not hide the overflow */
    assert_false(fv__size_of((int64_t[]){INT64_MAX, 4, 0}, 3, 4, &n));
    assert_false(fv__size_of((int64_t[]){1LL << 32, 1LL << 32}, 2, 1, &n)); /* wraps to 0 */
    assert_false(fv__size_of((int64_t[]){INT64_MAX}, 1, 2, &n)); /* fits size_t, but no object is that large */
}

static void growing_arrays_double(void **state) {
    (void)state;
    int *items = NULL;
    size_t capacity = 0;
    int64_t before = fv__alloc_count();
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(FV_GROW(&items, &capacity, (size_t)i + 1), FV_OK);
        assert_int_equal(items[i], 0);
        items[i] = i + 1;
    }
    for (int i = 0; i < 1000; i++) assert_int_equal(items[i], i + 1);
    assert_true(fv__alloc_count() - before <= 8);
    assert_int_equal(FV_GROW(&items, &capacity, SIZE_MAX / 2), FV_NO_RESOURCES);
    assert_int_equal(items[999], 1000);
    fv__free(items);
}

static void arena_allocates_only_in_the_first_round(void **state) {
    (void)state;
    fv__arena *arena;
    int64_t live = fv__alloc_live();
    assert_int_equal(fv__arena_create(&arena), FV_OK);
    int64_t after_first = 0;
    for (int round = 0; round < 5; round++) {
        uint64_t size = 1;
        for (int i = 0; i < 200; i++) {
            size = (size * 2654435761u + 12345) % 70000;
            unsigned char *p = i % 2 ? fv__arena_alloc(arena, size) : fv__arena_raw(arena, size);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % 64, 0);
            if (i % 2)
                for (size_t k = 0; k < size; k += 97) assert_int_equal(p[k], 0);
            memset(p, 0xEE, size);
        }
        fv__arena_reset(arena);
        if (round == 0) after_first = fv__alloc_count();
    }
    assert_int_equal(fv__alloc_count(), after_first);
    assert_in_range(fv__arena_peak(arena), 1000000, 14000000);
    assert_null(fv__arena_alloc(arena, SIZE_MAX - 10));
    assert_null(fv__arena_alloc(arena, SIZE_MAX / 2));
    assert_non_null(fv__arena_alloc(arena, 0));
    fv__arena_free(arena);
    assert_int_equal(fv__alloc_live(), live);
}

static void arena_blocks_do_not_overlap(void **state) {
    (void)state;
    fv__arena *arena;
    unsigned char *blocks[300];
    fv__arena_create(&arena);
    for (int i = 0; i < 300; i++) {
        blocks[i] = fv__arena_alloc(arena, (size_t)i * 31);
        memset(blocks[i], i & 255, (size_t)i * 31);
    }
    for (int i = 0; i < 300; i++)
        for (int k = 0; k < i * 31; k++) assert_int_equal(blocks[i][k], i & 255);
    fv__arena_free(arena);
}

/* ---- text */

static void buffer_grows_and_remembers_failure(void **state) {
    (void)state;
    fv__buf b = {0};
    char long_text[600];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[599] = '\0';
    fv__buf_text(&b, "a");
    fv__buf_add(&b, "\0b", 2);
    fv__buf_printf(&b, "%d|%s", 12, long_text);
    assert_int_equal(fv__buf_status(&b), FV_OK);
    assert_int_equal(b.size, 1 + 2 + 3 + 599);
    assert_memory_equal(b.data, "a\0b12|xxx", 9);
    assert_int_equal(b.data[b.size], 0);
    fv__inject(FV_FAULT_ALLOC, 1, false);
    for (int i = 0; i < 5; i++) fv__buf_text(&b, long_text);
    assert_int_equal(fv__buf_status(&b), FV_NO_RESOURCES);
    fv__buf_free(&b);
    assert_null(b.data);
}

static void numbers_are_strict(void **state) {
    (void)state;
    static const char *const bad_ints[] = {
        "", "-", "+", " 1", "1 ", "1x", "0x10", "1.0", "9223372036854775808", "-9223372036854775809", "--1", "1e3"};
    static const char *const bad_floats[] = {"",     ".",     "e5",    " 1", "1 ",    "nan", "inf",
                                             "-inf", "0x1p3", "1e400", "1e", "1.2.3", "1,5", "--1"};
    int64_t i;
    double f;
    for (size_t k = 0; k < sizeof bad_ints / sizeof *bad_ints; k++) assert_false(fv__parse_int(bad_ints[k], &i));
    for (size_t k = 0; k < sizeof bad_floats / sizeof *bad_floats; k++)
        assert_false(fv__parse_float(bad_floats[k], &f));
    assert_true(fv__parse_int("-9223372036854775808", &i) && i == INT64_MIN);
    assert_true(fv__parse_int("9223372036854775807", &i) && i == INT64_MAX);
    assert_true(fv__parse_int("+07", &i) && i == 7);
    assert_true(fv__parse_float("-.5e1", &f) && f == -5.0);
    assert_true(fv__parse_float("1e-320", &f) && f > 0);
}

static void floats_print_short_and_exact(void **state) {
    (void)state;
    static const double values[] = {0.1, 1.0 / 3, 1e300, 5e-324, -0.0, 123456789, 0.30000000000000004};
    static const char *const texts[] = {"0.1",       "0.3333333333333333", "1e+300", "4.94065645841247e-324", "-0",
                                        "123456789", "0.30000000000000004"};
    char text[32];
    for (int i = 0; i < 7; i++) {
        double again;
        fv__print_float(text, values[i]);
        assert_string_equal(text, texts[i]);
        assert_true(fv__parse_float(text, &again) && again == values[i]);
    }
    fv__print_float(text, NAN);
    assert_non_null(strstr(text, "nan"));
}

static void utf8_is_checked(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t valid;
    } cases[] = {{"", 0},
                 {"abc", 3},
                 {"\xc3\xa9", 2},
                 {"\xe2\x82\xac", 3},
                 {"\xf0\x9f\x98\x80", 4},
                 {"a\xc3", 1},
                 {"\xc0\xaf", 0},
                 {"\xe0\x80\xaf", 0},
                 {"\xed\xa0\x80", 0},
                 {"\xf4\x90\x80\x80", 0},
                 {"\xf8\x88\x80\x80\x80", 0},
                 {"ab\xe2\x82", 2},
                 {"\x80", 0},
                 {"\xe2\x28\xa1", 0},
                 {"\xf0\x9f\x98", 0},
                 {"\xf4\x8f\xbf\xbf", 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(fv__utf8_valid(cases[i].text, strlen(cases[i].text)), cases[i].valid);
}

static void nearest_name_is_found(void **state) {
    (void)state;
    static const char *const names[] = {"learning-rate", "batch-size", "heads", "seed", NULL};
    assert_string_equal(fv__nearest("learning-rte", names), "learning-rate");
    assert_string_equal(fv__nearest("batch_size", names), "batch-size");
    assert_string_equal(fv__nearest("BATCHSIZE", names), "batch-size");
    assert_string_equal(fv__nearest("haeds", names), "heads"); /* two neighbours swapped are one edit */
    assert_null(fv__nearest("colour", names));
    assert_null(fv__nearest("x", names));
    char huge[1000];
    memset(huge, 'a', sizeof huge - 1);
    huge[999] = '\0';
    assert_null(fv__nearest(huge, names));
}

static void map_counts_and_keeps_order(void **state) {
    (void)state;
    enum { N = 20000 };
    int64_t live = fv__alloc_live();
    fv__map *map;
    char key[32];
    assert_int_equal(fv__map_create(&map), FV_OK);
    assert_int_equal(fv__map_get(map, "x", 1, -7), -7);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < N; i++) {
            int n = snprintf(key, sizeof key, "key %d", i);
            assert_int_equal(fv__map_add(map, key, (size_t)n, i), FV_OK);
        }
    assert_int_equal(fv__map_size(map), N);
    for (int i = 0; i < N; i++) {
        size_t length;
        int n = snprintf(key, sizeof key, "key %d", i);
        assert_string_equal(fv__map_key(map, (size_t)i, &length), key);
        assert_int_equal(length, n);
        assert_int_equal(fv__map_value(map, (size_t)i), 3 * i);
        assert_int_equal(fv__map_get(map, key, (size_t)n, -1), 3 * i);
    }
    const char *stays = fv__map_key(map, 0, NULL);
    assert_int_equal(fv__map_set(map, "a\0b", 3, 5), FV_OK); /* keys are bytes, not C strings */
    assert_int_equal(fv__map_set(map, "a", 1, 6), FV_OK);
    assert_int_equal(fv__map_set(map, "", 0, 7), FV_OK);
    assert_int_equal(fv__map_get(map, "a\0b", 3, -1), 5);
    assert_int_equal(fv__map_get(map, "a", 1, -1), 6);
    assert_int_equal(fv__map_get(map, "", 0, -1), 7);
    assert_ptr_equal(stays, fv__map_key(map, 0, NULL));
    fv__map_free(map);
    assert_int_equal(fv__alloc_live(), live);
}

static void map_survives_every_failed_allocation(void **state) {
    (void)state;
    int64_t live = fv__alloc_live();
    int failures = 0;
    for (int nth = 1;; nth++) {
        fv__map *map = NULL;
        char key[32];
        fv__inject(FV_FAULT_ALLOC, nth, false);
        fv_status status = fv__map_create(&map);
        int stored = 0;
        for (; status == FV_OK && stored < 5000; stored += status == FV_OK) {
            int n = snprintf(key, sizeof key, "%d", stored);
            status = fv__map_set(map, key, (size_t)n, stored);
        }
        fv__inject(FV_FAULT_ALLOC, 0, false);
        for (int i = 0; i < stored; i++) {
            int n = snprintf(key, sizeof key, "%d", i);
            assert_int_equal(fv__map_get(map, key, (size_t)n, -1), i);
        }
        fv__map_free(map);
        assert_int_equal(fv__alloc_live(), live);
        if (status == FV_OK) break;
        assert_int_equal(status, FV_NO_RESOURCES);
        failures++;
    }
    assert_true(failures > 10);
}

static void hash_is_stable_and_spreads(void **state) {
    (void)state;
    /* Files depend on these values (splits by hash, hashed n-grams): they must never change. */
    assert_true(fv__hash("", 0, 0) == 0);
    uint64_t a = fv__hash("attention", 9, 0), b = fv__hash("attention", 9, 1), c = fv__hash("attentioN", 9, 0);
    assert_true(a == UINT64_C(0x25c488209e1cf7f3));
    assert_true(a != b && a != c && fv__hash("attention", 8, 0) != a);
    unsigned buckets[64] = {0};
    for (int i = 0; i < 64000; i++) buckets[fv__hash(&i, sizeof i, 3) & 63]++;
    double chi2 = 0;
    for (int i = 0; i < 64; i++) chi2 += (buckets[i] - 1000.0) * (buckets[i] - 1000.0) / 1000.0;
    assert_true(chi2 > 20 && chi2 < 120); /* 63 degrees of freedom: far beyond 5 sigma on both sides */
}

/* ---- randomness */

static void philox_gives_the_known_answers(void **state) {
    (void)state;
    /* kat_vectors of Random123, philox4x32 10 */
    static const struct {
        fv__u32x4 counter;
        uint32_t key[2];
        fv__u32x4 answer;
    } known[] = {
        {{{0, 0, 0, 0}}, {0, 0}, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}},
        {{{~0u, ~0u, ~0u, ~0u}}, {~0u, ~0u}, {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}},
        {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
         {0xa4093822, 0x299f31d0},
         {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}},
    };
    for (int i = 0; i < 3; i++) {
        fv__u32x4 r = fv__philox(known[i].counter, known[i].key[0], known[i].key[1]);
        assert_memory_equal(&r, &known[i].answer, sizeof r);
    }
    assert_int_equal(fv__random_u32(0, 0, 0), 0x6627e8d5);
}

static void random_numbers_have_their_distribution(void **state) {
    (void)state;
    enum { N = 100000 };
    double u1 = 0, u2 = 0, n1 = 0, n2 = 0, n4 = 0, both = 0;
    int counts[7] = {0};
    for (uint64_t i = 0; i < N; i++) {
        double u = fv__random_uniform(5, 1, i), n = fv__random_normal(5, 2, i);
        assert_true(u >= 0 && u < 1);
        u1 += u;
        u2 += u * u;
        n1 += n;
        n2 += n * n;
        n4 += n * n * n * n;
        both += u * fv__random_uniform(5, 3, i);
        counts[fv__random_below(5, 4, i, 7)]++;
    }
    assert_true(fabs(u1 / N - 0.5) < 0.005 && fabs(u2 / N - 1.0 / 3) < 0.005 && fabs(both / N - 0.25) < 0.005);
    assert_true(fabs(n1 / N) < 0.02 && fabs(n2 / N - 1) < 0.03 && fabs(n4 / N - 3) < 0.2);
    for (int i = 0; i < 7; i++) assert_in_range(counts[i], N / 7 - 600, N / 7 + 600);
    assert_int_equal(fv__random_below(5, 4, 0, 1), 0);
}

static void shuffle_is_a_permutation(void **state) {
    (void)state;
    int64_t a[1000], b[1000];
    bool seen[1000] = {false};
    for (int i = 0; i < 1000; i++) a[i] = b[i] = i;
    fv__random_shuffle(9, 1, a, 1000);
    fv__random_shuffle(9, 1, b, 1000);
    assert_memory_equal(a, b, sizeof a);
    int fixed = 0;
    for (int i = 0; i < 1000; i++) {
        assert_false(seen[a[i]]);
        seen[a[i]] = true;
        fixed += a[i] == i;
    }
    assert_true(fixed < 10);
    fv__random_shuffle(10, 1, b, 1000);
    assert_memory_not_equal(a, b, sizeof a);
}

/* What callers get: the known answer of Philox for counter 0 and key 0, and addresses instead of a state. */
static void public_random_numbers(void **state) {
    (void)state;
    assert_true(fv_random_uniform(0, 0, 0) == (double)(UINT64_C(0xe169c58d6627e8d5) >> 11) * 0x1p-53);
    int64_t mine[50], theirs[50];
    for (int64_t i = 0; i < 50; i++) {
        uint64_t at = (uint64_t)(i * 7 % 50);
        assert_true(fv_random_uniform(3, 4, at) == fv__random_uniform(3, 4, at));
        assert_true(fv_random_normal(3, 4, at) == fv__random_normal(3, 4, at));
        assert_int_equal(fv_random_integer(3, 4, at, 10), fv__random_below(3, 4, at, 10));
        mine[i] = theirs[i] = i;
    }
    assert_true(fv_random_uniform(3, 4, 5) != fv_random_uniform(3, 5, 5));
    assert_true(fv_random_uniform(3, 4, 5) != fv_random_uniform(4, 4, 5));
    fv_random_shuffle(3, 4, mine, 50);
    fv__random_shuffle(3, 4, theirs, 50);
    assert_memory_equal(mine, theirs, sizeof mine);
}

static void cpu_and_clock_answer(void **state) {
    (void)state;
    assert_string_equal(fv_isa(), fv__isa_name(fv__cpu_isa()));
    double a = fv__now(), b = fv__now();
    assert_true(a > 0 && b >= a && b - a < 60);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_keeps_the_message),
        cmocka_unit_test(status_message_is_printable_utf8),
        cmocka_unit_test(interrupt_is_a_flag),
        cmocka_unit_test(log_goes_to_the_listener),
        cmocka_unit_test(options_have_defaults),
        cmocka_unit_test(options_are_set_from_text),
        cmocka_unit_test(options_refuse_with_a_reason),
        cmocka_unit_test(options_print_what_reads_back),
        cmocka_unit_test(memory_is_zeroed_aligned_and_counted),
        cmocka_unit_test(memory_refuses_the_impossible),
        cmocka_unit_test(sizes_are_multiplied_with_care),
        cmocka_unit_test(growing_arrays_double),
        cmocka_unit_test(arena_allocates_only_in_the_first_round),
        cmocka_unit_test(arena_blocks_do_not_overlap),
        cmocka_unit_test(buffer_grows_and_remembers_failure),
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(floats_print_short_and_exact),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(nearest_name_is_found),
        cmocka_unit_test(map_counts_and_keeps_order),
        cmocka_unit_test(map_survives_every_failed_allocation),
        cmocka_unit_test(hash_is_stable_and_spreads),
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(random_numbers_have_their_distribution),
        cmocka_unit_test(shuffle_is_a_permutation),
        cmocka_unit_test(public_random_numbers),
        cmocka_unit_test(cpu_and_clock_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
