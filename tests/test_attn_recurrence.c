/* Recurrences with decay and delta rule. */
#include "attn_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *const texts[] = {
    "retention",        "retention:first=0.1,step=0.7,chunk=8", "gla", "gla:chunk=16", "gla:chunk=1", "deltanet",
    "deltanet:chunk=32"};
enum { TEXTS = sizeof texts / sizeof *texts };

static int64_t longest_of(uint64_t seed) { return seed % 50 == 0 ? 300 : seed % 8 == 7 ? 150 : seed % 2 ? 70 : 20; }

static void random_cases(void **state) {
    (void)state;
    for (int m = 0; m < TEXTS; m++)
        for (uint64_t seed = 1; seed <= 30; seed++) check_reference(texts[m], seed, longest_of(seed), NULL);
    assert_int_equal(check_failures, 0);
}

static void gradients(void **state) {
    (void)state;
    int64_t checked = 0;
    for (int m = 0; m < TEXTS; m++)
        for (uint64_t seed = 1; seed <= 60; seed++)
            checked += check_gradients(texts[m], seed, seed % 8 == 7 ? 150 : 9, NULL);
    assert_true(checked > 3000);
    assert_int_equal(check_failures, 0);
}

static void thread_counts(void **state) {
    (void)state;
    for (int m = 0; m < TEXTS; m++)
        for (uint64_t seed = 1; seed <= 20; seed++) check_threads(texts[m], seed, seed % 4 ? 90 : 400, NULL);
    assert_int_equal(check_failures, 0);
}

static void packed(void **state) {
    (void)state;
    int64_t sequences = 0;
    for (int m = 0; m < TEXTS; m++)
        for (uint64_t seed = 1; seed <= 200; seed++)
            check_packed(texts[m], seed, seed % 4 ? 90 : 300, NULL, &sequences);
    assert_true(sequences > 100);
    assert_int_equal(check_failures, 0);
}

int main(int argc, char **argv) {
    (void)argc, (void)argv;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_cases),
        cmocka_unit_test(gradients),
        cmocka_unit_test(thread_counts),
        cmocka_unit_test(packed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
