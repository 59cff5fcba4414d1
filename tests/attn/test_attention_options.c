/* The rows of the options of attention: they cover the struct, a struct within a struct is reached by its rows, and two
 * options that differ in any row have different keys. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "fovea/attention.h"
#include "fovea/nn.h"

#include <string.h>

static size_t field_size(const fv_option *row) {
    switch (row->type) {
    case FV_OPT_BOOL:
    case FV_OPT_NOT: return sizeof(bool);
    case FV_OPT_ENUM: return sizeof(int);
    case FV_OPT_STRING:
    case FV_OPT_CHOICE: return sizeof(char *);
    case FV_OPT_WINDOW_LEFT:
    case FV_OPT_WINDOW_RIGHT: return sizeof(fv_window);
    default: return 8;
    }
}

/* An option without a row would have no flag, and plans of different options would be taken for one. Between fields
 * there is padding, less than the alignment of a field. */
static void covered(const fv_option *rows, size_t blocks, size_t end) {
    unsigned char painted[sizeof(fv_block_options)] = {0};
    size_t gap = 0;
    for (fv_option_walk w = fv_option_walk_of(rows); fv_option_next(&w);)
        memset(painted + w.row.offset, 1, field_size(&w.row));
    if (blocks < end) memset(painted + blocks, 1, sizeof(fv_block_mask *)); /* has no text, and so no row */
    for (size_t i = 0; i < end; i++) {
        gap = painted[i] ? 0 : gap + 1;
        if (gap >= 8) fail_msg("the bytes before %zu have no row", i + 1);
    }
}

static void rows_cover_the_structs(void **state) {
    (void)state;
    covered(fv_attention_rows(), offsetof(fv_attention_options, blocks), offsetof(fv_attention_options, reserved));
    covered(fv_attention_call_rows(), SIZE_MAX, offsetof(fv_attention_call, reserved));
    covered(fv_multi_head_rows(), offsetof(fv_multi_head_options, attention.blocks),
            offsetof(fv_multi_head_options, attention.reserved));
    covered(fv_block_rows(), offsetof(fv_block_options, attention.blocks),
            offsetof(fv_block_options, attention.reserved));
}

/* Every row set to something else than its default, one after the other: all keys differ. */
static const char *another(const fv_option *row) {
    switch (row->type) {
    case FV_OPT_ENUM: return strcmp(row->name, "causal") == 0 ? "lower-right" : "drop";
    case FV_OPT_STRING: return "topk:k=3";
    case FV_OPT_FLOAT: return "0.25";
    case FV_OPT_BOOL: return strcmp(row->standard, "true") == 0 ? "false" : "true";
    default: return "5";
    }
}

static void keys_tell_rows_apart(void **state) {
    (void)state;
    enum { MANY = 64, BYTES = 128 };
    static char key[MANY][BYTES];
    size_t length[MANY], count = 0;
    for (fv_option_walk w = fv_option_walk_of(fv_attention_rows()); count < MANY; count++) {
        fv_attention_options o;
        memset(&o, 0xa5, sizeof o); /* padding is not part of a key */
        fv_options_init(fv_attention_rows(), &o);
        const bool more = fv_option_next(&w);
        if (more) assert_int_equal(fv_options_set(fv_attention_rows(), &o, w.row.name, another(&w.row)), FV_OK);
        length[count] = fv__options_key(fv_attention_rows(), &o, key[count], BYTES);
        assert_true(length[count] <= BYTES);
        for (size_t i = 0; i < count; i++)
            assert_false(length[i] == length[count] && memcmp(key[i], key[count], length[i]) == 0);
        if (!more) break;
    }
    assert_true(count >= 8 && count < MANY);
    fv_attention_options o = {0}, again;
    char first[BYTES], second[BYTES];
    memset(&again, 0x5a, sizeof again);
    fv_options_init(fv_attention_rows(), &again);
    length[0] = fv__options_key(fv_attention_rows(), &o, first, BYTES); /* zeros mean the defaults */
    assert_int_equal(fv__options_key(fv_attention_rows(), &again, second, BYTES), length[0]);
    assert_memory_equal(first, second, length[0]);
    assert_int_equal(fv__options_key(fv_attention_rows(), &o, first, 3), length[0]); /* cut short, the length is said */
}

static void tables_within_tables(void **state) {
    (void)state;
    fv_block_options o;
    fv_option_walk walk;
    char text[64];
    memset(&o, 0xa5, sizeof o);
    fv_options_init(fv_block_rows(), &o);
    assert_null(o.attention.blocks); /* what has no row is zero all the same */
    assert_int_equal(o.attention.reserved[0], 0);
    assert_int_equal(fv_options_set(fv_block_rows(), &o, "causal", "upper-left"), FV_OK);
    assert_int_equal(o.attention.causal, FV_CAUSAL_UPPER_LEFT);
    assert_int_equal(fv_options_set(fv_block_rows(), &o, "window-left", "3"), FV_OK);
    assert_true(o.attention.window.limited && o.attention.window.left == 3 && o.attention.window.right == -1);
    /* the block's own dropout hides that of attention, which has a row of its own */
    assert_int_equal(fv_options_set(fv_block_rows(), &o, "dropout", "0.5"), FV_OK);
    assert_true(o.dropout == 0.5 && o.attention.dropout == 0);
    assert_int_equal(fv_options_set(fv_block_rows(), &o, "attention-dropout", "0.25"), FV_OK);
    assert_true(o.dropout == 0.5 && o.attention.dropout == 0.25);
    assert_true(fv_option_walk_find(&walk, fv_block_rows(), "causal"));
    fv_options_print(&walk.row, &o, text, sizeof text);
    assert_string_equal(text, "upper-left");
    assert_int_equal(fv_options_set(fv_block_rows(), &o, "causal", "uper-left"), FV_USAGE);
    assert_non_null(strstr(fv_message(), "did you mean \"upper-left\"?"));
    assert_int_equal(fv_options_set(fv_block_rows(), &o, "softcp", "1"), FV_USAGE);
    assert_non_null(strstr(fv_message(), "did you mean \"softcap\"?"));
}

/* A prefix stands before the names of a table; tables may lie in tables. */
typedef struct two {
    fv_attention_call first, second;
} two;

static const fv_option *two_rows(void) {
    static const fv_option rows[] = {{"first-", FV_OPT_GROUP, offsetof(two, first), NULL, 0, sizeof(fv_attention_call),
                                      NULL, NULL, fv_attention_call_rows},
                                     {"second-", FV_OPT_GROUP, offsetof(two, second), NULL, 0,
                                      sizeof(fv_attention_call), NULL, NULL, fv_attention_call_rows},
                                     {0}};
    return rows;
}

static void prefixes(void **state) {
    (void)state;
    static const fv_option outer[] = {{"the-", FV_OPT_GROUP, 0, NULL, 0, sizeof(two), NULL, NULL, two_rows}, {0}};
    static const char *const names[] = {"the-first-q-offset", "the-first-seed", "the-second-q-offset",
                                        "the-second-seed"};
    size_t count = 0;
    two o;
    for (fv_option_walk w = fv_option_walk_of(outer); fv_option_next(&w); count++) {
        assert_true(count < 4);
        assert_string_equal(w.row.name, names[count]);
    }
    assert_int_equal(count, 4);
    fv_options_init(outer, &o);
    assert_int_equal(fv_options_set(outer, &o, "the-second-seed", "7"), FV_OK);
    assert_true(o.second.seed == 7 && o.first.seed == 0);
    assert_int_equal(fv_options_set(outer, &o, "seed", "7"), FV_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_cover_the_structs), cmocka_unit_test(keys_tell_rows_apart),
                                       cmocka_unit_test(tables_within_tables), cmocka_unit_test(prefixes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
