/* What JSON costs: memory that grows with the text by a factor that is known, and a limit. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/json.h"

#include <string.h>
#include <sys/resource.h>

static long peak_kib(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss;
}

/* "[" piece, piece, ... "]" of about `bytes`. */
static fv__buf list_of(const char *piece, size_t bytes) {
    fv__buf text = {0};
    fv__buf_text(&text, "[");
    while (text.size < bytes) {
        fv__buf_text(&text, piece);
        fv__buf_text(&text, ",");
    }
    fv__buf_text(&text, piece);
    fv__buf_text(&text, "]");
    assert_int_equal(fv__buf_status(&text), FV_OK);
    return text;
}

static void numbers_cost_thirty_times_their_bytes(void **state) {
    (void)state;
    fv__json *json;
    fv__buf text = list_of("0", 4 << 20);
    const long before = peak_kib();
    assert_int_equal(fv__json_parse(&json, text.data, text.size, "x", FV_BAD_DATA), FV_OK);
#ifndef __SANITIZE_ADDRESS__
    assert_in_range(peak_kib() - before, 0, 36 * 4 * 1024); /* 116 times when every value is a line of 64 bytes */
#endif
    (void)before;
    fv__json_free(json);
    fv__buf_free(&text);
}

static void more_than_files_need_is_refused(void **state) {
    (void)state;
    static const char *const pieces[] = {"{}", "[]", "0", "\"\\\",{\""};
    static const size_t bytes[] = {13 << 20, 13 << 20, 34 << 20, 40 << 20};
    for (int i = 0; i < 4; i++) {
        fv__json *json = NULL;
        fv__buf text = list_of(pieces[i], bytes[i]);
        fv_status status = fv__json_parse(&json, text.data, text.size, "x", FV_BAD_MODEL);
        assert_int_equal(status, i < 3 ? FV_BAD_MODEL : FV_OK); /* what is quoted counts for nothing */
        if (i < 3) assert_non_null(strstr(fv_message(), "x: JSON\n  expected at most 4194304 objects and arrays"));
        fv__json_free(json);
        fv__buf_free(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_cost_thirty_times_their_bytes),
        cmocka_unit_test(more_than_files_need_is_refused),
    };
    return cmocka_run_group_tests_name("what JSON costs", tests, NULL, NULL);
}
